"""LowRankRegressor: what the regressors with a low-rank coefficient matrix share."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_random_state, validate_data

from ..errors import EmptyDataError, InputError, NonFiniteError, ShapeError
from ..losses import Loss, Squared
from ..operators import MeasurementOperator
from ..operators.adjusted import Adjusted
from ..pipeline import recover
from ..result import Recovery
from ..trace import Callback

NEGLIGIBLE = 1e-12
"""Share of the targets below which what nuisance columns leave of them is rounding."""


class LowRankRegressor(RegressorMixin, BaseEstimator):
    """Base of regressors y = A(X) + N c with X of low rank and nuisance columns N.

    Subclasses build A and N and store the settings that ``recover`` gets.
    """

    rank: int | None
    noise: float | str | None
    regularization: float | str
    max_time: float | None
    certify: bool
    random_state: Any
    callback: Callback | None
    loss: Loss | None = None

    recovery_: Recovery | None

    def _table(self, X: Any) -> np.ndarray:
        """Return the table of a prediction, checked against that of the fit."""
        return np.asarray(validate_data(self, X, reset=False, dtype=np.float64))

    def _table_and_targets(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the table and the targets of a fit as finite float arrays."""
        table, targets = validate_data(self, X, y, y_numeric=True, dtype=np.float64)
        return np.asarray(table), np.asarray(targets, dtype=np.float64)

    def _recover(
        self,
        operator: MeasurementOperator,
        y: np.ndarray,
        nuisance: np.ndarray,
        *,
        symmetric: bool | str = False,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Fit X = L R^T and c, and return (L, R, c).

        When nothing but N c is left to see, X is 0 and there is no recovery.
        """
        n1, n2 = operator.shape
        b = y
        if nuisance.shape[1]:
            if not isinstance(self.loss, (Squared, type(None))):
                raise InputError(
                    f"the loss {type(self.loss).__name__} with an intercept",
                    "pass fit_intercept=False and centre y yourself, or leave loss at None: "
                    "only a squared loss lets the intercept be taken out beforehand",
                )
            adjusted = Adjusted(operator, nuisance)
            operator, b = adjusted, adjusted.project(y)
        self.recovery_ = None
        left, right = np.zeros((n1, 0)), np.zeros((n2, 0))
        estimated_from_one = isinstance(self.noise, str) and y.size < 2
        if float(np.linalg.norm(b)) > NEGLIGIBLE * float(np.linalg.norm(y)):
            if estimated_from_one:
                raise EmptyDataError(
                    "1 sample, which cannot be held out",
                    'pass more samples than n_samples=1, or noise=None instead of "estimate"',
                )
            self.recovery_ = recover(
                operator,
                b,
                rank=self.rank,
                symmetric=symmetric,
                loss=self.loss,
                noise=self.noise,
                regularization=self.regularization,
                certify=self.certify,
                max_time=self.max_time,
                rng=seed_of(self.random_state),
                callback=self.callback,
            )
            left, right = self.recovery_.left, self.recovery_.right
        self.rank_ = int(left.shape[1])
        if not nuisance.shape[1]:
            return left, right, np.zeros(0)
        unmodelled = getattr(operator, "base", operator)
        explained = unmodelled.apply_product(left, right) if self.rank_ else 0.0
        coefficients = np.linalg.lstsq(nuisance, y - explained, rcond=None)[0]
        if self.recovery_ is not None:
            self.recovery_.extras = {"nuisance_coefficients": coefficients}
        return left, right, coefficients


def seed_of(random_state: Any) -> int:
    """Return the seed of a fit."""
    return int(check_random_state(random_state).randint(2**31 - 1))


def check_time(max_time: Any) -> None:
    """Raise InputError unless max_time is None or a positive number."""
    number = isinstance(max_time, (int, float, np.integer, np.floating))
    if max_time is not None and not (number and max_time > 0):
        raise InputError(f"max_time {max_time!r}", "use a positive number of seconds, or None")


def checked_targets(y: Any, count: int, name: str = "y") -> np.ndarray:
    """Return y as a float vector with one finite value a measurement.

    Raises
    ------
    ShapeError, NonFiniteError
    """
    y = np.asarray(y, dtype=float)
    if y.shape != (count,):
        raise ShapeError(
            f"{name} of shape {y.shape} for {count} measurements", "pass one value a measurement"
        )
    if not np.isfinite(y).all():
        raise NonFiniteError(f"{name} holds NaN or inf", "drop these measurements")
    return y
