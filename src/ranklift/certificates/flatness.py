"""Flatness: of all factors that reproduce the data these have the least scaled trace."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ..arrays import Array, inner, like, matmul, to_numpy
from ..curvature_weights import CurvatureWeights, curvature_weights
from ..factorizations import Asymmetric, Factorization, Hermitian
from ..problem import FactorizedProblem
from ..status import Rigor, Verdict
from .base import Certificate, CertificateReport
from .minimum_norm import (
    DENSE_SIZE,
    FITS,
    MISSES,
    as_gauge_problem,
    best_lower_bound,
    bound_assumptions,
    gauge_norm,
    identity_point,
    level_multipliers,
    relative_misfit,
)

WEAKLY_MEASURED = (
    "directions measured by less than 1e-7 of the strongest count as unmeasured and are left free"
)


LEVEL = 1e-8
"""||A*(y) - I|| / ||I|| up to which tr X counts as fixed by the data; the bound is asked after."""

LEAST_TRACE = (
    "no factors of any width that reproduce the data as well have a smaller scaled trace of the "
    "Hessian, up to the relative excess"
)

FIXED_TRACE = (
    "the data fix the scaled trace of the Hessian: all positive semidefinite matrices that "
    "reproduce them are equally flat, up to the relative excess"
)


def fixed_trace_multipliers(
    posed: FactorizedProblem, weights: CurvatureWeights, given: Array | None = None
) -> Array | None:
    """Return y with A*(y) = I in the variable D X D, wherever D sees anything, if there is one.

    Then tr(D X D) = <y, b> for every X that fits. Multipliers that are given may be such a y.
    """
    if not posed.factorization.definite:
        return None
    if given is not None:
        given = like(to_numpy(given), posed.b)
        if _is_identity(posed, weights, given):
            return given
    y = level_multipliers(posed)
    if y is None:
        return None
    y = like(y, posed.b)
    return y if _is_identity(posed, weights, y) else None


def _is_identity(posed: FactorizedProblem, weights: CurvatureWeights, y: Array) -> bool:
    if posed.shape[0] > DENSE_SIZE:
        return False
    identity = to_numpy(identity_point(posed))
    seen = to_numpy(weights.point(posed, weights.unpose(posed, like(identity, posed.b))))
    form = posed.factorization.dual(posed.transported(y), posed.shape)
    apart = np.linalg.norm(matmul(form, identity) - seen)
    return bool(apart <= LEVEL * np.linalg.norm(seen))


def flat_constant(factorization: Factorization) -> float:
    """Return c with min scaled trace = c kappa(D1 X D2^T): 4, and 8 where both factors are one.

    2 ||D1 L||^2 + 2 ||D2 R||^2 is least at 4 ||D1 X D2||_*; moving U of X = U U^T moves both
    factors, which doubles it.
    """
    return 4.0 if isinstance(factorization, Asymmetric) else 8.0


def scaled_trace_on_fit(problem: FactorizedProblem, weights: CurvatureWeights, w: Array) -> float:
    """Return the scaled trace of the Hessian of (1/m) ||A(X) - b||^2 at factors that fit."""
    point = weights.point(problem, w)
    return flat_constant(problem.factorization) * gauge_norm(problem, point)


@dataclass(frozen=True)
class Flatness(Certificate):
    """Check that the factors reproduce the data with the least scaled trace of the Hessian.

    The scaled trace (1/n1) tr(L block) + (1/n2) tr(R block) of f = (1/m) ||A(L R^T) - b||^2 is at
    least 4 ||D1 X D2||_*, whose least value over all X that fit is a weighted nuclear-norm problem:
    its duality gap decides. The statement is about these factors, not about X alone.

    Parameters
    ----------
    tolerance : float, default 1e-6
        Relative excess over the lower bound at which the verdict is HOLDS.
    multipliers : array, shape (m,), optional
        y of the weighted problem, as ``flatten`` returns it; by default least squares of the
        factors gives one, which is enough well above the recovery threshold only.
    rival : array, optional
        Parameters W of flatter factors: the witness of a FAILS, once checked.

    Notes
    -----
    Source: theorem 3.2 of Ding, Drusvyatskiy, Fazel, Harchaoui (arXiv 2203.03756); the bound by
    weak duality, symmetric and Hermitian factors (constant 8) own derivation. Cost: D1 and D2, one
    adjoint and one dense spectral norm.
    """

    tolerance: float = 1e-6
    multipliers: Array | None = field(default=None, repr=False, compare=False)
    rival: Array | None = field(default=None, repr=False, compare=False)
    name: ClassVar[str] = "flatness"

    def check(
        self, problem: FactorizedProblem, w: Array, rng: np.random.Generator
    ) -> CertificateReport:
        """Bound the scaled trace from below; FAILS shows flatter factors, or a misfit."""
        problem, w = as_gauge_problem(problem, w)
        factorization = problem.factorization
        weights = curvature_weights(problem.operator, factorization)
        posed = weights.pose(problem)
        point = weights.point(problem, w)
        constant = flat_constant(factorization)
        trace = constant * gauge_norm(posed, point)
        balanced = posed.gauge(point)
        best_gauge = constant * gauge_norm(posed, balanced)
        residual = relative_misfit(problem, w)
        fixed = fixed_trace_multipliers(posed, weights, self.multipliers)
        multipliers = self.multipliers if fixed is None else fixed
        bound = constant * best_lower_bound(posed, balanced, multipliers, rng)
        excess = max(0.0, 1.0 - bound / trace) if trace > 0 else 0.0
        verdict, witness = Verdict.INCONCLUSIVE, None
        rival = self._flatter(problem, weights, trace)
        if residual > MISSES:
            verdict = Verdict.FAILS
            witness = {"misfit": to_numpy(problem.predict(w) - problem.b)}
        elif residual <= FITS and excess <= self.tolerance:
            verdict = Verdict.HOLDS
        elif best_gauge < (1 - self.tolerance) * trace:
            verdict = Verdict.FAILS
            witness = _factors(*weights.back(*posed.parts(balanced)))
        elif rival is not None:
            verdict = Verdict.FAILS
            witness = _factors(*problem.parts(rival))
        norms = _squared_norms(problem, w)
        kappa = weights.condition
        return CertificateReport(
            name=self.name,
            verdict=verdict,
            measured=excess,
            threshold=self.tolerance,
            rigor=Rigor.HIGH_PROBABILITY,
            statement=LEAST_TRACE if fixed is None else FIXED_TRACE,
            assumptions=(*bound_assumptions(problem), WEAKLY_MEASURED),
            source="Ding, Drusvyatskiy, Fazel, Harchaoui (arXiv 2203.03756), theorem 3.2",
            witness=witness,
            details={
                "scaled_trace": trace,
                "least_for_this_matrix": best_gauge,
                "lower_bound": bound,
                "relative_residual": residual,
                "weighted_imbalance": _imbalance(posed, point),
                "kappa": kappa,
                "squared_norms": norms,
                # ||L||^2 + ||R||^2 of flat factors is at most kappa^2 times the least possible.
                "least_squared_norms_if_flat": norms / kappa**2,
                "unmeasured_directions": float(sum(weights.unmeasured)),
            },
        )

    def _flatter(
        self, problem: FactorizedProblem, weights: CurvatureWeights, trace: float
    ) -> Array | None:
        if self.rival is None:
            return None
        rival = like(to_numpy(self.rival), problem.b)
        flatter = scaled_trace_on_fit(problem, weights, rival) < (1 - self.tolerance) * trace
        return rival if flatter and relative_misfit(problem, rival) <= FITS else None


def _factors(left: Array, right: Array) -> dict[str, np.ndarray]:
    return {"left": to_numpy(left), "right": to_numpy(right)}


def _squared_norms(problem: FactorizedProblem, w: Array) -> float:
    """Return ||L||^2 + ||R||^2."""
    double = 1.0 if isinstance(problem.factorization, Asymmetric) else 2.0
    return double * float(inner(w, w))


def _imbalance(posed: FactorizedProblem, point: Array) -> float:
    """Return ||L^T D1^2 L - R^T D2^2 R||_F over the mean norm; 0 for factors of one kind."""
    if not isinstance(posed.factorization, (Asymmetric, Hermitian)):
        return 0.0
    left, right = (to_numpy(part) for part in posed.parts(point))
    one, other = left.conj().T @ left, right.T @ right.conj()
    size = 0.5 * float(np.linalg.norm(one) + np.linalg.norm(other))
    return float(np.linalg.norm(one - other)) / size if size > 0 else 0.0
