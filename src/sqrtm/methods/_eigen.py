"""Roots by eigenvalues in float64, for what the iterations cannot do: verdict, pseudo-inverse, rounding at the end."""

from __future__ import annotations

import torch
from torch import Tensor

from .._checks import FEW, OK, SINGULAR
from .._eigh import robust_eigh
from .._scratch import scratch
from .._spectrum import null_level, residual
from ._base import Roots
from ._parallel import eigh
from ._products import bmm

IMPRECISE = 2e-11
"""`gradient_error` above which gradients from float64 eigenvalues are corrected; uncorrected, errors reach 8e-11."""
NULL = {torch.float32: 4 * torch.finfo(torch.float32).eps}
"""Eigenvalues of a float32 matrix, computed in float64, up to this of the largest may be the rounding of a zero."""


def null_level_of(a: Tensor) -> float:
    """Relative size up to which an eigenvalue of ``a``, computed in float64, may be the rounding of a zero."""
    return NULL.get(a.dtype) or null_level(a.shape[-1], a.dtype)


def eigen_roots(a: Tensor, inverse: bool, dtype: torch.dtype = torch.float64, differentiated: bool = False) -> Roots:
    """The roots of symmetric ``a``, with every eigenvalue looked at.

    Computed in ``dtype``, rounded at the end; with what makes the gradient precise, if ``differentiated``.
    Eigenvalues that rounding made negative count as zero in the root. An eigenvalue counts as zero in the gradient (is
    exactly 0 in ``eigen``), and makes the matrix singular, when it is at most `NULL` or four times the most negative
    eigenvalue: the size of a negative eigenvalue of a semidefinite matrix is that of its rounding errors. The inverse
    is then that on the rest of the space.
    """
    if a.numel() <= FEW:
        eigenvalues, q = robust_eigh(a if a.dtype == dtype else a.double())
        return _from_eigen(a, eigenvalues, q.mT, inverse, differentiated)
    rounded = a.dtype != dtype
    with scratch(1 + 2 * rounded, a, dtype) as (spare, *more):
        rows, product = more or (torch.empty_like(a, memory_format=torch.contiguous_format), None)
        eigenvalues = eigh(spare.copy_(a) if rounded else a, rows)
        return _from_eigen(a, eigenvalues, rows, inverse, differentiated, spare, product)


def _from_eigen(
    a: Tensor,
    eigenvalues: Tensor,
    rows: Tensor,
    inverse: bool,
    differentiated: bool,
    spare: Tensor | None = None,
    product: Tensor | None = None,
) -> Roots:
    """`eigen_roots` from ascending eigenvalues and eigenvectors as rows, in memory that may be given."""
    null = null_level_of(a)
    s = values = eigenvalues.sqrt()
    status = ratio = None
    if not all_above(null, eigenvalues):  # else there is nothing more to find out
        s = eigenvalues.clamp(min=0).sqrt()
        least, largest = eigenvalues[:, 0], eigenvalues.abs().amax(-1)
        negative = (-least).clamp(min=0)
        level = torch.maximum(null * largest, 4 * negative)
        status = torch.where(least <= level, SINGULAR, OK)
        ratio = negative / torch.where(largest > 0, largest, 1.0)
        values = torch.where(eigenvalues <= level[:, None], 0.0, s)

    sqrt = with_eigenvalues(rows, s, spare, product).to(a.dtype)
    invsqrt = None
    if inverse:
        reciprocal = 1 / s if status is None else torch.where(values > 0, 1 / values, 0.0)
        invsqrt = with_eigenvalues(rows, reciprocal, spare, product).to(a.dtype)
    ends = None
    if differentiated or eigenvalues.dtype == a.dtype:
        ends = torch.stack([eigenvalues[:, 0].clamp(min=0), eigenvalues[:, -1]], -1)
    if not differentiated:
        return Roots(sqrt, invsqrt, None, ends, None, status, None, ratio)
    q = rows.to(a.dtype).mT
    defect = None
    if a.dtype == torch.float64:
        defect = _defect(a, sqrt, s, q, (values[:, 0] > 0) & (gradient_error(s) > IMPRECISE))
    return Roots(sqrt, invsqrt, (values.to(a.dtype), q), ends, None, status, None, ratio, defect)


def with_eigenvalues(rows: Tensor, s: Tensor, spare: Tensor | None = None, out: Tensor | None = None) -> Tensor:
    """Q diag(s) Qᵀ, of the rows of Qᵀ, in memory that may be given."""
    if spare is None:
        return bmm(rows.mT, rows * s.unsqueeze(-1))
    return bmm(rows.mT, torch.mul(rows, s.unsqueeze(-1), out=spare), out=out)


def all_above(level: float, eigenvalues: Tensor) -> bool:
    """Whether the first of every row is more than so much of the last; not so where there is a NaN."""
    if eigenvalues.numel() <= FEW:
        return all([row[0] > level * row[-1] for row in eigenvalues.tolist()])  # noqa: C419  (slower)
    return bool((eigenvalues[:, 0] > level * eigenvalues[:, -1]).all())


def loewner(s: Tensor, rows: Tensor, g: Tensor, defect: Tensor, symmetric: bool = True) -> Tensor:
    """X with S X + X S = G for S = Q (diag(s) + D) Qᵀ, of the rows of Qᵀ; 0 where two eigenvalues are.

    Without D, ``(B, 0, 0)``, that is Q [(QᵀGQ)_ij / (s_i + s_j)] Qᵀ. Its first power is enough: it is rounding.
    """
    x = torch.empty_like(g, memory_format=torch.contiguous_format)
    with scratch(3, g) as (sums, y, other):
        torch.add(s[..., :, None], s[..., None, :], out=sums)
        if not (s > 0).all():
            sums[sums == 0] = torch.inf
        bmm(bmm(rows, g, out=y), rows.mT, out=x).div_(sums)
        if defect.shape[-1]:
            bmm(defect, x, out=y)
            torch.add(y, y.mT if symmetric else x @ defect, out=other)
            x.sub_(other.div_(sums))
        return bmm(bmm(rows.mT, x, out=y), rows, out=x)


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
        bmm(bmm(q32.mT, r, out=y), q32, out=r)
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
    interval = like.new_zeros(batch, 2)
    # Transposed as eigensolvers return them: what rounds how depends on it, and must not on neighbours.
    eigen = (like.new_zeros(batch, n), torch.zeros_like(s).mT) if any(part.eigen for _, part in parts) else None
    by_eigen = torch.zeros(batch, dtype=torch.bool, device=device)
    defect = torch.zeros_like(s) if any(part.defect is not None for _, part in parts) else None
    status = torch.zeros(batch, dtype=torch.int64, device=device)
    steps, negative = torch.zeros_like(status), torch.zeros(batch, dtype=torch.float64, device=device)
    for where, part in parts:
        s[where] = part.sqrt
        if part.interval is not None:
            interval[where] = part.interval.to(interval.dtype)
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
        if part.eigen is not None and eigen is not None:
            eigen[0][where], eigen[1][where] = part.eigen
            by_eigen[where] = True if part.by_eigen is None else part.by_eigen
    return Roots(s, z, eigen, interval, None if by_eigen.all() else by_eigen, status, steps, negative, defect)
