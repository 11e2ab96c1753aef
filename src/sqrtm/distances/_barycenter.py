"""The covariance of the Wasserstein barycentre of Gaussians, and its derivative."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.linalg import LinAlgError

from .._autocast import without_autocast
from .._eigh import robust_eigh
from .._place import index_in, place_of
from .._spectrum import null_level
from ._transport import factor

MOST_STEPS = 500
"""Of conjugate gradients."""


class Barycenter(torch.autograd.Function):
    """`gaussian_barycenter` of float64 matrices, and of weights with sum 1."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, w: Tensor, tol: float, max_steps: int) -> Tensor:
        batch, n = a.shape[:-3], a.shape[-1]
        eye = torch.eye(n, dtype=a.dtype, device=a.device)
        values, q = robust_eigh(a)
        roots = (q * values.clamp(min=0).sqrt()[..., None, :]) @ q.mT
        flat = (-1, *a.shape[-3:])
        y, w = factor(a)[0].reshape(flat), w.reshape(-1, a.shape[-3])
        mean_root = _weighted(w, roots.reshape(flat))
        s = mean_root @ mean_root  # which it is where they commute
        left = torch.arange(len(s), device=s.device)
        for _ in range(max_steps):
            e, sigma, _ = _eigenvectors(s[left], y[left])
            m = _weighted(w[left], (e * sigma[..., None, :]) @ e.mT)
            error = torch.linalg.matrix_norm(m - eye) / n**0.5
            more = ~(error <= tol)
            left, m = left[more], m[more]
            if not len(left):
                break
            moved = m @ s[left] @ m
            s[left] = (moved + moved.mT) / 2
        else:
            which = f" of barycentre {index_in(place_of(batch), int(left[0]))}" if batch else ""
            raise LinAlgError(
                f"gaussian_barycenter: ‖M − I‖_F/√n{which} is {float(error[more][0]):.2g} after {max_steps} steps, more"
                f" than tol={tol:g}. If no matrix with a weight is definite, add a multiple of the identity; otherwise"
                " take more steps, or a larger tol."
            )
        s, y, w = s.reshape(*batch, n, n), y.reshape(a.shape), w.reshape(a.shape[:-2])
        ctx.save_for_backward(s, y, w)
        return s

    @staticmethod
    @without_autocast
    @once_differentiable
    def backward(ctx: Any, s_bar: Tensor) -> tuple[Tensor | None, ...]:
        # With E = X⁻ᵀU and P = XU the maps are EΣEᵀ, and a change of S or Aᵢ changes them by
        # E[−(EᵀdSE)ⱼₖσⱼσₖ/(σⱼ + σₖ)]Eᵀ and E[(PᵀdAᵢP)ⱼₖ/(σⱼ + σₖ)]Eᵀ.
        s, y, w = ctx.saved_tensors
        e, sigma, p = _eigenvectors(s, y)
        sums = sigma[..., :, None] + sigma[..., None, :]
        sums = torch.where(sums > 0, sums, torch.inf)
        products = sigma[..., :, None] * sigma[..., None, :]

        def hessian(v: Tensor) -> Tensor:
            return _weighted(w, e @ ((e.mT @ v[..., None, :, :] @ e) * (products / sums)) @ e.mT)

        u = _conjugate_gradients(hessian, s, (s_bar + s_bar.mT) / 2)[..., None, :, :]
        a_bar = w[..., None, None] * (p @ ((e.mT @ u @ e) / sums) @ p.mT)
        w_bar = (((e * sigma[..., None, :]) @ e.mT) * u).sum((-2, -1))
        return a_bar, w_bar, None, None


def _weighted(w: Tensor, x: Tensor) -> Tensor:
    return (w[..., None, None] * x).sum(-3)


def _eigenvectors(s: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """E = X⁻ᵀU, σ and P = XU of S = XXᵀ and XᵀYᵢ = UΣVᵀ: then Aᵢ = EΣ²Eᵀ, S = PPᵀ, EᵀP = I, and the map is EΣEᵀ."""
    x, x_inverse = factor(s, null_level(s.shape[-1], s.dtype))
    u, sigma, _ = torch.linalg.svd(x.mT[..., None, :, :] @ y)
    return x_inverse.mT[..., None, :, :] @ u, sigma, x[..., None, :, :] @ u


def _conjugate_gradients(hessian: Callable[[Tensor], Tensor], s: Tensor, b: Tensor) -> Tensor:
    """x with hessian(x) = b, for each matrix of a batch, to about 10 digits.

    Preconditioned by the inverse of what the Hessian is where all maps are I, R ↦ SR + RS.
    """
    x, r = torch.zeros_like(b), b
    p = z = s @ r + r @ s
    rz = _inner(r, z)
    enough = 1e-22 * rz
    for _ in range(MOST_STEPS):
        if (rz <= enough).all():
            return x
        q = hessian(p)
        alpha = torch.where(rz > enough, rz / _inner(p, q), 0.0)
        x, r = x + alpha * p, r - alpha * q
        z = s @ r + r @ s
        before, rz = rz, _inner(r, z)
        p = z + torch.where(before > 0, rz / before, 0.0) * p
    raise LinAlgError(f"gaussian_barycenter: its gradient is not found in {MOST_STEPS} steps of conjugate gradients")


def _inner(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).sum((-2, -1), keepdim=True)
