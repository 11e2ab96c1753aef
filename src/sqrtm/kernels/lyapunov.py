"""The Lyapunov equation S X + X S = G for small float32 matrices in one launch.

The plain twin is `gradients.LyapunovChebyshev.solve`: by `methods._chebyshev.chebyshev`, with the number of terms that
each matrix needs, or in the eigenbasis where that is what is at hand.
"""

from __future__ import annotations

from math import log

import torch
import triton
import triton.language as tl
from torch import Tensor

from .._schedule import CHEBYSHEV_TOLERANCE, MOST_TERMS
from ._block import (
    anywhere,
    blocks,
    chosen,
    diagonal,
    load_numbers,
    offsets,
    operand_memory,
    plus,
    product,
    symmetrised,
)

_LOG_TOLERANCE, _MOST_TERMS = tl.constexpr(log(CHEBYSHEV_TOLERANCE[torch.float32])), tl.constexpr(MOST_TERMS)


def solve(
    s: Tensor, factor: Tensor, values: Tensor, g: Tensor, ends: Tensor, symmetric: bool, precision: str = "ieee"
) -> Tensor:
    """X ``(B, n, n)`` for any ``g``; if ``symmetric``, for (G + Gᵀ)/2.

    ``factor`` is S⁻¹, and ``ends`` ``(B, 2)`` bounds on the spectrum of S; or, where the first of those is negative,
    the rows of ``factor`` are the eigenvectors of S, and ``values`` ``(B, n)`` its eigenvalues.
    """
    g = g.resolve_neg()
    batch, n = s.shape[:2]
    x = torch.empty((batch, n, n), dtype=s.dtype, device=s.device)
    grid, shape = blocks(batch, n)
    with torch.cuda.device_of(s):
        solve_kernel[grid](
            s.contiguous(), factor.contiguous(), values.contiguous(), g, ends.contiguous(), x,
            *operand_memory(x),
            batch, n, *g.stride(), SYMMETRIC=symmetric, PRECISION=precision, **shape,
        )  # fmt: skip
    return x


@triton.jit
def terms_for(ends_pointer, first, batch, P: tl.constexpr):
    """μ = (s_min·s_max)^{-1/2}, the number of terms, and r with r^terms the tolerance."""
    low = load_numbers(ends_pointer, first, batch, 2, P)
    high = load_numbers(ends_pointer + 1, first, batch, 2, P)
    q = tl.sqrt_rn(tl.div_rn(high, tl.where(low > 0, low, high)))
    c = tl.sqrt_rn(0.5 * (q + 1 / q))
    r = (c - 1) / (c + 1)
    r = tl.where(r > 1e-6, r, 1e-6)
    terms = tl.ceil(1 / tl.log(r) * _LOG_TOLERANCE * 1.000001).to(tl.int32)
    terms = tl.minimum(tl.maximum(terms, 2), _MOST_TERMS)
    mu = tl.div_rn(1.0, tl.sqrt_rn(tl.where(low > 0, low, high)) * tl.sqrt_rn(high))
    return mu, terms, tl.exp(1 / terms * _LOG_TOLERANCE)


@triton.jit
def coefficient(k, terms, log_r, unit, last):
    """That of the k-th Chebyshev polynomial in the best approximation to 1/(θ + x) with so many."""
    size = unit * tl.exp(k * log_r) * (1 - 2 * (k % 2))
    return tl.where(k < terms - 1, size, tl.where(k == terms - 1, size * last, 0.0))


@triton.jit
def anticommutator(n, b, memory, SYMMETRIC: tl.constexpr, PRECISION: tl.constexpr):
    """NB + BN."""
    x = product(n, b, memory, PRECISION)
    if SYMMETRIC:
        x += tl.trans(x)
    else:
        x += product(b, n, memory, PRECISION)
    return x


