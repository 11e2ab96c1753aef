"""What the public functions of roots have in common: check → choose → run, all at once or in chunks."""

from __future__ import annotations

import torch
from torch import Tensor

from ._auto import Auto, as_gradient, as_method, choose
from ._autocast import without_autocast
from ._checks import FEW, OK, SINGULAR, check_argument, check_values, checked_scale
from ._chunks import check_limit, flattened, in_chunks
from ._info import Info, can_inform_one, inform, inform_one
from ._place import Place, place_of
from ._real import COMPLEX, as_given, as_real
from ._spectrum import largest_entry, power_of_four
from ._transforms import tracked
from .gradients import Gradient, ImplicitGradient, LyapunovChebyshev, MatrixBackprop, implicit_roots
from .methods import Eigh, Method, Minimax, SelfChecking
from .methods.routed import BY_EIGENVALUES, few_roots

MethodLike = str | Method | Auto
GradientLike = str | Gradient | Auto
WORKSPACE, WORKSPACE_EX = 36, 48
"""Most that a call has at a time, results and gradient included, in real matrices of the dtype computed in, a matrix;
measured at most 31 and 41, of `Minimax` with `MatrixBackprop` at κ = 1e6."""


def roots(
    A: Tensor,
    method: MethodLike,
    gradient: GradientLike,
    caller: str,
    limit: int | None,
    inverse: bool = False,
    pseudo_inverse: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """A^{1/2} and, if ``inverse``, A^{-1/2}; in no more than ``limit`` bytes at a time."""
    _check(A, limit, pseudo_inverse, caller)
    if method == gradient == "auto" and _few(A):
        found = few_roots(as_real(A), inverse)
        if found is not None:
            s, z, _ = found
            return as_given(s, A.dtype), None if z is None else as_given(z, A.dtype)
    chosen, rule = _chosen(A, method, gradient, pseudo_inverse, caller)
    definite = inverse and not pseudo_inverse

    def run(A: Tensor, place: Place) -> tuple[Tensor, Tensor | None]:
        a = as_real(A)
        z: Tensor | None
        if isinstance(chosen, SelfChecking):
            s, z, _ = _self_checked_roots(a, chosen, rule, inverse, definite, caller, A.dtype, place)
        else:
            scale = checked_scale(a.detach(), caller, A.dtype, inverse or chosen.definite, list(place))
            s, z = _scaled_roots(a / scale, chosen, rule, inverse)
            s, z = s * scale.sqrt(), None if z is None else z / scale.sqrt()
        return as_given(s, A.dtype), None if z is None else as_given(z, A.dtype)

    if not A.numel():
        return A.clone(), A.clone() if inverse else None
    return in_chunks(run, (A,), A.shape[:-2], limit, WORKSPACE)


def roots_ex(
    A: Tensor,
    method: MethodLike,
    gradient: GradientLike,
    caller: str,
    limit: int | None,
    inverse: bool = False,
    pseudo_inverse: bool = False,
) -> tuple[Tensor, Tensor | None, Info]:
    """`roots`, which are NaN where A is not as it must be, and what is known of them."""
    _check(A, limit, pseudo_inverse, caller)
    if method == gradient == "auto" and not inverse and _few(A) and can_inform_one(A):
        found = few_roots(A, False)
        info = None if found is None else inform_one(A, found[0], found[2])
        if found is not None and info is not None:
            return found[0], None, info
    chosen, rule = _chosen(A, method, gradient, pseudo_inverse, caller)
    definite = inverse and not pseudo_inverse

    def run(A: Tensor, place: Place) -> tuple[Tensor | None, ...]:
        a = flattened(as_real(A))
        z: Tensor | None
        if isinstance(chosen, SelfChecking):
            s, z, told = _self_checked_roots(a, chosen, rule, inverse, definite, "", A.dtype, place)
            verdict = torch.zeros(len(a), 2, dtype=torch.int64, device=a.device) if told is None else told
            status = verdict[:, 0]
            ok = ((status == OK) | (status == SINGULAR) if pseudo_inverse else status == OK)[:, None, None]
            s, z = torch.where(ok, s, torch.nan), None if z is None else torch.where(ok, z, torch.nan)
        else:
            codes, scale = check_values(a.detach(), inverse or chosen.definite, A.dtype)
            ok = (codes == OK)[:, None, None]
            identity = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
            s, z = _scaled_roots(torch.where(ok, a / scale, identity), chosen, rule, inverse)
            s = torch.where(ok, s * scale.sqrt(), torch.nan)
            z = None if z is None else torch.where(ok, z / scale.sqrt(), torch.nan)
            verdict = torch.stack([codes, torch.full_like(codes, getattr(chosen, "steps", 0))], -1)
        with torch.no_grad():
            info = inform(a.detach(), s.detach(), None if z is None else z.detach(), verdict, A.dtype)
        s, z = as_given(s, A.dtype).reshape(A.shape), None if z is None else as_given(z, A.dtype).reshape(A.shape)
        return s, z, *(x.reshape(A.shape[:-2]) for x in info)

    if not A.numel():
        nothing = torch.zeros(A.shape[:-2], dtype=torch.float64, device=A.device)
        codes = nothing.long()
        return A.clone(), A.clone() if inverse else None, Info(codes, nothing, nothing, nothing, codes, codes == 0)
    s, z, *fields = in_chunks(run, (A,), A.shape[:-2], limit, WORKSPACE_EX)
    return s, z, Info(*fields)


def covariance_roots(
    A: Tensor, method: MethodLike, gradient: GradientLike, inverse: bool = False
) -> tuple[Tensor, Tensor | None]:
    """`roots` of ``(B, n, n)`` that are symmetric and semidefinite as they were made; NaN where A is not finite.

    Nothing is raised, and the device not waited for. The inverse is the pseudo-inverse if method and gradient can tell.
    """
    pseudo_inverse = inverse and knows_null_space(method, gradient)
    chosen, rule = _chosen(A, method, gradient, pseudo_inverse, "")
    largest = largest_entry(A.detach())
    finite = largest.isfinite()
    z: Tensor | None
    if isinstance(chosen, SelfChecking):
        definite = inverse and not pseudo_inverse
        s, z, _ = _self_checked_roots(A, chosen, rule, inverse, definite, "", A.dtype, place_of(A.shape[:-2]))
    else:
        scale = power_of_four(largest)
        identity = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
        s, z = _scaled_roots(torch.where(finite, A / scale, identity), chosen, rule, inverse)
        s, z = s * scale.sqrt(), None if z is None else z / scale.sqrt()
    return torch.where(finite, s, torch.nan), None if z is None else torch.where(finite, z, torch.nan)


def _check(A: Tensor, limit: int | None, pseudo_inverse: bool, caller: str) -> None:
    check_argument("A", A, caller)
    check_limit(limit, caller)
    if not isinstance(pseudo_inverse, bool):
        raise TypeError(f"{caller}: pseudo_inverse must be True or False, got {pseudo_inverse!r}")


def _few(A: Tensor) -> bool:
    """Few elements on the CPU, of which nothing but values is wanted, so that `few_roots` may do."""
    if tracked(A) or not 0 < A.numel() <= FEW:
        return False
    return A.is_cpu and not torch.is_autocast_enabled("cpu")


def _chosen(
    A: Tensor, method: MethodLike, gradient: GradientLike, pseudo_inverse: bool, caller: str
) -> tuple[Method, Gradient]:
    """The method and the gradient for ``A``, which fit each other, it and what is wanted."""
    chosen, rule = choose(method, gradient, A)
    if pseudo_inverse:
        if not knows_null_space(method, gradient):
            given, by = as_method(method), as_gradient(gradient)
            raise ValueError(
                f"{caller}: pseudo_inverse=True needs what knows which eigenvalues count as zero: method 'auto', 'eigh'"
                f" or 'minimax', and gradient 'auto' or 'lyapunov-chebyshev'; got {given.name!r} and {by.name!r}"
            )
        if isinstance(chosen, Eigh):
            chosen, rule = BY_EIGENVALUES, LyapunovChebyshev()
    rule.check(chosen)
    check_dtype(rule, A.dtype)
    return chosen, rule


def knows_null_space(method: MethodLike, gradient: GradientLike) -> bool:
    """Whether these can make a pseudo-inverse."""
    given, by = as_method(method), as_gradient(gradient)
    return isinstance(given, (Auto, Minimax, Eigh)) and isinstance(by, (Auto, LyapunovChebyshev))


def check_dtype(rule: Gradient | None, dtype: torch.dtype) -> None:
    """Raise ValueError if ``rule`` is not for matrices of this dtype."""
    if dtype in COMPLEX and isinstance(rule, MatrixBackprop):
        raise ValueError(
            "matrix-backprop divides by differences of eigenvalues, and those of a complex matrix are all double in the"
            " real one that is computed with; use 'lyapunov-eigh'"
        )


@without_autocast
def _self_checked_roots(
    a: Tensor,
    method: SelfChecking,
    rule: Gradient,
    inverse: bool,
    definite: bool,
    caller: str,
    dtype: torch.dtype,
    place: Place,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The roots, and flat their status and steps, if any; with an empty ``caller`` nothing is raised."""
    assert isinstance(rule, ImplicitGradient)  # what checks itself has no steps to unroll
    flat = flattened(a)
    s, z, verdict, *_ = implicit_roots(flat, method, rule, inverse, definite, caller, dtype, place)
    assert s is not None
    return s.reshape(a.shape), None if z is None else z.reshape(a.shape), verdict


@without_autocast
def _scaled_roots(a: Tensor, method: Method, rule: Gradient, inverse: bool) -> tuple[Tensor, Tensor | None]:
    flat = flattened((a + a.mT) / 2)
    s, z = rule.roots(method, flat, inverse)
    return s.reshape(a.shape), None if z is None else z.reshape(a.shape)
