"""The stages of a recovery: regularised, answer, escapes, certificates."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .arrays import Array, is_numpy_array, namespace, norm
from .certificates import PSDGap
from .certificates.verify import answer_reports, convex_reports
from .escapes import EscapeAttempt, EscapeSearch, automatic
from .factorizations import Asymmetric
from .noise import HoldOut, hold_out, noise_estimate, noise_level, split_measurements
from .nuclear_norm import NuclearNormRun, continuation, geometric_path, solve_nuclear_norm
from .operators import EntrySampling
from .problem import FactorizedProblem
from .refit import FIT_TO_ROUNDING, DiscrepancyTest, exact_rank_search, exact_refit
from .refit import refit as refit_at
from .result import ConvexSolution, Recovery
from .solvers import Solver, SolverRun
from .status import Status, Verdict
from .trace import Trace

log = logging.getLogger("ranklift")

GAP_TOLERANCE = 1e-6
"""Relative duality gap at which the regularised stage is certified."""

EXACT_SHRINKAGE = 0.3
"""lambda of the regularised stage for exact data, as a share of ||A*(b)||_2: small enough to show
the leading spectrum, large enough to cost a fraction of the rank search that follows."""

EXACT_LANCZOS_STEPS = 240
"""Effort for the gap of a regularised stage that is a start only: a tenth of a second at n = 100,
two at n = 4000, where quadratic measurements would need thousands of steps to close it."""


@dataclass
class Stages:
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
        with self.stage("regularised"):
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
        if self.refit is False:
            return False  # the shrunk solution is the answer: at this lambda it still misses a lot
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
        with self.stage("answer"):
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
        chosen = not plan.escapes
        # Without a rank the stages before have raised it until the data were explained.
        decidable = self.rank is not None and (self.exact or self.discrepancy is not None)
        if chosen and not (decidable and self._wants_refit()):
            return w, status
        start = SolverRun(problem.evaluate(w), status, 0)
        if chosen:
            if self._explained(start):
                return w, status
            plan = replace(plan, escapes=automatic(problem))
        with self.stage("escapes"):
            if problem.factorization.definite:
                best = PSDGap().check(problem, problem.gauge(w), self.rng)
                if best.verdict is Verdict.HOLDS:  # no positive semidefinite matrix fits better
                    return w, status
            outcome = plan.run(
                problem, start, self.rng, descend=self._descend, solved=self._explained, trace=trace
            )
            self.attempts = outcome.attempts
            if outcome.solved or not (trace.stop_requested or trace.out_of_time):
                return outcome.run.point.w, outcome.run.status
            stopped = Status.USER_STOP if trace.stop_requested else Status.MAX_TIME
            return outcome.run.point.w, stopped
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
        with self.stage("certificates"):
            # Without a refit the answer is the regularised solution, checked below as what it is.
            refitted = convex is None or w is not convex.w
            if certify and w.shape[1] and not interrupted and refitted:
                certificates = answer_reports(problem, w_balanced, self.rng)
        solution = None
        if convex is not None:
            with self.stage("certificates"):
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
    def stage(self, name: str) -> Iterator[None]:
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
