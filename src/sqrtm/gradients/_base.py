"""What a gradient rule is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..methods import Method


@dataclass(frozen=True)
class Gradient(ABC):
    """A way to differentiate a root: a frozen value whose fields are its settings."""

    name: ClassVar[str]
    """The name that stands for the defaults."""

    def check(self, method: Method) -> None:  # noqa: B027  (most rules go with every method)
        """Raise ValueError where this rule cannot differentiate ``method``."""

    @abstractmethod
    def roots(self, method: Method, a: Tensor, inverse: bool) -> tuple[Tensor, Tensor | None]:
        """Return ``method``'s A^{1/2} and, if ``inverse``, A^{-1/2}, differentiable by this rule."""
