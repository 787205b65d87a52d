"""Minimum norm: of all matrices that reproduce the data this one has the least norm."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from scipy.sparse.linalg import LinearOperator, lsmr

from ..arrays import Array, inner, like, matmul, norm, to_numpy
from ..factorizations import Asymmetric
from ..problem import FactorizedProblem
from ..status import Rigor, Verdict
from .base import EXACT_LANCZOS, PROBABILITY, Certificate, CertificateReport
from .duality import duality_gap

FITS = 1e-8
"""||A(X) - b|| / ||b|| up to which X reproduces exact data, as for ``ZeroResidual``."""

MISSES = 1e-6
"""Relative residual from which on it does not; between the two nothing is said."""

DENSE_SIZE = 600
"""Largest side up to which ||A*(y)|| is computed densely: no random start is involved, it costs
half a second at most, and singular values close to the norm, where Lanczos is slow, do no harm."""

ROUNDING = 4 * float(np.finfo(float).eps)
"""Relative error of a dense spectral norm, per row: LAPACK's is a modest multiple of eps n."""

LEAST_SQUARES_STEPS = 4000
"""Most LSMR steps for multipliers from the factors alone."""

LEVEL_STEPS, LEVEL_NUMBERS = 200, 20_000_000
"""Most LSMR steps for multipliers of the identity, and the largest m n^2, the cost of one, for
which they are asked: some seconds in all."""


def gauge_norm(problem: FactorizedProblem, w: Array) -> float:
    """Return kappa(X) of a balanced W: the nuclear norm, or the trace."""
    return 0.5 * problem.factorization.ridge_weight * inner(w, w)


def lower_bound(
    problem: FactorizedProblem,
    w: Array,
    multipliers: Array,
    rng: np.random.Generator,
    *,
    tolerance: float = 1e-9,
) -> float:
    """Return (<y, b> - misfit ||y||) / ||A*(y)||_2: no X that fits as well as W has a smaller norm.

    kappa(X) >= <A*(y), X> / ||A*(y)|| = <y, A(X)> / ||A*(y)|| for every y, and <y, A(X)> is at
    least <y, b> - ||A(X) - b|| ||y||. Without the misfit of W data that contradict each other by
    rounding would be bounded by infinity: A*(y) = 0 with <y, b> > 0 says that nothing fits exactly.
    The column spaces of W should be those of the leading singular vectors of A*(y), which makes the
    bound of large matrices quick and sharp.
    """
    misfit = norm(problem.predict(w) - problem.b)
    value = inner(multipliers, problem.b) - misfit * norm(multipliers)
    if value <= 0:
        return 0.0  # kappa >= 0 is all that such a y says
    upper = _dual_norm(problem, w, multipliers, rng, tolerance)
    return value / upper if upper > 0 else 0.0  # value <= upper kappa(X(W)): rounding


def _dual_norm(
    problem: FactorizedProblem, w: Array, y: Array, rng: np.random.Generator, tolerance: float
) -> float:
    """Return an upper bound of ||A*(y)||_2, or of the largest eigenvalue of its dual matrix."""
    if max(problem.shape) > DENSE_SIZE:
        posed = replace(problem, b=problem.predict(w) + y)
        return duality_gap(posed, w, 1.0, rng, tolerance=tolerance, max_steps=1500).norm_upper
    transported = problem.transported(y)
    form = problem.factorization.dual(transported, problem.shape)
    if form is not None:
        dense = form @ np.eye(form.shape[0])
        value = max(0.0, float(np.linalg.eigvalsh(0.5 * (dense + dense.T))[-1]))
    else:
        dense = to_numpy(matmul(transported, like(np.eye(problem.shape[1]), y)))
        value = float(np.linalg.norm(dense, 2))
    return value * (1.0 + ROUNDING * max(dense.shape))


def least_squares_multipliers(
    problem: FactorizedProblem, w: Array, max_steps: int = LEAST_SQUARES_STEPS
) -> np.ndarray:
    """Return the shortest y for which A*(y) is a subgradient of kappa on the tangent space at X.

    The gradient of <y, A(X(W))> by W is that of kappa, for the balanced W: least squares, by LSMR
    from the factors alone. Off the tangent space nothing holds ||A*(y)|| down to 1.
    """
    host, m = to_numpy(w), problem.operator.num_measurements
    rows, k = host.shape

    def gradient(y: np.ndarray) -> np.ndarray:
        left, right = problem.parts(w)
        out = problem.operator.adjoint_products(like(y, problem.b), left, right)
        return to_numpy(problem.factorization.pullback(w, *out, problem.shape)).ravel()

    def push(direction: np.ndarray) -> np.ndarray:
        return to_numpy(problem.pushforward(w, like(direction.reshape(rows, k), problem.b)))

    matrix = LinearOperator((rows * k, m), matvec=gradient, rmatvec=push, dtype=float)  # type: ignore[call-arg]
    wanted = problem.factorization.ridge_weight * host.ravel()
    return lsmr(matrix, wanted, atol=1e-13, btol=1e-13, maxiter=max_steps)[0]


def identity_point(problem: FactorizedProblem) -> Array:
    """Return the W of X = I, as wide as X."""
    eye = like(np.eye(problem.shape[0]), problem.b)
    return problem.factorization.stack(eye, eye)


