"""Matrices and what is true of them, in tests/cases.mat, for the Python tests and for those of MATLAB and Octave.

    PYTHONPATH=src python tests/cases.py    # writes the file

``good`` is a struct array: name, A (n × n × ...), an incoming gradient G that is not symmetric, the exact root S, the
exact gradient X for (G + Gᴴ)/2, and the condition number kappa. A and G are exact in single precision, so that S and X
are true of them in both. ``bad`` is one too: name, A, the page at fault, counted from 1, or 0 where A is no batch, and
the identifier of the error in MATLAB.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from matrices import with_spectrum
from torch import Tensor

from sqrtm._info import condition_numbers
from sqrtm._real import as_given, as_real
from sqrtm.compare.cases import make_case
from sqrtm.compare.reference import reference

PATH = Path(__file__).with_name("cases.mat")


def load(path: Path, name: str) -> list[dict[str, Any]]:
    """The struct array of this name in a file: arrays as tensors with pages first, text as text."""
    from scipy.io import loadmat

    def value(x: np.ndarray) -> Any:
        if x.dtype.kind == "U" or not x.size:
            return str(x.item()) if x.size else ""
        return torch.from_numpy(np.moveaxis(x, (0, 1), (-2, -1)).copy())

    rows = loadmat(path)[name].ravel()
    return [{field: value(row[field]) for field in rows.dtype.names} for row in rows]


def good_matrices() -> dict[str, Tensor]:
    """A by name, symmetric positive semidefinite, ``(..., n, n)`` in double precision."""
    draw = torch.Generator().manual_seed(0)
    covariance = make_case(
        "synthetic", batch_size=1, dim=64, pts=1000, tau=1.0, seed=0, dtype=torch.float64, device=torch.device("cpu")
    ).a[0]
    eye = torch.eye(6, dtype=torch.float64)
    steps = torch.linspace(0, 1, 16, dtype=torch.float64)
    points = torch.complex(*(torch.randn(2, 9, 5, dtype=torch.float64, generator=draw) for _ in range(2)))
    integers = torch.randint(-3, 4, (3, 7, 4), generator=draw).double()
    return {
        "covariance": covariance,
        "scalars": torch.tensor([4.0, 2.0, 1e-3], dtype=torch.float64).reshape(3, 1, 1),
        "small": with_spectrum([[1.0, 2.0], [1.0, 100.0], [3.0, 3.0]], seed=1),
        "easy": with_spectrum([[1.0, 1.1, 1.2, 1.3], [1.0, 1.3, 1.6, 2.0], [1.0, 2.0, 3.0, 5.0]], seed=2),
        "ties": torch.stack([1 + eye, 4 * eye, torch.block_diag(1 + eye[:3, :3], 1 + eye[:3, :3])]),
        "condition 1e4": with_spectrum(torch.stack([10 ** (4 * steps), 10 ** (4 * steps**3)]), seed=3),
        "condition 1e6": with_spectrum(10 ** (6 * steps), seed=4),
        "mixed": with_spectrum(torch.stack([10 ** (k * steps[1::2]) for k in (0.0, 0.5, 2.0, 5.0)]), seed=5),
        "two axes": with_spectrum(1 + torch.rand(2, 3, 4, dtype=torch.float64, generator=draw), seed=6),
        "large, small": with_spectrum([1.0, 2.0, 3.0], seed=7) * torch.tensor([2.0**100, 2.0**-100])[:, None, None],
        "complex": points.mH @ points / 9,
        "rank 4 of 7": integers @ integers.mT,
        "zero": torch.zeros(3, 3, dtype=torch.float64),
    }


def bad_matrices() -> dict[str, tuple[Tensor, int, str]]:
    """A by name, the page at fault, and the error."""
    eye = torch.eye(3, dtype=torch.float64)
    nan, infinite, asymmetric, indefinite = (eye.repeat(4, 1, 1) for _ in range(4))
    nan[2, 0, 1] = torch.nan
    infinite[1, 2, 2] = torch.inf
    asymmetric[3, 0, 1] = 0.1
    indefinite[2, 0, 0] = -0.1
    return {
        "nan": (nan, 3, "sqrtm:notFinite"),
        "infinite": (infinite, 2, "sqrtm:notFinite"),
        "asymmetric": (asymmetric, 4, "sqrtm:notSymmetric"),
        "indefinite": (indefinite, 3, "sqrtm:notPositiveSemidefinite"),
        "negative": (-eye, 0, "sqrtm:notPositiveSemidefinite"),
        "not square": (torch.ones(3, 4, dtype=torch.float64), 0, "sqrtm:notSquare"),
        "integers": (torch.eye(3, dtype=torch.int32), 0, "sqrtm:notFloat"),
    }


def solved(name: str, a: Tensor, seed: int) -> dict[str, Any]:
    """A good case, as it is written."""
    single = torch.complex64 if a.is_complex() else torch.float32
    a = a.to(single).to(a.dtype)
    a = (a + a.mH) / 2
    g = torch.randn(a.shape, dtype=a.dtype, generator=torch.Generator().manual_seed(seed)).to(single).to(a.dtype)
    real, real_g = as_real(a), as_real((g + g.mH) / 2)
    n = real.shape[-1]
    root, gradient = reference(real.reshape(-1, n, n), real_g.reshape(-1, n, n), extended=True)
    s, x = (as_given(exact.high.reshape(real.shape), a.dtype) for exact in (root, gradient))
    kappa = condition_numbers(real.reshape(-1, n, n)).max().item()
    return {
        "name": name,
        "A": pages_last(a),
        "G": pages_last(g),
        "S": pages_last(s),
        "X": pages_last(x),
        "kappa": kappa,
    }


def pages_last(x: Tensor) -> np.ndarray:
    """The axes of a matrix come first in MATLAB."""
    return x.movedim((-2, -1), (0, 1)).numpy()


def struct_array(rows: list[dict[str, Any]]) -> np.ndarray:
    """What `savemat` writes as a struct array."""
    array = np.empty(len(rows), dtype=[(field, object) for field in rows[0]])
    for i, row in enumerate(rows):
        array[i] = tuple(row.values())
    return array


if __name__ == "__main__":
    from scipy.io import savemat

    solutions = [solved(name, a, seed) for seed, (name, a) in enumerate(good_matrices().items())]
    errors = [
        {"name": name, "A": pages_last(a), "page": page, "error": error}
        for name, (a, page, error) in bad_matrices().items()
    ]
    savemat(PATH, {"good": struct_array(solutions), "bad": struct_array(errors)}, do_compression=True)
