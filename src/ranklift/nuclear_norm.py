"""The nuclear-norm problem, solved in factored form to a certified relative gap.

min loss(A(X)) + lambda ||X||_*  =  min over W of loss(A(L R^T)) + lambda/2 ||W||^2, for every
smooth convex loss (positive semidefinite X: lambda tr X, and lambda ||W||^2).
Local search at a low search rank, a rank lift whenever the dual certificate fails, a prune whenever
columns vanish: every local answer is checked against the convex problem, so the result is global.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from .arrays import Array, namespace, to_numpy
from .certificates.duality import DualityGap, duality_gap
from .escapes.rank_lift import lift
from .problem import FactorizedProblem
from .regularizers import SquaredNorm
from .solvers import Solver, Stopping, TrustRegion
from .status import Status
from .trace import Trace

PRUNE = 1e-7
"""Columns below this share of the largest column norm are dropped: they carry 1e-14 of X."""

CONTINUATION_GAP = 1e-2
"""Relative gap at which an intermediate lambda of a path is left: its answer is only a start."""

STATIONARY = 1e-4
"""eps_g of a certified solution: its gap alone would allow for ten times as much."""

LIFTING_STEPS = 2
"""Newton steps between lifts: converging at a rank that still has to grow is wasted."""


@dataclass(frozen=True)
class NuclearNormRun:
    """The outcome at one lambda: balanced factors, the gap there, why it stopped.

    ``reached`` is the relative gap: certified, or (within a path) the one that the largest known
    singular value would give.
    """

    w: Array
    regularization: float
    gap: DualityGap
    status: Status
    reached: float


def ridge(problem: FactorizedProblem, regularization: float) -> FactorizedProblem:
    """Return the factorised form of the nuclear-norm (or trace) problem."""
    return problem.with_regularizers(
        SquaredNorm(problem.factorization.ridge_weight * regularization)
    )


def solve_nuclear_norm(
    problem: FactorizedProblem,
    regularization: float,
    w: Array,
    rng: np.random.Generator,
    *,
    tolerance: float = 1e-6,
    trace: Trace | None = None,
    solver: Solver | None = None,
    certified: bool = True,
    stop_at_rank: int | None = None,
    max_rounds: int = 60,
    max_lanczos: int = 1500,
) -> NuclearNormRun:
    """Minimise 1/2 ||A(X) - b||^2 + lambda ||X||_* from W to a relative duality gap.

    Parameters
    ----------
    problem : FactorizedProblem
        Without regularisers.
    regularization : float
        lambda > 0.
    w : array (rows, k)
        Start; k may be 0.
    tolerance : float, default 1e-6
    solver : Solver, default TrustRegion without curvature test
        The dual certificate decides about saddles and costs less than a curvature test.
    certified : bool, default True
        Whether the gap must be certified; a path only needs good starting points.
    stop_at_rank : int, optional
        Leave as soon as the search rank reaches it, with Status.MAX_ITERATIONS.
    max_rounds : int
        Rounds of search, certificate and lift.
    max_lanczos : int
        Most Lanczos steps of one certificate; where the bound needs more, the gap stays open.

    Notes
    -----
    Status CONVERGED: the gap is within tolerance. STALLED: neither a lift nor a tighter search
    improved the point in working precision.
    """
    trace = trace if trace is not None else Trace()
    solver = solver if solver is not None else TrustRegion(curvature_tol=float("inf"))
    shrunk = ridge(problem, regularization)
    # A stationarity error delta shows up as delta^2 in the objective and delta in the dual norm.
    # The unit is lambda ||W||: at that size both parts of the gradient balance.
    accuracy = max(tolerance, 1e-2)
    lanczos_steps = 30
    if regularization >= problem.scale:
        w = w[:, :0]  # 0 is optimal from ||A*(b)|| on, and a search towards it converges slowly
    best: NuclearNormRun | None = None
    stalls, lifting, polished = 0, False, False
    for round_number in range(max_rounds):
        status = Status.CONVERGED
        if w.shape[1]:
            run = solver.run(
                shrunk,
                w,
                stopping=Stopping(
                    gradient_tol=accuracy * regularization / problem.scale,
                    max_iterations=LIFTING_STEPS if lifting else 60,
                ),
                trace=trace,
                stage="nuclear_norm",
            )
            status = run.status
            w = prune(problem.gauge(run.point.w), PRUNE)
        gap = duality_gap(
            problem,
            w,
            regularization,
            rng,
            tolerance=tolerance if certified else 0.0,
            max_steps=lanczos_steps,
            vectors=max(4, w.shape[1] // 2),
        )
        _record(trace, round_number, gap, w)
        reached = gap.relative if certified else gap.optimistic
        if best is None or reached < best.reached:
            best, stalls = NuclearNormRun(w, regularization, gap, Status.CONVERGED, reached), 0
        else:
            stalls += 1
        if reached <= tolerance:
            point = shrunk.evaluate(best.w)
            if polished or not certified or shrunk.relative_gradient(point) <= STATIONARY:
                return best
            accuracy, polished = 0.3 * STATIONARY * problem.scale / regularization, True
            continue
        if status in (Status.USER_STOP, Status.MAX_TIME):
            return replace(best, status=status)
        if stop_at_rank is not None and w.shape[1] >= stop_at_rank:
            return replace(best, status=Status.MAX_ITERATIONS)
        if stalls > 12:
            return replace(best, status=Status.STALLED)
        lifting = False
        if gap.optimistic <= tolerance:
            # The point may be good enough and only the bound has to improve: by more Lanczos
            # steps, or, where these ended at their target, by smaller off-diagonal blocks.
            if gap.steps >= max_lanczos:
                return replace(best, status=Status.STALLED)
            if gap.steps >= lanczos_steps:
                lanczos_steps = min(2 * lanczos_steps, max_lanczos)
            else:
                accuracy = max(0.1 * accuracy, 1e-12)
            continue
        # An excess within the tolerance's slack is not worth a column: search more tightly then.
        worthwhile = gap.excess.size > 0 and gap.excess[0] - 1 > 0.3 * tolerance
        lifted = lift(problem, w, gap, regularization) if worthwhile else None
        if lifted is not None:
            w, lifting = lifted, True
        elif lanczos_steps < 60:
            lanczos_steps *= 2
        accuracy = max((0.3 if lifted is not None else 0.1) * accuracy, 1e-12)
    assert best is not None
    return replace(best, status=Status.MAX_ITERATIONS)


def _record(trace: Trace, round_number: int, gap: DualityGap, w: Array) -> None:
    trace.record(
        "certificate",
        round_number,
        objective=gap.primal,
        residual_norm=float("nan"),
        gradient_norm=float("nan"),
        rank=int(w.shape[1]),
        gap=gap.relative,
    )


def prune(w: Array, tolerance: float) -> Array:
    """Drop the columns of a balanced W whose norm is below tolerance times the largest."""
    norms = np.linalg.norm(to_numpy(w), axis=0)
    if norms.size == 0:
        return w
    keep = int(np.sum(norms > tolerance * norms.max()))
    return w[:, :keep]


def continuation(
    problem: FactorizedProblem,
    regularizations: list[float],
    rng: np.random.Generator,
    *,
    w: Array | None = None,
    tolerance: float = CONTINUATION_GAP,
    trace: Trace | None = None,
    solver: Solver | None = None,
    stop_at_rank: int | None = None,
) -> Iterator[NuclearNormRun]:
    """Solve for falling lambda, each from the last answer; stop at the caller's wish.

    Going straight to a small lambda makes the rank explode on the way; from above it never
    exceeds that of the solution by much.
    """
    if w is None:
        rows = problem.factorization.size(problem.shape)
        w = namespace(problem.b).zeros((rows, 0), dtype=problem.b.dtype)
    for regularization in regularizations:
        run = solve_nuclear_norm(
            problem,
            regularization,
            w,
            rng,
            tolerance=tolerance,
            trace=trace,
            solver=solver,
            certified=False,
            stop_at_rank=stop_at_rank,
        )
        yield run
        if run.status in (Status.USER_STOP, Status.MAX_TIME):
            return
        w = run.w


def geometric_path(start: float, stop: float, ratio: float = 0.6) -> list[float]:
    """Return start * ratio, start * ratio^2, ... down to exactly ``stop``.

    Examples
    --------
    >>> [round(x, 3) for x in geometric_path(1.0, 0.3)]
    [0.6, 0.36, 0.3]
    """
    steps = max(1, int(np.ceil(np.log(stop / start) / np.log(ratio))))
    return [float(start * ratio**i) for i in range(1, steps)] + [float(stop)]
