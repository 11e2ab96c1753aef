"""The root by the coupled composite minimax iteration: matrix products only, and few of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .._scratch import scratch
from ._base import Roots, SelfChecking, add_to_diagonal, in_groups, joined, norm, pieces
from ._chebyshev import chebyshev
from ._eigen import eigen_roots, merge
from ._minimax_table import FIRST, GENERAL

TAYLOR = (1.0, -1 / 2, 3 / 8)
"""(I + E)^{-1/2} in powers of E."""
TAYLOR_4 = (35 / 128, -8 / 7, -8 / 35, 8 / 5, 11 / 10)
"""The same to the power of 4: (s, a, b, c, k) of s(E² + aE + bI)(E² + cI) + kI."""
REMAINDER = {1: 3 / 8, 2: 5 / 16, 4: 63 / 256}
"""By degree k of the Taylor polynomial: ‖E‖₂ = δ becomes about this times δ^(k+1)."""
TOLERANCE = {torch.float32: 1e-6, torch.float64: 2e-13}
"""What that may be after the last step. δ is overestimated, by up to n^{1/4}, so the error is well below."""
MOST_STEPS = {torch.float32: 5, torch.float64: 14}
"""Where more would be needed, eigenvalues in float64 are had sooner."""
REFINED = 5e-5
"""λ_min/λ_max below which S is corrected once by its residual, in float32: uncorrected, S and its gradient can be 4
times less accurate than those of `torch.linalg.eigh` from κ = 5e4 on."""
CORRECTION = (25.0, 10)
"""Bound on the spectrum of the preconditioned equation, for κ up to 6e6, and terms: 2 % of the error remain, for 13
products, and 2 that make Z fit."""
RADII = sorted(FIRST)
KNOWN = RADII[-1]
"""The spectrum is known well enough for a first step of degree 17 where ‖A/mean − I‖₂ is provably below this."""


@dataclass(frozen=True)
class Minimax(SelfChecking):
    """R = ZY, T = h(R), Y ← YT, Z ← TZ, with h the best polynomial for what is known of the spectrum.

    h minimises the largest |1 − √t·h(t)| over the eigenvalues t that R may have, so that the
    eigenvalues of the next R are as near 1 as a step can bring them. With m = tr A/n and E = A/m − I, one
    product E² bounds the spectrum of A/m to 1 ± ρ. Where ρ ≤ 0.9, one step of degree 17 does most of the work
    or all of it: 4 products for both roots, E² included, suffice for ρ ≤ 0.42 in float32. Otherwise κ is
    unknown, and a general schedule runs, of 3 steps of degree 9 made for κ ≤ 1e4 in float32 and 4 for κ ≤ 1e6
    in float64 (13 and 18 products). Then δ = ‖I − ZY‖ is measured, per matrix, and Taylor steps of the least
    degree that is enough finish it, 3 to 5 products each, and one less where A^{-1/2} is not wanted. An
    ill-conditioned matrix takes more of them, and does not change what its neighbours take or get.

    As accurate as `Eigh` in the same precision, or more, up to κ of about 1e5 in float32 and 1e13 in
    float64. Matrices beyond, singular ones among them, do not converge, and are then computed by
    eigenvalues in float64.

    References
    ----------
    Amsel, Persson, Musco & Gower, *The Polar Express*, arXiv 2505.16932 (composite minimax polynomials,
    for the polar factor); Higham, *Functions of Matrices*, SIAM 2008, §6.7 (the coupled form); Sastre,
    *Efficient evaluation of matrix polynomials*, Linear Algebra Appl. 539 (2018) 229–250 (degree 8 in
    three products). Coefficients: ``tools/minimax_table.py``.
    """

    name: ClassVar[str] = "minimax"

    def checked(self, a: Tensor, inverse: bool, differentiated: bool) -> Roots:
        roots = joined([iterate(piece, inverse or differentiated) for piece in pieces(a)])
        return with_rescue(a, roots, inverse, differentiated)


def centre(a: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
    """Write E for A = m(I + E), and return m and the mean square eigenvalue of E, both ``(B, 1, 1)``.

    m = tr A/n, or 1 where that is not a positive normal number.
    """
    n = a.shape[-1]
    mean = (a.diagonal(dim1=-2, dim2=-1) / n).sum(-1)[:, None, None]
    mean = torch.where(mean > 2 * torch.finfo(a.dtype).tiny, mean, 1.0)  # others are not for the iteration
    torch.mul(a, mean.reciprocal(), out=e)
    add_to_diagonal(e, -1.0)
    return mean, norm(e).square_().div_(n)


def spectral_radius(e2: Tensor, v: Tensor) -> Tensor:
    """``(B, 1, 1)``, an upper bound on ‖E‖₂.

    The n eigenvalues of E² have mean ``v`` and root mean square ‖E²‖_F/√n, so that none is above
    v + √(n − 1)·√(‖E²‖_F²/n − v²) (Samuelson's inequality). The bound is raised by what rounding may hide, n²/8·eps
    of ``v`` among it.
    """
    n, eps = e2.shape[-1], torch.finfo(e2.dtype).eps
    size = norm(e2) + n * n * eps * v  # ‖E‖_F² = nv
    spread = size * size / n - v * v * (1 - (2 * n + n * n / 8) * eps)
    radius = (v + ((n - 1) * spread.clamp_(min=0)).sqrt_()).sqrt_()
    return radius.mul_(1 + (n + n * n / 16) * eps).add_((2 * n**0.5 + 8) * eps)


def iterate(a: Tensor, inverse: bool, general: bool = True) -> Roots:
    """The roots by `Minimax`; NaN where the iteration did not converge.

    Without ``inverse``, A^{-1/2} may be one step short of it, but not where κ is unknown: there all is NaN, if not
    ``general``.
    """

    def nothing(a: Tensor) -> tuple[Tensor, ...]:
        nan = a.new_full((1, 1, 1), torch.nan).expand_as(a)
        return nan, nan, torch.zeros(a.shape[0], dtype=torch.int64, device=a.device)

    with scratch(5, a) as (e, e2, *spare):
        mean, v = centre(a, e)
        hopeful = v <= KNOWN**2 / 4  # the bound is never below √v, and seldom below twice that
        if not general and not hopeful.any():
            y, z, steps = nothing(a)
            return Roots(y, z, interval=a.new_zeros(a.shape[0], 2), steps=steps)
        radius = spectral_radius(torch.bmm(e, e, out=e2), v)
        if not general:  # what is done must not depend on neighbours
            radius = torch.where(hopeful, radius, 2.0)

        def run(i: int, a: Tensor, mean: Tensor, e: Tensor, e2: Tensor, radius: Tensor) -> tuple[Tensor, ...]:
            parts = [x[: a.shape[0]] for x in spare]
            if i < len(RADII):
                error, coefficients = FIRST[RADII[i]]
                y, z = _first_step(a, mean, e, e2, parts, coefficients)
                if error < TOLERANCE[a.dtype]:
                    return y, z, torch.ones(a.shape[0], dtype=torch.int64, device=a.device)
                return _finish(y, z, inverse, 1)
            if not general:
                return nothing(a)
            y, z = _general_steps(a, mean, e, e2, parts, radius)
            return _finish(y, z, True, len(GENERAL[_name(a.dtype)]))

        y, z, steps = in_groups(radius[:, 0, 0], RADII, run, a, mean, e, e2, radius)
    ends = torch.cat([(1 - radius) * (radius <= KNOWN), 1 + radius], -1) * mean
    return Roots(y, z, interval=ends[:, 0], steps=steps)


def with_rescue(a: Tensor, roots: Roots, inverse: bool, differentiated: bool) -> Roots:
    """``roots``, those of ``a`` that did not converge by eigenvalues in float64, and the least accurate corrected."""
    assert roots.interval is not None
    low, high = roots.interval.unbind(-1)
    if (low > 0).all():
        return roots
    failed = ~roots.sqrt[:, 0, 0].isfinite()
    if a.dtype == torch.float32:
        refined = ~failed & (low <= 0) & (_least_estimate(roots) ** 2 < REFINED * high)
        if refined.any():
            assert roots.invsqrt is not None
            where = refined.nonzero()[:, 0]
            roots.sqrt[where], roots.invsqrt[where] = _corrected(a[where], roots.at(where))
    if not failed.any():
        return roots
    where, others = failed.nonzero()[:, 0], (~failed).nonzero()[:, 0]
    rescued = eigen_roots(a[where], inverse, differentiated=differentiated)
    return merge([(others, roots.at(others)), (where, rescued)], len(a))


def _corrected(a: Tensor, roots: Roots) -> tuple[Tensor, Tensor]:
    """S with most of Newton's correction L_S(A − S²), by a residual in float64 and few terms; Z, to be its inverse."""
    s, z = roots.sqrt, roots.invsqrt
    assert z is not None
    assert roots.interval is not None
    double = s.double()
    residual = torch.baddbmm(a.double(), double, double, alpha=-1).to(s.dtype)
    ends = torch.stack([0.8 * _least_estimate(roots), roots.interval[:, 1].sqrt()], -1)
    s = s + chebyshev(s, z, residual, ends, *CORRECTION)
    defect = torch.bmm(s, z).neg_()
    add_to_diagonal(defect, 1.0)
    z = torch.baddbmm(z, z, defect)
    return s, torch.add(z, z.mT).mul_(0.5)


def _least_estimate(roots: Roots) -> Tensor:
    """``(B,)``, an upper estimate of the least eigenvalue of S: one over ‖Zv‖ for a v that Z makes large."""
    assert roots.invsqrt is not None
    z = roots.invsqrt
    longest = torch.linalg.vector_norm(z, dim=-1).argmax(-1)
    v = z.gather(2, longest[:, None, None].expand(-1, z.shape[-1], 1))
    for _ in range(3):
        size = norm(v)
        v = torch.bmm(z, v / size)
    return norm(v)[:, 0, 0].reciprocal()


def _first_step(
    a: Tensor, mean: Tensor, e: Tensor, e2: Tensor, spare: list[Tensor], coefficients: tuple[float, ...]
) -> tuple[Tensor, Tensor]:
    """Y and Z after one step: T = h(I + E) of degree 8 by three products, E² included; Z = T/√m and Y = AZ."""
    s, b, x, y, beta, delta, alpha, eta, k = coefficients
    left, right, _ = spare
    add_to_diagonal(e2, y)
    add_to_diagonal(torch.add(e2, e, alpha=b, out=left), x - y)
    add_to_diagonal(torch.bmm(left, e2, out=right), beta)
    add_to_diagonal(torch.add(right, e2, alpha=delta, out=left), alpha)
    add_to_diagonal(e.baddbmm_(left, right, beta=eta, alpha=s), k)
    z = e * mean.rsqrt()
    return torch.bmm(a, z), z


def _general_steps(
    a: Tensor, mean: Tensor, e: Tensor, e2: Tensor, spare: list[Tensor], radius: Tensor
) -> tuple[Tensor, Tensor]:
    """Y and Z after the steps for an unknown condition number, from the spectrum of A/m in [0, 1 + radius].

    In the memory of the other arguments.
    """
    (_, c, h), *others = GENERAL[_name(e.dtype)]
    upper = 1.01 * (1 + radius)  # R = (I + E)/upper; F = R − cI has F² = E²/upper² + 2xE/upper + x²I …
    x = 1 / upper - c  # … with F = E/upper + xI
    f2 = e2.mul_(upper**-2).add_(torch.mul(e, 2 * x / upper, out=spare[0]))
    f = e.mul_(upper.reciprocal())
    add_to_diagonal(f2, (x * x)[..., 0])
    add_to_diagonal(f, x[..., 0])
    z = _polynomial(f, f2, h, spare[0]).mul_((mean * upper).rsqrt())
    y = torch.bmm(a, z, out=f2)
    for _, c, h in others:
        r, r2, q = spare
        add_to_diagonal(torch.bmm(z, y, out=r), -c)
        t = _polynomial(r, torch.bmm(r, r, out=r2), h, q)
        spare = [y, z, t]
        y, z = torch.bmm(y, t, out=q), torch.bmm(t, z, out=r2)
    return y, z


def _finish(y: Tensor, z: Tensor, inverse: bool, taken: int) -> tuple[Tensor, ...]:
    """Y, Z and the number of steps, after Taylor steps of the degree that δ = ‖I − ZY‖ asks for, until it is small.

    NaN if it does not get small.
    """
    linear, *others = (_largest(degree, y.dtype) for degree in REMAINDER)
    limits = [linear, *others, 2 * y.shape[-1] ** 0.25 if taken < MOST_STEPS[y.dtype] else others[-1]]
    with scratch(3, y) as (r, r2, memory):
        add_to_diagonal(torch.bmm(z, y, out=r), -1.0)
        # The degree by ‖R‖_F where that is small enough for the least, else by ‖R²‖_F^{1/2}, which is less.
        delta = norm(r)[:, 0, 0]
        small = delta <= linear
        if not small.all():
            squared = norm(torch.bmm(r, r, out=r2))[:, 0, 0].sqrt()
            delta = torch.where(small, 0.0, squared.clamp(min=2 * linear))

        def step(i: int, steps: Tensor, y: Tensor, z: Tensor, r: Tensor, r2: Tensor) -> tuple[Tensor, ...]:
            if i == len(limits):
                nothing = torch.full_like(y, torch.nan)
                return nothing, nothing.clone(), steps
            spare = memory[: len(r)]
            if i >= 2:
                t, scale = _polynomial(r, r2, TAYLOR_4, spare), 1.0
            else:
                t, scale = r, TAYLOR[i + 1]
                if i == 1:
                    torch.add(r2, r, alpha=TAYLOR[1] / scale, out=t)
                add_to_diagonal(t, 1 / scale)
            if i == 3:
                return _finish(torch.bmm(y, t), torch.bmm(t, z), inverse, taken + 1)

            def product(x: Tensor) -> Tensor:
                """XT, symmetric but for rounding, symmetrised."""
                half = spare.baddbmm_(x, t, beta=0.0, alpha=scale / 2)
                return torch.add(half, half.mT)

            return product(y), product(z) if inverse else z, steps + 1

        steps = torch.full((len(y),), taken, dtype=torch.int64, device=y.device)
        return in_groups(delta, limits, step, steps, y, z, r, r2)


def _largest(degree: int, dtype: torch.dtype) -> float:
    """The δ from which a Taylor step of this degree is the last."""
    return (TOLERANCE[dtype] / REMAINDER[degree]) ** (1 / (degree + 1))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _polynomial(r: Tensor, r2: Tensor, h: tuple[float, ...], spare: Tensor) -> Tensor:
    """s(R² + aR + bI)(R² + cI) + kI in place of R, in passing spoiling R²."""
    s, a, b, c, k = h
    add_to_diagonal(torch.add(r2, r, alpha=a, out=spare), b)
    add_to_diagonal(r2, c)
    add_to_diagonal(r.baddbmm_(spare, r2, beta=0.0, alpha=s), k)
    return r
