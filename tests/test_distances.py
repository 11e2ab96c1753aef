"""Distances between Gaussians: values, digits where they are close, gradients where naive code gives NaN."""

import pytest
import torch
from matrices import orthogonal, random_spd, with_spectrum
from torch.autograd import gradcheck, gradgradcheck

import sqrtm
from sqrtm.distances import bures_wasserstein, frechet, gaussian_barycenter, optimal_transport_map

F64 = torch.float64


def symmetric(x):
    return (x + x.mH) / 2


def distance(a, b):
    return bures_wasserstein(symmetric(a), symmetric(b))


def transport(a, b):
    return optimal_transport_map(symmetric(a), symmetric(b))


def normal(*shape, seed=0, dtype=F64):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def leaves(*tensors):
    return tuple(x.detach().clone().requires_grad_() for x in tensors)


@pytest.mark.parametrize("n", [1, 2, 5, 40])
def test_against_scipy(n):
    linalg = pytest.importorskip("scipy.linalg")
    a, b = random_spd(n, (3,), seed=1), random_spd(n, (3,), seed=2)
    roots = [linalg.sqrtm((x @ y).numpy()).real.trace() for x, y in zip(a, b, strict=True)]
    expected = (a + b).diagonal(dim1=-2, dim2=-1).sum(-1) - 2 * torch.tensor(roots, dtype=F64)
    torch.testing.assert_close(bures_wasserstein(a, b), expected, rtol=1e-10, atol=1e-13)
    mu, nu = normal(3, n), normal(n, seed=1)
    torch.testing.assert_close(frechet(mu, a, nu, b), expected + (mu - nu).square().sum(-1), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("differentiated", [False, True])
@pytest.mark.parametrize("zeros", [0, 3])
def test_of_matrices_that_commute(differentiated, zeros):
    x, y = torch.logspace(0, -8, 6, dtype=F64), torch.logspace(-6, 1, 6, dtype=F64)
    x[:zeros] = 0
    y[6 - zeros :] = 0
    a, b = with_spectrum(x), with_spectrum(y)
    if differentiated:
        a.requires_grad_()
    expected = (x.sqrt() - y.sqrt()).square().sum()
    torch.testing.assert_close(bures_wasserstein(a, b).detach(), expected, rtol=1e-8 if zeros else 1e-12, atol=0)


@pytest.mark.parametrize("differentiated", [False, True])
def test_digits_where_they_are_close(differentiated):
    """d²(A, (1 + e)²A) = e² tr A, of which tr A + tr B − 2 tr(…) has no digit."""
    a = with_spectrum(torch.logspace(0, -12, 9, dtype=F64)).requires_grad_(differentiated)
    for e in (1e-4, 1e-7):
        found = bures_wasserstein(a, a.detach() * (1 + e) ** 2)
        torch.testing.assert_close(found.detach(), e**2 * a.detach().trace(), rtol=1e-6, atol=0)
    assert 0 <= bures_wasserstein(a, a.detach()) < 1e-28


def test_never_negative():
    x = normal(200, 6, 4)
    a = x @ x.mT
    for other in (a, a * (1 + 1e-16), a + 1e-17 * torch.eye(6, dtype=F64)):
        assert (bures_wasserstein(a, other) >= 0).all()
        assert (bures_wasserstein(a.float(), other.float()) >= 0).all()


def test_ways_agree():
    """Values alone, with a gradient, and under vmap, where nothing can be looked at."""
    x = normal(4, 5, 3)
    a = torch.cat([random_spd(5, (4,), seed=1), x @ x.mT])
    b = torch.cat([a[:2] * 1.001, random_spd(5, (4,), seed=2), a[6:] * 1.001])
    alone = bures_wasserstein(a, b)
    torch.testing.assert_close(bures_wasserstein(a.clone().requires_grad_(), b).detach(), alone, rtol=1e-9, atol=1e-13)
    torch.testing.assert_close(torch.func.vmap(bures_wasserstein)(a, b), alone, rtol=1e-9, atol=1e-13)
    together = bures_wasserstein(a[:, None], b)
    assert together.shape == (8, 8)
    torch.testing.assert_close(together.diagonal(), alone)
    torch.testing.assert_close(together[3, 5], bures_wasserstein(a[3], b[5]))


def test_gradients():
    a, b = leaves(random_spd(3, (2,), seed=1), random_spd(3, (1,), seed=2))
    assert gradcheck(distance, (a, b), check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(distance, (a, b))
    assert gradcheck(transport, (a, b), check_forward_ad=True)
    assert gradgradcheck(transport, (a, b))
    mu, nu = leaves(normal(2, 3), normal(3, seed=1))
    assert gradgradcheck(lambda mu: frechet(mu, a.detach(), nu.detach(), b.detach()), leaves(nu))
    assert gradcheck(lambda mu, a, nu, b: frechet(mu, symmetric(a), nu, symmetric(b)), (mu, a, nu, b))


@pytest.mark.parametrize("spectrum", [[1, 2, 3, 4], [1, 1, 1, 1], [1e-3, 1, 1, 1]])
def test_gradients_at_the_same_matrix(spectrum):
    a = with_spectrum(torch.tensor(spectrum, dtype=F64))
    (leaf,) = leaves(a)
    assert gradcheck(lambda x: distance(x, a), (leaf,), atol=1e-5)
    assert gradgradcheck(lambda x: distance(x, a), (leaf,), atol=1e-4)
    (gradient,) = torch.autograd.grad(distance(leaf, a), leaf)
    assert gradient.abs().max() < 1e-12


def test_gradients_at_repeated_eigenvalues():
    a, b = leaves(torch.eye(4, dtype=F64), 2 * torch.eye(4, dtype=F64))
    assert gradcheck(distance, (a, b))
    assert gradgradcheck(distance, (a, b))


@pytest.mark.parametrize("ranks", [(2, 3), (3, 2), (2, 2), (1, 4)])
def test_gradients_at_constant_rank(ranks):
    c, d = leaves(normal(4, ranks[0]), normal(4, ranks[1], seed=1))
    assert gradcheck(lambda c, d: bures_wasserstein(c @ c.mT, d @ d.mT), (c, d), eps=1e-5, atol=1e-5)
    (same,) = leaves(c)
    (gradient,) = torch.autograd.grad(bures_wasserstein(same @ same.mT, (c @ c.mT).detach()).sum(), same)
    assert gradient.abs().max() < 1e-12


def test_singular_matrices_are_finite():
    zero, rank_one = torch.zeros(3, 3), torch.zeros(3, 3)
    rank_one[0, 0] = 4
    other = torch.diag(torch.tensor([0.0, 9.0, 0.0]))
    pairs = [(zero, zero, 0), (zero, torch.eye(3), 3), (rank_one, other, 13), (rank_one, rank_one, 0)]
    for a, b, expected in pairs:
        a, b = leaves(a, b)
        found = bures_wasserstein(a, b)
        torch.testing.assert_close(found.detach(), torch.tensor(float(expected)))
        assert all(x.isfinite().all() for x in torch.autograd.grad(found, (a, b)))
        assert optimal_transport_map(a, b).isfinite().all()


def test_second_derivatives_at_singular_matrices_are_nan():
    c = normal(4, 2)
    a, b = leaves(c @ c.T, random_spd(4))
    for one, other in ((a, b), (b, a)):
        (gradient,) = torch.autograd.grad(bures_wasserstein(one, other), one, create_graph=True)
        assert gradient.isfinite().all()
        assert torch.autograd.grad(gradient.square().sum(), one)[0].isnan().all()
        assert torch.autograd.grad(optimal_transport_map(one, other).sum(), one)[0].isnan().all()


def test_float32_covariances_of_few_samples():
    """Eigenvalues that are rounding are not taken for directions to move things in."""
    x = normal(10, 30, 12, dtype=torch.float32)
    a = (x @ x.mT / 12).requires_grad_()
    b = normal(10, 30, 40, seed=1, dtype=torch.float32)
    b = b @ b.mT / 40
    (gradient,) = torch.autograd.grad(bures_wasserstein(a, b).sum(), a)
    (exact,) = leaves(x.double())
    truth = torch.autograd.grad(bures_wasserstein(exact @ exact.mT / 12, b.double()).sum(), exact)[0]
    found = 2 * gradient.double() @ x.double() / 12
    assert (found - truth).norm() < 1e-3 * truth.norm()  # √eps, of what the rounding of A adds to its rank


def test_float32_covariances_that_rounding_made_indefinite():
    x = normal(4, 20, 8, dtype=torch.float32)
    a, b = (x @ x.mT / 8).requires_grad_(), random_spd(20, dtype=torch.float32)
    assert torch.linalg.eigvalsh(a.detach().double()).min() < -1e-9
    for differentiable in (
        lambda: gaussian_barycenter(torch.stack([a, b.expand_as(a)], 1)),
        lambda: bures_wasserstein(a, b),
    ):
        assert torch.autograd.grad(differentiable().sum(), a)[0].isfinite().all()
    assert torch.autograd.grad(optimal_transport_map(b, a).sum(), a)[0].isnan().all()  # and nothing is raised


def test_transport_map():
    a, b = random_spd(6, (3,), seed=1), random_spd(6, (3,), seed=2)
    t = optimal_transport_map(a, b)
    torch.testing.assert_close(t @ a @ t, b)
    assert torch.equal(t, t.mT)
    assert (torch.linalg.eigvalsh(t) > 0).all()
    torch.testing.assert_close(optimal_transport_map(b, a) @ t, torch.eye(6, dtype=F64).expand(3, 6, 6))
    hard = with_spectrum(torch.logspace(0, -12, 8, dtype=F64))
    torch.testing.assert_close(optimal_transport_map(hard, hard), torch.eye(8, dtype=F64), rtol=0, atol=1e-12)
    low, lower = normal(6, 3), normal(6, 2, seed=1)
    low, lower = low @ low.T, lower @ lower.T
    t = optimal_transport_map(b, low)
    torch.testing.assert_close(t @ b @ t, low.expand(3, 6, 6))
    t = optimal_transport_map(low, lower)  # more could not be transported than there is
    torch.testing.assert_close(t @ low @ t, lower)
    null = torch.eye(6, dtype=F64) - low @ torch.linalg.pinv(low, rtol=1e-10)
    assert (null @ t @ null).abs().max() < 1e-10


@pytest.mark.parametrize(
    ("dtype", "size"), [(torch.float32, 1e30), (torch.float32, 1e-30), (F64, 1e200), (F64, 1e-200)]
)
def test_any_size(dtype, size):
    a, b = random_spd(4, seed=1, dtype=dtype), random_spd(4, seed=2, dtype=dtype)
    (big,) = leaves(a * size)
    found = bures_wasserstein(big, b * size)
    torch.testing.assert_close(found.detach() / size, bures_wasserstein(a, b), rtol=1e-5, atol=0)
    torch.testing.assert_close(bures_wasserstein(a * size, b * size), found.detach(), rtol=1e-5, atol=0)
    (one,) = leaves(a)
    expected = torch.autograd.grad(bures_wasserstein(one, b), one)[0]
    torch.testing.assert_close(torch.autograd.grad(found, big)[0], expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_precision_in_is_precision_out(dtype):
    x = normal(3, 8, 4)
    a, b = (x @ x.mT).to(dtype), random_spd(8, seed=1).to(dtype)
    expected = bures_wasserstein(sqrtm.sqrtm(a).double() @ sqrtm.sqrtm(a).double(), b.double())
    found = bures_wasserstein(a, b)
    assert found.dtype == optimal_transport_map(a, b).dtype == dtype
    torch.testing.assert_close(found.double(), expected, rtol=20 * torch.finfo(dtype).eps, atol=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(bures_wasserstein(a, b), found)


def test_complex():
    z = normal(2, 5, 9, dtype=torch.complex128)
    a, b = z @ z.mH / 9
    s = sqrtm.sqrtm(a)
    expected = (a.trace() + b.trace() - 2 * sqrtm.sqrtm(s @ b @ s).trace()).real
    torch.testing.assert_close(bures_wasserstein(a, b), expected)
    t = optimal_transport_map(a, b)
    torch.testing.assert_close(t @ a @ t, b)
    mu = normal(5, dtype=torch.complex128)
    torch.testing.assert_close(frechet(mu, a, 0 * mu, b), expected + mu.abs().square().sum())
    assert gradcheck(lambda a: distance(a, b), leaves(a))


@pytest.mark.parametrize("function", [bures_wasserstein, optimal_transport_map])
def test_transforms(function):
    torch._dynamo.reset()
    a, b = leaves(random_spd(4, (3,), seed=1), random_spd(4, (3,), seed=2))

    def f(a, b):
        return function(symmetric(a), symmetric(b)).square().sum((-2, -1) if function is optimal_transport_map else ())

    expected, gradient = f(a, b).sum(), torch.autograd.grad(f(a, b).sum(), a)[0]
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(lambda a, b: f(a, b).sum()))(a, b), gradient)
    compiled = torch.compile(f, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(a, b).sum(), expected)
    torch.testing.assert_close(torch.autograd.grad(compiled(a, b).sum(), a)[0], gradient)
    bad = torch.stack([a[0].detach(), -a[0].detach(), a[0].detach()])
    message = rf"{function.__name__}\(A\): matrix 1 of the batch is not positive"
    with pytest.raises(torch.linalg.LinAlgError, match=message):
        compiled(bad, b)
    hessian = torch.func.hessian(lambda a: f(a, b[0]).sum())(a[0])
    direction = normal(4, 4)
    _, twice = torch.autograd.functional.vhp(lambda a: f(a, b[0]).sum(), a[0].detach(), direction)
    torch.testing.assert_close((hessian.detach() * direction[:, :, None, None]).sum((0, 1)), twice)


def test_what_is_refused():
    a, b = torch.eye(3), torch.eye(3).repeat(4, 1, 1)
    for function in (bures_wasserstein, optimal_transport_map):
        name = function.__name__
        with pytest.raises(TypeError, match=f"{name}: B must be a torch.Tensor"):
            function(a, [1.0])
        with pytest.raises(TypeError, match="floating-point"):
            function(a, torch.eye(3, dtype=torch.int64))
        with pytest.raises(TypeError, match="agree in dtype"):
            function(a, b.double())
        for shape in ((3, 4), (4, 4), (3,)):
            with pytest.raises(ValueError, match=r"shape|match"):
                function(a, torch.ones(shape))
        bad = b.clone()
        bad[2, 1, 1] = torch.nan
        with pytest.raises(torch.linalg.LinAlgError, match=rf"{name}\(B\): matrix 2 of the batch is not finite"):
            function(a, bad)
        bad[2, 1, 1] = -1
        with pytest.raises(torch.linalg.LinAlgError, match=rf"{name}\(B\): matrix 2 .* -0\.577·‖B‖_F"):
            function(a, bad)
        with pytest.raises(torch.linalg.LinAlgError, match=rf"{name}\(A\): the matrix is not symmetric"):
            function(torch.ones(3, 3).triu(), b)
    with pytest.raises(TypeError, match="mu2 must be"):
        frechet(torch.ones(3), a, torch.ones(3).double(), a)
    with pytest.raises(ValueError, match="mu1"):
        frechet(torch.ones(4), a, torch.ones(3), a)
    with pytest.raises(ValueError, match="broadcast"):
        frechet(torch.ones(5, 3), a, torch.ones(3), b)


def test_nothing():
    assert bures_wasserstein(torch.zeros(0, 3, 3), torch.eye(3)).shape == (0,)
    assert bures_wasserstein(torch.zeros(2, 0, 0), torch.zeros(0, 0)).tolist() == [0, 0]
    assert frechet(torch.zeros(0, 3), torch.eye(3), torch.zeros(3), torch.eye(3)).shape == (0,)
    assert optimal_transport_map(torch.zeros(0, 3, 3), torch.eye(3)).shape == (0, 3, 3)


def test_barycenter_of_matrices_that_commute():
    q, spectra = orthogonal(5), torch.rand(4, 5, dtype=F64) + 0.1
    a = symmetric((q * spectra[:, None, :]) @ q.mT)
    w = torch.tensor([1.0, 2.0, 3.0, 4.0])
    root = (w.double()[:, None] * spectra.sqrt()).sum(0) / 10
    torch.testing.assert_close(gaussian_barycenter(a, w), (q * root.square()) @ q.mT)
    torch.testing.assert_close(gaussian_barycenter(a[:1]), a[0])


@pytest.mark.parametrize("n", [2, 8, 30])
def test_barycenter_is_the_minimum(n):
    a = with_spectrum(torch.logspace(0, -4, n, dtype=F64).repeat(5, 1)[:, torch.randperm(n)], seed=3)
    w = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.0], dtype=F64)
    (s,) = leaves(gaussian_barycenter(a, w))
    (gradient,) = torch.autograd.grad((w * bures_wasserstein(s, a)).sum(), s)
    assert gradient.norm() < 1e-8 * n**0.5
    batch = gaussian_barycenter(torch.stack([a, a.flip(0)]), torch.stack([w, w.flip(0)]))
    torch.testing.assert_close(batch, s.detach().expand(2, n, n), rtol=1e-8, atol=1e-10)
    assert gaussian_barycenter(a.float(), w.float()).dtype == torch.float32


