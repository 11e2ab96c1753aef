"""Whether a computation is done now, on values, or recorded and transformed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch._C import _are_functorch_transforms_active
from torch._C._functorch import TransformType, get_interpreter_stack
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd import forward_ad
from torch.compiler import is_compiling


def traced(a: Tensor) -> bool:
    """There are no values to look at."""
    return is_compiling() or a.is_meta or type(a) is FakeTensor


def transformed() -> bool:
    """A transform of torch.func or forward mode is at work."""
    return _are_functorch_transforms_active() or forward_ad._current_level >= 0


def tracked(*tensors: Tensor) -> bool:
    """Something records or transforms what is computed from these tensors, or they have no values."""
    if traced(tensors[0]) or transformed():
        return True
    for x in tensors:
        if x.requires_grad:
            return torch.is_grad_enabled()
    return False


def under_vmap() -> bool:
    """A vmap is at work, which shows functions a part of the batch."""
    if is_compiling() or not _are_functorch_transforms_active():
        return False
    return any(level.key() == TransformType.Vmap for level in get_interpreter_stack() or [])


def captured(a: Tensor) -> bool:
    """What is done goes into a CUDA graph, which is not run now: there are no values to decide by."""
    return a.is_cuda and torch.cuda.is_current_stream_capturing()


def is_batched_gradient(g: Tensor) -> bool:
    """`torch.autograd.grad(..., is_grads_batched=True)` has made one tensor of several gradients."""
    return not is_compiling() and torch._C._functorch.is_legacy_batchedtensor(g)


def for_each_gradient(function: Callable[[Tensor], Tensor], g: Tensor) -> Tensor:
    """``function`` of each of those."""
    level = torch._C._vmapmode_increment_nesting() - 1
    torch._C._vmapmode_decrement_nesting()
    found = torch.stack([function(part) for part in torch._remove_batch_dim(g, level, 1, 0)])
    return torch._add_batch_dim(found, 0, level)
