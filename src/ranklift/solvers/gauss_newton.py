"""Damped Gauss-Newton (Levenberg-Marquardt) in the balanced gauge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import Array
from ..linalg import conjugate_gradients
from ..preconditioners import preconditioner
from ..problem import FactorizedProblem, Point
from ..status import Status
from .base import Solver, State


@dataclass
class DampedState(State):
    """Add the damping mu to the state."""

    damping: float = 0.0


@dataclass(frozen=True)
class GaussNewton(Solver):
    """Solve (J^T J + mu I) D = -gradient by preconditioned CG, then search the quartic along D.

    Parameters
    ----------
    damping : float, default 1e-3
        First mu, as a share of ||A*(b)||_2; it falls tenfold with every good step and follows
        the gradient to 0, so that convergence to a zero residual is superlinear.
    inner_rtol : float, default 0.1
        First tolerance of CG; tightened in proportion to the gradient (Eisenstat-Walker).
    max_inner : int, default 300
        Most Hessian products a step.

    Notes
    -----
    The blocks of J^T J by rows of W precondition CG (entries, identity); the gauge is balanced
    after every step, without which the factors drift apart and J degenerates. Cost: one
    Gauss-Newton product a CG step, four applications for the rest. Source: Levenberg-Marquardt;
    block preconditioner and gauge own design.
    """

    damping: float = 1e-3
    inner_rtol: float = 0.1
    max_inner: int = 300

    def init(self, problem: FactorizedProblem, w: Array) -> DampedState:
        """Balance and evaluate the start."""
        return DampedState(problem.evaluate(problem.gauge(w)), damping=self.damping * problem.scale)

    def step(self, problem: FactorizedProblem, state: State) -> DampedState:
        """Take one damped step; raise the damping until the exact line search finds a decrease."""
        assert isinstance(state, DampedState)
        point, damping = state.point, state.damping
        relative = problem.relative_gradient(point)
        rtol = min(self.inner_rtol, max(1e-6, np.sqrt(relative)))
        for _ in range(8):
            found = conjugate_gradients(
                lambda d, mu=damping: problem.gauss_newton_product(point, d) + mu * d,
                point.gradient,
                preconditioner=preconditioner(problem, point, damping + problem.ridge),
                rtol=rtol,
                max_iterations=self.max_inner,
            )
            following, decrease, t = _line_search(problem, point, found.step)
            if following is not None:
                good = decrease >= 0.5 * found.predicted_decrease and 0.5 <= t <= 2.0
                damping = damping * (0.1 if good else 2.0)
                return DampedState(following, damping=max(damping, 1e-16 * problem.scale))
            damping = 10 * max(damping, 1e-8 * problem.scale)
        return DampedState(point, Status.STALLED, damping=damping)


def _line_search(
    problem: FactorizedProblem, point: Point, direction: Array
) -> tuple[Point | None, float, float]:
    t, decrease = problem.minimize_along(point, direction)
    if decrease <= 0.0:
        return None, 0.0, 0.0
    following = problem.evaluate(problem.gauge(point.w + t * direction))
    # Below rounding of the value the gradient decides: the last digits still halve it.
    rounding = 1e-14 * max(abs(point.value), abs(following.value))
    if following.value <= point.value or (
        following.value <= point.value + rounding and following.gradient_norm < point.gradient_norm
    ):
        return following, decrease, t
    return None, 0.0, 0.0
