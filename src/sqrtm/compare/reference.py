"""The exact root and gradient that every row is judged against.

In float64: eigenvalue decomposition and Loewner form. Beyond float64, for judging float64 rows: the
same, refined with residuals in extended precision. A matrix in extended precision is
the unevaluated sum of two float64 matrices, (high, low). Products are exact because each factor is
split into slices so narrow that float64 products and sums of their entries do not round (Ozaki,
Ogita, Oishi & Rump, *Error-free transformations of matrix multiplication by using fast routines of
matrix multiplication and its applications*, Numer. Algorithms 59 (2012) 95–118), and the exact
products are added up with the error of each sum kept (Knuth's two-sum).
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, log2
from typing import NamedTuple

import torch
from torch import Tensor

from .._spectrum import null_level
from ..gradients import LyapunovEigh
from ..methods import Eigh


class Extended(NamedTuple):
    """The matrix high + low, ``(B, n, n)`` each."""

    high: Tensor
    low: Tensor

    def error(self, x: Tensor) -> Tensor:
        """Relative Frobenius distance of ``x`` from this, per matrix."""
        x = x.double()
        distance = torch.linalg.matrix_norm((x - self.high) - self.low)
        size = torch.linalg.matrix_norm(self.high)
        return torch.where(distance == 0, distance, distance / size)


def reference(a: Tensor, g: Tensor, extended: bool) -> tuple[Extended, Extended]:
    """A^{1/2} and the gradient of ⟨G, A^{1/2}⟩ for symmetric ``a`` and ``g``, ``(B, n, n)``.

    Accurate to float64 rounding; if ``extended``, to about the square of that, or where A is
    singular, to float64 rounding whatever the noise in its null space.
    """
    a, g = a.double(), g.double()
    s, eigen = (roots := Eigh().roots(a, inverse=False)).sqrt, roots.eigen
    assert eigen is not None
    rule = LyapunovEigh()

    def correct(residual: Tensor) -> Tensor:
        """The Lyapunov solve that turns a residual into a correction."""
        return rule.solve(s, residual, eigen, symmetric=False)

    gradient = _exactly(correct(g))
    if not extended:
        return _exactly(s), gradient
    root = _exactly(_resolve_null_space(a, *eigen))
    root = _refine(root, lambda root: correct(_residual(a, [(root, root)])))
    gradient = _refine(gradient, lambda x: correct(_residual(g, [(root, x), (x, root)])))
    return root, gradient


def _exactly(x: Tensor) -> Extended:
    return Extended(x, torch.zeros_like(x))


def _refine(x: Extended, correction: Callable[[Extended], Tensor]) -> Extended:
    """Add corrections, each smaller than the last by about eps·κ, until they no longer shrink or matter."""
    size = torch.linalg.matrix_norm(x.high)
    last = torch.full_like(size, torch.inf)
    for _ in range(50):
        step = correction(x)
        now = torch.linalg.matrix_norm(step)
        useful = (now < last / 2) & (now > 2.0**-105 * size)
        if not useful.any():
            break
        x = _add(x, torch.where(useful[:, None, None], step, 0.0))
        last = torch.where(useful, now, 0.0)
    return x


def _resolve_null_space(a: Tensor, s: Tensor, q: Tensor) -> Tensor:
    """Root of ``a`` from the eigenvalues ``s`` of its root and its eigenvectors ``q``, the smallest recomputed.

    Eigenvalues of A near eps·‖A‖₂ are noise of the eigensolver, and their roots are 1e-8 of the whole.
    Here they are those of QᵀAQ in the null space, formed in extended precision.
    """
    null = s <= null_level(s.shape[-1], s.dtype) ** 0.5 * s.amax(-1, keepdim=True)  # as LyapunovEigh has it
    aq = -_residual(torch.zeros_like(a), [(_exactly(a), _exactly(q))])
    qaq = -_residual(torch.zeros_like(a), [(_exactly(q.mT), _exactly(aq))])
    block = torch.where(null[:, :, None] & null[:, None, :], (qaq + qaq.mT) / 2, 0.0)
    scale = block.abs().amax((-2, -1), keepdim=True)  # eigh is accurate relative to the block
    scale = torch.where(scale > 0, scale, 1.0)
    core = Eigh().roots(block / scale, inverse=False).sqrt * scale.sqrt()
    core = core + torch.diag_embed(torch.where(null, 0.0, s))
    return q @ core @ q.mT


def _two_sum(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """x + y rounded, and what rounding lost."""
    total = x + y
    part = total - x
    return total, (x - (total - part)) + (y - part)


def _add(x: Extended, y: Tensor) -> Extended:
    high, lost = _two_sum(x.high, y)
    return Extended(*_two_sum(high, x.low + lost))


def _residual(c: Tensor, products: list[tuple[Extended, Extended]]) -> Tensor:
    """c − Σ x·y, computed in extended precision and rounded at the end."""
    total = _exactly(c)
    for x, y in products:
        left, right = _slices(x), _slices(y)
        for i, one in enumerate(left):
            for other in right[: len(right) - i]:  # the others lie below the last slice
                total = _add(total, -(one @ other))
    return total.high + total.low


def _slices(x: Extended) -> list[Tensor]:
    """Split x into float64 matrices whose products are exact, largest first, to about 105 bits.

    Each slice is a multiple of a unit u below 2^bits·u in size, so that a sum of n products stays
    below 2^53·u² and is exact.
    """
    n = x.high.shape[-1]
    bits = (53 - ceil(log2(max(n, 2)))) // 2
    _, exponent = torch.frexp(x.high.abs().amax((-2, -1), keepdim=True))
    slices = []
    for k in range(1, ceil(105 / bits) + 1):
        # Adding and subtracting 1.5·2^52·u rounds to a multiple of u.
        unit = torch.ldexp(torch.ones_like(exponent, dtype=torch.float64), exponent - k * (bits - 1))
        anchor = 1.5 * 2.0**52 * unit
        piece = (x.high + anchor) - anchor
        slices.append(piece)
        x = Extended(*_two_sum(x.high - piece, x.low))
    return slices
