"""Rank deficiency: a second-order point with a tiny singular value is globally optimal (C1')."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..arrays import Array, inner, matmul, to_numpy
from ..factorizations import Symmetric
from ..problem import FactorizedProblem
from ..second_order import least_curvature
from ..status import Rigor, Verdict
from .base import EXACT_LANCZOS, PROBABILITY, Certificate, CertificateReport

DENSE_LIMIT = 3000
"""Side up to which the gradient matrix is decomposed densely."""


@dataclass(frozen=True)
class RankDeficiency(Certificate):
    """Check the gap that a second-order point with smallest singular value sigma_r implies.

    With (sigma_r, u, q) the smallest singular triple of U and y the eigenvector of lambda_min(G):
    curvature along y q^T gives nu <= 1/2 (eps_H + sigma_r^2 ||A(u y^T + y u^T)||^2), and
    f - f* <= h + R nu over M >= 0 with tr M <= R.
    Source: Zhang, Fattahi, Zhang, JMLR 24 (2023), proposition 10, in the sharper form C1' of the
    project's notes (own derivation).

    Parameters
    ----------
    trace_bound : float, optional
        R; default 2 (tr(UU^T) + nu / ||A(yy^T)||^2), as in ``PSDGap``.
    tolerance : float, default 1e-6
        Of the loss at X = 0, 1/2 ||b||^2 for the squared one.
    """

    trace_bound: float | None = None
    tolerance: float = 1e-6
    max_steps: int = 600
    name: ClassVar[str] = "rank_deficiency"

    def check(
        self, problem: FactorizedProblem, w: Array, rng: np.random.Generator
    ) -> CertificateReport:
        """Measure eps_H, sigma_r and the response; INCONCLUSIVE when the bound is not reached."""
        n = problem.operator.shape[0]
        plain = problem.with_regularizers()
        smooth = np.isfinite(problem.loss.smoothness)
        if not isinstance(problem.factorization, Symmetric) or n > DENSE_LIMIT or not smooth:
            reason = "for real symmetric problems of moderate size and smooth losses"
            return self._report(float("nan"), {}, reason)
        if w.shape[1] == 0:
            return self._report(float("nan"), {}, "the matrix has no columns to be deficient in")
        w = plain.gauge(w)
        point = plain.evaluate(w)
        transported = plain.operator.adjoint(point.slope)
        eye = np.eye(n)
        dense = to_numpy(matmul(transported, eye))
        gradient_matrix = 0.5 * (dense + dense.T)
        eigenvalues, eigenvectors = np.linalg.eigh(gradient_matrix)
        y = eigenvectors[:, :1]
        host = to_numpy(w)
        sigma = float(np.linalg.norm(host[:, -1]))
        u = host[:, -1:] / sigma if sigma > 0 else np.zeros((n, 1))
        response = to_numpy(plain.operator.apply_product(np.hstack([u, y]), np.hstack([y, u])))
        lowest = least_curvature(plain, w, rng, max_steps=self.max_steps)
        eps_h = max(0.0, -lowest.lower)
        smoothness = plain.loss.smoothness
        nu = max(0.0, 0.5 * (eps_h + sigma**2 * smoothness * float(response @ response)))
        if self.trace_bound is None:
            image = to_numpy(plain.operator.apply_product(y, y))
            energy = smoothness * float(image @ image)
            step = max(0.0, -float(eigenvalues[0])) / energy if energy > 0 else 0.0
            bound = 2 * (float(inner(w, w)) + step)
        else:
            bound = self.trace_bound
        h = max(0.0, 0.5 * float(inner(point.gradient, w)))
        unit = plain.loss_at_zero
        gap = (h + (bound * nu if bound > 0 else 0.0)) / (unit if unit > 0 else 1.0)
        details = {"sigma_r": sigma, "eps_h_upper": eps_h, "nu": nu, "trace_bound": bound}
        return self._report(gap, details, "")

    def _report(self, gap: float, details: dict[str, float], reason: str) -> CertificateReport:
        statement = "the search rank is larger than needed, so this second-order point is global"
        return CertificateReport(
            name=self.name,
            verdict=Verdict.HOLDS if gap <= self.tolerance else Verdict.INCONCLUSIVE,
            measured=gap,
            threshold=self.tolerance,
            rigor=Rigor.HIGH_PROBABILITY,
            statement=f"{statement} ({reason})" if reason else statement,
            assumptions=(PROBABILITY, EXACT_LANCZOS, "the comparison has trace <= trace_bound"),
            source="Zhang, Fattahi, Zhang, JMLR 24 (2023), proposition 10; sharper form own work",
            details=details,
        )
