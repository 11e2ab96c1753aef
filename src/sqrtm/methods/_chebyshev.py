"""The Lyapunov equation S X + X S = G by matrix products, from S and its inverse."""

from __future__ import annotations

import torch
from torch import Tensor

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
    mu = ends.rsqrt().prod(-1)[:, None, None]
    # At once, because the allocator gives many small blocks back to the system, and fetches them again, slowly.
    n, g1, h, *three = g.new_empty(6 if terms > 3 else 5, *g.shape)
    torch.mul(z, mu.reciprocal(), out=n)
    torch.bmm(torch.bmm(n, g, out=h), n, out=g1).add_(g)  # 2G₁/μ
    n.mul_(1 / (c - 1)).addcmul_(s, mu / (c - 1))
    add_to_diagonal(n, -(c + 1) / (c - 1))  # 2N/δ
    coefficients = [(-r) ** k / c**0.5 for k in range(terms)]
    coefficients[-1] /= 1 - r * r
    # B_k = c_k G₁/μ + (2/δ)N̂(B_{k+1}) − B_{k+2}, and at the end 2X/μ = c_0 G₁/μ + (2/δ)N̂(B_1) − 2B_2.
    b = torch.mul(g1, coefficients[-1] / 2, out=three[0])
    before = None
    for k in range(terms - 2, -1, -1):
        torch.bmm(n, b, out=h)
        new = three[(terms - 1 - k) % 3] if k else torch.empty_like(g)
        torch.add(h, h.mT if symmetric else b @ n, out=new).add_(g1, alpha=coefficients[k] / 2)
        if before is not None:
            new.sub_(before, alpha=1 if k else 2)
        before, b = b, new
    return b.mul_(mu / 2)
