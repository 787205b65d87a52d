"""Every file format and every way in which a file can be bad."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.io
from scipy import sparse

from ranklift.errors import (
    DTypeError,
    DuplicateEntriesError,
    EmptyDataError,
    FileFormatError,
    InputError,
    NonFiniteError,
    ShapeError,
    TooLargeError,
    UnobservedError,
)
from ranklift.io import IncompleteMatrix, assemble, atomic_path, read_incomplete, write_completed
from ranklift.io.write import check_completed

NAN = np.nan
TABLE = np.array([[1.0, NAN, 3.5], [NAN, -2.0, 1e-3], [4.0, 5.0, NAN], [0.0, NAN, 7.0]])


def dense(data: IncompleteMatrix) -> np.ndarray:
    """Return the data as an array with NaN for blanks."""
    array = np.full(data.shape, NAN)
    array[data.rows, data.cols] = data.values
    return array


def text(folder: Path, content: str | bytes, name: str = "data.csv") -> Path:
    """Write a file of the given content."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def table_csv(folder: Path) -> Path:
    """Write TABLE as CSV with labels."""
    frame = pd.DataFrame(TABLE, index=["a", "b", "c", "d"], columns=["x", "y", "z"])
    path = folder / "table.csv"
    frame.to_csv(path, index_label="name")
    return path


def test_table_with_labels_and_blanks(tmp_path: Path) -> None:
    data = read_incomplete(table_csv(tmp_path), format="table")
    np.testing.assert_array_equal(dense(data), TABLE)
    assert data.row_labels.tolist() == ["a", "b", "c", "d"]
    assert data.column_labels.tolist() == ["x", "y", "z"]
    assert len(data.sha256) == 64
    assert data.density == 8 / 12


@pytest.mark.parametrize("suffix", ["npz", "npy", "parquet", "tsv", "csv"])
def test_dense_table_survives_every_format(tmp_path: Path, suffix: str) -> None:
    wide = np.hstack([TABLE, TABLE[:, ::-1]])
    path = tmp_path / f"wide.{suffix}"
    if suffix == "npz":
        np.savez(path, X=wide)
    elif suffix == "npy":
        np.save(path, wide)
    elif suffix == "parquet":
        pd.DataFrame(wide, columns=list("abcdef")).to_parquet(path)
    else:
        pd.DataFrame(wide).to_csv(
            path, index=False, header=False, sep="," if suffix == "csv" else "\t"
        )
    np.testing.assert_array_equal(dense(read_incomplete(path)), wide)


def test_triplets_by_known_names_in_any_order(tmp_path: Path) -> None:
    path = text(tmp_path, "movieId,userId,rating,timestamp\n31,1,2.5,9\n10,2,4,9\n31,2,3,9\n")
    data = read_incomplete(path)
    assert data.row_labels.tolist() == [1, 2]  # users are rows, integers ascending
    assert data.column_labels.tolist() == [10, 31]
    np.testing.assert_array_equal(dense(data), [[NAN, 2.5], [4.0, 3.0]])


def test_triplets_by_three_full_columns_and_text_labels(tmp_path: Path) -> None:
    data = read_incomplete(text(tmp_path, "b,NA,1\na,x7,2\nb,x7,3\n"))
    assert data.row_labels.tolist() == ["b", "a"]  # text labels in order of appearance
    assert data.column_labels.tolist() == ["NA", "x7"]
    assert data.values.tolist() == [1.0, 3.0, 2.0]


def test_named_columns_and_missing_name(tmp_path: Path) -> None:
    path = text(tmp_path, "who,what,much,more\nu,v,1,2\nw,v,3,4\n")
    data = read_incomplete(path, row_column="who", column_column="what", value_column="more")
    assert data.values.tolist() == [2.0, 4.0]
    with pytest.raises(FileFormatError, match=r"'amount'.*choose among: who, what"):
        read_incomplete(path, value_column="amount")


