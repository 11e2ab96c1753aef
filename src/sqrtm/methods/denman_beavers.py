"""The root by the Denman–Beavers iteration: Newton's method for the matrix sign, with inverses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ._base import Method, Roots, check_count, identity_like


@dataclass(frozen=True)
class DenmanBeavers(Method):
    """X ← (X + Y⁻¹)/2, Y ← (Y + X⁻¹)/2 from X = A, Y = I; then X → A^{1/2}, Y → A^{-1/2}.

    Quadratically convergent for every positive definite A, after about log₂ max(√λ, 1/√λ) halving
    steps over the eigenvalues λ (matrices are first scaled to entries below 4). Costs 2·steps − 1
    matrix inverses for both roots, one less for A^{1/2} alone. A singular A is rejected.

    Parameters
    ----------
    steps : int
        Number of steps.

    References
    ----------
    Denman & Beavers, *The matrix sign function and computations in systems*, Appl. Math. Comput. 2
    (1976) 63–94; Higham, *Functions of Matrices*, SIAM 2008, eq. (6.15).
    """

    steps: int = 10

    name: ClassVar[str] = "denman-beavers"
    definite: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_count(self, "steps")

    def roots(self, a: Tensor, inverse: bool = True) -> Roots:
        eye = identity_like(a)
        x, y = (a + eye) / 2, (eye + torch.linalg.inv_ex(a).inverse) / 2  # first step: Y = I
        for step in range(1, self.steps):
            x_inverse = torch.linalg.inv_ex(x).inverse if inverse or step < self.steps - 1 else None
            x = (x + torch.linalg.inv_ex(y).inverse) / 2
            if x_inverse is not None:
                y = (y + x_inverse) / 2
        return Roots(x, y if inverse else None)
