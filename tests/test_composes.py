"""Composing with the rest of PyTorch: export, checkpoint, threads, pickle, fake tensors, flags, nested transforms."""

import copy
import pickle
import threading

import pytest
import torch
from matrices import pairs, random_spd, random_symmetric
from torch._subclasses import FakeTensorMode
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap
from torch.utils.checkpoint import checkpoint

import sqrtm

PAIRS = [("auto", "auto"), ("eigh", "lyapunov-eigh"), ("newton-schulz", "unrolled"), ("minimax", "lyapunov-chebyshev")]
by_pair = pytest.mark.parametrize(("method", "gradient"), PAIRS)
FUNCTIONS = [sqrtm.sqrtm, sqrtm.invsqrtm, sqrtm.sqrtm_pair, sqrtm.sqrtm_ex, sqrtm.invsqrtm_ex, sqrtm.sqrtm_pair_ex]


class Root(torch.nn.Module):
    def __init__(self, function=sqrtm.sqrtm, **kwargs):
        super().__init__()
        self.function, self.kwargs = function, kwargs
        self.scale = torch.nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, a):
        return self.function(a * self.scale, **self.kwargs)


@by_pair
def test_export(method, gradient):
    a = random_spd(5, (3,))
    with torch.no_grad():
        program = torch.export.export(Root(method=method, gradient=gradient), (a,))
    b = random_spd(5, (3,), seed=1)
    torch.testing.assert_close(program.module()(b), sqrtm.sqrtm(b, method=method))
    with pytest.raises(torch.linalg.LinAlgError, match="matrix 0 of the batch is not positive"):
        program.module()(-b)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_export_of_any_batch(function):
    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(Root(function), (random_spd(5, (3,)),), dynamic_shapes=({0: batch},))
    for size in (2, 7):
        a = random_spd(5, (size,), seed=size)
        torch.testing.assert_close(program.module()(a), function(a))


@by_pair
def test_compile_of_any_shape_with_gradient(method, gradient):
    def loss(a):
        return sqrtm.sqrtm(a, method=method, gradient=gradient).sin().sum()

    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager", dynamic=True)
    for n, batch in ((4, 3), (4, 5), (7, 5)):
        leaf, other = (random_spd(n, (batch,)).requires_grad_() for _ in range(2))
        torch.testing.assert_close(
            torch.autograd.grad(compiled(leaf), leaf), torch.autograd.grad(loss(other), other), rtol=1e-9, atol=1e-10
        )
    torch._dynamo.reset()
    compiled = torch.compile(vmap(loss), fullgraph=True, backend="aot_eager", dynamic=True)
    torch.testing.assert_close(compiled(leaf.detach()), vmap(loss)(other.detach()))


@pytest.mark.parametrize("function", FUNCTIONS[3:])
def test_compile_of_verdicts_with_gradient(function):
    torch._dynamo.reset()
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager", dynamic=True)
    for size in (3, 5):
        leaf, other = (random_spd(6, (size,)).requires_grad_() for _ in range(2))
        (*roots, info), (*expected, same) = compiled(leaf), function(other)
        torch.testing.assert_close(roots, expected)
        assert torch.equal(info.converged, same.converged)
        torch.testing.assert_close(
            torch.autograd.grad(sum(x.sin().sum() for x in roots), leaf),
            torch.autograd.grad(sum(x.sin().sum() for x in expected), other),
        )


@by_pair
@pytest.mark.parametrize("use_reentrant", [True, False])
def test_checkpoint(method, gradient, use_reentrant):
    def loss(a):
        return sqrtm.sqrtm(a, method=method, gradient=gradient).sin().sum()

    leaf, other = (random_spd(6, (3,)).requires_grad_() for _ in range(2))
    checkpoint(loss, leaf, use_reentrant=use_reentrant).backward()
    loss(other).backward()
    assert torch.equal(leaf.grad, other.grad)


