"""What the iteration cannot do, by eigenvalues in float64, on the device and without asking the host.

The plain twin is `methods._eigen.eigen_roots`, whose conventions for zero and negative eigenvalues are followed. The
eigenvectors come from one-sided Jacobi rotations of A + τI, τ = ‖A‖_F, of all disjoint pairs of columns at a time
(Hestenes, *Inversion of matrices by biorthogonalization and related results*, J. SIAM 6 (1958) 51–90; Golub & Van Loan,
*Matrix Computations*, 4th ed., §8.6.3). With the shift nothing is negative, and eigenvalues of opposite sign are told
apart; it costs small eigenvalues some 2⁻⁵³·‖A‖, far less than the rounding of A to float32 does.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .._checks import INDEFINITE, OK, SINGULAR
from ._block import blocks, diagonal, offsets, plus
from .minimax import UNFINISHED, loaded

PROGRAMS = 128
"""Most that run at a time; each has memory of its own, and goes through the batch for what there is to do."""
_OK, _SINGULAR, _INDEFINITE = tl.constexpr(OK), tl.constexpr(SINGULAR), tl.constexpr(INDEFINITE)
_UNFINISHED = tl.constexpr(UNFINISHED)
_NULL = tl.constexpr(4 * 2.0**-23)
_CLOSE, _MOST_SWEEPS = tl.constexpr(1e-13), tl.constexpr(30)
"""Of the cosines of columns: rounding leaves n·2⁻⁵³ of them."""


def rescue(a: Tensor, s: Tensor, z: Tensor, factor: Tensor, values: Tensor, ends: Tensor, codes: Tensor, steps: Tensor,
           indefinite: float, inverse: bool) -> None:  # fmt: skip
    """Where the code says that the roots of ``a`` are not there, compute them, all in place.

    Besides S there is then what `kernels.lyapunov.solve` takes for a solution in the eigenbasis, eigenvectors as rows
    in ``factor``, eigenvalues of S in ``values`` and −1 and 1 in ``ends``, and Z if ``inverse``, in place of ``factor``
    if that is the same. The code becomes that of `_checks`; ``indefinite`` is the largest −λ/‖A‖₂ that is accepted.
    """
    a = a.resolve_neg()
    batch, n = a.shape[:2]
    _, shape = blocks(1, n)
    size = shape["N"]
    programs = min(batch, PROGRAMS)
    memory = torch.empty((programs, 2, size, size), dtype=torch.float64, device=a.device)
    with torch.cuda.device_of(a):
        rescue_kernel[(programs,)](
            a, s, z, factor, values, ends, codes, steps, memory, batch, n, *a.stride(), indefinite,
            N=size, INVERSE=inverse, num_warps=shape["num_warps"], num_stages=shape["num_stages"],
        )  # fmt: skip


@triton.jit
def rotated(u_pointer, v_pointer, p, q, some, N: tl.constexpr):
    """Make the columns p and q of U orthogonal by rotations, which V has too; the largest cosine that there was."""
    i = tl.arange(0, N)
    at_p, at_q = p[:, None] * N + i[None, :], q[:, None] * N + i[None, :]
    mask = some[:, None] & (i[None, :] < N)
    u, w = tl.load(u_pointer + at_p, mask=mask, other=0.0), tl.load(u_pointer + at_q, mask=mask, other=0.0)
    v, x = tl.load(v_pointer + at_p, mask=mask, other=0.0), tl.load(v_pointer + at_q, mask=mask, other=0.0)
    alpha, beta, gamma = tl.sum(u * u, axis=1), tl.sum(w * w, axis=1), tl.sum(u * w, axis=1)
    cosine = tl.where(gamma == 0, 0.0, tl.abs(gamma) / tl.sqrt(tl.where(gamma == 0, 1.0, alpha * beta)))
    zeta = (beta - alpha) / tl.where(gamma == 0, 1.0, 2 * gamma)
    t = tl.where(zeta < 0, -1.0, 1.0) / (tl.abs(zeta) + tl.sqrt(1 + zeta * zeta))
    t = tl.where(gamma == 0, 0.0, t)[:, None]
    c = 1 / tl.sqrt(1 + t * t)
    tl.debug_barrier()  # all is read before anything is written
    tl.store(u_pointer + at_p, c * (u - t * w), mask=mask)
    tl.store(u_pointer + at_q, c * (w + t * u), mask=mask)
    tl.store(v_pointer + at_p, c * (v - t * x), mask=mask)
    tl.store(v_pointer + at_q, c * (x + t * v), mask=mask)
    tl.debug_barrier()
    return tl.max(cosine, axis=0)


@triton.jit
def diagonalised(u_pointer, v_pointer, n, N: tl.constexpr):
    """Sweeps over all pairs, in rounds of disjoint ones as in a tournament of an even number of players."""
    half = tl.arange(0, N // 2)
    others = n + n % 2 - 1
    worst, sweep = tl.full((), 1.0, tl.float64), 0
    while (worst > _CLOSE) & (sweep < _MOST_SWEEPS):
        worst, turn = tl.full((), 0.0, tl.float64), 0
        while turn < others:
            p = tl.where(half == 0, others, (turn + half) % others)
            q = tl.where(half == 0, turn, (turn - half + others) % others)
            some = (2 * half < others) & (p < n) & (q < n)
            worst = tl.maximum(worst, rotated(u_pointer, v_pointer, p, q, some, N))
            turn += 1
        sweep += 1


@triton.jit
def with_eigenvalues(v_pointer, u_pointer, values, N: tl.constexpr):
    """VᵀDV of the rows of V, in float64, by way of the memory of U."""
    i = tl.arange(0, N)
    if N < 16:
        v = tl.load(v_pointer + (i[:, None] * N + i[None, :]))
        x = tl.sum((v * values[:, None])[:, :, None] * v[:, None, :], axis=0)
    else:
        square = i[:, None] * N + i[None, :]
        tl.store(u_pointer + square, tl.load(v_pointer + square) * values[:, None])
        tl.debug_barrier()
        x = tl.zeros((N, N), tl.float64)
        for start in range(0, N, 16):
            k = start + tl.arange(0, 16)
            left = tl.load(v_pointer + (k[None, :] * N + i[:, None]))
            x = tl.dot(left, tl.load(u_pointer + (k[:, None] * N + i[None, :])), x, out_dtype=tl.float64)
        tl.debug_barrier()
    return x


@triton.jit
def rescue_one(
    number, a_pointer, s_pointer, z_pointer, factor_pointer, values_pointer, ends_pointer, codes_pointer, steps_pointer,
    u_pointer, v_pointer, n, stride, row, column, indefinite, N: tl.constexpr, INVERSE: tl.constexpr,
):  # fmt: skip
    """`rescue` for the matrix of this number."""
    i = tl.arange(0, N)
    inside = i < n
    square = i[:, None] * N + i[None, :]
    where, mask = offsets(number, 0, n, stride, row, column, N, 1)
    transposed, _ = offsets(number, 0, n, stride, column, row, N, 1)
    eye = diagonal(n, N, 1)
    a = loaded(a_pointer + where, a_pointer + transposed, mask, True, eye).to(tl.float64)
    shift = tl.sqrt(tl.sum(tl.sum(a * a, axis=1), axis=0))
    tl.store(u_pointer + square, plus(a, shift, eye))
    tl.store(v_pointer + square, tl.where(eye, 1.0, 0.0).to(tl.float64))
    tl.debug_barrier()
    diagonalised(u_pointer, v_pointer, n, N)
    v = tl.load(v_pointer + square)
    eigenvalues = tl.sum(v * tl.load(u_pointer + square), axis=1) - shift
    least = tl.min(tl.where(inside, eigenvalues, float("inf")), axis=0)
    size = tl.max(tl.where(inside, tl.abs(eigenvalues), 0.0), axis=0)
    negative = tl.maximum(-least, 0.0)
    level = tl.maximum(size * _NULL, 4 * negative)
    root = tl.sqrt(tl.where(inside, tl.maximum(eigenvalues, 0.0), 0.0))
    values = tl.where(eigenvalues > level, root, 0.0)
    where, mask = offsets(number, 0, n, n * n, n, 1, N, 1)
    tl.store(factor_pointer + where, v.to(tl.float32), mask=mask)
    tl.store(values_pointer + number * n + i, values.to(tl.float32), mask=inside)
    tl.debug_barrier()
    tl.store(s_pointer + where, with_eigenvalues(v_pointer, u_pointer, root, N).to(tl.float32), mask=mask)
    if INVERSE:
        inverse = tl.where(values > 0, 1 / tl.where(values > 0, values, 1.0), 0.0)
        tl.store(z_pointer + where, with_eigenvalues(v_pointer, u_pointer, inverse, N).to(tl.float32), mask=mask)
    tl.store(ends_pointer + 2 * number, -1.0)
    tl.store(ends_pointer + 2 * number + 1, 1.0)
    tl.store(steps_pointer + number, 0)
    code = tl.where(least > level, _OK, _SINGULAR)
    tl.store(codes_pointer + number, tl.where(negative > indefinite * size, _INDEFINITE, code))
    tl.debug_barrier()  # the memory is for the next one


@triton.jit(do_not_specialize=["batch"])
def rescue_kernel(
    a_pointer, s_pointer, z_pointer, factor_pointer, values_pointer, ends_pointer, codes_pointer, steps_pointer,
    memory_pointer, batch, n, stride, row, column, indefinite, N: tl.constexpr, INVERSE: tl.constexpr,
):  # fmt: skip
    """Each program has every so manieth matrix, and looks at the codes of 64 at a time."""
    every = tl.num_programs(0).to(tl.int64)
    number = tl.program_id(0).to(tl.int64)
    u_pointer = memory_pointer + number * 2 * N * N
    while number < batch:
        some = number + every * tl.arange(0, 64)
        codes = tl.load(codes_pointer + some, mask=some < batch, other=0)
        end = number + every * 64
        if tl.max(codes, axis=0) < _UNFINISHED:
            number = end
        while (number < end) & (number < batch):
            if tl.load(codes_pointer + number) >= _UNFINISHED:
                rescue_one(
                    number, a_pointer, s_pointer, z_pointer, factor_pointer, values_pointer, ends_pointer,
                    codes_pointer, steps_pointer, u_pointer, u_pointer + N * N, n, stride, row, column, indefinite,
                    N, INVERSE,
                )  # fmt: skip
            number += every
