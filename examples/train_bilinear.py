"""Pooling heads compared: average, bilinear, and bilinear with the matrix square root.

    python examples/train_bilinear.py --out docs/train_bilinear.json --plot docs/train_bilinear.png
    python examples/train_bilinear.py --show docs/train_bilinear.json

Lin & Maji, *Improved Bilinear Pooling with CNNs* (BMVC 2017), find that the matrix square root of bilinear features
makes a classifier more accurate, and that a few Newton–Schulz steps do as well as the exact root. Here the same is
asked of the handwritten digits of scikit-learn and a CNN of two convolutions, trained from scratch: only the pooling,
and with it the size of the linear layer behind, differ. As in VGG networks there is no batch normalisation;
``--batch-norm`` adds it.

The last 497 images are the test set, by which nothing is chosen. A seed draws the first weights of the convolutions,
the same for every head, the order of the batches, and which other images are for training and which for validation.
Each head's learning rate is the one of three that is most accurate in validation, averaged over the first two seeds.
Intervals tell of other seeds, not of other test images.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import torch
from torch import Tensor, nn

import sqrtm

try:
    from matplotlib.figure import Figure
    from rich.box import HORIZONTALS
    from rich.console import Console
    from rich.table import Table
    from scipy.stats import t as student
    from sklearn.datasets import load_digits
except ImportError as missing:
    sys.exit(f"{missing}; this example needs pip install 'sqrtm[compare]'")

FIVE_STEPS = sqrtm.NewtonSchulz(steps=5, scaling="trace")
HEADS = {
    "average": lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    "bilinear": lambda: sqrtm.nn.BilinearPooling(matrix_sqrt=False, signed_sqrt=True, normalize=True),
    "bilinear, exact root": lambda: sqrtm.nn.BilinearPooling(),
    "bilinear, 5-step root": lambda: sqrtm.nn.BilinearPooling(FIVE_STEPS, "unrolled"),
}
COMPARED = [(1, 0), (2, 1), (3, 1), (2, 3)]
"""Which head is held against which other one."""
CHANNELS, TRAIN, TEST, BATCH, TUNING = 32, 1000, 497, 50, 2


def network(head: str, batch_norm: bool) -> nn.Sequential:
    """Two convolutions, the pooling, and a linear layer."""
    layers: list[nn.Module] = []
    for channels in (1, CHANNELS):
        norm = nn.BatchNorm2d(CHANNELS) if batch_norm else nn.Identity()
        layers += [nn.Conv2d(channels, CHANNELS, 3, padding=1), norm, nn.ReLU()]
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers, HEADS[head](), nn.Linear(CHANNELS if head == "average" else CHANNELS**2, 10))


def train(head: str, rate: float, seed: int, epochs: int, batch_norm: bool) -> dict[str, Any]:
    """Train one network: its accuracy in validation, that in the test after each epoch, and the seconds of an epoch."""
    digits = load_digits()
    x, y = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1), torch.tensor(digits.target)
    torch.manual_seed(seed)
    learning, validation = torch.randperm(len(x) - TEST).split([TRAIN, len(x) - TEST - TRAIN])
    x = (x - x[learning].mean()) / x[learning].std()
    orders = [learning[torch.randperm(TRAIN)].split(BATCH) for _ in range(epochs)]
    net = network(head, batch_norm)
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    tests, seconds = [], []
    for batches in orders:
        net.train()
        start = time.perf_counter()
        for batch in batches:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
        seconds.append(time.perf_counter() - start)
        schedule.step()
        tests.append(accuracy(net, x[-TEST:], y[-TEST:]))
    return {"validation": accuracy(net, x[validation], y[validation]), "test": tests, "seconds": median(seconds)}


@torch.no_grad()
def accuracy(net: nn.Module, x: Tensor, y: Tensor) -> float:
    """Percent of images whose class is found."""
    return 100 * (net.eval()(x).argmax(1) == y).double().mean().item()


def experiment(seeds: int, epochs: int, grid: list[float], batch_norm: bool) -> dict[str, Any]:
    """Choose each head's learning rate, and train with it from every seed."""
    tuning = min(seeds, TUNING)
    tried = {(head, rate): [train(head, rate, seed, epochs, batch_norm) for seed in range(tuning)]
             for rate in grid for head in HEADS}  # fmt: skip
    score = {key: mean(run["validation"] for run in runs) for key, runs in tried.items()}
    rates = {head: max(grid, key=lambda rate, head=head: score[head, rate]) for head in HEADS}
    runs = {head: tried[head, rate] for head, rate in rates.items()}
    for seed in range(tuning, seeds):
        for head, rate in rates.items():
            runs[head].append(train(head, rate, seed, epochs, batch_norm))
    return {"seeds": seeds, "epochs": epochs, "batch_norm": batch_norm, "rates": rates, "runs": runs}


