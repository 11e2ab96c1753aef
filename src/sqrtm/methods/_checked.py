"""Methods that check their matrices themselves: symmetrised, computed, the verdict raised."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .._checks import INDEFINITE, OK, SINGULAR, indefinite_level, raise_first, symmetric_part
from .._place import Place, place_of
from ._base import Roots, SelfChecking

Outputs = tuple[Tensor | None, ...]


def checked_roots(
    a: Tensor,
    method: SelfChecking,
    outputs: Callable[[Roots], Outputs],
    inverse: bool,
    definite: bool,
    differentiated: bool,
    caller: str,
    dtype: torch.dtype,
    place: Place,
) -> Outputs:
    """``outputs`` of the roots of any ``a``, ``(B, n, n)``, and last ``(B, 2)``, their status and steps.

    The last is None if there were no steps and all are OK. ``definite`` makes a singular matrix an error. LinAlgError
    is raised in the name of ``caller``; if that is empty nothing is, and what is rejected has some finite roots, and
    what is singular the root of the pseudo-inverse. ``dtype`` is what A was given in.
    """
    if not len(a):
        identity = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)[None]
        found = checked_roots(
            identity, method, outputs, inverse, definite, differentiated, caller, dtype, place_of((1,))
        )
        return tuple(None if x is None else x[:0] for x in found)
    roots, codes = method.unchecked(a, inverse, differentiated, dtype), None
    if roots is None:
        with symmetric_part(a, dtype) as (x, codes):
            roots = method.checked(x, inverse, differentiated)
    status = roots.status
    if status is not None and roots.negative is not None:
        status = torch.where(roots.negative > indefinite_level(a.shape[-1], dtype), INDEFINITE, status)
    if status is not None and not definite and (caller or not inverse):
        status = torch.where(status == SINGULAR, OK, status)
    if codes is not None:
        status = codes if status is None else torch.where(codes == OK, status, codes)
    if caller and status is not None:
        raise_first(a, status, caller, dtype, dtype, place)
    return *outputs(roots), _verdict(status, roots.steps)


def _verdict(status: Tensor | None, steps: Tensor | None) -> Tensor | None:
    present = status if status is not None else steps
    if present is None:
        return None
    return torch.stack([torch.zeros_like(present) if x is None else x for x in (status, steps)], -1)
