"""The public functions: check → scale and symmetrise → flatten the batch → choose → run → reshape."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from ._auto import Auto, as_gradient, as_method, choose, why
from ._autocast import without_autocast
from ._checks import FEW, OK, check_argument, check_values, checked_scale
from ._info import Info, can_inform_one, inform, inform_one
from ._real import COMPLEX, as_given, as_real
from ._transforms import transformed
from .gradients import (
    Gradient,
    ImplicitGradient,
    LyapunovChebyshev,
    LyapunovEigh,
    LyapunovNewtonSchulz,
    MatrixBackprop,
    implicit_roots,
    lyapunov,
)
from .methods import Eigh, Method, Minimax, NewtonSchulz, SelfChecking
from .methods.routed import few_roots

MethodLike = str | Method | Auto
GradientLike = str | Gradient | Auto


def sqrtm(A: Tensor, *, method: MethodLike = "auto", gradient: GradientLike = "auto") -> Tensor:
    """Square root A^{1/2} of symmetric or Hermitian positive semidefinite matrices, differentiable.

    The principal root: the positive semidefinite S with S² = A. Only the symmetric (Hermitian) part
    of A is used, and the gradient with respect to A is symmetric (Hermitian).

    Parameters
    ----------
    A : Tensor
        ``(..., n, n)``, floating-point or complex; any batch shape, strides and device. Half precision is
        computed in float32; complex matrices as real ones of twice the size.
    method : str or Method
        How the root is computed: a name in `sqrtm.METHODS` or a value such as
        ``sqrtm.NewtonSchulz(steps=5)``.
    gradient : str or Gradient
        How it is differentiated: a name in `sqrtm.GRADIENTS` or a value.

    Returns
    -------
    Tensor
        ``(..., n, n)``, of A's dtype and device.

    Raises
    ------
    TypeError, ValueError
        A is not a floating-point or complex tensor of square matrices, or a name is unknown.
    torch.linalg.LinAlgError
        A matrix is not finite, not symmetric or has a negative eigenvalue, each beyond rounding
        (‖A − Aᵀ‖_F > max(√eps, 1e-5)·‖A‖_F; λ < −max(n, 128)·eps·‖A‖₂; both 4·eps in half precision), or is
        singular and the method inverts it. Never because the method stopped short of convergence.

    Notes
    -----
    "auto" and "minimax" see by themselves whether A is semidefinite. With other methods a call takes one
    Cholesky factorisation to check for negative eigenvalues, and one more where A must be invertible, and
    each matrix is divided by a power of 4 first and the root multiplied by its square root, both exactly. So
    the size of A does not matter.

    Examples
    --------
    >>> import torch, sqrtm
    >>> sqrtm.sqrtm(torch.tensor([[5.0, 4.0], [4.0, 5.0]]))
    tensor([[2., 1.],
            [1., 2.]])
    """
    return _roots(A, method, gradient, inverse=False, caller="sqrtm")[0]


def invsqrtm(A: Tensor, *, method: MethodLike = "auto", gradient: GradientLike = "auto") -> Tensor:
    """Inverse square root A^{-1/2} of symmetric positive definite matrices, differentiable.

    Parameters, result and errors are those of `sqrtm`; a matrix that is singular to working
    precision is an error here (smallest eigenvalue at most max(n, 16)·eps times the largest; in float32 with
    "auto" and "minimax", which look in float64, 4·eps). Costs what `sqrtm_pair` costs.

    Examples
    --------
    >>> import torch, sqrtm
    >>> sqrtm.invsqrtm(torch.tensor([[4.0, 0.0], [0.0, 16.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])
    """
    return _pair(A, method, gradient, "invsqrtm")[1]


def sqrtm_pair(A: Tensor, *, method: MethodLike = "auto", gradient: GradientLike = "auto") -> tuple[Tensor, Tensor]:
    """Both A^{1/2} and A^{-1/2}, differentiable jointly, for about the price of one.

    Parameters and errors are those of `invsqrtm`. A loss that uses both roots is differentiated by
    a single Lyapunov solve.

    Returns
    -------
    S, Z : Tensor
        ``(..., n, n)``, with S² = A, Z² = A⁻¹ and SZ = I.
    """
    return _pair(A, method, gradient, "sqrtm_pair")


def sqrtm_ex(A: Tensor, *, method: MethodLike = "auto", gradient: GradientLike = "auto") -> tuple[Tensor, Info]:
    """`sqrtm` that raises for no value of A, and tells what is proven of every matrix.

    Parameters are those of `sqrtm`. Costs, besides `sqrtm`, up to five products and five Cholesky factorisations a
    matrix in float64, and one eigendecomposition for a float32 matrix that is close to singular. For half precision
    ``info`` is about the root before it is rounded to it.

    Returns
    -------
    S : Tensor
        ``(..., n, n)``; NaN for a matrix that `sqrtm` would reject, which leaves the others, and their
        gradients, alone.
    info : Info
        Tensors of the shape of the batch: status, residual, error_bound, inverse_error_bound, steps, converged.

    Examples
    --------
    >>> import torch, sqrtm
    >>> A = torch.stack([torch.eye(3) * 4, -torch.eye(3)])
    >>> S, info = sqrtm.sqrtm_ex(A)
    >>> info.converged
    tensor([ True, False])
    >>> [sqrtm.STATUSES[code] for code in info.status.tolist()]
    ['ok', 'indefinite']
    """
    s, _, info = _roots_ex(A, method, gradient, inverse=False, caller="sqrtm_ex")
    return s, info


def sqrtm_pair_ex(
    A: Tensor, *, method: MethodLike = "auto", gradient: GradientLike = "auto"
) -> tuple[Tensor, Tensor, Info]:
    """`sqrtm_pair` that raises for no value of A, and tells what is proven of every matrix.

    As `sqrtm_ex`; a singular matrix is NaN in both results, and ``converged`` is about both.

    Returns
    -------
    S, Z : Tensor
        ``(..., n, n)``.
    info : Info
        See `sqrtm_ex`.
    """
    s, z, info = _roots_ex(A, method, gradient, inverse=True, caller="sqrtm_pair_ex")
    assert z is not None
    return s, z, info


def invsqrtm_ex(A: Tensor, *, method: MethodLike = "auto", gradient: GradientLike = "auto") -> tuple[Tensor, Info]:
    """`invsqrtm` that raises for no value of A, and tells what is proven of every matrix, as `sqrtm_pair_ex`.

    Returns
    -------
    Z : Tensor
        ``(..., n, n)``.
    info : Info
        See `sqrtm_ex`.
    """
    _, z, info = _roots_ex(A, method, gradient, inverse=True, caller="invsqrtm_ex")
    assert z is not None
    return z, info


def solve_lyapunov(S: Tensor, G: Tensor, *, method: MethodLike = "auto", gradient: GradientLike = "auto") -> Tensor:
    """Solve S X + X S = G for symmetric positive definite S: the derivative of A^{1/2} at A = S².

    Differentiable in S and G to any order.

    Parameters
    ----------
    S : Tensor
        ``(..., n, n)``, floating-point or complex, symmetric or Hermitian, positive definite.
    G : Tensor
        ``(..., n, n)``, of the same dtype and device; need not be symmetric. Batch axes broadcast. Its
        values are not checked: NaN in a matrix of G gives NaN in that X.
    method : str or Method
        How the equation is solved: "eigh" (the default), in the eigenbasis of S, with the rule of
        `LyapunovEigh`; "minimax" with that of `LyapunovChebyshev`; or "newton-schulz" with that of
        `LyapunovNewtonSchulz`. Other methods have no form for this equation.
    gradient : str or Gradient
        How the solution is differentiated: by default as it was solved; else by another Lyapunov
        solve ("lyapunov-eigh", "lyapunov-chebyshev", …), or "unrolled", through
        the steps of "newton-schulz". No eigenvalue of S counts as zero unless `LyapunovEigh` is given
        with an rtol.

    Returns
    -------
    Tensor
        X, ``(..., n, n)``.

    Raises
    ------
    TypeError, ValueError
        S or G is not a floating-point or complex tensor of square matrices, they do not match, or method
        or gradient does not apply.
    torch.linalg.LinAlgError
        A matrix in S is not finite, not symmetric or not positive definite.

    Examples
    --------
    >>> import torch, sqrtm
    >>> sqrtm.solve_lyapunov(torch.tensor([[1.0, 0.0], [0.0, 3.0]]), torch.ones(2, 2))
    tensor([[0.5000, 0.2500],
            [0.2500, 0.1667]])
    """
    rule, adjoint = _lyapunov_rules(as_method(method), as_gradient(gradient))
    batch = _check_equation(S, G)
    _check_dtype(adjoint, S.dtype)
    shape = (*batch, *S.shape[-2:])
    if 0 in shape:
        return G.expand(shape).clone()
    s, g = as_real(S), as_real(G)
    scale = checked_scale(s.detach(), "solve_lyapunov", S.dtype, True)
    x = _solve(s / scale, g / scale, rule, adjoint, (*batch, *s.shape[-2:]))
    return as_given(x, S.dtype)


def _pair(A: Tensor, method: MethodLike, gradient: GradientLike, caller: str) -> tuple[Tensor, Tensor]:
    s, z = _roots(A, method, gradient, True, caller)
    assert z is not None
    return s, z


def _roots(
    A: Tensor, method: MethodLike, gradient: GradientLike, inverse: bool, caller: str
) -> tuple[Tensor, Tensor | None]:
    """A^{1/2} and, if ``inverse``, A^{-1/2}."""
    check_argument("A", A, caller)
    a = as_real(A)
    z: Tensor | None
    if method == gradient == "auto" and 0 < a.numel() <= FEW and _plain(a):
        found = few_roots(a, inverse)
        if found is not None:
            s, z, _ = found
            return as_given(s, A.dtype), None if z is None else as_given(z, A.dtype)
    chosen_method, rule = _choose(method, gradient, a, A.dtype)
    if not A.numel():
        return A.clone(), A.clone() if inverse else None
    if isinstance(chosen_method, SelfChecking):
        s, z, _ = _self_checked_roots(a, chosen_method, rule, inverse, caller, A.dtype)
    else:
        scale = checked_scale(a.detach(), caller, A.dtype, inverse or chosen_method.definite)
        s, z = _scaled_roots(a / scale, chosen_method, rule, inverse)
        s, z = s * scale.sqrt(), None if z is None else z / scale.sqrt()
    return as_given(s, A.dtype), None if z is None else as_given(z, A.dtype)


def _plain(a: Tensor) -> bool:
    """Nothing is to be computed but roots on the CPU."""
    if a.device.type != "cpu" or torch.compiler.is_compiling() or transformed():
        return False
    return not (torch.is_grad_enabled() and a.requires_grad)


def _choose(method: MethodLike, gradient: GradientLike, a: Tensor, dtype: torch.dtype) -> tuple[Method, Gradient]:
    """Method and gradient for ``a``, given in ``dtype``, which fit each other and it."""
    chosen_method, rule = choose(method, gradient, a)
    rule.check(chosen_method)
    _check_dtype(rule, dtype)
    return chosen_method, rule


def _check_dtype(rule: Gradient | None, dtype: torch.dtype) -> None:
    if dtype in COMPLEX and isinstance(rule, MatrixBackprop):
        raise ValueError(
            "matrix-backprop divides by differences of eigenvalues, and those of a complex matrix are all double in the"
            " real one that is computed with; use 'lyapunov-eigh'"
        )


@without_autocast
def _self_checked_roots(
    a: Tensor, method: SelfChecking, rule: Gradient, inverse: bool, caller: str, dtype: torch.dtype
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The roots, and flat their status and steps, if any; with an empty ``caller`` nothing is raised."""
    assert isinstance(rule, ImplicitGradient)  # what checks itself has no steps to unroll
    flat = a.reshape(a.shape[:-2].numel(), *a.shape[-2:])
    s, z, verdict, *_ = implicit_roots(flat, method, rule, inverse, caller, dtype, a.shape[:-2])
    assert s is not None
    return s.reshape(a.shape), None if z is None else z.reshape(a.shape), verdict


def _roots_ex(
    A: Tensor, method: MethodLike, gradient: GradientLike, inverse: bool, caller: str
) -> tuple[Tensor, Tensor | None, Info]:
    check_argument("A", A, caller)
    a, batch = as_real(A), A.shape[:-2]
    if method == gradient == "auto" and not inverse and can_inform_one(A) and _plain(A):
        found = few_roots(A, False)
        info = None if found is None else inform_one(A, found[0], found[2])
        if found is not None and info is not None:
            return found[0], None, info
    a = a.reshape(batch.numel(), *a.shape[-2:])
    chosen_method, rule = _choose(method, gradient, a, A.dtype)
    if not A.numel():
        nothing = a.new_zeros(batch, dtype=torch.float64)
        codes = nothing.long()
        return A.clone(), A.clone() if inverse else None, Info(codes, nothing, nothing, nothing, codes, codes == 0)
    z: Tensor | None
    if isinstance(chosen_method, SelfChecking):
        s, z, told = _self_checked_roots(a, chosen_method, rule, inverse, "", A.dtype)
        verdict = torch.zeros(len(a), 2, dtype=torch.int64, device=a.device) if told is None else told
        ok = (verdict[:, 0] == OK)[:, None, None]
        s, z = torch.where(ok, s, torch.nan), None if z is None else torch.where(ok, z, torch.nan)
    else:
        codes, scale = check_values(a.detach(), inverse or chosen_method.definite, A.dtype)
        ok = (codes == OK)[:, None, None]
        identity = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
        s, z = _scaled_roots(torch.where(ok, a / scale, identity), chosen_method, rule, inverse)
        s = torch.where(ok, s * scale.sqrt(), torch.nan)
        z = None if z is None else torch.where(ok, z / scale.sqrt(), torch.nan)
        steps = getattr(chosen_method, "steps", 0)
        verdict = torch.stack([codes, torch.full_like(codes, steps)], -1)
    with torch.no_grad():
        info = inform(a.detach(), s.detach(), None if z is None else z.detach(), verdict, A.dtype)
    root, inverse_root = (None if x is None else as_given(x, A.dtype).reshape(A.shape) for x in (s, z))
    assert root is not None
    return root, inverse_root, Info(*(x.reshape(batch) for x in info))


@without_autocast
def _scaled_roots(a: Tensor, method: Method, rule: Gradient, inverse: bool) -> tuple[Tensor, Tensor | None]:
    flat = ((a + a.mT) / 2).reshape(a.shape[:-2].numel(), *a.shape[-2:])
    s, z = rule.roots(method, flat, inverse)
    return s.reshape(a.shape), None if z is None else z.reshape(a.shape)


@without_autocast
def _solve(
    s: Tensor, g: Tensor, rule: ImplicitGradient, adjoint: ImplicitGradient | None, shape: tuple[int, ...]
) -> Tensor:
    flat = (prod(shape[:-2]), *shape[-2:])
    s = ((s + s.mT) / 2).expand(shape).reshape(flat)
    g = g.expand(shape).reshape(flat)
    if adjoint is None:
        return rule.solve(s, g, (), symmetric=False).reshape(shape)
    return lyapunov(rule, s, g, symmetric=False, adjoint=adjoint).reshape(shape)


def _lyapunov_rules(
    method: Method | Auto, gradient: Gradient | Auto
) -> tuple[ImplicitGradient, ImplicitGradient | None]:
    """The rule that solves the equation and the one that differentiates it, None for autograd."""
    definite_eigh = LyapunovEigh(rtol=0.0)  # S is definite: no eigenvalue counts as zero
    rule: ImplicitGradient
    if isinstance(method, NewtonSchulz) and method.scaling == "frobenius":
        rule = LyapunovNewtonSchulz(steps=method.steps)
    elif isinstance(method, Minimax):
        rule = LyapunovChebyshev()
    elif isinstance(method, (Auto, Eigh)):
        rule = definite_eigh
    else:
        known = "'eigh', 'minimax' or 'newton-schulz'"
        raise ValueError(f"solve_lyapunov: {method} has no form for this equation; use {known}")
    if isinstance(gradient, Auto):
        return rule, rule
    if isinstance(gradient, ImplicitGradient):
        return rule, definite_eigh if gradient == LyapunovEigh() else gradient
    gradient.check(NewtonSchulz() if isinstance(method, NewtonSchulz) else Eigh())
    return rule, None


def _check_equation(S: Tensor, G: Tensor) -> torch.Size:
    """Check S and G and return their common batch shape."""
    caller = "solve_lyapunov"
    check_argument("S", S, caller)
    check_argument("G", G, caller)
    if S.dtype != G.dtype or S.device != G.device:
        raise TypeError(
            f"{caller}: S and G must agree in dtype and device, got {S.dtype} on {S.device} and {G.dtype} on {G.device}"
        )
    try:
        if S.shape[-1] == G.shape[-1]:
            return torch.broadcast_shapes(S.shape[:-2], G.shape[:-2])
    except RuntimeError:  # the batch axes do not broadcast
        pass
    raise ValueError(f"{caller}: S {tuple(S.shape)} and G {tuple(G.shape)} do not match")


def explain(A: Tensor) -> str:
    """What ``method="auto"`` and ``gradient="auto"`` would run on these matrices, and why, for people to read.

    Costs what `sqrtm` costs. Errors are those of `sqrtm`.

    Examples
    --------
    >>> import torch, sqrtm
    >>> print(sqrtm.explain(torch.eye(64).repeat(128, 1, 1)))
    128 matrices 64 × 64, float32, cpu
    n ≥ 16: κ provably ≤ 19: minimax; Cholesky pivots within a factor of 2000: minimax; others: eigh in float64
    128 by minimax, 1 to 1 steps: gradient by lyapunov-chebyshev
    """
    check_argument("A", A, "explain")
    if torch._C._functorch.is_batchedtensor(A):
        raise NotImplementedError("explain does not work under vmap; it takes batches of any shape: call it on one")
    a = as_real(A)
    method, rule = choose("auto", "auto", a)
    batch, n = A.shape[:-2].numel(), A.shape[-1]
    real = f", as real ones {2 * n} × {2 * n}" if A.dtype in COMPLEX else ""
    lines = [f"{batch} matri{'x' if batch == 1 else 'ces'} {n} × {n}, {str(A.dtype)[6:]}, {A.device}{real}"]
    lines.append(why(method, a))
    if isinstance(method, SelfChecking) and A.numel():
        assert isinstance(rule, LyapunovChebyshev)
        with torch.enable_grad():  # what is kept for the gradient tells how each was computed
            flat = a.detach().reshape(batch, *a.shape[-2:]).requires_grad_()
            _, _, verdict, ends, *_ = implicit_roots(flat, method, rule, False, "explain", A.dtype, A.shape[:-2])
        assert ends is not None
        by_eigen = ends[:, 0] < 0
        steps = torch.zeros(batch, dtype=torch.int64) if verdict is None else verdict[:, 1]
        if not by_eigen.all():
            least, most = steps[~by_eigen].aminmax()
            how = f"minimax, {least} to {most} steps" if most else "closed form"
            lines.append(f"{int((~by_eigen).sum())} by {how}: gradient by lyapunov-chebyshev")
        if by_eigen.any():
            lines.append(f"{int(by_eigen.sum())} by eigenvalues: gradient by lyapunov-eigh, with the same eigenvectors")
    return "\n".join(lines)
