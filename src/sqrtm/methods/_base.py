"""What a method is, and what methods share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Integral
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor


class Roots(NamedTuple):
    """What a method returns for symmetric ``a`` of shape ``(B, n, n)``."""

    sqrt: Tensor
    """``(B, n, n)``, A^{1/2}."""
    invsqrt: Tensor | None
    """``(B, n, n)``, A^{-1/2}; None where it was not asked for."""
    eigen: tuple[Tensor, Tensor] | None = None
    """Eigenvalues ``(B, n)`` and eigenvectors ``(B, n, n)`` *of the root*, where the method has them."""


@dataclass(frozen=True)
class Method(ABC):
    """A way to compute A^{1/2} and A^{-1/2}: a frozen value whose fields are its settings."""

    name: ClassVar[str]
    """The name that stands for the defaults."""
    unrollable: ClassVar[bool] = True
    """Made of products, inverses and solves, so that autograd through it (`Unrolled`) makes sense."""
    approximate: ClassVar[bool] = False
    """Does not converge to the root: an implicit gradient is then not that of the result."""
    definite: ClassVar[bool] = False
    """Inverts A on the way, so that a singular A is rejected."""

    @abstractmethod
    def roots(self, a: Tensor, inverse: bool = True) -> Roots:
        """Return A^{1/2} and, if ``inverse``, A^{-1/2} of symmetric ``a`` of shape ``(B, n, n)``.

        Differentiable by autograd, if slowly: `Unrolled` relies on it.
        """


def check_count(owner: object, field: str) -> None:
    """Raise unless the named field of a method or gradient is a positive integer."""
    value = getattr(owner, field)
    where = f"{type(owner).__name__}({field}={value!r})"
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{where}: {field} must be an integer")
    if value < 1:
        raise ValueError(f"{where}: {field} must be at least 1")


def identity_like(a: Tensor) -> Tensor:
    """The ``n × n`` identity, to broadcast against ``a``."""
    return torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)


def normalise(a: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``a / size`` and ``√size``; a zero matrix stays zero and gets 0, with zero gradients."""
    positive = size > 0
    safe = torch.where(positive, size, 1.0)
    return a / safe, torch.where(positive, safe.sqrt(), 0.0)


def roots_from_eigen(eigenvalues: Tensor, vectors: Tensor, inverse: bool) -> Roots:
    """Roots from the eigenvalues ``(B, n)`` and eigenvectors ``(B, n, n)`` of A.

    Eigenvalues that rounding made negative count as zero.
    """
    s = eigenvalues.clamp(min=0).sqrt()
    sqrt = (vectors * s[..., None, :]) @ vectors.mT
    invsqrt = (vectors / s[..., None, :]) @ vectors.mT if inverse else None
    return Roots(sqrt, invsqrt, (s, vectors))
