"""Gradient descent, with the exact line search or a fixed step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import Array
from ..problem import FactorizedProblem
from .base import Solver, State
from .steps import StepState, advance, first_step


@dataclass(frozen=True)
class GradientDescent(Solver):
    """Follow the negative gradient: W - mu grad f(W).

    Parameters
    ----------
    step_size : "exact" or float, default "exact"
        "exact": to the minimum along the line. A number is mu ||A*(b)||_2, the step in units of the
        inverse curvature at the solution; 1/4 is stable for well-conditioned ensembles.
    curvature_tol : float, default inf
        eps_H / ||A*(b)||_2; see ``Stopping``.
    seed : int, default 0

    Notes
    -----
    Exact: along a line the squared loss is a quartic, so the best step is a cubic equation, and the
    value falls at every step; three applies and one adjoint a step. Fixed: one apply and one
    adjoint. From a small random start a fixed step first acts like a power method on A*(b), which
    favours low rank (Soltanolkotabi, Stoeger, Xie, arXiv 2303.14244); ``horizon`` says for how
    long. The value rises only where the step is too long: it is then halved (own safeguard).
    """

    step_size: float | str = "exact"
    curvature_tol: float = float("inf")
    seed: int = 0

    def init(self, problem: FactorizedProblem, w: Array) -> StepState:
        """Evaluate the start."""
        length = first_step(self.step_size, problem.scale)
        return StepState(problem.evaluate(w), step_size=length)

    def step(self, problem: FactorizedProblem, state: State) -> State:
        """Move along the negative gradient."""
        assert isinstance(state, StepState)
        return advance(problem, state, -state.point.gradient)


def horizon(alpha: float, step_size: float, condition_number: float, *, safety: float = 2.0) -> int:
    """Return about how many fixed steps a small start needs to grow to the solution.

    safety * 2 log(1 / alpha) kappa / step_size: a direction of singular value sigma grows by
    1 + mu sigma a step, with mu = step_size / ||A*(b)||_2 from alpha to 1, and converges as
    slowly again.

    Parameters
    ----------
    alpha : float
        Scale of the start relative to sqrt(||A*(b)||_2), in (0, 1).
    step_size : float
        As in ``GradientDescent``.
    condition_number : float
        sigma_1 / sigma_r of the solution.
    safety : float, default 2

    Notes
    -----
    Own estimate from the growth rate of the linearised iteration; the papers' constants could not
    be read.

    Examples
    --------
    >>> horizon(1e-3, 0.25, 2.0)
    222
    """
    return int(np.ceil(safety * 2 * np.log(1.0 / alpha) * condition_number / step_size))
