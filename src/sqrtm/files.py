"""Batches of matrices in files: one reader and one writer a format, by suffix. Importing it needs torch alone."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ._checks import DTYPES
from ._chunks import flattened
from ._real import HALF
from .commands import InputError, need

INTEGERS = (
    torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.int16, torch.int32, torch.int64,
)  # fmt: skip


@dataclass(frozen=True)
class Matrices:
    """A batch of square matrices, in memory or mapped from a file, to be had a part at a time."""

    data: Any
    """Tensor or NumPy array, ``(..., n, n)``."""
    dtype: torch.dtype
    """What parts have: that of the data, but float64 for integers, and for what is wider."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(..., n, n)``"""
        return tuple(self.data.shape)

    @property
    def count(self) -> int:
        """How many matrices there are."""
        return prod(self.shape[:-2])

    def part(self, start: int, stop: int) -> Tensor:
        """The matrices from number ``start`` to ``stop``, ``(stop − start, n, n)``."""
        if isinstance(self.data, Tensor):
            return flattened(self.data)[start:stop].to(self.dtype)
        import numpy as np

        data = self.data if self.data.ndim > 2 else self.data[None]
        # The axes may be in any order in the file, so that a reshape would copy it whole; indices copy what they name.
        index = np.unravel_index(np.arange(start, stop), data.shape[:-2])
        return torch.from_numpy(np.asarray(data[index], _name(self.dtype)))


@dataclass(frozen=True)
class Arrays:
    """Arrays of one shape and dtype that come a part at a time."""

    names: tuple[str, ...]
    shape: tuple[int, ...]
    """``(..., n, n)``"""
    dtype: torch.dtype
    parts: Iterable[Sequence[Tensor]]
    """Consecutive matrices of each array, ``(b, n, n)``."""

    def joined(self) -> dict[str, Tensor]:
        """The arrays."""
        arrays = {name: torch.empty(self.shape, dtype=self.dtype) for name in self.names}
        start = 0
        for part in self.parts:
            for array, x in zip(arrays.values(), part, strict=True):
                flattened(array)[start : start + len(x)] = x
            start += len(part[0])
        return arrays


def read(path: Path, key: str | None = None, advice: str = "") -> Matrices:
    """The array in a file, the one called ``key`` if it holds several.

    Raises
    ------
    InputError
        It cannot be read, holds no such array or several (``advice`` ends that message), or no square matrices.
    """
    if not path.is_file():
        raise InputError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}")
    form = format_of(path)
    need(*form.modules)
    try:
        found = form.read(path, partial(_choose, path, key, advice))
    except InputError:
        raise
    except Exception as error:  # whatever a damaged file makes the readers raise
        raise InputError(f"{path}: cannot be read as {path.suffix.lower()} ({type(error).__name__})") from None
    return _matrices(path, found)


def check_output(path: Path, names: Sequence[str], force: bool) -> None:
    """Raise `InputError` unless arrays of these names can be written there."""
    form = format_of(path)
    need(*form.modules)
    if len(names) > 1 and not form.several:
        others = _one_of(suffix for suffix, other in FORMATS.items() if other.several)
        raise InputError(f"{path}: holds one array, not {' and '.join(names)}; write {others}")
    target = _target(path)
    if target.is_dir():
        raise InputError(f"{path}: is a folder")
    if os.path.lexists(target):
        if not force:
            raise InputError(f"{path}: exists; --force replaces it")
        if not target.is_file():
            raise InputError(f"{path}: is not a file")
    if not target.parent.is_dir():
        raise InputError(f"{path}: there is no folder {target.parent}")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise InputError(f"{path}: the folder {target.parent} cannot be written")


def check_array(path: Path, shape: Sequence[int], dtype: torch.dtype) -> None:
    """Raise `InputError` unless the format can hold such an array."""
    form = format_of(path)
    if dtype not in form.dtypes:
        others = _one_of(suffix for suffix, other in FORMATS.items() if dtype in other.dtypes)
        raise InputError(f"{path}: {path.suffix.lower()} holds no {_name(dtype)}; write {others}")
    if form.limit and prod(shape) * dtype.itemsize >= form.limit:
        raise InputError(f"{path}: {path.suffix.lower()} holds arrays below {form.limit // 2**30} GiB; write .npy")


