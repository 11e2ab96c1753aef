"""An approximate root: the matrix Padé approximant (MPA)."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import ClassVar

import torch
from torch import Tensor

from ._base import Method, Roots, check_count, identity_like, normalise

MOST = 10
"""Largest degree; the numerator and denominator are then ill conditioned enough to lose digits in float32."""


@dataclass(frozen=True)
class Pade(Method):
    """The [m/m] Padé approximant of √x about x = 1, at X = A/‖A‖_F.

    √x ≈ p(x)/q(x) with p(x) = Σ_i C(2m+1, 2i) xⁱ and q(x) = Σ_i C(2m+1, 2i+1) xⁱ, i = 0 … m: with
    w = √x, p(w²) − w·q(w²) = (1 − w)^{2m+1} vanishes to order 2m+1 at x = 1, which defines the
    approximant. Written in x all coefficients are positive: nothing cancels, and p(X) and q(X) are
    positive definite.

    An approximation, not an iteration to convergence: more accurate than `Taylor`, and like it less
    accurate the larger the dimension and the condition number. Costs m − 1 matrix products,
    and one linear solve per root.

    Parameters
    ----------
    degree : int
        m, the degree of numerator and denominator, at most 10; the paper uses 5.

    References
    ----------
    Song, Sebe & Wang, *Fast Differentiable Matrix Square Root*, ICLR 2022 (MPA).
    """

    degree: int = 5

    name: ClassVar[str] = "pade"
    approximate: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_count(self, "degree")
        if self.degree > MOST:
            raise ValueError(f"Pade(degree={self.degree}): degree must be at most {MOST}, rounding prevails beyond")

    def roots(self, a: Tensor, inverse: bool = True) -> Roots:
        x, root = normalise(a, torch.linalg.matrix_norm(a, keepdim=True))
        eye = identity_like(a)
        order = 2 * self.degree + 1
        p, q = eye, order * eye
        power = x
        for i in range(1, self.degree + 1):
            p = torch.add(p, power, alpha=comb(order, 2 * i))
            q = torch.add(q, power, alpha=comb(order, 2 * i + 1))
            if i < self.degree:
                power = power @ x
        sqrt = torch.linalg.solve_ex(q, p).result * root
        return Roots(sqrt, torch.linalg.solve_ex(p, q).result / root if inverse else None)
