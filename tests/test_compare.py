"""The experiment: its reference, its matrices, its rows and what it writes."""

import json
from io import StringIO

import mpmath
import numpy as np
import pytest
import torch
from matrices import random_spd, random_symmetric, relative, with_spectrum
from rich.console import Console

from sqrtm.compare.cases import Case, InputError, make_case
from sqrtm.compare.flags import TORCH_METHOD
from sqrtm.compare.measure import Pair, Row, all_pairs, measure, peak_bytes
from sqrtm.compare.plot import draw, write_plot
from sqrtm.compare.reference import reference
from sqrtm.compare.report import print_table, write_json

F32, F64 = torch.float32, torch.float64
CPU = torch.device("cpu")
SMALL = {"batch_size": 4, "dim": 6, "pts": 50, "tau": 1.0, "seed": 0, "dtype": F32, "device": CPU}


@pytest.mark.parametrize(
    ("spectrum", "tolerance"),
    [
        ([1.0, 1, 1, 1], 1e-30),
        ([1, 2, 3, 4.0], 1e-30),
        ([1e30, 2e30, 3e30, 9e30], 1e-30),
        (torch.logspace(0, -9, 7).tolist(), 1e-26),
        (torch.logspace(0, -13, 7).tolist(), 1e-22),
        ([1.0, 2, 3, 0, 0, 0], 1e-14),  # singular: its rounded form is not, and has noise to resolve
        ([1.0, 0, 0, 0], 1e-14),
    ],
)
def test_extended_reference_against_mpmath(spectrum, tolerance):
    n = len(spectrum)
    a, g = with_spectrum(spectrum), random_symmetric(n)
    root, gradient = reference(a[None], g[None], extended=True)
    with mpmath.workdps(60):
        eigenvalues, q = mpmath.eighe(mpmath.matrix(a.tolist()))
        s = [mpmath.sqrt(max(x, 0)) for x in eigenvalues]
        null = [x <= mpmath.sqrt(16 * 2.0**-52) * max(s) for x in s]
        h = q.T * mpmath.matrix(g.tolist()) * q
        for i in range(n):
            for j in range(n):
                h[i, j] = 0 if null[i] and null[j] else h[i, j] / (s[i] + s[j])
        for found, exact in ((root, q * mpmath.diag(s) * q.T), (gradient, q * h * q.T)):
            extended = mpmath.matrix(found.high[0].tolist()) + mpmath.matrix(found.low[0].tolist())
            assert mpmath.norm(extended - exact) <= tolerance * mpmath.norm(exact)


def test_float64_rows_are_not_compared_with_themselves():
    a, g = random_spd(8, (2,)), random_symmetric(8, (2,))
    plain, _ = reference(a, g, extended=False)
    refined, _ = reference(a, g, extended=True)
    assert 0 < refined.error(plain.high).max() < 1e-14
    assert plain.error(plain.high).max() == 0


def test_synthetic_is_the_covariance_of_standard_normal_points():
    case = make_case("synthetic", **{**SMALL, "batch_size": 3, "pts": 200_000, "tau": 2.0, "dtype": F64})
    torch.testing.assert_close(case.a, 3 * torch.eye(6, dtype=F64).expand(3, 6, 6), rtol=0, atol=0.02)
    again = make_case("synthetic", **{**SMALL, "batch_size": 3, "pts": 200_000, "tau": 2.0, "dtype": F64})
    other = make_case("synthetic", **{**SMALL, "batch_size": 3, "pts": 200_000, "tau": 2.0, "dtype": F64, "seed": 1})
    assert torch.equal(case.a, again.a)
    assert not torch.equal(case.a, other.a)
    assert torch.equal(case.g, case.g.mT)


def test_photos_are_covariances_of_real_features():
    pytest.importorskip("sklearn")
    pytest.importorskip("PIL")
    case = make_case("photos", **{**SMALL, "batch_size": 6, "dim": 20, "pts": 400, "tau": 0.5, "dtype": F64})
    assert case.a.shape == (6, 20, 20)
    eigenvalues = torch.linalg.eigvalsh(case.a)
    assert (eigenvalues[:, 0] >= 0.5 * (1 - 1e-9)).all()
    conditions = case.condition_numbers()
    torch.testing.assert_close(conditions, eigenvalues[:, -1] / eigenvalues[:, 0])
    assert conditions.max() > 100  # a photograph is smooth: most of its variance is of low frequency
    with pytest.raises(InputError, match=r"at most \d+ points"):
        make_case("photos", **{**SMALL, "pts": 10**6})


