"""`methods.NewtonSchulz` and its exact derivative, small float32 matrices, in one launch each.

The plain twins are `methods.newton_schulz.coupled` and `coupled_vjp`, where the derivative is explained.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ._block import blocks, diagonal, load_numbers, offsets, operand_memory, plus, product, store_numbers, total


def roots(a: Tensor, size: Tensor, steps: int, precision: str = "ieee") -> tuple[Tensor, Tensor]:
    """S and Z of symmetric ``a``, ``(B, n, n)``, divided by ``size``, ``(B, 1, 1)``, first."""
    a = a.resolve_neg()
    batch, n = a.shape[:2]
    s, z = (torch.empty((batch, n, n), dtype=a.dtype, device=a.device) for _ in range(2))
    grid, shape = blocks(batch, n)
    with torch.cuda.device_of(a):
        roots_kernel[grid](
            a, size.contiguous(), s, z, *operand_memory(s, z),
            batch, n, *a.stride(), steps, PRECISION=precision, **shape,
        )  # fmt: skip
    return s, z


def vjp(
    a: Tensor, root: Tensor, g: Tensor, size: Tensor, steps: int, inverse: bool, precision: str = "ieee"
) -> tuple[Tensor, Tensor]:
    """Ā, and what becomes of ``size``, of the cotangent ``g`` of ``root``, which is Z if ``inverse``, else S."""
    a, g = a.resolve_neg(), g.resolve_neg()
    batch, n = a.shape[:2]
    x = torch.empty((batch, n, n), dtype=a.dtype, device=a.device)
    size_bar = torch.empty_like(size, memory_format=torch.contiguous_format)
    grid, shape = blocks(batch, n)
    with torch.cuda.device_of(a):
        vjp_kernel[grid](
            a, size.contiguous(), root.contiguous(), g, x, size_bar, *operand_memory(x),
            batch, n, *a.stride(), *g.stride(), steps, INVERSE=inverse, PRECISION=precision, **shape,
        )  # fmt: skip
    return x, size_bar


@triton.jit
def scale(size_pointer, first, batch, P: tl.constexpr):
    """What A is divided by, 1 if that is not positive; and its root, or 0."""
    size = load_numbers(size_pointer, first, batch, 1, P)
    safe = tl.where(size > 0, size, 1.0)
    return safe, tl.where(size > 0, tl.sqrt_rn(safe), 0.0)


@triton.jit(do_not_specialize=["batch", "steps"])
def roots_kernel(
    a_pointer, size_pointer, s_pointer, z_pointer, left_pointer, right_pointer, batch, n, stride, row, column, steps,
    N: tl.constexpr, P: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One program for P matrices."""
    first = tl.program_id(0).to(tl.int64) * P
    eye = diagonal(n, N, P)
    memory = (left_pointer + first * N * N, right_pointer + first * N * N)
    where, mask = offsets(first, batch, n, stride, row, column, N, P)
    a = tl.load(a_pointer + where, mask=mask, other=0.0)
    size, root = scale(size_pointer, first, batch, P)
    y = a * tl.div_rn(1.0, size)
    z = plus(-0.5 * y, 1.5, eye)
    y = product(y, z, memory, PRECISION)
    done = 1
    while done < steps:
        done += 1
        t = plus(-0.5 * product(z, y, memory, PRECISION), 1.5, eye)
        y = product(y, t, memory, PRECISION)
        z = product(t, z, memory, PRECISION)
    where, mask = offsets(first, batch, n, n * n, n, 1, N, P)
    tl.store(s_pointer + where, y * root, mask=mask)
    tl.store(z_pointer + where, tl.div_rn(z, root), mask=mask)


@triton.jit(do_not_specialize=["batch", "steps"])
def vjp_kernel(
    a_pointer, size_pointer, root_pointer, g_pointer, x_pointer, size_bar_pointer, left_pointer, right_pointer,
    batch, n, stride, row, column, g_stride, g_row, g_column, steps,
    N: tl.constexpr, P: tl.constexpr, INVERSE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One program for P matrices."""
    first = tl.program_id(0).to(tl.int64) * P
    eye = diagonal(n, N, P)
    memory = (left_pointer + first * N * N, right_pointer + first * N * N)
    at, mask = offsets(first, batch, n, stride, row, column, N, P)
    g_at, _ = offsets(first, batch, n, g_stride, g_row, g_column, N, P)
    a = tl.load(a_pointer + at, mask=mask, other=0.0)
    size, root = scale(size_pointer, first, batch, P)
    y, dy = a * tl.div_rn(1.0, size), tl.load(g_pointer + g_at, mask=mask, other=0.0)
    z, dz = plus(-0.5 * y, 1.5, eye), -0.5 * dy
    dy = product(dy, z, memory, PRECISION) + product(y, dz, memory, PRECISION)
    y = product(y, z, memory, PRECISION)
    done = 1
    while done < steps:
        done += 1
        dt = -0.5 * (product(dz, y, memory, PRECISION) + product(z, dy, memory, PRECISION))
        t = plus(-0.5 * product(z, y, memory, PRECISION), 1.5, eye)
        dy = product(dy, t, memory, PRECISION) + product(y, dt, memory, PRECISION)
        y = product(y, t, memory, PRECISION)
        dz = product(dt, z, memory, PRECISION) + product(t, dz, memory, PRECISION)
        z = product(t, z, memory, PRECISION)
    where, mask = offsets(first, batch, n, n * n, n, 1, N, P)
    x, half = dy * tl.div_rn(root, size), 0.5  # 0 for A = 0
    if INVERSE:
        x, half = tl.div_rn(dz, size * root), -0.5
    tl.store(x_pointer + where, x, mask=mask)
    a = tl.load(a_pointer + at, mask=mask, other=0.0)
    inner = total(tl.load(g_pointer + g_at, mask=mask, other=0.0) * tl.load(root_pointer + where, mask=mask, other=0.0))
    store_numbers(size_bar_pointer, first, batch, tl.div_rn(half * inner - total(x * a), size), 1, P)
