"""Composing with torch.func, torch.compile and autocast."""

import pytest
import torch
from matrices import random_spd
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vmap

import sqrtm
from sqrtm._place import place_of

PAIRS = [
    ("auto", "auto"),
    ("svd", "matrix-backprop"),
    ("newton-schulz", "lyapunov-newton-schulz"),
    ("newton-schulz", "unrolled"),
    ("product-denman-beavers", "lyapunov-eigh"),
    ("minimax", "lyapunov-chebyshev"),
    ("eigh", "lyapunov-chebyshev"),
]
by_pair = pytest.mark.parametrize(("method", "gradient"), PAIRS)


def functions(method, gradient):
    def root(a):
        return sqrtm.sqrtm((a + a.mT) / 2, method=method, gradient=gradient)

    return root, lambda a: root(a).sin().sum()


@by_pair
def test_vmap(method, gradient):
    root, loss = functions(method, gradient)
    a = random_spd(4, (3, 2))
    torch.testing.assert_close(vmap(root)(a), root(a))
    torch.testing.assert_close(vmap(vmap(root))(a), root(a))
    torch.testing.assert_close(vmap(root, in_dims=1, out_dims=1)(a), root(a))
    torch.testing.assert_close(vmap(grad(loss))(a), grad(loss)(a))
    torch.testing.assert_close(vmap(root, in_dims=-1)(a.movedim(0, -1)), root(a))
    pair = vmap(lambda a: sqrtm.sqrtm_pair(a, method=method, gradient=gradient))(a)
    torch.testing.assert_close(pair, sqrtm.sqrtm_pair(a, method=method, gradient=gradient))


@by_pair
def test_derivatives_of_derivatives(method, gradient):
    root, loss = functions(method, gradient)
    a = random_spd(3, (2,))
    direction = random_spd(3, (2,), seed=1)
    (x,) = torch.autograd.grad(loss(leaf := a.clone().requires_grad_()), leaf)
    torch.testing.assert_close(grad(loss)(a), x)
    torch.testing.assert_close(jvp(loss, (a,), (direction,))[1], (x * direction).sum())
    torch.testing.assert_close(jacrev(root)(a[0]), jacfwd(root)(a[0]))
    torch.testing.assert_close(hessian(loss)(a[0]), jacrev(jacrev(loss))(a[0]))
    torch.testing.assert_close(jacfwd(jacfwd(loss))(a[0]), jacrev(jacfwd(loss))(a[0]))
    torch.testing.assert_close(vmap(hessian(loss))(a)[0], hessian(loss)(a[0]))


@pytest.mark.parametrize("gradient", ["lyapunov-eigh", "matrix-backprop", sqrtm.LyapunovNewtonSchulz(steps=20)])
def test_reverse_over_forward_of_one_entry(gradient):
    # One entry of the tangent: a cotangent that is not symmetric, into a solve of a symmetric equation.
    a, direction = random_spd(4), random_spd(4, seed=1)

    def entry(a, direction, **kwargs):
        return jvp(lambda a: sqrtm.sqrtm((a + a.mT) / 2, **kwargs), (a,), (direction,))[1][0, 2]

    found = grad(entry, argnums=(0, 1))(a, direction, gradient=gradient)
    exact = {"method": sqrtm.NewtonSchulz(steps=20), "gradient": "unrolled"}
    torch.testing.assert_close(found, grad(entry, argnums=(0, 1))(a, direction, **exact))


def test_vmap_of_solve_lyapunov_over_one_argument():
    s, g = random_spd(3), random_spd(3, (4,), seed=1)
    expected = sqrtm.solve_lyapunov(s, g)
    torch.testing.assert_close(vmap(sqrtm.solve_lyapunov, in_dims=(None, 0))(s, g), expected)

    def loss(s, g):
        return sqrtm.solve_lyapunov(s, g).sin().sum()

    per_sample = vmap(grad(loss), in_dims=(None, 0))(s, g)
    torch.testing.assert_close(per_sample.sum(0), grad(loss)(s, g))


@by_pair
def test_compile(method, gradient):
    root, loss = functions(method, gradient)
    torch._dynamo.reset()
    compiled = torch.compile(root, fullgraph=True, backend="aot_eager")
    a = random_spd(4, (3, 2))
    torch.testing.assert_close(compiled(a), root(a))
    leaf = a.clone().requires_grad_()
    (x,) = torch.autograd.grad(compiled(leaf).sin().sum(), leaf)
    torch.testing.assert_close(x, grad(loss)(a))
    with pytest.raises(torch.linalg.LinAlgError, match="not positive semidefinite"):
        compiled(-a)


def test_compile_of_the_other_functions():
    a = random_spd(4, (3,))
    for function, inputs in ((sqrtm.sqrtm_pair, (a,)), (sqrtm.invsqrtm, (a,)), (sqrtm.solve_lyapunov, (a, a))):
        torch._dynamo.reset()
        compiled = torch.compile(function, fullgraph=True, backend="aot_eager", dynamic=True)
        for part in (slice(0, 3), slice(0, 2)):
            small = [x[part] for x in inputs]
            torch.testing.assert_close(compiled(*small), function(*small))


