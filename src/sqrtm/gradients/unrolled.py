"""The gradient by ordinary automatic differentiation of the method's own arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..methods import Method
from ._base import Gradient


@dataclass(frozen=True)
class Unrolled(Gradient):
    """Autograd through every step of an iteration or approximation.

    The exact derivative of what the method computes, converged or not: what covariance pooling
    with few steps trains with. Costs about twice the forward pass after `NewtonSchulz`, less after
    the others, and memory that grows with the number of steps. Refused with `Eigh` and `SVD`, where
    it would divide by differences of eigenvalues (`MatrixBackprop` is the named form of that), and with
    `Minimax`, whose steps depend on the values and go on to convergence, where implicit gradients are exact.

    Call backward outside `torch.autocast`, as PyTorch advises: what autograd recorded runs in the
    precision of its caller, which this library cannot prevent.

    References
    ----------
    Li, Xie, Wang & Gao, *Towards Faster Training of Global Covariance Pooling Networks by Iterative
    Matrix Square Root Normalization*, CVPR 2018, derive it by hand for `NewtonSchulz`.
    """

    name: ClassVar[str] = "unrolled"

    def check(self, method: Method) -> None:
        if not method.unrollable:
            raise ValueError(
                f"gradient 'unrolled' differentiates the fixed steps of an iteration, and method {method.name!r} has"
                " none: use gradient='auto', or 'matrix-backprop' for the chain rule through a decomposition"
            )

    def roots(self, method: Method, a: Tensor, inverse: bool) -> tuple[Tensor, Tensor | None]:
        s, z, *_ = method.roots(a, inverse)
        return s, z
