"""`sqrtm solve`: from a file to a file, in parts, all or nothing."""

import os
import resource
import signal
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from matrices import random_spd, with_spectrum
from test_cli import SOURCE, start, status_of

import sqrtm
from sqrtm._checks import DTYPES
from sqrtm.compare.measure import peak_bytes
from sqrtm.files import read
from sqrtm.solve import command

safetensors = pytest.importorskip("safetensors.torch")
scipy = pytest.importorskip("scipy")

SUFFIXES = [".npy", ".npz", ".pt", ".mat", ".safetensors"]
EVERY = set(DTYPES)
HOLDS = {
    ".npy": EVERY - {torch.bfloat16},
    ".npz": EVERY - {torch.bfloat16},
    ".pt": EVERY,
    ".mat": EVERY - {torch.bfloat16, torch.float16},
    ".safetensors": EVERY - {torch.complex128},
}
A = random_spd(3, (2, 4))
BAD = torch.stack(
    [torch.eye(2), -torch.eye(2), torch.zeros(2, 2), torch.ones(2, 2).triu(), torch.full((2, 2), torch.nan)]
)
REASONS = ["1 is not positive", "2 is singular", "3 is not symmetric", "4 is not finite: 4 of its 4 entries"]


def save(path, **arrays):
    """Write tensors without the code under test."""
    tensors = list(arrays.values())
    if path.suffix == ".npy":
        np.save(path, tensors[0].numpy())
    elif path.suffix == ".npz":
        np.savez(path, **{name: x.numpy() for name, x in arrays.items()})
    elif path.suffix == ".pt":
        torch.save(arrays if len(arrays) > 1 else tensors[0], path)
    elif path.suffix == ".mat":
        scipy.io.savemat(path, {name: np.moveaxis(x.numpy(), (-2, -1), (0, 1)) for name, x in arrays.items()})
    else:
        safetensors.save_file(arrays, path)
    return path


def load(path):
    """The tensors in a file by name, read without the code under test."""
    if path.suffix == ".npy":
        return {"": torch.from_numpy(np.load(path))}
    if path.suffix == ".npz":
        return {name: torch.from_numpy(x) for name, x in np.load(path).items()}
    if path.suffix == ".pt":
        found = torch.load(path)
        return found if isinstance(found, dict) else {"": found}
    if path.suffix == ".mat":
        pages = {name: x for name, x in scipy.io.loadmat(path).items() if name[0] != "_"}
        return {name: torch.from_numpy(np.moveaxis(x, (0, 1), (-2, -1)).copy()) for name, x in pages.items()}
    return safetensors.load_file(path)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def solve(path, out, *flags):
    return status_of(["solve", str(path), "-o", str(out), *flags])