def test_gradient_of_the_barycenter():
    a, w = leaves(random_spd(3, (2, 3)), torch.tensor([1.0, 2.0, 0.5], dtype=F64))
    assert gradcheck(lambda a, w: gaussian_barycenter(symmetric(a), w), (a, w))
    same = leaves(torch.eye(3, dtype=F64).repeat(2, 1, 1))
    assert gradcheck(lambda a: gaussian_barycenter(symmetric(a)), same)


@pytest.mark.parametrize("exponent", [1, 4, 8])
def test_gradient_of_the_barycenter_of_ill_conditioned_matrices(exponent):
    """⟨C, S⟩ is homogeneous in the matrices, of degree 1; CG must not stop short of its gradient."""
    spectrum = torch.logspace(0, -exponent, 10, dtype=F64)
    a = torch.stack([with_spectrum(spectrum.roll(3 * i), seed=i) for i in range(3)]).repeat(2, 1, 1, 1)
    (a,) = leaves(a)
    c = symmetric(normal(10, 10))
    value = (c * gaussian_barycenter(a)).sum()
    (gradient,) = torch.autograd.grad(value, a)
    torch.testing.assert_close((gradient * a).sum().detach(), value.detach(), rtol=1e-7, atol=0)


def test_what_the_barycenter_refuses():
    a = with_spectrum(torch.logspace(0, -6, 4, dtype=F64).repeat(3, 1), seed=1)
    with pytest.raises(torch.linalg.LinAlgError, match="after 1 steps"):
        gaussian_barycenter(a, max_steps=1)
    easy = torch.eye(4, dtype=F64).expand(3, 4, 4)
    with pytest.raises(torch.linalg.LinAlgError, match=r"of barycentre \[?1\]? is .* after 1 steps"):
        gaussian_barycenter(torch.stack([easy, a]), max_steps=1)
    with pytest.raises(TypeError, match="real numbers"):
        gaussian_barycenter(a, torch.ones(3, dtype=torch.complex64))
    for weights in (torch.zeros(3), torch.tensor([1.0, -1.0, 1.0]), torch.tensor([1.0, torch.nan, 1.0])):
        with pytest.raises(ValueError, match="weights must be"):
            gaussian_barycenter(a, weights)
    with pytest.raises(ValueError, match="do not match"):
        gaussian_barycenter(a, torch.ones(2))
    with pytest.raises(TypeError, match="weights must be a tensor"):
        gaussian_barycenter(a, [1, 2, 3])
    with pytest.raises(ValueError, match="must be positive"):
        gaussian_barycenter(a, max_steps=0)
    with pytest.raises(ValueError, match=r"\(\.\.\., N, n, n\)"):
        gaussian_barycenter(a[0])
    with pytest.raises(torch.linalg.LinAlgError, match="matrix 1 of the batch is not positive"):
        gaussian_barycenter(torch.stack([a[0], -a[1], a[2]]))
