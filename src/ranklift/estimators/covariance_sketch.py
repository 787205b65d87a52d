"""CovarianceSketch: a covariance matrix from the energies of a few projections of the data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..errors import EmptyDataError, InputError, NonFiniteError, ShapeError
from ..operators import QuadraticSensing
from ..trace import Callback
from .regressor import LowRankRegressor, check_time

BLOCK = 2**20
"""Projections computed at a time from an array of data."""


class CovarianceSketch(LowRankRegressor):
    """Estimate Sigma = U U^T + s^2 I from energies y_i = mean_t (x_i^T d_t)^2 of data d_t.

    The energies are linear in Sigma: E y_i = x_i^T Sigma x_i. A stream of data of any length is
    reduced to m numbers in one pass by ``sketch``; O(n r) of them determine rank r.

    Parameters
    ----------
    rank : int, optional
        Rank of U U^T; by default it is searched for.
    isotropic : bool, default False
        Whether there is a noise floor s^2 I. It is not shrunk, nor counted in the rank; where its
        best value would be negative it is 0.
    noise : float, "estimate" or None, default "estimate"
        Standard deviation of the error of the energies; "estimate" chooses lambda and rank by
        hold-out; None for exact energies.
    regularization : float or "auto", default "auto"
        lambda of the trace.
    max_time : float, optional
        Seconds for the fit.
    certify : bool, default True
        Whether to check the certificates.
    random_state : int, RandomState or None
    callback : callable, optional
        As in ``rl.recover``.

    Attributes
    ----------
    covariance_ : array, shape (n, n)
        Sigma, positive semidefinite.
    components_ : array, shape (rank_, n)
        Orthonormal principal directions, by falling variance; the largest entry of each is
        positive.
    explained_variance_ : array, shape (rank_,)
        Variance along them, the floor included.
    noise_variance_ : float
        s^2.
    rank_ : int
    recovery_ : Recovery or None
        The full answer U U^T with its certificates; with a floor, of the energies with multiples of
        ||x_i||^2 taken out. None when nothing else is left of the energies.
    n_features_in_ : int

    Notes
    -----
    Cost of a pass: 2 m n k multiply-adds; memory: the vectors. Energies of T independent Gaussian
    rows have a relative error of sqrt(2 / T). The problem is
    that of Chen, Chi and Goldsmith (quadratic sampling); the floor as a nuisance column is own
    derivation.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> vectors, u = rng.standard_normal((60, 6)), np.arange(1.0, 7.0)
    >>> energies = (vectors @ u) ** 2 + 0.5 * (vectors**2).sum(axis=1)
    >>> model = CovarianceSketch(isotropic=True, noise=None, random_state=0).fit(vectors, energies)
    >>> model.rank_, round(model.noise_variance_, 6), model.explained_variance_.round(6).tolist()
    (1, 0.5, [91.5])
    """

    def __init__(
        self,
        rank: int | None = None,
        *,
        isotropic: bool = False,
        noise: float | str | None = "estimate",
        regularization: float | str = "auto",
        max_time: float | None = None,
        certify: bool = True,
        random_state: Any = None,
        callback: Callback | None = None,
    ) -> None:
        self.rank = rank
        self.isotropic = isotropic
        self.noise = noise
        self.regularization = regularization
        self.max_time = max_time
        self.certify = certify
        self.random_state = random_state
        self.callback = callback

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # The checks' targets are linear in the vectors, which no covariance can express.
        tags.regressor_tags.poor_score = True
        return tags

    @staticmethod
    def sketch(data: Any, vectors: Any) -> np.ndarray:
        """Return the energies mean_t (x_i^T d_t)^2, shape (m,), in one pass over the data.

        Parameters
        ----------
        data : array, shape (T, n), or iterable of rows (n,) or blocks of rows (t, n)
            Of mean zero: otherwise the second moment is what is sketched.
        vectors : array, shape (m, n)

        Raises
        ------
        EmptyDataError, ShapeError, NonFiniteError

        Notes
        -----
        Cost: m n multiply-adds a row; memory: m numbers and one block.

        Examples
        --------
        >>> import numpy as np
        >>> CovarianceSketch.sketch(iter([[1.0, 0.0], [3.0, 0.0]]), np.eye(2)).tolist()
        [5.0, 0.0]
        """
        vectors = np.asarray(vectors, dtype=float)
        if vectors.ndim != 2 or 0 in vectors.shape:
            raise ShapeError(f"vectors of shape {vectors.shape}", "stack them as rows, (m, n)")
        m, n = vectors.shape
        total, count = np.zeros(m), 0
        for block in _blocks(data, max(1, BLOCK // m)):
            rows = np.atleast_2d(np.asarray(block, dtype=float))
            if rows.ndim != 2 or rows.shape[1] != n:
                raise ShapeError(
                    f"data rows of shape {rows.shape}", f"pass rows of length {n}, like the vectors"
                )
            if not np.isfinite(rows).all():
                raise NonFiniteError("data rows hold NaN or inf", "drop or fill these rows first")
            total += ((rows @ vectors.T) ** 2).sum(axis=0)
            count += len(rows)
        if count == 0:
            raise EmptyDataError("no data row", "pass at least one")
        return total / count

    def fit(self, X: Any, y: Any) -> CovarianceSketch:
        """Fit to the vectors x_i as rows of X, shape (m, n), and the energies y, shape (m,).

        Raises
        ------
        InputError
            A typed subclass for unusable settings; ValueError of scikit-learn for unusable tables.
        """
        check_time(self.max_time)
        if not isinstance(self.isotropic, (bool, np.bool_)):
            raise InputError(f"isotropic {self.isotropic!r}", "pass True or False")
        vectors, y = self._table_and_targets(X, y)
        squares = (vectors**2).sum(axis=1)[:, None]
        operator, none = QuadraticSensing(vectors), squares[:, :0]
        floor = np.zeros(0)
        if self.isotropic:
            left, _, floor = self._recover(operator, y, squares, symmetric=True)
        if not floor.size or floor[0] < 0:
            left, _, floor = self._recover(operator, y, none, symmetric=True)
        self.noise_variance_ = float(floor[0]) if floor.size else 0.0
        values = (left**2).sum(axis=0)
        directions = (left / np.sqrt(values)).T
        largest = np.abs(directions).argmax(axis=1)
        signs = np.sign(directions[np.arange(len(values)), largest])
        self.components_ = signs[:, None] * directions
        self.explained_variance_ = values + self.noise_variance_
        self.covariance_ = left @ left.T + self.noise_variance_ * np.eye(len(left))
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the energies x_i^T Sigma x_i of the vectors in X, shape (m, n)."""
        check_is_fitted(self)
        vectors = self._table(X)
        return ((vectors @ self.covariance_) * vectors).sum(axis=1)


def _blocks(data: Any, size: int) -> Iterable[Any]:
    """Yield blocks of rows of an array, or what an iterable yields."""
    if not hasattr(data, "shape"):
        yield from data
        return
    if len(data.shape) != 2:
        raise ShapeError(f"data of shape {tuple(data.shape)}", "stack the rows as (T, n)")
    for start in range(0, data.shape[0], size):
        yield data[start : start + size]
