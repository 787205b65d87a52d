"""read_incomplete: one function for every file format."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Literal

from ..errors import EmptyDataError, FileFormatError, InputError, TooLargeError
from .incomplete import Duplicates, IncompleteMatrix, Unobserved, assemble
from .records import Entries, TextOptions

Format = Literal["auto", "triplets", "table"]

TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".data", ".dat")
KNOWN_SUFFIXES = (*TEXT_SUFFIXES, ".parquet", ".pq", ".npz", ".npy", ".mtx")


def read_incomplete(
    path: Path | str,
    *,
    format: Format = "auto",
    row_column: str | None = None,
    column_column: str | None = None,
    value_column: str | None = None,
    delimiter: str | None = None,
    decimal: str = ".",
    header: bool | None = None,
    row_labels: bool | None = None,
    duplicates: Duplicates = "error",
    unobserved: Unobserved = "error",
    memory_limit: int | None = None,
) -> IncompleteMatrix:
    r"""Read a matrix with blanks from CSV, TSV, Parquet, .npz, .npy or Matrix Market.

    A text or Parquet file holds triplets (row label, column label, value) or a table with
    blanks. With ``format="auto"`` it is read as triplets when (1) a column is named with
    `row_column`, `column_column` or `value_column`, or (2) the header names exactly one column
    like each of row/user, column/item and value/rating, or (3) it has three columns and no
    blank cell. Otherwise it is a table. Three columns with blanks only in the last could be
    either and raise. In sparse files every stored entry, zeros included, is observed.

    Parameters
    ----------
    path : path
    format : {"auto", "triplets", "table"}
        Layout of a text or Parquet file.
    row_column, column_column, value_column : str, optional
        Column names of triplets; by default the first three columns.
    delimiter : str, optional
        By default a tab for .tsv, else the most frequent of ``, ; tab |`` in the first line.
    decimal : str
        Decimal mark of a text file.
    header : bool, optional
        Whether the first line holds names; by default it does when it holds a cell that is
        neither blank nor a number (a label before values excepted), or a blank corner before
        distinct integers; a name before increasing integers could be either and raises.
    row_labels : bool, optional
        Whether a table's first column holds labels; by default it does when none of its cells
        is a number or its name is blank, "id", "index", "name", "label" or "row".
    duplicates : {"error", "mean", "first"}
    unobserved : {"error", "drop", "keep"}
        What to do with rows and columns without any entry.
    memory_limit : int, optional
        Bytes this process may use for reading; by default what the machine has available.

    Returns
    -------
    IncompleteMatrix

    Raises
    ------
    FileFormatError
        Missing, broken or ambiguous file, unknown extension.
    EmptyDataError, DTypeError, NonFiniteError, DuplicateEntriesError, UnobservedError,
    ShapeError, TooLargeError
        Each with its cause, the line or cell where there is one, and a remedy.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "t.csv"
    >>> _ = path.write_text("name,a,b\nu,1,\nv,,2.5\n")
    >>> data = read_incomplete(path)
    >>> data.shape, data.values.tolist(), data.row_labels.tolist()
    ((2, 2), [1.0, 2.5], ['u', 'v'])
    """
    path = Path(path)
    suffix = path.suffix.lower()
    _check_file(path, suffix)
    limit = available_memory() if memory_limit is None else memory_limit
    options = TextOptions(
        format, row_column, column_column, value_column, delimiter, decimal, header, row_labels
    )
    try:
        entries = _read(path, suffix, options, limit)
    except InputError:
        raise
    except MemoryError as error:
        raise TooLargeError(
            f"{path}: memory ran out while reading", "read a part of it, or use a larger machine"
        ) from error
    except OSError as error:
        raise FileFormatError(f"{path} cannot be read ({error})", "check the file") from error
    return assemble(
        entries.rows,
        entries.cols,
        entries.values,
        entries.shape,
        row_labels=entries.row_labels,
        column_labels=entries.column_labels,
        source=str(path),
        sha256=file_sha256(path),
        layout=entries.layout,
        duplicates=duplicates,
        unobserved=unobserved,
    )


def _check_file(path: Path, suffix: str) -> None:
    if not path.exists():
        raise FileFormatError(f"{path} does not exist", "check the path")
    if not path.is_file():
        raise FileFormatError(f"{path} is not a file", "name one file")
    if suffix not in KNOWN_SUFFIXES:
        raise FileFormatError(
            f"{path}: unknown extension {suffix or '(none)'!r}",
            f"use one of {', '.join(KNOWN_SUFFIXES)}; decompress a compressed file first",
        )
    if path.stat().st_size == 0:
        raise EmptyDataError(f"{path} is empty", "give a file with at least one entry")


def _read(path: Path, suffix: str, options: TextOptions, limit: int) -> Entries:
    # the readers are imported one by one: pandas and scipy.io are heavy
    if suffix in (".npz", ".npy", ".mtx"):
        from . import binary

        _refuse_text_options(path, options)
        return (binary.read_mtx if suffix == ".mtx" else binary.read_numpy)(path, limit)
    if suffix in (".parquet", ".pq"):
        from . import parquet

        return parquet.read_parquet(path, options, limit)
    from . import text

    return text.read_text(path, options, limit)


def _refuse_text_options(path: Path, options: TextOptions) -> None:
    if options.format != "auto":
        raise FileFormatError(
            f"{path}: --format {options.format} says how text and Parquet files are laid out",
            f"leave it out: {path.suffix} files say their layout themselves",
        )


def available_memory() -> int:
    """Return the bytes of memory that are free for this process, as the system reports them."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 8 << 30  # unknown system: refuse only what no ordinary machine holds


def file_sha256(path: Path | str) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with open(path, "rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


def entries_sha256(*arrays: Any) -> str:
    """Return the SHA-256 of arrays' bytes, for data that come from no file."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(memoryview(array).cast("B"))
    return digest.hexdigest()
