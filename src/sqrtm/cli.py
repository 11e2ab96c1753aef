"""The command `sqrtm`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from . import __version__


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage text."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0, 2 for a request that cannot be met, 130 on Ctrl-C."""
    try:
        return _main(argv)
    except KeyboardInterrupt:
        return 130


def _main(argv: Sequence[str] | None) -> int:
    parser = _Parser(prog="sqrtm", description="The matrix square root and its gradient.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"sqrtm {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    compare = commands.add_parser(
        "compare",
        help="measure every method × gradient on the same matrices",
        description="Measure accuracy, memory and speed of every method × gradient on the same matrices.",
        allow_abbrev=False,
    )
    try:
        from .compare import cases, command
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        parser.exit(2, f"sqrtm compare: needs {missing}: pip install 'sqrtm[compare]'\n")
    command.add_arguments(compare)
    args = parser.parse_args(argv)
    try:
        command.run(args)
    except (cases.InputError, OSError) as error:
        compare.exit(2, f"sqrtm compare: {error}\n")
    return 0
