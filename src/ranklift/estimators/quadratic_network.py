"""QuadraticNetwork: one hidden layer with squared activation, fitted by convex search."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..losses import Loss
from ..operators import QuadraticSensing
from ..trace import Callback
from .regressor import LowRankRegressor, check_time


class QuadraticNetwork(LowRankRegressor):
    """Regress on y = ||U1^T x||^2 - ||U2^T x||^2 + intercept, and w^T x where asked.

    A two-layer network with squared activation and output weights +-1. As a function it is the
    quadratic form of the symmetric X = U1 U1^T - U2 U2^T, so its width is a rank: what is searched
    is X, with no width to choose and no bad local minimum in the convex stage. The sign of
    ``predict`` classifies: fit to labels -1 and 1 and take ``numpy.sign(model.predict(X))``.
    With loss=Logistic() ``predict`` returns log-odds, and is the better classifier.

    Parameters
    ----------
    rank : int, optional
        Number of hidden units searched with, of either sign: on noisy data a sign that the truth
        does not use may get small units of its own. By default it is searched for.
    noise : float, "estimate" or None, default "estimate"
        Standard deviation of the noise in y; "estimate" chooses lambda and rank by hold-out; None
        for exact data.
    definite : bool, default False
        Whether only positive units are allowed: U2 = 0.
    fit_linear : bool, default False
        Whether a linear part w^T x is fitted too, without shrinkage.
    fit_intercept : bool, default True
    loss : Loss, optional
        Squared by default. Others (Logistic for labels -1 and 1, Huber for gross errors) need
        fit_intercept=False; a column of ones in X gives them an intercept.
    regularization : float or "auto", default "auto"
        lambda of ||X||_* = ||U1||_F^2 + ||U2||_F^2: weight decay of both layers.
    max_time : float, optional
        Seconds for the fit.
    certify : bool, default True
        Whether to check the certificates.
    random_state : int, RandomState or None
    callback : callable, optional
        As in ``rl.recover``.

    Attributes
    ----------
    U1_, U2_ : arrays, shapes (n, k1), (n, k2)
        Hidden weights of positive and of negative units: orthogonal columns, longest first.
    coef_ : array, shape (n, n)
        X.
    linear_coef_ : array, shape (n,)
        w; zeros unless ``fit_linear``.
    intercept_ : float
    rank_ : int
        k1 + k2.
    recovery_ : Recovery or None
        The full answer with its certificates, of y with intercept and linear part taken out (of
        the quadratic features likewise). None when nothing else is left of y.
    n_features_in_, feature_names_in_

    Notes
    -----
    Cost of a pass: 4 m n k multiply-adds; memory: X twice and O(m n) more with a linear part. The
    signed factorization is that of Ding, Drusvyatskiy, Fazel, Harchaoui (arXiv 2203.03756).

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).standard_normal((60, 5))
    >>> y = X[:, 0] ** 2 - 4.0 * X[:, 1] ** 2 + 2.0
    >>> model = QuadraticNetwork(noise=None, random_state=0).fit(X, y)
    >>> model.U1_.shape, model.U2_.shape, round(float(abs(model.U2_).max()), 6)
    ((5, 1), (5, 1), 2.0)
    """

    def __init__(
        self,
        rank: int | None = None,
        *,
        noise: float | str | None = "estimate",
        definite: bool = False,
        fit_linear: bool = False,
        fit_intercept: bool = True,
        loss: Loss | None = None,
        regularization: float | str = "auto",
        max_time: float | None = None,
        certify: bool = True,
        random_state: Any = None,
        callback: Callback | None = None,
    ) -> None:
        self.rank = rank
        self.noise = noise
        self.definite = definite
        self.fit_linear = fit_linear
        self.fit_intercept = fit_intercept
        self.loss = loss
        self.regularization = regularization
        self.max_time = max_time
        self.certify = certify
        self.random_state = random_state
        self.callback = callback

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # The checks' targets are linear in X, which quadratic units alone cannot express.
        tags.regressor_tags.poor_score = not self.fit_linear
        return tags

    def fit(self, X: Any, y: Any) -> QuadraticNetwork:
        """Fit to inputs X, shape (m, n), and outputs y, shape (m,).

        Raises
        ------
        InputError
            A typed subclass for unusable settings; ValueError of scikit-learn for unusable tables.
        """
        check_time(self.max_time)
        X, y = self._table_and_targets(X, y)
        m, n = X.shape
        parts = [np.ones((m, 1))] if self.fit_intercept else []
        nuisance = np.hstack([*parts, X if self.fit_linear else np.zeros((m, 0))])
        left, right, rest = self._recover(
            QuadraticSensing(X),
            y,
            nuisance,
            symmetric=True if self.definite else "indefinite",
        )
        # Columns of R are those of L up to the sign of their eigenvalue.
        positive = (left * right).sum(axis=0) > 0
        self.U1_, self.U2_ = left[:, positive], left[:, ~positive]
        self.coef_ = self.U1_ @ self.U1_.T - self.U2_ @ self.U2_.T
        self.intercept_ = float(rest[0]) if self.fit_intercept else 0.0
        self.linear_coef_ = rest[-n:] if self.fit_linear else np.zeros(n)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the outputs for inputs X, shape (m, n)."""
        check_is_fitted(self)
        X = self._table(X)
        units = ((X @ self.U1_) ** 2).sum(axis=1) - ((X @ self.U2_) ** 2).sum(axis=1)
        return units + X @ self.linear_coef_ + self.intercept_
