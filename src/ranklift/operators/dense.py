"""DenseSensing: one full matrix a measurement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..arrays import Array, is_numpy_array, like, namespace, to_numpy
from ..errors import DTypeError, EmptyDataError, NonFiniteError, ShapeError
from .base import MeasurementOperator


class DenseSensing(MeasurementOperator):
    """Measure by inner products with full matrices: A(X)_t = <A_t, X>.

    Parameters
    ----------
    matrices : array, shape (m, n1, n2)
        The measurement matrices; kept by reference, in their array namespace.

    Raises
    ------
    ShapeError, EmptyDataError, DTypeError, NonFiniteError
        For anything but a non-empty, finite, real three-dimensional array.

    Notes
    -----
    apply and adjoint read the m n1 n2 numbers once each; memory is theirs.

    Examples
    --------
    >>> import numpy as np
    >>> A = DenseSensing(np.array([[[1.0, 0.0], [0.0, 1.0]]]))
    >>> A.apply(np.array([[1.0, 5.0], [7.0, 2.0]]))
    array([3.])
    """

    @staticmethod
    def example(rng: np.random.Generator) -> DenseSensing:
        """Make a small instance for the contract tests."""
        return DenseSensing(rng.standard_normal((25, 6, 5)))

    def __init__(self, matrices: Array) -> None:
        if isinstance(matrices, (list, tuple)):
            matrices = np.asarray(matrices, dtype=float)
        if matrices.ndim != 3:
            raise ShapeError(
                f"measurement matrices of shape {tuple(matrices.shape)}",
                "stack them as (m, n1, n2)",
            )
        xp = namespace(matrices)
        if not xp.isdtype(matrices.dtype, "real floating"):
            raise DTypeError(
                f"measurement matrices of type {matrices.dtype}", "convert them to float64"
            )
        if 0 in matrices.shape:
            raise EmptyDataError("no measurement matrix", "pass at least one, of non-zero size")
        if not bool(xp.all(xp.isfinite(matrices))):
            raise NonFiniteError("a measurement matrix holds NaN or inf", "remove or replace it")
        m, n1, n2 = (int(size) for size in matrices.shape)
        self.matrices = matrices
        self.shape, self.num_measurements = (n1, n2), m
        self._flat = xp.reshape(matrices, (m, n1 * n2))

    @property
    def size_in_bytes(self) -> int:
        """Return the memory of the measurement matrices, in bytes."""
        m, n1, n2 = self.matrices.shape
        itemsize = 8 if "64" in str(self.matrices.dtype) else 4
        return int(m * n1 * n2 * itemsize)

    @property
    def symmetric(self) -> bool:
        """Whether every A_t is symmetric."""
        if self.shape[0] != self.shape[1]:
            return False
        xp = namespace(self.matrices)
        return bool(xp.all(self.matrices == xp.matrix_transpose(self.matrices)))

    def _apply_matrix(self, matrix: Array) -> Array:
        flat = self._match(matrix)
        return self._back(self._flat @ namespace(flat).reshape(flat, (-1,)), matrix)

    def apply_product(self, left: Array, right: Array) -> Array:
        """Return A(L R^T); an operator this dense may form the n1 x n2 product."""
        return self._apply_matrix(left @ right.T)

    def adjoint(self, y: Array) -> Array:
        """Return sum_t y_t A_t, an n1 x n2 array."""
        transported = namespace(self._flat).reshape(self._match(y) @ self._flat, self.shape)
        return self._back(transported, y)

    def _match(self, x: Array) -> Array:
        # A NumPy probe (dottest, Lanczos) may meet matrices of another namespace.
        if is_numpy_array(x) and not is_numpy_array(self._flat):
            return like(x, self._flat)
        return x

    def _back(self, result: Array, asked: Array) -> Array:
        # Like every operator: the result is in the namespace of what was handed in.
        return to_numpy(result) if is_numpy_array(asked) else result

    def subset(self, index: Array) -> DenseSensing:
        """Return the operator with the listed measurement matrices (copied)."""
        # Through arange, so that masks and negative positions mean what they do elsewhere.
        positions = np.arange(self.num_measurements)[to_numpy(index)]
        xp = namespace(self.matrices)
        return DenseSensing(xp.take(self.matrices, like(positions, self.matrices), axis=0))

    def to_arrays(self) -> dict[str, Any]:
        """Return the measurement matrices."""
        return {"matrices": to_numpy(self.matrices)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> DenseSensing:
        """Rebuild the operator from ``to_arrays``."""
        return cls(arrays["matrices"])
