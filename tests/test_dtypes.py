"""Half precision and complex Hermitian matrices: roots, gradients, verdicts and errors."""

import pytest
import torch
from matrices import pairs, random_spd, relative, with_spectrum, with_steps
from torch.linalg import LinAlgError

import sqrtm
from sqrtm._scratch import forget
from sqrtm.methods._chebyshev import chebyshev

F64, C64, C128 = torch.float64, torch.complex64, torch.complex128
HALF = [torch.float16, torch.bfloat16]


def hermitian(n, batch=(), seed=0, dtype=C128):
    """Definite, condition number about 10."""
    generator = torch.Generator().manual_seed(seed)
    q = torch.linalg.qr(torch.randn(*batch, n, n, dtype=C128, generator=generator)).Q
    values = 0.3 + 3 * torch.rand(*batch, n, dtype=F64, generator=generator)
    a = (q * values[..., None, :]) @ q.mH
    return ((a + a.mH) / 2).to(dtype)


def exact_gradient(a, g):
    """Of Re⟨G, A^{1/2}⟩, in the eigenbasis."""
    values, q = torch.linalg.eigh(a)
    s = values.sqrt()
    g = (g + g.mH) / 2
    return q @ ((q.mH @ g @ q) / (s[..., :, None] + s[..., None, :])) @ q.mH


@pytest.mark.parametrize("n", [1, 2, 3, 5, 33])
@pytest.mark.parametrize("dtype", [C64, C128])
def test_roots_of_hermitian_matrices(n, dtype):
    eps = torch.finfo(dtype).eps
    a = hermitian(n, (4, 3), dtype=dtype)
    s, z = sqrtm.sqrtm_pair(a)
    assert s.dtype == z.dtype == dtype
    assert s.shape == a.shape
    assert relative(s @ s, a) < 20 * eps
    assert relative(s @ z, torch.eye(n, dtype=dtype).expand_as(a)) < 100 * eps
    torch.testing.assert_close(s, s.mH, rtol=0, atol=4 * eps)
    assert (torch.linalg.eigvalsh(s) > 0).all()
    torch.testing.assert_close(sqrtm.invsqrtm(a), z)
    real = a.real + n * torch.eye(n)
    assert relative(sqrtm.sqrtm(real.to(dtype)), sqrtm.sqrtm(real)) < 20 * eps


@pytest.mark.parametrize(("method", "gradient"), [p for p in pairs() if p[0] not in ("taylor", "pade")])
def test_gradients_of_hermitian_matrices(method, gradient):
    a = hermitian(4, (2,)).requires_grad_()
    g = torch.randn(a.shape, dtype=C128, generator=torch.Generator().manual_seed(1))
    chosen = with_steps(method, sqrtm.METHODS, 20), with_steps(gradient, sqrtm.GRADIENTS, 20)
    if gradient == "matrix-backprop":
        with pytest.raises(ValueError, match=r"matrix-backprop .* complex .* 'lyapunov-eigh'"):
            sqrtm.sqrtm(a, method=chosen[0], gradient=chosen[1])
        return
    s = sqrtm.sqrtm(a, method=chosen[0], gradient=chosen[1])
    (x,) = torch.autograd.grad(s, a, g)
    assert relative(x, exact_gradient(a.detach(), g)) < 1e-9


def test_derivatives_of_every_order_of_hermitian_matrices():
    def roots(x):
        return sqrtm.sqrtm_pair((x + x.mH) / 2)

    a = hermitian(3, (2,)).requires_grad_()
    assert torch.autograd.gradcheck(roots, a, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(roots, a)
    g = torch.randn(a.shape, dtype=C128, generator=torch.Generator().manual_seed(1)).requires_grad_()
    s = roots(a)[0].detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda s, g: sqrtm.solve_lyapunov((s + s.mH) / 2, g), (s, g))
    x = sqrtm.solve_lyapunov(s, g)
    torch.testing.assert_close(s @ x + x @ s, g)


def test_what_complex_errors_say():
    a = hermitian(3, (4,))
    skew, infinite, indefinite = a.clone(), a.clone(), a.clone()
    skew[1, 0, 1] += 1j
    infinite[2, 0, 1] = complex(1, float("inf"))
    indefinite[3] = -torch.eye(3)
    singular = torch.ones(2, 2, dtype=C128)
    for bad, says in (
        (skew, r"matrix 1 of the batch is not Hermitian: ‖A − Aᴴ‖_F .* in complex128.* \(A \+ A.mH\) / 2"),
        (infinite, r"matrix 2 of the batch is not finite: 1 of its 9 entries, the first \(1\+infj\) at \(0, 1\)"),
        (indefinite, r"matrix 3 of the batch is not positive semidefinite: its smallest eigenvalue is -0.577·‖A‖_F"),
    ):
        for method in ("auto", "newton-schulz"):
            with pytest.raises(LinAlgError, match=f"^sqrtm: {says}"):
                sqrtm.sqrtm(bad, method=method)
    with pytest.raises(LinAlgError, match="singular"):
        sqrtm.invsqrtm(singular)
    large = torch.eye(2, dtype=C64) * 3e38
    large[1, 0] = float("nan")
    with pytest.raises(LinAlgError, match=r"1 of its 4 entries, the first \(nan\+0j\) at \(1, 0\)"):
        sqrtm.sqrtm(large)
    assert "4 matrices 3 × 3, complex128, cpu, as real ones 6 × 6" in sqrtm.explain(a)
    with pytest.raises(ValueError, match="matrix-backprop"):
        sqrtm.solve_lyapunov(a, a, gradient="matrix-backprop")


