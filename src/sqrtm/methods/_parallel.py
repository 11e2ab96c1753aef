"""Factorisations of a batch on all cores: PyTorch hands the matrices to LAPACK one after the other."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache

import torch
from torch import Tensor

from .._eigh import robust_eigh

WORTHWHILE = 2**13
"""Elements of a batch from which threads are faster, on 2 cores."""


def eigh(a: Tensor, vectors: Tensor) -> Tensor:
    """Eigenvalues, ascending, of symmetric ``a``, ``(B, n, n)``; eigenvectors as rows, in ``vectors``.

    Not differentiable.
    """
    values = a.new_empty(a.shape[:-1])
    _shared_out(robust_eigh, a, values, vectors.mT)
    return values


def cholesky(a: Tensor, factor: Tensor) -> Tensor:
    """``(B,)``, 0 where ``a`` is positive definite; Lᵀ of A = LLᵀ in ``factor``. Not differentiable."""
    info = torch.empty(len(a), dtype=torch.int32, device=a.device)
    _shared_out(torch.linalg.cholesky_ex, a, factor.mT, info)
    return info


def _shared_out(function: Callable[..., object], a: Tensor, *out: Tensor) -> None:
    """``function(a, out=out)``, all cores taking a share of the batch."""
    pool = None
    if a.numel() >= WORTHWHILE and a.device.type == "cpu":
        threads = torch.get_num_threads()
        pool = _pool(os.getpid(), threads) if 1 < threads <= len(a) else None
    if pool is None:
        function(a.detach(), out=out)
        return
    inference = torch.is_inference_mode_enabled()

    def work(a: Tensor, *out: Tensor) -> None:
        with torch.inference_mode(inference), torch.no_grad():  # a thread has its own modes
            function(a, out=out)

    shares = list(zip(*(x.chunk(threads) for x in (a.detach(), *out)), strict=True))
    futures = []
    try:
        for share in shares:
            futures.append(pool.submit(work, *share))
    except RuntimeError:  # the interpreter is about to exit
        for share in shares[len(futures) :]:
            work(*share)
    try:
        for future in futures:
            future.result()
    finally:  # nobody writes into ``out`` any more, whatever happened
        for future in futures:
            future.cancel()
        wait(futures)


@lru_cache(maxsize=8)
def _pool(process: int, threads: int) -> ThreadPoolExecutor | None:
    """Threads that keep to one core each, which is a setting of theirs alone; None if they cannot be told to.

    A process that was forked makes its own: those of its parent are not there.
    """
    try:
        library = ctypes.CDLL(torch._C.__file__)  # and all it is linked with
        limits = [library.omp_set_num_threads]
        if torch.backends.mkl.is_available():
            limits.append(library.MKL_Set_Num_Threads_Local)
    except (OSError, AttributeError):
        return None

    def keep_to_one_core() -> None:
        torch.get_num_threads()  # has PyTorch set its own number for this thread now, and not later
        for limit in limits:
            limit(1)

    return ThreadPoolExecutor(threads, "sqrtm", initializer=keep_to_one_core)
