"""Layers: what they compute, their gradients where naive code gives NaN, and how they behave as modules."""

import copy
import pickle

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

import sqrtm
from sqrtm.compare.measure import peak_bytes
from sqrtm.gradients import _covariance_root
from sqrtm.nn import BilinearPooling, CovariancePooling, Whitening

SHAPES = {"more positions": (2, 4, 3, 3), "fewer positions": (2, 5, 1, 3), "one position": (2, 3, 1, 1)}


@pytest.fixture(params=["by eigenvalues", "by steps"])
def way(request, monkeypatch):
    """Both ways to compute five steps, whatever the size."""
    monkeypatch.setattr(_covariance_root, "WORTHWHILE", 1 if request.param == "by eigenvalues" else 10**9)
    return request.param


def features(*shape, dtype=torch.float64, seed=0):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def five_steps(x, steps=5, centered=True):
    """The plain iteration, for autograd."""
    x = x.flatten(2)
    if centered:
        x = x - x.mean(-1, keepdim=True)
    a = x @ x.mT / x.shape[-1]
    size = a.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None]
    y, z, eye = a / size, torch.eye(a.shape[-1], dtype=a.dtype).expand_as(a), torch.eye(a.shape[-1], dtype=a.dtype)
    for _ in range(steps):
        t = (3 * eye - z @ y) / 2
        y, z = y @ t, t @ z
    return y * size.sqrt()


def distance(x, y):
    return float((x.double() - y).norm() / y.norm())


@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("steps", [1, 3, 5, 12])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-13)])
def test_it_is_the_iteration_and_its_derivative(way, dtype, tolerance, steps, centered):
    x = features(3, 20, 6, 5).relu().to(dtype).requires_grad_()
    g = features(3, 20, 20, seed=1).to(dtype)
    s = CovariancePooling(sqrtm.NewtonSchulz(steps, "trace"), "unrolled", centered=centered)(x)
    exact = x.detach().double().requires_grad_()
    truth = five_steps(exact, steps, centered)
    assert s.dtype == dtype
    assert distance(s.detach(), truth.detach()) < tolerance
    (gradient,) = torch.autograd.grad(s, x, g)
    assert distance(gradient, torch.autograd.grad(truth, exact, g.double())[0]) < tolerance


def test_which_way_is_taken(monkeypatch):
    taken = []
    apply = _covariance_root.CovarianceRoot.apply
    monkeypatch.setattr(_covariance_root.CovarianceRoot, "apply", lambda *args: taken.append(1) or apply(*args))
    few, many = features(2, 51, 3, 3).float(), features(2, 52, 3, 3).float()
    pool = CovariancePooling()
    pool(few)
    assert not taken
    pool(many)
    assert len(taken) == 1
    for other in (
        CovariancePooling(sqrtm.NewtonSchulz(5, "frobenius")),
        CovariancePooling(gradient="auto"),
        CovariancePooling("auto", "auto"),
    ):
        other(many)
    torch.func.vmap(pool)(many[None])
    assert len(taken) == 1


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("vectorize", [None, "isometric"])
def test_gradient_of_covariance_pooling(way, shape, vectorize):
    x = features(*shape).requires_grad_()
    pool = CovariancePooling(vectorize=vectorize)
    assert gradcheck(pool, (x,), check_batched_grad=True)
    assert gradgradcheck(pool, (x,), atol=1e-4)


