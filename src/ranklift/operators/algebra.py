"""Operators made of operators: weights, row and column scaling, subsets, linear combinations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..arrays import Array, is_numpy_array, like, matmul, namespace, to_numpy
from ..errors import NonFiniteError, ShapeError
from .base import OPERATORS, MeasurementOperator


def _small(rng: np.random.Generator) -> MeasurementOperator:
    from .entries import EntrySampling

    return EntrySampling.example(rng)


def _vector(values: Any, size: int, what: str) -> np.ndarray:
    vector = np.ascontiguousarray(to_numpy(values), dtype=float)
    if vector.shape != (size,):
        raise ShapeError(f"{what} of shape {vector.shape}", f"pass {size} numbers")
    if not np.isfinite(vector).all():
        raise NonFiniteError(f"{what} hold NaN or inf", "pass finite numbers")
    return vector


def _times(vector: np.ndarray, x: Array) -> Array:
    """Multiply the first axis of x by a vector, in the namespace of x."""
    v = like(vector, x)
    if not is_numpy_array(x) and v.dtype != x.dtype:
        v = namespace(x).astype(v, x.dtype)
    return v * x if x.ndim == 1 else v[:, None] * x


class _ScaledAdjoint:
    """The matrix D1 S D2, with S known by its products only."""

    def __init__(self, inner: Any, row_scale: np.ndarray, column_scale: np.ndarray) -> None:
        self.inner, self.row_scale, self.column_scale = inner, row_scale, column_scale
        self.shape = (row_scale.size, column_scale.size)

    @property
    def T(self) -> _ScaledAdjoint:
        return _ScaledAdjoint(self.inner.T, self.column_scale, self.row_scale)

    def __matmul__(self, x: Array) -> Array:
        return _times(self.row_scale, matmul(self.inner, _times(self.column_scale, x)))


class _SummedAdjoint:
    """The matrix sum_i c_i S_i."""

    def __init__(self, parts: list[Any], factors: tuple[float, ...]) -> None:
        self.parts, self.factors, self.shape = parts, factors, parts[0].shape

    @property
    def T(self) -> _SummedAdjoint:
        return _SummedAdjoint([part.T for part in self.parts], self.factors)

    def __matmul__(self, x: Array) -> Array:
        total = self.factors[0] * matmul(self.parts[0], x)
        for factor, part in zip(self.factors[1:], self.parts[1:], strict=True):
            total = total + factor * matmul(part, x)
        return total


class Weighted(MeasurementOperator):
    """Weigh the measurements: X -> w * A(X).

    Examples
    --------
    >>> import numpy as np
    >>> from ranklift.operators import IdentitySensing
    >>> IdentitySensing((1, 2)).weighted([1.0, 10.0]).apply(np.array([[3.0, 4.0]]))
    array([ 3., 40.])
    """

    @staticmethod
    def example(rng: np.random.Generator) -> Weighted:
        """Make a small instance for the contract tests."""
        base = _small(rng)
        return Weighted(base, rng.uniform(0.5, 2.0, base.num_measurements))

    def __init__(self, base: MeasurementOperator, weights: Any) -> None:
        self.base, self.shape, self.hermitian = base, base.shape, base.hermitian
        self.num_measurements = base.num_measurements
        self.weights = _vector(weights, base.num_measurements, "weights")

    @property
    def size_in_bytes(self) -> int:
        """Return the memory of the weights and of the weighted operator."""
        return self.weights.nbytes + self.base.size_in_bytes

    @property
    def symmetric(self) -> bool:
        """Whether the weighted operator is symmetric."""
        return self.base.symmetric

    def _apply_matrix(self, matrix: Array) -> Array:
        return _times(self.weights, self.base._apply_matrix(matrix))

    def apply_product(self, left: Array, right: Array) -> Array:
        """Return w * A(L R^T)."""
        return _times(self.weights, self.base.apply_product(left, right))

    def adjoint(self, y: Array) -> Any:
        """Return A*(w * y)."""
        return self.base.adjoint(_times(self.weights, y))

    def adjoint_products(self, y: Array, left: Array, right: Array) -> tuple[Array, Array]:
        """Return the products of A*(w * y)."""
        return self.base.adjoint_products(_times(self.weights, y), left, right)

    def gram_blocks(
        self, factor: Array, *, side: str, weights: Array | None = None
    ) -> Array | None:
        """Return the blocks with squared weights."""
        squared = self.weights**2 if weights is None else self.weights**2 * to_numpy(weights)
        return self.base.gram_blocks(factor, side=side, weights=like(squared, factor))

    def subset(self, index: Array) -> Weighted:
        """Return the listed measurements with their weights."""
        return Weighted(self.base.subset(index), self.weights[to_numpy(index)])

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the weights and the data of the weighted operator."""
        return {"weights": self.weights, **_pack(self.base, "base")}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Weighted:
        """Rebuild the operator from ``to_arrays``."""
        return cls(_unpack(arrays, "base"), arrays["weights"])


