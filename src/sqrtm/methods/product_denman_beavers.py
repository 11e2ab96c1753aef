"""The root by the product form of the Denman–Beavers iteration, scaled by the determinant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ._base import Method, Roots, check_count, identity_like


@dataclass(frozen=True)
class ProductDenmanBeavers(Method):
    """The Denman–Beavers iteration carried by the product M = XY, which tends to I.

    With μ = |det M|^{-1/(2n)}, from M = X = A and Y = I::

        X ← μX(I + μ⁻²M⁻¹)/2,   Y ← μY(I + μ⁻²M⁻¹)/2,   M ← (I + (μ²M + μ⁻²M⁻¹)/2)/2

    One inverse a step where `DenmanBeavers` takes two, and the scaling removes the slow first
    phase. Costs per step one inverse, one determinant and one matrix product per root. A singular
    A is rejected.

    Parameters
    ----------
    steps : int
        Number of steps.

    References
    ----------
    Cheng, Higham, Kenney & Laub, *Approximating the logarithm of a matrix to specified accuracy*,
    SIAM J. Matrix Anal. Appl. 22 (2001) 1112–1125; Higham, *Functions of Matrices*, SIAM 2008,
    eq. (6.29).
    """

    steps: int = 10

    name: ClassVar[str] = "product-denman-beavers"
    definite: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_count(self, "steps")

    def roots(self, a: Tensor, inverse: bool = True) -> Roots:
        eye = identity_like(a)
        m, x, y = a, a, None
        for _ in range(self.steps):
            log_det = torch.linalg.slogdet(m).logabsdet[..., None, None]
            mu = torch.exp(log_det / (-2 * a.shape[-1]))
            m_inverse = torch.linalg.inv_ex(m).inverse / mu**2
            t = mu / 2 * (eye + m_inverse)
            x = x @ t
            if inverse:
                y = t if y is None else y @ t
            m = (2 * eye + mu**2 * m + m_inverse) / 4
        return Roots(x, y)
