"""Implicit differentiation: every derivative of a root is one Lyapunov solve.

Let S = A^{1/2}, Z = A^{-1/2}, and let X = L_S(G) solve S X + X S = G. Differentiating S² = A gives
S dS + dS S = dA, and Z = S⁻¹ gives dZ = −Z dS Z. Hence, L_S being self-adjoint for symmetric S::

    jvp      dS = L_S(dA)        dZ = −Z dS Z
    vjp      Ā  = L_S(S̄ − Z Z̄ Z)        (one solve, whichever of S̄ and Z̄ there are)

If Z is the pseudo-inverse of S, P the projector on its null space and the rank of A stays what it is, dZ has the terms
Z² dS P + P dS Z² more, and Ā their adjoint (Golub & Pereyra, *The differentiation of pseudo-inverses and nonlinear
least squares problems whose variables separate*, SIAM J. Numer. Anal. 10 (1973) 413–432, for symmetric matrices).

and for the solve itself, from S dX + dX S = dG − dS X − X dS::

    jvp      dX = L_S(dG − dS X − X dS)
    vjp      Ḡ  = W,   S̄ = −(W Xᵀ + Xᵀ W)   with   W = L_S(X̄)

The derivatives call the same primitive again, so derivatives of every order come from these four
lines (Lin & Maji, *Improved Bilinear Pooling with CNNs*, BMVC 2017, for the first).
They are those of the *exact* root: a method that stops short has another gradient, which `Unrolled`
gives.

Every rule in this package is an arithmetic for L_S, so a rule is a class with a ``solve``.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from .._autocast import without_autocast
from .._place import Place, place_of, vmapped
from .._transforms import for_each_gradient, is_batched_gradient, traced, transformed
from ..methods import Method, Roots
from ..methods._base import SelfChecking
from ..methods._checked import checked_roots
from ..methods._products import matmul
from ._base import Gradient

Factors = tuple[Tensor, ...]


class ImplicitGradient(Gradient):
    """A gradient rule that is an arithmetic for the Lyapunov solve."""

    kept_by_operator: ClassVar[bool] = False
    """Keeps what `_traced.roots` returns to be kept."""

    def keep(self, roots: Roots) -> Factors:
        """What of the forward pass spares `factors`; nothing by default."""
        return ()

    def factors(self, s: Tensor) -> Factors:
        """What `solve` needs besides S, from S alone: computed once, reused by higher derivatives."""
        return ()

    def singular(self, s: Tensor, factors: Factors) -> Tensor | None:
        """``(B,)``, where `solve` is a pseudo-inverse, whose own derivative is not the formula's; None if nowhere."""
        return None

    def null_projector(self, factors: Factors) -> Tensor:
        """``(B, n, n)``, the orthogonal projector on what counts as the null space of A, from what `keep` kept."""
        raise ValueError(f"gradient {self.name!r} does not tell what counts as zero, as a pseudo-inverse needs it")

    @abstractmethod
    def solve(self, s: Tensor, g: Tensor, factors: Factors, symmetric: bool) -> Tensor:
        """Return X with S X + X S = G, all ``(B, n, n)``; if ``symmetric``, (G + Gᵀ)/2 in place of G."""

    def roots(self, method: Method, a: Tensor, inverse: bool) -> tuple[Tensor, Tensor | None]:
        s, z, *_ = implicit_roots(a, method, self, inverse, inverse, "", a.dtype, place_of((len(a),)))
        assert s is not None
        return s, z


def lyapunov(
    rule: ImplicitGradient,
    s: Tensor,
    g: Tensor,
    factors: Factors = (),
    symmetric: bool = True,
    adjoint: ImplicitGradient | None = None,
) -> Tensor:
    """L_S(G), or of (G + Gᵀ)/2, by ``rule``, itself differentiated by ``adjoint`` (by default the same rule)."""
    factors = factors or rule.factors(s.detach())
    if is_batched_gradient(g):
        return for_each_gradient(lambda part: lyapunov(rule, s, part, factors, symmetric, adjoint), g)
    if not torch.is_grad_enabled() and not transformed():  # as in a backward pass that is not itself differentiated
        return rule.solve(s, g, factors, symmetric)
    return solve_function(rule, adjoint or rule, symmetric, s, g, *factors)


