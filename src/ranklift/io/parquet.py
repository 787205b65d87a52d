"""Parquet files: triplets or tables with blanks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import DTypeError, EmptyDataError, FileFormatError, NonFiniteError
from .records import (
    LABEL_COLUMN_NAMES,
    Entries,
    Frame,
    TextOptions,
    ambiguous,
    check_memory,
    encode_labels,
    known_triplet_names,
    table_entries,
    triplet_columns,
)


def read_parquet(path: Path, options: TextOptions, limit: int) -> Entries:
    """Read a Parquet file; the rule of the layout is `read_incomplete`'s."""
    frame = _load(path, limit)
    index_labels = not isinstance(frame.index, pd.RangeIndex)
    names = [str(name) for name in frame.columns]
    by_name = options.names_given or known_triplet_names(names) is not None
    if options.format == "triplets" or (options.format == "auto" and by_name):
        return _triplets(path, frame, triplet_columns(path, names, options))
    if options.format == "auto" and len(names) == 3 and not index_labels:
        blank = frame.isna().any().to_numpy()
        if not blank.any():
            return _triplets(path, frame, (0, 1, 2))
        if blank[2] and not blank[:2].any() and options.row_labels is None:
            raise ambiguous(path)
    return _table(path, frame, options, index_labels)


def _load(path: Path, limit: int) -> Frame:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise FileFormatError(
            f"{path}: reading Parquet needs pyarrow", "pip install pyarrow"
        ) from error
    try:
        meta = pyarrow.parquet.read_metadata(path)
        check_memory(path, 16.0 * meta.num_rows * meta.num_columns, limit)
        frame = pd.read_parquet(path)
    except pyarrow.ArrowException as error:
        raise FileFormatError(
            f"{path} is not a readable Parquet file ({str(error).splitlines()[0]})",
            "write it again",
        ) from error
    if frame.shape[0] == 0 or frame.shape[1] == 0:
        raise EmptyDataError(f"{path} has no entry", "give at least one entry")
    return frame


def _triplets(path: Path, frame: Frame, columns: tuple[int, int, int]) -> Entries:
    row, col, value = columns
    for k in (row, col):
        blank = np.flatnonzero(frame.iloc[:, k].isna().to_numpy())
        if blank.size:
            raise FileFormatError(
                f"{path}, row {blank[0]}, column {frame.columns[k]!r}: the label is blank",
                "name every row and column of a triplet, or pass --format table",
            )
    values = _numbers(path, frame, [value])[:, 0]
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise NonFiniteError(
            f"{path}, row {bad[0]}, column {frame.columns[value]!r}: {values[bad[0]]} is not a "
            "finite value",
            "delete rows without a value",
        )
    rows, row_labels = encode_labels(frame.iloc[:, row])
    cols, column_labels = encode_labels(frame.iloc[:, col])
    used = " ".join(f"{frame.columns[k]!r}" for k in columns)
    shape = (row_labels.size, column_labels.size)
    layout = f"triplets from columns {used}"
    return Entries(rows, cols, values, shape, row_labels, column_labels, layout)


def _table(path: Path, frame: Frame, options: TextOptions, index_labels: bool) -> Entries:
    labelled = options.row_labels
    if labelled is None:
        first = frame.iloc[:, 0]
        labelled = (
            not index_labels
            and frame.shape[1] > 1
            and (
                str(frame.columns[0]).lower() in LABEL_COLUMN_NAMES
                or not (pd.api.types.is_numeric_dtype(first) or first.isna().any())
            )
        )
    first_value = 1 if labelled else 0
    if frame.shape[1] == first_value:
        raise EmptyDataError(
            f"{path}: the only column holds labels, no value is left", "pass --no-row-labels"
        )
    array = _numbers(path, frame, list(range(first_value, frame.shape[1])))
    infinite = np.argwhere(np.isinf(array))
    if infinite.size:
        i, j = infinite[0]
        raise NonFiniteError(
            f"{path}, row {i}, column {frame.columns[j + first_value]!r}: {array[i, j]} is not a "
            "finite value",
            "correct it, or leave it blank to mark it missing",
        )
    row_labels = None
    if labelled:
        row_labels = frame.iloc[:, 0].to_numpy()
    elif index_labels:
        row_labels = frame.index.to_numpy()
    layout = f"table, {'row labels in the file' if row_labels is not None else 'no row labels'}"
    column_labels = np.array([str(name) for name in frame.columns[first_value:]])
    return table_entries(array, row_labels, column_labels, layout)


def _numbers(path: Path, frame: Frame, columns: list[int]) -> NDArray[np.float64]:
    array = np.empty((len(frame), len(columns)))
    for position, k in enumerate(columns):
        series: Frame = frame.iloc[:, k]
        numbers: Frame = pd.to_numeric(series, errors="coerce")
        if pd.api.types.is_complex_dtype(numbers) or pd.api.types.is_datetime64_any_dtype(series):
            bad = np.array([0])
        else:
            bad = np.flatnonzero((numbers.isna() & series.notna()).to_numpy())
        if bad.size:
            raise DTypeError(
                f"{path}, row {bad[0]}, column {frame.columns[k]!r}: "
                f"{series.iloc[bad[0]]!r} is not a number",
                "correct it or leave it blank; if the column holds labels, pass --row-labels",
            )
        array[:, position] = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    return array