def test_order_of_lines_never_matters(tmp_path: Path) -> None:
    lines = ["2,1,5.0", "1,1,3.0", "1,2,4.0"]
    first = read_incomplete(text(tmp_path, "\n".join(lines), "a.csv"))
    second = read_incomplete(text(tmp_path, "\n".join(lines[::-1]), "b.csv"))
    np.testing.assert_array_equal(first.rows, second.rows)
    np.testing.assert_array_equal(first.cols, second.cols)
    np.testing.assert_array_equal(first.values, second.values)


def test_three_columns_with_blank_values_must_be_named(tmp_path: Path) -> None:
    path = text(tmp_path, "1,5,2.5\n2,7,\n")
    with pytest.raises(FileFormatError, match="--format triplets or --format table"):
        read_incomplete(path)
    table = read_incomplete(path, format="table")
    np.testing.assert_array_equal(dense(table), [[1, 5, 2.5], [2, 7, NAN]])
    with pytest.raises(NonFiniteError, match="line 2"):
        read_incomplete(path, format="triplets")


def test_header_rules(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="--header or --no-header"):
        read_incomplete(text(tmp_path, "land,1990,1991,1992\nx,1,2,\ny,3,,4\n"))
    years = read_incomplete(text(tmp_path, ",1990,1991,1992\nx,1,2,\ny,3,,4\n"))
    assert years.shape == (2, 2 + 1)
    assert years.column_labels.tolist() == [1990, 1991, 1992]
    labelled = read_incomplete(text(tmp_path, "alice,1.5,2,\nbob,,2,3\n"))
    assert labelled.row_labels.tolist() == ["alice", "bob"]
    assert labelled.shape == (2, 3)


