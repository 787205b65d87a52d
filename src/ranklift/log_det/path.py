"""The smoothing path: log-det majorisation rounds whose eps follows the gap of the spectrum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..trace import Trace
from .inner import Iterate, reweighted_step
from .samples import Samples

EXTRA_COLUMNS = 4
"""Block columns beyond the largest rank: they let the last wanted triplets converge."""


MOST_TRIES = 4
"""Most finishes at one rank in one run: a rank too high nearly fits again and again, slowly."""


@dataclass(frozen=True)
class Rule:
    """How eps falls: eps <- min(.97 eps, max(s_{k+1}, floor_factor eps)).

    ``rank`` fixes k; None takes the largest gap s_k / s_{k+1} of the moment.
    """

    rank: int | None = None
    floor_factor: float = 0.6
    max_rounds: int = 120


@dataclass
class Path:
    """The state (U, s, V) of one run, its eps, and the gaps it saw."""

    u: np.ndarray
    s: np.ndarray
    v: np.ndarray
    eps: float
    rounds: int = 0
    cg_steps: int = 0
    gap: float = 1.0
    gap_rank: int = 1
    largest_gap: float = 0.0
    largest_gap_rank: int = 1
    tried: dict[int, tuple[float, int, int]] = field(default_factory=dict)

    @staticmethod
    def start(samples: Samples, largest_rank: int, rng: np.random.Generator) -> Path:
        """Return the top triplets of X = A*(b), from a random block."""
        width = min(largest_rank + EXTRA_COLUMNS, samples.inner)
        none = np.zeros((samples.inner, 0)), np.zeros((samples.outer, 0))
        x = Iterate(samples, *none, samples.data)
        v = rng.standard_normal((samples.outer, width))
        u, s, v = block_power(x, v, 6)
        path = Path(u, s, v, float(s[0]))
        path.look_at_gaps(largest_rank)
        return path

    def look_at_gaps(self, largest_rank: int) -> None:
        """Find k = argmax s_i / s_{i+1} over i up to the largest rank."""
        s = np.maximum(self.s, 1e-300)
        last = min(largest_rank, s.size - 1)
        ratios = s[:last] / s[1 : last + 1]
        best = int(np.argmax(ratios))
        self.gap, self.gap_rank = float(ratios[best]), best + 1
        if self.rounds > 0 and self.gap > self.largest_gap:
            self.largest_gap, self.largest_gap_rank = self.gap, self.gap_rank

    def advance(self, samples: Samples, rule: Rule, largest_rank: int, power_steps: int) -> Iterate:
        """Lower eps, solve the reweighted problem, and take the new triplets."""
        k = self.gap_rank if rule.rank is None else min(rule.rank, self.s.size - 1)
        self.eps = min(0.97 * self.eps, max(float(self.s[k]), rule.floor_factor * self.eps))
        working = min(max(1, int(np.sum(self.s > self.eps))), largest_rank)
        x, steps = reweighted_step(
            samples, self.u[:, :working], self.s[:working], self.v[:, :working], self.eps
        )
        self.u, self.s, self.v = block_power(x, self.v, power_steps)
        self.rounds += 1
        self.cg_steps += steps
        self.look_at_gaps(largest_rank)
        return x

    def ranks_due(self, largest_rank: int) -> list[int]:
        """Return the ranks to finish at: the largest gap, and that below eps.

        A gap must be open enough, and more open than at the last try of its rank.
        """
        due = []
        for k in {self.gap_rank, min(int(np.sum(self.s > self.eps)), largest_rank)}:
            if not 1 <= k < self.s.size:
                continue
            ratio = float(self.s[k - 1] / max(self.s[k], 1e-300))
            gap, round_, tries = self.tried.get(k, (2.0, -8, 0))
            if ratio >= 1.5 * gap and self.rounds >= round_ + 8 and tries < MOST_TRIES:
                self.tried[k] = (ratio, self.rounds, tries + 1)
                due.append(k)
        return due


def block_power(x: Iterate, v: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (U, s, V) after block power steps from V, with a Rayleigh-Ritz step at the end."""

    def qr(y: np.ndarray) -> np.ndarray:
        return np.linalg.qr(y)[0]

    for _ in range(steps - 1):
        v = qr(x.rmatmul(qr(x.matmul(v))))
    left = qr(x.matmul(v))
    w, s, qt = np.linalg.svd(x.rmatmul(left), full_matrices=False)
    return left @ qt.T, s, w


def run_path(
    samples: Samples,
    path: Path,
    rule: Rule,
    largest_rank: int,
    trace: Trace,
    try_finish: Callable[[Path, int], bool],
    power_steps: int = 3,
) -> bool:
    """Advance until a finish succeeds (True), the rounds are spent, or the trace stops the run."""
    floor = 1e-11 * path.eps
    for _ in range(rule.max_rounds):
        x = path.advance(samples, rule, largest_rank, power_steps)
        squared = float(np.sum(x.residual**2))
        trace.record(
            "rank_search",
            path.rounds,
            objective=0.5 * squared,
            residual_norm=squared**0.5,
            gradient_norm=float("nan"),
            rank=path.gap_rank,
        )
        if trace.stop_requested or trace.out_of_time or path.eps <= floor:
            return False
        if any(try_finish(path, k) for k in path.ranks_due(largest_rank)):
            return True
    return False
