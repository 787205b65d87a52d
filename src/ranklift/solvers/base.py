"""Solver: init -> state, step -> state, and the one loop that runs them all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from ..arrays import Array, norm
from ..problem import FactorizedProblem, Point
from ..second_order import LeastCurvature, least_curvature
from ..status import Status
from ..trace import Trace

SOLVERS: dict[str, type[Solver]] = {}
"""Every solver class by name: contract tests run over it."""


@dataclass(frozen=True)
class Stopping:
    """Say when a run is done.

    Parameters
    ----------
    gradient_tol : float, default 1e-8
        eps_g = ||gradient|| / (||A*(b)||_2 ||W||) at or below this is first-order convergence.
    residual_tol : float, default 1e-13
        ||A(X) - b|| <= residual_tol ||b|| is a fit to rounding (never tested with regularisers).
    misfit_tol : float, default 0
        eps_g ||b|| / ||A(X) - b|| at or below this is first-order convergence as well: on the way
        to an exact fit gradient and residual vanish together, elsewhere the residual stays.
    max_iterations : int, default 500
    curvature_tol : float, optional
        eps_H / ||A*(b)||_2 of a near-second-order point, by default the solver's own: where the
        first-order test is met, Lanczos measures the least curvature, and a point above -eps_H is
        SECOND_ORDER. At a saddle a solver that can leave it does; others stop with CONVERGED and
        the ``eps_h`` found. Infinite: no such test.
    """

    gradient_tol: float = 1e-8
    residual_tol: float = 1e-13
    misfit_tol: float = 0.0
    max_iterations: int = 500
    curvature_tol: float | None = None


@dataclass
class State:
    """What a solver carries from step to step; solvers extend it by fields of their own.

    ``status`` is set by a step that knows a reason to stop, ``eps_h`` by a curvature test.
    """

    point: Point
    status: Status | None = None
    eps_h: float = float("nan")


@dataclass(frozen=True)
class SolverRun:
    """The outcome of one run of one solver.

    Attributes
    ----------
    point : Point
        The last iterate with its evaluation.
    status : Status
        Why the iteration stopped.
    iterations : int
    measures : dict
        Numbers that the solver measured at the end (``eps_g``; ``eps_h`` from second-order ones).
    """

    point: Point
    status: Status
    iterations: int
    measures: dict[str, float] = field(default_factory=dict)


class Solver(ABC):
    """A local search on a FactorizedProblem. Subclasses are frozen dataclasses of settings."""

    second_order: ClassVar[bool] = False
    """Whether the solver leaves saddles: it then never stops at one with CONVERGED."""

    curvature_tol: float = float("inf")
    """eps_H at which it accepts a stationary point, unless ``Stopping`` says otherwise."""

    seed: int = 0
    """Draws the Lanczos start of the curvature test, and what the solver itself draws."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        SOLVERS[cls.__name__] = cls

    @abstractmethod
    def init(self, problem: FactorizedProblem, w: Array) -> State:
        """Return the state at a starting point."""

    @abstractmethod
    def step(self, problem: FactorizedProblem, state: State) -> State:
        """Return the next state; its value never exceeds the previous one, up to rounding."""

    def at_stationary_point(
        self, problem: FactorizedProblem, state: State, stopping: Stopping
    ) -> State:
        """Decide what follows a met first-order test: measure the least curvature."""
        tol = self.curvature_tol if stopping.curvature_tol is None else stopping.curvature_tol
        if not np.isfinite(tol):
            return replace(state, status=Status.CONVERGED)
        threshold = tol * problem.scale
        lowest = least_curvature(
            problem, state.point.w, np.random.default_rng(self.seed), target=threshold
        )
        state = replace(state, eps_h=max(0.0, -lowest.ritz_least))
        if state.eps_h <= threshold:
            return replace(state, status=Status.SECOND_ORDER)
        return self.leave_saddle(problem, state, lowest)

    def leave_saddle(
        self, problem: FactorizedProblem, state: State, lowest: LeastCurvature
    ) -> State:
        """Go on from a saddle with its direction of least curvature, or stop there."""
        return replace(state, status=Status.CONVERGED)

    def measures(self, problem: FactorizedProblem, state: State) -> dict[str, float]:
        """Return eps_g and, once measured, eps_h relative to ||A*(b)||_2."""
        out = {"eps_g": problem.relative_gradient(state.point)}
        if np.isfinite(state.eps_h):
            out["eps_h"] = state.eps_h / problem.scale
        return out

    def run(
        self,
        problem: FactorizedProblem,
        w: Array,
        *,
        stopping: Stopping | None = None,
        trace: Trace | None = None,
        stage: str = "",
    ) -> SolverRun:
        """Iterate from ``w`` until a test of ``stopping`` is met.

        Ctrl-C, a callback that returns True, and a spent time budget stop after the current step
        and return the iterate reached.
        """
        stopping = stopping if stopping is not None else Stopping()
        trace = trace if trace is not None else Trace()
        stage = stage or type(self).__name__
        b_norm = norm(problem.b)
        state = self.init(problem, w)
        iteration = 0
        try:
            while state.status is None:
                eps_g = problem.relative_gradient(state.point)
                trace.newest = state.point.w
                trace.record(
                    stage,
                    iteration,
                    objective=state.point.value,
                    residual_norm=state.point.residual_norm,
                    gradient_norm=eps_g,
                    rank=int(state.point.w.shape[1]),
                )
                trace.observe(problem, state, iteration, stage)
                if trace.stop_requested:
                    state.status = Status.USER_STOP
                elif (
                    not problem.regularizers
                    and problem.loss.zero_at_fit
                    and state.point.residual_norm <= stopping.residual_tol * b_norm
                ):
                    state.status = Status.ZERO_RESIDUAL
                elif (
                    eps_g <= stopping.gradient_tol
                    or eps_g * b_norm <= stopping.misfit_tol * state.point.residual_norm
                ) and np.isfinite(problem.loss.smoothness):
                    # At a kink a small subgradient says nothing, and a large one is no fault.
                    state = self.at_stationary_point(problem, state, stopping)
                    iteration += state.status is None
                elif trace.out_of_time:
                    state.status = Status.MAX_TIME
                elif iteration >= stopping.max_iterations:
                    state.status = Status.MAX_ITERATIONS
                else:
                    state = self.step(problem, state)
                    iteration += 1
        except KeyboardInterrupt:
            trace.stop_requested = True
            state.status = Status.USER_STOP
        assert state.status is not None
        return SolverRun(state.point, state.status, iteration, self.measures(problem, state))
