"""FromLinearOperator: any SciPy LinearOperator or PyLops operator on vec(X)."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from ..arrays import Array, like, to_numpy
from ..errors import DTypeError, ShapeError
from .base import MeasurementOperator


class FromLinearOperator(MeasurementOperator):
    """Measure by a linear operator on the row-major vector of X: A(X) = linop @ vec(X).

    Parameters
    ----------
    linop : scipy.sparse.linalg.LinearOperator, PyLops operator, array or sparse matrix
        Shape (m, n1 n2), with matvec and rmatvec.
    shape : (int, int)
        Size n1 x n2 of the matrix.

    Raises
    ------
    ShapeError
        When the operator has not n1 n2 columns.
    DTypeError
        When the operator is complex.

    Notes
    -----
    The operator decides the cost; an n1 x n2 array is formed, because it asks for vec(X).

    Examples
    --------
    >>> import numpy as np
    >>> A = FromLinearOperator(np.array([[1.0, 1.0, 0.0, 0.0]]), (2, 2))
    >>> A.apply(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([3.])
    """

    @staticmethod
    def example(rng: np.random.Generator) -> FromLinearOperator:
        """Make a small instance for the contract tests."""
        return FromLinearOperator(aslinearoperator(rng.standard_normal((22, 30))), (6, 5))

    def __init__(self, linop: Any, shape: tuple[int, int]) -> None:
        n1, n2 = (int(size) for size in shape)
        linop = linop if isinstance(linop, LinearOperator) else aslinearoperator(linop)
        m, columns = linop.shape
        if columns != n1 * n2:
            raise ShapeError(
                f"a linear operator with {columns} columns for a {n1} x {n2} matrix",
                f"pass one with n1 n2 = {n1 * n2} columns, acting on the row-major vec(X)",
            )
        if linop.dtype is not None and np.issubdtype(linop.dtype, np.complexfloating):
            raise DTypeError(
                "a complex linear operator", "stack its real and imaginary parts as two operators"
            )
        self.linop, self.shape, self.num_measurements = linop, (n1, n2), int(m)

    @property
    def size_in_bytes(self) -> int:
        """Return 0: the data belong to the operator that was handed in."""
        return 0

    def _apply_matrix(self, matrix: Array) -> Array:
        return like(np.asarray(self.linop.matvec(to_numpy(matrix).ravel())), matrix)

    def apply_product(self, left: Array, right: Array) -> Array:
        """Return linop @ vec(L R^T)."""
        return self._apply_matrix(left @ right.T)

    def adjoint(self, y: Array) -> Array:
        """Return the n1 x n2 array with vec = linop^T y."""
        return like(np.asarray(self.linop.rmatvec(to_numpy(y))).reshape(self.shape), y)