@triton.jit
def loewner(factor_pointer, values_pointer, where, first, batch, mask, g, n, memory,
            N: tl.constexpr, P: tl.constexpr, PRECISION: tl.constexpr):  # fmt: skip
    """Qᵀ [(QGQᵀ)_ij / (s_i + s_j)] Q, 0 where both are zero."""
    q = tl.load(factor_pointer + where, mask=mask, other=0.0)
    x = product(product(q, g, memory, PRECISION), tl.trans(q), memory, PRECISION)
    i = tl.arange(0, N)
    if P == 1:
        s = tl.load(values_pointer + first * n + i, mask=i < n, other=0.0)
        sums = s[:, None] + s[None, :]
    else:
        number = first + tl.arange(0, P)[:, None]
        s = tl.load(values_pointer + number * n + i[None, :], mask=(number < batch) & (i[None, :] < n), other=0.0)
        sums = s[:, :, None] + s[:, None, :]
    x = tl.div_rn(x, tl.where(sums > 0, sums, float("inf")))
    return product(product(tl.trans(q), x, memory, PRECISION), q, memory, PRECISION)


@triton.jit(do_not_specialize=["batch"])
def solve_kernel(
    s_pointer, factor_pointer, values_pointer, g_pointer, ends_pointer, x_pointer, left_pointer, right_pointer,
    batch, n, stride, row, column,
    N: tl.constexpr, P: tl.constexpr, SYMMETRIC: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One program for P matrices."""
    first = tl.program_id(0).to(tl.int64) * P
    memory = (left_pointer + first * N * N, right_pointer + first * N * N)
    where, mask = offsets(first, batch, n, stride, row, column, N, P)
    g = tl.load(g_pointer + where, mask=mask, other=0.0)
    if SYMMETRIC:
        transposed, _ = offsets(first, batch, n, stride, column, row, N, P)
        g = 0.5 * g + 0.5 * tl.load(g_pointer + transposed, mask=mask, other=0.0)
    where, mask = offsets(first, batch, n, n * n, n, 1, N, P)
    by_eigen = load_numbers(ends_pointer, first, batch, 2, P) < 0
    x = g
    if anywhere(by_eigen == 0):
        mu, terms, r = terms_for(ends_pointer, first, batch, P)
        c = (1 + r) / (1 - r)
        c = c * c
        nu, unit, last, log_r = mu / (c - 1), (c - 1) / (4 * tl.sqrt_rn(c)), 1 / (1 - r * r), 1 / terms * _LOG_TOLERANCE
        z = tl.load(factor_pointer + where, mask=mask, other=0.0)
        m = z * tl.div_rn(1.0, mu * (c - 1))
        g1 = product(product(m, g, memory, PRECISION), z, memory, PRECISION) + nu * g
        if SYMMETRIC:
            g1 = symmetrised(g1)
        m = plus(m + nu * tl.load(s_pointer + where, mask=mask, other=0.0), -(c + 1) / (c - 1), diagonal(n, N, P))
        # B_k = c_k G₁ + M B_{k+1} + B_{k+1} M − B_{k+2}, and at the end X = c_0 G₁ + M B_1 + B_1 M − 2B_2.
        top = tl.max(tl.reshape(tl.where(by_eigen, 2, terms), (P,)), axis=0)
        b = coefficient(top - 1, terms, log_r, unit, last) * g1
        before = tl.zeros_like(b)
        k = top - 2
        while k > 0:
            following = anticommutator(m, b, memory, SYMMETRIC, PRECISION) - before
            before = b
            b = following + coefficient(k, terms, log_r, unit, last) * g1
            k -= 1
        x = anticommutator(m, b, memory, SYMMETRIC, PRECISION) - 2 * before
        x += coefficient(0, terms, log_r, unit, last) * g1
    if anywhere(by_eigen):
        other = loewner(factor_pointer, values_pointer, where, first, batch, mask, g, n, memory, N, P, PRECISION)
        x = chosen(by_eigen, other, x, P)
    tl.store(x_pointer + where, x, mask=mask)
