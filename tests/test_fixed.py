"""What runs on a GPU where no kernel does: the same steps for every matrix, with or without TF32."""

from types import SimpleNamespace

import pytest
import torch
from matrices import random_symmetric, relative, with_spectrum

import sqrtm
from sqrtm.gradients import LyapunovChebyshev
from sqrtm.methods import _products
from sqrtm.methods._fixed import fixed_roots
from sqrtm.methods.minimax import without_looking

F32, F64 = torch.float32, torch.float64


def spectra(n, conditions, dtype):
    logs = torch.linspace(0, 1, n, dtype=F64)
    a = with_spectrum(torch.stack([torch.tensor(c, dtype=F64) ** (logs - 1) for c in conditions]), dtype=dtype)
    q, values = torch.linalg.eigh(a.double())[::-1]
    s = values.clamp(min=0).sqrt()
    return a, q, s


def gradient(q, s, g):
    return q @ ((q.mT @ g.double() @ q) / (s[:, :, None] + s[:, None, :])) @ q.mT


def solved(roots, g):
    rule = LyapunovChebyshev()
    return rule.solve(roots.sqrt, g, rule.keep(roots), True)


@pytest.mark.parametrize(("dtype", "conditions"), [(F32, (1.0, 1.65, 1e2, 1e4)), (F64, (1.0, 1.65, 1e4, 1e6))])
@pytest.mark.parametrize("n", [5, 65, 130])
@pytest.mark.parametrize("inverse", [True, False])
def test_fixed_roots(n, dtype, conditions, inverse):
    a, q, s = spectra(n, conditions, dtype)
    roots = fixed_roots(a, inverse)
    assert relative(roots.sqrt, (q * s[:, None, :]) @ q.mT) < (5e-6 if dtype == F32 else 1e-11)
    assert (roots.ends[:, 0] <= 1.001 * s[:, 0]).all()
    assert (roots.ends[:, 1] >= 0.999999 * s[:, -1]).all()
    if inverse:
        assert relative(roots.invsqrt, (q / s[:, None, :]) @ q.mT) < (4e-4 if dtype == F32 else 1e-8)
        g = random_symmetric(n, (4,), dtype=dtype)
        assert relative(solved(roots, g), gradient(q, s, g)) < (1e-4 if dtype == F32 else 1e-10)


def test_what_fails_is_rescued():
    a, q, s = spectra(40, (1e6, 3.0, 1e6), F32)
    a[2] = 0
    s[2] = 0
    roots = without_looking(a, True, True)
    assert relative(roots.sqrt[:2], ((q * s[:, None, :]) @ q.mT)[:2]) < 1e-6
    assert (roots.sqrt[2] == 0).all()
    assert roots.by_eigen.tolist() == [True, False, True]
    g = random_symmetric(40, (3,), dtype=F32)
    assert relative(solved(roots, g)[:2], gradient(q, s, g)[:2]) < 1e-3
    assert fixed_roots(a, True).sqrt.isnan().flatten(1).all(1).tolist() == [True, False, True]


@pytest.mark.parametrize("dtype", [F32, F64])
def test_what_is_not_nan_is_accurate(dtype):
    conditions = (2e4, 3e4, 5e4, 7e4, 1e5, 2e5) if dtype == F32 else (3e6, 1e7, 2e7, 3e7, 5e7, 1e8)
    a, q, s = spectra(30, conditions, dtype)
    found = fixed_roots(a, True).sqrt
    known = found.isfinite().flatten(1).all(1)
    assert 0 < known.sum() < len(a)
    assert relative(found[known], ((q * s[:, None, :]) @ q.mT)[known]) < (2e-5 if dtype == F32 else 1e-11)


def in_tf32(x):
    """What a tensor core sees of float32."""
    return (x.view(torch.int32) & -0x2000).view(F32) if x.dtype == F32 else x


@pytest.fixture
def tf32(monkeypatch):
    """Products of float32 matrices round their operands, as on a GPU whose user asked for it."""
    exact = {name: getattr(torch.Tensor, name) for name in ("baddbmm_", "bmm")}
    monkeypatch.setattr(
        torch.Tensor, "baddbmm_", lambda out, x, y, **kw: exact["baddbmm_"](out, in_tf32(x), in_tf32(y), **kw)
    )
    monkeypatch.setattr(
        torch, "bmm", lambda x, y, out=None: torch.baddbmm(x.new_zeros(()), in_tf32(x), in_tf32(y), out=out)
    )


@pytest.mark.parametrize("condition", [1.65, 1e2, 1e4])
def test_tf32_costs_no_accuracy(tf32, monkeypatch, condition):
    a, q, s = spectra(150, (condition,), F32)
    g = random_symmetric(150, (1,), dtype=F32)
    root, x = (q * s[:, None, :]) @ q.mT, gradient(q, s, g)
    spoilt = fixed_roots(a, True)
    assert not relative(spoilt.sqrt, root) < 1e-4  # by the rounding
    monkeypatch.setattr(_products, "reduced", lambda x: x.dtype == F32)
    roots = fixed_roots(a, True)
    assert relative(roots.sqrt, root) < (5e-6 if condition <= 1e3 else 1.2e-5)
    assert relative(solved(roots, g), x) < (3e-5 if condition <= 1e3 else 3e-4)


@pytest.mark.parametrize("rank", [20, 7])
def test_tf32_in_the_gradient_of_the_inverse(tf32, monkeypatch, rank):
    _, q, s = spectra(20, (10.0,), F64)
    s[:, rank:] = 0
    a = (q * s[:, None, :] ** 2) @ q.mT
    a = (a + a.mT) / 2
    g = random_symmetric(20, (1,), dtype=F32)
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda x, y: torch.bmm(x, y))
    monkeypatch.setattr(_products, "reduced", lambda x: x.dtype == F32)
    gradients = []
    for dtype in (F32, F64):
        leaf = a.to(dtype).requires_grad_()
        z = sqrtm.invsqrtm(leaf, method="minimax", pseudo_inverse=True)
        gradients += torch.autograd.grad(z, leaf, g.to(dtype))
    assert relative(*gradients) < 5e-5


def test_tf32_is_seen():
    on_gpu, double = (SimpleNamespace(dtype=dtype, is_cuda=True) for dtype in (F32, F64))
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    try:
        for precision in ("ieee", "tf32"):
            matmul.fp32_precision = precision
            assert _products.reduced(on_gpu) == (precision == "tf32")
            assert not _products.reduced(double)
            assert not _products.reduced(torch.ones(1))
    finally:
        matmul.fp32_precision = before


def test_parts_of_a_product():
    x = torch.randn(2, 5, 5, generator=torch.Generator().manual_seed(0))
    high, low = _products._split(x)
    assert torch.equal(high + low, x)
    assert torch.equal(in_tf32(high), high)
    assert (low.abs() <= 2.0**-11 * x.abs()).all()
    assert ((low - in_tf32(low)).abs() <= 2.0**-21 * x.abs()).all()
