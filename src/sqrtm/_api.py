"""The public functions."""

from __future__ import annotations

import torch
from torch import Tensor

from ._auto import choose, why
from ._checks import check_argument
from ._info import Info
from ._lyapunov import solve
from ._place import place_of
from ._real import COMPLEX, as_real
from ._roots import GradientLike, MethodLike, roots, roots_ex
from .gradients import LyapunovChebyshev, implicit_roots
from .methods import SelfChecking


def sqrtm(
    A: Tensor,
    *,
    method: MethodLike = "auto",
    gradient: GradientLike = "auto",
    max_workspace_bytes: int | None = None,
) -> Tensor:
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
    max_workspace_bytes : int, optional
        Memory for intermediate results, those of the gradient included. A batch that would take more is
        computed in chunks, of one matrix at least, with the same results and gradients but for rounding. Not in it
        are the results (once more while they are joined, if a gradient is recorded) and what is saved for the
        gradient, nor the memory that is kept between calls. Batches of up to 4096 elements may be computed at
        once all the same, and under `torch.func.vmap`, which hides the batch, all are; `torch.export` and
        `torch.compile` fix the number of chunks for the batch that they see. Many small chunks are slower.

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
    return roots(A, method, gradient, "sqrtm", max_workspace_bytes)[0]


def invsqrtm(
    A: Tensor,
    *,
    method: MethodLike = "auto",
    gradient: GradientLike = "auto",
    pseudo_inverse: bool = False,
    max_workspace_bytes: int | None = None,
) -> Tensor:
    """Inverse square root A^{-1/2} of symmetric positive definite matrices, differentiable.

    Parameters, result and errors are those of `sqrtm`; a matrix that is singular to working
    precision is an error here (smallest eigenvalue at most max(n, 16)·eps times the largest; in float32 with
    "auto" and "minimax", which look in float64, 4·eps). Costs what `sqrtm_pair` costs.

    Parameters
    ----------
    pseudo_inverse : bool
        Of a singular matrix return the root of the pseudo-inverse: 0 on its null space, A^{-1/2} on the rest. Its
        first derivative is that for A of constant rank, higher ones are NaN. With method "auto", "minimax" or "eigh"
        (which is then in float64) and gradient "auto" or "lyapunov-chebyshev".

    Examples
    --------
    >>> import torch, sqrtm
    >>> sqrtm.invsqrtm(torch.tensor([[4.0, 0.0], [0.0, 16.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])
    """
    _, z = roots(A, method, gradient, "invsqrtm", max_workspace_bytes, inverse=True, pseudo_inverse=pseudo_inverse)
    assert z is not None
    return z


def sqrtm_pair(
    A: Tensor,
    *,
    method: MethodLike = "auto",
    gradient: GradientLike = "auto",
    pseudo_inverse: bool = False,
    max_workspace_bytes: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Both A^{1/2} and A^{-1/2}, differentiable jointly, for about the price of one.

    Parameters and errors are those of `invsqrtm`. A loss that uses both roots is differentiated by
    a single Lyapunov solve.

    Returns
    -------
    S, Z : Tensor
        ``(..., n, n)``, with S² = A, Z² = A⁻¹ and SZ = I.
    """
    s, z = roots(A, method, gradient, "sqrtm_pair", max_workspace_bytes, inverse=True, pseudo_inverse=pseudo_inverse)
    assert z is not None
    return s, z


def sqrtm_ex(
    A: Tensor,
    *,
    method: MethodLike = "auto",
    gradient: GradientLike = "auto",
    max_workspace_bytes: int | None = None,
) -> tuple[Tensor, Info]:
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
    s, _, info = roots_ex(A, method, gradient, "sqrtm_ex", max_workspace_bytes)
    return s, info


def sqrtm_pair_ex(
    A: Tensor,
    *,
    method: MethodLike = "auto",
    gradient: GradientLike = "auto",
    pseudo_inverse: bool = False,
    max_workspace_bytes: int | None = None,
) -> tuple[Tensor, Tensor, Info]:
    """`sqrtm_pair` that raises for no value of A, and tells what is proven of every matrix.

    As `sqrtm_ex`; a singular matrix is NaN in both results, and ``converged`` is about both. With ``pseudo_inverse``
    it is not, and its status still "singular": nothing is proven of a pseudo-inverse.

    Returns
    -------
    S, Z : Tensor
        ``(..., n, n)``.
    info : Info
        See `sqrtm_ex`.
    """
    s, z, info = roots_ex(
        A, method, gradient, "sqrtm_pair_ex", max_workspace_bytes, inverse=True, pseudo_inverse=pseudo_inverse
    )
    assert z is not None
    return s, z, info


def invsqrtm_ex(
    A: Tensor,
    *,
    method: MethodLike = "auto",
    gradient: GradientLike = "auto",
    pseudo_inverse: bool = False,
    max_workspace_bytes: int | None = None,
) -> tuple[Tensor, Info]:
    """`invsqrtm` that raises for no value of A, and tells what is proven of every matrix, as `sqrtm_pair_ex`.

    Returns
    -------
    Z : Tensor
        ``(..., n, n)``.
    info : Info
        See `sqrtm_ex`.
    """
    _, z, info = roots_ex(
        A, method, gradient, "invsqrtm_ex", max_workspace_bytes, inverse=True, pseudo_inverse=pseudo_inverse
    )
    assert z is not None
    return z, info


def solve_lyapunov(
    S: Tensor,
    G: Tensor,
    *,
    method: MethodLike = "auto",
    gradient: GradientLike = "auto",
    max_workspace_bytes: int | None = None,
) -> Tensor:
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
        How the equation is solved: "auto" or "eigh", in the eigenbasis of S, with the rule of
        `LyapunovEigh`; "minimax" with that of `LyapunovChebyshev`; or "newton-schulz" with that of
        `LyapunovNewtonSchulz`. Other methods have no form for this equation.
    gradient : str or Gradient
        How the solution is differentiated: by default as it was solved; else by another Lyapunov
        solve ("lyapunov-eigh", "lyapunov-chebyshev", …), or "unrolled", through
        the steps of "newton-schulz". No eigenvalue of S counts as zero unless `LyapunovEigh` is given
        with an rtol.
    max_workspace_bytes : int, optional
        As for `sqrtm`.

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
    return solve(S, G, method, gradient, max_workspace_bytes)


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
            place = place_of(A.shape[:-2])
            _, _, verdict, ends, *_ = implicit_roots(flat, method, rule, False, False, "explain", A.dtype, place)
        assert ends is not None
        by_eigen = ends[:, 0] < 0
        steps = torch.zeros_like(by_eigen, dtype=torch.int64) if verdict is None else verdict[:, 1]
        if not by_eigen.all():
            least, most = steps[~by_eigen].aminmax()
            how = f"minimax, {least} to {most} steps" if most else "closed form"
            lines.append(f"{int((~by_eigen).sum())} by {how}: gradient by lyapunov-chebyshev")
        if by_eigen.any():
            lines.append(f"{int(by_eigen.sum())} by eigenvalues: gradient by lyapunov-eigh, with the same eigenvectors")
    return "\n".join(lines)
