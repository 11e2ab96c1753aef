"""A batch a part at a time, so that intermediate results never take more than some memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from math import prod
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from ._place import place_of
from ._real import COMPLEX, HALF
from ._transforms import tracked, under_vmap

Run = Callable[..., Sequence[Tensor | None]]


def in_chunks(
    run: Run, tensors: tuple[Tensor, ...], batch: tuple[int, ...], limit: int | None, held: int
) -> tuple[Any, ...]:
    """``run(*tensors, place)`` in as many parts as keep a part's memory below ``limit`` bytes, or one matrix.

    Tensors are matrices whose batch axes broadcast to ``batch``; those of a part have one batch axis, unless the only
    part is the whole. What ``run`` returns has the batch axes first. For every matrix of the first tensor, as many
    real ones as ``held`` are in memory at a time. Under vmap, which hides the batch, nothing is split.
    """
    if limit is None or under_vmap():
        return tuple(run(*tensors, place_of(batch)))
    count, most = prod(batch), fitting(tensors[0].shape[-1], tensors[0].dtype, limit, held)
    if most >= count:
        return tuple(run(*tensors, place_of(batch)))
    size = -(-count // -(-count // most))
    starts = range(0, count, size)
    parts = zip(*(_parts(x, batch, size) for x in tensors), strict=True)
    if tracked(*tensors):
        found = [run(*part, place_of(batch, start, len(part[0]))) for start, part in zip(starts, parts, strict=True)]
        joined = [None if x[0] is None else torch.cat(x) for x in zip(*found, strict=True)]
    else:
        joined = []
        for start, part in zip(starts, parts, strict=True):
            some = run(*part, place_of(batch, start, len(part[0])))
            joined = joined or [None if x is None else x.new_empty(count, *x.shape[1:]) for x in some]
            for whole, x in zip(joined, some, strict=True):
                if whole is not None and x is not None:
                    whole[start : start + size] = x
            del some, x  # or they would be in memory beside those of the next part
    return tuple(None if x is None else x.reshape(*batch, *x.shape[1:]) for x in joined)


def _parts(x: Tensor, batch: tuple[int, ...], size: int) -> Iterator[Tensor]:
    """So many matrices at a time of ``x``, broadcast to ``batch``, which is not copied as a whole."""
    own, count = x.shape[:-2], prod(batch)
    strides = [(length, stride) for length, stride in zip(own, x.stride(), strict=False) if length > 1]
    one_axis = all(step == n * inner for (_, step), (n, inner) in pairwise(strides))
    if own == batch and one_axis:
        yield from flattened(x).split(size)  # whose gradient is one concatenation
        return
    for start in range(0, count, size):
        index = torch.unravel_index(torch.arange(start, min(start + size, count), device=x.device), batch)
        index = index[len(batch) - len(own) :]
        broadcast = tuple(i if length > 1 else torch.zeros_like(i) for i, length in zip(index, own, strict=True))
        yield x[broadcast] if broadcast else x.expand(min(size, count - start), *x.shape)


def flattened(a: Tensor) -> Tensor:
    """``(..., n, n)`` as ``(B, n, n)``."""
    return a.reshape(prod(a.shape[:-2]), *a.shape[-2:])  # Size.numel() would make compiled code specialise


def fitting(n: int, dtype: torch.dtype, limit: int, held: int) -> int:
    """How many ``n × n`` matrices fit, one at least."""
    n = 2 * n if dtype in COMPLEX else n
    itemsize = 4 if dtype in (*HALF, torch.float32, torch.complex64) else 8
    return max(1, limit // (held * max(n, 4) ** 2 * itemsize))  # below 4, what there is one of for each matrix counts


def check_limit(limit: Any, caller: str) -> None:
    """Raise unless a limit is None or a positive integer."""
    if limit is None:
        return
    if not isinstance(limit, Integral) or isinstance(limit, bool):
        raise TypeError(f"{caller}: max_workspace_bytes must be an integer or None, got {limit!r}")
    if limit < 1:
        raise ValueError(f"{caller}: max_workspace_bytes must be at least 1, got {limit!r}")
