"""`auto` on a GPU, side by side with what else there is, gated on accuracy, beside what the machine can do at most.

    python benchmarks/gpu.py [--quick] [--budget-s 440] [--out benchmarks/results/gpu.json]
    python benchmarks/gpu.py --show benchmarks/results/gpu.json
    python benchmarks/gpu.py --device cpu    # tries out the logic: small matrices, all times by the wall clock

Contenders: ours; (a) the original experiment's algorithm; (b) the Loewner form from saved eigenvectors, in float32 for
κ ≤ 1e2 and in float64 above, by whichever batched eigensolver is the fastest there, of PyTorch's, CuPy's and JAX's;
(c) `torch.linalg.matrix_sqrth` where PyTorch has it. Who misses the promise of accuracy is not timed. Kernel time is
the sum of what the profiler says that the device took, wall time that of a call in a loop of calls.

A process of its own does the work and writes down every case. Should it die of one, or hang, the next one goes on after
that: a kernel that breaks the device does not take the other results with it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from inspect import signature
from itertools import cycle, product
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from common import DISTINCT, Eigh, Root, eigh_loewner, matrices, median, reference_algorithm
from cpu import promised
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.autograd import DeviceType

import sqrtm
from sqrtm import kernels
from sqrtm._checks import asymmetry_tolerance
from sqrtm.compare.cases import make_case
from sqrtm.compare.measure import environment
from sqrtm.compare.reference import Extended, reference
from sqrtm.gradients._newton_schulz import NewtonSchulzRoots
from sqrtm.methods._fixed import fixed_roots
from sqrtm.methods.newton_schulz import SCALINGS

SIZES = (8, 16, 32, 64, 128, 256, 512, 1024, 2048)
BATCHES = (65536, 4096, 128, 1)
CONDITIONS = (1.65, 1e4, 1e2)
LARGEST_BYTES = 2**30
"""Of a batch of the grid."""
MODES = ("forward", "forward + backward")
SLOW = 5.0
"""Seconds from which on a call is not repeated."""
ROUND = 0.01
"""Least seconds of a contender's turn in a round."""
ROUNDS = {"headline": 9, "variants": 1}
"""By section; 5 elsewhere."""
SAMPLE = 16
"""Matrices of a batch whose errors are looked at."""
POOLING = sqrtm.NewtonSchulz(steps=5, scaling="trace")
PACKINGS = {
    8: ((4, 4), (8, 4), (4, 2), (16, 8)),
    16: ((4, 4), (8, 4), (2, 2)),
    32: ((1, 4), (1, 2), (2, 4)),
    64: ((1, 8), (1, 16), (1, 4)),
    128: ((1, 16),),
}
"""To choose from, by n: matrices a program, and its warps."""
PRECISIONS = ("ieee", "tf32x3", "bf16x6")
PRODUCTS = {1.65: (7, 4), 1e2: (11, 9), 1e4: (17, 17)}
"""By κ, the products of the best schedules known in float32: both roots, and the gradient (of κ = 3 for the first)."""
COPY = "copy, bytes/s"
OURS, ALONE, ORIGINAL, LOEWNER = "ours", "kernels alone", "original", "eigh + Loewner"
STALLED = 75
"""Seconds without a sign of life after which a process counts as hung."""
DEAD = 17
"""Exit status of a process whose device has failed."""

# The profiler is used again after graphs were captured, which it does not survive if it lets go of CUPTI in between.
os.environ.setdefault("DISABLE_CUPTI_LAZY_REINIT", "1")
os.environ.setdefault("TEARDOWN_CUPTI", "0")


# What is measured


class Case(NamedTuple):
    """A batch of matrices, and why it is measured."""

    section: str
    batch: int
    n: int
    condition: float = 1.65
    dtype: str = "float32"
    covariances: bool = False
    """The matrices are those of the original experiment, else of this spectrum."""

    def __str__(self) -> str:
        kind = ", covariances" if self.covariances else ""
        return f"{self.section}: {self.batch} of n = {self.n}, κ = {self.condition:g}, {self.dtype}{kind}"


def cases(quick: bool) -> list[Case]:
    """The most important first."""
    if quick:
        return [
            Case("headline", 2, 16, covariances=True),
            Case("pooling", 2, 16, 1e2),
            Case("variants", 2, 16),
            Case("float64", 2, 16, dtype="float64"),
            Case("products", 2, 80, 1e2),
            Case("grid", 2, 8),
            Case("grid", 1, 16, 1e4),
        ]
    many = {64: 10000, 32: 65536, 128: 4096, 16: 65536, 8: 65536}
    return [
        Case("headline", 128, 64, covariances=True),
        Case("headline", 65536, 32),
        Case("headline", 10000, 64),
        *(Case("pooling", 256, n, 1e2) for n in (64, 32, 16)),
        Case("variants", 128, 64),
        *(Case("variants", batch, n) for n, batch in many.items()),
        *(Case("variants", many[n], n, 1e4) for n in (64, 32, 16)),
        Case("float64", 4096, 64, dtype="float64"),
        Case("float64", 256, 256, dtype="float64"),
        *(Case("products", batch, n, 1e2) for n, batch in ((256, 512), (512, 128), (1024, 32), (2048, 4))),
        *(
            Case("grid", batch, n, condition)
            for batch, condition, n in product(BATCHES, CONDITIONS, SIZES)
            if 4 * batch * n * n <= LARGEST_BYTES
        ),
    ]


