"""Writing a completed table by blocks of rows, so that it is never held in memory twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FileFormatError, TooLargeError
from .atomic import atomic_path
from .incomplete import IncompleteMatrix

Predict = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]

COMPLETED_SUFFIXES = (".csv", ".tsv", ".parquet", ".npz", ".npy")
_BLOCK_CELLS = 2_000_000
_CELL_BYTES = {".csv": 12.0, ".tsv": 12.0}  # measured text bytes a cell


def check_completed(path: Path | str, shape: tuple[int, int], disk_free: int, memory: int) -> None:
    """Raise before any work when a completed table could not be written.

    Raises
    ------
    FileFormatError
        Unknown extension.
    TooLargeError
        When n1 n2 cells exceed the free disk space, or the memory for Parquet and NumPy.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in COMPLETED_SUFFIXES:
        raise FileFormatError(
            f"{path}: a completed table cannot be written as {suffix or 'a file without suffix'!r}",
            f"use one of {', '.join(COMPLETED_SUFFIXES)}",
        )
    cells = float(shape[0]) * shape[1]
    text = suffix in _CELL_BYTES
    needed, limit = cells * _CELL_BYTES.get(suffix, 16.0), disk_free if text else memory
    if needed > limit:
        raise TooLargeError(
            f"{path}: the {shape[0]} x {shape[1]} table needs about {needed / 2**30:.3g} GiB, "
            f"{limit / 2**30:.3g} GiB are free",
            "leave --completed out and ask the result file for the entries you need",
        )


def write_completed(path: Path | str, data: IncompleteMatrix, predict: Predict) -> None:
    """Write the full table: observed values kept, blanks filled with predictions.

    Parameters
    ----------
    path : path
        .csv, .tsv, .parquet, .npz (arrays X, row_labels, column_labels) or .npy. Atomic.
    data : IncompleteMatrix
    predict : callable
        (rows, cols) -> values, cost of one call a block of about two million cells.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    n1, n2 = data.shape
    starts = np.searchsorted(data.rows, np.arange(n1 + 1))
    size = max(1, _BLOCK_CELLS // max(n2, 1))

    def block(first: int) -> NDArray[np.float64]:
        last = min(first + size, n1)
        rows = np.repeat(np.arange(first, last), n2)
        cols = np.tile(np.arange(n2), last - first)
        array = np.asarray(predict(rows, cols), dtype=np.float64).reshape(last - first, n2)
        mine = slice(int(starts[first]), int(starts[last]))
        array[data.rows[mine] - first, data.cols[mine]] = data.values[mine]
        return array

    firsts = range(0, n1, size)
    with atomic_path(path) as aside:
        if suffix in _CELL_BYTES:
            _write_text(aside, data, block, firsts, "," if suffix == ".csv" else "\t")
            return
        array = np.concatenate([block(first) for first in firsts])
        if suffix == ".npy":
            np.save(aside, array)
        elif suffix == ".npz":
            np.savez(aside, X=array, row_labels=data.row_labels, column_labels=data.column_labels)
        else:
            import pandas as pd

            columns = [str(label) for label in data.column_labels]
            frame = pd.DataFrame(array, index=pd.Index(data.row_labels, name="row"))
            frame.columns = pd.Index(columns)
            frame.to_parquet(aside)


def _write_text(
    path: Path,
    data: IncompleteMatrix,
    block: Callable[[int], NDArray[np.float64]],
    firsts: range,
    delimiter: str,
) -> None:
    import pandas as pd

    with path.open("w", encoding="utf-8", newline="") as lines:
        for first in firsts:
            array = block(first)
            frame = pd.DataFrame(
                array,
                index=pd.Index(data.row_labels[first : first + len(array)], name="row"),
                columns=pd.Index(data.column_labels),
            )
            frame.to_csv(lines, sep=delimiter, header=first == 0, lineterminator="\n")
