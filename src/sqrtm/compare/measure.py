"""The rows of the comparison: accuracy, memory and time of each pair of method and gradient."""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.benchmark import Measurement, Timer

from .._api import sqrtm
from .._auto import GRADIENTS, METHODS
from .._scratch import forget
from ..commands import with_steps
from ..gradients import Gradient, ImplicitGradient
from ..methods import Method
from .cases import Case
from .flags import TORCH_METHOD
from .reference import Extended

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
"""Largest forward and backward error of a row that counts as converged."""

BASELINE = ("svd", "lyapunov-eigh")
"""The pair that speedups are against."""

# The profiler writes its progress to stderr unless told otherwise before its first use.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")


@dataclass(frozen=True)
class Pair:
    """A root to measure: its names, and the function from A to A^{1/2}."""

    method: str
    gradient: str
    root: Callable[[Tensor], Tensor]
    approximate: bool = False
    """The gradient is the implicit one, of the exact root, and the root is not exact."""

    @property
    def names(self) -> tuple[str, str]:
        """Method and gradient."""
        return self.method, self.gradient


@dataclass
class Row:
    """What was measured. Errors are those of the worst matrix of the batch; None is not measured."""

    method: str
    gradient: str
    approximate: bool = False
    status: str = "error"
    message: str = ""
    forward_ms: float | None = None
    forward_iqr_ms: float | None = None
    backward_ms: float | None = None
    backward_iqr_ms: float | None = None
    forward_error: float | None = None
    backward_error: float | None = None
    residual: float | None = None
    forward_peak_bytes: int | None = None
    total_peak_bytes: int | None = None
    speedup_over_svd: float | None = None

    def total_ms(self) -> float | None:
        """Forward and backward time."""
        return None if self.forward_ms is None or self.backward_ms is None else self.forward_ms + self.backward_ms


def all_pairs(names: list[str], steps: int) -> Iterator[Pair]:
    """Every pair of a method in ``names`` with a gradient that applies to it; iterations take ``steps`` steps."""
    for name in names:
        if name == TORCH_METHOD:
            if hasattr(torch.linalg, "matrix_sqrth"):
                yield Pair(name, "autograd", torch.linalg.matrix_sqrth)
            continue
        method = with_steps(METHODS[name], steps)
        if not isinstance(method, Method):  # auto
            yield Pair(name, name, _root(method, "auto"))
            continue
        for gradient_name, cls in GRADIENTS.items():
            gradient = with_steps(cls, steps)
            if not isinstance(gradient, Gradient):
                continue
            try:
                gradient.check(method)
            except ValueError:
                continue
            approximate = method.approximate and isinstance(gradient, ImplicitGradient)
            yield Pair(name, gradient_name, _root(method, gradient), approximate)


def _root(method: Any, gradient: Any) -> Callable[[Tensor], Tensor]:
    return lambda a: sqrtm(a, method=method, gradient=gradient)


def measure(
    pairs: list[Pair], case: Case, truth: tuple[Extended, Extended], repeats: int, tick: Callable[[], None]
) -> list[Row]:
    """One row a pair; what a pair raises becomes a row that says so.

    First accuracy and memory, then ``repeats`` rounds of timing in each of which every pair has its
    turn, so that a machine that slows down slows all of them down alike. ``tick`` is called
    ``len(pairs)·(1 + repeats)`` times.
    """
    rows = [Row(pair.method, pair.gradient, pair.approximate) for pair in pairs]
    times: list[tuple[list[Measurement], list[Measurement]]] = [([], []) for _ in pairs]
    for pair, row in zip(pairs, rows, strict=True):
        with _errors_to(row):
            _accuracy(row, pair, case, truth)
            _memory(row, pair, case)
        tick()
    for _ in range(repeats):
        for pair, row, (forward, backward) in zip(pairs, rows, times, strict=True):
            if row.status != "error":
                with _errors_to(row):
                    a = case.a.clone().requires_grad_()
                    forward.append(_timed(pair.root, a))
                    s = pair.root(a)
                    backward.append(_timed(_backward, s, a, case.g))
            tick()
    for row, (forward, backward) in zip(rows, times, strict=True):
        if row.status != "error":
            row.forward_ms, row.forward_iqr_ms = _median_and_iqr(forward)
            row.backward_ms, row.backward_iqr_ms = _median_and_iqr(backward)
    _set_speedups(rows)
    return rows


