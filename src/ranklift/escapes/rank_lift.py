"""Rank lift: new columns along the directions that violate the dual certificate.

Along X + tau sum_i t_i u_i v_i^T the regularised objective changes by
-tau sum_i t_i (sigma_i - lambda) + tau^2/2 ||A(sum_i t_i u_i v_i^T)||^2 with sigma_i the singular
values of A*(b - A(X)) above lambda. With t_i = sigma_i - lambda the best tau is closed form and
the decrease (sum_i t_i^2)^2 / (2 ||A(.)||^2) is guaranteed, at any point X. For another loss the
quadratic term is an upper bound times the Lipschitz constant of its slope.
Source: notes (certificates.md); one direction: Kim et al., BM-Global (JMLR 25, 23-0049).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..arrays import Array, inner, like, namespace
from ..certificates import CertificateReport
from ..certificates.duality import DualityGap, duality_gap
from ..problem import FactorizedProblem
from .base import Candidate, Escape


@dataclass(frozen=True)
class RankLift(Escape):
    """Append up to ``columns`` columns along the violating directions.

    Parameters
    ----------
    columns : int, default 4
    max_steps : int, default 60
        Lanczos steps to find them.
    """

    columns: int = 4
    max_steps: int = 60

    keeps_rank: ClassVar[bool] = False

    def candidates(
        self,
        problem: FactorizedProblem,
        w: Array,
        reports: Mapping[str, CertificateReport],
        rng: np.random.Generator,
    ) -> list[Candidate]:
        """Find the directions of A*(residual) above lambda and lift along them."""
        if not problem.factorization.columnwise or not np.isfinite(problem.loss.smoothness):
            return []  # no columns to append, or no slope to trust
        level = problem.ridge / problem.factorization.ridge_weight
        gap = duality_gap(
            problem,
            w,
            # Without regularisation any positive correlation lowers the loss.
            max(level, 1e-12 * problem.scale),
            rng,
            tolerance=0.0,
            max_steps=self.max_steps,
            vectors=self.columns,
        )
        lifted = lift(problem, w, gap, level)
        if lifted is None:
            return []
        before, value = problem.evaluate(w).value, problem.evaluate(lifted).value
        return [Candidate(lifted, value, before)] if value < before else []


def lift(
    problem: FactorizedProblem, w: Array, gap: DualityGap, regularization: float
) -> Array | None:
    """Return W with a new column for every direction of the gap, or None when there is none."""
    if gap.excess.size == 0:
        return None
    unit = max(regularization, 1e-12 * problem.scale)
    weights = (gap.excess * unit) - regularization
    keep = weights > 0
    if not keep.any():
        return None
    weights = weights[keep]
    columns = like(np.ascontiguousarray(gap.directions[:, keep] * np.sqrt(weights)), w)
    response = problem.predict(columns)
    energy = float(inner(response, response)) * problem.loss.smoothness
    if energy == 0.0:
        return None
    root = float(np.sqrt(float(weights @ weights) / energy))
    return namespace(w).concat([w, columns * root], axis=1)
