"""What the commands share: their error and the parsers of their flags. Needs torch alone, so that help does too."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from importlib import import_module
from typing import Any

import torch


class InputError(Exception):
    """What the user asked for cannot be had; the message is for the user."""


def number(kind: type, least: float) -> Callable[[str], Any]:
    """A parser of a finite number of at least ``least``; argparse puts the flag's name before its message."""

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


def add_device(parser: argparse._ActionsContainer) -> None:
    """Declare --device and --cuda, of which `device_of` makes a device."""
    device = parser.add_mutually_exclusive_group()
    device.add_argument(
        "--device", type=_device, default="cpu", metavar="NAME", help="cpu (the default), cuda, cuda:1, …"
    )
    device.add_argument("--cuda", action="store_true", help="the same as --device cuda")


def device_of(args: argparse.Namespace) -> torch.device:
    """The device that the flags name."""
    device = torch.device("cuda") if args.cuda else torch.device(args.device)
    if reason := _missing(device):
        raise InputError(f"--cuda: {reason}")
    return device


def with_steps(cls: Any, steps: int) -> Any:
    """The method or gradient with so many steps, if it has steps."""
    return cls(steps=steps) if has_steps(cls) else cls()


def has_steps(cls: Any) -> bool:
    """Whether a method or gradient is an iteration of so many steps."""
    return any(f.name == "steps" for f in fields(cls))


def need(*modules: str) -> None:
    """Raise `InputError` unless these modules of the extra ``sqrtm[io]`` are there."""
    for module in modules:
        try:
            import_module(module)
        except ModuleNotFoundError:
            raise InputError(f"needs {module}: pip install 'sqrtm[io]'") from None


@contextmanager
def enough_memory(message: str) -> Iterator[None]:
    """Turn running out of memory into an `InputError` with this message."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        short = isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
        if not short:
            raise
        raise InputError(message) from None


def _device(text: str) -> torch.device:
    """A device that is there."""
    try:
        device = torch.device(text)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise argparse.ArgumentTypeError(f"unknown device {text!r}; use cpu or cuda")
    if reason := _missing(device):
        raise argparse.ArgumentTypeError(reason)
    return device


def _missing(device: torch.device) -> str:
    """Why this device cannot be used; empty if it can."""
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        return f"{device} is not available: this PyTorch sees {count or 'no'} CUDA devices"
    return ""
