"""The root of covariance matrices by a few Newton–Schulz steps, evaluated at their eigenvalues, and its exact gradient.

So many steps, from A/c, are a polynomial: S = √c·y(A/c), with the y that they make of a number x. In the eigenbasis
of A = Q diag(cx) Qᵀ, with its divided differences y[i, j] = (y(xᵢ) − y(xⱼ))/(xᵢ − xⱼ), or y' where i and j agree,

    S = √c Q diag(y) Qᵀ,    Ā = Q (y[i, j] ∘ QᵀGQ) Qᵀ/√c + c̄ ∂c/∂A

(Higham, *Functions of Matrices*, SIAM 2008, §3.2, the Daleckiĭ–Kreĭn theorem). No difference of eigenvalues is divided
by: the steps have y² = xw with w = zy, and take e = 1 − w to φ(e) = e²(3 + e)/4, so that

    y[i, j] = (xᵢ ∏ φ[eᵢ, eⱼ] + wⱼ)/(yᵢ + yⱼ),    φ[a, b] = (3(a + b) + a² + ab + b²)/4,    e = 1 − x at first,

sums of what is positive. On a CPU an eigendecomposition takes as long as 10 to 20 products for n ≥ 64; five steps and
their derivative take 36 or more.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .._autocast import without_autocast
from .._scratch import scratch
from .._spectrum import power_of_four
from .._transforms import for_each_gradient, is_batched_gradient, traced, transformed
from ..methods import NewtonSchulz
from ..methods._base import CHUNK_BYTES
from ..methods._parallel import eigh
from ..methods._products import bmm
from ..methods.newton_schulz import coupled

WORTHWHILE = 256
"""n times the number of steps, which are 3 or more, from which eigenvalues are faster than products, on 2 cores."""


def covariance(x: Tensor, centered: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """(x − m)(x − m)ᵀ/N/scale², ``(B, n, n)``, of N columns in ``(B, n, N)``, ``scale``, and whether x is finite.

    m is their mean, or 0 if not ``centered``. The largest entry of x/scale is in [1, 4); what is not finite is 0.
    """
    scale, finite = size_of(x)
    x = torch.where(finite, x / scale, 0.0)
    if centered:
        x = x - x.mean(-1, keepdim=True)
    return x @ x.mT / x.shape[-1], scale, finite


def size_of(x: Tensor) -> tuple[Tensor, Tensor]:
    """The power of 4 below the largest entry of each matrix, 1 where that is 0 or not finite, and whether it is."""
    largest = torch.linalg.vector_norm(x.detach(), torch.inf, dim=(-2, -1), keepdim=True)
    return power_of_four(largest), largest.isfinite()


def by_eigenvalues(x: Tensor, method: NewtonSchulz) -> bool:
    """Whether `CovarianceRoot` is there for such features, and faster than steps."""
    worthwhile = method.steps >= 3 and x.shape[-2] * method.steps >= WORTHWHILE
    plain = x.device.type == "cpu" and not traced(x) and not transformed()
    return worthwhile and plain and method.scaling == "trace"


class CovarianceRoot(torch.autograd.Function):
    """S of `covariance`(x), times ``scale``, by so many steps with c = tr A. NaN where x is not finite."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, centered: bool, steps: int) -> Tensor:
        scale, finite = size_of(x)
        a = x.new_empty(*x.shape[:-1], x.shape[-2])
        for part in _parts(a):
            with scratch(1, x[part]) as (y,):
                _centre(x[part], scale[part], centered, out=y)
                bmm(y, y.mT, out=a[part]).div_(x.shape[-1])
        bad = ~finite[:, 0, 0]
        if bad.any():
            a[bad] = torch.eye(a.shape[-1], dtype=a.dtype)
        rows = torch.empty_like(a)
        values = eigh(a, rows)
        c = values.sum(-1, keepdim=True)
        roots = _steps(_divided(values, c), steps)[0] * (c.clamp(min=0).sqrt() * scale[:, 0])
        s = a  # whose values are not needed any more
        for part in _parts(s):
            with scratch(1, s[part]) as (y,):
                bmm(rows[part].mT, torch.mul(rows[part], roots[part, :, None], out=y), out=s[part])
        if bad.any():
            s[bad] = torch.nan
        ctx.centered, ctx.steps = centered, steps
        ctx.save_for_backward(x, values, rows)
        return s

    @staticmethod
    @without_autocast
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, values, rows = ctx.saved_tensors
        if torch.is_grad_enabled():  # to be differentiated again: by autograd through the steps
            x = x.view_as(x)
            a, scale, finite = covariance(x, ctx.centered)
            s, _ = coupled(a, a.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None], ctx.steps, False)
            s = torch.where(finite, s * scale, torch.nan)
            return torch.autograd.grad(s, x, g, create_graph=True)[0], None, None

        def x_bar(g: Tensor) -> Tensor:
            return _vjp(x, values, rows, g, ctx.centered, ctx.steps)

        return for_each_gradient(x_bar, g) if is_batched_gradient(g) else x_bar(g), None, None