@by_pair
def test_threads(method, gradient):
    # As DataParallel does: one thread a replica, each forward and backward, at the same time.
    def work(seed):
        for _ in range(5):
            leaf = random_spd(24, (50,), seed=seed).requires_grad_()
            s = sqrtm.sqrtm(leaf, method=method, gradient=gradient)
            found[seed] = (s.detach(), torch.autograd.grad(s.sin().sum(), leaf)[0])

    found = {}
    for seed in range(4):
        work(seed)
    alone, found = found, {}
    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, results in alone.items():
        torch.testing.assert_close(found[seed], results, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("value", [cls() for table in (sqrtm.METHODS, sqrtm.GRADIENTS) for cls in table.values()])
def test_methods_and_gradients_are_plain_values(value):
    for other in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        assert other == value
        assert hash(other) == hash(value)
        assert repr(other) == repr(value)


def test_verdicts_are_plain_tuples():
    _, info = sqrtm.sqrtm_ex(random_spd(3, (2,)))
    again = pickle.loads(pickle.dumps(copy.deepcopy(info)))
    torch.testing.assert_close(tuple(again), tuple(info))
    assert again._fields == info._fields


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("method", ["auto", "minimax", "eigh", "svd", "newton-schulz", "denman-beavers", "pade"])
def test_fake_and_meta_tensors_have_the_shapes_of_real_ones(function, method):
    real = random_spd(5, (2, 3), dtype=torch.float32)

    def described(a):
        found = function(a, method=method)
        leaves = torch.utils._pytree.tree_leaves(found)
        return [(x.shape, x.dtype) for x in leaves]

    expected = described(real)
    assert described(real.to("meta")) == expected
    assert described(real.to("meta").requires_grad_()) == expected
    with FakeTensorMode() as mode:
        assert described(mode.from_tensor(real)) == expected


@by_pair
def test_nested_jacobians(method, gradient):
    def root(a):
        return sqrtm.sqrtm((a + a.mT) / 2, method=method, gradient=gradient)

    def scalar(a):
        return root(a).sin().sum()

    a = random_spd(3)
    full = jacrev(root)(a)
    torch.testing.assert_close(jacfwd(root)(a), full)
    second = jacrev(jacrev(root))(a)
    for outer, inner in ((jacfwd, jacrev), (jacrev, jacfwd)):
        torch.testing.assert_close(outer(inner(root))(a), second)
    if gradient != "unrolled":  # jacrev(hessian(·)) of torch.linalg.matrix_norm alone raises in PyTorch 2.13
        third = jacrev(hessian(scalar))(a)
        torch.testing.assert_close(jacfwd(jacrev(jacrev(scalar)))(a), third)
    batch = random_spd(3, (4,))
    torch.testing.assert_close(vmap(jacrev(root))(batch)[0], jacrev(root)(batch[0]))
    torch.testing.assert_close(vmap(hessian(scalar), in_dims=2)(batch.movedim(0, 2))[3], hessian(scalar)(batch[3]))
    x = random_symmetric(3)
    value, pull = vjp(root, a)
    torch.testing.assert_close(pull(x)[0], torch.einsum("ij,ijkl->kl", x, full))
    torch.testing.assert_close(jvp(root, (a,), (x,)), (value, torch.einsum("ijkl,kl->ij", full, x)))
    # Per-sample gradients through a module, and a function that does not use its batched argument.
    module = Root(method=method, gradient=gradient)
    parameters = dict(module.named_parameters())

    def loss(parameters, a):
        return functional_call(module, parameters, (a,)).sum()

    each = vmap(grad(loss), in_dims=(None, 0))(parameters, batch)["scale"]
    torch.testing.assert_close(each.sum(), grad(loss)(parameters, batch)["scale"])
    unbatched = vmap(lambda y: root(a) + y)(torch.zeros(4, 1, 1))
    torch.testing.assert_close(unbatched, root(a).expand(4, 3, 3))


@pytest.fixture
def flags():
    """PyTorch's global settings, put back at the end."""
    precision, dtype = torch.get_float32_matmul_precision(), torch.get_default_dtype()
    tf32 = torch.backends.cuda.matmul.allow_tf32
    yield
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.set_float32_matmul_precision(precision)
    torch.set_default_dtype(dtype)


def settings():
    return (
        torch.get_float32_matmul_precision(),
        torch.backends.cuda.matmul.allow_tf32,
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_num_threads(),
        torch.is_autocast_enabled("cpu"),
        torch.get_autocast_dtype("cpu"),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_default_device(),
        torch.get_rng_state().sum().item(),
        torch.is_anomaly_enabled(),
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.complex64, torch.float64])
@pytest.mark.parametrize(("method", "gradient"), pairs())
def test_global_settings_neither_matter_nor_change(flags, method, gradient, dtype):
    if dtype.is_complex and gradient == "matrix-backprop":
        pytest.skip("refused: there is none for complex matrices")
    a, g = random_spd(20, (3,)).to(dtype), random_symmetric(20, (3,)).to(dtype)
    a, g = (a + a.mH) / 2, (g + g.mH) / 2

    def results():
        leaf = a.clone().requires_grad_()
        with torch.no_grad():
            alone = sqrtm.sqrtm(a, method=method)
        s, info = sqrtm.sqrtm_ex(leaf, method=method, gradient=gradient)
        return alone, s, torch.autograd.grad(s, leaf, g)[0], *info

    before = settings()
    expected = results()
    assert settings() == before
    torch.set_default_dtype(torch.float64)
    changed = settings()
    found = results()
    assert settings() == changed
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = results() if gradient != "unrolled" else found  # see Unrolled
    for one, other, third in zip(expected, found, inside, strict=True):
        assert one.dtype == other.dtype == third.dtype
        assert torch.equal(one, other)
        assert torch.equal(one, third)


