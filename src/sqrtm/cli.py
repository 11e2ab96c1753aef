"""The command `sqrtm`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import NoReturn

from . import __version__
from .compare import flags


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage text."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0, 2 for a request that cannot be met, 130 on Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # not every terminal can print ≈ or ×
    try:
        args = _parser().parse_args(argv)
        return _compare(args)
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="sqrtm", description="The matrix square root and its gradient.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"sqrtm {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    compare = commands.add_parser(
        "compare",
        help="measure every method × gradient on the same matrices",
        description="Measure accuracy, memory and speed of every method × gradient on the same matrices.",
        allow_abbrev=False,
    )
    flags.add_arguments(compare)
    return parser


def _compare(args: argparse.Namespace) -> int:
    try:
        from .compare.cases import InputError
        from .compare.command import run

        if args.plot:
            import matplotlib  # noqa: F401  (better missed before anything is measured)
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        return _fail(f"needs {missing}: pip install 'sqrtm[compare]'")
    try:
        run(args)
    except (InputError, OSError) as error:
        return _fail(str(error))
    return 0


def _fail(reason: str) -> int:
    print(f"sqrtm compare: {reason}", file=sys.stderr)
    return 2
