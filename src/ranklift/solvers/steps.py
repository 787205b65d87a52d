"""How far to go along a direction: to the exact minimum, or by a fixed step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from ..arrays import Array, inner
from ..errors import InputError
from ..problem import FactorizedProblem, Point
from ..status import Status
from .base import State

SLOPE_IN_DOUBT = 1e-8
"""eps_g at which the decrease of a step, of the order of its square, is lost in the value."""

MOST_HALVINGS = 40
"""A step 1e-12 times the first that still climbs: the direction is none of descent."""


@dataclass
class StepState(State):
    """Add the step length of the fixed-step rule."""

    step_size: float = float("nan")


AnyStepState = TypeVar("AnyStepState", bound=StepState)


def first_step(step_size: float | str, unit: float) -> float:
    """Return step_size / unit, infinite for "exact".

    Raises
    ------
    InputError
        For anything but "exact" and positive numbers.
    """
    if step_size == "exact":
        return float("inf")
    if isinstance(step_size, (str, bool)) or not 0 < step_size < float("inf"):
        raise InputError(f"step_size {step_size!r}", 'pass "exact" or a positive number')
    return float(step_size) / unit


def advance(problem: FactorizedProblem, state: AnyStepState, direction: Array) -> AnyStepState:
    """Return the state after one step along a direction, or STALLED where none lowers the value.

    With an infinite ``step_size`` the step goes to the exact minimum along the line (a polynomial
    for the squared loss). A finite one is kept for the whole run, as papers have it, unless the
    value rises: it is then halved for good, which a step below the inverse curvature never needs.
    """
    point = state.point
    if state.step_size == float("inf"):
        t, decrease = problem.minimize_along(point, direction)
        following = problem.evaluate(point.w + t * direction)
        if decrease <= 0.0 or not _descends(problem, point, following, direction):
            return replace(state, status=Status.STALLED)
        return replace(state, point=following)
    t = state.step_size
    for _ in range(MOST_HALVINGS):
        following = problem.evaluate(point.w + t * direction)
        if _descends(problem, point, following, direction):
            return replace(state, point=following, step_size=t)
        t *= 0.5
    return replace(state, status=Status.STALLED)


def _descends(problem: FactorizedProblem, point: Point, following: Point, direction: Array) -> bool:
    """Whether a step lowers the value, as far as rounding lets one see.

    A start of relative size alpha lowers it by alpha^2, which rounding hides below 1e-8. Where
    values agree to rounding the slopes decide, as in the line search of Hager and Zhang (2005): one
    that still points downwards at the far end passes, unless the gradient is itself at rounding,
    where only one that falls tells progress from noise.
    """
    if following.value < point.value:
        return True
    if following.value > point.value * (1 + 4 * np.finfo(float).eps):
        return False
    if problem.relative_gradient(point) > SLOPE_IN_DOUBT:
        return inner(following.gradient, direction) <= 0.0
    return following.value == point.value and following.gradient_norm < point.gradient_norm
