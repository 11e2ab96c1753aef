"""Who competes in `gpu.py`: ours, its kernels alone and their variants, the original, and eigensolvers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import signature
from math import ceil, inf
from typing import Any

import torch
from common import Eigh, Root, eigh_loewner, reference_algorithm
from gpu_cases import BOTH, FORWARD, POOLING, Case
from gpu_clock import Clock
from torch import Tensor

import sqrtm
from sqrtm._checks import asymmetry_tolerance, indefinite_level
from sqrtm.gradients._newton_schulz import NewtonSchulzRoots
from sqrtm.kernels import _block, jacobi, lyapunov, minimax
from sqrtm.methods._fixed import fixed_roots
from sqrtm.methods.newton_schulz import SCALINGS

Mode = Callable[[Tensor, Tensor], tuple[Tensor, ...]]
"""Of A and G the root, and perhaps the gradient of ⟨G, A^{1/2}⟩."""
Modes = dict[str, Mode]
Variant = tuple[str, int, int, int]
"""How the kernels are compiled: precision of products, matrices a program, its warps, its stages."""
OURS, ALONE, CERTIFIED, FIXED = "ours", "kernels alone", "ours, sqrtm_ex", "fixed plan"
ORIGINAL, LOEWNER = "original", "eigh + Loewner"
CAPTURABLE = (ALONE, CERTIFIED, ORIGINAL)
"""These do not wait for the device, so that they can be captured in a graph."""
PACKINGS = {
    8: ((4, 4), (8, 4), (4, 2), (16, 8)),
    16: ((4, 4), (8, 4), (2, 2)),
    32: ((1, 4), (1, 2), (2, 4)),
    64: ((1, 8), (1, 16), (1, 4)),
    128: ((1, 16),),
}
"""To choose from, by n: matrices a program, and its warps."""
PRECISIONS = ("ieee", "tf32x3", "bf16x6")


def differentiable(root: Root) -> Modes:
    """By autograd."""

    def gradient(a: Tensor, g: Tensor) -> tuple[Tensor, ...]:
        leaf = a.detach().requires_grad_()
        s = root(leaf)
        return s.detach(), *torch.autograd.grad(s, leaf, g)

    return {FORWARD: lambda a, g: (root(a),), BOTH: gradient}


@contextmanager
def held(name: str, value: Any, *objects: Any) -> Iterator[None]:
    """An attribute of these objects has this value meanwhile."""
    before = [getattr(x, name) for x in objects]
    for x in objects:
        setattr(x, name, value)
    try:
        yield
    finally:
        for x, old in zip(objects, before, strict=True):
            setattr(x, name, old)


def own(case: Case) -> dict[str, Modes]:
    """Ours, by name."""
    if case.section == "pooling":
        size, steps = SCALINGS[POOLING.scaling], POOLING.steps
        return {
            OURS: differentiable(lambda a: sqrtm.sqrtm(a, method=POOLING, gradient="unrolled")),
            ALONE: differentiable(lambda a: NewtonSchulzRoots.apply(a, size(a), steps, False)[0]),
            "autograd": differentiable(lambda a: POOLING.roots(a, inverse=False).sqrt),
        }
    found = {OURS: differentiable(sqrtm.sqrtm)}
    if case.section == "headline":
        found[ALONE] = launchers(present(case.n))
        found[CERTIFIED] = differentiable(lambda a: sqrtm.sqrtm_ex(a)[0])
    if case.section == "products":
        tf32 = held("fp32_precision", "tf32", torch.backends.cuda.matmul)
        found[f"{OURS}, TF32 set"] = {mode: tf32(function) for mode, function in found[OURS].items()}
    if case.section == "variants":
        found[FIXED] = {FORWARD: lambda a, g: (fixed_roots(a, True).sqrt,)}
        found |= {named(variant): launchers(variant) for variant in variants(case.n)}
    return found


def rivals(case: Case, solvers: dict[str, Eigh]) -> dict[str, dict[str, Modes]]:
    """The others, by name; of those of one name the first that is accurate counts."""
    found = {LOEWNER: {name: differentiable(eigh_loewner(working(case), eigh)) for name, eigh in solvers.items()}}
    if case.section != "rescue":
        found[ORIGINAL] = {"": differentiable(reference_algorithm)}
    if hasattr(torch.linalg, "matrix_sqrth"):
        found["matrix_sqrth"] = {"": differentiable(torch.linalg.matrix_sqrth)}
    return found


def present(n: int) -> Variant:
    """What the library does now."""
    _, shape = _block.blocks(1, n)
    precision = signature(minimax.roots).parameters["precision"].default
    return precision, shape["P"], shape["num_warps"], shape["num_stages"]


def variants(n: int) -> list[Variant]:
    """The present one first, then what else might be done for this n."""
    now, together, warps, stages = present(n)
    shapes = [(together, warps, stages), (together, warps, 1 + stages % 2), *((*x, stages) for x in PACKINGS[n])]
    return list(dict.fromkeys((x, *shape) for shape in shapes for x in ((now, *PRECISIONS) if n >= 16 else (now,))))


def named(variant: Variant) -> str:
    """Precision, matrices × warps a program, stages."""
    return "{} {}×{} stages {}".format(*variant)


def launchers(variant: Variant) -> Modes:
    """The kernels of the root and of its gradient, compiled in this way, and nothing around them."""
    precision, together, warps, stages = variant

    def blocks(batch: int, n: int) -> tuple[tuple[int], dict[str, int]]:
        _, shape = _block.blocks(batch, n)
        return (ceil(batch / together),), shape | {"P": together, "num_warps": warps, "num_stages": stages}

    def roots(a: Tensor, g: Tensor) -> tuple[Tensor, ...]:
        s, z, ends, *told = minimax.roots(a, asymmetry_tolerance(a.dtype), precision)
        values = a.new_zeros(a.shape[:-1])
        jacobi.rescue(a, s, z, z, values, ends, *told, indefinite_level(a.shape[-1], a.dtype), inverse=False)
        return s, z, values, ends

    def gradient(a: Tensor, g: Tensor) -> tuple[Tensor, ...]:
        s, z, values, ends = roots(a, g)
        return s, lyapunov.solve(s, z, values, g, ends, True, precision)

    compiled_so = held("blocks", blocks, minimax, lyapunov)
    return {FORWARD: compiled_so(roots), BOTH: compiled_so(gradient)}


def by_way_of(given: Callable[[Tensor], Any], solve: Callable[[Any], Any]) -> Eigh:
    """An eigensolver of another library, for PyTorch's tensors."""

    def eigh(a: Tensor) -> tuple[Tensor, Tensor]:
        values, q = map(torch.from_dlpack, solve(given(a.detach())))
        return values.reshape(a.shape[:-1]), q.reshape(a.shape)

    return eigh


