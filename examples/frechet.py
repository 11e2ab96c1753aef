"""The Fréchet distance between two sets of images by their features, as of the Fréchet Inception distance (FID).

    python examples/frechet.py --plot docs/frechet.png

Heusel, Ramsauer, Unterthiner, Nessler & Hochreiter, *GANs Trained by a Two Time-Scale Update Rule Converge to a Local
Nash Equilibrium* (NeurIPS 2017), compare images by the Gaussians of their features,
‖μ₁ − μ₂‖² + tr(A + B − 2(AB)^{1/2}). Here `sqrtm.distances.frechet` is held against what is in use, the real part of
SciPy's root of the product AB, which is not symmetric. The images are 16 × 16 patches of the two photographs of
scikit-learn; the features are random convolutions, rectified and averaged, with no network to download.

Then by its gradient: a linear map of the features of one photograph, at first the identity, is fitted to bring their
Gaussian to that of the other, by descent on the distance.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import conv2d, relu
from torch.utils.benchmark import Timer

import sqrtm

try:
    import scipy.linalg
    from matplotlib.figure import Figure
    from rich.box import HORIZONTALS
    from rich.console import Console
    from rich.table import Table
    from sklearn.datasets import load_sample_image
except ImportError as missing:
    sys.exit(f"{missing}; this example needs pip install 'sqrtm[compare]'")

SIDE = 16
Gaussian = tuple[Tensor, Tensor]
AMOUNTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Of blur: the standard deviation in pixels. Of noise: that in units of 1/20 of the range of grey levels."""


def photograph(name: str) -> Tensor:
    """A photograph in colour, ``(3, H, W)``, between 0 and 1."""
    return torch.tensor(load_sample_image(name), dtype=torch.float32).permute(2, 0, 1) / 255


