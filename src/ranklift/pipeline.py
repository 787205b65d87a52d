"""recover(): measurements in, low-rank matrix and certificates out. The pipeline on one screen."""

from __future__ import annotations

import logging
import platform
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from . import initializers, threads
from .arrays import Array, is_numpy_array, namespace, norm
from .certificates.verify import answer_reports, convex_reports
from .errors import ConvergenceWarning, InputError, RankError, ShapeError
from .escapes import Escape, EscapeAttempt, EscapeSearch, automatic
from .factorizations import Asymmetric, Factorization, Hermitian, Signed, Symmetric
from .losses import Loss, Squared
from .noise import HoldOut, hold_out, noise_estimate, noise_level, split_measurements
from .nuclear_norm import NuclearNormRun, continuation, geometric_path, solve_nuclear_norm
from .operators import EntrySampling, MeasurementOperator
from .problem import FactorizedProblem
from .progress import progress_callback
from .refit import FIT_TO_ROUNDING, DiscrepancyTest, exact_rank_search, exact_refit
from .refit import refit as refit_at
from .result import ConvexSolution, Recovery
from .solvers import SOLVERS, Solver, SolverRun
from .status import Status
from .trace import Callback, Observer, Trace
from .validation import (
    check_memory,
    check_observed,
    checked_measurements,
    checked_noise,
    checked_rank,
    checked_regularization,
)

GAP_TOLERANCE = 1e-6
"""Relative duality gap at which the regularised stage is certified."""

EXACT_SHRINKAGE = 0.3
"""lambda of the regularised stage for exact data, as a share of ||A*(b)||_2: small enough to show
the leading spectrum, large enough to cost a fraction of the rank search that follows."""

EXACT_LANCZOS_STEPS = 240
"""Effort for the gap of a regularised stage that is a start only: a tenth of a second at n = 100,
two at n = 4000, where quadratic measurements would need thousands of steps to close it."""

SEED_SALT = 0x72616E6B
"""Keeps our random streams apart from a caller's of the same seed."""

log = logging.getLogger("ranklift")


