"""How `gpu.py` takes time on a device, and what the device can do at most."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from common import median
from torch.autograd import DeviceType

# The profiler is used again after graphs were captured, which it does not survive if it lets go of CUPTI in between.
os.environ.setdefault("DISABLE_CUPTI_LAZY_REINIT", "1")
os.environ.setdefault("TEARDOWN_CUPTI", "0")


@dataclass
class Clock:
    """How time is taken on a device: all are seconds a call."""

    on_gpu: bool
    by_profiler: bool = False

    def wall(self, run: Callable[[], object], calls: int = 1) -> float:
        """By the clock on the wall."""
        self.synchronize()
        start = time.perf_counter()
        for _ in range(calls):
            run()
        self.synchronize()
        return (time.perf_counter() - start) / calls

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.on_gpu:
            torch.cuda.synchronize()

    def elapsed(self, run: Callable[[], object], calls: int = 1) -> float:
        """From the first kernel's start to the last's end, gaps between them included."""
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

    def kernel(self, run: Callable[[], object], calls: int) -> float:
        """In which the device was at work, gaps included where the profiler is not to be trusted."""
        if not self.by_profiler:
            return self.elapsed(run, calls)
        with torch.autograd.profiler.profile(use_device="cuda", use_cpu=False, use_kineto=True) as profiler:
            for _ in range(calls):
                run()
        # Read as PyTorch records them: to make a Python object of each takes long where there are many.
        events = [e for e in profiler.kineto_results.events() if e.device_type() == DeviceType.CUDA]
        return sum(e.end_ns() - e.start_ns() for e in events) / 1e9 / calls

    def graphed(self, runs: list[Callable[[], object]]) -> float:
        """Of one of these, captured one after the other in a graph that is replayed."""
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
        return median([self.elapsed(graph.replay, 10) for _ in range(9)]) / len(runs)

    def try_profiler(self) -> None:
        """It is to be trusted if it tells the same time of a long copy as events around it."""
        x, y = torch.randn(2, 2**28, device="cuda")
        by_profiler = Clock(True, True)
        by_profiler.kernel(lambda: y.copy_(x), 1)  # the first time may lack something
        seen = by_profiler.kernel(lambda: y.copy_(x), 10)
        self.by_profiler = 0.8 < seen / self.elapsed(lambda: y.copy_(x), 10) < 1.2


def ceilings(device: torch.device) -> dict[str, float]:
    """What the device can do at most: bytes/s of a copy, flop/s of products."""
    clock = Clock(device.type == "cuda")
    entries, side = (2**28, 8192) if clock.on_gpu else (2**20, 256)
    x, y = torch.randn(2, entries, device=device)
    y.copy_(x)
    found = {"copy": 2 * x.nbytes / median([clock.elapsed(lambda: y.copy_(x), 5) for _ in range(7)])}
    for name in ("float32", "float64"):
        x, y = torch.randn(2, side, side, dtype=getattr(torch, name), device=device)
        x @ y
        found[name] = 2 * side**3 / median([clock.elapsed(lambda: x @ y) for _ in range(7)])
    return found
