"""Random perturbations: a jump of a given length in a random direction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..arrays import Array, as_point, to_numpy
from ..certificates import CertificateReport
from ..errors import InputError
from ..problem import FactorizedProblem
from .base import Candidate, Escape


@dataclass(frozen=True)
class RandomPerturbation(Escape):
    """Propose W + radius (||W||_F + sqrt(||A*(b)||_2)) times random unit directions.

    Parameters
    ----------
    radius : float, default 0.5
        Large against what leaves a saddle: a strict minimum has a basin.
    count : int, default 4

    Notes
    -----
    Cost: one evaluation a candidate.
    """

    radius: float = 0.5
    count: int = 4

    descends: ClassVar[bool] = False
    random: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.radius < np.inf or self.count < 1:
            raise InputError(
                f"radius {self.radius}, count {self.count}", "pass a positive radius and count"
            )

    def candidates(
        self,
        problem: FactorizedProblem,
        w: Array,
        reports: Mapping[str, CertificateReport],
        rng: np.random.Generator,
    ) -> list[Candidate]:
        """Draw the directions."""
        if not w.shape[1]:
            return []
        before, host = problem.evaluate(w).value, to_numpy(w)
        size = self.radius * (float(np.linalg.norm(host)) + problem.scale**0.5)
        found = []
        for _ in range(self.count):
            direction = rng.standard_normal(host.shape)
            jump = size * direction / np.linalg.norm(direction)
            moved = w + as_point(jump, w)
            found.append(Candidate(moved, problem.evaluate(moved).value, before))
        return sorted(found, key=lambda candidate: candidate.value)