def test_gradient_with_dead_channels(way):
    x = features(2, 5, 4, 4)
    x[:, 1] = 0
    x[1, 3] = 7  # constant, so that its covariance is 0
    x[1, 4] = x[1, 0]  # and a repeated one
    assert gradcheck(CovariancePooling(), (x.requires_grad_(),))
    dead = torch.zeros_like(x).requires_grad_()
    for pool in (CovariancePooling(), CovariancePooling("auto", "auto")):
        assert torch.autograd.grad(pool(x).sum(), x)[0].isfinite().all()
        s = pool(dead)
        assert (s == 0).all()
        assert torch.autograd.grad(s.sum(), dead)[0].eq(0).all()
    # The exact root has a derivative where the rank stays what it is.
    channels = torch.tensor([True, False, True, True, True])[:, None, None]
    constant = torch.tensor([0.0, 0.0, 0.0, 7.0, 0.0], dtype=torch.float64)[:, None, None]
    exact = CovariancePooling("auto", "auto")
    y = features(2, 5, 4, 4, seed=1).requires_grad_()
    assert gradcheck(lambda y: exact(torch.where(channels & (constant == 0), y, constant)), (y,), eps=1e-4, atol=1e-3)


def test_gradient_at_repeated_eigenvalues(way):
    x = torch.eye(4, dtype=torch.float64)[None].repeat(2, 1, 3).reshape(2, 4, 3, 4).requires_grad_()
    for pool in (CovariancePooling(centered=False), CovariancePooling("auto", "auto", centered=False)):
        assert gradcheck(pool, (x,))
        assert gradgradcheck(pool, (x,), atol=1e-4)


