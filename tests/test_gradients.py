"""The derivatives of A^{1/2} and A^{-1/2}, and the Lyapunov equation behind them."""

import pytest
import torch
from matrices import (
    APPROXIMATE,
    EXACT,
    IMPLICIT,
    NOT_UNROLLED,
    experiment_reference,
    options,
    pairs,
    random_spd,
    random_symmetric,
    reference_experiment,
    relative,
    with_spectrum,
)
from torch.autograd import gradcheck, gradgradcheck

import sqrtm
from sqrtm.compare.measure import peak_bytes

F32, F64 = torch.float32, torch.float64
EXACT_PAIRS = [*pairs(EXACT), *((name, "unrolled") for name in APPROXIMATE)]
"""Pairs whose gradient is that of the result."""

MATRICES = {
    "random": random_spd(4, (2,)),
    "identity": torch.eye(4, dtype=F64),
    "ties": with_spectrum([1.0, 1.0, 1.0, 3.0]),
}
EXACT_CASES = [(m, g, kind) for m, g in EXACT_PAIRS for kind in MATRICES if g != "matrix-backprop" or kind == "random"]
"""matrix-backprop is wrong at ties, which a test of its own holds."""


@pytest.mark.parametrize(("method", "gradient"), pairs(EXACT))
@pytest.mark.parametrize(("dtype", "steps", "tolerance"), [(F32, 10, 5e-6), (F64, 20, 1e-11)])
def test_gradient_of_the_reference_experiment(method, gradient, dtype, steps, tolerance):
    a, g = reference_experiment(dtype=dtype)
    a.requires_grad_()
    s = sqrtm.sqrtm(a, **options(method, gradient, steps))
    (x,) = torch.autograd.grad(s, a, g)
    if gradient == "matrix-backprop":
        tolerance *= 100  # loses digits where eigenvalues are close, as documented
    assert experiment_reference(dtype)[1].error(x).max() <= tolerance


@pytest.mark.parametrize(("method", "gradient", "kind"), EXACT_CASES)
def test_gradcheck(method, gradient, kind):
    a = MATRICES[kind].clone().requires_grad_()
    kwargs = options(method, gradient, 20)
    for function in (sqrtm.sqrtm, sqrtm.invsqrtm, sqrtm.sqrtm_pair):
        assert gradcheck(lambda a, f=function: f((a + a.mT) / 2, **kwargs), a)


@pytest.mark.parametrize(("method", "gradient", "kind"), EXACT_CASES)
def test_second_derivatives_and_forward_mode(method, gradient, kind):
    a = MATRICES[kind].clone().requires_grad_()
    kwargs = options(method, gradient, 20)

    def pair(a):
        return sqrtm.sqrtm_pair((a + a.mT) / 2, **kwargs)

    assert gradgradcheck(pair, a)
    assert gradcheck(pair, a, check_forward_ad=True, check_backward_ad=False)


def test_third_derivative():
    # d³√x/dx³ = (3/8) x^{-5/2}
    x = torch.tensor([[4.0]], dtype=F64, requires_grad=True)
    d = sqrtm.sqrtm(x)
    for _ in range(3):
        (d,) = torch.autograd.grad(d.sum(), x, create_graph=True)
    torch.testing.assert_close(d.detach(), torch.tensor([[3 / 8 / 32]], dtype=F64))


@pytest.mark.parametrize("name", EXACT)
def test_matrix_backprop_at_ties_is_finite_and_wrong(name):
    a = torch.eye(4, dtype=F64, requires_grad=True)
    g = random_symmetric(4)
    grads = [
        torch.autograd.grad(sqrtm.sqrtm(a, **options(name, rule, 20)), a, g)[0]
        for rule in ("matrix-backprop", "lyapunov-eigh")
    ]
    torch.testing.assert_close(grads[1], g / 2)
    assert grads[0].isfinite().all()
    torch.testing.assert_close(grads[0].diagonal(), g.diagonal() / 2)
    assert relative(grads[0], g / 2) > 0.1