def paired(record: dict[str, Any], better: str, worse: str) -> tuple[float, float]:
    """By how many points one head is ahead of another in the test, seed by seed: mean, and half its 95 % interval."""
    pairs = zip(record["runs"][better], record["runs"][worse], strict=True)
    ahead = [one["test"][-1] - other["test"][-1] for one, other in pairs]
    n = len(ahead)
    return mean(ahead), float(student.ppf(0.975, n - 1)) * stdev(ahead) / math.sqrt(n) if n > 1 else math.inf


def show(record: dict[str, Any], console: Console) -> None:
    """Print the table, the differences, and what follows from them."""
    names, runs = list(HEADS), record["runs"]
    console.print(
        f"Digits, {TRAIN} images to train on, {TEST} to test on; two convolutions"
        f"{' with batch normalisation' * record['batch_norm']}; {record['epochs']} epochs, {record['seeds']} seeds\n"
    )
    table = Table("pooling", box=HORIZONTALS, show_edge=False)
    for column in ("learning rate", "test accuracy, %", "time of an epoch"):
        table.add_column(column, justify="right")
    times = {head: median(run["seconds"] for run in runs[head]) for head in names}
    for head in names:
        last = [run["test"][-1] for run in runs[head]]
        spread = f"{stdev(last):.1f}" if len(last) > 1 else "?"
        table.add_row(head, f"{record['rates'][head]:g}", f"{mean(last):.1f} ± {spread}",
                      f"{times[head] / times['average']:.1f}×")  # fmt: skip
    console.print(table)
    console.print("Mean ± standard deviation over seeds; times over that of average pooling.\n")
    console.print("Ahead in the test by so many points, paired by seed, with its 95 % confidence interval:")
    signs = {}
    for one, other in COMPARED:
        gap, half = paired(record, names[one], names[other])
        signs[one, other] = 0 if abs(gap) <= half else math.copysign(1, gap)
        verdict = {1: "more accurate", 0: "no difference shown", -1: "less accurate"}[signs[one, other]]
        console.print(f"  {names[one]} over {names[other]}: {gap:+.1f} ± {half:.1f}: {verdict}")
    order = "matrix square root > bilinear > average"
    holds = min(signs[1, 0], signs[2, 1], signs[3, 1]) > 0
    console.print(f"\n{order}, as the paper has it, {'holds' if holds else 'is not shown'} here.")


def draw(record: dict[str, Any], path: Path) -> None:
    """Accuracy against epoch, a band a head."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    epochs = range(1, record["epochs"] + 1)
    for (head, runs), style in zip(record["runs"].items(), (":", "-.", "-", "--"), strict=True):
        curves = torch.tensor([run["test"] for run in runs], dtype=torch.float64)
        middle, spread = curves.mean(0), curves.std(0, correction=min(1, len(runs) - 1))
        axes.plot(epochs, middle, style, label=head)
        axes.fill_between(epochs, middle - spread, middle + spread, alpha=0.15)
    axes.set(xlabel="epoch", ylabel="test accuracy, %", title=f"Digits, mean ± standard deviation of {len(runs)} seeds")
    axes.set_ylim(top=101)
    axes.grid(color="0.9")
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)


def main(argv: list[str] | None = None) -> None:
    """Run, or read a record; print, draw, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.003, 0.01, 0.03], help="to choose from")
    parser.add_argument("--batch-norm", action="store_true", help="normalise behind each convolution")
    parser.add_argument("--out", type=Path, help="write a record, JSON")
    parser.add_argument("--plot", type=Path, default=Path("train_bilinear.png"))
    parser.add_argument("--show", type=Path, help="print a record, and run nothing")
    args = parser.parse_args(argv)
    console = Console(width=120, highlight=False)
    if args.show:
        show(json.loads(args.show.read_text(encoding="utf-8")), console)
        return
    record = experiment(args.seeds, args.epochs, args.rates, args.batch_norm)
    show(record, console)
    draw(record, args.plot)
    if args.out:
        args.out.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)  # steps this short are over before a second thread is under way
    main()
