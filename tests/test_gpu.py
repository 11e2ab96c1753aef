"""The same on a GPU. Run with `pytest -m gpu`."""

import json

import pytest
import torch
from matrices import errors, options, pairs, random_spd, reference_experiment, relative

import sqrtm
from sqrtm.cli import main
from sqrtm.compare.measure import peak_bytes

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize(("method", "gradient"), pairs())
@pytest.mark.parametrize(("dtype", "steps", "tolerance"), [(torch.float32, 10, 5e-6), (torch.float64, 20, 1e-11)])
def test_every_pair_is_as_accurate_as_on_the_cpu(method, gradient, dtype, steps, tolerance):
    a, g = reference_experiment(batch=16, dtype=dtype)
    found = {}
    for device in ("cpu", "cuda"):
        x = a.to(device).requires_grad_()
        s = sqrtm.sqrtm(x, **options(method, gradient, steps))
        assert s.device.type == device
        (grad,) = torch.autograd.grad(s, x, g.to(device))
        found[device] = errors(s.detach().cpu(), grad.cpu(), a, g)
    for on_cpu, on_gpu in zip(found["cpu"], found["cuda"], strict=True):
        assert on_gpu <= max(tolerance, 10 * on_cpu)


@pytest.mark.parametrize("name", sqrtm.METHODS)
def test_pair_and_solve(name):
    a = random_spd(9, (2, 3)).cuda()
    s, z = sqrtm.sqrtm_pair(a, method=name)
    expected = sqrtm.sqrtm_pair(a.cpu(), method=name)
    assert relative(s.cpu(), expected[0]) < 1e-12
    assert relative(z.cpu(), expected[1]) < 1e-12
    x = sqrtm.solve_lyapunov(s, a)
    torch.testing.assert_close(s @ x + x @ s, a)


def test_bad_values_raise():
    a = torch.eye(3, device="cuda").repeat(2, 2, 1, 1)
    a[1, 0, 2, 2] = -1
    with pytest.raises(torch.linalg.LinAlgError, match=r"matrix \[1, 0\] of the batch is not positive semidefinite"):
        sqrtm.sqrtm(a)


def test_vmap_and_second_derivative():
    a = random_spd(4, (3,)).cuda()
    torch.testing.assert_close(torch.func.vmap(sqrtm.sqrtm)(a), sqrtm.sqrtm(a))
    assert torch.autograd.gradgradcheck(lambda a: sqrtm.sqrtm((a + a.mT) / 2), a[:1].requires_grad_())


def test_peak_bytes():
    x = torch.ones(1 << 20, device="cuda")
    assert peak_bytes(x.neg, x.device) == x.nbytes
    assert peak_bytes(lambda: x.neg().neg(), x.device) == 2 * x.nbytes


@pytest.mark.parametrize("device", [["--cuda"], ["--device", "cuda:0"]])
def test_compare(tmp_path, device):
    path = tmp_path / "out.json"
    assert main(["compare", *device, "--batch-size", "4", "--dim", "8", "--repeats", "1", "--json", str(path)]) == 0
    content = json.loads(path.read_text())
    assert content["environment"]["device"] == torch.cuda.get_device_name()
    assert all(
        row["status"] == "ok"
        for row in content["rows"]
        if row["gradient"].startswith("lyapunov") and row["method"] not in ("taylor", "pade")
    )


@pytest.mark.parametrize("name", ["newton-schulz", "taylor"])
def test_verdicts_do_not_synchronise(name):
    # Methods made of products; the decompositions of PyTorch wait for their own error codes.
    a = random_spd(8, (5,), dtype=torch.float32).cuda()
    a[2] = -a[2]
    sqrtm.sqrtm_ex(a, method=name)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        s, info = sqrtm.sqrtm_ex(a, method=name)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert info.status.tolist()[2] == 3
    assert s[2].isnan().all()
    assert s[[0, 1, 3, 4]].isfinite().all()


def test_capture_in_a_graph():
    method, gradient = sqrtm.NewtonSchulz(steps=10), sqrtm.LyapunovNewtonSchulz(steps=10)
    a = random_spd(16, (6,), dtype=torch.float32).cuda()

    def step(a):
        leaf = a.detach().requires_grad_()
        s, info = sqrtm.sqrtm_ex(leaf, method=method, gradient=gradient)
        return s.detach(), torch.autograd.grad(s.sum(), leaf)[0], info.error_bound

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            step(a)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step(a)
    a.copy_(random_spd(16, (6,), seed=1, dtype=torch.float32))
    graph.replay()
    torch.testing.assert_close(captured, step(a))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.complex64])
def test_half_and_complex_under_tf32(dtype):
    a = random_spd(9, (4,)).to(dtype).cuda()
    expected = sqrtm.sqrtm_pair(a)
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        found = sqrtm.sqrtm_pair(a)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    for x, y in zip(found, expected, strict=True):
        assert relative(x, y) < 20 * torch.finfo(dtype).eps


def test_pseudo_inverse_and_chunks():
    b = torch.randn(40, 7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    a = b @ b.mT
    z = sqrtm.invsqrtm(a.cuda(), pseudo_inverse=True, max_workspace_bytes=10**5)
    torch.testing.assert_close(z.cpu(), sqrtm.invsqrtm(a, pseudo_inverse=True), rtol=1e-8, atol=1e-8)
    a[33, 1, 1] = -1
    with pytest.raises(torch.linalg.LinAlgError, match="matrix 33 of the batch"):
        sqrtm.sqrtm(a.cuda(), max_workspace_bytes=10**5)


def test_mixed_devices_are_refused():
    a = random_spd(3)
    with pytest.raises(TypeError, match=r"agree in dtype and device, got .* on cuda:0 and .* on cpu"):
        sqrtm.solve_lyapunov(a.cuda(), a)