def recover(
    operator: MeasurementOperator,
    b: Array,
    *,
    rank: int | None = None,
    symmetric: bool | str = False,
    loss: Loss | None = None,
    noise: float | str | None = None,
    regularization: float | str | None = "auto",
    solver: Solver | str = "auto",
    escapes: EscapeSearch | Sequence[Escape] | str | None = "auto",
    certify: bool = True,
    tol: float = 1e-8,
    max_time: float | None = None,
    rng: np.random.Generator | int | None = None,
    callback: Callback | None = None,
    progress: bool = False,
    init: str | tuple[Array, Array] | Array | None = None,
    refit: bool | str = "auto",
    observers: Sequence[Observer] = (),
) -> Recovery:
    """Recover a low-rank matrix from its measurements, and certify what was found.

    (i) min 1/2 ||A(X) - b||^2 + lambda ||X||_* to a certified relative gap, lambda continued down
    to the noise level; (ii) refit without shrinkage at the revealed rank, to a near-second-order
    point; (iii) for exact entries, a rank search that works below the nuclear norm's threshold.
    Both stages stay in the result, each with its own certificates.

    Parameters
    ----------
    operator : MeasurementOperator
        A, from n1 x n2 matrices to m numbers.
    b : array, shape (m,)
        The measurements; NumPy, or the array library that the factors shall live in.
    rank : int, optional
        Rank of the answer; by default it is searched for.
    symmetric : bool or "indefinite", default False
        True: search for a positive semidefinite X = U U^T (complex Hermitian U U^H where the
        operator's unknown is); "indefinite": any symmetric X. Operators that only see the symmetric
        part of X are searched over symmetric X in any case: the rest is not measured.
    loss : Loss, default the squared loss
        How A(X) is compared with b; see ``ranklift.losses``. Robust losses take gross errors,
        Logistic 1-bit data.
    noise : float, "estimate" or None
        Standard deviation of the noise in b; "estimate" chooses lambda and rank by hold-out;
        None or 0 for exact data.
    regularization : float, "auto" or None
        lambda; "auto" takes it from the noise; None leaves stage (i) out.
    solver : Solver or its class name, default "auto"
        Local search of the refit: Gauss-Newton for exact data, else trust-region Newton.
    escapes : EscapeSearch, sequence of Escape, "auto" or None
        How to leave an answer that the data reject: exact data that are not reproduced, or a
        residual above the known noise, at a given rank. "auto" tries the escapes that have the best
        odds by measurement (``escapes.automatic``) until one descent ends at a fit or a round
        brings nothing lower; an ``EscapeSearch`` has its own budget. A sequence is tried at
        any answer. Every attempt is kept in the result. None: no escapes.
    certify : bool, default True
        Whether to check the certificates of the answer.
    tol : float, default 1e-8
        Relative gradient ||gradient|| / (||A*(b)|| ||W||) of the refit.
    max_time : float, optional
        Seconds after which the best iterate so far is returned with Status.MAX_TIME.
    rng : Generator or int, optional
        Same seed, same result.
    callback : callable, optional
        Called with every TraceRow; returning True stops with Status.USER_STOP, as does Ctrl-C.
    progress : bool, default False
        Show a progress line on standard error after two seconds.
    init : "spectral", "small_random", (L, R), U or None
        Start of the refit (with refit=False, of the regularised stage); by default the refit
        starts from the regularised solution, for exact entries from the rank search.
    refit : bool or "auto", default "auto"
        Whether the answer is refitted without shrinkage. "auto" does, unless a hold-out
        (noise="estimate") finds the regularised solution to predict better; that solution is then
        the answer.
    observers : sequence of callable, default none
        Shown every iterate of every stage, as ``Trace`` has it: a ``trajectory.Trajectory``.

    Returns
    -------
    Recovery

    Raises
    ------
    InputError
        A typed subclass for unusable input, before any work: see ``ranklift.errors``.

    Warns
    -----
    ConvergenceWarning
        When the last stage stopped before its test was met. The numbers are kept.

    Notes
    -----
    Cost: 10 to 50 Hessian products a lambda, one pass over the measurements each; memory O(m) plus
    about 20 arrays of the size of the factors. Sources: see ``nuclear_norm``, ``log_det``,
    ``refit``.

    Examples
    --------
    >>> import numpy as np
    >>> import ranklift as rl
    >>> truth = np.outer([1.0, 2.0, 3.0, 4.0], [1.0, -1.0, 2.0, 1.0])
    >>> seen = np.array([0, 1, 2, 4, 5, 7, 8, 10, 11, 13, 14])
    >>> A = rl.operators.EntrySampling(seen // 4, seen % 4, (4, 4))
    >>> found = rl.recover(A, truth.ravel()[seen], rng=0)
    >>> found.rank, bool(abs(found.matrix.toarray() - truth).max() < 1e-8)
    (1, True)
    """
    sigma, lam = checked_noise(noise), checked_regularization(regularization)
    b = checked_measurements(operator, b)
    rank = checked_rank(rank, operator.shape, operator.num_measurements)
    check_observed(operator)
    check_memory(operator, rank or 10)
    plan = _plan(escapes)
    local_solver = _solver(solver)
    problem = pose(operator, b, symmetric, loss)
    _check_settings(problem, sigma, lam, rank, init)
    generator = make_generator(rng)
    limit = float("inf") if max_time is None else float(max_time)
    trace = Trace(max_time_s=limit, observers=list(observers))
    search = _Search(problem, generator, trace, rank, sigma, lam, local_solver, tol, refit)
    with threads.single_threaded_blas(), progress_callback(progress, callback) as observer:
        trace.callback = observer
        start = _start(problem, init, rank, generator)
        convex = search.regularised_stage(start)
        w, status = search.answer_stage(convex, start)
        w, status = search.escape_stage(w, status, plan)
        result = search.finish(w, status, convex, certify)
    result.provenance = provenance(
        operator, rng, noise=sigma, rank=rank, regularization=lam, tol=tol
    )
    result.operator, result.measurements = operator, b
    warn_unless_stationary(result.status, stacklevel=3)
    return result


