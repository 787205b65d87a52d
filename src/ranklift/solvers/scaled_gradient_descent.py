"""Scaled gradient descent with fixed damping, ScaledGD(lambda)."""

from __future__ import annotations

from dataclasses import dataclass

from ..arrays import Array
from ..errors import InputError
from ..problem import FactorizedProblem
from .base import Solver, State
from .scaled_direction import grams, matrix_gain, ridge_shift, scaled
from .steps import StepState, advance, first_step


@dataclass
class ScaledState(StepState):
    """Add the gain of A*A, and the damping in units of X."""

    gain: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True)
class ScaledGradientDescent(Solver):
    """Follow the gradient times (X^T X + lambda I)^{-1}, lambda fixed.

    U - mu grad f(U) (U^T U + lambda I)^{-1} for X = U U^T; for X = L R^T the gradient by L takes
    R^T R + lambda I and that by R takes L^T L + lambda I.

    Parameters
    ----------
    damping : float, default 1e-2
        lambda over the spectral estimate of ||X||_2. Below the least singular value that matters,
        or small directions grow as slowly as they do under plain descent; too small, and noise in
        the columns to spare grows as fast as signal.
    step_size : "exact" or float, default "exact"
        A number is mu ||A(X)||^2 / ||X||^2: free of units. For X = U U^T it is half the published
        eta, whose loss is 1/4 ||.||^2.
    curvature_tol : float, default inf
        eps_H / ||A*(b)||_2; see ``Stopping``.
    seed : int, default 0

    Raises
    ------
    InputError
        With signed or deep factorizations, or a damping that is not positive.

    Notes
    -----
    Cost of a step: as for gradient descent, and k^3 and k^2 (n1 + n2) multiply-adds. From a small
    random start the number of steps grows with log(kappa), not with kappa. Source: Xu, Shen, Chi,
    Ma, "The power of preconditioning in overparameterized low-rank matrix sensing" (2023).
    """

    damping: float = 1e-2
    step_size: float | str = "exact"
    curvature_tol: float = float("inf")
    seed: int = 0

    def init(self, problem: FactorizedProblem, w: Array) -> ScaledState:
        """Evaluate the start."""
        if not 0 < self.damping < float("inf"):
            raise InputError(f"damping {self.damping!r}", "pass a positive number")
        gain = matrix_gain(problem)
        length = first_step(self.step_size, gain)
        shift = self.damping * problem.scale / gain + ridge_shift(problem, gain)
        return ScaledState(problem.evaluate(w), step_size=length, gain=gain, shift=shift)

    def step(self, problem: FactorizedProblem, state: State) -> State:
        """Move along the scaled gradient."""
        assert isinstance(state, ScaledState)
        point = state.point
        blocks = grams(problem, point.w)
        return advance(problem, state, -scaled(problem, point.gradient, blocks, state.shift))
