"""BilinearRegression: interactions of two sets of features with a low-rank matrix between them."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils.validation import check_array, check_is_fitted

from ..errors import InputError, ShapeError
from ..operators import RankOneSensing
from ..trace import Callback
from .regressor import LowRankRegressor, check_time


class BilinearRegression(LowRankRegressor):
    """Regress on y_i = a_i^T X b_i + intercept with X of low rank.

    Typical a_i and b_i describe the two sides of a pair (user and item, drug and target): unlike in
    matrix completion, sides never seen before can be predicted from their features.

    Parameters
    ----------
    rank : int, optional
        Rank of X; by default it is searched for.
    split : int, optional
        Of a table of both, how many of the first columns are a_i; by default half. A pair (A, B)
        says it by itself.
    noise : float, "estimate" or None, default "estimate"
        Standard deviation of the noise in y; "estimate" chooses lambda and rank by hold-out; None
        for exact data.
    regularization : float or "auto", default "auto"
        lambda of the nuclear norm.
    fit_intercept : bool, default True
        Whether y has a constant part, which is neither shrunk nor counted in the rank. For effects
        of one side alone add a column of ones to the other.
    max_time : float, optional
        Seconds for the fit.
    certify : bool, default True
        Whether to check the certificates.
    random_state : int, RandomState or None
    callback : callable, optional
        As in ``rl.recover``.

    Attributes
    ----------
    coef_ : array, shape (n1, n2)
        X.
    left_, right_ : arrays, shapes (n1, rank_), (n2, rank_)
        Balanced factors, X = L R^T: ``A @ left_`` and ``B @ right_`` embed both sides.
    intercept_ : float
    rank_, split_ : int
    recovery_ : Recovery or None
        The full answer with its certificates; with an intercept, of the centred data. None when y
        is constant: X is then 0.
    n_features_in_ : int
        n1 + n2.

    Notes
    -----
    Cost of a pass: m (n1 + n2) k multiply-adds, memory the two tables: m n1 n2 numbers are never
    formed. Gaussian a_i, b_i determine X of rank r from O(r (n1 + n2)) pairs, but are no isometry.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> A, B = rng.standard_normal((80, 5)), rng.standard_normal((80, 4))
    >>> y = (A @ np.arange(5.0)) * (B @ np.ones(4)) - 1.0
    >>> model = BilinearRegression(noise=None, random_state=0).fit((A, B), y)
    >>> bool(abs(model.coef_ - np.outer(np.arange(5.0), np.ones(4))).max() < 1e-8)
    True
    """

    def __init__(
        self,
        rank: int | None = None,
        *,
        split: int | None = None,
        noise: float | str | None = "estimate",
        regularization: float | str = "auto",
        fit_intercept: bool = True,
        max_time: float | None = None,
        certify: bool = True,
        random_state: Any = None,
        callback: Callback | None = None,
    ) -> None:
        self.rank = rank
        self.split = split
        self.noise = noise
        self.regularization = regularization
        self.fit_intercept = fit_intercept
        self.max_time = max_time
        self.certify = certify
        self.random_state = random_state
        self.callback = callback

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # The checks' targets are linear in the features, which a bilinear form cannot express.
        tags.regressor_tags.poor_score = True
        return tags

    def fit(self, X: Any, y: Any) -> BilinearRegression:
        """Fit to a pair (A, B) of tables (m, n1), (m, n2) or to both side by side, and y, (m,).

        Raises
        ------
        InputError
            A typed subclass for unusable input; ValueError of scikit-learn for unusable tables.
        """
        check_time(self.max_time)
        pair = _pair(X)
        table = X if pair is None else np.hstack(pair)
        table, y = self._table_and_targets(table, y)
        self.split_ = self._split(table.shape[1]) if pair is None else int(pair[0].shape[1])
        nuisance = np.ones((len(table), 1 if self.fit_intercept else 0))
        operator = RankOneSensing(*self._sides(table))
        left, right, offset = self._recover(operator, y, nuisance)
        self.left_, self.right_ = left, right
        self.coef_ = left @ right.T
        self.intercept_ = float(offset[0]) if offset.size else 0.0
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return a_i^T X b_i + intercept, shape (m,), for a pair (A, B) or both side by side."""
        check_is_fitted(self)
        pair = _pair(X)
        if pair is not None and pair[0].shape[1] != self.split_:
            raise ShapeError(
                f"{pair[0].shape[1]} features on the left side", f"pass {self.split_} as in fit"
            )
        first, second = self._sides(self._table(X if pair is None else np.hstack(pair)))
        return ((first @ self.left_) * (second @ self.right_)).sum(axis=1) + self.intercept_

    def _sides(self, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return table[:, : self.split_], table[:, self.split_ :]

    def _split(self, features: int) -> int:
        if features < 2:
            raise ShapeError(
                f"{features} feature(s), which cannot be split into two sides",
                "pass at least two columns, or a pair (A, B)",
            )
        split = features // 2 if self.split is None else self.split
        whole = isinstance(split, Integral) and not isinstance(split, bool)
        if not whole or not 1 <= split < features:
            raise InputError(
                f"split {self.split!r} of {features} features",
                f"pass a whole number between 1 and {features - 1}",
            )
        return int(split)


def _pair(X: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Return (A, B) when X is a pair of tables, or None."""
    if not isinstance(X, tuple) or len(X) != 2:
        return None
    first, second = (check_array(side, dtype="float64") for side in X)
    if len(first) != len(second):
        raise ShapeError(
            f"{len(first)} left and {len(second)} right rows", "pass one row of each a measurement"
        )
    return first, second