def close(x, y, rtol=1e-12):
    torch.testing.assert_close(x, y, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("source", SUFFIXES)
@pytest.mark.parametrize("target", SUFFIXES)
def test_from_every_format_to_every_format(tmp_path, source, target, capsys):
    path, out = save(tmp_path / f"a{source}", a=A), tmp_path / f"b{target.upper() if source == '.npz' else target}"
    assert solve(path, out, "--inverse") == 0
    stdout, stderr = capsys.readouterr()
    assert stdout.startswith(f"{out}: invsqrt of 8 matrices 3 × 3, float64; largest error bound ")
    assert (stdout.count("\n"), stderr) == (1, "")
    ((name, z),) = load(out.rename(tmp_path / f"c{target}")).items()
    assert name == ("" if target in (".npy", ".pt") else "invsqrt")
    close(z, sqrtm.invsqrtm(A))


@pytest.mark.parametrize("target", SUFFIXES)
def test_pairs(tmp_path, target, capsys):
    path, out = save(tmp_path / "a.npz", a=A, b=2 * A), tmp_path / f"b{target}"
    if target == ".npy":
        assert solve(path, out, "--pair", "--key", "b") == 2
        assert "holds one array, not sqrt and invsqrt; write .npz, .pt, .mat or .safetensors" in capsys.readouterr().err
        return
    assert solve(path, out, "--pair", "--key", "b") == 0
    found = load(out)
    assert sorted(found) == ["invsqrt", "sqrt"]
    close(found["sqrt"], sqrtm.sqrtm(2 * A))
    close(found["invsqrt"], sqrtm.invsqrtm(2 * A))


@pytest.mark.parametrize("target", SUFFIXES)
def test_the_dtype_is_kept_or_refused_before_anything_is_computed(tmp_path, target, capsys, monkeypatch):
    for dtype in EVERY:
        a = A[0].to(dtype)
        a += 0.1j * (a.triu() - a.tril()) if dtype.is_complex else 0  # Hermitian: not to be transposed
        path, out = save(tmp_path / "a.pt", a=a), tmp_path / f"b{target}"
        if dtype in HOLDS[target]:
            assert solve(path, out, "--force") == 0
            (found,) = load(out).values()
            assert found.dtype == dtype
            close(found, sqrtm.sqrtm(a), rtol=torch.finfo(dtype).eps * 4)
        else:
            with monkeypatch.context() as patch:
                patch.setattr(command, "sqrtm_ex", pytest.fail)
                assert solve(path, out, "--force") == 2
            assert f"{target} holds no {str(dtype)[6:]}; write " in capsys.readouterr().err


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">c16", "int8", ">u2", "uint64", "longdouble", "F"])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_any_numbers_in_any_order(tmp_path, dtype, suffix):
    integers = np.stack([np.diag([4, 9]), np.array([[5, 4], [4, 5]])] * 3).reshape(3, 2, 2, 2)
    a = np.asfortranarray(integers, "f4") if dtype == "F" else integers.astype(dtype)
    (np.save if suffix == ".npy" else np.savez)(tmp_path / f"a{suffix}", a)
    assert solve(tmp_path / f"a{suffix}", tmp_path / "b.npy", "--max-workspace-bytes", "1") == 0
    found = np.load(tmp_path / "b.npy")
    assert found.dtype == {">f4": "f4", "F": "f4", ">c16": "c16"}.get(dtype, "f8")
    expected = np.stack([np.diag([2, 3]), np.array([[2, 1], [1, 2]])] * 3).reshape(3, 2, 2, 2)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_matlab_has_pages_last_and_integers_for_whole_numbers(tmp_path, capsys):
    hermitian = A + 0.1j * (A.triu() - A.tril())  # which rows and columns must not be swapped in
    pages = np.moveaxis(hermitian.numpy(), (-2, -1), (0, 1))
    scipy.io.savemat(
        tmp_path / "a.mat", {"a": pages, "flags": np.eye(2, dtype=bool), "sparse": scipy.sparse.csc_matrix(np.eye(2))}
    )
    assert solve(tmp_path / "a.mat", tmp_path / "b.mat", "--key", "a") == 0
    s = scipy.io.loadmat(tmp_path / "b.mat")["sqrt"]
    assert s.shape == (3, 3, 2, 4)
    np.testing.assert_allclose(s[:, :, 1, 2] @ s[:, :, 1, 2], pages[:, :, 1, 2], atol=1e-12)
    assert solve(tmp_path / "a.mat", tmp_path / "c.mat", "--key", "flags") == 2
    assert solve(tmp_path / "a.mat", tmp_path / "c.mat", "--key", "sparse") == 2
    errors = capsys.readouterr().err
    assert "must be numbers, got bool" in errors
    assert "must be dense" in errors
    head = b"MATLAB".ljust(124)
    single = head + struct.pack("<HH", 0x0100, 0x4D49)
    for name in (0, b""), (1 << 16, b"a"):  # the first is no variable; both of class single, stored as uint8
        content = (6, 8, 7, 0, 5, 8, 2, 2, name[0] | 1, name[1], 4 << 16 | 2, 4, 0, 0, 9)
        single += struct.pack("<IIIIIIIIIII4sI4B", 14, 48, *content)
    (tmp_path / "single.mat").write_bytes(single)
    assert solve(tmp_path / "single.mat", tmp_path / "d.npy") == 0
    assert np.load(tmp_path / "d.npy").dtype == np.float32
    np.testing.assert_allclose(np.load(tmp_path / "d.npy"), np.diag([2, 3]), rtol=1e-6)
    (tmp_path / "new.mat").write_bytes(head + struct.pack("<HH", 0x0200, 0x4D49) + bytes(512))
    assert solve(tmp_path / "new.mat", tmp_path / "c.mat") == 2
    assert "is of MATLAB 7.3 (HDF5), which SciPy cannot read" in capsys.readouterr().err
    np.lib.format.open_memmap(tmp_path / "large.npy", "w+", shape=(2**28, 1, 1))  # takes no room on disk
    assert solve(tmp_path / "large.npy", tmp_path / "c.mat") == 2
    assert "holds arrays below 2 GiB" in capsys.readouterr().err