@pytest.mark.parametrize("name", APPROXIMATE)
@pytest.mark.parametrize("gradient", IMPLICIT)
def test_implicit_gradients_of_approximations_are_near_the_exact_gradient(name, gradient):
    a = with_spectrum([[0.9, 1.0, 1.1, 1.2]]).requires_grad_()
    g = random_symmetric(4, (1,))
    (x,) = torch.autograd.grad(sqrtm.sqrtm(a, method=name, gradient=gradient), a, g)
    (exact,) = torch.autograd.grad(sqrtm.sqrtm(a), a, g)
    assert 0 < relative(x, exact) < 1e-2


@pytest.mark.parametrize("name", NOT_UNROLLED)
def test_unrolled_is_refused_where_there_are_no_steps(name):
    with pytest.raises(ValueError, match="matrix-backprop"):
        sqrtm.sqrtm(torch.eye(2), method=name, gradient="unrolled")


def test_unrolled_is_the_derivative_of_what_was_computed():
    # Two steps are far from converged: the implicit gradient is then another.
    a = random_spd(4).requires_grad_()
    method = sqrtm.NewtonSchulz(steps=2, scaling="trace")
    assert gradcheck(lambda a: sqrtm.sqrtm((a + a.mT) / 2, method=method, gradient="unrolled"), a)
    assert not gradcheck(lambda a: sqrtm.sqrtm((a + a.mT) / 2, method=method), a, raise_exception=False)


