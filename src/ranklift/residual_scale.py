"""How large residuals are under gross errors: medians of all, of groups, of rows and columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .certificates.sampling import sampled_entries
from .errors import InputError
from .losses import GroupHuber, Huber
from .operators import IdentitySensing, MeasurementOperator

EFFICIENT = 1.345
"""Huber threshold in standard deviations of Gaussian noise: 95% efficient (Huber 1964)."""

GAUSSIAN_MEDIAN = 1.4826
"""Standard deviation over the median absolute value of a Gaussian."""


@dataclass(frozen=True, eq=False)
class ResidualScale:
    """Compare residuals with thresholds: one by one, or by the lengths of groups.

    Parameters
    ----------
    shape : (n1, n2)
        Of the matrix.
    groups : int array (m,), optional
        Which group each measurement belongs to, where whole groups may be wrong.
    lines : (rows, cols), optional
        Where each measured entry lies, for measurements of entries.
    """

    shape: tuple[int, int]
    groups: np.ndarray | None = None
    lines: tuple[np.ndarray, np.ndarray] | None = None

    def huber(self, threshold: float) -> Huber | GroupHuber:
        """Return the Huber loss of residuals or of groups."""
        return Huber(threshold) if self.groups is None else GroupHuber(self.groups, threshold)

    def lengths(self, residual: np.ndarray) -> np.ndarray:
        """Return what is compared with a threshold: |r|, or the length of every group."""
        loss = self.huber(1.0)
        return loss.lengths(residual) if isinstance(loss, GroupHuber) else np.abs(residual)

    def by_measurement(self, values: np.ndarray) -> np.ndarray:
        """Return a value a measurement from one a length."""
        return values if self.groups is None else values[self.groups]

    def spread(self, residual: np.ndarray) -> float:
        """Return a robust standard deviation of the residuals."""
        median = float(np.median(self.lengths(residual)))
        return median * GAUSSIAN_MEDIAN if self.groups is None else median / self._per_sigma()

    def threshold(self, sigma: float) -> float:
        """Return the Huber threshold for noise of standard deviation sigma."""
        if self.groups is None:
            return EFFICIENT * sigma
        return (self._per_sigma() + EFFICIENT) * sigma

    def _per_sigma(self) -> float:
        """Return the typical length of a group of pure noise of unit standard deviation."""
        return float(np.sqrt(np.median(np.bincount(self.groups))))  # type: ignore[arg-type]

    def line_thresholds(self, residual: np.ndarray) -> np.ndarray | float:
        """Return thresholds by the median residual of every entry's row and column.

        A row that an undetected outlier has spoilt is worse than the rest as a whole: measured by
        the rest alone it would lose all its entries, and never be fitted again.
        """
        if self.lines is None:
            return 0.0
        factor = 6 * EFFICIENT * GAUSSIAN_MEDIAN
        rows, columns = line_medians(np.abs(residual), *self.lines, self.shape)
        return factor * np.maximum(rows[self.lines[0]], columns[self.lines[1]])


def entry_lines(operator: MeasurementOperator) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the row and the column of every measurement of an entrywise operator."""
    if isinstance(operator, IdentitySensing):
        n1, n2 = operator.shape
        return np.repeat(np.arange(n1), n2), np.tile(np.arange(n2), n1)
    sampling = sampled_entries(operator)
    return None if sampling is None else (np.asarray(sampling.rows), np.asarray(sampling.cols))


def entry_columns(operator: MeasurementOperator) -> np.ndarray:
    """Return the column of every measured entry; InputError for other measurements."""
    lines = entry_lines(operator)
    if lines is None:
        raise InputError(
            f"column outliers of {operator!r}", "use IdentitySensing or EntrySampling for them"
        )
    return lines[1]


def grouped_medians(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the (lower) median of the values in every group.

    Examples
    --------
    >>> grouped_medians(np.array([3.0, 1.0, 2.0, 7.0]), np.array([0, 0, 0, 1]))
    array([2., 7.])
    """
    order = np.lexsort((values, groups))
    counts = np.bincount(groups)
    starts = np.cumsum(counts) - counts
    middle = starts + np.maximum(counts - 1, 0) // 2
    out = np.zeros(counts.size)
    filled = counts > 0
    out[filled] = values[order][middle[filled]]
    return out


def line_medians(
    values: np.ndarray, rows: np.ndarray, cols: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower medians of every row and of every column.

    A table with blanks at infinity sorts ten times faster than a list by groups: it is formed
    unless it were four times as large.

    Examples
    --------
    >>> medians = line_medians(np.array([3.0, 1.0, 2.0]), np.array([0, 0, 1]), np.array([0, 1, 0]),
    ...                        (2, 2))
    >>> [m.tolist() for m in medians]
    [[1.0, 2.0], [2.0, 1.0]]
    """
    if shape[0] * shape[1] > 4 * values.size:
        return grouped_medians(values, rows), grouped_medians(values, cols)
    table = np.full(shape, np.inf)
    table[rows, cols] = values
    medians = []
    for part, index in ((table, rows), (np.ascontiguousarray(table.T), cols)):
        middle = (np.maximum(np.bincount(index, minlength=part.shape[0]), 1) - 1) // 2
        medians.append(np.sort(part, axis=1)[np.arange(part.shape[0]), middle])
    return medians[0], medians[1]
