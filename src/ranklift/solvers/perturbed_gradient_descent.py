"""Gradient descent that leaves saddles by random perturbations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ..arrays import like, to_numpy
from ..problem import FactorizedProblem, Point
from ..second_order import LeastCurvature
from ..status import Status
from .base import Solver, State
from .steps import StepState, advance, checked_step

_SALT = 0x50474421
"""A stream of its own: a user's start drawn from the same seed must not be the perturbation."""


@dataclass
class PerturbedState(StepState):
    """Add how many perturbations were drawn, and whether the last one still has to be tried."""

    perturbations: int = 0


@dataclass(frozen=True)
class PerturbedGradientDescent(Solver):
    """Follow the negative gradient; at a saddle start again from a random point near it.

    Where the gradient is small and the least curvature negative, W + radius * ball is followed
    for ``burst`` steps; it replaces W when its value has come below that of W.

    Parameters
    ----------
    step_size : "exact" or float, default "exact"
        As in ``GradientDescent``.
    radius : float, default 1e-2
        Of the ball, relative to ||W||_F + sqrt(||A*(b)||_2). Small ones keep the value near that of
        the saddle; the time to leave grows with the logarithm of 1 / radius.
    burst : int, default 200
        Steps after which a perturbation must have paid.
    attempts : int, default 5
        Perturbations of one saddle before the run ends with STALLED.
    curvature_tol : float, default 1e-6
        eps_H / ||A*(b)||_2 of the near-second-order point.
    seed : int, default 0

    Notes
    -----
    A burst is one step of the loop, so that recorded values never rise; its gradients are counted
    in ``problem.counts``. Source: Jin, Ge, Netrapalli, Kakade, Jordan (2017) for the idea; that the
    curvature is measured instead of waited for, and the acceptance rule, are own design.
    """

    step_size: float | str = "exact"
    radius: float = 1e-2
    burst: int = 200
    attempts: int = 5
    curvature_tol: float = 1e-6
    seed: int = 0

    second_order: ClassVar[bool] = True

    def init(self, problem: FactorizedProblem, w: object) -> PerturbedState:
        """Evaluate the start."""
        step = checked_step(self.step_size)
        length = float("inf") if isinstance(step, str) else step / problem.scale
        return PerturbedState(problem.evaluate(w), step_size=length)

    def step(self, problem: FactorizedProblem, state: State) -> State:
        """Move along the negative gradient."""
        assert isinstance(state, PerturbedState)
        return advance(problem, state, -state.point.gradient)

    def leave_saddle(
        self, problem: FactorizedProblem, state: State, lowest: LeastCurvature
    ) -> State:
        """Perturb, descend, and keep what came out lower."""
        assert isinstance(state, PerturbedState)
        for _ in range(self.attempts):
            state = replace(state, perturbations=state.perturbations + 1)
            trial = replace(state, point=self._perturbed(problem, state), status=None)
            for _ in range(self.burst):
                following = advance(problem, trial, -trial.point.gradient)
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
        host = to_numpy(w)
        size = float(np.linalg.norm(host)) + problem.scale**0.5
        change = (self.radius * size * length * direction).astype(host.dtype)
        return problem.evaluate(w + like(change, w))
