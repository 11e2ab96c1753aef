"""For torch.compile and meta tensors: what depends on values, as operators that tracing does not look into.

The operators are forward-only; the derivatives stay with the autograd functions that call them. This
module is imported when something is first traced: `torch.library.custom_op` imports all of Dynamo.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..methods import TABLE
from ..methods._base import Roots, SelfChecking
from ..methods._checked import checked_roots
from ..methods.routed import BY_EIGENVALUES, Table
from . import _newton_schulz
from .lyapunov_chebyshev import LyapunovChebyshev

RULE = LyapunovChebyshev()


@torch.library.custom_op("sqrtm::roots", mutates_args=())
def roots(
    a: Tensor, method: str, inverse: bool, definite: bool, caller: str, dtype: torch.dtype, place: list[int]
) -> list[Tensor]:
    """A^{1/2}, A^{-1/2} if it is wanted, what `LyapunovChebyshev` keeps, and the verdict of `checked_roots`."""
    value = {Table.name: Table(), BY_EIGENVALUES.name: BY_EIGENVALUES}.get(method) or TABLE[method]()
    assert isinstance(value, SelfChecking)

    def outputs(roots: Roots) -> tuple[Tensor, ...]:
        ends, values, factor, defect = RULE.keep(roots)
        own = [roots.invsqrt] if inverse and roots.invsqrt is not None else []
        if defect.shape[1:] != _defect_shape(roots.sqrt):
            defect = defect.new_zeros(len(defect), *_defect_shape(roots.sqrt))
        # What operators return must not share memory, and have the strides that are announced below.
        return *(x.contiguous() for x in (roots.sqrt, *own, ends, values)), _copy(factor), defect.contiguous()

    *found, verdict = checked_roots(a, value, outputs, inverse, definite, True, caller, dtype, tuple(place))
    verdict = torch.zeros(len(a), 2, dtype=torch.int64, device=a.device) if verdict is None else verdict
    return [x for x in (*found, verdict) if x is not None]


@roots.register_fake
def _(
    a: Tensor, method: str, inverse: bool, definite: bool, caller: str, dtype: torch.dtype, place: list[int]
) -> list[Tensor]:
    own = [a.new_empty(a.shape)] if inverse else []
    ends, values = a.new_empty(a.shape[0], 2), a.new_empty(a.shape[:-1])
    defect, verdict = a.new_empty(a.shape[0], *_defect_shape(a)), a.new_empty(a.shape[0], 2, dtype=torch.int64)
    return [a.new_empty(a.shape), *own, ends, values, a.new_empty(a.shape), defect, verdict]


def _copy(x: Tensor) -> Tensor:
    return x.clone(memory_format=torch.contiguous_format)


def _defect_shape(a: Tensor) -> tuple[int, int]:
    """For all values the same: a matrix where there may be one."""
    n = a.shape[-1] if a.dtype == torch.float64 else 0
    return n, n


@torch.library.custom_op("sqrtm::solve_lyapunov", mutates_args=())
def solve(s: Tensor, g: Tensor, factors: list[Tensor], symmetric: bool, rtol: float | None) -> Tensor:
    """`LyapunovChebyshev.solve`."""
    return LyapunovChebyshev(rtol).solve(s, g, tuple(factors), symmetric).contiguous()


@solve.register_fake
def _(s: Tensor, g: Tensor, factors: list[Tensor], symmetric: bool, rtol: float | None) -> Tensor:
    return g.new_empty(g.shape)


@torch.library.custom_op("sqrtm::newton_schulz", mutates_args=())
def newton_schulz(a: Tensor, size: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """`_newton_schulz.forward`, with Z."""
    s, z = _newton_schulz.forward(a, size, steps, True)
    assert z is not None
    return s, z


@newton_schulz.register_fake
def _(a: Tensor, size: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    return a.new_empty(a.shape), a.new_empty(a.shape)


@torch.library.custom_op("sqrtm::newton_schulz_vjp", mutates_args=())
def newton_schulz_vjp(
    a: Tensor, root: Tensor, g: Tensor, size: Tensor, steps: int, inverse: bool
) -> tuple[Tensor, Tensor]:
    """`_newton_schulz.vjp`."""
    return _newton_schulz.vjp(a, root, g, size, steps, inverse)


@newton_schulz_vjp.register_fake
def _(a: Tensor, root: Tensor, g: Tensor, size: Tensor, steps: int, inverse: bool) -> tuple[Tensor, Tensor]:
    return a.new_empty(a.shape), size.new_empty(size.shape)