class Scaled(MeasurementOperator):
    """Scale rows and columns first: X -> A(D1 X D2) with diagonal D1, D2.

    The nuclear norm of this problem's unknown Y is ||D1^{-1} X D2^{-1}||_* of X = D1 Y D2.

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
        return Scaled(base, rng.uniform(0.5, 2.0, n1), rng.uniform(0.5, 2.0, n2))

    def __init__(self, base: MeasurementOperator, row_scale: Any, column_scale: Any) -> None:
        self.base, self.shape, self.hermitian = base, base.shape, base.hermitian
        self.num_measurements = base.num_measurements
        self.row_scale = _vector(row_scale, base.shape[0], "row scales")
        self.column_scale = _vector(column_scale, base.shape[1], "column scales")

    @property
    def size_in_bytes(self) -> int:
        """Return the memory of the scales and of the scaled operator."""
        return self.row_scale.nbytes + self.column_scale.nbytes + self.base.size_in_bytes

    def _rows(self, x: Array) -> Array:
        return _times(self.row_scale, x)

    def _columns(self, x: Array) -> Array:
        return _times(self.column_scale, x)

    def _apply_matrix(self, matrix: Array) -> Array:
        return self.base._apply_matrix(self._columns(self._rows(matrix).T).T)

    def apply_product(self, left: Array, right: Array) -> Array:
        """Return A(D1 L R^T D2)."""
        return self.base.apply_product(self._rows(left), self._columns(right))

    def adjoint(self, y: Array) -> _ScaledAdjoint:
        """Return D1 A*(y) D2 by its products."""
        return _ScaledAdjoint(self.base.adjoint(y), self.row_scale, self.column_scale)

    def adjoint_products(self, y: Array, left: Array, right: Array) -> tuple[Array, Array]:
        """Return the products of D1 A*(y) D2."""
        out = self.base.adjoint_products(y, self._rows(left), self._columns(right))
        return self._rows(out[0]), self._columns(out[1])

    def residual_products(self, left: Array, right: Array, b: Array) -> tuple[Array, Array, Array]:
        """Return the residual and the gradient products through the fused kernel."""
        residual, out_left, out_right = self.base.residual_products(
            self._rows(left), self._columns(right), b
        )
        return residual, self._rows(out_left), self._columns(out_right)

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
        out_left, out_right = self.base.normal_products(
            self._rows(left),
            self._columns(right),
            self._rows(d_left),
            self._columns(d_right),
            s,
            curvature,
        )
        return self._rows(out_left), self._columns(out_right)

    def gram_blocks(
        self, factor: Array, *, side: str, weights: Array | None = None
    ) -> Array | None:
        """Return the blocks of the scaled problem."""
        own, other = self.row_scale, self.column_scale
        if side != "left":
            own, other = other, own
        blocks = self.base.gram_blocks(_times(other, factor), side=side, weights=weights)
        return None if blocks is None else blocks * like(own**2, factor)[:, None, None]

    def canonical(self, b: Array) -> tuple[MeasurementOperator, Array]:
        """Return the same scaling of the base in its fastest order."""
        base, ordered = self.base.canonical(b)
        return (self, b) if base is self.base else (base.scaled(*self._scales), ordered)

    @property
    def _scales(self) -> tuple[np.ndarray, np.ndarray]:
        return self.row_scale, self.column_scale

    def subset(self, index: Array) -> Scaled:
        """Return the listed measurements, scaled."""
        return self.base.subset(index).scaled(*self._scales)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the scales and the data of the scaled operator."""
        scales = {"row_scale": self.row_scale, "column_scale": self.column_scale}
        return {**scales, **_pack(self.base, "base")}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Scaled:
        """Rebuild the operator from ``to_arrays``."""
        return cls(_unpack(arrays, "base"), arrays["row_scale"], arrays["column_scale"])