def _vjp(x: Tensor, values: Tensor, rows: Tensor, g: Tensor, centered: bool, steps: int) -> Tensor:
    """The cotangent of x for that of S."""
    c = values.sum(-1, keepdim=True)
    positive = c > 0
    safe = torch.where(positive, c, 1.0)
    # Where x is 0 or rounded below, y[i, j] is 0/0 or worse; it is smooth there.
    at = _divided(values, c).clamp_(min=torch.finfo(x.dtype).eps ** 2)
    y, (*ws, end) = _steps(at, steps)
    one = torch.ones_like(at)
    x_bar = torch.empty_like(x, memory_format=torch.contiguous_format)
    scale, finite = size_of(x)
    for part in _parts(rows):
        q, half = rows[part], 0.5 * positive[part]
        with scratch(3, q) as (inside, ratios, spare):
            bmm(bmm(q, g[part], out=spare), q.mT, out=inside)
            for k, w in enumerate(ws):
                e = 1 - w[part]
                alone = 0.25 * e * (3 + e)
                left, right = torch.stack([alone, one[part], 0.25 * e], -1), torch.stack([one[part], alone, e], -2)
                bmm(left, right, out=spare if k else ratios)
                if k:
                    ratios.mul_(spare)
            ratios.mul_(at[part, :, None]).add_(end[part, None, :])
            ratios.div_(torch.add(y[part, :, None], y[part, None, :], out=spare))
            diagonal = inside.diagonal(dim1=-2, dim2=-1)
            direct = (diagonal * y[part]).sum(-1, keepdim=True)
            inside.mul_(ratios)
            c_bar = half * direct - (diagonal * at[part]).sum(-1, keepdim=True)
            diagonal += c_bar  # of the trace, whose derivative is I
            torch.add(inside, inside.mT, out=ratios)
            bmm(bmm(q.mT, ratios, out=spare), q, out=inside)
            inside.div_((safe[part].sqrt() * x.shape[-1])[:, :, None]).mul_(positive[part, :, None])
            with scratch(1, x[part]) as (from_mean,):
                bmm(inside, _centre(x[part], scale[part], centered, out=from_mean), out=x_bar[part])
    return x_bar.masked_fill_(~finite, 0.0)


def _steps(x: Tensor, steps: int) -> tuple[Tensor, list[Tensor]]:
    """y and w = zy, which is 1 − e, before each step and after the last, of numbers x."""
    y, ws = x, [x]
    for _ in range(steps):
        w = ws[-1]
        y = 0.5 * y * (3 - w)
        ws.append(0.25 * w * (3 - w) ** 2)
    return y, ws


def _divided(values: Tensor, c: Tensor) -> Tensor:
    return values / torch.where(c > 0, c, 1.0)


def _centre(x: Tensor, scale: Tensor, centered: bool, out: Tensor) -> Tensor:
    torch.div(x, scale, out=out)
    return out.sub_(out.mean(-1, keepdim=True)) if centered else out


def _parts(a: Tensor) -> list[slice]:
    """Slices of a batch of matrices that stay in cache."""
    size = max(1, CHUNK_BYTES // (a.shape[-1] ** 2 * a.element_size()))
    return [slice(i, i + size) for i in range(0, len(a), size)]
