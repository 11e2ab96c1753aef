"""The root by the singular value decomposition, the baseline of the comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ._base import Method, Roots, roots_from_eigen


@dataclass(frozen=True)
class SVD(Method):
    """A = UΣVᵀ gives A^{1/2} = UΣ^{1/2}Uᵀ, since U = V for positive definite A.

    The classic baseline; `Eigh` does the same for about half the price. Where rounding made
    an eigenvalue of a singular A negative, its vectors in U and V point in opposite ways, and it
    counts as zero.

    References
    ----------
    Lin & Maji, *Improved Bilinear Pooling with CNNs*, BMVC 2017.
    """

    name: ClassVar[str] = "svd"
    unrollable: ClassVar[bool] = False

    def roots(self, a: Tensor, inverse: bool = True) -> Roots:
        u, sigma, vh = torch.linalg.svd(a)
        sign = (u * vh.mT).sum(-2).sign()
        return roots_from_eigen(sigma * sign, u, inverse)