def warn_unless_stationary(status: Status, *, stacklevel: int) -> None:
    """Warn when a last stage stopped before its test was met."""
    if not status.implies_stationarity:
        warnings.warn(
            f"stopped with status {status.value}: {status.remedy}",
            ConvergenceWarning,
            stacklevel=stacklevel,
        )


@dataclass
class _Search:
    """The stages of one call, and what they share."""

    problem: FactorizedProblem
    rng: np.random.Generator
    trace: Trace
    rank: int | None
    noise: float | str
    regularization: float | str | None
    solver: Solver | None
    tol: float
    refit: bool | str = "auto"
    held_out: HoldOut | None = None
    revealed: int | None = None
    discrepancy: DiscrepancyTest | None = None
    stage_times: dict[str, float] = field(default_factory=dict)
    attempts: Sequence[EscapeAttempt] = ()

    def __post_init__(self) -> None:
        if isinstance(self.noise, float) and self.noise > 0 and self.problem.squared:
            self.discrepancy = DiscrepancyTest(self.problem, self.noise, self.rng, self.trace)

    @property
    def exact(self) -> bool:
        """Whether the data are free of noise and fitted as such."""
        return self.noise == 0.0 and self.problem.squared

    @property
    def known(self) -> float:
        """Return the noise's standard deviation where the caller gave it, else 0."""
        return self.noise if isinstance(self.noise, float) and self.problem.squared else 0.0

    def regularised_stage(self, start: Array | None) -> NuclearNormRun | None:
        """Stage (i): choose lambda, follow the path down to it, certify the solution there.

        A start near the solution (the caller's, or that of a hold-out) replaces the path.
        """
        if self.regularization is None and self.noise != "estimate":
            return None
        with self._stage("regularised"):
            lam = self._lambda()
            if lam is None:
                return None
            near = start if self.refit is False else None
            if near is None and self.held_out is not None:
                near = self.held_out.w
            run: NuclearNormRun | None = None
            path = [] if near is not None else geometric_path(self.problem.scale, lam)
            for step in continuation(self.problem, path, self.rng, trace=self.trace):
                run = step
                if self._explains(step.w):
                    break
            if self.trace.stop_requested or self.trace.out_of_time:
                return run
            if run is not None:
                near, lam = run.w, run.regularization
            return solve_nuclear_norm(
                self.problem,
                lam,
                self._empty() if near is None else near,
                self.rng,
                tolerance=GAP_TOLERANCE,
                trace=self.trace,
                max_lanczos=EXACT_LANCZOS_STEPS if self.exact else 1500,
            )
        return None

    def _explains(self, w: Array) -> bool:
        """Whether the rank that this solution shows leaves nothing but noise after a refit.

        Below that lambda the solution's rank only grows by the fluctuations of its own bias.
        """
        if self.discrepancy is None or not w.shape[1] or self.regularization != "auto":
            return False
        if self.rank is not None:
            return w.shape[1] >= self.rank and self.discrepancy.passes(w, self.rank)
        self.revealed = self.discrepancy.revealed(w)
        return self.revealed is not None

    def _lambda(self) -> float | None:
        fixed = self.regularization if isinstance(self.regularization, float) else None
        if self.noise == "estimate":
            self.held_out = hold_out(
                split_measurements(self.problem, self.rng),
                self.rng,
                rank=self.rank,
                regularization=fixed,
                trace=self.trace,
            )
            if fixed is None:
                return None if self.held_out is None else self.held_out.regularization
        if fixed is not None:
            return fixed
        if self.exact:
            return EXACT_SHRINKAGE * self.problem.scale
        assert isinstance(self.noise, float)
        level = noise_level(self.problem, self.noise, self.rng)
        return min(level, self.problem.scale)

    def answer_stage(
        self, convex: NuclearNormRun | None, start: Array | None
    ) -> tuple[Array, Status]:
        """Stages (ii) and (iii): the answer without shrinkage."""
        w = self._empty() if convex is None else convex.w
        if self.trace.stop_requested or self.trace.out_of_time:
            kept = w if convex is not None or self.trace.newest is None else self.trace.newest
            return kept, Status.USER_STOP if self.trace.stop_requested else Status.MAX_TIME
        problem, rng, trace = self.problem, self.rng, self.trace
        if convex is not None and not self._wants_refit():
            return w, convex.status
        with self._stage("answer"):
            if start is not None:
                k = problem.search_rank(start)
                options: dict[str, Any] = {} if self.exact else {"noise": self.known}
                fit = exact_refit if self.exact else refit_at
                run = fit(
                    problem, start, k, rng, tol=self.tol, solver=self.solver, trace=trace, **options
                )
                return run.point.w, run.status
            if self.exact and self._completes_entries():
                from .log_det import complete_exactly

                assert isinstance(problem.operator, EntrySampling)
                found = complete_exactly(
                    problem.operator, problem.b, rank=self.rank, rng=rng, trace=trace
                )
                return found.w, found.status
            if self.exact:
                run = exact_rank_search(
                    problem, w, rng, rank=self.rank, tol=self.tol, solver=self.solver, trace=trace
                )
                return run.point.w, run.status
            k = self.rank
            if k is None and self.held_out is not None:
                k = self.held_out.rank
            elif k is None and self.discrepancy is not None:
                k = self.revealed or self.discrepancy.search(w)
            if k == 0 or k is None:
                return w, Status.CONVERGED  # nothing rises above the noise: the answer is 0
            if self.discrepancy is not None and k in self.discrepancy.refits:
                w = self.discrepancy.refits[k].point.w
            run = refit_at(
                problem, w, k, rng, tol=self.tol, solver=self.solver, trace=trace, noise=self.known
            )
            return run.point.w, run.status
        kept = trace.newest if trace.newest is not None else w
        return kept, Status.USER_STOP

    def _wants_refit(self) -> bool:
        unranked = self.rank is None and self.held_out is None
        if self.refit == "auto" and not self.problem.squared and unranked:
            return False  # nothing says at which rank
        if self.refit != "auto":
            return bool(self.refit)
        held = self.held_out
        return held is None or self.rank is not None or held.refit_error <= held.convex_error

    def escape_stage(
        self, w: Array, status: Status, plan: EscapeSearch | None
    ) -> tuple[Array, Status]:
        """Stage (iv): leave a point that the data reject; keep what ends lower."""
        problem, trace = self.problem, self.trace
        if plan is None or not w.shape[1] or trace.stop_requested or trace.out_of_time:
            return w, status
        if not plan.escapes:
            # Without a rank the stages before have raised it until the data were explained.
            if self.rank is None or not (self.exact or self.discrepancy is not None):
                return w, status
            plan = replace(plan, escapes=automatic(problem))
        start = SolverRun(problem.evaluate(w), status, 0)
        with self._stage("escapes"):
            outcome = plan.run(
                problem, start, self.rng, descend=self._descend, solved=self._explained, trace=trace
            )
            self.attempts = outcome.attempts
            return outcome.run.point.w, outcome.run.status
        return w, Status.USER_STOP

    def _descend(self, w: Array) -> SolverRun:
        """Search from a candidate of an escape as the answer was searched for."""
        problem, options = self.problem, {"tol": self.tol, "solver": self.solver}
        k = problem.search_rank(w)
        if self.exact:
            return exact_refit(problem, w, k, self.rng, trace=self.trace, **options)
        return refit_at(problem, w, k, self.rng, trace=self.trace, noise=self.known, **options)

    def _explained(self, run: SolverRun) -> bool:
        """Whether nothing but rounding, or noise, is left: what no other point can better."""
        if self.exact:
            return run.point.residual_norm <= FIT_TO_ROUNDING * norm(self.problem.b)
        if self.discrepancy is None:
            return False
        return self.discrepancy.allows(run.point, self.problem.search_rank(run.point.w))

    def finish(
        self, w: Array, status: Status, convex: NuclearNormRun | None, certify: bool
    ) -> Recovery:
        """Balance, check the certificates, and put the answer together."""
        problem = self.problem
        residual = problem.predict(w) - problem.b
        w_balanced = problem.gauge(w)
        left, right = problem.factorization.factors(w_balanced, problem.shape)
        b_norm = norm(problem.b)
        certificates = {}
        interrupted = self.trace.stop_requested
        with self._stage("certificates"):
            # Without a refit the answer is the regularised solution, checked below as what it is.
            refitted = convex is None or w is not convex.w
            if certify and w.shape[1] and not interrupted and refitted:
                certificates = answer_reports(problem, w_balanced, self.rng)
        solution = None
        if convex is not None:
            with self._stage("certificates"):
                solution = self._convex_solution(convex, certify and not interrupted)
        sigma: float | None = None
        if self.noise == "estimate":
            sigma = noise_estimate(problem, residual, problem.search_rank(w_balanced))
            if self.held_out is not None:
                # A shrunk answer of large rank leaves no degrees of freedom to count; what it does
                # to measurements it has not seen bounds the noise from above.
                sigma = min(sigma, self.held_out.convex_error, self.held_out.refit_error)
        elif not self.exact:
            assert isinstance(self.noise, float)
            sigma = self.noise or None
        return Recovery(
            left=left,
            right=right,
            status=status,
            relative_residual=norm(residual) / b_norm if b_norm > 0 else norm(residual),
            residual_norm=norm(residual),
            factorization=problem.factorization,
            loss=problem.loss,
            certificates=certificates,
            convex=solution,
            trace=self.trace,
            counts=problem.counts,
            wall_time=self.trace.elapsed_s,
            stage_times=self.stage_times,
            noise=sigma,
            holdout=None if self.held_out is None else self.held_out.to_dict(),
            escapes=list(self.attempts),
        )

    def _convex_solution(self, run: NuclearNormRun, certify: bool) -> ConvexSolution:
        left, right = self.problem.factorization.factors(run.w, self.problem.shape)
        reports, gap = {}, run.gap.relative
        if certify:
            reports = convex_reports(
                self.problem, run.w, run.regularization, self.rng, GAP_TOLERANCE,
                max_steps=EXACT_LANCZOS_STEPS if self.exact else 1000,
            )  # fmt: skip
            gap = reports["duality_gap"].measured
        return ConvexSolution(
            left, right, run.regularization, run.gap.primal, gap, reports, self.problem.loss
        )

    def _completes_entries(self) -> bool:
        return (
            isinstance(self.problem.operator, EntrySampling)
            and isinstance(self.problem.factorization, Asymmetric)
            and is_numpy_array(self.problem.b)
            and self.problem.squared
            and self.solver is None
        )

    def _empty(self) -> Array:
        rows = self.problem.factorization.size(self.problem.shape)
        return namespace(self.problem.b).zeros((rows, 0), dtype=self.problem.b.dtype)

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        """Time a stage; Ctrl-C inside it ends it, and the newest iterate is kept."""
        begun = self.trace.elapsed_s
        try:
            yield
        except KeyboardInterrupt:
            self.trace.stop_requested = True
        finally:
            spent = self.trace.elapsed_s - begun
            self.stage_times[name] = self.stage_times.get(name, 0.0) + spent
            log.info("stage %s: %.2f s", name, spent)


