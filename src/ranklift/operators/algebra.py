"""Operators made of operators: weights, subsets, linear combinations."""

from __future__ import annotations

from collections.abc import Mapping
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
        squared = like(self._squared(weights), factor)
        return self.base.gram_blocks(factor, side=side, weights=squared)

    def _moment(
        self, side: str, factor: np.ndarray | None, weights: np.ndarray
    ) -> np.ndarray | None:
        return self.base.moment(side, factor, weights=self._squared(weights))

    def _transposed_moment(self, weights: np.ndarray) -> np.ndarray | None:
        return self.base.transposed_moment(self._squared(weights))

    def _squared(self, weights: Array | None) -> np.ndarray:
        return self.weights**2 if weights is None else self.weights**2 * to_numpy(weights)

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
        return self.base.adjoint(like(self._padded(host), y))

    def _padded(self, host: np.ndarray) -> np.ndarray:
        padded = np.zeros(self.base.num_measurements, dtype=host.dtype)
        padded[self.index] = host
        return padded

    def _moment(
        self, side: str, factor: np.ndarray | None, weights: np.ndarray
    ) -> np.ndarray | None:
        return self.base.moment(side, factor, weights=self._padded(weights))

    def _transposed_moment(self, weights: np.ndarray) -> np.ndarray | None:
        return self.base.transposed_moment(self._padded(weights))

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

    def _moment(
        self, side: str, factor: np.ndarray | None, weights: np.ndarray
    ) -> np.ndarray | None:
        if len(self.parts) != 1:
            return None  # a sum has mixed terms as well
        return self.parts[0].moment(side, factor, weights=self.factors[0] ** 2 * weights)

    def _transposed_moment(self, weights: np.ndarray) -> np.ndarray | None:
        if len(self.parts) != 1:
            return None
        return self.parts[0].transposed_moment(self.factors[0] ** 2 * weights)

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
