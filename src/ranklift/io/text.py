"""CSV, TSV and other delimited text: triplets or tables with blanks."""

from __future__ import annotations

import csv
import math
import warnings
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import DTypeError, EmptyDataError, FileFormatError, NonFiniteError
from .records import (
    BLANKS,
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

WHITESPACE = r"\s+"


class TextFile:
    """Know a text file's delimiter, first line and column names; read columns of it."""

    def __init__(self, path: Path, options: TextOptions) -> None:
        self.path = path
        self.decimal = options.decimal
        self.delimiter = options.delimiter or self._sniff()
        first_line, first = next(self.records(), (0, []))
        if not first:
            raise EmptyDataError(f"{path} holds only blank lines", "give at least one entry")
        self.width = len(first)
        self.header = self._looks_like_header(first) if options.header is None else options.header
        self.skip = first_line if self.header else 0
        self.names = [cell.strip() for cell in first] if self.header else []

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """Yield (physical line number, cells) of every line that is not blank."""
        try:
            with self.path.open(encoding="utf-8-sig", newline="") as lines:
                if self.delimiter == WHITESPACE:
                    for number, line in enumerate(lines, start=1):
                        if line.strip():
                            yield number, line.split()
                    return
                reader = csv.reader(lines, delimiter=self.delimiter, skipinitialspace=True)
                for cells in reader:
                    if cells:
                        yield reader.line_num, cells
        except UnicodeDecodeError as error:
            raise _not_text(self.path) from error
        except csv.Error as error:
            raise FileFormatError(
                f"{self.path} is broken ({error})", "check its quotes, or export it again"
            ) from error

    def number(self, text: str) -> float:
        """Return the number a cell holds, NaN for a blank one; raise ValueError for text."""
        text = text.strip()
        if text in BLANKS:
            return math.nan
        if "_" in text:
            raise ValueError(text)
        return float(text if self.decimal == "." else text.replace(self.decimal, "."))

    def is_number(self, text: str) -> bool:
        """Whether a cell holds a number; a blank cell does not."""
        try:
            return not math.isnan(self.number(text))
        except ValueError:
            return False

    def read(self, columns: list[int], text_columns: set[int]) -> Frame:
        """Return columns as float64 (blank = NaN) or text, in one pass of the C parser."""
        numeric = [k for k in columns if k not in text_columns]
        # With usecols the parser drops surplus cells in silence, and a stray delimiter in an
        # unused column shifts the values: so all columns are read, and one more.
        surplus = self.width
        types: Any = dict.fromkeys(range(surplus + 1), "category")
        types |= {k: str if k in text_columns else float for k in columns}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", pd.errors.ParserWarning)  # checked below
                frame: Frame = pd.read_csv(
                    self.path,
                    sep=self.delimiter,
                    header=None,
                    names=list(range(surplus + 1)),
                    index_col=False,
                    skiprows=self.skip,
                    dtype=types,
                    na_values={k: list(BLANKS) for k in numeric},
                    keep_default_na=False,
                    skipinitialspace=True,
                    decimal=self.decimal,
                    encoding="utf-8-sig",
                )
        except pd.errors.EmptyDataError as error:
            raise EmptyDataError(
                f"{self.path} holds a header and no entry", "give at least one entry"
            ) from error
        except UnicodeDecodeError as error:
            raise _not_text(self.path) from error
        except pd.errors.ParserError as error:
            self.check_width()
            raise FileFormatError(
                f"{self.path} is broken ({error})", "check its quotes, or export it again"
            ) from error
        except ValueError as error:
            self.check_numbers(numeric)
            raise DTypeError(
                f"{self.path}: a value is not a number ({error})", "correct the file"
            ) from error
        if any(frame[surplus].cat.categories.astype(str) != ""):
            self.check_width()
        if frame.empty:
            raise EmptyDataError(
                f"{self.path} holds a header and no entry", "give at least one entry"
            )
        return frame

    def find(self, columns: list[int], bad: Callable[[str], bool]) -> tuple[str, str] | None:
        """Return (place in words, text) of the first bad cell; only called to explain errors."""
        for line, cells in self.records():
            if line <= self.skip:
                continue
            for k in columns:
                cell = cells[k] if k < len(cells) else ""
                if bad(cell):
                    name = f"{self.names[k]!r}" if k < len(self.names) else f"{k + 1}"
                    return f"{self.path}, line {line}, column {name}", cell.strip()
        return None

    def check_numbers(self, columns: list[int]) -> None:
        """Raise DTypeError at the first cell that is neither blank nor a number."""

        def bad(text: str) -> bool:
            try:
                self.number(text)
            except ValueError:
                return True
            return False

        found = self.find(columns, bad)
        if found is not None:
            raise DTypeError(
                f"{found[0]}: {found[1]!r} is not a number",
                "correct it or leave it blank; if it is a label or a name, check --header, "
                "--row-labels and --delimiter",
            )

    def check_width(self) -> None:
        """Raise FileFormatError at the first line with more cells than the first line."""
        for line, cells in self.records():
            if len(cells) > self.width and any(cells[self.width :]):
                raise FileFormatError(
                    f"{self.path}, line {line}: {len(cells)} cells, the first line has "
                    f"{self.width}",
                    "correct the line, or name another --delimiter",
                )

    def _sniff(self) -> str:
        if self.path.suffix.lower() == ".tsv":
            return "\t"
        try:
            with self.path.open(encoding="utf-8-sig") as lines:
                first = next((line for line in lines if line.strip()), "")
        except UnicodeDecodeError as error:
            raise _not_text(self.path) from error
        if "\0" in first:
            raise _not_text(self.path)
        if "\t" in first.strip():
            return "\t"
        marks = [mark for mark in ",;|" if mark != self.decimal]
        best = max(marks, key=first.count)
        if first.count(best):
            return best
        return marks[0] if self.path.suffix.lower() == ".csv" else WHITESPACE

    def _looks_like_header(self, cells: list[str]) -> bool:
        cells = [cell.strip() for cell in cells]
        if any(cell not in BLANKS and not self.is_number(cell) for cell in cells):
            rest = cells[1:]
            if not rest or not all(c in BLANKS or self.is_number(c) for c in rest):
                return True
            if cells[0].lower() in LABEL_COLUMN_NAMES:
                return True
            if all(cell.isdigit() for cell in rest) and _increasing(rest):
                raise FileFormatError(
                    f"{self.path}: the first line ({', '.join(cells[:4])}, ...) could be a header "
                    "or data",
                    "pass --header or --no-header",
                )
            return False  # "alice,3,4.5,": a row label before values
        rest = cells[1:]
        integers = all(cell.lstrip("-").isdigit() for cell in rest)
        return bool(rest) and cells[0] == "" and integers and len(set(rest)) == len(rest)


def read_text(path: Path, options: TextOptions, limit: int) -> Entries:
    """Read a delimited text file; the rule of the layout is `read_incomplete`'s."""
    # measured: the C parser with text labels peaks at 4-6 times the file's size
    check_memory(path, 6.0 * path.stat().st_size, limit)
    file = TextFile(path, options)
    names = file.names or [str(k + 1) for k in range(file.width)]
    if options.format == "triplets" or options.names_given:
        return _triplets(file, triplet_columns(path, names, options))
    if options.format == "table":
        return _table(file, options.row_labels)
    if file.header and known_triplet_names(names):
        return _triplets(file, triplet_columns(path, names, options))
    if file.width == 3:
        return _three_columns(file, options)
    return _table(file, options.row_labels)


def _three_columns(file: TextFile, options: TextOptions) -> Entries:
    # a table without a blank has nothing to complete, so a full file is triplets
    frame = file.read([0, 1, 2], {0, 1})
    blank_labels = _has_blank(file, frame[0]) or _has_blank(file, frame[1])
    blank_values = bool(frame[2].isna().any())
    if not blank_labels and not blank_values:
        return _encode(file, frame, (0, 1, 2))
    if not blank_labels and options.row_labels is None:
        raise ambiguous(file.path)
    return _table(file, options.row_labels)


def _has_blank(file: TextFile, column: Frame) -> bool:
    # "NA" among numbers is a blank; among other text it is a label (Namibia)
    cells = {cell.strip() for cell in column.unique()}
    words = cells.intersection(BLANKS)
    return "" in words or (bool(words) and all(file.is_number(cell) for cell in cells - words))


def _triplets(file: TextFile, columns: tuple[int, int, int]) -> Entries:
    return _encode(file, file.read(sorted(columns), set(columns[:2])), columns)


def _encode(file: TextFile, frame: Frame, columns: tuple[int, int, int]) -> Entries:
    row, col, value = columns
    for k in (row, col):
        if bool(frame[k].eq("").any()):
            place = file.find([k], lambda text: text.strip() == "")
            raise FileFormatError(
                f"{place[0] if place else file.path}: the label is blank",
                "name every row and column of a triplet, or pass --format table",
            )
    values = frame[value].to_numpy(dtype=np.float64)
    if not np.isfinite(values).all():
        _raise_non_finite(file, [value], blank_is_bad=True)
    rows, row_labels = encode_labels(frame[row])
    cols, column_labels = encode_labels(frame[col])
    used = " ".join(f"{n!r}" for n in (file.names[k] for k in columns)) if file.names else "1 2 3"
    layout = f"triplets from columns {used}, delimiter {file.delimiter!r}"
    shape = (row_labels.size, column_labels.size)
    return Entries(rows, cols, values, shape, row_labels, column_labels, layout)


def _raise_non_finite(file: TextFile, columns: list[int], *, blank_is_bad: bool) -> None:
    def bad(text: str) -> bool:
        number = file.number(text)
        return math.isinf(number) or (blank_is_bad and math.isnan(number))

    found = file.find(columns, bad)
    place, text = found if found else (str(file.path), "a value")
    raise NonFiniteError(
        f"{place}: {text or 'a blank'} is not a finite value",
        "delete lines without a value"
        if blank_is_bad
        else "correct it, or leave it blank to mark it missing",
    )


def _table(file: TextFile, labelled: bool | None) -> Entries:
    columns = list(range(file.width))
    frame = file.read(columns, {0})
    if labelled is None:
        corner = file.names[0].lower() if file.names else None
        cells = frame[0]
        by_name = corner is not None and corner in LABEL_COLUMN_NAMES
        labelled = file.width > 1 and (
            by_name or not any(c.strip() in BLANKS or file.is_number(c) for c in cells)
        )
    if labelled and file.width == 1:
        raise EmptyDataError(
            f"{file.path}: the only column holds labels, no value is left",
            "pass --no-row-labels, or check --delimiter",
        )
    first = 1 if labelled else 0
    array = np.empty((len(frame), file.width - first))
    if first == 0:
        file.check_numbers([0])
        array[:, 0] = [file.number(cell) for cell in frame[0]]
    array[:, 1 - first :] = frame[columns[1:]].to_numpy(dtype=np.float64)
    if np.isinf(array).any():
        _raise_non_finite(file, columns[first:], blank_is_bad=False)
    layout = (
        f"table {'with' if file.header else 'without'} a header, "
        f"{'first column holds row labels' if labelled else 'no row labels'}, "
        f"delimiter {file.delimiter!r}"
    )
    row_labels = _tidy(frame[0]) if labelled else None
    column_labels = _tidy(pd.Series(file.names[first:])) if file.header else None
    return table_entries(array, row_labels, column_labels, layout)


def _tidy(labels: Frame) -> NDArray[Any]:
    codes, distinct = encode_labels(labels)
    return distinct[codes]


def _increasing(cells: list[str]) -> bool:
    numbers = [int(cell) for cell in cells]
    return all(a < b for a, b in pairwise(numbers))


def _not_text(path: Path) -> FileFormatError:
    return FileFormatError(f"{path} is not UTF-8 text", "export it again with UTF-8 encoding")
