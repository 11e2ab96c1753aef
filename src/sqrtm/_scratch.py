"""Memory for intermediate results that is kept from call to call.

The allocator of the system gives freed blocks of a few megabytes back, and to fetch them again page by page takes as
long as several matrix products on what they hold.
"""

from __future__ import annotations

import threading

import torch
from torch import Tensor

MOST_KEPT = 2**26
"""Bytes, per thread, in blocks of at most half of it."""
LEAST_KEPT = 2**14
"""Bytes below which the allocator is as fast."""


class _Free(threading.local):
    def __init__(self) -> None:
        self.blocks: list[Tensor] = []  # flat, float32 or float64


_free = _Free()


class scratch:  # noqa: N801  (reads like contextlib's, which take longer)
    """A context of so many contiguous tensors of the shape of ``like``, not initialised, which nobody may use later."""

    def __init__(self, count: int, like: Tensor, dtype: torch.dtype | None = None) -> None:
        self.count, self.like, self.dtype = count, like, dtype or like.dtype
        self.block: Tensor | None = None

    def __enter__(self) -> tuple[Tensor, ...]:
        count, like, dtype = self.count, self.like, self.dtype
        size = count * like.numel()
        if size * dtype.itemsize < LEAST_KEPT:
            return torch.empty((count, *like.shape), dtype=dtype, device=like.device).unbind()
        plain = like.device.type == "cpu" and type(like) in (Tensor, torch.nn.Parameter)
        if not plain or size * dtype.itemsize > MOST_KEPT // 2:
            return tuple([torch.empty(like.shape, dtype=dtype, device=like.device) for _ in range(count)])
        self.block = _take(size, dtype)
        return self.block[:size].view(count, *like.shape).unbind()

    def __exit__(self, *_: object) -> None:
        if type(self.block) is Tensor:  # a fake one is of its mode
            _free.blocks.append(self.block)
            while sum(kept.nbytes for kept in _free.blocks) > MOST_KEPT:
                del _free.blocks[0]


def forget() -> None:
    """Give back what this thread has kept."""
    _free.blocks.clear()


def _take(size: int, dtype: torch.dtype) -> Tensor:
    """The smallest block that is large enough, or a new one."""
    blocks = _free.blocks
    fitting = [(x.numel(), i) for i, x in enumerate(blocks) if x.dtype == dtype and x.numel() >= size]
    if fitting:
        return blocks.pop(min(fitting)[1])
    with torch.inference_mode(False):  # or it could not be written to outside
        return torch.empty(size, dtype=dtype, device="cpu")
