"""What `sqrtm solve` does, in order."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .._api import invsqrtm_ex, sqrtm_ex, sqrtm_pair_ex
from .._auto import METHODS
from .._checks import ASYMMETRIC, INDEFINITE, NON_FINITE, OK, SINGULAR
from .._chunks import fitting
from .._info import NOT_CONVERGED, STATUSES, Info, condition_numbers
from .._roots import WORKSPACE_EX
from ..commands import InputError, device_of, enough_memory, has_steps, with_steps
from ..files import Arrays, Matrices, check_array, check_output, read, write

PSEUDO_INVERSE = ("auto", "minimax", "eigh")
"""The methods that know which eigenvalues count as zero."""
HEADINGS = {"sqrt": "error bound", "invsqrt": "of inverse"}


class BadMatricesError(Exception):
    """Some matrices have no root, and nothing is to be written then."""


@dataclass
class Tally:
    """What is known of all matrices at the end."""

    bad: int = 0
    not_converged: int = 0
    bound: float = 0.0
    """The largest of matrices that are not bad."""


def run(args: argparse.Namespace) -> int:
    """Write the roots that the flags describe; return the exit status, 1 if there are bad matrices.

    Raises
    ------
    InputError
        Something asked for cannot be had; the message is one line for the user.
    """
    device = device_of(args)
    names, solver = _solver(args)
    check_output(args.out, names, args.force)
    with _removed_when_stopped(), enough_memory(f"not enough memory on {device}; from .npy to .npy takes the least"):
        matrices = read(args.input, args.key, "; --key NAME chooses one")
        if matrices.dtype == torch.bool:
            raise InputError(f"{args.input}: matrices must be numbers, got bool")
        check_array(args.out, matrices.shape, matrices.dtype)
        tally = Tally()
        bar = (
            bool(sys.stderr) and sys.stderr.isatty() and not (args.report and sys.stdout and sys.stdout.isatty())
        )  # where both would be seen
        try:
            with _progress(matrices.count, bar) as advance:
                parts = _parts(args, matrices, device, names, solver, tally, advance)
                write(args.out, Arrays(names, matrices.shape, matrices.dtype, parts), args.force)
        except BadMatricesError:
            print(f"sqrtm solve: nothing was written: {tally.bad} of {matrices.count} matrices bad;"
                  " --keep-going writes the others", file=sys.stderr)  # fmt: skip
            return 1
    if not args.report:
        try:
            _summarise(args, matrices, names, tally)
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                raise
            print(f"sqrtm solve: {args.out} is written, but not this summary: {error.strerror}", file=sys.stderr)
    return 1 if tally.bad else 0


def _solver(args: argparse.Namespace) -> tuple[tuple[str, ...], Callable[..., Any]]:
    """What the arrays are called, and the function that returns them and `Info`."""
    cls = METHODS[args.method]
    if args.num_iters and not has_steps(cls):
        others = ", ".join(name for name in METHODS if has_steps(METHODS[name]))
        raise InputError(f"--num-iters does not go with --method {args.method}, but with: {others}")
    options: dict[str, Any] = {"method": with_steps(cls, args.num_iters) if args.num_iters else cls()}
    if args.pseudo_inverse:
        if not (args.inverse or args.pair):
            raise InputError("--pseudo-inverse goes with --inverse or --pair")
        if args.method not in PSEUDO_INVERSE:
            raise InputError(f"--pseudo-inverse goes with --method {', '.join(PSEUDO_INVERSE)}, not {args.method}")
        options["pseudo_inverse"] = True
    if args.pair:
        return ("sqrt", "invsqrt"), partial(sqrtm_pair_ex, **options)
    return (
        (("invsqrt",), partial(invsqrtm_ex, **options)) if args.inverse else (("sqrt",), partial(sqrtm_ex, **options))
    )


def _parts(
    args: argparse.Namespace,
    matrices: Matrices,
    device: torch.device,
    names: tuple[str, ...],
    solver: Callable[..., Any],
    tally: Tally,
    advance: Callable[[int], None],
) -> Iterator[list[Tensor]]:
    """The results, as many matrices at a time as the workspace has room for, telling of each on the way.

    Raises
    ------
    BadMatricesError
        At the end, so that all of them have been named.
    """
    *batch, n, _ = matrices.shape
    width = max(5, len(",".join(str(length - 1) for length in batch)))
    if args.report:
        bounds = "".join(f"  {HEADINGS[name]:>11}" for name in names)
        print(f"{'index':>{width}}  {'condition':>9}  {'residual':>8}{bounds}  status")
    count = matrices.count if n else 0
    size = fitting(n, matrices.dtype, args.max_workspace_bytes, WORKSPACE_EX)
    for start in range(0, count, size):
        a = matrices.part(start, min(start + size, count)).to(device)
        *roots, info = solver(a)
        bad = info.status.ne(OK) & info.status.ne(NOT_CONVERGED)
        if args.pseudo_inverse:
            bad &= info.status.ne(SINGULAR)
        indices = _indices(batch, start, len(a)) if args.report or bad.any() else []
        for i in bad.nonzero()[:, 0].tolist():
            which = f"matrix {indices[i]}" if batch else "the matrix"
            print(f"sqrtm solve: {which} is {_reason(a[i], int(info.status[i]))}", file=sys.stderr)
        found = [{"sqrt": info.error_bound, "invsqrt": info.inverse_error_bound}[name] for name in names]
        if args.report:
            _report(indices, width, a, info, found)
        tally.bad += int(bad.sum())
        tally.not_converged += int(info.status.eq(NOT_CONVERGED).sum())
        tally.bound = max([tally.bound, *(float(x[~bad].max()) for x in found if not bad.all())])
        yield [x.cpu() for x in roots]
        advance(len(a))
    if tally.bad and not args.keep_going:
        raise BadMatricesError


def _indices(batch: list[int], start: int, count: int) -> list[str]:
    """What to call so many matrices from number ``start`` on of a batch of this shape."""
    if not batch:
        return ["-"]
    axes = torch.unravel_index(torch.arange(start, start + count), batch)
    return [",".join(map(str, index)) for index in zip(*(axis.tolist() for axis in axes), strict=True)]


def _reason(a: Tensor, status: int) -> str:
    """What is wrong with a matrix."""
    a = a.to(torch.complex128 if a.is_complex() else torch.float64)
    if status == NON_FINITE:
        return f"not finite: {int((~a.isfinite()).sum())} of its {a.numel()} entries"
    a = a / a.abs().max().clamp(min=torch.finfo(a.dtype).tiny)
    if status == ASYMMETRIC:
        found = torch.linalg.matrix_norm(a - a.mH) / torch.linalg.matrix_norm(a)
        word = "Hermitian: ‖A − Aᴴ‖" if a.is_complex() else "symmetric: ‖A − Aᵀ‖"
        return f"not {word} is {found:.3g}·‖A‖"
    eigenvalues = torch.linalg.eigvalsh((a + a.mH) / 2)
    least = eigenvalues[0] / eigenvalues.abs().max().clamp(min=torch.finfo(eigenvalues.dtype).tiny)
    word = "not positive semidefinite" if status == INDEFINITE else "singular"
    return f"{word}: its smallest eigenvalue is {least:.3g} times the largest in size"


def _report(indices: list[str], width: int, a: Tensor, info: Info, bounds: list[Tensor]) -> None:
    """One line a matrix."""
    usable = info.status.ne(NON_FINITE) & info.status.ne(ASYMMETRIC)
    identity = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    conditions = condition_numbers(torch.where(usable[:, None, None], a, identity))
    conditions = torch.where(usable, conditions, torch.nan)
    columns = (x.tolist() for x in (conditions, info.residual, *bounds))
    for index, status, condition, residual, *errors in zip(indices, info.status.tolist(), *columns, strict=True):
        figures = "".join(f"  {x:>11.1e}" for x in errors)
        print(f"{index:>{width}}  {condition:>9.3g}  {residual:>8.1e}{figures}  {STATUSES[status]}")
    print(end="", flush=True)


def _summarise(args: argparse.Namespace, matrices: Matrices, names: tuple[str, ...], tally: Tally) -> None:
    n, name = matrices.shape[-1], str(matrices.dtype).removeprefix("torch.")
    word = "matrix" if matrices.count == 1 else "matrices"
    print(f"{args.out}: {' and '.join(names)} of {matrices.count} {word} {n} × {n}, {name};"
          f" largest error bound {tally.bound:.1e}", flush=True)  # fmt: skip
    if tally.not_converged or tally.bad:
        print(f"not converged: {tally.not_converged}; bad, NaN here: {tally.bad}", flush=True)


@contextmanager
def _progress(total: int, shown: bool) -> Iterator[Callable[[int], None]]:
    """A bar on the standard error, and the function that moves it on by so many matrices."""
    if not shown:
        yield lambda done: None
        return
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ModuleNotFoundError:  # it can be done without
        yield lambda done: None
        return
    # Standard output may be a file: what goes there is not to be printed above the bar.
    with Progress(console=Console(stderr=True), transient=True, redirect_stdout=False) as progress:
        task = progress.add_task("computing", total=total)
        yield lambda done: progress.advance(task, done)


@contextmanager
def _removed_when_stopped() -> Iterator[None]:
    """Let SIGTERM and SIGHUP, where they would end the process at once, unwind it, which removes temporary files."""

    def stop(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    here = threading.current_thread() is threading.main_thread()
    signals = [signal.SIGTERM, *([signal.SIGHUP] if os.name == "posix" else [])]
    caught = [number for number in signals if here and signal.getsignal(number) == signal.SIG_DFL]
    for number in caught:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in caught:
            signal.signal(number, signal.SIG_DFL)
