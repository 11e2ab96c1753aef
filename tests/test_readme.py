"""The README's code runs as printed, its commands exist, and its tables agree with the library."""

import doctest
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from matrices import reference_experiment

import sqrtm
from sqrtm.cli import main
from sqrtm.compare.measure import all_pairs, peak_bytes

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("renew", ROOT / "docs" / "renew.py")
renew = importlib.util.module_from_spec(spec)
spec.loader.exec_module(renew)
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
COMMANDS = [line[2:] for kind, block in BLOCKS if kind == "console" for line in block.splitlines() if line[:2] == "$ "]


def test_python_blocks_run():
    blocks = [block for kind, block in BLOCKS if kind == "python"]
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})


@pytest.mark.skipif(not shutil.which("octave-cli"), reason="needs GNU Octave")
def test_matlab_blocks_run():
    blocks = [block for kind, block in BLOCKS if kind == "matlab"]
    assert blocks
    for block in blocks:
        subprocess.run(["octave-cli", "--norc", "--eval", block], cwd=ROOT, capture_output=True, check=True)


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.stem)
def test_pages_run(page):
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks or page.stem in ("gpu", "solve")
    names = {}
    for block in blocks:
        exec(compile(block, page.name, "exec"), names)


def test_interpreter_sessions_print_what_is_printed():
    sessions = [block for kind, block in BLOCKS if kind == "pycon"]
    assert sessions
    for block in sessions:
        test = doctest.DocTestParser().get_doctest(block, {}, "README.md", "README.md", 0)
        runner = doctest.DocTestRunner()
        runner.run(test)
        assert runner.summarize().failed == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_run(command, capsys, tmp_path):
    program, *arguments = shlex.split(command)
    if program == "make":
        done = subprocess.run(["make", "-n", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return
    if program == "python":
        pytest.importorskip("rich")
        if arguments[0].startswith("examples/"):
            pytest.importorskip("sklearn")
            assert [command] == [shown for shown, _ in renew.SHOWN.findall(README)]
        done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
        assert "\n".join(line.rstrip() for line in done.stdout.strip().splitlines()) in README
        return
    if program == "octave-cli":
        if not shutil.which(program):
            pytest.skip("needs GNU Octave")
        smaller = [arguments[0], arguments[1] + "('n', 32, 'runIter', 1)"]
        done = subprocess.run([program, *smaller], cwd=ROOT, capture_output=True, text=True, check=True)
        shown = dict(renew.BLOCK.findall(README))[command]
        assert [line.split("  ")[0] for line in done.stdout.splitlines()[2:]] == [
            line.split("  ")[0] for line in shown.splitlines()[2:]
        ]
        return
    assert program == "sqrtm"
    if "photos" in arguments:
        pytest.importorskip("sklearn")
    smaller = ["--batch-size", "2", "--dim", "16", "--repeats", "1"]
    assert main([*arguments, *smaller]) == 0
    assert "over svd" in capsys.readouterr().out


def test_printed_tables_have_every_row():
    tables = renew.tables(README)
    every = list(sqrtm.METHODS)
    chosen = [every, every, ["eigh", "newton-schulz"], ["svd", "newton-schulz", "denman-beavers"]]
    for names, table in zip(chosen, tables, strict=True):
        assert list(table) == [pair.names for pair in all_pairs(names, 10)]


def test_figures_beside_the_original_are_those_printed():
    assert len(renew.FIGURE.findall(README)) == 27
    assert renew.fill(README) == README


def tabled(heading):
    """First column and memory column of the table with this heading."""
    table = README.partition(f"| `{heading}=` |")[2].partition("\n\n")[0]
    return {
        name: float(memory) for name, memory in re.findall(r"^\| `([a-z-]+)` \|.*?\| (\d+)[^|]*\|", table, re.MULTILINE)
    }


def test_memory_of_methods_is_as_tabled():
    a, _ = reference_experiment(batch=16, pts=100)
    found = {name: peak_bytes(lambda n=name: sqrtm.sqrtm(a, method=n), a.device) / a.nbytes for name in sqrtm.METHODS}
    assert {name: float(round(memory)) for name, memory in found.items()} == tabled("method")


def test_memory_of_gradients_is_as_tabled():
    a, g = reference_experiment(batch=16, pts=100)
    a.requires_grad_()

    def both(gradient):
        torch.autograd.grad(sqrtm.sqrtm(a, method="newton-schulz", gradient=gradient), a, g)

    found = {name: peak_bytes(lambda n=name: both(n), a.device) / a.nbytes for name in sqrtm.GRADIENTS}
    assert {name: float(round(memory)) for name, memory in found.items()} == tabled("gradient")
