"""RobustPCA: the low-rank part of a table with gross errors, as a scikit-learn transformer."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, check_random_state, validate_data

from .. import threads
from ..errors import InputError
from ..operators import EntrySampling, IdentitySensing
from ..residual_scale import EFFICIENT
from ..robust import FALL, robust_pca
from ..trace import Callback

NUMBER = (int, float, np.integer, np.floating)

OUTLIERS = ("entries", "rows", "columns")

ROWS_AT_ONCE = 4096
"""New rows that are fitted side by side: their blocks stay in cache."""

REWEIGHTINGS = 60
"""Most reweighted least-squares steps at one threshold."""


class RobustPCA(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Split a table into a low-rank part and gross errors: X = L + S + noise.

    Exact data: min ||L||_* + gamma ||S||_1 (principal component pursuit), certified. Noisy data: a
    Huber fit without shrinkage at the rank that shows. Columns are not centred: a mean is one more
    rank, and outliers would move it.

    Parameters
    ----------
    rank : int, optional
        Rank of L; by default the one that shows.
    noise : float, "estimate" or None, default "estimate"
        Standard deviation of the small errors beside the gross ones, in units of X; None: exact.
    outliers : "entries", "rows" or "columns", default "entries"
        What goes wrong: single entries, whole samples, or whole features.
    sparsity : float, optional
        gamma, see ``rl.robust_pca``.
    outlier_norm : float, optional
        The sum of |S|, if known.
    max_time : float, optional
        Seconds for the fit.
    certify : bool, default True
    random_state : int, RandomState or None
    callback : callable, optional
        As in ``rl.recover``.

    Attributes
    ----------
    low_rank_ : array, shape (n_samples, n_features)
        L, dense as X is; missing entries are filled.
    outliers_ : array, shape (n_samples, n_features)
        S: X - L where it is no noise, else 0, also at missing entries.
    components_ : array, shape (rank_, n_features)
        Orthonormal right singular vectors of L.
    singular_values_ : array, shape (rank_,)
    rank_ : int
    noise_ : float
        Standard deviation of the small errors; 0 for exact data.
    recovery_ : Recovery
        The full answer with its certificates.
    n_features_in_, feature_names_in_

    Raises
    ------
    InputError
        A typed subclass, before any work; UnobservedError for a row or column of gaps alone.

    Notes
    -----
    Memory: about ten arrays of the size of X. ``transform`` of new rows costs some 20 passes over
    them. Source: Candes, Li, Ma, Wright (2011); Xu, Caramanis, Sanghavi (2012) for rows and
    columns; the rest as in ``rl.robust_pca``.

    Examples
    --------
    >>> import numpy as np
    >>> truth = np.outer(np.arange(1.0, 9.0), np.arange(1.0, 8.0))
    >>> table = truth.copy()
    >>> table[2, 3], table[5, 1] = 100.0, np.nan
    >>> model = RobustPCA(random_state=0)
    >>> bool(abs(model.fit_transform(table) - truth).max() < 1e-8)
    True
    >>> round(float(model.outliers_[2, 3]), 6), int(np.count_nonzero(model.outliers_))
    (88.0, 1)
    """

    def __init__(
        self,
        rank: int | None = None,
        *,
        noise: float | str | None = "estimate",
        outliers: str = "entries",
        sparsity: float | None = None,
        outlier_norm: float | None = None,
        max_time: float | None = None,
        certify: bool = True,
        random_state: Any = None,
        callback: Callback | None = None,
    ) -> None:
        self.rank = rank
        self.noise = noise
        self.outliers = outliers
        self.sparsity = sparsity
        self.outlier_norm = outlier_norm
        self.max_time = max_time
        self.certify = certify
        self.random_state = random_state
        self.callback = callback

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    # -- fitting ------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None) -> RobustPCA:
        """Fit to a table, NaN for missing entries.

        Parameters
        ----------
        X : array or DataFrame, shape (n_samples, n_features)
            Dense: in a sparse matrix zeros would not say whether they were seen.
        y : ignored

        Raises
        ------
        InputError
            A typed subclass for settings and data that cannot be used.
        """
        X = self._checked(X, reset=True)
        if self.outliers not in OUTLIERS:
            raise InputError(f"outliers={self.outliers!r}", f"use one of {OUTLIERS}")
        if self.max_time is not None and not (
            isinstance(self.max_time, NUMBER) and self.max_time > 0
        ):
            raise InputError(f"max_time {self.max_time!r}", "use a positive number of seconds")
        by_rows = self.outliers == "rows"
        table = np.ascontiguousarray(X.T) if by_rows else X
        seen = np.isfinite(table)
        if seen.all():
            operator, b = IdentitySensing(table.shape), table.ravel()
        else:
            rows, cols = np.nonzero(seen)
            operator, b = EntrySampling(rows, cols, table.shape), table[rows, cols]
        found = robust_pca(
            operator,
            b,
            rank=self.rank,
            noise=self.noise,
            outliers="entries" if self.outliers == "entries" else "columns",
            sparsity=self.sparsity,
            outlier_norm=self.outlier_norm,
            certify=self.certify,
            max_time=self.max_time,
            rng=int(check_random_state(self.random_state).randint(2**31 - 1)),
            callback=self.callback,
        )
        outliers = np.zeros(table.shape)
        outliers[seen] = found.extras["outliers"]
        matrix = found.matrix.T if by_rows else found.matrix
        _, values, right = matrix.svd()
        self.recovery_ = found
        self.low_rank_ = matrix.toarray()
        self.outliers_ = np.ascontiguousarray(outliers.T) if by_rows else outliers
        self.components_, self.singular_values_ = right.T, values
        self.rank_, self.noise_ = found.rank, float(found.noise or 0.0)
        self._feature_weights = self._column_weights(X)
        return self

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> np.ndarray:
        """Fit and return the low-rank part of X."""
        return self.fit(X, y).low_rank_

    def _column_weights(self, X: np.ndarray) -> np.ndarray:
        """Return what each feature counts in ``transform``: little where it is an outlier."""
        if self.outliers != "columns":
            return np.ones(X.shape[1])
        wrong = np.any(self.outliers_ != 0, axis=0)
        rest = np.sqrt(np.nansum((X - self.low_rank_) ** 2, axis=0))
        threshold = getattr(self.recovery_.loss, "threshold", 0.0)
        if self.noise_ == 0.0 or threshold == 0.0:
            return np.where(wrong, 0.0, 1.0)
        return np.minimum(1.0, threshold / np.maximum(rest, 1e-300))

    def _checked(self, X: Any, *, reset: bool) -> np.ndarray:
        return np.asarray(
            validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=reset)
        )

    # -- using the fit ------------------------------------------------------------------------

    def transform(self, X: Any) -> np.ndarray:
        """Return the low-rank part of the rows, which may be new, with gaps filled.

        Each row x is fitted by itself on the components: min over c of Huber(x - c components_)
        with the fitted noise, the absolute loss for exact data. With wrong rows or columns the fit
        is by least squares; wrong columns of the training table count little or not at all. A row
        of gaps alone becomes zero.
        """
        check_is_fitted(self)
        X = self._checked(X, reset=False)
        out = np.empty(X.shape)
        with threads.single_threaded_blas():
            for start in range(0, X.shape[0], ROWS_AT_ONCE):
                part = slice(start, start + ROWS_AT_ONCE)
                out[part] = self._coefficients(X[part]) @ self.components_
        return out

    def _coefficients(self, X: np.ndarray) -> np.ndarray:
        seen = np.isfinite(X)
        weights = seen * self._feature_weights
        X = np.where(seen, X, 0.0)
        if self.outliers != "entries":
            return weighted_coefficients(X, self.components_, weights)
        return huber_coefficients(X, self.components_, weights, EFFICIENT * self.noise_)


