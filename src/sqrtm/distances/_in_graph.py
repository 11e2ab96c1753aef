"""For torch.compile: the autograd functions as calls that Dynamo takes whole; see `sqrtm.gradients._in_graph`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._transport import Distance, Map


@torch.compiler.allow_in_graph
def apply_distance(*inputs: Any) -> Tensor:
    """`Distance` of its inputs."""
    return Distance.apply(*inputs)


@torch.compiler.allow_in_graph
def apply_map(*inputs: Any) -> Tensor:
    """`Map` of its inputs."""
    return Map.apply(*inputs)
