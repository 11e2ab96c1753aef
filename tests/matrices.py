"""Matrices with a prescribed spectrum, and what is true of them."""

from __future__ import annotations

import itertools
from dataclasses import fields
from functools import cache

import torch
from torch import Tensor

import sqrtm
from sqrtm.compare.cases import make_case
from sqrtm.compare.reference import reference

EXACT = [name for name, cls in sqrtm.METHODS.items() if name not in ("taylor", "pade")]
APPROXIMATE = ["taylor", "pade"]
IMPLICIT = [name for name in sqrtm.GRADIENTS if name != "unrolled"]
NOT_UNROLLED = ["eigh", "svd", "minimax", "auto"]
"""Methods that have no steps to unroll."""


def pairs(methods=None):
    """Every pair of names that works."""
    every = itertools.product(methods or sqrtm.METHODS, sqrtm.GRADIENTS)
    return [(m, g) for m, g in every if g != "unrolled" or m not in NOT_UNROLLED]


def with_steps(name: str, table, steps: int):
    """The method or gradient of this name, with so many steps if it has steps."""
    cls = table[name]
    return cls(steps=steps) if "steps" in {f.name for f in fields(cls)} else cls()


def options(method: str, gradient: str, steps: int):
    """Keyword arguments for a pair of names."""
    return {
        "method": with_steps(method, sqrtm.METHODS, steps),
        "gradient": with_steps(gradient, sqrtm.GRADIENTS, steps),
    }


def orthogonal(n: int, batch=(), seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(*batch, n, n, dtype=torch.float64, generator=generator)).Q


def with_spectrum(eigenvalues, seed: int = 0, dtype=torch.float64) -> Tensor:
    """A symmetric matrix (or batch) with these eigenvalues and random eigenvectors."""
    eigenvalues = torch.as_tensor(eigenvalues, dtype=torch.float64)
    q = orthogonal(eigenvalues.shape[-1], eigenvalues.shape[:-1], seed)
    a = (q * eigenvalues[..., None, :]) @ q.mT
    return ((a + a.mT) / 2).to(dtype)


def random_spd(n: int, batch=(), seed: int = 0, dtype=torch.float64) -> Tensor:
    """Condition number about 10, distinct eigenvalues."""
    generator = torch.Generator().manual_seed(seed)
    eigenvalues = 0.3 + 3 * torch.rand(*batch, n, dtype=torch.float64, generator=generator)
    return with_spectrum(eigenvalues, seed, dtype)


def random_symmetric(n: int, batch=(), seed: int = 1, dtype=torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    g = torch.randn(*batch, n, n, dtype=torch.float64, generator=generator)
    return ((g + g.mT) / 2).to(dtype)


@cache
def experiment_reference(dtype: torch.dtype):
    """The exact root and gradient of `reference_experiment`."""
    return reference(*reference_experiment(dtype=dtype), extended=dtype == torch.float64)


def reference_experiment(batch=128, pts=1000, dtype=torch.float32) -> tuple[Tensor, Tensor]:
    """The covariances of the original experiment and an incoming gradient."""
    case = make_case(
        "synthetic", batch_size=batch, dim=64, pts=pts, tau=1.0, seed=0, dtype=dtype, device=torch.device("cpu")
    )
    return case.a, case.g


def errors(s: Tensor, x: Tensor, a: Tensor, g: Tensor) -> tuple[float, float]:
    """Relative errors of root and gradient, of the worst matrix; judged beyond float64 for float64."""
    root, gradient = reference(a, g, extended=a.dtype == torch.float64)
    return float(root.error(s).max()), float(gradient.error(x).max())


def relative(x: Tensor, y: Tensor) -> float:
    """Largest relative Frobenius distance over the batch."""
    x, y = (z.detach().to(torch.promote_types(z.dtype, torch.float64)) for z in (x, y))
    return float((torch.linalg.matrix_norm(x - y) / torch.linalg.matrix_norm(y)).max()) if x.numel() else 0.0
