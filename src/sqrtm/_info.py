"""What a call is told about each matrix: `Info`, and `explain`."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ._certificate import Proven, prove, prove_one
from ._checks import ASYMMETRIC, INDEFINITE, NON_FINITE, OK, SINGULAR, symmetric_part
from ._transforms import traced, transformed

NOT_CONVERGED = 5
STATUSES = {
    OK: "ok",
    NON_FINITE: "non-finite",
    ASYMMETRIC: "asymmetric",
    INDEFINITE: "indefinite",
    SINGULAR: "singular",
    NOT_CONVERGED: "not converged",
}
PROMISED = {torch.float32: 5e-6, torch.float64: 1e-11}
"""Largest relative error of A^{1/2} that counts as converged."""
PROMISED_INVERSE = {torch.float32: 5e-5, torch.float64: 1e-8}
"""The same for A^{-1/2}."""
HARD = 1e3
"""κ above which twice that in float32 is promised for A^{1/2}, and ten times for A^{-1/2}."""
CPU = torch.device("cpu")


class Info(NamedTuple):
    """A verdict on every matrix of a batch; each field has the shape of the batch.

    status (a key of `sqrtm.STATUSES`), residual ‖A − S²‖_F/‖A‖_F, error_bound ≥ ‖S − A^{1/2}‖_F/‖A^{1/2}‖_F, proven,
    rounding included, inverse_error_bound, the same of A^{-1/2}, steps of an iteration, and converged: whether the
    bounds prove the accuracy that is promised. "not converged" is the status of an accepted matrix where they do not.
    """

    status: Tensor
    """int64, a key of `sqrtm.STATUSES`: 0 for ok."""
    residual: Tensor
    """‖A − S²‖_F/‖A‖_F, with its rounding bounded; 0 for A = 0."""
    error_bound: Tensor
    """Proven: at least ‖S − A^{1/2}‖_F/‖A^{1/2}‖_F, rounding included; infinite where nothing could be proven."""
    inverse_error_bound: Tensor
    """The same of A^{-1/2}; infinite where nothing could be proven or only A^{1/2} was computed."""
    steps: Tensor
    """int64, steps that an iteration took; 0 where there was none, or the matrix is rejected."""
    converged: Tensor
    """bool: the bounds prove the accuracy that is promised for this dtype and condition number (README)."""


def condition_numbers(A: Tensor) -> Tensor:
    """Largest over smallest eigenvalue of each matrix, in float64; +inf where that is not positive."""
    eigenvalues = torch.linalg.eigvalsh(A.to(torch.complex128 if A.is_complex() else torch.float64))
    return torch.where(eigenvalues[..., 0] > 0, eigenvalues[..., -1] / eigenvalues[..., 0], torch.inf)


def inform(A: Tensor, S: Tensor, Z: Tensor | None, verdict: Tensor, dtype: torch.dtype) -> Info:
    """`Info` for real flat ``A``, given in ``dtype``, its roots and their status and steps."""
    if traced(A) or transformed():
        return Info(*operator(A, S, Z, verdict, dtype))
    return _inform(A, S, Z, verdict, dtype)


def can_inform_one(A: Tensor) -> bool:
    """Whether `inform_one` is for ``A``."""
    return A.dtype == torch.float32 and A.ndim == 2 and A.shape[0] <= 16


def inform_one(A: Tensor, sqrt: Tensor, least: float) -> Info | None:
    """`Info` for one float32 ``A``, of this least eigenvalue, and its root; None where `inform` may say more."""
    proven = prove_one(A.tolist(), sqrt.tolist(), least**0.5)
    if proven is None or not proven[1] <= PROMISED[A.dtype]:
        return None
    new, float64, int64 = torch.scalar_tensor, torch.float64, torch.int64
    residual, error = proven
    return Info(
        new(OK, dtype=int64, device=CPU),
        new(residual, dtype=float64, device=CPU),
        new(error, dtype=float64, device=CPU),
        new(torch.inf, dtype=float64, device=CPU),
        new(0, dtype=int64, device=CPU),
        new(True, dtype=torch.bool, device=CPU),
    )


def _inform(A: Tensor, S: Tensor, Z: Tensor | None, verdict: Tensor, dtype: torch.dtype) -> Info:
    a = A.double()
    with symmetric_part(a, dtype) as (x, _):
        proven = prove(x, S, Z, rounded=False if x is a else (x != a).any(-1).any(-1))
    status, steps = verdict.unbind(-1)
    rejected = (status != OK) & S[:, 0, 0].isnan()  # a pseudo-inverse is not
    converged = ~rejected & (proven.error <= _promised(PROMISED, 2.4, proven, A.dtype))
    if Z is not None:
        converged &= proven.inverse_error <= _promised(PROMISED_INVERSE, 10.0, proven, A.dtype)
    status = torch.where((status == OK) & ~converged, NOT_CONVERGED, status)
    steps = torch.where(rejected, 0, steps)
    residual = torch.where(rejected, torch.nan, proven.residual)
    error, inverse_error = (torch.where(rejected, torch.inf, x) for x in (proven.error, proven.inverse_error))
    return Info(status, residual, error, inverse_error, steps, converged)


@torch.library.custom_op("sqrtm::inform", mutates_args=())
def operator(a: Tensor, s: Tensor, z: Tensor | None, verdict: Tensor, dtype: torch.dtype) -> list[Tensor]:
    """`inform`, which depends on values, as what transforms do not look into."""
    return [x.clone() for x in _inform(a, s, z, verdict, dtype)]  # of which none may be an input


@operator.register_fake
def _(a: Tensor, s: Tensor, z: Tensor | None, verdict: Tensor, dtype: torch.dtype) -> list[Tensor]:
    kinds = (torch.int64, *[torch.float64] * 3, torch.int64, torch.bool)
    return [a.new_empty(a.shape[0], dtype=kind) for kind in kinds]


@operator.register_vmap
def _(info: Any, in_dims: Any, *inputs: Any) -> tuple[list[Tensor], list[int]]:
    *tensors, dtype = inputs
    size = info.batch_size
    flat = [
        None if x is None else (x.expand(size, *x.shape) if d is None else x.movedim(d, 0)).flatten(0, 1)
        for x, d in zip(tensors, in_dims[:-1], strict=True)
    ]
    found = operator(*flat, dtype)
    return [x.unflatten(0, (size, -1)) for x in found], [0] * len(found)


def _promised(table: dict[torch.dtype, float], factor: float, proven: Proven, dtype: torch.dtype) -> Tensor:
    limit = torch.full_like(proven.condition, table[dtype])
    return torch.where(proven.condition > HARD, factor * limit, limit) if dtype == torch.float32 else limit
