"""The matrices of the experiment: synthetic covariances, photographs, or the user's own file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.linalg import LinAlgError

from .._checks import checked_scale
from .._place import place_of


class InputError(Exception):
    """What the user asked for cannot be had; the message is for the user."""


RANGES = {torch.float32: (1e-30, 1e30), torch.float64: (1e-140, 1e140)}
"""Sizes (largest entries) that the dtype holds with room for the small entries and, in float64, for squares."""


@dataclass(frozen=True)
class Case:
    """A batch of symmetric positive semidefinite matrices and an incoming gradient for their roots."""

    a: Tensor
    """``(B, n, n)``"""
    g: Tensor
    """``(B, n, n)``, symmetric with standard-normal entries."""

    def condition_numbers(self) -> Tensor:
        """Largest over smallest eigenvalue of each matrix, in float64; +inf where A is singular."""
        eigenvalues = torch.linalg.eigvalsh(self.a.double())
        return torch.where(eigenvalues[:, 0] > 0, eigenvalues[:, -1] / eigenvalues[:, 0], torch.inf)


def make_case(
    data: str,
    *,
    batch_size: int,
    dim: int,
    pts: int,
    tau: float,
    seed: int,
    dtype: torch.dtype,
    device: torch.device,
) -> Case:
    """The case named by ``data``: "synthetic", "photos" or the path of a file."""
    generator = torch.Generator().manual_seed(seed)
    if data == "synthetic":
        a = _covariances(_normal_points(batch_size, dim, pts, generator), tau)
    elif data == "photos":
        a = _covariances(_photo_points(batch_size, dim, pts, generator), tau)
    else:
        a = _from_file(Path(data))
    if a.numel() == 0:
        raise InputError(f"{data}: no matrices in it, its shape is {tuple(a.shape)}")
    sizes = a.abs().amax((-2, -1))
    least, most = RANGES[dtype]
    for size in sizes[(sizes > 0) & ((sizes < least) | (sizes > most))][:1].tolist():
        name = str(dtype).removeprefix("torch.")
        raise InputError(f"{data}: a matrix of size {size:.0e} is out of the range {least:g} to {most:g} for {name}")
    a = a.to(dtype)
    try:
        checked_scale(a, data, a.dtype, False, list(place_of(a.shape[:-2])))
    except LinAlgError as error:
        raise InputError(str(error)) from None
    a = (a + a.mT) / 2
    g = torch.randn(a.shape, dtype=torch.float64, generator=generator).to(dtype)
    return Case(a.to(device), ((g + g.mT) / 2).to(device))


def _covariances(points: Iterator[Tensor], tau: float) -> Tensor:
    """Σ xxᵀ/pts + tau·I for each ``(b, pts, n)`` of points."""
    a = torch.cat([x.mT @ x / x.shape[-2] for x in points])
    a.diagonal(dim1=-2, dim2=-1).add_(tau)
    return a


def _normal_points(batch_size: int, dim: int, pts: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Standard-normal points, for as many matrices at a time as keep memory moderate."""
    chunk = max(1, 2**24 // (pts * dim))
    for start in range(0, batch_size, chunk):
        size = (min(chunk, batch_size - start), pts, dim)
        yield torch.randn(size, dtype=torch.float64, generator=generator)


def _photo_points(batch_size: int, dim: int, pts: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Centred local features of random regions of scikit-learn's two sample photographs.

    A feature is the response of the ``dim`` lowest-frequency filters of the two-dimensional
    discrete cosine transform on a patch of ⌈√dim⌉ × ⌈√dim⌉ grey values (0 to 255). A region is a
    square of ⌈√pts⌉ × ⌈√pts⌉ neighbouring patches, of which the first ``pts`` count.
    """
    try:
        from sklearn.datasets import load_sample_images

        photographs = load_sample_images().images
    except ImportError:  # of scikit-learn, or within it of Pillow
        raise InputError("--data photos needs scikit-learn and Pillow: pip install 'sqrtm[compare]'") from None
    luminance = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)
    filters = _cosine_filters(dim)
    features = [
        torch.nn.functional.conv2d((torch.tensor(image).double() @ luminance)[None, None], filters)[0]
        for image in photographs
    ]
    side = ceil(sqrt(pts))
    room = min(min(f.shape[-2:]) for f in features)
    if side > room:
        raise InputError(f"--data photos has regions of at most {room**2} points at --dim {dim}, got --pts {pts}")
    for _ in range(batch_size):
        photo = features[int(torch.randint(len(features), (), generator=generator))]
        top, left = (int(torch.randint(size - side + 1, (), generator=generator)) for size in photo.shape[-2:])
        x = photo[:, top : top + side, left : left + side].flatten(1)[:, :pts].mT
        yield (x - x.mean(0))[None]


def _cosine_filters(dim: int) -> Tensor:
    """The ``dim`` lowest-frequency filters of the orthonormal 2-D cosine transform, ``(dim, 1, p, p)``."""
    p = ceil(sqrt(dim))
    k = torch.arange(p, dtype=torch.float64)
    basis = torch.cos(torch.pi / p * (k + 0.5) * k[:, None])
    basis = basis / basis.norm(dim=1, keepdim=True)
    order = sorted((i + j, i, j) for i in range(p) for j in range(p))[:dim]
    return torch.stack([torch.outer(basis[i], basis[j]) for _, i, j in order])[:, None]


def _from_file(path: Path) -> Tensor:
    """The matrices in a .npy, .npz or .pt file, as ``(B, n, n)`` in float64."""
    readers = {".npy": _read_numpy, ".npz": _read_numpy, ".pt": _read_torch}
    suffix = path.suffix.lower()
    if suffix not in readers:
        raise InputError(f"{path}: --data takes synthetic, photos, or a file ending in {', '.join(readers)}")
    if not path.is_file():
        raise InputError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}")
    try:
        found = readers[suffix](path)
    except InputError:
        raise
    except Exception as error:  # whatever a damaged file makes the readers raise
        raise InputError(f"{path}: cannot be read as {suffix} ({type(error).__name__})") from None
    try:
        a = torch.as_tensor(found)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"{path}: holds no array of numbers") from None
    if a.layout != torch.strided:
        raise InputError(f"{path}: matrices must be dense, got {a.layout}")
    if a.is_complex() or a.dtype == torch.bool:
        raise InputError(f"{path}: matrices must be real, got {str(a.dtype).removeprefix('torch.')}")
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise InputError(f"{path}: matrices must be square, of shape (..., n, n), got {tuple(a.shape)}")
    return a.detach().to("cpu", torch.float64).reshape(a.shape[:-2].numel(), *a.shape[-2:])


def _read_numpy(path: Path) -> Any:
    import numpy as np

    loaded = np.load(path)
    array = loaded if isinstance(loaded, np.ndarray) else _only_one(path, dict(loaded))
    return array.astype(np.float64) if array.dtype.kind in "iuf" else array  # whatever its width and byte order


def _read_torch(path: Path) -> Any:
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    return _only_one(path, loaded) if isinstance(loaded, dict) else loaded


def _only_one(path: Path, arrays: dict[str, Any]) -> Any:
    if len(arrays) != 1:
        raise InputError(f"{path}: must hold one array, holds {len(arrays)}: {', '.join(map(str, arrays))}")
    return next(iter(arrays.values()))
