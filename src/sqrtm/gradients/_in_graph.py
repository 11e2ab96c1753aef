"""For torch.compile: the autograd functions as calls that Dynamo takes whole.

Dynamo refuses to trace an autograd.Function that has a ``jvp`` of its own, but the compiler behind
it handles one well. This module is imported when something is first compiled, because
`torch.compiler.allow_in_graph` imports all of Dynamo, which takes as long as importing torch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._implicit import _Lyapunov, _Roots
from ._newton_schulz import NewtonSchulzRoots


@torch.compiler.allow_in_graph
def apply_roots(*inputs: Any) -> tuple[Tensor | None, ...]:
    """`_Roots` of its inputs."""
    return _Roots.apply(*inputs)


@torch.compiler.allow_in_graph
def apply_lyapunov(*inputs: Any) -> Tensor:
    """`_Lyapunov` of its inputs."""
    return _Lyapunov.apply(*inputs)


@torch.compiler.allow_in_graph
def apply_newton_schulz(*inputs: Any) -> tuple[Tensor, Tensor | None]:
    """`NewtonSchulzRoots` of its inputs."""
    return NewtonSchulzRoots.apply(*inputs)