def test_one_filter_is_the_mean_of_one_pixel():
    pytest.importorskip("sklearn")
    pytest.importorskip("PIL")
    case = make_case("photos", **{**SMALL, "dim": 1, "tau": 0.0, "dtype": F64})
    assert (case.a > 0).all()
    assert (case.a < 127.5**2).all()  # grey values lie between 0 and 255


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pt", ".mat", ".safetensors"])
@pytest.mark.parametrize("shape", [(3, 3), (2, 3, 3), (2, 2, 3, 3)])
def test_matrices_from_a_file(tmp_path, suffix, shape):
    a = random_spd(3, shape[:-2])
    path = tmp_path / f"matrices{suffix}"
    if suffix == ".npy":
        np.save(path, a.numpy())
    elif suffix == ".npz":
        np.savez(path, covariances=a.numpy())
    elif suffix == ".mat":
        pytest.importorskip("scipy.io").savemat(path, {"covariances": np.moveaxis(a.numpy(), (-2, -1), (0, 1))})
    elif suffix == ".safetensors":
        pytest.importorskip("safetensors.torch").save_file({"covariances": a}, path)
    else:
        torch.save(a, path)
    case = make_case(str(path), **{**SMALL, "dtype": F64})
    torch.testing.assert_close(case.a, a.reshape(-1, 3, 3), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", ["int64", "uint8", "float16", ">f8", "longdouble"])
def test_any_real_numbers_from_a_file(tmp_path, dtype):
    np.save(tmp_path / "a.npy", np.array([[2, 1], [1, 2]], dtype=dtype))
    case = make_case(str(tmp_path / "a.npy"), **SMALL)
    assert torch.equal(case.a, torch.tensor([[[2.0, 1.0], [1.0, 2.0]]]))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (np.ones((2, 3)), r"must be square, of shape \(..., n, n\), got \(2, 3\)"),
        (np.ones(3), r"must be square"),
        (np.zeros((0, 3, 3)), r"no matrices in it"),
        (np.zeros((3, 0, 0)), r"no matrices in it"),
        (np.eye(2) * 1e-300, r"a matrix of size 1e-300 is out of the range 1e-30 to 1e\+30 for float32"),
        (np.full((2, 2), np.nan), r"is not finite"),
        (np.array([[1.0, 2.0], [3.0, 4.0]]), r"not symmetric"),
        (-np.eye(3), r"not positive semidefinite"),
        (np.eye(2) * 1j, r"must be real, got complex128"),
        (np.eye(2, dtype=bool), r"must be real, got bool"),
        (np.array([["a", "b"], ["c", "d"]]), r"holds no array of numbers"),
    ],
)
def test_bad_matrices_in_a_file(tmp_path, content, says):
    path = tmp_path / "a.npy"
    np.save(path, content)
    with pytest.raises(InputError, match=f"a.npy: .*{says}"):
        make_case(str(path), **SMALL)


