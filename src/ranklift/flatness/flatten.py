"""flatten: from factors that fit to flatter ones, by gauge, along the solution set, or convexly."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..arrays import Array, like, matmul, to_numpy
from ..certificates.base import CertificateReport
from ..certificates.flatness import Flatness, scaled_trace_on_fit
from ..certificates.minimum_norm import FITS, relative_misfit
from ..curvature_weights import CurvatureWeights, curvature_weights
from ..errors import ConvergenceWarning, InputError
from ..factorizations import Asymmetric, Factorization, Signed
from ..flattest import solve_flattest
from ..lowrank import LowRank
from ..minimum_norm import check_constrained
from ..operators import MeasurementOperator
from ..problem import FactorizedProblem
from ..solution_set import descend_on_solution_set
from ..status import Status
from ..trace import Trace
from .point import pose_factors

if TYPE_CHECKING:
    from ..result import Recovery

LEVELS = ("gauge", "solution_set", "convex")


@dataclass(frozen=True)
class FlatFactors:
    """Factors, how flat they are, and what is proved about that.

    Attributes
    ----------
    left, right : arrays (n1, k), (n2, k)
        X = L R^T, balanced in the weights: L^T D1^2 L = R^T D2^2 R.
    factorization : Factorization
    level : str
    scaled_trace : float
        Of these factors, on the solution set.
    scaled_trace_before : float
        Of the factors that were handed in.
    status : Status
        Why the search stopped; CONVERGED of the gauge, which is one decomposition.
    report : CertificateReport
        Whether they are a flattest solution.
    weights : CurvatureWeights
    multipliers : array (m,) or None
        y of the weighted nuclear-norm problem, for whoever wants to check its bound.
    """

    left: Array
    right: Array
    factorization: Factorization
    level: str
    scaled_trace: float
    scaled_trace_before: float
    status: Status
    report: CertificateReport
    weights: CurvatureWeights
    multipliers: Array | None = None

    @property
    def matrix(self) -> LowRank:
        """Return X = L R^T."""
        return LowRank(self.left, self.right)


def flatten(
    operator: MeasurementOperator,
    b: Array | None,
    factors: Recovery | LowRank | tuple[Array, Array] | Array,
    *,
    level: str = "convex",
    factorization: Factorization | None = None,
    tolerance: float = 1e-6,
    rng: np.random.Generator | int | None = 0,
    trace: Trace | None = None,
) -> FlatFactors:
    """Return flatter factors that reproduce the data, and a certificate of how flat they are.

    Parameters
    ----------
    operator : MeasurementOperator
    b : array, shape (m,), or None
        None: what the factors themselves predict.
    factors : Recovery, LowRank, (L, R), or array
        An array is U of X = U U^T (U U^H), or W of the factorization given.
    level : "gauge", "solution_set" or "convex", default "convex"
        "gauge": the same X, rescaled: one SVD of D1 X D2. "solution_set": X may move as long as
        A(X) = b, at the width given; a projected gradient descent from the factors. "convex": the
        flattest solution of all, min ||D1 X D2||_* subject to A(X) = b, whatever the start.
    factorization : Factorization, optional
    tolerance : float, default 1e-6
        Relative excess of the scaled trace over its lower bound.
    rng : Generator or int, default 0
    trace : Trace, optional
        To stop early, and to be shown the rounds.

    Returns
    -------
    FlatFactors

    Raises
    ------
    InputError
        For an unknown level; at level "solution_set" for factors that do not reproduce the data;
        for a deep factorization. ShapeError for factors that do not fit the operator.

    Warns
    -----
    UserWarning
        Where D1 or D2 is singular: no measurement sees some rows or columns (or directions), and
        the answer is set to zero there, which changes no measurement.
    ConvergenceWarning
        Where the search stopped before its test was met.

    Notes
    -----
    From the SVD D1 X D2 = P S Q^T the flat factors are L = D1^-1 P sqrt(S), R = D2^-1 Q sqrt(S):
    theorem 3.2 of Ding, Drusvyatskiy, Fazel, Harchaoui (arXiv 2203.03756).

    Flat is not the same as low-rank: it helps where D is well conditioned (kappa near 1), and the
    more the measurements differ in strength the further the flat solution is from the least nuclear
    norm.

    Examples
    --------
    >>> import numpy as np
    >>> from ranklift.operators import EntrySampling
    >>> A = EntrySampling([0, 0, 1], [0, 1, 0], (2, 2))
    >>> flat = flatten(A, None, (np.array([[1.0], [2.0]]), np.array([[1.0], [2.0]])))
    >>> flat.report.verdict.value
    'holds'
    """
    if level not in LEVELS:
        raise InputError(f"level={level!r}", f"use one of {LEVELS}")
    problem, w = pose_factors(operator, b, factors, factorization)
    check_constrained(problem)
    weights = curvature_weights(operator, problem.factorization)
    weights.warn_if_unmeasured(stacklevel=3)
    before = scaled_trace_on_fit(problem, weights, w)
    status, multipliers = Status.CONVERGED, None
    if level == "gauge":
        w = flat_gauge(problem, weights, w)
    elif level == "solution_set":
        if relative_misfit(problem, w) > FITS:
            raise InputError(
                "factors that do not reproduce b",
                'pass an exact fit, or use level="convex", which needs no start',
            )
        posed = weights.pose(problem)
        run = descend_on_solution_set(posed, posed.gauge(weights.point(problem, w)), trace=trace)
        w, status = weights.unpose(problem, run.w), run.status
    else:
        found = solve_flattest(
            problem, weights, np.random.default_rng(rng), tolerance=0.3 * tolerance, trace=trace
        )
        w, status, multipliers = found.w, found.status, found.multipliers
    if status is not Status.CONVERGED:
        warnings.warn(
            f"flatten stopped with status {status.value}: {status.remedy}",
            ConvergenceWarning,
            stacklevel=2,
        )
    report = Flatness(tolerance, multipliers).check(problem, w, np.random.default_rng(rng))
    left, right = problem.parts(w)
    return FlatFactors(
        left, right, problem.factorization, level, scaled_trace_on_fit(problem, weights, w),
        before, status, report, weights, multipliers,
    )  # fmt: skip


def certify_flatness(
    operator: MeasurementOperator,
    b: Array | None,
    factors: Recovery | LowRank | tuple[Array, Array] | Array,
    *,
    factorization: Factorization | None = None,
    tolerance: float = 1e-6,
    rng: np.random.Generator | int | None = 0,
) -> CertificateReport:
    """Say how flat factors are, and whether they are a flattest solution: both ways.

    Unlike the certificate ``Flatness`` by itself it solves the weighted nuclear-norm problem, for a
    sharp lower bound and for flatter factors to show where there are any.

    Parameters
    ----------
    operator, b, factors, factorization, tolerance, rng
        As for ``flatten``.

    Raises
    ------
    InputError, ShapeError

    Examples
    --------
    >>> import numpy as np
    >>> from ranklift.operators import IdentitySensing
    >>> skewed = np.array([[4.0]]), np.array([[1.0]])
    >>> report = certify_flatness(IdentitySensing((1, 1)), None, skewed)
    >>> report.verdict.value, report.details["scaled_trace"]  # 2 (4^2 + 1^2); the least is 4 * 4
    ('fails', 34.0)
    """
    problem, w = pose_factors(operator, b, factors, factorization)
    check_constrained(problem)
    generator = np.random.default_rng(rng)
    weights = curvature_weights(operator, problem.factorization)
    found = solve_flattest(problem, weights, generator, tolerance=0.3 * tolerance)
    rival = found.w if found.w.shape[1] else None
    return Flatness(tolerance, found.multipliers, rival).check(problem, w, generator)


def flat_gauge(problem: FactorizedProblem, weights: CurvatureWeights, w: Array) -> Array:
    """Return the flattest factors of the same X: L^T D1^2 L = R^T D2^2 R.

    L G and R H with G, H from the SVD of the product of the triangular factors of D1 L and D2 R, so
    that not even directions that D does not see are touched.
    """
    if not isinstance(problem.factorization, Asymmetric):
        if isinstance(problem.factorization, Signed):  # the gauge is an indefinite one
            balanced = weights.pose(problem).gauge(weights.point(problem, w))
            return weights.unpose(problem, balanced)
        return w
    left, right = problem.parts(w)
    one, other = (to_numpy(part) for part in weights.forth(left, right))
    upper, other_upper = np.linalg.qr(one)[1], np.linalg.qr(other)[1]
    p, s, qt = np.linalg.svd(upper @ other_upper.T)
    kept = s > 1e-14 * s.max(initial=0.0)
    root = np.sqrt(s[kept])
    g = other_upper.T @ qt[kept].T / root
    h = upper.T @ p[:, : kept.size][:, kept] / root
    return problem.factorization.join(matmul(left, like(g, left)), matmul(right, like(h, right)))
