"""The exact derivative of a fixed number of Newton–Schulz steps, with nothing stored but what goes in and comes out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import kernels
from .._autocast import without_autocast
from .._transforms import is_batched_gradient, traced, transformed
from ..methods.newton_schulz import coupled, coupled_vjp


def newton_schulz_roots(a: Tensor, size: Tensor, steps: int, inverse: bool) -> tuple[Tensor, Tensor | None]:
    """S and, if ``inverse``, Z of A and of c, the size that A is divided by, as `coupled` has them."""
    if torch.compiler.is_compiling():
        from ._in_graph import apply_newton_schulz

        return apply_newton_schulz(a, size, steps, inverse)
    return NewtonSchulzRoots.apply(a, size, steps, inverse)


class NewtonSchulzRoots(torch.autograd.Function):
    """`newton_schulz_roots`."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, size: Tensor, steps: int, inverse: bool) -> tuple[Tensor, Tensor | None]:
        s, z = forward(a, size, steps, inverse)
        ctx.steps = steps
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(a, size, s, z)
        return s, z

    @staticmethod
    @without_autocast
    def backward(ctx: Any, s_bar: Tensor | None, z_bar: Tensor | None) -> tuple[Tensor | None, ...]:
        a, size, s, z = ctx.saved_tensors
        given = [(root, bar, i > 0) for i, (root, bar) in enumerate(((s, s_bar), (z, z_bar))) if bar is not None]
        if not given:
            return None, None, None, None
        if torch.is_grad_enabled() and not traced(a):  # to be differentiated again: by autograd through the steps
            a, size = a.view_as(a), size.view_as(size)  # or what A does to its size would count here too
            roots: Any = coupled(a, size, ctx.steps, z is not None)
            outputs = [roots[inverse] for *_, inverse in given]
            bars = torch.autograd.grad(outputs, (a, size), [bar for _, bar, _ in given], create_graph=True)
            return *bars, None, None
        (a_bar, size_bar), *others = (vjp(a, root, bar, size, ctx.steps, inverse) for root, bar, inverse in given)
        for x, y in others:
            a_bar, size_bar = a_bar + x, size_bar + y
        return a_bar, size_bar, None, None


def forward(a: Tensor, size: Tensor, steps: int, inverse: bool) -> tuple[Tensor, Tensor | None]:
    """`coupled`, by a kernel where there is one."""
    if not kernels.supported(a):
        return coupled(a, size, steps, inverse)
    if traced(a):
        from . import _traced

        s, z = _traced.newton_schulz(a, size, steps)
    else:
        from ..kernels import newton_schulz as kernel

        s, z = kernel.roots(a, size, steps)
    return s, z if inverse else None


def vjp(a: Tensor, root: Tensor, g: Tensor, size: Tensor, steps: int, inverse: bool) -> tuple[Tensor, Tensor]:
    """`coupled_vjp`, by a kernel where there is one."""
    batched = not traced(a) and (transformed() or is_batched_gradient(g))
    if batched or not kernels.supported(a):
        return coupled_vjp(a, root, g, size, steps, inverse)
    if traced(a):
        from . import _traced

        return _traced.newton_schulz_vjp(a, root, g, size, steps, inverse)
    from ..kernels import newton_schulz as kernel

    return kernel.vjp(a, root, g, size, steps, inverse)
