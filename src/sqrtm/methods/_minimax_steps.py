"""The steps of `Minimax`, and what bounds the spectrum before them."""

from __future__ import annotations

import torch
from torch import Tensor

from .._minimax_table import GENERAL
from ._base import add_to_diagonal, norm
from ._products import baddbmm_, bmm


def centre(a: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
    """Write E for A = m(I + E), and return m and the mean square eigenvalue of E, both ``(B, 1, 1)``.

    m = tr A/n, or 1 where that is not a positive normal number.
    """
    n = a.shape[-1]
    mean = (a.diagonal(dim1=-2, dim2=-1) / n).sum(-1)[:, None, None]
    mean = torch.where(mean > 2 * torch.finfo(a.dtype).tiny, mean, 1.0)  # others are not for the iteration
    torch.mul(a, mean.reciprocal(), out=e)
    add_to_diagonal(e, -1.0)
    return mean, norm(e).square_().div_(n)


def spectral_radius(e2: Tensor, v: Tensor) -> Tensor:
    """``(B, 1, 1)``, an upper bound on ‖E‖₂.

    The n eigenvalues of E² have mean ``v`` and root mean square ‖E²‖_F/√n, so that none is above
    v + √(n − 1)·√(‖E²‖_F²/n − v²) (Samuelson's inequality). The bound is raised by what rounding may hide, n²/8·eps
    of ``v`` among it.
    """
    n, eps = e2.shape[-1], torch.finfo(e2.dtype).eps
    size = norm(e2) + n * n * eps * v  # ‖E‖_F² = nv
    spread = size * size / n - v * v * (1 - (2 * n + n * n / 8) * eps)
    radius = (v + ((n - 1) * spread.clamp_(min=0)).sqrt_()).sqrt_()
    return radius.mul_(1 + (n + n * n / 16) * eps).add_((2 * n**0.5 + 8) * eps)


def least_eigenvalue(z: Tensor) -> Tensor:
    """``(B,)``, an upper estimate of the least eigenvalue of Z⁻¹: one over ‖Zv‖ for a v that Z makes large."""
    longest = torch.linalg.vector_norm(z, dim=-1).argmax(-1)
    v = z.gather(2, longest[:, None, None].expand(-1, z.shape[-1], 1))
    for _ in range(3):
        size = norm(v)
        v = bmm(z, v / size)
    return norm(v)[:, 0, 0].reciprocal()


def first_step(
    a: Tensor, mean: Tensor, e: Tensor, e2: Tensor, spare: list[Tensor], coefficients: tuple[float, ...]
) -> tuple[Tensor, Tensor]:
    """Y and Z after one step: T = h(I + E) of degree 8 by three products, E² included; Z = T/√m and Y = AZ."""
    s, b, x, y, beta, delta, alpha, eta, k = coefficients
    left, right, _ = spare
    add_to_diagonal(e2, y)
    add_to_diagonal(torch.add(e2, e, alpha=b, out=left), x - y)
    add_to_diagonal(bmm(left, e2, out=right), beta)
    add_to_diagonal(torch.add(right, e2, alpha=delta, out=left), alpha)
    add_to_diagonal(baddbmm_(e, left, right, beta=eta, alpha=s), k)
    z = e * mean.rsqrt()
    return bmm(a, z), z


def general_steps(
    a: Tensor, mean: Tensor, e: Tensor, e2: Tensor, spare: list[Tensor], radius: Tensor
) -> tuple[Tensor, Tensor]:
    """Y and Z after the steps for an unknown condition number, from the spectrum of A/m in [0, 1 + radius].

    In the memory of the other arguments.
    """
    (_, c, h), *others = GENERAL[str(e.dtype).removeprefix("torch.")]
    upper = 1.01 * (1 + radius)  # R = (I + E)/upper; F = R − cI has F² = E²/upper² + 2xE/upper + x²I …
    x = 1 / upper - c  # … with F = E/upper + xI
    f2 = e2.mul_(upper**-2).add_(torch.mul(e, 2 * x / upper, out=spare[0]))
    f = e.mul_(upper.reciprocal())
    add_to_diagonal(f2, (x * x)[..., 0])
    add_to_diagonal(f, x[..., 0])
    z = quartic(f, f2, h, spare[0]).mul_((mean * upper).rsqrt())
    y = bmm(a, z, out=f2)
    for _, c, h in others:
        r, r2, q = spare
        add_to_diagonal(bmm(z, y, out=r), -c)
        t = quartic(r, bmm(r, r, out=r2), h, q)
        spare = [y, z, t]
        y, z = bmm(y, t, out=q), bmm(t, z, out=r2)
    return y, z


def quartic(r: Tensor, r2: Tensor, h: tuple[float, ...], spare: Tensor) -> Tensor:
    """s(R² + aR + bI)(R² + cI) + kI in place of R, in passing spoiling R²."""
    s, a, b, c, k = h
    add_to_diagonal(torch.add(r2, r, alpha=a, out=spare), b)
    add_to_diagonal(r2, c)
    add_to_diagonal(baddbmm_(r, spare, r2, beta=0.0, alpha=s), k)
    return r
