"""PSD gap: distance to the best positive semidefinite matrix of bounded trace (C0)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..arrays import Array, inner, like
from ..problem import FactorizedProblem
from ..spectral import largest_eigenvalue
from ..status import Rigor, Verdict
from .base import EXACT_LANCZOS, PROBABILITY, Certificate, CertificateReport


@dataclass(frozen=True)
class PSDGap(Certificate):
    """Check f(X) - f* <= h + R nu over all M >= 0 with tr M <= R.

    G = sym A*(slope of the loss), A*(A(UU^T) - b) for the squared one, h = <G, UU^T>,
    nu = max(0, -lambda_min(G)): convexity gives
    f(X) - f(M) <= <G, UU^T - M> <= h + nu tr M. FAILS when a rank-one step along the eigenvector
    lowers f by more than the tolerance.

    Parameters
    ----------
    trace_bound : float, optional
        R, in units of X. The default 2 (tr(UU^T) + nu / ||A(yy^T)||^2) allows for the best step
        along the lowest eigenvector y of G: at a point near 0, twice its own trace would allow for
        no other matrix, and everything would look optimal.
    tolerance : float, default 1e-6
        Of the loss at X = 0, 1/2 ||b||^2 for the squared one.
    max_steps : int, default 1000
        Most Lanczos steps.
    """

    trace_bound: float | None = None
    tolerance: float = 1e-6
    max_steps: int = 1000
    name: ClassVar[str] = "psd_gap"

    def check(
        self, problem: FactorizedProblem, w: Array, rng: np.random.Generator
    ) -> CertificateReport:
        """Bound the least eigenvalue of G by Lanczos."""
        if not problem.factorization.definite:
            return self._report(
                Verdict.INCONCLUSIVE, float("nan"), {}, None, "only for positive semidefinite X"
            )
        if not np.isfinite(problem.loss.smoothness):
            return self._report(
                Verdict.INCONCLUSIVE, float("nan"), {}, None, "the loss has kinks: use duality_gap"
            )
        slope_vector = problem.slope(w)
        form = problem.factorization.dual(problem.transported(slope_vector), problem.shape)
        assert form is not None
        trace = float(inner(w, w))
        bound = 2 * trace if self.trace_bound is None else self.trace_bound
        unit = problem.loss_at_zero if problem.loss_at_zero > 0 else 1.0
        h = float(inner(slope_vector, problem.predict(w)))
        target = 0.5 * self.tolerance * unit / bound if bound > 0 else None

        def negative(x: np.ndarray) -> np.ndarray:
            return -(form @ x)

        found = largest_eigenvalue(
            negative, form.shape[0], rng, target=target, max_steps=self.max_steps
        )
        if not np.isfinite(found.upper):
            # Left early, at a witness: a gap that is known to be open is still worth a number.
            found = largest_eigenvalue(
                negative, form.shape[0], rng, target=2 * found.ritz, stop_on_witness=False,
                max_steps=self.max_steps,
            )  # fmt: skip
        nu = max(0.0, found.upper)
        y = found.vectors[:, :1]
        response = problem.predict(like(y, problem.b))
        energy = float(inner(response, response)) * problem.loss.smoothness
        slope = max(0.0, found.ritz)
        # A(yy^T) = 0 makes y^T G y = 0: any slope is then rounding.
        step = slope / energy if energy > 0 else 0.0
        if self.trace_bound is None:
            bound = 2 * (trace + (nu / energy if energy > 0 else 0.0))
        else:
            step = min(step, max(0.0, bound - trace))
        decrease = step * (slope - 0.5 * step * energy)
        gap = (max(h, 0.0) + (bound * nu if bound > 0 else 0.0)) / unit
        details = {"nu_upper": nu, "nu_lower": slope, "h": h, "trace_bound": bound}
        if gap <= self.tolerance:
            return self._report(Verdict.HOLDS, gap, details, None, "")
        if decrease > self.tolerance * unit:
            return self._report(Verdict.FAILS, gap, details, y, "")
        return self._report(Verdict.INCONCLUSIVE, gap, details, None, "")

    def _report(
        self,
        verdict: Verdict,
        gap: float,
        details: dict[str, float],
        witness: np.ndarray | None,
        reason: str,
    ) -> CertificateReport:
        statement = "no positive semidefinite matrix within the trace bound fits better"
        return CertificateReport(
            name=self.name,
            verdict=verdict,
            measured=gap,
            threshold=self.tolerance,
            rigor=Rigor.HIGH_PROBABILITY,
            statement=f"{statement} ({reason})" if reason else statement,
            assumptions=(PROBABILITY, EXACT_LANCZOS, "the comparison has trace <= trace_bound"),
            source="convexity of the lifted problem (C0, own derivation)",
            witness=None if witness is None else {"direction": witness},
            details=details,
        )
