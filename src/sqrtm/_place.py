"""Where in a batch flat matrices come from, for errors to tell: as numbers, which custom operators take."""

from __future__ import annotations

from math import prod

import torch

Place = tuple[int, ...]
"""The number of the first matrix of a part, how many there are in the part and in the whole, the shape of the whole.

Under vmap, the shape begins with axes along which there are several such wholes, and as many such parts of them.
"""


def place_of(batch: tuple[int, ...], start: int = 0, part: int | None = None) -> Place:
    """The place of the matrices from ``start`` on, ``part`` of them or all, of a batch of this shape."""
    whole = prod(batch)
    return (start, whole if part is None else part, whole, *batch)


def vmapped(place: Place, size: int) -> Place:
    """The place of as many parts one after the other, from a vmap over an axis of this size."""
    start, part, whole, *shape = place
    return (start, part, whole, size, *shape)


def index_in(place: Place, number: int) -> list[int]:
    """The index in the batch of the matrix of this number among those at ``place``."""
    start, part, whole, *shape = place
    outer, inner = divmod(number, part)
    flat = torch.tensor(outer * whole + start + inner, device="cpu")
    return [int(i) for i in torch.unravel_index(flat, shape)]
