"""Refit without shrinkage: remove the bias of the nuclear norm at a fixed rank."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from .arrays import Array, like, namespace, norm, to_numpy
from .escapes.rank_lift import RankLift
from .factorizations import Signed
from .initializers import spectral
from .problem import FactorizedProblem, Point
from .solvers import GaussNewton, Solver, SolverRun, Stopping, TrustRegion
from .status import Status
from .trace import Trace

MISFIT = 1e-6
"""Gradient relative to the residual at which exact data are taken to have another rank: an error e
of the factors gives ||J^T J e|| / ||J e||, no less than the inverse condition number of J."""

BELOW_NOISE = 1e-3
"""Gradient, relative to the residual, at which what a refit leaves undone is lost in the noise: the
gradient of pure noise is about sqrt(n / m) of it, so that this is a few per cent of the error."""

FIT_TO_ROUNDING = 1e-11
"""Relative residual of an exact fit: far below any shrinkage, above accumulated rounding."""


def refit(
    problem: FactorizedProblem,
    w: Array,
    rank: int,
    rng: np.random.Generator,
    *,
    tol: float = 1e-8,
    solver: Solver | None = None,
    trace: Trace | None = None,
    loose: bool = False,
    exact: bool = False,
    noise: float = 0.0,
) -> SolverRun:
    """Minimise 1/2 ||A(X) - b||^2 at the given rank, from W.

    Parameters
    ----------
    w : array (rows, k)
        Start; cut to ``rank`` columns, or filled up with small random ones.
    tol : float, default 1e-8
        Relative gradient at which to stop.
    solver : Solver, optional
        Default: Gauss-Newton for exact data (its convergence to a zero residual is superlinear),
        else trust-region Newton, which ends at a near-second-order point.
    loose : bool
        For comparing ranks: accuracy 1e-4 and no curvature test.
    noise : float, default 0
        Standard deviation of the noise where known: a gradient tolerance coarser than it resolves
        is tightened.
    """
    w = _with_columns(problem, w, rank, rng)
    if solver is None:
        if exact:
            solver = GaussNewton()
        else:
            solver = TrustRegion(float("inf"), max_inner=50) if loose else TrustRegion()
    tol = 1e-4 if loose else tol
    b_norm = norm(problem.b)
    if noise > 0 and b_norm > 0:
        share = noise * float(np.sqrt(problem.operator.num_measurements)) / b_norm
        tol = min(tol, max(BELOW_NOISE * share, 1e-13))
    stopping = Stopping(gradient_tol=tol, max_iterations=20 if loose else 100)
    if exact:
        stopping = Stopping(gradient_tol=1e-15, misfit_tol=MISFIT, max_iterations=100)
    if isinstance(problem.factorization, Signed) and w.shape[1]:
        signature, fixed = problem.factorization.fixed(w)
        posed = replace(problem, factorization=signature)
        run = solver.run(posed, fixed, stopping=stopping, trace=trace, stage="refit")
        back = problem.evaluate(problem.factorization.join(*posed.parts(run.point.w)))
        return replace(run, point=back)
    return solver.run(problem, w, stopping=stopping, trace=trace, stage="refit")


def _with_columns(
    problem: FactorizedProblem, w: Array, rank: int, rng: np.random.Generator
) -> Array:
    if w.shape[1] == 0:
        return spectral(problem, rank, rng)
    missing = rank - problem.search_rank(w)
    if missing <= 0:
        return problem.factorization.truncate(w, rank)
    if isinstance(problem.factorization, Signed):
        # The sign of a new eigenvalue is not free to choose: the residual says which one helps.
        lifted = RankLift(columns=missing).propose(problem.with_regularizers(), w, {}, rng)
        return (
            w if lifted is None else problem.factorization.truncate(problem.gauge(lifted.w), rank)
        )
    noise = rng.standard_normal((w.shape[0], missing)) / np.sqrt(w.shape[0])
    # Zero columns are a saddle: small ones let the search leave it.
    scale = 1e-2 * np.linalg.norm(to_numpy(w), axis=0).min()
    return namespace(w).concat([w, like(scale * noise, w)], axis=1)


def candidate_ranks(largest: int) -> list[int]:
    """Return 1, 2, 3, 4, 5, 6, 7, 9, 11, ...: about a quarter more each time.

    Examples
    --------
    >>> candidate_ranks(12)
    [1, 2, 3, 4, 5, 6, 7, 9, 11, 12]
    """
    ranks, k = [], 1
    while k < largest:
        ranks.append(k)
        k = max(k + 1, int(1.3 * k))
    return [*ranks, largest] if largest > 0 else []


def degrees_of_freedom(problem: FactorizedProblem, rank: int) -> int:
    """Return the dimension of the matrices of the given rank."""
    return problem.factorization.degrees_of_freedom(problem.shape, rank)


@dataclass
class DiscrepancyTest:
    """Accept the ranks whose refit leaves no more than noise.

    For Gaussian noise ||residual||^2 / sigma^2 is about chi-squared with m - dim degrees of
    freedom; the test allows three standard deviations. Refits are kept by rank. Own derivation.
    """

    problem: FactorizedProblem
    sigma: float
    rng: np.random.Generator
    trace: Trace
    refits: dict[int, SolverRun] = field(default_factory=dict)

    def passes(self, w: Array, rank: int) -> bool:
        """Refit at the rank, from W or an earlier refit; compare the residual with the noise."""
        freedom = self.problem.operator.num_measurements - degrees_of_freedom(self.problem, rank)
        if rank < 1 or freedom <= 0:
            return False
        start = self.refits[rank].point.w if rank in self.refits else w
        run = refit(
            self.problem, start, rank, self.rng, trace=self.trace, loose=True, noise=self.sigma
        )
        if rank not in self.refits or run.point.loss < self.refits[rank].point.loss:
            self.refits[rank] = run
        return self.allows(self.refits[rank].point, rank)

    def allows(self, point: Point, rank: int) -> bool:
        """Whether the residual of a point of this rank is no more than noise."""
        freedom = self.problem.operator.num_measurements - degrees_of_freedom(self.problem, rank)
        return 2 * point.loss <= self.sigma**2 * (freedom + 3 * np.sqrt(2.0 * max(freedom, 0)))

    def revealed(self, w: Array) -> int | None:
        """Return the least passing rank that a refit of W shows, or None.

        The spectrum of the shrunk W only suggests ranks: at its gap, and where it becomes small.
        """
        values = self.problem.singular_values(w)
        half = self.problem.operator.num_measurements / 2
        # From below: a rank too large passes as well, by fitting noise, and its refit is slow.
        candidates = {spectral_gap(values, least_ratio=2.0), values.size}
        candidates |= {int(np.sum(values > share * values.max())) for share in (0.1, 0.02)}
        for rank in sorted(candidates - {0}):
            if degrees_of_freedom(self.problem, rank) <= half and self.passes(w, rank):
                while rank > 1 and not self._needs(rank) and self.passes(w, rank - 1):
                    rank -= 1
                return rank
        return None

    def _needs(self, rank: int) -> bool:
        """Whether the last singular triplet of a refit measures far more than the test allows.

        Ten times the slack: a refit one rank lower can absorb a part of it, not nine tenths.
        """
        w = self.problem.gauge(self.refits[rank].point.w)
        image = self.problem.operator.apply_product(*self.problem.parts(w[:, -1:]))
        freedom = self.problem.operator.num_measurements - degrees_of_freedom(self.problem, rank)
        gained = degrees_of_freedom(self.problem, rank) - degrees_of_freedom(self.problem, rank - 1)
        slack = self.sigma**2 * (gained + 3 * np.sqrt(2.0 * max(freedom, 1)))
        return norm(image) ** 2 > 10 * slack

    def search(self, w: Array) -> int:
        """Return the least passing rank by walking up from the gap; the last one if none does."""
        largest = self.problem.search_rank(w)
        if largest == 0:
            return 0
        rank = spectral_gap(self.problem.singular_values(w))
        while rank <= largest:
            if self.passes(w, rank) or self.trace.stop_requested or self.trace.out_of_time:
                return rank
            rank += 1
        return max(self.refits) if self.refits else largest


def spectral_gap(values: np.ndarray, least_ratio: float = 1.0) -> int:
    """Return the rank before the largest ratio of neighbouring singular values.

    Values below a fiftieth of the largest count as that: the tail of a shrunk spectrum falls to
    zero by itself, and the ratios there mean nothing. 0 when no ratio reaches ``least_ratio``.

    Examples
    --------
    >>> spectral_gap(np.array([10.0, 9.0, 0.2, 1e-9]))
    2
    """
    if values.size < 2:
        return int(values.size)
    floored = np.maximum(values, max(0.02 * float(values.max()), np.finfo(float).tiny))
    ratios = floored[:-1] / floored[1:]
    return int(np.argmax(ratios)) + 1 if ratios.max() >= least_ratio else 0


def exact_rank_search(
    problem: FactorizedProblem,
    w: Array,
    rng: np.random.Generator,
    *,
    rank: int | None = None,
    tol: float = 1e-8,
    solver: Solver | None = None,
    trace: Trace | None = None,
) -> SolverRun:
    """Return the fit of least rank found that reproduces exact data, for any operator.

    Ranks are tried upwards from the spectral gap of the convex solution (after one step down), each
    by Gauss-Newton from that solution, until the residual vanishes or the unknowns outnumber the
    measurements. Without success the run with the least residual is settled and returned.
    """
    m = problem.operator.num_measurements
    if rank is not None:
        return exact_refit(problem, w, rank, rng, tol=tol, solver=solver, trace=trace)
    b_norm = norm(problem.b)
    guess = max(1, spectral_gap(problem.singular_values(w)))
    best: SolverRun | None = None
    k = guess
    while k <= min(problem.operator.shape) and (degrees_of_freedom(problem, k) <= m or k == guess):
        run = refit(problem, w, k, rng, solver=solver, trace=trace, exact=True)
        if run.status in (Status.USER_STOP, Status.MAX_TIME):
            return run if best is None or run.point.loss < best.point.loss else best
        if best is None or run.point.loss < best.point.loss:
            best = run
        if run.point.residual_norm <= FIT_TO_ROUNDING * b_norm:
            break
        k += 1
    assert best is not None
    fits = best.point.residual_norm <= FIT_TO_ROUNDING * b_norm
    if not fits:
        return _settled(problem, best, rng, tol, solver, trace)
    while problem.search_rank(best.point.w) > 1:
        smaller = problem.search_rank(best.point.w) - 1
        run = refit(problem, best.point.w, smaller, rng, solver=solver, trace=trace, exact=True)
        if run.point.residual_norm > FIT_TO_ROUNDING * b_norm:
            break
        best = run
    return best


def exact_refit(
    problem: FactorizedProblem,
    w: Array,
    rank: int,
    rng: np.random.Generator,
    *,
    tol: float = 1e-8,
    solver: Solver | None = None,
    trace: Trace | None = None,
) -> SolverRun:
    """Fit exact data at the given rank; where they are not of that rank, find a local minimum."""
    run = refit(problem, w, rank, rng, solver=solver, trace=trace, exact=True)
    return _settled(problem, run, rng, tol, solver, trace)


def _settled(
    problem: FactorizedProblem,
    run: SolverRun,
    rng: np.random.Generator,
    tol: float,
    solver: Solver | None,
    trace: Trace | None,
) -> SolverRun:
    """Hand a fit with a residual to trust-region Newton: Gauss-Newton is slow where one is left."""
    fits = run.point.residual_norm <= FIT_TO_ROUNDING * norm(problem.b)
    unfinished = run.status in (Status.MAX_ITERATIONS, Status.STALLED, Status.CONVERGED)
    if solver is not None or fits or not unfinished or run.point.w.shape[1] == 0:
        return run
    k = problem.search_rank(run.point.w)
    return refit(problem, run.point.w, k, rng, tol=tol, trace=trace)
