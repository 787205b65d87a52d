"""Curvature: the second measured number of a near-second-order point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..arrays import Array, inner, like
from ..problem import FactorizedProblem
from ..solvers.trust_region import least_curvature
from ..spectral import BASIS_BYTES
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
        return CertificateReport(
            name=self.name,
            verdict=verdict,
            measured=max(0.0, -quotient) / problem.scale,
            threshold=self.tolerance,
            rigor=Rigor.HIGH_PROBABILITY,
            statement="no direction bends the objective downwards by more than the threshold",
            assumptions=(PROBABILITY, EXACT_LANCZOS),
            source="Kuczynski and Wozniakowski 1992, theorem 4.2, on the negative Hessian",
            witness={"direction": found.vector} if verdict is Verdict.FAILS else None,
            details={
                "least_ritz_value": quotient,
                "lower_bound": found.lower,
                "hessian_products": float(found.steps),
            },
        )
