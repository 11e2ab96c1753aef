"""The exact derivative of a fixed number of Newton–Schulz steps, with nothing stored but what goes in and comes out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import kernels
from .._autocast import without_autocast
from ..methods.newton_schulz import coupled, coupled_vjp


class NewtonSchulzRoots(torch.autograd.Function):
    """(S, Z) of A and of c, the size that A is divided by, as `coupled` has them; Z is None if not ``inverse``."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, size: Tensor, steps: int, inverse: bool) -> tuple[Tensor, Tensor | None]:
        if kernels.supported(a):
            from ..kernels import newton_schulz as kernel

            s, inverse_root = kernel.roots(a, size, steps)
            z = inverse_root if inverse else None
        else:
            s, z = coupled(a, size, steps, inverse)
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
        if torch.is_grad_enabled():  # to be differentiated again: by what autograd makes of the steps themselves
            a, size = a.view_as(a), size.view_as(size)  # or what A does to its size would count here too
            roots: Any = coupled(a, size, ctx.steps, z is not None)
            outputs = [roots[inverse] for *_, inverse in given]
            bars = torch.autograd.grad(outputs, (a, size), [bar for _, bar, _ in given], create_graph=True)
            return *bars, None, None
        vjp = coupled_vjp
        if kernels.supported(a):
            from ..kernels.newton_schulz import vjp
        parts = [vjp(a, root, bar, size, ctx.steps, inverse) for root, bar, inverse in given]
        return *(sum(x) for x in zip(*parts, strict=True)), None, None