@pytest.mark.parametrize("dtype", HALF)
def test_half_precision_in_and_out(dtype):
    eps = torch.finfo(dtype).eps
    a = random_spd(12, (5,), dtype=dtype).requires_grad_()
    g = random_spd(12, (5,), seed=1, dtype=dtype)
    exact = a.detach().double().requires_grad_()
    s, z = sqrtm.sqrtm_pair(a)
    expected = sqrtm.sqrtm_pair(exact)
    assert s.dtype == z.dtype == dtype
    for one, other in zip((s, z), expected, strict=True):
        assert relative(one.double(), other.detach()) < eps
    (x,) = torch.autograd.grad(s, a, g, retain_graph=True)
    assert x.dtype == dtype
    assert relative(x.double(), torch.autograd.grad(expected[0], exact, g.double())[0]) < eps
    torch.testing.assert_close(sqrtm.solve_lyapunov(s, g), x, rtol=8 * eps, atol=8 * eps)


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("method", ["auto", "minimax"])
def test_rounding_to_half_is_no_error(dtype, method):
    eps = torch.finfo(dtype).eps
    x = torch.randn(20, 3, 48, generator=torch.Generator().manual_seed(0))
    a = (x.mT @ x).to(dtype).requires_grad_()  # of rank 3, with negative eigenvalues of rounding
    assert (torch.linalg.eigvalsh(a.detach().float())[:, 0] < -torch.finfo(torch.float32).eps * 200).all()
    s = sqrtm.sqrtm(a, method=method)
    assert relative(s.float() @ s.float(), a.float()) < 2 * eps
    g = torch.autograd.grad(s, a, torch.eye(48, dtype=dtype).expand_as(a))[0].float()
    # S⁺/2, of the matrix before it was rounded: noise in the null space is not inverted.
    assert relative(g, torch.linalg.pinv(sqrtm.sqrtm(x.double().mT @ x.double()), rtol=1e-3, hermitian=True) / 2) < 0.05
    _, info = sqrtm.sqrtm_ex(a.detach(), method=method)
    assert (info.status != 3).all()
    for slightly in (a.detach(), torch.diag(torch.tensor([1, -3 * eps])).to(dtype)):
        with pytest.raises(LinAlgError, match=f"rounding in float32.*method='auto' forgives .* {str(dtype)[6:]}"):
            sqrtm.sqrtm(slightly, method="newton-schulz")  # would diverge
        sqrtm.sqrtm(slightly, method=method)
    with pytest.raises(LinAlgError, match=f"not positive semidefinite.* rounding in {str(dtype)[6:]}"):
        sqrtm.sqrtm(torch.diag(torch.tensor([1, -5 * eps])).to(dtype), method=method)


@pytest.mark.parametrize("dtype", HALF)
def test_asymmetry_of_half_precision(dtype):
    for factor, accepted in ((3, True), (6, False)):  # ‖A − Aᵀ‖_F/‖A‖_F is as much
        a = torch.eye(2, dtype=dtype)
        a[0, 1] = factor * torch.finfo(dtype).eps
        if accepted:
            sqrtm.sqrtm(a)
            sqrtm.sqrtm(a, method="eigh")
            continue
        for name in ("auto", "eigh"):
            with pytest.raises(LinAlgError, match=f"not symmetric.* in {str(dtype)[6:]}"):
                sqrtm.sqrtm(a, method=name)


@pytest.mark.parametrize("dtype", [*HALF, torch.float32, F64, C64, C128])
def test_verdicts_in_every_dtype(dtype):
    a = torch.eye(3).repeat(2, 4, 1, 1).to(dtype) * 4
    a[0, 1] = -a[0, 1]
    a[1, 2, 0, 0] = float("nan")
    a[1, 3, 0, 1] = 2
    a.requires_grad_()
    for function in (sqrtm.sqrtm_ex, sqrtm.invsqrtm_ex):
        root, info = function(a)
        assert root.dtype == dtype
        assert info.status.tolist() == [[0, 3, 0, 0], [0, 0, 1, 2]]
        ok = info.status == 0
        assert info.converged.equal(ok)
        steps = function(a, method="newton-schulz")[1].steps
        assert (steps[ok] == 10).all()
        assert not steps[~ok].any()
        assert root[~ok].isnan().all()
        (x,) = torch.autograd.grad(torch.where(ok[..., None, None], root, 0).abs().sum(), a)
        assert x.isfinite().all()
        assert not x[~ok].any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, F64, C128])