def inputs(case: Case, device: torch.device, cache: int) -> list[tuple[Tensor, Tensor]]:
    """A and a random symmetric G; as many such as are twice what the ``cache`` of so many bytes holds, at most 32."""
    dtype = getattr(torch, case.dtype)
    size = case.batch * case.n**2
    sets = min(32, max(1, ceil(cache / (size * dtype.itemsize))))
    if case.covariances:
        a = make_case("synthetic", batch_size=sets * case.batch, dim=case.n, pts=1000, tau=1.0, seed=0,
                      dtype=dtype, device=device).a  # fmt: skip
    else:
        distinct = min(DISTINCT, max(4, 2**22 // case.n**2))
        a = matrices(case.n, case.condition, dtype, sets * size, device, distinct)
    g = torch.randn(a.shape, dtype=dtype, device=device, generator=torch.Generator(device).manual_seed(0))
    g = (g + g.mT) / 2
    return list(zip(a.split(case.batch), g.split(case.batch), strict=True))


def exact(case: Case, a: Tensor, g: Tensor) -> tuple[Extended, Extended]:
    """The root and its gradient, more precise than the dtype; for pooling those of the same steps, in float64."""
    if case.section == "pooling":
        s, x = differentiable(lambda a: POOLING.roots(a, inverse=False).sqrt).gradient(a.double(), g.double())
        return Extended(s, torch.zeros_like(s)), Extended(x, torch.zeros_like(x))
    if case.dtype == "float32":
        return reference(a, g, extended=False)
    s, x = (Extended(*(part.to(a.device) for part in t)) for t in reference(a.cpu(), g.cpu(), extended=True))
    return s, x


# Who competes


class Contender(NamedTuple):
    """A way to the root and its gradient."""

    root: Root
    gradient: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None
    """The root, and the gradient of ⟨G, A^{1/2}⟩."""
    setting: Callable[[], AbstractContextManager[Any]] = nullcontext
    """What must hold meanwhile."""
    kernels: str = ""
    """A name of the kernels of ours that it compiles, if any."""
    capturable: bool = False
    """Does not wait for the device, so that it can be captured in a graph."""


def differentiable(root: Root, **fields: Any) -> Contender:
    """By autograd."""

    def gradient(a: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        leaf = a.detach().requires_grad_()
        s = root(leaf)
        return s.detach(), torch.autograd.grad(s, leaf, g)[0]

    return Contender(root, gradient, **fields)


class Variant(NamedTuple):
    """How a kernel is compiled."""

    precision: str
    together: int
    warps: int
    stages: int

    def __str__(self) -> str:
        return f"{self.precision}, {self.together} × {self.warps} warps, stages {self.stages}"


def present(n: int) -> Variant:
    """What the library does now."""
    from sqrtm.kernels import _block, minimax

    _, shape = _block.blocks(1, n)
    precision = signature(minimax.roots).parameters["precision"].default
    return Variant(precision, shape["P"], shape["num_warps"], shape["num_stages"])


def variants(n: int) -> list[Variant]:
    """The present one first, then what else might be done for this n."""
    now = present(n)
    packings = dict.fromkeys([(now.together, now.warps), *PACKINGS[n]])
    precisions = PRECISIONS if n >= 16 else (now.precision,)
    found = [
        Variant(precision, *packing, stages)
        for stages in (1, 2)
        for packing in packings
        for precision in precisions
        if stages == now.stages or packing == (now.together, now.warps)
    ]
    return list(dict.fromkeys([now, *found]))


@contextmanager
def launched_as(variant: Variant) -> Iterator[None]:
    """Launches of the kernels in this way."""
    from sqrtm.kernels import _block, lyapunov, minimax

    def blocks(batch: int, n: int) -> tuple[tuple[int], dict[str, int]]:
        _, shape = _block.blocks(batch, n)
        shape |= {"P": variant.together, "num_warps": variant.warps, "num_stages": variant.stages}
        return (ceil(batch / variant.together),), shape

    with patch.object(minimax, "blocks", blocks), patch.object(lyapunov, "blocks", blocks):
        yield


def launchers(variant: Variant, name: str) -> Contender:
    """The kernels of the root and of its gradient, and nothing around them."""
    tolerance = asymmetry_tolerance(torch.float32)

    def roots(a: Tensor) -> tuple[Tensor, ...]:
        from sqrtm.kernels import minimax

        return minimax.roots(a, tolerance, variant.precision)

    def gradient(a: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        from sqrtm.kernels import lyapunov

        s, z, ends, *_ = roots(a)
        return s, lyapunov.solve(s, z, s.new_zeros(s.shape[:-1]), g, ends, True, variant.precision)

    return Contender(lambda a: roots(a)[0], gradient, lambda: launched_as(variant), name, capturable=True)


@contextmanager
def products_in(precision: str) -> Iterator[None]:
    """Products of float32 matrices as PyTorch makes them with this setting."""
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = precision
    try:
        yield
    finally:
        matmul.fp32_precision = before


def own(case: Case) -> dict[str, Contender]:
    """Ours, by name."""
    if case.section == "pooling":
        return {
            OURS: differentiable(lambda a: sqrtm.sqrtm(a, method=POOLING, gradient="unrolled"), kernels="pooling"),
            ALONE: differentiable(
                lambda a: NewtonSchulzRoots.apply(a, SCALINGS[POOLING.scaling](a), POOLING.steps, False)[0]
            ),
            "autograd": differentiable(lambda a: POOLING.roots(a, inverse=False).sqrt),
        }
    found = {OURS: differentiable(sqrtm.sqrtm, kernels="present" * (case.n <= kernels.LARGEST))}
    if case.section == "headline":
        found[ALONE] = launchers(present(case.n), "present")
    if case.section == "products":
        found[f"{OURS}, TF32 set"] = found[OURS]._replace(setting=lambda: products_in("tf32"))
    if case.section == "variants":
        found["fixed plan"] = Contender(lambda a: fixed_roots(a, True).sqrt, None)
        found |= {str(variant): launchers(variant, str(variant)) for variant in variants(case.n)}
    return found


def rivals(case: Case, ranked: dict[str, Eigh]) -> dict[str, dict[str, Contender]]:
    """The others, by name; of those of one name the first that is accurate counts."""
    if case.section not in ("headline", "float64", "grid"):
        return {}
    found = {
        ORIGINAL: {"": differentiable(reference_algorithm, capturable=True)},
        LOEWNER: {name: differentiable(eigh_loewner(working(case), eigh)) for name, eigh in ranked.items()},
    }
    if hasattr(torch.linalg, "matrix_sqrth"):
        found["matrix_sqrth"] = {"": differentiable(torch.linalg.matrix_sqrth)}
    return found


# Eigensolvers


class Solver(NamedTuple):
    """A batched symmetric eigensolver."""

    eigh: Eigh
    compiled: bool
    """For every shape anew, so that it is not tried on fewer matrices first."""


def of_torch(device: torch.device) -> Solver:
    """PyTorch's."""
    return Solver(torch.linalg.eigh, False)


def of_cupy(device: torch.device) -> Solver:
    """CuPy's, which for a batch is another of cuSOLVER's than for a matrix."""
    import cupy

    def eigh(a: Tensor) -> tuple[Tensor, Tensor]:
        x = cupy.from_dlpack(a.detach())
        values, q = map(torch.from_dlpack, cupy.linalg.eigh(x[0] if len(x) == 1 else x))
        return values.reshape(a.shape[:-1]), q.reshape(a.shape)

    return Solver(eigh, False)


def of_jax(device: torch.device) -> Solver:
    """JAX's."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # before its import, or it takes all memory
    import jax

    backend = jax.default_backend()
    if (backend == "cpu") != (device.type == "cpu"):
        raise RuntimeError(f"JAX is for {backend} here")
    jax.config.update("jax_enable_x64", True)

    def eigh(a: Tensor) -> tuple[Tensor, Tensor]:
        values, q = jax.numpy.linalg.eigh(jax.numpy.from_dlpack(a.detach()), symmetrize_input=False)
        return torch.from_dlpack(values), torch.from_dlpack(q)

    return Solver(eigh, True)


SOLVERS = {"cupy": of_cupy, "jax": of_jax, "torch": of_torch}
"""Those that may loop over the matrices last: they need not be waited for."""


def working(case: Case) -> torch.dtype:
    """What (b) computes in, to keep the promise."""
    return torch.float32 if case.dtype == "float32" and case.condition <= 1e2 else torch.float64


def trial(clock: Clock, solver: Solver, a: Tensor, limit: float) -> float | str:
    """Seconds for ``a``; why not, if that is more than ``limit``, as more and more of its matrices show."""
    sizes = [4**k for k in range(16) if 4**k < len(a) and not solver.compiled] + [len(a)]
    solver.eigh(a[: sizes[0]])
    for size in sizes:
        part = a[:size]
        seconds = clock.wall(lambda: solver.eigh(part))
        if seconds > limit:
            return f"{size} of {len(a)} matrices took {seconds:.2g} s"
    return min(seconds, clock.wall(lambda: solver.eigh(a)))


# Time


@dataclass
class Clock:
    """How time is taken on a device."""

    on_gpu: bool
    kernel_time_by: str = "wall clock"

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.on_gpu:
            torch.cuda.synchronize()

    def wall(self, run: Callable[[], object], calls: int = 1) -> float:
        """Seconds a call, by the clock on the wall."""
        self.synchronize()
        start = time.perf_counter()
        for _ in range(calls):
            run()
        self.synchronize()
        return (time.perf_counter() - start) / calls

    def elapsed(self, run: Callable[[], object], calls: int = 1) -> float:
        """Seconds a call from the first kernel's start to the last's end, gaps between them included."""
        if not self.on_gpu:
            return self.wall(run, calls)
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        self.synchronize()
        start.record()
        for _ in range(calls):
            run()
        end.record()
        self.synchronize()
        return start.elapsed_time(end) / 1e3 / calls

    def profiled(self, run: Callable[[], object], calls: int) -> tuple[float, float]:
        """Seconds a call that the device was at work, and how many kernels and copies that were."""
        profiler = torch.autograd.profiler.profile(use_device="cuda", use_cpu=False, use_kineto=True)
        with profiler:
            for _ in range(calls):
                run()
        # Read as PyTorch records them: to make a Python object of each takes long where there are many.
        events = [e for e in profiler.kineto_results.events() if e.device_type() == DeviceType.CUDA]
        return sum(e.end_ns() - e.start_ns() for e in events) / 1e9 / calls, len(events) / calls

    def kernel(self, run: Callable[[], object], calls: int) -> dict[str, float]:
        """Kernel time, in the one way that is used for all."""
        if self.kernel_time_by == "profiler":
            seconds, launches = self.profiled(run, calls)
            return {"kernel": seconds, "launches": launches}
        return {"kernel": self.elapsed(run, calls)}


def graphed(clock: Clock, runs: list[Callable[[], object]]) -> float:
    """Seconds of one of these, captured one after the other in a graph that is replayed."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for run in runs[:3]:
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other libraries have threads of their own
        for run in runs:
            run()
    graph.replay()
    return median([clock.elapsed(graph.replay, 10) for _ in range(9)]) / len(runs)


def ceilings(device: torch.device) -> dict[str, float]:
    """What the device can do at most."""
    clock = Clock(device.type == "cuda")
    entries, side = (2**28, 8192) if clock.on_gpu else (2**20, 256)
    x = torch.randn(entries, device=device)
    y = torch.empty_like(x)
    y.copy_(x)
    found = {COPY: 2 * x.nbytes / median([clock.elapsed(lambda: y.copy_(x), 5) for _ in range(7)])}
    for dtype in (torch.float32, torch.float64):
        x, y = torch.randn(2, side, side, dtype=dtype, device=device)
        with products_in("ieee"):
            x @ y
            seconds = median([clock.elapsed(lambda: x @ y) for _ in range(7)])
        found[f"{str(dtype).removeprefix('torch.')} products, flop/s"] = 2 * side**3 / seconds
    return found


def profiler_is_right(device: torch.device) -> bool:
    """It tells the same time of a long copy as events around it."""
    clock = Clock(True)
    x = torch.randn(2**28, device=device)
    y = torch.empty_like(x)
    clock.profiled(lambda: y.copy_(x), 1)  # the first time may lack something
    seen, _ = clock.profiled(lambda: y.copy_(x), 10)
    return 0.8 < seen / clock.elapsed(lambda: y.copy_(x), 10) < 1.2


def floors(case: Case, limits: dict[str, float]) -> dict[str, float]:
    """By mode, the time in which the device could do the products, or read what goes in and write what comes out."""
    if case.dtype != "float32" or case.section == "pooling" or not limits:
        return {}
    (roots, gradient), elements = PRODUCTS[case.condition], case.batch * case.n**2
    rate, bandwidth = limits["float32 products, flop/s"], limits[COPY]
    # A → S and Z; and S, Z, G → X.
    counts = {MODES[0]: (roots, 3), MODES[1]: (roots + gradient, 7)}
    return {
        mode: elements * max(2 * case.n * flops / rate, 4 * moved / bandwidth)
        for mode, (flops, moved) in counts.items()
    }


# A process that measures


@dataclass
class Session:
    """What a process that measures knows."""

    path: Path
    marker: Path
    deadline: float
    device: torch.device
    record: dict[str, Any]
    clock: Clock
    solvers: dict[str, Solver] = field(default_factory=dict)
    ranking: dict[tuple[Any, ...], dict[str, float | str]] = field(default_factory=dict)
    case: str = "start"

    def save(self) -> None:
        """Write the record, whole or not at all."""
        write(self.path, self.record)

    def late(self) -> bool:
        """The time is used up."""
        return time.time() > self.deadline

    def attempt(self, row: dict[str, Any], what: str, run: Callable[[], None]) -> None:
        """Run, unless that was the end of an earlier process; what it raises is said in ``row``."""
        message = self.record["failed"].get(self.case, {}).get(what)
        if message is None:
            write(self.marker, [self.case, what, ""])
            try:
                run()
            except Exception as error:  # whatever it is, the others have their turn
                message = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            else:
                return
            self._survive(what, message)
        row |= {"status": "error", "message": message}

    def _survive(self, what: str, message: str) -> None:
        """End the process if an error has left it no use of the device; free what the error has kept."""
        try:
            self.clock.synchronize()
            self.free()
        except Exception:
            write(self.marker, [self.case, what, message])
            os._exit(DEAD)

    def free(self) -> None:
        """Give back memory that libraries keep."""
        if self.clock.on_gpu:
            torch.cuda.empty_cache()
            if "cupy" in sys.modules:
                sys.modules["cupy"].get_default_memory_pool().free_all_blocks()

    def find_solvers(self) -> None:
        """All that are installed and work."""
        self.case = "eigensolvers"
        told = self.record["eigensolvers"] = {}

        def find(name: str) -> None:
            solver = SOLVERS[name](self.device)
            eye = torch.eye(4, device=self.device).repeat(3, 1, 1)
            solver.eigh(eye), solver.eigh(eye.double())
            self.solvers[name] = solver
            module = sys.modules[name]
            told[name] = {"status": "ok", "version": module.__version__}

        for name in SOLVERS:
            told[name] = {}
            self.attempt(told[name], name, lambda: find(name))

    def ranked(self, case: Case, a: Tensor) -> tuple[dict[str, Eigh], dict[str, float | str]]:
        """The eigensolvers for such a case, the fastest first; and what each takes."""
        key = (case.batch, case.n, working(case))
        if key not in self.ranking:
            a, times = a.to(key[2]), {}
            for name, solver in self.solvers.items():
                limit = min([SLOW, *(x for x in times.values() if isinstance(x, float))])
                row: dict[str, Any] = {}
                self.attempt(row, f"trial of {name}", lambda: times.update({name: trial(self.clock, solver, a, limit)}))
                times.setdefault(name, row.get("message", ""))
            self.ranking[key] = times
        times = self.ranking[key]
        able = sorted((seconds, name) for name, seconds in times.items() if isinstance(seconds, float))
        return {name: self.solvers[name].eigh for _, name in able}, times


def measure(session: Session, case: Case) -> dict[str, Any]:
    """All contenders on one case: errors and kernel time of each, then wall time in rounds where each has its turn."""
    session.case = str(case)
    rows: dict[str, Any] = {}
    floor = floors(case, session.record["ceilings"])
    result: dict[str, Any] = {"name": str(case), **case._asdict(), "floor": floor, "contenders": rows}
    if session.late():
        return result | {"status": "not measured", "message": "out of time"}
    cache = session.record["environment"].get("bytes of L2", 2**20)
    prepared: list[Any] = []

    def prepare() -> None:
        sets = inputs(case, session.device, cache)
        a, g = sets[0]
        sample = torch.linspace(0, len(a) - 1, min(SAMPLE, len(a)), device=session.device).round().long()
        prepared.extend([sets, sample, exact(case, a[sample], g[sample])])

    session.attempt(result, "matrices", prepare)
    if not prepared:
        return result
    sets, sample, truth = prepared
    competing = {name: {"": contender} for name, contender in own(case).items()}
    if case.section in ("headline", "float64", "grid"):
        ranked, result["eigensolvers"] = session.ranked(case, sets[0][0])
        competing |= rivals(case, ranked)
    result["sets"] = len(sets)
    if case.section == "variants":
        result["present"] = str(present(case.n))
    tasks: list[Task] = []
    for name, entrants in competing.items():
        message = "" if entrants else f"no eigensolver takes less than {SLOW} s"
        row = rows[name] = {"status": "not measured", "message": message}
        for by, contender in entrants.items():
            if session.late():
                row["message"] = "out of time"
                break
            row.update(by=by, message="")
            what = f"{name} {by}".strip()
            session.attempt(row, what, lambda: gate(row, case, contender, sets[0], sample, truth))
            if row["status"] == "ok":
                session.attempt(row, what, lambda: tasks.extend(alone(session.clock, row, what, contender, sets)))
            if row["status"] == "ok":
                break
    for _ in range(ROUNDS.get(case.section, 5)):
        for task in tasks:
            if task.row["status"] == "ok":
                session.attempt(task.row, task.what, lambda: take_turn(session.clock, task))
    for times in (row[mode] for row in rows.values() for mode in MODES if mode in row):
        if turns := times.pop("turns"):
            times["wall"] = median(turns)
    if case.covariances and session.clock.on_gpu:
        for task in tasks:
            if task.contender.capturable:
                replay(session, task, sets)
    return result


def gate(
    row: dict[str, Any],
    case: Case,
    contender: Contender,
    pair: tuple[Tensor, Tensor],
    sample: Tensor,
    truth: tuple[Extended, Extended],
) -> None:
    """Errors of the worst matrix in the sample, computed among all of the batch; None where they are not finite."""
    a, g = pair
    with contender.setting():
        found = (contender.root(a),) if contender.gradient is None else contender.gradient(a, g)
    errors = [float(t.error(x[sample]).max()) for t, x in zip(truth, found, strict=False)]
    limits = promised(getattr(torch, case.dtype), case.condition)
    row["errors"] = [e if e < float("inf") else None for e in errors]
    good = all(e <= limit for e, limit in zip(errors, limits, strict=False))
    row["status"] = "ok" if good else "inaccurate"


class Task(NamedTuple):
    """What has turns."""

    row: dict[str, Any]
    what: str
    contender: Contender
    mode: str
    function: Callable[[Tensor, Tensor], object]
    run: Callable[[], object]
    """The function of one pair after the other."""


def alone(
    clock: Clock, row: dict[str, Any], what: str, contender: Contender, sets: list[tuple[Tensor, Tensor]]
) -> Iterator[Task]:
    """Kernel time; yields what is to have turns."""
    turn = cycle(sets)
    modes: dict[str, Callable[[Tensor, Tensor], object]] = {MODES[0]: lambda a, g: contender.root(a)}
    if contender.gradient is not None:
        modes[MODES[1]] = contender.gradient
    for mode, function in modes.items():

        def run(function: Callable[[Tensor, Tensor], object] = function) -> object:
            return function(*next(turn))

        with contender.setting():
            seconds = clock.wall(run)
            row[mode] = {"wall": seconds, "turns": []}
            if seconds > SLOW:
                row["message"] = f"a call takes more than {SLOW} s: not repeated"
                continue
            row[mode] |= clock.kernel(run, max(1, min(20, int(0.1 / seconds))))
        if seconds < 0.5:
            yield Task(row, what, contender, mode, function, run)


def take_turn(clock: Clock, task: Task) -> None:
    """One turn in a round."""
    times = task.row[task.mode]
    with task.contender.setting():
        times["turns"].append(clock.wall(task.run, max(1, min(200, int(ROUND / times["wall"])))))


def replay(session: Session, task: Task, sets: list[tuple[Tensor, Tensor]]) -> None:
    """Time in a graph."""
    times, told = task.row[task.mode], {}

    def capture() -> None:
        with task.contender.setting():
            times["graph"] = graphed(session.clock, [lambda pair=pair: task.function(*pair) for pair in sets])

    session.attempt(told, f"{task.what}, {task.mode}, in a graph", capture)
    if told:
        times["no graph"] = told["message"]


def surroundings(device: torch.device) -> dict[str, Any]:
    """What the figures depend on."""
    found = environment(device)
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {
            "capability": f"{properties.major}.{properties.minor}",
            "multiprocessors": properties.multi_processor_count,
            "bytes of L2": properties.L2_cache_size,
            "CUDA": torch.version.cuda,
        }
    return found | {"triton": version("triton") if find_spec("triton") else "not installed"}


def work(args: argparse.Namespace) -> None:
    """What is left of the measurements."""
    device = torch.device(args.device)
    record = json.loads(args.out.read_text(encoding="utf-8"))
    session = Session(args.out, args.worker, args.deadline, device, record, Clock(device.type == "cuda"))
    record["environment"] = surroundings(device)
    trouble = record.setdefault("trouble", {})
    if session.clock.on_gpu and "kernel time by" not in record:
        record["kernel time by"] = "events around a loop of calls"

        def trust() -> None:
            if profiler_is_right(device):
                record["kernel time by"] = "profiler"

        session.attempt(trouble, "profiler", trust)
    session.clock.kernel_time_by = record.setdefault("kernel time by", session.clock.kernel_time_by)
    if not record["ceilings"]:
        session.attempt(trouble, "ceilings", lambda: record["ceilings"].update(ceilings(device)))
    session.save()
    session.free()
    session.find_solvers()
    session.save()
    for case in cases(args.quick)[len(record["cases"]) :]:
        started = time.time()
        record["cases"].append(measure(session, case))
        session.save()
        session.free()
        if not session.late():
            print(f"{time.time() - started:5.1f} s  {case}", file=sys.stderr, flush=True)


def compile_share(args: argparse.Namespace) -> None:
    """Compile a share of the kernels, into Triton's cache, by running each on few matrices."""
    share, count = map(int, args.compile.split("/"))
    found = {}
    for case in cases(args.quick):
        for name, contender in own(case).items() if case.dtype == "float32" and case.n <= 128 else ():
            if contender.kernels:
                found.setdefault((case.n, case.batch == 1, contender.kernels), (case, name))
    for case, name in list(found.values())[share::count]:
        few = case._replace(batch=min(case.batch, 16), covariances=False)
        (a, g), *_ = inputs(few, torch.device(args.device), 0)
        contender = own(few)[name]
        try:
            with contender.setting():
                contender.gradient(a, g)
        except Exception as error:  # will be seen, and told, when it is measured
            print(f"{case}, {name}: {error}".splitlines()[0], file=sys.stderr)


# The process that lets others measure


def write(path: Path, content: Any) -> None:
    """Write JSON, whole or not at all."""
    other = path.with_name(path.name + ".part")
    other.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    other.replace(path)


def start(args: argparse.Namespace, *more: str) -> subprocess.Popen[bytes]:
    """A process of this script, in a group of its own."""
    quick = ["--quick"] if args.quick else []
    return subprocess.Popen([sys.executable, __file__, "--device", args.device, *quick, *more], process_group=0)


@contextmanager
def ending(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """In the end its group is ended, if it is still there."""
    try:
        yield
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def compile_all(args: argparse.Namespace, limit: float) -> str:
    """Compile the kernels before they are measured, in as many processes as there are cores, nearly."""
    count = 1 if args.quick else max(1, min(14, (os.cpu_count() or 1) - 2))
    began = time.time()
    processes = [start(args, "--compile", f"{i}/{count}") for i in range(count)]
    failed = 0
    for process in processes:
        with ending(process):
            try:
                failed += process.wait(max(0.0, limit - (time.time() - began))) != 0
            except subprocess.TimeoutExpired:
                failed += 1
    return f"in {time.time() - began:.0f} s by {count} processes, {failed} of which failed"


def watch(process: subprocess.Popen[bytes], marker: Path, deadline: float) -> str:
    """Wait for the end of a process that measures, and say what of, if it was not done."""
    with ending(process):
        while process.poll() is None:
            time.sleep(0.2)
            if time.time() > deadline + 10:
                return "stopped: it went on when the time was used up"
            if time.time() - marker.stat().st_mtime > STALLED:
                return f"stopped: nothing had happened for {STALLED} s"
    return "" if process.returncode == 0 else f"the process ended with status {process.returncode}"


def supervise(args: argparse.Namespace) -> dict[str, Any]:
    """The record, made by one process, and by another whenever one ends before it is done."""
    deadline = time.time() + args.budget_s
    with TemporaryDirectory() as folder:
        marker, path = Path(folder) / "marker.json", args.out or Path(folder) / "record.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        compiled = compile_all(args, min(120.0, args.budget_s / 3))
        record = {"kernels compiled": compiled, "failed": {}, "ceilings": {}, "cases": []}
        write(path, record)
        while True:
            write(marker, ["start", "start", ""])
            flags = ("--out", str(path), "--worker", str(marker), "--deadline", str(deadline))
            why = watch(start(args, *flags), marker, deadline)
            record = json.loads(path.read_text(encoding="utf-8"))
            if not why:
                return record
            case, what, message = json.loads(marker.read_text(encoding="utf-8"))
            seen = record["failed"].setdefault(case, {})
            hopeless = what in seen or time.time() > deadline
            seen[what] = message or why
            write(path, record)
            print(f"{case}, {what}: {seen[what]}", file=sys.stderr, flush=True)
            if hopeless:
                return record


# For people


def micro(seconds: float | None) -> str:
    """Microseconds, to three figures if they are few; milliseconds if they are many."""
    if seconds is None:
        return "–"
    return f"{seconds * 1e3:.0f}ms" if seconds >= 0.1 else f"{seconds * 1e6:.{0 if seconds >= 1e-4 else 1}f}"


def ratio(x: float | None, y: float | None) -> str:
    """x/y, to two figures or the units."""
    if not x or not y:
        return "–"
    return f"{x / y:.0f}" if x >= 9.95 * y else f"{x / y:.2g}"


def taken(case: dict[str, Any], name: str, mode: str, kind: str) -> float | None:
    """Seconds of a contender in a case, None if they were not measured."""
    row = case["contenders"].get(name, {})
    return row.get(mode, {}).get(kind) if row.get("status") == "ok" else None


def of_section(record: dict[str, Any], *sections: str) -> list[dict[str, Any]]:
    """The cases of these sections."""
    return [case for case in record["cases"] if case["section"] in sections]


def new_table(*headings: str) -> Table:
    """A narrow one; columns of text are on the left."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("case", "who", "") else "right", no_wrap=True)
    return table


def shown_errors(row: dict[str, Any]) -> list[str]:
    """Of the root and of its gradient, one digit each."""
    found = ["nan" if e is None else f"{e:.0e}" for e in row.get("errors", [])]
    return found + [""] * (2 - len(found))


def in_detail(record: dict[str, Any]) -> Table:
    """Every contender of the cases outside the grid."""
    table = new_table("case", "who", "error", "grad.", "f", "wall", "graph", "f+b", "wall", "graph", "floor÷", "× ours")
    for case in of_section(record, "headline", "pooling", "float64", "products"):
        title = f"{case['section']} {case['batch']}×{case['n']}²"
        for name, row in case["contenders"].items():
            who = f"{name} ({row['by']})" if row.get("by") else name
            times = [micro(taken(case, name, mode, kind)) for mode in MODES for kind in ("kernel", "wall", "graph")]
            both = taken(case, name, MODES[1], "kernel")
            floor = "/".join(ratio(case["floor"].get(m), taken(case, name, m, "kernel")) for m in MODES)
            times_ours = ratio(both, taken(case, OURS, MODES[1], "kernel"))
            table.add_row(title, who, *shown_errors(row), *times, floor, times_ours)
            title = ""
    return table


def of_variants(record: dict[str, Any], best: int = 3) -> Table:
    """What there is to choose from: what is done now, and the fastest."""
    table = new_table("case", "who", "error", "grad.", "f", "f+b", "timed")
    for case in of_section(record, "variants"):
        rows = case["contenders"]
        key = {name: taken(case, name, MODES[1], "kernel") for name in rows}
        order = sorted((name for name in rows if key[name]), key=lambda name: key[name])
        first = [name for name in (OURS, case.get("present"), "fixed plan") if name in rows]
        title, timed = f"{case['batch']}×{case['n']}², κ {case['condition']:g}", f"{len(order)} of {len(rows) - 1}"
        for name in first + [name for name in order if name not in first][:best]:
            times = [micro(taken(case, name, mode, "kernel")) for mode in MODES]
            who = f"{name} (now)" if name == case.get("present") else name
            table.add_row(title, who, *shown_errors(rows[name]), *times, timed)
            title = timed = ""
    return table


def failures(record: dict[str, Any], most: int = 20) -> Iterator[str]:
    """Why there are no times of some; of what is inaccurate in the grid, ours alone."""
    found: dict[str, list[str]] = {}
    for case in record["cases"]:
        rows = {"all": case} if "status" in case else case["contenders"]
        for name, row in rows.items():
            if row["status"] != "ok" and (row["status"] != "inaccurate" or case["section"] != "grid" or name == OURS):
                found.setdefault(f"{row['status']} {row['message']}".strip(), []).append(f"{name} in {case['name']}")
    for why, who in list(found.items())[:most]:
        yield f"{why}: {'; '.join(who[:3])}" + (f"; and {len(who) - 3} more" if len(who) > 3 else "")
    if len(found) > most:
        yield f"and for {len(found) - most} other reasons"


def of_grid(
    record: dict[str, Any],
    cell: Callable[[dict[str, Any], str], str],
    wanted: Callable[[dict[str, Any]], bool] = lambda case: True,
) -> Table:
    """One cell a case and mode."""
    found = [case for case in of_section(record, "grid") if wanted(case)]
    sizes = sorted({case["n"] for case in found})
    table = new_table("κ", "B", "", *map(str, sizes))
    lines: dict[tuple[float, int], dict[int, dict[str, Any]]] = {}
    for case in found:
        lines.setdefault((case["condition"], case["batch"]), {})[case["n"]] = case
    for (condition, batch), by_size in sorted(lines.items()):
        for mode, letter in zip(MODES, ("f", "f+b"), strict=True):
            cells = [cell(by_size[n], mode) if n in by_size else "" for n in sizes]
            table.add_row(f"{condition:g}", str(batch), letter, *cells)
    return table


def over(name: str) -> Callable[[dict[str, Any], str], str]:
    """Cells: how many times as fast ours is, in kernel time and on the wall."""

    def cell(case: dict[str, Any], mode: str) -> str:
        pairs = ((taken(case, name, mode, kind), taken(case, OURS, mode, kind)) for kind in ("kernel", "wall"))
        return "/".join(ratio(*pair) for pair in pairs)

    return cell


def against_floor(case: dict[str, Any], mode: str) -> str:
    """Kernel time of ours, and what part of it the floor is."""
    found = taken(case, OURS, mode, "kernel")
    return f"{micro(found)}/{ratio(case['floor'].get(mode), found)}"


def summary(record: dict[str, Any]) -> Iterator[str]:
    """The targets, what was found, and whether they are met."""

    def told(number: int, target: str, found: str, met: bool | None) -> str:
        return f"({number}) {target}: {found}; {'not measured' if met is None else 'met' if met else 'NOT MET'}"

    headline = {(case["batch"], case["n"]): case for case in of_section(record, "headline")}
    both = MODES[1]
    nothing: dict[str, Any] = {"contenders": {}, "floor": {}}
    case = headline.get((128, 64), nothing)
    found = taken(case, OURS, both, "kernel")
    graph = taken(case, ALONE, both, "graph")
    told_times = f"{micro(found)}, kernels alone in a graph {micro(graph)}"
    met = None if found is None else found <= 60e-6
    yield told(1, "kernel time of B = 128, n = 64, forward + backward ≤ 60 µs", told_times, met)

    pairs = {
        "original, kernel": (taken(case, ORIGINAL, both, "kernel"), found),
        "original, graph": (taken(case, ORIGINAL, both, "graph"), graph),
        "eigh, kernel": (taken(case, LOEWNER, both, "kernel"), found),
        "eigh, its kernel time over our graph": (taken(case, LOEWNER, both, "kernel"), graph),
    }
    known = [x / y for x, y in pairs.values() if x and y]
    told_pairs = ", ".join(f"{name} {ratio(*pair)}×" for name, pair in pairs.items())
    met = None if not known else min(known) >= 10 if len(known) == len(pairs) or min(known) < 10 else None
    yield told(2, "≥ 10× both rivals there", f"{told_pairs} (an eigensolver waits for the host: no graph of it)", met)

    large = [headline.get(key, nothing) for key in ((65536, 32), (10000, 64))]
    parts = [{m: (c["floor"].get(m), taken(c, OURS, m, "kernel")) for m in MODES} for c in large]
    reached = [floor / kernel for floor, kernel in (part[both] for part in parts) if floor and kernel]
    told_parts = ", ".join(f"{ratio(*part[both])} (forward {ratio(*part[MODES[0]])})" for part in parts)
    met = all(x >= 0.4 for x in reached) if len(reached) == 2 else None
    yield told(3, "floor ÷ kernel ≥ 0.4 at 65536 × 32² and 10000 × 64², forward + backward", told_parts, met)

    grid = of_section(record, "grid")
    speeds = [
        (theirs / ours, f"{kind} {c['batch']}×{c['n']}² κ {c['condition']:g} {mode}")
        for c in grid for mode in MODES for kind in ("kernel", "wall")
        if (theirs := taken(c, LOEWNER, mode, kind)) and (ours := taken(c, OURS, mode, kind))
    ]  # fmt: skip
    worst = ", ".join(f"{x:.2g} ({where})" for x, where in sorted(speeds)[:3])
    compared = [c for c in grid if taken(c, OURS, both, "wall") and taken(c, LOEWNER, both, "wall")]
    missed = [sum(c["contenders"].get(name, {}).get("status") in ("inaccurate", "error") for c in grid)
              for name in (OURS, LOEWNER)]  # fmt: skip
    slower = sum(x < 1 for x, _ in speeds)
    told_speeds = f"in {len(compared)} of {len(grid)} cells, (b) failed in {missed[1]}, ours in {missed[0]}"
    told_speeds += f"; slower in {slower} of {len(speeds)} times; least {worst}"
    complete = len(compared) + missed[1] == len(grid) and grid
    met = False if slower or missed[0] else True if complete else None
    yield told(4, "never slower than (b), kernel and wall", told_speeds, met)


def show(record: dict[str, Any], console: Console) -> None:
    """Print a record, the most important last."""
    console.print(of_variants(record))
    console.print(f"Times as fast as the {ORIGINAL}, where that is accurate, kernel/wall, by n")
    console.print(of_grid(record, over(ORIGINAL), lambda case: taken(case, ORIGINAL, MODES[0], "wall") is not None))
    console.print("Kernel time of ours, µs/floor ÷ it, by n")
    console.print(of_grid(record, against_floor))
    console.print(f"Times as fast as {LOEWNER}, kernel/wall, by n")
    console.print(of_grid(record, over(LOEWNER)))
    console.print("µs, f forward, f+b forward + backward; errors of root and gradient, the worst of a sample")
    console.print(in_detail(record))
    for line in failures(record):
        console.print(line)
    console.print("; ".join(f"{key} {value}" for key, value in record.get("environment", {}).items()))
    limits = ", ".join(f"{name} {x:.3g}" for name, x in record["ceilings"].items())
    console.print(f"ceilings: {limits}; kernel time by {record.get('kernel time by')}")
    if record.get("trouble"):
        console.print(f"trouble with these: {record['trouble']['message']}")
    solvers = record.get("eigensolvers", {}).items()
    console.print("eigensolvers: " + ", ".join(f"{k} {v.get('version', v.get('message'))}" for k, v in solvers))
    console.print(f"kernels compiled {record['kernels compiled']}")
    for case, found in record["failed"].items():
        for what, why in found.items():
            console.print(f"ended a process: {case}, {what}: {why}")
    for line in summary(record):
        console.print(line)


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="one small case of everything; always so on the CPU")
    parser.add_argument("--budget-s", type=float, default=440.0, help="seconds after which nothing more is begun")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--show", type=Path, help="print a record, and run nothing")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--deadline", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--compile", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.quick |= args.device == "cpu"
    if args.worker:
        work(args)
    elif args.compile:
        compile_share(args)
    else:
        record = json.loads(args.show.read_text(encoding="utf-8")) if args.show else supervise(args)
        show(record, Console(width=120, highlight=False, markup=False, emoji=False))


if __name__ == "__main__":
    main()
