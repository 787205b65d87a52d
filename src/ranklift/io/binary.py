"""NumPy archives and Matrix Market files."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DTypeError, FileFormatError, InputError, ShapeError
from .records import Entries, check_memory, table_entries

_ARCHIVE_REMEDY = (
    "store a scipy.sparse matrix with save_npz, arrays named rows, cols, values and shape, or "
    "one two-dimensional array with NaN for blanks"
)


def read_numpy(path: Path, limit: int) -> Entries:
    """Read .npz (scipy.sparse, rows/cols/values, or one array) or .npy."""
    try:
        _check_numpy_memory(path, limit)
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return _dense(path, "array", loaded)
        with loaded:
            return _archive(path, {name: loaded[name] for name in loaded.files})
    except InputError:
        raise
    except (zipfile.BadZipFile, EOFError) as error:
        raise _broken(path, error) from error
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise DTypeError(
                f"{path} holds Python objects, which are not loaded from files", _ARCHIVE_REMEDY
            ) from error
        raise _broken(path, error) from error


def _check_numpy_memory(path: Path, limit: int) -> None:
    needed = 0.0
    if path.suffix.lower() == ".npy":
        with path.open("rb") as file:
            needed = _array_bytes(file)
    else:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                with archive.open(name) as file:
                    needed += _array_bytes(file)
    # the arrays themselves, then int64 rows and columns and float64 values of the entries
    check_memory(path, 4.0 * needed, limit)


def _array_bytes(file: Any) -> float:
    version = np.lib.format.read_magic(file)
    header = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = header(file)
    return float(np.prod(shape, dtype=np.float64)) * dtype.itemsize


def _archive(path: Path, arrays: dict[str, Any]) -> Entries:
    names = set(arrays)
    if "format" in names and "shape" in names:
        from scipy import sparse

        matrix = sparse.load_npz(path).tocoo()
        return _coordinates(
            path, matrix.row, matrix.col, matrix.data, matrix.shape, "scipy.sparse archive"
        )
    if {"rows", "cols", "values"} <= names:
        rows, cols = (_indices(path, name, arrays[name]) for name in ("rows", "cols"))
        if "shape" in names:
            shape = tuple(int(size) for size in np.ravel(arrays["shape"]))
        elif rows.size and cols.size:
            shape = (int(rows.max()) + 1, int(cols.max()) + 1)
        else:
            shape = (0, 0)
        if len(shape) != 2:
            raise ShapeError(f"{path}: shape has {len(shape)} numbers", "store (n1, n2)")
        values = arrays["values"]
        labels = [arrays.get("row_labels"), arrays.get("column_labels")]
        return _coordinates(path, rows, cols, values, shape, "arrays rows, cols, values", *labels)
    matrices = [name for name in arrays if arrays[name].ndim == 2]
    if "X" in matrices:
        matrices = ["X"]
    if len(matrices) == 1:
        return _dense(path, matrices[0], arrays[matrices[0]])
    raise FileFormatError(
        f"{path} holds {', '.join(sorted(names)) or 'nothing'}: no incomplete matrix in it",
        _ARCHIVE_REMEDY + "; a result of ranklift complete is checked with ranklift verify",
    )


def _indices(path: Path, name: str, array: Any) -> Any:
    if array.dtype.kind not in "iu":
        raise DTypeError(f"{path}: {name} are {array.dtype}, not integers", "store integers")
    return array.ravel()


def _real(path: Path, name: str, array: Any) -> Any:
    if array.dtype.kind not in "fiub":
        raise DTypeError(f"{path}: {name} are {array.dtype}, not real numbers", "store real values")
    return np.asarray(array, dtype=np.float64)


def _coordinates(
    path: Path,
    rows: Any,
    cols: Any,
    values: Any,
    shape: Any,
    layout: str,
    row_labels: Any = None,
    column_labels: Any = None,
) -> Entries:
    values = _real(path, "values", np.asarray(values)).ravel()
    shape = (int(shape[0]), int(shape[1]))
    for side, labels, size in (("row", row_labels, shape[0]), ("column", column_labels, shape[1])):
        if labels is not None and len(labels) != size:
            raise ShapeError(
                f"{path}: {len(labels)} {side} labels for {size} {side}s", "store one label each"
            )
    rows, cols = np.asarray(rows, dtype=np.int64), np.asarray(cols, dtype=np.int64)
    return Entries(rows, cols, values, shape, row_labels, column_labels, layout)


def _dense(path: Path, name: str, array: Any) -> Entries:
    if array.ndim != 2:
        raise ShapeError(f"{path}: {name} has {array.ndim} dimensions", "store a matrix")
    array = _real(path, f"values of {name}", array)
    return table_entries(array, None, None, f"dense array {name}, NaN marks blanks")


def read_mtx(path: Path, limit: int) -> Entries:
    """Read Matrix Market, coordinate (stored entries are observed) or array (NaN is blank)."""
    from scipy import io, sparse

    try:
        rows, cols, count, form, field, _ = io.mminfo(path)
        if field in ("complex", "pattern"):
            raise DTypeError(f"{path} holds {field} values", "store real or integer values")
        check_memory(path, 64.0 * count, limit)
        matrix: Any = io.mmread(path)
    except InputError:
        raise
    except (ValueError, OverflowError, StopIteration) as error:
        raise _broken(path, error) from error
    if sparse.issparse(matrix):
        matrix = matrix.tocoo()
        return _coordinates(
            path, matrix.row, matrix.col, matrix.data, (rows, cols), f"Matrix Market {form}"
        )
    return table_entries(
        np.asarray(matrix, dtype=np.float64), None, None, "Matrix Market array, NaN marks blanks"
    )


def _broken(path: Path, error: BaseException) -> FileFormatError:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return FileFormatError(f"{path} is broken ({text})", "write or download the file again")