def of_cupy() -> Eigh:
    """CuPy's, which for a batch is another of cuSOLVER's than for a matrix."""
    import cupy

    return by_way_of(cupy.from_dlpack, lambda x: cupy.linalg.eigh(x[0] if len(x) == 1 else x))


def of_jax() -> Eigh:
    """JAX's."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # before its import, or it takes all memory
    import jax

    jax.config.update("jax_enable_x64", True)
    return by_way_of(jax.numpy.from_dlpack, lambda x: jax.numpy.linalg.eigh(x, symmetrize_input=False))


SOLVERS = {"cupy": of_cupy, "jax": of_jax, "torch": lambda: torch.linalg.eigh}
"""Those that may loop over the matrices last: they need not be waited for."""


def working(case: Case) -> torch.dtype:
    """What (b) computes in, to keep the promise."""
    return torch.float32 if case.dtype == "float32" and case.condition <= 1e2 else torch.float64


def trial(clock: Clock, name: str, eigh: Eigh, a: Tensor, limit: float) -> float:
    """Seconds for ``a``; infinite if that is more than ``limit``, as more and more of its matrices show."""
    sizes = [4**k for k in range(16) if 4**k < len(a) and name != "jax"] + [len(a)]  # JAX compiles for every shape
    eigh(a[: sizes[0]])
    for size in sizes:
        seconds = clock.wall(lambda: eigh(a[:size]))
        if seconds > limit:
            return inf
    return min(seconds, clock.wall(lambda: eigh(a)))
