"""The methods: one file each, joined to the library by one line of this table."""

from __future__ import annotations

from ._base import Method, Roots, SelfChecking
from .denman_beavers import DenmanBeavers
from .eigh import Eigh
from .minimax import Minimax
from .newton_schulz import NewtonSchulz
from .pade import Pade
from .product_denman_beavers import ProductDenmanBeavers
from .svd import SVD
from .taylor import Taylor

TABLE: dict[str, type[Method]] = {
    cls.name: cls for cls in (Eigh, SVD, Minimax, NewtonSchulz, DenmanBeavers, ProductDenmanBeavers, Taylor, Pade)
}

__all__ = [
    "SVD",
    "TABLE",
    "DenmanBeavers",
    "Eigh",
    "Method",
    "Minimax",
    "NewtonSchulz",
    "Pade",
    "ProductDenmanBeavers",
    "Roots",
    "SelfChecking",
    "Taylor",
]