class Subset(MeasurementOperator):
    """Keep some of the measurements: X -> A(X)[index].

    Examples
    --------
    >>> import numpy as np
    >>> from ranklift.operators import IdentitySensing
    >>> Subset(IdentitySensing((1, 3)), [2, 0]).apply(np.array([[3.0, 4.0, 5.0]]))
    array([5., 3.])
    """

    @staticmethod
    def example(rng: np.random.Generator) -> Subset:
        """Make a small instance for the contract tests."""
        from .identity import IdentitySensing

        return Subset(IdentitySensing((6, 5)), rng.permutation(30)[:22])

    def __init__(self, base: MeasurementOperator, index: Any) -> None:
        self.base, self.shape, self.hermitian = base, base.shape, base.hermitian
        self.index = np.arange(base.num_measurements)[to_numpy(index)]
        self.num_measurements = int(self.index.size)

    @property
    def size_in_bytes(self) -> int:
        """Return the memory of the index and of the full operator."""
        return self.index.nbytes + self.base.size_in_bytes

    @property
    def symmetric(self) -> bool:
        """Whether the full operator is symmetric."""
        return self.base.symmetric

    def _take(self, y: Array) -> Array:
        return namespace(y).take(y, like(self.index, y))

    def _apply_matrix(self, matrix: Array) -> Array:
        return self._take(self.base._apply_matrix(matrix))

    def apply_product(self, left: Array, right: Array) -> Array:
        """Return the kept measurements of L R^T."""
        return self._take(self.base.apply_product(left, right))

    def adjoint(self, y: Array) -> Any:
        """Return A* of y padded with zeros."""
        host = to_numpy(y)
        padded = np.zeros(self.base.num_measurements, dtype=host.dtype)
        padded[self.index] = host
        return self.base.adjoint(like(padded, y))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the index and the data of the full operator."""
        return {"index": self.index, **_pack(self.base, "base")}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Subset:
        """Rebuild the operator from ``to_arrays``."""
        return cls(_unpack(arrays, "base"), arrays["index"])


class Combination(MeasurementOperator):
    """Combine operators of one shape and size linearly: X -> sum_i c_i A_i(X).

    Examples
    --------
    >>> import numpy as np
    >>> from ranklift.operators import IdentitySensing
    >>> A = IdentitySensing((1, 2))
    >>> (A + 2.0 * A).apply(np.array([[3.0, 4.0]]))
    array([ 9., 12.])
    """

    @staticmethod
    def example(rng: np.random.Generator) -> Combination:
        """Make a small instance for the contract tests."""
        from .dense import DenseSensing
        from .identity import IdentitySensing

        dense = DenseSensing(rng.standard_normal((20, 5, 4)))
        return Combination((dense, IdentitySensing((5, 4))), (1.0, -0.5))

    def __init__(self, parts: tuple[MeasurementOperator, ...], factors: tuple[float, ...]) -> None:
        first = parts[0]
        for part in parts[1:]:
            same_size = part.num_measurements == first.num_measurements
            same_size = same_size and part.hermitian == first.hermitian
            if part.shape != first.shape or not same_size:
                raise ShapeError(f"cannot add {part!r} to {first!r}", "add operators of one size")
        if not np.isfinite(factors).all():
            raise NonFiniteError("a factor of the sum is NaN or inf", "pass finite factors")
        self.parts, self.factors = tuple(parts), tuple(factors)
        self.shape, self.num_measurements = first.shape, first.num_measurements
        self.hermitian = first.hermitian

    @property
    def size_in_bytes(self) -> int:
        """Return the memory of all parts."""
        return sum(part.size_in_bytes for part in self.parts)

    @property
    def symmetric(self) -> bool:
        """Whether all parts are symmetric."""
        return all(part.symmetric for part in self.parts)

    def _total(self, values: list[Array]) -> Array:
        total = self.factors[0] * values[0]
        for factor, value in zip(self.factors[1:], values[1:], strict=True):
            total = total + factor * value
        return total

    def _apply_matrix(self, matrix: Array) -> Array:
        return self._total([part._apply_matrix(matrix) for part in self.parts])

    def apply_product(self, left: Array, right: Array) -> Array:
        """Return sum_i c_i A_i(L R^T)."""
        return self._total([part.apply_product(left, right) for part in self.parts])

    def adjoint(self, y: Array) -> _SummedAdjoint:
        """Return sum_i c_i A_i*(y) by its products."""
        return _SummedAdjoint([part.adjoint(y) for part in self.parts], self.factors)

    def adjoint_products(self, y: Array, left: Array, right: Array) -> tuple[Array, Array]:
        """Return the sums of the parts' products."""
        pairs = [part.adjoint_products(y, left, right) for part in self.parts]
        return self._total([pair[0] for pair in pairs]), self._total([pair[1] for pair in pairs])

    def gram_blocks(
        self, factor: Array, *, side: str, weights: Array | None = None
    ) -> Array | None:
        """Return the blocks of a single scaled operator; a sum has none that are cheap."""
        if len(self.parts) != 1:
            return None
        blocks = self.parts[0].gram_blocks(factor, side=side, weights=weights)
        return None if blocks is None else self.factors[0] ** 2 * blocks

    def subset(self, index: Array) -> Combination:
        """Return the combination of the parts' subsets."""
        return Combination(tuple(part.subset(index) for part in self.parts), self.factors)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the factors and the data of every part."""
        arrays = {"factors": np.array(self.factors)}
        for number, part in enumerate(self.parts):
            arrays |= _pack(part, f"part{number}")
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Combination:
        """Rebuild the operator from ``to_arrays``."""
        factors = tuple(float(factor) for factor in arrays["factors"])
        return cls(tuple(_unpack(arrays, f"part{i}") for i in range(len(factors))), factors)


def _pack(operator: MeasurementOperator, prefix: str) -> dict[str, np.ndarray]:
    inner = {f"{prefix}.{key}": value for key, value in operator.to_arrays().items()}
    return {f"{prefix}.class": np.array(type(operator).__name__), **inner}


def _unpack(arrays: Mapping[str, np.ndarray], prefix: str) -> MeasurementOperator:
    mark = f"{prefix}."
    inner = {key[len(mark) :]: arrays[key] for key in arrays if key.startswith(mark)}
    return OPERATORS[str(inner.pop("class"))].from_arrays(inner)
