"""An approximate root: the matrix Taylor polynomial (MTP)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ._base import Method, Roots, check_count, identity_like, normalise


@dataclass(frozen=True)
class Taylor(Method):
    """The truncated binomial series of (I − P)^{±1/2} in P = I − A/‖A‖_F.

    An approximation, not an iteration to convergence, accurate only where the eigenvalues of
    A/‖A‖_F are near 1; but they average at most 1/√n, so its error grows with the dimension as well
    as with the condition number. Costs degree − 1 matrix products for both roots.

    Parameters
    ----------
    degree : int
        Degree of the polynomial; the paper's code uses 10.

    References
    ----------
    Song, Sebe & Wang, *Fast Differentiable Matrix Square Root*, ICLR 2022 (MTP).
    """

    degree: int = 10

    name: ClassVar[str] = "taylor"
    approximate: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_count(self, "degree")

    def roots(self, a: Tensor, inverse: bool = True) -> Roots:
        x, root = normalise(a, torch.linalg.matrix_norm(a, keepdim=True))
        eye = identity_like(a)
        p = eye - x
        power = p
        c, d = -0.5, 0.5  # coefficients of P in (I − P)^{1/2} and (I − P)^{-1/2}
        s = torch.add(eye, p, alpha=c)
        z = torch.add(eye, p, alpha=d)
        for k in range(2, self.degree + 1):
            power = power @ p
            c *= (k - 1.5) / k
            d *= (k - 0.5) / k
            s = torch.add(s, power, alpha=c)
            if inverse:
                z = torch.add(z, power, alpha=d)
        return Roots(s * root, z / root if inverse else None)
