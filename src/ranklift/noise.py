"""Noise: the lambda it asks for, and the hold-out that replaces a known level."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .arrays import Array, is_numpy_array, like, norm, to_numpy
from .certificates.sampling import sampled_entries
from .nuclear_norm import continuation, geometric_path
from .operators import MeasurementOperator
from .problem import FactorizedProblem
from .refit import candidate_ranks, degrees_of_freedom, refit, spectral_gap
from .trace import Trace

SHARE = 0.1
"""Share of the measurements held out."""

PATH_RATIO = 0.75
"""Ratio of neighbouring lambda on the hold-out path: the error is flat around its minimum."""

WORTHWHILE = 2e-3
"""Relative gain of hold-out error below which a path is not followed further down."""

STARVED_SHARE = 0.05
"""Share of rows or columns with too few samples up to which refits are tried at all."""

FLAT_BOTTOM = 1e-3
"""Relative distance from the least hold-out error within which the largest lambda is taken."""

CLEAR_GAIN = 0.5
"""Share of its hold-out error that one more rank may leave to be taken beyond those of the path:
small gains there are fluctuations of the data, not structure."""

CLEAR_GAP = 2.0
"""Ratio of neighbouring singular values that is worth a refit on the way down the path."""


def noise_level(problem: FactorizedProblem, sigma: float, rng: np.random.Generator) -> float:
    """Return the mean of ||A*(w)||_2 over three draws of the loss's slope w at the truth.

    w ~ N(0, sigma^2 I) for the squared loss, clipped or of random signs for others.

    At lambda of this size the noise alone yields X = 0: the smallest lambda at which the solution
    does not fit noise by design.
    """
    values = []
    for _ in range(3):
        slope = like(problem.loss.random_slope(problem.b, sigma, rng), problem.b)
        values.append(problem.dual_norm(slope, rng))
    return float(np.mean(values))


@dataclass(frozen=True)
class HoldOut:
    """What the held-out measurements said.

    Attributes
    ----------
    regularization : float
        lambda of the least hold-out error, scaled to all measurements.
    rank : int
        Refit rank of the least hold-out error.
    convex_error, refit_error : float
        Root mean square hold-out errors of the two stages at their best.
    w : array
        The regularised solution of the training part: the start for all measurements.
    path, ranks : list of (lambda, rank, error), list of (rank, error)
    """

    regularization: float
    rank: int
    convex_error: float
    refit_error: float
    w: Array = field(repr=False)
    path: list[tuple[float, int, float]] = field(default_factory=list)
    ranks: list[tuple[int, float]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "share": SHARE,
            "regularization": self.regularization,
            "rank": self.rank,
            "convex_error": self.convex_error,
            "refit_error": self.refit_error if np.isfinite(self.refit_error) else None,
            "path": [[float(lam), rank, float(error)] for lam, rank, error in self.path],
            "ranks": [[rank, float(error)] for rank, error in self.ranks],
        }


@dataclass(frozen=True)
class Split:
    """A training problem and the measurements held out of it."""

    training: FactorizedProblem
    operator: MeasurementOperator
    held: Array
    share: float


def split_measurements(problem: FactorizedProblem, rng: np.random.Generator) -> Split:
    """Hold out a random tenth of the measurements."""
    m = problem.operator.num_measurements
    shuffled = rng.permutation(m)
    count = max(1, round(SHARE * m))
    test, train = np.sort(shuffled[:count]), np.sort(shuffled[count:])
    operator, b, held_operator, held = problem.operator.split(train, test, problem.b)
    if is_numpy_array(b):
        operator, b = operator.canonical(b)
    training = FactorizedProblem(
        operator, b, problem.factorization, counts=problem.counts, loss=problem.loss
    )
    return Split(training, held_operator, held, count / m)


def hold_out(
    split: Split,
    rng: np.random.Generator,
    *,
    rank: int | None = None,
    regularization: float | None = None,
    trace: Trace | None = None,
    stop_at_rank: int | None = None,
) -> HoldOut | None:
    """Choose lambda and the refit rank by the error on the held-out measurements.

    A warm-started path of falling lambda is followed while the error falls; then refits at the
    ranks below that of the best solution are compared. None when stopped before the first answer.

    Parameters
    ----------
    split : Split
    rank : int, optional
        Compare refits at this rank only.
    regularization : float, optional
        Follow the path to this lambda (for all measurements) only.
    stop_at_rank : int, optional
        Leave the path when the solution reaches this rank: enough to compare problems cheaply.
    """
    trace = trace if trace is not None else Trace()
    training, held_operator, held = split.training, split.operator, split.held
    count = held_operator.num_measurements
    # ||A*(w)|| grows like the square root of the number of measurements.
    growth = 1.0 / np.sqrt(1.0 - split.share)

    def error(w: Array) -> float:
        training.counts.apply += 1
        z = held_operator.apply_product(*training.parts(w))
        if training.squared:
            return norm(z - held) / np.sqrt(count)
        return training.loss.value(z, held) / count

    scale = training.scale
    lambdas = (
        geometric_path(scale, 1e-3 * scale, PATH_RATIO)
        if regularization is None
        else geometric_path(scale, regularization / growth, 0.5)
    )
    path: list[tuple[float, int, float]] = []
    ranks: dict[int, float] = {}
    best_run, best, overall, last_gain = None, float("inf"), float("inf"), 0.0
    for run in continuation(training, lambdas, rng, trace=trace, stop_at_rank=stop_at_rank):
        value = error(run.w)
        path.append((run.regularization, training.search_rank(run.w), value))
        gain = best - value
        if value < best or regularization is not None:
            best, best_run = value, run
        # A matrix of truly low rank shows itself early: its refit then beats every lambda.
        shown = spectral_gap(training.singular_values(run.w), CLEAR_GAP)
        sensible = shown and shown not in ranks and _carries(training.operator, shown)
        if rank is None and sensible:
            ranks[shown] = error(
                refit(training, run.w, shown, rng, trace=trace, loose=True).point.w
            )
        reached = min([best, *ranks.values()])
        settled, overall = overall - reached < WORTHWHILE * reached, reached
        # The next gain, if gains go on falling at this rate.
        expected = gain * min(1.0, gain / last_gain) if last_gain > 0 else gain
        last_gain = gain
        started = run.w.shape[1] > 0 and len(path) > 3 and regularization is None
        if started and expected < WORTHWHILE * best:
            break
        if started and settled and overall < 0.5 * best:
            break  # the refit has won: following the path further only costs
        if trace.stop_requested or trace.out_of_time:
            break
        if stop_at_rank is not None and run.w.shape[1] >= stop_at_rank:
            break
    if best_run is None:
        return None
    chosen = best_run.regularization
    if regularization is None:
        # The flat bottom of the error: the largest lambda there is the cheapest and the simplest.
        chosen = next(lam for lam, _, value in path if value <= (1 + FLAT_BOTTOM) * best)
    best_w = best_run.w
    available = training.search_rank(best_w)
    worse = 0
    for k in [rank] if rank is not None else candidate_ranks(available):
        crowded = degrees_of_freedom(training, k or 1) > training.operator.num_measurements // 2
        if trace.stop_requested or trace.out_of_time or worse == 2 or (crowded and ranks):
            break
        if stop_at_rank is not None or not _carries(training.operator, k or 1):
            break
        if k not in ranks:
            ranks[k] = error(refit(training, best_w, k, rng, trace=trace, loose=True).point.w)
        worse = worse + 1 if ranks[k] > 1.02 * min(ranks.values()) else 0
    # A path that ended early may not have shown every rank: go on up while that clearly helps.
    while rank is None and stop_at_rank is None and ranks and worse < 2:
        k = max(ranks) + 1
        crowded = degrees_of_freedom(training, k) > training.operator.num_measurements // 2
        if k <= available or k > min(training.shape) or crowded:
            break
        if trace.stop_requested or trace.out_of_time or not _carries(training.operator, k):
            break
        found = error(refit(training, best_w, k, rng, trace=trace, loose=True).point.w)
        if found > CLEAR_GAIN * min(ranks.values()):
            break
        ranks[k] = found
    refit_rank = min(ranks, key=lambda k: ranks[k]) if ranks else (rank or available)
    refit_error = ranks.get(refit_rank, float("inf"))
    return HoldOut(
        float(chosen * growth),
        refit_rank,
        best,
        refit_error,
        best_w,
        path,
        sorted(ranks.items()),
    )


def _carries(operator: MeasurementOperator, rank: int) -> bool:
    """Whether nearly every row and column has more than ``rank`` samples.

    With fewer a refit has free directions there, and its predictions blow up.
    """
    sampling = sampled_entries(operator)
    if sampling is None:
        return True
    starved = [np.mean(counts <= rank) for counts in (sampling.row_counts, sampling.column_counts)]
    return bool(max(starved) <= STARVED_SHARE)


def noise_estimate(problem: FactorizedProblem, residual: Array, rank: int) -> float:
    """Return sqrt(||residual||^2 / (m - degrees of freedom)): unbiased for a linear model."""
    m = problem.operator.num_measurements
    freedom = max(m - degrees_of_freedom(problem, rank), 0.1 * m)
    return float(np.linalg.norm(to_numpy(residual)) / np.sqrt(freedom))