def weighted_coefficients(X: np.ndarray, basis: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return argmin over c of sum_j weights_ij (x_ij - (c_i basis)_j)^2 for every row.

    Parameters
    ----------
    X, weights : arrays, shape (n, p)
    basis : array, shape (k, p)
        Orthonormal rows.

    Notes
    -----
    n p k^2 multiply-adds. A ridge of 1e-12 keeps rows with fewer than k values finite.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[2.0, 9.0]])
    >>> weighted_coefficients(X, np.array([[0.6, 0.8]]), np.array([[1.0, 0.0]])).round(6)
    array([[3.333333]])
    """
    k = basis.shape[0]
    products = (basis[:, None, :] * basis[None, :, :]).reshape(k * k, -1)
    gram = (weights @ products.T).reshape(-1, k, k)
    gram[:, np.arange(k), np.arange(k)] += 1e-12
    return np.linalg.solve(gram, ((weights * X) @ basis.T)[:, :, None])[:, :, 0]


def huber_coefficients(
    X: np.ndarray, basis: np.ndarray, weights: np.ndarray, floor: float
) -> np.ndarray:
    """Return argmin over c of sum_j weights_ij Huber(x_ij - (c_i basis)_j) for every row.

    Parameters
    ----------
    X, weights : arrays, shape (n, p)
        Weights 0 or 1.
    basis : array, shape (k, p)
    floor : float
        The Huber threshold, in units of X; 0: the absolute loss, by falling thresholds and least
        squares on what then fits.

    Notes
    -----
    Reweighted least squares at thresholds that fall to the floor, all rows side by side.
    Convexity makes the last one the answer; the others are a good start.
    """
    c = weighted_coefficients(X, basis, weights)
    unit = np.abs(X).max(axis=1, initial=0.0)
    lowest = np.maximum(floor, 1e-11 * unit)
    threshold = np.maximum(_scale(X, c, basis, weights), lowest)
    # Rows leave one by one: an answer must not depend on the other rows of the call.
    rows = np.arange(X.shape[0])
    while rows.size:
        last = threshold[rows] <= lowest[rows]
        accuracy = np.where(last, 1e-9, 1e-3) * threshold[rows] + 1e-14 * unit[rows]
        data = X[rows], basis, weights[rows]
        c[rows] = _reweighted(*data, threshold[rows], c[rows], accuracy)
        # Down to the spread at once where most of the row already fits.
        following = np.minimum(FALL * threshold[rows], _scale(data[0], c[rows], *data[1:]))
        threshold[rows] = np.maximum(lowest[rows], following)
        rows = rows[~last]
    if floor == 0.0:
        rest = np.abs(X - c @ basis)
        inside = weights * (rest <= 1e-7 * unit[:, None])
        # Where k entries fit exactly and are enough, they determine the row.
        enough = inside.sum(axis=1) > basis.shape[0]
        exact = weighted_coefficients(X, basis, inside)
        c = np.where(enough[:, None], exact, c)
    return c


def _scale(X: np.ndarray, c: np.ndarray, basis: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return 1.4826 times the median |x - c basis| of every row's seen entries."""
    rest = np.where(weights > 0, np.abs(X - c @ basis), np.inf)
    middle = np.maximum(np.count_nonzero(weights, axis=1) - 1, 0) // 2
    found = np.sort(rest, axis=1)[np.arange(X.shape[0]), middle]
    return 1.4826 * np.where(np.isfinite(found), found, 0.0)


def _reweighted(
    X: np.ndarray,
    basis: np.ndarray,
    weights: np.ndarray,
    threshold: np.ndarray,
    c: np.ndarray,
    accuracy: np.ndarray,
) -> np.ndarray:
    """Iterate weights min(1, threshold / |r|) until a row's coefficients move by its accuracy."""
    c = c.copy()
    rows = np.arange(X.shape[0])
    for _ in range(REWEIGHTINGS):
        rest = np.abs(X[rows] - c[rows] @ basis)
        limit = threshold[rows, None] / np.maximum(rest, 1e-300)
        following = weighted_coefficients(X[rows], basis, weights[rows] * np.minimum(1.0, limit))
        moved = np.abs(following - c[rows]).max(axis=1, initial=0.0)
        c[rows] = following
        rows = rows[moved > accuracy[rows]]
        if rows.size == 0:
            break
    return c
