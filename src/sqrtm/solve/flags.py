"""The flags of `sqrtm solve`. Needs torch alone, so that help and errors do too."""

from __future__ import annotations

import argparse
from pathlib import Path

from .._auto import METHODS
from ..commands import add_device, number
from ..files import FORMATS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    suffixes = ", ".join(FORMATS)
    files = parser.add_argument_group("files")
    files.add_argument("input", type=Path, metavar="IN", help=f"matrices, of shape (..., n, n): {suffixes}")
    files.add_argument("-o", "--out", type=Path, required=True, metavar="OUT", help="what to write, of any such suffix")
    files.add_argument("--key", metavar="NAME", help="the array in IN, where there are several")
    files.add_argument("--force", action="store_true", help="replace OUT if it exists")
    what = parser.add_argument_group("what is computed")
    which = what.add_mutually_exclusive_group()
    which.add_argument("--inverse", action="store_true", help="A^{-1/2} instead of A^{1/2}")
    which.add_argument("--pair", action="store_true", help="both, as arrays sqrt and invsqrt")
    what.add_argument("--method", choices=METHODS, default="auto", metavar="NAME",
                      help=f"default: auto. Names: {', '.join(METHODS)}")  # fmt: skip
    what.add_argument("--num-iters", type=number(int, 1), metavar="N", help="steps of a method that has steps")
    what.add_argument("--pseudo-inverse", action="store_true",
                      help="of singular matrices the inverse on the rest of the space")  # fmt: skip
    what.add_argument("--keep-going", action="store_true",
                      help="write OUT although some matrices are bad: NaN stands for those")  # fmt: skip
    what.add_argument("--report", action="store_true", help="print a line a matrix: condition number, error, status")
    what.add_argument("--max-workspace-bytes", type=number(int, 1), default=2**28, metavar="N",
                      help="memory of the matrices computed at a time (default: 268435456)")  # fmt: skip
    add_device(what)