def test_bad_files(tmp_path):
    for name, content, says in [
        ("a.npy", b"not numpy", "cannot be read as .npy"),
        ("a.npz", b"", "cannot be read as .npz"),
        ("a.pt", b"not torch", "cannot be read as .pt"),
        ("a.csv", b"1,2", "synthetic, photos, or a file ending in .npy, .npz, .pt"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=says) as caught:
            make_case(str(tmp_path / name), **SMALL)
        assert "\n" not in str(caught.value)
    np.savez(tmp_path / "two.npz", a=np.eye(2), b=np.eye(2))
    with pytest.raises(InputError, match="must hold one array, holds 2: a, b"):
        make_case(str(tmp_path / "two.npz"), **SMALL)
    torch.save(torch.eye(2).to_sparse(), tmp_path / "sparse.pt")
    with pytest.raises(InputError, match="must be dense"):
        make_case(str(tmp_path / "sparse.pt"), **SMALL)
    torch.save({"a": torch.eye(2), "b": 1}, tmp_path / "two.pt")
    with pytest.raises(InputError, match="must hold one array, holds 2"):
        make_case(str(tmp_path / "two.pt"), **SMALL)
    with pytest.raises(InputError, match="no such file"):
        make_case(str(tmp_path / "none.npy"), **SMALL)


def rows_of(case, names, steps=10, repeats=2):
    pairs = list(all_pairs(names, steps))
    truth = reference(case.a, case.g, extended=case.a.dtype == F64)
    ticks = []
    rows = measure(pairs, case, truth, repeats, tick=lambda: ticks.append(None))
    assert len(ticks) == len(pairs) * (1 + repeats)
    return rows


def test_every_pair_has_a_row():
    from sqrtm import GRADIENTS, METHODS

    found = {pair.names for pair in all_pairs(list(METHODS), 10)}
    rules = set(GRADIENTS) - {"auto"}
    expected = {(m, g) for m in METHODS for g in rules if m != "auto"}
    expected -= {(m, "unrolled") for m in ("eigh", "svd", "minimax")}
    assert found == expected | {("auto", "auto")}


def test_steps_reach_forward_and_backward():
    case = make_case("synthetic", **{**SMALL, "dtype": F64})
    few, many = ({row.gradient: row for row in rows_of(case, ["newton-schulz"], steps, 1)} for steps in (3, 20))
    assert few["unrolled"].forward_error > 1e-3 > 1e-12 > many["unrolled"].forward_error
    eigh_few, eigh_many = ({r.gradient: r for r in rows_of(case, ["eigh"], steps, 1)} for steps in (3, 20))
    assert eigh_few["lyapunov-newton-schulz"].backward_error > 1e-3
    assert eigh_many["lyapunov-newton-schulz"].status == "ok"


def test_rows_tell_the_truth():
    case = make_case("synthetic", **SMALL)
    rows = {(row.method, row.gradient): row for row in rows_of(case, ["svd", "eigh", "newton-schulz", "taylor"])}
    for row in rows.values():
        assert row.forward_ms > 0
        assert row.backward_ms > 0
        assert row.forward_peak_bytes >= case.a.nbytes
        assert row.total_peak_bytes >= row.forward_peak_bytes
    svd = rows["svd", "lyapunov-eigh"]
    assert svd.status == "ok"
    assert svd.speedup_over_svd == 1
    ours = rows["newton-schulz", "unrolled"]
    assert ours.speedup_over_svd == pytest.approx(svd.total_ms() / ours.total_ms())
    taylor = rows["taylor", "lyapunov-eigh"]
    assert taylor.status == "not-converged"
    assert taylor.speedup_over_svd is None
    assert taylor.message.startswith("approximate")
    assert rows["taylor", "unrolled"].message == ""


def test_ill_conditioned_input_is_reported_as_not_converged():
    case = make_case("synthetic", **{**SMALL, "dim": 64, "pts": 70, "tau": 0.0})
    rows = {(row.method, row.gradient): row for row in rows_of(case, ["newton-schulz", "eigh"], repeats=1)}
    for gradient in ("lyapunov-newton-schulz", "unrolled"):
        row = rows["newton-schulz", gradient]
        assert row.status == "not-converged"
        assert row.forward_error > 1e-3
        assert row.backward_error > 1e-1
    assert rows["eigh", "lyapunov-eigh"].forward_error < 1e-5


def test_reported_errors_are_the_errors():
    case = Case(with_spectrum([[1.0, 2.0, 3.0]] * 2, dtype=F32), random_symmetric(3, (2,), dtype=F32))
    wrong = Pair("wrong", "wrong", lambda a: a * torch.tensor([1.0, 1.5])[:, None, None])
    (row,) = measure([wrong], case, reference(case.a, case.g, extended=False), 1, tick=lambda: None)
    root, _ = reference(case.a, case.g, extended=False)
    assert row.forward_error == pytest.approx(relative(1.5 * case.a[1], root.high[1]), rel=1e-5)  # the worst matrix
    assert row.residual == pytest.approx(relative((1.5 * case.a[1]) @ (1.5 * case.a[1]), case.a[1]), rel=1e-5)
    assert row.status == "not-converged"


def test_what_a_pair_raises_or_makes_of_nan_is_a_row():
    case = make_case("synthetic", **SMALL)

    def raises(a):
        raise torch.linalg.LinAlgError("no root\nfor this")

    pairs = [Pair("bad", "raises", raises), Pair("bad", "nan", lambda a: a * float("nan")), next(all_pairs(["svd"], 1))]
    rows = measure(pairs, case, reference(case.a, case.g, extended=False), 1, tick=lambda: None)
    assert [row.status for row in rows] == ["error", "error", "ok"]
    assert rows[0].message.endswith("LinAlgError: no root")
    assert "not finite" in rows[1].message
    assert rows[0].speedup_over_svd is rows[1].speedup_over_svd is rows[0].forward_ms is None


def test_a_singular_matrix_is_an_error_only_where_it_is_inverted():
    case = make_case("synthetic", **{**SMALL, "pts": 3, "tau": 0.0})
    rows = rows_of(case, ["eigh", "denman-beavers"], repeats=1)
    for row in rows:
        assert (row.status == "error") == (row.method == "denman-beavers")
    assert "singular" in rows[-1].message


def test_torch_matrix_sqrth_is_a_row_where_torch_has_it(monkeypatch):
    def sqrth(a):
        eigenvalues, q = torch.linalg.eigh(a)
        return (q * eigenvalues.sqrt()[..., None, :]) @ q.mT

    monkeypatch.setattr(torch.linalg, "matrix_sqrth", sqrth, raising=False)
    (row,) = rows_of(make_case("synthetic", **SMALL), [TORCH_METHOD])
    assert (row.method, row.gradient, row.status) == (TORCH_METHOD, "autograd", "ok")
    monkeypatch.delattr(torch.linalg, "matrix_sqrth")
    assert list(all_pairs([TORCH_METHOD], 10)) == []


def test_peak_bytes_counts_temporaries_inside_an_operator():
    x = torch.ones(1000)
    assert peak_bytes(x.neg, CPU) == 4000
    assert peak_bytes(lambda: x.neg().neg(), CPU) == 8000

    def one_after_the_other():
        x.neg()
        x.neg()

    assert peak_bytes(one_after_the_other, CPU) == 4000
    a = random_spd(32, dtype=F32)
    result = 32 * 32 * 4 + 32 * 4
    assert peak_bytes(lambda: torch.linalg.eigh(a), CPU) > 1.5 * result  # LAPACK's workspace


ROWS = [
    Row("svd", "lyapunov-eigh", False, "ok", "", 1.0, 0.1, 2.0, 0.2, 1e-7, 2e-7, 3e-7, 4 << 20, 5 << 20, 6.0),
    Row("svd", "matrix-backprop", False, "not-converged", "", 1.0, 0.1, 2.0, 0.2, 1e-7, 2e-2, float("inf"), 1, 2),
    Row("denman-beavers", "unrolled", False, "error", "LinAlgError: [0, 1] is singular"),
    Row("taylor", "lyapunov-eigh", True, "not-converged", "", 1.0, 0.1, 2.0, 0.2, 1e-1, 2e-1, 3e-1, 1, 2),
]


def test_the_table_shows_every_figure():
    console = Console(width=120, record=True, file=StringIO())
    print_table(ROWS, console)
    text = console.export_text()
    lines = {line.split()[0] if "≈" not in line else "≈": line for line in text.splitlines() if line.strip()}
    figures = ["1", "±0.1", "2", "±0.2", "1.0e-07", "2.0e-07", "3.0e-07", "4.0", "5.0", "6.00", "ok"]
    assert lines["lyapunov-eigh"].split()[1:] == figures
    assert lines["matrix-backprop"].split()[-1] == "not-converged"
    assert lines["unrolled"].split()[1:] == [*"–" * 8, "error"]
    assert "denman-beavers × unrolled: LinAlgError: [0, 1] is singular" in text
    assert "≈ lyapunov-eigh" in text
    assert "≈ the implicit gradient" in text
    console = Console(width=120, record=True, file=StringIO())
    print_table(ROWS[:2], console)
    assert "≈" not in console.export_text()


def test_json_is_valid_json(tmp_path):
    path = tmp_path / "out.json"
    write_json(path, {"condition_numbers": [1.0, float("inf")]}, {"device": "x"}, ROWS)
    content = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert content["config"]["condition_numbers"] == [1.0, None]
    assert content["rows"][0]["forward_ms"] == 1.0
    assert content["rows"][1]["residual"] is None
    assert content["rows"][2]["status"] == "error"


def test_plot():
    figure = draw(ROWS, "the title")
    (axes,) = figure.axes
    assert axes.get_xscale() == axes.get_yscale() == "log"
    drawn = [line for line in axes.lines if len(line.get_xdata())]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in drawn] == [(3, 2e-7), (3, 2e-2), (3, 2e-1)]
    assert [line.get_markerfacecolor() == "none" for line in drawn] == [False, True, True]
    assert len({line.get_marker() for line in drawn}) == 2  # one shape a method
    assert [text.get_text() for text in axes.texts] == ["1", "2", "4"]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[0] == "1  svd × lyapunov-eigh"
    assert labels[2] == "3  denman-beavers × unrolled (error, not drawn)"


@pytest.mark.parametrize(("suffix", "starts"), [(".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_plot_format_goes_by_suffix(tmp_path, suffix, starts):
    write_plot(tmp_path / f"out{suffix}", ROWS, "title")
    assert (tmp_path / f"out{suffix}").read_bytes().startswith(starts)
