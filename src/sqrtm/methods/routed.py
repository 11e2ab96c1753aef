"""What `Auto` runs: each matrix of a batch by the way to compute it that suits its condition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.linalg import LinAlgError

from .._scratch import scratch
from ._base import Roots, SelfChecking, joined, pieces
from ._closed_form import closed_form_roots
from ._eigen import eigen_roots, merge, null_level_of
from ._parallel import cholesky
from .minimax import Minimax, iterate

CLOSED, ITERATE, EIGEN, EIGEN32 = "closed form", "minimax", "eigh in float64", "eigh in float32"
MODERATE = 150.0
"""κ up to which float32 `eigh` and its gradient are within what the library promises."""


@dataclass(frozen=True)
class Routed(SelfChecking):
    """Each matrix by what suits its condition number κ: a row of the tables below.

    Parameters
    ----------
    easy
        Where one matrix product proves the spectrum to lie within a factor of 19, which is not tried if this is empty.
        Alone, everywhere.
    moderate
        Where the largest pivot of a Cholesky factorisation is not above ``limit`` times the least, which is a lower
        estimate of κ: about 7 at κ = 1e2, 200 at 1e4 and 1e4 at 1e6 where eigenvalues are spread evenly.
    hard
        Everything else, singular matrices among them.
    """

    easy: str
    moderate: str = ""
    hard: str = ""
    limit: float = 0.0

    name: ClassVar[str] = "routed"

    def in_words(self) -> str:
        """For people to read."""
        if not self.hard:
            return self.easy
        ways = [f"κ provably ≤ 19: {self.easy}"] if self.easy else []
        if self.moderate != self.hard:
            ways.append(f"Cholesky pivots within a factor of {self.limit:g}: {self.moderate}")
        return "; ".join([*ways, f"others: {self.hard}"])

    def checked(self, a: Tensor, inverse: bool, differentiated: bool) -> Roots:
        if not self.hard:
            return _run(self.easy, a, inverse, differentiated)
        parts = []
        where, x = torch.arange(a.shape[0], device=a.device), a
        if self.easy:
            roots = joined([iterate(piece, inverse or differentiated, general=False) for piece in pieces(a)])
            assert roots.interval is not None
            proven = roots.interval[:, 0] > 0
            if proven.all():
                return roots
            easy = proven.nonzero()[:, 0]
            parts.append((easy, roots.at(easy)))
            where, x = _at(~proven, a)
        moderate = torch.zeros_like(where, dtype=torch.bool)
        if self.moderate != self.hard:
            moderate = pivot_ratio(x) <= self.limit
        for which, how in ((moderate, self.moderate), (~moderate, self.hard)):
            some, y = _at(which, x)
            if len(some):
                parts.append((where[some], _run(how, y, inverse, differentiated)))
        return merge(parts, len(a))


BY_EIGENVALUES = Routed(EIGEN)
"""The only one that is a method by itself: of what is computed by eigenvalues, all is known that a verdict needs."""

# From this n on, up to the next row, by condition number: provably up to 19; estimated to be moderate; others.
# Why: `make bench` (large batches) and benchmarks/routes.py (small ones).
ROUTES: Mapping[torch.dtype, Mapping[int, Routed]] = {
    torch.float32: {
        1: Routed(CLOSED),
        5: Routed(ITERATE, ITERATE, EIGEN, 40),
        16: Routed(ITERATE, ITERATE, EIGEN, 2000),
        97: Routed(ITERATE, EIGEN32, EIGEN, 12),
        700: Routed("", EIGEN32, EIGEN, 12),
    },
    torch.float64: {
        1: Routed(CLOSED),
        5: Routed(ITERATE, EIGEN, EIGEN),
        97: Routed(EIGEN),
    },
}
# Batches of up to so many elements, which are over before much else is under way; n up to 4 and above.
SMALL: Mapping[torch.dtype, tuple[Mapping[int, Routed], Mapping[int, Routed]]] = {
    torch.float32: (
        {6_000: Routed(EIGEN)},
        {30_000: Routed(EIGEN32), 130_000: Routed(ITERATE, EIGEN32, EIGEN32)},
    ),
    torch.float64: (
        {6_000: Routed(EIGEN)},
        {30_000: Routed(EIGEN)},
    ),
}


def route(n: int, elements: int, dtype: torch.dtype) -> tuple[Routed, int, int]:
    """What `Table` runs on so many elements, and the row that says so: the n it starts at, and 0 or its elements."""
    for most, routed in SMALL[dtype][n > 4].items():
        if elements <= most:
            return routed, 5 if n > 4 else 1, most
    start = max(row for row in ROUTES[dtype] if row <= max(n, 1))
    return ROUTES[dtype][start], start, 0


@dataclass(frozen=True)
class Table(SelfChecking):
    """What `Auto` is on a CPU: the row for the batch that is really computed, under `vmap` too."""

    name: ClassVar[str] = "auto"

    def checked(self, a: Tensor, inverse: bool, differentiated: bool) -> Roots:
        return route(a.shape[-1], a.numel(), a.dtype)[0].checked(a, inverse, differentiated)


def few_roots(A: Tensor, inverse: bool) -> tuple[Tensor, Tensor | None, float] | None:
    """What `Table` gives for ``A``, ``(..., n, n)``, if that is by eigenvalues and in no way special; else None.

    That is, if all matrices are finite, symmetric and clearly definite; and the first one's least eigenvalue. In as few
    operations as can be: on a small matrix, one costs what it takes to call it.
    """
    n, one = A.shape[-1], A.ndim == 2
    routed = route(n, A.numel(), A.dtype)[0]
    how = routed.easy
    a = A if one else A.reshape(-1, n, n)
    if how not in (EIGEN, EIGEN32) or routed.hard or not torch.equal(a, a.mT):
        return None
    try:
        eigenvalues, q = torch.linalg.eigh(a.double() if how == EIGEN else a)
    except LinAlgError:  # some builds of LAPACK say so where there is an infinity; others return NaN
        return None
    level = null_level_of(a) if how == EIGEN else 1 / MODERATE
    values = [eigenvalues.tolist()] if one else eigenvalues.tolist()
    if not all([row[0] > level * row[-1] for row in values]):  # noqa: C419  (slower)
        return None
    product = torch.mm if one else torch.bmm
    rows, s = q.mT, eigenvalues.sqrt()
    sqrt = product(q, rows * s.unsqueeze(-1))
    invsqrt = product(q, rows * (1 / s).unsqueeze(-1)) if inverse else None
    if sqrt.dtype != A.dtype:
        sqrt, invsqrt = sqrt.float(), None if invsqrt is None else invsqrt.float()
    if not one:
        sqrt, invsqrt = sqrt.view(A.shape), None if invsqrt is None else invsqrt.view(A.shape)
    return sqrt, invsqrt, values[0][0]


def _run(how: str, a: Tensor, inverse: bool, differentiated: bool) -> Roots:
    if how == ITERATE:
        return Minimax().checked(a, inverse, differentiated)
    if how == EIGEN:
        return eigen_roots(a, inverse, differentiated=differentiated)
    if how == CLOSED:
        roots, wrong = closed_form_roots(a, inverse)
    else:
        roots = eigen_roots(a, inverse, torch.float32, differentiated)
        assert roots.interval is not None
        wrong = ~(roots.interval[:, 1] <= MODERATE * roots.interval[:, 0])
    if not wrong.any():
        return roots
    where, others = wrong.nonzero()[:, 0], (~wrong).nonzero()[:, 0]
    precise = eigen_roots(a[where], inverse, differentiated=differentiated)
    return merge([(others, roots.at(others)), (where, precise)], len(a))


def _at(which: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
    """The indices where ``which`` is true and those of the matrices ``a``, not copied if they are all."""
    where = which.nonzero()[:, 0]
    return where, a if len(where) == len(a) else a[where]


def pivot_ratio(a: Tensor) -> Tensor:
    """``(B,)``, the largest of the pivots of Cholesky's factorisation over the least; infinite where there is none."""
    with scratch(1, a) as (factor,):
        info = cholesky(a, factor)
        least, largest = factor.diagonal(dim1=-2, dim2=-1).aminmax(dim=-1)
    return torch.where(info == 0, (largest / least).square(), torch.inf)
