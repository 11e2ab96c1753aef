"""Eigendecompositions that do not fail where LAPACK's divide and conquer does, on finite matrices."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor
from torch.linalg import LinAlgError

from ._transforms import traced, transformed


def robust_eigh(a: Tensor, out: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
    """`torch.linalg.eigh` of symmetric ``(..., n, n)``, each matrix by itself where it fails for the batch.

    MKL's ssyevd, of PyTorch 2.13, was seen to on covariances of few samples with entries below 1e-38.
    """
    if traced(a):
        found = torch.linalg.eigh(a)
        return found.eigenvalues, found.eigenvectors
    try:
        found = torch.linalg.eigh(a, out=out)
        return found.eigenvalues, found.eigenvectors
    except LinAlgError:
        if transformed():  # there is nothing to look at
            raise
    values, q = out or (torch.empty_like(a[..., 0]), torch.empty_like(a))
    for index in product(*map(range, a.shape[:-2])):
        values[index], q[index] = _one(a[index])
    return values, q


def _one(a: Tensor) -> tuple[Tensor, Tensor]:
    """Of one matrix: as it is, in float64, or in the opposite order, whichever first succeeds."""
    try:
        values, q = torch.linalg.eigh(a)
        return values, q
    except LinAlgError as error:
        for opposite in (False, True)[a.dtype == torch.float64 :]:
            try:
                values, q = torch.linalg.eigh(a.double().flip(0, 1) if opposite else a.double())
                return values.to(a.dtype), (q.flip(0) if opposite else q).to(a.dtype)
            except LinAlgError:
                pass
        raise error
