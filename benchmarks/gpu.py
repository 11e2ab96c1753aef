"""`auto` on a GPU, side by side with what else there is, gated on accuracy, beside what the machine can do at most.

    python benchmarks/gpu.py [--quick] [--budget-s 440] [--out benchmarks/results/gpu.json]
    python benchmarks/gpu.py --show benchmarks/results/gpu.json
    python benchmarks/gpu.py --device cpu    # tries out the logic: small matrices, all times by the wall clock

Contenders: ours; (a) the original experiment's algorithm; (b) the Loewner form from saved eigenvectors, in float32 for
κ ≤ 1e2 and in float64 above, by whichever batched eigensolver is the fastest there, of PyTorch's, CuPy's and JAX's.
Who misses the promise of accuracy is not timed. Kernel time is the sum of what the profiler says that the device took,
wall time that of a call in a loop of calls.

A process of its own does the work, and says in the record what it begins. Should it die of that, or hang, another one
goes on without: a kernel that breaks the device does not take the other results with it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import cycle
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import triton
from common import Eigh, median
from cpu import promised
from gpu_cases import BOTH, Case, cases, exact, floors, inputs
from gpu_clock import Clock, ceilings
from gpu_contenders import CAPTURABLE, FIXED, LOEWNER, OURS, SOLVERS, named, own, present, rivals, trial, working
from gpu_report import show
from torch import Tensor

from sqrtm.compare.measure import environment

SLOW = 5.0
"""Seconds from which on a call is not repeated."""
STALLED = 75
"""Seconds without anything begun after which a process counts as hung."""


@dataclass
class Session:
    """What a process that measures knows."""

    path: Path
    deadline: float
    device: torch.device
    clock: Clock
    record: dict[str, Any]
    solvers: dict[str, Eigh] = field(default_factory=dict)
    ranking: dict[tuple[Any, ...], list[str]] = field(default_factory=dict)
    where: str = "start"

    def late(self) -> bool:
        """The time is used up."""
        return time.time() > self.deadline

    def attempt(self, what: str, run: Callable[[], object]) -> None:
        """Run, unless it is late or this has failed before; the record says what was begun, and what it raised."""
        key, failed = f"{self.where}: {what}", self.record["failed"]
        if key in failed or self.late():
            return
        self.record["at"] = key
        write(self.path, self.record)
        try:
            run()
        except Exception as error:  # whatever it is, the others have their turn
            failed[key] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        if key in failed:
            try:
                self.free()
            except Exception:  # the device is of no more use to this process
                write(self.path, self.record)
                os._exit(1)

    def free(self) -> None:
        """Give back memory that libraries keep."""
        self.clock.synchronize()
        if self.clock.on_gpu:
            torch.cuda.empty_cache()
            if "cupy" in sys.modules:
                sys.modules["cupy"].get_default_memory_pool().free_all_blocks()

    def find_solver(self, name: str) -> None:
        """Keep it if it is installed and works."""
        eigh, eye = SOLVERS[name](), torch.eye(4, device=self.device).repeat(3, 1, 1)
        eigh(eye), eigh(eye.double())
        self.solvers[name] = eigh
        self.record["eigensolvers"][name] = sys.modules[name].__version__

    def ranked(self, case: Case, a: Tensor) -> dict[str, Eigh]:
        """The eigensolvers that are able to do such a case, the fastest first."""
        key = (case.batch, case.n, working(case))
        if key not in self.ranking:
            a, times = a.to(key[2]), {}
            for name, eigh in self.solvers.items():

                def run() -> None:
                    times[name] = trial(self.clock, name, eigh, a, min([SLOW, *times.values()]))

                self.attempt(f"trial of {name}", run)
            self.ranking[key] = sorted((name for name in times if times[name] < inf), key=times.__getitem__)
        return {name: self.solvers[name] for name in self.ranking[key]}


def measure(session: Session, case: Case) -> dict[str, Any]:
    """All contenders on one case: errors and kernel time of each, then wall time in rounds where each has its turn."""
    session.where, clock, rows, prepared = str(case), session.clock, {}, []
    result = {"name": str(case), **case._asdict(), "contenders": rows}
    result["floor"] = floors(case, session.record["ceilings"])
    cache = torch.cuda.get_device_properties(session.device).L2_cache_size if clock.on_gpu else 2**20

    def prepare() -> None:
        sets = inputs(case, session.device, cache)
        sample = torch.linspace(0, case.batch - 1, min(16, case.batch), device=session.device).round().long()
        prepared.extend([sets, sample, exact(case, *(x[sample] for x in sets[0]))])

    session.attempt("matrices", prepare)
    if not prepared:
        return result
    sets, sample, truth = prepared
    competing = {name: {"": modes} for name, modes in own(case).items()}
    if case.section in ("headline", "float64", "rescue", "grid"):
        competing |= rivals(case, session.ranked(case, sets[0][0]))
    if case.section == "variants":
        result["present"] = named(present(case.n))
    turn, tasks = cycle(sets), []

    for name, entrants in competing.items():
        for by, modes in entrants.items():
            row = rows[name] = {"by": by, "status": "not measured" if session.late() else "failed"}

            def enter() -> None:
                """Errors of the worst matrix in the sample, computed among all of the batch; kernel time."""
                *_, last = modes.values()
                errors = [float(t.error(x[sample]).max()) for t, x in zip(truth, last(*sets[0]), strict=False)]
                row["errors"] = [e if e < inf else None for e in errors]
                limits = promised(getattr(torch, case.dtype), case.condition)
                if case.section == "rescue" and name == LOEWNER:
                    limits = limits[:1]  # its gradient divides by zero, and is timed all the same
                if not all(e <= limit for e, limit in zip(errors, limits, strict=False)):
                    row["status"] = "inaccurate"
                    return
                for mode, function in modes.items():
                    times = row[mode] = {"wall": clock.wall(lambda: function(*next(turn)))}
                    if times["wall"] < SLOW:
                        calls = max(1, min(20, int(0.1 / times["wall"])))
                        times["kernel"] = clock.kernel(lambda: function(*next(turn)), calls)
                row["status"] = "ok"

            session.attempt(f"{name} {by}".strip(), enter)
            if row["status"] == "ok":
                tasks += [(f"{name}, {mode}", modes[mode], row[mode], []) for mode in modes]
                break

    def take_turns() -> None:
        for _ in range({"headline": 9, "variants": 1}.get(case.section, 5)):
            for _, function, times, turns in tasks:
                if times["wall"] < 0.5:
                    calls = max(1, min(200, int(0.01 / times["wall"])))
                    turns.append(clock.wall(lambda: function(*next(turn)), calls))
        for *_, times, turns in tasks:
            times["wall"] = median(turns) if turns else times["wall"]

    session.attempt("rounds", take_turns)
    for what, function, times, _ in tasks if case.covariances and clock.on_gpu else ():

        def capture() -> None:
            times["graph"] = clock.graphed([lambda pair=pair: function(*pair) for pair in sets])

        if what.startswith(CAPTURABLE):
            session.attempt(f"{what}, in a graph", capture)
    return result


def work(args: argparse.Namespace) -> None:
    """What is left of the measurements."""
    device, record = torch.device(args.device), json.loads(args.out.read_text(encoding="utf-8"))
    clock = Clock(device.type == "cuda", record.get("by profiler", False))
    session = Session(args.out, args.deadline, device, clock, record)
    record["environment"] = environment(device) | {"CUDA": torch.version.cuda, "triton": triton.__version__}
    if clock.on_gpu and "by profiler" not in record:
        session.attempt("profiler", clock.try_profiler)
        record["by profiler"] = clock.by_profiler
    if not record["ceilings"]:
        session.attempt("ceilings", lambda: record["ceilings"].update(ceilings(device)))
    for name in SOLVERS:
        session.attempt(f"eigensolver {name}", lambda: session.find_solver(name))
    for case in cases(args.quick)[len(record["cases"]) :]:
        if not session.late():
            session.free()
            started = time.time()
            record["cases"].append(measure(session, case))
            print(f"{time.time() - started:5.1f} s  {case}", file=sys.stderr, flush=True)
    write(session.path, record)


def compile_share(args: argparse.Namespace) -> None:
    """Compile a share of the kernels, into Triton's cache, by running each on few matrices."""
    share, count = map(int, args.compile.split("/"))
    found = {}
    for case in cases(args.quick):
        for name in own(case) if case.dtype == "float32" and case.n <= 128 else ():
            if name == OURS or (case.section == "variants" and name != FIXED):
                found.setdefault((case.n, case.batch == 1, case.section == "pooling", name), case)
    for (*_, name), case in list(found.items())[share::count]:
        few = case._replace(batch=min(case.batch, 16))
        try:
            own(few)[name][BOTH](*inputs(few, torch.device(args.device), 0)[0])
        except Exception as error:  # will be seen, and told, when it is measured
            print(f"{case}, {name}: {error}".splitlines()[0], file=sys.stderr)


