"""The command line, run as users run it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import sqrtm
from sqrtm.cli import main
from sqrtm.compare import command

SOURCE = str(Path(sqrtm.__file__).parents[1])
SMALL = ["--batch-size", "4", "--dim", "6", "--pts", "50", "--repeats", "1"]
ROW_KEYS = {
    "method", "gradient", "status", "message", "forward_ms", "backward_ms", "forward_error", "backward_error",
    "residual", "forward_peak_bytes", "total_peak_bytes", "speedup_over_svd",
}  # fmt: skip


def start(*arguments, **kwargs):
    env = {**os.environ, "PYTHONPATH": SOURCE}
    env.pop("FORCE_COLOR", None)
    command = [sys.executable, "-m", "sqrtm", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, **kwargs)


def run(*arguments):
    process = start(*arguments)
    out, err = process.communicate()
    return process.returncode, out, err


def status_of(arguments):
    """Exit status, whether returned or raised by argparse."""
    try:
        return main(arguments)
    except SystemExit as stopped:
        return stopped.code


def test_compare_from_end_to_end(tmp_path):
    json_file, plot_file = tmp_path / "out.json", tmp_path / "out.svg"
    status, out, err = run("compare", *SMALL, "--seed", "3", "--json", str(json_file), "--plot", str(plot_file))
    assert status == 0
    assert "measuring" not in err  # no progress bar in a pipe
    assert "profiler" not in err.lower()
    assert "\x1b" not in out  # nor colours
    assert all(len(line) <= 130 for line in out.splitlines())
    for name in (*sqrtm.METHODS, *sqrtm.GRADIENTS):
        assert name in out
    assert "condition numbers" in out
    content = json.loads(json_file.read_text())
    assert content["config"]["data"] == "synthetic"
    assert content["config"]["seed"] == 3
    assert content["environment"]["torch"] == torch.__version__
    assert len(content["rows"]) == 38 + hasattr(torch.linalg, "matrix_sqrth")
    for row in content["rows"]:
        assert set(row) >= ROW_KEYS
        approximate = row["method"] in ("taylor", "pade")
        assert row["status"] == "ok" or approximate or row["gradient"] == "matrix-backprop"
    assert plot_file.read_text().startswith("<?xml")


def test_a_choice_of_methods_and_the_hidden_baseline(tmp_path, capsys):
    path = tmp_path / "out.json"
    chosen = ["--methods", "newton-schulz,taylor", "--methods", "auto", "--methods", "newton-schulz"]
    assert main(["compare", *SMALL, *chosen, "--dtype", "float64", "--num-iters", "20", "--json", str(path)]) == 0
    content = json.loads(path.read_text())
    assert list(dict.fromkeys(row["method"] for row in content["rows"])) == ["newton-schulz", "taylor", "auto"]
    assert all((row["speedup_over_svd"] is not None) == (row["status"] == "ok") for row in content["rows"])
    assert {row["status"] for row in content["rows"] if row["method"] == "newton-schulz"} == {"ok"}
    assert "svd\n" not in capsys.readouterr().out


def test_compare_a_file(tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.stack([np.eye(3), np.diag([1.0, 2.0, 100.0])]))
    path = tmp_path / "out.json"
    flags = ["--data", str(tmp_path / "a.npy"), "--methods", "eigh", "--repeats", "1", "--json", str(path)]
    assert main(["compare", *flags]) == 0
    config = json.loads(path.read_text())["config"]
    assert (config["batch_size"], config["dim"], config["pts"]) == (2, 3, None)
    assert config["condition_numbers"] == pytest.approx([1, 1, 100])
    assert "2 matrices 3 × 3" in capsys.readouterr().out


def test_defaults_are_those_of_the_original_experiment(monkeypatch):
    seen = []
    monkeypatch.setattr(command, "run", seen.append)
    assert main(["compare"]) == 0
    args = seen[0]
    assert command._made_matrices(args) == {"batch_size": 128, "dim": 64, "pts": 1000, "tau": 1.0}
    assert (args.num_iters, args.data, args.dtype, str(args.device)) == (10, "synthetic", "float32", "cpu")
    assert not args.cuda


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["nonsense"], "invalid choice: 'nonsense'"),
        (["compare", "--wrong"], "unrecognized arguments: --wrong"),
        (["compare", "--batch", "3"], "unrecognized arguments: --batch 3"),
        (["compare", "--batch-size", "0"], "argument --batch-size: must be an integer of at least 1, got '0'"),
        (["compare", "--dim", "2.5"], "argument --dim: must be an integer"),
        (["compare", "--tau", "-1"], "argument --tau: must be a finite number of at least 0, got '-1'"),
        (["compare", "--tau", "nan"], "argument --tau: must be a finite number"),
        (["compare", "--repeats", "many"], "argument --repeats: must be an integer"),
        (["compare", "--methods", ""], "argument --methods: no name given; known: eigh"),
        (["compare", "--seed", "9" * 30], "argument --seed: must be an integer"),
        (["compare", "--tau", "1e300"], "synthetic: a matrix of size 1e+300 is out of the range"),
        (["compare", "--methods", "eigh,qr"], "argument --methods: unknown method 'qr'; known: eigh"),
        (["compare", "--dtype", "float16"], "argument --dtype: invalid choice: 'float16'"),
        (["compare", "--device", "abacus"], "argument --device: unknown device 'abacus'; use cpu or cuda"),
        (["compare", "--device", "meta"], "unknown device 'meta'"),
        (["compare", "--cuda", "--device", "cpu"], "not allowed with argument --cuda"),
        (["compare", "--data", "missing.npy"], "missing.npy: no such file"),
        (["compare", "--data", "a.csv"], "a.csv: --data takes synthetic, photos, or a file ending in"),
        (["compare", "--data", "a.npy", "--dim", "3"], "--dim describes made matrices and does not go with --data"),
        (["compare", "--batch-size", "1", "--dim", "200000000"], "not enough memory for these matrices"),
        (["compare", "--plot", "a.pdf"], "argument --plot: 'a.pdf' must end in .png or .svg"),
        (["compare", "--json", "/nowhere/a.json"], "argument --json: '/nowhere/a.json' cannot be written"),
        (["compare", "--json", "."], "argument --json: '.' is a folder"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_status_2(arguments, says, capsys):
    assert status_of(arguments) == 2
    captured = capsys.readouterr()
    assert says in captured.err
    assert captured.err.startswith("sqrtm")
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("flags", [["--cuda"], ["--device", "cuda"], ["--device", "cuda:7"]])
def test_cuda_asked_for_and_absent(flags, capsys):
    assert status_of(["compare", *flags]) == 2
    err = capsys.readouterr().err
    assert "is not available: this PyTorch sees no CUDA devices" in err
    assert err.count("\n") == 1


def test_matrices_are_not_overwritten(tmp_path, capsys):
    path = tmp_path / "a.npy"
    np.save(path, np.eye(3))
    assert status_of(["compare", "--data", str(path), "--json", str(path)]) == 2
    assert "would overwrite the matrices" in capsys.readouterr().err
    assert np.array_equal(np.load(path), np.eye(3))


def test_bad_values_in_a_file_are_one_line(tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.full((2, 2), np.nan))
    assert status_of(["compare", "--data", str(tmp_path / "a.npy")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_ctrl_c_leaves_no_traceback():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # the background job of a shell ignores it
    try:
        process = start("compare", "--repeats", "1000")
    finally:
        signal.signal(signal.SIGINT, before)
    assert "128 matrices" in process.stdout.readline()
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in err


def test_a_closed_pipe_leaves_no_traceback():
    with start("compare", *SMALL) as process:
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
    assert process.returncode == 1  # rich's answer to a closed pipe


def test_an_output_that_is_not_unicode():
    env = {**os.environ, "PYTHONPATH": SOURCE, "PYTHONIOENCODING": "ascii"}
    arguments = ["-m", "sqrtm", "compare", *SMALL, "--methods", "taylor"]
    done = subprocess.run([sys.executable, *arguments], capture_output=True, env=env, check=False)
    assert done.returncode == 0
    assert b"? lyapunov-eigh" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_progress_bar_and_colours_on_a_terminal():
    import pty

    main_end, terminal = pty.openpty()
    env = {**os.environ, "PYTHONPATH": SOURCE, "TERM": "xterm"}
    for name in ("NO_COLOR", "CI"):
        env.pop(name, None)
    arguments = ["-m", "sqrtm", "compare", *SMALL, "--methods", "eigh"]
    with subprocess.Popen([sys.executable, *arguments], stdout=terminal, stderr=terminal, env=env) as process:
        os.close(terminal)
        shown = b""
        with contextlib.suppress(OSError):  # the other end has closed
            while data := os.read(main_end, 4096):
                shown += data
    os.close(main_end)
    assert process.returncode == 0
    assert b"measuring" in shown
    assert b"\x1b[32mok" in shown


@pytest.mark.skipif(hasattr(torch.linalg, "matrix_sqrth"), reason="this PyTorch has it")
def test_a_named_method_that_torch_lacks(capsys):
    assert status_of(["compare", "--methods", "eigh,torch.linalg.matrix_sqrth"]) == 2
    assert "has no torch.linalg.matrix_sqrth" in capsys.readouterr().err


def test_version_and_help(capsys):
    for arguments, says in ((["--version"], sqrtm.__version__), (["compare", "--help"], "--num-iters")):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 0
        assert says in capsys.readouterr().out
