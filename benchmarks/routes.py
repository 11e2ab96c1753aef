"""Why `auto` chooses as it does for batches of few matrices (large ones: cpu.py).

    python benchmarks/routes.py

Every way to compute a batch, by how many times as fast as `eigh` + Loewner with nothing checked (in the dtype of the
matrices) it is, forward / forward + backward. The rows SMALL of `sqrtm._auto` are where the best changes.
"""

from __future__ import annotations

import torch
from common import EighLoewner, forward, forward_and_backward, matrices, median, side_by_side
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

import sqrtm
from sqrtm.methods.routed import EIGEN, EIGEN32, ITERATE, Routed

MODES = {"f": forward, "f+b": forward_and_backward}


def ways(dtype: torch.dtype) -> dict[str, sqrtm.Method]:
    """All matrices by one route."""
    names = (ITERATE, EIGEN32, EIGEN) if dtype == torch.float32 else (ITERATE, EIGEN)
    return {name: Routed(name) for name in names}


def main() -> None:
    """Measure and print."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("dtype", "κ", "n", "batch", "elements", ITERATE, EIGEN32, EIGEN):
        table.add_column(heading, justify="right")
    for dtype in (torch.float32, torch.float64):
        for condition in (1.65, 1e2):
            for n in (8, 16, 32, 64, 128):
                for elements in (2**12, 2**14, 2**16, 2**18):
                    a = matrices(n, condition, dtype, elements).requires_grad_()
                    g = torch.ones_like(a).detach()
                    roots = {k: lambda a, m=m: sqrtm.sqrtm(a, method=m) for k, m in ways(dtype).items()}
                    roots["eigh"] = lambda a, dtype=dtype: EighLoewner.apply(a, dtype)
                    found: dict[str, list[str]] = {name: [] for name in roots}
                    for run in MODES.values():
                        tasks = {k: lambda root=root, run=run: run(root, a, g) for k, root in roots.items()}
                        times = {k: median(x) for k, x in side_by_side(tasks, rounds=9, least=1e-3).items()}
                        for name, time in times.items():
                            found[name].append(f"{times['eigh'] / time:.2f}")
                    cells = [" / ".join(found.get(name, ["–"])) for name in (ITERATE, EIGEN32, EIGEN)]
                    size = [str(n), str(len(a)), str(a.numel())]
                    table.add_row(str(dtype).removeprefix("torch."), f"{condition:g}", *size, *cells)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
