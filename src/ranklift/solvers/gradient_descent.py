"""Gradient descent with the exact line search."""

from __future__ import annotations

from dataclasses import dataclass

from ..arrays import Array
from ..problem import FactorizedProblem
from ..status import Status
from .base import Solver, State


@dataclass(frozen=True)
class GradientDescent(Solver):
    """Follow the negative gradient to the exact minimum along it.

    Notes
    -----
    Along a line the squared loss is a quartic, so the best step is a cubic equation: no step size
    to choose, and the value falls at every step. Three applies and one adjoint a step. Own
    derivation; the exact line search for factorised problems is folklore.
    """

    def init(self, problem: FactorizedProblem, w: Array) -> State:
        """Evaluate the start."""
        return State(problem.evaluate(w))

    def step(self, problem: FactorizedProblem, state: State) -> State:
        """Move to the lowest point on the line along the gradient."""
        point = state.point
        direction = -point.gradient
        t, decrease = problem.minimize_along(point, direction)
        if decrease <= 0.0:
            return State(point, Status.STALLED)
        following = problem.evaluate(point.w + t * direction)
        if following.value > point.value:
            return State(point, Status.STALLED)
        return State(following)
