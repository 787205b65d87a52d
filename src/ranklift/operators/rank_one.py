"""RankOneSensing: bilinear forms of X with pairs of vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator

from ..arrays import Array, is_numpy_array, like, namespace, to_numpy
from ..errors import DTypeError, ShapeError
from .base import MOMENT_SIDE, MeasurementOperator
from .quadratic import (
    checked_vectors,
    stored_vectors,
    vector_adjoint,
    vector_bytes,
    vector_diagonal,
    vector_energies,
    vector_moment,
    vector_product,
)


class RankOneSensing(MeasurementOperator):
    """Measure bilinear forms: A(X)_i = a_i^T X b_i.

    Parameters
    ----------
    left : array, shape (m, n1), sparse matrix or LinearOperator
        The vectors a_i as rows, real.
    right : array, shape (m, n2), sparse matrix or LinearOperator
        The vectors b_i as rows, real.

    Raises
    ------
    ShapeError, EmptyDataError, DTypeError, NonFiniteError

    Notes
    -----
    A(L R^T)_i = (a_i^T L)(b_i^T R)^T costs m (n1 + n2) k multiply-adds, the adjoint twice that;
    neither m n1 n2 numbers nor an n1 x n2 array are ever formed. Memory: the vectors.

    Examples
    --------
    >>> import numpy as np
    >>> A = RankOneSensing(np.array([[1.0, 2.0]]), np.array([[0.0, 1.0]]))
    >>> A.apply(np.array([[5.0, 1.0], [7.0, 3.0]]))
    array([7.])
    """

    @staticmethod
    def example(rng: np.random.Generator) -> RankOneSensing:
        """Make a small instance for the contract tests."""
        return RankOneSensing(rng.standard_normal((26, 6)), rng.standard_normal((26, 5)))

    def __init__(self, left: Any, right: Any) -> None:
        self.left, left_complex = checked_vectors(left, "left vectors")
        self.right, right_complex = checked_vectors(right, "right vectors")
        if left_complex or right_complex:
            raise DTypeError(
                "complex vectors of a real bilinear form",
                "stack real and imaginary parts as two sets of real vectors, or use "
                "BlindDeconvolution for Fourier measurements",
            )
        if self.left.shape[0] != self.right.shape[0]:
            raise ShapeError(
                f"{self.left.shape[0]} left and {self.right.shape[0]} right vectors",
                "pass one pair a measurement",
            )
        self.num_measurements = int(self.left.shape[0])
        self.shape = int(self.left.shape[1]), int(self.right.shape[1])

    @property
    def size_in_bytes(self) -> int:
        """Return the memory of the vectors, 0 for LinearOperators."""
        return vector_bytes(self.left) + vector_bytes(self.right)

    def _apply_matrix(self, matrix: Array) -> Array:
        image = vector_product(self.left, matrix)
        eye = namespace(matrix).eye(self.shape[1], dtype=matrix.dtype)
        return namespace(image).sum(image * vector_product(self.right, eye), axis=1)

    def apply_product(self, left: Array, right: Array) -> Array:
        """Return the row sums of (A L) * (B R)."""
        product = vector_product(self.left, left) * vector_product(self.right, right)
        return namespace(product).sum(product, axis=1)

    def adjoint(self, y: Array) -> RankOneAdjoint:
        """Return A^T diag(y) B by its products."""
        return RankOneAdjoint(self.left, self.right, y)

    def residual_products(self, left: Array, right: Array, b: Array) -> tuple[Array, Array, Array]:
        """Return the residual and gradient products with A L and B R computed once."""
        image, other = vector_product(self.left, left), vector_product(self.right, right)
        residual = namespace(image).sum(image * other, axis=1) - b
        return (
            residual,
            vector_adjoint(self.left, residual[:, None] * other),
            vector_adjoint(self.right, residual[:, None] * image),
        )

    def normal_products(
        self,
        left: Array,
        right: Array,
        d_left: Array,
        d_right: Array,
        s: Array | None = None,
        curvature: Callable[[Array], Array] | None = None,
    ) -> tuple[Array, Array]:
        """Return the Hessian product with every image under A and B computed once."""
        image, d_image = vector_product(self.left, left), vector_product(self.left, d_left)
        other, d_other = vector_product(self.right, right), vector_product(self.right, d_right)
        y = namespace(image).sum(d_image * other + image * d_other, axis=1)
        if curvature is not None:
            y = curvature(y)
        back_left, back_right = y[:, None] * other, y[:, None] * image
        if s is not None:
            back_left = back_left + s[:, None] * d_other
            back_right = back_right + s[:, None] * d_image
        return vector_adjoint(self.left, back_left), vector_adjoint(self.right, back_right)

    def _moment(
        self, side: str, factor: np.ndarray | None, weights: np.ndarray
    ) -> np.ndarray | None:
        """Return sum_i w_i ||F^T b_i||^2 a_i a_i^T; a_i and b_i exchanged on the right.

        Cost: m n1^2 multiply-adds and the products B F (m n2 k); of LinearOperators n1 products and
        adjoint ones with A, and without a matrix F n2 products with B.
        """
        own, other = (self.left, self.right) if side == "left" else (self.right, self.left)
        # The columns of a LinearOperator come one product each, where the factor does not ask less.
        each_column = isinstance(other, LinearOperator) and (factor is None or factor.ndim == 1)
        if max(own.shape[1], other.shape[1] if each_column else 0) > MOMENT_SIDE:
            return None
        return vector_moment(own, own, weights * vector_energies(other, factor)[0])

    def _transposed_moment(self, weights: np.ndarray) -> np.ndarray | None:
        """Return sum_i w_i (b_i^T a_i) a_i b_i^T: m n^2 multiply-adds."""
        if self.shape[0] > MOMENT_SIDE:
            return None
        overlaps = vector_diagonal(self.left, self.right)
        return vector_moment(self.left, self.right, weights * overlaps)

    def subset(self, index: Array) -> MeasurementOperator:
        """Return the operator with the listed pairs, where they are stored."""
        positions = np.arange(self.num_measurements)[to_numpy(index)]
        kept = []
        for vectors in (self.left, self.right):
            if isinstance(vectors, LinearOperator):
                return super().subset(index)
            if sparse.issparse(vectors):
                kept.append(vectors[positions])
            else:
                kept.append(namespace(vectors).take(vectors, like(positions, vectors), axis=0))
        return RankOneSensing(*kept)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return both sets of vectors."""
        return {
            "left": stored_vectors(self, self.left),
            "right": stored_vectors(self, self.right),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> RankOneSensing:
        """Rebuild the operator from ``to_arrays``."""
        return cls(arrays["left"], arrays["right"])


class RankOneAdjoint:
    """The matrix A^T diag(y) B, known by its products."""

    def __init__(self, left: Any, right: Any, y: Array) -> None:
        self.left, self.right, self.y = left, right, y
        self.shape = int(left.shape[1]), int(right.shape[1])

    @property
    def T(self) -> RankOneAdjoint:
        """Return B^T diag(y) A."""
        return RankOneAdjoint(self.right, self.left, self.y)

    def __matmul__(self, x: Array) -> Array:
        image = vector_product(self.right, x)
        same = is_numpy_array(image) == is_numpy_array(self.y)
        y = self.y if same else like(to_numpy(self.y), image)
        return vector_adjoint(self.left, y * image if image.ndim == 1 else y[:, None] * image)
