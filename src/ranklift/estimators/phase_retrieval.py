"""PhaseRetrieval: a signal from the intensities of its linear measurements."""

from __future__ import annotations

import time
import warnings
from numbers import Integral
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from ..errors import ConvergenceWarning, InputError, RankError, ShapeError
from ..initializers import intensity_spectral
from ..operators import QuadraticSensing
from ..pipeline import recover, warn_unless_stationary
from ..result import Recovery
from ..trace import Callback
from .regressor import check_time, checked_targets, seed_of

CONVEX_SIZE = 500
"""Largest signal for which init="auto" goes on to the convex stage when the spectral start fails:
beyond it that stage takes minutes."""

FIT = 1e-8
"""Relative residual at or below which exact intensities are reproduced."""


class PhaseRetrieval(RegressorMixin, BaseEstimator):
    """Find u from intensities ``y_i = |<v_i, u>|^2``, linear in X = u u^H of rank one.

    u is determined up to a sign when it is real, up to a global phase when it is complex. The
    component of largest modulus is made real and positive.

    Parameters
    ----------
    field : "real", "complex" or None, default None
        What u is; by default like the vectors. A real signal behind complex vectors (an image
        behind diffraction masks) needs about half as many measurements when this is said.
    rank : int, default 1
        Number of incoherent modes: ``y_i = sum_k |<v_i, u_k>|^2``, found up to a unitary mixture.
    noise : float, "estimate" or None, default None
        Standard deviation of the noise in y; "estimate" takes it from the residual; None for exact
        intensities.
    init : "auto", "spectral", "convex" or array, default "auto"
        Start of the local search. "spectral": ``ranklift.initializers.intensity_spectral``;
        "convex": the certified nuclear-norm solution; an array (n,) or (n, rank): that signal.
        "auto": spectral, and for n <= 500 convex as well when the intensities are not fitted then.
    max_time : float, optional
        Seconds for the fit.
    certify : bool, default True
        Whether to check the certificates.
    random_state : int, RandomState or None
    callback : callable, optional
        As in ``rl.recover``.

    Attributes
    ----------
    signal_ : array, shape (n,), for rank > 1 (n, rank_)
        u, modes by falling energy, zero when all intensities are.
    rank_ : int
    init_ : str
        The start that led to the answer: "spectral", "convex" or "given".
    recovery_ : Recovery or None
        The full answer with its certificates: zero_residual says that every intensity is
        reproduced. None when all intensities are zero.
    n_features_in_ : int
        n.

    Notes
    -----
    Cost: some 100 products with the vectors for the start, 100 to 300 for the search; memory: the
    vectors (none for ``CodedDiffraction``) and O(m). Measured share of exact recoveries, Gaussian
    vectors, from the spectral start alone: see ``tests/known_answer/test_phase_transitions.py``.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> V, u = rng.standard_normal((60, 12)), np.arange(-5.0, 7.0)
    >>> model = PhaseRetrieval(random_state=0).fit(V, (V @ u) ** 2)
    >>> bool(abs(model.signal_ - u).max() < 1e-8)
    True
    """

    def __init__(
        self,
        field: str | None = None,
        *,
        rank: int = 1,
        noise: float | str | None = None,
        init: Any = "auto",
        max_time: float | None = None,
        certify: bool = True,
        random_state: Any = None,
        callback: Callback | None = None,
    ) -> None:
        self.field = field
        self.rank = rank
        self.noise = noise
        self.init = init
        self.max_time = max_time
        self.certify = certify
        self.random_state = random_state
        self.callback = callback

    def fit(self, vectors: Any, intensities: Any) -> PhaseRetrieval:
        """Fit to the vectors and their intensities.

        Parameters
        ----------
        vectors : array, sparse matrix or LinearOperator, shape (m, n)
            Row i is v_i^H: the intensities are ``|(V u)_i|^2``. Real or complex.
        intensities : array, shape (m,)
            Negative ones only where there is noise.

        Raises
        ------
        InputError
            A typed subclass for unusable input, before any work.

        Warns
        -----
        ConvergenceWarning
            When the search stopped before its test was met.
        """
        check_time(self.max_time)
        operator = QuadraticSensing(_floating(vectors), self.field)
        n = operator.shape[0]
        y = checked_targets(intensities, operator.num_measurements, "intensities")
        start = self._checked(n, y)
        self.n_features_in_ = n
        self.recovery_: Recovery | None = None
        self.rank_, self.init_ = 0, "given" if start is not None else "spectral"
        signal = np.zeros((n, self.rank), dtype=complex if operator.hermitian else float)
        if y.mean() > 0:
            self.recovery_ = self._search(operator, y, start)
            self.rank_ = self.recovery_.rank
            # Recovery holds X = U U^H as L = U, R = conj(U).
            signal = _phased(np.asarray(self.recovery_.left))
        self.signal_ = signal[:, 0] if self.rank == 1 and signal.shape[1] else signal
        return self

    def predict(self, vectors: Any) -> np.ndarray:
        """Return the intensities that the signal has behind other vectors, shape (m,)."""
        check_is_fitted(self)
        vectors = _floating(vectors)
        if len(vectors.shape) != 2 or vectors.shape[1] != self.n_features_in_:
            raise ShapeError(
                f"vectors of shape {tuple(vectors.shape)}",
                f"pass vectors of length {self.n_features_in_} as in fit",
            )
        image = np.asarray(vectors @ self.signal_.reshape(self.n_features_in_, -1))
        return (np.abs(image) ** 2).sum(axis=1)

    # -- search --------------------------------------------------------------------------------

    def _checked(self, n: int, y: np.ndarray) -> np.ndarray | None:
        """Return the caller's start as an n x rank array, or None."""
        whole = isinstance(self.rank, Integral) and not isinstance(self.rank, bool)
        if not whole or not 1 <= self.rank <= n:
            raise RankError(f"rank {self.rank!r}", f"pass a whole number between 1 and {n}")
        if isinstance(self.noise, str) and self.noise != "estimate":
            raise InputError(f"noise {self.noise!r}", 'pass a number, "estimate" or None')
        if self.noise in (None, 0) and y.min() < 0:
            raise InputError(
                f"{int((y < 0).sum())} negative intensities in exact data",
                'pass noise= (a standard deviation or "estimate")',
            )
        if isinstance(self.init, str):
            if self.init not in ("auto", "spectral", "convex"):
                raise InputError(
                    f"init {self.init!r}", 'use "auto", "spectral", "convex" or a signal'
                )
            return None
        start = np.asarray(self.init)
        start = start[:, None] if start.ndim == 1 else start
        if start.shape != (n, self.rank) or not np.isfinite(start).all():
            raise ShapeError(
                f"init of shape {np.shape(self.init)}",
                f"pass a finite signal of length {n}, or {n} x rank modes",
            )
        return start

    def _search(
        self, operator: QuadraticSensing, y: np.ndarray, start: np.ndarray | None
    ) -> Recovery:
        begun, seed = time.perf_counter(), seed_of(self.random_state)
        found: Recovery | None = None
        small = operator.shape[0] <= CONVEX_SIZE
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # only the answer's is of interest
            if start is None and self.init in ("auto", "spectral"):
                rng = np.random.default_rng([seed, 1])
                start = intensity_spectral(operator, y, int(self.rank), rng)
            if start is not None:
                found = self._from_start(operator, y, start, seed, self._left(begun))
            tried = found is not None and (
                self.init_ == "given" or self.init == "spectral" or not small
            )
            if not tried and not (found is not None and self._fits(found, operator, y)):
                other = recover(
                    operator, y, rank=int(self.rank), symmetric=True,
                    noise=self.noise, certify=self.certify,
                    max_time=self._left(begun), rng=seed, callback=self.callback,
                )  # fmt: skip
                if found is None or other.residual_norm < found.residual_norm:
                    found, self.init_ = other, "convex"
        assert found is not None
        if self.noise == "estimate":
            found.noise = self._estimate(operator, found.residual_norm)
        warn_unless_stationary(found.status, stacklevel=4)
        return found

    def _from_start(
        self,
        operator: QuadraticSensing,
        y: np.ndarray,
        start: np.ndarray,
        seed: int,
        left: float | None,
    ) -> Recovery:
        noise = self.noise
        if noise == "estimate":
            residual = operator.apply_product(start, start.conj()) - y
            noise = self._estimate(operator, float(np.linalg.norm(residual)))
        return recover(
            operator, y, rank=int(self.rank), symmetric=True, init=(start, start.conj()),
            regularization=None, noise=noise, certify=self.certify, max_time=left,
            rng=seed, callback=self.callback,
        )  # fmt: skip

    def _left(self, begun: float) -> float | None:
        if self.max_time is None:
            return None
        return max(self.max_time - (time.perf_counter() - begun), 1e-9)

    def _estimate(self, operator: QuadraticSensing, residual_norm: float) -> float:
        """Return sqrt(||residual||^2 / (m - degrees of freedom))."""
        m, n = operator.num_measurements, operator.shape[0]
        r = int(self.rank)
        unknowns = 2 * n * r - r * r if operator.hermitian else n * r - r * (r - 1) // 2
        freedom = max(m - unknowns, 0.1 * m)
        return float(residual_norm / np.sqrt(freedom))

    def _fits(self, found: Recovery, operator: QuadraticSensing, y: np.ndarray) -> bool:
        """Whether the intensities are fitted as well as they can be; not known for "estimate"."""
        if self.noise == "estimate":
            return False
        if not self.noise:
            return found.relative_residual <= FIT
        m = operator.num_measurements
        return found.residual_norm**2 <= float(self.noise) ** 2 * (m + 3 * np.sqrt(2.0 * m))


def _phased(modes: np.ndarray) -> np.ndarray:
    """Return the modes with their component of largest modulus real and positive."""
    largest = modes[np.abs(modes).argmax(axis=0), np.arange(modes.shape[1])]
    modulus = np.abs(largest)
    return modes * np.where(modulus > 0, largest.conj() / np.where(modulus > 0, modulus, 1.0), 1.0)


def _floating(vectors: Any) -> Any:
    if sparse.issparse(vectors) or isinstance(vectors, LinearOperator):
        return vectors
    vectors = np.asarray(vectors)
    return vectors.astype(float) if vectors.dtype.kind in "iub" else vectors
