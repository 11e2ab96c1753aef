"""What norms alone tell of a batch of symmetric matrices: its scale and bounds on its spectrum.

Nothing here factorises a matrix. Tensors are ``(..., n, n)``; results keep two trailing axes of
length 1, ready to broadcast against the batch.
"""

from __future__ import annotations

from math import ceil, log2

import torch
from torch import Tensor

from ._scratch import scratch


def null_level(n: int, dtype: torch.dtype) -> float:
    """Relative size below which an eigenvalue of an ``n × n`` matrix cannot be told from zero.

    ``max(n, 16)·eps``: a symmetric eigensolver is backward stable to a modest multiple of
    ``n·eps·‖A‖₂``; the 16 allows for the rounding of whoever summed a small covariance.
    """
    return max(n, 16) * torch.finfo(dtype).eps


def largest_entry(a: Tensor) -> Tensor:
    """Per matrix, the size of the largest entry; infinite or NaN where the matrix is not finite."""
    return a.abs().amax((-2, -1), keepdim=True)


def power_of_four(largest: Tensor) -> Tensor:
    """Per matrix, the power of 4 that brings its largest entry into [1, 4); 1 for a zero matrix.

    Dividing by it and multiplying a root by its square root (a power of 2) is exact, so matrices
    whose Frobenius norm under- or overflows can be handled like any other. It is built from
    ``frexp`` because a vectorised ``pow`` need not return exact powers.
    """
    mantissa, exponent = torch.frexp(largest)  # largest = mantissa · 2^exponent
    power = torch.where(exponent % 2 == 0, largest / (4 * mantissa), largest / (2 * mantissa))
    # The smallest subnormal over 4 is 0; 0, NaN and infinity have no power.
    return torch.where((power > 0) & largest.isfinite(), power, 1.0)


def split(x: Tensor) -> tuple[Tensor, Tensor]:
    """Float64 matrices H and L with H + L = X, H of so few bits that products of such H do not round.

    The entries of H are multiples of a unit u below 2^bits·u, so that sums of n products stay below 2^53·u²
    (Ozaki, Ogita, Oishi & Rump, Numer. Algorithms 59 (2012) 95–118).
    """
    anchor = rounding_anchor(largest_entry(x), x.shape[-1])
    high = (x + anchor) - anchor
    return high, x - high


def residual(a: Tensor, s: Tensor, out: Tensor) -> Tensor:
    """A − S² of symmetric float64 matrices, whose error is some eps times itself and 1e-7 of what rounding S does."""
    anchor = rounding_anchor(s.diagonal(dim1=-2, dim2=-1).amax(-1)[:, None, None], s.shape[-1])
    with scratch(3, s) as (high, low, product):
        torch.add(s, anchor, out=high).sub_(anchor)
        torch.sub(s, high, out=low)
        torch.sub(a, torch.bmm(high, high, out=product), out=out)
        cross = torch.bmm(high.add_(low, alpha=0.5), low, out=product)
        return out.sub_(cross).sub_(cross.mT)


def rounding_anchor(largest: Tensor, n: int) -> Tensor:
    """What to add to and subtract from float64 entries up to ``largest`` for the H of `split`."""
    bits = (53 - ceil(log2(max(n, 2)))) // 2 - 1
    unit = torch.ldexp(torch.ones_like(largest), torch.frexp(largest).exponent - bits)
    return 1.5 * 2.0**52 * unit  # that rounds to a multiple of u


def eigenvalue_bound(a: Tensor) -> Tensor:
    """Upper bound on the largest eigenvalue of symmetric ``a``, for one matrix product.

    With m = tr A / n and E = A − mI, the spectrum lies in m ± ‖E‖₂, and
    ‖E‖₂ = ‖E²‖₂^{1/2} ≤ ‖E²‖_F^{1/2}. The result is the least of that, ‖A‖_F and ‖A‖_∞.
    """
    mean = a.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    e = a - mean * torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    multiple = (e == 0).all(-1, keepdim=True).all(-2, keepdim=True)  # of I, where norms have no second derivative
    e = torch.where(multiple, 1.0, e)
    spread = torch.where(multiple, 0.0, torch.linalg.matrix_norm(e @ e, keepdim=True).sqrt())
    rows = a.abs().sum(-1, keepdim=True).amax(-2, keepdim=True)
    frobenius = torch.linalg.matrix_norm(a, keepdim=True)
    return torch.minimum(torch.minimum(mean + spread, rows), frobenius)
