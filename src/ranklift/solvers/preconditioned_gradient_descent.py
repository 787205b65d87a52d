"""Preconditioned gradient descent with adaptive damping (PrecGD), and its perturbed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..arrays import Array
from ..errors import InputError
from ..problem import FactorizedProblem, Point
from ..second_order import LeastCurvature
from .base import Solver, State
from .perturbation import Perturbation, PerturbedState
from .scaled_direction import gradient_in_metric, grams, matrix_gain, ridge_shift, scaled
from .steps import advance, first_step


@dataclass
class PreconditionedState(PerturbedState):
    """Add the gain of A*A."""

    gain: float = 1.0


@dataclass(frozen=True)
class PreconditionedGradientDescent(Solver):
    """Follow the gradient times (X^T X + eta I)^{-1}, eta about the error that is left (PrecGD).

    Parameters
    ----------
    damping : "gradient", "residual" or float, default "gradient"
        "gradient": eta = ||grad f(X) (X^T X)^{-1/2}||_F, which needs no knowledge of the noise.
        "residual": eta = | ||A(X) - b||^2 - noise_norm^2 |^(1/2). Both over what A*A multiplies
        matrices by, so that eta has the unit of X. A number: eta fixed, relative to ||X||_2, as
        ``ScaledGradientDescent`` has it.
    noise_norm : float, default 0
        ||w||_2, expected; used by "residual" only: without it the damping stays as large as the
        noise, and small singular values then converge slowly.
    step_size : "exact" or float, default "exact"
        A number is mu ||A(X)||^2 / ||X||^2: free of units.
    curvature_tol : float, default inf
        eps_H / ||A*(b)||_2; see ``Stopping``.
    seed : int, default 0

    Raises
    ------
    InputError
        With signed or deep factorizations, or settings that make no sense.

    Notes
    -----
    Cost of a step: as for gradient descent, and k^3 and k^2 (n1 + n2) multiply-adds. Damping that
    falls with the error keeps linear convergence when the search rank exceeds the true rank, where
    gradient descent becomes sublinear. Source: Zhang, Fattahi, Zhang, "Preconditioned gradient
    descent for overparameterized nonconvex Burer-Monteiro factorization with global optimality
    certification" (arXiv 2206.03345); the unit of eta is own choice.
    """

    damping: float | str = "gradient"
    noise_norm: float = 0.0
    step_size: float | str = "exact"
    curvature_tol: float = float("inf")
    seed: int = 0

    def init(self, problem: FactorizedProblem, w: Array) -> PreconditionedState:
        """Evaluate the start."""
        rule = self.damping
        known = rule in ("gradient", "residual") if isinstance(rule, str) else 0 < rule < np.inf
        if not known:
            raise InputError(f"damping {rule!r}", 'pass "gradient", "residual" or a number above 0')
        if not 0 <= self.noise_norm < np.inf:
            raise InputError(f"noise_norm {self.noise_norm!r}", "pass ||w||_2, 0 where unknown")
        gain = matrix_gain(problem)
        length = first_step(self.step_size, gain)
        return PreconditionedState(problem.evaluate(w), step_size=length, gain=gain)

    def step(self, problem: FactorizedProblem, state: State) -> PreconditionedState:
        """Move along the preconditioned gradient."""
        assert isinstance(state, PreconditionedState)
        point = state.point
        blocks = grams(problem, point.w)
        shift = self._damping(problem, point, blocks, state.gain)
        shift += ridge_shift(problem, state.gain)
        return advance(problem, state, -scaled(problem, point.gradient, blocks, shift))

    def _damping(
        self, problem: FactorizedProblem, point: Point, blocks: tuple[np.ndarray, np.ndarray],
        gain: float,
    ) -> float:  # fmt: skip
        """Return eta, in units of X."""
        if self.damping == "gradient":
            return gradient_in_metric(problem, point.gradient, blocks, 0.0) / gain
        if self.damping == "residual":
            return float(np.sqrt(abs(point.residual_norm**2 - self.noise_norm**2) / gain))
        return float(self.damping) * problem.scale / gain


@dataclass(frozen=True)
class PerturbedPreconditionedGradientDescent(PreconditionedGradientDescent):
    """Follow PrecGD, and leave saddles by random perturbations.

    Parameters
    ----------
    damping, noise_norm, step_size
        As in ``PreconditionedGradientDescent``.
    radius, burst, attempts
        As in ``PerturbedGradientDescent``; the burst is shorter, since the scaled gradient leaves
        sooner.
    curvature_tol : float, default 1e-6
        eps_H / ||A*(b)||_2 of the near-second-order point.
    seed : int, default 0

    Notes
    -----
    Source: as above. Published: a perturbation when the gradient in the metric is small and the
    last one is long ago; here when the least curvature was measured to be negative, so that none is
    spent at minima (own design).
    """

    radius: float = 1e-2
    burst: int = 50
    attempts: int = 5
    curvature_tol: float = 1e-6

    second_order: ClassVar[bool] = True

    def leave_saddle(
        self, problem: FactorizedProblem, state: State, lowest: LeastCurvature
    ) -> State:
        """Perturb, descend, and keep what came out lower."""
        assert isinstance(state, PreconditionedState)
        jump = Perturbation(self.radius, self.burst, self.attempts, self.seed)
        return jump.leave(problem, state, lambda trial: self._follow(problem, trial))

    def _follow(self, problem: FactorizedProblem, state: PerturbedState) -> PerturbedState:
        return self.step(problem, state)
