"""Trust-region Newton-CG that stops at near-second-order points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from ..arrays import Array, like
from ..linalg import conjugate_gradients
from ..preconditioners import Map, preconditioner
from ..problem import FactorizedProblem, Point
from ..second_order import LeastCurvature
from ..status import Status
from .base import Solver, State

Precondition = Callable[[FactorizedProblem, Point, float], Map | None]


@dataclass
class TrustState(State):
    """Add the trust radius, and how often in a row a step was refused."""

    radius: float = float("inf")
    rejected: int = 0


@dataclass(frozen=True)
class TrustRegion(Solver):
    """Newton's method with Steihaug's CG inside a trust region, then a curvature test.

    A stationary point is accepted only when Lanczos finds no eigenvalue of the Hessian below
    -curvature_tol ||A*(b)||_2; otherwise the search goes on along the eigenvector found.

    Parameters
    ----------
    curvature_tol : float, default 1e-6
        eps_H of the near-second-order point, relative to ||A*(b)||_2; infinite skips the test.
    inner_rtol : float, default 0.1
    max_inner : int, default 300
        Most Hessian products a step.
    seed : int, default 0
        Draws the Lanczos start.
    precondition : callable, default ``preconditioners.preconditioner``
        Called with the problem, the point and a shift of the Hessian; see ``explicit_hessian``.

    Notes
    -----
    Source: Nocedal and Wright, Numerical Optimization, chapters 4 and 7; the exact quartic line
    search along an accepted step and the balanced gauge are own design. Cost: one Hessian product
    a CG step.
    """

    curvature_tol: float = 1e-6
    inner_rtol: float = 0.1
    max_inner: int = 300
    seed: int = 0
    precondition: Precondition = field(default=preconditioner, repr=False, compare=False)

    second_order: ClassVar[bool] = True

    def init(self, problem: FactorizedProblem, w: Array) -> TrustState:
        """Balance and evaluate the start."""
        return TrustState(problem.evaluate(problem.gauge(w)))

    def step(self, problem: FactorizedProblem, state: State) -> TrustState:
        """Take one step: accepted when at least a tenth of the predicted decrease is real."""
        assert isinstance(state, TrustState)
        point = state.point
        relative = problem.relative_gradient(point)
        approximate_inverse = self.precondition(
            problem, point, problem.ridge + 1e-6 * problem.scale * min(1.0, np.sqrt(relative))
        )
        found = conjugate_gradients(
            lambda d: problem.hvp(point, d),
            point.gradient,
            preconditioner=approximate_inverse,
            rtol=min(self.inner_rtol, max(1e-6, np.sqrt(relative))),
            max_iterations=self.max_inner,
            radius=state.radius,
        )
        length = found.length
        t, decrease = problem.minimize_along(point, found.step)
        # The exact minimum along the step never does worse than the step itself.
        following = problem.evaluate(problem.gauge(point.w + t * found.step))
        rounding = 1e-14 * abs(point.value)
        improved = following.value < point.value or (
            following.value <= point.value + rounding
            and following.gradient_norm < point.gradient_norm
        )
        if decrease <= 0.0 or not improved:
            if state.rejected >= 10 or found.predicted_decrease <= rounding:
                return replace(state, status=Status.STALLED)
            radius = 0.25 * min(state.radius, length)
            return replace(state, radius=radius, rejected=state.rejected + 1)
        ratio = decrease / max(found.predicted_decrease, np.finfo(float).tiny)
        radius = state.radius
        if ratio < 0.25 or t < 0.25:
            radius = max(0.25, min(1.0, t)) * min(radius, length)
        elif found.on_boundary and ratio > 0.75:
            radius = 2 * max(1.0, t) * radius
        return TrustState(following, radius=radius)

    def leave_saddle(
        self, problem: FactorizedProblem, state: State, lowest: LeastCurvature
    ) -> TrustState:
        """Search along the direction of negative curvature."""
        assert isinstance(state, TrustState)
        direction = like(lowest.vector, state.point.w)
        t, decrease = problem.minimize_along(state.point, direction)
        following = problem.evaluate(problem.gauge(state.point.w + t * direction))
        if decrease <= 0.0 or following.value >= state.point.value:
            # Curvature within rounding of the value: there is nowhere lower to go.
            return replace(state, status=Status.STALLED)
        return TrustState(following)
