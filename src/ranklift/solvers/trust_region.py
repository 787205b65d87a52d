"""Trust-region Newton-CG that stops at near-second-order points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..arrays import Array, like, to_numpy
from ..linalg import conjugate_gradients
from ..preconditioners import preconditioner
from ..problem import FactorizedProblem
from ..spectral import ExtremeEigenvalue, largest_eigenvalue
from ..status import Status
from .base import Solver, State


@dataclass
class TrustState(State):
    """Add the trust radius and the last measured curvature."""

    radius: float = float("inf")
    eps_h: float = float("nan")
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

    second_order: ClassVar[bool] = True

    def init(self, problem: FactorizedProblem, w: Array) -> TrustState:
        """Balance and evaluate the start."""
        return TrustState(problem.evaluate(problem.gauge(w)))

    def step(self, problem: FactorizedProblem, state: State) -> TrustState:
        """Take one step: accepted when at least a tenth of the predicted decrease is real."""
        assert isinstance(state, TrustState)
        point = state.point
        relative = problem.relative_gradient(point)
        precondition = preconditioner(
            problem, point, problem.ridge + 1e-6 * problem.scale * min(1.0, np.sqrt(relative))
        )
        found = conjugate_gradients(
            lambda d: problem.hvp(point, d),
            point.gradient,
            preconditioner=precondition,
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
                return TrustState(point, Status.STALLED, state.radius, state.eps_h)
            radius = 0.25 * min(state.radius, length)
            return TrustState(point, None, radius, state.eps_h, state.rejected + 1)
        ratio = decrease / max(found.predicted_decrease, np.finfo(float).tiny)
        radius = state.radius
        if ratio < 0.25 or t < 0.25:
            radius = max(0.25, min(1.0, t)) * min(radius, length)
        elif found.on_boundary and ratio > 0.75:
            radius = 2 * max(1.0, t) * radius
        return TrustState(following, None, radius, state.eps_h)

    def at_stationary_point(self, problem: FactorizedProblem, state: State) -> TrustState:
        """Measure the least curvature; leave along it when it is negative."""
        assert isinstance(state, TrustState)
        if not np.isfinite(self.curvature_tol):
            return TrustState(state.point, Status.CONVERGED, state.radius)
        lowest = least_curvature(
            problem,
            state.point.w,
            np.random.default_rng(self.seed),
            target=self.curvature_tol * problem.scale,
        )
        eps_h = max(0.0, -lowest.ritz_least)
        if eps_h <= self.curvature_tol * problem.scale:
            return TrustState(state.point, Status.SECOND_ORDER, state.radius, eps_h)
        direction = like(lowest.vector, state.point.w)
        t, decrease = problem.minimize_along(state.point, direction)
        following = problem.evaluate(problem.gauge(state.point.w + t * direction))
        if decrease <= 0.0 or following.value >= state.point.value:
            # Curvature within rounding of the value: there is nowhere lower to go.
            return TrustState(state.point, Status.STALLED, state.radius, eps_h)
        return TrustState(following, None, float("inf"), eps_h)

    def measures(self, problem: FactorizedProblem, state: State) -> dict[str, float]:
        """Return eps_g and, once measured, eps_h relative to ||A*(b)||_2."""
        assert isinstance(state, TrustState)
        out = super().measures(problem, state)
        if np.isfinite(state.eps_h):
            out["eps_h"] = state.eps_h / problem.scale
        return out


@dataclass(frozen=True)
class LeastCurvature:
    """The least Hessian eigenvalue, enclosed: a Rayleigh quotient and a lower bound."""

    ritz_least: float
    lower: float
    vector: np.ndarray
    steps: int


def least_curvature(
    problem: FactorizedProblem,
    w: Array,
    rng: np.random.Generator,
    *,
    target: float | None = None,
    max_steps: int = 200,
) -> LeastCurvature:
    """Enclose lambda_min of the Hessian at W by random-start Lanczos on its negative.

    ``target`` (positive) lets the run stop once the bound shows lambda_min >= -target, or a Ritz
    value shows lambda_min < -target. One Hessian product a step.
    """
    rows, columns = w.shape
    if columns == 0:  # X = 0 without a factor to move: no direction at all
        return LeastCurvature(0.0, 0.0, np.zeros((rows, 0)), 0)
    point = problem.evaluate(w)

    def negative_hessian(x: np.ndarray) -> np.ndarray:
        product = problem.hvp(point, like(x.reshape(rows, columns), w))
        return -to_numpy(product).ravel()

    found: ExtremeEigenvalue = largest_eigenvalue(
        negative_hessian, rows * columns, rng, target=target, max_steps=max_steps
    )
    vector = found.vectors[:, 0].reshape(rows, columns).astype(to_numpy(w[:0, :]).dtype)
    return LeastCurvature(-found.ritz, -found.upper, vector, found.steps)
