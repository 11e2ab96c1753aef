"""What `sqrtm compare` does, in order."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from ..commands import InputError, device_of, enough_memory
from .cases import Case, make_case
from .flags import DTYPES, MADE, known_methods
from .measure import BASELINE, Pair, Row, all_pairs, environment, measure
from .plot import write_plot
from .reference import reference
from .report import print_table, write_json

WIDTH = 130
"""Columns of the table; a narrower terminal wraps its lines rather than losing some of them."""


def run(args: argparse.Namespace) -> None:
    """Run the comparison that the flags describe.

    Raises
    ------
    InputError
        Something asked for cannot be had; the message is one line for the user.
    """
    device = device_of(args)
    pairs = list(all_pairs(list(dict.fromkeys(args.methods or known_methods())), args.num_iters))
    made = _made_matrices(args)
    for flag, path in (("--json", args.json), ("--plot", args.plot)):
        if path and path.resolve() == Path(args.data).resolve():
            raise InputError(f"{flag} would overwrite the matrices in {args.data}")
    with enough_memory(f"not enough memory for these matrices and their reference on {device}"):
        case = make_case(args.data, **made, seed=args.seed, dtype=DTYPES[args.dtype], device=device)
        conditions = case.condition_numbers()
        truth = reference(case.a, case.g, extended=case.a.dtype == torch.float64)

    batch_size, dim = case.a.shape[:2]
    config = {"data": args.data, **made, "batch_size": batch_size, "dim": dim, "seed": args.seed,
              "dtype": args.dtype, "device": str(device), "num_iters": args.num_iters, "repeats": args.repeats,
              "methods": list(dict.fromkeys(pair.method for pair in pairs)),
              "condition_numbers": [float(f(conditions)) for f in (torch.min, torch.median, torch.max)]}  # fmt: skip
    machine = environment(device)
    matrices = "matrix" if batch_size == 1 else "matrices"
    title = f"{args.data}: {batch_size} {matrices} {dim} × {dim}, {args.dtype}"
    console = Console(width=max(Console().width, WIDTH))
    console.print(_headline(title, config, machine), markup=False, highlight=False)

    rows = _measure_all(pairs, case, truth, args.repeats)
    print_table(rows, console)
    if args.json:
        write_json(args.json, config, machine, rows)
    if args.plot:
        write_plot(args.plot, rows, title)


def _made_matrices(args: argparse.Namespace) -> dict[str, Any]:
    """The sizes of made matrices, defaults filled in; all None for matrices from a file."""
    given = {name: getattr(args, name) for name in MADE}
    if args.data in ("synthetic", "photos"):
        return {name: MADE[name] if value is None else value for name, value in given.items()}
    for name, value in given.items():
        if value is not None:
            flag = "--" + name.replace("_", "-")
            raise InputError(f"{flag} describes made matrices and does not go with --data {args.data}")
    return given


def _headline(title: str, config: dict[str, Any], machine: dict[str, Any]) -> str:
    least, median, largest = config["condition_numbers"]
    made = "" if config["pts"] is None else f" ({config['pts']} points, tau {config['tau']:g}, seed {config['seed']})"
    return (
        f"{title}{made}; condition numbers {least:.3g} to {largest:.3g}, median {median:.3g}\n"
        f"{config['num_iters']} steps an iteration; {machine['device']}, {machine['threads']} CPU threads,"
        f" PyTorch {machine['torch']}"
    )


def _measure_all(pairs: list[Pair], case: Case, truth: Any, repeats: int) -> list[Row]:
    """One row a pair; the pair that speedups are against is measured even where it is not a row."""
    baseline = [pair for pair in all_pairs([BASELINE[0]], 1) if pair.names == BASELINE]
    hidden = [] if any(pair.names == BASELINE for pair in pairs) else baseline
    everything = [*pairs, *hidden]
    terminal = Console(stderr=True)
    with Progress(console=terminal, transient=True, disable=not terminal.is_terminal) as progress:
        task = progress.add_task("measuring", total=len(everything) * (1 + repeats))
        rows = measure(everything, case, truth, repeats, tick=lambda: progress.advance(task))
    return rows[: len(pairs)]
