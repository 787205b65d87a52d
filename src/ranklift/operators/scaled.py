"""Scaled: the unknown multiplied from both sides, by diagonals or by full matrices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..arrays import Array, is_complex, is_numpy_array, like, matmul, namespace, to_numpy
from ..errors import DTypeError, NonFiniteError, ShapeError
from .algebra import _pack, _small, _times, _unpack
from .base import MeasurementOperator, times_factor


class Scaled(MeasurementOperator):
    """Multiply the unknown from both sides first: X -> A(D1 X D2^T).

    The nuclear norm of this problem's unknown Y is ||D1^{-1} X D2^{-T}||_* of X = D1 Y D2^T.

    Parameters
    ----------
    base : MeasurementOperator
    row_scale : array, shape (n1,) or (n1, n1)
        D1, or its diagonal.
    column_scale : array, shape (n2,) or (n2, n2)
        D2, or its diagonal. For a complex Hermitian unknown the conjugate of D1: D X D^H stays
        Hermitian.

    Raises
    ------
    ShapeError, NonFiniteError
    DTypeError
        For complex scales of a real unknown.

    Notes
    -----
    Cost: that of the base, and one product with each scale a factor. Equal scales keep a symmetric
    base symmetric.

    Examples
    --------
    >>> import numpy as np
    >>> from ranklift.operators import IdentitySensing
    >>> IdentitySensing((1, 2)).scaled([2.0], [1.0, 10.0]).apply(np.array([[3.0, 4.0]]))
    array([ 6., 80.])
    """

    @staticmethod
    def example(rng: np.random.Generator) -> Scaled:
        """Make a small instance for the contract tests."""
        base = _small(rng)
        n1, n2 = base.shape
        return Scaled(base, rng.uniform(0.5, 2.0, n1), rng.standard_normal((n2, n2)))

    def __init__(self, base: MeasurementOperator, row_scale: Any, column_scale: Any) -> None:
        self.base, self.shape, self.hermitian = base, base.shape, base.hermitian
        self.num_measurements = base.num_measurements
        self.row_scale = _scale(row_scale, base.shape[0], base.hermitian, "row scale")
        self.column_scale = _scale(column_scale, base.shape[1], base.hermitian, "column scale")
        mirrored = self.row_scale.conj() if base.hermitian else self.row_scale
        self._equal = bool(np.array_equal(mirrored, self.column_scale))

    @property
    def size_in_bytes(self) -> int:
        """Return the memory of the scales and of the scaled operator."""
        return self.row_scale.nbytes + self.column_scale.nbytes + self.base.size_in_bytes

    @property
    def mixes_entries(self) -> bool:
        """Whether a scale is a full matrix: a measured entry of D1 X D2^T is then none of X."""
        return self.row_scale.ndim == 2 or self.column_scale.ndim == 2

    @property
    def symmetric(self) -> bool:
        """Whether the base is symmetric and both scales are the same."""
        return self.base.symmetric and self._equal and not is_complex(self.row_scale)

    # -- products ----------------------------------------------------------------------------

    def _forth(self, left: Array, right: Array) -> tuple[Array, Array]:
        """Return D1 L and D2 R; one factor stays one, which operators make use of."""
        scaled = _product(self.row_scale, left)
        same = right is left and self.row_scale.shape == self.column_scale.shape and self._equal
        return scaled, scaled if same else _product(self.column_scale, right)

    def _back(self, out_left: Array, out_right: Array) -> tuple[Array, Array]:
        back = _product(_adjoint(self.row_scale), out_left)
        return back, _product(_adjoint(self.column_scale), out_right)

    def _apply_matrix(self, matrix: Array) -> Array:
        rows = _product(self.row_scale, matrix)
        return self.base._apply_matrix(_product(self.column_scale, rows.T).T)

    def apply_product(self, left: Array, right: Array) -> Array:
        """Return A(D1 L R^T D2^T)."""
        return self.base.apply_product(*self._forth(left, right))

    def adjoint(self, y: Array) -> _ScaledAdjoint:
        """Return D1^H A*(y) conj(D2) by its products."""
        return _ScaledAdjoint(
            self.base.adjoint(y), _adjoint(self.row_scale), _adjoint(self.column_scale)
        )

    def adjoint_products(self, y: Array, left: Array, right: Array) -> tuple[Array, Array]:
        """Return the products of D1^H A*(y) conj(D2)."""
        return self._back(*self.base.adjoint_products(y, *self._forth(left, right)))

    def residual_products(self, left: Array, right: Array, b: Array) -> tuple[Array, Array, Array]:
        """Return the residual and the gradient products through the fused kernel."""
        residual, *out = self.base.residual_products(*self._forth(left, right), b)
        return residual, *self._back(*out)

    def normal_products(
        self,
        left: Array,
        right: Array,
        d_left: Array,
        d_right: Array,
        s: Array | None = None,
        curvature: Callable[[Array], Array] | None = None,
    ) -> tuple[Array, Array]:
        """Return the Hessian product through the fused kernel."""
        scaled = *self._forth(left, right), *self._forth(d_left, d_right)
        return self._back(*self.base.normal_products(*scaled, s, curvature))

    # -- structure ---------------------------------------------------------------------------

    def gram_blocks(
        self, factor: Array, *, side: str, weights: Array | None = None
    ) -> Array | None:
        """Return the blocks of the scaled problem; a full matrix mixes the rows: None."""
        own, other = self._sides(side)
        if own.ndim == 2:
            return None
        blocks = self.base.gram_blocks(_product(other, factor), side=side, weights=weights)
        return None if blocks is None else blocks * like(own**2, factor)[:, None, None]

    def _moment(
        self, side: str, factor: np.ndarray | None, weights: np.ndarray
    ) -> np.ndarray | None:
        # D1^H M D1 with M the base's moment of conj(D2) F; right: the sides exchanged.
        own, other = self._sides(side)
        moment = self.base.moment(side, _compose(other.conj(), factor), weights=weights)
        if moment is None:
            return None
        if own.ndim == 1:
            square = np.abs(own) ** 2
            return square * moment if moment.ndim == 1 else own.conj()[:, None] * moment * own
        turned = moment[:, None] * own if moment.ndim == 1 else moment @ own
        return own.conj().T @ turned

    def _sides(self, side: str) -> tuple[np.ndarray, np.ndarray]:
        own, other = self.row_scale, self.column_scale
        return (own, other) if side == "left" else (other, own)

    def canonical(self, b: Array) -> tuple[MeasurementOperator, Array]:
        """Return the same scaling of the base in its fastest order."""
        base, ordered = self.base.canonical(b)
        if base is self.base:
            return self, b
        return base.scaled(self.row_scale, self.column_scale), ordered

    def subset(self, index: Array) -> Scaled:
        """Return the listed measurements, scaled."""
        return self.base.subset(index).scaled(self.row_scale, self.column_scale)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the scales and the data of the scaled operator."""
        scales = {"row_scale": self.row_scale, "column_scale": self.column_scale}
        return {**scales, **_pack(self.base, "base")}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Scaled:
        """Rebuild the operator from ``to_arrays``."""
        return cls(_unpack(arrays, "base"), arrays["row_scale"], arrays["column_scale"])


