"""The cases that the tests of MATLAB and Octave use too."""

import pytest
import torch
from matrices import EXACT, IMPLICIT, relative, with_steps

import sqrtm

pytest.importorskip("scipy")
import cases

GOOD = cases.load(cases.PATH, "good")
BAD = cases.load(cases.PATH, "bad")
REFUSED = {
    "sqrtm:notFinite": (torch.linalg.LinAlgError, "is not finite", "non-finite"),
    "sqrtm:notSymmetric": (torch.linalg.LinAlgError, "is not symmetric", "asymmetric"),
    "sqrtm:notPositiveSemidefinite": (torch.linalg.LinAlgError, "is not positive semidefinite", "indefinite"),
    "sqrtm:notSquare": (ValueError, "shape", None),
    "sqrtm:notFloat": (TypeError, "floating-point", None),
}


def hermitian(x):
    return (x + x.mH) / 2


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case["name"])
def test_what_the_file_says_is_true(case):
    a, g, s, x = (case[key] for key in "AGSX")
    single = torch.complex64 if a.is_complex() else torch.float32
    assert torch.equal(a, a.to(single).to(a.dtype))
    assert torch.equal(a, a.mH)
    assert torch.allclose(s @ s, a, rtol=0, atol=1e-15 * s.shape[-1] * float(a.abs().max()))
    assert torch.linalg.eigvalsh(s).min() >= -1e-15 * s.abs().max()
    values, q = torch.linalg.eigh(a)
    kappa = float(case["kappa"])
    if kappa < float("inf"):
        assert (values[..., -1] / values[..., 0]).max().item() == pytest.approx(kappa, rel=1e-15 * s.shape[-1] * kappa)
    null = (q * (values <= 1e-13 * values[..., -1:])[..., None, :]) @ q.mH
    residual = s @ x + x @ s - hermitian(g) + null @ hermitian(g) @ null
    assert residual.abs().max() <= 1e-14 * s.shape[-1] * min(kappa, 1e4) ** 0.5 * g.abs().max()
    assert (null @ x @ null).abs().max() <= 1e-14 * x.abs().max()


def test_the_file_is_what_the_script_writes():
    """But for rounding, which differs between machines."""
    written = cases.good_matrices()
    assert [case["name"] for case in GOOD] == list(written)
    for case in GOOD:
        assert relative(case["A"], written[case["name"]]) < 1e-6 or not case["A"].any()
    written = cases.bad_matrices()
    assert [case["name"] for case in BAD] == list(written)
    for case in BAD:
        a, page, error = written[case["name"]]
        assert torch.equal(case["A"].nan_to_num(), a.nan_to_num())
        assert (int(case["page"]), case["error"]) == (page, error)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("case", GOOD, ids=lambda case: case["name"])
def test_methods_and_gradients_are_accurate(case, dtype):
    dtype = dtype.to_complex() if case["A"].is_complex() else dtype
    a, g = case["A"].to(dtype).requires_grad_(), case["G"].to(dtype)
    double = dtype in (torch.float64, torch.complex128)
    if case["kappa"] < 2e4:
        for method in EXACT:
            s = sqrtm.sqrtm(a, method=with_steps(method, sqrtm.METHODS, 24))
            assert relative(s, case["S"]) < (1e-11 if double else 3e-5), method
        for gradient in set(IMPLICIT) - {"matrix-backprop"}:
            s = sqrtm.sqrtm(a, gradient=with_steps(gradient, sqrtm.GRADIENTS, 24))
            (x,) = torch.autograd.grad(s, a, g)
            assert relative(x, case["X"]) < (1e-10 if double else 3e-4), gradient
    elif case["A"].any():
        s = sqrtm.sqrtm(a)
        (x,) = torch.autograd.grad(s, a, g)
        assert relative(s, case["S"]) < (2e-8 if double else 2e-6)
        assert relative(x, case["X"]) < (1e-10 if double else 1e-6)
    else:
        s = sqrtm.sqrtm(a)
        (x,) = torch.autograd.grad(s, a, g)
        assert not s.any()
        assert not x.any()


@pytest.mark.parametrize("case", BAD, ids=lambda case: case["name"])
def test_bad_matrices_are_refused(case):
    kind, text, status = REFUSED[case["error"]]
    which = f"matrix {int(case['page']) - 1} of the batch" if case["page"] else ""
    for method in EXACT:
        with pytest.raises(kind, match=f"{which}.*{text}"):
            sqrtm.sqrtm(case["A"], method=method)
    if status:
        _, info = sqrtm.sqrtm_ex(case["A"])
        assert status in {sqrtm.STATUSES[code] for code in info.status.flatten().tolist()}
