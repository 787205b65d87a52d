"""Rank excursion: go down with more columns, and come back to the rank."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..arrays import Array
from ..certificates import CertificateReport
from ..errors import InputError
from ..problem import FactorizedProblem
from ..solvers import Stopping, TrustRegion
from .base import Candidate, Escape
from .rank_lift import RankLift


@dataclass(frozen=True)
class RankExcursion(Escape):
    """Append columns along directions of descent, search there, and cut back to the rank.

    Parameters
    ----------
    columns : int, default 1
    max_iterations : int, default 100
        Of trust-region Newton at the higher rank: as much as a descent.

    Notes
    -----
    With more columns fewer minima are spurious (``theory.search_rank_for``); the leading part of
    what is found there may lie in another basin. Cost: a rank lift and a descent.
    """

    columns: int = 1
    max_iterations: int = 100

    descends: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.columns < 1 or self.max_iterations < 1:
            raise InputError(
                f"columns {self.columns}, max_iterations {self.max_iterations}",
                "pass positive numbers",
            )

    def candidates(
        self,
        problem: FactorizedProblem,
        w: Array,
        reports: Mapping[str, CertificateReport],
        rng: np.random.Generator,
    ) -> list[Candidate]:
        """Lift, descend, truncate."""
        lifted = RankLift(columns=self.columns).propose(problem, w, reports, rng)
        if lifted is None or not w.shape[1]:
            return []
        stopping = Stopping(max_iterations=self.max_iterations)
        found = TrustRegion().run(problem, lifted.w, stopping=stopping)
        back = problem.factorization.truncate(problem.gauge(found.point.w), int(w.shape[1]))
        return [Candidate(back, problem.evaluate(back).value, lifted.before)]