def write(path: Path, arrays: Arrays, force: bool) -> None:
    """Write arrays to a file that is there once it is complete, or not at all, also if their parts raise.

    With ``force`` it replaces another.
    """
    try:
        with _put_in_place(path, force) as temporary:
            format_of(path).write(temporary, arrays)
    except BrokenPipeError:  # of what reads the standard output
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from None


@contextmanager
def _put_in_place(path: Path, force: bool) -> Iterator[Path]:
    """A name for a temporary file beside ``path``, which takes its place at the end, or is removed."""
    target = _target(path)
    temporary = target.with_name(f".sqrtm-{secrets.token_hex(8)}{target.suffix}")
    try:
        temporary.touch(exist_ok=False)
        mode = (target if force and target.exists() else temporary).stat().st_mode & 0o777
        yield temporary
        with suppress(OSError):  # not every file system has modes
            temporary.chmod(mode)  # safetensors makes a file for the owner alone
        if not force:
            try:
                os.link(temporary, target)  # unlike a rename never replaces what was written meanwhile
                return
            except FileExistsError:
                raise InputError(f"{path}: exists by now, nothing was written; --force replaces it") from None
            except OSError:  # not every file system has links
                pass
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _target(path: Path) -> Path:
    """The file that is written: where ``path`` is a symbolic link, that stays, and points to it."""
    return Path(os.path.realpath(path))


def _choose(path: Path, key: str | None, advice: str, names: Iterable[Any] | None) -> Any:
    """The name, among those in a file, of the array to read; None stands for one array without a name."""
    if names is None:
        if key is not None:
            raise InputError(f"{path}: its array has no name; leave out --key")
        return None
    known = {str(name): name for name in names}
    listed = ", ".join(known)
    if not known:
        raise InputError(f"{path}: holds no array")
    if key is not None and key not in known:
        raise InputError(f"{path}: holds no array {key!r}, holds {len(known)}: {listed}")
    if key is None and len(known) != 1:
        raise InputError(f"{path}: must hold one array, holds {len(known)}: {listed}{advice}")
    return known[next(iter(known)) if key is None else key]


def _matrices(path: Path, found: Any) -> Matrices:
    """What a reader found, if that is a dense array of square matrices."""
    if hasattr(found, "toarray"):  # SciPy's sparse matrices
        raise InputError(f"{path}: matrices must be dense, got a sparse one")
    if not isinstance(found, Tensor) and not hasattr(found, "dtype"):
        try:
            found = torch.as_tensor(found)  # lists of numbers
        except (TypeError, ValueError, RuntimeError):
            raise InputError(f"{path}: holds no array of numbers") from None
    if isinstance(found, Tensor):
        if found.layout != torch.strided or found.is_nested or found.is_meta:
            what = "a nested one" if found.is_nested else "one without values" if found.is_meta else found.layout
            raise InputError(f"{path}: matrices must be dense, got {what}")
        dtype = torch.float64 if found.dtype in INTEGERS else found.dtype
        if dtype not in (*DTYPES, torch.bool):
            raise InputError(f"{path}: matrices must be {', '.join(map(_name, DTYPES))}, got {_name(dtype)}")
        found = found.detach()
    else:
        kind, size = found.dtype.kind, found.dtype.itemsize
        if kind not in "iufcb":
            raise InputError(f"{path}: holds no array of numbers")
        real = {("f", 2): torch.float16, ("f", 4): torch.float32, ("c", 8): torch.complex64, ("b", 1): torch.bool}
        dtype = real.get((kind, size), torch.complex128 if kind == "c" else torch.float64)
    if found.ndim < 2 or found.shape[-1] != found.shape[-2]:
        raise InputError(f"{path}: matrices must be square, of shape (..., n, n), got {tuple(found.shape)}")
    return Matrices(found, dtype)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _one_of(suffixes: Iterable[str]) -> str:
    *most, last = suffixes
    return f"{', '.join(most)} or {last}" if most else last


# A reader asks ``choose`` which of the names in its file is wanted, and reads only that where it can.


def _read_npy(path: Path, choose: Callable[[Any], Any]) -> Any:
    import numpy as np

    choose(None)
    return np.lib.format.open_memmap(path, mode="r")  # what could be written would count as memory


def _read_npz(path: Path, choose: Callable[[Any], Any]) -> Any:
    import numpy as np

    with path.open("rb") as file, np.load(file) as arrays:  # np.load would not close a damaged one
        return arrays[choose(arrays.files)]


