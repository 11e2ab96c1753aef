"""Bad input: what is raised and what it says."""

import pytest
import torch
from matrices import random_spd, relative, with_spectrum
from torch.linalg import LinAlgError

import sqrtm

NAN, INF = float("nan"), float("inf")
FUNCTIONS = [sqrtm.sqrtm, sqrtm.invsqrtm, sqrtm.sqrtm_pair]


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("a", "error", "says"),
    [
        ([[1.0, 0.0], [0.0, 1.0]], TypeError, r"got builtins.list; torch.as_tensor\(A\) makes one"),
        (torch.eye(3, dtype=torch.int64), TypeError, r"must be floating-point or complex, .*, got int64; convert it"),
        (torch.eye(3, dtype=torch.bool), TypeError, r"got bool"),
        (torch.eye(3).to(torch.float8_e5m2), TypeError, r"got float8_e5m2"),
        (torch.eye(3).to_sparse(), TypeError, r"must be a dense tensor, got layout torch.sparse_coo"),
        (torch.tensor(4.0), ValueError, r"must have shape \(..., n, n\), got \(\)"),
        (torch.ones(3), ValueError, r"must have shape \(..., n, n\), got \(3,\)"),
        (torch.ones(5, 2, 3), ValueError, r"must have shape \(..., n, n\), got \(5, 2, 3\)"),
        (torch.tensor([[33.0, 24.0], [48.0, 57.0]]), LinAlgError, r"not symmetric: .* = 0.4, more than the 0.00035"),
        (torch.tensor([[1, NAN], [NAN, 1]]), LinAlgError, r"not finite: 2 of its 4 entries, the first nan at \(0, 1\)"),
        (torch.tensor([[1.0, 0.0], [0.0, INF]]), LinAlgError, r"the first inf at \(1, 1\)"),
        (-torch.eye(4), LinAlgError, r"is not positive semidefinite: its smallest eigenvalue is -0.5·‖A‖_F"),
    ],
)  # fmt: skip
def test_bad_argument(function, a, error, says):
    with pytest.raises(error, match=f"^{function.__name__}: .*{says}"):
        function(a)


@pytest.mark.parametrize("name", sqrtm.METHODS)
def test_every_method_rejects_bad_values(name):
    for bad in (
        torch.tensor([[1.0, 2.0], [2.0, 1.0]]),
        torch.full((2, 2), NAN),
        torch.tensor([[1.0, 1.0], [0.0, 1.0]]),
    ):
        with pytest.raises(LinAlgError):
            sqrtm.sqrtm(bad, method=name)


