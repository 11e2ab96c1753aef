"""The root by the coupled composite minimax iteration: matrix products only, and few of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .. import kernels
from .._checks import asymmetry_tolerance, indefinite_level
from .._minimax_table import FIRST, GENERAL
from .._schedule import KNOWN, MOST_STEPS, RADII, REFINED, REMAINDER, TAYLOR, TAYLOR_4, TOLERANCE, largest_last
from .._scratch import scratch
from .._transforms import captured
from ._base import Roots, SelfChecking, add_to_diagonal, in_groups, joined, norm, pieces
from ._chebyshev import chebyshev
from ._eigen import eigen_roots, merge
from ._fixed import fixed_roots
from ._minimax_steps import centre, first_step, general_steps, least_eigenvalue, quartic, spectral_radius
from ._products import baddbmm_, bmm

CORRECTION = (25.0, 10)
"""Bound on the spectrum of the preconditioned equation, for κ up to 6e6, and terms: 2 % of the error remain, for 13
products, and 2 that make Z fit."""


WORTH_WAITING = 2**29
"""Bn³ from which a GPU computes for longer than it takes the host to look at values: an estimate, not yet measured."""


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

    On a GPU, float32 matrices up to n = 64 are done by one kernel, all of that in it, and what does not converge by
    eigenvalues in another. Of others, if they are few, all take the steps for unknown κ and then two of degree 4, three
    in float64: 23 and 33 products whatever they are, so that the host does not wait to see what they need; it waits
    once, for what failed. In a CUDA graph it cannot, and what failed is NaN.

    References
    ----------
    Amsel, Persson, Musco & Gower, *The Polar Express*, arXiv 2505.16932 (composite minimax polynomials,
    for the polar factor); Higham, *Functions of Matrices*, SIAM 2008, §6.7 (the coupled form); Sastre,
    *Efficient evaluation of matrix polynomials*, Linear Algebra Appl. 539 (2018) 229–250 (degree 8 in
    three products). Coefficients: ``tools/minimax_table.py``.
    """

    name: ClassVar[str] = "minimax"

    def checked(self, a: Tensor, inverse: bool, differentiated: bool) -> Roots:
        if looks_at_values(a):
            roots = joined([iterate(piece, inverse or differentiated) for piece in pieces(a)])
            return with_rescue(a, roots, inverse, differentiated)
        return without_looking(a, inverse, differentiated)

    def unchecked(self, a: Tensor, inverse: bool, differentiated: bool, dtype: torch.dtype) -> Roots | None:
        if not kernels.supported(a):
            return None
        from ..kernels import jacobi, minimax

        s, z, ends, codes, steps = minimax.roots(a, asymmetry_tolerance(dtype))
        factor = z.clone() if inverse and differentiated else z
        values = a.new_zeros(a.shape[:-1])
        indefinite = indefinite_level(a.shape[-1], dtype)
        jacobi.rescue(a, s, z, factor, values, ends, codes, steps, indefinite, inverse)
        eigen = (values, factor.mT) if differentiated else None
        return Roots(s, z if inverse else None, eigen, status=codes, steps=steps, ends=ends)


def looks_at_values(a: Tensor) -> bool:
    """Whether `Minimax` asks what each matrix needs, where there is no kernel."""
    return a.device.type == "cpu" or (a.numel() * a.shape[-1] >= WORTH_WAITING and not captured(a))


def without_looking(a: Tensor, inverse: bool, differentiated: bool) -> Roots:
    """By `fixed_roots`; what fails is all that is looked at, and nothing if a CUDA graph is captured."""
    roots = fixed_roots(a, inverse or differentiated)
    if captured(a):
        return roots
    return _rescued(a, roots, ~roots.sqrt[:, 0, 0].isfinite(), inverse, differentiated)


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
        radius = spectral_radius(bmm(e, e, out=e2), v)
        if not general:  # what is done must not depend on neighbours
            radius = torch.where(hopeful, radius, 2.0)

        def run(i: int, a: Tensor, mean: Tensor, e: Tensor, e2: Tensor, radius: Tensor) -> tuple[Tensor, ...]:
            parts = [x[: a.shape[0]] for x in spare]
            if i < len(RADII):
                error, coefficients = FIRST[RADII[i]]
                y, z = first_step(a, mean, e, e2, parts, coefficients)
                if error < TOLERANCE[a.dtype]:
                    return y, z, torch.ones(a.shape[0], dtype=torch.int64, device=a.device)
                return _finish(y, z, inverse, 1)
            if not general:
                return nothing(a)
            y, z = general_steps(a, mean, e, e2, parts, radius)
            return _finish(y, z, True, len(GENERAL[str(a.dtype).removeprefix("torch.")]))

        y, z, steps = in_groups(radius[:, 0, 0], RADII, run, a, mean, e, e2, radius)
    ends = torch.cat([(1 - radius) * (radius <= KNOWN), 1 + radius], -1) * mean
    return Roots(y, z, interval=ends[:, 0], steps=steps)


