"""The exact root and gradient that every row is judged against.

In float64: eigenvalue decomposition and Loewner form. Beyond float64, for judging float64 rows: the
same, refined by Newton's method with residuals in extended precision. A matrix in extended precision is
the unevaluated sum of two float64 matrices, (high, low). Products are exact because each factor is
split into slices so narrow that float64 products and sums of their entries do not round (Ozaki,
Ogita, Oishi & Rump, *Error-free transformations of matrix multiplication by using fast routines of
matrix multiplication and its applications*, Numer. Algorithms 59 (2012) 95–118), and the exact
products are added up with the error of each sum kept (Knuth's two-sum).
"""

from __future__ import annotations

from math import ceil, log2
from typing import NamedTuple

import torch
from torch import Tensor

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

    Accurate to float64 rounding; if ``extended``, to about the square of that.
    """
    a, g = a.double(), g.double()
    s, _, eigen = Eigh().roots(a, inverse=False)
    assert eigen is not None

    def correct(residual: Tensor) -> Tensor:
        """The Lyapunov solve that turns a residual into a correction."""
        return LyapunovEigh().solve(s, residual, eigen, symmetric=True)

    root = Extended(s, torch.zeros_like(s))
    gradient = Extended(correct(g), torch.zeros_like(s))
    if extended:
        for _ in range(3):  # each step squares the root's error and multiplies the gradient's by 1e-15·√κ
            root = _add(root, correct(_residual(a, [(root, root)])))
        for _ in range(3):
            gradient = _add(gradient, correct(_residual(g, [(root, gradient), (gradient, root)])))
    return root, gradient


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
    total = Extended(c, torch.zeros_like(c))
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
