"""The gradient by the Lyapunov equation, solved by Newton–Schulz for the matrix sign."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..methods._base import check_count, identity_like, normalise
from ._implicit import Factors, ImplicitGradient, symmetrised


@dataclass(frozen=True)
class LyapunovNewtonSchulz(ImplicitGradient):
    """Newton–Schulz on the block matrix [[S, G], [0, −S]], whose sign is [[I, 2X], [0, −I]].

    From N = S/‖S‖_F and Q = G/‖S‖_F, a step is::

        Q ← (3Q − N(NQ) + (NQ − QN)N) / 2,    N ← N(3I − N²)/2

    and Q → 2X. Converges like `NewtonSchulz`: quadratically, after a number of steps that grows with
    the logarithm of the condition number. Costs 5 matrix products a step (6 for a G that is not
    symmetric), and no memory besides S, whatever the number of steps. Not for singular A, where it
    does not follow the pseudo-inverse convention of `LyapunovEigh`.

    Parameters
    ----------
    steps : int
        Number of steps.

    References
    ----------
    Roberts, *Linear model reduction and solution of the algebraic Riccati equation by use of the sign
    function*, Int. J. Control 32 (1980) 677–687; for this use Maji's code of 2017, matrix-sqrt, that
    goes with Lin & Maji, *Improved Bilinear Pooling with CNNs*.
    """

    steps: int = 10

    name: ClassVar[str] = "lyapunov-newton-schulz"

    def __post_init__(self) -> None:
        check_count(self, "steps")

    def solve(self, s: Tensor, g: Tensor, factors: Factors, symmetric: bool) -> Tensor:
        if symmetric:
            g = symmetrised(g)
        norm = torch.linalg.matrix_norm(s, keepdim=True)
        n, root = normalise(s, norm)
        q = torch.where(root > 0, g / norm, 0.0)  # S = 0: the pseudo-inverse convention
        eye = identity_like(s)
        for step in range(self.steps):
            nq = n @ q
            qn = nq.mT if symmetric else q @ n
            q = torch.baddbmm(q, n, nq, beta=1.5, alpha=-0.5)
            q = torch.baddbmm(q, nq - qn, n, alpha=0.5)
            if symmetric:  # or QN = (NQ)ᵀ would double the asymmetry that rounding leaves
                q = (q + q.mT) / 2
            if step < self.steps - 1:
                n = n @ torch.baddbmm(eye, n, n, beta=1.5, alpha=-0.5)
        return q / 2
