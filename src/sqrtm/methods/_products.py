"""Matrix products in the precision of their operands, whatever PyTorch is set to."""

from __future__ import annotations

import torch
from torch import Tensor

from .._transforms import transformed


def bmm(x: Tensor, y: Tensor, out: Tensor | None = None) -> Tensor:
    """XY, in ``out`` if that is given."""
    if not reduced(x) and not reduced_on_cpu(x):
        return torch.bmm(x, y, out=out)
    if out is None:
        out = x.new_empty(*x.shape[:-1], y.shape[-1])
    return baddbmm_(out, x, y, beta=0.0)


def baddbmm_(out: Tensor, x: Tensor, y: Tensor, beta: float = 1.0, alpha: float = 1.0) -> Tensor:
    """βC + αXY in place of C."""
    if reduced_on_cpu(x):
        product = torch.bmm(x.double(), y.double()).mul_(alpha)
        return out.copy_(product) if beta == 0 else out.mul_(beta).add_(product)
    if not reduced(x):
        return out.baddbmm_(x, y, beta=beta, alpha=alpha)
    x, x_low = _split(x)
    y, y_low = _split(y)
    out.baddbmm_(x_low, y, beta=beta, alpha=alpha)
    return out.baddbmm_(x, y_low, alpha=alpha).baddbmm_(x, y, alpha=alpha)


def matmul(x: Tensor, y: Tensor) -> Tensor:
    """XY that may be differentiated, and is then what PyTorch is set to."""
    plain = torch.is_grad_enabled() or transformed() or not (reduced(x) or reduced_on_cpu(x))
    return x @ y if plain else bmm(x, y)


def reduced(x: Tensor) -> bool:
    """PyTorch may round the operands of products of such matrices to TF32, of 11 bits."""
    return x.dtype == torch.float32 and x.is_cuda and torch.backends.cuda.matmul.fp32_precision == "tf32"


def reduced_on_cpu(x: Tensor) -> bool:
    """PyTorch may round them to bfloat16 or TF32 on a CPU that has such products, which are done in float64 then."""
    if x.dtype != torch.float32 or not x.is_cpu:
        return False
    return torch.backends.mkldnn.matmul.fp32_precision in ("bf16", "tf32")  # type: ignore[attr-defined]  # untyped


def _split(x: Tensor) -> tuple[Tensor, Tensor]:
    """H and L with H + L = X: H is not changed by rounding to TF32, and L by 2⁻²²·X at most.

    Three products of such parts are nearly as precise as one in float32 (Ootomo & Yokota, *Recovering single precision
    accuracy from Tensor Cores while surpassing the FP32 theoretical peak performance*, Int. J. High Perform. Comput.
    Appl. 36 (2022) 475–491).
    """
    high = ((x.view(torch.int32) + 0x1000) & -0x2000).view(torch.float32)
    return high, x - high
