"""Stationarity: the first measured number of a near-second-order point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..arrays import Array, to_numpy
from ..problem import FactorizedProblem
from ..status import Rigor, Verdict
from .base import Certificate, CertificateReport


@dataclass(frozen=True)
class Stationarity(Certificate):
    """Check eps_g = ||gradient|| / (||A*(b)||_2 ||W||) <= tolerance.

    Parameters
    ----------
    tolerance : float, default 1e-6

    Notes
    -----
    One evaluation. The gradient is recomputed, and the report carries the balanced W: an
    unbalanced W can hide a large gradient of the same X behind a tiny factor.
    """

    tolerance: float = 1e-6
    name: ClassVar[str] = "stationarity"

    def check(
        self, problem: FactorizedProblem, w: Array, rng: np.random.Generator
    ) -> CertificateReport:
        """Recompute the gradient at the balanced factors."""
        point = problem.evaluate(problem.gauge(w))
        eps_g = problem.relative_gradient(point)
        holds = eps_g <= self.tolerance
        verdict = Verdict.HOLDS if holds else Verdict.FAILS
        reason = ""
        if not np.isfinite(problem.loss.smoothness):
            # A subgradient of one's own choice neither shows nor excludes a stationary point.
            verdict, reason = Verdict.INCONCLUSIVE, " (the loss has kinks: only subgradients exist)"
        return CertificateReport(
            name=self.name,
            verdict=verdict,
            measured=eps_g,
            threshold=self.tolerance,
            # A rounding error of the gradient is about 1e-15 of its scale: far below the tolerance.
            rigor=Rigor.HIGH_PROBABILITY,
            statement="the objective does not change to first order around this point" + reason,
            assumptions=("gradient evaluated in floating point",),
            source="definition of a near-second-order point, first number",
            witness=None
            if verdict is not Verdict.FAILS
            else {"gradient": to_numpy(point.gradient)},
            details={"gradient_norm": point.gradient_norm, "scale": problem.scale},
        )