def symmetrised(g: Tensor) -> Tensor:
    """(G + Gᵀ)/2."""
    if g.shape[-1] <= 4:  # loops over the batch are longer, and faster
        g = g.movedim(0, -1).contiguous()
        return (g + g.transpose(0, 1)).mul_(0.5).movedim(-1, 0)
    return (g + g.mT).mul_(0.5)


class _Roots(torch.autograd.Function):
    """(S, Z, verdict, *kept factors) of A. Z is None unless it was asked for, the verdict unless the method has one."""

    @staticmethod
    def forward(
        a: Tensor,
        method: Method,
        rule: ImplicitGradient,
        inverse: bool,
        definite: bool,
        caller: str,
        dtype: torch.dtype,
        place: Place,
    ) -> tuple[Tensor | None, ...]:
        def outputs(roots: Roots) -> tuple[Tensor | None, ...]:
            return roots.sqrt, roots.invsqrt if inverse else None, *rule.keep(roots)

        if isinstance(method, SelfChecking):
            if traced(a):
                from ._traced import roots as operator

                s, *own, verdict = operator(a, method.name, inverse, definite, caller, dtype, place)
                kept = own[inverse:] if rule.kept_by_operator else ()
                return s, own[0] if inverse else None, verdict, *kept
            s, z, *kept, verdict = checked_roots(a, method, outputs, inverse, definite, True, caller, dtype, place)
            return s, z, verdict, *kept
        s, z, *kept = outputs(method.roots(a, inverse))
        return s, z, None, *kept

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        s, z, verdict, *factors = output
        _, _, ctx.rule, inverse, definite, *_ = inputs
        ctx.pseudo_inverse = inverse and not definite
        ctx.mark_non_differentiable(*factors, *(() if verdict is None else (verdict,)))
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(s, z, *factors)
        ctx.save_for_forward(s, z, *factors)

    @staticmethod
    @without_autocast
    def backward(ctx: Any, s_bar: Tensor | None, z_bar: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
        s, z, *factors = ctx.saved_tensors
        null = ctx.rule.null_projector(factors) if ctx.pseudo_inverse else None
        g = _cotangent(s_bar, z_bar, z, null)
        a_bar = None if g is None else lyapunov(ctx.rule, s, g, tuple(factors))
        return a_bar, *(None,) * 7

    @staticmethod
    @without_autocast
    def jvp(ctx: Any, da: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        s, z, *factors = ctx.saved_tensors
        ds = lyapunov(ctx.rule, s, da, tuple(factors))
        null = ctx.rule.null_projector(factors) if ctx.pseudo_inverse else None
        return ds, None if z is None else _congruence(ds, z, null), None, *(None for _ in factors)

    @staticmethod
    def vmap(info: Any, in_dims: Any, a: Tensor, *settings: Any) -> tuple[Any, Any]:
        flat = a.movedim(in_dims[0], 0).flatten(0, 1)
        batch = (info.batch_size, flat.shape[0] // max(info.batch_size, 1))
        method, rule, inverse, definite, caller, dtype, place = settings
        # `implicit_roots` would keep nothing for a gradient that it does not see, as that of vmap(grad(f)).
        apply = implicit_roots if torch.compiler.is_compiling() else _Roots.apply
        output = apply(flat, method, rule, inverse, definite, caller, dtype, vmapped(place, info.batch_size))
        output = tuple(x if x is None else x.unflatten(0, batch) for x in output)
        return output, tuple(None if x is None else 0 for x in output)


class _EagerRoots(torch.autograd.Function):
    """`_Roots` where no transform is at work: PyTorch takes a fifth of the time for one without ``setup_context``."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor | None, ...]:
        output = _Roots.forward(*inputs)
        _Roots.setup_context(ctx, inputs, output)
        return output

    backward = _Roots.backward


def _congruence(ds: Tensor, z: Tensor, null: Tensor | None) -> Tensor:
    """dZ of dS, and its adjoint; ``null`` is a constant here: where it is not 0, `_defined` makes what follows NaN."""
    inside = -matmul(matmul(z, ds), z)
    if null is None:
        return inside
    left, right = matmul(z, matmul(z, matmul(ds, null))), matmul(matmul(matmul(null, ds), z), z)
    return inside + left + right  # in this order 0 where there is no null space


def _cotangent(s_bar: Tensor | None, z_bar: Tensor | None, z: Tensor | None, null: Tensor | None) -> Tensor | None:
    """S̄ and what Z̄ adds to it, of those that are there."""
    if z_bar is not None and z is not None:
        pulled = _congruence(z_bar, z, null)
        s_bar = pulled if s_bar is None else s_bar + pulled
    return s_bar


def _defined(rule: ImplicitGradient, s: Tensor, factors: Factors, derivative: Tensor) -> Tensor:
    """``derivative`` of L_S in S, NaN where A is singular: the root has no second derivative there.

    A zero derivative stays zero, so that a matrix masked out of a loss does not send NaN upstream.
    """
    singular = rule.singular(s, factors)
    if singular is None:
        return derivative
    undefined = singular & (derivative != 0).any(-1).any(-1)
    return torch.where(undefined[:, None, None], torch.nan, derivative)


class _Lyapunov(torch.autograd.Function):
    """X = L_S(G), or of (G + Gᵀ)/2, as a function of S and G; the factors are constants that only save work."""

    @staticmethod
    def forward(
        rule: ImplicitGradient, adjoint: ImplicitGradient, symmetric: bool, s: Tensor, g: Tensor, *factors: Tensor
    ) -> Tensor:
        return rule.solve(s, g, factors, symmetric)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        rule, ctx.adjoint, ctx.symmetric, s, _, *factors = inputs
        ctx.n_inputs = len(inputs)
        kept = factors if ctx.adjoint == rule else []
        ctx.save_for_backward(s, output, *kept)
        ctx.save_for_forward(s, output, *kept)

    @staticmethod
    @without_autocast
    def backward(ctx: Any, x_bar: Tensor) -> tuple[Tensor | None, ...]:
        s, x, *kept = ctx.saved_tensors
        factors = tuple(kept) or ctx.adjoint.factors(s.detach())
        w = lyapunov(ctx.adjoint, s, x_bar, factors, ctx.symmetric)
        s_bar = _defined(ctx.adjoint, s, factors, -(w @ x.mT + x.mT @ w)) if ctx.needs_input_grad[3] else None
        return None, None, None, s_bar, w, *(None for _ in range(ctx.n_inputs - 5))

    @staticmethod
    @without_autocast
    def jvp(ctx: Any, _rule: None, _adjoint: None, _symmetric: None, ds: Tensor, dg: Tensor, *_: Any) -> Tensor:
        s, x, *kept = ctx.saved_tensors
        factors = tuple(kept) or ctx.adjoint.factors(s.detach())
        g = dg
        if ds is not None:
            change = _defined(ctx.adjoint, s, factors, ds @ x + x @ ds)
            g = -change if dg is None else dg - change
        return lyapunov(ctx.adjoint, s, g, factors, ctx.symmetric)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> tuple[Tensor, int]:
        settings, tensors = inputs[:3], inputs[3:]
        flat = [
            (x.expand(info.batch_size, *x.shape) if dim is None else x.movedim(dim, 0)).flatten(0, 1)
            for x, dim in zip(tensors, in_dims[3:], strict=True)
        ]
        batch = (info.batch_size, flat[0].shape[0] // max(info.batch_size, 1))
        return solve_function(*settings, *flat).unflatten(0, batch), 0


def implicit_roots(
    a: Tensor,
    method: Method,
    rule: ImplicitGradient,
    inverse: bool,
    definite: bool,
    caller: str,
    dtype: torch.dtype,
    place: Place,
) -> tuple[Tensor | None, ...]:
    """(S, Z, verdict, *kept factors) of ``a``, by `_Roots`; nothing is kept where no gradient can flow.

    If Z is asked for and not ``definite``, it is that of the pseudo-inverse. Other arguments: see `checked_roots`.
    """
    settings = (method, rule, inverse, definite, caller, dtype, place)
    if torch.compiler.is_compiling():
        from ._in_graph import apply_roots

        return apply_roots(a, *settings)
    if transformed() or traced(a):
        return _Roots.apply(a, *settings)
    if isinstance(method, SelfChecking) and not (torch.is_grad_enabled() and a.requires_grad):

        def outputs(roots: Roots) -> tuple[Tensor | None, ...]:
            return roots.sqrt, roots.invsqrt if inverse else None

        return checked_roots(a, method, outputs, inverse, definite, False, caller, dtype, place)
    return _EagerRoots.apply(a, *settings)


def solve_function(*inputs: Any) -> Tensor:
    """X of the inputs of `_Lyapunov`."""
    if torch.compiler.is_compiling():
        from ._in_graph import apply_lyapunov

        return apply_lyapunov(*inputs)
    return _Lyapunov.apply(*inputs)
