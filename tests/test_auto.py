"""The promise of ``auto``: accuracy for any spectrum, size and scale, and a certificate that is true."""

import pytest
import torch
from matrices import random_spd, random_symmetric, relative, with_spectrum

import sqrtm
from sqrtm._auto import choose
from sqrtm._certificate import prove_one
from sqrtm.compare.reference import reference
from sqrtm.gradients import LyapunovEigh
from sqrtm.methods._eigen import eigen_roots
from sqrtm.methods.routed import CLOSED, EIGEN, EIGEN32, ITERATE, ROUTES, SMALL, Routed, Table, pivot_ratio, route

F32, F64 = torch.float32, torch.float64


def spectra(n, condition):
    """Named spectra of this condition number, the largest eigenvalue 1."""
    t = torch.linspace(0, 1, n, dtype=F64)
    clustered = torch.where(torch.arange(n) % 3 == 0, 1.0, 1 / condition).double() * (1 + 1e-3 * t)
    ties = torch.cat([torch.ones(n - n // 2, dtype=F64), torch.full((n // 2,), 1 / condition, dtype=F64)])
    tiny, huge = torch.ones(n, dtype=F64), torch.full((n,), 1 / condition, dtype=F64)
    tiny[-1], huge[0] = 1 / condition, 1
    return {
        "logarithmic": condition ** (-t),
        "linear": 1 - t * (1 - 1 / condition),
        "clustered": clustered / clustered.max(),
        "ties": ties,
        "one tiny": tiny,
        "one huge": huge,
    }


def exact(a, g):
    """Root, inverse root and gradient in float64, of a matrix that is exactly ``a``."""
    root, gradient = reference(a, g, extended=a.dtype == F64)
    values, q = torch.linalg.eigh(a.double())
    return root, gradient, (q / values.clamp(min=1e-300).sqrt()[..., None, :]) @ q.mT


def plain_eigh_errors(a, g, root, gradient):
    """Errors of float32 `eigh` with the Loewner form, which the promise is relative to above κ = 1e4.

    The largest for three orders of rows and columns: in one it can be a small fraction of what it is in others.
    """
    errors = []
    for shift in (0, a.shape[-1] // 3, a.shape[-1] // 2):
        there, back = ((sign * shift, sign * shift) for sign in (1, -1))
        values, q = torch.linalg.eigh(a.roll(there, (-2, -1)))
        s = values.clamp(min=0).sqrt()
        x = LyapunovEigh(rtol=0.0).solve(s, g.roll(there, (-2, -1)), (s, q), True)
        plain = (q * s[..., None, :]) @ q.mT
        errors.append((root.error(plain.roll(back, (-2, -1))), gradient.error(x.roll(back, (-2, -1)))))
    return tuple(torch.stack(part).amax(0) for part in zip(*errors, strict=True))


def forced(how):
    """Options that compute everything one way, as `Auto` does for some n and batch."""
    return {"method": Routed(how)}


BATCHED = [1, 2, 3, 4, 5, 17, 64]
"""Enough copies of these to leave the rows for small batches."""
CONDITIONS = {
    F32: (1.0, 1.65, 10.0, 1e2, 1e3, 9e3, 5e4, 2e5, 1e6, 1e12),
    F64: (1.0, 1.65, 10.0, 1e2, 1e4, 4e5, 1e6, 1e9, 1e12),
}


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("n", [*BATCHED, 33, 127, 200, 512])
def test_the_promise(n, dtype):
    for condition in CONDITIONS[dtype]:
        named = spectra(n, condition)
        if n == 512:
            if condition not in (1.65, 1e2, 9e3, 4e5):
                continue
            named = {name: named[name] for name in ("logarithmic", "one tiny")}
        spectrum = torch.stack(list(named.values()))
        a = with_spectrum(spectrum, seed=n, dtype=dtype)
        g = random_symmetric(n, (len(a),), dtype=dtype)
        root, gradient, inverse = exact(a, g)
        copies = -(-140_000 // (len(a) * n * n)) if n in BATCHED else 1
        leaf = a.repeat(copies, 1, 1).requires_grad_()
        s, info = sqrtm.sqrtm_ex(leaf)
        (x,) = torch.autograd.grad(s, leaf, g.repeat(copies, 1, 1))
        s, x, info = s.detach()[: len(a)], x[: len(a)], sqrtm.Info(*(y[: len(a)] for y in info))
        errors, gradient_errors = root.error(s), gradient.error(x)
        assert (info.error_bound >= errors * (1 - 1e-12)).all(), (condition, info.error_bound, errors)
        assert (info.residual >= 0).all()
        if dtype == F64:
            kept = errors <= 1e-11
            assert condition > 1e6 or (kept.all() and (gradient_errors <= 1e-10).all()), (condition, gradient_errors)
        elif condition <= 1e4:
            limit = 5e-6 if condition <= 1e3 else 1.2e-5
            kept = errors <= limit
            assert kept.all(), (condition, errors)
            assert (gradient_errors <= (3e-5 if condition <= 1e3 else 3e-4)).all(), (condition, gradient_errors)
            z = sqrtm.invsqrtm(a.repeat(copies, 1, 1))[: len(a)].double()
            assert relative(z, inverse) <= (5e-5 if condition <= 1e3 else 5e-4), condition
        else:
            known, known_gradient = plain_eigh_errors(a, g, root, gradient)
            kept = errors <= 2 * known + 2e-7
            assert kept.all(), (condition, errors, known)
            if condition <= 1e6:  # beyond, what is zero and what is not is a matter of convention
                assert (gradient_errors <= 2 * known_gradient + 2e-7).all(), (condition, gradient_errors)
        assert not (info.converged & ~kept).any()
        if condition <= (10 if dtype == F32 else 1e4):
            assert info.converged.all(), (condition, info)
            assert (info.status == 0).all()


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("size", [1e-30, 1e-10, 1e10, 1e30])
def test_scale_does_not_matter(size, dtype):
    for n, copies in ((2, 10_000), (3, 10_000), (5, 6000), (64, 40), (100, 8)):
        spectrum = torch.stack([*spectra(n, 1.65).values(), *spectra(n, 1e3).values()])
        a = (with_spectrum(spectrum) * size).to(dtype)
        g = random_symmetric(n, (len(a),), dtype=dtype)
        leaf = a.repeat(copies, 1, 1).requires_grad_()
        s, z, info = sqrtm.sqrtm_pair_ex(leaf)
        (x,) = torch.autograd.grad(s, leaf, g.repeat(copies, 1, 1))
        root, gradient = reference(a.double() / size, g, extended=False)
        tolerance, loose = (5e-6, 3e-5) if dtype == F32 else (1e-11, 1e-10)
        first = slice(0, len(a))
        assert root.error(s.detach()[first].double() / size**0.5).max() <= tolerance
        assert gradient.error(x[first].double() * size**0.5).max() <= loose
        assert (
            relative(s[first].detach().double() @ z[first].detach().double(), torch.eye(n).expand(len(a), n, n)) < loose
        )
        assert info.converged[:6].all()  # κ = 1.65


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("n", [1, 2, 3, 8, 64, 200])
def test_singular_and_zero_matrices(n, dtype):
    b = torch.randn(40, n, max(1, n // 2), dtype=F64, generator=torch.Generator().manual_seed(n))
    b = b.to(dtype).requires_grad_()
    c = random_symmetric(n, dtype=dtype)
    a = b @ b.mT
    s, info = sqrtm.sqrtm_ex(a)
    (found,) = torch.autograd.grad((c * s).sum(), b)
    assert found.isfinite().all()
    with torch.no_grad():  # 2XB with the pseudo-inverse solution X, from the SVD of B in float64
        u, roots, _ = torch.linalg.svd(b.double(), full_matrices=True)
        roots = torch.nn.functional.pad(roots, (0, n - roots.shape[-1]))
        sums = roots[..., :, None] + roots[..., None, :]
        x = u @ torch.where(sums > 0, (u.mT @ c.double() @ u) / sums, 0.0) @ u.mT
        assert relative(found, 2 * x @ b.double()) < (2e-3 if dtype == F32 else 1e-6)
        root = (u * roots[..., None, :]) @ u.mT
        assert relative(s, root) < (1e-3 if dtype == F32 else 1e-7)  # √eps: of the rounding of A
    assert info.error_bound.isfinite().all()
    zero = torch.zeros(40, n, n, dtype=dtype, requires_grad=True)
    s, info = sqrtm.sqrtm_ex(zero)
    (x,) = torch.autograd.grad(s.sum(), zero)
    assert not s.any()
    assert not x.any()
    assert not info.residual.any()
    assert info.converged.all()


def test_one_hard_matrix_changes_no_bit_of_the_others():
    good = with_spectrum(torch.stack(list(spectra(24, 3.0).values())), dtype=F32).repeat(60, 1, 1)
    hard = torch.stack([*with_spectrum(torch.stack(list(spectra(24, 1e5).values())), dtype=F32), torch.zeros(24, 24)])
    g = random_symmetric(24, dtype=F32)

    def results(a):
        leaf = a.clone().requires_grad_()
        s = sqrtm.sqrtm(leaf, method="minimax", gradient="lyapunov-chebyshev")
        return s.detach(), torch.autograd.grad((s * g).sum(), leaf)[0]

    alone, mixed = results(good), results(torch.cat([hard, good]))
    for one, other in zip(alone, mixed, strict=True):
        assert torch.equal(one, other[len(hard) :])


def test_bad_matrices_leave_the_others_alone():
    a = random_spd(16, (600,), dtype=F32)
    bad = a.clone()
    bad[3, 0, 0], bad[100], bad[250, 1, 2], bad[400, 5, 6] = float("nan"), -a[100], 7.0, float("inf")
    expected = {3: "non-finite", 100: "indefinite", 250: "asymmetric", 400: "non-finite"}
    ok = torch.ones(600, dtype=torch.bool)
    ok[list(expected)] = False
    for method in ("auto", "minimax", "eigh", "newton-schulz"):
        leaf, clean = bad.clone().requires_grad_(), a.clone().requires_grad_()
        s, info = sqrtm.sqrtm_ex(leaf, method=method)
        assert {i: sqrtm.STATUSES[int(info.status[i])] for i in (~ok).nonzero()[:, 0].tolist()} == expected
        assert not info.converged[~ok].any()
        assert info.error_bound[~ok].isinf().all()
        assert s[~ok].isnan().all()
        (x,) = torch.autograd.grad(torch.where(ok[:, None, None], s, 0.0).sum(), leaf)
        alone = sqrtm.sqrtm(clean, method=method)
        (y,) = torch.autograd.grad(alone.sum(), clean)
        assert relative(s[ok].detach(), alone[ok].detach()) < 1e-6
        assert relative(x[ok], y[ok]) < 1e-5
        assert not x[~ok].any()


def test_a_root_that_is_not_the_principal_one_is_not_certified():
    from sqrtm._certificate import prove

    a = with_spectrum(torch.linspace(1, 2, 6, dtype=F64))[None]
    values, q = torch.linalg.eigh(a)
    signs = torch.tensor([1.0, 1, 1, 1, 1, -1], dtype=F64)
    wrong = (q * (signs * values.sqrt())[..., None, :]) @ q.mT
    right = (q * values.sqrt()[..., None, :]) @ q.mT
    assert relative(wrong @ wrong, a) < 1e-14
    assert prove(a, wrong, torch.linalg.inv(wrong)).error.isinf().all()
    assert prove(a, right, torch.linalg.inv(right)).error < 1e-13
    off = prove(a, right + 1e-3 * torch.eye(6, dtype=F64), None)
    assert 1e-3 / 3 < float(off.error) < 3e-3


def test_named_methods_are_certified_too():
    a = with_spectrum(torch.logspace(0, -4, 32, dtype=F64))[None]
    root, _ = reference(a, a, extended=True)
    for method, good in (
        ("newton-schulz", False),
        (sqrtm.NewtonSchulz(steps=40), True),
        ("taylor", False),
        ("eigh", True),
    ):
        s, info = sqrtm.sqrtm_ex(a, method=method)
        assert info.error_bound >= root.error(s)
        assert bool(info.converged) == good
        assert sqrtm.STATUSES[int(info.status)] == ("ok" if good else "not converged")
    assert int(sqrtm.sqrtm_ex(a, method=sqrtm.NewtonSchulz(steps=40))[1].steps) == 40


def test_pair_ex_and_empty_batches():
    a = torch.stack([torch.eye(3), torch.ones(3, 3), torch.eye(3) * 4]).double()
    s, z, info = sqrtm.sqrtm_pair_ex(a)
    assert [sqrtm.STATUSES[int(code)] for code in info.status] == ["ok", "singular", "ok"]
    assert z[1].isnan().all()
    torch.testing.assert_close(z[2], torch.eye(3, dtype=F64) / 2)
    assert (info.inverse_error_bound[[0, 2]] < 1e-12).all()
    s, info = sqrtm.sqrtm_ex(torch.zeros(0, 2, 3, 3))
    assert s.shape == (0, 2, 3, 3)
    assert all(field.shape == (0, 2) for field in info)
    s, info = sqrtm.sqrtm_ex(random_spd(4, (2, 3)))
    assert info.status.shape == (2, 3)


def test_routes_and_what_explains_them():
    assert route(64, 128 * 64**2, F32)[0] == ROUTES[F32][16] == Routed(ITERATE, ITERATE, EIGEN, 2000)
    assert route(2, 10 * 2**2, F32)[0] == Routed(EIGEN)
    assert route(4, 10**6 * 4**2, F64)[0] == Routed(CLOSED)
    assert route(512, 8 * 512**2, F32)[0] == Routed(ITERATE, EIGEN32, EIGEN, 12)
    assert (
        sqrtm.explain(with_spectrum(torch.linspace(1, 2, 700)).float())
        .splitlines()[1]
        .startswith("n ≥ 700: Cholesky pivots within a factor of 12: eigh in float32; others: eigh in float64")
    )
    assert route(16, 16**2, F32)[0] == SMALL[F32][1][30_000]
    assert choose("auto", "auto", torch.eye(3, device="meta")) == (sqrtm.Eigh(), sqrtm.LyapunovEigh())
    assert choose("auto", "auto", torch.eye(3)) == (Table(), sqrtm.LyapunovChebyshev())
    assert choose("newton-schulz", "auto", torch.eye(3)) == (sqrtm.NewtonSchulz(), sqrtm.LyapunovEigh())
    easy, hard = (with_spectrum(torch.logspace(0, -k, 32, dtype=F64)).repeat(200, 1, 1) for k in (0.1, 4))
    text = sqrtm.explain(torch.cat([easy, hard]))
    assert "400 matrices 32 × 32, float64, cpu" in text
    assert "200 by minimax" in text
    assert "200 by eigenvalues" in text
    assert "up to 30000 elements" in sqrtm.explain(torch.eye(8))
    assert "100000 by closed form: gradient by" in sqrtm.explain(torch.eye(3).repeat(100_000, 1, 1))
    assert "on meta: eigh" in sqrtm.explain(torch.eye(3, device="meta"))


def test_what_runs_for_a_matrix_does_not_depend_on_its_neighbours():
    # Two clusters: the bound proves κ ≤ 19, but not at first sight, where nobody else makes it be computed.
    clusters = with_spectrum(torch.tensor([0.45] * 16 + [1.55] * 16, dtype=F64)).repeat(100, 1, 1)
    easy = torch.eye(32, dtype=F64).repeat(100, 1, 1)
    alone = sqrtm.sqrtm_ex(clusters)[1].steps
    assert torch.equal(sqrtm.sqrtm_ex(torch.cat([easy, clusters]))[1].steps[100:], alone)


@pytest.mark.parametrize("method", ["taylor", "pade"])
@pytest.mark.parametrize("dtype", [F32, F64])
def test_bounds_on_large_errors_are_relative_to_the_exact_root(method, dtype):
    a = torch.diag(torch.tensor([1.0, 1e-3], dtype=dtype))  # the computed root is larger than the exact one
    s, z, info = sqrtm.sqrtm_pair_ex(a, method=method)
    exact = a.diagonal().double().sqrt().diag()
    for x, truth, bound in ((s, exact, info.error_bound), (z, exact.inverse(), info.inverse_error_bound)):
        assert relative(x[None], truth[None]) <= bound


def test_roots_are_symmetric_to_the_bit_where_many_steps_are_taken():
    a = with_spectrum(torch.logspace(0, -3, 40, dtype=F64), dtype=F32).repeat(100, 1, 1)
    for root in sqrtm.sqrtm_pair(a, method="minimax"):
        assert torch.equal(root, root.mT)


def test_converged_of_a_pair_is_about_both():
    from sqrtm._info import inform

    a = with_spectrum(torch.linspace(1, 2, 6, dtype=F64))[None]
    s, z = sqrtm.sqrtm_pair(a)
    verdict = torch.zeros(1, 2, dtype=torch.int64)
    assert inform(a, s, z, verdict, F64).converged
    assert not inform(a, s, z + 1e-6, verdict, F64).converged
    assert inform(a, s, None, verdict, F64).converged


def test_errors_name_the_matrix_as_the_caller_counts():
    one, many = -torch.eye(3), torch.eye(24).repeat(20, 20, 1, 1)
    many[3, 4] *= -1
    with pytest.raises(torch.linalg.LinAlgError, match="sqrtm: the matrix is not positive"):
        sqrtm.sqrtm(one)
    with pytest.raises(torch.linalg.LinAlgError, match=r"matrix \[3, 4\] of the batch is not positive"):
        sqrtm.sqrtm(many)
    with pytest.raises(torch.linalg.LinAlgError, match=r"matrix \[3, 4\] of the batch is not positive"):
        torch.func.vmap(sqrtm.sqrtm)(many)
    with pytest.raises(NotImplementedError, match="under vmap; it takes batches of any shape"):
        torch.func.vmap(sqrtm.explain)(many)


@pytest.mark.parametrize("a", [[[1.0]], torch.eye(2).int(), torch.eye(2).bool(), torch.eye(2).to(torch.float8_e5m2)])
def test_wrong_types(a):
    for function in (sqrtm.sqrtm_ex, sqrtm.invsqrtm_ex, sqrtm.sqrtm_pair_ex, sqrtm.explain):
        with pytest.raises(TypeError, match=f"^{function.__name__}: A must be"):
            function(a)


@pytest.mark.parametrize("how", [EIGEN, EIGEN32, ITERATE])
def test_every_route_gives_the_same(how):
    a = with_spectrum(torch.stack([10.0 ** (-k * torch.linspace(0, 1, 12, dtype=F64)) for k in (0.2, 1, 2.5)]))
    a = torch.cat([a, torch.zeros(1, 12, 12, dtype=F64)]).float()
    found = sqrtm.sqrtm(a, **forced(how))
    root, _ = reference(a, a, extended=False)
    assert root.error(found).max() < 5e-6


def test_mixed_routes_of_one_batch():
    n = 120
    kinds = [1.5, 50.0, 1e5]
    a = torch.stack([with_spectrum(k ** (-torch.linspace(0, 1, n, dtype=F64))) for k in kinds]).repeat(4, 1, 1).float()
    estimates = pivot_ratio(a)
    assert ((estimates > 12) == (torch.arange(12) % 3 == 2)).all()
    assert pivot_ratio(-a).isinf().all()
    g = random_symmetric(n, (12,), dtype=F32)
    leaf = a.clone().requires_grad_()
    s = sqrtm.sqrtm(leaf, method=Routed(ITERATE, EIGEN32, EIGEN, 12))
    (x,) = torch.autograd.grad(s, leaf, g)
    root, gradient = reference(a, g, extended=False)
    assert root.error(s.detach()).max() < 5e-6
    assert gradient.error(x).max() < 3e-5


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_closed_form(n, dtype):
    from sqrtm.methods._closed_form import closed_form_roots, solve_lyapunov

    for condition in (1.0, 1.5, 1e2, 1e4, 1e5):
        a = with_spectrum(torch.stack(list(spectra(n, condition).values())), dtype=dtype).repeat(20, 1, 1)
        g = random_symmetric(n, (len(a),), dtype=dtype)
        roots, wrong = closed_form_roots(a, True)
        assert not wrong.any()
        root, gradient = reference(a, g, extended=dtype == F64)
        eps = torch.finfo(dtype).eps
        x = solve_lyapunov(roots.sqrt, g)
        assert root.error(roots.sqrt).max() < (eps if dtype == F32 else 1e-13)
        assert gradient.error(x).max() < 8 * eps * condition**0.5 + 1e-11
        identity = torch.eye(n, dtype=F64).expand(len(a), n, n)
        assert relative(roots.sqrt.double() @ roots.invsqrt.double(), identity) < 8 * eps * condition**0.5
    if dtype == F64:
        for condition in (9e5, 4e6, 2e9):  # the last is left to eigenvalues for n = 4
            a = with_spectrum([1.0] + [1 / condition] * (n - 1)).repeat(3000, 1, 1).requires_grad_()
            g = random_symmetric(n).expand_as(a)
            (x,) = torch.autograd.grad(sqrtm.sqrtm(a), a, g)
            assert reference(a[:1].detach(), g[:1], extended=True)[1].error(x[:1]).max() < 1e-11
    nearly = torch.eye(n, dtype=F64)
    nearly[0, 0] = 1e-12
    for bad in (torch.zeros(n, n), -torch.eye(n), nearly if n > 1 else -nearly, torch.eye(n) * float("nan")):
        _, wrong = closed_form_roots(torch.stack([torch.eye(n), bad]).to(dtype), True)
        assert wrong.tolist() == [False, True], bad


def test_float64_gradients_are_corrected_where_the_rounding_of_an_eigensolver_would_be_seen():
    for n, copies in ((12, 250), (40, 2)):  # in the large and in the small rows
        a = with_spectrum(torch.stack([*spectra(n, 1e6).values(), *spectra(n, 1.5).values()])).repeat(copies, 1, 1)
        g = random_symmetric(n, (len(a),))
        leaf = a.clone().requires_grad_()
        (x,) = torch.autograd.grad(sqrtm.sqrtm(leaf), leaf, g)
        _, gradient = reference(a[:12], g[:12], extended=True)
        assert gradient.error(x[:12]).max() < 8e-11
    evenly, one = (with_spectrum(spectra(120, 1e6)[name])[None] for name in ("logarithmic", "one tiny"))
    assert eigen_roots(evenly, False, differentiated=True).defect is None
    assert eigen_roots(one, False, differentiated=True).defect is not None
    assert eigen_roots(one, False).defect is None


def test_the_gradient_of_small_matrices_needs_nothing_but_the_root():
    a = random_spd(3, (3000,)).requires_grad_()
    s = sqrtm.sqrtm(a)
    kept = [x for x in s.grad_fn.next_functions[0][0].saved_tensors if x is not None]
    assert sum(x.numel() for x in kept if x.data_ptr() != s.data_ptr()) <= 5 * len(a)


def test_the_table_is_what_its_script_writes():
    import subprocess
    import sys
    from pathlib import Path

    script = Path(__file__).parents[1] / "tools" / "minimax_table.py"
    assert subprocess.run([sys.executable, str(script), "--check"], check=False).returncode == 0


def test_large_batches_are_computed_in_pieces_with_the_same_results(monkeypatch):
    from sqrtm.methods import _base

    a = torch.cat([random_spd(6, (40,), dtype=F32), torch.zeros(3, 6, 6), random_spd(6, (40,), seed=1, dtype=F32)])
    g = random_symmetric(6, dtype=F32)

    def results():
        leaf = a.clone().requires_grad_()
        s, info = sqrtm.sqrtm_ex(leaf, method="minimax")
        return s.detach(), *info, torch.autograd.grad((s * g).sum(), leaf)[0]

    whole = results()
    monkeypatch.setattr(_base, "CHUNK_BYTES", 6 * 6 * 4 * 7)
    for one, other in zip(whole, results(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)
    bad = a.clone()
    bad[50, 0, 0] = -3
    with pytest.raises(torch.linalg.LinAlgError, match="matrix 50 of the batch is not positive"):
        sqrtm.sqrtm(bad, method="minimax")


def test_a_matrix_that_confuses_the_iteration_does_not_confuse_its_neighbours():
    a = random_spd(16, (600,), dtype=F32)
    a[5] = 1e-40 * torch.eye(16)  # its trace has no reciprocal in float32
    s = sqrtm.sqrtm(a)
    assert relative(s @ s, a) < 1e-5
    huge = random_spd(16, (600,), dtype=F32)
    huge[7] = -1e10 * torch.eye(16)
    s, info = sqrtm.sqrtm_ex(huge)
    assert info.status.nonzero().tolist() == [[7]]
    assert s[torch.arange(600) != 7].isfinite().all()


def test_pieces_of_different_kinds_keep_their_own_factors():
    hard = with_spectrum(torch.logspace(0, -4, 64, dtype=F64))
    a = torch.cat([2 * torch.eye(64, dtype=F64).repeat(64, 1, 1), hard.repeat(64, 1, 1)]).requires_grad_()
    g = random_symmetric(64)
    s, _ = sqrtm.sqrtm_pair(a, method=Routed(ITERATE, EIGEN, EIGEN))
    (x,) = torch.autograd.grad((s * g).sum(), a)
    leaf = hard.clone().requires_grad_()
    (expected,) = torch.autograd.grad((sqrtm.sqrtm(leaf, method="eigh") * g).sum(), leaf)
    assert relative(x[64:], expected.expand(64, 64, 64)) < 1e-9


def test_extreme_sizes_of_very_small_matrices():
    for size in (1e-200, 1e200):
        a = with_spectrum(torch.tensor([[1.0, 1e-3, 1e-6]], dtype=F64)).repeat(3000, 1, 1) * size
        s = sqrtm.sqrtm(a)
        assert relative(s @ s / size, a / size) < 1e-14


def test_a_masked_loss_of_both_roots():
    a = random_spd(16, (600,), dtype=F32)
    a[1], a[2] = float("nan"), 0
    a.requires_grad_()
    s, z, info = sqrtm.sqrtm_pair_ex(a)
    (x,) = torch.autograd.grad(torch.where((info.status == 0)[:, None, None], s + z, 0.0).sum(), a)
    assert x.isfinite().all()
    assert not x[1:3].any()


@pytest.mark.parametrize("n", [1, 2, 4, 9])
@pytest.mark.parametrize("disturbed", ["", "symmetric", "skew"])
def test_the_bound_of_one_small_matrix(n, disturbed):
    for seed in range(20):
        root = with_spectrum(torch.linspace(0.5, 1, n), seed)
        a = (root @ root).float()
        s = with_spectrum(torch.linspace(0.5, 1, n), seed, F32)
        noise = torch.randn(n, n, generator=torch.Generator().manual_seed(seed)) * 1e-3
        if disturbed == "symmetric":
            s = s + noise + noise.T
        elif disturbed == "skew":
            s = s + noise - noise.T
        values, q = torch.linalg.eigh((a.double() + a.double().T) / 2)
        exact = (q * values.sqrt()) @ q.T
        error = float((s.double() - exact).norm() / exact.norm())
        residual, bound = prove_one(((a + a.T) / 2).tolist(), s.tolist(), float(values[0]) ** 0.5)
        assert error <= bound <= 4 * error + 1e-6
        symmetric = (s.double() + s.double().T) / 2
        expected = float((a.double() - symmetric @ symmetric).norm() / a.double().norm())
        assert expected - 1e-7 <= residual <= 1.01 * expected + 1e-7
    assert prove_one([[1.0]], [[1.0]], 2.0) is None  # nothing is believed of the eigenvalue that is given
    assert prove_one([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, -1.0]], 1.0) is None


def test_one_small_matrix_gets_that_bound():
    for n in (1, 4, 9, 16):
        a = random_spd(n, dtype=F32)
        _, info = sqrtm.sqrtm_ex(a)
        s = sqrtm.sqrtm(a)
        least = torch.linalg.eigvalsh(s.double())[0].item()
        assert info.error_bound.item() == pytest.approx(prove_one(a.tolist(), s.tolist(), least)[1], rel=1e-3)
