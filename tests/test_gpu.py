"""The same on a GPU. Run with `pytest -m gpu`."""

import json

import pytest
import torch
from matrices import errors, options, pairs, random_spd, random_symmetric, reference_experiment, relative, with_spectrum

import sqrtm
from sqrtm import kernels
from sqrtm.cli import main
from sqrtm.compare.measure import peak_bytes
from sqrtm.compare.reference import reference

pytest.importorskip("triton")
from sqrtm.kernels import minimax

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


@pytest.mark.parametrize("function", [sqrtm.sqrtm_ex, sqrtm.sqrtm_pair_ex])
@pytest.mark.parametrize(("name", "n"), [("auto", 8), ("auto", 64), ("newton-schulz", 8), ("taylor", 8)])
def test_verdicts_do_not_synchronise(name, n, function):
    # Kernels, and methods made of products; the decompositions of PyTorch wait for their own error codes.
    a = random_spd(n, (5,), dtype=torch.float32).cuda()
    a[2] = -a[2]

    def run():
        leaf = a.clone().requires_grad_(name == "auto")
        s, *_, info = function(leaf, method=name)
        if name == "auto":
            s[0].sum().backward()
        return s.detach(), info

    run()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        s, info = run()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert info.status.tolist()[2] == 3
    assert s[2].isnan().all()
    assert s[[0, 1, 3, 4]].isfinite().all()


@pytest.mark.parametrize("n", [16, 64, 90])
@pytest.mark.parametrize(
    ("method", "gradient"),
    [
        (sqrtm.NewtonSchulz(steps=10), sqrtm.LyapunovNewtonSchulz(steps=10)),
        (sqrtm.NewtonSchulz(steps=5, scaling="trace"), sqrtm.Unrolled()),
        ("auto", "auto"),
    ],
)
def test_capture_in_a_graph(method, gradient, n):
    a = random_spd(n, (6,), dtype=torch.float32).cuda()

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
    a.copy_(random_spd(n, (6,), seed=1, dtype=torch.float32))
    if n <= kernels.LARGEST and method == "auto":
        a[3, 0] = a[3, :, 0] = 0  # singular: by eigenvalues, in the graph too
    graph.replay()
    torch.testing.assert_close(captured, step(a), rtol=1e-4, atol=1e-5)
    assert captured[0].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.complex64])
def test_half_and_complex_under_tf32(dtype):
    a = random_spd(9, (4,)).to(dtype).cuda()
    expected = sqrtm.sqrtm_pair(a)
    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        found = sqrtm.sqrtm_pair(a)
    finally:
        torch.backends.cuda.matmul.fp32_precision = before
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


SPECTRA = (1.0, 1.65, 8.0, 1e2, 1e3)


def spectra(n, dtype, conditions=SPECTRA):
    logs = torch.linspace(0, 1, n, dtype=torch.float64)
    return with_spectrum(torch.stack([torch.tensor(c).double() ** (logs - 1) for c in conditions]), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [2, 8, 33, 64, 65, 100, 300])
@pytest.mark.parametrize("tf32", [False, True])
def test_the_promise_of_auto(n, dtype, tf32):
    a, g = spectra(n, dtype), random_symmetric(n, (len(SPECTRA),), dtype=dtype)
    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "tf32" if tf32 else "ieee"
    try:
        leaf = a.cuda().requires_grad_()
        s, z = sqrtm.sqrtm_pair(leaf)
        (x,) = torch.autograd.grad(s, leaf, g.cuda())
    finally:
        torch.backends.cuda.matmul.fp32_precision = before
    root, gradient = reference(a, g, extended=False)
    limits = (5e-6, 3e-5) if dtype == torch.float32 else (1e-11, 1e-10)
    assert root.error(s.detach().cpu()).max() < limits[0]
    assert gradient.error(x.cpu()).max() < limits[1]
    assert relative(z.detach().cpu(), torch.linalg.inv(s.detach().cpu().double())) < 1e-4


def test_auto_uses_kernels():
    a = random_spd(9, (4,), dtype=torch.float32).cuda()
    assert kernels.supported(a)
    assert "on cuda: minimax, by a kernel" in sqrtm.explain(a)
    assert "the same steps for all: kernels are for float32, not float64" in sqrtm.explain(a.double())


@pytest.mark.parametrize("n", [5, 16, 32, 40, 64])
def test_no_races(n):
    a = spectra(n, torch.float32, (*SPECTRA, 1e5) * 40).cuda()
    g = torch.randn(a.shape, device="cuda")

    def run():
        leaf = a.clone().requires_grad_()
        s, z = sqrtm.sqrtm_pair(leaf)
        method = sqrtm.NewtonSchulz(steps=5, scaling="trace")
        pooled = sqrtm.sqrtm(leaf, method=method, gradient="unrolled")
        return s.detach(), z.detach(), *torch.autograd.grad(s, leaf, g), *torch.autograd.grad(pooled, leaf, g)

    first = run()
    for _ in range(20):
        for x, y in zip(run(), first, strict=True):
            assert torch.equal(x, y)


def test_another_stream_and_strides():
    a = spectra(24, torch.float32).cuda()
    expected = sqrtm.sqrtm(a)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        padded = torch.full((24, len(a), 30), torch.nan, device="cuda")
        view = padded.transpose(0, 1)[:, :, 3:27]
        view.copy_(a)
        s = sqrtm.sqrtm(view)
    stream.synchronize()
    assert torch.equal(s, expected)


@pytest.mark.parametrize(
    ("method", "gradient"), [("auto", "auto"), (sqrtm.NewtonSchulz(steps=5, scaling="trace"), "unrolled")]
)
def test_inductor(method, gradient):
    def loss(a):
        return sqrtm.sqrtm(a, method=method, gradient=gradient).sin().sum()

    torch._dynamo.reset()
    a = spectra(20, torch.float32).cuda()
    leaf, other = (a.clone().requires_grad_() for _ in range(2))
    torch.compile(loss, fullgraph=True)(leaf).backward()
    loss(other).backward()
    torch.testing.assert_close(leaf.grad, other.grad, rtol=1e-4, atol=1e-5)


def test_a_batch_of_more_than_two_to_the_31_elements():
    if torch.cuda.mem_get_info()[0] < 60 * 2**30:
        pytest.skip("needs 60 GiB of GPU memory")
    one = random_spd(32, (2,), dtype=torch.float32).cuda()
    a = one[:1].repeat(2**21 + 8, 1, 1)
    a[-1] = one[1]
    with torch.no_grad():
        s = sqrtm.sqrtm(a)
    torch.testing.assert_close(s[[0, -2, -1]], sqrtm.sqrtm(one)[[0, 0, 1]])


def test_rescue_of_many():
    a = spectra(64, torch.float32, (1e7, 1.65)).repeat(300, 1, 1)
    a[7] = 0
    s, info = sqrtm.sqrtm_ex(a.cuda())
    expected = sqrtm.sqrtm(a[:8])
    torch.testing.assert_close(s[:8].cpu(), expected, rtol=1e-5, atol=1e-6)
    assert (info.status[1::2].cpu()[[0, 1, 2, 4]] == 0).all()


@pytest.mark.parametrize(("precision", "limit"), [("tf32", 1e-2), ("tf32x3", 2e-6), ("bf16x6", 2e-6), ("ieee", 2e-6)])
def test_precision_reaches_the_products(precision, limit):
    a = spectra(64, torch.float32).cuda()
    s = minimax.roots(a, 1e-4, precision)[0]
    error = relative(s, sqrtm.sqrtm(a.double()))
    assert error < limit
    assert precision != "tf32" or not error < 1e-5
