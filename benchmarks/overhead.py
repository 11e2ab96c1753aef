"""What a call costs on one small float32 matrix, where it is all overhead, against `torch.linalg.eigh` side by side."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.benchmark import Timer

import sqrtm

ROUNDS = 15


def eigh_root(a: Tensor) -> Tensor:
    """A^{1/2} as one writes it with `torch.linalg.eigh` and differentiates by autograd."""
    values, q = torch.linalg.eigh(a)
    return (q * values.clamp(min=0).sqrt()) @ q.mT


def gradient(root: Callable[[Tensor], Tensor], leaf: Tensor) -> Tensor:
    """Forward and backward."""
    return torch.autograd.grad(root(leaf).sum(), leaf)[0]


def microseconds(functions: list[Callable[[], object]]) -> list[float]:
    """Medians over rounds in which each has its turn, on one thread."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(ROUNDS):
        for function, samples in zip(functions, times, strict=True):
            timer = Timer("f()", globals={"f": function})
            samples.append(timer.blocked_autorange(min_run_time=0.02).median * 1e6)
    return [statistics.median(samples) for samples in times]


def main() -> None:
    """Print a line for each size."""
    print("One float32 matrix, microseconds (times eigh); errors relative to float64.")
    print("   n   eigh  sqrtm          sqrtm_ex        forward + backward, by eigh  error    gradient's")
    for n in (2, 3, 4, 8, 16):
        x = torch.randn(n, 2 * n, generator=torch.Generator().manual_seed(n))
        a = x @ x.T
        leaf = a.clone().requires_grad_()
        eigh, root, verdict, ours, theirs = microseconds(
            [
                lambda a=a: torch.linalg.eigh(a),
                lambda a=a: sqrtm.sqrtm(a),
                lambda a=a: sqrtm.sqrtm_ex(a),
                lambda leaf=leaf: gradient(sqrtm.sqrtm, leaf),
                lambda leaf=leaf: gradient(eigh_root, leaf),
            ]
        )
        exact = a.double().requires_grad_()
        error, slope = (
            float((x.double() - y).norm() / y.norm())
            for x, y in (
                (sqrtm.sqrtm(a), eigh_root(exact).detach()),
                (gradient(sqrtm.sqrtm, leaf), gradient(eigh_root, exact)),
            )
        )
        print(
            f"{n:4} {eigh:6.1f} {root:6.1f} ({root / eigh:4.1f}×) {verdict:7.1f} ({verdict / eigh:4.1f}×)"
            f" {ours:8.1f}, {theirs:6.1f} ({ours / theirs:3.1f}×) {error:12.1e} {slope:10.1e}"
        )


if __name__ == "__main__":
    main()
