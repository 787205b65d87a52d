"""Symmetric positive semidefinite factorization X = U U^T."""

from __future__ import annotations

from ..arrays import Array, namespace
from ..errors import ShapeError
from .base import Factorization


class Symmetric(Factorization):
    """Take W = U, shape (n, k), for X = U U^T.

    Examples
    --------
    >>> import numpy as np
    >>> Symmetric().compose(np.array([[1.0], [2.0]]), (2, 2)).toarray()
    array([[1., 2.],
           [2., 4.]])
    """

    def size(self, shape: tuple[int, int]) -> int:
        """Return n; the matrix must be square."""
        if shape[0] != shape[1]:
            raise ShapeError(
                f"a symmetric factorization of a {shape[0]} x {shape[1]} matrix",
                "use symmetric=False, or an operator on square matrices",
            )
        return shape[0]

    def parts(self, w: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
        """Return (U, U)."""
        return w, w

    def pullback(self, out_left: Array, out_right: Array) -> Array:
        """Add both: the gradient is (S + S^T) U."""
        return out_left + out_right

    def join(self, left: Array, right: Array) -> Array:
        """Return the mean of both factors: exact when they agree."""
        return 0.5 * (left + right)

    def gauge(self, w: Array, shape: tuple[int, int]) -> Array:
        """Return U Q with orthogonal columns of falling norm."""
        xp = namespace(w)
        q, r = xp.linalg.qr(w, mode="reduced")
        u, s, _ = xp.linalg.svd(r, full_matrices=False)
        out = q @ (u * s[None, :])
        missing = w.shape[1] - out.shape[1]
        if missing:
            out = xp.concat([out, xp.zeros_like(w[:, :missing])], axis=1)
        return out
