"""robust_pca(): a low-rank matrix under gross errors, Y = X + S + noise where Y was observed.

Everything is a loss of the residual. Minimising over S
1/2 ||Y - X - S||^2 + lambda (||X||_* + gamma ||S||_1) leaves the Huber loss with threshold
gamma lambda; as lambda falls to 0 this is principal component pursuit, the absolute loss with
weight gamma. Whole columns as outliers are the same with groups; outliers of a known total size are
the distance to an l1 ball.

(i) The convex problem along falling lambda until the rank shows; (ii) Huber fits at that rank with
falling thresholds until the threshold meets the noise or the fit becomes exact; (iii) exact data:
least squares on the entries that are no outliers, and the certificate of principal component
pursuit there; noisy data: the convex problem at the noise level with its duality gap.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from . import threads
from .arrays import Array, is_numpy_array, norm, to_numpy
from .certificates import Identifiability
from .certificates.verify import answer_reports, convex_reports
from .errors import DTypeError, InputError
from .losses import Absolute, GroupHuber, Huber, L1BallDistance, Loss, Squared
from .noise import noise_level
from .nuclear_norm import solve_nuclear_norm
from .operators import MeasurementOperator
from .pipeline import make_generator, pose, provenance, warn_unless_stationary
from .problem import FactorizedProblem
from .progress import progress_callback
from .refit import _with_columns, refit, spectral_gap
from .residual_scale import EFFICIENT, ResidualScale, entry_columns, entry_lines
from .result import ConvexSolution, Recovery
from .solvers import GaussNewton, SolverRun, Stopping, TrustRegion
from .stages import GAP_TOLERANCE
from .status import Status, Verdict
from .trace import Callback, Trace
from .validation import check_memory, check_observed, checked_measurements, checked_noise
from .validation import checked_rank as _checked_rank

FALL = 0.4
"""Ratio of neighbouring lambdas and thresholds: a Newton step or two follow each."""

EXACT = 1e-10
"""Spread of the residuals, as a share of the median |b|, at which data count as exact."""

OUTLYING = 3.0
"""Residuals beyond this many standard deviations are reported as outliers."""

OTHER_SPARSITIES = (1.25, 1.6, 0.8)
"""Multiples of the default gamma that are tried where exact data are not certified with it: an
answer that minimises ||X||_* + gamma ||Y - X||_1 for any gamma is proved optimal for that one."""

SIGN_SPARSITY = 6.0
"""Default gamma times ||A*(random signs)||_2, for other measurements than entries. Of 32 instances
of rank 2 (dense 9 x 7 and 20 x 15, bilinear, quadratic; a twentieth of the measurements wrong) 14,
15, 21, 25, 26, 27 were recovered at 2, 3, 4, 5, 6, 8."""

DROWNED = 0.25
"""Share of the largest singular value of pure noise below which a lambda shows nothing but it."""

LEAST_SIDE = 10
"""Rows and columns from which on singular values of noise are near their limit."""

LONGEST_PATH = 20
"""Steps of lambda: the last is 1e-8 of the first."""


def robust_pca(
    operator: MeasurementOperator,
    b: Array,
    *,
    rank: int | None = None,
    noise: float | str | None = "estimate",
    outliers: str = "entries",
    sparsity: float | None = None,
    outlier_norm: float | None = None,
    certify: bool = True,
    max_time: float | None = None,
    rng: np.random.Generator | int | None = None,
    callback: Callback | None = None,
    progress: bool = False,
) -> Recovery:
    """Recover a low-rank matrix from entries of which some are grossly wrong.

    Exact data: min ||X||_* + gamma ||Y - X||_1 (principal component pursuit). Noisy data: min
    Huber(Y - X) + lambda ||X||_*, and a Huber fit without shrinkage at the rank that shows.

    Parameters
    ----------
    operator : MeasurementOperator
        IdentitySensing for a full matrix, EntrySampling where entries are missing; any other
        operator works as well.
    b : array, shape (m,)
        The observed values.
    rank : int, optional
        Rank of the answer; by default the one that shows in the convex solutions.
    noise : float, "estimate" or None
        Standard deviation of the small errors beside the gross ones; "estimate" finds out, and
        whether there are any; None or 0: exact data.
    outliers : "entries" or "columns"
        Whether single entries or whole columns are wrong.
    sparsity : float, optional
        gamma; default 1 / sqrt(m / min(n1, n2)), which is 1 / sqrt(max(n1, n2)) for a full matrix
        (Candes, Li, Ma, Wright 2011). Other measurements than entries: 6 / ||A*(random signs)||_2
        (own, measured). Columns: 3 / (7 sqrt(0.02 n2)), for up to a fiftieth of
        outliers (Xu, Caramanis, Sanghavi 2012), doubled while all columns pass for outliers. Where
        an exact answer is not certified with the default, 1.25, 1.6 and 0.8 times it are tried as
        well; ``convex.loss`` tells which one holds.
    outlier_norm : float, optional
        ||S||_1, if known: the answer then fits Y up to gross errors of that total size (the flat
        form of Ding, Drusvyatskiy, Fazel, Harchaoui, arXiv 2203.03756).
    certify, max_time, rng, callback, progress
        As in ``recover``.

    Returns
    -------
    Recovery
        ``extras["outliers"]`` holds the gross errors, shape (m,), zero elsewhere; ``convex`` the
        certified convex problem.

    Raises
    ------
    InputError
        A typed subclass for unusable input, before any work.

    Notes
    -----
    Cost: about 10 Hessian products a threshold and 5 to 10 thresholds, each one pass over the
    entries; memory O(m) plus the factors. Own derivation where no source is given.

    Examples
    --------
    >>> import numpy as np
    >>> from ranklift.operators import IdentitySensing
    >>> truth = np.outer(np.arange(1.0, 9.0), np.arange(1.0, 8.0))
    >>> wrong = truth.copy()
    >>> wrong[2, 3], wrong[5, 1] = 100.0, -50.0
    >>> found = robust_pca(IdentitySensing((8, 7)), wrong.ravel(), rng=0)
    >>> found.rank, bool(abs(found.matrix.toarray() - truth).max() < 1e-8)
    (1, True)
    """
    if outliers not in ("entries", "columns"):
        raise InputError(f"outliers={outliers!r}", 'pass "entries" or "columns"')
    sigma = checked_noise(noise)
    b = checked_measurements(operator, b)
    if not is_numpy_array(b):
        raise DTypeError("robust_pca on arrays that are not NumPy's", "pass NumPy arrays")
    rank = _checked_rank(rank, operator.shape, operator.num_measurements)
    if outlier_norm is not None:
        _positive(outlier_norm, "outlier_norm", "pass ||S||_1 > 0, or None when it is not known")
        if outliers == "columns":
            raise InputError(
                "outlier_norm with column outliers", "leave one out: it is the sum over entries"
            )
    if max_time is not None:
        _positive(max_time, "max_time", "pass a positive number of seconds, or None")
    check_observed(operator)
    check_memory(operator, rank or 10)
    groups = entry_columns(operator) if outliers == "columns" else None
    # Groups refer to the caller's order of the measurements, so that only entries are reordered.
    problem = pose(operator, b, False, GroupHuber(groups, 1.0) if groups is not None else None)
    lines = None if groups is not None else entry_lines(problem.operator)
    residuals = ResidualScale(problem.shape, groups, lines)
    trace = Trace(max_time_s=float("inf") if max_time is None else float(max_time))
    generator = make_generator(rng)
    gamma = _sparsity(problem, sparsity, generator)
    search = _Search(problem, generator, trace, rank, sigma, gamma, residuals, outlier_norm)
    search.given_gamma = sparsity is not None
    with threads.single_threaded_blas(), progress_callback(progress, callback) as observer:
        trace.callback = observer
        try:
            search.run()
        except KeyboardInterrupt:
            trace.stop_requested = True
            search.status = Status.USER_STOP
        result = search.finish(certify and not trace.stop_requested)
    # The pipeline may have reordered the measurements: the outliers go by the caller's order.
    z = operator.apply_product(result.left, result.right)
    result.extras["outliers"] = search.gross_errors(z, b)
    result.provenance = provenance(operator, rng, noise=noise, rank=rank, sparsity=search.gamma)
    result.operator, result.measurements = operator, b
    warn_unless_stationary(result.status, stacklevel=3)
    return result


@dataclass
class _Search:
    """The stages of one call, and what they share."""

    problem: FactorizedProblem
    rng: np.random.Generator
    trace: Trace
    rank: int | None
    noise: float | str
    gamma: float
    residuals: ResidualScale
    outlier_norm: float | None
    status: Status = Status.MAX_ITERATIONS
    w: Any = None
    convex: ConvexSolution | None = None
    given_gamma: bool = False
    _only_noise: bool = False
    sigma: float = 0.0
    exact: bool = False
    loss: Loss | None = None
    inliers: Any = None
    stage_times: dict[str, float] = field(default_factory=dict)

    def run(self) -> None:
        """Follow lambda down and fit at every rank that shows, until a fit explains the data."""
        n1, n2 = self.problem.shape
        self.w = np.zeros((n1 + n2, 0))
        path = self._follow()
        # A weight too small for the data calls everything an outlier; groups are coarse enough
        # for the default to do so.
        while path is not None and not path.shape[1] and self._may_double():
            self.gamma *= 2
            path = self._follow()
        if path is None or self.w.shape[1]:
            return
        shown, threshold = int(path.shape[1]), self.gamma * self.problem.scale
        if shown and not self._only_noise:
            self._fit(path, min(self.rank or shown, shown), threshold)
        if self.rank is not None and self.rank > shown and not self.exact:
            if not self._interrupted(self.w):
                start = _with_columns(self.problem, path, self.rank, self.rng)
                self._fit(start, self.rank, threshold)
        elif not self.w.shape[1]:
            self._answer_zero()

    def _answer_zero(self) -> None:
        """Take X = 0: all is noise where a level is known or showed, else all is outliers."""
        self.status = Status.CONVERGED
        if isinstance(self.noise, float):
            self.sigma = self.noise
        elif self._only_noise:
            self.sigma = self.residuals.spread(to_numpy(self.problem.b))
        self.exact = self.sigma == 0.0
        if not self.exact:
            self.loss = self.residuals.huber(self.residuals.threshold(self.sigma))
        elif self.residuals.groups is None:
            self.loss = Absolute(self.gamma)

    def _drowned(self, lam: float, path: Array) -> bool:
        """Whether lambda is far below what the residuals, as noise, would give by themselves.

        The level is the largest singular value of a Gaussian matrix; below a quarter of it the
        convex solution is made of noise.
        """
        (n1, n2), m = self.problem.shape, self.problem.operator.num_measurements
        asked = self.rank is not None or self.noise == 0.0
        if asked or self.residuals.lines is None or min(n1, n2) < LEAST_SIDE:
            return False
        sigma = self.noise
        if not isinstance(sigma, float):
            sigma = self.residuals.spread(to_numpy(self.problem.predict(path) - self.problem.b))
        level = sigma * (np.sqrt(n1) + np.sqrt(n2)) * np.sqrt(m / (n1 * n2))
        return bool(lam < DROWNED * level)

    def _may_double(self) -> bool:
        return self.residuals.groups is not None and not self.given_gamma and self.gamma < 0.5

    def _follow(self) -> Array | None:
        """Fit along falling lambda; return the last convex solution, or None when stopped."""
        lam, shown, tried = self.problem.with_loss(Huber(1e300)).scale, 0, 0
        path = np.zeros((sum(self.problem.shape), 0))
        for _ in range(LONGEST_PATH):
            lam *= FALL
            run = solve_nuclear_norm(
                self._posed(self.gamma * lam), lam, path, self.rng,
                tolerance=1e-2, certified=False, trace=self.trace,
            )  # fmt: skip
            path = run.w
            if self._interrupted(path):
                return None
            if not tried and self._drowned(lam, path):
                self._only_noise = True
                return path
            values = self.problem.singular_values(path)
            before, shown = shown, spectral_gap(values, 2.0) or int(values.size)
            candidate = self.rank or (shown if shown == before else 0)
            if not candidate or (self.rank and values.size < self.rank):
                continue
            if candidate != tried:
                tried = candidate
                self._fit(path, candidate, self.gamma * lam)
            if self._interrupted(self.w):
                return None
            # A rank that explains the data exactly is final. With noise, more rank may show until
            # lambda meets what the noise alone would give.
            if self.exact or self.rank or (self.sigma and lam <= 2 * self._noise_level()):
                break
        return path

    def _interrupted(self, w: Array) -> bool:
        if not (self.trace.stop_requested or self.trace.out_of_time):
            return False
        self.w = w if not self.w.shape[1] else self.w
        self.status = Status.USER_STOP if self.trace.stop_requested else Status.MAX_TIME
        return True

    def _posed(self, threshold: float) -> FactorizedProblem:
        return self.problem.with_loss(self.residuals.huber(threshold))

    def _noise_level(self) -> float:
        posed = self._posed(max(self.residuals.threshold(self.sigma), 1e-300))
        return noise_level(posed, self.sigma, self.rng)

    # -- fits at one rank --------------------------------------------------------------------

    def _fit(self, w: Array, rank: int, threshold: float) -> None:
        """Fit at the rank by Huber losses of falling thresholds."""
        unit = float(np.median(self.residuals.lengths(to_numpy(self.problem.b)))) or 1.0
        w = self.problem.factorization.truncate(w, rank)
        floor = self.residuals.threshold(self.noise) if isinstance(self.noise, float) else 0.0
        settled, share = False, 0.0
        while True:
            posed = self._posed(threshold)
            run = TrustRegion(float("inf"), max_inner=20).run(
                posed, w, trace=self.trace, stage="huber",
                stopping=Stopping(gradient_tol=0.02 * threshold / unit, max_iterations=4),
            )  # fmt: skip
            w, residual = run.point.w, to_numpy(run.point.residual)
            if self._interrupted(w):
                return
            sigma = self.residuals.spread(residual)
            inside = float(np.mean(self.residuals.lengths(residual) <= threshold))
            settled, share = abs(inside - share) < 0.01, inside
            if floor == 0.0 and settled and self._fit_exactly(w, residual, threshold, unit):
                return
            lowest = floor or self.residuals.threshold(sigma)
            if threshold <= 1.001 * lowest or threshold <= 1e-12 * unit:
                break
            threshold = max(FALL * threshold, lowest)
        if not floor:
            self.sigma = sigma
        else:
            assert isinstance(self.noise, float)
            self.sigma = self.noise
        self.loss = self.residuals.huber(max(self.residuals.threshold(self.sigma), 1e-12 * unit))
        if self.outlier_norm is not None:
            self.loss = L1BallDistance(self.outlier_norm)
        # No curvature test of its own: the certificate makes one, and it costs as much as the rest.
        final = refit(
            replace(self.problem, loss=self.loss), w, rank, self.rng,
            solver=TrustRegion(float("inf")), trace=self.trace,
        )  # fmt: skip
        self.w, self.status = final.point.w, final.status

    def _fit_exactly(self, w: Array, residual: np.ndarray, threshold: float, unit: float) -> bool:
        """Fit the inliers by least squares, with ever fewer of them, while the spread collapses."""
        sigma = self.residuals.spread(residual)
        for _ in range(12):
            keep = self.residuals.lengths(residual) <= np.maximum(
                threshold, self.residuals.line_thresholds(residual)
            )
            mask = self.residuals.by_measurement(keep).astype(residual.dtype)
            trimmed = replace(
                self.problem, operator=self.problem.operator.weighted(mask),
                b=self.problem.b * mask, loss=Squared(),
            )  # fmt: skip
            # Two steps show which entries are wrong; only the last set is worth more.
            w = self._least_squares(trimmed, w, 2).point.w
            residual = to_numpy(self.problem.predict(w) - self.problem.b)
            before, sigma = sigma, self.residuals.spread(residual)
            if sigma <= EXACT * unit:
                run = self._least_squares(trimmed, w, 6)
                self.w, self.status, self.exact, self.sigma = run.point.w, run.status, True, 0.0
                if self.status in (Status.STALLED, Status.MAX_ITERATIONS):
                    self.status = Status.CONVERGED  # at rounding: nothing is left to gain
                self.inliers = trimmed
                self.loss = Absolute(self.gamma)
                if self.outlier_norm is not None:
                    self.loss = L1BallDistance(self.outlier_norm)
                return True
            if sigma > 0.3 * before or self.trace.stop_requested or self.trace.out_of_time:
                return False
            threshold = min(threshold, 6 * self.residuals.threshold(sigma))
        return False

    def _least_squares(self, trimmed: FactorizedProblem, w: Array, steps: int) -> SolverRun:
        return GaussNewton(damping=1e-6).run(
            trimmed, w, trace=self.trace, stage="inliers",
            stopping=Stopping(gradient_tol=1e-15, max_iterations=steps),
        )  # fmt: skip

    # -- the answer --------------------------------------------------------------------------

    def gross_errors(self, z: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return b - z where it is no noise, else 0."""
        r = b - z
        unit = float(np.median(self.residuals.lengths(b))) or 1.0
        limit = (
            1e-7 * unit
            if self.exact
            else self.residuals.threshold(self.sigma) * OUTLYING / EFFICIENT
        )
        gross = self.residuals.lengths(r) > limit
        return np.where(self.residuals.by_measurement(gross), r, 0.0)

    def finish(self, certify: bool) -> Recovery:
        """Certify, and put the answer together."""
        # A problem of its own, in its loss's unit, as an independent check would pose it.
        loss = self.loss if self.loss is not None else self.residuals.huber(1.0)
        problem = replace(self.problem, loss=loss)
        w = problem.gauge(self.w)
        residual = problem.predict(w) - problem.b
        certificates, searched = {}, self.trace.elapsed_s
        if certify and w.shape[1] and self.inliers is not None:
            report = Identifiability().check(self.inliers, w, self.rng)
            certificates[report.name] = report
        elif certify and w.shape[1]:
            certificates = answer_reports(problem, w, self.rng)
        if certify and not self.trace.out_of_time:
            self.convex = self._certified(w)
        # With noise the convex problem at the noise level is solved for the certificate alone.
        proving = self.trace.elapsed_s - searched
        self.stage_times |= {"answer": searched, "certificates": proving}
        left, right = problem.factorization.factors(w, problem.shape)
        b_norm = norm(problem.b)
        return Recovery(
            left=left,
            right=right,
            status=self.status,
            relative_residual=norm(residual) / b_norm if b_norm > 0 else norm(residual),
            residual_norm=norm(residual),
            factorization=problem.factorization,
            loss=problem.loss,
            certificates=certificates,
            convex=self.convex,
            trace=self.trace,
            counts=problem.counts,
            wall_time=self.trace.elapsed_s,
            stage_times=self.stage_times,
            noise=self.sigma or None,
        )

    def _certified(self, w: Array) -> ConvexSolution:
        """Return the convex problem with its certificate: at the answer, or at the noise level."""
        problem = self.problem
        if self.exact and self.residuals.groups is None and self.outlier_norm is None:
            first = self._reported(problem.with_loss(Absolute(self.gamma)), 1.0, w)
            found = first
            for factor in () if self.given_gamma else OTHER_SPARSITIES:
                if _holds(found) or self.trace.stop_requested or self.trace.out_of_time:
                    break
                found = self._reported(problem.with_loss(Absolute(factor * self.gamma)), 1.0, w)
            return found if _holds(found) else first
        lam = self._noise_level() if self.sigma else 1e-3 * problem.scale
        loss = self.residuals.huber(self.gamma * lam)
        if self.outlier_norm is not None:
            loss = L1BallDistance(self.outlier_norm)
        posed = problem.with_loss(loss)
        run = solve_nuclear_norm(posed, lam, w, self.rng, tolerance=GAP_TOLERANCE, trace=self.trace)
        return self._reported(posed, lam, run.w)

    def _reported(self, posed: FactorizedProblem, lam: float, at: Array) -> ConvexSolution:
        reports = convex_reports(posed, at, lam, self.rng, GAP_TOLERANCE)
        gap = reports["duality_gap"]
        left, right = posed.factorization.factors(at, posed.shape)
        return ConvexSolution(
            left, right, lam, gap.details["primal"], gap.measured, reports, posed.loss
        )


def _holds(solution: ConvexSolution) -> bool:
    return solution.certificates["duality_gap"].verdict is Verdict.HOLDS


def _sparsity(
    problem: FactorizedProblem, sparsity: float | None, rng: np.random.Generator
) -> float:
    operator = problem.operator
    if sparsity is not None:
        return _positive(sparsity, "sparsity", "pass gamma > 0, or None for the default")
    if isinstance(problem.loss, GroupHuber):
        return 3.0 / (7.0 * np.sqrt(0.02 * operator.shape[1]))
    if entry_lines(operator) is not None:
        return 1.0 / np.sqrt(operator.num_measurements / min(operator.shape))
    level = noise_level(replace(problem, loss=Absolute(1.0)), 0.0, rng)
    return SIGN_SPARSITY / level if level > 0 else 1.0


def _positive(value: Any, name: str, remedy: str) -> float:
    if isinstance(value, (str, bool)) or not np.isreal(value) or not 0 < value < np.inf:
        raise InputError(f"{name} {value!r}", remedy)
    return float(value)
