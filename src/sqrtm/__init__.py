"""The matrix square root and its gradient, batched, for PyTorch."""

from ._api import invsqrtm, solve_lyapunov, sqrtm, sqrtm_pair
from ._auto import GRADIENTS, METHODS, Auto
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
    "SVD",
    "Auto",
    "DenmanBeavers",
    "Eigh",
    "Gradient",
    "ImplicitGradient",
    "LyapunovChebyshev",
    "LyapunovEigh",
    "LyapunovNewtonSchulz",
    "MatrixBackprop",
    "Method",
    "NewtonSchulz",
    "Minimax",
    "Pade",
    "ProductDenmanBeavers",
    "Roots",
    "Taylor",
    "Unrolled",
    "invsqrtm",
    "solve_lyapunov",
    "sqrtm",
    "sqrtm_pair",
]
