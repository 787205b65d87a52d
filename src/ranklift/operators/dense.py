"""DenseSensing: one full matrix a measurement, read once a product and in blocks of rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from .. import threads
from ..arrays import Array, is_numpy_array, like, namespace, to_numpy
from ..errors import DTypeError, EmptyDataError, NonFiniteError, ShapeError
from .base import MOMENT_SIDE, MeasurementOperator, times_factor

BLOCK_BYTES = 2 * 2**20
"""Bytes of measurement matrices that are worked on at once.

Measured on two cores with 2 MiB of L2 cache each, 320 MB of matrices, fused residual products: 38,
25, 20, 18, 21, 21 ms for blocks of 0.25, 0.5, 1, 2, 4, 8 MiB. Smaller ones pay for calls; larger
ones leave the L2 cache between their two uses (little lost there: 260 MiB of L3 lie behind it).
"""


class DenseSensing(MeasurementOperator):
    """Measure by inner products with full matrices: A(X)_t = <A_t, X>.

    Parameters
    ----------
    matrices : array, shape (m, n1, n2)
        The measurement matrices; kept by reference, in their array namespace. A ``numpy.memmap``
        stays on the disk: every product reads it block by block, and so does the check that its
        numbers are finite. It should be in C order, which lets a block be read in one piece.

    Raises
    ------
    ShapeError, EmptyDataError, DTypeError, NonFiniteError
        For anything but a non-empty, finite, real three-dimensional array.

    Notes
    -----
    A gradient or a Hessian product reads the m n1 n2 numbers once: a block of rows F serves
    y = F x - b and G += F^T y while it is in the cache (2 m n1 n2 multiply-adds; 4 with the
    residual's share of a Hessian). Measured on two cores, m = 4000, n1 = n2 = 100 (320 MB): 18 ms
    instead of 42 ms in two passes on one thread; a copy of the matrices takes 28 ms.
    Memory is that of the matrices, beside a few n1 x n2 arrays. Matrices in float32 are widened a
    block at a time and summed in float64. Blocks lie in a fixed number of chunks added in order, so
    sums do not depend on the number of threads. Arrays of other namespaces take two passes of their
    own library.

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
        m, n1, n2 = (int(size) for size in matrices.shape)
        self.matrices = matrices
        self.shape, self.num_measurements = (n1, n2), m
        self._host = is_numpy_array(matrices)
        if not self._host:
            self._flat = xp.reshape(matrices, (m, n1 * n2))
            finite = bool(xp.all(xp.isfinite(matrices)))
        else:
            # Blocks of another memory order would be copied at each use: once is better, except
            # for a file that may not fit into memory. Slices of a plain ndarray view are cheaper
            # than those of a memmap, and no less lazy.
            mapped = isinstance(matrices, np.memmap)
            self._data = np.asarray(matrices) if mapped else np.ascontiguousarray(matrices)
            finite = all(bool(np.isfinite(self._block(*b)).all()) for b in self._blocks(0, m))
        if not finite:
            raise NonFiniteError("a measurement matrix holds NaN or inf", "remove or replace it")

    # -- structure ---------------------------------------------------------------------------

    @property
    def size_in_bytes(self) -> int:
        """Return the memory (on the disk, of a memmap) of the measurement matrices, in bytes."""
        m, n1, n2 = self.matrices.shape
        itemsize = 8 if "64" in str(self.matrices.dtype) else 4
        return int(m * n1 * n2 * itemsize)

    @property
    def symmetric(self) -> bool:
        """Whether every A_t is symmetric."""
        return self._symmetric

    @cached_property
    def _symmetric(self) -> bool:
        if self.shape[0] != self.shape[1]:
            return False
        if not self._host:
            xp = namespace(self.matrices)
            return bool(xp.all(self.matrices == xp.matrix_transpose(self.matrices)))
        blocks = (self._data[lo:hi] for lo, hi in self._blocks(0, self.num_measurements))
        return all(bool((block == block.swapaxes(1, 2)).all()) for block in blocks)

    def subset(self, index: Array) -> MeasurementOperator:
        """Return the operator with the listed measurement matrices (copied).

        Of a memmap, nothing is copied: the whole file is read at each product, and the
        measurements that are not listed are left out.
        """
        if self._host and isinstance(self.matrices, np.memmap):
            return super().subset(index)
        # Through arange, so that masks and negative positions mean what they do elsewhere.
        positions = np.arange(self.num_measurements)[to_numpy(index)]
        xp = namespace(self.matrices)
        return DenseSensing(xp.take(self.matrices, like(positions, self.matrices), axis=0))

    # -- products ----------------------------------------------------------------------------

    def _apply_matrix(self, matrix: Array) -> Array:
        if not self._host:
            flat = self._match(matrix)
            return self._back(self._flat @ namespace(flat).reshape(flat, (-1,)), matrix)
        host = to_numpy(matrix)
        x = host.reshape(-1).astype(float, copy=False)
        y = np.empty(self.num_measurements, dtype=self._type(host))

        def work(block: np.ndarray, rows: slice, chunk: int) -> None:
            y[rows] = np.dot(block, x)

        self._sweep(work)
        return like(y, matrix)

    def apply_product(self, left: Array, right: Array) -> Array:
        """Return A(L R^T); an operator this dense may form the n1 x n2 product."""
        return self._apply_matrix(left @ right.T)

    def adjoint(self, y: Array) -> Array:
        """Return sum_t y_t A_t, an n1 x n2 array."""
        if not self._host:
            transported = namespace(self._flat).reshape(self._match(y) @ self._flat, self.shape)
            return self._back(transported, y)
        return like(self._transported([to_numpy(y)])[0], y)

    def residual_products(self, left: Array, right: Array, b: Array) -> tuple[Array, Array, Array]:
        """Return r = A(L R^T) - b, A*(r) R and A*(r)^T L in one pass over the matrices."""
        if not self._host:
            return super().residual_products(left, right, b)
        host_left, host_right, data = to_numpy(left), to_numpy(right), to_numpy(b)
        residual, (g,) = self._forward_and_back(host_left @ host_right.T, data, [])
        return like(residual, left), like(g @ host_right, left), like(g.T @ host_left, left)

    def normal_products(
        self,
        left: Array,
        right: Array,
        d_left: Array,
        d_right: Array,
        s: Array | None = None,
        curvature: Callable[[Array], Array] | None = None,
    ) -> tuple[Array, Array]:
        """Return the Hessian (Gauss-Newton without ``s``) product in one pass over the matrices.

        A ``curvature`` takes two: it may need all of A(dL R^T + L dR^T).
        """
        if not self._host:
            return super().normal_products(left, right, d_left, d_right, s, curvature)
        l_, r_, dl, dr = (to_numpy(x) for x in (left, right, d_left, d_right))
        direction = dl @ r_.T + l_ @ dr.T
        slope = [] if s is None else [to_numpy(s)]
        if curvature is None:
            _, transported = self._forward_and_back(direction, None, slope)
        else:
            y = to_numpy(curvature(like(self._apply_matrix(direction), left)))
            transported = self._transported([y, *slope])
        out_left, out_right = transported[0] @ r_, transported[0].T @ l_
        if slope:
            out_left, out_right = out_left + transported[1] @ dr, out_right + transported[1].T @ dl
        return like(out_left, left), like(out_right, left)

    # -- moments -----------------------------------------------------------------------------

    def _moment(
        self, side: str, factor: np.ndarray | None, weights: np.ndarray
    ) -> np.ndarray | None:
        """Return sum_t w_t (A_t F) (A_t F)^T (of A_t^T on the right) in one pass over the matrices.

        Cost: m n1 n2 k multiply-adds for the products A_t F, F of k columns, and m n1^2 k for their
        squares (n2^2 on the right; k is n2 or n1 without a matrix F). Memory: a few blocks.
        """

        def squared(matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            turned = matrices if side == "left" else matrices.swapaxes(1, 2)
            images = times_factor(turned, factor)
            return images, images.swapaxes(1, 2)

        return self._summed(self.shape[0] if side == "left" else self.shape[1], weights, squared)

    def _transposed_moment(self, weights: np.ndarray) -> np.ndarray | None:
        """Return sum_t w_t A_t A_t in one pass over the matrices: m n^3 multiply-adds."""
        return self._summed(self.shape[0], weights, lambda matrices: (matrices, matrices))

    def _summed(
        self,
        n: int,
        weights: np.ndarray,
        pair: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    ) -> np.ndarray | None:
        """Return sum_t w_t P_t Q_t, n x n, with (P, Q) made of a block of matrices."""
        if n > MOMENT_SIDE:
            return None
        totals = np.zeros((self._chunks if self._host else 1, n, n))

        def work(block: np.ndarray, rows: slice, chunk: int) -> None:
            first, second = pair(block.reshape(-1, *self.shape))
            scaled = weights[rows, None, None] * first
            totals[chunk] += np.tensordot(scaled, second, axes=((0, 2), (0, 1)))

        if self._host:
            self._sweep(work)
        else:
            for lo, hi in self._blocks(0, self.num_measurements):
                matrices = to_numpy(self.matrices[lo:hi, :, :])
                work(matrices.astype(float, copy=False), slice(lo, hi), 0)
        return totals.sum(axis=0)

    # -- blocks of a NumPy array ----------------------------------------------------------------

    def _forward_and_back(
        self, matrix: np.ndarray, b: np.ndarray | None, others: list[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return y = A(X) - b and A* of y and of ``others``, each block read once."""
        dtype = self._type(matrix) if b is None else np.result_type(self._type(matrix), b)
        x = matrix.reshape(-1).astype(float, copy=False)
        ys = np.empty((1 + len(others), self.num_measurements))
        for row, other in zip(ys[1:], others, strict=True):
            row[...] = other
        totals = self._totals(len(ys))

        def work(block: np.ndarray, rows: slice, chunk: int) -> None:
            y = np.dot(block, x)
            if b is not None:
                y -= b[rows]
            ys[0, rows] = y
            # A vector, where it is one, goes to the matrix-vector routine.
            totals[chunk] += np.dot(y if len(ys) == 1 else ys[:, rows], block)

        self._sweep(work)
        return ys[0].astype(dtype, copy=False), self._added(totals, dtype)

    def _transported(self, ys: list[np.ndarray]) -> np.ndarray:
        """Return A* of every vector, stacked, each block read once."""
        totals = self._totals(len(ys))
        dtype = np.result_type(self._data.dtype, *ys)
        stacked = (ys[0] if len(ys) == 1 else np.stack(ys)).astype(float, copy=False)

        def work(block: np.ndarray, rows: slice, chunk: int) -> None:
            totals[chunk] += np.dot(stacked[..., rows], block)

        self._sweep(work)
        return self._added(totals, dtype)

    def _sweep(self, work: Callable[[np.ndarray, slice, int], None]) -> None:
        """Call ``work`` with every block, in float64, its rows and its chunk.

        ``work`` multiplies by np.dot, which lets go of the GIL: ``@`` took 40 ms where np.dot took
        22 ms on two cores.
        """
        bounds = np.linspace(0, self.num_measurements, self._chunks + 1).astype(int)

        def task(chunk: int) -> None:
            for lo, hi in self._blocks(int(bounds[chunk]), int(bounds[chunk + 1])):
                work(self._block(lo, hi).astype(float, copy=False), slice(lo, hi), chunk)

        with threads.single_threaded_blas():
            threads.run_chunks(task, self._chunks)

    @property
    def _chunks(self) -> int:
        large = self._data.size > threads.SERIAL_WORK
        return min(threads.CHUNKS, self.num_measurements) if large else 1

    def _blocks(self, start: int, stop: int) -> list[tuple[int, int]]:
        n1, n2 = self.shape
        step = max(1, BLOCK_BYTES // (8 * n1 * n2))
        return [(lo, min(lo + step, stop)) for lo in range(start, stop, step)]

    def _block(self, lo: int, hi: int) -> np.ndarray:
        """Return rows lo..hi of the m x (n1 n2) matrix: a view, in the usual memory order."""
        return self._data[lo:hi].reshape(hi - lo, -1)

    def _totals(self, count: int) -> np.ndarray:
        return np.zeros((self._chunks, count, self.shape[0] * self.shape[1]))

    def _added(self, totals: np.ndarray, dtype: np.dtype) -> np.ndarray:
        total = totals[0]
        for other in totals[1:]:
            total += other
        return total.reshape(-1, *self.shape).astype(dtype, copy=False)

    def _type(self, x: np.ndarray) -> np.dtype:
        return np.result_type(self._data.dtype, x.dtype)

    # -- other namespaces ------------------------------------------------------------------------

    def _match(self, x: Array) -> Array:
        # A NumPy probe (dottest, Lanczos) may meet matrices of another namespace.
        return like(x, self._flat) if is_numpy_array(x) else x

    def _back(self, result: Array, asked: Array) -> Array:
        # Like every operator: the result is in the namespace of what was handed in.
        return to_numpy(result) if is_numpy_array(asked) else result

    # -- saving ----------------------------------------------------------------------------------

    def to_arrays(self) -> dict[str, Any]:
        """Return the measurement matrices."""
        return {"matrices": to_numpy(self.matrices)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> DenseSensing:
        """Rebuild the operator from ``to_arrays``."""
        return cls(arrays["matrices"])