def level_multipliers(problem: FactorizedProblem) -> np.ndarray | None:
    """Return the y for which A*(y) is nearest to I; None of a gauge other than tr X.

    Where it is I, the data fix tr X = <y, b>: all semidefinite X that fit are alike. So for states
    measured with the identity among the strings, and for every covariance in the variable of its
    curvature weights. Own derivation. None, too, where m n^2 is above ``LEVEL_NUMBERS``.
    """
    n, m = problem.shape[0], problem.operator.num_measurements
    if not problem.factorization.definite or n > DENSE_SIZE or m * n * n > LEVEL_NUMBERS:
        return None
    return least_squares_multipliers(problem, identity_point(problem), LEVEL_STEPS)


@dataclass(frozen=True)
class MinimumNorm(Certificate):
    """Check that X reproduces the data and that no matrix of a smaller norm does.

    Parameters
    ----------
    tolerance : float, default 1e-6
        Relative gap between the norm of X and its lower bound at which the verdict is HOLDS.
    multipliers : array, shape (m,), optional
        y of the lower bound (<y, b> - misfit ||y||) / ||A*(y)||, as ``solve_minimum_norm`` returns
        it; any y is valid. By default least squares of the factors gives one, which is enough well
        above the recovery threshold only.
    rival : array, optional
        Parameters W of a matrix with a smaller norm that reproduces the data as well: shown as the
        witness of a FAILS, once checked.
    """

    tolerance: float = 1e-6
    multipliers: Array | None = field(default=None, repr=False, compare=False)
    rival: Array | None = field(default=None, repr=False, compare=False)
    name: ClassVar[str] = "minimum_norm"

    def check(
        self, problem: FactorizedProblem, w: Array, rng: np.random.Generator
    ) -> CertificateReport:
        """Compute residual, norm and lower bound; FAILS shows a misfit or a smaller matrix."""
        problem, w = as_gauge_problem(problem, w)
        w = problem.gauge(w)
        residual = relative_misfit(problem, w)
        size = gauge_norm(problem, w)
        bound = best_lower_bound(problem, w, self.multipliers, rng)
        gap = max(0.0, 1.0 - bound / size) if size > 0 else 0.0
        verdict, witness = Verdict.INCONCLUSIVE, None
        if residual > MISSES:
            verdict = Verdict.FAILS
            witness = {"misfit": to_numpy(problem.predict(w) - problem.b)}
        elif residual <= FITS and gap <= self.tolerance:
            verdict = Verdict.HOLDS
        elif self._undercut(problem, size):
            verdict = Verdict.FAILS
            rival = problem.gauge(like(to_numpy(self.rival), problem.b))
            left, right = problem.factorization.factors(rival, problem.shape)
            witness = {"left": to_numpy(left), "right": to_numpy(right)}
        return CertificateReport(
            name=self.name,
            verdict=verdict,
            measured=gap,
            threshold=self.tolerance,
            rigor=Rigor.HIGH_PROBABILITY,
            statement=(
                "the matrix reproduces the data, and none that does so as well has a smaller "
                "nuclear norm (trace, of positive semidefinite ones), up to the relative gap"
            ),
            assumptions=bound_assumptions(problem),
            source="weak duality of min kappa(X) subject to A(X) = b",
            witness=witness,
            details={"norm": size, "lower_bound": bound, "relative_residual": residual},
        )

    def _undercut(self, problem: FactorizedProblem, size: float) -> bool:
        if self.rival is None:
            return False
        rival = like(to_numpy(self.rival), problem.b)
        smaller = gauge_norm(problem, problem.gauge(rival)) < (1 - self.tolerance) * size
        return smaller and relative_misfit(problem, rival) <= FITS


def as_gauge_problem(problem: FactorizedProblem, w: Array) -> tuple[FactorizedProblem, Array]:
    """Return the problem over factors whose norm is a gauge of X: else (depth, signs) as L R^T."""
    if problem.factorization.columnwise:
        return problem, w
    w = Asymmetric().join(*problem.parts(w))
    return replace(problem, factorization=Asymmetric()), w


def relative_misfit(problem: FactorizedProblem, w: Array) -> float:
    """Return ||A(X) - b|| / ||b||."""
    b_norm = norm(problem.b)
    missed = norm(problem.predict(w) - problem.b)
    return missed / b_norm if b_norm > 0 else missed


def best_lower_bound(
    problem: FactorizedProblem, w: Array, multipliers: Array | None, rng: np.random.Generator
) -> float:
    """Return the bound of the given multipliers, else the best that the factors lead to."""
    if multipliers is not None:
        return lower_bound(problem, w, like(to_numpy(multipliers), problem.b), rng)
    if not w.shape[1]:
        return 0.0
    found = least_squares_multipliers(problem, w), level_multipliers(problem)
    return max(lower_bound(problem, w, like(y, problem.b), rng) for y in found if y is not None)


def bound_assumptions(problem: FactorizedProblem) -> tuple[str, ...]:
    """Return what the bound rests on."""
    if max(problem.shape) <= DENSE_SIZE:
        return ("inner products evaluated in floating point", "LAPACK's error is within 4 n eps")
    return (PROBABILITY, EXACT_LANCZOS)
