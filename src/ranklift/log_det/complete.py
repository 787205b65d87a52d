"""complete_exactly: a matrix of low rank through every sample, its rank found on the way."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..arrays import Array
from ..errors import RankError
from ..lowrank import LowRank
from ..operators import EntrySampling
from ..status import Status
from ..trace import Trace
from .finish import Fit, extend_inner, finish, fit_outer
from .lift import lift_rank
from .path import Path, Rule, run_path
from .samples import Samples

SLOW = 0.85
"""The floor factor of the last retries."""

NEARLY_EXACT = 1e-3
"""Relative residual below which a failed finish is tried again at one rank less."""

FIRST_STEPS, MOST_STEPS = 10, 30
"""Gauss-Newton steps before and after that."""

DOUBTFUL_SHARE = 0.75
"""An exact fit whose dimension exceeds this share of m may have a rank too high: look below it."""

MOST_RANKS = 64
"""Largest rank looked for when none is given: it bounds the cost on data of no low rank."""

COUNTING_SHARE = 0.98
"""Ranks whose dimension K (n1 + n2 - K) exceeds this share of m fit anything: never searched."""


@dataclass(frozen=True, eq=False)
class ExactCompletion:
    """The outcome of ``complete_exactly``.

    Attributes
    ----------
    w : ndarray, shape (n1 + n2, k)
        Balanced factors [L; R] of X = L R^T.
    rank : int
        k.
    status : Status
        ZERO_RESIDUAL for an exact fit; it does not say that no other exact fit exists.
    relative_residual : float
        ||A(X) - b|| / ||b||.
    rounds : int
        Smoothing rounds over all attempts.
    attempts : int
        Runs of the path: 1 unless the first one failed.
    """

    w: np.ndarray
    rank: int
    status: Status
    relative_residual: float
    rounds: int
    attempts: int


def largest_countable_rank(operator: EntrySampling) -> int:
    """Return the largest K with K (n1 + n2 - K) <= .98 m, at least 1.

    Examples
    --------
    >>> operator = EntrySampling([0, 0, 1, 1, 2, 2, 2], [0, 1, 0, 1, 0, 1, 2], (3, 3))
    >>> largest_countable_rank(operator)
    1
    """
    n1, n2 = operator.shape
    ranks = np.arange(1, min(n1, n2) + 1)
    countable = ranks * (n1 + n2 - ranks) <= COUNTING_SHARE * operator.num_measurements
    # The dimension grows with K up to the full rank, so the countable ranks come first.
    return max(1, int(np.sum(countable)))


def complete_exactly(
    operator: EntrySampling,
    b: Array,
    *,
    rank: int | None = None,
    tol: float = 1e-12,
    rng: np.random.Generator | int | None = None,
    trace: Trace | None = None,
) -> ExactCompletion:
    """Find a low-rank matrix through every sample: A(X) = b, the rank unknown or bounded.

    Parameters
    ----------
    operator : EntrySampling
    b : array, shape (m,)
        Exact data (no noise).
    rank : int, optional
        Largest rank to look for; left out, the counting bound, at most 64.
    tol : float, default 1e-12
        Relative residual of an exact fit.
    rng : Generator or int, optional
        Draws the start blocks.
    trace : Trace, optional
        Gets a row a round; its clock and its stop flag end the search with the best iterate.

    Returns
    -------
    ExactCompletion

    Raises
    ------
    RankError
        When ``rank`` does not lie in 1..min(shape).

    Notes
    -----
    Rounds of log-det smoothing (``inner``) whose eps follows the largest gap of the spectrum; a
    Gauss-Newton finish (``finish``) as soon as a gap shows chooses the rank. With the rank unknown
    an exact fit is tried again at one rank less on the well-sampled lines: just above the
    information limit fits of too high a rank leave weakly sampled lines wrong. A run without
    success is repeated with the classical rule at the ranks whose gap was largest. Memory: the
    samples, (n1 + n2) K and n w^2 for w working directions. Weight: Kuemmerle and Mayrink Verdun
    (ICML 2021); the rest own work.

    Examples
    --------
    >>> from ranklift.instances import entry_completion
    >>> instance = entry_completion((40, 30), 2, 2.5, rng=0)
    >>> found = complete_exactly(instance.operator, instance.measurements, rng=0)
    >>> found.rank, found.status.value, found.relative_residual < 1e-12
    (2, 'zero_residual', True)
    """
    return _Search(operator, b, rank, tol, rng, trace).run()


class _Search:
    """One call of ``complete_exactly``: the data, the best fit so far, and the attempts."""

    def __init__(
        self,
        operator: EntrySampling,
        b: Array,
        rank: int | None,
        tol: float,
        rng: np.random.Generator | int | None,
        trace: Trace | None,
    ) -> None:
        smallest = min(operator.shape)
        if rank is not None and not 1 <= rank <= smallest:
            raise RankError(
                f"rank {rank} in a {operator.shape[0]} x {operator.shape[1]} matrix",
                f"pass a rank in 1..{smallest}, or None to have it found",
            )
        self.samples = Samples.of(operator, b)
        self.rank_unknown = rank is None
        self.largest_rank = rank or min(MOST_RANKS, largest_countable_rank(operator))
        self.tol = tol
        self.rng = np.random.default_rng(rng)
        self.trace = trace if trace is not None else Trace()
        self.best: Fit | None = None
        self.exact: Fit | None = None
        self.path: Path | None = None
        self.rounds = self.attempts = 0

    def run(self) -> ExactCompletion:
        """Run the attempts and say how they ended."""
        if not np.any(self.samples.data):
            return self._result(Status.ZERO_RESIDUAL)
        try:
            if self._search():
                self.exact = self.best
                self._look_below()
        except KeyboardInterrupt:
            self.trace.stop_requested = True
        if self.exact is not None:
            self.best, status = self.exact, Status.ZERO_RESIDUAL
        elif self.trace.stop_requested:
            status = Status.USER_STOP
        elif self.trace.out_of_time:
            status = Status.MAX_TIME
        else:
            status = Status.STALLED
        return self._result(status)

    def _look_below(self) -> None:
        """Follow one more path below an exact fit whose rank may be too high."""
        while self.rank_unknown and self.exact is not None:
            k = self.exact.rank
            if k == 1 or not self._doubtful(k):
                return
            self.largest_rank = k - 1
            if not self._follow(self._new_path(), Rule(k - 1, max_rounds=60)):
                return
            self.exact = self.best

    def _doubtful(self, k: int) -> bool:
        samples = self.samples
        return k * (samples.inner + samples.outer - k) > DOUBTFUL_SHARE * samples.count

    def _search(self) -> bool:
        fit = lift_rank(self.samples, self.largest_rank, self.rng, tol=self.tol, trace=self.trace)
        if fit is not None:
            self._accept(fit)
            return True
        inner = self.samples.inner
        if self.largest_rank < inner:
            return self._retries()
        # Full rank fits anything, but has no gap to look for: lower ranks go first.
        self.largest_rank = inner - 1
        if inner > 1 and self._retries():
            return True
        if self.trace.stop_requested or self.trace.out_of_time:
            return False
        self.best = fit_outer(self.samples, np.eye(inner))
        return self.best.relative_residual <= self.tol

    def _retries(self) -> bool:
        """Follow the gap rule, then, if that fails, the classical rule at the ranks it suggests."""
        path = self._new_path()
        start = replace(path)
        if self._follow(path, Rule()):
            return True
        k = path.largest_gap_rank
        # Near the limit a rank one too high shows the largest gap: there k - 1 comes first.
        order = [k - 1, k, k + 1] if self._doubtful(k) else [k, k + 1, k - 1]
        order = [j for j in order if 1 <= j <= self.largest_rank]
        rules = [*map(Rule, order), *(Rule(j, SLOW, 200) for j in order[:2])]
        for rule in rules:
            if self.trace.stop_requested or self.trace.out_of_time:
                return False
            # A slow run gets another random block, the others repeat the first one's.
            repeat = rule.floor_factor < SLOW
            again = replace(start, tried={}) if repeat else self._new_path()
            if self._follow(again, rule):
                return True
        return False

    def _new_path(self) -> Path:
        return Path.start(self.samples, self.largest_rank, self.rng)

    def _follow(self, path: Path, rule: Rule) -> bool:
        self.attempts += 1
        self.path = path
        before = path.rounds
        try:
            return run_path(
                self.samples, path, rule, self.largest_rank, self.trace, self._try_finish
            )
        finally:
            self.rounds += path.rounds - before

    def _try_finish(self, path: Path, k: int) -> bool:
        fit = self._finish_from(path.u[:, :k])
        if self.best is None or fit.relative_residual < self.best.relative_residual:
            self.best = fit
        if fit.relative_residual > self.tol:
            return False
        self._accept(fit)
        return True

    def _accept(self, fit: Fit) -> None:
        self.best = self._lowest_rank(fit) if self.rank_unknown else fit

    def _finish_from(self, a: np.ndarray) -> Fit:
        """Finish at the rank of A, on the well-sampled lines first, then on all.

        A line with few samples more than unknowns says nothing about the other factor and makes
        the search harder; left in, it also lets fits of too high a rank pass.
        """
        k = int(a.shape[1])
        core = self.samples.restricted(self.samples.well_sampled(k + 2))
        if core.count < 0.5 * self.samples.count:
            core = self.samples
        cautious = self.rank_unknown and k > 1
        fit = self._finish(core, a, FIRST_STEPS if cautious else MOST_STEPS)
        if cautious and self.tol < fit.relative_residual < NEARLY_EXACT:
            # A rank too high nearly fits and then crawls: one rank less may end it.
            lower = self._finish_truncated(fit)
            if lower.relative_residual <= self.tol:
                return lower
            fit = self._finish(core, fit.a, MOST_STEPS)
        if core.count == self.samples.count:
            return fit
        if fit.relative_residual > self.tol:
            return fit_outer(self.samples, fit.a)
        return self._finish(self.samples, extend_inner(self.samples, core, fit), MOST_STEPS)

    def _finish(self, samples: Samples, a: np.ndarray, max_steps: int) -> Fit:
        return finish(samples, a, tol=self.tol, trace=self.trace, max_steps=max_steps)

    def _finish_truncated(self, fit: Fit) -> Fit:
        """Finish at one rank less, from the truncated fit."""
        left = LowRank(fit.a, fit.b).svd()[0]
        return self._finish_from(left[:, : fit.rank - 1])

    def _lowest_rank(self, fit: Fit) -> Fit:
        """Lower the rank of an exact fit as long as the well-sampled lines allow it."""
        while fit.rank > 1:
            lower = self._finish_truncated(fit)
            if lower.relative_residual > self.tol:
                break
            fit = lower
        return fit

    def _result(self, status: Status) -> ExactCompletion:
        samples, fit = self.samples, self.best
        if fit is None and self.path is not None:
            k = self.path.gap_rank
            fit = fit_outer(samples, self.path.u[:, :k])
        if fit is None:
            zero = np.zeros((samples.inner + samples.outer, 1))
            relative = 0.0 if status is Status.ZERO_RESIDUAL else 1.0
            return ExactCompletion(zero, 1, status, relative, self.rounds, self.attempts)
        x = LowRank(fit.a, fit.b).balanced()
        sides = (x.right, x.left) if samples.transposed else (x.left, x.right)
        return ExactCompletion(
            np.concatenate(sides), fit.rank, status, fit.relative_residual, self.rounds,
            self.attempts,
        )  # fmt: skip