def _backward(s: Tensor, a: Tensor, g: Tensor) -> None:
    torch.autograd.grad(s, a, g, retain_graph=True)


@contextmanager
def _errors_to(row: Row) -> Iterator[None]:
    """Turn what a method raises into the row's message; LinAlgError and out-of-memory are RuntimeErrors."""
    try:
        yield
    except (RuntimeError, ValueError, MemoryError) as error:
        row.status = "error"
        row.message = f"{type(error).__name__}: {error}".splitlines()[0]


def _set_speedups(rows: list[Row]) -> None:
    baseline = next((row.total_ms() for row in rows if (row.method, row.gradient) == BASELINE), None)
    for row in rows:
        total = row.total_ms()
        if row.status == "ok" and total and baseline:
            row.speedup_over_svd = baseline / total


def _accuracy(row: Row, pair: Pair, case: Case, truth: tuple[Extended, Extended]) -> None:
    a = case.a.clone().requires_grad_()
    s = pair.root(a)
    (x,) = torch.autograd.grad(s, a, case.g)
    s = s.detach()
    if not s.isfinite().all() or not x.isfinite().all():
        raise RuntimeError("the result is not finite")
    row.forward_error = float(truth[0].error(s).max())
    row.backward_error = float(truth[1].error(x).max())
    a64, s64 = case.a.double(), s.double()
    norm = torch.linalg.matrix_norm(a64)
    row.residual = float((torch.linalg.matrix_norm(a64 - s64 @ s64) / norm.where(norm > 0, 1)).max())
    tolerance = TOLERANCE[a.dtype]
    converged = row.forward_error <= tolerance and row.backward_error <= tolerance
    row.status = "ok" if converged else "not-converged"
    if row.approximate:
        row.message = "approximate: the implicit gradient of a root that is itself an approximation"


def _timed(function: Callable[..., object], *args: Tensor) -> Measurement:
    """One timed run after a warm-up; of a run below 1 ms, as many as take about 1 ms."""
    timer = Timer("f(*args)", globals={"f": function, "args": args}, num_threads=torch.get_num_threads())
    return timer.blocked_autorange(min_run_time=1e-3)


def _median_and_iqr(samples: list[Measurement]) -> tuple[float, float]:
    """Over the rounds, in ms."""
    medians = torch.tensor([sample.median for sample in samples], dtype=torch.float64) * 1e3
    low, median, high = medians.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)).tolist()
    return median, high - low


def _memory(row: Row, pair: Pair, case: Case) -> None:
    a = case.a.clone().requires_grad_()
    row.forward_peak_bytes = peak_bytes(lambda: pair.root(a), a.device)
    row.total_peak_bytes = peak_bytes(lambda: torch.autograd.grad(pair.root(a), a, case.g), a.device)


def peak_bytes(run: Callable[[], object], device: torch.device) -> int:
    """Peak of live tensor bytes above the start, while ``run`` runs.

    On the CPU from the profiler's allocator events, which see temporaries inside an operator; on
    CUDA from the allocator's counter of requested bytes.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_stats(device)["requested_bytes.all.current"]
        run()
        torch.cuda.synchronize(device)
        return int(torch.cuda.memory_stats(device)["requested_bytes.all.peak"] - before)
    activities = [torch.profiler.ProfilerActivity.CPU]
    forget()  # or what an earlier run has left would not be counted
    # acc_events: without it PyTorch 2.11 warns that it clears the events.
    with torch.profiler.profile(activities=activities, profile_memory=True, acc_events=True) as profiler:
        run()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    allocations = sorted(
        (event["ts"], event["args"]["Ev Idx"], event["args"]["Bytes"])
        for event in events
        if event.get("name") == "[memory]" and event["args"]["Device Type"] == 0
    )
    live = peak = 0
    for _, _, size in allocations:
        live += size
        peak = max(peak, live)
    return peak


def environment(device: torch.device) -> dict[str, Any]:
    """What the figures depend on besides the input."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()
    return {
        "device": name,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
