"""A batch a part at a time, so that intermediate results never take more than some memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from ._real import COMPLEX, HALF
from ._transforms import tracked, under_vmap

Run = Callable[..., Sequence[Tensor | None]]


def in_chunks(run: Run, tensors: tuple[Tensor, ...], limit: int | None, workspace: int) -> tuple[Any, ...]:
    """``run(*tensors, (0, *batch))``, in as many parts as keep a part's memory below ``limit`` bytes, or one matrix.

    Tensors are ``(*batch, n, n)`` and so are those of a part, but with one batch axis; ``batch`` is the shape of the
    whole, and 0 becomes the number of the first matrix of the part. Whatever ``run`` returns has the batch axes first.
    A matrix takes the memory of ``workspace`` real ones. Under vmap, which hides the batch, nothing is split.
    """
    a = tensors[0]
    batch = a.shape[:-2]
    if limit is None or under_vmap():
        return tuple(run(*tensors, (0, *batch)))
    count, most = prod(batch), _most(a, limit, workspace)
    if most >= count:
        return tuple(run(*tensors, (0, *batch)))
    size = -(-count // -(-count // most))
    # The gradient of split is one concatenation; that of slices would be as many batches of zeros.
    parts = zip(*(flattened(x).split(size) for x in tensors), strict=True)
    if tracked(*tensors):
        found = [run(*part, (i * size, *batch)) for i, part in enumerate(parts)]
        joined = [None if x[0] is None else torch.cat(x) for x in zip(*found, strict=True)]
    else:
        joined = []
        for i, part in enumerate(parts):
            some = run(*part, (i * size, *batch))
            joined = joined or [None if x is None else x.new_empty(count, *x.shape[1:]) for x in some]
            for whole, x in zip(joined, some, strict=True):
                if whole is not None and x is not None:
                    whole[i * size : i * size + len(x)] = x
            del some
    return tuple(None if x is None else x.reshape(*batch, *x.shape[1:]) for x in joined)


def flattened(a: Tensor) -> Tensor:
    """``(..., n, n)`` as ``(B, n, n)``."""
    return a.reshape(prod(a.shape[:-2]), *a.shape[-2:])  # Size.numel() would make compiled code specialise


def _most(a: Tensor, limit: int, workspace: int) -> int:
    """How many matrices like those of ``a`` fit."""
    n = 2 * a.shape[-1] if a.dtype in COMPLEX else a.shape[-1]
    itemsize = 4 if a.dtype in (*HALF, torch.float32, torch.complex64) else 8
    return max(1, limit // (workspace * max(n, 4) ** 2 * itemsize))  # numbers a matrix count below 4


def check_limit(limit: Any, caller: str) -> None:
    """Raise unless a limit is None or a positive integer."""
    if limit is None:
        return
    if not isinstance(limit, Integral) or isinstance(limit, bool):
        raise TypeError(f"{caller}: max_workspace_bytes must be an integer or None, got {limit!r}")
    if limit < 1:
        raise ValueError(f"{caller}: max_workspace_bytes must be at least 1, got {limit!r}")
