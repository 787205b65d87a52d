"""MatrixSensing: trace regression with a low-rank coefficient matrix."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..errors import InputError, ShapeError
from ..losses import Loss
from ..operators import DenseSensing
from ..trace import Callback
from .regressor import LowRankRegressor, check_time


class MatrixSensing(LowRankRegressor):
    """Trace regression: y_i = <A_i, X> + intercept with X of low rank.

    Parameters
    ----------
    rank : int, optional
        Rank of X; by default it is searched for.
    shape : (int, int), optional
        Size n1 x n2 of X when the A_i come as rows of a table, in row-major order; by default a
        table with n features means n x 1: plain linear regression.
    noise : float, "estimate" or None, default "estimate"
        Standard deviation of the noise in y; "estimate" chooses lambda and rank by hold-out;
        None for exact data.
    symmetric : bool or "indefinite", default False
        True: X is positive semidefinite; "indefinite": X is symmetric.
    loss : Loss, optional
        Squared by default. Others (Huber for gross errors) need fit_intercept=False.
    regularization : float or "auto", default "auto"
        lambda of the nuclear norm.
    fit_intercept : bool, default True
        Whether y has a constant part, which is neither shrunk nor counted in the rank.
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
        Balanced factors, X = L R^T.
    intercept_ : float
    rank_ : int
    recovery_ : Recovery or None
        The full answer with its certificates; with an intercept, of the centred data: operator
        and measurements with their means taken out. None when y is constant: X is then 0.
    n_features_in_ : int
        n1 n2.

    Notes
    -----
    Cost of a pass over the data: 2 m n1 n2 multiply-adds; memory: the A_i and little beside.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> A, X = rng.standard_normal((60, 5, 4)), np.outer(np.arange(5.0), np.ones(4))
    >>> model = MatrixSensing(noise=None, random_state=0).fit(A, np.tensordot(A, X) + 3.0)
    >>> model.rank_, round(model.intercept_, 6), bool(abs(model.coef_ - X).max() < 1e-8)
    (1, 3.0, True)
    """

    def __init__(
        self,
        rank: int | None = None,
        *,
        shape: tuple[int, int] | None = None,
        noise: float | str | None = "estimate",
        symmetric: bool | str = False,
        loss: Loss | None = None,
        regularization: float | str = "auto",
        fit_intercept: bool = True,
        max_time: float | None = None,
        certify: bool = True,
        random_state: Any = None,
        callback: Callback | None = None,
    ) -> None:
        self.rank = rank
        self.shape = shape
        self.noise = noise
        self.symmetric = symmetric
        self.loss = loss
        self.regularization = regularization
        self.fit_intercept = fit_intercept
        self.max_time = max_time
        self.certify = certify
        self.random_state = random_state
        self.callback = callback

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def fit(self, A: Any, y: Any) -> MatrixSensing:
        """Fit to the measurement matrices A, shape (m, n1, n2) or (m, n1 n2), and y, shape (m,).

        Raises
        ------
        InputError
            A typed subclass for unusable input. ValueError of scikit-learn for tables that are no
            numbers.
        """
        check_time(self.max_time)
        matrices, y = self._matrices(A, y=y)
        nuisance = np.ones((len(y), 1 if self.fit_intercept else 0))
        operator = DenseSensing(matrices)
        left, right, offset = self._recover(operator, y, nuisance, symmetric=self.symmetric)
        self.left_, self.right_ = left, right
        self.coef_ = left @ right.T
        self.intercept_ = float(offset[0]) if offset.size else 0.0
        return self

    def predict(self, A: Any) -> np.ndarray:
        """Return <A_i, X> + intercept, shape (m,)."""
        check_is_fitted(self)
        matrices, _ = self._matrices(A)
        return matrices.reshape(len(matrices), -1) @ self.coef_.ravel() + self.intercept_

    def _matrices(self, A: Any, **targets: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return A as (m, n1, n2), with y when fitting: then A sets the shape of X."""
        given = None
        if len(getattr(A, "shape", np.shape(A) if isinstance(A, list) else ())) == 3:
            A = np.asarray(A)
            given = A.shape[1:]
            A = A.reshape(len(A), -1)  # validate_data would count the second axis only
        if "y" in targets:
            table, y = self._table_and_targets(A, targets["y"])
            self.shape_ = self._shape(given, table.shape[1])
        else:
            table, y = self._table(A), np.zeros(0)
        n1, n2 = self.shape_
        if given not in (None, (n1, n2)):
            raise ShapeError(f"measurement matrices of shape {given}", f"pass {n1} x {n2} ones")
        return table.reshape(-1, n1, n2), y

    def _shape(self, given: tuple[int, ...] | None, features: int) -> tuple[int, int]:
        if self.shape is None:
            return (features, 1) if given is None else (given[0], given[1])
        pair = tuple(self.shape) if isinstance(self.shape, (tuple, list)) else ()
        if len(pair) != 2 or not all(isinstance(n, Integral) and n > 0 for n in pair):
            raise InputError(f"shape {self.shape!r}", "pass two positive whole numbers (n1, n2)")
        n1, n2 = int(pair[0]), int(pair[1])
        if n1 * n2 != features:
            raise ShapeError(
                f"{features} features for a {n1} x {n2} matrix", f"pass {n1 * n2} features"
            )
        return n1, n2
