"""The flags of `sqrtm compare`. Needs torch alone, so that help and errors do too."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch

from .._auto import METHODS
from ..commands import add_device, number
from ..files import FORMATS

TORCH_METHOD = "torch.linalg.matrix_sqrth"
DTYPES = {"float32": torch.float32, "float64": torch.float64}
PLOTS = (".png", ".svg")
MADE = {"batch_size": 128, "dim": 64, "pts": 1000, "tau": 1.0}
"""The flags that describe made matrices, and their defaults."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    count = number(int, 1)
    made = parser.add_argument_group("the matrices")
    made.add_argument("--batch-size", type=count, metavar="N", help="number of matrices (default: 128)")
    made.add_argument("--dim", type=count, metavar="N", help="their dimension n (default: 64)")
    made.add_argument("--pts", type=count, metavar="N", help="points each covariance is summed over (default: 1000)")
    made.add_argument("--tau", type=number(float, 0), metavar="T", help="multiple of I added (default: 1.0)")
    made.add_argument("--data", default="synthetic", metavar="WHAT",
                      help="synthetic (the default: standard-normal points), photos (patches of two photographs),"
                      f" or a file of shape (..., n, n): {', '.join(FORMATS)}")  # fmt: skip
    made.add_argument("--seed", type=number(int, 0), default=0, metavar="N", help="random seed (default: 0)")
    what = parser.add_argument_group("what runs")
    what.add_argument("--methods", action="extend", type=_method_names, metavar="NAME[,NAME]",
                      help=f"only these methods; may be repeated. Names: {', '.join(known_methods())}")  # fmt: skip
    what.add_argument("--num-iters", type=count, default=10, metavar="N",
                      help="steps of the iterations, forward and backward (default: 10)")  # fmt: skip
    what.add_argument("--dtype", choices=DTYPES, default="float32", help="default: float32")
    add_device(what)
    what.add_argument("--repeats", type=count, default=5, metavar="N", help="rounds of timing (default: 5)")
    output = parser.add_argument_group("output")
    output.add_argument("--json", type=_output_file, metavar="FILE", help="write every figure to FILE")
    output.add_argument("--plot", type=_plot_file, metavar="FILE", help="draw accuracy against time, .png or .svg")


def known_methods() -> list[str]:
    """What --methods takes, in the order of the rows."""
    return [*METHODS, TORCH_METHOD]


# Each of these parses one flag; argparse puts the flag's name before the message.


def _method_names(text: str) -> list[str]:
    """Comma-separated names of methods."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError(f"no name given; known: {', '.join(known_methods())}")
    for name in names:
        if name not in known_methods():
            raise argparse.ArgumentTypeError(f"unknown method {name!r}; known: {', '.join(known_methods())}")
        if name == TORCH_METHOD and not hasattr(torch.linalg, "matrix_sqrth"):
            raise argparse.ArgumentTypeError(f"PyTorch {torch.__version__} has no {TORCH_METHOD}")
    return names


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
    if Path(text).suffix.lower() not in PLOTS:
        raise argparse.ArgumentTypeError(f"{text!r} must end in {' or '.join(PLOTS)}")
    return _output_file(text)