def _read_torch(path: Path, choose: Callable[[Any], Any]) -> Any:
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    name = choose(loaded if isinstance(loaded, dict) else None)
    return loaded[name] if isinstance(loaded, dict) else loaded


def _read_mat(path: Path, choose: Callable[[Any], Any]) -> Any:
    import numpy as np
    from scipy.io import loadmat, whosmat

    try:
        kinds = {name: kind for name, _, kind in whosmat(path, appendmat=False) if not name.startswith("__")}
    except NotImplementedError:
        raise InputError(f"{path}: is of MATLAB 7.3 (HDF5), which SciPy cannot read; save it with '-v7'") from None
    name = choose(kinds)
    found = loadmat(path, appendmat=False, variable_names=[name])[name]
    # MATLAB stores whole numbers as integers whatever their type; loadmat(mat_dtype=True) would lose imaginary parts.
    dtype = {"single": np.float32, "double": np.float64, "logical": np.bool_}.get(kinds[name])
    if dtype and isinstance(found, np.ndarray):
        found = found.astype(np.result_type(dtype, np.complex64) if np.iscomplexobj(found) else dtype)
    return np.moveaxis(found, (0, 1), (-2, -1)) if isinstance(found, np.ndarray) else found


def _read_safetensors(path: Path, choose: Callable[[Any], Any]) -> Any:
    from safetensors import safe_open

    with safe_open(path, "pt") as arrays:
        return arrays.get_tensor(choose(arrays.keys()))


# A writer fills an empty file; only .npy is written part by part.


def _write_npy(path: Path, arrays: Arrays) -> None:
    import numpy as np

    header = {"descr": np.dtype(_name(arrays.dtype)).str, "fortran_order": False, "shape": arrays.shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for (part,) in arrays.parts:  # not into a mapped file: a full disk would kill the process
            file.write(part.contiguous().numpy().data)


def _write_npz(path: Path, arrays: Arrays) -> None:
    import numpy as np

    named = {name: x.numpy() for name, x in arrays.joined().items()}
    with path.open("wb") as file:
        np.savez(file, **named)  # type: ignore[arg-type]


def _write_torch(path: Path, arrays: Arrays) -> None:
    named = arrays.joined()
    try:
        torch.save(named if len(named) > 1 else named[arrays.names[0]], path)
    except RuntimeError as error:  # says where in PyTorch
        raise OSError("PyTorch failed to write it; is there room?") from error


def _write_mat(path: Path, arrays: Arrays) -> None:
    import numpy as np
    from scipy.io import savemat

    named = {name: np.moveaxis(x.numpy(), (-2, -1), (0, 1)) for name, x in arrays.joined().items()}
    with path.open("wb") as file:
        savemat(file, named)


def _write_safetensors(path: Path, arrays: Arrays) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    named = arrays.joined()
    try:
        save_file(named, path)
    except SafetensorError as error:
        raise OSError(str(error)) from error


class Format(NamedTuple):
    """What can be done with files of a suffix."""

    read: Callable[[Path, Callable[[Any], Any]], Any]
    write: Callable[[Path, Arrays], None]
    dtypes: Sequence[torch.dtype]
    """What it holds of `DTYPES`."""
    modules: tuple[str, ...] = ()
    several: bool = True
    """Whether it holds more than one array."""
    limit: int | None = None
    """Bytes that an array must have less of."""


_NUMPY = [dtype for dtype in DTYPES if dtype != torch.bfloat16]
FORMATS = {
    ".npy": Format(_read_npy, _write_npy, _NUMPY, ("numpy",), several=False),
    ".npz": Format(_read_npz, _write_npz, _NUMPY, ("numpy",)),
    ".pt": Format(_read_torch, _write_torch, DTYPES),
    ".mat": Format(_read_mat, _write_mat, [d for d in DTYPES if d not in HALF], ("numpy", "scipy"), limit=2**31),
    ".safetensors": Format(
        _read_safetensors, _write_safetensors, [d for d in DTYPES if d != torch.complex128], ("safetensors",)
    ),
}


def format_of(path: Path) -> Format:
    """The format that the suffix stands for."""
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise InputError(f"{path}: must end in {_one_of(FORMATS)}")
    return FORMATS[suffix]
