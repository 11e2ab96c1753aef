"""The matrices of the experiment: synthetic covariances, photographs, or the user's own file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, sqrt
from pathlib import Path

import torch
from torch import Tensor
from torch.linalg import LinAlgError

from .._checks import checked_scale
from .._info import condition_numbers
from .._place import place_of
from ..commands import InputError
from ..files import FORMATS, read

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
        return condition_numbers(self.a)


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
    """The real matrices in a file, as ``(B, n, n)`` in float64."""
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{path}: --data takes synthetic, photos, or a file ending in {', '.join(FORMATS)}")
    matrices = read(path)
    if matrices.dtype.is_complex or matrices.dtype == torch.bool:
        raise InputError(f"{path}: matrices must be real, got {str(matrices.dtype).removeprefix('torch.')}")
    return matrices.part(0, matrices.count).double()
