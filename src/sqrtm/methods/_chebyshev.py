"""The Lyapunov equation S X + X S = G by matrix products, from S and its inverse."""

from __future__ import annotations

import torch
from torch import Tensor

from .._scratch import scratch
from ._base import add_to_diagonal, norm
from ._products import baddbmm_, bmm


def spectral_bound(x: Tensor) -> Tensor:
    """``(B,)``, an upper bound on ‖X‖₂."""
    return torch.minimum(norm(x)[:, 0, 0], x.abs().sum(-1).amax(-1))


def chebyshev(s: Tensor, z: Tensor, g: Tensor, ends: Tensor, c: float, terms: int, symmetric: bool = True) -> Tensor:
    """X with S X + X S = G by ``terms`` + 1 products, for Z = S⁻¹ and ``ends``, bounds on the spectrum of S.

    ``terms`` is 2 or more. If ``symmetric``, for (G + Gᵀ)/2, else by twice as many. With μ = (‖Z‖/‖S‖)^{1/2} this
    is S₁X + XS₁ = G₁ for S₁ = (μS + Z/μ)/2 and G₁ = (μG + ZGZ/μ)/2; the spectrum of S₁ lies in [1, ``c``]. The
    relative error is about r^terms, r = (√c − 1)/(√c + 1).

    With N = S₁ − (c + 1)/2·I, X = p(N̂)G₁ where N̂(D) = ND + DN has its spectrum in ±δ, δ = c − 1, and
    p(x) is the best polynomial for 1/(θ + x), θ = c + 1, on it. Its coefficients in the basis of Chebyshev are
    −r to the power of their index, times 1/√c, half the first, and the last over 1 − r² (Achieser, *Theory of
    Approximation*, 1956, Chapter II). Evaluated by Clenshaw's recurrence.
    """
    r = (c**0.5 - 1) / (c**0.5 + 1)
    unit = (c - 1) / (8 if symmetric else 4) / c**0.5  # half of what G₁ is divided by below, over √c
    *others, last = (unit * (-r) ** k for k in range(terms))
    last /= 1 - r * r
    nu = ends.rsqrt().prod(-1)[:, None, None] / (c - 1)  # μ/δ
    result = torch.empty_like(g, memory_format=torch.contiguous_format)
    with scratch(5, g) as (n, g1, *free):
        torch.mul(z, (nu * (c - 1) ** 2).reciprocal(), out=n)
        x, y, _ = free
        bmm(bmm(n, g, out=x), z, out=y if symmetric else g1).addcmul_(g, nu)  # 2G₁/δ
        if symmetric:
            torch.add(y, y.mT, out=g1)
        n.addcmul_(s, nu)
        add_to_diagonal(n, -(c + 1) / (c - 1))  # 2N/δ
        # B_k = c_k G₁ + (2/δ)N̂(B_{k+1}) − B_{k+2}, and at the end 2X = c_0 G₁ + (2/δ)N̂(B_1) − 2B_2.
        b, before = g1, None  # B_{K−1} is a multiple of G₁
        for k, factor in reversed(list(enumerate(others))):
            alpha, beta = last if b is g1 else 1.0, -1.0 if k else -2.0
            if before is g1:
                factor += beta * last
            if before is None or before is g1:
                before, beta = free.pop(), 0.0
            if symmetric:
                out = free.pop() if k else result
                baddbmm_(before, n, b, beta=beta / 2, alpha=alpha)
                torch.add(before, before.mT, out=out)
                free.append(before)
            else:
                out = baddbmm_(baddbmm_(before, n, b, beta=beta, alpha=alpha), b, n, alpha=alpha)
            before, b = b, out.add_(g1, alpha=factor)
        return result if symmetric else result.copy_(b)
