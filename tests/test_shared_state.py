"""What outlives a call, memory and threads, is not noticed by anybody."""

import multiprocessing
import os
import subprocess
import sys
import threading
import time

import pytest
import torch
from matrices import random_spd, relative, with_spectrum

import sqrtm
from sqrtm._scratch import MOST_KEPT, _free, forget, scratch
from sqrtm.methods import _parallel

HARD = with_spectrum(torch.logspace(0, -3, 24, dtype=torch.float64)).repeat(60, 1, 1)
"""By eigenvalues, in threads where there is more than one core."""


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_results_are_not_written_over_by_the_next_call():
    for n, copies in ((3, 3000), (8, 600), (24, 60), (64, 40)):
        for condition in (1.5, 50.0, 1e3, 2e5):
            for dtype in (torch.float32, torch.float64):
                spectrum = condition ** -torch.linspace(0, 1, n, dtype=torch.float64)
                a, b = (with_spectrum(spectrum, seed, dtype).repeat(copies, 1, 1).requires_grad_() for seed in (0, 1))
                s, z = sqrtm.sqrtm_pair(a)
                (x,) = torch.autograd.grad((s + z).sum(), a, retain_graph=True)
                copy = [y.clone() for y in (s, z, x)]
                t, _ = sqrtm.sqrtm_pair(b)
                torch.autograd.grad(t.sum(), b)
                assert all(torch.equal(one, other) for one, other in zip((s, z, x), copy, strict=True))
                assert torch.equal(torch.autograd.grad((s + z).sum(), a)[0], x)


def test_scratch_memory_is_reused_but_not_at_once():
    forget()
    like = torch.zeros(50, 16, 16)
    with scratch(2, like) as (x, y), scratch(2, like) as (v, w):
        addresses = {t.data_ptr() for t in (x, y, v, w)}
        assert len(addresses) == 4
    with scratch(1, like[:20]) as (z,):
        assert z.shape == (20, 16, 16)
        assert z.data_ptr() in addresses
    with scratch(3, torch.zeros(1), torch.float64) as found:
        assert [t.dtype for t in found] == [torch.float64] * 3
    with pytest.raises(KeyError), scratch(1, like) as (z,):
        raise KeyError
    for size in range(1, 40):
        with scratch(9, torch.empty(size * 50_000)):
            pass
    assert sum(block.nbytes for block in _free.blocks) <= MOST_KEPT
    with scratch(1, torch.empty(MOST_KEPT)) as (large,):
        address = large.data_ptr()
    assert address not in {block.data_ptr() for block in _free.blocks}


def test_a_first_call_in_inference_mode_leaves_nothing_that_autograd_refuses(two_threads):
    def work():
        with torch.inference_mode():
            results.append(sqrtm.sqrtm(HARD))
        leaf = HARD.clone().requires_grad_()
        results.append(torch.autograd.grad(sqrtm.sqrtm(leaf).sum(), leaf)[0])

    results = []
    thread = threading.Thread(target=work)  # whose scratch memory is its own
    thread.start()
    thread.join()
    assert relative(results[0] @ results[0], HARD) < 1e-14
    assert results[1].isfinite().all()


def test_eigenvalues_in_threads_are_those_of_torch(two_threads):
    for batch in (2, 3, 61):
        a = random_spd(64, (batch,))
        rows = torch.empty_like(a)
        values = _parallel.eigh(a, rows)
        torch.testing.assert_close(values, torch.linalg.eigvalsh(a))
        torch.testing.assert_close(rows.mT * values[:, None, :] @ rows, a)
    assert torch.get_num_threads() == 2


def test_threads_have_no_effect_on_the_caller(two_threads):
    sqrtm.sqrtm(HARD)
    pool = _parallel._pool(*_pool_key())
    if pool is None:
        pytest.skip("threads of this build cannot be kept to one core each")
    assert pool.submit(torch.get_num_threads).result() == 1
    assert torch.get_num_threads() == 2
    with torch.no_grad():
        sqrtm.sqrtm(HARD)
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()


def _pool_key():
    return os.getpid(), torch.get_num_threads()


def test_an_error_in_a_thread_reaches_the_caller(two_threads):
    a = random_spd(64, (4,))
    with pytest.raises(RuntimeError, match="dtype"):
        _parallel.eigh(a, torch.empty_like(a, dtype=torch.float32))


def _child():
    pool = _parallel._pool(*_pool_key())  # nothing else: OpenMP itself does not survive a fork
    os._exit(pool.submit(int, 3).result(timeout=20))


def test_a_forked_process_has_threads_of_its_own(two_threads):
    sqrtm.sqrtm(HARD)
    if _parallel._pool(*_pool_key()) is None:
        pytest.skip("threads of this build cannot be kept to one core each")
    child = multiprocessing.get_context("fork").Process(target=_child)
    child.start()
    child.join(30)
    child.kill()
    assert child.exitcode == 3


def test_default_device_and_fake_tensors_leave_no_trace():
    from torch._subclasses.fake_tensor import FakeTensorMode

    a = random_spd(12, (300,))
    forget()
    with torch.device("meta"):
        assert relative(sqrtm.sqrtm(a) @ sqrtm.sqrtm(a), a) < 1e-12
    forget()
    with FakeTensorMode() as mode:
        assert sqrtm.sqrtm(mode.from_tensor(a)).shape == a.shape
    assert relative(sqrtm.sqrtm(a) @ sqrtm.sqrtm(a), a) < 1e-12


def test_nobody_writes_after_an_error(two_threads, monkeypatch):
    if _parallel._pool(*_pool_key()) is None:
        pytest.skip("threads of this build cannot be kept to one core each")
    written = []

    def work(a, out):
        if not a[0].any():
            raise ValueError
        time.sleep(0.3)
        written.append(True)

    with pytest.raises(ValueError):  # noqa: PT011
        _parallel._shared_out(work, torch.stack([torch.zeros(64, 64), torch.ones(64, 64)]), torch.empty(2))
    assert written


def test_calls_while_the_interpreter_exits():
    code = (
        "import atexit, torch, sqrtm; torch.set_num_threads(2); a = torch.eye(64).repeat(40, 1, 1); a[:, 0, 0] = 1e-3;"
        "sqrtm.sqrtm(a); atexit.register(lambda: print(float(sqrtm.sqrtm(a)[0, 1, 1])))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("1.0"), done.stderr


def test_many_threads_at_a_time(two_threads):
    batches = [random_spd(24, (60,), seed=seed) for seed in range(6)]
    expected = [sqrtm.sqrtm(a) for a in batches]
    found = [None] * 6

    def work(i):
        for _ in range(5):
            found[i] = sqrtm.sqrtm(batches[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