def test_decimal_comma_and_windows_line_ends(tmp_path: Path) -> None:
    path = text(tmp_path, "\ufeff1,5;;2,5;4\r\n\r\n3,5;5,0;;7\r\n")
    data = read_incomplete(path, decimal=",")
    np.testing.assert_array_equal(dense(data), [[1.5, NAN, 2.5, 4], [3.5, 5.0, NAN, 7]])


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        ("", EmptyDataError, "is empty"),
        ("\n \n\n", EmptyDataError, "."),
        ("row,col,value\n", EmptyDataError, "a header and no entry"),
        (",,,\n,,,\n", EmptyDataError, "no observed entry"),
        ("1,2,,5\n,2,3,foo\n", DTypeError, "line 2, column 4: 'foo' is not a number"),
        ("row,col,value\n1,1,x\n", DTypeError, "line 2, column 'value': 'x'"),
        ("row,col,value\n1,1,2\n1,2,\n", NonFiniteError, "line 3, column 'value': a blank"),
        ("row,col,value\n1,1,inf\n", NonFiniteError, "line 2, column 'value': inf"),
        ("1,2,,5\n,2,3,-inf\n", NonFiniteError, "line 2, column 4: -inf"),
        ("row,col,value\n,1,2\n", FileFormatError, "line 2, column 'row': the label is blank"),
        ("row,col,value\n1,1,2\n2,2,3,4\n", FileFormatError, "line 3: 4 cells"),
        ('a,b\n1,2\n"open,3\n', FileFormatError, "is broken"),
        (b"\xff\xfe\x00\x01", FileFormatError, "not UTF-8 text"),
        ("row,col,value\n7,9,2\n7,9,4\n", DuplicateEntriesError, r"\(row 7, column 9\)"),
        ("1,2,3,5\n,,,\n", UnobservedError, "1 row without any observed entry: 1"),
        ("a,b,c,d\n1,2,,5\n3,2,,5\n", UnobservedError, "1 column without.*: c"),
    ],
)
def test_bad_text_names_cause_and_remedy(
    tmp_path: Path, content: str | bytes, error: type[InputError], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        read_incomplete(text(tmp_path, content))
    assert caught.value.remedy
    assert "data.csv" in str(caught.value)


def test_missing_folder_and_unknown_extension(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="does not exist"):
        read_incomplete(tmp_path / "none.csv")
    with pytest.raises(FileFormatError, match="not a file"):
        read_incomplete(tmp_path)
    with pytest.raises(FileFormatError, match=r"unknown extension '\.xls'"):
        read_incomplete(text(tmp_path, "1", "data.xls"))


def test_too_large_is_said_before_reading(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, TABLE)
    for candidate in (path, table_csv(tmp_path)):
        with pytest.raises(TooLargeError, match="GiB are available"):
            read_incomplete(candidate, memory_limit=10)


def test_duplicates_mean_and_first(tmp_path: Path) -> None:
    path = text(tmp_path, "row,col,value\n1,1,2\n1,2,9\n1,1,4\n1,1,9\n")
    assert read_incomplete(path, duplicates="mean").values.tolist() == [5.0, 9.0]
    assert read_incomplete(path, duplicates="first").values.tolist() == [2.0, 9.0]


def test_unobserved_drop_keeps_labels_aligned(tmp_path: Path) -> None:
    path = text(tmp_path, "n,a,b,c,d\nu,1,,2,\nv,,,,\nw,3,,4,5\n")
    data = read_incomplete(path, unobserved="drop")
    assert data.row_labels.tolist() == ["u", "w"]
    assert data.column_labels.tolist() == ["a", "c", "d"]
    np.testing.assert_array_equal(dense(data), [[1, 2, NAN], [3, 4, 5]])
    assert read_incomplete(path, unobserved="keep").shape == (3, 4)


def test_sparse_archive_and_matrix_market(tmp_path: Path) -> None:
    matrix = sparse.coo_array(
        (np.array([3.0, 0.0, 5.0]), (np.array([0, 1, 1]), np.array([1, 0, 1]))), shape=(2, 2)
    )
    sparse.save_npz(tmp_path / "s.npz", matrix)
    scipy.io.mmwrite(tmp_path / "m.mtx", matrix)
    for name in ("s.npz", "m.mtx"):
        data = read_incomplete(tmp_path / name)
        # a stored zero is an observation, not a blank
        np.testing.assert_array_equal(dense(data), [[NAN, 3.0], [0.0, 5.0]])


def test_symmetric_matrix_market_is_expanded(tmp_path: Path) -> None:
    head = "%%MatrixMarket matrix coordinate real symmetric\n"
    data = read_incomplete(text(tmp_path, head + "2 2 2\n1 1 3\n2 1 5\n", "m.mtx"))
    np.testing.assert_array_equal(dense(data), [[3.0, 5.0], [5.0, NAN]])


def test_triplet_archive_with_labels(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "t.npz",
        rows=[0, 1],
        cols=[1, 0],
        values=[1.0, 2.0],
        shape=(2, 2),
        row_labels=["u", "v"],
    )
    data = read_incomplete(tmp_path / "t.npz")
    assert data.row_labels.tolist() == ["u", "v"]
    np.testing.assert_array_equal(dense(data), [[NAN, 1.0], [2.0, NAN]])


@pytest.mark.parametrize(
    ("arrays", "error"),
    [
        ({"rows": [0, 5], "cols": [0, 1], "values": [1.0, 2.0], "shape": (2, 2)}, ShapeError),
        ({"rows": [0, -1], "cols": [0, 1], "values": [1.0, 2.0], "shape": (2, 2)}, ShapeError),
        ({"rows": [0, 1], "cols": [0, 1], "values": [1.0], "shape": (2, 2)}, ShapeError),
        ({"rows": [0.5], "cols": [0], "values": [1.0], "shape": (2, 2)}, DTypeError),
        ({"rows": [0], "cols": [0], "values": [1j], "shape": (1, 1)}, DTypeError),
        ({"rows": [0], "cols": [0], "values": [NAN], "shape": (1, 1)}, NonFiniteError),
        ({"rows": [0, 0], "cols": [0, 0], "values": [1.0, 2.0]}, DuplicateEntriesError),
        ({"a": np.zeros(3)}, FileFormatError),
        ({"X": np.zeros((2, 2), dtype=complex)}, DTypeError),
        ({"X": np.array([["a", "b"]])}, DTypeError),
        ({"X": np.array([[object()]], dtype=object)}, DTypeError),
    ],
)
def test_bad_archives(tmp_path: Path, arrays: dict[str, object], error: type[InputError]) -> None:
    np.savez(tmp_path / "x.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(error):
        read_incomplete(tmp_path / "x.npz")


@pytest.mark.parametrize("name", ["x.npz", "x.npy", "x.mtx", "x.parquet"])
def test_broken_binary_files(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileFormatError, match=r"broken|not a readable"):
        read_incomplete(text(tmp_path, "hello world, no data here", name))


def test_truncated_archive(tmp_path: Path) -> None:
    np.savez(tmp_path / "whole.npz", X=np.ones((50, 50)))
    whole = (tmp_path / "whole.npz").read_bytes()
    with pytest.raises(FileFormatError, match="broken"):
        read_incomplete(text(tmp_path, whole[:5000], "half.npz"))


@pytest.mark.parametrize("field", ["pattern", "complex"])
def test_matrix_market_without_real_values(tmp_path: Path, field: str) -> None:
    head = f"%%MatrixMarket matrix coordinate {field} general\n1 1 1\n"
    entry = "1 1\n" if field == "pattern" else "1 1 2 3\n"
    with pytest.raises(DTypeError, match=field):
        read_incomplete(text(tmp_path, head + entry, "m.mtx"))


def test_parquet_triplets_table_and_errors(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    pd.DataFrame({"user": ["a", "b"], "item": [1, 2], "rating": [1.0, 2.0]}).to_parquet(path)
    np.testing.assert_array_equal(dense(read_incomplete(path)), [[1.0, NAN], [NAN, 2.0]])
    pd.DataFrame({"x": [1.0, NAN], "y": [3.0, 4.0]}, index=["u", "v"]).to_parquet(path)
    assert read_incomplete(path).row_labels.tolist() == ["u", "v"]
    pd.DataFrame({"user": ["a"], "item": [1], "rating": ["much"]}).to_parquet(path)
    with pytest.raises(DTypeError, match="row 0, column 'rating': 'much'"):
        read_incomplete(path)
    pd.DataFrame({"user": ["a"], "item": [1], "rating": [NAN]}).to_parquet(path)
    with pytest.raises(NonFiniteError, match="row 0, column 'rating'"):
        read_incomplete(path)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "npz", "npy"])
def test_completed_keeps_observed_and_fills_blanks(tmp_path: Path, suffix: str) -> None:
    data = read_incomplete(table_csv(tmp_path), format="table")
    path = tmp_path / f"full.{suffix}"
    write_completed(path, data, lambda rows, cols: 100.0 * rows + cols)
    expected = np.where(np.isnan(TABLE), 100.0 * np.arange(4)[:, None] + np.arange(3), TABLE)
    if suffix == "parquet":
        found = pd.read_parquet(path)
        assert found.index.tolist() == ["a", "b", "c", "d"]
        np.testing.assert_array_equal(found.to_numpy(), expected)
    elif suffix in ("npz", "npy"):
        np.testing.assert_array_equal(dense(read_incomplete(path)), expected)
    else:
        back = read_incomplete(path, format="table", row_labels=True)
        np.testing.assert_array_equal(dense(back), expected)
        assert back.column_labels.tolist() == ["x", "y", "z"]


def test_completed_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TooLargeError, match="leave --completed out"):
        check_completed(tmp_path / "o.csv", (10**6, 10**6), disk_free=10**9, memory=10**9)
    with pytest.raises(FileFormatError, match="cannot be written"):
        check_completed(tmp_path / "o.xls", (2, 2), disk_free=10**9, memory=10**9)


def test_atomic_path_leaves_the_old_file_on_failure(tmp_path: Path) -> None:
    target = tmp_path / "result.npz"
    target.write_text("old")

    def fail_half_way() -> None:
        with atomic_path(target) as aside:
            aside.write_text("half")
            raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        fail_half_way()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.npz"]
    with pytest.raises(FileFormatError, match="mkdir -p"), atomic_path(tmp_path / "no" / "x.npz"):
        pass


def test_assemble_select_and_counts() -> None:
    data = assemble([0, 1, 1], [0, 0, 2], [1.0, 2.0, 3.0], (2, 3), unobserved="keep")
    assert data.row_counts.tolist() == [1, 2]
    assert data.column_counts.tolist() == [2, 0, 1]
    part = data.select(np.array([True, False, True]))
    assert part.shape == (2, 3)
    assert part.values.tolist() == [1.0, 3.0]
