"""Gradient descent that leaves saddles by random perturbations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..problem import FactorizedProblem
from ..second_order import LeastCurvature
from .base import Solver, State
from .perturbation import Perturbation, PerturbedState
from .steps import advance, first_step


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
        length = first_step(self.step_size, problem.scale)
        return PerturbedState(problem.evaluate(w), step_size=length)

    def step(self, problem: FactorizedProblem, state: State) -> PerturbedState:
        """Move along the negative gradient."""
        assert isinstance(state, PerturbedState)
        return advance(problem, state, -state.point.gradient)

    def leave_saddle(
        self, problem: FactorizedProblem, state: State, lowest: LeastCurvature
    ) -> State:
        """Perturb, descend, and keep what came out lower."""
        assert isinstance(state, PerturbedState)
        jump = Perturbation(self.radius, self.burst, self.attempts, self.seed)
        return jump.leave(problem, state, lambda trial: self.step(problem, trial))
