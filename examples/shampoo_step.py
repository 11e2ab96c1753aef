"""Shampoo with the inverse fourth root in two calls: A^{-1/4} = (A^{-1/2})^{1/2}.

    python examples/shampoo_step.py --plot docs/shampoo.png

Gupta, Koren & Singer, *Shampoo: Preconditioned Stochastic Tensor Optimization* (ICML 2018), Algorithm 1: of the
gradient G of a matrix W the sums L = εI + Σ GGᵀ and R = εI + Σ GᵀG are kept, and W ← W − η L^{-1/4} G R^{-1/4}, here
with momentum. A network of three layers learns the handwritten digits of scikit-learn by SGD with momentum, by Adam and
by Shampoo, with the same first weights and batches, for the same number of steps. The step size is the one of the grid
with the least mean loss of all steps, for the first two seeds. Then every root met on the way is held against
eigenvalues in float64, beside what float32 eigenvalues would have given.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

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

TRAIN, TEST, BATCH, TUNING = 1000, 497, 100, 2


def inverse_fourth_root(A: Tensor) -> Tensor:
    """A^{-1/4} of a definite matrix."""
    return sqrtm.sqrtm(sqrtm.invsqrtm(A))


class Shampoo(torch.optim.Optimizer):
    """Shampoo for matrices, and for vectors as matrices of one column; keeps what it took roots of, and the seconds."""

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.9, eps: float = 1e-4) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "eps": eps})
        self.met: list[Tensor] = []
        self.seconds = 0.0

    @torch.no_grad()
    def step(self) -> None:
        """One step."""
        for group in self.param_groups:
            for p in group["params"]:
                G, state = p.grad.reshape(len(p), -1), self.state[p]
                if not state:
                    state["sums"] = [group["eps"] * torch.eye(n) for n in G.shape]
                    state["momentum"] = torch.zeros_like(G)
                L, R = state["sums"]
                L += G @ G.mT
                R += G.mT @ G
                start = time.perf_counter()
                left, right = inverse_fourth_root(L), inverse_fourth_root(R)
                self.seconds += time.perf_counter() - start
                state["momentum"].mul_(group["momentum"]).add_(left @ G @ right)
                p -= group["lr"] * state["momentum"].view_as(p)
                self.met += [A.clone() for A in (L, R) if len(A) > 1]


OPTIMIZERS = {
    "SGD": lambda params, lr: torch.optim.SGD(params, lr=lr, momentum=0.9),
    "Adam": lambda params, lr: torch.optim.Adam(params, lr=lr),
    "Shampoo": Shampoo,
}


def train(name: str, rate: float, seed: int, epochs: int) -> dict[str, Any]:
    """Train from a seed: the loss of each step, the accuracy in the test, and what Shampoo met."""
    digits = load_digits()
    x, y = torch.tensor(digits.data, dtype=torch.float32), torch.tensor(digits.target)
    torch.manual_seed(seed)
    learning = torch.randperm(len(x) - TEST)[:TRAIN]
    x = (x - x[learning].mean()) / x[learning].std()
    batches = [batch for _ in range(epochs) for batch in learning[torch.randperm(TRAIN)].split(BATCH)]
    net = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))
    optimizer, losses, start = OPTIMIZERS[name](net.parameters(), rate), [], time.perf_counter()
    for batch in batches:
        optimizer.zero_grad()
        loss = cross_entropy(net(x[batch]), y[batch])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    seconds = time.perf_counter() - start
    with torch.no_grad():
        test = 100 * (net(x[-TEST:]).argmax(1) == y[-TEST:]).double().mean().item()
    return {"losses": losses, "loss": mean(losses), "test": test, "seconds": seconds, "optimizer": optimizer}


def compare(seeds: int, epochs: int, grid: list[float], console: Console) -> dict[str, list[dict[str, Any]]]:
    """Train with each optimizer at its best step size, and tell which is ahead: the runs, one a seed."""
    runs, table = {}, Table("", box=HORIZONTALS, show_edge=False)
    for column in ("step size", "mean loss of all steps", "test accuracy, %", "time of a step, ms"):
        table.add_column(column, justify="right")
    for name in OPTIMIZERS:
        tried = {rate: [train(name, rate, seed, epochs) for seed in range(min(seeds, TUNING))] for rate in grid}
        rate = min(grid, key=lambda rate, tried=tried: mean(r["loss"] for r in tried[rate]))
        runs[name] = tried[rate] + [train(name, rate, seed, epochs) for seed in range(TUNING, seeds)]
        tests = [run["test"] for run in runs[name]]
        step = mean(run["seconds"] for run in runs[name]) / len(runs[name][0]["losses"])
        spread = f"{stdev(tests):.1f}" if seeds > 1 else "?"
        table.add_row(name, f"{rate:g}", f"{mean(r['loss'] for r in runs[name]):.3f}", f"{mean(tests):.1f} ± {spread}",
                      f"{1e3 * step:.2f}")  # fmt: skip
    console.print(f"Digits, three layers, {epochs} epochs of {TRAIN // BATCH} steps, {seeds} seeds\n")
    console.print(table)
    for other in ("SGD", "Adam"):
        ahead = [run["loss"] - against["loss"] for run, against in zip(runs["Shampoo"], runs[other], strict=True)]
        gap, n = mean(ahead), len(ahead)
        half = student.ppf(0.975, n - 1) * stdev(ahead) / math.sqrt(n) if n > 1 else math.inf
        verdict = "no difference shown" if abs(gap) <= half else "faster a step" if gap < 0 else "slower a step"
        console.print(f"Shampoo's mean loss over that of {other}: {gap:+.3f} ± {half:.3f} (95 %): {verdict}")
    return runs


def accuracy(met: list[Tensor], console: Console) -> None:
    """Errors of the roots by decade of the condition number."""
    decades: dict[int, list[tuple[float, float, float]]] = {}
    for A in met:
        values, Q = torch.linalg.eigh(A.double())
        exact = (Q * values**-0.25) @ Q.mT
        X = inverse_fourth_root(A)
        values32, Q32 = torch.linalg.eigh(A)
        X32 = (Q32 * values32.clamp(min=torch.finfo().eps * values32[-1].item()) ** -0.25) @ Q32.mT
        errors = [((root - exact).norm() / exact.norm()).item() for root in (X, X32)]
        residual = (torch.linalg.matrix_power(X.double(), 4) @ A.double() - torch.eye(len(A))).norm() / len(A) ** 0.5
        decade = math.floor(math.log10(values[-1] / values[0]))
        decades.setdefault(decade, []).append((*errors, residual.item()))
    table = Table("condition number", box=HORIZONTALS, show_edge=False)
    for column in ("matrices", "error", "of float32 eigh", "‖X⁴A − I‖/‖I‖"):
        table.add_column(column, justify="right")
    for decade, found in sorted(decades.items()):
        worst = (f"{max(column):.0e}" for column in zip(*found, strict=True))
        table.add_row(f"1e{decade}–1e{decade + 1}", str(len(found)), *worst)
    console.print("\nA^{-1/4} of the preconditioners met, float32: the largest errors, relative to float64\n")
    console.print(table)


def main(argv: list[str] | None = None) -> None:
    """Train, look at the roots, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=8)
    rates = [0.003, 0.01, 0.03, 0.1, 0.3, 1]
    parser.add_argument("--rates", type=float, nargs="+", default=rates, help="step sizes to choose from")
    parser.add_argument("--plot", type=Path, default=Path("shampoo.png"))
    args = parser.parse_args(argv)
    console = Console(width=120, highlight=False)
    runs = compare(args.seeds, args.epochs, args.rates, console)
    accuracy([A for run in runs["Shampoo"] for A in run["optimizer"].met], console)
    share = sum(r["optimizer"].seconds for r in runs["Shampoo"]) / sum(r["seconds"] for r in runs["Shampoo"])
    console.print(f"\nRoots take {100 * share:.0f} % of the time of training with Shampoo.")

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    for (name, some), style in zip(runs.items(), (":", "--", "-"), strict=True):
        curves = torch.tensor([run["losses"] for run in some])
        steps = range(1, curves.shape[1] + 1)
        axes.semilogy(steps, curves.mean(0), style, label=name)
        axes.fill_between(steps, curves.amin(0), curves.amax(0), alpha=0.12)
    axes.set(xlabel="step", ylabel="training loss", title=f"Digits, mean and range of {args.seeds} seeds")
    axes.grid(color="0.9")
    axes.legend()
    figure.savefig(args.plot, dpi=120)


if __name__ == "__main__":
    torch.set_num_threads(1)  # steps this short are over before a second thread is under way
    main()
