"""`auto` on the CPU, side by side with what else there is, gated on accuracy.

    python benchmarks/cpu.py [--quick] [--elements N] [--out benchmarks/results/cpu.json] [--plot docs/cpu.png]
    python benchmarks/cpu.py --show benchmarks/results/cpu.json

For every n, condition number and dtype, forward and forward + backward: ours; (a) the original experiment's
algorithm; (b) `eigh` with the Loewner form from saved eigenvectors, in float32 for κ ≤ 1e2 and in float64 above,
where float32 misses what `auto` promises; (c) `torch.linalg.matrix_sqrth` where PyTorch has it. Who misses the promise
is not timed.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from math import exp, log
from pathlib import Path
from typing import Any

import torch
from common import (
    DISTINCT,
    eigh_loewner,
    forward,
    forward_and_backward,
    matrices,
    median,
    reference_algorithm,
    side_by_side,
)
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

import sqrtm
from sqrtm.compare.cases import make_case
from sqrtm.compare.measure import environment
from sqrtm.compare.reference import Extended, reference

SIZES = (2, 3, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
CONDITIONS = (1.65, 1e2, 1e4, 1e6)
PRODUCT = "one product"
"""Of the matrices of the batch, for scale: what the time of all else is made of."""
MODES = {"forward": forward, "forward + backward": forward_and_backward}


def promised(dtype: torch.dtype, condition: float) -> tuple[float, float]:
    """Largest errors of A^{1/2} and its gradient that `auto` promises (float32, κ = 1e6: about float32 eigh's)."""
    if dtype == torch.float64:
        return 1e-11, 1e-10
    return (5e-6, 3e-5) if condition <= 1e3 else (1.2e-5, 3e-4) if condition <= 1e4 else (1e-4, 2e-2)


def contenders(dtype: torch.dtype, condition: float, n: int) -> dict[str, Any]:
    """Everyone, by name; the original's 90 products of smaller matrices take longer than all else together."""
    working = torch.float32 if dtype == torch.float32 and condition <= 1e2 else torch.float64
    found: dict[str, Any] = {"ours": sqrtm.sqrtm, "eigh + Loewner": eigh_loewner(working)}
    if n >= 8 and condition < 10:  # beyond, ten steps do not converge
        found["original"] = reference_algorithm
    if hasattr(torch.linalg, "matrix_sqrth"):
        found["matrix_sqrth"] = torch.linalg.matrix_sqrth
    return found


def errors(root: Any, a: torch.Tensor, g: torch.Tensor, truth: tuple[Extended, Extended]) -> tuple[float, float]:
    """Of the worst matrix; infinite for NaN."""
    s = root(a)
    (x,) = torch.autograd.grad(s, a, g)
    found = (float(t.error(y.detach()).max()) for t, y in zip(truth, (s, x), strict=True))
    first, second = (e if e == e else float("inf") for e in found)
    return first, second


def measure(
    a: torch.Tensor, period: int, roots: dict[str, Any], limits: tuple[float, float], rounds: int
) -> dict[str, Any]:
    """Errors of all, and times of those that are accurate and of a product; ``a`` repeats after ``period`` matrices."""
    g = torch.randn(a.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(a.dtype)
    g = (g + g.mT) / 2
    few = slice(0, period)
    truth = reference(a[few], g[few], extended=a.dtype == torch.float64)
    a.requires_grad_()
    sample = a.detach()[few].clone().requires_grad_()
    result: dict[str, Any] = {name: {} for name in roots}
    for name, root in roots.items():
        if name == "ours":  # in the batch: what runs depends on it
            everything = (Extended(*(x.repeat(-(-len(a) // len(x)), 1, 1)[: len(a)] for x in t)) for t in truth)
            repeated = g[few].repeat(-(-len(a) // len(g[few])), 1, 1)[: len(a)]
            result[name]["errors"] = errors(root, a, repeated, tuple(everything))
        else:
            result[name]["errors"] = errors(root, sample, g[few], truth)
        result[name]["ok"] = all(e <= limit for e, limit in zip(result[name]["errors"], limits, strict=True))
    x, y = a.detach(), torch.empty_like(g)
    for mode, run in MODES.items():
        tasks = {name: lambda root=root, run=run: run(root, a, g) for name, root in roots.items() if result[name]["ok"]}
        tasks[PRODUCT] = lambda: torch.bmm(x, g, out=y)
        for name, times in side_by_side(tasks, rounds, least=2e-3).items():
            result.setdefault(name, {})[mode] = median(times)
    return result


def cell(n: int, condition: float, dtype: torch.dtype, elements: int, rounds: int) -> dict[str, Any]:
    """One row of the grid."""
    a = matrices(n, condition, dtype, elements)
    ways = [line.partition(" by ")[2] for line in sqrtm.explain(a).splitlines()[2:]]
    ran = [re.split("[,:]", way)[0] for way in ways]
    found = measure(a, min(DISTINCT, len(a)), contenders(dtype, condition, n), promised(dtype, condition), rounds)
    name = str(dtype).removeprefix("torch.")
    return {"n": n, "batch": len(a), "condition": condition, "dtype": name, "ran": ran, "contenders": found}


def speedup(row: dict[str, Any], mode: str, over: str) -> float | None:
    """Of ours, in this cell; None where somebody was not accurate."""
    ours, other = row["contenders"]["ours"].get(mode), row["contenders"].get(over, {}).get(mode)
    return other / ours if ours and other else None


def geometric_mean(rows: list[dict[str, Any]], most: int) -> float:
    """Of the speedups over (b) for n ≤ ``most``, both modes."""
    found = [speedup(row, mode, "eigh + Loewner") for row in rows if row["n"] <= most for mode in MODES]
    logs = [log(x) for x in found if x]  # who misses the gate is seen in the table
    return exp(sum(logs) / len(logs))


def show(rows: list[dict[str, Any]], headline: dict[str, Any], console: Console) -> None:
    """Print the reference problem and the grid."""
    console.print("B = 128, n = 64, 1000 points, tau 1, float32:", highlight=False)
    for name, result in headline.items():
        times = " ".join(f"{mode} {result[mode] * 1e3:.2f} ms," for mode in MODES if mode in result)
        if name == PRODUCT:
            counts = " and ".join(f"{headline['ours'][m] / result[m]:.1f}" for m in MODES)
            console.print(
                f"  {name}: {result['forward'] * 1e3:.2f} ms; ours takes as long as {counts}", highlight=False
            )
            continue
        s, x = result["errors"]
        ratios = ""
        if name != "ours" and "forward" in result:
            ratios = "; ours is " + " and ".join(f"{result[m] / headline['ours'][m]:.2f}×" for m in MODES) + " as fast"
        console.print(f"  {name}: {times} errors {s:.1e} and {x:.1e}{ratios}", highlight=False)
    sizes = sorted({row["n"] for row in rows})
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("dtype", "κ", "", *map(str, sizes), "error"):
        table.add_column(heading, justify="left" if heading in ("dtype", "") else "right")
    groups: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["dtype"], row["condition"]), []).append(row)
    for (dtype, condition), group in groups.items():
        for k, mode in enumerate(MODES):
            cells = {row["n"]: _cell(row, mode) for row in group}
            worst = max(row["contenders"]["ours"]["errors"][k] for row in group)
            name, kappa = ("", "") if k else (dtype, f"{condition:g}")
            table.add_row(name, kappa, "f+b" if k else "f", *(cells.get(n, "") for n in sizes), f"{worst:.0e}")
    elements = rows[0]["batch"] * rows[0]["n"] ** 2
    console.print(f"\nTimes as fast as eigh + Loewner, by n, for batches of {elements:.1e} elements", highlight=False)
    console.print(table)
    console.print(
        "c closed form, m minimax, e eigenvalues; –: eigh + Loewner missed the promise; error: ours, the largest,"
    )
    console.print("of A^{1/2} (f) and of the gradient (f+b)")
    console.print(f"geometric mean for n ≤ 128: {geometric_mean(rows, 128):.2f}", highlight=False)


def _cell(row: dict[str, Any], mode: str) -> str:
    """The speedup, where both were accurate, and how it was come by."""
    found = speedup(row, mode, "eigh + Loewner")
    letters = "".join(way[0] for way in row["ran"])
    return f"{'–' if found is None else f'{found:.2f}'}{letters}"


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Speedup over (b) against n, one line a condition number."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True, sharey=True)
    for axes, mode in zip(panels, MODES, strict=True):
        for ax, dtype in zip(axes, ("float32", "float64"), strict=True):
            for condition, style in zip(CONDITIONS, ("o-", "s--", "^-.", "v:"), strict=True):
                points = [(r["n"], speedup(r, mode, "eigh + Loewner")) for r in rows
                          if r["dtype"] == dtype and r["condition"] == condition]  # fmt: skip
                points = [(n, x) for n, x in points if x]
                ax.plot([n for n, _ in points], [x for _, x in points], style, label=f"κ = {condition:g}")
            ax.axhline(1, color="0.3", linewidth=1)
            ax.set(xscale="log", yscale="log", title=f"{dtype}, {mode}")
            ax.set_xticks(SIZES, [str(n) for n in SIZES])
            ax.minorticks_off()
            ax.set_yticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
            ax.grid(color="0.9")
    panels[0, 0].legend()
    figure.supxlabel(f"n (batches of {rows[0]['batch'] * rows[0]['n'] ** 2:.1e} elements)")
    figure.supylabel("times as fast as eigh + Loewner with saved eigenvectors")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a corner of the grid, one round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--elements", type=int, default=2**21, help="of a batch")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--show", type=Path, help="print a record, and run nothing")
    args = parser.parse_args()
    console = Console(width=120)
    if args.show:
        record = json.loads(args.show.read_text(encoding="utf-8"))
        show(record["grid"], record["reference problem"], console)
        return
    case = make_case("synthetic", batch_size=128, dim=64, pts=1000, tau=1.0, seed=0,
                     dtype=torch.float32, device=torch.device("cpu"))  # fmt: skip
    rounds = 1 if args.quick else args.rounds
    headline = measure(
        case.a, 128, contenders(torch.float32, 1.65, 64), promised(torch.float32, 1.65), 1 if args.quick else 60
    )
    sizes, conditions = ((4, 16), (1.65, 1e4)) if args.quick else (SIZES, CONDITIONS)
    rows = []
    for dtype in (torch.float32, torch.float64):
        for condition in conditions:
            for n in sizes:
                rows.append(cell(n, condition, dtype, args.elements, rounds))
                print(dtype, condition, n, file=sys.stderr)
    show(rows, headline, console)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        content = {"environment": environment(torch.device("cpu")), "reference problem": headline, "grid": rows}
        args.out.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if args.plot:
        draw(rows, args.plot)


if __name__ == "__main__":
    main()
