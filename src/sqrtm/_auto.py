"""Which method and which gradient a call uses: names, typed values, and ``"auto"``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, ClassVar

from . import gradients, methods
from .gradients import Gradient, LyapunovEigh
from .methods import Eigh, Method


@dataclass(frozen=True)
class Auto:
    """Let the library choose. As a method it is `Eigh` today, as a gradient `LyapunovEigh`."""

    name: ClassVar[str] = "auto"


METHODS: Mapping[str, type[Method | Auto]] = MappingProxyType({**methods.TABLE, "auto": Auto})
"""Every method by name."""

GRADIENTS: Mapping[str, type[Gradient | Auto]] = MappingProxyType({**gradients.TABLE, "auto": Auto})
"""Every gradient rule by name."""


def choose(method: str | Method | Auto, gradient: str | Gradient | Auto) -> tuple[Method, Gradient]:
    """Resolve names and `Auto` to the method and the gradient that will run."""
    chosen_method, chosen_gradient = as_method(method), as_gradient(gradient)
    if isinstance(chosen_method, Auto):
        chosen_method = Eigh()
    if isinstance(chosen_gradient, Auto):
        chosen_gradient = LyapunovEigh()
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
