"""Offsets and scales: what is taken off an incomplete table before low-rank search.

value_ij = mean + row_i + column_j + column_scale_j * (L R^T)_ij + noise, with offsets shrunk
towards 0 by ``damping`` extra observations of 0 (a ridge in units of counts).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ROUNDS = 12
"""Alternating rounds: offsets of sparse tables settle to 1e-4 of their size by then."""

DAMPINGS = (0.5, 2.0, 5.0, 12.0)


@dataclass(frozen=True)
class Offsets:
    """Mean, row and column offsets, and column scales of a table.

    Attributes
    ----------
    mean : float
    row, column : arrays (n1,), (n2,)
        Zero where not used.
    scale : array (n2,)
        Positive; ones when columns share a unit.
    damping : float
    kind : "none", "columns" or "both"
    """

    mean: float
    row: np.ndarray
    column: np.ndarray
    scale: np.ndarray
    damping: float
    kind: str

    def baseline(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Return mean + row + column at the given entries."""
        return self.mean + self.row[rows] + self.column[cols]

    def remove(self, rows: np.ndarray, cols: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return what is left of the values, in scaled units."""
        return (values - self.baseline(rows, cols)) / self.scale[cols]

    def to_arrays(self, row_index: np.ndarray, column_index: np.ndarray) -> dict[str, np.ndarray]:
        """Return what a result file holds, for the listed rows and columns."""
        return {
            "mean": np.array(self.mean),
            "row_offset": self.row[row_index],
            "column_offset": self.column[column_index],
            "column_scale": self.scale[column_index],
        }

    def row_offset(self, residual: np.ndarray) -> float:
        """Return the offset of a new row from values - mean - column at its entries."""
        if self.kind != "both" or residual.size == 0:
            return 0.0
        return float(residual.sum() / (residual.size + self.damping))


def fit_offsets(
    rows: np.ndarray,
    cols: np.ndarray,
    values: np.ndarray,
    shape: tuple[int, int],
    *,
    kind: str,
    damping: float,
    scale_columns: bool,
) -> Offsets:
    """Fit damped offsets by alternating averages, then column scales of the rest.

    Cost: ROUNDS passes over the entries.
    """
    n1, n2 = shape
    row, column = np.zeros(n1), np.zeros(n2)
    mean = float(values.mean()) if kind != "none" else 0.0
    row_counts = np.bincount(rows, minlength=n1)
    column_counts = np.bincount(cols, minlength=n2)
    if kind != "none":
        for _ in range(ROUNDS if kind == "both" else 1):
            left = values - mean - row[rows]
            column = np.bincount(cols, left, n2) / (column_counts + damping)
            if kind == "both":
                left = values - mean - column[cols]
                row = np.bincount(rows, left, n1) / (row_counts + damping)
    scale = np.ones(n2)
    if scale_columns:
        rest = values - mean - row[rows] - column[cols]
        overall = float(np.mean(rest**2))
        # Shrunk towards the mean square: a column of two samples has no spread of its own.
        square = (np.bincount(cols, rest**2, n2) + damping * overall) / (column_counts + damping)
        scale = np.sqrt(np.where(square > 0, square, 1.0))
    return Offsets(mean, row, column, scale, damping, kind)


def choose_offsets(
    train: tuple[np.ndarray, np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray, np.ndarray],
    shape: tuple[int, int],
    kinds: tuple[str, ...],
) -> tuple[str, float]:
    """Return the (kind, damping) with the least squared error on the test entries."""
    best, choice = float("inf"), (kinds[0], DAMPINGS[1])
    for kind in kinds:
        for damping in DAMPINGS if kind != "none" else DAMPINGS[:1]:
            fitted = fit_offsets(*train, shape, kind=kind, damping=damping, scale_columns=False)
            rows, cols, values = test
            error = float(np.mean((values - fitted.baseline(rows, cols)) ** 2))
            if error < best:
                best, choice = error, (kind, damping)
    return choice


def units_differ(cols: np.ndarray, values: np.ndarray, columns: int) -> bool:
    """Whether column spreads differ by more than tenfold around their median.

    Then the columns hold different quantities, and a squared error in raw units would only see
    the largest. Columns without spread say nothing.
    """
    counts = np.maximum(np.bincount(cols, minlength=columns), 1)
    means = np.bincount(cols, values, columns) / counts
    spread = np.sqrt(np.bincount(cols, (values - means[cols]) ** 2, columns) / counts)
    spread = spread[(spread > 0) & (counts >= 3)]
    if spread.size < 2:
        return False
    low, middle, high = np.quantile(spread, [0.1, 0.5, 0.9])
    return bool(high > 10 * middle or middle > 10 * low)