@pytest.mark.parametrize("method", ["auto", "newton-schulz"])
def test_verdicts_under_transforms(dtype, method):
    a = hermitian(3, (2, 4)).real.to(dtype) if not dtype.is_complex else hermitian(3, (2, 4))
    a[1, 2] = -a[1, 2]

    def both(x):
        s, z, info = sqrtm.sqrtm_pair_ex(x, method=method)
        return s, z, *info

    expected = both(a)
    compiled = torch.compile(both, fullgraph=True, backend="aot_eager", dynamic=False)
    for found in (torch.vmap(torch.vmap(both))(a), torch.vmap(both, in_dims=1, out_dims=1)(a), compiled(a)):
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, equal_nan=True)
    with pytest.raises(NotImplementedError, match="explain"):
        torch.vmap(sqrtm.explain)(a)


@pytest.mark.parametrize("dtype", [torch.float16, C64])
def test_dtypes_under_transforms(dtype):
    a = hermitian(3, (4,), dtype=dtype) if dtype.is_complex else random_spd(3, (4,), dtype=dtype)

    def loss(x):
        return sqrtm.sqrtm(x).abs().square().sum()

    expected = torch.stack([torch.func.grad(loss)(x) for x in a])
    torch.testing.assert_close(torch.vmap(torch.func.grad(loss))(a), expected)
    compiled = torch.compile(lambda x: sqrtm.sqrtm(x), fullgraph=True, backend="aot_eager", dynamic=False)
    torch.testing.assert_close(compiled(a), sqrtm.sqrtm(a))
    leaf = a.clone().requires_grad_()
    (x,) = torch.autograd.grad(compiled(leaf).abs().square().sum(), leaf)
    torch.testing.assert_close(x, expected)


@pytest.mark.parametrize("method", ["auto", "newton-schulz"])
def test_roots_with_verdicts_have_the_derivatives_of_those_without(method):
    a, da = random_spd(3, (2,)).requires_grad_(), random_spd(3, (2,), seed=1)

    def roots(x):
        return sqrtm.sqrtm_pair_ex(x, method=method)[:2]

    found, expected = (
        torch.func.jvp(f, (a.detach(),), (da,)) for f in (roots, lambda x: sqrtm.sqrtm_pair(x, method=method))
    )
    torch.testing.assert_close(found, expected)
    assert torch.autograd.gradgradcheck(lambda x: roots((x + x.mT) / 2), a)
    torch.testing.assert_close(
        torch.func.hessian(lambda x: sqrtm.invsqrtm_ex(x, method=method)[0].sum())(a.detach()),
        torch.func.hessian(lambda x: sqrtm.invsqrtm(x, method=method).sum())(a.detach()),
    )


def test_names_are_checked_where_there_is_no_matrix():
    for function in (sqrtm.sqrtm_ex, sqrtm.sqrtm):
        with pytest.raises(ValueError, match="unknown method 'nope'"):
            function(torch.empty(0, 3, 3), method="nope")


@pytest.mark.parametrize(
    "gradient", ["lyapunov-eigh", "lyapunov-newton-schulz", "lyapunov-chebyshev", "matrix-backprop"]
)
def test_rules_solve_for_the_symmetric_part(gradient):
    rule = sqrtm.GRADIENTS[gradient]()
    s, z = rule.roots(sqrtm.Minimax(), random_spd(6, (3,)), True)
    assert relative(s @ z, torch.eye(6, dtype=F64).expand_as(s)) < 1e-12
    g = torch.randn(3, 6, 6, dtype=F64, generator=torch.Generator().manual_seed(0))
    x = rule.solve(s, g, rule.factors(s), True)
    assert relative(s @ x + x @ s, (g + g.mT) / 2) < 1e-9


@pytest.mark.parametrize("terms", [2, 3, 4, 5, 9])
def test_chebyshev_of_every_number_of_terms(terms):
    s = with_spectrum(torch.linspace(1, 1.2, 5, dtype=F64)).repeat(2, 1, 1)
    g = torch.randn(2, 5, 5, dtype=F64, generator=torch.Generator().manual_seed(0))
    c = 1.005  # (√1.2 + 1/√1.2)/2 is 1.0042
    r = (c**0.5 - 1) / (c**0.5 + 1)
    for symmetric in (True, False):
        forget()
        x = chebyshev(s, torch.linalg.inv(s), g, torch.tensor([[1.0, 1.2]] * 2, dtype=F64), c, terms, symmetric)
        assert relative(s @ x + x @ s, (g + g.mT) / 2 if symmetric else g) < 3 * r**terms + 1e-14
