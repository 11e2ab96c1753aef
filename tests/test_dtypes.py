"""Half precision and complex Hermitian matrices: roots, gradients, verdicts and errors."""

import pytest
import torch
from matrices import pairs, random_spd, relative, with_steps
from torch.linalg import LinAlgError

import sqrtm

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
@pytest.mark.parametrize("method", ["auto", "eigh"])
def test_rounding_to_half_is_no_error(dtype, method):
    eps = torch.finfo(dtype).eps
    x = torch.randn(20, 3, 48, generator=torch.Generator().manual_seed(0))
    a = (x.mT @ x).to(dtype).requires_grad_()  # of rank 3, with negative eigenvalues of rounding
    assert (torch.linalg.eigvalsh(a.detach().float())[:, 0] < -torch.finfo(torch.float32).eps * 200).all()
    s = sqrtm.sqrtm(a, method=method)
    assert relative((s.float() @ s.float()).detach(), a.detach().float()) < eps
    assert torch.autograd.grad(s.sum(), a)[0].isfinite().all()
    _, info = sqrtm.sqrtm_ex(a.detach(), method=method)
    assert (info.status != 3).all()
    for entry, factor, accepted in (("asymmetric", 3, True), ("asymmetric", 6, False), ("indefinite", 5, False)):
        b = torch.eye(2, dtype=dtype)
        b[(0, 1) if entry == "asymmetric" else (1, 1)] = factor * eps * (1 if entry == "asymmetric" else -1)
        if accepted:
            sqrtm.sqrtm(b, method=method)
        else:
            says = "not symmetric" if entry == "asymmetric" else "not positive semidefinite"
            with pytest.raises(LinAlgError, match=f"{says}.* in {str(dtype)[6:]}"):
                sqrtm.sqrtm(b, method=method)


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
