"""Roots by eigenvalues in float64, for what the iterations cannot do: verdict, pseudo-inverse, rounding at the end."""

from __future__ import annotations

import torch
from torch import Tensor

from .._checks import INDEFINITE, OK, SINGULAR, indefinite_level
from .._spectrum import largest_entry, null_level, power_of_four, split
from ._base import Roots
from ._jacobi import jacobi

JACOBI_FROM = {1: 1, 2: 1000, 3: 3000, 4: 4000}
"""By dimension, the batch from which `jacobi` was faster than LAPACK on 2 cores."""
SHARP = 1e-5
"""Eigenvalues are computed again, in float64, where the least is below this of the largest."""
NULL = {torch.float32: 4 * torch.finfo(torch.float32).eps}
"""Eigenvalues of a float32 matrix, computed in float64, up to this of the largest may be the rounding of a zero."""


def eigen_roots(a: Tensor, inverse: bool, dtype: torch.dtype = torch.float64) -> Roots:
    """The roots of symmetric ``a``, with every eigenvalue looked at.

    Computed in ``dtype``, rounded at the end. Eigenvalues that rounding made negative count as zero in
    the root. An eigenvalue counts as zero in the gradient (is exactly 0 in ``eigen``), and makes the matrix
    singular, when it is at most `NULL` or four times the most negative eigenvalue: the size of a
    negative eigenvalue of a semidefinite matrix is that of its rounding errors.
    """
    x = a.to(dtype)
    n, batch = a.shape[-1], a.shape[0]
    small = a.device.type == "cpu" and batch >= JACOBI_FROM.get(n, batch + 1)
    eigenvalues, q = jacobi(x) if small and dtype == torch.float64 else torch.linalg.eigh(x)
    if a.dtype == torch.float64:
        _sharpen(eigenvalues, a, q)
    s = eigenvalues.clamp(min=0).sqrt()
    least, largest = eigenvalues.amin(-1), eigenvalues.abs().amax(-1)
    negative = (-least).clamp(min=0)
    level = torch.maximum(NULL.get(a.dtype, null_level(n, a.dtype)) * largest, 4 * negative)
    status = torch.where(least <= level, SINGULAR, OK)
    status = torch.where(negative > indefinite_level(n, a.dtype) * largest, INDEFINITE, status)
    sqrt = (q * s[:, None, :]) @ q.mT
    invsqrt = ((q / s[:, None, :]) @ q.mT).to(a.dtype) if inverse else None
    values = torch.where(eigenvalues <= level[:, None], 0.0, s)
    return Roots(
        sqrt.to(a.dtype),
        invsqrt,
        (values.to(a.dtype), q.to(a.dtype)),
        torch.stack([least.clamp(min=0), largest], -1).to(a.dtype),
        None,
        status,
    )


def _sharpen(eigenvalues: Tensor, a: Tensor, q: Tensor) -> None:
    """Make small eigenvalues as accurate, relative to themselves, as the largest; in place.

    An eigensolver errs by some eps·‖A‖₂, which at κ = 1e6 are 1e-10 of the least eigenvalue, and of the gradient. But
    its vectors are good, so that qᵀAq errs by the square of their error, if Aq is computed without that rounding.
    """
    where = (eigenvalues.amin(-1) < SHARP * eigenvalues.amax(-1)).nonzero()[:, 0]
    if len(where):
        scale = power_of_four(largest_entry(a[where]))
        (a_high, a_low), (q_high, q_low) = (split(x) for x in (a[where] / scale, q[where]))
        product = a_high @ q_high + (a_high @ q_low + a_low @ q[where])
        size = (q[where] * q[where]).sum(-2)
        eigenvalues[where] = (product * q[where]).sum(-2) / size * scale[:, 0]


def merge(parts: list[tuple[Tensor, Roots]], batch: int) -> Roots:
    """The roots of a batch from those of the matrices at the given indices; A^{-1/2} is 0 where there is none."""
    like = parts[0][1].sqrt
    n, device = like.shape[-1], like.device
    s = like.new_empty(batch, n, n)
    z = torch.zeros_like(s) if any(part.invsqrt is not None for _, part in parts) else None
    values, q, interval = like.new_zeros(batch, n), torch.zeros_like(s), like.new_empty(batch, 2)
    by_eigen = torch.zeros(batch, dtype=torch.bool, device=device)
    status = torch.zeros(batch, dtype=torch.int64, device=device)
    steps = torch.zeros_like(status)
    for where, part in parts:
        assert part.interval is not None
        s[where], interval[where] = part.sqrt, part.interval
        if z is not None and part.invsqrt is not None:
            z[where] = part.invsqrt
        if part.status is not None:
            status[where] = part.status
        if part.steps is not None:
            steps[where] = part.steps
        if part.eigen is not None:
            values[where], q[where] = part.eigen
            by_eigen[where] = True if part.by_eigen is None else part.by_eigen
    return Roots(s, z, (values, q), interval, None if by_eigen.all() else by_eigen, status, steps)
