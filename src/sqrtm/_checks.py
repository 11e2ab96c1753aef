"""What an input must be, and what to say when it is not.

Arguments (type, shape, dtype) are checked in Python. Values are checked inside a forward-only
custom operator, because a data-dependent ``raise`` would otherwise break ``vmap`` and
``torch.compile``. The operator returns the scale that every computation divides by, so nothing
that follows can run before the check has passed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.linalg import LinAlgError

from ._place import Place, index_in, vmapped
from ._real import COMPLEX, HALF, as_given
from ._scratch import scratch
from ._spectrum import largest_entry, null_level, power_of_four

DTYPES = (*HALF, torch.float32, torch.float64, *COMPLEX)
OK, NON_FINITE, ASYMMETRIC, INDEFINITE, SINGULAR = range(5)
FEW = 2**12
"""Elements up to which operations cost what it takes to call them."""
LARGEST_NORM = 1e10
"""Frobenius norms up to this, and down to its inverse, are computed without over- or underflow, of A and A − Aᵀ."""


def check_argument(name: str, x: object, caller: str) -> None:
    """Raise TypeError or ValueError unless ``x`` is a tensor ``(..., n, n)`` of one of `DTYPES`."""
    if not isinstance(x, Tensor):
        hint = f"; torch.as_tensor({name}) makes one" if hasattr(x, "__len__") and not isinstance(x, str) else ""
        raise TypeError(f"{caller}: {name} must be a torch.Tensor, got {type(x).__module__}.{type(x).__name__}{hint}")
    if x.layout != torch.strided:
        raise TypeError(f"{caller}: {name} must be a dense tensor, got layout {x.layout}; use {name}.to_dense()")
    if x.dtype not in DTYPES:
        best = "complex128" if x.is_complex() else "float64"
        raise TypeError(
            f"{caller}: {name} must be floating-point or complex, {', '.join(map(_short, DTYPES))}, got"
            f" {_short(x.dtype)}; convert it first, e.g. {name}.to(torch.{best})"
        )
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ValueError(f"{caller}: {name} must have shape (..., n, n), got {tuple(x.shape)}")


def check_pair(first: str, x: object, second: str, y: object, caller: str) -> torch.Size:
    """`check_argument` of both; raise too unless they match; return their common batch shape."""
    check_argument(first, x, caller)
    check_argument(second, y, caller)
    assert isinstance(x, Tensor)
    assert isinstance(y, Tensor)
    if x.dtype != y.dtype or x.device != y.device:
        raise TypeError(
            f"{caller}: {first} and {second} must agree in dtype and device, got {x.dtype} on {x.device} and {y.dtype}"
            f" on {y.device}"
        )
    try:
        if x.shape[-1] == y.shape[-1]:
            return torch.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    except RuntimeError:  # the batch axes do not broadcast
        pass
    raise ValueError(f"{caller}: {first} {tuple(x.shape)} and {second} {tuple(y.shape)} do not match")


def asymmetry_tolerance(dtype: torch.dtype) -> float:
    """Largest accepted ‖A − Aᵀ‖_F / ‖A‖_F: what a covariance summed in this dtype, or rounded to half, may show."""
    eps = torch.finfo(dtype).eps
    return 4 * eps if dtype in HALF else max(eps**0.5, 1e-5)


def indefinite_level(n: int, dtype: torch.dtype) -> float:
    """Largest accepted −λ/‖A‖₂: what a covariance of 1e5 points summed in this dtype, or rounded to half, may show."""
    return (4 if dtype in HALF else max(n, 128)) * torch.finfo(dtype).eps


@torch.library.custom_op("sqrtm::checked_scale", mutates_args=())
def checked_scale(a: Tensor, caller: str, dtype: torch.dtype, definite: bool, place: list[int]) -> Tensor:
    """Check the values of ``a`` and return `power_of_four(a)`.

    Parameters
    ----------
    a : Tensor
        ``(..., n, n)``, not empty, detached.
    caller : str
        The name that errors start with.
    dtype : torch.dtype
        What the matrices were given in: what counts as rounding depends on it (`as_real`).
    definite : bool
        Reject singular matrices too.
    place : list of int
        A `Place`.

    Raises
    ------
    torch.linalg.LinAlgError
        Naming the first matrix that is not finite, symmetric and positive (semi-)definite.
    """
    codes, scale = check_values(a, definite, dtype)
    raise_first(a, codes, caller, dtype, a.dtype if dtype in HALF else dtype, tuple(place))
    return scale


def check_values(a: Tensor, definite: bool, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """A code per matrix that was given in ``dtype``, and the scale to divide it by.

    For methods that cannot tell the rounding to half precision from eigenvalues: definiteness is judged in ``a``'s own
    dtype.
    """
    scale = power_of_four(largest_entry(a))
    return _status(a / scale, definite, dtype), scale


def raise_first(a: Tensor, codes: Tensor, caller: str, dtype: torch.dtype, judged: torch.dtype, place: Place) -> None:
    """Raise LinAlgError for the first matrix of ``a`` whose code is not OK, if there is one.

    It was given in ``dtype``, and its definiteness ``judged`` by what counts as rounding in that.
    """
    if codes.any():  # waits for the device
        codes, a = codes.flatten(), a.reshape(-1, *a.shape[-2:])
        first = int(codes.nonzero()[0])
        raise LinAlgError(_explain(a[first], int(codes[first]), index_in(place, first), caller, dtype, judged))


@contextmanager
def symmetric_part(a: Tensor, dtype: torch.dtype) -> Iterator[tuple[Tensor, Tensor | None]]:
    """For methods that check the rest themselves: (A + Aᵀ)/2, and a code per matrix, None if all are OK.

    ``dtype`` is what A was given in. In place of a matrix that is not finite stands the identity. A symmetric batch is
    returned as it is; what another becomes may be asymmetric by its own rounding, and is not to be used later.
    """
    # `_symmetric_part` would find this too, in more operations, which is what time goes into here.
    if a.numel() <= FEW and a.device.type == "cpu" and (a - a.mT).amax().item() == 0:
        yield a, None
        return
    with scratch(1, a) as (memory,):
        if a.shape[-1] <= 4:  # loops over the batch are longer, and faster
            memory = memory.view(*a.shape[1:], -1).permute(2, 0, 1)
        x, codes = _symmetric_part(a, memory, dtype)
        if x is memory:
            yield x, codes
            return
    yield x, codes


def _symmetric_part(a: Tensor, skew: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    tolerance = asymmetry_tolerance(dtype)
    if a.device.type != "cpu":  # where to look at values is to wait for them
        return _any_symmetric_part(a, tolerance)
    if torch.sub(a, a.mT, out=skew).amax() == 0:  # not so if there is a NaN, or an infinity less itself
        return a, None
    asymmetry, size = (torch.linalg.vector_norm(x, dim=(-2, -1)) for x in (skew, a))
    least, largest = size.aminmax()
    if least > 1 / LARGEST_NORM and largest < LARGEST_NORM and (asymmetry <= tolerance * size).all():
        return torch.sub(a, skew, alpha=0.5, out=skew), None
    return _any_symmetric_part(a, tolerance)


def _any_symmetric_part(a: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    largest = largest_entry(a)
    finite = largest.isfinite()
    eye = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    scale = power_of_four(largest)
    x = torch.where(finite, a / scale, eye)
    asymmetry, size = (torch.linalg.matrix_norm(y) for y in (x - x.mT, x))
    codes = torch.where(asymmetry > tolerance * size, ASYMMETRIC, OK)
    # Changes no bit of a matrix that is symmetric.
    return torch.where(finite, (x + x.mT) / 2 * scale, eye), torch.where(finite[:, 0, 0], codes, NON_FINITE)


@checked_scale.register_fake
def _(a: Tensor, caller: str, dtype: torch.dtype, definite: bool, place: list[int]) -> Tensor:
    return a.new_empty((*a.shape[:-2], 1, 1))


@checked_scale.register_vmap
def _(info: Any, in_dims: Any, a: Tensor, *settings: Any) -> tuple[Tensor, int]:
    *others, place = settings
    return checked_scale(a.movedim(in_dims[0], 0), *others, list(vmapped(place, info.batch_size))), 0


def _status(a: Tensor, definite: bool, dtype: torch.dtype) -> Tensor:
    """One code per matrix of ``a``, given in ``dtype``, whose entries are below 4 in size or not finite."""
    n = a.shape[-1]
    finite = a.isfinite().all(-1).all(-1)
    eye = torch.eye(n, dtype=a.dtype, device=a.device)
    a = torch.where(finite[..., None, None], a, eye)
    norm = torch.linalg.matrix_norm(a)
    asymmetric = torch.linalg.matrix_norm(a - a.mT) > asymmetry_tolerance(dtype) * norm
    a = (a + a.mT) / 2
    trace = a.diagonal(dim1=-2, dim2=-1).sum(-1)
    # For semidefinite A, ‖A‖_F² / tr A lies between the largest eigenvalue over n and itself.
    largest = torch.where(trace > 0, torch.minimum(norm, norm**2 / trace), norm)
    largest = torch.where(norm > 0, largest, 1.0)

    def has_cholesky(shift: Tensor) -> Tensor:
        return torch.linalg.cholesky_ex(a + shift[..., None, None] * eye).info == 0

    indefinite = ~has_cholesky(indefinite_level(n, a.dtype) * largest)
    codes = torch.where(indefinite, INDEFINITE, OK)
    if definite:
        singular = ~has_cholesky(-null_level(n, a.dtype) * largest)
        codes = torch.where(singular & ~indefinite, SINGULAR, codes)
    codes = torch.where(asymmetric, ASYMMETRIC, codes)
    return torch.where(finite, codes, NON_FINITE)


def _explain(a: Tensor, code: int, index: list[int], caller: str, dtype: torch.dtype, judged: torch.dtype) -> str:
    """The error text for one rejected matrix."""
    which = f"matrix {index if len(index) > 1 else index[0]} of the batch" if index else "the matrix"
    name = "S" if caller == "solve_lyapunov" else "B" if caller.endswith("(B)") else "A"
    n = a.shape[-1]
    if code == NON_FINITE:
        a = as_given(a, dtype)
        bad = ~a.isfinite()
        row, column = bad.nonzero()[0].tolist()
        return (
            f"{caller}: {which} is not finite: {int(bad.sum())} of its {bad.numel()} entries, the first"
            f" {a[row, column].item()} at ({row}, {column}). Look for a division by zero or an overflow where"
            " it is made."
        )
    a = a.double() / power_of_four(largest_entry(a)).double()
    norm = torch.linalg.matrix_norm(a)
    if code == ASYMMETRIC:
        found = (torch.linalg.matrix_norm(a - a.mT) / norm).item()
        elsewhere = "; for a general matrix use scipy.linalg.sqrtm" if "sqrtm" in caller else ""
        word, other, mirrored = ("Hermitian", "ᴴ", "mH") if dtype in COMPLEX else ("symmetric", "ᵀ", "mT")
        return (
            f"{caller}: {which} is not {word}: ‖{name} − {name}{other}‖_F / ‖{name}‖_F = {found:.3g}, more than the"
            f" {asymmetry_tolerance(dtype):.2g} taken for rounding in {_short(dtype)}. Where it is rounding all the"
            f" same, pass ({name} + {name}.{mirrored}) / 2{elsewhere}."
        )
    twice = 2**0.5 if dtype in COMPLEX else 1.0  # `as_real` has every entry twice
    found = twice * (torch.linalg.eigvalsh((a + a.mT) / 2)[0] / norm.clamp(min=1e-300)).item()
    if code == INDEFINITE:
        best = torch.complex128 if dtype in COMPLEX else torch.float64
        better = "" if dtype == best else f", or make it in {_short(best)}"
        if judged != dtype and "sqrtm" in caller:
            better += f"; method='auto' forgives what rounding to {_short(dtype)} does"
        return (
            f"{caller}: {which} is not positive semidefinite: its smallest eigenvalue is {found:.3g}·‖{name}‖_F,"
            f" below the -{indefinite_level(n, judged):.2g} or so taken for rounding in {_short(judged)}. Look for an"
            f" error where it is made{better}; to regularise it, add a multiple of the identity."
        )
    if caller == "solve_lyapunov":
        why = "the equation S X + X S = G then has no unique solution"
    else:
        why = "its inverse is needed here"
    otherwise = {
        "solve_lyapunov": "",
        "sqrtm": ", or use method='eigh', which needs no inverse",
    }.get(caller, ", or ask for the inverse on the rest of the space with pseudo_inverse=True")
    return (
        f"{caller}: {which} is singular to working precision (its smallest eigenvalue is {found:.3g}·‖{name}‖_F),"
        f" and {why}. Add a multiple of the identity{otherwise}."
    )


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