def test_bad_matrices_are_named_and_nothing_is_written(tmp_path, capsys):
    path, out = save(tmp_path / "a.npy", a=BAD), tmp_path / "b.npy"
    assert solve(path, out, "--inverse", "--max-workspace-bytes", "1") == 1
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    *named, last = stderr.splitlines()
    for line, reason in zip(named, REASONS, strict=True):
        assert line.startswith(f"sqrtm solve: matrix {reason}")
    assert last == "sqrtm solve: nothing was written: 4 of 5 matrices bad; --keep-going writes the others"
    assert names_in(tmp_path) == ["a.npy"]
    np.save(path, -np.eye(2) * (1 + 0j))
    assert solve(path, out) == 1
    assert capsys.readouterr().err.startswith("sqrtm solve: the matrix is not positive semidefinite")


def test_the_others_are_written_on_request(tmp_path, capsys):
    path, out = save(tmp_path / "a.pt", a=BAD), tmp_path / "b.pt"
    assert solve(path, out, "--keep-going") == 1
    found, (stdout, stderr) = torch.load(out), capsys.readouterr()
    assert found.isnan().all(-1).all(-1).tolist() == [False, True, False, True, True]
    close(found[0], torch.eye(2), rtol=1e-6)
    assert "not converged: 0; bad, NaN here: 3" in stdout
    assert stderr.count("\n") == 3
    assert solve(path, out, "--keep-going", "--force", "--inverse") == 1
    assert torch.load(out)[2].isnan().all()
    assert solve(path, out, "--keep-going", "--force", "--inverse", "--pseudo-inverse") == 1
    assert torch.equal(torch.load(out)[2], torch.zeros(2, 2))
    assert solve(save(path, a=BAD[::2][:2].clone()), out, "--force", "--pair", "--pseudo-inverse") == 0


def test_what_did_not_converge_is_written(tmp_path, capsys):
    a = A.flip(0, 1)  # so that the last is not the worst
    path, out = save(tmp_path / "a.npy", a=a), tmp_path / "b.npy"
    assert solve(path, out, "--method", "newton-schulz", "--num-iters", "2", "--max-workspace-bytes", "1") == 0
    s, info = sqrtm.sqrtm_ex(a, method=sqrtm.NewtonSchulz(steps=2))
    close(torch.from_numpy(np.load(out)), s)
    summary = capsys.readouterr().out
    assert f"largest error bound {info.error_bound.max():.1e}\n" in summary
    assert "not converged: 8; bad, NaN here: 0" in summary


def test_the_report_has_a_line_a_matrix(tmp_path, capsys):
    a = with_spectrum(torch.tensor([[1.0, 2, 3], [1, 10, 1000], [0, 1, 2], [-1, 1, 2]])).reshape(2, 2, 3, 3)
    path, out = save(tmp_path / "a.npy", a=a), tmp_path / "b.npz"
    assert solve(path, out, "--report", "--pair", "--keep-going", "--max-workspace-bytes", "1") == 1
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split() == ["index", "condition", "residual", "error", "bound", "of", "inverse", "status"]
    assert len({line.index(line.split()[-1]) for line in lines}) == 1  # columns are aligned
    rows = [line.split() for line in lines]
    assert [row[0] for row in rows] == ["0,0", "0,1", "1,0", "1,1"]
    assert [row[-1] for row in rows] == ["ok", "ok", "singular", "indefinite"]
    assert [float(row[1]) for row in rows[:2]] == [3, 1000]
    assert rows[3][1] == "inf"
    _, _, info = sqrtm.sqrtm_pair_ex(a)
    for i, values in enumerate([info.residual, info.error_bound, info.inverse_error_bound]):
        expected = values.flatten().tolist()[:2]
        assert [float(row[2 + i]) for row in rows[:2]] == pytest.approx(expected, rel=0.9)
    save(path, a=BAD[3:])
    assert solve(path, out, "--report", "--force") == 1
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()[1:]] == ["nan", "nan"]


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_part_of_a_file_is_in_memory_at_a_time(tmp_path, monkeypatch, order):
    a = np.array(np.broadcast_to(np.diag(np.arange(1.0, 33)), (16, 32, 32, 32)), order=order)  # 4 MiB
    np.save(tmp_path / "a.npy", a)
    assert not read(tmp_path / "a.npy").data.flags.writeable  # a private copy would have to fit in memory
    sizes = []

    def counted(x, **options):
        sizes.append(len(x))
        return sqrtm.sqrtm_ex(x, **options)

    monkeypatch.setattr(command, "sqrtm_ex", counted)
    tracemalloc.start()
    solve(tmp_path / "a.npy", tmp_path / "b.npy", "--max-workspace-bytes", str(48 * 8 * 32**2 * 64))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sizes == [64] * 8
    assert peak < 2**21  # of NumPy, and of Python itself
    np.testing.assert_allclose(np.load(tmp_path / "b.npy"), a**0.5, atol=1e-12)


