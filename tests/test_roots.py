"""The values of A^{1/2} and A^{-1/2}."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import (
    APPROXIMATE,
    EXACT,
    experiment_reference,
    pairs,
    random_spd,
    reference_experiment,
    relative,
    with_spectrum,
    with_steps,
)

import sqrtm

F32, F64 = torch.float32, torch.float64


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize(("dtype", "steps", "tolerance"), [(F32, 10, 2e-6), (F64, 20, 1e-12)])
def test_root_of_the_reference_experiment(name, dtype, steps, tolerance):
    a, _ = reference_experiment(dtype=dtype)
    s = sqrtm.sqrtm(a, method=with_steps(name, sqrtm.METHODS, steps))
    assert s.dtype == dtype
    assert experiment_reference(dtype)[0].error(s).max() <= tolerance


@pytest.mark.parametrize("name", EXACT)
def test_pair_and_inverse(name):
    a = random_spd(9, (5,))
    method = with_steps(name, sqrtm.METHODS, 20)
    s, z = sqrtm.sqrtm_pair(a, method=method)
    assert relative(s @ s, a) < 1e-13
    assert relative(s @ z, torch.eye(9, dtype=F64).expand(5, 9, 9)) < 1e-12
    torch.testing.assert_close(sqrtm.sqrtm(a, method=method), s, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(sqrtm.invsqrtm(a, method=method), z, rtol=0, atol=0)


@pytest.mark.parametrize("name", EXACT)
def test_known_answers(name):
    method = with_steps(name, sqrtm.METHODS, 20)
    r = math.sqrt(3)
    root = torch.tensor([[r + 1, r - 1], [r - 1, r + 1]], dtype=F64) / 2
    assert relative(sqrtm.sqrtm(torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=F64), method=method), root) < 1e-14
    second = (
        2 * torch.eye(5, dtype=F64)
        - torch.eye(5, dtype=F64).roll(1, 0).tril()
        - torch.eye(5, dtype=F64).roll(1, 1).triu()
    )
    fourth = torch.tensor(
        [[5, -4, 1, 0, 0], [-4, 6, -4, 1, 0], [1, -4, 6, -4, 1], [0, 1, -4, 6, -4], [0, 0, 1, -4, 5]], dtype=F64
    )
    assert relative(sqrtm.sqrtm(fourth, method=method), second) < 1e-12


@pytest.mark.parametrize("name", sqrtm.METHODS)
def test_diagonal_and_one_by_one(name):
    d = torch.tensor([[[4.0]], [[9.0]], [[0.25]]], dtype=F64)
    s, z = sqrtm.sqrtm_pair(d, method=with_steps(name, sqrtm.METHODS, 20))
    torch.testing.assert_close(s, d.sqrt(), rtol=1e-12, atol=0)
    torch.testing.assert_close(z, d.rsqrt(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", sqrtm.METHODS)
@pytest.mark.parametrize("dtype", [F32, F64])
def test_batch_equals_one_at_a_time(name, dtype):
    a = random_spd(17, (3, 2), dtype=dtype).requires_grad_()
    s, z = sqrtm.sqrtm_pair(a, method=name)
    (x,) = torch.autograd.grad((s.sin() + z.cos()).sum(), a)
    tolerance = 100 * torch.finfo(dtype).eps
    for i in range(3):
        for j in range(2):
            one = a[i, j].detach().requires_grad_()
            results = sqrtm.sqrtm_pair(one, method=name)
            (grad,) = torch.autograd.grad((results[0].sin() + results[1].cos()).sum(), one)
            for found, expected in zip((*results, grad), (s[i, j], z[i, j], x[i, j]), strict=True):
                assert relative(found.detach(), expected.detach()) < tolerance


@pytest.mark.parametrize("name", sqrtm.METHODS)
@pytest.mark.parametrize("shape", [(0, 3, 3), (2, 0, 3, 3), (0, 0), (4, 0, 0)])
def test_empty(name, shape):
    a = torch.zeros(shape, requires_grad=True)
    s, z = sqrtm.sqrtm_pair(a, method=name)
    assert s.shape == z.shape == shape
    (s.sum() + z.sum()).backward()
    assert a.grad.shape == shape


@pytest.mark.parametrize(("method", "gradient"), pairs())
def test_strides_do_not_matter(method, gradient):
    a = random_spd(5, (3, 2), dtype=F32)
    views = [
        a.permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1),  # matrices scattered
        a[..., :, ::2, ::2],  # strided
        a[:1].expand(4, 2, 5, 5),  # overlapping
        a.mT,
    ]
    for view in views:
        results = []
        for x in (view, view.contiguous()):
            x = x.detach().requires_grad_()
            s = sqrtm.sqrtm(x, method=method, gradient=gradient)
            (grad,) = torch.autograd.grad(s.sin().sum(), x)
            results.append((s, grad))
        torch.testing.assert_close(*results, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("size", [1e-38, 1e-30, 1e30, 1e38])
def test_extreme_sizes(name, size):
    a = random_spd(6, dtype=F64)
    small = (a * size).to(F32)
    s, z = sqrtm.sqrtm_pair(small, method=name)
    expected, expected_inverse = sqrtm.sqrtm_pair(small.double())
    assert relative(s, expected) < 2e-6
    assert relative(z, expected_inverse) < 2e-5


@settings(deadline=None, max_examples=25)
@given(st.integers(-40, 40), st.sampled_from(sorted(sqrtm.METHODS)))
def test_scaling_by_a_power_of_four_is_exact(k, name):
    a = random_spd(4, dtype=F64)
    s, z = sqrtm.sqrtm_pair(a, method=name)
    scaled, scaled_inverse = sqrtm.sqrtm_pair(a * 4.0**k, method=name)
    assert torch.equal(scaled, s * 2.0**k)
    assert torch.equal(scaled_inverse, z * 2.0**-k)


@pytest.mark.parametrize("name", ["eigh", "svd", "auto"])
def test_singular_root(name):
    b = torch.arange(12.0, dtype=F64).reshape(6, 2)
    s = sqrtm.sqrtm(b @ b.mT, method=name)
    assert relative(s @ s, b @ b.mT) < 1e-13
    assert torch.equal(sqrtm.sqrtm(torch.zeros(3, 3), method=name), torch.zeros(3, 3))


@pytest.mark.parametrize(
    "method",
    [*(sqrtm.NewtonSchulz(scaling=s) for s in ("frobenius", "trace", "spectral")), sqrtm.Taylor(), sqrtm.Pade()],
)
@pytest.mark.parametrize("gradient", ["lyapunov-eigh", "lyapunov-newton-schulz", "unrolled"])
def test_zero_matrix(method, gradient):
    zero = torch.zeros(2, 3, 3, requires_grad=True)
    s = sqrtm.sqrtm(zero, method=method, gradient=gradient)
    assert torch.equal(s, torch.zeros(2, 3, 3))
    s.sum().backward()
    assert torch.equal(zero.grad, torch.zeros(2, 3, 3))


def test_negative_eigenvalue_from_rounding_counts_as_zero():
    a = with_spectrum([1.0, 0.5, -1e-17, 1e-17])
    for name in ("eigh", "svd"):
        s = sqrtm.sqrtm(a, method=name)
        assert torch.linalg.eigvalsh(s)[0] > -1e-15
        assert relative(s @ s, a) < 1e-14


@pytest.mark.parametrize("name", ["newton-schulz", *APPROXIMATE])
def test_what_does_not_converge_is_returned_not_raised(name):
    a = with_spectrum(torch.logspace(0, -6, 32, dtype=F64))
    s = sqrtm.sqrtm(a, method=name)
    assert relative(s, sqrtm.sqrtm(a)) > 1e-3


@pytest.mark.parametrize("scaling", ["frobenius", "trace", "spectral"])
def test_newton_schulz_scalings(scaling):
    a = random_spd(32, (4,))
    s, z = sqrtm.sqrtm_pair(a, method=sqrtm.NewtonSchulz(steps=20, scaling=scaling))
    assert relative(s, sqrtm.sqrtm(a)) < 1e-13
    assert relative(z, sqrtm.invsqrtm(a)) < 1e-13


def test_newton_schulz_scalings_differ_as_documented():
    a, _ = reference_experiment(batch=4, dtype=F64)
    error = {
        scaling: relative(sqrtm.sqrtm(a, method=sqrtm.NewtonSchulz(steps=5, scaling=scaling)), sqrtm.sqrtm(a))
        for scaling in ("frobenius", "trace", "spectral")
    }
    assert error["spectral"] < 1e-6 < error["frobenius"] < error["trace"]


def test_pade_is_the_pade_approximant():
    # [2/2] about 1 agrees with the square root to order 5: its error falls by about 2^5 when the step halves.
    def error(h):
        x = torch.tensor([[1 + h, 0], [0, (1 - (1 + h) ** 2) ** 0.5]], dtype=F64)  # ‖X‖_F = 1
        return abs(sqrtm.Pade(degree=2).roots(x[None]).sqrt[0, 0, 0] - math.sqrt(1 + h))

    assert 25 < error(-0.2) / error(-0.1) < 60


def test_taylor_is_the_taylor_polynomial():
    x = torch.tensor([[0.8, 0], [0, 0.6]], dtype=F64)  # ‖X‖_F = 1
    s, z, *_ = sqrtm.Taylor(degree=3).roots(x[None])
    p = 1 - x.diagonal()
    torch.testing.assert_close(s[0].diagonal(), 1 - p / 2 - p**2 / 8 - p**3 / 16)
    torch.testing.assert_close(z[0].diagonal(), 1 + p / 2 + 3 * p**2 / 8 + 5 * p**3 / 16)


def test_determinant_scaling_makes_every_size_alike():
    a = random_spd(6)[None]
    method = sqrtm.ProductDenmanBeavers(steps=2)  # not converged, so that a difference would show
    s, large = method.roots(a).sqrt, method.roots(1e8 * a).sqrt
    assert relative(s @ s, a) > 1e-12
    torch.testing.assert_close(large, 1e4 * s, rtol=1e-12, atol=0)


def test_the_upper_bound_is_an_upper_bound():
    from sqrtm._spectrum import eigenvalue_bound

    for spectrum in ([1.0] * 6, [1, 1, 1, 1, 1, 9.0], [0, 0, 0, 0, 0, 1.0], [0, 0, 0, 0, 0, 0.0], [1, 2, 3, 4, 5, 6.0]):
        a = with_spectrum(spectrum)
        bound = float(eigenvalue_bound(a[None]))
        assert max(spectrum) * (1 - 1e-14) <= bound <= 2.5 * max(spectrum)
