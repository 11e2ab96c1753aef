"""The gradient by the Lyapunov equation in the eigenbasis of the root."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .._eigh import robust_eigh
from .._spectrum import null_level
from ..methods import Roots
from ._implicit import Factors, ImplicitGradient, symmetrised


def check_rtol(owner: object, rtol: float | None) -> None:
    """Raise unless the ``rtol`` of a gradient is None or a number in [0, 1)."""
    if rtol is not None and not (isinstance(rtol, (int, float)) and 0 <= rtol < 1):
        raise ValueError(f"{type(owner).__name__}(rtol={rtol!r}): rtol must be a number of at least 0 and below 1")


@dataclass(frozen=True)
class LyapunovEigh(ImplicitGradient):
    """With S = Q diag(s) Qᵀ, the gradient is Q [(QᵀGQ)_ij / (s_i + s_j)] Qᵀ, the Loewner form.

    No difference of eigenvalues is divided by, so it is exact at repeated eigenvalues. Costs 4
    matrix products with the eigenvectors of `Eigh` or `SVD` (saved: n + n² numbers a matrix besides
    S), and one `torch.linalg.eigh` more after another method.

    Parameters
    ----------
    rtol : float, optional
        Eigenvalues of A up to rtol times the largest count as zero, and the quotient is 0 where both
        of its eigenvalues do: the pseudo-inverse convention, which makes the gradient through
        A = BBᵀ right for rank-deficient B. The root has no second derivative at such an A: it is NaN.
        Default: max(n, 16)·eps.

    References
    ----------
    Lin & Maji, *Improved Bilinear Pooling with CNNs*, BMVC 2017; Higham, *Functions of
    Matrices*, SIAM 2008, Theorem 3.11 (Daleckiĭ–Kreĭn).
    """

    rtol: float | None = None

    name: ClassVar[str] = "lyapunov-eigh"

    def __post_init__(self) -> None:
        check_rtol(self, self.rtol)

    def keep(self, roots: Roots) -> Factors:
        every = roots.by_eigen is None and roots.ends is None
        return roots.eigen if roots.eigen is not None and every else ()

    def factors(self, s: Tensor) -> Factors:
        return robust_eigh(s)

    def singular(self, s: Tensor, factors: Factors) -> Tensor:
        return self._null(factors[0]).any(-1)

    def solve(self, s: Tensor, g: Tensor, factors: Factors, symmetric: bool) -> Tensor:
        if symmetric:
            g = symmetrised(g)
        values, q = factors
        null = self._null(values)
        sums = values[..., :, None] + values[..., None, :]
        sums = torch.where(null[..., :, None] & null[..., None, :], torch.inf, sums)
        return q @ ((q.mT @ g @ q) / sums) @ q.mT

    def without_null(self, values: Tensor) -> Tensor:
        """``values``, those that count as zero exactly 0."""
        return torch.where(self._null(values), 0.0, values)

    def _null(self, values: Tensor) -> Tensor:
        """Which eigenvalues of S count as zero; rtol is about those of A, their squares."""
        rtol = null_level(values.shape[-1], values.dtype) if self.rtol is None else self.rtol
        return values <= rtol**0.5 * values.amax(-1, keepdim=True)
