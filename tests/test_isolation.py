"""A bad matrix in a batch changes no bit of what the others get: root, inverse, info, gradient."""

import pytest
import torch
from matrices import pairs, random_spd, random_symmetric, with_spectrum

import sqrtm

BAD = {
    "nan": torch.nan,
    "inf": torch.inf,
    "indefinite": -1.0,
    "singular": 0.0,
}


def spoilt(a, *hows):
    """``a`` with its matrices from the third on spoilt, one each way, and with those the identity, which is good."""
    good = a.clone()
    good[2 : 2 + len(hows)] = torch.eye(a.shape[-1])
    bad = good.clone()
    for i, how in enumerate(hows, 2):
        bad[i, 1, 1] = BAD[how]
    which = torch.arange(len(a))
    return bad, good, (which < 2) | (which >= 2 + len(hows))


def everything(a, g, others, **kwargs):
    """Status and gradient of all, and all that a call gives of ``others``; losses are masked where it is not ok."""
    leaf = a.clone().requires_grad_()
    s, z, info = sqrtm.sqrtm_pair_ex(leaf, **kwargs)
    ok = (info.status == 0) | (info.status == 5)
    masked = torch.where(ok[:, None, None], s * g + z * g.mT, 0)
    (x,) = torch.autograd.grad(masked.real.sum(), leaf)
    return info.status, x, [y[others] for y in (s.detach(), z.detach(), x, *info)]


def batches(dtype):
    """Small and large, easy and hard, closed forms and iterations, and some of each kind in one batch."""
    real = torch.float64 if dtype in (torch.float64, torch.complex128) else torch.float32
    for n, count in ((3, 5), (3, 3000), (4, 1000), (7, 4), (16, 200), (64, 40)):
        easy = random_spd(n, (count,), dtype=real)
        hard = with_spectrum(torch.logspace(0, -5, n)).to(real)
        for a in (easy, torch.where((torch.arange(count) % 3 == 0)[:, None, None], hard, easy)):
            yield a.to(dtype)


@pytest.mark.parametrize("how", BAD)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_others_are_what_they_are_without_it(dtype, how):
    for a in batches(dtype):
        bad, good, others = spoilt(a, how)
        g = random_symmetric(a.shape[-1], (len(a),), dtype=dtype)
        for method in ("auto", "minimax"):
            status, x, found = everything(bad, g, others, method=method)
            fine, _, expected = everything(good, g, others, method=method)
            assert (fine[2] == 0, status[2] > 0, (x[2] == 0).all()) == (True, True, True)
            for one, other in zip(found, expected, strict=True):
                torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64])
@pytest.mark.parametrize(("method", "gradient"), pairs())
def test_every_pair_in_every_dtype(method, gradient, dtype):
    if dtype.is_complex and gradient == "matrix-backprop":
        pytest.skip("refused: there is none for complex matrices")
    a = torch.cat([random_spd(4, (5,)), random_spd(4, (3,), seed=1) * 100]).to(dtype)
    bad, good, others = spoilt((a + a.mH) / 2, *BAD)
    g = random_symmetric(4, (8,)).to(dtype)
    status, x, found = everything(bad, g, others, method=method, gradient=gradient)
    _, _, expected = everything(good, g, others, method=method, gradient=gradient)
    assert [sqrtm.STATUSES[code] for code in status[2:6].tolist()] == [
        "non-finite",
        "non-finite",
        "indefinite",
        "singular",
    ]
    assert (x[2:6] == 0).all()
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("method", ["auto", "eigh", "newton-schulz"])
def test_a_masked_loss_of_the_plain_form(method):
    # Zero cotangents of a singular matrix, which the plain form accepts.
    a = random_spd(5, (4,))
    a[1] = torch.ones(5, 5)
    leaf = a.clone().requires_grad_()
    s = sqrtm.sqrtm(leaf, method=method)
    keep = torch.tensor([True, False, True, True])[:, None, None]
    (x,) = torch.autograd.grad(torch.where(keep, s, 0).sin().sum(), leaf)
    assert (x[1] == 0).all()
    assert x.isfinite().all()
    (alone,) = torch.autograd.grad(sqrtm.sqrtm(leaf, method=method)[0].sin().sum(), leaf)
    torch.testing.assert_close(x[0], alone[0])


def test_removing_it_changes_others_by_rounding_only():
    # Which way is fastest depends on the size of the batch, so that bits may differ.
    for a in batches(torch.float64):
        bad, _, others = spoilt(a, "nan")
        s, info = sqrtm.sqrtm_ex(bad)
        t, without = sqrtm.sqrtm_ex(bad[others])
        torch.testing.assert_close(s[others], t, rtol=1e-11, atol=1e-13)
        assert torch.equal(info.converged[others], without.converged)


def test_under_vmap_and_compile():
    bad, good, _ = spoilt(random_spd(6, (5,), dtype=torch.float32), "indefinite")
    torch._dynamo.reset()
    compiled = torch.compile(sqrtm.sqrtm_ex, fullgraph=True, backend="aot_eager")
    for function in (torch.vmap(sqrtm.sqrtm_ex), compiled):
        (s, info), (t, fine) = function(bad), function(good)
        assert s[2].isnan().all()
        assert info.status.tolist() == [0, 0, 3, 0, 0]
        assert fine.converged.all()
        assert torch.equal(s[[0, 1, 3, 4]], t[[0, 1, 3, 4]])


def failing(eigh, dtypes, marked):
    """`torch.linalg.eigh` with the failure of LAPACK on matrices that `marked` tells, of these dtypes."""

    def fails(a, out=None):
        if a.dtype in dtypes and marked(a).any():
            raise torch.linalg.LinAlgError("linalg.eigh: The algorithm failed to converge")
        return eigh(a, out=out)

    return fails


@pytest.mark.parametrize("n", [6, 40])
@pytest.mark.parametrize("method", ["auto", "eigh"])
@pytest.mark.parametrize("dtypes", [{torch.float32}, {torch.float32, torch.float64}])
def test_an_eigensolver_that_fails(monkeypatch, n, method, dtypes):
    """A finite matrix on which LAPACK fails is done all the same, and no other changes by a bit."""
    a = random_spd(n, (8,), dtype=torch.float32)
    a[:, :, 0] = a[:, 0] = 0  # singular, and so left to eigenvalues
    a[2, -1, -1] = 2**20  # at the end: in the opposite order it does not fail
    g = torch.randn(a.shape, generator=torch.Generator().manual_seed(0))
    eigh = torch.linalg.eigh
    results = []
    for solver in (eigh, failing(eigh, dtypes, lambda a: a[..., -1, -1] > 1000)):
        monkeypatch.setattr(torch.linalg, "eigh", solver)
        leaf = a.clone().requires_grad_()
        s = sqrtm.sqrtm(leaf, method=method)
        results.append((s.detach(), torch.autograd.grad(s, leaf, g)[0]))
    for before, after in zip(*results, strict=True):
        torch.testing.assert_close(after[2], before[2], rtol=1e-4, atol=1e-4 * float(before[2].abs().max()))
        others = [i for i in range(8) if i != 2]
        assert torch.equal(after[others], before[others])
