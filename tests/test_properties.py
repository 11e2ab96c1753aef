"""What holds of every root, for matrices that hypothesis makes up; and facts that other projects' suites check."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from matrices import orthogonal, random_spd, random_symmetric, relative, with_spectrum

import sqrtm

F32, F64 = torch.float32, torch.float64
C64, C128 = torch.complex64, torch.complex128


@st.composite
def matrices(draw, least=1e-6, largest_n=12, dtypes=(F32, F64)):
    """A batch of definite matrices with any spectrum from ``least`` to 1, ties included, times a power of 10."""
    n = draw(st.integers(1, largest_n))
    decades = st.floats(math.log10(least), 0).map(lambda x: round(x, 1))
    spectra = draw(st.lists(st.lists(decades, min_size=n, max_size=n), min_size=1, max_size=3))
    size = 10.0 ** draw(st.integers(-15, 15))
    dtype = draw(st.sampled_from(dtypes))
    a = with_spectrum(10 ** torch.tensor(spectra, dtype=F64) * size, seed=draw(st.integers(0, 99)))
    return a.to(dtype)


def eps(a):
    return torch.finfo(a.dtype).eps


def sizes(a):
    """Per matrix, to compare with what is of the size of the root."""
    return torch.linalg.matrix_norm(a.double()).sqrt()[:, None, None]


@given(matrices(), st.sampled_from(["auto", "minimax", "eigh"]))
@settings(max_examples=60, deadline=None)
def test_the_root_squared_is_the_matrix_and_it_is_definite(a, method):
    s = sqrtm.sqrtm(a, method=method).double()
    assert relative(s @ s, a.double()) <= (1.2e-5 if a.dtype == F32 else 1e-12)
    assert (torch.linalg.eigvalsh(s) > -20 * eps(a) * sizes(a)[..., 0]).all()
    assert (s - s.mT).abs().amax() <= 4 * eps(a) * sizes(a).amax()


@given(matrices(), st.floats(1e-12, 1e12))
@settings(max_examples=40, deadline=None)
def test_scaling(a, c):
    # sqrtm(cA) = √c·sqrtm(A); exactly for powers of 4.
    s, scaled = (sqrtm.sqrtm(x).double() for x in (a, (c * a.double()).to(a.dtype)))
    bound = 30 * math.sqrt(eps(a))  # of a root of λ_min, which rounding of cA may change by eps·‖A‖
    assert ((scaled - c**0.5 * s) / sizes(a) / c**0.5).abs().amax() <= bound
    assert torch.equal(sqrtm.sqrtm(a * 256), sqrtm.sqrtm(a) * 16)


@given(matrices(least=1e-3, dtypes=(F64,)), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_orthogonal_equivariance(a, seed):
    q = orthogonal(a.shape[-1], seed=seed)
    turned = q @ a @ q.mT
    expected = q @ sqrtm.sqrtm(a) @ q.mT
    assert relative(sqrtm.sqrtm((turned + turned.mT) / 2), expected) <= 1e-12


@given(matrices(least=1e-3, largest_n=5, dtypes=(F64,)), matrices(least=1e-3, largest_n=5, dtypes=(F64,)))
@settings(max_examples=40, deadline=None)
def test_block_diagonal(a, b):
    both = torch.block_diag(a[0] / a[0].norm(), b[0] / b[0].norm())
    expected = torch.block_diag(*(sqrtm.sqrtm(x[0] / x[0].norm()) for x in (a, b)))
    assert relative(sqrtm.sqrtm(both), expected) <= 1e-12


@given(matrices(least=1e-3))
@settings(max_examples=40, deadline=None)
def test_the_roots_are_inverse_to_each_other(a):
    s, z = (x.double() for x in sqrtm.sqrtm_pair(a))
    identity = torch.eye(a.shape[-1], dtype=F64).expand_as(s)
    assert relative(s @ z, identity) <= 1e4 * eps(a)
    assert relative(z @ z @ a.double(), identity) <= 1e5 * eps(a)


@given(matrices(least=1e-3, dtypes=(F64,)), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_the_derivative_is_self_adjoint(a, seed):
    # ⟨dS(E), G⟩ = ⟨E, dS(G)⟩, by the vector–Jacobian and the Jacobian–vector product alike.
    e, g = (random_symmetric(a.shape[-1], (len(a),), seed=seed + i) for i in (0, 1))
    leaf = a.clone().requires_grad_()
    s = sqrtm.sqrtm(leaf)
    pulled = [torch.autograd.grad(s, leaf, x, retain_graph=True)[0] for x in (e, g)]
    pushed = [torch.func.jvp(sqrtm.sqrtm, (a,), (x,))[1] for x in (e, g)]
    forward, backward = ((pulled[0] * g).sum((-2, -1)), (e * pulled[1]).sum((-2, -1)))
    size = (pulled[0].abs() * g.abs()).sum((-2, -1))
    assert ((forward - backward).abs() <= 1e-11 * size).all()
    for one, other in zip(pulled, pushed, strict=True):
        assert relative(one, other) <= 1e-11


@given(matrices(least=1e-7), st.booleans())
@settings(max_examples=60, deadline=None)
def test_bounds_hold(a, one):
    a = a[0] if one else a
    s, z, info = sqrtm.sqrtm_pair_ex(a)
    w, q = torch.linalg.eigh(a.double())
    w = w.clamp(min=1e-300)
    for found, power, bound in ((s, 0.5, info.error_bound), (z, -0.5, info.inverse_error_bound)):
        exact = (q * w[..., None, :] ** power) @ q.mT
        error = torch.linalg.matrix_norm(found.double() - exact) / torch.linalg.matrix_norm(exact)
        condition = w[..., -1] / w[..., 0]
        slack = 1e-14 * condition**0.5 + (1e-14 * condition if power < 0 else 0)  # of this reference
        assert ((error <= bound + slack) | bound.isinf() | found[..., 0, 0].isnan()).all()
    # Of the root alone, the bound is as good as that, or proves what is promised of one small float32 matrix.
    enough = 5e-6 if one and a.dtype == F32 else 1e-15
    bound = sqrtm.sqrtm_ex(a)[1].error_bound
    assert ((bound <= 1.5 * info.error_bound) | (bound <= enough)).all() or info.error_bound.isinf().any()


# --- facts of other projects' suites ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [F32, F64, C64, C128])
@pytest.mark.parametrize(
    ("a", "root"),
    [
        # SciPy gh-4866, gh-5336, gh-7839: singular, and no complex numbers.
        ([[1, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 1]], None),
        ([[2, 0, 0], [0, 1, 0], [0, 0, 0]], [[2**0.5, 0, 0], [0, 1, 0], [0, 0, 0]]),
        ([[0, 0], [0, 0]], [[0, 0], [0, 0]]),
    ],
)
def test_singular_matrices_of_scipy(a, root, dtype):
    a = torch.tensor(a, dtype=dtype)
    expected = a / 2**0.5 if root is None else torch.tensor(root, dtype=dtype)
    for method in ("auto", "eigh", "svd"):
        s = sqrtm.sqrtm(a, method=method)
        assert s.dtype == dtype
        # Of an eigenvalue that is zero but for rounding the other methods have the root.
        rounding = 2e-7 if dtype in (F32, C64) else 1e-14
        torch.testing.assert_close(s, expected, rtol=0, atol=rounding if method == "auto" else rounding**0.5)


@pytest.mark.parametrize("dtype", [F32, F64])
def test_scipy_gh17918(dtype):
    a = torch.full((19, 19), 0.94, dtype=dtype).fill_diagonal_(1)
    s = sqrtm.sqrtm(a)
    assert s.dtype == dtype
    assert relative(s @ s, a) <= 20 * torch.finfo(dtype).eps


@pytest.mark.parametrize(("dtype", "tolerance"), [(C128, 1e-14), (C64, 1e-6)])
def test_scipy_gh23278(dtype, tolerance):
    a = torch.tensor([[1, 0, 0], [0, 1, -1j], [0, 1j, 2]], dtype=dtype)
    s = sqrtm.sqrtm(a)
    assert s.dtype == dtype
    torch.testing.assert_close(s @ s, a, rtol=0, atol=tolerance)


def test_pot_773_and_708():
    a = torch.eye(3, dtype=F64, requires_grad=True)
    with pytest.warns(UserWarning, match="Anomaly Detection"), torch.autograd.detect_anomaly(check_nan=True):
        sqrtm.sqrtm(a)[0, 1].backward()
    expected = torch.zeros(3, 3, dtype=F64)
    expected[0, 1] = expected[1, 0] = 0.25
    torch.testing.assert_close(a.grad, expected)
    for seed, points in ((42, 10_000), (3137, 129)):
        z = torch.randn(points, 128, generator=torch.Generator().manual_seed(seed))
        c = torch.cov(z.T)
        s = sqrtm.sqrtm(c)
        assert relative(s @ s, c) < 5e-6


@pytest.mark.parametrize("dtype", [F32, F64, C64, C128])
@pytest.mark.parametrize("n", [4, 15, 50, 100])
def test_jax_positive_semidefinite_matrices(n, dtype):
    x = torch.randn(n, n, dtype=dtype, generator=torch.Generator().manual_seed(n))
    a = x @ x.mH
    s = sqrtm.sqrtm((a + a.mH) / 2)
    assert relative(s @ s, a) < 50 * torch.finfo(dtype).eps * n**0.5
    assert torch.linalg.eigvalsh(s)[0] > -1e-5 * torch.linalg.matrix_norm(s)


def samples(dtype):
    """As PyTorch's own tests of operators: shapes, batches and strides."""
    for n in (0, 1, 2, 3, 4, 5, 9, 33):
        for batch in ((), (1,), (0,), (3,), (2, 3), (2, 0), (1, 2, 1)):
            empty = not n or 0 in batch
            a = torch.zeros(*batch, n, n, dtype=dtype) if empty else random_spd(n, batch).to(dtype)
            if dtype.is_complex and n > 1 and a.numel():
                k = torch.full((n, n), 0.03j, dtype=dtype).triu(1)
                a = a + k + k.mH
            yield a
            yield a.mT
            yield a.mT.contiguous().mT
            yield torch.stack([a, -a], -1)[..., 0]
            yield a.expand(2, *a.shape)
            if dtype.is_complex:
                yield a.mT.conj()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, F32, F64, C64, C128])
def test_any_shape_and_strides(dtype):
    tolerance = 30 * torch.finfo(dtype).eps
    for a in samples(dtype):
        b = a.resolve_conj().contiguous().clone()
        leaf, other = a.clone(memory_format=torch.preserve_format).requires_grad_(), b.requires_grad_()
        before = a.clone()
        results = []
        for x in (a, leaf, other):
            s, z = sqrtm.sqrtm_pair(x)
            t, info = sqrtm.sqrtm_ex(x)
            assert s.shape == z.shape == t.shape == a.shape
            assert s.dtype == z.dtype == t.dtype == dtype
            assert info.status.shape == a.shape[:-2]
            assert not info.status.any()
            results.append((s, z, t))
        assert torch.equal(a, before)
        for one in results[1:]:
            for x, y in zip(one, results[0], strict=True):
                assert relative(x, y) <= tolerance
        loss = [(s * s.mT + z).real.sum() for s, z, _ in results[1:]]
        x, y = torch.autograd.grad(loss[0], leaf)[0], torch.autograd.grad(loss[1], other)[0]
        assert relative(x, y) <= 10 * tolerance
        torch.testing.assert_close(x, x.mH)
