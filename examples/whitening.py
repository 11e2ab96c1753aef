"""`sqrtm.nn.Whitening`: patches of a photograph with the identity as covariance, and decorrelated batch normalisation.

    python examples/whitening.py --plot docs/whitening.png

First, 12 × 12 patches of a photograph: how far from I their covariance is, after `torch.nn.BatchNorm1d`, which sees to
the diagonal, and after whitening by ZCA, y = Σ^{-1/2}(x − μ). A row of Σ^{-1/2} holds a point against its surroundings
(Bell & Sejnowski, *The "independent components" of natural scenes are edge filters*, Vision Research 37, 1997). Then a
CNN on the handwritten digits of scikit-learn, with nothing, batch normalisation or whitening behind each convolution
(Huang, Yang, Lang & Deng, *Decorrelated Batch Normalization*, CVPR 2018), by gradient descent. What is compared is the
mean loss of all steps, with the learning rate, one of four, at which it is least for the first two seeds.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, cross_entropy

import sqrtm

try:
    from matplotlib.figure import Figure
    from PIL import Image
    from rich.box import HORIZONTALS
    from rich.console import Console
    from rich.table import Table
    from scipy.stats import t as student
    from sklearn.datasets import load_digits, load_sample_image
except ImportError as missing:
    sys.exit(f"{missing}; this example needs pip install 'sqrtm[compare]'")

SIDE = 12
FIVE_STEPS = sqrtm.NewtonSchulz(steps=5, scaling="trace")
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "nothing": lambda channels: nn.Identity(),
    "batch normalisation": nn.BatchNorm2d,
    "whitening": sqrtm.nn.Whitening,
    "whitening, groups of 8": lambda channels: sqrtm.nn.Whitening(channels, groups=channels // 8),
}
CHANNELS, TRAIN, TEST, BATCH, TUNING = 32, 1000, 497, 100, 2


def from_identity(y: Tensor) -> float:
    """The largest entry of |cov(y) − I|, in float64."""
    cov = torch.cov(y.detach().double().mT, correction=0)
    return (cov - torch.eye(len(cov))).abs().max().item()


def whiten(console: Console) -> tuple[Tensor, Tensor, Tensor]:
    """Whiten patches, and tell how well: the photograph, the filters Σ^{-1/2}, and the photograph through one."""
    photo = torch.tensor(load_sample_image("china.jpg"), dtype=torch.float64).mean(-1) / 255
    patches = photo.unfold(0, SIDE, 3).unfold(1, SIDE, 3).reshape(-1, SIDE**2)
    patches = (patches - patches.mean()) / patches.std()
    n = SIDE**2
    layer = sqrtm.nn.Whitening(n, eps=0, momentum=None, affine=False, dtype=torch.float64)
    outputs = {
        "nothing": patches,
        "batch normalisation": nn.BatchNorm1d(n, eps=1e-12, dtype=torch.float64)(patches),
        "whitening": layer(patches),
        "whitening, float32, eps = 1e-5": sqrtm.nn.Whitening(n)(patches.float()),
        "whitening by five steps": sqrtm.nn.Whitening(n, method=FIVE_STEPS, gradient="unrolled")(patches.float()),
    }
    kappa = torch.linalg.cond(layer.running_cov[0]).item()
    console.print(
        f"{len(patches)} patches {SIDE} × {SIDE} of a photograph, covariance of condition number {kappa:.2g}\n"
    )
    table = Table("after", box=HORIZONTALS, show_edge=False)
    table.add_column("largest entry of |covariance − I|", justify="right")
    for name, y in outputs.items():
        table.add_row(name, f"{from_identity(y):.1e}")
    console.print(table)
    filters = sqrtm.invsqrtm(layer.running_cov[0]).view(n, SIDE, SIDE)
    middle = filters[SIDE // 2 * SIDE + SIDE // 2]
    return photo, filters, conv2d(photo[None, None], middle[None, None])[0, 0]


def train(norm: str, rate: float, seed: int, epochs: int) -> dict[str, Any]:
    """Train one network: the loss of each step, the accuracy in the test, seconds of an epoch."""
    digits = load_digits()
    x, y = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1), torch.tensor(digits.target)
    torch.manual_seed(seed)
    learning = torch.randperm(len(x) - TEST)[:TRAIN]
    x = (x - x[learning].mean()) / x[learning].std()
    orders = [learning[torch.randperm(TRAIN)].split(BATCH) for _ in range(epochs)]
    layers: list[nn.Module] = []
    for channels, stride in ((1, 1), (CHANNELS, 2), (CHANNELS, 2)):
        layers += [nn.Conv2d(channels, CHANNELS, 3, stride, padding=1), NORMS[norm](CHANNELS), nn.ReLU()]
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * CHANNELS, 10))
    optimizer = torch.optim.SGD(net.parameters(), lr=rate)
    losses, start = [], time.perf_counter()
    for batch in (batch for order in orders for batch in order):
        optimizer.zero_grad()
        loss = cross_entropy(net(x[batch]), y[batch])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    seconds = (time.perf_counter() - start) / epochs
    with torch.no_grad():
        right = (net.eval()(x[-TEST:]).argmax(1) == y[-TEST:]).double().mean().item()
    return {"losses": losses, "test": 100 * right, "seconds": seconds}


def compare(seeds: int, epochs: int, grid: list[float], console: Console) -> dict[str, list[dict[str, Any]]]:
    """Train with each norm at its best learning rate, and tell which is ahead: the runs, one a seed."""
    runs, table = {}, Table("behind each convolution", box=HORIZONTALS, show_edge=False)
    for column in ("learning rate", "mean loss of all steps", "test accuracy, %", "time of an epoch"):
        table.add_column(column, justify="right")
    for norm in NORMS:
        tried = {rate: [train(norm, rate, seed, epochs) for seed in range(min(seeds, TUNING))] for rate in grid}
        rate = min(grid, key=lambda rate, tried=tried: mean(mean(run["losses"]) for run in tried[rate]))
        runs[norm] = tried[rate] + [train(norm, rate, seed, epochs) for seed in range(TUNING, seeds)]
        loss, test = (mean(x) for x in ([mean(r["losses"]) for r in runs[norm]], [r["test"] for r in runs[norm]]))
        seconds = [median(run["seconds"] for run in runs[name]) for name in (norm, "nothing")]
        table.add_row(norm, f"{rate:g}", f"{loss:.3f}", f"{test:.1f}", f"{seconds[0] / seconds[1]:.1f}×")
    console.print(f"\nDigits, CNN of three convolutions, {epochs} epochs, {seeds} seeds\n")
    console.print(table)
    console.print("\nMean loss over that with batch normalisation, paired by seed, with its 95 % confidence interval:")
    for norm in list(NORMS)[2:]:
        pairs = zip(runs[norm], runs["batch normalisation"], strict=True)
        ahead = [mean(one["losses"]) - mean(other["losses"]) for one, other in pairs]
        half = student.ppf(0.975, seeds - 1) * stdev(ahead) / math.sqrt(seeds) if seeds > 1 else math.inf
        gap = mean(ahead)
        verdict = "no difference shown" if abs(gap) <= half else "trains faster" if gap < 0 else "trains more slowly"
        console.print(f"  {norm}: {gap:+.3f} ± {half:.3f}: {verdict}")
    return runs


def draw(photo: Tensor, filters: Tensor, whitened: Tensor, runs: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """The photograph before and after, some filters, and loss against step."""
    figure = Figure(figsize=(10, 7), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=[2, 3])
    limit = whitened.abs().quantile(0.99).item()
    panels = upper.subplots(1, 3, width_ratios=[3, 3, 2])
    panels[0].imshow(photo.numpy(), cmap="gray")
    panels[1].imshow(whitened.numpy(), cmap="gray", vmin=-limit, vmax=limit)
    rows = [SIDE // 4 * i * SIDE + SIDE // 4 * j for i in range(1, 4) for j in range(1, 4)]
    tiles = torch.nn.functional.pad(filters[rows] / filters[rows].abs().amax((1, 2), keepdim=True), (0, 1, 0, 1))
    panels[2].imshow(
        torch.cat([torch.cat([*tiles[i : i + 3]], 1) for i in (0, 3, 6)]).numpy(), cmap="RdBu_r", vmin=-0.4, vmax=0.4
    )
    for axes, title in zip(panels, ("photograph", r"whitened by one row of $\Sigma^{-1/2}$", "nine rows"), strict=True):
        axes.set_axis_off()
        axes.set_title(title)
    axes = lower.subplots()
    for (norm, some), style in zip(runs.items(), (":", "-", "--", "-."), strict=True):
        curves = torch.tensor([run["losses"] for run in some])
        axes.semilogy(range(1, curves.shape[1] + 1), curves.mean(0), style, label=norm)
    axes.set(xlabel="step", ylabel="training loss", title=f"Digits, mean of {len(some)} seeds")
    axes.grid(color="0.9")
    axes.legend()
    figure.savefig(path, dpi=90)
    Image.open(path).quantize(256).save(path, optimize=True)


def main(argv: list[str] | None = None) -> None:
    """Whiten, train, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.1, 0.3, 1, 3], help="to choose from")
    parser.add_argument("--plot", type=Path, default=Path("whitening.png"))
    args = parser.parse_args(argv)
    console = Console(width=120, highlight=False)
    images = whiten(console)
    draw(*images, compare(args.seeds, args.epochs, args.rates, console), args.plot)


if __name__ == "__main__":
    torch.set_num_threads(1)  # steps this short are over before a second thread is under way
    main()
