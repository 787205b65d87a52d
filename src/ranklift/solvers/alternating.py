"""Alternating least squares."""

from __future__ import annotations

from dataclasses import dataclass

from ..arrays import Array, namespace
from ..errors import InputError
from ..factorizations import Asymmetric
from ..linalg import conjugate_gradients
from ..preconditioners import block_solver
from ..problem import FactorizedProblem
from ..status import Status
from .base import Solver, State


@dataclass(frozen=True)
class AlternatingLeastSquares(Solver):
    """Minimise over L with R fixed, then over R with L fixed.

    Each half is a linear least-squares problem. Where A has cheap row blocks (sampled entries, the
    identity) it falls apart into one k x k system a row and is solved exactly; elsewhere
    by conjugate gradients.

    Parameters
    ----------
    inner_rtol : float, default 1e-3
        Tolerance of conjugate gradients where they are needed.
    max_inner : int, default 100

    Raises
    ------
    InputError
        With a factorization that has no two separate factors.

    Notes
    -----
    Cost of a step: k^2 multiply-adds a sample and k^3 a row, twice. Source: classical; see Koren,
    Bell, Volinsky (2009) for completion.
    """

    inner_rtol: float = 1e-3
    max_inner: int = 100

    def init(self, problem: FactorizedProblem, w: Array) -> State:
        """Balance and evaluate the start."""
        if not isinstance(problem.factorization, Asymmetric) or not problem.squared:
            raise InputError(
                "alternating least squares needs two separate factors and the squared loss",
                "use GaussNewton or TrustRegion with other factorizations and losses",
            )
        return State(problem.evaluate(problem.gauge(w)))

    def step(self, problem: FactorizedProblem, state: State) -> State:
        """Solve for L, then for R, then balance."""
        point = state.point
        for side in ("left", "right"):
            following = problem.evaluate(self._half(problem, state, side))
            if following.value > point.value * (1 + 1e-14):
                return State(point, Status.STALLED)
            state = State(following)
        following = problem.evaluate(problem.gauge(state.point.w))
        if following.value > point.value * (1 + 1e-14):
            following = state.point
        if following.value == point.value and following.gradient_norm >= point.gradient_norm:
            return State(point, Status.STALLED)
        return State(following)

    def _half(self, problem: FactorizedProblem, state: State, side: str) -> Array:
        """Return the minimiser over one factor: a Newton step, since the half is quadratic."""
        point = state.point
        xp = namespace(point.w)
        left, right = problem.parts(point.w)
        g_left, g_right = problem.parts(point.gradient)
        fixed, gradient = (right, g_left) if side == "left" else (left, g_right)
        blocks = problem.operator.gram_blocks(fixed, side=side)
        zero = xp.zeros_like(right if side == "left" else left)

        def embed(x: Array) -> Array:
            pair = (x, zero) if side == "left" else (zero, x)
            return problem.factorization.join(*pair)

        if blocks is not None:
            # A shift at rounding level keeps rows with fewer samples than k solvable.
            change = -block_solver(blocks, problem.ridge + 1e-13 * problem.scale)(gradient)
        else:
            index = 0 if side == "left" else 1
            change = conjugate_gradients(
                lambda x: problem.parts(problem.gauss_newton_product(point, embed(x)))[index],
                gradient,
                rtol=self.inner_rtol,
                max_iterations=self.max_inner,
            ).step
        return point.w + embed(change)
