"""Restarts: descend again from a start that knows nothing of the point left, or from A*(b)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..arrays import Array, as_point, inner
from ..certificates import CertificateReport
from ..errors import InputError
from ..initializers import spectral
from ..problem import FactorizedProblem
from .base import Candidate, Escape


@dataclass(frozen=True)
class RandomRestart(Escape):
    """Start again from Gaussian factors, scaled along their ray to the best fit.

    Parameters
    ----------
    count : int, default 4
        Starts proposed.

    Notes
    -----
    What every other escape has to beat at the same number of descents. With other losses than the
    squared one starts keep the size of A*(b). Cost: three applications and an adjoint a start.
    """

    count: int = 4

    descends: ClassVar[bool] = False
    random: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.count < 1:
            raise InputError(f"count = {self.count}", "ask for at least one start")

    def candidates(
        self,
        problem: FactorizedProblem,
        w: Array,
        reports: Mapping[str, CertificateReport],
        rng: np.random.Generator,
    ) -> list[Candidate]:
        """Draw the starts."""
        if not w.shape[1]:
            return []
        before = problem.evaluate(w).value
        found = []
        for _ in range(self.count):
            draw = np.sqrt(problem.scale / w.shape[0]) * rng.standard_normal(tuple(w.shape))
            start = as_point(draw, w)
            image = problem.predict(start)
            energy, fit = inner(image, image), inner(image, problem.b)
            if problem.squared and energy > 0 and fit > 0:
                start = start * (fit / energy) ** (1.0 / problem.factorization.degree)
            found.append(Candidate(start, problem.evaluate(start).value, before))
        return sorted(found, key=lambda candidate: candidate.value)


@dataclass(frozen=True)
class SpectralRestart(Escape):
    """Start again from the leading singular vectors of A*(b).

    Notes
    -----
    The same point every time: worth one descent, in the first round. Cost: that of
    ``initializers.spectral``.
    """

    descends: ClassVar[bool] = False

    def candidates(
        self,
        problem: FactorizedProblem,
        w: Array,
        reports: Mapping[str, CertificateReport],
        rng: np.random.Generator,
    ) -> list[Candidate]:
        """Return the spectral start."""
        if not w.shape[1] or not np.isfinite(problem.loss.smoothness):
            return []
        start = spectral(problem, problem.search_rank(w), rng)
        if tuple(start.shape) != tuple(w.shape):
            return []  # fewer positive eigenvalues than columns
        value = problem.evaluate(start).value
        return [Candidate(start, value, problem.evaluate(w).value)]
