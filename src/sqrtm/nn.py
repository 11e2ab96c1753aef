"""Layers: covariance pooling, bilinear pooling, whitening."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._auto import as_gradient, as_method, choose
from ._autocast import without_autocast
from ._roots import GradientLike, MethodLike, covariance_roots
from .gradients import Unrolled
from .gradients._covariance_root import CovarianceRoot, by_eigenvalues, covariance, size_of
from .methods import NewtonSchulz

__all__ = ["BilinearPooling", "CovariancePooling", "Whitening"]

FIVE_STEPS = NewtonSchulz(steps=5, scaling="trace")
"""What covariance pooling trains with."""
VECTORS = (None, "triangle", "isometric")


class _Rooted(nn.Module):
    """A layer with a root in it: its method and gradient."""

    def __init__(self, method: MethodLike, gradient: GradientLike) -> None:
        super().__init__()
        self.method, self.gradient = as_method(method), as_gradient(gradient)
        chosen, rule = choose(self.method, self.gradient, torch.empty(0))
        rule.check(chosen)

    @without_autocast
    def root(self, x: Tensor, centered: bool) -> Tensor:
        """The root of the covariance, or of the second moments, of features ``(B, C, N)``."""
        method = self.method
        if isinstance(method, NewtonSchulz) and isinstance(self.gradient, Unrolled) and by_eigenvalues(x, method):
            return CovarianceRoot.apply(x, centered, method.steps)
        a, scale, finite = covariance(x, centered)
        return torch.where(finite, covariance_roots(a, self.method, self.gradient)[0] * scale, torch.nan)

    def extra_repr(self) -> str:
        """The arguments, as they are written."""
        method, gradient = (repr(x) if x != type(x)() else repr(x.name) for x in (self.method, self.gradient))
        return f"method={method}, gradient={gradient}"


class CovariancePooling(_Rooted):
    """Second-order pooling: the matrix square root of the covariance of the features of each sample.

    With the defaults that of iSQRT-COV: 5 Newton–Schulz steps from the covariance over its trace, back to
    its size by the root of the trace, with the exact gradient of these steps.

    Parameters
    ----------
    method, gradient : str or Method, str or Gradient
        As for `sqrtm.sqrtm`: ``"auto"`` gives the exact root and its gradient. The gradient is "unrolled" behind
        `NewtonSchulz` unless told otherwise, else "auto".
    centered : bool
        Subtract the mean over positions: the covariance, else the second moments.
    vectorize : {None, "triangle", "isometric"}
        Return the matrix; its upper triangle with the diagonal, row after row; or that with entries off the diagonal
        times √2, so that inner products of vectors are those of the matrices.

    Shape
    -----
    Features ``(B, C, H, W)``, or ``(B, N, C)`` for N positions; float16, bfloat16, float32 or float64, the first two
    computed in float32. Result ``(B, C, C)``, or ``(B, C(C + 1)/2)``, of the same dtype.

    Raises
    ------
    TypeError, ValueError
        The features are not real floating-point numbers of such a shape. Values are not looked at: a sample that is
        not finite becomes NaN, gets a zero gradient, and does not touch the others.

    Notes
    -----
    The covariance is (x − m)(x − m)ᵀ/N, divided by N. It is singular where there are fewer positions than channels,
    or channels are dead; root and gradient are finite all the same, of the five steps and by ``"auto"``.

    On a CPU the five steps of 52 or more channels are evaluated at the eigenvalues of the covariance, which costs one
    eigendecomposition and 6 products, forward and backward together, in place of 36, and memory for the eigenvectors
    and the result; elsewhere see `Unrolled`. First derivatives only: those of higher order, and under torch.func and
    torch.compile, go through the steps.

    References
    ----------
    Li, Xie, Wang & Gao, *Towards Faster Training of Global Covariance Pooling Networks by Iterative Matrix Square Root
    Normalization*, CVPR 2018 (iSQRT-COV); Li, Xie, Wang & Zuo, *Is Second-order Information Helpful for Large-scale
    Visual Recognition?*, ICCV 2017.

    Examples
    --------
    >>> import torch, sqrtm
    >>> pool = sqrtm.nn.CovariancePooling(vectorize="isometric")
    >>> pool(torch.randn(8, 64, 14, 14)).shape
    torch.Size([8, 2080])
    """

    def __init__(
        self,
        method: MethodLike = FIVE_STEPS,
        gradient: GradientLike | None = None,
        *,
        centered: bool = True,
        vectorize: str | None = None,
    ) -> None:
        if gradient is None:
            gradient = "unrolled" if isinstance(as_method(method), NewtonSchulz) else "auto"
        super().__init__(method, gradient)
        if vectorize not in VECTORS:
            raise ValueError(f"CovariancePooling: vectorize must be one of {VECTORS}, got {vectorize!r}")
        self.centered, self.vectorize = centered, vectorize

    def extra_repr(self) -> str:
        """The arguments, as they are written."""
        return f"{super().extra_repr()}, centered={self.centered}, vectorize={self.vectorize!r}"

    def forward(self, x: Tensor) -> Tensor:
        """The root, or its triangle, of features."""
        s = self.root(_features(x, "CovariancePooling"), self.centered)
        return (s if self.vectorize is None else triangle(s, self.vectorize == "isometric")).to(x.dtype)


class BilinearPooling(_Rooted):
    """Bilinear pooling of features with themselves, and its three normalisations, each of which can be left out.

    A = Σ xxᵀ/N over the N positions, its matrix square root, the signed square root sign(a)·√|a| of each entry, and
    division of all entries by their ℓ₂ norm, flattened.

    Parameters
    ----------
    method, gradient : str or Method, str or Gradient
        As for `sqrtm.sqrtm`: the exact root and its gradient unless told otherwise.
    matrix_sqrt, signed_sqrt, normalize : bool
        Which normalisations take place, in this order.

    Shape
    -----
    Features ``(B, C, H, W)``, or ``(B, N, C)``, dtypes as for `CovariancePooling`. Result ``(B, C·C)``.

    Raises
    ------
    TypeError, ValueError
        As `CovariancePooling`, also in what happens to samples that are not finite.

    Notes
    -----
    The signed square root has no derivative at 0, and rounding of a zero would have a huge one: entries up to 8·eps
    times the largest of a sample count as 0, and so do their derivatives.

    References
    ----------
    Lin & Maji, *Improved Bilinear Pooling with CNNs*, BMVC 2017; Lin, RoyChowdhury & Maji, *Bilinear CNN Models for
    Fine-grained Visual Recognition*, ICCV 2015.

    Examples
    --------
    >>> import torch, sqrtm
    >>> sqrtm.nn.BilinearPooling()(torch.randn(8, 16, 7, 7)).shape
    torch.Size([8, 256])
    """

    def __init__(
        self,
        method: MethodLike = "auto",
        gradient: GradientLike = "auto",
        *,
        matrix_sqrt: bool = True,
        signed_sqrt: bool = True,
        normalize: bool = True,
    ) -> None:
        super().__init__(method, gradient)
        self.matrix_sqrt, self.signed_sqrt, self.normalize = matrix_sqrt, signed_sqrt, normalize

    def extra_repr(self) -> str:
        """The arguments, as they are written."""
        switches = ", ".join(f"{name}={getattr(self, name)}" for name in ("matrix_sqrt", "signed_sqrt", "normalize"))
        return f"{super().extra_repr()}, {switches}"

    @without_autocast
    def forward(self, x: Tensor) -> Tensor:
        """The vector of each sample."""
        features = _features(x, "BilinearPooling")
        if self.normalize:  # the size of features does not matter then
            features = features / size_of(features)[0]
        if self.matrix_sqrt:
            a = self.root(features, False)
        else:
            a, scale, finite = covariance(features, centered=False)
            a = torch.where(finite, a * scale.square(), torch.nan)
        y = a.flatten(1)
        if self.signed_sqrt:
            size = y.detach().abs()
            zero = size <= 8 * torch.finfo(y.dtype).eps * size.amax(1, keepdim=True)
            y = torch.where(zero, 0.0, y.sign() * torch.where(zero, 1.0, y).abs().sqrt())
        if self.normalize:
            size = torch.linalg.vector_norm(torch.where((y == 0).all(1, keepdim=True), 1.0, y), dim=1, keepdim=True)
            y = y / size
        return y.to(x.dtype)


class Whitening(_Rooted):
    """Decorrelated batch normalisation: channels of a batch with zero mean and the identity as covariance, by ZCA.

    y = (Σ + eps·I)^{-1/2} (x − μ), with the mean μ and the covariance Σ over the batch and all positions, or the
    running ones in evaluation. Where `torch.nn.BatchNorm2d` divides by standard deviations, this multiplies by the
    inverse root, of all whitening transforms the one that changes the features least.

    Parameters
    ----------
    num_features : int
        C, the number of channels.
    groups : int
        Channels are whitened in so many groups of C/groups each; ``groups=num_features`` is batch normalisation.
    eps : float
        Added to the eigenvalues of Σ.
    momentum : float or None
        The share of the batch in the new running statistics; None for plain averages.
    affine : bool
        Learn a weight and a bias per channel.
    track_running_stats : bool
        Keep running statistics, for evaluation; without them those of the batch are used there too.
    method, gradient : str or Method, str or Gradient
        As for `sqrtm.invsqrtm`. ``NewtonSchulz(steps=5, scaling="trace")`` and ``"unrolled"`` are iterative
        normalisation. With the default, directions in which Σ + eps·I is singular to working precision become 0.

    Shape
    -----
    ``(B, C, ...)``, to the same, dtypes as for `CovariancePooling`.

    Raises
    ------
    TypeError, ValueError
        The features are not real floating-point numbers of such a shape, or there is only one value a channel in
        training.

    Notes
    -----
    In the state, as in `torch.nn.BatchNorm2d`: ``weight``, ``bias``, ``running_mean``, ``num_batches_tracked``, and
    ``running_cov``, ``(groups, C/groups, C/groups)``, which is divided by the number of values less one. In evaluation
    its inverse root is computed anew in each call.

    References
    ----------
    Huang, Yang, Lang & Deng, *Decorrelated Batch Normalization*, CVPR 2018; Huang, Zhou, Zhu, Liu & Shao, *Iterative
    Normalization: Beyond Standardization towards Efficient Whitening*, CVPR 2019; Kessy, Lewin & Strimmer, *Optimal
    Whitening and Decorrelation*, The American Statistician 72 (2018) 309–314.

    Examples
    --------
    >>> import torch, sqrtm
    >>> x = torch.randn(64, 4, 10, 10, dtype=torch.float64) @ torch.randn(10, 10, dtype=torch.float64)
    >>> y = sqrtm.nn.Whitening(4, eps=0, dtype=torch.float64)(x).transpose(0, 1).flatten(1)
    >>> torch.allclose(y @ y.mT / y.shape[1], torch.eye(4, dtype=torch.float64))
    True
    """

    running_mean: Tensor | None
    running_cov: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        groups: int = 1,
        *,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        method: MethodLike = "auto",
        gradient: GradientLike = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(method, gradient)
        if num_features < 1 or groups < 1 or num_features % groups:
            raise ValueError(f"Whitening: {num_features} channels cannot be had in {groups} groups of the same size")
        if not eps >= 0:
            raise ValueError(f"Whitening: eps must not be negative, got {eps!r}")
        self.num_features, self.groups, self.eps, self.momentum = num_features, groups, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        d = num_features // groups
        if affine:
            self.weight = nn.Parameter(torch.empty(num_features, device=device, dtype=dtype))
            self.bias = nn.Parameter(torch.empty(num_features, device=device, dtype=dtype))
        else:
            self.register_parameter("weight", None)
            self.register_parameter("bias", None)
        mean, cov = (torch.empty(shape, device=device, dtype=dtype) for shape in ((num_features,), (groups, d, d)))
        self.register_buffer("running_mean", mean if track_running_stats else None)
        self.register_buffer("running_cov", cov if track_running_stats else None)
        count = torch.tensor(0, device=device) if track_running_stats else None
        self.register_buffer("num_batches_tracked", count)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Mean 0 and covariance I, of no batch."""
        if self.running_mean is not None and self.running_cov is not None and self.num_batches_tracked is not None:
            self.running_mean.zero_()
            self.running_cov.copy_(torch.eye(self.running_cov.shape[-1]))
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Weight 1 and bias 0, and `reset_running_stats`."""
        self.reset_running_stats()
        if self.affine:
            nn.init.ones_(self.weight)
            nn.init.zeros_(self.bias)

    def extra_repr(self) -> str:
        """The arguments, as they are written."""
        return (
            f"{self.num_features}, groups={self.groups}, eps={self.eps}, momentum={self.momentum},"
            f" affine={self.affine}, track_running_stats={self.track_running_stats}, {super().extra_repr()}"
        )

    @without_autocast
    def forward(self, x: Tensor) -> Tensor:
        """The whitened features."""
        _check_dtype(x, "Whitening")
        if x.ndim < 2 or x.shape[1] != self.num_features:
            raise ValueError(f"Whitening: features must be (B, {self.num_features}, ...), got {tuple(x.shape)}")
        wide = _wide(x)
        d = self.num_features // self.groups
        columns = wide.transpose(0, 1).reshape(self.groups, d, wide.numel() // self.num_features)
        mean, cov = self._statistics(columns)
        eye = torch.eye(cov.shape[-1], dtype=cov.dtype, device=cov.device)
        _, z = covariance_roots(cov + self.eps * eye, self.method, self.gradient, inverse=True)
        assert z is not None
        y = z @ (columns - mean)
        y = y.reshape(self.num_features, x.shape[0], *x.shape[2:]).transpose(0, 1).contiguous()
        if self.affine:
            shape = (-1, *(1,) * (x.ndim - 2))
            y = y * self.weight.to(y.dtype).view(shape) + self.bias.to(y.dtype).view(shape)
        return y.to(x.dtype)

    def _statistics(self, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and covariance of the columns of ``(groups, C/groups, N)``, or the running ones."""
        running = self.running_mean, self.running_cov, self.num_batches_tracked
        mean, cov, count = running
        if not self.training and mean is not None and cov is not None:
            return mean.to(columns.dtype).view(*cov.shape[:-1], 1), cov.to(columns.dtype)
        n = columns.shape[-1]
        if self.training and n < 2:
            raise ValueError(f"Whitening: training needs more than 1 value a channel, got {n}")
        batch_mean = columns.mean(-1, keepdim=True)
        from_mean = columns - batch_mean
        batch_cov = from_mean @ from_mean.mT / n
        if self.training and mean is not None and cov is not None and count is not None:
            with torch.no_grad():
                count += 1
                share = 1 / count.to(columns.dtype) if self.momentum is None else self.momentum
                mean += share * (batch_mean.flatten() - mean)
                cov += share * (batch_cov * (n / (n - 1)) - cov)
        return batch_mean, batch_cov


def triangle(s: Tensor, isometric: bool) -> Tensor:
    """The upper triangles, with the diagonal, of ``(B, n, n)``, row after row, ``(B, n(n + 1)/2)``."""
    n = s.shape[-1]
    i, j = torch.triu_indices(n, n, device=s.device)
    v = s.flatten(1).index_select(1, i * n + j)
    return torch.where(i == j, v, 2**0.5 * v) if isometric else v


def _features(x: Tensor, layer: str) -> Tensor:
    """``(B, C, H, W)`` or ``(B, N, C)`` as ``(B, C, N)``, in a precision to compute with."""
    _check_dtype(x, layer)
    if x.ndim not in (3, 4):
        raise ValueError(f"{layer}: features must be (B, C, H, W) or (B, N, C), got {tuple(x.shape)}")
    features = _wide(x.flatten(2) if x.ndim == 4 else x.mT)
    if 0 in features.shape[1:]:
        raise ValueError(f"{layer}: features need a channel and a position, got {tuple(x.shape)}")
    return features


def _check_dtype(x: Tensor, layer: str) -> None:
    if not isinstance(x, Tensor) or not x.is_floating_point():
        got = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"{layer}: features must be a tensor of real floating-point numbers, got {got}")


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
