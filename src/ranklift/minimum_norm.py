"""The least-norm matrix that reproduces exact data, by the method of multipliers, with a gap.

min kappa(X) s.t. A(X) = b, kappa the gauge of the factorization: ||X||_*, or tr X of a positive
semidefinite X. Every round is a nuclear-norm problem of a shifted b (``nuclear_norm``):

    X_j = argmin 1/2 ||A(X) - b_j||^2 + lambda kappa(X),     b_{j+1} = b_j + b - A(X_j).

y = (b_j - A(X_j)) / lambda are the multipliers, and weak duality bounds the least norm from below:
<y, b> / ||A*(y)||_2 <= kappa(X) of every X with A(X) = b. Sources: Hestenes (1969) and Powell
(1969), the method of multipliers; Yin, Osher, Goldfarb, Darbon (2008) in this form (Bregman
iteration); the schedule is own work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from .arrays import Array, namespace, norm
from .certificates.minimum_norm import gauge_norm, lower_bound
from .errors import InputError
from .explicit_hessian import ExplicitHessian
from .nuclear_norm import prune, ridge, solve_nuclear_norm
from .problem import FactorizedProblem
from .solution_set import retract
from .solvers import Solver, Stopping, TrustRegion
from .status import Status
from .trace import Trace

FEASIBLE = 1e-9
"""||A(X) - b|| / ||b|| at which X counts as reproducing the data: far below any success test,
above what accumulates by rounding at the smallest lambda."""

START = 0.3
"""First lambda as a share of ||A*(b)||_2: it shows the leading spectrum (``stages``)."""

REDUCTION = 0.1
"""Factor of lambda where a round reduced the residual by less than ``PROGRESS``."""

PROGRESS = 0.1

LEAST = 1e-10
"""Smallest lambda as a share of ||A*(b)||_2: y is a residual over lambda, which rounding then
leaves right to 1e-6. Only slow rounds come there, as of rank-one covariances next to the threshold,
whose multipliers are large (measured: four in fifty took more than 80 rounds with 1e-8)."""

HANDOVER = 1e-4
"""Relative residual from which on the rank is known: rounds then only search locally, and the dual
certificate is asked at the end."""

FORCING = 1e-2
"""Gradient of a local round relative to the residual that it is to reduce."""

VANISHING = 1e-4
"""Columns below this share of the largest (1e-8 of the singular values) are dropped from an answer,
if the data can be reproduced without them."""


@dataclass(frozen=True)
class MinimumNormRun:
    """A matrix that reproduces the data, and how low the norm of any such matrix can be.

    Attributes
    ----------
    w : array
        Balanced parameters of X.
    norm : float
        kappa(X).
    lower_bound : float
        No X that fits as well has a smaller norm.
    multipliers : array, shape (m,)
        y: (<y, b> - misfit ||y||) / ||A*(y)|| is ``lower_bound``, which anyone can recompute.
    relative_residual : float
        ||A(X) - b|| / ||b||.
    status : Status
        CONVERGED: residual and gap are within tolerance. STALLED: no matrix was found that
        reproduces the data (there may be none), or the gap stayed open.
    rounds : int
    """

    w: Array
    norm: float
    lower_bound: float
    multipliers: Array
    relative_residual: float
    status: Status
    rounds: int

    @property
    def gap(self) -> float:
        """Return (norm - lower_bound) / norm, at least 0."""
        return max(0.0, 1.0 - self.lower_bound / self.norm) if self.norm > 0 else 0.0


def solve_minimum_norm(
    problem: FactorizedProblem,
    rng: np.random.Generator,
    *,
    start: Array | None = None,
    tolerance: float = 1e-6,
    trace: Trace | None = None,
    max_rounds: int = 80,
    enough: Callable[[Array, Array], bool] | None = None,
) -> MinimumNormRun:
    """Find the X of least kappa(X) with A(X) = b.

    Parameters
    ----------
    problem : FactorizedProblem
        Of the squared loss (which only measures the fit here), without regularisers.
    rng : Generator
        Draws the Lanczos starts.
    start : array, optional
        W, such as a solution of a neighbouring problem; default 0.
    tolerance : float, default 1e-6
        Relative gap between kappa(X) and its lower bound.
    trace : Trace, optional
    max_rounds : int, default 80
        Rounds of multipliers; 10 to 20 are usual.
    enough : callable, optional
        Called with W and b - A(X) after every round; True ends the run there (Status.USER_STOP),
        for a caller who only asks whether some bound is undercut.

    Raises
    ------
    InputError
        Where the problem's loss is another one, or its factorization has no gauge.

    Notes
    -----
    Cost: that of a dozen nuclear-norm problems, each started at the solution of the last; 2000 to
    5000 Hessian products altogether at n = 30. Memory: that of the factors.

    Examples
    --------
    >>> import numpy as np
    >>> from ranklift.operators import EntrySampling
    >>> A = EntrySampling([0, 0, 1], [0, 1, 0], (2, 2))  # 1 2; 2 ?: any last entry up to 4 is free
    >>> run = solve_minimum_norm(FactorizedProblem(A, np.array([1.0, 2.0, 2.0])),
    ...                          np.random.default_rng(0))
    >>> round(run.norm, 6), run.gap < 1e-7
    (4.0, True)
    """
    check_constrained(problem)
    trace = trace if trace is not None else Trace()
    solver = TrustRegion(curvature_tol=float("inf"))
    if ExplicitHessian.suits(problem):
        solver = replace(solver, precondition=ExplicitHessian(problem.operator))
    xp = namespace(problem.b)
    rows = problem.factorization.size(problem.shape)
    w: Array = xp.zeros((rows, 0), dtype=problem.b.dtype) if start is None else start
    b_norm = norm(problem.b)
    if b_norm == 0:
        return MinimumNormRun(w[:, :0], 0.0, 0.0, 0.0 * problem.b, 0.0, Status.CONVERGED, 0)
    lam, target, last, settled = START * problem.scale, problem.b, 1.0, False
    status = Status.MAX_ITERATIONS
    tightness, stalls, number = 1.0, 0, 0
    best: MinimumNormRun | None = None
    for number in range(1, max_rounds + 1):
        shifted = _shifted(problem, target)
        if not settled:
            run = solve_nuclear_norm(
                shifted,
                lam,
                w,
                rng,
                tolerance=max(1e-3 * tightness * last, 1e-9),
                trace=trace,
                solver=solver,
                certified=False,
            )
            w, reason = run.w, run.status
        else:
            w, reason = _search(shifted, lam, w, solver, FORCING * tightness * last, trace)
        misfit = problem.b - problem.predict(w)
        y = (target - problem.b + misfit) / lam
        residual = norm(misfit) / b_norm
        stopped = reason if reason in (Status.USER_STOP, Status.MAX_TIME) else None
        if enough is not None and residual > FEASIBLE and enough(w, misfit):
            stopped = Status.USER_STOP
        if residual <= FEASIBLE or stopped or number == max_rounds:
            bound = lower_bound(problem, w, y, rng, tolerance=tolerance)
            current = MinimumNormRun(
                w, gauge_norm(problem, w), bound, y, residual, Status.MAX_ITERATIONS, number
            )
            if best is None or current.gap < best.gap or best.relative_residual > FEASIBLE:
                best, stalls = current, 0
            else:
                stalls += 1
            if stopped is not None:
                return replace(best, status=stopped)
            if current.gap <= tolerance and residual <= FEASIBLE:
                return _polished(problem, replace(current, status=Status.CONVERGED), b_norm)
            if stalls > 3:
                return replace(best, status=Status.STALLED)
            # Either a singular value of A*(y) is left above 1, which a lift follows, or the last
            # rounds were too coarse for the bound.
            settled, tightness = False, 0.1 * tightness
        else:
            settled = residual <= HANDOVER
        target = target + misfit
        if number > 1 and residual > PROGRESS * last:
            smaller = max(REDUCTION * lam, LEAST * problem.scale)
            target = problem.b + (target - problem.b) * (smaller / lam)  # y stays what it is
            lam = smaller
        last = residual
    assert best is not None
    return replace(best, status=status if best.relative_residual <= FEASIBLE else Status.STALLED)


def check_constrained(problem: FactorizedProblem) -> None:
    """Raise InputError unless A(X) = b with a gauge of X is a convex problem."""
    if not problem.squared:
        raise InputError(
            f"exact data with the loss {type(problem.loss).__name__}",
            "use the squared loss: A(X) = b has no other",
        )
    if not problem.factorization.columnwise:
        raise InputError(
            f"the least norm over a factorization {type(problem.factorization).__name__}",
            "pose it over Asymmetric, Symmetric, Signed or Hermitian factors",
        )


def _polished(problem: FactorizedProblem, run: MinimumNormRun, b_norm: float) -> MinimumNormRun:
    """Return the run without negligible singular values and with a residual of rounding.

    The shortest correction of the factors is as small as the residual, and so is its effect on the
    norm; the lower bound stays.
    """
    for w in (prune(run.w, VANISHING), run.w):
        at = retract(problem, w)
        if at is None:
            continue
        at = problem.gauge(at)
        polished = replace(
            run,
            w=at,
            norm=gauge_norm(problem, at),
            relative_residual=norm(problem.predict(at) - problem.b) / b_norm,
        )
        if polished.gap <= max(run.gap, 10 * FEASIBLE):
            return polished
    return run


def _search(
    shifted: FactorizedProblem, lam: float, w: Array, solver: Solver, accuracy: float, trace: Trace
) -> tuple[Array, Status]:
    """Minimise at the given rank to a gradient of ``accuracy`` in the unit lambda ||W||."""
    stopping = Stopping(gradient_tol=max(accuracy * lam / shifted.scale, 1e-15), max_iterations=30)
    run = solver.run(ridge(shifted, lam), w, stopping=stopping, trace=trace, stage="minimum_norm")
    return shifted.gauge(run.point.w), run.status


def _shifted(problem: FactorizedProblem, b: Array) -> FactorizedProblem:
    """Return the problem of another b, measured in the same unit and counted together."""
    shifted = replace(problem, b=b)
    shifted.__dict__["scale"] = problem.scale
    return shifted
