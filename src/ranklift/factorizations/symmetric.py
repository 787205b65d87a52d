"""Symmetric positive semidefinite factorization X = U U^T."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import Array, matmul, namespace, to_numpy
from ..errors import ShapeError
from ..linalg import orthonormal
from .base import DualMatrix, Factorization, pad_columns


class Symmetric(Factorization):
    """Take W = U, shape (n, k), for X = U U^T.

    Examples
    --------
    >>> import numpy as np
    >>> Symmetric().compose(np.array([[1.0], [2.0]]), (2, 2)).toarray()
    array([[1., 2.],
           [2., 4.]])
    """

    definite = True

    def size(self, shape: tuple[int, int], rank: int = 1) -> int:
        """Return n; the matrix must be square."""
        return square_size(shape)

    def parts(self, w: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
        """Return (U, U)."""
        return w, w

    def pullback(
        self, w: Array, out_left: Array, out_right: Array, shape: tuple[int, int]
    ) -> Array:
        """Add both: the gradient is (S + S^T) U."""
        return out_left + out_right

    def join(self, left: Array, right: Array) -> Array:
        """Return the mean of both factors: exact when they agree."""
        return 0.5 * (left + right)

    def gauge(self, w: Array, shape: tuple[int, int]) -> Array:
        """Return U Q with orthogonal columns of falling norm."""
        return orthogonal_columns(w)

    def degrees_of_freedom(self, shape: tuple[int, int], rank: int) -> int:
        """Return n r - r (r - 1) / 2."""
        return shape[0] * rank - rank * (rank - 1) // 2

    def stack_blocks(self, rows: Array, columns: Array) -> Array:
        """Add the blocks: both factors are the same U."""
        return rows + columns

    def dual(self, transported: Any, shape: tuple[int, int]) -> DualMatrix:
        """Return the symmetric part of S."""
        return DualMatrix(shape[0], lambda x: symmetric_product(transported, x))

    def span(self, w: Array) -> np.ndarray:
        """Return an orthonormal basis of the columns of U."""
        return orthonormal(to_numpy(w))


def square_size(shape: tuple[int, int]) -> int:
    """Return n of an n x n matrix.

    Raises
    ------
    ShapeError
    """
    if shape[0] != shape[1]:
        raise ShapeError(
            f"a symmetric factorization of a {shape[0]} x {shape[1]} matrix",
            "use symmetric=False, or an operator on square matrices",
        )
    return shape[0]


def symmetric_product(matrix: Any, x: np.ndarray) -> np.ndarray:
    """Return 1/2 (S + S^T) x."""
    return 0.5 * (to_numpy(matmul(matrix, x)) + to_numpy(matmul(matrix.T, x)))


def orthogonal_columns(u: Array) -> Array:
    """Return U Q, Q unitary, with orthogonal columns of falling norm; U U^H stays."""
    xp = namespace(u)
    q, r = xp.linalg.qr(u, mode="reduced")
    left, s, _ = xp.linalg.svd(r, full_matrices=False)
    scaled = left * xp.astype(s, left.dtype)[None, :]
    return pad_columns(q @ scaled, int(u.shape[1]))
