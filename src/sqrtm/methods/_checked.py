"""Methods that check their matrices themselves: symmetrised, run, and the verdict raised."""

from __future__ import annotations

import torch
from torch import Tensor

from .._checks import OK, SINGULAR, raise_first, symmetric_part
from ._base import Roots, SelfChecking


def checked_roots(
    a: Tensor, method: SelfChecking, inverse: bool, definite: bool, caller: str, batch: tuple[int, ...]
) -> Roots:
    """The roots of any ``a``, ``(B, n, n)``; raises LinAlgError in the name of ``caller``.

    ``definite`` makes a singular matrix an error, ``batch`` is the shape that errors count by; with an empty
    ``caller`` nothing is raised, and what would be is NaN and says so in its status.
    """
    x, codes = symmetric_part(a)
    roots = method.roots(x, inverse)
    status = roots.status
    if status is not None and not definite:
        status = torch.where(status == SINGULAR, OK, status)
    if codes is not None:
        status = codes if status is None else torch.where(codes == OK, status, codes)
    if status is None:
        return roots
    if caller:
        batch = batch or status.shape
        raise_first(a.reshape(*batch, *a.shape[1:]), status.reshape(batch), caller)
    else:
        rejected = status != OK
        roots.sqrt[rejected] = torch.nan
        if roots.invsqrt is not None:
            roots.invsqrt[rejected] = torch.nan
    return roots._replace(status=status)
