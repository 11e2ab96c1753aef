"""The gradient by the Lyapunov equation: one Newton step with the saved roots, then a Chebyshev polynomial."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .. import kernels
from .._eigh import robust_eigh
from .._schedule import CHEBYSHEV_TOLERANCE, MOST_TERMS
from .._transforms import captured, traced, transformed
from ..methods import Roots
from ..methods._base import in_groups, pieces
from ..methods._chebyshev import chebyshev, spectral_bound
from ..methods._closed_form import LARGEST, LEAST_PIECE, solve_lyapunov
from ..methods._eigen import loewner
from ..methods._products import matmul
from ._implicit import Factors, ImplicitGradient, symmetrised
from .lyapunov_eigh import LyapunovEigh, check_rtol

TERMS = (2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 17, 20, 24, 29, 35, 42, 50, 60, 72, 86, MOST_TERMS)
"""Numbers of terms that are used: few, so that matrices alike in difficulty are computed together."""
CAPTURED_TERMS = {torch.float32: 50, torch.float64: MOST_TERMS}
"""For what a CUDA graph does without a kernel, which is the same for every matrix: κ of about 1e5 and 1e7."""
BY_EIGEN = (-1.0, 1.0)
"""Takes the place of the bounds on the spectrum where values and vectors, as rows, are saved instead of Z."""


@dataclass(frozen=True)
class LyapunovChebyshev(ImplicitGradient):
    """With Z = S⁻¹ and μ = (‖Z‖/‖S‖)^{1/2}, S X + X S = G is S₁X + XS₁ = G₁ for

        S₁ = (μS + Z/μ)/2,    G₁ = (μG + ZGZ/μ)/2,

    one step of Newton's method for the sign of [[S, G], [0, −S]]. By the inequality of the arithmetic and
    geometric mean S₁ ⪰ I, and its condition number c is about κ(A)^{1/4}/2: 1.03 for κ = 2.5, 5 for κ = 1e4.
    A polynomial in D ↦ S₁D + DS₁, the best for its inverse on [2, 2c], then takes log(1/tol)/log(ρ) terms with
    ρ = (√c + 1)/(√c − 1), of one product each but for the first, because DS₁ is the transpose of S₁D: with Z saved
    by `Minimax` or `Auto`, a gradient costs 4 matrix products for κ = 2.5, about 12 for κ = 1e2 and 20 for
    κ = 1e4 in float32, twice that in float64.

    Saved are S and Z, and two bounds a matrix. Matrices that the method computed by eigenvalues, singular ones
    among them, are solved in their eigenbasis, with the pseudo-inverse convention of `LyapunovEigh`; in float64, where
    the rounding errors of an eigensolver count, after `Auto` with what S is short of A^{1/2}, for one product
    more. For n ≤ 4 the equation is solved by elimination, and only S is saved. After a method that has no Z to save,
    Z comes from a Cholesky factorisation of S.

    Parameters
    ----------
    rtol : float, optional
        As that of `LyapunovEigh`, for roots S of other methods that are so ill-conditioned that eigenvalues are taken.

    References
    ----------
    Roberts, *Linear model reduction and solution of the algebraic Riccati equation by use of the sign
    function*, Int. J. Control 32 (1980) 677–687; Achieser, *Theory of Approximation*, 1956, Chapter II (the
    polynomial of best approximation to 1/(x − a)).
    """

    rtol: float | None = None

    name: ClassVar[str] = "lyapunov-chebyshev"
    kept_by_operator: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_rtol(self, self.rtol)

    def keep(self, roots: Roots) -> Factors:
        s = roots.sqrt
        defect = s.new_zeros(len(s), 0, 0) if roots.defect is None else roots.defect
        if roots.ends is not None:  # which tell of each matrix whether it was done by eigenvalues
            if roots.eigen is not None:
                return roots.ends, roots.eigen[0], roots.eigen[1].mT, defect
            assert roots.invsqrt is not None
            return roots.ends, s.new_zeros(s.shape[:-1]), roots.invsqrt.detach(), defect
        if roots.eigen is not None and roots.by_eigen is None:
            values, q = roots.eigen
            if roots.interval is None:  # else what is zero is known already
                values = LyapunovEigh().without_null(values)
            return s.new_tensor(BY_EIGEN).repeat(len(s), 1), values, q.mT, defect
        if roots.interval is None:
            return ()
        z = roots.sqrt if _closed(s) else roots.invsqrt
        assert z is not None  # it is wanted
        z = z.detach()
        ends = roots.interval.sqrt()
        known = ends[:, :1] > 0
        if not known.all():  # then the iteration's own results tell
            bounds = torch.stack([spectral_bound(z).reciprocal(), torch.minimum(ends[:, 1], spectral_bound(s))], -1)
            ends = torch.where(known, ends, bounds)
        if roots.eigen is None or roots.by_eigen is None:
            return ends, s.new_zeros(s.shape[:-1]), z, defect
        values, q = roots.eigen
        ends = torch.where(roots.by_eigen[:, None], ends.new_tensor(BY_EIGEN), ends)
        return ends, values, torch.where(roots.by_eigen[:, None, None], q.mT, z), defect

    def factors(self, s: Tensor) -> Factors:
        if traced(s) or transformed():
            return ()  # `solve` will see values
        return self._factors(s)

    def _factors(self, s: Tensor) -> Factors:
        factor, info = torch.linalg.cholesky_ex(s)
        identity = torch.eye(s.shape[-1], dtype=s.dtype, device=s.device)
        z = torch.cholesky_inverse(torch.where((info == 0)[:, None, None], factor, identity))
        ends = torch.stack([spectral_bound(z).reciprocal(), spectral_bound(s)], -1)
        by_eigen = (info != 0) | ~(ends[:, 1] < _largest_ratio(TERMS[-1], s.dtype) * ends[:, 0])
        values = torch.zeros_like(s[..., 0])
        if by_eigen.any():
            where = by_eigen.nonzero()[:, 0]
            ends[where] = ends.new_tensor(BY_EIGEN)
            found, q = robust_eigh(s[where])
            values[where], z[where] = LyapunovEigh(self.rtol).without_null(found), q.mT
        return ends, values, z, s.new_zeros(len(s), 0, 0)

    def singular(self, s: Tensor, factors: Factors) -> Tensor | None:
        if not factors:
            return None
        ends, values, *_ = factors
        return (ends[:, 0] < 0) & (values == 0).any(-1)

    def null_projector(self, factors: Factors) -> Tensor:
        ends, values, rows, _ = factors
        null = (ends[:, :1] < 0) & (values == 0)
        return matmul(rows.mT, rows * null[:, :, None])

    def solve(self, s: Tensor, g: Tensor, factors: Factors, symmetric: bool) -> Tensor:
        if traced(s):
            from ._traced import solve as operator

            return operator(s, g, list(factors), symmetric, self.rtol)
        if not len(s):
            return torch.empty_like(g)
        ends, *others = factors or self._factors(s)
        if kernels.supported(s):
            from ..kernels import lyapunov as kernel

            values, factor, _ = others
            return kernel.solve(s, factor, values, g, ends, symmetric)
        if captured(s):  # in which case nothing is by eigenvalues
            terms = CAPTURED_TERMS[s.dtype]
            return chebyshev(s, others[1], g, ends, _largest_c(terms, s.dtype), terms, symmetric)
        eigh = LyapunovEigh(rtol=0.0)

        def run(
            i: int, s: Tensor, g: Tensor, ends: Tensor, values: Tensor, factor: Tensor, defect: Tensor
        ) -> tuple[Tensor, ...]:
            if symmetric and (i == 0 or s.shape[-1] <= LARGEST):
                g = symmetrised(g)
            if i == 0:
                return (loewner(values, factor, g, defect, symmetric),)
            if s.shape[-1] <= LARGEST:
                return (solve_lyapunov(s, g) if symmetric else eigh.solve(s, g, eigh.factors(s), symmetric),)
            terms = TERMS[min(i, len(TERMS)) - 1]
            return (chebyshev(s, factor, g, ends, _largest_c(terms, s.dtype), terms, symmetric),)

        # Of matrices whose c is above the limit of one number of terms, the next is used; those of BY_EIGEN are below.
        levels = [0.0]
        if s.shape[-1] > LARGEST:
            levels += [_largest_ratio(terms, s.dtype) for terms in TERMS]

        def piece(*part: Tensor) -> Tensor:
            return in_groups(part[2][:, 1] / part[2][:, 0], levels, run, *part)[0]

        size = len(s) if (ends[:, 0] < 0).all() else len(pieces(s, LEAST_PIECE if s.shape[-1] <= LARGEST else 1)[0])
        everything = (s, g, ends, *others)
        if size == len(s):
            return piece(*everything)
        return torch.cat([piece(*part) for part in zip(*(x.split(size) for x in everything), strict=True)])


def _closed(s: Tensor) -> bool:
    """There is a closed form of the solution, and nothing but S is needed."""
    return s.shape[-1] <= LARGEST and not kernels.supported(s)


def _largest_c(terms: int, dtype: torch.dtype) -> float:
    """c for which (√c − 1)/(√c + 1), to the power of so many terms, is the tolerance."""
    r = CHEBYSHEV_TOLERANCE[dtype] ** (1 / terms)
    return float(((1 + r) / (1 - r)) ** 2)


def _largest_ratio(terms: int, dtype: torch.dtype) -> float:
    """Largest s_max/s_min for which so many terms are enough: c = (q + 1/q)/2 with q its square root."""
    c = _largest_c(terms, dtype)
    return float((c + (c * c - 1) ** 0.5) ** 2)
