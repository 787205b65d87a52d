"""Congruence: X -> A(Q X Q^T), and the basis that takes the mean away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import sqrt
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from ..arrays import Array, is_numpy_array, like, matmul, namespace, to_numpy
from ..errors import DTypeError, NonFiniteError, ShapeError
from .algebra import _pack, _unpack
from .base import MOMENT_SIDE, MeasurementOperator, times_factor


class Congruence(MeasurementOperator):
    """Measure in a basis of fewer dimensions: X -> A(Q X Q^T).

    The same Q on both sides, so that symmetric (Hermitian) operators stay symmetric, and positive
    semidefinite unknowns stay positive semidefinite.

    Parameters
    ----------
    base : MeasurementOperator
        The operator A, on N x N matrices.
    basis : array or scipy.sparse.linalg.LinearOperator, shape (N, n)
        Real Q. Orthonormal columns keep norms: ||Q X Q^T||_F = ||X||_F, but none are asked for.

    Raises
    ------
    ShapeError
        When ``base`` is not on square matrices or Q has not N rows.
    DTypeError
        When Q is complex.
    NonFiniteError
        When an array Q holds NaN or inf.

    Notes
    -----
    Factors are multiplied by Q first (an array: N n k multiply-adds) and products by Q^T
    afterwards; what lies between is the base's own, fused products included. A*(y) = Q^T S Q is
    known by its products. Only A(X) of a full n x n array forms the N x N one.

    Examples
    --------
    >>> import numpy as np
    >>> from ranklift.operators import IdentitySensing
    >>> A = Congruence(IdentitySensing((2, 2)), np.array([[1.0], [2.0]]))
    >>> A.apply(np.array([[1.0]]))
    array([1., 2., 2., 4.])
    """

    @staticmethod
    def example(rng: np.random.Generator) -> Congruence:
        """Make a small instance for the contract tests."""
        from .entries import EntrySampling

        flat = rng.permutation(8 * 8)[:30]
        basis = rng.standard_normal((8, 5))
        return Congruence(EntrySampling(flat // 8, flat % 8, (8, 8)), basis)

    def __init__(self, base: MeasurementOperator, basis: Any) -> None:
        if base.shape[0] != base.shape[1]:
            raise ShapeError(
                f"a congruence of an operator on {base.shape[0]} x {base.shape[1]} matrices",
                "pass an operator on square matrices",
            )
        is_array = not isinstance(basis, LinearOperator)
        basis = np.ascontiguousarray(to_numpy(basis)) if is_array else basis
        if len(basis.shape) != 2 or basis.shape[0] != base.shape[0]:
            raise ShapeError(
                f"a basis of shape {tuple(basis.shape)} for matrices of size {base.shape[0]}",
                f"pass a matrix of {base.shape[0]} rows",
            )
        if basis.dtype is not None and np.issubdtype(basis.dtype, np.complexfloating):
            raise DTypeError("a complex basis", "pass a real one")
        if is_array:
            basis = basis.astype(float, copy=False)
            if not np.isfinite(basis).all():
                raise NonFiniteError("the basis holds NaN or inf", "pass finite numbers")
        n = int(basis.shape[1])
        self.base, self.basis = base, basis
        self.hermitian = base.hermitian
        self.shape, self.num_measurements = (n, n), base.num_measurements

    # -- structure ---------------------------------------------------------------------------

    @property
    def size_in_bytes(self) -> int:
        """Return the memory of an array basis and of the base, in bytes."""
        return getattr(self.basis, "nbytes", 0) + self.base.size_in_bytes

    @property
    def symmetric(self) -> bool:
        """Whether the base is symmetric: Q X^T Q^T is the transpose of Q X Q^T."""
        return self.base.symmetric

    def subset(self, index: Array) -> Congruence:
        """Return the listed measurements in the same basis."""
        return Congruence(self.base.subset(index), self.basis)

    def weighted(self, weights: Array) -> Congruence:
        """Return the weighted measurements in the same basis."""
        return Congruence(self.base.weighted(weights), self.basis)

    @property
    def isometry(self) -> Congruence | None:
        """Return this operator where its basis is known to be orthonormal."""
        return self if isinstance(self.basis, CenteringBasis) else None

    def canonical(self, b: Array) -> tuple[MeasurementOperator, Array]:
        """Return the base in its fastest order, in the same basis."""
        base, ordered = self.base.canonical(b)
        return (self, b) if base is self.base else (Congruence(base, self.basis), ordered)

    # -- products ----------------------------------------------------------------------------

    def embed(self, x: Array) -> Array:
        """Return Q x of an array with n rows: factors of X become those of Q X Q^T."""
        return _product(self.basis, x)

    def _embedded(self, left: Array, right: Array) -> tuple[Array, Array]:
        """Embed both factors; one that is the other stays so, which operators make use of."""
        embedded = self.embed(left)
        return embedded, embedded if right is left else self.embed(right)

    def project(self, x: Array) -> Array:
        """Return Q^T x of an array with the base's n rows."""
        return _product(self.basis.T, x)

    def _apply_matrix(self, matrix: Array) -> Array:
        return self.base._apply_matrix(self.embed(self.embed(matrix).T).T)

    def apply_product(self, left: Array, right: Array) -> Array:
        """Return A(Q L (Q R)^T)."""
        return self.base.apply_product(*self._embedded(left, right))

    def adjoint(self, y: Array) -> _CongruentAdjoint:
        """Return Q^T A*(y) Q by its products."""
        return _CongruentAdjoint(self.base.adjoint(y), self.basis)

    def adjoint_products(self, y: Array, left: Array, right: Array) -> tuple[Array, Array]:
        """Return the base's products of Q L and Q R, times Q^T."""
        out = self.base.adjoint_products(y, *self._embedded(left, right))
        return self.project(out[0]), self.project(out[1])

    def residual_products(self, left: Array, right: Array, b: Array) -> tuple[Array, Array, Array]:
        """Return the residual and the gradient products through the base's fused ones."""
        residual, out_left, out_right = self.base.residual_products(*self._embedded(left, right), b)
        return residual, self.project(out_left), self.project(out_right)

    def normal_products(
        self,
        left: Array,
        right: Array,
        d_left: Array,
        d_right: Array,
        s: Array | None = None,
        curvature: Callable[[Array], Array] | None = None,
    ) -> tuple[Array, Array]:
        """Return the Hessian product through the base's fused ones."""
        out_left, out_right = self.base.normal_products(
            *self._embedded(left, right), *self._embedded(d_left, d_right), s, curvature
        )
        return self.project(out_left), self.project(out_right)

    def _moment(
        self, side: str, factor: np.ndarray | None, weights: np.ndarray
    ) -> np.ndarray | None:
        """Return Q^T M Q with M the base's moment of Q F.

        Cost: that of the base's moment for as many columns as F has (n without a matrix F), and
        products of M with the n columns of Q.
        """
        n = self.shape[0]
        if n > MOMENT_SIDE:
            return None
        basis = np.asarray(self.embed(np.eye(n)))
        moment = self.base.moment(side, times_factor(basis, factor), weights=weights)
        if moment is None:
            return None
        turned = moment[:, None] * basis if moment.ndim == 1 else moment @ basis
        return np.asarray(self.project(turned))

    # -- saving ------------------------------------------------------------------------------

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the base's data with the basis, of a centring one its size alone.

        Raises
        ------
        InputError
            When the basis is another LinearOperator: it holds code.
        """
        if isinstance(self.basis, CenteringBasis):
            kept = {"centering": np.array(self.basis.shape[0])}
        elif isinstance(self.basis, LinearOperator):
            return super().to_arrays()
        else:
            kept = {"basis": self.basis}
        return {**kept, **_pack(self.base, "base")}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Congruence:
        """Rebuild the operator from ``to_arrays``."""
        if "centering" in arrays:
            return cls(_unpack(arrays, "base"), centering_basis(int(arrays["centering"])))
        return cls(_unpack(arrays, "base"), arrays["basis"])


class _CongruentAdjoint:
    """The matrix Q^T S Q, with S known by its products only."""

    __array_ufunc__ = None

    def __init__(self, inner: Any, basis: Any) -> None:
        self.inner, self.basis = inner, basis
        self.shape = (basis.shape[1], basis.shape[1])

    @property
    def T(self) -> _CongruentAdjoint:
        return _CongruentAdjoint(self.inner.T, self.basis)

    def __matmul__(self, x: Array) -> Array:
        return _product(self.basis.T, matmul(self.inner, _product(self.basis, x)))


class CenteringBasis(LinearOperator):
    """Orthonormal columns orthogonal to the ones vector; see ``centering_basis``."""

    def __init__(self, n: int) -> None:
        super().__init__(dtype=np.dtype(float), shape=(n, n - 1))

    def _matmat(self, x: np.ndarray) -> np.ndarray:
        n, total = self.shape[0], x.sum(axis=0)
        return np.concatenate([-total[None] / sqrt(n), x - total / (n + sqrt(n))])

    def _matvec(self, x: np.ndarray) -> np.ndarray:
        return self._matmat(x.reshape(-1, 1))

    def _rmatmat(self, x: np.ndarray) -> np.ndarray:
        n = self.shape[0]
        return x[1:] - (x.sum(axis=0) / sqrt(n) + x[0]) / (sqrt(n) + 1)

    def _rmatvec(self, x: np.ndarray) -> np.ndarray:
        return self._rmatmat(x.reshape(-1, 1))


def centering_basis(n: int) -> CenteringBasis:
    """Return an n x (n - 1) operator Q with Q^T Q = I and Q^T 1 = 0.

    Parameters
    ----------
    n : int
        Number of rows, at least 2.

    Returns
    -------
    scipy.sparse.linalg.LinearOperator
        ``Q @ x`` and ``Q.T @ x`` cost O(n) a column, and nothing is stored.

    Raises
    ------
    ShapeError
        When n is below 2.

    Notes
    -----
    The reflector H = I - 2 v v^T / v^T v with v = 1 / sqrt(n) + e_1 takes e_1 to -1 / sqrt(n) (the
    vector of ones, normed). Q holds its other columns. With v^T v = 2 + 2 / sqrt(n),

        Q x = [-sum(x) / sqrt(n); x - sum(x) / (n + sqrt(n))],
        Q^T w = w[1:] - (sum(w) / sqrt(n) + w[0]) / (sqrt(n) + 1).

    Householder (1958); the formulas are our own derivation.

    Examples
    --------
    >>> import numpy as np
    >>> Q = centering_basis(4)
    >>> bool(np.allclose(Q.T @ (Q @ np.eye(3)), np.eye(3)))
    True
    >>> bool(np.allclose(Q.T @ np.ones(4), 0))
    True
    """
    if n < 2:
        raise ShapeError(f"a centring basis of {n} points", "pass at least two points")
    return CenteringBasis(n)


def _product(basis: Any, x: Array) -> Array:
    """Return Q x in the namespace of x."""
    if is_numpy_array(x):
        return basis @ x
    if isinstance(basis, LinearOperator):
        return like(np.asarray(basis @ to_numpy(x)), x)
    matrix, xp = like(basis, x), namespace(x)
    return xp.astype(matrix, x.dtype) @ x if matrix.dtype != x.dtype else matrix @ x
