"""The Lyapunov equation S X + X S = G by matrix products, from S and its inverse."""

from __future__ import annotations

import torch
from torch import Tensor

from .._scratch import scratch
from ._base import add_to_diagonal, norm


def spectral_bound(x: Tensor) -> Tensor:
    """``(B,)``, an upper bound on ‖X‖₂."""
    return torch.minimum(norm(x)[:, 0, 0], x.abs().sum(-1).amax(-1))


def chebyshev(s: Tensor, z: Tensor, g: Tensor, ends: Tensor, c: float, terms: int, symmetric: bool = True) -> Tensor:
    """X with S X + X S = G by ``terms`` + 1 products, for Z = S⁻¹ and ``ends``, bounds on the spectrum of S.

    With μ = (‖Z‖/‖S‖)^{1/2} this is S₁X + XS₁ = G₁ for S₁ = (μS + Z/μ)/2 and G₁ = (μG + ZGZ/μ)/2; the spectrum of S₁
    lies in [1, ``c``]. The relative error is about r^terms, r = (√c − 1)/(√c + 1).

    With N = S₁ − (c + 1)/2·I, X = p(N̂)G₁ where N̂(D) = ND + DN has its spectrum in ±δ, δ = c − 1, and
    p(x) is the best polynomial for 1/(θ + x), θ = c + 1, on it. Its coefficients in the basis of Chebyshev are
    −r to the power of their index, times 1/√c, half the first, and the last over 1 − r² (Achieser, *Theory of
    Approximation*, 1956, Chapter II). Evaluated by Clenshaw's recurrence.
    """
    r = (c**0.5 - 1) / (c**0.5 + 1)
    coefficients = [(-r) ** k / c**0.5 for k in range(terms)]
    coefficients[-1] /= 1 - r * r
    *others, last = (x / 2 for x in coefficients)
    mu = ends.rsqrt().prod(-1)[:, None, None]
    result = torch.empty_like(g, memory_format=torch.contiguous_format)
    with scratch(6 if terms > 3 else 4, g) as (n, g1, h, *three):
        torch.mul(z, mu.reciprocal(), out=n)
        torch.bmm(torch.bmm(n, g, out=h), n, out=g1).add_(g)  # 2G₁/μ
        n.mul_(1 / (c - 1)).addcmul_(s, mu / (c - 1))
        add_to_diagonal(n, -(c + 1) / (c - 1))  # 2N/δ
        # B_k = c_k G₁/μ + (2/δ)N̂(B_{k+1}) − B_{k+2}, and at the end 2X/μ = c_0 G₁/μ + (2/δ)N̂(B_1) − 2B_2.
        b, before = g1, None  # B_{K−1} is a multiple of G₁
        for k, factor in reversed(list(enumerate(others))):
            new = three[k % len(three)] if k else result
            torch.bmm(n, b, out=h)
            torch.add(h, h.mT if symmetric else b @ n, out=new)
            twice = 1 if k else 2
            if b is g1:
                new.mul_(last)
            elif before is g1:
                factor -= twice * last
            elif before is not None:
                new.sub_(before, alpha=twice)
            new.add_(g1, alpha=factor)
            before, b = b, new
    return result.mul_(mu / 2)
