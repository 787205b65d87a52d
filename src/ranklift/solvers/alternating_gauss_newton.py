"""Alternating Gauss-Newton steps on the two factors (AGN)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..arrays import Array, namespace
from ..errors import InputError
from ..factorizations import Asymmetric
from ..problem import FactorizedProblem
from ..status import Status
from .base import Solver, State
from .scaled_direction import grams, matrix_gain, ridge_shift, scaled
from .steps import StepState, advance, first_step


@dataclass
class HalfStepState(StepState):
    """Add the regularisers' share of the Gram matrices."""

    shift: float = 0.0


@dataclass(frozen=True)
class AlternatingGaussNewton(Solver):
    """Step L by -mu E R (R^T R)^+, then R by -mu E^T L (L^T L)^+, E = A*(A(L R^T) - b) each time.

    Parameters
    ----------
    step_size : "exact" or float, default "exact"
        A number is mu ||A(X)||^2 / ||X||^2: free of units; 1 is Gauss-Newton's where A*A is a
        multiple of the identity.
    curvature_tol : float, default inf
        eps_H / ||A*(b)||_2; see ``Stopping``.
    seed : int, default 0

    Raises
    ------
    InputError
        With a factorization that has no two separate factors: pose symmetric problems as L R^T,
        whose matrix comes out symmetric where the data determine it.

    Notes
    -----
    No damping: the product L R^T moves as far near a saddle, where both factors lack directions,
    as anywhere else, whatever the condition number. Cost of a step: that of two gradient steps, and
    k^3 and k^2 (n1 + n2) multiply-adds. Pseudo-inverses cut at rounding level. Source: "alternating
    Gauss-Newton", NeurIPS 2024, as quoted in this project's notes.
    """

    step_size: float | str = "exact"
    curvature_tol: float = float("inf")
    seed: int = 0

    def init(self, problem: FactorizedProblem, w: Array) -> HalfStepState:
        """Evaluate the start."""
        if not isinstance(problem.factorization, Asymmetric):
            raise InputError(
                "alternating Gauss-Newton needs two separate factors",
                "pose the problem with Asymmetric(), also where the matrix is symmetric",
            )
        gain = matrix_gain(problem)
        length = first_step(self.step_size, gain)
        shift = ridge_shift(problem, gain)
        return HalfStepState(problem.evaluate(w), step_size=length, shift=shift)

    def step(self, problem: FactorizedProblem, state: State) -> State:
        """Step both factors, one after the other."""
        assert isinstance(state, HalfStepState)
        moved = 0
        for side in (0, 1):
            point = state.point
            blocks = grams(problem, point.w)
            whole = scaled(problem, point.gradient, blocks, state.shift)
            parts = list(problem.parts(whole))
            parts[1 - side] = namespace(whole).zeros_like(parts[1 - side])
            following = advance(problem, state, -problem.factorization.join(*parts))
            if following.status is None:
                state, moved = following, moved + 1
        # One factor alone may be at its best: only both together are at rest.
        return state if moved else replace(state, status=Status.STALLED)
