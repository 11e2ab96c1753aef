"""Run the README's `$ sqrtm ...` commands again and put their output in place of the old."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"(?<=```console\n)\$ (sqrtm [^\n]*)\n.*?(?=```)", re.DOTALL)
"""A console block that is one command and its output."""


def run(match: re.Match[str]) -> str:
    """The block with fresh output."""
    print(match[1], flush=True)
    command = [sys.executable, "-m", *shlex.split(match[1])]
    output = subprocess.run(command, cwd=README.parent, check=True, capture_output=True, text=True).stdout
    lines = [line.rstrip() for line in output.splitlines()]
    return f"$ {match[1]}\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    README.write_text(BLOCK.sub(run, README.read_text(encoding="utf-8")), encoding="utf-8")
