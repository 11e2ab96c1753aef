"""Squared Bures–Wasserstein distances and optimal transport maps of float64 matrices, and their derivatives.

From factors A = XXᵀ and B = YYᵀ (Cholesky's, or eigenvectors times roots of
eigenvalues where that fails) and the singular value decomposition XᵀY = UΣVᵀ:

    d²(A, B) = min over orthogonal W of ‖X − YW‖_F² = ‖X − YVUᵀ‖_F²

(Bhatia, Jain & Lim, *On the Bures–Wasserstein distance between positive definite matrices*, Expo. Math. 37 (2019)
165–191, Theorem 1). A norm is not negative, and has digits also where A and B are close; where they are not and no
gradient is wanted, tr A + tr B − 2 Σ σ has, and takes no singular vectors. Nothing is squared: the eigenvalues of AB,
whose roots the textbook formula sums, are the σ².

The optimal transport map from N(0, A) to N(0, B), T with TAT = B, is YVUᵀX⁺, and tells the derivative: ∂d²/∂A = I − T.
It is differentiated through N = (A^{1/2}BA^{1/2})^{1/2}: with S = A^{1/2}, Z = A^{-1/2} and X = L_N(C) the solution
of NX + XN = C,

    dT = Z L_N(S (dB − T dA T) S) Z.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._api import solve_lyapunov
from .._autocast import without_autocast
from .._eigh import robust_eigh
from .._roots import covariance_roots
from .._spectrum import null_level
from .._transforms import traced, transformed

CLOSE = 1e-2
"""d² relative to tr A + tr B up to which singular values alone would lose more than two digits."""


class Factors(NamedTuple):
    """What all else is computed from: A = XXᵀ, B = YYᵀ, the pseudo-inverses of X and Y, W = VUᵀ, and d²."""

    x: Tensor
    x_inverse: Tensor
    y: Tensor
    y_inverse: Tensor
    w: Tensor
    """Without the singular vectors of zeros."""
    distance: Tensor


def factors_of(a: Tensor, b: Tensor, null: float) -> Factors:
    with torch.no_grad():
        (x, x_inverse), (y, y_inverse) = factor(a.detach(), null), factor(b.detach(), null)
        u, sigma, vh = torch.linalg.svd(x.mT @ y)
        distance = (x - y @ (vh.mT @ u.mT)).square().sum((-2, -1))
        some = sigma > null_level(sigma.shape[-1], sigma.dtype) * sigma[..., :1]
        w = (vh.mT * some[..., None, :]) @ u.mT
    return Factors(x, x_inverse, y, y_inverse, w, distance)


def squared_distance(a: Tensor, b: Tensor) -> Tensor:
    """d² alone, by singular values where it is not small beside the traces."""
    x, y = factor(a)[0], factor(b)[0]
    m = _trimmed(x).mT @ _trimmed(y)
    traces = x.square().sum((-2, -1)) + y.square().sum((-2, -1))
    distance = traces - 2 * torch.linalg.svdvals(m).sum(-1)
    close = distance <= CLOSE * traces
    if close.any():
        shape = (*close.shape, *x.shape[-2:])
        x, y = x.expand(shape)[close], y.expand(shape)[close]
        u, _, vh = torch.linalg.svd(x.mT @ y)
        distance[close] = (x - y @ (vh.mT @ u.mT)).square().sum((-2, -1))
    return distance


def _trimmed(x: Tensor) -> Tensor:
    """Without the columns at the left that are 0 in all factors, as those of singular matrices are."""
    used = (x != 0).flatten(0, -2).any(0)
    return x[..., int(used.int().argmax()) :]


def factor(a: Tensor, null: float | None = None) -> tuple[Tensor, Tensor]:
    """X with A = XXᵀ, and if it is known which eigenvalues are ``null`` the pseudo-inverse of X, else nothing.

    By eigenvalues where a pivot of Cholesky's says that some are, or where there are no values to look at.
    """
    if traced(a) or transformed():
        return _eigen_factor(a, null or 0.0)
    x, info = torch.linalg.cholesky_ex(a)
    least, largest = x.diagonal(dim1=-2, dim2=-1).aminmax(dim=-1)
    level = null or null_level(a.shape[-1], a.dtype)
    singular = (info != 0) | ~(least.square() > level * largest.square())
    x_inverse = x[..., :0, :]
    if null is not None:
        eye = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
        x_inverse = torch.linalg.solve_triangular(torch.where(singular[..., None, None], eye, x), eye, upper=False)
    if singular.any():
        x[singular], some = _eigen_factor(a[singular], level)
        if null is not None:
            x_inverse[singular] = some
    return x, x_inverse


def _eigen_factor(a: Tensor, null: float) -> tuple[Tensor, Tensor]:
    values, q = robust_eigh(a)
    largest = values[..., -1:]
    roots = torch.where(values > null_level(a.shape[-1], a.dtype) * largest, values, 0.0).sqrt()
    level = torch.maximum(null * largest, -4 * values[..., :1])
    some = (values > level) & (roots > 0)
    return q * roots[..., None, :], (some / torch.where(some, roots, 1.0))[..., :, None] * q.mT


class Distance(torch.autograd.Function):
    """d² as a function of A and B, which is computed already."""

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, b: Tensor, *factors: Tensor) -> Tensor:
        return factors[-1].expand(a.shape[:-2]).clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    @without_autocast
    def backward(ctx: Any, d_bar: Tensor) -> tuple[Tensor | None, ...]:
        a_bar, b_bar = (d_bar[..., None, None] * x for x in _gradients(*ctx.saved_tensors))
        return a_bar, b_bar, *(None,) * len(Factors._fields)

    @staticmethod
    @without_autocast
    def jvp(ctx: Any, da: Tensor | None, db: Tensor | None, *_: Any) -> Tensor:
        parts = zip(_gradients(*ctx.saved_tensors), (da, db), strict=True)
        return sum((x * dx).sum((-2, -1)) for x, dx in parts if dx is not None)  # type: ignore[return-value]


def _gradients(a: Tensor, b: Tensor, *factors: Tensor) -> tuple[Tensor, Tensor]:
    """∂d²/∂A and ∂d²/∂B."""
    x, x_inverse, y, y_inverse, w, _ = factors
    eye = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    return eye - transport(a, b, x, x_inverse, y, w), eye - transport(b, a, y, y_inverse, x, w.mT)


class Map(torch.autograd.Function):
    """T with TAT = B as a function of A and B, of factors that only save work."""

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, b: Tensor, x: Tensor, x_inverse: Tensor, y: Tensor, w: Tensor) -> Tensor:
        t = y @ (w @ x_inverse)
        # Symmetric on the range of A, as computed but for rounding; from there to its null space, only one half is.
        null = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device) - x @ x_inverse
        t = t + t.mT @ null
        return ((t + t.mT) / 2).expand(a.shape).clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs[:2], output)
        ctx.save_for_forward(*inputs[:2], output)

    @staticmethod
    @without_autocast
    def backward(ctx: Any, t_bar: Tensor) -> tuple[Tensor | None, ...]:
        a, b, t = ctx.saved_tensors
        s, z, n = _definite_roots(a, b)
        b_bar = s @ solve_lyapunov(n, z @ ((t_bar + t_bar.mT) / 2) @ z) @ s
        return -t @ b_bar @ t, b_bar, None, None, None, None

    @staticmethod
    @without_autocast
    def jvp(ctx: Any, da: Tensor | None, db: Tensor | None, *_: Any) -> Tensor:
        a, b, t = ctx.saved_tensors
        s, z, n = _definite_roots(a, b)
        change = torch.zeros_like(t) if db is None else db
        change = change if da is None else change - t @ da @ t
        return z @ solve_lyapunov(n, s @ change @ s) @ z


def _roots(a: Tensor) -> tuple[Tensor, Tensor]:
    """A^{1/2} and A^{-1/2}, the second on the rest of the space where A is singular, whatever the sign of rounding."""
    a = (a + a.mT) / 2
    s, z = covariance_roots(a.reshape(-1, *a.shape[-2:]), "auto", "auto", inverse=True)
    assert z is not None
    return s.reshape(a.shape), z.reshape(a.shape)


def _definite_roots(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A^{1/2}, A^{-1/2} and N = (A^{1/2}BA^{1/2})^{1/2}; NaN and I for the last two where N is singular.

    The map has no derivative there that all directions share.
    """
    s, z = _roots(a)
    n, _ = _roots(s @ b @ s)
    values = torch.linalg.eigvalsh(n.detach())
    level = null_level(n.shape[-1], n.dtype) ** 0.5  # n is a root: its eigenvalues are rounded so
    singular = ~(values[..., 0] > level * values[..., -1])[..., None, None]
    eye = torch.eye(n.shape[-1], dtype=n.dtype, device=n.device)
    return s, torch.where(singular, torch.nan, z), torch.where(singular, eye, n)


def transport_map(a: Tensor, b: Tensor, null: float) -> Tensor:
    x, x_inverse, y, _, w, _ = factors_of(a, b, null)
    shape = (*torch.broadcast_shapes(a.shape[:-2], b.shape[:-2]), *a.shape[-2:])
    return transport(a.expand(shape), b.expand(shape), x, x_inverse, y, w)


def distance(*inputs: Tensor) -> Tensor:
    """`Distance` of its inputs."""
    if torch.compiler.is_compiling():
        from ._in_graph import apply_distance

        return apply_distance(*inputs)
    return Distance.apply(*inputs)


def transport(*inputs: Tensor) -> Tensor:
    """`Map` of its inputs."""
    if torch.compiler.is_compiling():
        from ._in_graph import apply_map

        return apply_map(*inputs)
    return Map.apply(*inputs)
