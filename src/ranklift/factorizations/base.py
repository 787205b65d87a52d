"""Factorization: how one array W of parameters becomes the matrix X = L(W) R(W)^T.

L and R are linear in W, so the whole calculus of X(W) is one product rule:
X'[D] = L(D) R(W)^T + L(W) R(D)^T and X''[D, D] = 2 L(D) R(D)^T.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from ..arrays import Array
from ..lowrank import LowRank

FACTORIZATIONS: dict[str, type[Factorization]] = {}
"""Every factorization class by name, for the contract tests."""


class Factorization(ABC):
    """Read an array of parameters W as the two factors of X.

    A point of the search is a single array, so that solvers add, scale and compare points without
    knowing how the matrix is made of them.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        FACTORIZATIONS[cls.__name__] = cls

    @abstractmethod
    def size(self, shape: tuple[int, int]) -> int:
        """Return the number of rows of W for an n1 x n2 matrix."""

    @abstractmethod
    def parts(self, w: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
        """Return (L, R), both linear in W."""

    @abstractmethod
    def pullback(self, out_left: Array, out_right: Array) -> Array:
        """Return the adjoint of ``parts``: gradients by factor become the gradient in W."""

    @abstractmethod
    def join(self, left: Array, right: Array) -> Array:
        """Return a W whose parts are (L, R), or the nearest that there is."""

    @abstractmethod
    def gauge(self, w: Array, shape: tuple[int, int]) -> Array:
        """Return the balanced W of the same X: orthogonal columns, sorted by falling norm.

        Among all W with the same X this one has the least ||W||_F^2 (asymmetric: 2 ||X||_*).
        """

    def compose(self, w: Array, shape: tuple[int, int]) -> LowRank:
        """Return X = L R^T."""
        return LowRank(*self.parts(w, shape))