@by_pair
def test_vmap_over_an_empty_axis(method, gradient):
    root, loss = functions(method, gradient)
    assert vmap(root)(torch.zeros(0, 3, 3)).shape == (0, 3, 3)
    assert vmap(grad(loss))(torch.zeros(0, 3, 3)).shape == (0, 3, 3)


def test_transforms_without_grad_mode():
    s, g, direction = random_spd(4), random_spd(4, seed=1), random_spd(4, seed=2)

    def solve(s):
        return sqrtm.solve_lyapunov((s + s.mT) / 2, g)

    expected = jvp(solve, (s,), (direction,))[1]
    with torch.no_grad():
        torch.testing.assert_close(jvp(solve, (s,), (direction,))[1], expected)
    leaf = s.clone().requires_grad_()
    basis = torch.eye(16, dtype=s.dtype).reshape(16, 4, 4)
    for method in ("auto", "minimax", "eigh"):
        root = sqrtm.sqrtm(leaf, method=method)
        (batched,) = torch.autograd.grad(root, leaf, basis, is_grads_batched=True, retain_graph=True)
        rows = [torch.autograd.grad(root, leaf, row, retain_graph=True)[0] for row in basis]
        torch.testing.assert_close(batched, torch.stack(rows))
        (batched,) = torch.autograd.grad(root, leaf, basis, is_grads_batched=True, create_graph=True)
        rows = [torch.autograd.grad(root, leaf, row, create_graph=True)[0] for row in basis]
        second = [
            torch.autograd.grad(x.square().sum(), leaf, retain_graph=True)[0] for x in (batched, torch.stack(rows))
        ]
        torch.testing.assert_close(*second)


def test_vmap_of_solve_lyapunov_by_products():
    s, g = random_spd(3, (4,)), random_spd(3, seed=1)
    found = vmap(lambda s: sqrtm.solve_lyapunov(s, g, method="minimax"))(s)
    torch.testing.assert_close(found, sqrtm.solve_lyapunov(s, g))


@pytest.mark.parametrize("n", [3, 12])
def test_operators_return_what_they_announce(n):
    from sqrtm import _info
    from sqrtm.gradients import _traced

    for a in (random_spd(n, (2500,)), random_spd(n, (3,), dtype=torch.float32), random_spd(n, (3,)).mT):
        for method in ("auto", "minimax"):
            tests = ("test_schema", "test_faketensor")
            inputs = (a, method, True, True, "sqrtm", a.dtype, list(place_of((len(a),))))
            torch.library.opcheck(_traced.roots, inputs, test_utils=tests)
            s, z, *factors, verdict = _traced.roots(*inputs)
            torch.library.opcheck(_info.operator, (a, s, z, verdict, a.dtype), test_utils=tests)
            torch.library.opcheck(_traced.solve, (s, a.mT, factors, True, None), test_utils=tests)


def test_meta_tensors():
    a = torch.eye(3, device="meta").expand(4, 3, 3)
    for result in (
        sqrtm.sqrtm(a, method="newton-schulz"),
        sqrtm.invsqrtm(a, method="eigh"),
        sqrtm.solve_lyapunov(a, a),
    ):
        assert result.shape == (4, 3, 3)
        assert result.device.type == "meta"


def test_bad_values_raise_under_vmap():
    with pytest.raises(torch.linalg.LinAlgError, match="not positive semidefinite"):
        vmap(sqrtm.sqrtm)(-torch.eye(3).repeat(4, 1, 1))


@by_pair
def test_autocast_does_not_reach_inside(method, gradient):
    _, loss = functions(method, gradient)
    a = random_spd(8, (3,), dtype=torch.float32).requires_grad_()
    (expected,) = torch.autograd.grad(loss(a), a)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        s = sqrtm.sqrtm(a, method=method, gradient=gradient)
        inside, x = s.sin().sum(), None
        if gradient != "unrolled":  # autograd's own backward runs under whatever autocast it is called in
            (x,) = torch.autograd.grad(inside, a)
    x = torch.autograd.grad(inside, a)[0] if x is None else x
    assert s.dtype == torch.float32
    torch.testing.assert_close(s, sqrtm.sqrtm(a, method=method, gradient=gradient), rtol=0, atol=0)
    torch.testing.assert_close(x, expected)


def test_default_dtype_does_not_matter():
    a = random_spd(4, dtype=torch.float32)
    expected = sqrtm.sqrtm(a, method="newton-schulz")
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(sqrtm.sqrtm(a, method="newton-schulz"), expected)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("scaling", ["frobenius", "spectral"])
def test_compiled_unrolled_newton_schulz(scaling):
    # A compiled jvp of baddbmm with beta other than 1 and a constant to add crashes PyTorch 2.13.
    method = sqrtm.NewtonSchulz(steps=4, scaling=scaling)

    def f(a):
        return sqrtm.sqrtm(a, method=method, gradient="unrolled")

    def forward_mode(a):
        return torch.func.jvp(f, (a,), (torch.ones_like(a),))[1]

    a = random_spd(4, (2,), dtype=torch.float32)
    torch._dynamo.reset()
    compiled = torch.compile(forward_mode, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(a), forward_mode(a))
    gradients = []
    for function in (f, torch.compile(f, backend="aot_eager", fullgraph=True)):
        leaf = a.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            s = function(leaf)
        gradients += torch.autograd.grad(s.sum(), leaf)
    torch.testing.assert_close(*gradients)