def test_a_part_of_the_result_is_in_memory_at_a_time(tmp_path):
    path = save(tmp_path / "a.npy", a=torch.eye(64).expand(32, 64, 64))
    flags = ["--max-workspace-bytes", "1"]
    peak = peak_bytes(lambda: solve(path, tmp_path / "b.npy", *flags), torch.device("cpu"))
    assert peak < path.stat().st_size / 2


def test_a_file_is_replaced_only_by_force(tmp_path, capsys, monkeypatch):
    path = save(tmp_path / "a.npy", a=A)
    link, out = tmp_path / "link.npy", tmp_path / "b.npy"
    link.symlink_to(path)
    for target in (path, link):
        assert solve(path, target) == 2
        assert capsys.readouterr().err == f"sqrtm solve: {target}: exists; --force replaces it\n"
    path.chmod(0o640)
    assert solve(path, link, "--force") == 0  # the file that is read from, through the link
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    close(load(path)[""], sqrtm.sqrtm(A))

    def meanwhile(x, **options):
        out.write_text("of somebody else")
        return sqrtm.sqrtm_ex(x, **options)

    monkeypatch.setattr(command, "sqrtm_ex", meanwhile)
    assert solve(path, out) == 2
    assert "exists by now, nothing was written" in capsys.readouterr().err
    assert out.read_text() == "of somebody else"
    assert names_in(tmp_path) == ["a.npy", "b.npy", "link.npy"]


def test_a_new_file_has_the_usual_mode_also_where_there_are_no_links(tmp_path, monkeypatch):
    path = save(tmp_path / "a.npy", a=A)
    monkeypatch.setattr(os, "link", lambda *_: (tmp_path / "no links here").stat())
    before = os.umask(0o027)
    try:
        assert [solve(path, tmp_path / f"b{suffix}") for suffix in SUFFIXES] == [0] * 5
    finally:
        os.umask(before)
    assert {(tmp_path / f"b{suffix}").stat().st_mode & 0o777 for suffix in SUFFIXES} == {0o640}


