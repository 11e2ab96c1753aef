"""Both roots of small float32 matrices in one launch: the checks, the bounds, `methods.Minimax`, and a verdict.

The plain twin is `methods.minimax.iterate`, whose schedule this follows matrix by matrix.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .._checks import ASYMMETRIC, NON_FINITE, OK
from .._minimax_table import FIRST, GENERAL
from .._schedule import KNOWN, MOST_STEPS, TAYLOR_4, TOLERANCE, largest_last
from ._block import (
    anywhere,
    blocks,
    chosen,
    diagonal,
    norm,
    number,
    offsets,
    operand_memory,
    plus,
    product,
    store_numbers,
    symmetrised,
    total,
)

UNFINISHED = 8
"""The code, besides those of `_checks`, of what did not converge, or is such that eigenvalues are more accurate."""

_OK, _NON_FINITE, _ASYMMETRIC = tl.constexpr(OK), tl.constexpr(NON_FINITE), tl.constexpr(ASYMMETRIC)
_UNFINISHED = tl.constexpr(UNFINISHED)
_EPS, _TINY = tl.constexpr(2.0**-23), tl.constexpr(2.0**-126)
_FIRST = tl.constexpr(tuple((radius, error, *h) for radius, (error, h) in sorted(FIRST.items())))
_GENERAL = tl.constexpr(tuple((c, *h) for _, c, h in GENERAL["float32"]))
_ROWS, _STEPS = tl.constexpr(len(FIRST)), tl.constexpr(len(GENERAL["float32"]))
_KNOWN, _TAYLOR_4 = tl.constexpr(KNOWN), tl.constexpr(TAYLOR_4)
_LINEAR, _QUADRATIC, _QUARTIC = (tl.constexpr(largest_last(degree, torch.float32)) for degree in (1, 2, 4))
_TOLERANCE, _MOST_STEPS = tl.constexpr(TOLERANCE[torch.float32]), tl.constexpr(MOST_STEPS[torch.float32])
_COARSE = tl.constexpr(1.001e4**0.5)
"""κ of S from which eigenvalues are taken: above κ = 1e4 of A, `torch.linalg.eigh` can be more accurate for small n."""


def roots(a: Tensor, tolerance: float, precision: str = "ieee") -> tuple[Tensor, ...]:
    """S, Z, bounds on the spectrum of S ``(B, 2)``, and a code and the number of steps ``(B,)``, of any ``(B, n, n)``.

    S and Z are NaN where the iteration did not converge, and the roots of I where A is not finite or not symmetric.
    ``tolerance`` is the largest ‖A − Aᵀ‖_F/‖A‖_F that is accepted.
    """
    a = a.resolve_neg()
    batch, n = a.shape[:2]
    s, z = (torch.empty((batch, n, n), dtype=a.dtype, device=a.device) for _ in range(2))
    ends = torch.empty((batch, 2), dtype=a.dtype, device=a.device)
    codes, steps = (torch.empty(batch, dtype=torch.int64, device=a.device) for _ in range(2))
    grid, shape = blocks(batch, n)
    with torch.cuda.device_of(a):
        roots_kernel[grid](
            a, s, z, ends, codes, steps, *operand_memory(s, z),
            batch, n, *a.stride(), tolerance, PRECISION=precision, **shape,
        )  # fmt: skip
    return s, z, ends, codes, steps


@triton.jit
def loaded(pointer, transposed, mask, good, diagonal):
    """(A + Aᵀ)/2, or I where A is not good."""
    a = tl.load(pointer, mask=mask, other=0.0)
    a += 0.5 * (tl.load(transposed, mask=mask, other=0.0) - a)
    return tl.where(good, a, tl.where(diagonal, 1.0, 0.0))


@triton.jit
def checked(pointer, transposed, mask, tolerance):
    """Whether A is finite, and symmetric up to the tolerance."""
    a = tl.load(pointer, mask=mask, other=0.0)
    skew = tl.load(transposed, mask=mask, other=0.0) - a
    size = tl.max(tl.max(tl.abs(a), axis=-1, keep_dims=True), axis=-2, keep_dims=True)
    finite = total(tl.where(tl.abs(a) < float("inf"), 0.0, 1.0)) == 0
    unit = tl.div_rn(1.0, tl.where(finite & (size > _TINY), size, _TINY))
    return finite, norm(skew * unit) <= tolerance * norm(a * unit)


@triton.jit
def spectral_radius(e2, v, n):
    """`methods.minimax.spectral_radius`."""
    size = norm(e2) + n * n * _EPS * v
    spread = size * size / n - v * v * (1 - (2 * n + n * n / 8) * _EPS)
    spread = tl.where(spread > 0, spread, 0.0)
    radius = tl.sqrt_rn(v + tl.sqrt_rn((n - 1) * spread))
    return radius * (1 + (n + n * n / 16) * _EPS) + (2 * tl.sqrt_rn(n) + 8) * _EPS


@triton.jit
def row_of(radius, k: tl.constexpr):
    """The k-th entry of the row of the table for each matrix's radius."""
    x = radius * 0 + _FIRST[_ROWS - 1][k]
    for i in tl.static_range(_ROWS - 2, -1, -1):
        x = tl.where(radius <= _FIRST[i][0], _FIRST[i][k], x)
    return x


