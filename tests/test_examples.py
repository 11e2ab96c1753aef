"""Each example, at small size, finds what it says it finds, and draws it."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
import torch

for requirement in ("sklearn", "matplotlib", "rich"):
    pytest.importorskip(requirement)

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(autouse=True)
def one_thread():
    """As the examples set it when they are run: more would wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(module, capsys, picture, *arguments):
    """What an example prints, having drawn its figure."""
    module.main([*map(str, arguments), "--plot", str(picture)])
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert 5_000 < picture.stat().st_size < 200_000
    return capsys.readouterr().out


@pytest.fixture(scope="module")
def bilinear():
    return load("train_bilinear")


def test_train_bilinear(bilinear, capsys, tmp_path):
    path = tmp_path / "record.json"
    printed = run(bilinear, capsys, tmp_path / "a.png", "--seeds", 2, "--epochs", 3, "--rates", 0.01, "--out", path)
    record = json.loads(path.read_text(encoding="utf-8"))
    rows = re.findall(r"^ (\w.*?)  +(0\.\d+)  +([\d.]+) ± [\d.]+  +([\d.]+)×", printed, re.MULTILINE)
    assert [row[0] for row in rows] == list(bilinear.HEADS)
    for head, rate, accuracy, _ in rows:
        assert float(rate) == record["rates"][head]
        last = [run["test"][-1] for run in record["runs"][head]]
        assert float(accuracy) == pytest.approx(sum(last) / 2, abs=0.051)
    means = {row[0]: float(row[2]) for row in rows}
    assert means["bilinear, exact root"] > means["average"] + 10
    assert means["bilinear, exact root"] > 90
    assert rows[0][3] == "1.0"
    assert float(rows[2][3]) > 1
    bilinear.main(["--show", str(path)])
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    ("accuracies", "verdict"),
    [
        (([80, 81, 82], [90, 91, 92], [95, 96, 98], [95, 97, 97]), "holds here"),
        (([80, 81, 82], [90, 91, 92], [91, 90, 99], [95, 97, 97]), "is not shown here"),  # by one seed alone
        (([95, 96, 97], [90, 91, 92], [97, 98, 99], [97, 98, 99]), "is not shown here"),  # average is better
        (([80], [90], [95], [95]), "is not shown here"),  # one seed tells nothing
    ],
)
def test_the_verdict_on_the_paper_follows_from_the_figures(bilinear, capsys, accuracies, verdict):
    rows = zip(bilinear.HEADS, accuracies, strict=True)
    runs = {head: [{"test": [x], "seconds": 1.0} for x in row] for head, row in rows}
    rates = dict.fromkeys(bilinear.HEADS, 0.1)
    record = {"seeds": len(accuracies[0]), "epochs": 1, "batch_norm": False, "rates": rates, "runs": runs}
    bilinear.show(record, bilinear.Console(width=120))
    printed = capsys.readouterr().out
    assert printed.endswith(f"as the paper has it, {verdict}.\n")
    assert f"bilinear over average: {accuracies[1][0] - accuracies[0][0]:+.1f} ±" in printed


def test_whitening(capsys, tmp_path):
    printed = run(load("whitening"), capsys, tmp_path / "a.png", "--seeds", 2, "--epochs", 2, "--rates", 0.3)
    deviation = {name: float(x) for name, x in re.findall(r"^ (\w.*?)  +(\d\.\de[-+]\d\d) *$", printed, re.MULTILINE)}
    assert deviation["nothing"] > 0.5
    assert deviation["batch normalisation"] > 0.5  # neighbouring pixels are alike
    assert deviation["whitening"] < 1e-10
    assert deviation["whitening, float32, eps = 1e-5"] < 1e-2
    assert deviation["whitening by five steps"] > 0.1  # not enough for this covariance
    losses = {name: float(x) for name, x in re.findall(r"^ (\w.*?)  +0\.3  +(\d\.\d{3}) ", printed, re.MULTILINE)}
    assert losses["whitening"] < losses["nothing"]
    gap, half, verdict = re.search(r"^  whitening: ([-+.\d]+) ± ([.\d]+): (.*)$", printed, re.MULTILINE).groups()
    assert float(gap) == pytest.approx(losses["whitening"] - losses["batch normalisation"], abs=2e-3)
    sign = 0 if abs(float(gap)) <= float(half) else 1 if float(gap) > 0 else -1
    assert verdict == {0: "no difference shown", 1: "trains more slowly", -1: "trains faster"}[sign]


def test_frechet(capsys, tmp_path):
    arguments = ("--dim", 64, "--count", 500, "--steps", 40, "--rounds", 1)
    printed = run(load("frechet"), capsys, tmp_path / "a.png", *arguments)
    row = r"^ (china, .*?)  +(\S+)  +([^\s*]+)[* ]  +(\S+)  +\d+  +\d+  +[\d.]+ *$"
    rows = {name: cells for name, *cells in re.findall(row, printed, re.MULTILINE)}
    assert len(rows) == 4
    ours, theirs, difference = rows.pop("china, itself")
    assert 0 <= float(ours) < 1e-12
    assert abs(float(theirs)) < 1e-4
    assert difference == "–"
    for ours, theirs, difference in rows.values():
        assert float(ours) == pytest.approx(float(theirs), rel=1e-5)
        assert float(difference) < 1e-5
    values = {name: float(cells[0]) for name, cells in rows.items()}
    assert values["china, flower"] > values["china, left and right half"] > values["china, other patches of it"] > 0
    for change in ("blurred", "noisy"):
        curve, verdict = re.search(rf"china {change} more and more: (.*): (rises|does not always rise)$", printed,
                                   re.MULTILINE).groups()  # fmt: skip
        curve = [float(x) for x in curve.split(", ")]
        assert curve[1:] == sorted(curve[1:])
        if len(set(curve)) == len(curve):  # as printed, to three digits
            assert (curve == sorted(curve)) == (verdict == "rises")
        assert curve[-1] > 5 * curve[0] > 0
    first, last = re.search(r"by 40 steps: (\S+) to (\S+)$", printed, re.MULTILINE).groups()
    assert float(last) < float(first) / 20


def test_shampoo_step(capsys, tmp_path):
    printed = run(load("shampoo_step"), capsys, tmp_path / "a.png", "--seeds", 2, "--epochs", 2, "--rates", 0.03, 0.1)
    rows = re.findall(r"^ (SGD|Adam|Shampoo) .*?  +(0\.\d+)  +([\d.]+)  +([\d.]+) ± ", printed, re.MULTILINE)
    assert [row[0] for row in rows] == ["SGD", "Adam", "Shampoo"]
    assert all(float(rate) in (0.03, 0.1) for _, rate, *_ in rows)
    assert float(rows[2][2]) < 0.8 * float(rows[0][2])
    decades = re.findall(r"^ 1e(\d+)–1e(\d+)  +(\d+)  +(\S+)  +(\S+)  +(\S+) *$", printed, re.MULTILINE)
    assert sum(int(count) for _, _, count, *_ in decades) == 2 * 20 * 9  # seeds × steps × (two a matrix, one a vector)
    for _, most, _, error, _, residual in decades:
        assert 1e-9 < float(error) < 2e-6 * 10 ** (int(most) / 2)
        assert float(residual) < 1
    assert 0 < float(re.search(r"Roots take (\d+) % of", printed)[1]) < 100
