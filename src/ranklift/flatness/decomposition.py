"""Flat minima of robust PCA: the X of least nuclear norm within a known total of gross errors.

Y = M + S. Where the wrong entries are told by the other factors, the loss
||L R^T - Y + P(Y - L' R'^T)||^2, P the projection onto the l1 ball of radius ||S||_1, has the
scaled trace 2 ||L||^2 + 2 ||R||^2 at a fit, which is least at 4 ||X||_* (Ding, Drusvyatskiy, Fazel,
Harchaoui, arXiv 2203.03756): flat are the solutions of

    min ||X||_*  subject to  ||Y - X||_1 <= ||S||_1.

Alternating directions on Y = X + S (ADMM, as generally known: Boyd, Parikh, Chu, Peleato, Eckstein
2011) with a duality gap. Any Z bounds from below,

    ||X||_* >= (<Z, Y> - radius ||Z||_inf) / ||Z||_2   for every X of the ball,

and so does its sibling of principal component pursuit, which this module knows for comparison.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import ConvergenceWarning, NonFiniteError, ShapeError
from ..losses import L1BallDistance
from ..status import Status
from ..validation import check_positive, check_whole

EVERY = 25
"""Iterations between two looks at the gap, which costs two spectral norms."""

RELAXED = 1.6
"""Over-relaxation of alternating directions: 1.5 to 1.8 are usual."""


class Decomposition(ABC):
    """A convex problem of Y = X + S: ||X||_* and what is asked of S. Subclasses are frozen."""

    @abstractmethod
    def prox(self, s: np.ndarray, rho: float) -> np.ndarray:
        """Return the S that minimises its part of the problem plus rho/2 ||S - s||^2."""

    @abstractmethod
    def value(self, x: np.ndarray, s: np.ndarray) -> float:
        """Return the objective at an S that the problem allows."""

    @abstractmethod
    def bound(self, z: np.ndarray, data: np.ndarray) -> float:
        """Return the lower bound of the objective that Z proves."""


@dataclass(frozen=True)
class WithinBall(Decomposition):
    """min ||X||_* subject to ||S||_1 <= radius: the flat solutions."""

    radius: float

    def prox(self, s: np.ndarray, rho: float) -> np.ndarray:
        """Return the nearest point of the ball."""
        outside = L1BallDistance(self.radius).slope(s.ravel(), np.zeros(s.size))
        return s - outside.reshape(s.shape)

    def value(self, x: np.ndarray, s: np.ndarray) -> float:
        """Return ||X||_*."""
        return float(np.linalg.norm(x, "nuc"))

    def bound(self, z: np.ndarray, data: np.ndarray) -> float:
        """Return (<Z, Y> - radius ||Z||_inf) / ||Z||_2."""
        size = float(np.linalg.norm(z, 2))
        value = float(np.vdot(z, data)) - self.radius * float(np.abs(z).max())
        return max(0.0, value / size) if size > 0 else 0.0


@dataclass(frozen=True)
class Pursuit(Decomposition):
    """min ||X||_* + gamma ||S||_1: principal component pursuit."""

    gamma: float

    def prox(self, s: np.ndarray, rho: float) -> np.ndarray:
        """Return S, soft-thresholded at gamma / rho."""
        return np.sign(s) * np.maximum(np.abs(s) - self.gamma / rho, 0.0)

    def value(self, x: np.ndarray, s: np.ndarray) -> float:
        """Return ||X||_* + gamma ||S||_1."""
        return float(np.linalg.norm(x, "nuc") + self.gamma * np.abs(s).sum())

    def bound(self, z: np.ndarray, data: np.ndarray) -> float:
        """Return <Z, Y> / max(||Z||_2, ||Z||_inf / gamma)."""
        size = max(float(np.linalg.norm(z, 2)), float(np.abs(z).max()) / self.gamma)
        return max(0.0, float(np.vdot(z, data)) / size) if size > 0 else 0.0


@dataclass(frozen=True)
class DecompositionRun:
    """Where alternating directions ended.

    Attributes
    ----------
    matrix : array (n1, n2)
        X, of low rank: the last singular value thresholding.
    outliers : array (n1, n2)
        S, as the problem allows it; Y - S is X up to ``mismatch``.
    value : float
        The objective at Y - S and S.
    lower_bound : float
        No decomposition has a smaller one.
    multipliers : array (n1, n2)
        Z of the bound, which anyone can recompute.
    mismatch : float
        ||Y - S - X||_F / ||Y||_F.
    status : Status
        CONVERGED: gap and mismatch within tolerance.
    iterations : int
    """

    matrix: np.ndarray
    outliers: np.ndarray
    value: float
    lower_bound: float
    multipliers: np.ndarray
    mismatch: float
    status: Status
    iterations: int

    @property
    def gap(self) -> float:
        """Return (value - lower bound) / value, at least 0."""
        return max(0.0, 1.0 - self.lower_bound / self.value) if self.value > 0 else 0.0

    @property
    def factors(self) -> tuple[np.ndarray, np.ndarray]:
        """Return L and R of X, balanced, of the width of its rank: the flattest of X."""
        u, s, vt = np.linalg.svd(self.matrix, full_matrices=False)
        kept = s > 1e-12 * s.max(initial=0.0)  # the thresholding leaves exact zeros up to rounding
        root = np.sqrt(s[kept])
        return u[:, kept] * root, vt[kept].T * root

    @property
    def scaled_trace(self) -> float:
        """Return the least scaled trace of the local model: 4 ||X||_*."""
        return 4.0 * float(np.linalg.norm(self.matrix, "nuc"))


def flattest_decomposition(
    data: Any, outlier_norm: float, *, tolerance: float = 1e-6, max_iterations: int = 20_000
) -> DecompositionRun:
    """Return the flat solution of robust PCA, with the gap that proves it.

    min ||X||_* subject to ||Y - X||_1 <= outlier_norm.

    Parameters
    ----------
    data : array (n1, n2)
        Y, complete.
    outlier_norm : float
        ||S||_1 of the gross errors, in units of Y, known beforehand.
    tolerance : float, default 1e-6
        Relative duality gap, and mismatch of Y = X + S.
    max_iterations : int, default 20000
        One decomposition of an n1 x n2 matrix each; hundreds are usual.

    Returns
    -------
    DecompositionRun

    Raises
    ------
    ShapeError, NonFiniteError, InputError
        Data that are no matrix or not finite, settings that are not positive.

    Warns
    -----
    ConvergenceWarning
        Where the gap stayed open.

    Notes
    -----
    ``robust_pca`` is faster and needs no outlier_norm; it follows low rank beyond what this problem
    recovers. Here the answer is the convex problem's. Cost O(n1 n2 min(n1, n2)) an iteration.

    Examples
    --------
    >>> import numpy as np
    >>> truth = np.outer(np.arange(1.0, 9.0), np.arange(1.0, 8.0))
    >>> wrong = truth.copy()
    >>> wrong[2, 3] += 10.0
    >>> flat = flattest_decomposition(wrong, 10.0)
    >>> bool(flat.gap <= 1e-6), bool(abs(flat.matrix - truth).max() < 1e-3)
    (True, True)
    """
    y = np.asarray(data, dtype=float)
    if y.ndim != 2 or 0 in y.shape:
        raise ShapeError(f"data of shape {y.shape}", "pass a matrix")
    if not np.isfinite(y).all():
        raise NonFiniteError("NaN or infinity in the data", "pass complete data, or use robust_pca")
    check_positive("outlier_norm", outlier_norm)
    check_positive("tolerance", tolerance)
    check_whole("max_iterations", max_iterations)
    if np.abs(y).sum() <= outlier_norm:  # all may be gross errors: no relative gap to ask for
        zero = np.zeros_like(y)
        return DecompositionRun(zero, y.copy(), 0.0, 0.0, zero.copy(), 0.0, Status.CONVERGED, 0)
    run = decompose(WithinBall(float(outlier_norm)), y, tolerance, max_iterations)
    if run.status is not Status.CONVERGED:
        warnings.warn(
            f"flattest_decomposition stopped with status {run.status.value}, gap {run.gap:.1e}, "
            f"mismatch {run.mismatch:.1e}: {run.status.remedy}",
            ConvergenceWarning,
            stacklevel=2,
        )
    return run


def decompose(
    problem: Decomposition,
    data: np.ndarray,
    tolerance: float,
    max_iterations: int,
    *,
    enough: Callable[[DecompositionRun], bool] | None = None,
) -> DecompositionRun:
    """Solve one of the problems by alternating directions.

    ``enough`` is shown the run now and then; True ends it there (Status.USER_STOP), and only it
    or ``max_iterations`` does where it is given.
    """
    norm, total = float(np.linalg.norm(data)), float(np.abs(data).sum())
    rho = data.size / (4 * total) if total > 0 else 1.0  # as is usual for the pursuit
    s, z = np.zeros_like(data), np.zeros_like(data)
    run: DecompositionRun | None = None
    for iteration in range(1, max_iterations + 1):
        p, values, qt = np.linalg.svd(data - s + z / rho, full_matrices=False)
        x = (p * np.maximum(values - 1 / rho, 0.0)) @ qt
        old, mixed = s, RELAXED * x + (1 - RELAXED) * (data - s)
        s = problem.prox(data - mixed + z / rho, rho)
        z = z + rho * (data - mixed - s)
        if iteration % EVERY and iteration < max_iterations:
            continue
        mismatch = float(np.linalg.norm(data - s - x))
        run = DecompositionRun(
            x, s, problem.value(data - s, s), problem.bound(z, data), z,
            mismatch / norm if norm > 0 else 0.0, Status.MAX_ITERATIONS, iteration,
        )  # fmt: skip
        if enough is None:
            if run.gap <= tolerance and run.mismatch <= tolerance:
                return replace(run, status=Status.CONVERGED)
        elif enough(run):
            return replace(run, status=Status.USER_STOP)
        if iteration <= max_iterations // 2:  # residual balancing; for ever, it need not converge
            moved = rho * float(np.linalg.norm(s - old))
            rho *= 2.0 if mismatch > 5 * moved else 0.5 if moved > 5 * mismatch else 1.0
    assert run is not None  # the last iteration makes one
    return run
