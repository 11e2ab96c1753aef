"""The gradient rules: one file each, joined to the library by one line of this table."""

from __future__ import annotations

from ._base import Gradient
from ._implicit import ImplicitGradient, lyapunov
from .lyapunov_eigh import LyapunovEigh
from .lyapunov_newton_schulz import LyapunovNewtonSchulz
from .matrix_backprop import MatrixBackprop
from .unrolled import Unrolled

TABLE: dict[str, type[Gradient]] = {
    cls.name: cls for cls in (LyapunovEigh, LyapunovNewtonSchulz, MatrixBackprop, Unrolled)
}

__all__ = [
    "TABLE",
    "Gradient",
    "ImplicitGradient",
    "LyapunovEigh",
    "LyapunovNewtonSchulz",
    "MatrixBackprop",
    "Unrolled",
    "lyapunov",
]
