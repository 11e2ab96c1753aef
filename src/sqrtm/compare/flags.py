"""The flags of `sqrtm compare`. Needs torch alone, so that help and errors do too."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from .._auto import METHODS

TORCH_METHOD = "torch.linalg.matrix_sqrth"
DTYPES = {"float32": torch.float32, "float64": torch.float64}
PLOTS = (".png", ".svg")
MADE = {"batch_size": 128, "dim": 64, "pts": 1000, "tau": 1.0}
"""The flags that describe made matrices, and their defaults."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
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
                      help=f"only these methods; may be repeated. Names: {', '.join(known_methods())}")  # fmt: skip
    what.add_argument("--num-iters", type=count, default=10, metavar="N",
                      help="steps of the iterations, forward and backward (default: 10)")  # fmt: skip
    what.add_argument("--dtype", choices=DTYPES, default="float32", help="default: float32")
    device = what.add_mutually_exclusive_group()
    device.add_argument(
        "--device", type=_device, default="cpu", metavar="NAME", help="cpu (the default), cuda, cuda:1, …"
    )
    device.add_argument("--cuda", action="store_true", help="the same as --device cuda")
    what.add_argument("--repeats", type=count, default=5, metavar="N", help="rounds of timing (default: 5)")
    output = parser.add_argument_group("output")
    output.add_argument("--json", type=_output_file, metavar="FILE", help="write every figure to FILE")
    output.add_argument("--plot", type=_plot_file, metavar="FILE", help="draw accuracy against time, .png or .svg")


def known_methods() -> list[str]:
    """What --methods takes, in the order of the rows."""
    return [*METHODS, TORCH_METHOD]


def missing_device(device: torch.device) -> str:
    """Why this device cannot be used; empty if it can."""
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        return f"{device} is not available: this PyTorch sees {count or 'no'} CUDA devices"
    return ""


# Each of these parses one flag; argparse puts the flag's name before the message.


def _number(kind: type, least: float) -> Callable[[str], Any]:
    """A finite number of at least ``least``."""

    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not least <= value < (2**63 if kind is int else float("inf")):
            article = "an integer" if kind is int else "a finite number"
            raise argparse.ArgumentTypeError(f"must be {article} of at least {least}, got {text!r}")
        return value

    return parse


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


def _device(text: str) -> torch.device:
    """A device that is there."""
    try:
        device = torch.device(text)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise argparse.ArgumentTypeError(f"unknown device {text!r}; use cpu or cuda")
    if reason := missing_device(device):
        raise argparse.ArgumentTypeError(reason)
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
    if Path(text).suffix.lower() not in PLOTS:
        raise argparse.ArgumentTypeError(f"{text!r} must end in {' or '.join(PLOTS)}")
    return _output_file(text)