def test_the_first_bad_matrix_is_named_by_its_index():
    a = torch.eye(3).repeat(2, 4, 1, 1)
    a[1, 2, 0, 0] = -1
    a[1, 3, 0, 1] = INF
    with pytest.raises(LinAlgError, match=r"matrix \[1, 2\] of the batch is not positive"):
        sqrtm.sqrtm(a)
    with pytest.raises(LinAlgError, match=r"matrix 2 of the batch is not positive"):
        sqrtm.sqrtm(a[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("n", [1, 2, 3, 20])
def test_rounding_is_accepted_and_more_is_not(n, size, dtype):
    eps = torch.finfo(dtype).eps
    spectrum = torch.linspace(1, 2, n, dtype=torch.float64)
    for smallest, accepted in ((0.0, True), (-50 * eps, True), (-1e3 * eps, False)):
        spectrum[0] = smallest
        a = (with_spectrum(spectrum) * size).to(dtype)
        if n == 1 and smallest < 0:
            accepted = False  # −x is as negative as −1
        if accepted:
            assert sqrtm.sqrtm(a).isfinite().all()
        else:
            with pytest.raises(LinAlgError, match="not positive semidefinite"):
                sqrtm.sqrtm(a)


@pytest.mark.parametrize(("n", "negative"), [(512, 1.3e-3), (2000, 1e-2)])
def test_one_negative_eigenvalue_among_many(n, negative):
    a = torch.eye(n)
    a[0, 0] = -negative
    with pytest.raises(LinAlgError, match="not positive semidefinite"):
        sqrtm.sqrtm(a)


def test_the_smallest_subnormal():
    a = torch.tensor([[1e-45]])
    torch.testing.assert_close(sqrtm.sqrtm(a), a.sqrt(), rtol=1e-6, atol=0)
    with pytest.raises(LinAlgError, match="not positive semidefinite"):
        sqrtm.sqrtm(torch.tensor([[1.0, 2.0], [2.0, 1.0]]) * 1e-45)


@pytest.mark.parametrize("n", [2, 3, 16])
def test_rank_deficient_covariance_of_many_points(n):
    x = torch.randn(100_000, 1, generator=torch.Generator().manual_seed(0)) * torch.linspace(1, 3, n)
    for a in (x.mT @ x, torch.cov(x.mT)):
        s = sqrtm.sqrtm(a)
        assert torch.linalg.matrix_norm(s @ s - a) < 1e-4 * torch.linalg.matrix_norm(a)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_asymmetry_tolerance(dtype):
    tolerance = max(torch.finfo(dtype).eps ** 0.5, 1e-5)
    for factor, accepted in ((0.5, True), (2.0, False)):
        a = torch.eye(2, dtype=dtype)
        a[0, 1] += factor * tolerance  # ‖A − Aᵀ‖_F = √2·δ, ‖A‖_F = √2
        if accepted:
            s = sqrtm.sqrtm(a)
            torch.testing.assert_close(s, sqrtm.sqrtm((a + a.mT) / 2), rtol=0, atol=4 * torch.finfo(dtype).eps)
        else:
            with pytest.raises(LinAlgError, match="not symmetric"):
                sqrtm.sqrtm(a)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [2, 4, 7, 40])
def test_rounding_is_not_asymmetry_whatever_the_size(n, dtype):
    eps = torch.finfo(dtype).eps
    for size in (1e-30, 1e-3, 1.0, 1e30):
        a = random_spd(n, (60,), dtype=dtype)
        skew = torch.randn(60, n, n, dtype=dtype, generator=torch.Generator().manual_seed(1)) * 300 * eps
        asymmetric = (a + skew) * size
        s, expected = sqrtm.sqrtm(asymmetric), sqrtm.sqrtm((asymmetric + asymmetric.mT) / 2)
        assert relative(s / size**0.5, expected / size**0.5) < 30 * eps
        if dtype == torch.float32:  # proven of the symmetric part, not of that rounded to float32
            exact = sqrtm.sqrtm((asymmetric.double() + asymmetric.mT.double()) / 2)
            error = torch.linalg.matrix_norm(s - exact) / torch.linalg.matrix_norm(exact)
            assert (sqrtm.sqrtm_ex(asymmetric)[1].error_bound >= error).all()
        asymmetric[50, 0, 1] += 0.1 * size
        with pytest.raises(LinAlgError, match="matrix 50 of the batch is not symmetric"):
            sqrtm.sqrtm(asymmetric)


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_singular_matrices_have_no_inverse_root(size):
    a = torch.ones(3, 3) * size
    for function in (sqrtm.invsqrtm, sqrtm.sqrtm_pair):
        with pytest.raises(LinAlgError, match=f"^{function.__name__}: .*singular.*multiple of the identity"):
            function(a)
    for name in ("denman-beavers", "product-denman-beavers"):
        with pytest.raises(LinAlgError, match=r"singular.*method='eigh'"):
            sqrtm.sqrtm(a, method=name)
    with pytest.raises(LinAlgError, match="singular"):
        sqrtm.invsqrtm(torch.zeros(2, 2))
    assert sqrtm.invsqrtm(with_spectrum([1.0, 1e-4, 1e-4], dtype=torch.float32)).isfinite().all()


@pytest.mark.parametrize(
    ("s", "g", "error", "says"),
    [
        (torch.eye(2), torch.eye(3), ValueError, r"S \(2, 2\) and G \(3, 3\) do not match"),
        (torch.ones(2, 3, 3), torch.ones(4, 3, 3), ValueError, r"do not match"),
        (torch.eye(2), torch.eye(2).double(), TypeError, r"must agree in dtype and device"),
        (torch.eye(2), torch.ones(2), ValueError, r"G must have shape"),
        (torch.eye(2).int(), torch.eye(2), TypeError, r"S must be floating-point or complex"),
        (-torch.eye(2), torch.eye(2), LinAlgError, r"not positive semidefinite"),
        (torch.ones(2, 2), torch.eye(2), LinAlgError, r"singular .* has no unique solution"),
        (torch.tensor([[1.0, 1.0], [0.0, 1.0]]), torch.eye(2), LinAlgError, r"not symmetric"),
    ],
)
def test_bad_lyapunov_equation(s, g, error, says):
    with pytest.raises(error, match=f"^solve_lyapunov: .*{says}"):
        sqrtm.solve_lyapunov(s, g)


def test_bad_lyapunov_method_and_gradient():
    eye = torch.eye(2)
    with pytest.raises(ValueError, match=r"SVD.*no form for this equation; use 'eigh', 'minimax' or 'newton-schulz'"):
        sqrtm.solve_lyapunov(eye, eye, method="svd")
    with pytest.raises(ValueError, match="unrolled"):
        sqrtm.solve_lyapunov(eye, eye, gradient="unrolled")
    with pytest.raises(ValueError, match="scaling='trace'"):
        sqrtm.solve_lyapunov(eye, eye, method=sqrtm.NewtonSchulz(scaling="trace"))


def test_nothing_is_written_to_the_input():
    a = random_spd(4, (3,))
    before = a.clone()
    for name in sqrtm.METHODS:
        sqrtm.sqrtm_pair(a, method=name)
    assert torch.equal(a, before)


def test_mixed_devices():
    a = torch.eye(2)
    says = (
        r"^solve_lyapunov: S and G must agree in dtype and device, got torch.float32 on cpu and torch.float32 on meta$"
    )
    with pytest.raises(TypeError, match=says):
        sqrtm.solve_lyapunov(a, a.to("meta"))


TEXTS = {
    "non-finite": (
        [[1.0, NAN], [NAN, 1.0]],
        "sqrtm: matrix 1 of the batch is not finite: 2 of its 4 entries, the first nan at (0, 1). Look for a division"
        " by zero or an overflow where it is made.",
    ),
    "asymmetric": (
        [[1.0, 1.0], [0.0, 1.0]],
        "sqrtm: matrix 1 of the batch is not symmetric: ‖A − Aᵀ‖_F / ‖A‖_F = 0.816, more than the 0.00035 taken for"
        " rounding in float32. Where it is rounding all the same, pass (A + A.mT) / 2; for a general matrix use"
        " scipy.linalg.sqrtm.",
    ),
    "indefinite": (
        [[1.0, 2.0], [2.0, 1.0]],
        "sqrtm: matrix 1 of the batch is not positive semidefinite: its smallest eigenvalue is -0.316·‖A‖_F, below the"
        " -1.5e-05 or so taken for rounding in float32. Look for an error where it is made, or make it in float64; to"
        " regularise it, add a multiple of the identity.",
    ),
    "singular": (
        [[1.0, 0.0], [0.0, 0.0]],
        "invsqrtm: matrix 1 of the batch is singular to working precision (its smallest eigenvalue is 0·‖A‖_F), and its"
        " inverse is needed here. Add a multiple of the identity, or ask for the inverse on the rest of the space with"
        " pseudo_inverse=True.",
    ),
}


@pytest.mark.parametrize("status", TEXTS)
def test_what_is_said_of_bad_values(status):
    matrix, text = TEXTS[status]
    a = torch.stack([torch.eye(2), torch.tensor(matrix), torch.full((2, 2), NAN)])
    with pytest.raises(LinAlgError) as raised:
        (sqrtm.invsqrtm if status == "singular" else sqrtm.sqrtm)(a)
    assert str(raised.value) == text


@pytest.mark.parametrize(
    ("a", "error", "text"),
    [
        (torch.ones(2, 3), ValueError, "sqrtm: A must have shape (..., n, n), got (2, 3)"),
        (torch.ones(3), ValueError, "sqrtm: A must have shape (..., n, n), got (3,)"),
        (torch.tensor(2.0), ValueError, "sqrtm: A must have shape (..., n, n), got ()"),
        (
            torch.eye(2, dtype=torch.int64),
            TypeError,
            "sqrtm: A must be floating-point or complex, float16, bfloat16, float32, float64, complex64, complex128,"
            " got int64; convert it first, e.g. A.to(torch.float64)",
        ),
        (
            torch.eye(2, dtype=torch.bool),
            TypeError,
            "sqrtm: A must be floating-point or complex, float16, bfloat16, float32, float64, complex64, complex128,"
            " got bool; convert it first, e.g. A.to(torch.float64)",
        ),
        (
            [[1.0, 0.0], [0.0, 1.0]],
            TypeError,
            "sqrtm: A must be a torch.Tensor, got builtins.list; torch.as_tensor(A) makes one",
        ),
    ],
)  # fmt: skip
def test_what_is_said_of_bad_arguments(a, error, text):
    for function in (sqrtm.sqrtm, sqrtm.sqrtm_ex):
        with pytest.raises(error) as raised:
            function(a)
        assert str(raised.value) == text.replace("sqrtm:", f"{function.__name__}:")


@pytest.mark.parametrize("n", [1, 2, 7])
@pytest.mark.parametrize("bad", [INF, -INF, NAN])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_small_symmetric_matrix_that_is_not_finite(n, bad, dtype):
    a = torch.eye(n, dtype=dtype)
    a[-1, -1] = bad
    for function in (sqrtm.sqrtm, sqrtm.invsqrtm):
        with pytest.raises(
            LinAlgError, match=rf"^{function.__name__}: the matrix is not finite: 1 of its {n * n} entries"
        ):
            function(a)
    s, info = sqrtm.sqrtm_ex(a)
    assert s.isnan().all()
    assert sqrtm.STATUSES[info.status.item()] == "non-finite"
