"""Whether a computation is done now, on values, or recorded and transformed."""

from __future__ import annotations

import torch
from torch import Tensor


def traced(a: Tensor) -> bool:
    """There are no values to look at."""
    return torch.compiler.is_compiling() or a.device.type == "meta"


def transformed() -> bool:
    """A transform of torch.func or forward mode is at work."""
    return torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0