def test_gradient_through_a_rank_deficient_product():
    # At A = BBᵀ, d tr(C √A) has the finite gradient 2XB, where X is the pseudo-inverse solution; from the SVD of B.
    b = torch.randn(6, 2, dtype=F64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    c = random_symmetric(6)
    (c * sqrtm.sqrtm(b @ b.mT)).sum().backward()
    with torch.no_grad():
        u, s, _ = torch.linalg.svd(b, full_matrices=True)
        roots = torch.cat([s, torch.zeros(4, dtype=F64)])
        sums = roots[:, None] + roots
        x = u @ torch.where(sums > 0, (u.mT @ c @ u) / sums, 0.0) @ u.mT
        expected = 2 * x @ b
    torch.testing.assert_close(b.grad, expected, rtol=1e-6, atol=1e-7)


def test_second_derivative_at_a_singular_matrix_is_not_a_wrong_number():
    b = torch.tensor([[3.0], [4.0]], dtype=F64)
    functions = [lambda b: sqrtm.sqrtm(b @ b.mT)[0, 0], lambda b: sqrtm.sqrtm(b @ b.mT, method="newton-schulz")[0, 0]]
    for f in functions:
        torch.testing.assert_close(torch.func.grad(f)(b), torch.tensor([[0.984], [-0.288]], dtype=F64))
        assert torch.func.hessian(f)(b).isnan().all()
        assert torch.func.jacrev(torch.func.jacrev(f))(b).isnan().all()
    definite = torch.stack([b @ b.mT, torch.eye(2, dtype=F64)]).requires_grad_()
    (x,) = torch.autograd.grad(sqrtm.sqrtm(definite).sin().sum(), definite, create_graph=True)
    (second,) = torch.autograd.grad(x.square().sum(), definite)
    assert second[0].isnan().all()
    assert second[1].isfinite().all()  # its neighbour is none the worse
    (x,) = torch.autograd.grad(sqrtm.sqrtm(definite).sin().sum(), definite, create_graph=True)
    (second,) = torch.autograd.grad(x[1].square().sum(), definite)
    assert not second[0].any()  # masked out of the loss
    assert second[1].isfinite().all()


def test_rtol_decides_what_counts_as_zero():
    a = torch.diag(torch.tensor([1.0, 1e-4, 1e-4], dtype=F64)).requires_grad_()
    g = torch.ones(3, 3, dtype=F64)
    (kept,) = torch.autograd.grad(sqrtm.sqrtm(a, gradient=sqrtm.LyapunovEigh()), a, g)
    (dropped,) = torch.autograd.grad(sqrtm.sqrtm(a, gradient=sqrtm.LyapunovEigh(rtol=1e-3)), a, g)
    torch.testing.assert_close(kept[1:, 1:], torch.full((2, 2), 50.0, dtype=F64))
    assert not dropped[1:, 1:].any()
    torch.testing.assert_close(kept[0], dropped[0])


@pytest.mark.parametrize(("method", "gradient"), EXACT_PAIRS)
def test_asymmetric_cotangent_gives_a_symmetric_gradient(method, gradient):
    a = random_spd(5).requires_grad_()
    s = sqrtm.sqrtm(a, **options(method, gradient, 20))
    (x,) = torch.autograd.grad(s[0, 3], a)
    torch.testing.assert_close(x, x.mT, rtol=0, atol=1e-13)
    g = torch.zeros(5, 5, dtype=F64)
    g[0, 3] = g[3, 0] = 0.5
    exact = sqrtm.solve_lyapunov(sqrtm.sqrtm(a.detach()), g)
    if method in EXACT:
        torch.testing.assert_close(x, exact, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("scaling", ["trace", "frobenius", "spectral"])
def test_unrolled_newton_schulz_of_a_zero_matrix(scaling):
    a = torch.stack([torch.eye(3, dtype=F64), torch.zeros(3, 3, dtype=F64)]).requires_grad_()
    method = sqrtm.NewtonSchulz(steps=4, scaling=scaling)
    (x,) = torch.autograd.grad(sqrtm.sqrtm(a, method=method, gradient="unrolled").sum(), a)
    assert x[0].abs().sum() > 0
    assert (x[1] == 0).all()


@pytest.mark.parametrize("scaling", ["trace", "frobenius", "spectral"])
@pytest.mark.parametrize("steps", [1, 3])
def test_unrolled_newton_schulz_is_the_derivative_of_the_steps(scaling, steps):
    method = sqrtm.NewtonSchulz(steps=steps, scaling=scaling)  # far from convergence
    a = with_spectrum(50.0 ** torch.linspace(-1, 0, 5, dtype=F64)).repeat(2, 1, 1)

    def by_rule(a):
        return sqrtm.sqrtm_pair(a, method=method, gradient="unrolled")

    def by_autograd(a):
        return method.roots((a + a.mT) / 2)[:2]

    results = []
    for function, graph in ((by_rule, False), (by_rule, True), (by_autograd, True)):
        leaf = a.clone().requires_grad_()
        s, z = function(leaf)
        (first,) = torch.autograd.grad(s.sin().sum() + z.cos().sum(), leaf, create_graph=graph)
        results.append((first.detach(), *(torch.autograd.grad(first.square().sum(), leaf) if graph else ())))
    for found in results[:2]:
        torch.testing.assert_close(found[0], results[2][0], rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(results[1][1], results[2][1], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_second_derivative_of_the_spectral_scaling_at_a_multiple_of_the_identity(n, dtype):
    method = sqrtm.NewtonSchulz(steps=9, scaling="spectral")
    weights = torch.arange(1.0, n * n + 1, dtype=dtype).view(n, n)

    def second(function, a):
        a = a.requires_grad_()
        (x,) = torch.autograd.grad((function(a) * weights).sum(), a, create_graph=True)
        return torch.autograd.grad((x * weights).sum(), a)[0]

    a = 2 * torch.eye(n, dtype=dtype)
    found = second(lambda a: sqrtm.sqrtm(a, method=method, gradient="unrolled"), a)
    torch.testing.assert_close(found, second(sqrtm.sqrtm, a), rtol=1e-3, atol=1e-4)  # of the exact root


@pytest.mark.parametrize("rule", ["lyapunov-eigh", "lyapunov-newton-schulz", "matrix-backprop", "unrolled"])
def test_memory_of_gradients_of_newton_schulz_does_not_grow_with_the_steps(rule):
    few, many = (_total_peak(steps, rule) for steps in (5, 20))
    assert few == many


@pytest.mark.parametrize("name", ["denman-beavers", "product-denman-beavers"])
def test_memory_of_unrolled_gradients_grows_with_the_steps(name):
    few, many = (_total_peak(steps, "unrolled", name) for steps in (5, 20))
    assert many > 2.5 * few


def _total_peak(steps, gradient, name="newton-schulz"):
    a, g = reference_experiment(batch=4, pts=100)
    a.requires_grad_()
    kwargs = options(name, gradient, steps)
    return peak_bytes(lambda: torch.autograd.grad(sqrtm.sqrtm(a, **kwargs), a, g), a.device)


SOLVERS = [
    ("eigh", "auto"),
    ("eigh", "lyapunov-eigh"),
    ("eigh", "lyapunov-newton-schulz"),
    ("eigh", "matrix-backprop"),
    ("eigh", "lyapunov-chebyshev"),
    ("minimax", "auto"),
    ("newton-schulz", "auto"),
    ("newton-schulz", "lyapunov-eigh"),
    ("newton-schulz", "unrolled"),
]


@pytest.mark.parametrize(("method", "gradient"), SOLVERS)
def test_solve_lyapunov(method, gradient):
    s = random_spd(4, (2,)).requires_grad_()
    g = torch.randn(3, 1, 4, 4, dtype=F64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    kwargs = options(method, gradient, 20)

    def solve(s, g):
        return sqrtm.solve_lyapunov((s + s.mT) / 2, g, **kwargs)

    x = solve(s, g)
    assert x.shape == (3, 2, 4, 4)
    torch.testing.assert_close(s @ x + x @ s, g.expand_as(x), rtol=1e-12, atol=1e-13)
    assert gradcheck(solve, (s, g))
    assert gradgradcheck(solve, (s, g))
    assert gradcheck(solve, (s, g), check_forward_ad=True, check_backward_ad=False)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_solve_lyapunov_of_extreme_size_and_condition(size):
    s = with_spectrum([1.0, 1e-2, 1e-4]).mul(size).to(F32)
    g = random_symmetric(3, dtype=F32)
    x = sqrtm.solve_lyapunov(s, g)
    s, x = s.double() / size, x.double() * size
    assert relative(s @ x + x @ s, g) < 1e-3  # κ(S)·eps
    assert (torch.linalg.matrix_norm(x) > 10).all()  # the small eigenvalues of S did not count as zero


def test_solve_lyapunov_broadcasts_and_takes_empty_batches():
    x = sqrtm.solve_lyapunov(2 * torch.eye(3), torch.ones(5, 3, 3))
    torch.testing.assert_close(x, torch.full((5, 3, 3), 0.25))
    assert sqrtm.solve_lyapunov(torch.eye(3), torch.ones(0, 3, 3)).shape == (0, 3, 3)
    assert sqrtm.solve_lyapunov(torch.zeros(2, 0, 0), torch.ones(0, 0)).shape == (2, 0, 0)


@pytest.mark.parametrize(("dtype", "condition"), [(torch.float32, 3e5), (F64, 1e12)])
@pytest.mark.parametrize("compiled", [False, True])
def test_no_eigenvalue_counts_as_zero_in_solve_lyapunov(dtype, condition, compiled):
    s = with_spectrum(condition ** torch.linspace(-1, 0, 17, dtype=F64), dtype=dtype)
    g = torch.randn(17, 17, dtype=dtype, generator=torch.Generator().manual_seed(0))

    def solve(s, g):
        return sqrtm.solve_lyapunov(s, g, method="minimax")

    torch._dynamo.reset()
    x = (torch.compile(solve, backend="aot_eager") if compiled else solve)(s, g).double()
    assert (s.double() @ x + x @ s.double() - g).norm() < 20 * torch.finfo(dtype).eps * s.norm() * x.norm()