@triton.jit
def first_step(e, e2, radius, diagonal, memory, PRECISION: tl.constexpr):
    """T = h(I + E) of degree 8."""
    x, y = row_of(radius, 4), row_of(radius, 5)
    e2 = plus(e2, y, diagonal)
    left = plus(e2 + row_of(radius, 3) * e, x - y, diagonal)
    right = plus(product(left, e2, memory, PRECISION), row_of(radius, 6), diagonal)
    left = plus(right + row_of(radius, 7) * e2, row_of(radius, 8), diagonal)
    t = row_of(radius, 2) * product(left, right, memory, PRECISION) + row_of(radius, 9) * e
    return plus(t, row_of(radius, 10), diagonal)


@triton.jit
def quartic(r, r2, diagonal, s, a, b, c, k, memory, PRECISION: tl.constexpr):
    """s(R² + aR + bI)(R² + cI) + kI."""
    left, right = plus(r2 + a * r, b, diagonal), plus(r2, c, diagonal)
    return plus(s * product(left, right, memory, PRECISION), k, diagonal)


@triton.jit
def general_step(r, r2, diagonal, i: tl.constexpr, memory, PRECISION: tl.constexpr):
    """T = h(R) of degree 4 of the i-th step where the condition is not known."""
    h: tl.constexpr = _GENERAL[i]
    return quartic(r, r2, diagonal, h[1], h[2], h[3], h[4], h[5], memory, PRECISION)


@triton.jit
def taylor_step(r, r2, diagonal, memory, PRECISION: tl.constexpr):
    """(I + R)^{-1/2} to the power of 4."""
    h: tl.constexpr = _TAYLOR_4
    return quartic(r, r2, diagonal, h[0], h[1], h[2], h[3], h[4], memory, PRECISION)


@triton.jit
def gain(x):
    """A lower estimate of ‖X‖₂: ‖Xv‖ for a v that X makes large."""
    rows = tl.sum(x * x, axis=-1, keep_dims=True)
    v = tl.sum(tl.where(rows == tl.max(rows, axis=-2, keep_dims=True), x, 0.0), axis=-2, keep_dims=True)
    v = tl.sum(x * (v / norm(v)), axis=-1, keep_dims=True)
    v = tl.sum(x * (v / norm(v)), axis=-2, keep_dims=True)
    v = tl.sum(x * (v / norm(v)), axis=-1, keep_dims=True)
    return norm(v)


@triton.jit
def spectral_bound(x):
    """min(‖X‖_F, ‖X‖_∞)."""
    rows = tl.max(tl.sum(tl.abs(x), axis=-1, keep_dims=True), axis=-2, keep_dims=True)
    return tl.minimum(norm(x), rows)


