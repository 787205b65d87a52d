"""Factorization: how one array W of parameters becomes the matrix X = L(W) R(W)^T.

The calculus of X(W) is that of the product L R^T and of the map W -> (L, R), which is linear for
most factorizations: X'[D] = L'[D] R^T + L R'[D]^T, and the adjoint of W -> (L, R) carries gradients
back. A factorization that is a sum over the columns of W (``columnwise``) also has a convex theory:
kappa(X) = min 1/2 ||W||^2 over X(W) = X is a gauge (a nuclear norm), new columns can be appended,
and <S, X> <= kappa(X) * (largest eigenvalue of ``dual``) decides global optimality.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from ..arrays import Array, matmul, namespace, to_numpy
from ..lowrank import LowRank

FACTORIZATIONS: dict[str, type[Factorization]] = {}
"""Every factorization class by name, for the contract tests."""


class DualMatrix:
    """A real symmetric matrix known by its products: <S, X(w)> = w^T (dual S) w for a column w."""

    def __init__(self, rows: int, product: Callable[[np.ndarray], np.ndarray]) -> None:
        self.shape, self._product = (rows, rows), product

    @property
    def T(self) -> DualMatrix:
        """Return the matrix itself: it is symmetric."""
        return self

    def __matmul__(self, x: np.ndarray) -> np.ndarray:
        return self._product(x)


def dilation(matrix: Any, shape: tuple[int, int]) -> DualMatrix:
    """Return [[0, S], [S^T, 0]] / 2 of an n1 x n2 matrix S: the form [l; r] -> <S, l r^T>."""
    n1, n2 = shape

    def product(x: np.ndarray) -> np.ndarray:
        upper, lower = matmul(matrix, x[n1:]), matmul(matrix.T, x[:n1])
        return 0.5 * np.concatenate([to_numpy(upper), to_numpy(lower)])

    return DualMatrix(n1 + n2, product)


class Factorization(ABC):
    """Read an array of parameters W as the two factors of X.

    A point of the search is a single real array, so that solvers add, scale and compare points
    without knowing how the matrix is made of them.
    """

    degree: ClassVar[int] = 2
    """Degree of t -> X(W + t D)."""

    columnwise: ClassVar[bool] = True
    """Whether X(W) is the sum of X(w) over the columns w of W."""

    ridge_weight: ClassVar[float] = 2.0
    """mu / lambda with min mu/2 ||W||^2 over X(W) = X equal to lambda ||X||_*."""

    definite: ClassVar[bool] = False
    """Whether X(W) ranges over positive semidefinite matrices."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        FACTORIZATIONS[cls.__name__] = cls

    # -- what a subclass must say -----------------------------------------------------------

    @abstractmethod
    def size(self, shape: tuple[int, int], rank: int = 1) -> int:
        """Return the number of rows of W for an n1 x n2 matrix; it may depend on the columns."""

    @abstractmethod
    def parts(self, w: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
        """Return (L, R) with X = L R^T."""

    @abstractmethod
    def pullback(
        self, w: Array, out_left: Array, out_right: Array, shape: tuple[int, int]
    ) -> Array:
        """Return the adjoint of ``pushforward``: gradients by factor become the gradient in W."""

    @abstractmethod
    def join(self, left: Array, right: Array) -> Array:
        """Return a W whose matrix is L R^T, or the nearest that there is."""

    def stack(self, left: Array, right: Array) -> Array:
        """Return the W that holds these very factors, where there is one; else ``join``.

        ``join`` may exchange factors of the same matrix for others; flatness is about factors.
        """
        return self.join(left, right)

    @abstractmethod
    def gauge(self, w: Array, shape: tuple[int, int]) -> Array:
        """Return the balanced W of the same X: orthogonal columns, sorted by falling norm.

        Among all W with the same X this one has the least ||W||_F^2.
        """

    @abstractmethod
    def degrees_of_freedom(self, shape: tuple[int, int], rank: int) -> int:
        """Return the dimension of the matrices of the given rank."""

    def to_dict(self) -> dict[str, Any]:
        """Return the class name and its settings as plain values."""
        return {"class": type(self).__name__, **vars(self)}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Factorization:
        """Rebuild a factorization from ``to_dict``."""
        settings = {key: value for key, value in values.items() if key != "class"}
        return FACTORIZATIONS[values["class"]](**settings)

    # -- what follows for linear parts ------------------------------------------------------

    def pushforward(
        self, w: Array, direction: Array, shape: tuple[int, int]
    ) -> tuple[Array, Array]:
        """Return (dL, dR), the derivative of ``parts`` along a direction."""
        return self.parts(direction, shape)

    def curvature(
        self,
        w: Array,
        direction: Array,
        out_left: Array,
        out_right: Array,
        shape: tuple[int, int],
    ) -> Array | None:
        """Return the derivative of ``pullback`` in W along a direction; None where it is zero."""
        return None

    def increments(
        self, w: Array, direction: Array, shape: tuple[int, int]
    ) -> list[tuple[Array, Array]]:
        """Return factors of the matrices X_1, X_2, ... with X(W + t D) = X(W) + sum_j t^j X_j."""
        xp = namespace(w)
        (left, right), (d_left, d_right) = self.parts(w, shape), self.parts(direction, shape)
        first = xp.concat([d_left, left], axis=1), xp.concat([right, d_right], axis=1)
        return [first, (d_left, d_right)]

    def stack_blocks(self, rows: Array, columns: Array) -> Array | None:
        """Return the diagonal blocks of J^T J by rows of W from those by factor, if they are."""
        return None

    # -- the convex side ---------------------------------------------------------------------

    def dual(self, transported: Any, shape: tuple[int, int]) -> DualMatrix | None:
        """Return the matrix of w -> <S, X(w)>, S = ``transported``; None: use S itself.

        None says that X(w) = l r^T with independent l, r, whose quadratic form is ``dilation``:
        its eigenvalues are half the singular values of S.
        """
        return None

    def span(self, w: Array) -> np.ndarray:
        """Return an orthonormal basis of the space that ``dual`` is deflated by, as columns."""
        raise NotImplementedError(f"{type(self).__name__} has no dual matrix")

    def truncate(self, w: Array, rank: int) -> Array:
        """Return a balanced W cut to the given rank of X."""
        return w[:, :rank]

    def singular_values(self, w: Array) -> np.ndarray:
        """Return the singular values of X from a balanced W, descending."""
        return np.linalg.norm(to_numpy(w), axis=0) ** 2 * (self.ridge_weight / 2)

    def factors(self, w: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
        """Return (L, R) of a balanced W with rank-many columns, for the answer."""
        return self.parts(w, shape)

    def compose(self, w: Array, shape: tuple[int, int]) -> LowRank:
        """Return X = L R^T."""
        return LowRank(*self.parts(w, shape))


def pad_columns(out: Array, columns: int) -> Array:
    """Return ``out`` with zero columns appended up to the given number."""
    missing = columns - int(out.shape[1])
    if missing <= 0:
        return out
    xp = namespace(out)
    zeros = xp.zeros((out.shape[0], missing), dtype=out.dtype)
    return xp.concat([out, zeros], axis=1)
