"""IncompleteMatrix: the observed entries of a matrix with blanks, checked once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import (
    DuplicateEntriesError,
    EmptyDataError,
    NonFiniteError,
    ShapeError,
    UnobservedError,
)

Duplicates = Literal["error", "mean", "first"]
Unobserved = Literal["error", "drop", "keep"]


@dataclass(frozen=True, eq=False)
class IncompleteMatrix:
    """Hold the observed entries (rows[t], cols[t]) -> values[t] of an n1 x n2 matrix.

    Entries are unique and in row-major order, so that the order of a file's lines never
    changes a result. Build one with `assemble`, which checks.

    Parameters
    ----------
    rows, cols : int64 array, shape (m,)
    values : float64 array, shape (m,)
    shape : (n1, n2)
    row_labels, column_labels : array, shape (n1,), (n2,)
        Names of rows and columns as the file has them; 0, 1, ... where it has none.
    source : str
        Where the data come from: a path or a data set's name.
    sha256 : str
        Hash of the file's bytes, or of the entries when there is no file.
    layout : str
        How the file was understood, in words, so that a wrong guess can be seen.
    """

    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    values: NDArray[np.float64]
    shape: tuple[int, int]
    row_labels: NDArray[Any]
    column_labels: NDArray[Any]
    source: str
    sha256: str
    layout: str = ""

    @property
    def num_observed(self) -> int:
        """Return the number m of observed entries."""
        return int(self.values.size)

    @property
    def density(self) -> float:
        """Return m / (n1 n2)."""
        return self.num_observed / (self.shape[0] * self.shape[1])

    @property
    def row_counts(self) -> NDArray[np.int64]:
        """Return the number of observed entries of each row, shape (n1,)."""
        return np.bincount(self.rows, minlength=self.shape[0])

    @property
    def column_counts(self) -> NDArray[np.int64]:
        """Return the number of observed entries of each column, shape (n2,)."""
        return np.bincount(self.cols, minlength=self.shape[1])

    def select(self, index: NDArray[Any]) -> IncompleteMatrix:
        """Return the entries of an index or mask, in a matrix of the same shape and labels."""
        return IncompleteMatrix(
            self.rows[index],
            self.cols[index],
            self.values[index],
            self.shape,
            self.row_labels,
            self.column_labels,
            self.source,
            self.sha256,
            self.layout,
        )


def assemble(
    rows: Any,
    cols: Any,
    values: Any,
    shape: tuple[int, int],
    *,
    row_labels: Any = None,
    column_labels: Any = None,
    source: str = "memory",
    sha256: str = "",
    layout: str = "",
    duplicates: Duplicates = "error",
    unobserved: Unobserved = "error",
) -> IncompleteMatrix:
    """Check entries and return them as an `IncompleteMatrix`; cost one sort of m keys.

    Parameters
    ----------
    rows, cols, values : array_like, shape (m,)
    shape : (n1, n2)
    row_labels, column_labels : array_like, optional
    duplicates : {"error", "mean", "first"}
        What to do with an entry that is listed more than once.
    unobserved : {"error", "drop", "keep"}
        What to do with a row or column without an entry: nothing about it can be recovered.

    Raises
    ------
    EmptyDataError, ShapeError, NonFiniteError, DuplicateEntriesError, UnobservedError

    Examples
    --------
    >>> data = assemble([1, 0], [0, 1], [3.0, 4.0], (2, 2))
    >>> data.rows.tolist(), data.values.tolist(), data.density
    ([0, 1], [4.0, 3.0], 0.5)
    """
    rows = np.asarray(rows, dtype=np.int64).ravel()
    cols = np.asarray(cols, dtype=np.int64).ravel()
    values = np.asarray(values, dtype=np.float64).ravel()
    n1, n2 = int(shape[0]), int(shape[1])
    row_labels = np.arange(n1) if row_labels is None else np.asarray(row_labels)
    column_labels = np.arange(n2) if column_labels is None else np.asarray(column_labels)
    if not rows.size == cols.size == values.size:
        raise ShapeError(
            f"{source}: {rows.size} row indices, {cols.size} column indices, {values.size} values",
            "give one row index, one column index and one value an entry",
        )
    if values.size == 0:
        raise EmptyDataError(f"{source}: no observed entry", "give at least one entry with a value")
    _check_range(rows, n1, "row", source)
    _check_range(cols, n2, "column", source)
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        t = int(bad[0])
        raise NonFiniteError(
            f"{source}: entry {_pair(rows[t], cols[t], row_labels, column_labels)} is {values[t]}"
            + (f" ({bad.size} such entries)" if bad.size > 1 else ""),
            "remove these entries, or leave them blank to mark them missing",
        )
    rows, cols, values = _unique(rows, cols, values, n2, row_labels, column_labels, source,
                                 duplicates)  # fmt: skip
    data = IncompleteMatrix(
        rows, cols, values, (n1, n2), row_labels, column_labels, source, sha256, layout
    )
    return data if unobserved == "keep" else _observed(data, unobserved)


def _check_range(index: NDArray[np.int64], size: int, side: str, source: str) -> None:
    low, high = int(index.min()), int(index.max())
    if low < 0 or high >= size:
        raise ShapeError(
            f"{source}: {side} index {low if low < 0 else high} is outside 0..{size - 1}",
            f"count {side}s from 0 and give a shape that covers them",
        )


def _pair(row: Any, col: Any, row_labels: NDArray[Any], column_labels: NDArray[Any]) -> str:
    return f"(row {row_labels[row]}, column {column_labels[col]})"


def _unique(
    rows: NDArray[np.int64],
    cols: NDArray[np.int64],
    values: NDArray[np.float64],
    n2: int,
    row_labels: NDArray[Any],
    column_labels: NDArray[Any],
    source: str,
    duplicates: Duplicates,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    key = rows * n2 + cols
    order = np.argsort(key, kind="stable")
    key, rows, cols, values = key[order], rows[order], cols[order], values[order]
    new = np.concatenate(([True], key[1:] != key[:-1]))
    if new.all():
        return rows, cols, values
    if duplicates == "error":
        repeats = np.flatnonzero(~new)
        first = int(repeats[np.argmin(order[repeats])])  # the first repeat of the file
        raise DuplicateEntriesError(
            f"{source}: entry {_pair(rows[first], cols[first], row_labels, column_labels)} is "
            f"listed more than once ({repeats.size} repeated entries in all)",
            "remove the repeats, or choose with --duplicates mean or --duplicates first",
        )
    if duplicates == "mean":
        starts = np.flatnonzero(new)
        values = np.add.reduceat(values, starts) / np.diff(np.append(starts, values.size))
    else:
        values = values[new]
    return rows[new], cols[new], values


def _observed(data: IncompleteMatrix, unobserved: Unobserved) -> IncompleteMatrix:
    keep_rows, keep_cols = data.row_counts > 0, data.column_counts > 0
    if keep_rows.all() and keep_cols.all():
        return data
    if unobserved == "error":
        for side, keep, labels in (
            ("row", keep_rows, data.row_labels),
            ("column", keep_cols, data.column_labels),
        ):
            missing = np.flatnonzero(~keep)
            if missing.size:
                names = ", ".join(str(label) for label in labels[missing[:3]])
                more = ", ..." if missing.size > 3 else ""
                raise UnobservedError(
                    f"{data.source}: {missing.size} {side}{'s' if missing.size > 1 else ''} "
                    f"without any observed entry: {names}{more}",
                    "nothing about them can be recovered: remove them, or pass --unobserved drop",
                )
    return IncompleteMatrix(
        (np.cumsum(keep_rows) - 1)[data.rows],
        (np.cumsum(keep_cols) - 1)[data.cols],
        data.values,
        (int(keep_rows.sum()), int(keep_cols.sum())),
        data.row_labels[keep_rows],
        data.column_labels[keep_cols],
        data.source,
        data.sha256,
        data.layout,
    )
