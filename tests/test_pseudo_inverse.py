"""pseudo_inverse=True: A^{-1/2} of singular matrices on the rest of the space."""

import pytest
import torch
from matrices import orthogonal, random_spd, random_symmetric, relative, with_spectrum
from torch.autograd import gradcheck
from torch.func import grad, jvp, vmap

import sqrtm

F32, F64 = torch.float32, torch.float64
METHODS = ["auto", "minimax", "eigh"]


def of_rank(n, rank, batch=(), seed=0):
    """B with A = BBᵀ, and the root of the pseudo-inverse of A."""
    generator = torch.Generator().manual_seed(seed)
    q = orthogonal(n, batch, seed)[..., :rank]
    s = 0.5 + torch.rand(*batch, 1, rank, dtype=F64, generator=generator)
    return q * s @ orthogonal(rank, batch, seed + 1), (q / s) @ q.mT


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("n", "rank"), [(1, 0), (2, 1), (3, 2), (4, 2), (7, 3), (20, 5), (40, 39)])
@pytest.mark.parametrize("dtype", [F32, F64])
def test_is_that_of_the_pseudo_inverse(method, n, rank, dtype):
    b, exact = of_rank(n, rank, (3,))
    a = (b @ b.mT).to(dtype)
    a[1] = exact[1] = torch.eye(n)
    z = sqrtm.invsqrtm(a, method=method, pseudo_inverse=True)
    assert z.dtype == dtype
    torch.testing.assert_close(z, exact.to(dtype), rtol=0, atol=2e-5 if dtype == F32 else 1e-12)
    s, z = sqrtm.sqrtm_pair(a, method=method, pseudo_inverse=True)
    assert relative(s @ s, a) < (2e-6 if dtype == F32 else 1e-13) or rank == 0
    torch.testing.assert_close(z @ s @ z, z, rtol=0, atol=2e-5 if dtype == F32 else 1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_changes_nothing_of_definite_matrices(method):
    a = random_spd(6, (5,)).requires_grad_()
    g = random_symmetric(6, (5,))
    results = []
    for pseudo_inverse in (False, True):
        z = sqrtm.invsqrtm(a, method=method, pseudo_inverse=pseudo_inverse)
        results.append((z, *torch.autograd.grad(z, a, g)))
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("n", "rank"), [(3, 1), (5, 3), (9, 8)])
def test_gradient_at_constant_rank(method, n, rank):
    b, _ = of_rank(n, rank, (2,))
    b.requires_grad_()

    def pair(b):
        return sqrtm.sqrtm_pair(b @ b.mT, method=method, pseudo_inverse=True)

    def exact(b):  # of BBᵀ of this rank
        u, s, _ = torch.linalg.svd(b, full_matrices=False)
        return (u * s[..., None, :]) @ u.mT, (u / s[..., None, :]) @ u.mT

    assert gradcheck(lambda b: pair(b)[1], b)
    direction = torch.randn(b.shape, dtype=F64, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(jvp(pair, (b,), (direction,)), jvp(exact, (b,), (direction,)))
    g = random_symmetric(n, (2,))

    def loss(root, b):
        s, z = root(b)
        return (s * g + z * g @ g).sum()

    torch.testing.assert_close(*(torch.autograd.grad(loss(root, b), b)[0] for root in (pair, exact)))


def test_second_derivatives_are_nan_not_wrong():
    b, _ = of_rank(4, 2)
    b.requires_grad_()
    (x,) = torch.autograd.grad(sqrtm.invsqrtm(b @ b.mT, pseudo_inverse=True).sin().sum(), b, create_graph=True)
    assert x.isfinite().all()
    assert torch.autograd.grad(x.square().sum(), b)[0].isnan().any()


def test_the_verdict_says_singular():
    a = torch.stack([torch.ones(3, 3), torch.eye(3), -torch.eye(3), torch.full((3, 3), torch.nan)]).double()
    for function in (sqrtm.invsqrtm_ex, sqrtm.sqrtm_pair_ex):
        *roots, info = function(a, pseudo_inverse=True)
        assert [sqrtm.STATUSES[code] for code in info.status.tolist()] == ["singular", "ok", "indefinite", "non-finite"]
        assert info.converged.tolist() == [False, True, False, False]
        assert info.error_bound.isfinite().tolist() == [True, True, False, False]
        assert info.inverse_error_bound.isfinite().tolist() == [False, True, False, False]
        assert [x.isfinite().all(-1).all(-1).tolist() for x in roots] == [[True, True, False, False]] * len(roots)
        torch.testing.assert_close(roots[-1][0], torch.ones(3, 3, dtype=F64) / 27**0.5)


def test_composes():
    b, exact = of_rank(5, 3, (4,))
    a = b @ b.mT

    def root(a):
        return sqrtm.invsqrtm(a, pseudo_inverse=True)

    torch.testing.assert_close(vmap(root)(a), exact)
    for method in METHODS:
        torch._dynamo.reset()
        compiled = torch.compile(sqrtm.invsqrtm, fullgraph=True, backend="aot_eager")
        leaf, other = (a.clone().requires_grad_() for _ in range(2))
        z = compiled(leaf, method=method, pseudo_inverse=True)
        torch.testing.assert_close(z, exact)
        z.sin().sum().backward()
        root(other).sin().sum().backward()
        torch.testing.assert_close(leaf.grad, other.grad)
    torch.testing.assert_close(root(a.to(torch.complex128)), exact.to(torch.complex128))
    torch.testing.assert_close(sqrtm.invsqrtm(a, pseudo_inverse=True, max_workspace_bytes=1), exact)


@pytest.mark.parametrize("n", [1, 4, 6, 20])
def test_per_sample_gradients(n):
    b, _ = of_rank(n, max(n - 1, 1), (3,))
    a = torch.cat([b @ b.mT, random_spd(n, (2,))])
    g = random_symmetric(n)
    for method in METHODS:

        def loss(a, m=method):
            s, z = sqrtm.sqrtm_pair(a, method=m, pseudo_inverse=True)
            return (z * g).sum() + (s * g).sin().sum()

        torch.testing.assert_close(vmap(grad(loss))(a), grad(lambda a, f=loss: torch.stack([f(x) for x in a]).sum())(a))
    torch._dynamo.reset()
    compiled = torch.compile(vmap(grad(loss)), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(a), vmap(grad(loss))(a))


def test_subnormal_matrices_have_no_null_space():
    for tiny in (torch.tensor([[1e-40]]), torch.eye(3) * 1e-40, torch.eye(6, dtype=F64) * 1e-310):
        leaf = tiny.clone().requires_grad_()
        s, z = sqrtm.sqrtm_pair(leaf, pseudo_inverse=True)
        (found,) = torch.autograd.grad(s.sum() + 0 * z.sum(), leaf)
        (expected,) = torch.autograd.grad(sqrtm.sqrtm(leaf).sum(), leaf)
        torch.testing.assert_close(found, expected)


def test_what_it_is_refused_with():
    for wrong in ("yes", None, 2, torch.tensor(True)):
        for n in (2, 90):  # small matrices have a way of their own
            with pytest.raises(TypeError, match=r"^sqrtm_pair: pseudo_inverse must be True or False"):
                sqrtm.sqrtm_pair(random_spd(n), pseudo_inverse=wrong)
            with pytest.raises(TypeError, match=r"^invsqrtm_ex: pseudo_inverse must be True or False"):
                sqrtm.invsqrtm_ex(random_spd(n), pseudo_inverse=wrong)
    a = torch.ones(2, 2)
    by_difference = {"method": "eigh", "gradient": "matrix-backprop"}
    own = {"method": "eigh", "gradient": sqrtm.LyapunovEigh(rtol=0.1)}
    for kwargs in ({"method": "newton-schulz"}, {"method": "svd"}, {"gradient": "lyapunov-eigh"}, by_difference, own):
        with pytest.raises(ValueError, match=r"^invsqrtm: pseudo_inverse=True needs .* got"):
            sqrtm.invsqrtm(a, pseudo_inverse=True, **kwargs)
    with pytest.raises(torch.linalg.LinAlgError, match=r"singular .* pseudo_inverse=True"):
        sqrtm.invsqrtm(a)
    with pytest.raises(torch.linalg.LinAlgError, match="not positive semidefinite"):
        sqrtm.invsqrtm(with_spectrum([1.0, -1.0]), pseudo_inverse=True)