def make_generator(rng: np.random.Generator | int | None) -> np.random.Generator:
    """Return the generator of a call."""
    # A plain default_rng(seed) would repeat the draws of a caller who masks data with that seed.
    if isinstance(rng, (int, np.integer)):
        return np.random.default_rng([int(rng), SEED_SALT])
    return np.random.default_rng(rng)


def pose(
    operator: MeasurementOperator, b: Array, symmetric: bool | str, loss: Loss | None
) -> FactorizedProblem:
    """Pose the problem over the factorization that fits the operator, in its fastest order."""
    factorization = _factorization(operator, symmetric)
    factorization.size(operator.shape)  # raises for a symmetric problem that is not square
    loss = loss if loss is not None else Squared()
    loss.check(b)
    if is_numpy_array(b) and loss.separable:
        operator, b = operator.canonical(b)
    return FactorizedProblem(operator, b, factorization, loss=loss)


def _factorization(operator: MeasurementOperator, symmetric: bool | str) -> Factorization:
    if isinstance(symmetric, str) and symmetric != "indefinite":
        raise InputError(f"symmetric={symmetric!r}", 'pass True, False or "indefinite"')
    if operator.hermitian:
        if symmetric == "indefinite":
            raise InputError(
                "an indefinite search for a complex Hermitian matrix",
                "pass symmetric=True: only positive semidefinite ones are supported",
            )
        return Hermitian()
    if symmetric is True:
        return Symmetric()
    return Signed() if symmetric or operator.symmetric else Asymmetric()


