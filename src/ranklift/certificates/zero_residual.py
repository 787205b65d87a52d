"""Zero residual: nothing can fit the data better (C4, first half)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..arrays import Array, norm
from ..problem import FactorizedProblem
from ..status import Rigor, Verdict
from .base import Certificate, CertificateReport


@dataclass(frozen=True)
class ZeroResidual(Certificate):
    """Check ||A(X) - b|| <= tolerance ||b||: X is then globally optimal without regularisation.

    It says that X fits, never that X is the only matrix that does: see Identifiability.

    Parameters
    ----------
    tolerance : float, default 1e-8
    """

    tolerance: float = 1e-8
    name: ClassVar[str] = "zero_residual"

    def check(
        self, problem: FactorizedProblem, w: Array, rng: np.random.Generator
    ) -> CertificateReport:
        """Recompute the residual. A residual above the tolerance decides nothing."""
        residual = problem.predict(w) - problem.b
        b_norm = norm(problem.b)
        relative = norm(residual) / b_norm if b_norm > 0 else norm(residual)
        optimal = problem.loss.zero_at_fit
        fits = optimal and relative <= self.tolerance
        reason = "" if optimal else f" (a fit is not the optimum of {type(problem.loss).__name__})"
        return CertificateReport(
            name=self.name,
            verdict=Verdict.HOLDS if fits else Verdict.INCONCLUSIVE,
            measured=relative,
            threshold=self.tolerance,
            rigor=Rigor.HIGH_PROBABILITY,
            statement="the matrix reproduces every measurement, so none fits better" + reason,
            assumptions=("residual evaluated in floating point",),
            source="a residual cannot be smaller than zero (C4)",
        )
