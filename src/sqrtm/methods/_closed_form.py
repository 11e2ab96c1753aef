"""The root, its inverse and the Lyapunov equation for n ≤ 4 without iteration or eigenvalues, many at a time.

An eigensolver of LAPACK spends most of its time on one 3 × 3 matrix getting ready. Here an operation is
on one entry of every matrix at once: a symmetric matrix is n(n + 1)/2 vectors as long as the batch, in float64.

By Cayley and Hamilton, S^n − c₁S^{n−1} + c₂S^{n−2} − … = 0, with the elementary symmetric functions c of the
eigenvalues of S. Odd powers of S on one side and even ones on the other make S a quotient of polynomials in A = S²
(Hoger & Carlson, *Determination of the stretch and rotation in the polar decomposition of the deformation gradient*,
Quart. Appl. Math. 42 (1984) 113–117, for n = 3). The same functions e of the eigenvalues of A give the c by
e₁ = c₁² − 2c₂, e₂ = c₂² − 2c₁c₃ + 2c₄, e₃ = c₃² − 2c₂c₄, e₄ = c₄², which for n ≤ 4 is one equation for c₂.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from itertools import combinations
from operator import add, mul

import torch
from torch import Tensor

from .._scratch import scratch
from .._spectrum import rounding_anchor
from ._base import Roots, pieces
from ._eigen import NULL

LARGEST = 4
"""n up to which there is a closed form here."""
LEAST_PIECE = 2**16
"""Matrices at a time, because operations on one entry of so many are shared between threads."""
NEWTON_STEPS = 5
"""For c₂, from a start at most a factor of √2 off: its error falls to 0.1, 7e-3, 3e-5, 6e-10 and rounding."""
CORRECTED = 1e4
"""tr A · tr A⁻¹ above which the root of a float64 matrix is corrected by its residual."""
LARGEST_CONDITION = {torch.float32: 1 / NULL[torch.float32], torch.float64: 1e10}
"""tr A · tr A⁻¹ up to which there is no doubt that A is not singular, and correction leaves nothing but rounding."""
LARGEST_CONDITION_4 = 1e7
"""The same for float64 and n = 4, where what is corrected can be wrong by eps·κ^{3/2}."""
SIZES = (1e-60, 1e60)
"""Of tr A, so that c₄ and e₃ neither over- nor underflow."""

Entries = dict[tuple[int, int], Tensor]
"""The entries (i, j), i ≤ j, of symmetric matrices."""


def closed_form_roots(a: Tensor, inverse: bool) -> tuple[Roots, Tensor]:
    """The roots of symmetric ``a``, ``(B, n, n)``, and ``(B,)``, which are not to be used: singular or close to it."""
    sqrt = torch.empty_like(a, memory_format=torch.contiguous_format)
    invsqrt = torch.empty_like(sqrt) if inverse else None
    interval, wrong = sqrt.new_empty(len(a), 2), torch.empty(len(a), dtype=torch.bool, device=a.device)
    limit = LARGEST_CONDITION[a.dtype] if a.dtype == torch.float32 or a.shape[-1] < 4 else LARGEST_CONDITION_4
    start = 0
    for piece in pieces(a, LEAST_PIECE):
        here = slice(start, start + len(piece))
        start = here.stop
        with scratch(1, piece.permute(1, 2, 0), torch.float64) as (memory,):
            s, trace, inverse_trace = root(entries(piece, memory), correct=a.dtype == torch.float64)
            write(s, sqrt[here])
            if invsqrt is not None:
                write(_inverse(s), invsqrt[here])
            good = (trace * inverse_trace <= limit) & (trace > SIZES[0]) & (trace < SIZES[1])
            wrong[here] = ~good
            interval[here, 0], interval[here, 1] = 1 / inverse_trace, trace
    return Roots(sqrt, invsqrt, interval=interval), wrong


def solve_lyapunov(s: Tensor, g: Tensor) -> Tensor:
    """X with S X + X S = G for symmetric positive definite S and symmetric G, ``(B, n, n)``."""
    x = torch.empty_like(g, memory_format=torch.contiguous_format)
    with scratch(2, s.permute(1, 2, 0), torch.float64) as memory:
        write(lyapunov(*(entries(y, where) for y, where in zip((s, g), memory, strict=True))), x)
    return x


def entries(a: Tensor, memory: Tensor) -> Entries:
    """Those of symmetric ``a``, ``(B, n, n)``, in float64, in ``memory``, ``(n, n, B)``."""
    memory.copy_(a.permute(1, 2, 0))
    n = len(memory)
    return {(i, j): memory[i, j] for i in range(n) for j in range(i, n)}


def write(x: Entries, out: Tensor) -> None:
    """Into ``out``, ``(B, n, n)``."""
    for (i, j), entry in x.items():
        out[:, i, j] = entry
        if i != j:
            out[:, j, i] = entry


def root(a: Entries, correct: bool) -> tuple[Entries, Tensor, Tensor]:
    """S, tr A and tr A⁻¹, which is NaN or infinite where A is not definite.

    The least eigenvalue of A counts with a relative error of some eps·κ, for n = 4 at worst eps·κ^{3/2}, or,
    ``correct``, of that squared.
    """
    n = _order(a)
    v = _inverse_factor(a)
    trace = _sum(a[i, i] for i in range(n))
    inverse_trace = _dot((x, x) for x in v.values())
    last = reduce(mul, (v[i, i] for i in range(n))).reciprocal()  # c_n = (det A)^{1/2}
    if n == 1:
        return {(0, 0): last}, trace, inverse_trace
    if n == 2:  # S = (A + c₂I)/c₁
        c1 = torch.add(trace, last, alpha=2).sqrt_()
        s = {k: x.div_(c1) for k, x in _linear(1.0, a, last).items()}
    elif n == 3:  # S = (A + c₂I)⁻¹(c₁A + c₃I)
        determinant = last * last
        c1, c2, _ = _symmetric_functions(trace, determinant * inverse_trace, determinant, 0.0)
        s = _quotient(_linear(c1, a, last), _linear(1.0, a, c2))
    else:  # S = (c₁A + c₃I)⁻¹(A² + c₂A + c₄I)
        e2 = _sum((a[i, i] * a[j, j]).addcmul_(a[i, j], a[i, j], value=-1) for i, j in combinations(range(n), 2))
        c1, c2, c3 = _symmetric_functions(trace, e2.sub_(last, alpha=2), last * last * inverse_trace, last)
        above = {(i, j): x.add_(_product(a, a, i, j)) for (i, j), x in _linear(c2, a, last).items()}
        s = _quotient(above, _linear(c1, a, c3))
    if correct:
        poor = trace * inverse_trace > CORRECTED
        if poor.any():
            change = lyapunov(s, _residual(a, s))
            s = {k: torch.where(poor, s[k] + change[k], s[k]) for k in s}
    return s, trace, inverse_trace


def _inverse(x: Entries) -> Entries:
    """X⁻¹ of positive definite X."""
    v, n = _inverse_factor(x), _order(x)
    return {(i, j): _dot((v[k, i], v[k, j]) for k in range(j, n)) for i, j in x}


def lyapunov(s: Entries, g: Entries) -> Entries:
    """X with S X + X S = G for positive definite S.

    The equations (k, k) give x_kk = (g_kk − 2Σ_{m≠k} s_km x_km)/(2s_kk), and the others then are a positive definite
    system for the entries off the diagonal, solved by elimination: the error is some eps times κ(S).
    """
    n = _order(s)
    pairs = list(combinations(range(n), 2))
    half = [(s[k, k] + s[k, k]).reciprocal_() for k in range(n)]
    diagonal = [g[k, k] * half[k] for k in range(n)]
    ratio = {(k, m): 2 * _at(s, k, m) * half[k] for k in range(n) for m in range(n) if m != k}  # s_km/s_kk
    m: dict[tuple[int, int], Tensor] = {}
    for p, (i, j) in enumerate(pairs):
        m[p, p] = s[i, i] + s[j, j] - s[i, j] * (ratio[i, j] + ratio[j, i])
        for q, other in enumerate(pairs[p + 1 :], p + 1):
            shared = {i, j} & set(other)
            if shared:
                (k,) = shared
                ends = [*{i, j} - shared, *set(other) - shared]
                m[p, q] = torch.addcmul(_at(s, *ends), s[i, j], ratio[k, ends[1]], value=-1)
    right = [torch.addcmul(g[i, j], s[i, j], diagonal[i] + diagonal[j], value=-1) for i, j in pairs]
    off = dict(zip(pairs, _eliminated(m, right), strict=True))
    x = dict(off)
    for k in range(n):
        x[k, k] = diagonal[k]
        for i in set(range(n)) - {k}:
            x[k, k] = torch.addcmul(x[k, k], ratio[k, i], _at(off, k, i), value=-1)
    return x


def _eliminated(m: dict[tuple[int, int], Tensor], right: list[Tensor]) -> list[Tensor]:
    """The solution of a symmetric positive definite system, some of whose entries (i, j), i ≤ j, may be missing."""
    size = len(right)
    for k in range(size):
        for i in range(k + 1, size):
            if (k, i) in m:
                factor = m[k, i] / m[k, k]
                for j in range(i, size):
                    if (k, j) in m:
                        product = factor * m[k, j]
                        m[i, j] = m[i, j] - product if (i, j) in m else product.neg_()
                right[i] = torch.addcmul(right[i], factor, right[k], value=-1)
    for k in reversed(range(size)):
        for j in range(k + 1, size):
            if (k, j) in m:
                right[k] = torch.addcmul(right[k], m[k, j], right[j], value=-1)
        right[k] = right[k] / m[k, k]
    return right


def _inverse_factor(x: Entries) -> dict[tuple[int, int], Tensor]:
    """The entries (i, j), i ≥ j, of L⁻¹ for X = LLᵀ, so that X⁻¹ = L⁻ᵀL⁻¹; NaN or infinite where X is not definite."""
    n, x = _order(x), dict(x)
    factor, v = {}, {}
    for k in range(n):
        v[k, k] = x[k, k].rsqrt()
        for i in range(k + 1, n):
            factor[i, k] = x[k, i] * v[k, k]
            for j in range(k + 1, i + 1):
                x[j, i] = torch.addcmul(x[j, i], factor[i, k], factor[j, k], value=-1)
    for i, j in factor:
        v[i, j] = _dot((factor[i, k], v[k, j]) for k in range(j, i)).mul_(v[i, i]).neg_()
    return v


def _symmetric_functions(e1: Tensor, e2: Tensor, e3: Tensor, c4: Tensor | float) -> tuple[Tensor, Tensor, Tensor]:
    """c₁, c₂ and c₃, given e₂ − 2c₄ for ``e2``.

    c₂² = e₂ − 2c₄ + 2c₁c₃ is solved by Newton's method; c₁ ≤ 2e₁^{1/2} and c₃ ≤ 2e₃^{1/2} tell where to start.
    """
    c2 = torch.add(e2, (e1 * e3).sqrt_(), alpha=4).sqrt_()
    for step in range(NEWTON_STEPS + 1):
        c1 = torch.add(e1, c2, alpha=2).sqrt_()
        c3 = torch.add(e3, c2 * c4, alpha=2).sqrt_()
        if step < NEWTON_STEPS:
            f = (c2 * c2).sub_(e2).addcmul_(c1, c3, value=-2)
            c2 = torch.addcdiv(c2, f, c2 - c3 / c1 - c1 * c4 / c3, value=-0.5)
    return c1, c2, c3


def _residual(a: Entries, s: Entries) -> Entries:
    """A − S², exact to more than float64: see `sqrtm._spectrum.split`."""
    n = _order(s)
    anchor = rounding_anchor(_sum(s[i, i] for i in range(n)), n)  # no entry is larger than the trace
    high = {k: (x + anchor) - anchor for k, x in s.items()}
    low = {k: x - high[k] for k, x in s.items()}
    return {
        (i, j): a[i, j] - _product(high, high, i, j) - (_product(high, low, i, j) + _product(low, s, i, j))
        for i, j in s
    }


def _order(x: Entries) -> int:
    return max(x)[0] + 1


def _at(x: Entries, i: int, j: int) -> Tensor:
    return x[min(i, j), max(i, j)]


def _sum(terms: Iterable[Tensor]) -> Tensor:
    return reduce(add, terms)


def _dot(terms: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    (x, y), *others = terms
    total = x * y
    for x, y in others:
        total.addcmul_(x, y)
    return total


def _product(x: Entries, y: Entries, i: int, j: int) -> Tensor:
    """One entry of XY."""
    return _dot((_at(x, i, k), _at(y, k, j)) for k in range(_order(x)))


def _quotient(above: Entries, below: Entries) -> Entries:
    """Of two matrices that commute."""
    x = _inverse(below)
    return {(i, j): _product(x, above, i, j) for i, j in above}


def _linear(factor: Tensor | float, a: Entries, shift: Tensor) -> Entries:
    """``factor``·A + ``shift``·I."""
    return {(i, j): x * factor + shift if i == j else x * factor for (i, j), x in a.items()}
