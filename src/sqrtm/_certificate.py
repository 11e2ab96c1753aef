"""What can be proven of a computed root: its residual, and a bound on its error with all rounding accounted for.

Let S be symmetric, R = A − S², and σ > 0 a number that S − σI is positive definite for. Then (Sylvester's equation
S Δ + Δ A^{1/2} = −R for Δ = S − A^{1/2}, whose solution is smaller than R by the sum of the least eigenvalues)::

    ‖Δ‖_F ≤ ‖R‖_F / (σ + (σ² − ‖R‖_F)^{1/2})              if σ² ≥ ‖R‖_F

and if S is only semidefinite, for A or, where A is not, for its nearest semidefinite matrix (Powers & Størmer,
*Free states of the canonical anticommutation relations*, Commun. Math. Phys. 16 (1970) 1–33, Lemma 4.1)::

    ‖Δ‖_F² ≤ √n ‖R‖_F

That S − σI is definite is proven by a Cholesky factorisation in floating point that succeeds, of a matrix
smaller by more than its rounding errors (Rump, *Verification of positive definiteness*, BIT 46 (2006) 433–452).
Residuals are computed in float64, for float64 matrices from a splitting of S whose leading product does not round.
"""

from __future__ import annotations

from itertools import chain
from math import hypot
from operator import mul
from typing import NamedTuple

import torch
from torch import Tensor

from ._spectrum import largest_entry, power_of_four, split
from .methods._base import add_to_diagonal, norm
from .methods._eigen import eigen_roots

UNIT = 2.0**-53
POWER_STEPS = 10


class Proven(NamedTuple):
    """Per matrix, ``(B,)``, in float64."""

    residual: Tensor
    """‖A − S²‖_F/‖A‖_F."""
    error: Tensor
    """At least ‖S − A^{1/2}‖_F/‖A^{1/2}‖_F; infinite where nothing was proven."""
    inverse_error: Tensor
    """At least ‖Z − A^{-1/2}‖_F/‖A^{-1/2}‖_F; infinite where nothing was proven."""
    condition: Tensor
    """At most κ(A)."""


def prove(a: Tensor, s: Tensor, z: Tensor | None, rounded: Tensor | bool = False) -> Proven:
    """What holds for finite ``a``, ``(B, n, n)``, in float64, and its computed roots, which may be NaN.

    ``a`` is symmetric, or, where ``rounded``, ``(B,)``, the symmetric part of something, rounded.
    """
    float32 = s.dtype == torch.float32
    scale = power_of_four(largest_entry(a))
    a, s = a / scale, s.double() / scale.sqrt()
    z = None if z is None else z.double() * scale.sqrt()
    skew = norm(s - s.mT)[:, 0, 0] / 2
    s = (s + s.mT) / 2
    size_a, size = norm(a)[:, 0, 0], norm(s)[:, 0, 0]
    residual = residual_bound(a, s, exactly=not float32) + 2 * UNIT * size_a * rounded
    guide = _inverse(s) if z is None else z
    weakest = _top_vector(guide)  # the direction of the least eigenvalue of S
    rayleigh = (weakest * (a @ weakest)).sum(1)[:, 0]
    condition = a.diagonal(dim1=-2, dim2=-1).amax(-1) / rayleigh
    near = norm(guide @ weakest)[:, 0, 0]
    sigma = least_eigenvalue(s, [0.9 / near, 0.7 / near, 0.4 / near, 0.5 / norm(guide)[:, 0, 0]])
    root = (sigma**2 * (1 - 4 * UNIT) - residual).clamp(min=0).sqrt()
    definite = torch.where((sigma > 0) & (sigma**2 >= residual), residual / (sigma + root), torch.inf)
    error = torch.minimum(definite, _semidefinite_bound(s, residual))
    if float32 and a.device.type == "cpu":  # elsewhere, to see whether it is needed is to wait
        # The rounding of S to float32 is all that such a bound sees: it is tight for S before it was rounded.
        loose = (~(error <= 1e-6 * size) & size.isfinite()).nonzero()[:, 0]
        if len(loose):
            exact = eigen_roots(a[loose], False).sqrt
            distance = norm(s[loose] - exact)[:, 0, 0] * (1 + 1e-10)
            bound = _semidefinite_bound(exact, residual_bound(a[loose], exact, exactly=True)) + distance
            error[loose] = torch.fmin(error[loose], bound)
    error = (error + skew + torch.where(skew > 0, UNIT * size, 0.0)) * (1 + 1e-10)
    inverse = torch.full_like(error, torch.inf)
    if z is not None:
        n, size_z = a.shape[-1], norm(z)[:, 0, 0]
        product = z @ s
        add_to_diagonal(product, -1.0)
        delta = norm(product)[:, 0, 0] + 2 * (n + 2) * UNIT * size_z * size
        proven = (root > 0) & (sigma > 0)
        inverse = torch.where(proven, (delta / sigma + definite / (sigma * root)) * (1 + 1e-10) / size_z, torch.inf)
        # Relative to ‖A^{-1/2}‖, which is less than ‖Z‖ by at most that.
        inverse = torch.where(inverse < 1, inverse / (1 - inverse), torch.inf)
    zero = size_a == 0
    trace = a.diagonal(dim1=-2, dim2=-1).sum(-1).clamp(min=0)  # the square of ‖A^{1/2}‖_F
    size_root = trace.sqrt() * (1 - (a.shape[-1] + 4) * UNIT)
    return Proven(
        torch.where(zero, 0.0, residual / size_a),
        torch.where(zero & (size == 0), 0.0, _proven(error / size_root)),
        _proven(inverse),
        torch.where(rayleigh > 0, condition, 1.0),
    )


