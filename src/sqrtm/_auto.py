"""Which method and which gradient a call uses: names, typed values, and ``"auto"``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor

from . import gradients, methods
from .gradients import Gradient, LyapunovChebyshev, LyapunovEigh
from .methods import Eigh, Method, SelfChecking
from .methods.routed import CLOSED, EIGEN, EIGEN32, ITERATE, Routed


@dataclass(frozen=True)
class Auto:
    """Let the library choose: the fastest pair that is accurate, matrix by matrix, by the table in `route`.

    On a CPU each matrix is computed by `Minimax` with `LyapunovChebyshev`, or by eigenvalues in float64 with
    `LyapunovEigh`. `explain` tells which, and why. On other devices it is `Eigh` with `LyapunovEigh`.
    """

    name: ClassVar[str] = "auto"


METHODS: Mapping[str, type[Method | Auto]] = MappingProxyType({**methods.TABLE, "auto": Auto})
"""Every method by name."""

GRADIENTS: Mapping[str, type[Gradient | Auto]] = MappingProxyType({**gradients.TABLE, "auto": Auto})
"""Every gradient rule by name."""

# From this n on, up to the next row, by condition number: provably up to 19; estimated to be moderate; others.
# Why: `make bench` (large batches) and benchmarks/routes.py (small ones).
ROUTES: Mapping[torch.dtype, Mapping[int, Routed]] = {
    torch.float32: {
        1: Routed(CLOSED),
        5: Routed(ITERATE, ITERATE, EIGEN, 20),
        16: Routed(ITERATE, ITERATE, EIGEN, 2000),
        97: Routed(ITERATE, EIGEN32, EIGEN, 12),
        700: Routed(EIGEN32),
    },
    torch.float64: {
        1: Routed(CLOSED),
        5: Routed(ITERATE, EIGEN, EIGEN),
        97: Routed(EIGEN),
    },
}
# Batches of up to so many elements, which are over before much else is under way; n up to 4 and above.
SMALL: Mapping[torch.dtype, tuple[Mapping[int, Routed], Mapping[int, Routed]]] = {
    torch.float32: (
        {6_000: Routed(EIGEN)},
        {30_000: Routed(EIGEN32), 130_000: Routed(ITERATE, EIGEN32, EIGEN32)},
    ),
    torch.float64: (
        {6_000: Routed(EIGEN)},
        {30_000: Routed(EIGEN)},
    ),
}


def route(n: int, batch: int, dtype: torch.dtype) -> tuple[str, Routed]:
    """What `Auto` runs on a CPU, and in words the row of the tables that says so."""
    for most, routed in SMALL[dtype][n > 4].items():
        if batch * n**2 <= most:
            return f"n {'≥ 5' if n > 4 else '≤ 4'}, up to {most} elements", routed
    start = max(row for row in ROUTES[dtype] if row <= max(n, 1))
    return f"n ≥ {start}", ROUTES[dtype][start]


def why(method: Method, A: Tensor) -> str:
    """One line on what made `Auto` choose ``method`` for ``A``."""
    if not isinstance(method, Routed):
        return f"on {A.device.type}: eigh, gradient by lyapunov-eigh (nothing else is measured there yet)"
    row, _ = route(A.shape[-1], A.shape[:-2].numel(), A.dtype)
    if not method.hard:
        return f"{row}: {method.easy}"
    if method.moderate == method.hard:
        return f"{row}: κ provably ≤ 19: {method.easy}; others: {method.hard}"
    return (
        f"{row}: κ provably ≤ 19: {method.easy}; Cholesky pivots within a factor of {method.limit:g}:"
        f" {method.moderate}; others: {method.hard}"
    )


def choose(method: str | Method | Auto, gradient: str | Gradient | Auto, A: Tensor) -> tuple[Method, Gradient]:
    """Resolve names and `Auto` to the method and the gradient that will run on ``A``."""
    chosen_method, chosen_gradient = as_method(method), as_gradient(gradient)
    if isinstance(chosen_method, Auto):
        on_cpu = A.device.type == "cpu"
        chosen_method = route(A.shape[-1], A.shape[:-2].numel(), A.dtype)[1] if on_cpu else Eigh()
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
    if isinstance(given, kinds):
        return given
    if isinstance(given, str):
        if given in table:
            return table[given]()
        hint = get_close_matches(given.lower(), table, n=1)
        guess = f", did you mean {hint[0]!r}?" if hint else "."
        raise ValueError(f"unknown {role} {given!r}{guess} Known: {', '.join(table)}")
    if isinstance(given, type) and issubclass(given, kinds):
        raise TypeError(f"{role} must be a name or a value, got the class {given.__name__}: write {given.__name__}()")
    raise TypeError(f"{role} must be a name or a value such as those in sqrtm.{role.upper()}S, got {given!r}")
