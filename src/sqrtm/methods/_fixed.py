"""`Minimax` in steps that are the same for every matrix, so that no value is looked at: for devices that run ahead."""

from __future__ import annotations

import torch
from torch import Tensor

from .._minimax_table import GENERAL
from .._schedule import KNOWN, TAYLOR_4, largest_last
from ._base import Roots, add_to_diagonal, norm
from ._chebyshev import spectral_bound
from ._minimax_steps import centre, general_steps, quartic, spectral_radius
from ._products import bmm

TAYLOR_STEPS = {torch.float32: 2, torch.float64: 3}
"""Of degree 4 each, after the steps for an unknown condition number."""


def fixed_roots(a: Tensor, inverse: bool) -> Roots:
    """Both roots by 23 products in float32 and 33 in float64, one less if not ``inverse``.

    NaN where that is not enough: it is for κ up to about 3e4 in float32 and 1e7 in float64.
    """
    e, *spare = (torch.empty_like(a, memory_format=torch.contiguous_format) for _ in range(4))
    mean, v = centre(a, e)
    e2 = bmm(e, e)
    radius = spectral_radius(e2, v)
    y, z = general_steps(a, mean, e, e2, spare, radius)
    steps = TAYLOR_STEPS[a.dtype]
    for step in range(steps):
        r = bmm(z, y)
        add_to_diagonal(r, -1.0)
        r2 = bmm(r, r)
        delta = norm(r2).sqrt()
        t = quartic(r, r2, TAYLOR_4, torch.empty_like(r))
        y = bmm(y, t)
        if inverse or step < steps - 1:
            z = bmm(t, z)
    good = delta <= largest_last(4, a.dtype)
    y, z = (torch.where(good, x.add(x.mT).mul_(0.5), torch.nan) for x in (y, z))
    known = radius <= KNOWN
    low = torch.where(known, (mean * (1 - radius)).sqrt(), spectral_bound(z)[:, None, None].reciprocal())
    high = (mean * (1 + radius)).sqrt()
    high = torch.where(known, high, torch.minimum(high, spectral_bound(y)[:, None, None]))
    taken = torch.full((len(a),), len(GENERAL[str(a.dtype).removeprefix("torch.")]) + steps, device=a.device)
    return Roots(y, z, ends=torch.cat([low, high], -1)[:, 0], steps=taken)
