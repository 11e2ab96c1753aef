"""The gradient of the method's own arithmetic, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .._transforms import transformed
from ..methods import Method, NewtonSchulz
from ..methods.newton_schulz import SCALINGS
from ._base import Gradient
from ._newton_schulz import newton_schulz_roots


@dataclass(frozen=True)
class Unrolled(Gradient):
    """The derivative of every step of an iteration or approximation.

    The exact one of what the method computes, converged or not: what covariance pooling with few steps trains with.
    After `NewtonSchulz` it is iterated beside the root, in the backward pass: 9 products a step, and memory that does
    not grow with the number of steps; under torch.func, and after other methods, it is automatic differentiation, which
    keeps every step. Refused with `Eigh` and `SVD`, where it would divide by
    differences of eigenvalues (`MatrixBackprop` is the named form of that), and with `Minimax`, whose steps depend on
    the values and go on to convergence, where implicit gradients are exact.

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
        if isinstance(method, NewtonSchulz) and not transformed():
            return newton_schulz_roots(a, SCALINGS[method.scaling](a), method.steps, inverse)
        s, z, *_ = method.roots(a, inverse)
        return s, z
