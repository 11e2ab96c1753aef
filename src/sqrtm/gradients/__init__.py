"""The gradient rules: one file each, joined to the library by one line of this table."""

from __future__ import annotations

from ._base import Gradient
from ._implicit import ImplicitGradient, implicit_roots, lyapunov
from .lyapunov_chebyshev import LyapunovChebyshev
from .lyapunov_eigh import LyapunovEigh
from .lyapunov_newton_schulz import LyapunovNewtonSchulz
from .matrix_backprop import MatrixBackprop
from .unrolled import Unrolled

TABLE: dict[str, type[Gradient]] = {
    cls.name: cls for cls in (LyapunovEigh, LyapunovNewtonSchulz, LyapunovChebyshev, MatrixBackprop, Unrolled)
}

__all__ = [
    "TABLE",
    "Gradient",
    "ImplicitGradient",
    "LyapunovChebyshev",
    "LyapunovEigh",
    "LyapunovNewtonSchulz",
    "MatrixBackprop",
    "Unrolled",
    "implicit_roots",
    "lyapunov",
]