def patches(photo: Tensor, count: int, seed: int) -> Tensor:
    """Random patches, ``(count, 3, SIDE, SIDE)``."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = (torch.randint(size - SIDE + 1, (count,), generator=generator) for size in photo.shape[1:])
    offsets = torch.arange(SIDE)
    i, j = rows[:, None, None] + offsets[:, None], columns[:, None, None] + offsets
    return photo[:, i, j].transpose(0, 1)


def gaussian(images: Tensor, dim: int) -> Gaussian:
    """Mean and covariance of the features: random filters, rectified, averaged over each quarter of the patch."""
    filters = torch.randn(dim // 4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    filters -= filters.mean((1, 2, 3), keepdim=True) * (torch.arange(dim // 4) % 4 > 0)[:, None, None, None]
    parts = [relu(conv2d(part, filters)) for part in images.split(500)]
    features = torch.cat([part.unfold(2, 6, 6).unfold(3, 6, 6).mean((-2, -1)).flatten(1) for part in parts]).double()
    return features.mean(0), torch.cov(features.mT)


def blurred(photo: Tensor, sigma: float) -> Tensor:
    """A Gaussian filter along both axes."""
    if not sigma:
        return photo
    offsets = torch.arange(-16, 17)
    kernel = torch.exp(-((offsets / sigma) ** 2) / 2)
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    padded = torch.nn.functional.pad(photo[:, None], (16, 16, 16, 16), mode="reflect")
    return conv2d(conv2d(padded, kernel), kernel.mT)[:, 0]


def noisy(photo: Tensor, amount: float) -> Tensor:
    """Noise of each pixel by itself."""
    return photo + amount / 20 * torch.randn(photo.shape, generator=torch.Generator().manual_seed(0))


def by_scipy(mu1: Tensor, A: Tensor, mu2: Tensor, B: Tensor) -> float:
    """The distance by SciPy."""
    root = scipy.linalg.sqrtm((A @ B).numpy()).real
    return float((mu1 - mu2).square().sum() + A.trace() + B.trace() - 2 * root.trace())


def against_scipy(pairs: dict[str, tuple[Gaussian, Gaussian]], rounds: int, console: Console) -> None:
    """A table of values and times, those of each pair measured by turns."""
    table, warned = Table("", box=HORIZONTALS, show_edge=False), False
    for column in ("sqrtm", "SciPy", "relative difference", "sqrtm, ms", "SciPy, ms", "times as fast"):
        table.add_column(column, justify="right")
    for name, (one, other) in pairs.items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            ours, theirs = sqrtm.distances.frechet(*one, *other).item(), by_scipy(*one, *other)
            names = {"frechet": sqrtm.distances.frechet, "by_scipy": by_scipy, "p": (*one, *other)}
            threads = torch.get_num_threads()
            timers = [Timer(f"{way}(*p)", globals=names, num_threads=threads) for way in ("frechet", "by_scipy")]
            times = torch.tensor([[timer.timeit(1).mean for timer in timers] for _ in range(rounds)]).median(0).values
        warned |= bool(caught)
        difference = "–" if one is other else f"{abs(ours - theirs) / ours:.0e}"
        table.add_row(name, f"{ours:.6g}", f"{theirs:.6g}{'*' if caught else ' '}", difference,
                      *(f"{1e3 * x:.0f}" for x in times.tolist()), f"{times[1] / times[0]:.1f}")  # fmt: skip
    console.print(table)
    console.print("Times: medians, of one run." + " * SciPy warned that the product is singular." * warned + "\n")


def descend(start: Gaussian, target: Gaussian, steps: int) -> list[float]:
    """Distance after each step of Adam on a linear map of features, x ↦ Mx + b, which begins at the identity."""
    (mu, cov), scale = start, target[1].diagonal().mean().sqrt()
    M = torch.eye(len(mu), dtype=mu.dtype).requires_grad_()
    b = torch.zeros_like(mu).requires_grad_()
    optimizer = torch.optim.Adam([{"params": [M], "lr": 0.01}, {"params": [b], "lr": 0.1 * scale.item()}])
    distances = []
    for _ in range(steps + 1):
        optimizer.zero_grad()
        moved = M @ cov @ M.mT
        distance = sqrtm.distances.frechet(M @ mu + b, (moved + moved.mT) / 2, *target)
        distance.backward()
        optimizer.step()
        distances.append(distance.item())
    return distances


def main(argv: list[str] | None = None) -> None:
    """Compare with SciPy, blur, descend, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--dim", type=int, default=512, help="number of features, a multiple of 4")
    parser.add_argument("--count", type=int, default=4000, help="patches of a set")
    parser.add_argument("--steps", type=int, default=60, help="of descent, with 64 features")
    parser.add_argument("--rounds", type=int, default=5, help="of timing")
    parser.add_argument("--plot", type=Path, default=Path("frechet.png"))
    args = parser.parse_args(argv)
    console = Console(width=120, highlight=False)

    china, flower = photograph("china.jpg"), photograph("flower.jpg")
    half = china.shape[2] // 2
    sets = {"china": china, "flower": flower, "left": china[:, :, :half], "right": china[:, :, half:]}
    of = {name: gaussian(patches(photo, args.count, 0), args.dim) for name, photo in sets.items()}
    of["again"] = gaussian(patches(china, args.count, 1), args.dim)
    console.print(f"{args.count} patches {SIDE} × {SIDE} a set, {args.dim} features, float64\n")
    pairs = {"china, flower": ("china", "flower"), "china, left and right half": ("left", "right"),
             "china, other patches of it": ("china", "again"), "china, itself": ("china", "china")}  # fmt: skip
    against_scipy({name: (of[one], of[other]) for name, (one, other) in pairs.items()}, args.rounds, console)

    curves = {
        change.__name__: [
            sqrtm.distances.frechet(*of["china"], *gaussian(patches(change(china, x), args.count, 1), args.dim)).item()
            for x in AMOUNTS
        ]
        for change in (blurred, noisy)
    }
    for name, curve in curves.items():
        rises = all(a < b for a, b in pairwise(curve))
        values = ", ".join(f"{x:.3g}" for x in curve)
        console.print(f"china to china {name} more and more: {values}: {'rises' if rises else 'does not always rise'}")

    small = [gaussian(patches(photo, args.count, 0), 64) for photo in (china, flower)]
    distances = descend(*small, args.steps)
    console.print(
        f"china's features moved to those of flower by {args.steps} steps: {distances[0]:.4g} to {distances[-1]:.3g}"
    )

    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (name, curve), style in zip(curves.items(), ("o-", "s--"), strict=True):
        left.plot(AMOUNTS, curve, style, label=f"{name} china")
    left.axhline(sqrtm.distances.frechet(*of["china"], *of["flower"]).item(), color="0.5", label="flower")
    left.set(yscale="log", xlabel="blur (pixels), noise (1/20 of the range)", ylabel="squared Fréchet distance")
    left.set_title("from patches of china to others")
    left.legend()
    right.semilogy(distances)
    right.set(xlabel="step", title="features of china moved to those of flower by descent")
    for axes in (left, right):
        axes.grid(color="0.9")
    figure.savefig(args.plot, dpi=110)


if __name__ == "__main__":
    main()
