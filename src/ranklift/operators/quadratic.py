"""QuadraticSensing: intensities |<x_i, u>|^2, linear in X = u u^H."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator

from ..arrays import Array, conj, is_complex, is_numpy_array, like, namespace, to_numpy
from ..errors import DTypeError, EmptyDataError, InputError, NonFiniteError, ShapeError
from .base import MOMENT_SIDE, MeasurementOperator, factor_energies
from .coded_diffraction import CodedDiffraction


class QuadraticSensing(MeasurementOperator):
    """Measure quadratic forms: A(X)_i = v_i X v_i^H with v_i the rows of ``vectors``.

    For X = u u^H these are the intensities ``|(V u)_i|^2`` of phase retrieval; for a covariance
    matrix the energies of its sketches; for X = U1 U1^T - U2 U2^T the outputs of a network with
    quadratic activation. Real vectors and X: x_i^T X x_i.

    Parameters
    ----------
    vectors : array, shape (m, n), sparse matrix or LinearOperator
        V, real or complex. Only products with V and V^H are used.
    field : "real", "complex" or None
        Whether X is real symmetric or complex Hermitian; by default like the vectors.

    Raises
    ------
    ShapeError, EmptyDataError, DTypeError, NonFiniteError, InputError

    Notes
    -----
    A(L R^T) costs two products with V (one for L = conj(R)), the adjoint one with V and one with
    V^H: for arrays m n k multiply-adds each, for transforms their own cost. No n x n array is
    formed. The ensemble cannot be an isometry: for Gaussian vectors E A*A(X) = 2 m X + m tr(X) I.

    Examples
    --------
    >>> import numpy as np
    >>> A = QuadraticSensing(np.array([[1.0, 2.0]]))
    >>> A.apply(np.array([[1.0, 0.0], [0.0, 3.0]]))
    array([13.])
    """

    @staticmethod
    def example(rng: np.random.Generator) -> QuadraticSensing:
        """Make a small instance for the contract tests."""
        return QuadraticSensing(rng.standard_normal((24, 5)))

    def __init__(self, vectors: Any, field: str | None = None) -> None:
        self.vectors, complex_vectors = checked_vectors(vectors, "measurement vectors")
        if field not in (None, "real", "complex"):
            raise InputError(f"field={field!r}", 'pass "real", "complex" or None')
        m, n = (int(size) for size in self.vectors.shape)
        self.shape, self.num_measurements = (n, n), m
        self.hermitian = field == "complex" or (field is None and complex_vectors)
        self._complex_vectors = complex_vectors

    @property
    def field(self) -> str:
        """Return "real" or "complex": what X is."""
        return "complex" if self.hermitian else "real"

    @property
    def size_in_bytes(self) -> int:
        """Return the memory of the vectors or masks, 0 for another LinearOperator."""
        return vector_bytes(self.vectors)

    @property
    def symmetric(self) -> bool:
        """Whether A(X) = A(X^T): true unless complex vectors meet a complex X."""
        return not (self.hermitian and self._complex_vectors)

    def _forward(self, x: Array) -> Array:
        return vector_product(self.vectors, x)

    def _backward(self, y: Array) -> Array:
        """Return V^H y, its real part for a real X."""
        out = vector_adjoint(self.vectors, y)
        if not self.hermitian and is_complex(out):
            out = namespace(out).real(out)
        return out

    def _apply_matrix(self, matrix: Array) -> Array:
        # (V X) . conj(V), row by row; only full matrices that a caller formed come here.
        image = self._forward(matrix)
        eye = namespace(matrix).eye(self.shape[0], dtype=matrix.dtype)
        return _rows_inner(image, self._forward(eye))

    def apply_product(self, left: Array, right: Array) -> Array:
        """Return Re sum_c (V L)_ic conj(V conj(R))_ic."""
        image = self._forward(left)
        if right is left and not is_complex(left):
            return _rows_inner(image, image)
        return _rows_inner(image, self._forward(conj(right)))

    def adjoint(self, y: Array) -> QuadraticAdjoint:
        """Return V^H diag(y) V (its real part for a real X) by its products."""
        return QuadraticAdjoint(self, y)

    def residual_products(self, left: Array, right: Array, b: Array) -> tuple[Array, Array, Array]:
        """Return the residual and gradient products with V L and V conj(R) computed once."""
        image = self._forward(left)
        same = right is left and not is_complex(left)
        other = image if same else self._forward(conj(right))
        residual = _rows_inner(image, other) - b
        out_left = self._backward(residual[:, None] * other)
        if same:
            return residual, out_left, out_left
        # S^T conj(L) = conj(S L) for a Hermitian S.
        return residual, out_left, conj(self._backward(residual[:, None] * image))

    def normal_products(
        self,
        left: Array,
        right: Array,
        d_left: Array,
        d_right: Array,
        s: Array | None = None,
        curvature: Callable[[Array], Array] | None = None,
    ) -> tuple[Array, Array]:
        """Return the Hessian product with every image under V computed once."""
        same = right is left and d_right is d_left and not is_complex(left)
        image, d_image = self._forward(left), self._forward(d_left)
        other = image if same else self._forward(conj(right))
        d_other = d_image if same else self._forward(conj(d_right))
        y = _rows_inner(d_image, other) + _rows_inner(image, d_other)
        if curvature is not None:
            y = curvature(y)
        back_left = y[:, None] * other
        back_right = y[:, None] * image
        if s is not None:
            back_left = back_left + s[:, None] * d_other
            back_right = back_right + s[:, None] * d_image
        out_left = self._backward(back_left)
        return out_left, out_left if same else conj(self._backward(back_right))

    def _moment(
        self, side: str, factor: np.ndarray | None, weights: np.ndarray
    ) -> np.ndarray | None:
        """Return V^H diag(w_i ||v_i F||^2) V; its conjugate twin on the right.

        A_i = v_i^H v_i for a complex X. For a real X and complex vectors A_i is the real part of
        that, and the moment half the real part of

            V^H diag(w_i sum_c |(V F)_ic|^2) V + V^H diag(w_i sum_c (V F)_ic^2) conj(V).

        Cost: m n^2 multiply-adds, of a LinearOperator 2 n products and n adjoint ones. Behind masks
        (CodedDiffraction), with one weight a mask, a complex X and no matrix F, all ||v_i F||^2 of
        a mask are the same: the moment is diagonal, sum_l w_l ||mask_l d||^2 |mask_l|^2. Own
        derivation.
        """
        if side == "right":
            left = self._moment("left", None if factor is None else factor.conj(), weights)
            return None if left is None else left.conj()
        if self.hermitian and isinstance(self.vectors, CodedDiffraction):
            diagonal = _masked_diagonal(self.vectors.masks, factor, weights)
            if diagonal is not None:
                return diagonal
        if self.shape[0] > MOMENT_SIDE:
            return None
        energies, squares = vector_energies(self.vectors, factor)
        moment = vector_moment(self.vectors, self.vectors, weights * energies)
        if self.hermitian or not self._complex_vectors:
            return moment
        other = vector_moment(self.vectors, self.vectors, weights * squares, conjugated=True)
        return 0.5 * np.real(moment + other)

    def subset(self, index: Array) -> MeasurementOperator:
        """Return the operator with the listed vectors, where they are stored."""
        if isinstance(self.vectors, LinearOperator):
            return super().subset(index)
        positions = np.arange(self.num_measurements)[to_numpy(index)]
        if sparse.issparse(self.vectors):
            return QuadraticSensing(self.vectors[positions], self.field)
        xp = namespace(self.vectors)
        kept = xp.take(self.vectors, like(positions, self.vectors), axis=0)
        return QuadraticSensing(kept, self.field)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the vectors (masks of coded diffraction) and the field."""
        if isinstance(self.vectors, CodedDiffraction):
            return {"masks": self.vectors.masks, "field": np.array(self.field)}
        return {"vectors": stored_vectors(self, self.vectors), "field": np.array(self.field)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> QuadraticSensing:
        """Rebuild the operator from ``to_arrays``."""
        masks = arrays.get("masks")
        vectors = arrays["vectors"] if masks is None else CodedDiffraction(masks)
        return cls(vectors, str(arrays["field"]))


class QuadraticAdjoint:
    """The Hermitian matrix V^H diag(y) V, known by its products."""

    def __init__(self, operator: QuadraticSensing, y: Array, transposed: bool = False) -> None:
        self.operator, self.y, self.transposed = operator, y, transposed
        self.shape = operator.shape

    @property
    def T(self) -> QuadraticAdjoint:
        """Return the transpose: the complex conjugate."""
        return QuadraticAdjoint(self.operator, self.y, not self.transposed)

    def __matmul__(self, x: Array) -> Array:
        x = conj(x) if self.transposed else x
        image = self.operator._forward(x)
        same = is_numpy_array(image) == is_numpy_array(self.y)
        y = self.y if same else like(to_numpy(self.y), image)
        scaled = y * image if image.ndim == 1 else y[:, None] * image
        out = self.operator._backward(scaled)
        return conj(out) if self.transposed else out


def _rows_inner(a: Array, b: Array) -> Array:
    """Return Re sum_c a_ic conj(b_ic)."""
    xp = namespace(a)
    total = xp.sum(a * conj(b), axis=1)
    return xp.real(total) if is_complex(total) else total


def _masked_diagonal(
    masks: np.ndarray, factor: np.ndarray | None, weights: np.ndarray
) -> np.ndarray | None:
    """Return sum_l w_l ||mask_l d||^2 |mask_l|^2; None for a matrix F or weights that vary."""
    by_mask = weights.reshape(len(masks), -1)
    if (factor is not None and factor.ndim == 2) or (by_mask != by_mask[:, :1]).any():
        return None
    squares = np.abs(masks.reshape(len(masks), -1)) ** 2
    energies = squares @ factor_energies(factor, squares.shape[1]) / squares.shape[1]
    return (by_mask[:, 0] * energies) @ squares


# -- stored or computed vectors, shared with RankOneSensing -------------------------------------


def checked_vectors(vectors: Any, name: str) -> tuple[Any, bool]:
    """Return the m x n vectors and whether they are complex.

    Raises
    ------
    ShapeError, EmptyDataError, DTypeError, NonFiniteError
    """
    if isinstance(vectors, (list, tuple)):
        vectors = np.asarray(vectors)
        if vectors.dtype.kind in "iub":
            vectors = vectors.astype(float)
    if len(vectors.shape) != 2:
        raise ShapeError(f"{name} of shape {tuple(vectors.shape)}", "stack them as rows, (m, n)")
    if 0 in vectors.shape:
        raise EmptyDataError(f"no {name}", "pass at least one, of non-zero length")
    if isinstance(vectors, LinearOperator):
        return vectors, vectors.dtype is not None and np.dtype(vectors.dtype).kind == "c"
    if sparse.issparse(vectors):
        values, kept = vectors.data, vectors.tocsr()
    else:
        values = kept = vectors
    xp = namespace(values)
    if not xp.isdtype(values.dtype, ("real floating", "complex floating")):
        raise DTypeError(f"{name} of type {values.dtype}", "convert them to float64 or complex128")
    if not bool(xp.all(xp.isfinite(values))):
        raise NonFiniteError(f"NaN or inf among the {name}", "remove or replace these vectors")
    return kept, is_complex(values)


def vector_bytes(vectors: Any) -> int:
    """Return the memory of the vectors; 0 where another object computes them."""
    if isinstance(vectors, CodedDiffraction):
        return int(vectors.masks.nbytes)
    if isinstance(vectors, LinearOperator):
        return 0
    if sparse.issparse(vectors):
        return int(vectors.data.nbytes + vectors.indices.nbytes + vectors.indptr.nbytes)
    m, n = vectors.shape
    size = {"complex128": 16, "complex64": 8, "float32": 4}.get(
        str(vectors.dtype).split(".")[-1], 8
    )
    return int(m * n * size)


def vector_product(vectors: Any, x: Array) -> Array:
    """Return V x in the namespace of x."""
    if is_numpy_array(x) and not _stored_elsewhere(vectors):
        return np.asarray(vectors @ x)
    if _stored_elsewhere(vectors):
        if is_numpy_array(x):
            return to_numpy(_product(vectors, like(x, vectors)))
        return _product(vectors, x)
    return like(np.asarray(vectors @ to_numpy(x)), x)


def vector_adjoint(vectors: Any, y: Array) -> Array:
    """Return V^H y in the namespace of y."""
    if isinstance(vectors, LinearOperator):
        host = to_numpy(y)
        out = vectors.rmatvec(host) if host.ndim == 1 else vectors.rmatmat(host)
        return like(np.asarray(out), y)
    adjoint = conj(vectors).T if not sparse.issparse(vectors) else vectors.conj().T
    return vector_product(adjoint, y)


VECTOR_COLUMNS = 64
"""Columns of the vectors that moments work on at once: m x 64 numbers."""


def vector_energies(vectors: Any, factor: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return sum_c |(V F)_ic|^2 and sum_c (V F)_ic^2, F as ``moment`` takes it, on the host.

    Without a matrix F every column of V is looked at once; a LinearOperator computes them.
    """
    m, n = vectors.shape
    energies, squares = np.zeros(m), np.zeros(m)
    if factor is not None and factor.ndim == 2:
        images = [vector_product(_on_host(vectors), factor)]
    else:
        diagonal = np.ones(n) if factor is None else factor
        images = (columns * diagonal[part] for part, columns in _column_blocks(vectors))
    for image in images:
        energies = energies + np.sum(np.abs(image) ** 2, axis=1)
        squares = squares + np.sum(image**2, axis=1)
    return energies, squares


def vector_moment(
    vectors: Any, others: Any, weights: np.ndarray, conjugated: bool = False
) -> np.ndarray:
    """Return V^H diag(w) W on the host, or V^H diag(w) conj(W): m n1 n2 multiply-adds."""
    host, out = _on_host(vectors), []
    for _, columns in _column_blocks(others):
        kept = columns.conj() if conjugated else columns
        out.append(vector_adjoint(host, weights[:, None] * kept))
    return np.concatenate(out, axis=1)


def vector_diagonal(vectors: Any, others: Any) -> np.ndarray:
    """Return the inner products v_i . w_i of real vectors, on the host."""
    total = np.zeros(vectors.shape[0])
    blocks = zip(_column_blocks(vectors), _column_blocks(others), strict=True)
    for (_, columns), (_, others_columns) in blocks:
        total = total + np.sum(columns * others_columns, axis=1)
    return total


def _column_blocks(vectors: Any) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield the columns of V on the host, a few at a time, and which they are."""
    host, n = _on_host(vectors), int(vectors.shape[1])
    for lo in range(0, n, VECTOR_COLUMNS):
        part = slice(lo, min(lo + VECTOR_COLUMNS, n))
        if isinstance(host, LinearOperator):
            columns = np.asarray(host @ np.eye(n, part.stop - lo, -lo))
        else:
            columns = host[:, part]
            columns = columns.toarray() if sparse.issparse(columns) else columns
        yield part, columns


def _on_host(vectors: Any) -> Any:
    return to_numpy(vectors) if _stored_elsewhere(vectors) else vectors


def _stored_elsewhere(vectors: Any) -> bool:
    return not (
        is_numpy_array(vectors) or sparse.issparse(vectors) or isinstance(vectors, LinearOperator)
    )


def _product(vectors: Array, x: Array) -> Array:
    # PyTorch does not mix real and complex in a product.
    if is_complex(vectors) and not is_complex(x):
        x = namespace(x).astype(x, vectors.dtype)
    elif is_complex(x) and not is_complex(vectors):
        vectors = namespace(x).astype(vectors, x.dtype)
    return vectors @ x


def stored_vectors(operator: MeasurementOperator, vectors: Any) -> np.ndarray:
    """Return the vectors as an array for a result file.

    Raises
    ------
    InputError
        When a LinearOperator computes them.
    """
    if isinstance(vectors, LinearOperator):
        return MeasurementOperator.to_arrays(operator)["code"]  # raises: there are no arrays
    return np.asarray(vectors.todense()) if sparse.issparse(vectors) else to_numpy(vectors)
