"""Distances between Gaussians, squared and differentiable: Bures–Wasserstein, Fréchet, transport maps, barycentres.

Computed in float64, whatever the dtype.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .._autocast import without_autocast
from .._checks import check_argument, check_pair, checked_scale, indefinite_level
from .._place import place_of
from .._real import COMPLEX, HALF, as_given, as_real
from .._spectrum import null_level
from .._transforms import tracked
from ..methods._eigen import NULL
from ._barycenter import Barycenter
from ._transport import distance, factors_of, squared_distance, transport_map

__all__ = ["bures_wasserstein", "frechet", "gaussian_barycenter", "optimal_transport_map"]


def bures_wasserstein(A: Tensor, B: Tensor) -> Tensor:
    """Squared Bures–Wasserstein distance tr(A + B − 2(A^{1/2}BA^{1/2})^{1/2}), differentiable.

    That is the squared 2-Wasserstein distance between Gaussians of the same mean with these covariances.

    Parameters
    ----------
    A, B : Tensor
        ``(..., n, n)``, symmetric or Hermitian positive semidefinite, of the same dtype and device; batch axes
        broadcast.

    Returns
    -------
    Tensor
        ``(...)``, real, of the precision of A; not negative.

    Raises
    ------
    TypeError, ValueError
        A or B is not a floating-point or complex tensor of square matrices, or they do not match.
    torch.linalg.LinAlgError
        A matrix is not finite, symmetric and positive semidefinite, each beyond rounding.

    Notes
    -----
    Costs two Cholesky factorisations, one product and one singular value decomposition, of singular values alone
    where no gradient is wanted and no distance is close to 0; for singular matrices an eigendecomposition each more.

    The gradient with respect to A is I − T, with T of `optimal_transport_map`; it is 0 at A = B. Where A is singular,
    it is that for A of constant rank, right through A = CCᵀ; the derivative in other directions is infinite. Second
    derivatives need definite matrices, and are NaN elsewhere: where eigenvalues of (AB)^{1/2} are below about
    √(n·eps) times the largest.

    Examples
    --------
    >>> import torch, sqrtm
    >>> A, B = torch.eye(3), 4 * torch.eye(3)
    >>> sqrtm.distances.bures_wasserstein(A, B)
    tensor(3.)
    """
    return _distance(A, B, "bures_wasserstein")


def frechet(mu1: Tensor, A: Tensor, mu2: Tensor, B: Tensor) -> Tensor:
    """Squared Fréchet distance ‖μ₁ − μ₂‖² + tr(A + B − 2(AB)^{1/2}) between Gaussians, differentiable.

    Of features of two sets of images, this is the Fréchet Inception distance (FID).

    Parameters
    ----------
    mu1, mu2 : Tensor
        ``(..., n)``, the means.
    A, B : Tensor
        ``(..., n, n)``, the covariances: see `bures_wasserstein`, as for errors, cost and gradient. All of the same
        dtype and device; batch axes broadcast. The values of the means are not checked: NaN gives NaN.

    Returns
    -------
    Tensor
        ``(...)``, real, of the precision of A; not negative.

    References
    ----------
    Dowson & Landau, *The Fréchet distance between multivariate normal distributions*, J. Multivariate Anal. 12 (1982)
    450–455; Heusel, Ramsauer, Unterthiner, Nessler & Hochreiter, *GANs trained by a two time-scale update rule
    converge to a local Nash equilibrium*, NeurIPS 2017.

    Examples
    --------
    >>> import torch, sqrtm
    >>> sqrtm.distances.frechet(torch.zeros(2), torch.eye(2), torch.ones(2), 4 * torch.eye(2))
    tensor(4.)
    """
    check_pair("A", A, "B", B, "frechet")
    for name, mu in (("mu1", mu1), ("mu2", mu2)):
        if not isinstance(mu, Tensor) or mu.dtype != A.dtype or mu.device != A.device:
            raise TypeError(f"frechet: {name} must be a tensor of A's dtype and device, {A.dtype} on {A.device}")
        if mu.shape[-1:] != A.shape[-1:]:
            raise ValueError(f"frechet: {name} {tuple(mu.shape)} and A {tuple(A.shape)} do not match")
    parts = [torch.view_as_real(mu).flatten(-2) if mu.is_complex() else mu for mu in (mu1, mu2)]
    means = (parts[0].double() - parts[1].double()).square().sum(-1)
    try:
        torch.broadcast_shapes(means.shape, A.shape[:-2], B.shape[:-2])
    except RuntimeError:
        raise ValueError(f"frechet: means {tuple(means.shape)} and matrices do not broadcast") from None
    return (means + _wide_distance(A, B, "frechet")).to(A.real.dtype)


def optimal_transport_map(A: Tensor, B: Tensor) -> Tensor:
    """The T ⪰ 0 with TAT = B: x ↦ Tx is the optimal transport from N(0, A) to N(0, B). Differentiable.

    T = A^{-1/2}(A^{1/2}BA^{1/2})^{1/2}A^{-1/2}, the geometric mean of A⁻¹ and B. Where A is singular, the symmetric T
    that transports what A has, and is 0 between vectors of its null space, so that it is not semidefinite there; TAT
    is B if the rank of A is not less than that of B.

    Parameters and errors are those of `bures_wasserstein`, the cost that of its gradient. Derivatives are NaN where
    second derivatives of that are.

    Returns
    -------
    Tensor
        ``(..., n, n)``.

    References
    ----------
    Peyré & Cuturi, *Computational Optimal Transport*, Found. Trends Mach. Learn. 11 (2019), Remark 2.31.

    Examples
    --------
    >>> import torch, sqrtm
    >>> sqrtm.distances.optimal_transport_map(torch.eye(2), 4 * torch.eye(2))
    tensor([[2., 0.],
            [0., 2.]])
    """
    check_pair("A", A, "B", B, "optimal_transport_map")
    if not A.numel() or not B.numel():
        return (A + B).clone()
    a, b = _checked(A, "optimal_transport_map(A)"), _checked(B, "optimal_transport_map(B)")
    return as_given(transport_map(a, b, _null(A.dtype, a.shape[-1])), A.dtype)


def gaussian_barycenter(
    A: Tensor, weights: Tensor | None = None, *, tol: float = 1e-8, max_steps: int = 1000
) -> Tensor:
    """The covariance S of the Wasserstein barycentre of Gaussians: the least Σ wᵢ d²(S, Aᵢ). Differentiable, once.

    By the fixed-point iteration S ← MSM with M = Σ wᵢ T(S → Aᵢ), which is I at the solution. The gradient, with
    respect to matrices and weights, is that of the equation M = I, whose derivative in S is inverted by conjugate
    gradients. The mean of the barycentre is the weighted mean of the means.

    Parameters
    ----------
    A : Tensor
        ``(..., N, n, n)``, covariances as for `bures_wasserstein`; a definite one with a weight among each N is enough
        for the barycentre to be definite, as it must be.
    weights : Tensor, optional
        ``(N,)`` or ``(..., N)``, not negative; divided by their sum. Equal ones if not given.
    tol : float
        Largest ‖M − I‖_F/√n.
    max_steps : int
        Most steps.

    Returns
    -------
    Tensor
        ``(..., n, n)``.

    Raises
    ------
    TypeError, ValueError, torch.linalg.LinAlgError
        As `bures_wasserstein`; weights that are negative, or all zero; and LinAlgError if so many steps are not enough.

    Notes
    -----
    A step costs N transport maps; the gradient 4N products for each step of conjugate gradients, of which there are
    the more the more different the matrices are. Rounding keeps M from I for the largest κ. Not for vmap and
    torch.compile: the number of steps depends on values.

    References
    ----------
    Álvarez-Esteban, del Barrio, Cuesta-Albertos & Matrán, *A fixed-point approach to barycenters in Wasserstein space*,
    J. Math. Anal. Appl. 441 (2016) 744–762.

    Examples
    --------
    >>> import torch, sqrtm
    >>> A = torch.stack([torch.eye(2), 9 * torch.eye(2)])
    >>> sqrtm.distances.gaussian_barycenter(A)
    tensor([[4., 0.],
            [0., 4.]])
    """
    check_argument("A", A, "gaussian_barycenter")
    if A.ndim < 3 or not A.numel():
        raise ValueError(f"gaussian_barycenter: A must have shape (..., N, n, n), N and n not 0, got {tuple(A.shape)}")
    w = torch.ones(A.shape[-3], device=A.device) if weights is None else weights
    if not isinstance(w, Tensor) or w.is_complex():
        got = w.dtype if isinstance(w, Tensor) else type(w).__name__
        raise TypeError(f"gaussian_barycenter: weights must be a tensor of real numbers, got {got}")
    if not (tol > 0 and max_steps >= 1):
        raise ValueError(f"gaussian_barycenter: tol and max_steps must be positive, got {tol!r} and {max_steps!r}")
    if w.shape != A.shape[-3:-2] and w.shape != A.shape[:-2]:
        raise ValueError(f"gaussian_barycenter: weights {tuple(w.shape)} and A {tuple(A.shape)} do not match")
    w = w.double()
    total = w.sum(-1, keepdim=True)
    if not ((w >= 0).all() and (total > 0).all() and total.isfinite().all()):
        raise ValueError("gaussian_barycenter: weights must be finite and not negative, and not all 0")
    a = _checked(A, "gaussian_barycenter")
    return as_given(Barycenter.apply(a, (w / total).expand(a.shape[:-2]), tol, max_steps), A.dtype)


def _distance(A: Tensor, B: Tensor, caller: str) -> Tensor:
    check_pair("A", A, "B", B, caller)
    return _wide_distance(A, B, caller).to(A.real.dtype)


@without_autocast
def _wide_distance(A: Tensor, B: Tensor, caller: str) -> Tensor:
    """d² in float64."""
    batch = torch.broadcast_shapes(A.shape[:-2], B.shape[:-2])
    if not A.numel() or not B.numel():
        return (A.diagonal(dim1=-2, dim2=-1).sum(-1) + B.diagonal(dim1=-2, dim2=-1).sum(-1)).real.double()
    a, b = _checked(A, f"{caller}(A)"), _checked(B, f"{caller}(B)")
    if not tracked(a) and not tracked(b):
        found = squared_distance(a, b).expand(batch)
    else:
        factors = factors_of(a, b, _null(A.dtype, a.shape[-1]))
        shape = (*batch, *a.shape[-2:])
        found = distance(a.expand(shape), b.expand(shape), *factors)
    return found / 2 if A.dtype in COMPLEX else found  # `as_real` has every dimension twice


def _checked(A: Tensor, caller: str) -> Tensor:
    """``A`` in float64, as real matrices, if all are as they must be, but for what rounding to half precision does."""
    a = as_real(A)
    judged = a.detach()
    if A.dtype in HALF:
        level = indefinite_level(A.shape[-1], A.dtype) * torch.linalg.matrix_norm(judged, keepdim=True)
        judged = judged + level * torch.eye(A.shape[-1], device=A.device)
    scale = checked_scale(judged, caller, A.dtype, False, list(place_of(A.shape[:-2])))
    a = (a / scale).double() * scale.double()  # exact; a compiler would drop a check whose result is not used
    return (a + a.mT) / 2


def _null(dtype: torch.dtype, n: int) -> float:
    """Relative size up to which an eigenvalue of what was given in this dtype may be the rounding of a zero."""
    return NULL[torch.float32] if dtype in (*HALF, torch.float32, torch.complex64) else null_level(n, torch.float64)