def _check_settings(
    problem: FactorizedProblem,
    sigma: float | str,
    lam: float | str | None,
    rank: int | None,
    init: Any,
) -> None:
    """Raise for combinations that leave the rank or lambda without anything to choose them by."""
    if not np.isfinite(problem.loss.smoothness):
        raise InputError(
            f"recover() with the loss {type(problem.loss).__name__}, which has kinks",
            "use ranklift.robust_pca for gross errors, or its smoothed() version",
        )
    if lam == "auto" and sigma == 0.0 and not problem.squared:
        slope = problem.loss.random_slope(problem.b, 0.0, np.random.default_rng(0))
        if not slope.any():
            raise InputError(
                f"{type(problem.loss).__name__} without a noise level: nothing sets lambda",
                'pass noise= (a standard deviation or "estimate"), or regularization=',
            )
    blind = lam is None and isinstance(sigma, float) and (sigma > 0 or not problem.squared)
    if blind and rank is None and init is None:
        raise RankError(
            "noisy data without a regularised stage, a rank or a start",
            'pass rank= or init=, or leave regularization at "auto", which reveals the rank',
        )


def _plan(escapes: EscapeSearch | Sequence[Escape] | str | None) -> EscapeSearch | None:
    """Return the escape search of the argument; without escapes: to be chosen."""
    if escapes is None or isinstance(escapes, EscapeSearch):
        return escapes
    if isinstance(escapes, str):
        if escapes != "auto":
            raise InputError(
                f"escapes {escapes!r}", 'pass "auto", None, Escape objects or an EscapeSearch'
            )
        return EscapeSearch()
    chosen = tuple(escapes)
    if not all(isinstance(escape, Escape) for escape in chosen):
        raise InputError(f"escapes {escapes!r}", "pass Escape objects, such as SimulatedLift()")
    return EscapeSearch(chosen) if chosen else None


