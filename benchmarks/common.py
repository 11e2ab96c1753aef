"""What the benchmarks share: the matrices, the contenders, and timing side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.benchmark import Timer

Root = Callable[[Tensor], Tensor]
Eigh = Callable[[Tensor], tuple[Tensor, Tensor]]
DISTINCT = 64
"""Matrices of a batch that are different; the others repeat them."""


def matrices(
    n: int,
    condition: float,
    dtype: torch.dtype,
    elements: int = 2**21,
    device: torch.device | str = "cpu",
    distinct: int = DISTINCT,
) -> Tensor:
    """So many elements of random symmetric matrices: eigenvalues evenly spaced for κ < 10, else their logarithms."""
    batch = max(1, elements // n**2)
    spacing = torch.linspace(0, 1, n, dtype=torch.float64) if n > 1 else torch.zeros(1, dtype=torch.float64)
    spectrum = 1 / condition + (1 - 1 / condition) * spacing if condition < 10 else condition ** (spacing - 1)
    generator = torch.Generator().manual_seed(n)
    normal = torch.randn(min(batch, distinct), n, n, dtype=torch.float64, generator=generator)
    q = torch.linalg.qr(normal.to(device)).Q
    a = (q * spectrum.to(device)) @ q.mT
    return ((a + a.mT) / 2).to(dtype).repeat(-(-batch // len(a)), 1, 1)[:batch].clone()


class EighLoewner(torch.autograd.Function):
    """A^{1/2} and its gradient from one saved eigendecomposition, nothing checked; in the dtype of ``working``."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, working: torch.dtype, eigh: Eigh = torch.linalg.eigh) -> Tensor:
        values, q = eigh(a.to(working))
        s = values.clamp(min=0).sqrt()
        ctx.save_for_backward(s, q)
        ctx.dtype = a.dtype
        return ((q * s[..., None, :]) @ q.mT).to(a.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        s, q = ctx.saved_tensors
        g = ((g + g.mT) / 2).to(q.dtype)
        x = q @ ((q.mT @ g @ q) / (s[..., :, None] + s[..., None, :])) @ q.mT
        return x.to(ctx.dtype), None, None


class ReferenceAlgorithm(torch.autograd.Function):
    """The original experiment: ten Newton–Schulz steps, ten Lyapunov–Newton–Schulz steps, nothing checked."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, steps: int = 10) -> Tensor:
        norm = torch.linalg.matrix_norm(a, keepdim=True)
        eye = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
        y, z = a / norm, eye.expand_as(a)
        for _ in range(steps):
            t = 0.5 * (3.0 * eye - z.bmm(y))
            y, z = y.bmm(t), t.bmm(z)
        s = y * norm.sqrt()
        ctx.save_for_backward(s)
        ctx.steps = steps
        return s

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        (s,) = ctx.saved_tensors
        norm = torch.linalg.matrix_norm(s, keepdim=True)
        eye = torch.eye(s.shape[-1], dtype=s.dtype, device=s.device)
        n, q = s / norm, g / norm
        for _ in range(ctx.steps):  # 6 products: N², NQ, QN, their difference times N, N²Q or N(NQ), N·N²
            n2 = n.bmm(n)
            t = 3.0 * eye - n2
            q = 0.5 * (q.bmm(t) - n.mT.bmm(n.mT.bmm(q) - q.bmm(n)))
            n = 0.5 * n.bmm(t)
        return 0.5 * q, None


def eigh_loewner(working: torch.dtype, eigh: Eigh = torch.linalg.eigh) -> Root:
    """The fair rival: what one would write by hand around `torch.linalg.eigh`, or another eigensolver."""
    return lambda a: EighLoewner.apply(a, working, eigh)


def reference_algorithm(a: Tensor) -> Tensor:
    """The original."""
    return ReferenceAlgorithm.apply(a)


def forward(root: Root, a: Tensor, g: Tensor) -> Tensor:
    """A^{1/2} where no gradient is wanted."""
    return root(a.detach())


def forward_and_backward(root: Root, a: Tensor, g: Tensor) -> Tensor:
    """The gradient of ⟨G, A^{1/2}⟩."""
    return torch.autograd.grad(root(a), a, g)[0]


def side_by_side(tasks: dict[str, Callable[[], object]], rounds: int, least: float = 1e-3) -> dict[str, list[float]]:
    """Seconds of each task in each round; in a round every task has its turn, for at least ``least`` seconds."""
    threads = torch.get_num_threads()
    timers = {name: Timer("task()", globals={"task": task}, num_threads=threads) for name, task in tasks.items()}
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, timer in timers.items():
            times[name].append(timer.blocked_autorange(min_run_time=least).median)  # warms up by a run
    return times


def median(times: list[float]) -> float:
    """Middle value."""
    return float(torch.tensor(times, dtype=torch.float64).median())
