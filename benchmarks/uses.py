"""Covariance pooling and the Fréchet distance, side by side with what one would write without this library.

    python benchmarks/uses.py [--quick]

Pooling: features 32 × 256 × 14 × 14 in float32, where five steps are evaluated at eigenvalues, and 128 × 32 × 14 × 14,
where they are iterated; forward and backward; errors of output and gradient relative to the same function in float64.
Fréchet: n = 2048 in float64, against SciPy's root of the product.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from common import median, side_by_side
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from scipy.linalg import sqrtm as scipy_sqrtm
from torch import Tensor

from sqrtm.compare.measure import environment, peak_bytes
from sqrtm.distances import frechet
from sqrtm.nn import CovariancePooling

Layer = Callable[[Tensor], Tensor]


def covariance(x: Tensor) -> Tensor:
    """Of features ``(B, C, H, W)``."""
    x = x.flatten(2)
    x = x - x.mean(-1, keepdim=True)
    return x @ x.mT / x.shape[-1]


def five_steps(x: Tensor) -> Tensor:
    """The steps of iSQRT-COV as its authors order them, 12 products, for autograd."""
    a = covariance(x)
    size = a.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None]
    a = a / size
    eye = 3 * torch.eye(a.shape[-1], dtype=a.dtype)
    z = 0.5 * (eye - a)
    y = a @ z
    for _ in range(3):
        t = 0.5 * (eye - z @ y)
        y, z = y @ t, t @ z
    return 0.5 * y @ (eye - z @ y) * size.sqrt()


def eigh_root(x: Tensor) -> Tensor:
    """The exact root by eigenvalues, for autograd."""
    values, q = torch.linalg.eigh(covariance(x))
    return (q * values.clamp(min=0).sqrt()[..., None, :]) @ q.mT


CONTENDERS: dict[str, tuple[Layer, Layer]] = {
    "five steps, ours": (CovariancePooling(), five_steps),
    "five steps, autograd": (five_steps, five_steps),
    "exact root, ours": (CovariancePooling("auto", "auto"), CovariancePooling("auto", "auto")),
    "exact root, autograd through eigh": (eigh_root, CovariancePooling("auto", "auto")),
}
"""Each with what it approximates, to be computed in float64."""


def gradient(layer: Layer, x: Tensor, g: Tensor) -> Tensor:
    """Of ⟨G, layer(x)⟩."""
    return torch.autograd.grad(layer(x), x, g)[0]


def errors(layer: Layer, exact: Layer, x: Tensor, g: Tensor) -> list[float]:
    """Of the output and the gradient."""
    wide = x.detach().double().requires_grad_()
    found = (layer(x).detach(), gradient(layer, x, g))
    truth = (exact(wide).detach(), gradient(exact, wide, g.double()))
    return [float((y.double() - t).norm() / t.norm()) for y, t in zip(found, truth, strict=True)]


def pooling(shape: tuple[int, ...], rounds: int, console: Console) -> None:
    """Measure and print."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator).relu()
    g = torch.randn(shape[0], shape[1], shape[1], generator=generator)
    dead = x.clone()
    dead[:, :2] = 0
    x.requires_grad_()
    dead.requires_grad_()
    layers = {name: layer for name, (layer, _) in CONTENDERS.items()}
    times = side_by_side({name: lambda f=f: gradient(f, x, g) for name, f in layers.items()}, rounds)
    peaks = {name: peak_bytes(lambda f=f: gradient(f, x, g), x.device) for name, f in layers.items()}
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in (
        "forward + backward",
        "ms",
        "over ours",
        "peak MiB",
        "over ours",
        "error",
        "gradient's",
        "dead channels",
    ):
        table.add_column(heading, justify="left" if heading == "forward + backward" else "right")
    ours = "five steps, ours"
    for name, (layer, exact) in CONTENDERS.items():
        wrong = (f"{e:.1e}" for e in errors(layer, exact, x, g))
        finite = bool(gradient(layer, dead, g).isfinite().all())
        table.add_row(
            name, f"{median(times[name]) * 1e3:.1f}", f"{median(times[name]) / median(times[ours]):.2f}",
            f"{peaks[name] / 2**20:.0f}", f"{peaks[name] / peaks[ours]:.1f}", *wrong,
            "finite" if finite else "NaN",
        )  # fmt: skip
    console.print(f"Features {' × '.join(map(str, shape))}, float32", highlight=False)
    console.print(table)


def scipy_frechet(mu1: Tensor, a: Tensor, mu2: Tensor, b: Tensor) -> float:
    """As implementations of FID have it."""
    root: Any = scipy_sqrtm((a @ b).numpy()).real
    return float((mu1 - mu2).square().sum() + a.trace() + b.trace()) - 2 * float(root.trace())


def distances(n: int, rounds: int, console: Console) -> None:
    """Measure and print."""
    generator = torch.Generator().manual_seed(0)

    def gaussian(samples: int, decay: float) -> tuple[Tensor, Tensor]:
        x = torch.randn(samples, n, dtype=torch.float64, generator=generator)
        x = x @ torch.randn(n, n, dtype=torch.float64, generator=generator) / n**0.5
        x = x * torch.logspace(0, decay, n, dtype=torch.float64)
        return x.mean(0), x.T.cov()

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("samples", "d²", "SciPy's", "apart by", "ours, s", "SciPy's, s", "over ours"):
        table.add_column(heading, justify="right")
    for samples in (3 * n, n // 2):
        gaussians = *gaussian(samples, -1.0), *gaussian(samples, -1.5)
        tasks = {"ours": lambda g=gaussians: frechet(*g), "theirs": lambda g=gaussians: scipy_frechet(*g)}
        times = {name: median(found) for name, found in side_by_side(tasks, rounds).items()}
        value, other = float(frechet(*gaussians)), scipy_frechet(*gaussians)
        table.add_row(
            str(samples), f"{value:.10g}", f"{other:.10g}", f"{abs(value - other) / other:.1e}",
            f"{times['ours']:.2f}", f"{times['theirs']:.2f}", f"{times['theirs'] / times['ours']:.1f}",
        )  # fmt: skip
    console.print(f"Fréchet distance, n = {n}, float64", highlight=False)
    console.print(table)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="at a small size, one round")
    quick = parser.parse_args().quick
    console = Console(width=120)
    machine = environment(torch.device("cpu"))
    console.print(f"{machine['device']}, {machine['threads']} threads, PyTorch {machine['torch']}\n", highlight=False)
    for shape in [(4, 64, 5, 5)] if quick else [(32, 256, 14, 14), (128, 32, 14, 14)]:
        pooling(shape, 1 if quick else 15, console)
    distances(64 if quick else 2048, 1, console)


if __name__ == "__main__":
    main()
