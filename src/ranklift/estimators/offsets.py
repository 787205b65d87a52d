"""Offsets and scales: what is taken off an incomplete table before low-rank search.

value_ij = location_j + scale_j (mean + row_i + column_j + (L R^T)_ij + noise), with offsets shrunk
towards 0 by ``damping`` extra observations of 0 (a ridge in units of counts). Location and scale
are 0 and 1 unless columns have different units: then a common mean or shrinkage would mix them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ROUNDS = 12
"""Alternating rounds: offsets of sparse tables settle to 1e-4 of their size by then."""

DAMPINGS = (0.5, 2.0, 5.0, 12.0)


@dataclass(frozen=True)
class Offsets:
    """Mean, row and column offsets in scaled units, and the units of columns.

    Attributes
    ----------
    mean : float
    row, column : arrays (n1,), (n2,)
        Zero where not used.
    location, scale : arrays (n2,)
        Mean and spread of each column; zeros and ones when columns share a unit.
    damping : float
    kind : "none", "columns" or "both"
    """

    mean: float
    row: np.ndarray
    column: np.ndarray
    location: np.ndarray
    scale: np.ndarray
    damping: float
    kind: str

    def baseline(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Return the model without its low-rank part at the given entries, in data units."""
        offsets = self.mean + self.row[rows] + self.column[cols]
        return self.location[cols] + self.scale[cols] * offsets

    def remove(self, rows: np.ndarray, cols: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return what is left of the values, in scaled units."""
        return self.remove_columns(cols, values) - self.row[rows]

    def remove_columns(self, cols: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return what is left of the values without row offsets, in scaled units."""
        return (values - self.location[cols]) / self.scale[cols] - self.mean - self.column[cols]

    def to_arrays(self, row_index: np.ndarray, column_index: np.ndarray) -> dict[str, np.ndarray]:
        """Return what a result file holds, for the listed rows and columns."""
        return {
            "mean": np.array(self.mean),
            "row_offset": self.row[row_index],
            "column_offset": self.column[column_index],
            "column_location": self.location[column_index],
            "column_scale": self.scale[column_index],
        }

    def degrees_of_freedom(self, rows: np.ndarray, cols: np.ndarray) -> float:
        """Return how many entries' worth of noise the offsets fit: sum of n / (n + damping)."""
        lines = {"none": [], "columns": [cols], "both": [rows, cols]}[self.kind]
        counts = [np.bincount(index) for index in lines]
        return sum(float(np.sum(n / (n + self.damping))) for n in counts)

    def row_offset(self, residual: np.ndarray) -> float:
        """Return the offset of a new row from ``remove_columns`` of its entries."""
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
    """Fit column units where asked, then damped offsets by alternating averages.

    Cost: ROUNDS passes over the entries.
    """
    n1, n2 = shape
    location, scale = np.zeros(n2), np.ones(n2)
    if scale_columns:
        location, scale = _column_units(cols, values, n2, centred=kind != "none")
        values = (values - location[cols]) / scale[cols]
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
    return Offsets(mean, row, column, location, scale, damping, kind)


def _column_units(
    cols: np.ndarray, values: np.ndarray, n2: int, *, centred: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean (0 unless centred) and spread of each column.

    The logarithm of the spread is shrunk by one observation of the median column: two samples
    have no spread of their own, and sizes of different units have no common mean.
    """
    counts = np.bincount(cols, minlength=n2)
    location = np.zeros(n2)
    if centred:
        location = np.bincount(cols, values, n2) / np.maximum(counts, 1)
    square = np.bincount(cols, (values - location[cols]) ** 2, n2) / np.maximum(counts, 1)
    own = square > 0
    if not own.any():
        return location, np.ones(n2)
    logs = np.log(square, where=own, out=np.zeros(n2))
    typical = float(np.median(logs[own]))
    logs = np.where(own, (counts * logs + typical) / (counts + 1), typical)
    return location, np.exp(0.5 * logs)


def choose_offsets(
    train: tuple[np.ndarray, np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray, np.ndarray],
    shape: tuple[int, int],
    kinds: tuple[str, ...],
    *,
    scale_columns: bool,
) -> tuple[str, float]:
    """Return the (kind, damping) with the least squared error on the test entries."""
    best, choice = float("inf"), (kinds[0], DAMPINGS[1])
    for kind in kinds:
        for damping in DAMPINGS if kind != "none" else DAMPINGS[:1]:
            fitted = fit_offsets(
                *train, shape, kind=kind, damping=damping, scale_columns=scale_columns
            )
            error = float(np.mean(fitted.remove(*test) ** 2))
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
