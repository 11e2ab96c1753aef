"""Which method and which gradient a call uses: names, typed values, and ``"auto"``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, ClassVar

from torch import Tensor

from . import gradients, kernels, methods
from .gradients import Gradient, LyapunovChebyshev, LyapunovEigh
from .methods import Eigh, Method, Minimax, SelfChecking
from .methods.minimax import looks_at_values
from .methods.routed import Table, route


@dataclass(frozen=True)
class Auto:
    """Let the library choose: the fastest pair that is accurate, matrix by matrix, by measured tables.

    On a CPU each matrix is computed by `Minimax` with `LyapunovChebyshev`, by eigenvalues with `LyapunovEigh`, or for
    n ≤ 4 by a closed form. `explain` tells which, and why. On CUDA it is `Minimax` with `LyapunovChebyshev`, by kernels
    where there are some; on other devices `Eigh` with `LyapunovEigh`.
    """

    name: ClassVar[str] = "auto"


METHODS: Mapping[str, type[Method | Auto]] = MappingProxyType({**methods.TABLE, "auto": Auto})
"""Every method by name."""

GRADIENTS: Mapping[str, type[Gradient | Auto]] = MappingProxyType({**gradients.TABLE, "auto": Auto})
"""Every gradient rule by name."""


def why(method: Method, A: Tensor) -> str:
    """One line on what made `Auto` choose ``method`` for ``A``."""
    if isinstance(method, Minimax):
        support = kernels.supported(A)
        steps = "as many steps as each needs" if looks_at_values(A) else "the same steps for all"
        return "on cuda: minimax, " + ("by a kernel" if support else f"{steps}: {support.reason}")
    if not isinstance(method, Table):
        return f"on {A.device.type}: eigh, gradient by lyapunov-eigh (nothing else is measured there yet)"
    routed, start, most = route(A.shape[-1], A.numel(), A.dtype)
    row = f"n {'≤ 4' if start == 1 else '≥ 5'}, up to {most} elements" if most else f"n ≥ {start}"
    return f"{row}: {routed.in_words()}"


def choose(method: str | Method | Auto, gradient: str | Gradient | Auto, A: Tensor) -> tuple[Method, Gradient]:
    """Resolve names and `Auto` to the method and the gradient that will run on ``A``."""
    chosen_method, chosen_gradient = as_method(method), as_gradient(gradient)
    if isinstance(chosen_method, Auto):
        chosen_method = {"cpu": Table(), "cuda": Minimax()}.get(A.device.type, Eigh())
    if isinstance(chosen_gradient, Auto):
        chosen_gradient = LyapunovChebyshev() if isinstance(chosen_method, SelfChecking) else LyapunovEigh()
    return chosen_method, chosen_gradient


def as_method(given: str | Method | Auto) -> Method | Auto:
    """The value that a name stands for; a value stands for itself."""
    return _value("method", given, METHODS, (Method, Auto))


def as_gradient(given: str | Gradient | Auto) -> Gradient | Auto:
    """The value that a name stands for; a value stands for itself."""
    return _value("gradient", given, GRADIENTS, (Gradient, Auto))


def _value(role: str, given: Any, table: Mapping[str, type], kinds: tuple[type, ...]) -> Any:
    if isinstance(given, str):
        if given in table:
            return table[given]()
        hint = get_close_matches(given.lower(), table, n=1)
        guess = f", did you mean {hint[0]!r}?" if hint else "."
        raise ValueError(f"unknown {role} {given!r}{guess} Known: {', '.join(table)}")
    if isinstance(given, kinds):
        return given
    if isinstance(given, type) and issubclass(given, kinds):
        raise TypeError(f"{role} must be a name or a value, got the class {given.__name__}: write {given.__name__}()")
    raise TypeError(f"{role} must be a name or a value such as those in sqrtm.{role.upper()}S, got {given!r}")
