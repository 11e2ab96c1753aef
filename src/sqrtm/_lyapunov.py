"""`sqrtm.solve_lyapunov`: check → choose → run, all at once or in chunks."""

from __future__ import annotations

import torch
from torch import Tensor

from ._auto import Auto, as_gradient, as_method
from ._autocast import without_autocast
from ._checks import check_pair, checked_scale
from ._chunks import check_limit, flattened, in_chunks
from ._place import Place
from ._real import as_given, as_real
from ._roots import WORKSPACE, GradientLike, MethodLike, check_dtype
from .gradients import Gradient, ImplicitGradient, LyapunovChebyshev, LyapunovEigh, LyapunovNewtonSchulz, lyapunov
from .methods import Eigh, Method, Minimax, NewtonSchulz

CALLER = "solve_lyapunov"


def solve(S: Tensor, G: Tensor, method: MethodLike, gradient: GradientLike, limit: int | None) -> Tensor:
    """X of S X + X S = G, in no more than ``limit`` bytes at a time."""
    rule, adjoint = _rules(as_method(method), as_gradient(gradient))
    batch = check_pair("S", S, "G", G, CALLER)
    check_limit(limit, CALLER)
    check_dtype(adjoint, S.dtype)
    shape = (*batch, *S.shape[-2:])
    if 0 in shape:
        return G.expand(shape).clone()

    def check(s: Tensor, place: Place) -> tuple[Tensor]:
        return (checked_scale(as_real(s).detach(), CALLER, S.dtype, True, list(place)),)

    def run(s: Tensor, g: Tensor, scale: Tensor, place: Place) -> tuple[Tensor]:
        return (as_given(_solve(as_real(s) / scale, as_real(g) / scale, rule, adjoint), S.dtype),)

    (scale,) = in_chunks(check, (S,), S.shape[:-2], limit, WORKSPACE)
    return in_chunks(run, (S, G, scale), batch, limit, WORKSPACE)[0]


@without_autocast
def _solve(s: Tensor, g: Tensor, rule: ImplicitGradient, adjoint: ImplicitGradient | None) -> Tensor:
    batch = torch.broadcast_shapes(s.shape[:-2], g.shape[:-2])
    shape = (*batch, *g.shape[-2:])
    s, g = flattened(((s + s.mT) / 2).expand(shape)), flattened(g.expand(shape))
    if adjoint is None:
        return rule.solve(s, g, (), symmetric=False).reshape(shape)
    return lyapunov(rule, s, g, symmetric=False, adjoint=adjoint).reshape(shape)


def _rules(method: Method | Auto, gradient: Gradient | Auto) -> tuple[ImplicitGradient, ImplicitGradient | None]:
    """The rule that solves the equation and the one that differentiates it, None for autograd."""
    definite_eigh = LyapunovEigh(rtol=0.0)  # S is definite: no eigenvalue counts as zero
    rule: ImplicitGradient
    if isinstance(method, NewtonSchulz) and method.scaling == "frobenius":
        rule = LyapunovNewtonSchulz(steps=method.steps)
    elif isinstance(method, Minimax):
        rule = LyapunovChebyshev(rtol=0.0)
    elif isinstance(method, (Auto, Eigh)):
        rule = definite_eigh
    else:
        known = "'eigh', 'minimax' or 'newton-schulz'"
        raise ValueError(f"solve_lyapunov: {method} has no form for this equation; use {known}")
    if isinstance(gradient, Auto):
        return rule, rule
    if isinstance(gradient, ImplicitGradient):
        definite = {LyapunovEigh(): definite_eigh, LyapunovChebyshev(): LyapunovChebyshev(rtol=0.0)}
        return rule, definite.get(gradient, gradient)
    gradient.check(NewtonSchulz() if isinstance(method, NewtonSchulz) else Eigh())
    return rule, None
