"""The command `sqrtm`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import NoReturn

from . import __version__
from .commands import InputError
from .compare import flags as compare_flags
from .solve import flags as solve_flags


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage text."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status.

    0; 1 for bad matrices; 2 for a request that cannot be met; 130 on Ctrl-C; 141 for a closed pipe.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # not every terminal can print ≈ or ×
    try:
        args = _parser().parse_args(argv)
        return int(args.run(args))
    except (InputError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the flush at exit would fail
            return 141
        return _fail(args.prog, str(error))
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
    compare_flags.add_arguments(compare)
    compare.set_defaults(run=_compare, prog=compare.prog)
    solve = commands.add_parser(
        "solve",
        help="the roots of the matrices in a file, to a file",
        description="Compute A^{1/2}, A^{-1/2} or both of the matrices in a file, a part at a time, and write them.",
        allow_abbrev=False,
    )
    solve_flags.add_arguments(solve)
    solve.set_defaults(run=_solve, prog=solve.prog)
    return parser


def _compare(args: argparse.Namespace) -> int:
    try:
        from .compare.command import run

        if args.plot:
            import matplotlib  # noqa: F401  (better missed before anything is measured)
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        raise InputError(f"needs {missing}: pip install 'sqrtm[compare]'") from None
    run(args)
    return 0


def _solve(args: argparse.Namespace) -> int:
    from .solve.command import run

    return run(args)


def _fail(command: str, reason: str) -> int:
    print(f"{command}: {reason}", file=sys.stderr)
    return 2