def write(path: Path, content: Any) -> None:
    """Write JSON, whole or not at all."""
    other = path.with_name(path.name + ".part")
    other.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
    other.replace(path)


def start(args: argparse.Namespace, *more: str) -> subprocess.Popen[bytes]:
    """A process of this script, in a group of its own."""
    quick = ["--quick"] if args.quick else []
    return subprocess.Popen([sys.executable, __file__, "--device", args.device, *quick, *more], process_group=0)


def ended(process: subprocess.Popen[bytes], deadline: float, sign: Path | None = None) -> str:
    """Wait for the end of a process that is to write ``sign`` now and then, and say what went wrong, if anything."""
    try:
        while process.poll() is None:
            if time.time() > min(deadline, sign.stat().st_mtime + STALLED if sign else inf):
                return "stopped: " + ("the time was used up" if time.time() > deadline else f"hung for {STALLED} s")
            time.sleep(0.2)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return f"the process ended with status {process.returncode}" if process.returncode else ""


def supervise(args: argparse.Namespace, path: Path) -> dict[str, Any]:
    """Compile in as many processes as there are cores, nearly; then the record, made by a process after the other."""
    began, count = time.time(), 1 if args.quick else max(1, min(14, (os.cpu_count() or 1) - 2))
    compiling = [start(args, "--compile", f"{i}/{count}") for i in range(count)]
    failed = [bool(ended(process, began + min(120.0, args.budget_s / 3))) for process in compiling]
    told = f"in {time.time() - began:.0f} s by {count} processes, {sum(failed)} of which failed"
    record: dict[str, Any] = {"kernels compiled": told, "planned": len(cases(args.quick))}
    record |= {"failed": {}, "ceilings": {}, "eigensolvers": {}, "cases": []}
    seen, deadline = -1, began + args.budget_s
    while len(record["failed"]) > seen and time.time() < deadline:  # died of something new
        seen = len(record["failed"])
        write(path, record | {"at": "start"})
        why = ended(start(args, "--out", str(path), "--deadline", str(deadline)), deadline + 10, path)
        record = json.loads(path.read_text(encoding="utf-8"))
        if not why:
            break
        print(f"{record['at']}: {why}", file=sys.stderr, flush=True)
        record["failed"].setdefault(record["at"], why)
    write(path, record)
    return record


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="one small case of everything; always so on the CPU")
    parser.add_argument("--budget-s", type=float, default=440.0, help="seconds after which nothing more is begun")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--show", type=Path, help="print a record, and run nothing")
    parser.add_argument("--deadline", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--compile", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.quick |= args.device == "cpu"
    if args.deadline:
        work(args)
    elif args.compile:
        compile_share(args)
    elif args.show:
        show(json.loads(args.show.read_text(encoding="utf-8")))
    else:
        with TemporaryDirectory() as folder:
            path = args.out or Path(folder) / "record.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            show(supervise(args, path))


if __name__ == "__main__":
    main()
