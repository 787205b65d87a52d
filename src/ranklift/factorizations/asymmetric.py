"""Asymmetric factorization X = L R^T."""

from __future__ import annotations

from ..arrays import Array, namespace
from ..lowrank import LowRank
from .base import Factorization


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

    def size(self, shape: tuple[int, int]) -> int:
        """Return n1 + n2."""
        return shape[0] + shape[1]

    def parts(self, w: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
        """Return the views (L, R)."""
        return w[: shape[0], ...], w[shape[0] :, ...]

    def pullback(self, out_left: Array, out_right: Array) -> Array:
        """Stack the gradients of L and R."""
        return namespace(out_left).concat([out_left, out_right], axis=0)

    def join(self, left: Array, right: Array) -> Array:
        """Stack L and R."""
        return namespace(left).concat([left, right], axis=0)

    def gauge(self, w: Array, shape: tuple[int, int]) -> Array:
        """Return [U sqrt(S); V sqrt(S)] of the SVD X = U S V^T, padded with zero columns."""
        xp = namespace(w)
        balanced = LowRank(*self.parts(w, shape)).balanced()
        out = xp.concat([balanced.left, balanced.right], axis=0)
        missing = w.shape[1] - out.shape[1]
        if missing:
            out = xp.concat([out, xp.zeros_like(w[:, :missing])], axis=1)
        return out
