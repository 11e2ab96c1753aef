"""What plain forms and kernels have in common: the schedule of `methods.Minimax` and the terms of the gradient."""

from __future__ import annotations

import torch

from ._minimax_table import FIRST

TAYLOR = (1.0, -1 / 2, 3 / 8)
"""(I + E)^{-1/2} in powers of E."""
TAYLOR_4 = (35 / 128, -8 / 7, -8 / 35, 8 / 5, 11 / 10)
"""The same to the power of 4: (s, a, b, c, k) of s(E² + aE + bI)(E² + cI) + kI."""
REMAINDER = {1: 3 / 8, 2: 5 / 16, 4: 63 / 256}
"""By degree k of the Taylor polynomial: ‖E‖₂ = δ becomes about this times δ^(k+1)."""
TOLERANCE = {torch.float32: 1e-6, torch.float64: 2e-13}
"""What that may be after the last step. δ is overestimated, by up to n^{1/4}, so the error is well below."""
MOST_STEPS = {torch.float32: 5, torch.float64: 14}
"""Where more would be needed, eigenvalues in float64 are had sooner."""
REFINED = 5e-5
"""λ_min/λ_max below which S is corrected once by its residual, in float32: uncorrected, S and its gradient can be 4
times less accurate than those of `torch.linalg.eigh` from κ = 5e4 on."""
RADII = sorted(FIRST)
KNOWN = RADII[-1]
"""The spectrum is known well enough for a first step of degree 17 where ‖A/mean − I‖₂ is provably below this."""
CHEBYSHEV_TOLERANCE = {torch.float32: 2.5e-7, torch.float64: 1e-14}
"""Relative error at which the solution of the Lyapunov equation stops, by its proven rate; the actual error is mostly
well below."""
MOST_TERMS = 100
"""Of its polynomial."""


def largest_last(degree: int, dtype: torch.dtype) -> float:
    """The δ up to which a Taylor step of this degree is the last."""
    return (TOLERANCE[dtype] / REMAINDER[degree]) ** (1 / (degree + 1))
