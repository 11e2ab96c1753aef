"""`sqrtm compare`: its flags, and the order in which things happen."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from .._auto import METHODS
from .cases import Case, InputError, make_case
from .measure import BASELINE, TORCH_METHOD, Pair, Row, all_pairs, environment, measure
from .plot import FORMATS, write_plot
from .reference import reference
from .report import print_table, write_json

DTYPES = {"float32": torch.float32, "float64": torch.float64}
MADE = {"batch_size": 128, "dim": 64, "pts": 1000, "tau": 1.0}
"""The flags that describe made matrices, and their defaults."""
WIDTH = 130
"""Columns of the table; a narrower terminal wraps its lines rather than losing some of them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `sqrtm compare`."""
    count = _number(int, 1)
    made = parser.add_argument_group("the matrices")
    made.add_argument("--batch-size", type=count, metavar="N", help="number of matrices (default: 128)")
    made.add_argument("--dim", type=count, metavar="N", help="their dimension n (default: 64)")
    made.add_argument("--pts", type=count, metavar="N", help="points each covariance is summed over (default: 1000)")
    made.add_argument("--tau", type=_number(float, 0), metavar="T", help="multiple of I added (default: 1.0)")
    made.add_argument("--data", default="synthetic", metavar="WHAT",
                      help="synthetic (the default: standard-normal points), photos (patches of two photographs),"
                      " or a .npy, .npz or .pt file of shape (..., n, n)")  # fmt: skip
    made.add_argument("--seed", type=_number(int, 0), default=0, metavar="N", help="random seed (default: 0)")
    what = parser.add_argument_group("what runs")
    what.add_argument("--methods", action="extend", type=_method_names, metavar="NAME[,NAME]",
                      help=f"only these methods; may be repeated. Names: {', '.join(_known_methods())}")  # fmt: skip
    what.add_argument("--num-iters", type=count, default=10, metavar="N",
                      help="steps of the iterations, forward and backward (default: 10)")  # fmt: skip
    what.add_argument("--dtype", choices=DTYPES, default="float32", help="default: float32")
    device = what.add_mutually_exclusive_group()
    device.add_argument("--device", type=_device, default=torch.device("cpu"), metavar="NAME",
                        help="cpu (the default), cuda, cuda:1, …")  # fmt: skip
    device.add_argument("--cuda", dest="device", action="store_const", const=None, help="the same as --device cuda")
    what.add_argument("--repeats", type=count, default=5, metavar="N", help="rounds of timing (default: 5)")
    output = parser.add_argument_group("output")
    output.add_argument("--json", type=_output_file, metavar="FILE", help="write every figure to FILE")
    output.add_argument("--plot", type=_plot_file, metavar="FILE", help="draw accuracy against time, .png or .svg")


def run(args: argparse.Namespace) -> None:
    """Run the comparison that the flags describe.

    Raises
    ------
    InputError
        Something asked for cannot be had; the message is one line for the user.
    """
    device = args.device or _cuda()
    if args.plot:
        _need_matplotlib()
    pairs = list(all_pairs(list(dict.fromkeys(args.methods or _known_methods())), args.num_iters))
    if not pairs:
        raise InputError(f"PyTorch {torch.__version__} has no {TORCH_METHOD}, and no other method was asked for")
    made = _made_matrices(args)
    case = make_case(args.data, **made, seed=args.seed, dtype=DTYPES[args.dtype], device=device)

    batch_size, dim = case.a.shape[:2]
    conditions = case.condition_numbers()
    config = {"data": args.data, **made, "batch_size": batch_size, "dim": dim, "seed": args.seed,
              "dtype": args.dtype, "device": str(device), "num_iters": args.num_iters, "repeats": args.repeats,
              "methods": list(dict.fromkeys(pair.method for pair in pairs)),
              "condition_numbers": [float(f(conditions)) for f in (torch.min, torch.median, torch.max)]}  # fmt: skip
    machine = environment(device)
    matrices = "matrix" if batch_size == 1 else "matrices"
    title = f"{args.data}: {batch_size} {matrices} {dim} × {dim}, {args.dtype}"
    console = Console(width=max(Console().width, WIDTH))
    console.print(_headline(title, config, machine), markup=False, highlight=False)

    rows = _measure_all(pairs, case, args.repeats)
    print_table(rows, console)
    if args.json:
        write_json(args.json, config, machine, rows)
    if args.plot:
        write_plot(args.plot, rows, title)


def _measure_all(pairs: list[Pair], case: Case, repeats: int) -> list[Row]:
    """One row a pair; the pair that speedups are against is measured even where it is not a row."""
    truth = reference(case.a, case.g, extended=case.a.dtype == torch.float64)
    baseline = [p for p in all_pairs([BASELINE[0]], 1) if p.names == BASELINE]
    hidden = [] if any(p.names == BASELINE for p in pairs) else baseline
    everything = [*pairs, *hidden]
    terminal = Console(stderr=True)
    with Progress(console=terminal, transient=True, disable=not terminal.is_terminal) as progress:
        task = progress.add_task("measuring", total=len(everything) * (1 + repeats))
        rows = measure(everything, case, truth, repeats, tick=lambda: progress.advance(task))
    return rows[: len(pairs)]


def _headline(title: str, config: dict[str, Any], machine: dict[str, Any]) -> str:
    least, median, largest = config["condition_numbers"]
    made = "" if config["pts"] is None else f" ({config['pts']} points, tau {config['tau']:g}, seed {config['seed']})"
    return (
        f"{title}{made}; condition numbers {least:.3g} to {largest:.3g}, median {median:.3g}\n"
        f"{config['num_iters']} steps an iteration; {machine['device']}, {machine['threads']} CPU threads,"
        f" PyTorch {machine['torch']}"
    )


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


def _known_methods() -> list[str]:
    return [*METHODS, TORCH_METHOD]


def _cuda() -> torch.device:
    try:
        return _device("cuda")
    except argparse.ArgumentTypeError as error:
        raise InputError(f"--cuda: {error}") from None


def _need_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401  (only whether it is there)
    except ImportError:
        raise InputError("--plot needs matplotlib: pip install 'sqrtm[compare]'") from None


# What follows parses one flag each; argparse puts the flag's name before the message.


def _number(kind: type, least: float) -> Callable[[str], Any]:
    """A finite number of at least ``least``."""

    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not least <= value < float("inf"):
            article = "an integer" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"must be {article} of at least {least}, got {text!r}")
        return value

    return parse


def _method_names(text: str) -> list[str]:
    """Comma-separated names of methods."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in _known_methods():
            raise argparse.ArgumentTypeError(f"unknown method {name!r}; known: {', '.join(_known_methods())}")
    return names


def _device(text: str) -> torch.device:
    """A device that is there."""
    try:
        device = torch.device(text)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise argparse.ArgumentTypeError(f"unknown device {text!r}; use cpu or cuda")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise argparse.ArgumentTypeError(
            f"{text} is not available: this PyTorch sees {torch.cuda.device_count() or 'no'} CUDA devices"
        )
    return device


def _output_file(text: str) -> Path:
    """A path that can be written, which is better known before anything is measured."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is a folder")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text!r} cannot be written")
    return path


def _plot_file(text: str) -> Path:
    """A path that can be written and ends in a format that is drawn."""
    if Path(text).suffix.lower() not in FORMATS:
        raise argparse.ArgumentTypeError(f"{text!r} must end in {' or '.join(FORMATS)}")
    return _output_file(text)
