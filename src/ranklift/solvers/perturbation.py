"""Random perturbations that leave a saddle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..arrays import as_point, to_numpy
from ..problem import FactorizedProblem, Point
from ..status import Status
from .steps import StepState

_SALT = 0x50474421
"""A stream of its own: a user's start drawn from the same seed must not be the perturbation."""


@dataclass
class PerturbedState(StepState):
    """Add how many perturbations were drawn."""

    perturbations: int = 0


@dataclass(frozen=True)
class Perturbation:
    """Say how far to jump, and how long to wait for a gain.

    Parameters
    ----------
    radius : float
        Of the ball, relative to ||W||_F + sqrt(||A*(b)||_2). Small ones keep the value near that of
        the saddle; the time to leave grows with the logarithm of 1 / radius.
    burst : int
        Steps after which a perturbation must have paid.
    attempts : int
        Perturbations of one saddle before the run ends with STALLED.
    seed : int
    """

    radius: float
    burst: int
    attempts: int
    seed: int

    def leave(
        self,
        problem: FactorizedProblem,
        state: PerturbedState,
        step: Callable[[PerturbedState], PerturbedState],
    ) -> PerturbedState:
        """Perturb, descend by ``step``, and keep what came out lower."""
        for _ in range(self.attempts):
            state = replace(state, perturbations=state.perturbations + 1)
            trial = replace(state, point=self._perturbed(problem, state), status=None)
            for _ in range(self.burst):
                following = step(trial)
                if following.status is not None:
                    break
                trial = following
            # Leaving means a gain well above what rounding or the start of the descent gives.
            if trial.point.value < state.point.value * (1 - 1e-12):
                return replace(trial, perturbations=state.perturbations)
        return replace(state, status=Status.STALLED)

    def _perturbed(self, problem: FactorizedProblem, state: PerturbedState) -> Point:
        """Return a uniform point of the ball about W."""
        w = state.point.w
        rng = np.random.default_rng([_SALT, self.seed, state.perturbations])
        direction = rng.standard_normal(tuple(w.shape))
        length = rng.random() ** (1.0 / direction.size) / np.linalg.norm(direction)
        size = float(np.linalg.norm(to_numpy(w))) + problem.scale**0.5
        return problem.evaluate(w + as_point(self.radius * size * length * direction, w))
