"""Kernels that hold whole matrices in one multiprocessor: a root in one launch, its gradient in another.

The modules are imported when they are used, because they need Triton, and all else does not.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from typing import NamedTuple

import torch
from torch import Tensor

from .._transforms import traced

LARGEST = 64
"""Above, the matrices do not fit in registers (docs/gpu.md), and cuBLAS has enough to do with each."""
DEVICES = {"cuda"}
LEAST_CAPABILITY = (8, 0)


class Support(NamedTuple):
    """Whether the kernels are for some matrices, and why not."""

    ok: bool
    reason: str

    def __bool__(self) -> bool:
        return self.ok


YES = Support(True, "")


def supported(a: Tensor) -> Support:
    """Whether the kernels compute matrices like ``a``, ``(..., n, n)``."""
    if a.device.type not in DEVICES:
        return Support(False, f"kernels are for CUDA, not {a.device.type}")
    if a.dtype != torch.float32:
        return Support(False, f"kernels are for float32, not {str(a.dtype).removeprefix('torch.')}")
    if not 0 < a.shape[-1] <= LARGEST:
        return Support(False, f"kernels are for n from 1 to {LARGEST}, not {a.shape[-1]}")
    if traced(a):  # the operators that are traced into ask again
        return YES
    return _installed() if a.device.type != "cuda" else _able(a.device)


@lru_cache
def _installed() -> Support:
    if find_spec("triton") is None:
        return Support(False, "kernels need Triton, which is not installed")
    return YES


@lru_cache
def _able(device: torch.device) -> Support:
    if torch.version.hip is not None:
        return Support(False, "kernels are for CUDA, not ROCm")
    capability = torch.cuda.get_device_capability(device)
    if capability < LEAST_CAPABILITY:
        needed, found = ("{}.{}".format(*x) for x in (LEAST_CAPABILITY, capability))
        return Support(False, f"kernels need compute capability {needed}, not {found}")
    return _installed()