class _ScaledAdjoint:
    """The matrix E1 S E2^T, with S known by its products only."""

    def __init__(self, inner: Any, row_scale: np.ndarray, column_scale: np.ndarray) -> None:
        self.inner, self.row_scale, self.column_scale = inner, row_scale, column_scale
        self.shape = (len(row_scale), len(column_scale))

    @property
    def T(self) -> _ScaledAdjoint:
        return _ScaledAdjoint(self.inner.T, self.column_scale, self.row_scale)

    def __matmul__(self, x: Array) -> Array:
        turned = matmul(self.inner, _product(self.column_scale.T, x))
        return _product(self.row_scale, turned)


def _scale(values: Any, size: int, hermitian: bool, what: str) -> np.ndarray:
    scale = np.ascontiguousarray(to_numpy(values))
    if scale.dtype.kind != "c":
        scale = scale.astype(float)
    elif not hermitian:
        raise DTypeError(f"a complex {what} of a real unknown", "pass real numbers")
    if scale.shape not in ((size,), (size, size)):
        raise ShapeError(
            f"a {what} of shape {scale.shape}", f"pass {size} numbers or a {size} x {size} matrix"
        )
    if not np.isfinite(scale).all():
        raise NonFiniteError(f"a {what} with NaN or inf", "pass finite numbers")
    return scale


def _adjoint(scale: np.ndarray) -> np.ndarray:
    return scale.conj().T


def _product(scale: np.ndarray, x: Array) -> Array:
    """Return D x, D a matrix or the diagonal of one, in the namespace of x."""
    if scale.ndim == 1:
        return _times(scale, x)
    matrix = like(scale, x)
    if not is_numpy_array(x) and matrix.dtype != x.dtype:
        matrix = namespace(x).astype(matrix, x.dtype)
    return matrix @ x


def _compose(scale: np.ndarray, factor: np.ndarray | None) -> np.ndarray:
    """Return D F for a factor as ``moment`` takes it: None, a diagonal or a matrix."""
    if factor is None or factor.ndim == 1 or scale.ndim == 2:
        return times_factor(scale, factor)
    return scale[:, None] * factor
