"""What every file reader takes and returns, and the rules they share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import FileFormatError, TooLargeError

Frame = Any
"""A pandas DataFrame or Series: pandas' own annotations are too wide for a type checker."""

ROW_NAMES = {"row", "rows", "i", "user", "userid", "rowid", "rowlabel"}
COLUMN_NAMES = {"col", "cols", "column", "j", "item", "itemid", "movie", "movieid", "columnid",
                "colid", "columnlabel", "product", "productid"}  # fmt: skip
VALUE_NAMES = {"value", "values", "val", "v", "rating", "ratings", "score", "measurement"}
LABEL_COLUMN_NAMES = {"", "id", "index", "name", "label", "labels", "row", "rows"}
BLANKS = ("", "nan", "NaN", "NAN", "NA", "N/A", "n/a", "null", "NULL", "None", "-nan", "<NA>")


@dataclass(frozen=True)
class TextOptions:
    """Say how a text or Parquet file is laid out; None means: find out."""

    format: Literal["auto", "triplets", "table"] = "auto"
    row_column: str | None = None
    column_column: str | None = None
    value_column: str | None = None
    delimiter: str | None = None
    decimal: str = "."
    header: bool | None = None
    row_labels: bool | None = None

    @property
    def names_given(self) -> bool:
        """Whether the caller named a column of triplets."""
        return any((self.row_column, self.column_column, self.value_column))


@dataclass(frozen=True, eq=False)
class Entries:
    """Hold unchecked entries as a reader found them."""

    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    values: NDArray[np.float64]
    shape: tuple[int, int]
    row_labels: NDArray[Any] | None
    column_labels: NDArray[Any] | None
    layout: str


def check_memory(path: Path, needed: float, limit: int) -> None:
    """Raise TooLargeError when reading would need more than `limit` bytes."""
    if needed > limit:
        raise TooLargeError(
            f"{path}: reading needs about {needed / 2**30:.2g} GiB, "
            f"{limit / 2**30:.2g} GiB are available",
            "store it as .npz (rows, cols, values), read a part of it, or use a larger machine",
        )


def triplet_columns(path: Path, names: list[str], options: TextOptions) -> tuple[int, int, int]:
    """Return the positions of the row, column and value columns of a triplet file.

    Raises
    ------
    FileFormatError
        When a named column is missing or fewer than three columns exist.
    """
    if len(names) < 3:
        raise FileFormatError(
            f"{path}: triplets need three columns (row, column, value), found {len(names)}",
            "check --delimiter, or pass --format table",
        )
    known = known_triplet_names(names)
    default = known if known is not None else (0, 1, 2)
    wanted = (options.row_column, options.column_column, options.value_column)
    found: list[int] = []
    for name, position in zip(wanted, default, strict=True):
        if name is None:
            found.append(position)
        elif names.count(name) == 1:
            found.append(names.index(name))
        else:
            problem = "no column" if name not in names else "more than one column"
            raise FileFormatError(
                f"{path}: {problem} is named {name!r}",
                f"choose among: {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}",
            )
    if len(set(found)) < 3:
        raise FileFormatError(
            f"{path}: row, column and value must be three different columns",
            "pass --row-column, --column-column and --value-column",
        )
    return found[0], found[1], found[2]


def known_triplet_names(names: list[str]) -> tuple[int, int, int] | None:
    """Return the positions of one row-, one column- and one value-like name, or None.

    Examples
    --------
    >>> known_triplet_names(["movieId", "userId", "rating", "timestamp"])
    (1, 0, 2)
    >>> known_triplet_names(["a", "b", "c"]) is None
    True
    """
    plain = ["".join(c for c in name.lower() if c.isalnum()) for name in names]
    positions = []
    for known in (ROW_NAMES, COLUMN_NAMES, VALUE_NAMES):
        hits = [k for k, name in enumerate(plain) if name in known]
        if len(hits) != 1:
            return None
        positions.append(hits[0])
    return positions[0], positions[1], positions[2]


def ambiguous(path: Path) -> FileFormatError:
    """Return the error of a file that could be triplets with blanks or a narrow table."""
    return FileFormatError(
        f"{path}: three columns with blanks only in the last could be triplets with missing "
        "values or a table",
        "pass --format triplets or --format table",
    )


def encode_labels(labels: Frame) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return (codes, distinct labels): integers ascending, text in order of appearance.

    Text labels that are all plain integers ("7", not "007") become integers.
    """
    import pandas as pd

    codes, distinct = pd.factorize(labels, use_na_sentinel=False)
    distinct = np.asarray(distinct)
    if distinct.dtype.kind not in "iu":
        text = [str(label) for label in distinct]
        if all(_is_plain_integer(label) for label in text):
            distinct = np.array([int(label) for label in text], dtype=np.int64)
        else:
            return np.asarray(codes, dtype=np.int64), np.array(text, dtype=str)
    order = np.argsort(distinct)
    rank = np.empty(order.size, dtype=np.int64)
    rank[order] = np.arange(order.size)
    return rank[codes], distinct[order]


def _is_plain_integer(text: str) -> bool:
    digits = text.removeprefix("-")
    return (
        digits.isascii()
        and digits.isdigit()
        and len(digits) < 18
        and (digits == "0" or digits[0] != "0")
        and text != "-0"
    )


def table_entries(
    array: NDArray[np.float64],
    row_labels: NDArray[Any] | None,
    column_labels: NDArray[Any] | None,
    layout: str,
) -> Entries:
    """Return the cells of a dense array that are not NaN; infinities stay and raise later."""
    rows, cols = np.nonzero(~np.isnan(array))
    shape = (int(array.shape[0]), int(array.shape[1]))
    return Entries(rows, cols, array[rows, cols], shape, row_labels, column_labels, layout)