def _solver(solver: Solver | str) -> Solver | None:
    if isinstance(solver, Solver):
        return solver
    if solver == "auto":
        return None
    if solver not in SOLVERS:
        raise InputError(f"unknown solver {solver!r}", f'use "auto" or one of {sorted(SOLVERS)}')
    return SOLVERS[solver]()


def _start(
    problem: FactorizedProblem,
    init: str | tuple[Array, Array] | Array | None,
    rank: int | None,
    rng: np.random.Generator,
) -> Array | None:
    """Return the caller's start as a point W, or None."""
    if init is None:
        return None
    if isinstance(init, str):
        makers = {"spectral": initializers.spectral, "small_random": initializers.small_random}
        if init not in makers:
            raise InputError(f"unknown init {init!r}", f"use one of {sorted(makers)} or factors")
        if rank is None:
            raise RankError(f"init={init!r} without a rank", "pass rank= as well")
        return makers[init](problem, rank, rng)
    if isinstance(init, tuple):
        w = problem.factorization.join(*init) if len(init) == 2 else None
    else:
        w = init
    rows = problem.factorization.size(problem.shape)
    if w is None or w.ndim != 2 or w.shape[0] != rows:
        raise ShapeError(
            "init does not fit the operator", "pass (L, R) of shapes (n1, k), (n2, k), or U (n, k)"
        )
    if rank is not None and w.shape[1] != rank:
        raise RankError(f"init has {w.shape[1]} columns, rank is {rank}", "make them agree")
    return namespace(w).asarray(w, copy=True)


def provenance(operator: MeasurementOperator, rng: Any, **settings: Any) -> dict[str, Any]:
    """Return versions, seed and settings, for the result file."""
    import scipy

    from . import __version__

    return {
        "ranklift": __version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "operator": repr(operator),
        "seed": rng if isinstance(rng, int) else None,
        **settings,
    }
