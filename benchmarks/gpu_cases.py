"""What `gpu.py` measures: batches of matrices, what is exact for them, and the least time that they could take."""

from __future__ import annotations

from itertools import product
from math import ceil
from typing import NamedTuple

import torch
from common import DISTINCT, forward_and_backward, matrices
from torch import Tensor

import sqrtm
from sqrtm.compare.cases import make_case
from sqrtm.compare.reference import Extended, reference

SINGULAR = 1e16
"""Stands for κ of singular matrices."""
POOLING = sqrtm.NewtonSchulz(steps=5, scaling="trace")
FORWARD, BOTH = MODES = ("forward", "forward + backward")
PRODUCTS = {1.65: (7, 4), 1e2: (11, 9), 1e4: (17, 17)}
"""By κ, the products of the best schedules known in float32: both roots, and the gradient (of κ = 3 for the first)."""


class Case(NamedTuple):
    """A batch of matrices, and why it is measured."""

    section: str
    batch: int
    n: int
    condition: float = 1.65
    dtype: str = "float32"
    covariances: bool = False
    """The matrices are those of the original experiment, else of this spectrum."""

    def __str__(self) -> str:
        kind = ", covariances" * self.covariances
        return f"{self.section}: {self.batch} of n = {self.n}, κ = {self.condition:g}, {self.dtype}{kind}"


def cases(quick: bool) -> list[Case]:
    """The most important first; small ones, if ``quick``, one a section."""
    many = {64: 10000, 32: 65536, 128: 4096, 16: 65536, 8: 65536}
    grid = product((65536, 4096, 128, 1), (1.65, 1e4, 1e2), (8, 16, 32, 64, 128, 256, 512, 1024, 2048))
    found = [
        Case("headline", 128, 64, covariances=True),
        Case("headline", 65536, 32),
        Case("headline", 10000, 64),
        *(Case("pooling", 256, n, 1e2) for n in (64, 32, 16)),
        Case("variants", 128, 64),
        *(Case("variants", batch, n) for n, batch in many.items()),
        *(Case("variants", many[n], n, 1e4) for n in (64, 32, 16)),
        Case("float64", 4096, 64, dtype="float64"),
        Case("float64", 256, 256, dtype="float64"),
        *(Case("rescue", batch, n, SINGULAR) for batch, n in product((128, 4096), (64, 32))),
        *(Case("products", batch, n, 1e2) for n, batch in ((256, 512), (512, 128), (1024, 32), (2048, 4))),
        *(Case("grid", batch, n, condition) for batch, condition, n in grid if batch * n * n <= 2**28),
    ]
    if not quick:
        return found
    first = {case.section: case for case in reversed(found)}
    return [case._replace(batch=2, n=80 if case.section == "products" else 16) for case in reversed(first.values())]


def inputs(case: Case, device: torch.device, cache: int) -> list[tuple[Tensor, Tensor]]:
    """A and a random symmetric G; as many such as are twice what the ``cache`` of so many bytes holds, at most 32."""
    dtype, generator = getattr(torch, case.dtype), torch.Generator(device).manual_seed(0)
    size = case.batch * case.n**2
    sets = min(32, max(1, ceil(cache / (size * dtype.itemsize))))
    if case.covariances:
        a = make_case("synthetic", batch_size=sets * case.batch, dim=case.n, pts=1000, tau=1.0, seed=0,
                      dtype=dtype, device=device).a  # fmt: skip
    elif case.condition == SINGULAR:  # of n/2 points with small integers, so that no rounding adds to the rank
        shape = (sets * case.batch, case.n // 2, case.n)
        x = torch.randint(-8, 9, shape, dtype=dtype, device=device, generator=generator)
        a = x.mT @ x / (case.n // 2)
    else:
        a = matrices(case.n, case.condition, dtype, sets * size, device, min(DISTINCT, max(4, 2**22 // case.n**2)))
    g = torch.randn(a.shape, dtype=dtype, device=device, generator=generator)
    return list(zip(a.split(case.batch), ((g + g.mT) / 2).split(case.batch), strict=True))


def exact(case: Case, a: Tensor, g: Tensor) -> list[Extended]:
    """The root and its gradient, more precise than the dtype; for pooling those of the same steps, in float64."""
    if case.section == "pooling":
        leaf = a.double().requires_grad_()
        s = POOLING.roots(leaf.detach(), inverse=False).sqrt
        x = forward_and_backward(lambda a: POOLING.roots(a, inverse=False).sqrt, leaf, g.double())
        return [Extended(t, torch.zeros_like(t)) for t in (s, x)]
    if case.dtype == "float32":
        return list(reference(a, g, extended=False))
    return [Extended(*(part.to(a.device) for part in t)) for t in reference(a.cpu(), g.cpu(), extended=True)]


def floors(case: Case, limits: dict[str, float]) -> dict[str, float]:
    """By mode, the time in which the device could do the products, or read what goes in and write what comes out."""
    if case.dtype != "float32" or case.section == "pooling" or case.condition not in PRODUCTS or not limits:
        return {}
    roots, gradient = PRODUCTS[case.condition]
    counts = {FORWARD: (roots, 3), BOTH: (roots + gradient, 7)}  # A → S and Z; and S, Z, G → X
    return {
        mode: case.batch * case.n**2 * max(2 * case.n * flops / limits["float32"], 4 * moved / limits["copy"])
        for mode, (flops, moved) in counts.items()
    }
