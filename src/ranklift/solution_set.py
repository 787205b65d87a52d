"""The solution set S = {A(X(W)) = b}: back to it by Gauss-Newton, and along it to a least ||W||.

One step projects W onto the kernel of J = dA(X(W)) / dW (LSMR), moves against it, and returns to S.
Where it ends ||W||^2 is least nearby, at this width: with wide factors that is the convex problem's
solution, with narrow ones possibly a local minimum. In the variable of the curvature weights
||W||^2 is the scaled trace of the Hessian. Own design.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse.linalg import LinearOperator, lsmr

from .arrays import Array, inner, like, norm, to_numpy
from .problem import FactorizedProblem
from .status import Status
from .trace import Trace

RETRACTED = 1e-12
"""Relative residual at which a point counts as back on the solution set."""

RETRACTIONS = 12
"""Most Gauss-Newton steps back; two or three are usual, more mean that the step was too long."""

SUFFICIENT = 1e-4
"""Share of the first-order decrease that a step must bring (Armijo)."""

LSMR_TOLERANCE = 1e-14


@dataclass(frozen=True)
class SolutionSetRun:
    """Where the descent ended.

    Attributes
    ----------
    w : array
        Parameters on the solution set.
    slope : float
        ||projected gradient|| / ||W|| there: 0 at a stationary point of ||W||^2 on S.
    status : Status
    iterations : int
    """

    w: Array
    slope: float
    status: Status
    iterations: int


def descend_on_solution_set(
    problem: FactorizedProblem,
    w: Array,
    *,
    tolerance: float = 1e-6,
    max_iterations: int = 500,
    trace: Trace | None = None,
) -> SolutionSetRun:
    """Minimise ||W||^2 over the W with A(X(W)) = b, from a W close to it.

    Parameters
    ----------
    problem : FactorizedProblem
        Its loss and regularisers do not count.
    w : array
        Start, on the solution set up to a residual that Gauss-Newton removes.
    tolerance : float, default 1e-6
        Projected gradient over ||W||; the squared norm is then within about its square.
    max_iterations : int, default 500

    Returns
    -------
    SolutionSetRun
        Status CONVERGED, MAX_ITERATIONS, or STALLED where no step decreased ||W|| on S.

    Notes
    -----
    Steps by Barzilai and Borwein, halved until the norm falls. Cost: two to five LSMR solves a
    step, each of at most min(m, numbers in W) pairs of products.
    """
    start = retract(problem, w)
    if start is None:
        return SolutionSetRun(w, float("inf"), Status.STALLED, 0)
    w, tangent = start, Tangent(problem)
    step, old, old_slope = 0.5, None, None
    gradient = tangent.project(w, to_numpy(w))
    for iteration in range(max_iterations):
        slope = float(np.linalg.norm(gradient)) / max(norm(w), np.finfo(float).tiny)
        if trace is not None and (trace.stop_requested or trace.out_of_time):
            stopped = Status.USER_STOP if trace.stop_requested else Status.MAX_TIME
            return SolutionSetRun(w, slope, stopped, iteration)
        if slope <= tolerance:
            return SolutionSetRun(w, slope, Status.CONVERGED, iteration)
        if old is not None and old_slope is not None:
            moved, bent = to_numpy(w) - old, gradient - old_slope
            curvature = float(np.vdot(moved, bent))
            step = float(np.vdot(moved, moved)) / curvature if curvature > 0 else 1.0
            step = min(max(step, 1e-3), 1e3)
        following = _shorter(problem, w, gradient, step)
        if following is None:
            return SolutionSetRun(w, slope, Status.STALLED, iteration)
        old, old_slope, w = to_numpy(w), gradient, following
        gradient = tangent.project(w, to_numpy(w))
    slope = float(np.linalg.norm(gradient)) / norm(w)
    return SolutionSetRun(w, slope, Status.MAX_ITERATIONS, max_iterations)


def _shorter(
    problem: FactorizedProblem, w: Array, gradient: np.ndarray, step: float
) -> Array | None:
    """Return a point of S along -gradient with a smaller norm, or None."""
    size, square = float(inner(w, w)), float(np.vdot(gradient, gradient))
    for _ in range(30):
        candidate = retract(problem, w - step * like(gradient, w))
        # d/dt ||W||^2 = -2 ||projected gradient||^2
        enough = size - 2 * SUFFICIENT * step * square
        if candidate is not None and float(inner(candidate, candidate)) <= enough:
            return candidate
        step *= 0.5
    return None


def retract(problem: FactorizedProblem, w: Array) -> Array | None:
    """Return the point of S that Gauss-Newton's shortest corrections lead to, or None."""
    tangent = Tangent(problem)
    b_norm = max(norm(problem.b), np.finfo(float).tiny)
    last = float("inf")
    for _ in range(RETRACTIONS):
        misfit = problem.b - problem.predict(w)
        residual = norm(misfit) / b_norm
        if residual <= RETRACTED or (residual <= 1e3 * RETRACTED and residual > 0.1 * last):
            return w
        if not np.isfinite(residual) or residual > 0.9 * last:
            return None
        last = residual
        w = w + like(tangent.shortest(w, to_numpy(misfit)), w)
    return None


class Tangent:
    """J and J^T at a point, for least squares."""

    def __init__(self, problem: FactorizedProblem) -> None:
        self.problem = problem

    def jacobian(self, w: Array) -> LinearOperator:
        """Return J, from W read row by row to the measurements."""
        problem, shape = self.problem, tuple(int(size) for size in w.shape)

        def forth(x: np.ndarray) -> np.ndarray:
            return to_numpy(problem.pushforward(w, like(x.reshape(shape), w)))

        def back(y: np.ndarray) -> np.ndarray:
            left, right = problem.parts(w)
            out = problem.operator.adjoint_products(like(y.reshape(-1), w), left, right)
            problem.counts.adjoint += 1
            return to_numpy(problem.factorization.pullback(w, *out, problem.shape)).reshape(-1)

        size = (problem.operator.num_measurements, shape[0] * shape[1])
        return LinearOperator(size, matvec=forth, rmatvec=back, dtype=float)  # type: ignore[call-arg]

    def shortest(self, w: Array, misfit: np.ndarray) -> np.ndarray:
        """Return the D of least norm with J D = misfit, as far as there is one."""
        jacobian = self.jacobian(w)
        limit = 4 * min(jacobian.shape)
        solved = lsmr(jacobian, misfit, atol=LSMR_TOLERANCE, btol=LSMR_TOLERANCE, maxiter=limit)[0]
        return solved.reshape(tuple(int(size) for size in w.shape))

    def project(self, w: Array, direction: np.ndarray) -> np.ndarray:
        """Return the part of a direction in the kernel of J."""
        jacobian = self.jacobian(w)
        return direction - self.shortest(w, jacobian.matvec(direction.reshape(-1)))
