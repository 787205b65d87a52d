"""ObservedTable: the entries of an incomplete table, however it was handed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from ..errors import DuplicateEntriesError
from ..operators import EntrySampling, MeasurementOperator


@dataclass(frozen=True)
class ObservedTable:
    """Observed entries of a table."""

    rows: np.ndarray
    cols: np.ndarray
    values: np.ndarray
    shape: tuple[int, int]

    @property
    def triplets(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (rows, cols, values)."""
        return self.rows, self.cols, self.values

    @property
    def counts(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the number of observed entries of every row and of every column."""
        return (
            np.bincount(self.rows, minlength=self.shape[0]),
            np.bincount(self.cols, minlength=self.shape[1]),
        )

    def split(self, rng: np.random.Generator) -> tuple[ObservedTable, ObservedTable]:
        """Hold out about a tenth of the entries."""
        shuffled = rng.permutation(self.values.size)
        count = max(1, self.values.size // 10)
        test, train = np.sort(shuffled[:count]), np.sort(shuffled[count:])
        return self._take(train), self._take(test)

    def _take(self, index: np.ndarray) -> ObservedTable:
        return ObservedTable(self.rows[index], self.cols[index], self.values[index], self.shape)

    def compressed(self, row_index: np.ndarray, column_index: np.ndarray) -> ObservedTable:
        """Return the same entries over the listed rows and columns only."""
        rows, cols = np.zeros(self.shape[0], np.int64), np.zeros(self.shape[1], np.int64)
        rows[row_index], cols[column_index] = (
            np.arange(row_index.size),
            np.arange(column_index.size),
        )
        return ObservedTable(
            rows[self.rows], cols[self.cols], self.values, (row_index.size, column_index.size)
        )

    def operator(self, scales: tuple[np.ndarray, np.ndarray]) -> MeasurementOperator:
        """Return the sampling of these entries, of a matrix with scaled rows and columns."""
        sampling = EntrySampling(self.rows, self.cols, self.shape)
        if all((scale == 1.0).all() for scale in scales):
            return sampling
        return sampling.scaled(*scales)


def factors_of(
    w: np.ndarray, table: ObservedTable, row_index: np.ndarray, column_index: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the factors of W over the listed rows and columns only."""
    n1 = table.shape[0]
    return w[:n1][row_index], w[n1:][column_index]


def count_weights(table: ObservedTable, exponent: float) -> tuple[np.ndarray, np.ndarray]:
    """Return D1, D2 of X = D1 Y D2 whose nuclear norm of Y weighs rows and columns of X by counts.

    D = (count / mean count)^(-exponent / 2): exponent 1 penalises a row in proportion to the root
    of its count, as the flat solution does (notes/flat-minima.md).
    """
    if exponent == 0.0:
        return np.ones(table.shape[0]), np.ones(table.shape[1])
    scales = []
    for counts in table.counts:
        seen = np.maximum(counts, 1)
        scales.append((seen / seen[counts > 0].mean()) ** (-0.5 * exponent))
    return scales[0], scales[1]


def observed_entries(X: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the observed entries, sorted by row."""
    if sparse.issparse(X):
        X = sparse.csr_array(X)
        rows = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))
        seen = ~np.isnan(X.data)
        return rows[seen], X.indices[seen].astype(np.int64), X.data[seen]
    rows, cols = np.nonzero(~np.isnan(X))
    return rows, cols, X[rows, cols]


def reject_repetitions(X: Any) -> None:
    """Raise for a sparse matrix with repeated entries, which SciPy would add up silently."""
    if sparse.issparse(X) and X.format in ("coo", "csr", "csc") and len(X.shape) == 2:
        rows, cols = X.tocoo().coords
        distinct = np.unique(rows.astype(np.int64) * X.shape[1] + cols).size
        if distinct < rows.size:
            raise DuplicateEntriesError(
                f"{rows.size - distinct} repeated entries in a sparse matrix",
                "call sum_duplicates() yourself if they shall be added, or average them",
            )
