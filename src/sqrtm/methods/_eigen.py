"""Roots by eigenvalues in float64, for what the iterations cannot do: verdict, pseudo-inverse, rounding at the end."""

from __future__ import annotations

import torch
from torch import Tensor

from .._checks import OK, SINGULAR
from .._scratch import scratch
from .._spectrum import null_level, residual
from ._base import Roots
from ._parallel import eigh

IMPRECISE = 2e-11
"""`gradient_error` above which gradients from float64 eigenvalues are corrected; uncorrected, errors reach 8e-11."""
NULL = {torch.float32: 4 * torch.finfo(torch.float32).eps}
"""Eigenvalues of a float32 matrix, computed in float64, up to this of the largest may be the rounding of a zero."""


def eigen_roots(a: Tensor, inverse: bool, dtype: torch.dtype = torch.float64, differentiated: bool = False) -> Roots:
    """The roots of symmetric ``a``, with every eigenvalue looked at.

    Computed in ``dtype``, rounded at the end; with what makes the gradient precise, if ``differentiated``.
    Eigenvalues that rounding made negative count as zero in the root. An eigenvalue counts as zero in the gradient (is
    exactly 0 in ``eigen``), and makes the matrix singular, when it is at most `NULL` or four times the most negative
    eigenvalue: the size of a negative eigenvalue of a semidefinite matrix is that of its rounding errors.
    """
    n = a.shape[-1]
    rounded = a.dtype != dtype
    with scratch(1 + 2 * rounded, a, dtype) as (spare, *more):
        rows = more[0] if rounded else torch.empty_like(a, memory_format=torch.contiguous_format)
        eigenvalues = eigh(spare.copy_(a) if rounded else a, rows)
        s = eigenvalues.clamp(min=0).sqrt()
        least, largest = eigenvalues.amin(-1), eigenvalues.abs().amax(-1)
        negative = (-least).clamp(min=0)
        level = torch.maximum(NULL.get(a.dtype, null_level(n, a.dtype)) * largest, 4 * negative)
        status = torch.where(least <= level, SINGULAR, OK)

        def with_eigenvalues(x: Tensor) -> Tensor:
            out = more[1] if rounded else torch.empty_like(rows)
            return torch.bmm(rows.mT, torch.mul(rows, x[:, :, None], out=spare), out=out).to(a.dtype)

        sqrt = with_eigenvalues(s)
        invsqrt = with_eigenvalues(1 / s) if inverse else None
        q = rows.to(a.dtype).mT
    defect = None
    if a.dtype == torch.float64 and differentiated:
        defect = _defect(a, sqrt, s, q, (least > level) & (gradient_error(s) > IMPRECISE))
    values = torch.where(eigenvalues <= level[:, None], 0.0, s)
    interval = torch.stack([least.clamp(min=0), largest], -1)
    ratio = negative / torch.where(largest > 0, largest, 1.0)
    return Roots(sqrt, invsqrt, (values.to(a.dtype), q), interval.to(a.dtype), None, status, None, ratio, defect)


def loewner(s: Tensor, q: Tensor, g: Tensor, defect: Tensor, symmetric: bool = True) -> Tensor:
    """X with S X + X S = G for S = Q (diag(s) + D) Qᵀ, in the eigenbasis; 0 where two eigenvalues are.

    Without D, ``(B, 0, 0)``, that is Q [(QᵀGQ)_ij / (s_i + s_j)] Qᵀ. Its first power is enough: it is rounding.
    """
    x = torch.empty_like(g, memory_format=torch.contiguous_format)
    with scratch(3, g) as (sums, y, other):
        torch.add(s[..., :, None], s[..., None, :], out=sums)
        if not (s > 0).all():
            sums[sums == 0] = torch.inf
        torch.bmm(torch.bmm(q.mT, g, out=y), q, out=x).div_(sums)
        if defect.shape[-1]:
            torch.bmm(defect, x, out=y)
            torch.add(y, y.mT if symmetric else x @ defect, out=other)
            x.sub_(other.div_(sums))
        return torch.bmm(torch.bmm(q, x, out=y), q.mT, out=x)


