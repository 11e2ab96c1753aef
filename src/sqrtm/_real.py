"""Half-precision and complex matrices as real ones, of a precision that can be computed with."""

from __future__ import annotations

import torch
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)
COMPLEX = (torch.complex64, torch.complex128)


def as_real(a: Tensor) -> Tensor:
    """``a`` in float32 or float64; a complex one, ``(..., n, n)``, as [[Re A, −Im A], [Im A, Re A]], ``(..., 2n, 2n)``.

    Products, sums, inverses and roots of such matrices are such matrices, symmetric where A is Hermitian, so that
    whatever holds for real matrices holds for complex ones.
    """
    if a.dtype in HALF:
        return a.float()
    if a.dtype not in COMPLEX:
        return a
    return torch.cat([torch.cat([a.real, -a.imag], -1), torch.cat([a.imag, a.real], -1)], -2)


def as_given(x: Tensor, dtype: torch.dtype) -> Tensor:
    """A result for matrices of ``dtype`` from that for `as_real` of them."""
    if x.dtype == dtype:
        return x
    if dtype not in COMPLEX:
        return x.to(dtype)
    n = x.shape[-1] // 2
    (p, q), (r, s) = ((half[..., :n], half[..., n:]) for half in (x[..., :n, :], x[..., n:, :]))
    return torch.complex(p / 2 + s / 2, r / 2 - q / 2)  # the sums could overflow
