"""The kernels against their plain twins and float64: compiled where there is a GPU, else interpreted."""

import pytest
import torch
from matrices import orthogonal, random_spd, random_symmetric, relative, with_spectrum
from torch.utils._python_dispatch import TorchDispatchMode

import sqrtm
from sqrtm import kernels
from sqrtm._checks import ASYMMETRIC, INDEFINITE, NON_FINITE, OK, SINGULAR
from sqrtm.gradients import LyapunovChebyshev
from sqrtm.methods._eigen import eigen_roots
from sqrtm.methods.minimax import iterate
from sqrtm.methods.newton_schulz import SCALINGS, coupled, coupled_vjp

pytest.importorskip("triton")
from sqrtm.kernels import jacobi, lyapunov, minimax, newton_schulz

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SIZES = [1, 2, 3, 5, 8, 16, 17, 31, 32, 33, 48, 64, 65, 100, 127, 128]
CONDITIONS = (1.0, 1.65, 2.2, 3.0, 8.0, 1e2, 1e4)
F32, F64 = torch.float32, torch.float64

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of NaN on the way


@pytest.fixture(autouse=True)
def poisoned():
    """What `torch.empty` returns is NaN, so that nothing unwritten is taken for a result."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(before)


@pytest.fixture
def launches(monkeypatch):
    """Kernels for tensors of the device at hand, whichever it is; the names of those that were launched."""
    monkeypatch.setattr(kernels, "DEVICES", {DEVICE.type})
    names = []

    def watched(module, function):
        launcher = getattr(module, function)

        def launch(*args, **kwargs):
            names.append(f"{module.__name__.rpartition('.')[2]}.{function}")
            return launcher(*args, **kwargs)

        monkeypatch.setattr(module, function, launch)

    watched(minimax, "roots")
    watched(jacobi, "rescue")
    watched(lyapunov, "solve")
    watched(newton_schulz, "roots")
    watched(newton_schulz, "vjp")
    return names


def spectra(n, conditions=CONDITIONS, seed=0):
    """One matrix a condition number, eigenvalues evenly spaced in the logarithm."""
    logs = torch.linspace(0, 1, n, dtype=F64)
    return with_spectrum(torch.stack([torch.tensor(c, dtype=F64) ** (logs - 1) for c in conditions]), seed, F32)


def exact(a, g=None):
    """A^{1/2}, A^{-1/2} and, of symmetric or other ``g``, X in float64."""
    values, q = torch.linalg.eigh(a.double())
    s = values.clamp(min=1e-300).sqrt()
    x = None if g is None else q @ ((q.mT @ g.double() @ q) / (s[:, :, None] + s[:, None, :])) @ q.mT
    return (q * s[:, None, :]) @ q.mT, (q / s[:, None, :]) @ q.mT, x


@pytest.mark.parametrize("n", SIZES)
def test_roots(n):
    conditions = CONDITIONS if n <= 32 else (8.0, 1e4) if n > 64 else (1.65, 8.0, 1e4)
    a = spectra(n, conditions)
    s, z, ends, codes, steps = (x.cpu() for x in minimax.roots(a.to(DEVICE), 1e-4))
    twin = iterate(a, True)
    root, inverse, _ = exact(a)
    for i, condition in enumerate(conditions if n > 1 else (1.0,) * len(conditions)):
        assert codes[i] == OK
        assert abs(int(steps[i]) - int(twin.steps[i])) <= 1  # where a threshold is near, rounding decides
        assert relative(s[i], root[i]) < (1e-6 if condition <= 1e2 else 5e-6)
        assert relative(z[i], inverse[i]) < (2e-6 if condition <= 1e2 else 4e-4)
        assert relative(s[i], twin.sqrt[i]) < (1e-6 if condition <= 1e2 else 5e-6)
    values = torch.linalg.eigvalsh(root)
    assert (ends[:, 0] <= values[:, 0] * (1 + 1e-3)).all()
    assert (ends[:, 1] >= values[:, -1] * (1 - 1e-6)).all()
    assert (ends[:, 0] > values[:, 0] / 12).all()
    assert (ends[:, 1] < values[:, -1] * 1.5).all()


@pytest.mark.parametrize(
    ("n", "symmetric"), [(n, n % 3 > 0) for n in SIZES] + [(n, n % 3 == 0) for n in (2, 3, 16, 33)]
)
def test_lyapunov(n, symmetric):
    conditions = CONDITIONS if n <= 32 else (1.65, 1e2)
    a = spectra(n, conditions)
    g = torch.randn(a.shape, generator=torch.Generator().manual_seed(1))
    values, q = torch.linalg.eigh(a.double())
    values = values.sqrt()
    root, inverse, _ = exact(a)
    x = exact(a, (g + g.mT) / 2 if symmetric else g)[2]
    ends = torch.stack([0.9 * values[:, 0], 1.1 * values[:, -1]], -1).float()
    by_eigen = torch.arange(len(a)) % 3 == 1  # mixed
    ends = torch.where(by_eigen[:, None], torch.tensor([-1.0, 1.0]), ends)
    factor = torch.where(by_eigen[:, None, None], q.mT, inverse).float()
    inputs = [y.to(DEVICE) for y in (root.float(), factor, values.float(), g, ends)]
    found = lyapunov.solve(*inputs, symmetric).cpu()
    twin = LyapunovChebyshev().solve(
        root.float(), g, (ends, values.float(), factor, torch.empty(len(a), 0, 0)), symmetric
    )
    if n > 4:
        assert relative(found, twin) < 2e-6
    for i, condition in enumerate(conditions if n > 1 else (1.0,) * len(conditions)):
        assert relative(found[i], x[i]) < (1e-6 if condition <= 1e2 else 1e-5)


@pytest.mark.parametrize("n", SIZES)
def test_newton_schulz(n):
    a = spectra(n, (1.65, 1e2, 1e4) if n <= 32 else (1e2,))  # some not converged, as intended
    g = torch.randn(a.shape, generator=torch.Generator().manual_seed(1))
    size = SCALINGS["trace"](a)
    steps = 5 if n <= 32 else 2
    s, z = newton_schulz.roots(a.to(DEVICE), size.to(DEVICE), steps)
    leaves = [x.double().requires_grad_() for x in (a, size)]
    truth = coupled(*leaves, steps)
    for inverse, root, expected in ((False, s, truth[0]), (True, z, truth[1])):
        assert relative(root.cpu(), expected) < 2e-6
        bars = torch.autograd.grad(expected, leaves, g.double(), retain_graph=True)
        twin = coupled_vjp(a, root.cpu(), g, size, steps, inverse)
        found = newton_schulz.vjp(a.to(DEVICE), root, g.to(DEVICE), size.to(DEVICE), steps, inverse)
        terms = (g * expected.detach()).abs().sum((1, 2)) / size[:, 0, 0]  # c̄ is the difference of two such
        for x in (found, twin):
            assert relative(x[0].cpu(), bars[0]) < 3e-6
            assert ((x[1].cpu() - bars[1])[:, 0, 0].abs() < 3e-6 * terms).all()


def rescued(a, codes, inverse=True):
    """What `jacobi.rescue` makes of roots that are not there: all it writes, on the CPU."""
    shapes = [a.shape] * 3 + [a.shape[:-1], (len(a), 2)]
    made = [torch.full(shape, torch.nan, device=DEVICE) for shape in shapes]
    integers = [torch.tensor(codes, device=DEVICE), torch.full((len(a),), 7, device=DEVICE)]
    jacobi.rescue(a.to(DEVICE), *made, *integers, 1.5e-5, inverse)
    return [x.cpu() for x in (*made, *integers)]


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 16, 17, 33])
def test_eigenvalues(n):
    a = spectra(n, (1e3, 1e5, 8.0, 1.0) if n < 16 else (1e5,))
    s, z, factor, values, ends, codes, steps = rescued(a, [minimax.UNFINISHED] * len(a))
    twin = eigen_roots(a, True, differentiated=True)
    assert codes.tolist() == [OK] * len(a)
    assert steps.tolist() == [0] * len(a)
    assert ends.tolist() == [[-1, 1]] * len(a)
    assert relative(s, twin.sqrt) < 1e-7
    assert relative(z, twin.invsqrt) < 1e-6
    torch.testing.assert_close(values.sort(-1)[0], twin.eigen[0])
    assert relative(factor.mT @ (values[:, :, None] * factor), twin.sqrt) < 1e-6
    assert relative(factor @ factor.mT, torch.eye(n).expand_as(a)) < 1e-6


def test_eigenvalues_that_are_zero_negative_or_not_wanted():
    a = spectra(9, (8.0, 8.0, 8.0, 8.0, 1e2))
    half = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    a[1] = (half @ half.mT + (half @ half.mT).mT) / 2
    a[2] = -a[2]
    a[3] = 0
    s, z, factor, values, ends, codes, _ = rescued(a, [OK, *[minimax.UNFINISHED] * 3, ASYMMETRIC])
    assert codes.tolist() == [OK, SINGULAR, INDEFINITE, SINGULAR, ASYMMETRIC]
    for x in (s, z, factor, values, ends):
        assert x[[0, 4]].isnan().all()
    twin = eigen_roots(a[1:2], True, differentiated=True)
    assert (values[1] == 0).sum() == 5
    assert relative(s[1:2], twin.sqrt) < 1e-6
    assert relative(z[1:2], twin.invsqrt) < 1e-4  # of the pseudo-inverse
    assert (s[3] == 0).all()
    assert (z[3] == 0).all()
    assert rescued(a, [minimax.UNFINISHED] * 5, inverse=False)[1].isnan().all()
    mixed = torch.diag(torch.tensor([1.0, -1.0, 1.0, -1e-9]))[None]
    assert rescued(mixed, [minimax.UNFINISHED])[5].tolist() == [INDEFINITE]
    for size in (1e-30, 1e37):
        found, expected = (rescued(spectra(4, (1e6,)) * x, [minimax.UNFINISHED])[0] for x in (size, 1.0))
        torch.testing.assert_close(found / size**0.5, expected, rtol=1e-4, atol=1e-5)


def test_more_matrices_than_programs(monkeypatch):
    monkeypatch.setattr(jacobi, "PROGRAMS", 2)
    a = spectra(2, (1.5, 8.0, 1e2, 1e3, 1e5)).repeat(31, 1, 1)
    which = torch.arange(len(a)) % 30 == 7
    s = rescued(a, torch.where(which, minimax.UNFINISHED, OK).tolist())[0]
    assert relative(s[which], eigen_roots(a[which], False).sqrt) < 1e-7
    assert s[~which].isnan().all()


@pytest.mark.parametrize("steps", [1, 2])
def test_few_newton_schulz_steps(steps):
    a, g = random_spd(6, (5,), dtype=F32), random_symmetric(6, (5,), dtype=F32)
    a[3] = 0
    size = SCALINGS["trace"](a)
    s, z = newton_schulz.roots(a.to(DEVICE), size.to(DEVICE), steps)
    expected = coupled(a, size, steps)
    torch.testing.assert_close(s.cpu(), expected[0])
    torch.testing.assert_close(z.cpu(), expected[1], equal_nan=True)  # of 0
    for inverse, root in ((False, s), (True, z)):
        good = [0, 1, 2, 4] if inverse else slice(None)  # there is no inverse of 0, but a gradient of its root
        found = newton_schulz.vjp(a.to(DEVICE), root, g.to(DEVICE), size.to(DEVICE), steps, inverse)
        twin = coupled_vjp(a, root.cpu(), g, size, steps, inverse)
        for x, y in zip(found, twin, strict=True):
            torch.testing.assert_close(x.cpu()[good], y[good], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n", [3, 16, 20])
def test_any_strides(n):
    a = spectra(n, (1.65, 8.0, 1e2, 3.0, 2.0))
    g = torch.randn(a.shape, generator=torch.Generator().manual_seed(1))
    expected = minimax.roots(a.to(DEVICE), 1e-4)
    s, z, ends, *_ = expected
    big = torch.full((n + 2, 3, n + 1, 10), torch.nan, device=DEVICE)
    view = big.permute(3, 0, 2, 1)[::2, 1:-1, 1:, 1]  # batch stride 2, rows and columns far apart, offset
    view.copy_(a)
    for x, y in zip(minimax.roots(view, 1e-4), expected, strict=True):
        assert torch.equal(x, y)
    for x, y in zip(minimax.roots(view.mT, 1e-4), expected, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-5)
    values = a.new_zeros(a.shape[:-1]).to(DEVICE)
    ones = torch.ones((), device=DEVICE).expand(a.shape)
    for x, y in ((g.to(DEVICE), None), (g.to(DEVICE).mT, None), (ones, ones.contiguous())):
        y = x.contiguous() if y is None else y
        assert torch.equal(*(lyapunov.solve(s, z, values, bar, ends, False) for bar in (x, y)))
    size = SCALINGS["trace"](a).to(DEVICE)
    root, _ = newton_schulz.roots(view, size, 3)
    assert torch.equal(root, newton_schulz.roots(a.to(DEVICE), size, 3)[0])
    found, plain = (newton_schulz.vjp(x, root, ones, size, 3, False) for x in (view, a.to(DEVICE)))
    assert torch.equal(found[0], plain[0])


def test_matrices_more_than_two_to_the_31_apart():
    if DEVICE.type == "cuda" and torch.cuda.mem_get_info()[0] < 2**34:
        pytest.skip("needs 16 GB of GPU memory")
    try:
        far = torch.zeros(2**31 + 16, device=DEVICE) if DEVICE.type == "cuda" else _untouched(2**31 + 16)
    except RuntimeError:
        pytest.skip("needs 8 GB of address space")
    a = random_spd(4, (2,), dtype=F32).to(DEVICE)
    view = far.as_strided((2, 4, 4), (2**31, 4, 1))
    view.copy_(a)
    assert torch.equal(minimax.roots(view, 1e-4)[0], minimax.roots(a, 1e-4)[0])
    rows = far.as_strided((1, 4, 4), (1, 2**31 // 3 + 1, 1))  # within one matrix
    rows.copy_(a[:1])
    assert torch.equal(minimax.roots(rows, 1e-4)[0], minimax.roots(a[:1], 1e-4)[0])


def _untouched(size):
    """Zeros that take memory where they are written to only."""
    storage = torch.UntypedStorage(4 * size)
    return torch.empty(0, dtype=F32).set_(storage, 0, (size,), (1,))


@pytest.mark.parametrize("n", [2, 12, 20])
def test_bad_matrices_leave_their_neighbours_alone(n):
    good = spectra(n, (1.65, 1e2, 8.0, 1e4, 2.0))
    a = good.clone()
    a[1, 0, 1] = torch.nan
    a[3] = torch.triu(torch.ones(n, n), 1) - a[3]  # indefinite besides
    a[4] = -a[4]
    expected, found = (minimax.roots(x.to(DEVICE), 1e-4) for x in (good, a))
    codes = found[3].tolist()
    assert codes == [OK, NON_FINITE, OK, ASYMMETRIC, minimax.UNFINISHED]
    a[1] = torch.inf
    assert minimax.roots(a.to(DEVICE), 1e-4)[3].tolist() == codes
    for x, y in zip(found, expected, strict=True):
        assert torch.equal(x[[0, 2]], y[[0, 2]])
    for x in found[:3]:
        assert x[[1, 3]].isfinite().all()
    assert found[0][4].isnan().all()


def test_extreme_sizes():
    a = spectra(6, (1.65, 8.0, 1e2))
    s = minimax.roots(a.to(DEVICE), 1e-4)[0].cpu()
    for power in (-100, -60, 60, 100):
        scaled = minimax.roots((a * 2.0**power).to(DEVICE), 1e-4)
        assert scaled[3].tolist() == [OK] * 3
        torch.testing.assert_close(scaled[0].cpu() / 2.0 ** (power / 2), s)
        skew = minimax.roots(((a + torch.triu(a)) * 2.0**power).to(DEVICE), 1e-4)
        assert skew[3].tolist() == [ASYMMETRIC] * 3
    zero = minimax.roots(torch.zeros(2, 6, 6, device=DEVICE), 1e-4)
    assert zero[3].tolist() == [minimax.UNFINISHED] * 2


def test_the_public_functions_use_them(launches):
    a = spectra(7, (1.65, 8.0, 1e2, 1e3)).to(DEVICE)
    g = random_symmetric(7, (4,), dtype=F32).to(DEVICE)
    leaf = a.clone().requires_grad_()
    s = sqrtm.sqrtm(leaf, method="minimax")
    (x,) = torch.autograd.grad(s, leaf, g)
    root, inverse, expected = exact(a.cpu(), g.cpu())
    assert launches == ["minimax.roots", "jacobi.rescue", "lyapunov.solve"]
    assert relative(s.cpu(), root) < 2e-6
    assert relative(x.cpu(), expected) < 1e-5
    s, z = sqrtm.sqrtm_pair(a, method="minimax")
    assert relative(z.cpu(), inverse) < 1e-5
    s, info = sqrtm.sqrtm_ex(a, method="minimax")
    assert info.status.tolist() == [0] * 4
    assert (info.steps > 0).all()
    assert launches.count("minimax.roots") == 3


@pytest.mark.parametrize("n", [3])
def test_what_does_not_converge_is_rescued(launches, monkeypatch, n):
    a = spectra(n, (1.65, 1e7, 8.0, 3e4, 2.0, 1.3)).to(DEVICE)
    a[4] = 0
    a[5, 0] = a[5, :, 0] = 0  # singular
    g = random_symmetric(n, (6,), dtype=F32).to(DEVICE)
    leaf = a.clone().requires_grad_()
    s = sqrtm.sqrtm(leaf, method="minimax")
    (x,) = torch.autograd.grad(s, leaf, g)
    assert launches == ["minimax.roots", "jacobi.rescue", "lyapunov.solve"]
    monkeypatch.setattr(kernels, "DEVICES", {})
    on_cpu = a.cpu().clone().requires_grad_()
    expected = sqrtm.sqrtm(on_cpu)
    (y,) = torch.autograd.grad(expected, on_cpu, g.cpu())
    monkeypatch.setattr(kernels, "DEVICES", {DEVICE.type})
    for i in range(6):
        assert (s[i].cpu() - expected[i]).norm() <= 1e-5 * expected[i].norm()
        assert (x[i].cpu() - y[i]).norm() <= (1e-2 if i == 1 else 1e-3 if i == 3 else 1e-5) * y[i].norm()
    s, info = sqrtm.sqrtm_ex(-a, method="minimax")
    assert info.status.tolist() == [3, 3, 3, 3, 0, 3]
    z = sqrtm.invsqrtm(a[5:].detach(), method="minimax", pseudo_inverse=True).cpu()
    assert relative(z, sqrtm.invsqrtm(a[5:].detach().cpu().double(), pseudo_inverse=True)) < 1e-5
    with pytest.raises(torch.linalg.LinAlgError, match="matrix 5 of the batch is singular"):
        sqrtm.invsqrtm(torch.cat([a[:1]] * 5 + [a[5:]]), method="minimax")
    a[2, 1, 1] = torch.nan
    with pytest.raises(torch.linalg.LinAlgError, match="matrix 2 of the batch is not finite"):
        sqrtm.sqrtm(a, method="minimax")
    s, info = sqrtm.sqrtm_ex(a, method="minimax")
    assert info.status.tolist()[2] == NON_FINITE
    assert s[2].isnan().all()
    assert s[[0, 1, 3, 4, 5]].isfinite().all()


def test_derivatives_of_every_order_and_transforms(launches):
    a = random_spd(5, (3,), dtype=F32).to(DEVICE)

    def f(a):
        return sqrtm.sqrtm(a, method="minimax").sin().sum()

    def plain(a):
        return sqrtm.sqrtm(a, method="eigh").sin().sum()

    torch.testing.assert_close(torch.func.grad(f)(a), torch.func.grad(plain)(a), rtol=1e-4, atol=1e-5)
    found, expected = (torch.func.hessian(h)(a[0]) for h in (f, plain))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    found, expected = (torch.func.vmap(torch.func.grad(h))(a) for h in (f, plain))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch._dynamo.reset()
    leaf = a.clone().requires_grad_()
    launches.clear()
    torch.compile(f, fullgraph=True, backend="aot_eager")(leaf).backward()
    assert launches == ["minimax.roots", "jacobi.rescue", "lyapunov.solve"]
    torch.testing.assert_close(leaf.grad, torch.func.grad(plain)(a), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scaling", ["trace", "frobenius", "spectral"])
def test_unrolled_newton_schulz_uses_them(launches, scaling):
    method = sqrtm.NewtonSchulz(steps=4, scaling=scaling)
    a = spectra(6, (1.65, 1e2, 1e4)).to(DEVICE)

    def f(a, dtype=F32):
        s, z = sqrtm.sqrtm_pair(a.to(dtype), method=method, gradient="unrolled")
        return (s.sin() + (0.01 * z).cos()).sum()

    found, expected = (torch.autograd.grad(f(leaf := a.clone().requires_grad_(), t), leaf)[0] for t in (F32, F64))
    assert launches == ["newton_schulz.roots", "newton_schulz.vjp", "newton_schulz.vjp"]
    assert relative(found.cpu(), expected.cpu()) < 1e-5
    torch._dynamo.reset()
    launches.clear()
    leaf = a.clone().requires_grad_()
    torch.compile(f, fullgraph=True, backend="aot_eager")(leaf).backward()
    assert launches == ["newton_schulz.roots", "newton_schulz.vjp", "newton_schulz.vjp"]
    torch.testing.assert_close(leaf.grad, found, rtol=1e-5, atol=1e-6)
    leaf = a[:2].clone().requires_grad_()
    (first,) = torch.autograd.grad(f(leaf), leaf, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), leaf)
    double = a[:2].double().requires_grad_()
    (first,) = torch.autograd.grad(f(double, F64), double, create_graph=True)
    (expected,) = torch.autograd.grad(first.square().sum(), double)
    assert relative(second.cpu(), expected.cpu()) < 1e-4


def test_many_cotangents_at_once(launches):
    method = sqrtm.NewtonSchulz(steps=3, scaling="trace")
    for kwargs in ({"method": method, "gradient": "unrolled"}, {"method": "minimax"}):
        leaf = random_spd(4, (2,), dtype=F32).to(DEVICE).requires_grad_()
        s = sqrtm.sqrtm(leaf, **kwargs)
        g = torch.randn(3, *s.shape, device=DEVICE)
        expected = torch.stack([torch.autograd.grad(s, leaf, x, retain_graph=True)[0] for x in g])
        (found,) = torch.autograd.grad(s, leaf, g, retain_graph=True, is_grads_batched=True)
        torch.testing.assert_close(found, expected)
        found = torch.func.vmap(lambda x, s=s, leaf=leaf: torch.autograd.grad(s, leaf, x, retain_graph=True)[0])(g)
        torch.testing.assert_close(found, expected)


def test_negative_views(launches):
    # Of which torch keeps the sign as a flag, where a kernel does not look.
    a = random_spd(5, (3,), dtype=F32).to(DEVICE)
    negative = torch.complex(torch.zeros_like(a), -a).conj().imag
    assert negative.is_neg()
    g = torch.complex(torch.zeros_like(a), -random_symmetric(5, (3,), dtype=F32).to(DEVICE)).conj().imag
    method = sqrtm.NewtonSchulz(steps=3)
    for kwargs in ({"method": method, "gradient": "unrolled"}, {"method": "minimax"}):
        results = []
        for x, y in ((negative, g), (a, g.resolve_neg())):
            leaf = x.detach().requires_grad_()
            s = sqrtm.sqrtm(leaf, **kwargs)
            results.append((s.detach(), *torch.autograd.grad(s, leaf, y)))
        assert torch.equal(results[0][0], results[1][0])
        assert torch.equal(results[0][1].resolve_neg(), results[1][1])


@pytest.mark.parametrize("n", [2, 3, 8])
def test_what_is_worse_than_eigh_is_done_by_eigenvalues(n):
    logs = torch.linspace(-1, 0, n, dtype=F64)
    graded, tiny = 1.9e4**logs, torch.ones(n, dtype=F64)
    tiny[0] = 1 / 1.01e4
    a = with_spectrum(torch.stack([graded, tiny]), dtype=F32)
    assert minimax.roots(a.to(DEVICE), 1e-4)[3].tolist() == [minimax.UNFINISHED] * 2
    harder = spectra(n, (1.3e4, 1.6e4, 2e4, 2.5e4, 3.2e4, 4e4, 5e4))  # the iteration itself goes on to convergence
    assert relative(minimax.roots(harder.to(DEVICE), 1e-4)[0].cpu(), exact(harder)[0]) < 2e-5
    moderate = with_spectrum(torch.stack([9.5e3**logs, tiny.clamp(min=1.1e-4)]), dtype=F32)
    assert minimax.roots(moderate.to(DEVICE), 1e-4)[3].tolist() == [OK] * 2


def test_a_masked_loss(launches):
    a = spectra(6, (1.65, 8.0, 3.0, 1e2)).to(DEVICE)
    a[1, 0, 0] = torch.nan
    a[2] = torch.triu(torch.ones_like(a[2]), 1) - a[2]
    a[3] = -a[3]
    leaf = a.requires_grad_()
    s, info = sqrtm.sqrtm_ex(leaf, method="minimax")
    ok = (info.status == 0)[:, None, None]
    torch.where(ok, s, 0.0).sum().backward()
    assert info.status.tolist() == [OK, NON_FINITE, ASYMMETRIC, INDEFINITE]
    assert leaf.grad[0].isfinite().all()
    assert (leaf.grad[1:] == 0).all()


def test_nothing_waits_for_the_device(launches):
    """No value is brought to the host by the `_ex` forms and their gradients."""

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if function.overloadpacket in (torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero):
                waits.append(str(function))
            return function(*args, **(kwargs or {}))

    a = spectra(6, (1.65, 1e2, 8.0)).to(DEVICE)
    a[1] = 0
    for function in (sqrtm.sqrtm_ex, sqrtm.sqrtm_pair_ex):
        waits = []
        with Watch():
            leaf = a.clone().requires_grad_()
            s, *_ = function(leaf, method="minimax")
            s[0].sum().backward()
        assert launches[-1] == "lyapunov.solve"
        # The certificate of a CPU looks at values; on a GPU it does not.
        assert waits == [] if DEVICE.type == "cuda" else len(waits) <= 2, waits


def test_no_orthogonal_matrix_is_special(launches):
    q = orthogonal(20, seed=3)
    a = (q * torch.linspace(1, 2, 20, dtype=F64)) @ q.mT
    s = sqrtm.sqrtm(a.float().to(DEVICE), method="minimax").cpu()
    assert relative(q.mT @ s.double() @ q, torch.diag(torch.linspace(1, 2, 20, dtype=F64).sqrt())) < 1e-6


@pytest.mark.parametrize(
    ("a", "reason"),
    [
        (torch.eye(3, device="meta"), "kernels are for CUDA, not meta"),
        (torch.eye(3).double().to(DEVICE), "kernels are for float32, not float64"),
        (torch.eye(65).to(DEVICE), "kernels are for n from 1 to 64, not 65"),
        (torch.eye(0).to(DEVICE), "kernels are for n from 1 to 64, not 0"),
    ],
)
def test_supported_tells_why_not(launches, a, reason):
    assert kernels.supported(a) == (False, reason)
    assert not kernels.supported(a)
    assert kernels.supported(torch.eye(3).to(DEVICE))
