"""What the kernels are written in: P matrices in the registers of one program, padded with zeros to N × N.

Such a block is ``(N, N)`` for P = 1 and ``(P, N, N)`` else, and a number a matrix is ``(1, 1)`` or ``(P, 1, 1)``. The
padding stays zero, because only the part of the diagonal that `diagonal` tells is ever added to. Where matrices of a
block need different things, all are computed and each takes its own by `tl.where`: no bit of a matrix depends on its
neighbours.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

PACKING = {8: (4, 4), 16: (4, 4), 32: (1, 4), 64: (1, 8), 128: (1, 16)}
"""By N: matrices a program, and its warps."""


def blocks(batch: int, n: int) -> tuple[tuple[int], dict[str, int]]:
    """The grid and the arguments of a launch for so many matrices."""
    size = max(8, triton.next_power_of_2(n))
    together, warps = PACKING[size]
    return (triton.cdiv(batch, together),), {"N": size, "P": together, "num_warps": warps, "num_stages": 1}


def operand_memory(first: Tensor, second: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """What `product` may use: results, ``(B, n, n)``, that are not yet there, where they are large enough."""
    batch, n, _ = first.shape
    size = triton.next_power_of_2(n)
    if size < 64:
        return first, first  # unused
    if n == size:
        return first, torch.empty_like(first) if second is None else second
    return first.new_empty(batch, size, size), first.new_empty(batch, size, size)


@triton.jit
def offsets(first, batch, n, stride, row, column, N: tl.constexpr, P: tl.constexpr):
    """Where the entries of P matrices from number ``first`` are, and which exist; in 64 bits."""
    i = tl.arange(0, N)
    square = (i[:, None] < n) & (i[None, :] < n)
    i = i.to(tl.int64)
    within = i[:, None] * row + i[None, :] * column
    if P == 1:
        where, mask = first * stride + within, square
    else:
        number = first + tl.arange(0, P)[:, None, None]
        where, mask = number * stride + within[None, :, :], square[None, :, :] & (number < batch)
    return where, mask


@triton.jit
def diagonal(n, N: tl.constexpr, P: tl.constexpr):
    """Which entries are on the diagonal, and not padding."""
    i = tl.arange(0, N)
    which = (i[:, None] == i[None, :]) & (i[:, None] < n)
    if P > 1:
        which = which[None, :, :]
    return which


@triton.jit
def product(x, y, memory, PRECISION: tl.constexpr):
    """XY; for N ≥ 64 by way of ``memory``, pointers to twice N·N numbers: the operands do not fit in registers."""
    N: tl.constexpr = x.shape[-1]
    if N < 16:  # too small for `tl.dot`
        xy = tl.sum(tl.expand_dims(x, -1) * tl.expand_dims(y, -3), axis=-2)
    elif N < 64:
        xy = tl.dot(x, y, input_precision=PRECISION)
    else:
        left, right = memory
        i = tl.arange(0, N)
        tl.store(left + (i[:, None] * N + i[None, :]), x)
        tl.store(right + (i[:, None] * N + i[None, :]), y)
        tl.debug_barrier()
        xy = tl.zeros((N, N), tl.float32)
        for start in range(0, N, 16):
            k = start + tl.arange(0, 16)
            columns = tl.load(left + (i[:, None] * N + k[None, :]))
            xy = tl.dot(columns, tl.load(right + (k[:, None] * N + i[None, :])), xy, input_precision=PRECISION)
        tl.debug_barrier()
    return xy


@triton.jit
def total(x):
    """The sum of all entries of each matrix."""
    return tl.sum(tl.sum(x, axis=-1, keep_dims=True), axis=-2, keep_dims=True)


@triton.jit
def norm(x):
    """‖X‖_F."""
    return tl.sqrt_rn(total(x * x))


@triton.jit
def anywhere(which):
    """Whether something holds for any matrix of the block: a scalar."""
    return tl.max(tl.reshape(which.to(tl.int32), (which.numel,)), axis=0) != 0


@triton.jit
def chosen(which, x, y, P: tl.constexpr):
    """X of the matrices where something holds that holds for one of the block at least, and Y of the others."""
    if P > 1:
        x = tl.where(which, x, y)
    return x


@triton.jit
def plus(x, value, diagonal):
    """X + value·I."""
    return tl.where(diagonal, x + value, x)


@triton.jit
def symmetrised(x):
    """(X + Xᵀ)/2."""
    return 0.5 * x + 0.5 * tl.trans(x)


@triton.jit
def number(x, P: tl.constexpr):
    """x for every matrix."""
    every = tl.full((P, 1), 1.0, tl.float32) * x
    if P > 1:
        every = every[:, :, None]
    return every


@triton.jit
def store_numbers(pointer, first, batch, x, every: tl.constexpr, P: tl.constexpr):
    """Store one number a matrix, ``every`` apart."""
    number = first + tl.arange(0, P)
    tl.store(pointer + number * every, tl.reshape(x, (P,)), mask=number < batch)


@triton.jit
def load_numbers(pointer, first, batch, every: tl.constexpr, P: tl.constexpr):
    """Load one number a matrix, ``every`` apart, 1 where there is no matrix."""
    number = first + tl.arange(0, P)
    x = tl.load(pointer + number * every, mask=number < batch, other=1.0)
    x = x[:, None]
    if P > 1:
        x = x[:, :, None]
    return x
