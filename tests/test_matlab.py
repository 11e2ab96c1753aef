"""MATLAB's side, run by GNU Octave: its own tests, and its results beside those of the library on the same matrices."""

import shutil
import subprocess
from pathlib import Path

import pytest
import torch

import sqrtm

pytest.importorskip("scipy")
import cases
from scipy.io import loadmat

ROOT = Path(__file__).parents[1]
OCTAVE = shutil.which("octave-cli")
STEPS = 24
"""As matlab/tests/private/steps_for.m has it."""
METHODS = {
    "sqrtm": "eigh",
    "svd": "svd",
    "db": sqrtm.DenmanBeavers(STEPS),
    "ns": sqrtm.NewtonSchulz(STEPS),
    "minimax": "minimax",
}
PAIRS = {
    "matrix-backprop": ("svd", "matrix-backprop"),
    "lyap-svd": ("svd", "lyapunov-eigh"),
    "lyap-ns": (sqrtm.NewtonSchulz(STEPS), sqrtm.LyapunovNewtonSchulz(STEPS)),
    "lyap-cheb": ("minimax", "lyapunov-chebyshev"),
}
GOOD = {case["name"]: case for case in cases.load(cases.PATH, "good")}

pytestmark = pytest.mark.skipif(OCTAVE is None, reason="needs GNU Octave")


def octave(code: str, *path: str) -> str:
    """What Octave prints when it runs this code."""
    folders = "".join(f"addpath('{ROOT / 'matlab' / folder}'); " for folder in path)
    done = subprocess.run(
        [OCTAVE, "--norc", "--eval", folders + code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    path = tmp_path_factory.mktemp("octave") / "results.mat"
    octave(f"write_results('{path}')", "tests")
    assert loadmat(path)["steps"] == STEPS
    return cases.load(path, "results")


def test_its_own_tests():
    assert ", 0 failed" in octave("run_tests", "tests")


def test_products_of_pages_and_of_a_loop_have_the_same_results(results, tmp_path):
    """With a pagemtimes, as MATLAB has it, and a sqrt that raises for negative numbers, as one on a GPU does."""
    octave(f"write_results('{tmp_path / 'pages.mat'}')", "tests", "tests/as_matlab")
    assert loadmat(tmp_path / "pages.mat")["calls"] > 1000
    for one, other in zip(results, cases.load(tmp_path / "pages.mat", "results"), strict=True):
        assert one["error"] == other["error"]
        assert one["error"] or torch.equal(one["value"], other["value"]), (one["name"], one["method"])


def relative(x, exact):
    """Of the worst matrix, in double, of any size of entries; absolute for an exact 0."""
    wide = torch.complex128 if exact.is_complex() else torch.float64
    size = exact.abs().amax((-2, -1), keepdim=True)
    size = torch.where(size > 0, size, 1.0)
    x, exact = x.to(wide) / size, exact / size
    norm = torch.linalg.matrix_norm(exact)
    return float((torch.linalg.matrix_norm(x - exact) / torch.where(norm > 0, norm, 1.0)).max())


def library(row):
    """The library's value for a row of the results."""
    case = GOOD[row["name"]]
    dtype = torch.float64 if row["precision"] == "double" else torch.float32
    dtype = dtype.to_complex() if case["A"].is_complex() else dtype
    a = case["A"].to(dtype).requires_grad_()
    if row["pass"] == "forward":
        return sqrtm.sqrtm(a, method=METHODS[row["method"]]).detach()
    method, gradient = PAIRS[row["method"]]
    return torch.autograd.grad(sqrtm.sqrtm(a, method=method, gradient=gradient), a, case["G"].to(dtype))[0]


@pytest.mark.parametrize("name", GOOD)
def test_results_beside_the_library(results, name):
    rows = [row for row in results if row["name"] == name]
    assert len(rows) == 2 * (len(METHODS) + len(PAIRS))
    case = GOOD[name]
    tied = name in ("ties", "mixed", "zero", "rank 4 of 7")
    for row in rows:
        label = (name, row["precision"], row["method"])
        if row["error"]:
            assert (row["error"], row["method"]) == ("sqrtm:singular", "db"), label
            with pytest.raises(torch.linalg.LinAlgError, match="singular"):
                library(row)
            continue
        assert row["value"].isfinite().all(), label
        if row["method"] == "matrix-backprop" and (case["A"].is_complex() or tied):
            continue  # the library refuses it, or both are wrong
        if row["method"] == "lyap-ns" and case["kappa"] == float("inf"):
            continue  # it does not converge there
        expected, truth = library(row), case["S" if row["pass"] == "forward" else "X"]
        if row["precision"] == "double" and case["kappa"] < 2e4:
            assert relative(row["value"], expected) < 1e-12, label
        limit = max(10 * relative(expected, truth), 1e-11 if row["precision"] == "double" else 1e-6)
        if case["kappa"] > 2e4:  # where either eigensolver can be lucky
            eps = torch.finfo(row["value"].dtype).eps
            limit = max(limit, min(float(case["kappa"]) * eps, 4 * eps**0.5))
        assert relative(row["value"], truth) <= limit, label
