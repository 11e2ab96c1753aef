"""Methods that check their matrices themselves: symmetrised, run in pieces that fit the cache, the verdict raised."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .._checks import OK, SINGULAR, raise_first, symmetric_part
from ._base import Roots, SelfChecking, chunk_size

Outputs = tuple[Tensor | None, ...]


def checked_roots(
    a: Tensor,
    method: SelfChecking,
    outputs: Callable[[Roots], Outputs],
    inverse: bool,
    definite: bool,
    caller: str,
    batch: tuple[int, ...],
) -> Outputs:
    """``outputs`` of the roots of any ``a``, ``(B, n, n)``, and last ``(B, 2)``, their status and steps.

    ``definite`` makes a singular matrix an error, ``batch`` is the shape that errors count by. LinAlgError is
    raised in the name of ``caller``; if that is empty nothing is, and what is rejected has some finite roots.
    """
    if not len(a):
        identity = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)[None]
        empty = _outputs(identity, method, outputs, inverse, definite, False)
        return tuple(None if x is None else x[:0] for x in empty)
    pieces = a.chunk(-(-len(a) // chunk_size(a)))  # alike in size
    parts = [_outputs(part, method, outputs, inverse, definite, not caller) for part in pieces]
    *results, verdict = parts[0] if len(parts) == 1 else _concatenated(parts)
    assert verdict is not None
    if caller:
        raise_first(a.reshape(*batch, *a.shape[1:]), verdict[:, 0].reshape(batch), caller)
    return *results, verdict


def _outputs(
    a: Tensor, method: SelfChecking, outputs: Callable[[Roots], Outputs], inverse: bool, definite: bool, quiet: bool
) -> Outputs:
    x, codes = symmetric_part(a)
    roots = method.checked(x, inverse, definite)
    status = roots.status
    if status is not None and not definite:
        status = torch.where(status == SINGULAR, OK, status)
    if codes is not None:
        status = codes if status is None else torch.where(codes == OK, status, codes)
    if quiet and status is not None and roots.invsqrt is not None:  # infinite times a zero cotangent would be NaN
        roots.invsqrt[status != OK] = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    zero = torch.zeros(len(a), dtype=torch.int64, device=a.device)
    verdict = torch.stack([zero if x is None else x for x in (status, roots.steps)], -1)
    return *outputs(roots), verdict


def _concatenated(parts: list[Outputs]) -> Outputs:
    width = min(map(len, parts))  # a part may have kept less
    whole: dict[tuple[int, ...], Tensor] = {}  # by addresses, because what is kept may be what is returned
    results: list[Tensor | None] = []
    for column in zip(*((*part[: width - 1], part[-1]) for part in parts), strict=True):
        if column[0] is None:
            results.append(None)
        else:
            key = tuple(x.data_ptr() for x in column)
            known = whole.get(key)
            whole[key] = torch.cat(column) if known is None else known.detach()
            results.append(whole[key])
    return tuple(results)
