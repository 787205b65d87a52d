"""certify and verify: the independent checker, from data and factors alone.

Nothing that a solver left behind is used: problems, residuals and bounds are built anew.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from .. import threads
from ..arrays import Array, conj
from ..curvature_weights import curvature_weights
from ..errors import InputError, ShapeError
from ..factorizations import Asymmetric, Factorization, Hermitian, Symmetric
from ..losses import Loss, Squared
from ..operators import MeasurementOperator
from ..problem import FactorizedProblem
from ..regularizers import SquaredNorm
from ..status import Verdict
from .base import Certificate, CertificateReport
from .curvature import Curvature
from .duality import NuclearNormOptimality
from .flatness import Flatness
from .identifiability import Identifiability
from .minimum_norm import MinimumNorm
from .psd_gap import PSDGap
from .rank_deficiency import RankDeficiency
from .sampling import Sampling
from .stationarity import Stationarity
from .zero_residual import ZeroResidual

if TYPE_CHECKING:
    from ..lowrank import LowRank
    from ..result import Recovery

RIGORS = ("high",)


def answer_reports(
    problem: FactorizedProblem, w: Array, rng: np.random.Generator
) -> dict[str, CertificateReport]:
    """Check everything that applies to an answer without shrinkage."""
    checks: list[Certificate] = [ZeroResidual(), Stationarity(), Curvature(), Sampling()]
    checks.append(Identifiability())
    if problem.factorization.definite:
        checks.append(PSDGap())
    if isinstance(problem.factorization, Symmetric):
        checks.append(RankDeficiency())
    return {check.name: check.check(problem, w, rng) for check in checks}


def convex_reports(
    problem: FactorizedProblem,
    w: Array,
    regularization: float,
    rng: np.random.Generator,
    tolerance: float,
    *,
    max_steps: int = 1000,
) -> dict[str, CertificateReport]:
    """Check a solution of the nuclear-norm problem: its gap and its stationarity."""
    ridge = SquaredNorm(problem.factorization.ridge_weight * regularization)
    checks = [
        NuclearNormOptimality(regularization, tolerance, max_steps).check(problem, w, rng),
        Stationarity(tolerance=1e-4).check(problem.with_regularizers(ridge), w, rng),
    ]
    return {report.name: report for report in checks}


def selection_reports(
    problem: FactorizedProblem,
    given: Recovery | LowRank | tuple[Array, Array] | Array,
    rng: np.random.Generator,
) -> list[CertificateReport]:
    """Check what a selected answer claims to be, by the multipliers that came with it."""
    from ..result import Recovery

    if not isinstance(given, Recovery):
        return []
    w = problem.factorization.stack(given.left, given.right)
    kept = given.extras.get("multipliers")
    claimed = {Flatness.name: Flatness, MinimumNorm.name: MinimumNorm}
    return [
        kind(given.certificates[name].threshold, kept).check(problem, w, rng)
        for name, kind in claimed.items()
        if name in given.certificates
    ]


def certify(
    operator: MeasurementOperator,
    b: Array,
    recovery_or_factors: Recovery | LowRank | tuple[Array, Array] | Array,
    rigor: str = "high",
    *,
    loss: Loss | None = None,
    rng: np.random.Generator | int | None = 0,
) -> list[CertificateReport]:
    """Check an answer of any origin against the data.

    Parameters
    ----------
    operator : MeasurementOperator
    b : array, shape (m,)
    recovery_or_factors : Recovery, LowRank, (L, R), or an n x k array U for X = U U^H
        A Recovery with a regularised stage has that stage checked as well; its reports follow
        with the name "convex.duality_gap" and "convex.stationarity".
    rigor : "high"
        HIGH_PROBABILITY bounds by random-start Lanczos. PROVED comes with a later version.
    loss : Loss, optional
        That the answer minimises; by default a Recovery's own, else the squared loss.
    rng : Generator or int, default 0
        Draws the Lanczos starts.

    Raises
    ------
    InputError
        For an unknown rigor; ShapeError for factors that do not fit the operator.

    Examples
    --------
    >>> import numpy as np
    >>> import ranklift as rl
    >>> A = rl.operators.IdentitySensing((2, 2))
    >>> b = np.array([1.0, 2.0, 2.0, 4.0])
    >>> factors = np.array([[1.0], [2.0]])
    >>> {r.name: r.verdict.value for r in rl.certify(A, b, (factors, factors))}["zero_residual"]
    'holds'
    """
    from ..lowrank import LowRank
    from ..result import Recovery
    from ..validation import checked_measurements

    if rigor not in RIGORS:
        raise InputError(f"rigor {rigor!r}", f"use one of {RIGORS}")
    rng = np.random.default_rng(rng)
    b = checked_measurements(operator, b)
    given = recovery_or_factors
    factorization: Factorization = Hermitian() if operator.hermitian else Asymmetric()
    if isinstance(given, (Recovery, LowRank)):
        left, right = given.left, given.right
    elif isinstance(given, tuple):
        left, right = given
    else:
        left, right = given, conj(given)
        factorization = Hermitian() if operator.hermitian else Symmetric()
    if isinstance(given, Recovery):
        factorization = given.factorization
        loss = given.loss if loss is None else loss
    if (int(left.shape[0]), int(right.shape[0])) != operator.shape:
        raise ShapeError(
            f"factors with {left.shape[0]} and {right.shape[0]} rows for {operator!r}",
            "pass factors of shapes (n1, k) and (n2, k)",
        )
    loss = loss if loss is not None else Squared()
    loss.check(b)
    problem = FactorizedProblem(operator, b, factorization, loss=loss)
    with threads.single_threaded_blas():
        w = factorization.join(left, right)
        reports = []
        # An answer that is the regularised solution is checked as such, below.
        if not isinstance(given, Recovery) or given.refitted or given.certificates:
            reports = list(answer_reports(problem, w, rng).values())
            reports += selection_reports(problem, given, rng)
        convex = given.convex if isinstance(given, Recovery) else None
        if convex is not None:
            w = factorization.join(convex.left, convex.right)
            if convex.weighted:
                weights = curvature_weights(operator, factorization)
                w, problem = weights.point(problem, w), weights.pose(problem)
                w = problem.gauge(w)
            tolerance = 1e-6
            if "duality_gap" in convex.certificates:
                tolerance = convex.certificates["duality_gap"].threshold
            posed = problem.with_loss(convex.loss)
            found = convex_reports(posed, w, convex.regularization, rng, tolerance)
            reports += [replace(r, name=f"convex.{r.name}") for r in found.values()]
    return reports


@dataclass(frozen=True)
class Verification:
    """What ``verify`` recomputed, and where it differs from what the file claims.

    Attributes
    ----------
    reports : list of CertificateReport
    agrees : bool
        Whether every verdict that the file claims to HOLD holds again.
    differences : dict
        name -> "claimed -> recomputed" for verdicts that differ.
    """

    reports: list[CertificateReport]
    agrees: bool
    differences: dict[str, str] = field(default_factory=dict)


def verify(
    path: str | os.PathLike[str], *, rng: np.random.Generator | int | None = None
) -> Verification:
    """Recompute every certificate of a result file from its saved data and factors alone.

    Raises
    ------
    FileFormatError
        When the file cannot be read.
    InputError
        When the file holds no operator.
    """
    from ..result import load

    recovery = load(path)
    if recovery.operator is None or recovery.measurements is None:
        raise InputError(
            f"{path} holds the answer but not the data it was computed from",
            "save it with include_operator=True, or call rl.certify with your operator",
        )
    reports = certify(recovery.operator, recovery.measurements, recovery, rng=rng)
    claimed = dict(recovery.certificates)
    if recovery.convex is not None:
        claimed |= {f"convex.{k}": r for k, r in recovery.convex.certificates.items()}
    differences = {
        report.name: f"{claimed[report.name].verdict.value} -> {report.verdict.value}"
        for report in reports
        if report.name in claimed and claimed[report.name].verdict is not report.verdict
    }
    lost = [
        report.name
        for report in reports
        if report.name in claimed
        and claimed[report.name].verdict is Verdict.HOLDS
        and report.verdict is not Verdict.HOLDS
    ]
    return Verification(reports, not lost, differences)
