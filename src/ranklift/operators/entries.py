"""EntrySampling: a list of observed entries. No n1 x n2 array is ever formed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from .. import threads
from ..arrays import Array, is_numpy_array, like, namespace, to_numpy
from ..errors import DTypeError, DuplicateEntriesError, EmptyDataError, ShapeError
from .base import MeasurementOperator, factor_energies


@dataclass(frozen=True)
class _Compressed:
    """Entries grouped along one axis: those of line i are indptr[i]:indptr[i + 1]."""

    indptr: np.ndarray
    cross: np.ndarray  # index of each entry along the other axis
    order: np.ndarray | None  # position of each grouped entry in the list it was made from

    @property
    def lines(self) -> np.ndarray:
        """Return the line of every entry."""
        counts = np.diff(self.indptr)
        return np.repeat(np.arange(counts.size, dtype=np.int32), counts)

    def chunks(self, count: int) -> np.ndarray:
        if count == 1:
            return np.array([0, self.indptr.shape[0] - 1])
        marks = np.linspace(0, self.indptr[-1], count + 1)
        bounds = np.searchsorted(self.indptr, marks)
        bounds[0], bounds[-1] = 0, self.indptr.shape[0] - 1
        return bounds


class EntrySampling(MeasurementOperator):
    """Observe single entries: A(X)_t = X[rows[t], cols[t]].

    Parameters
    ----------
    rows, cols : integer arrays, shape (m,)
        Zero-based positions, in any order, without repetition.
    shape : (int, int)
        Size n1 x n2 of the matrix.

    Raises
    ------
    EmptyDataError, ShapeError, DTypeError, DuplicateEntriesError
        For no entry, indices outside ``shape``, indices that are not integers, repeated entries.

    Notes
    -----
    A gradient costs 3 m k multiply-adds and one pass over the entries; memory 4 m bytes of indices
    (12 m for entries in another order than ``canonical``'s). Entries are grouped along the longer
    side, so that what kernels scatter into belongs to the shorter one and stays in cache. Arrays
    of other namespaces are worked on by the host's kernels and handed back.

    Examples
    --------
    >>> import numpy as np
    >>> A = EntrySampling([0, 1], [1, 0], (2, 2))
    >>> A.apply(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([2., 3.])
    >>> A.adjoint(np.array([5.0, 6.0])).toarray()
    array([[0., 5.],
           [6., 0.]])
    """

    @staticmethod
    def example(rng: np.random.Generator) -> EntrySampling:
        """Make a small instance for the contract tests."""
        flat = rng.permutation(9 * 7)[:40]
        return EntrySampling(flat // 7, flat % 7, (9, 7))

    def __init__(self, rows: Any, cols: Any, shape: tuple[int, int]) -> None:
        n1, n2 = (int(size) for size in shape)
        self.shape = (n1, n2)
        rows, cols = _indices(rows, n1, "row"), _indices(cols, n2, "column")
        if rows.shape != cols.shape:
            raise ShapeError(
                f"{rows.size} row and {cols.size} column indices",
                "pass one row index and one column index an entry",
            )
        if rows.size == 0:
            raise EmptyDataError("no observed entry", "pass at least one observed entry")
        self.num_measurements = int(rows.size)
        self._by_columns = n2 > n1
        lines, cross = (cols, rows) if self._by_columns else (rows, cols)
        self._major = _compress(lines, cross, max(n1, n2), min(n1, n2))
        _reject_duplicates(self._major, self._by_columns)

    # -- structure ---------------------------------------------------------------------------

    @property
    def size_in_bytes(self) -> int:
        """Return the memory of the index arrays, in bytes."""
        major = self._major
        parts = [major.indptr, major.cross] + ([] if major.order is None else [major.order])
        return sum(part.nbytes for part in parts)

    @property
    def rows(self) -> np.ndarray:
        """Return the row index of every measurement, in the caller's order."""
        return self._to_caller(self._major.cross if self._by_columns else self._major.lines)

    @property
    def cols(self) -> np.ndarray:
        """Return the column index of every measurement, in the caller's order."""
        return self._to_caller(self._major.lines if self._by_columns else self._major.cross)

    @cached_property
    def row_counts(self) -> np.ndarray:
        """Return the number of samples in every row."""
        return np.bincount(self.rows, minlength=self.shape[0])

    @cached_property
    def column_counts(self) -> np.ndarray:
        """Return the number of samples in every column."""
        return np.bincount(self.cols, minlength=self.shape[1])

    @cached_property
    def _minor(self) -> _Compressed:
        # The other grouping; its order refers to the entries as the major one has them.
        major = self._major
        order = np.argsort(major.cross, kind="stable").astype(np.int32)
        counts = np.bincount(major.cross, minlength=min(self.shape))
        return _Compressed(np.concatenate([[0], np.cumsum(counts)]), major.lines[order], order)

    def canonical(self, b: Array) -> tuple[EntrySampling, Array]:
        """Return the entries in grouped order, and b with them: kernels then stream through."""
        if self._major.order is None:
            return self, b
        twin = object.__new__(EntrySampling)
        twin.shape, twin.num_measurements = self.shape, self.num_measurements
        twin._by_columns = self._by_columns
        twin._major = _Compressed(self._major.indptr, self._major.cross, None)
        return twin, self._from_caller(to_numpy(b))

    def subset(self, index: Array) -> EntrySampling:
        """Return the sampling of the listed entries only."""
        index = to_numpy(index)
        return EntrySampling(self.rows[index], self.cols[index], self.shape)

    def _to_caller(self, y: np.ndarray) -> np.ndarray:
        order = self._major.order
        if order is None:
            return y
        out = np.empty_like(y)
        out[order] = y
        return out

    def _from_caller(self, y: np.ndarray) -> np.ndarray:
        order = self._major.order
        return np.ascontiguousarray(y if order is None else y[order])

    # -- products ----------------------------------------------------------------------------

    def _apply_matrix(self, matrix: Array) -> Array:
        if is_numpy_array(matrix):
            return matrix[self.rows, self.cols]
        xp = namespace(matrix)
        flat = like(self.rows.astype(np.int64) * self.shape[1] + self.cols, matrix)
        return xp.take(xp.reshape(matrix, (-1,)), flat)

    def adjoint(self, y: Array) -> sparse.csr_array | sparse.csc_array:
        """Return the sparse matrix with y at the observed entries, sharing the indices."""
        data = self._from_caller(to_numpy(y))
        kind = sparse.csc_array if self._by_columns else sparse.csr_array
        matrix = kind(self.shape, dtype=data.dtype)
        matrix.data, matrix.indices, matrix.indptr = data, self._major.cross, self._major.indptr
        return matrix

    def apply_product(self, left: Array, right: Array) -> Array:
        """Return the entries of L R^T at the sampled positions."""
        from ..kernels import sampled_entries as kernels

        outer, inner = self._oriented(left, right)
        out = np.empty(self.num_measurements, dtype=np.result_type(outer, inner))
        major = self._major
        self._run(
            major,
            outer.shape[1],
            lambda lo, hi: kernels.product(major.indptr, major.cross, outer, inner, out, lo, hi),
        )
        return like(self._to_caller(out), left)

    def adjoint_products(self, y: Array, left: Array, right: Array) -> tuple[Array, Array]:
        """Return (A*(y) R, A*(y)^T L) in one pass over the entries."""
        from ..kernels import sampled_entries as kernels

        outer, inner = self._oriented(left, right)
        values, major = self._from_caller(to_numpy(y)), self._major
        outs = self._accumulate(
            outer,
            inner,
            2,
            lambda out_o, out_i, lo, hi: kernels.adjoint_products(
                major.indptr, major.cross, values, outer, inner, out_o, out_i, lo, hi
            ),
        )
        return like(outs[0], left), like(outs[1], left)

    def residual_products(self, left: Array, right: Array, b: Array) -> tuple[Array, Array, Array]:
        """Return the residual and both gradient products in one pass over the entries."""
        from ..kernels import sampled_entries as kernels

        outer, inner = self._oriented(left, right)
        data, major = self._from_caller(to_numpy(b)), self._major
        residual = np.empty(self.num_measurements, dtype=outer.dtype)
        outs = self._accumulate(
            outer,
            inner,
            3,
            lambda out_o, out_i, lo, hi: kernels.residual_products(
                major.indptr, major.cross, outer, inner, data, residual, out_o, out_i, lo, hi
            ),
        )
        return like(self._to_caller(residual), left), like(outs[0], left), like(outs[1], left)

    def normal_products(
        self,
        left: Array,
        right: Array,
        d_left: Array,
        d_right: Array,
        s: Array | None = None,
        curvature: Callable[[Array], Array] | None = None,
    ) -> tuple[Array, Array]:
        """Return the Hessian (Gauss-Newton without ``s``) product in one pass."""
        if curvature is not None:
            return super().normal_products(left, right, d_left, d_right, s, curvature)
        from ..kernels import sampled_entries as kernels

        outer, inner = self._oriented(left, right)
        d_outer, d_inner = self._oriented(d_left, d_right)
        weight = 0.0 if s is None else 1.0
        values = np.empty(0, dtype=outer.dtype) if s is None else self._from_caller(to_numpy(s))
        major = self._major
        outs = self._accumulate(
            outer,
            inner,
            4,
            lambda out_o, out_i, lo, hi: kernels.normal_products(
                major.indptr, major.cross, outer, inner, d_outer, d_inner,
                values, weight, out_o, out_i, lo, hi,
            ),
        )  # fmt: skip
        return like(outs[0], left), like(outs[1], left)

    def gram_blocks(self, factor: Array, *, side: str, weights: Array | None = None) -> Array:
        """Return sum_j w R_j R_j^T over each row's samples (or the transposed twin)."""
        from ..kernels import sampled_entries as kernels

        host = _host(factor)
        along_major = (side == "left") != self._by_columns
        grouped = self._major if along_major else self._minor
        w = np.ones(1) if weights is None else self._from_caller(to_numpy(weights))
        if not along_major and weights is not None:
            w = w[grouped.order]
        k = host.shape[1]
        out = np.zeros((grouped.indptr.size - 1, k, k), dtype=host.dtype)
        self._run(
            grouped,
            k * k,
            lambda lo, hi: kernels.gram_blocks(grouped.indptr, grouped.cross, w, host, out, lo, hi),
        )
        return like(out, factor)

    def _moment(self, side: str, factor: np.ndarray | None, weights: np.ndarray) -> np.ndarray:
        """Return the diagonal sum_j w_ij ||F_j||^2 over each row's samples (or the twin's).

        Without factor and weights these are the counts of samples. Cost: m multiply-adds and the
        squared norms of the rows of F.
        """
        sampled = self.adjoint(weights)
        if side == "left":
            return sampled @ factor_energies(factor, self.shape[1])
        return sampled.T @ factor_energies(factor, self.shape[0])

    def _transposed_moment(self, weights: np.ndarray) -> np.ndarray:
        """Return the weights of the sampled diagonal entries: e_i e_j^T e_i e_j^T = 0 elsewhere."""
        return self.adjoint(weights).diagonal()

    # -- orientation and chunks --------------------------------------------------------------

    def _oriented(self, left: Array, right: Array) -> tuple[np.ndarray, np.ndarray]:
        """Return the factors as (that of the grouped axis, that of the other one)."""
        outer, inner = _host(left), _host(right)
        return (inner, outer) if self._by_columns else (outer, inner)

    def _chunk_count(self, work_per_entry: int) -> int:
        work = self.num_measurements * work_per_entry
        return threads.CHUNKS if work > threads.SERIAL_WORK else 1

    def _run(self, grouped: _Compressed, work_per_entry: int, kernel: Any) -> None:
        count = self._chunk_count(work_per_entry)
        bounds = grouped.chunks(count)
        threads.run_chunks(lambda c: kernel(bounds[c], bounds[c + 1]), count)

    def _accumulate(
        self, outer: np.ndarray, inner: np.ndarray, passes: int, kernel: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """Run a kernel that scatters along the other axis: a buffer a chunk, added in order."""
        count = self._chunk_count(passes * outer.shape[1])
        bounds = self._major.chunks(count)
        out_outer = np.zeros_like(outer)
        buffers = [np.zeros_like(inner) for _ in range(count)]
        threads.run_chunks(lambda c: kernel(out_outer, buffers[c], bounds[c], bounds[c + 1]), count)
        for buffer in buffers[1:]:
            buffers[0] += buffer
        return (buffers[0], out_outer) if self._by_columns else (out_outer, buffers[0])

    # -- saving ------------------------------------------------------------------------------

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return rows, cols and shape."""
        return {"rows": self.rows, "cols": self.cols, "shape": np.array(self.shape)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> EntrySampling:
        """Rebuild the operator from ``to_arrays``."""
        n1, n2 = (int(size) for size in arrays["shape"])
        return cls(arrays["rows"], arrays["cols"], (n1, n2))


def _host(x: Array) -> np.ndarray:
    return np.ascontiguousarray(to_numpy(x))


def _indices(values: Any, size: int, axis: str) -> np.ndarray:
    index = np.atleast_1d(np.asarray(values))
    if index.size and not np.issubdtype(index.dtype, np.integer):
        raise DTypeError(
            f"{axis} indices of type {index.dtype}", "pass zero-based integer positions"
        )
    if index.ndim != 1:
        raise ShapeError(f"{axis} indices of shape {index.shape}", "pass a one-dimensional list")
    if index.size and (index.min() < 0 or index.max() >= size):
        worst = int(index.min() if index.min() < 0 else index.max())
        raise ShapeError(
            f"{axis} index {worst} outside 0..{size - 1}",
            "use zero-based indices below the given shape, or enlarge the shape",
        )
    return index.astype(np.int32, copy=False)


def _compress(lines: np.ndarray, cross: np.ndarray, long: int, short: int) -> _Compressed:
    key = lines.astype(np.int64) * short + cross
    order = None
    if np.any(key[1:] < key[:-1]):
        order = np.argsort(key, kind="stable")
        cross = cross[order]
    indptr = np.concatenate([[0], np.cumsum(np.bincount(lines, minlength=long))])
    return _Compressed(indptr, np.ascontiguousarray(cross), order)


def _reject_duplicates(major: _Compressed, by_columns: bool) -> None:
    repeated = major.cross[1:] == major.cross[:-1]
    starts = major.indptr[1:-1]
    starts = starts[(starts > 0) & (starts < major.cross.size)]
    repeated[starts - 1] = False
    found = np.flatnonzero(repeated)
    if found.size:
        position = int(found[0])
        line = int(np.searchsorted(major.indptr, position, side="right")) - 1
        pair = (line, int(major.cross[position]))
        row, column = pair[::-1] if by_columns else pair
        raise DuplicateEntriesError(
            f"entry ({row}, {column}) is listed more than once ({found.size} repetitions in all)",
            "average or drop the repetitions so that each entry appears once",
        )
