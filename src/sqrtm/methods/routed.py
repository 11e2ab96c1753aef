"""What `Auto` runs: each matrix of a batch by the iteration or by eigenvalues, as its condition asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ._base import Roots, SelfChecking, norm
from ._eigen import eigen_roots, merge
from .minimax import KNOWN, Centred, Minimax, bound, deviation, iterate

ITERATE, EIGEN, EIGEN32 = "minimax", "eigh in float64", "eigh in float32"
MODERATE = 150.0
"""κ up to which float32 `eigh` and its gradient are within what the library promises."""
LANCZOS_STEPS = 14


@dataclass(frozen=True)
class Routed(SelfChecking):
    """Each matrix by what suits its condition number κ. Written by the table in `sqrtm._auto`, not by users.

    Parameters
    ----------
    easy
        Where one matrix product proves the spectrum to lie within a factor of 19.
    moderate
        Where κ is not above 150, by an estimate; in float32 eigenvalues are computed again where it was wrong.
    hard
        Everything else, singular matrices among them.
    """

    easy: str
    moderate: str
    hard: str

    name: ClassVar[str] = "auto"

    def checked(self, a: Tensor, inverse: bool, returned: bool) -> Roots:
        if self.easy == self.moderate == self.hard:
            return _run(self.easy, a, inverse, returned)
        mean, e = deviation(a)
        # The bound on ‖E‖₂ is never below the root mean square of its eigenvalues, which is had without a product,
        # and seldom below twice that.
        likely = norm(e) <= KNOWN / 2 * a.shape[-1] ** 0.5
        easy = torch.zeros_like(likely)[:, 0, 0]
        if self.easy == ITERATE and likely.any():
            centred = Centred(mean, e, *bound(e))
            easy = (likely & (centred.radius <= KNOWN))[:, 0, 0]
            if easy.all():
                return iterate(centred, inverse)
        parts = []
        moderate = ~easy
        if self.moderate != self.hard:
            moderate = moderate & (condition_estimate(a) <= MODERATE)
        for which, how in ((easy, self.easy), (moderate, self.moderate), (~(easy | moderate), self.hard)):
            where = which.nonzero()[:, 0]
            if len(where) == len(a):
                return _run(how, a, inverse, returned)
            if len(where):
                parts.append((where, _run(how, a[where], inverse, returned)))
        return merge(parts, len(a))


def _run(how: str, a: Tensor, inverse: bool, returned: bool) -> Roots:
    if how == ITERATE:
        return Minimax().checked(a, inverse, returned)
    if how == EIGEN:
        return eigen_roots(a, returned)
    roots = eigen_roots(a, returned, torch.float32)
    assert roots.interval is not None
    wrong = ~(roots.interval[:, 1] <= MODERATE * roots.interval[:, 0])
    if not wrong.any():
        return roots
    where, others = wrong.nonzero()[:, 0], (~wrong).nonzero()[:, 0]
    return merge([(others, roots.at(others)), (where, eigen_roots(a[where], returned))], len(a))


def condition_estimate(a: Tensor) -> Tensor:
    """``(B,)``, a lower estimate of κ, by Lanczos' method: within a factor of 2 below 100, and then of 10 below 1e4.

    Costs as many matrix-vector products as steps, little beside a factorisation for n of 100 and more.
    References: Golub & Van Loan, *Matrix Computations*, 4th ed., §10.1.
    """
    start = torch.randn(a.shape[-1], 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    v = (start / start.norm()).to(a).expand(a.shape[0], -1, 1)
    before, beta = torch.zeros_like(v), v.new_zeros(a.shape[0], 1, 1)
    diagonal, beside = [], []
    for _ in range(min(LANCZOS_STEPS, a.shape[-1])):
        w = torch.bmm(a, v) - beta * before
        alpha = (w * v).sum(1, keepdim=True)
        w -= alpha * v
        beta = torch.linalg.vector_norm(w, dim=1, keepdim=True)
        before, v = v, w / torch.where(beta > 0, beta, 1.0)
        diagonal.append(alpha[:, :, 0])
        beside.append(beta[:, :, 0])
    offdiagonal = torch.diag_embed(torch.cat(beside[:-1], -1), -1)
    t = (torch.diag_embed(torch.cat(diagonal, -1)) + offdiagonal + offdiagonal.mT).double()
    eigenvalues = torch.linalg.eigvalsh(torch.where(t.isfinite(), t, 0.0))
    return torch.where(eigenvalues[:, 0] > 0, eigenvalues[:, -1] / eigenvalues[:, 0], torch.inf)