def with_rescue(a: Tensor, roots: Roots, inverse: bool, differentiated: bool) -> Roots:
    """``roots`` of `iterate`, those that did not converge by eigenvalues, and the least accurate corrected."""
    assert roots.interval is not None
    low, high = roots.interval.unbind(-1)
    if (low > 0).all():
        return roots
    failed = ~roots.sqrt[:, 0, 0].isfinite()
    if a.dtype == torch.float32:
        assert roots.invsqrt is not None
        coarse = (~failed & (low <= 0) & (least_eigenvalue(roots.invsqrt) ** 2 < REFINED * high)).nonzero()[:, 0]
        if len(coarse):
            roots.sqrt[coarse], roots.invsqrt[coarse] = _corrected(a[coarse], roots.at(coarse))
    return _rescued(a, roots, failed, inverse, differentiated)


def _rescued(a: Tensor, roots: Roots, failed: Tensor, inverse: bool, differentiated: bool) -> Roots:
    """``roots``, those of ``a`` that ``failed`` by eigenvalues in float64."""
    if not failed.any():
        return roots
    if roots.ends is not None:
        roots = roots._replace(interval=roots.ends.square(), ends=None)
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
    ends = torch.stack([0.8 * least_eigenvalue(z), roots.interval[:, 1].sqrt()], -1)
    s = s + chebyshev(s, z, residual, ends, *CORRECTION)
    defect = bmm(s, z).neg_()
    add_to_diagonal(defect, 1.0)
    z = baddbmm_(z.clone(), z, defect)
    return s, torch.add(z, z.mT).mul_(0.5)


def _finish(y: Tensor, z: Tensor, inverse: bool, taken: int) -> tuple[Tensor, ...]:
    """Y, Z and the number of steps, after Taylor steps of the degree that δ = ‖I − ZY‖ asks for, until it is small.

    NaN if it does not get small.
    """
    linear, *others = (largest_last(degree, y.dtype) for degree in REMAINDER)
    limits = [linear, *others, 2 * y.shape[-1] ** 0.25 if taken < MOST_STEPS[y.dtype] else others[-1]]
    with scratch(3, y) as (r, r2, memory):
        add_to_diagonal(bmm(z, y, out=r), -1.0)
        # The degree by ‖R‖_F where that is small enough for the least, else by ‖R²‖_F^{1/2}, which is less.
        delta = norm(r)[:, 0, 0]
        small = delta <= linear
        if not small.all():
            squared = norm(bmm(r, r, out=r2))[:, 0, 0].sqrt()
            delta = torch.where(small, 0.0, squared.clamp(min=2 * linear))

        def step(i: int, steps: Tensor, y: Tensor, z: Tensor, r: Tensor, r2: Tensor) -> tuple[Tensor, ...]:
            if i == len(limits):
                nothing = torch.full_like(y, torch.nan)
                return nothing, nothing.clone(), steps
            spare = memory[: len(r)]
            if i >= 2:
                t, scale = quartic(r, r2, TAYLOR_4, spare), 1.0
            else:
                t, scale = r, TAYLOR[i + 1]
                if i == 1:
                    torch.add(r2, r, alpha=TAYLOR[1] / scale, out=t)
                add_to_diagonal(t, 1 / scale)
            if i == 3:
                return _finish(bmm(y, t), bmm(t, z), inverse, taken + 1)

            def product(x: Tensor) -> Tensor:
                """XT, symmetric but for rounding, symmetrised."""
                half = baddbmm_(spare, x, t, beta=0.0, alpha=scale / 2)
                return torch.add(half, half.mT)

            return product(y), product(z) if inverse else z, steps + 1

        steps = torch.full((len(y),), taken, dtype=torch.int64, device=y.device)
        return in_groups(delta, limits, step, steps, y, z, r, r2)