@pytest.mark.parametrize("shape", [(0, 3, 3), (2, 0, 3, 3), (4, 0, 0), (0, 0)])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_matrices(tmp_path, shape, suffix, capsys):
    path, out = save(tmp_path / "a.npy", a=torch.zeros(shape)), tmp_path / f"b{suffix}"
    assert solve(path, out, "--report") == 0
    assert next(iter(load(out).values())).shape == shape
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ("a.npy", "arguments are required: -o/--out"),
        ("none.npy -o b.npy", "none.npy: no such file"),
        (". -o b.npy", ".: is a folder"),
        ("a.csv -o b.npy", "a.csv: must end in .npy, .npz, .pt, .mat or .safetensors"),
        ("a.npy -o b.csv", "b.csv: must end in .npy, .npz, .pt, .mat or .safetensors"),
        ("a.npy -o folder.npy --force", "folder.npy: is a folder"),
        ("a.npy -o pipe.npy --force", "pipe.npy: is not a file"),
        ("a.npy -o none/b.npy", "there is no folder"),
        ("a.npy -o /proc/b.npy", "/proc/b.npy: cannot be written"),
        ("a.npy -o b.npy --inverse --pair", "not allowed with argument --inverse"),
        ("a.npy -o b.npy --method qr", "argument --method: invalid choice: 'qr'"),
        ("a.npy -o b.npy --num-iters 3", "--num-iters does not go with --method auto, but with: newton-schulz, "),
        ("a.npy -o b.npy --pseudo-inverse", "--pseudo-inverse goes with --inverse or --pair"),
        ("a.npy -o b.npy --max-workspace-bytes 0", "must be an integer of at least 1"),
        ("a.npy -o b.npy --key a", "a.npy: its array has no name; leave out --key"),
        ("two.npz -o b.npy", "two.npz: must hold one array, holds 2: x, y; --key NAME chooses one"),
        ("two.npz -o b.npy --key z", "two.npz: holds no array 'z', holds 2: x, y"),
        ("two.pt -o b.npy --key y", "two.pt: holds no array of numbers"),
        ("empty.npz -o b.npy", "empty.npz: holds no array"),
        ("cut.npy -o b.npy", "cut.npy: cannot be read as .npy"),
        ("cut.npz -o b.npy", "cut.npz: cannot be read as .npz"),
        ("cut.pt -o b.npy", "cut.pt: cannot be read as .pt"),
        ("cut.mat -o b.npy", "cut.mat: cannot be read as .mat"),
        ("cut.safetensors -o b.npy", "cut.safetensors: cannot be read as .safetensors"),
        ("objects.npy -o b.npy", "objects.npy: cannot be read as .npy"),
        ("objects.pt -o b.npy", "objects.pt: cannot be read as .pt (UnpicklingError)"),
        ("text.npy -o b.npy", "text.npy: holds no array of numbers"),
        ("number.npy -o b.npy", "matrices must be square, of shape (..., n, n), got ()"),
        ("oblong.npy -o b.npy", "got (2, 3)"),
        ("bool.npy -o b.npy", "bool.npy: matrices must be numbers, got bool"),
        ("float8.pt -o b.npy", "got float8_e5m2"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_status_2(tmp_path, monkeypatch, flags, says, capsys):
    monkeypatch.chdir(tmp_path)
    name = Path(flags.split()[0])
    contents = {"a": np.eye(2), "objects": np.array([None]), "text": np.array("a"), "number": np.array(1.0),
                "oblong": np.ones((2, 3)), "bool": np.eye(2, dtype=bool)}  # fmt: skip
    tensors = {"objects": Path(), "two": {"x": torch.eye(2), "y": "text"}, "float8": torch.eye(2).to(torch.float8_e5m2)}
    if name.stem == "cut":
        whole = save(name, a=A).read_bytes()
        name.write_bytes(whole[: len(whole) - 60])
    elif name.suffix == ".npy" and name.stem in contents:
        np.save(name, contents[name.stem], allow_pickle=True)
    elif name.suffix == ".pt":
        torch.save(tensors[name.stem], name)
    elif name.suffix == ".npz":
        np.savez(name, **({"x": np.eye(2), "y": np.eye(2)} if name.stem == "two" else {}))
    elif name.suffix == ".csv":
        name.write_text("1")
    Path("folder.npy").mkdir()
    os.mkfifo("pipe.npy")
    before = names_in(tmp_path)
    assert status_of(["solve", *flags.split()]) == 2
    stdout, stderr = capsys.readouterr()
    assert says in stderr
    assert stderr.startswith("sqrtm solve: ")
    assert stderr.count("\n") == 1
    assert stdout == ""
    assert names_in(tmp_path) == before


@pytest.mark.parametrize("method", sqrtm.METHODS)
def test_methods_with_a_pseudo_inverse_are_those_of_the_library(tmp_path, method):
    path, status = save(tmp_path / "a.npy", a=A), 0
    try:
        sqrtm.invsqrtm_ex(A, method=method, pseudo_inverse=True)
    except ValueError:
        status = 2
    assert solve(path, tmp_path / "b.npy", "--inverse", "--pseudo-inverse", "--method", method) == status


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_leaves_nothing(tmp_path, suffix, capsys):
    path = tmp_path / "a.npy"
    np.save(path, np.broadcast_to(np.eye(8), (400, 8, 8)))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        assert solve(path, tmp_path / f"b{suffix}") == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert f"b{suffix}: cannot be written (" in capsys.readouterr().err
    assert names_in(tmp_path) == ["a.npy"]


def test_too_little_memory_is_one_line(tmp_path, capsys, monkeypatch):
    path = save(tmp_path / "a.npy", a=A)
    monkeypatch.setattr(command, "sqrtm_ex", lambda a, **options: torch.empty(2**55))
    assert solve(path, tmp_path / "b.npy") == 2
    stderr = capsys.readouterr().err
    assert stderr == "sqrtm solve: not enough memory on cpu; from .npy to .npy takes the least\n"
    assert names_in(tmp_path) == ["a.npy"]


@pytest.mark.parametrize(
    ("module", "source", "target"),
    [("scipy", "a.npy", "b.mat"), ("safetensors", "a.npy", "b.safetensors"), ("numpy", "a.pt", "b.npy")],
)
def test_what_a_format_needs(tmp_path, monkeypatch, module, source, target, capsys):
    path = save(tmp_path / source, a=A)
    monkeypatch.setitem(sys.modules, module, None)
    for files in ((path, tmp_path / target), (tmp_path / target, tmp_path / "c.pt")):
        (tmp_path / target).touch() if files[0] != path else None
        assert solve(*files) == 2
        assert capsys.readouterr().err == f"sqrtm solve: needs {module}: pip install 'sqrtm[io]'\n"


def test_pt_to_pt_and_help_need_torch_alone(tmp_path):
    path = save(tmp_path / "a.pt", a=A)
    code = f"""
import sys
sys.modules.update(dict.fromkeys(["rich", "numpy", "scipy", "safetensors", "matplotlib", "sklearn", "PIL"]))
from sqrtm.cli import main
assert main(["solve", {str(path)!r}, "-o", {str(tmp_path / "b.pt")!r}, "--report"]) == 0
for arguments in (["--help"], ["solve", "--help"]):
    try:
        main(arguments)
    except SystemExit as stopped:
        assert stopped.code == 0
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": SOURCE},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "--keep-going" in done.stdout
    close(torch.load(tmp_path / "b.pt"), sqrtm.sqrtm(A))


def test_when_stopped_nothing_is_left(tmp_path):
    np.save(tmp_path / "a.npy", np.broadcast_to(np.eye(4), (10**6, 4, 4)))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # the background job of a shell ignores it
    arguments = ["solve", str(tmp_path / "a.npy"), "--report", "--max-workspace-bytes", "1", "-o"]
    try:
        processes = {s: start(*arguments, str(tmp_path / f"{s}.npy")) for s in (signal.SIGINT, signal.SIGTERM)}
    finally:
        signal.signal(signal.SIGINT, before)
    for process in processes.values():
        assert "condition" in process.stdout.readline()
        assert process.stdout.readline().split()[0] == "0"
    assert len(names_in(tmp_path)) == 3  # two temporary files
    for number, process in processes.items():
        process.send_signal(number)
        _, err = process.communicate()
        assert process.returncode == 128 + number
        assert err == ""
    assert names_in(tmp_path) == ["a.npy"]


def test_a_closed_pipe_leaves_nothing_and_no_traceback(tmp_path, monkeypatch, capsys):
    path = save(tmp_path / "a.npy", a=A)
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        assert solve(path, tmp_path / "b.npy", "--report") == 141
    assert capsys.readouterr().err == ""
    assert names_in(tmp_path) == ["a.npy"]


def test_the_bar_is_on_the_terminal_and_the_report_in_its_file(tmp_path):
    pty = pytest.importorskip("pty")
    main_end, terminal = pty.openpty()
    path = save(tmp_path / "a.npy", a=BAD)
    with (tmp_path / "report").open("w") as report:
        arguments = [sys.executable, "-m", "sqrtm", "solve", str(path), "-o", str(tmp_path / "b.npy"), "--report"]
        env = {
            **{k: v for k, v in os.environ.items() if k not in ("CI", "NO_COLOR")},
            "PYTHONPATH": SOURCE,
            "TERM": "xterm",
        }
        assert subprocess.run(arguments, stdout=report, stderr=terminal, env=env, check=False).returncode == 1
    os.close(terminal)
    shown = os.read(main_end, 2**16).decode(errors="replace")
    os.close(main_end)
    assert "computing" in shown
    assert "nothing was written" in shown
    assert [line.split()[0] for line in (tmp_path / "report").read_text().splitlines()] == ["index", *"01234"]


def test_a_bar_is_shown_only_where_there_is_rich(monkeypatch):
    for name in ("rich", "rich.console", "rich.progress"):
        monkeypatch.setitem(sys.modules, name, None)
    with command._progress(2, True) as advance:
        advance(2)