def test_size_of_features_does_not_matter(way):
    x = features(2, 6, 4, 4, dtype=torch.float32)
    g = features(2, 6, 6, dtype=torch.float32, seed=1)
    for pool in (CovariancePooling(), CovariancePooling("auto", "auto")):
        one = x.clone().requires_grad_()
        s = pool(one)
        (gradient,) = torch.autograd.grad(s, one, g)
        for factor in (2.0**-100, 2.0**100):
            scaled = (x * factor).requires_grad_()
            found = pool(scaled)
            torch.testing.assert_close(found / factor, s, rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(torch.autograd.grad(found, scaled, g)[0], gradient, rtol=1e-4, atol=1e-5)
    for layer in (BilinearPooling(), BilinearPooling(matrix_sqrt=False, signed_sqrt=False)):
        one = x.clone().requires_grad_()
        y = layer(one)
        (gradient,) = torch.autograd.grad(y.sum(), one)
        for factor in (2.0**-100, 2.0**100):
            scaled = (x * factor).requires_grad_()
            torch.testing.assert_close(layer(scaled), y, rtol=1e-5, atol=1e-6)
            (found,) = torch.autograd.grad(layer(scaled).sum(), scaled)
            torch.testing.assert_close(found * factor, gradient, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("layer", [CovariancePooling(), CovariancePooling("auto", "auto"), BilinearPooling()])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_bad_sample_is_alone(way, layer, bad):
    x = features(3, 5, 3, 3)
    replaced = x.clone()
    replaced[1] = 0
    x[1, 2, 1, 1] = bad
    x.requires_grad_()
    replaced.requires_grad_()
    y, truth = layer(x), layer(replaced)
    assert y[1].isnan().all()
    g = features(*y.shape, seed=1)
    (gradient,) = torch.autograd.grad(torch.where(y.isnan(), 0.0, y), x, g)
    (expected,) = torch.autograd.grad(truth, replaced, g)
    for i in (0, 2):
        torch.testing.assert_close(y[i], truth[i])
        torch.testing.assert_close(gradient[i], expected[i])
    assert (gradient[1] == 0).all()


def test_shapes_and_triangles():
    x = features(2, 3, 4, 5)
    s = CovariancePooling("auto", "auto")(x)
    torch.testing.assert_close(s @ s, torch.stack([torch.cov(y.flatten(1), correction=0) for y in x]))
    tokens = x.flatten(2).mT
    torch.testing.assert_close(CovariancePooling("auto", "auto")(tokens), s)
    torch.testing.assert_close(CovariancePooling("auto", "auto")(x.to(memory_format=torch.channels_last)), s)
    row = CovariancePooling("auto", "auto", vectorize="triangle")(x)
    assert row.shape == (2, 6)
    torch.testing.assert_close(row, torch.stack([s[:, i, j] for i in range(3) for j in range(i, 3)], -1))
    isometric = CovariancePooling("auto", "auto", vectorize="isometric")(x)
    torch.testing.assert_close(isometric @ isometric.mT, s.flatten(1) @ s.flatten(1).mT)


def test_nothing_to_pool():
    for layer in (CovariancePooling(), BilinearPooling()):
        y = layer(torch.zeros(0, 60, 3, 3, requires_grad=True))
        assert y.shape[0] == 0
        y.sum().backward()
        with pytest.raises(ValueError, match="a position"):
            layer(torch.zeros(2, 4, 0, 3))
    assert Whitening(6, 2).eval()(torch.zeros(0, 6, 3, 3)).shape == (0, 6, 3, 3)
    assert CovariancePooling()(torch.zeros(0, 4, 3)).shape == (0, 3, 3)


@pytest.mark.parametrize("layer", [CovariancePooling(), BilinearPooling(), Whitening(4)])
def test_wrong_features(layer):
    for wrong in (torch.ones(2, 4, 3, 3, dtype=torch.int64), torch.ones(2, 4, 3, 3, dtype=torch.complex64), [1.0]):
        with pytest.raises(TypeError, match="real floating-point"):
            layer(wrong)
    with pytest.raises(ValueError, match="features must be"):
        layer(torch.ones(4))


def test_wrong_arguments():
    with pytest.raises(ValueError, match="vectorize"):
        CovariancePooling(vectorize=True)
    with pytest.raises(ValueError, match="unknown method"):
        CovariancePooling("newton")
    with pytest.raises(ValueError, match="unrolled"):
        CovariancePooling("eigh", "unrolled")
    assert CovariancePooling("auto").gradient == sqrtm.Auto()
    assert CovariancePooling(sqrtm.NewtonSchulz(3)).gradient == sqrtm.Unrolled()
    with pytest.raises(ValueError, match="unrolled"):
        BilinearPooling(gradient="unrolled")
    with pytest.raises(ValueError, match="groups"):
        Whitening(6, groups=4)
    with pytest.raises(ValueError, match="eps"):
        Whitening(6, eps=float("nan"))
    with pytest.raises(ValueError, match="more than 1 value"):
        Whitening(6)(torch.ones(1, 6))


def layers():
    return [
        CovariancePooling(),
        CovariancePooling("auto", "auto", vectorize="triangle"),
        BilinearPooling(),
        Whitening(6, 2),
    ]


@pytest.mark.parametrize("layer", layers(), ids=repr)
def test_as_modules(way, layer):
    x = features(4, 6, 3, 3, dtype=torch.float32)
    fresh = copy.deepcopy(layer)
    expected = fresh(x=x)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(x), expected)
    other = copy.deepcopy(layer)
    other.load_state_dict(fresh.state_dict())
    assert torch.equal(other.eval()(x), fresh.eval()(x))
    assert eval(repr(layer), {**vars(sqrtm), **vars(sqrtm.nn)}).extra_repr() == layer.extra_repr()


@pytest.mark.parametrize("layer", layers(), ids=repr)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast(way, layer, dtype):
    x = features(4, 6, 3, 3, dtype=torch.float32)
    half = x.to(dtype).requires_grad_()
    y = copy.deepcopy(layer)(half)
    assert y.dtype == dtype
    torch.testing.assert_close(y, copy.deepcopy(layer)(half.float()).to(dtype))
    y.sum().backward()
    assert half.grad.isfinite().all()
    x.requires_grad_()
    outside = copy.deepcopy(layer)(x)
    with torch.autocast("cpu", dtype=dtype):
        inside = copy.deepcopy(layer)(x)
    assert torch.equal(inside, outside)
    gradients = [torch.autograd.grad(y.square().sum(), x)[0] for y in (inside, outside)]
    assert torch.equal(*gradients)


@pytest.mark.parametrize("layer", layers(), ids=repr)
def test_compile_and_vmap(layer):
    torch._dynamo.reset()
    x = features(4, 6, 3, 3).requires_grad_()
    compiled = torch.compile(copy.deepcopy(layer), fullgraph=True, backend="aot_eager")
    y, expected = compiled(x), copy.deepcopy(layer)(x)
    torch.testing.assert_close(y, expected)
    g = features(*y.shape, seed=1)
    torch.testing.assert_close(torch.autograd.grad(y, x, g), torch.autograd.grad(expected, x, g))
    still = copy.deepcopy(layer).eval()
    tangent = features(*x.shape, seed=2)
    _, forward = torch.func.jvp(still, (x.detach(),), (tangent,))
    (backward,) = torch.autograd.grad(still(x), x, g)
    torch.testing.assert_close((forward * g).sum(), (tangent * backward).sum())
    torch.testing.assert_close(torch.func.vmap(still)(x.detach()[None])[0], still(x))
    batch = ({0: torch.export.Dim("batch")},)
    exported = torch.export.export(still, (x.detach(),), dynamic_shapes=batch).module()
    for part in (x, x[:3]):
        torch.testing.assert_close(exported(part), still(part))
    torch._dynamo.reset()
    torch.testing.assert_close(torch.compile(still, fullgraph=True, backend="eager")(x), still(x))
    if not isinstance(layer, Whitening):
        torch.testing.assert_close(torch.func.vmap(layer)(x.detach()[:, None])[:, 0], expected)
        per_sample = torch.func.vmap(torch.func.grad(lambda x: layer(x[None]).square().sum()))(x.detach())
        torch.testing.assert_close(per_sample, torch.autograd.grad(layer(x).square().sum(), x)[0])


def test_memory_of_covariance_pooling():
    x = features(32, 256, 14, 14, dtype=torch.float32).requires_grad_()
    ours, plain = (
        peak_bytes(lambda f=f: torch.autograd.grad(f(x).sum(), x), x.device) for f in (CovariancePooling(), five_steps)
    )
    assert ours <= plain / 4


@pytest.mark.parametrize("matrix_sqrt", [True, False])
@pytest.mark.parametrize("signed_sqrt", [True, False])
@pytest.mark.parametrize("normalize", [True, False])
def test_bilinear_pooling(matrix_sqrt, signed_sqrt, normalize):
    layer = BilinearPooling(matrix_sqrt=matrix_sqrt, signed_sqrt=signed_sqrt, normalize=normalize)
    x = features(2, 4, 3, 3)
    flat = x.flatten(2)
    expected = flat @ flat.mT / 9
    if matrix_sqrt:
        expected = sqrtm.sqrtm(expected)
    expected = expected.flatten(1)
    if signed_sqrt:
        expected = expected.sign() * expected.abs().sqrt()
    if normalize:
        expected = expected / expected.norm(dim=1, keepdim=True)
    torch.testing.assert_close(layer(x), expected)
    assert gradcheck(layer, (x.requires_grad_(),))
    fewer = features(2, 4, 1, 2).requires_grad_()
    assert gradcheck(layer, (fewer,), eps=1e-4, atol=1e-3)  # the root rounds to √eps on the null space


def test_bilinear_pooling_of_dead_channels():
    x = features(2, 4, 3, 3)
    x[:, 2] = 0
    x[1] = 0
    x.requires_grad_()
    y = BilinearPooling()(x)
    assert y.isfinite().all()
    assert (y[1] == 0).all()
    assert torch.autograd.grad(y.sum(), x)[0].isfinite().all()


@pytest.mark.parametrize("method", ["auto", sqrtm.NewtonSchulz(5, "trace")])
def test_bilinear_pooling_of_sparse_features(method):
    """Rounding where the root is zero must not be taken a square root of: its derivative would be of any size."""
    x = (features(8, 32, 4, 4, dtype=torch.float32) - 1).relu().requires_grad_()
    layer = BilinearPooling(method, "auto" if method == "auto" else "unrolled")
    y = layer(x)
    assert (y == 0).any()
    assert torch.autograd.grad(y, x, features(*y.shape, dtype=torch.float32, seed=1))[0].abs().max() < 1e4


def moments(y, groups=1):
    columns = y.transpose(0, 1).reshape(groups, -1, y.numel() // y.shape[1])
    mean = columns.mean(-1, keepdim=True)
    return mean, (columns - mean) @ (columns - mean).mT / columns.shape[-1]


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("shape", [(40, 6), (10, 6, 7), (8, 6, 3, 3)])
def test_whitening_whitens(groups, shape):
    x = features(*shape)
    x = x + 0.5 * x.roll(1, 1) + 3
    mean, cov = moments(Whitening(6, groups, eps=0, dtype=torch.float64)(x), groups)
    torch.testing.assert_close(mean, torch.zeros_like(mean))
    torch.testing.assert_close(cov, torch.eye(6 // groups, dtype=torch.float64).expand_as(cov))


def test_whitening_of_single_channels_is_batch_normalisation():
    ours, theirs = Whitening(6, groups=6).double(), torch.nn.BatchNorm2d(6).double()
    for seed in range(3):
        x = features(8, 6, 3, 3, seed=seed) * 2 + 1
        torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_cov.flatten(), theirs.running_var)
    assert ours.num_batches_tracked == theirs.num_batches_tracked == 3
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_running_statistics():
    x = [features(20, 4, seed=seed) for seed in range(3)]
    layer = Whitening(4, momentum=None, dtype=torch.float64)
    for part in x:
        layer(part)
    torch.testing.assert_close(layer.running_mean, torch.stack(x).mean((0, 1)))
    torch.testing.assert_close(layer.running_cov[0], torch.stack([torch.cov(part.T) for part in x]).mean(0))
    before = copy.deepcopy(layer.state_dict())
    one = layer.eval()(x[0][:1])
    torch.testing.assert_close(one, layer(x[0])[:1])  # does not depend on the batch
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    layer.reset_parameters()
    torch.testing.assert_close(layer(x[0]), x[0] / (1 + 1e-5) ** 0.5)
    none = Whitening(4, track_running_stats=False, affine=False).eval()
    assert not none.state_dict()
    torch.testing.assert_close(none(x[0]), Whitening(4, affine=False)(x[0]))
    assert Whitening(4)(features(2, 4, 3, 3)).is_contiguous()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(7, 4), (2, 4, 3, 2)])
def test_gradient_of_whitening(training, shape):
    layer = Whitening(4, 2, eps=1e-3, momentum=0.0, dtype=torch.float64).train(training)
    x = features(*shape).requires_grad_()
    assert gradcheck(layer, (x,))
    assert gradgradcheck(layer, (x,), atol=1e-4)


def test_whitening_of_fewer_values_than_channels():
    x = features(3, 6)
    layer = Whitening(6, momentum=0.0, dtype=torch.float64)
    assert gradcheck(layer, (x.clone().requires_grad_(),), atol=1e-4)
    same = x[:1].repeat(3, 1).float().requires_grad_()
    y = Whitening(6)(same * 1e4)  # eps is below rounding there
    assert y.isfinite().all()
    assert torch.autograd.grad(y.sum(), same)[0].isfinite().all()


def test_iterative_normalisation():
    x = features(200, 6).float()
    x = x + 0.3 * x.roll(1, 1)
    exact = Whitening(6)(x).detach()
    steps = [Whitening(6, method=sqrtm.NewtonSchulz(k, "trace"), gradient="unrolled")(x).detach() for k in (5, 12)]
    errors = [float((y - exact).norm() / exact.norm()) for y in steps]
    assert 1e-4 < errors[0] < 0.2
    assert errors[1] < 1e-5
