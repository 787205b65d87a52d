"""Negative curvature: leave a saddle along the lowest eigenvector of the Hessian."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..arrays import Array, like, norm
from ..certificates import CertificateReport
from ..problem import FactorizedProblem
from ..second_order import least_curvature
from .base import Candidate, Escape


@dataclass(frozen=True)
class NegativeCurvature(Escape):
    """Go to the lowest point of the exact quartic along the lowest Hessian eigenvector.

    Parameters
    ----------
    max_steps : int, default 200
        Lanczos steps, one Hessian product each.
    """

    max_steps: int = 200

    def candidates(
        self,
        problem: FactorizedProblem,
        w: Array,
        reports: Mapping[str, CertificateReport],
        rng: np.random.Generator,
    ) -> list[Candidate]:
        """Use the witness of a failed curvature report, else search for a direction."""
        report = reports.get("curvature")
        if report is not None and report.witness is not None:
            direction = report.witness["direction"]
            w = problem.gauge(w)  # the report's direction belongs to the balanced factors
        else:
            direction = least_curvature(problem, w, rng, max_steps=self.max_steps).vector
        point = problem.evaluate(w)
        t, decrease = problem.minimize_along(point, like(direction, w))
        # A minimum is flat along its gauge orbit: the quartic then falls by rounding only.
        if decrease <= 1e-14 * (abs(point.value) + 1e-14 * norm(problem.b) ** 2):
            return []
        moved = w + t * like(direction, w)
        value = problem.evaluate(moved).value
        return [Candidate(moved, value, point.value)] if value < point.value else []