def prove_one(a: list[list[float]], s: list[list[float]], least: float) -> tuple[float, float] | None:
    """`Proven.residual` and `.error` for one small symmetric float32 matrix, in Python's float64.

    ``least`` is about the least eigenvalue of ``s``. None if nothing can be proven in this way.
    """
    n, sigma, skew = len(a), 0.9 * least, 0.0
    mirrored = list(map(list, zip(*s, strict=True)))
    if s != mirrored:
        both = [list(zip(row, column, strict=True)) for row, column in zip(s, mirrored, strict=True)]
        skew = sum((x - y) ** 2 for row in both for x, y in row)
        s = [[(x + y) / 2 for x, y in row] for row in both]  # rounds, if at all, by far less than 1e-10 of x − y
    r = size = 0.0  # squared norms of A − S² and S
    factor: list[list[float]] = []  # L, of S − σI = LLᵀ
    for row_a, row in zip(a, s, strict=True):
        new: list[float] = []
        for x, y, other, done in zip(row_a, row, s, factor, strict=False):
            r += 2 * (x - sum(map(mul, row, other))) ** 2
            new.append((y - sum(map(mul, new, done))) / done[-1])
        i, square = len(new), sum(map(mul, row, row))
        r += (row_a[i] - square) ** 2
        size += square
        pivot = row[i] - sigma - sum(map(mul, new, new))
        if not pivot > 0:
            return None
        new.append(pivot**0.5)
        factor.append(new)
    size_a = hypot(*chain.from_iterable(a))
    residual = (r**0.5 + (n + 2) * UNIT * (size + size_a)) * (1 + 1e-10)
    sigma -= 2 * (n + 3) * UNIT * (n * size) ** 0.5  # at least tr S
    if sigma <= 0 or sigma**2 * (1 - 4 * UNIT) <= residual:
        return None
    error = (residual / (sigma + (sigma**2 * (1 - 4 * UNIT) - residual) ** 0.5) + skew**0.5 / 2) * (1 + 1e-10)
    return residual / size_a, error / (size**0.5 * (1 - 1e-10) - error)


def residual_bound(a: Tensor, s: Tensor, exactly: bool) -> Tensor:
    """``(B,)``, at least ‖A − S²‖_F, for float64 matrices; close to it if ``exactly``, else good to n·1e-16."""
    n = s.shape[-1]
    size = norm(s)[:, 0, 0]
    if not exactly:
        r = norm(a - s @ s)[:, 0, 0]
        return (r + (n + 2) * UNIT * (size**2 + norm(a)[:, 0, 0])) * (1 + 1e-10)
    high, low = split(s)
    leading = a - high @ high
    r = norm(leading - (high @ low + low @ s))[:, 0, 0]
    lost = 4 * (n + 2) * UNIT * norm(low)[:, 0, 0] * size + 4 * UNIT * norm(leading)[:, 0, 0]
    return (r + lost) * (1 + 1e-10)


def least_eigenvalue(s: Tensor, guesses: list[Tensor]) -> Tensor:
    """``(B,)``, the first of the guesses that is proven not to be above λ_min(S), less rounding; 0 if none is."""
    rounding = 2 * (s.shape[-1] + 3) * UNIT * s.diagonal(dim1=-2, dim2=-1).abs().sum(-1)
    found = torch.zeros_like(rounding)
    for guess in reversed(guesses):
        shifted = s.clone()
        add_to_diagonal(shifted, -guess[:, None])
        sigma = guess - rounding
        ok = (torch.linalg.cholesky_ex(shifted).info == 0) & (sigma > 0)
        found = torch.where(ok, sigma, found)
    return found


def _inverse(s: Tensor) -> Tensor:
    """S⁻¹, the identity where S is not definite: a guess from which something may be proven."""
    factor, info = torch.linalg.cholesky_ex(s)
    identity = torch.eye(s.shape[-1], dtype=s.dtype, device=s.device)
    factor = torch.where((info == 0)[:, None, None], factor, identity)
    if s.device.type == "cpu":
        return torch.cholesky_inverse(factor)
    inverse = torch.linalg.solve_triangular(factor, identity, upper=False)  # the other may wait for the device
    return inverse.mT @ inverse


def _semidefinite_bound(s: Tensor, residual: Tensor) -> Tensor:
    """Powers & Størmer for S + εI, with ε enough to prove that semidefinite."""
    n = s.shape[-1]
    rounding = 4 * (n + 3) * UNIT * s.diagonal(dim1=-2, dim2=-1).abs().sum(-1)
    shifted = s.clone()
    add_to_diagonal(shifted, rounding[:, None])
    ok = torch.linalg.cholesky_ex(shifted).info == 0
    shift = 2 * rounding  # a factorisation that succeeds proves S + εI ⪰ −εI/4
    residual = residual + 2 * shift * norm(s)[:, 0, 0] + shift**2 * n**0.5
    return torch.where(ok, (n**0.5 * residual).sqrt() + shift * n**0.5, torch.inf)


def _top_vector(x: Tensor) -> Tensor:
    """``(B, n, 1)``, of unit length, near the eigenvector of the largest eigenvalue."""
    start = torch.arange(1, x.shape[-1] + 1, dtype=x.dtype, device=x.device).square().sin()  # as good as random
    v = start[:, None].expand(len(x), -1, 1)
    for _ in range(POWER_STEPS):
        v = x @ v
        v = v / norm(v)
    return v


def _proven(bound: Tensor) -> Tensor:
    return torch.where(bound.isnan(), torch.inf, bound)