def gradient_error(s: Tensor) -> Tensor:
    """``(B,)``, an estimate of the relative error of a gradient from float64 eigenvalues ``s`` of the root, ascending.

    An eigensolver is wrong by about eps·‖A‖_F/√n in every entry of QᵀAQ, which divides by λ_min where G is in the
    direction of the least eigenvalue, and counts as much as such entries do among 1/(s_i + s_j). Measured errors were
    up to 4 times this, for spectra of all shapes, n from 8 to 250 and G random, of rank 1 and I.
    """
    least = s[:, :1]
    ratios = least / s
    size = torch.linalg.vector_norm((s / least).square(), dim=-1)  # ‖A‖_F/λ_min
    share = ratios.pow(3).sum(-1) / ratios.sum(-1)
    return torch.finfo(torch.float64).eps * size * share / s.shape[-1] ** 0.5


def _defect(a: Tensor, sqrt: Tensor, s: Tensor, q: Tensor, which: Tensor) -> Tensor | None:
    """D for which A^{1/2} = S + Q D Qᵀ, of the matrices where it is wanted; 0 for the others, None if that is all.

    By Newton's method: the error of an eigensolver, some eps·‖A‖₂, which counts where κ is large, falls to its square.
    """
    where = which.nonzero()[:, 0]
    if not len(where):
        return None
    everything = len(where) == len(a)
    a, root, s, q = (x if everything else x[where] for x in (a, sqrt, s, q))
    scale = s.amax(-1).square()[:, None, None]
    with scratch(1, a) as (sums,), scratch(3, a, torch.float32) as (q32, r, y):  # a few digits of D are enough
        r.copy_(residual(a, root, out=sums).div_(scale))
        q32.copy_(q)
        torch.bmm(torch.bmm(q32.mT, r, out=y), q32, out=r)
        torch.add(s[..., :, None], s[..., None, :], out=sums)
        d = (r * scale).div_(sums)
    return d if everything else torch.zeros_like(sqrt).index_copy_(0, where, d)


def merge(parts: list[tuple[Tensor, Roots]], batch: int) -> Roots:
    """The roots of a batch from those of the matrices at the given indices; A^{-1/2} is 0 where there is none."""
    parts = [part for part in parts if len(part[0])]
    if len(parts) == 1:
        return parts[0][1]
    like = parts[0][1].sqrt
    n, device = like.shape[-1], like.device
    s = like.new_empty(batch, n, n)
    z = torch.zeros_like(s) if any(part.invsqrt is not None for _, part in parts) else None
    values, q, interval = like.new_zeros(batch, n), torch.zeros_like(s), like.new_empty(batch, 2)
    by_eigen = torch.zeros(batch, dtype=torch.bool, device=device)
    defect = torch.zeros_like(s) if any(part.defect is not None for _, part in parts) else None
    status = torch.zeros(batch, dtype=torch.int64, device=device)
    steps, negative = torch.zeros_like(status), torch.zeros(batch, dtype=torch.float64, device=device)
    for where, part in parts:
        assert part.interval is not None
        s[where], interval[where] = part.sqrt, part.interval
        if z is not None and part.invsqrt is not None:
            z[where] = part.invsqrt
        if defect is not None and part.defect is not None:
            defect[where] = part.defect
        if part.status is not None:
            status[where] = part.status
        if part.negative is not None:
            negative[where] = part.negative.double()
        if part.steps is not None:
            steps[where] = part.steps
        if part.eigen is not None:
            values[where], q[where] = part.eigen
            by_eigen[where] = True if part.by_eigen is None else part.by_eigen
    return Roots(s, z, (values, q), interval, None if by_eigen.all() else by_eigen, status, steps, negative, defect)
