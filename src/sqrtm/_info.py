"""What a call is told about each matrix: `Info`, and `explain`."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ._certificate import Proven, prove
from ._checks import ASYMMETRIC, INDEFINITE, NON_FINITE, OK, SINGULAR, symmetric_part

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


class Info(NamedTuple):
    """A verdict on every matrix of a batch; each field has the shape of the batch."""

    status: Tensor
    """int64, a key of `sqrtm.STATUSES`: 0 for ok."""
    residual: Tensor
    """‖A − S²‖_F/‖A‖_F, with its rounding bounded; 0 for A = 0."""
    error_bound: Tensor
    """Proven: at least ‖S − A^{1/2}‖_F/‖S‖_F, rounding included; infinite where nothing could be proven."""
    inverse_error_bound: Tensor
    """The same of A^{-1/2}; infinite where nothing could be proven or only A^{1/2} was computed."""
    steps: Tensor
    """int64, steps that an iteration took; 0 where there was none."""
    converged: Tensor
    """bool: the bounds prove the accuracy that is promised for this dtype and condition number (README)."""


def inform(A: Tensor, S: Tensor, Z: Tensor | None, verdict: Tensor) -> Info:
    """`Info` for flat ``A``, its roots and their status and steps."""
    with symmetric_part(A) as (x, _):
        proven = prove(x, S, Z)
    status, steps = verdict.unbind(-1)
    rejected = status != OK
    converged = ~rejected & (proven.error <= _promised(PROMISED, 2.4, proven, A.dtype))
    if Z is not None:
        converged &= proven.inverse_error <= _promised(PROMISED_INVERSE, 10.0, proven, A.dtype)
    status = torch.where((status == OK) & ~converged, NOT_CONVERGED, status)
    residual = torch.where(rejected, torch.nan, proven.residual)
    error, inverse_error = (torch.where(rejected, torch.inf, x) for x in (proven.error, proven.inverse_error))
    return Info(status, residual, error, inverse_error, steps, converged)


def _promised(table: dict[torch.dtype, float], factor: float, proven: Proven, dtype: torch.dtype) -> Tensor:
    limit = torch.full_like(proven.condition, table[dtype])
    return torch.where(proven.condition > HARD, factor * limit, limit) if dtype == torch.float32 else limit
