"""Eigenvalues and eigenvectors of very small symmetric matrices, many at a time: Jacobi's method.

An eigensolver of LAPACK spends most of its time on one 3 × 3 matrix getting ready. Here an operation is
on one entry of every matrix at once, so that n² vectors as long as the batch take the place of matrices.
For n = 2 a single rotation, from a closed formula, is exact.
"""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from .._spectrum import largest_entry, power_of_four

SWEEPS = 12
"""Never reached: convergence is quadratic, and 4 to 6 suffice for n ≤ 4."""


def jacobi(a: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues ``(B, n)``, in no order, and eigenvectors ``(B, n, n)`` of symmetric float64 ``a``.

    Cyclic Jacobi with the rotation that makes the larger angle impossible (Golub & Van Loan, *Matrix
    Computations*, 4th ed., §8.5.2), until no entry off the diagonal matters in any matrix.
    """
    n = a.shape[-1]
    scale = power_of_four(largest_entry(a))  # or squares would over- or underflow
    a = a / scale
    entries = a.permute(1, 2, 0).contiguous()
    x = {(i, j): entries[i, j] for i in range(n) for j in range(i, n)}
    identity = torch.eye(n, dtype=a.dtype, device=a.device)[:, :, None]
    v = [identity[:, j].repeat(1, len(a)) for j in range(n)]  # columns, (n, B)
    largest = entries.abs().amax((0, 1))
    negligible = (torch.finfo(a.dtype).eps / 16) * largest
    for _ in range(SWEEPS if n > 1 else 0):
        for p, q in combinations(range(n), 2):
            if n > 2 and (x[p, q].abs() <= negligible).all():
                continue
            t = _tangent(x[p, p], x[p, q], x[q, q])
            c = (t * t + 1).rsqrt_()
            s = t * c
            t.mul_(x[p, q])
            x[p, p] = x[p, p] - t
            x[q, q] = x[q, q] + t
            x[p, q] = torch.zeros_like(t)
            for r in range(n):
                if r not in (p, q):
                    one, other = (min(r, p), max(r, p)), (min(r, q), max(r, q))
                    x[one], x[other] = _rotate(x[one], x[other], c, s)
            v[p], v[q] = _rotate(v[p], v[q], c, s)
        if n == 2 or all((x[p, q].abs() <= negligible).all() for p, q in combinations(range(n), 2)):
            break
    return torch.stack([x[i, i] for i in range(n)], -1) * scale[:, 0], torch.stack(v, 1).permute(2, 0, 1)


def _tangent(app: Tensor, apq: Tensor, aqq: Tensor) -> Tensor:
    """Of the angle, at most 45°, of the rotation that makes the entry (p, q) zero; 0 where it is."""
    d = aqq - app
    twice = apq + apq
    root = torch.addcmul(d * d, twice, twice).sqrt_().copysign_(d).add_(d)
    return twice.div_(torch.where(root == 0, 1.0, root))


def _rotate(x: Tensor, y: Tensor, c: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    return (c * x).addcmul_(s, y, value=-1), (s * x).addcmul_(c, y)
