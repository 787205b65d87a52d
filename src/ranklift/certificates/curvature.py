"""Curvature: the second measured number of a near-second-order point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..arrays import Array, inner, like
from ..problem import FactorizedProblem
from ..regularizers import SquaredNorm
from ..second_order import least_curvature
from ..spectral import BASIS_BYTES, largest_singular_value
from ..status import Rigor, Verdict
from .base import EXACT_LANCZOS, PROBABILITY, Certificate, CertificateReport


@dataclass(frozen=True)
class Curvature(Certificate):
    """Check lambda_min(Hessian) >= -eps_H, eps_H = tolerance ||A*(b)||_2.

    A Rayleigh quotient below the threshold shows negative curvature and is the witness. That none
    exists is only as good as the Kuczynski-Wozniakowski bound of the run; when the bound does not
    reach the threshold the verdict is INCONCLUSIVE, whatever the Ritz value.

    Parameters
    ----------
    tolerance : float, default 1e-2
        eps_H relative to ||A*(b)||_2. The bound tightens like 1/steps^2: a tenfold smaller one
        costs three times the products.
    max_steps : int, default 300
        Most Hessian products; fewer where the Lanczos basis would not fit (then INCONCLUSIVE).
    """

    tolerance: float = 1e-2
    max_steps: int = 300
    name: ClassVar[str] = "curvature"

    def check(
        self, problem: FactorizedProblem, w: Array, rng: np.random.Generator
    ) -> CertificateReport:
        """Enclose the least eigenvalue by random-start Lanczos."""
        w = problem.gauge(w)
        threshold = self.tolerance * problem.scale
        if not np.isfinite(problem.loss.smoothness):
            return self._report(
                Verdict.INCONCLUSIVE, float("nan"), float("nan"), float("-inf"), 0, None,
                problem.scale, "the loss has kinks, where there is no Hessian",
            )  # fmt: skip
        bound = residual_bound(problem, w, rng, threshold)
        if bound <= threshold:
            return self._report(Verdict.HOLDS, bound, -bound, -bound, 0, None, problem.scale)
        possible = BASIS_BYTES // (8 * max(1, int(w.shape[0] * w.shape[1])))
        # A run too short for the bound still looks for a witness, at a tenth of the cost.
        steps = self.max_steps if possible >= self.max_steps // 2 else 30
        found = least_curvature(problem, w, rng, target=threshold, max_steps=steps)
        vector = like(found.vector, w)
        # The Rayleigh quotient is recomputed from a Hessian product: Ritz values drift.
        quotient = 0.0
        if found.vector.size:
            image = problem.hvp(problem.evaluate(w), vector)
            quotient = inner(vector, image) / inner(vector, vector)
        if quotient < -threshold:
            verdict = Verdict.FAILS
        elif found.lower >= -threshold:
            verdict = Verdict.HOLDS
        else:
            verdict = Verdict.INCONCLUSIVE
        witness = {"direction": found.vector} if verdict is Verdict.FAILS else None
        return self._report(
            verdict, max(0.0, -quotient), quotient, found.lower, found.steps, witness, problem.scale
        )

    def _report(
        self,
        verdict: Verdict,
        measured: float,
        quotient: float,
        lower: float,
        products: int,
        witness: dict[str, np.ndarray] | None,
        scale: float,
        reason: str = "",
    ) -> CertificateReport:
        return CertificateReport(
            name=self.name,
            verdict=verdict,
            measured=measured / scale,
            threshold=self.tolerance,
            rigor=Rigor.HIGH_PROBABILITY,
            statement="no direction bends the objective downwards by more than the threshold"
            + (f" ({reason})" if reason else ""),
            assumptions=(PROBABILITY, EXACT_LANCZOS),
            source="Kuczynski and Wozniakowski 1992, theorem 4.2, on the negative Hessian; small "
            "residuals: own derivation",
            witness=witness,
            details={
                "least_ritz_value": quotient,
                "lower_bound": lower,
                "hessian_products": float(products),
            },
        )


def residual_bound(
    problem: FactorizedProblem, w: Array, rng: np.random.Generator, threshold: float
) -> float:
    """Return a bound of eps_H from the loss's slope s alone; infinite when it does not apply.

    The Hessian is J^T H J + ridge, positive for a convex loss, plus the form 2 <A*(s), X(D)>, which
    is at least -||A*(s)||_2 (||L(D)||^2 + ||R(D)||^2): ||A*(s)||_2 bounds eps_H, twice that where
    both parts are the same U. A fit to rounding needs no Hessian product at all.
    """
    if any(not isinstance(regularizer, SquaredNorm) for regularizer in problem.regularizers):
        return float("inf")
    if not problem.factorization.columnwise or not np.isfinite(problem.loss.smoothness):
        return float("inf")
    transported = problem.transported(problem.slope(w))
    form = problem.factorization.dual(transported, problem.shape)
    matrix, shape = (transported, problem.shape) if form is None else (form, form.shape)
    found = largest_singular_value(matrix, shape, rng, target=0.5 * threshold, max_steps=60)
    return found.upper * problem.factorization.ridge_weight
