"""Asymmetric factorization X = L R^T."""

from __future__ import annotations

from ..arrays import Array, namespace
from ..lowrank import LowRank
from .base import Factorization, pad_columns


class Asymmetric(Factorization):
    """Stack W = [L; R], shape (n1 + n2, k), for X = L R^T.

    Examples
    --------
    >>> import numpy as np
    >>> W = np.array([[2.0], [3.0], [5.0]])
    >>> Asymmetric().compose(W, (2, 1)).toarray()
    array([[10.],
           [15.]])
    """

    ridge_weight = 1.0

    def size(self, shape: tuple[int, int], rank: int = 1) -> int:
        """Return n1 + n2."""
        return shape[0] + shape[1]

    def parts(self, w: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
        """Return the views (L, R)."""
        return w[: shape[0], ...], w[shape[0] :, ...]

    def pullback(
        self, w: Array, out_left: Array, out_right: Array, shape: tuple[int, int]
    ) -> Array:
        """Stack the gradients of L and R."""
        return self.join(out_left, out_right)

    def join(self, left: Array, right: Array) -> Array:
        """Stack L and R."""
        return namespace(left).concat([left, right], axis=0)

    def gauge(self, w: Array, shape: tuple[int, int]) -> Array:
        """Return [U sqrt(S); V sqrt(S)] of the SVD X = U S V^T, padded with zero columns."""
        balanced = LowRank(*self.parts(w, shape)).balanced()
        return pad_columns(self.join(balanced.left, balanced.right), int(w.shape[1]))

    def degrees_of_freedom(self, shape: tuple[int, int], rank: int) -> int:
        """Return r (n1 + n2 - r)."""
        return rank * (shape[0] + shape[1] - rank)

    def stack_blocks(self, rows: Array, columns: Array) -> Array:
        """Stack the blocks of L's and R's rows."""
        return self.join(rows, columns)