@triton.jit(do_not_specialize=["batch"])
def roots_kernel(
    a_pointer, s_pointer, z_pointer, ends_pointer, codes_pointer, steps_pointer, left_pointer, right_pointer,
    batch, n, stride, row, column, tolerance,
    N: tl.constexpr, P: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One program for P matrices."""
    first = tl.program_id(0).to(tl.int64) * P
    eye = diagonal(n, N, P)
    memory = (left_pointer + first * N * N, right_pointer + first * N * N)
    where, mask = offsets(first, batch, n, stride, row, column, N, P)
    transposed, _ = offsets(first, batch, n, stride, column, row, N, P)
    finite, symmetric = checked(a_pointer + where, a_pointer + transposed, mask, tolerance)
    good = finite & symmetric
    a = loaded(a_pointer + where, a_pointer + transposed, mask, good, eye)
    size = number(n, P)
    mean = total(tl.where(eye, a, 0.0) / size)
    mean = tl.where(mean > 2 * _TINY, mean, 1.0)
    e = plus(a * tl.div_rn(1.0, mean), -1.0, eye)
    v = total(e * e) / size
    e2 = product(e, e, memory, PRECISION)
    radius = spectral_radius(e2, v, size)
    easy = radius <= _KNOWN
    y = e
    z = e
    if anywhere(easy):
        z = first_step(e, e2, radius, eye, memory, PRECISION) * tl.div_rn(1.0, tl.sqrt_rn(mean))
        a = loaded(a_pointer + where, a_pointer + transposed, mask, good, eye)
        y = product(a, z, memory, PRECISION)
    if anywhere(radius > _KNOWN):
        upper = 1.01 * (1 + radius)
        unit = tl.div_rn(1.0, upper)
        x = unit - _GENERAL[0][0]
        r = plus(e * unit, x, eye)
        r2 = plus(e2 * (unit * unit) + e * (2 * x * unit), x * x, eye)
        zg = general_step(r, r2, eye, 0, memory, PRECISION) * tl.div_rn(1.0, tl.sqrt_rn(mean * upper))
        a = loaded(a_pointer + where, a_pointer + transposed, mask, good, eye)
        yg = product(a, zg, memory, PRECISION)
        for i in tl.static_range(1, _STEPS):
            r = plus(product(zg, yg, memory, PRECISION), -_GENERAL[i][0], eye)
            t = general_step(r, product(r, r, memory, PRECISION), eye, i, memory, PRECISION)
            yg = product(yg, t, memory, PRECISION)
            zg = product(t, zg, memory, PRECISION)
        hard = radius > _KNOWN
        y, z = chosen(hard, yg, y, P), chosen(hard, zg, z, P)
    taken = tl.where(easy, 1, _STEPS)
    going = tl.where(easy & (row_of(radius, 1) < _TOLERANCE), 0, 1)
    failed = going < 0
    while anywhere(going):
        r = plus(product(z, y, memory, PRECISION), -1.0, eye)
        delta = norm(r)
        small = delta <= _LINEAR
        last = small
        t = plus(-0.5 * r, 1.0, eye)
        if anywhere((going > 0) & (delta > _LINEAR)):
            r2 = product(r, r, memory, PRECISION)
            squared = tl.sqrt_rn(norm(r2))
            last = small | (squared <= _QUARTIC)
            hopeful = (taken < _MOST_STEPS) & (squared <= 2 * tl.sqrt_rn(tl.sqrt_rn(size)))
            failed = failed | ((going > 0) & (last == 0) & (hopeful == 0))
            t = tl.where(small, t, t + 0.375 * r2)
            if anywhere((going > 0) & (squared > _QUADRATIC)):
                t4 = taylor_step(r, r2, eye, memory, PRECISION)
                t = chosen((delta > _LINEAR) & (squared > _QUADRATIC), t4, t, P)
        failed = failed | ((going > 0) & (delta != delta))
        p = product(y, t, memory, PRECISION)
        q = product(t, z, memory, PRECISION)
        if anywhere((going > 0) & last):
            p, q = chosen(last, symmetrised(p), p, P), chosen(last, symmetrised(q), q, P)
        y, z = chosen(going > 0, p, y, P), chosen(going > 0, q, z, P)
        taken = tl.where((going > 0) & (failed == 0), taken + 1, taken)
        going = tl.where(last | failed, 0, going)
    bad = tl.where(failed, float("nan"), 0.0)
    where, mask = offsets(first, batch, n, n * n, n, 1, N, P)
    tl.store(s_pointer + where, y + bad, mask=mask)
    tl.store(z_pointer + where, z + bad, mask=mask)
    root = tl.sqrt_rn(mean)
    low = tl.where(easy, root * tl.sqrt_rn(tl.where(easy, 1 - radius, 1.0)), 1 / spectral_bound(z))
    high = root * tl.sqrt_rn(1 + radius)
    high = tl.where(easy, high, tl.minimum(high, spectral_bound(y)))
    store_numbers(ends_pointer, first, batch, low, 2, P)
    store_numbers(ends_pointer + 1, first, batch, high, 2, P)
    coarse = (easy == 0) & (gain(y) * gain(z) > _COARSE)
    code = tl.where(failed | coarse, _UNFINISHED, _OK)
    code = tl.where(symmetric, code, _ASYMMETRIC)
    store_numbers(codes_pointer, first, batch, tl.where(finite, code, _NON_FINITE), 1, P)
    store_numbers(steps_pointer, first, batch, taken, 1, P)
