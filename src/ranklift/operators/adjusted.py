"""Adjusted: measurements with a linear model of nuisance columns taken out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from ..arrays import Array, like, matmul, to_numpy
from ..errors import NonFiniteError, ShapeError
from .algebra import _pack, _small, _unpack
from .base import MOMENT_SIDE, MeasurementOperator, times_factor


class Adjusted(MeasurementOperator):
    """Take out of the measurements what nuisance columns N explain: X -> (I - Q Q^T) A(X).

    Q is an orthonormal basis of the columns of N, shape (m, p). Least squares over X and the
    coefficients c of A(X) + N c = y is least squares over X alone of these measurements against
    (I - Q Q^T) y (Frisch, Waugh, Lovell); N = 1 takes out an intercept.

    Parameters
    ----------
    base : MeasurementOperator
    nuisance : array, shape (m, p)
        N, or any other basis of its span.

    Raises
    ------
    ShapeError, NonFiniteError

    Notes
    -----
    Cost: that of the base, and 2 m p multiply-adds a projection. Memory: m p numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from ranklift.operators import IdentitySensing
    >>> Adjusted(IdentitySensing((1, 2)), np.ones((2, 1))).apply(np.array([[3.0, 4.0]]))
    array([-0.5,  0.5])
    """

    @staticmethod
    def example(rng: np.random.Generator) -> Adjusted:
        """Make a small instance for the contract tests."""
        base = _small(rng)
        return Adjusted(base, rng.standard_normal((base.num_measurements, 2)))

    def __init__(self, base: MeasurementOperator, nuisance: Any) -> None:
        columns = to_numpy(nuisance).astype(float, copy=False)
        m = base.num_measurements
        if columns.ndim != 2 or columns.shape[0] != m:
            raise ShapeError(
                f"nuisance columns of shape {columns.shape}", f"pass {m} rows, one a measurement"
            )
        if not np.isfinite(columns).all():
            raise NonFiniteError("nuisance columns hold NaN or inf", "pass finite numbers")
        self.base, self.shape, self.hermitian = base, base.shape, base.hermitian
        self.num_measurements = m
        self.basis = column_basis(columns)

    @property
    def size_in_bytes(self) -> int:
        """Return the memory of the basis and of the adjusted operator."""
        return self.basis.nbytes + self.base.size_in_bytes

    @property
    def symmetric(self) -> bool:
        """Whether the adjusted operator is symmetric."""
        return self.base.symmetric

    def project(self, y: Array) -> Array:
        """Return (I - Q Q^T) y."""
        host = to_numpy(y)
        explained = (self.basis @ (self.basis.T @ host)).astype(host.dtype, copy=False)
        return y - like(explained, y)

    def _apply_matrix(self, matrix: Array) -> Array:
        return self.project(self.base._apply_matrix(matrix))

    def apply_product(self, left: Array, right: Array) -> Array:
        """Return (I - Q Q^T) A(L R^T)."""
        return self.project(self.base.apply_product(left, right))

    def adjoint(self, y: Array) -> Any:
        """Return A*((I - Q Q^T) y)."""
        return self.base.adjoint(self.project(y))

    def adjoint_products(self, y: Array, left: Array, right: Array) -> tuple[Array, Array]:
        """Return the base's products of the projected y."""
        return self.base.adjoint_products(self.project(y), left, right)

    def normal_products(
        self,
        left: Array,
        right: Array,
        d_left: Array,
        d_right: Array,
        s: Array | None = None,
        curvature: Callable[[Array], Array] | None = None,
    ) -> tuple[Array, Array]:
        """Return the base's product with the projection as a part of the curvature."""

        def projected(y: Array) -> Array:
            y = self.project(y)
            return y if curvature is None else self.project(curvature(y))

        slope = None if s is None else self.project(s)
        return self.base.normal_products(left, right, d_left, d_right, slope, projected)

    def _moment(
        self, side: str, factor: np.ndarray | None, weights: np.ndarray
    ) -> np.ndarray | None:
        """Return the base's moment less that of what the nuisance columns explain.

        With P = I - Q Q^T, W = diag(w) and C = W Q - Q Q^T W Q / 2,

            P W P = W - Q C^T - C Q^T,

        so that, with S_p = A*(q_p) and T_p = A*(c_p) of the columns, the moment is that of the base
        minus sum_p S_p F F^H T_p^H + T_p F F^H S_p^H. Without weights T_p = S_p / 2. Cost: that of
        the base, and 2 p adjoints with their products with F. Own derivation.
        """
        moment = self.base.moment(side, factor, weights=weights)
        if moment is None or self.basis.shape[1] == 0:
            return moment
        own, across = self.shape if side == "left" else self.shape[::-1]
        # Without a matrix F, A*(y) itself is formed.
        if max(own, 0 if factor is not None and factor.ndim == 2 else across) > MOMENT_SIDE:
            return None
        total = np.diag(moment) if moment.ndim == 1 else moment
        for s, t in self._explained(weights, lambda y: self._image(y, side, factor)):
            cross = s @ t.conj().T
            total = total - cross - cross.conj().T
        return total

    def _transposed_moment(self, weights: np.ndarray) -> np.ndarray | None:
        """Return the base's moment minus sum_p S_p T_p + T_p S_p, S_p and T_p as of ``_moment``."""
        moment = self.base.transposed_moment(weights)
        if moment is None or self.basis.shape[1] == 0:
            return moment
        if self.shape[0] > MOMENT_SIDE:
            return None
        total = np.diag(moment) if moment.ndim == 1 else moment
        for s, t in self._explained(weights, lambda y: self._image(y, "left", None)):
            total = total - (s @ t + t @ s)
        return total

    def _explained(
        self, weights: np.ndarray, image: Callable[[np.ndarray], np.ndarray]
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the images of every q_p and c_p."""
        weighted = weights[:, None] * self.basis
        other = weighted - 0.5 * self.basis @ (self.basis.T @ weighted)
        for q, c in zip(self.basis.T, other.T, strict=True):
            yield image(np.ascontiguousarray(q)), image(np.ascontiguousarray(c))

    def _image(self, y: np.ndarray, side: str, factor: np.ndarray | None) -> np.ndarray:
        """Return A*(y) F, on the right A*(y)^T F."""
        transported = self.base.adjoint(y)
        if side == "right":
            transported = transported.T
        if factor is None or factor.ndim == 1:
            factor = times_factor(np.eye(transported.shape[1]), factor)
        return to_numpy(matmul(transported, factor))

    def split(
        self, train: np.ndarray, test: np.ndarray, b: Array
    ) -> tuple[MeasurementOperator, Array, MeasurementOperator, Array]:
        """Return the training part with coefficients of its own, and what it predicts of the rest.

        A plain subset would leak: the coefficients of the nuisance columns were fitted to the
        held-out measurements as well.
        """
        training = Adjusted(self.base.subset(train), self.basis[train])
        host = to_numpy(b)
        held = _Extrapolated(
            self.base.subset(train), self.base.subset(test), self.basis[train], self.basis[test]
        )
        kept = training.project(like(host[train], b))
        return training, kept, held, like(held.extrapolate(host[train], host[test]), b)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the basis and the data of the base."""
        return {"basis": self.basis, **_pack(self.base, "base")}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Adjusted:
        """Rebuild the operator from ``to_arrays``."""
        base = _unpack(arrays, "base")
        operator = cls(base, np.zeros((base.num_measurements, 0)))
        operator.basis = arrays["basis"]  # as it was: a basis of the basis differs by rounding
        return operator


class _Extrapolated(MeasurementOperator):
    """Held-out measurements minus what nuisance columns, fitted to the others, explain of them.

    X -> A_2(X) - N_2 N_1^+ A_1(X): with the same map of b the difference is the error of predicting
    y_2 by X and the coefficients that y_1 gives.
    """

    def __init__(
        self,
        fitted: MeasurementOperator,
        held: MeasurementOperator,
        fitted_columns: np.ndarray,
        held_columns: np.ndarray,
    ) -> None:
        self.fitted, self.held, self.shape = fitted, held, held.shape
        self.hermitian, self.num_measurements = held.hermitian, held.num_measurements
        # A column that only held-out rows have is a direction of rounding here: it stays unfitted.
        self._columns, self._inverse = held_columns, np.linalg.pinv(fitted_columns, rcond=1e-6)

    @property
    def size_in_bytes(self) -> int:
        return self.fitted.size_in_bytes + self.held.size_in_bytes

    def extrapolate(self, of_fitted: np.ndarray, of_held: np.ndarray) -> np.ndarray:
        """Return y_2 - N_2 N_1^+ y_1."""
        return of_held - self._columns @ (self._inverse @ of_fitted)

    def _apply_matrix(self, matrix: Array) -> Array:
        parts = (to_numpy(part._apply_matrix(matrix)) for part in (self.fitted, self.held))
        return like(self.extrapolate(*parts), matrix)

    def apply_product(self, left: Array, right: Array) -> Array:
        parts = (to_numpy(part.apply_product(left, right)) for part in (self.fitted, self.held))
        return like(self.extrapolate(*parts), left)

    def adjoint(self, y: Array) -> Any:
        raise NotImplementedError("held-out measurements are predicted, never fitted")


def column_basis(columns: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis of the span of the columns, dependent ones left out."""
    u, s, _ = np.linalg.svd(columns, full_matrices=False)
    tiny = max(columns.shape) * np.finfo(float).eps * s.max(initial=0.0)
    return u[:, s > tiny]
