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
