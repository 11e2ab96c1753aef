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
from .methods.routed import EIGEN, EIGEN32, ITERATE, Routed


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

# From this n on, up to the next row, by condition number: up to 19, if one product proves it; up to 150, if
# an estimate says so; above. Measured by benchmarks/routes.py.
ROUTES: Mapping[torch.dtype, Mapping[int, Routed]] = {
    torch.float32: {
        1: Routed(EIGEN, EIGEN, EIGEN),  # of many matrices, by Jacobi's method: a closed formula for n ≤ 2
        5: Routed(ITERATE, ITERATE, ITERATE),
        97: Routed(ITERATE, EIGEN32, ITERATE),
        150: Routed(ITERATE, EIGEN32, EIGEN),
    },
    torch.float64: {
        1: Routed(EIGEN, EIGEN, EIGEN),
        5: Routed(ITERATE, EIGEN, EIGEN),
    },
}
SMALL = {torch.float32: 3e5, torch.float64: 3e5}
"""Below this batch·n³, everything is over before an iteration is under way."""


def route(n: int, batch: int, dtype: torch.dtype) -> Routed:
    """What `Auto` runs on a CPU."""
    small = batch * n**3 < SMALL[dtype]
    return Routed(EIGEN, EIGEN, EIGEN) if small else ROUTES[dtype][_row(n, dtype)]


def _row(n: int, dtype: torch.dtype) -> int:
    return max(start for start in ROUTES[dtype] if start <= max(n, 1))


def why(method: Method, A: Tensor) -> str:
    """One line on what made `Auto` choose ``method`` for ``A``."""
    if not isinstance(method, Routed):
        return f"on {A.device.type}: eigh, gradient by lyapunov-eigh (nothing else is measured there yet)"
    n, batch = A.shape[-1], A.shape[:-2].numel()
    rows = ROUTES[A.dtype]
    if method == rows[_row(n, A.dtype)]:
        reason = f"the table for n ≥ {_row(n, A.dtype)}"
    else:
        reason = f"batch·n³ = {batch * n**3:.0e} is below {SMALL[A.dtype]:.0e}, too little for an iteration"
    if method.easy == method.hard == method.moderate == EIGEN:
        return f"{reason}: {EIGEN}"
    limits = ("κ provably ≤ 19", "estimated ≤ 150", "above")
    hows = (method.easy, method.moderate, method.hard)
    return f"{reason}: " + "; ".join(f"{limit}: {how}" for limit, how in zip(limits, hows, strict=True))


def choose(method: str | Method | Auto, gradient: str | Gradient | Auto, A: Tensor) -> tuple[Method, Gradient]:
    """Resolve names and `Auto` to the method and the gradient that will run on ``A``."""
    chosen_method, chosen_gradient = as_method(method), as_gradient(gradient)
    if isinstance(chosen_method, Auto):
        on_cpu = A.device.type == "cpu"
        chosen_method = route(A.shape[-1], A.shape[:-2].numel(), A.dtype) if on_cpu else Eigh()
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