@pytest.mark.parametrize("method", ["auto", "minimax"])
@pytest.mark.parametrize("precision", ["high", "medium"])
def test_precision_of_products_does_not_matter(flags, monkeypatch, method, precision):
    """On a CPU that has products in bfloat16, which few have: they must not be asked for."""
    a, g = random_spd(20, (3,), dtype=torch.float32), random_symmetric(20, (3,), dtype=torch.float32)
    truth = sqrtm.sqrtm(a.double())
    slope = sqrtm.solve_lyapunov(truth, g.double())
    for owner, name in ((torch, "bmm"), (torch.Tensor, "baddbmm_")):
        product = getattr(owner, name)

        def exact(*args, product=product, **kwargs):
            assert args[-1].dtype == torch.float64
            return product(*args, **kwargs)

        monkeypatch.setattr(owner, name, exact)
    torch.set_float32_matmul_precision(precision)
    leaf = a.clone().requires_grad_()
    s = sqrtm.sqrtm(leaf, method=method)
    (gradient,) = torch.autograd.grad(s, leaf, g)
    assert (s.detach() - truth).norm() < 5e-6 * truth.norm()
    assert (gradient - slope).norm() < 3e-5 * slope.norm()


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_a_default_device_does_not_matter(device):
    a = random_spd(5, (3,))
    expected = [function(a) for function in FUNCTIONS], sqrtm.explain(a)
    with torch.device(device):
        found = [function(a) for function in FUNCTIONS], sqrtm.explain(a)
    torch.testing.assert_close(found[0], expected[0], rtol=0, atol=0)
    assert found[1] == expected[1]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_batched_gradcheck(function):
    a = random_spd(3).requires_grad_()

    def roots(a):
        found = function((a + a.mT) / 2)
        return found if isinstance(found, torch.Tensor) else tuple(x for x in found if isinstance(x, torch.Tensor))

    checks = {"check_forward_ad": True, "check_batched_grad": True, "check_batched_forward_grad": True}
    assert torch.autograd.gradcheck(roots, a, **checks)
