"""The root by the coupled Newton–Schulz iteration: matrix products only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .._spectrum import eigenvalue_bound
from ._base import Method, Roots, check_count, identity_like, normalise

SCALINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "frobenius": lambda a: torch.linalg.matrix_norm(a, keepdim=True),
    "trace": lambda a: a.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None],
    "spectral": eigenvalue_bound,
}


@dataclass(frozen=True)
class NewtonSchulz(Method):
    """Y ← YT, Z ← TZ with T = (3I − ZY)/2, from Y = A/c and Z = I; then √c·Y → A^{1/2}, Z/√c → A^{-1/2}.

    Converges quadratically once the eigenvalues of ZY are near 1; from a scaled eigenvalue λ it
    takes about log(1/λ)/log(9/4) steps to get there, so a fixed number of steps is exact for a
    well-conditioned A and *not converged* for an ill-conditioned one. More steps cure that down to
    eigenvalues of about eps·‖A‖₂. Below, and so on a singular A, they amplify rounding until the
    result is worthless or NaN (seen from 30 steps in float32, 50 in float64): use `Eigh`. Costs 3·steps − 2 matrix
    products for both roots, one less for A^{1/2} alone.

    Parameters
    ----------
    steps : int
        Number of steps. Covariance pooling trains with 5, `sqrtm compare` runs 10.
    scaling : {"frobenius", "trace", "spectral"}
        c = ‖A‖_F (the reference algorithm), tr A (iSQRT-COV), or an upper bound on the largest
        eigenvalue, for one more product. The smaller c, the fewer steps are needed. Of a complex matrix they are those
        of the real one of twice the size that is computed with: √2·‖A‖_F, 2·tr A, and the same.

    References
    ----------
    Higham, *Functions of Matrices*, SIAM 2008, §6.7 (coupled Newton–Schulz iteration); Lin & Maji,
    *Improved Bilinear Pooling with CNNs*, BMVC 2017; Li, Xie, Wang & Gao, *Towards Faster Training of Global Covariance
    Pooling Networks by Iterative Matrix Square Root Normalization*, CVPR 2018.
    """

    steps: int = 10
    scaling: str = "frobenius"

    name: ClassVar[str] = "newton-schulz"

    def __post_init__(self) -> None:
        check_count(self, "steps")
        if self.scaling not in SCALINGS:
            raise ValueError(f"NewtonSchulz(scaling={self.scaling!r}): scaling must be one of {', '.join(SCALINGS)}")

    def roots(self, a: Tensor, inverse: bool = True) -> Roots:
        s, z = coupled(a, SCALINGS[self.scaling](a), self.steps, inverse)
        return Roots(s, z)


def coupled(a: Tensor, size: Tensor, steps: int, inverse: bool = True) -> tuple[Tensor, Tensor | None]:
    """A^{1/2} and A^{-1/2} by so many steps, from A/c for c = ``size``."""
    y, root = normalise(a, size)
    eye = identity_like(a)
    z = 1.5 * eye - 0.5 * y  # first step: Z = I, so ZY = Y and TZ = T
    y = y @ z
    for step in range(1, steps):
        t = torch.baddbmm(1.5 * eye, z, y, alpha=-0.5)
        y = y @ t  # this order of factors is the stable one
        if inverse or step < steps - 1:
            z = t @ z
    return y * root, z / root if inverse else None


def coupled_vjp(a: Tensor, root: Tensor, g: Tensor, size: Tensor, steps: int, inverse: bool) -> tuple[Tensor, Tensor]:
    """The exact Ā and c̄ of the cotangent ``g`` of ``root``: what `coupled` has as A^{-1/2} if ``inverse``, or A^{1/2}.

    For fixed c both are polynomials in the symmetric A, and the derivative of such in a direction is a self-adjoint
    map. So the vjp is the jvp in the direction G, for which (Y, dY) and (Z, dZ) are iterated together: 9 products a
    step, and nothing is stored. From S = √c·f(A/c) follows c̄ = ⟨G, S⟩/2c − ⟨Ā, A⟩/c; Z has the other sign in front.
    """
    y, root_of_size = normalise(a, size)
    eye = identity_like(a)
    safe = torch.where(size > 0, size, 1.0)
    z, dz = 1.5 * eye - 0.5 * y, -0.5 * g
    dy = torch.baddbmm(g @ z, y, dz)
    y = y @ z
    for step in range(1, steps):
        dt = torch.baddbmm(dz @ y, z, dy, beta=-0.5, alpha=-0.5)
        t = torch.baddbmm(1.5 * eye, z, y, alpha=-0.5)
        last = step == steps - 1
        if not last or not inverse:
            dy = torch.baddbmm(dy @ t, y, dt)
        if not last or inverse:
            dz = torch.baddbmm(dt @ z, t, dz)
        if not last:
            y, z = y @ t, t @ z
    a_bar = dz / (safe * root_of_size) if inverse else dy * (root_of_size / safe)  # 0 for A = 0

    def inner(x: Tensor, y: Tensor) -> Tensor:
        return (x * y).sum((-2, -1), keepdim=True)

    return a_bar, ((-0.5 if inverse else 0.5) * inner(g, root) - inner(a_bar, a)) / safe
