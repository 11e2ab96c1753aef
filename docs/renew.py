"""Bring the README up to date: run its commands again, redraw its picture, and fill in its figures.

A console block that is one `$ sqrtm ...` or `$ octave-cli ...` command gets that command's output. Before a comment
`<!-- table method gradient column -->` in a table stands that figure of the table-th `sqrtm` block. A block that is one
`$ python examples/... --show RECORD` shows the record again; `make examples` makes a new one.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
BLOCK = re.compile(r"(?<=```console\n)\$ ((?:sqrtm|octave-cli) [^\n]*)\n(.*?)(?=```)", re.DOTALL)
SHOWN = re.compile(r"(?<=```console\n)\$ (python examples/[^\n]* --show [^\n]*)\n(.*?)(?=```)", re.DOTALL)
FIGURE = re.compile(r"(?<=\| )[^|\n]*?(?= <!-- (\d) ([a-z-]+) ([a-z-]+) (\w+) -->)")
ROW = re.compile(r"^ [≈ ] ([a-z-]+) +([\d.e+]+) ±\S+ +([\d.e+]+) ±\S+" + r" +(\S+)" * 6, re.MULTILINE)
COLUMNS = ["forward", "backward", "forward_error", "backward_error", "residual", "forward_mib", "total_mib", "speedup"]


def run(command: str) -> str:
    """What a command prints, without trailing blanks."""
    print(command, flush=True)
    program, *arguments = shlex.split(command)
    start = {"python": [sys.executable], "octave-cli": ["octave-cli"]}.get(program, [sys.executable, "-m", program])
    output = subprocess.run([*start, *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return "".join(line.rstrip() + "\n" for line in output.splitlines())


def figures(table: str) -> dict[tuple[str, str], dict[str, str]]:
    """The cells of a printed table, by method and gradient."""
    found = {}
    for block in re.split(r"\n(?= [a-z.-]+\n)", table):
        method = block.split()[0] if block.split() else ""
        for gradient, *cells in ROW.findall(block):
            found[method, gradient] = dict(zip(COLUMNS, cells, strict=True))
    return found


def tables(text: str) -> list[dict[tuple[str, str], dict[str, str]]]:
    """The `figures` of each block of `sqrtm` in the README."""
    return [figures(output) for command, output in BLOCK.findall(text) if command.startswith("sqrtm ")]


def fill(text: str) -> str:
    """The README with every figure as its console blocks have it."""
    found = tables(text)

    def figure(match: re.Match[str]) -> str:
        row = found[int(match[1])][match[2], match[3]]
        if match[4] == "total":
            return f"{float(row['forward']) + float(row['backward']):.3g} ms"
        unit = {"forward": " ms", "backward": " ms", "speedup": "×"}.get(match[4], "")
        return row[match[4]] + unit

    return FIGURE.sub(figure, text)


if __name__ == "__main__":
    text = README.read_text(encoding="utf-8")
    for pattern in (SHOWN, BLOCK):
        text = pattern.sub(lambda block: f"$ {block[1]}\n{run(block[1])}", text)
    README.write_text(fill(text), encoding="utf-8")
    run("sqrtm compare --plot docs/compare.png")
