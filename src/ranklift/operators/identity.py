"""IdentitySensing: the whole matrix is observed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..arrays import Array, namespace
from ..errors import EmptyDataError
from .base import MeasurementOperator, factor_energies


class IdentitySensing(MeasurementOperator):
    """Observe all entries, row by row: A(X) = vec(X), m = n1 n2.

    Parameters
    ----------
    shape : (int, int)
        Size n1 x n2 of the matrix.

    Raises
    ------
    EmptyDataError
        When a side is zero.

    Examples
    --------
    >>> import numpy as np
    >>> IdentitySensing((1, 2)).apply(np.array([[3.0, 4.0]]))
    array([3., 4.])
    """

    @staticmethod
    def example(rng: np.random.Generator) -> IdentitySensing:
        """Make a small instance for the contract tests."""
        return IdentitySensing((6, 4))

    def __init__(self, shape: tuple[int, int]) -> None:
        n1, n2 = (int(size) for size in shape)
        if n1 < 1 or n2 < 1:
            raise EmptyDataError(f"a matrix of shape {shape}", "pass two positive sizes")
        self.shape, self.num_measurements = (n1, n2), n1 * n2

    @property
    def size_in_bytes(self) -> int:
        """Return 0: nothing is stored."""
        return 0

    def _apply_matrix(self, matrix: Array) -> Array:
        return namespace(matrix).reshape(matrix, (-1,))

    def apply_product(self, left: Array, right: Array) -> Array:
        """Return vec(L R^T)."""
        return self._apply_matrix(left @ right.T)

    def adjoint(self, y: Array) -> Array:
        """Return y as an n1 x n2 array."""
        return namespace(y).reshape(y, self.shape)

    def gram_blocks(self, factor: Array, *, side: str, weights: Array | None = None) -> Array:
        """Return R^T R (or L^T L) for every row; with weights, the weighted sums."""
        xp = namespace(factor)
        rows = self.shape[0] if side == "left" else self.shape[1]
        k = factor.shape[1]
        if weights is None:
            return xp.broadcast_to((factor.T @ factor)[None, :, :], (rows, k, k))
        w = xp.reshape(weights, self.shape)
        w = w if side == "left" else w.T
        outer = xp.reshape(factor[:, :, None] * factor[:, None, :], (-1, k * k))
        return xp.reshape(w @ outer, (rows, k, k))

    def _moment(self, side: str, factor: np.ndarray | None, weights: np.ndarray) -> np.ndarray:
        """Return the diagonal sum_j w_ij ||F_j||^2 of every row (or column): n1 n2 operations."""
        grid = weights.reshape(self.shape)
        if side == "left":
            return grid @ factor_energies(factor, self.shape[1])
        return grid.T @ factor_energies(factor, self.shape[0])

    def _transposed_moment(self, weights: np.ndarray) -> np.ndarray:
        """Return the weights of the diagonal entries: e_i e_j^T e_i e_j^T = 0 elsewhere."""
        return np.diagonal(weights.reshape(self.shape)).copy()

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the shape."""
        return {"shape": np.array(self.shape)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> IdentitySensing:
        """Rebuild the operator from ``to_arrays``."""
        n1, n2 = (int(size) for size in arrays["shape"])
        return cls((n1, n2))
