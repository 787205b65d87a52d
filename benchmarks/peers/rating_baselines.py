"""Rating predictors: global mean, regularised offsets, cmfrec over a small grid."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from scipy import sparse

OFFSET_PENALTIES = (1.0, 2.0, 3.0, 5.0, 8.0, 12.0)
CMFREC_RANKS = (10, 20, 40, 80)
CMFREC_FACTOR_PENALTIES = (11.0, 13.0, 15.0, 18.0)
CMFREC_BIAS_PENALTIES = (2.0, 3.0)


@dataclass(frozen=True)
class CmfrecSetting:
    """One point of cmfrec's grid: one penalty for both biases, one for both factors."""

    rank: int
    factor_penalty: float
    bias_penalty: float


@dataclass(frozen=True)
class Offsets:
    """Prediction mean + row[i] + column[j]."""

    mean: float
    row: np.ndarray
    column: np.ndarray

    def predict(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Return the predictions at pairs."""
        return self.mean + self.row[rows] + self.column[cols]


def fit_offsets(
    rows: np.ndarray,
    cols: np.ndarray,
    values: np.ndarray,
    shape: tuple[int, int],
    penalty: float,
    *,
    rounds: int = 30,
) -> Offsets:
    """Minimise sum (v - mean - r_i - c_j)^2 + penalty (||r||^2 + ||c||^2) by exact alternation."""
    mean = float(values.mean())
    row, column = np.zeros(shape[0]), np.zeros(shape[1])
    row_count = np.bincount(rows, minlength=shape[0])
    column_count = np.bincount(cols, minlength=shape[1])
    for _ in range(rounds):
        left = values - mean - row[rows]
        column = np.bincount(cols, left, minlength=shape[1]) / (column_count + penalty)
        left = values - mean - column[cols]
        row = np.bincount(rows, left, minlength=shape[0]) / (row_count + penalty)
    return Offsets(mean, row, column)


def fit_offsets_by_holdout(
    rows: np.ndarray, cols: np.ndarray, values: np.ndarray, shape: tuple[int, int]
) -> tuple[Offsets, float]:
    """Choose the penalty on 10 % of the training entries, then refit on all of them."""
    held = np.random.default_rng([0, 7003]).random(values.size) < 0.1
    errors: dict[float, float] = {}
    for penalty in OFFSET_PENALTIES:
        fit = fit_offsets(rows[~held], cols[~held], values[~held], shape, penalty)
        errors[penalty] = float(np.mean((fit.predict(rows[held], cols[held]) - values[held]) ** 2))
    best = min(errors, key=errors.__getitem__)
    return fit_offsets(rows, cols, values, shape, best), best


def cmfrec_predict(
    rows: np.ndarray,
    cols: np.ndarray,
    values: np.ndarray,
    shape: tuple[int, int],
    setting: CmfrecSetting,
    at: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Fit cmfrec's CMF (ALS, user and item bias, double precision) and predict at pairs.

    Only rows and columns with training data are handed in: cmfrec leaves arbitrary values in the
    bias of an empty one (a matrix padded to ``shape`` costs it .025 of RMSE on MovieLens). Unseen
    ones get zero bias and factors here, that is mean + the bias known.
    """
    from cmfrec import CMF

    seen_rows, compact_rows = np.unique(rows, return_inverse=True)
    seen_cols, compact_cols = np.unique(cols, return_inverse=True)
    factor = setting.factor_penalty
    penalties: Any = np.array([setting.bias_penalty, setting.bias_penalty, *[factor] * 4])
    model = CMF(
        k=setting.rank,
        lambda_=penalties,
        user_bias=True,
        item_bias=True,
        center=True,
        niter=30,
        use_float=False,
        precompute_for_predictions=False,
        random_state=1,
        verbose=False,
    )
    size = (seen_rows.size, seen_cols.size)
    model.fit(sparse.coo_matrix((values, (compact_rows, compact_cols)), shape=size))
    row_bias, column_bias = np.zeros(shape[0]), np.zeros(shape[1])
    left, right = np.zeros((shape[0], setting.rank)), np.zeros((shape[1], setting.rank))
    row_bias[seen_rows], column_bias[seen_cols] = model.user_bias_, model.item_bias_
    left[seen_rows], right[seen_cols] = model.A_, model.B_
    i, j = at
    products = np.einsum("ij,ij->i", left[i], right[j])
    return np.asarray(model.glob_mean_ + row_bias[i] + column_bias[j] + products)


def cmfrec_grid() -> list[CmfrecSetting]:
    """Return the settings tried."""
    return [
        CmfrecSetting(*values)
        for values in product(CMFREC_RANKS, CMFREC_FACTOR_PENALTIES, CMFREC_BIAS_PENALTIES)
    ]
