"""What a method is, and what methods share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Sequence
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
    interval: Tensor | None = None
    """``(B, 2)``, bounds on the smallest (0 where it is not known) and largest eigenvalue of A."""
    by_eigen: Tensor | None = None
    """``(B,)``, which matrices have ``eigen``; None for all of them, where there is ``eigen`` at all."""
    status: Tensor | None = None
    """``(B,)``, a code of `sqrtm._checks` per matrix, from methods that find out by themselves; None if all are OK."""
    steps: Tensor | None = None
    """``(B,)``, how many steps an iteration took; None if it took none."""
    negative: Tensor | None = None
    """``(B,)``, −λ_min/‖A‖₂ where that is positive, else 0; None if all are known to be semidefinite."""
    defect: Tensor | None = None
    """``(B, n, n)``, in the eigenbasis, what S is short of A^{1/2}, where that matters to the gradient."""
    ends: Tensor | None = None
    """``(B, 2)``, in place of ``interval``: bounds on the spectrum of the *root*; −1 and 1 where there is ``eigen``."""

    def at(self, where: Tensor) -> Roots:
        """The roots of the matrices at these indices."""

        def part(x: Tensor | None) -> Tensor | None:
            return None if x is None else x[where]

        eigen = None if self.eigen is None else (self.eigen[0][where], self.eigen[1][where])
        sqrt, z, _, *others = (part(x) if not isinstance(x, tuple) else None for x in self)
        assert sqrt is not None
        return Roots(sqrt, z, eigen, *others)


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


class SelfChecking(Method):
    """A method for finite symmetric matrices of any size that finds out by itself whether they are semidefinite.

    It says so in ``Roots.status`` and ``Roots.negative``, so that nobody else need.
    """

    unrollable: ClassVar[bool] = False

    @abstractmethod
    def checked(self, a: Tensor, inverse: bool, differentiated: bool) -> Roots:
        """`roots`; if ``differentiated`` with what makes the gradient cheap and precise, A^{-1/2} or ``eigen``."""

    def unchecked(self, a: Tensor, inverse: bool, differentiated: bool, dtype: torch.dtype) -> Roots | None:
        """`checked` for any ``a``, given in ``dtype``, where something does that at once; None where not.

        What is not finite or not symmetric has that in ``Roots.status``, and any finite roots.
        """
        return None

    def roots(self, a: Tensor, inverse: bool = True) -> Roots:
        return self.checked(a, inverse, False)


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


CHUNK_BYTES = 2**21
"""Of one operand on a CPU, so that all of an iteration's operands stay in cache."""


def pieces(a: Tensor, least: int = 1) -> list[Tensor]:
    """``a``, ``(B, n, n)``, in pieces alike in size that are best computed at a time, of ``least`` matrices or more."""
    if a.device.type != "cpu":
        return [a]
    size = max(least, CHUNK_BYTES // (a.shape[-1] ** 2 * a.element_size()))
    return [a] if a.shape[0] <= size else list(a.chunk(-(-a.shape[0] // size)))


def joined(parts: list[Roots]) -> Roots:
    """The roots of the pieces of a batch in one; none has eigenvalues."""
    first = parts[0]
    if len(parts) == 1:
        return first
    assert first.interval is not None
    assert first.eigen is None
    sqrt, interval = (torch.cat([getattr(part, name) for part in parts]) for name in ("sqrt", "interval"))
    invsqrt = None if first.invsqrt is None else torch.cat([part.invsqrt for part in parts if part.invsqrt is not None])
    steps = None if first.steps is None else torch.cat([part.steps for part in parts if part.steps is not None])
    return Roots(sqrt, invsqrt, interval=interval, steps=steps)


def in_groups(
    keys: Tensor, levels: Sequence[float], run: Callable[..., tuple[Tensor, ...]], *tensors: Tensor
) -> tuple[Tensor, ...]:
    """``run(i, *tensors)`` on all matrices whose key in ``(B,)`` is above i of the ascending ``levels``, for each i.

    A key that is NaN is above all. Where all keys agree, which takes two numbers to see, nothing is copied.
    """
    low, high = torch.stack(keys.aminmax()).tolist()
    if low != low:  # a NaN is the least and the largest
        keys = torch.where(keys.isnan(), torch.inf, keys)
        low, high = torch.stack(keys.aminmax()).tolist()
    low, high = (bisect_left(levels, x) for x in (low, high))
    if low == high:
        return run(low, *tensors)
    results: list[Tensor] = []
    thresholds = torch.tensor(levels, dtype=torch.float64, device=keys.device)
    groups = (~(keys[:, None] <= thresholds)).sum(-1)
    for i in groups.unique().tolist():
        index = (groups == i).nonzero()[:, 0]
        part = run(i, *(x[index] for x in tensors))
        results = results or [x.new_empty(keys.shape + x.shape[1:]) for x in part]
        for whole, some in zip(results, part, strict=True):
            whole[index] = some
    return tuple(results)


def add_to_diagonal(x: Tensor, value: float | Tensor) -> None:
    """X + value·I, in place; ``value`` may be one per matrix, ``(B, 1)``."""
    x.diagonal(dim1=-2, dim2=-1).add_(value)


def norm(x: Tensor) -> Tensor:
    """‖X‖_F, ``(B, 1, 1)``."""
    return torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True)
