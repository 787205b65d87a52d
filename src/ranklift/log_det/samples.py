"""Samples: the observed entries grouped by the lines of the longer axis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .. import threads
from ..arrays import Array, to_numpy
from ..operators import EntrySampling


@dataclass(frozen=True)
class Samples:
    """Hold the data by outer lines: those of line j are indptr[j]:indptr[j + 1].

    Attributes
    ----------
    indptr, cross : integer arrays
        Compressed lines of the outer axis and the index of each sample along the inner one.
    data : ndarray, shape (m,)
        The measurements in this order.
    inner, outer : int
        Lengths of the axes, inner <= outer.
    transposed : bool
        Whether the inner axis is that of the columns.
    """

    indptr: np.ndarray
    cross: np.ndarray
    data: np.ndarray
    inner: int
    outer: int
    transposed: bool

    @staticmethod
    def of(operator: EntrySampling, b: Array) -> Samples:
        """Group the measurements of an operator."""
        matrix = operator.adjoint(np.asarray(to_numpy(b), dtype=np.float64))
        n1, n2 = operator.shape
        by_columns = matrix.format == "csc"
        inner, outer = (n1, n2) if by_columns else (n2, n1)
        data = np.ascontiguousarray(matrix.data)
        return Samples(matrix.indptr, matrix.indices, data, inner, outer, not by_columns)

    @property
    def count(self) -> int:
        """Return the number m of samples."""
        return int(self.data.size)

    @property
    def rate(self) -> float:
        """Return the observed share q = m / (n1 n2)."""
        return self.count / (self.inner * self.outer)

    @property
    def lines(self) -> np.ndarray:
        """Return the outer line of every sample."""
        return np.repeat(np.arange(self.outer), np.diff(self.indptr))

    def restricted(self, keep: np.ndarray) -> Samples:
        """Return the samples under a mask; the axes keep their lengths."""
        counts = np.bincount(self.lines[keep], minlength=self.outer)
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(self.indptr.dtype)
        return Samples(
            indptr, self.cross[keep], self.data[keep], self.inner, self.outer, self.transposed
        )

    def well_sampled(self, least: int) -> np.ndarray:
        """Return the mask of samples whose row and column both have at least ``least``."""
        inner = np.bincount(self.cross, minlength=self.inner) >= least
        outer = np.diff(self.indptr) >= least
        return inner[self.cross] & outer[self.lines]

    def _bounds(self, work_per_sample: int) -> np.ndarray:
        count = threads.CHUNKS if self.count * work_per_sample > threads.SERIAL_WORK else 1
        bounds = np.searchsorted(self.indptr, np.linspace(0, self.count, count + 1))
        bounds[0], bounds[-1] = 0, self.outer
        return bounds

    def run(self, work_per_sample: int, kernel: Callable[[int, int], None]) -> None:
        """Run a kernel over chunks of outer lines."""
        bounds = self._bounds(work_per_sample)
        threads.run_chunks(lambda c: kernel(bounds[c], bounds[c + 1]), len(bounds) - 1)

    def accumulate(
        self,
        shape: tuple[int, ...],
        work_per_sample: int,
        kernel: Callable[[np.ndarray, int, int], None],
    ) -> np.ndarray:
        """Run a kernel that scatters along the inner axis: a buffer a chunk, added in order."""
        bounds = self._bounds(work_per_sample)
        buffers = [np.zeros(shape) for _ in range(len(bounds) - 1)]
        threads.run_chunks(lambda c: kernel(buffers[c], bounds[c], bounds[c + 1]), len(buffers))
        for buffer in buffers[1:]:
            buffers[0] += buffer
        return buffers[0]

    def matmul(self, values: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return S x (inner, p) for the sparse S (inner x outer) with these values."""
        from ..kernels import log_det as kernels

        x = np.ascontiguousarray(x)
        return self.accumulate(
            (self.inner, x.shape[1]),
            x.shape[1],
            lambda out, lo, hi: kernels.scatter_matmul(
                self.indptr, self.cross, values, x, out, lo, hi
            ),
        )

    def rmatmul(self, values: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return S^T x (outer, p)."""
        from ..kernels import sampled_entries as kernels

        x = np.ascontiguousarray(x)
        out = np.zeros((self.outer, x.shape[1]))
        self.run(
            x.shape[1],
            lambda lo, hi: kernels.sparse_matmul(self.indptr, self.cross, values, x, out, lo, hi),
        )
        return out
