"""The gradient by matrix backpropagation through the singular value decomposition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .._eigh import robust_eigh
from ..methods import Roots
from ._implicit import Factors, ImplicitGradient, symmetrised


@dataclass(frozen=True)
class MatrixBackprop(ImplicitGradient):
    """The chain rule through A = UΛUᵀ and S = UΛ^{1/2}Uᵀ, as if U and Λ were separate outputs.

    With H = UᵀGU and K_ij = 1/(λ_i − λ_j) off the diagonal, 0 on it, the gradient is::

        U [ K ∘ (Λ^{1/2}H) − K ∘ (HΛ^{1/2}) + diag(H)/(2Λ^{1/2}) ] Uᵀ

    Exact where eigenvalues are distinct. It subtracts two terms that grow as 1/(λ_i − λ_j), so it
    loses digits as eigenvalues approach each other, and **at ties it is finite and wrong**: K is 0
    where eigenvalues agree to rounding, which drops that entry. `LyapunovEigh` computes the same
    quantity without the difference, at the same price; this rule is here for comparison. Costs 4
    matrix products with the vectors of `Eigh` or `SVD`, and one `torch.linalg.eigh` more after
    another method.

    References
    ----------
    Ionescu, Vantzos & Sminchisescu, *Matrix Backpropagation for Deep Networks with Structured
    Layers*, ICCV 2015 (derivative of the SVD layer, for a symmetric matrix).
    """

    name: ClassVar[str] = "matrix-backprop"

    def keep(self, roots: Roots) -> Factors:
        return roots.eigen if roots.eigen is not None and roots.by_eigen is None else ()

    def factors(self, s: Tensor) -> Factors:
        return robust_eigh(s)

    def solve(self, s: Tensor, g: Tensor, factors: Factors, symmetric: bool) -> Tensor:
        if symmetric:
            g = symmetrised(g)
        root, u = factors
        eigenvalues = root**2
        gaps = eigenvalues[..., :, None] - eigenvalues[..., None, :]
        rounding = torch.finfo(s.dtype).eps * eigenvalues.amax(-1)[..., None, None]
        k = torch.where(gaps.abs() > rounding, 1 / gaps, 0.0)
        h = u.mT @ g @ u
        core = k * (root[..., :, None] * h) - k * (h * root[..., None, :])
        diagonal = h.diagonal(dim1=-2, dim2=-1) / (2 * root)
        diagonal = torch.where(root > 0, diagonal, 0.0)
        return u @ (core + torch.diag_embed(diagonal)) @ u.mT
