"""Measurement models by the names of their arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DTypeError, FileFormatError, ShapeError
from ..operators import (
    OPERATORS,
    DenseSensing,
    DistanceSensing,
    EntrySampling,
    MeasurementOperator,
    PauliSensing,
    QuadraticSensing,
    RankOneSensing,
)
from ..operators.algebra import _unpack
from .archive import Header

Arrays = Mapping[str, Any]

FACTS = ("symmetric", "noise", "truth", "truth_left", "truth_right")
"""What a file may say beside the measurements."""

WAYS = (
    "store b with one of: A (m x n1 x n2); left and right (m x n1, m x n2); vectors (m x n); "
    "strings (m); pairs (m x 2); rows, cols and shape; or write the file with "
    "ranklift.io.write_problem"
)


@dataclass(frozen=True)
class Layout:
    """Name the arrays of one measurement model, and how it is built from them."""

    words: str
    needed: tuple[str, ...]
    build: Callable[[Path, Arrays], MeasurementOperator]
    optional: tuple[str, ...] = ()
    values: tuple[str, ...] = ("b", "y")


def find_layout(path: Path, headers: Mapping[str, Header]) -> Layout:
    """Return the model that the names tell, before anything is read.

    Raises
    ------
    FileFormatError
        For names that are missing, unknown or say two things, with what was found.
    """
    names = set(headers)
    shown = f"{path} holds {', '.join(sorted(names)[:12]) or 'nothing'}"
    if "document" in names:
        raise FileFormatError(
            f"{path} is a result of ranklift, not a problem", f"check it: ranklift verify {path}"
        )
    if "operator.class" in names:
        return _WRITTEN
    found = [layout for layout in _LAYOUTS if names & set(layout.needed)]
    if not found:
        raise FileFormatError(f"{shown}: no measurement model in it", WAYS)
    if len(found) > 1:
        models = " and ".join(f"{x.words} ({', '.join(x.needed)})" for x in found)
        raise FileFormatError(f"{shown}: ambiguous between {models}", "keep one model a file")
    layout = found[0]
    missing = [name for name in layout.needed if name not in names]
    if missing:
        raise FileFormatError(
            f"{shown}: {layout.words} need {' and '.join(layout.needed)}, without {missing[0]}",
            f"add {missing[0]}",
        )
    given = [name for name in layout.values if name in names]
    if not given:
        raise FileFormatError(
            f"{shown}: no measurements", f"add b, one number each ({' or '.join(layout.values)})"
        )
    if len(given) > 1:
        raise FileFormatError(
            f"{shown}: ambiguous measurements {' and '.join(given)}", "keep one of them"
        )
    unknown = sorted(names - {*layout.needed, *layout.optional, *given, *FACTS})
    if unknown:
        raise FileFormatError(
            f"{shown}: {', '.join(unknown[:5])} mean nothing to {layout.words}",
            f"remove or rename; known are {', '.join((*layout.optional, *FACTS))}",
        )
    return layout


def _dense(path: Path, arrays: Arrays) -> MeasurementOperator:
    matrices = _floats(path, "A", arrays["A"])
    if "shape" in arrays:
        n1, n2 = _pair(path, arrays["shape"])
        if matrices.ndim < 2 or matrices[0].size != n1 * n2:
            raise ShapeError(
                f"{path}: A of shape {matrices.shape} with matrices of shape {(n1, n2)}",
                "store A as (m, n1 n2) and shape as (n1, n2)",
            )
        matrices = matrices.reshape(-1, n1, n2)
    if matrices.ndim == 2:
        raise ShapeError(
            f"{path}: A of shape {matrices.shape} without shape",
            "add shape (n1, n2), or store A as (m, n1, n2)",
        )
    return DenseSensing(matrices)


def _rank_one(path: Path, arrays: Arrays) -> MeasurementOperator:
    return RankOneSensing(*(_floats(path, side, arrays[side]) for side in ("left", "right")))


def _quadratic(path: Path, arrays: Arrays) -> MeasurementOperator:
    vectors = arrays["vectors"]
    if vectors.dtype.kind != "c":
        vectors = _floats(path, "vectors", vectors)
    return QuadraticSensing(vectors, plain_text(arrays["field"]) if "field" in arrays else None)


def _pauli(path: Path, arrays: Arrays) -> MeasurementOperator:
    strings = np.ravel(arrays["strings"])
    if strings.dtype.kind not in "US":
        raise DTypeError(
            f"{path}: strings are {strings.dtype}", 'store text: np.array(["XX", "ZI"])'
        )
    return PauliSensing([plain_text(string) for string in strings])


def _distances(path: Path, arrays: Arrays) -> MeasurementOperator:
    pairs = arrays["pairs"]
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise ShapeError(f"{path}: pairs of shape {pairs.shape}", "store (m, 2) point numbers")
    count = int(pairs.max(initial=-1)) + 1 if "n_points" not in arrays else int(arrays["n_points"])
    return DistanceSensing(pairs[:, 0], pairs[:, 1], count).centered()


def _entries(path: Path, arrays: Arrays) -> MeasurementOperator:
    rows, cols = np.ravel(arrays["rows"]), np.ravel(arrays["cols"])
    if "shape" in arrays:
        shape = _pair(path, arrays["shape"])
    else:
        shape = int(rows.max(initial=-1)) + 1, int(cols.max(initial=-1)) + 1
    return EntrySampling(rows, cols, shape)


def _written(path: Path, arrays: Arrays) -> MeasurementOperator:
    kind = plain_text(arrays["operator.class"])
    if kind not in OPERATORS:
        raise FileFormatError(
            f"{path}: unknown operator {kind!r}", "read it with the version that wrote it"
        )
    return _unpack(arrays, "operator")


_WRITTEN = Layout("a problem file of ranklift", ("operator.class",), _written)

_LAYOUTS = (
    Layout("full matrices", ("A",), _dense, ("shape",)),
    Layout("pairs of vectors", ("left", "right"), _rank_one),
    Layout("quadratic forms", ("vectors",), _quadratic, ("field",)),
    Layout("Pauli strings", ("strings",), _pauli),
    Layout("distances of points", ("pairs",), _distances, ("n_points",),
            ("b", "y", "squared_distances", "distances")),
    Layout("single entries", ("rows", "cols"), _entries, ("shape",), ("b", "y", "values")),
)  # fmt: skip


# -- single values --------------------------------------------------------------------------


def _floats(path: Path, name: str, array: Any) -> Any:
    if array.dtype.kind not in "fiub":
        raise DTypeError(f"{path}: {name} of type {array.dtype}", "store real numbers")
    return array if array.dtype.kind == "f" else array.astype(float)


def _pair(path: Path, shape: Any) -> tuple[int, int]:
    sizes = [int(size) for size in np.ravel(shape)]
    if len(sizes) != 2 or min(sizes) < 1:
        raise ShapeError(f"{path}: shape {sizes}", "store (n1, n2), both at least 1")
    return sizes[0], sizes[1]


def plain_text(value: Any) -> str:
    """Return a single text, stored as str or bytes."""
    item = np.asarray(value).item()
    return item.decode("ascii", "replace") if isinstance(item, bytes) else str(item)
