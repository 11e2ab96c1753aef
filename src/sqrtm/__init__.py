"""The matrix square root and its gradient, batched, for PyTorch."""

from . import distances, nn
from ._api import explain, invsqrtm, invsqrtm_ex, solve_lyapunov, sqrtm, sqrtm_ex, sqrtm_pair, sqrtm_pair_ex
from ._auto import GRADIENTS, METHODS, Auto
from ._info import STATUSES, Info
from .gradients import (
    Gradient,
    ImplicitGradient,
    LyapunovChebyshev,
    LyapunovEigh,
    LyapunovNewtonSchulz,
    MatrixBackprop,
    Unrolled,
)
from .methods import (
    SVD,
    DenmanBeavers,
    Eigh,
    Method,
    Minimax,
    NewtonSchulz,
    Pade,
    ProductDenmanBeavers,
    Roots,
    Taylor,
)

__version__ = "0.1.0"

__all__ = [
    "GRADIENTS",
    "METHODS",
    "STATUSES",
    "SVD",
    "Auto",
    "DenmanBeavers",
    "Eigh",
    "Gradient",
    "ImplicitGradient",
    "Info",
    "LyapunovChebyshev",
    "LyapunovEigh",
    "LyapunovNewtonSchulz",
    "MatrixBackprop",
    "Method",
    "Minimax",
    "NewtonSchulz",
    "Pade",
    "ProductDenmanBeavers",
    "Roots",
    "Taylor",
    "Unrolled",
    "distances",
    "explain",
    "invsqrtm",
    "invsqrtm_ex",
    "nn",
    "solve_lyapunov",
    "sqrtm",
    "sqrtm_ex",
    "sqrtm_pair",
    "sqrtm_pair_ex",
]
