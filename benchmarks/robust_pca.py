"""Robust PCA: ranklift (rank not given) beside pyrpca, rpca (rank given) and TensorLy.

Y = L + S: L of rank r with entries of variance 1, S on a uniform support, uniform in +-10 times the
mean |L|, so that a tenth of the outliers is no larger than an entry. Success: ||L_found - L||_F <
1e-6 ||L||_F.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .harness import Answers, Case, Method, Score, compare, options, summarise, write
from .peers import robust_pca

MAGNITUDE = 10.0
TOLERANCE = 1e-6
LIMIT_S = 120.0
REFERENCE = "ranklift RobustPCA()"


@dataclass(frozen=True)
class Problem:
    """A table with outliers, NaN where nothing was seen, and its low-rank part."""

    low_rank: np.ndarray
    outliers: np.ndarray
    table: np.ndarray
    rank: int


def make_problem(
    shape: tuple[int, int], rank: int, outliers: float, missing: float, seed: int
) -> Problem:
    """Draw L = A B^T / sqrt(r) of Gaussian factors, S on exactly ``outliers`` n1 n2 entries."""
    rng = np.random.default_rng([seed, 7004])
    n1, n2 = shape
    low_rank = rng.standard_normal((n1, rank)) @ rng.standard_normal((rank, n2)) / np.sqrt(rank)
    sparse = np.zeros(shape)
    count = round(outliers * n1 * n2)
    largest = MAGNITUDE * float(np.abs(low_rank).mean())
    where = rng.choice(n1 * n2, size=count, replace=False)
    sparse.flat[where] = rng.uniform(-largest, largest, count)
    table = low_rank + sparse
    if missing:
        table[rng.random(shape) < missing] = np.nan
    return Problem(low_rank, sparse, table, rank)


def _ranklift(problem: Problem) -> Any:
    import ranklift as rl

    return rl.estimators.RobustPCA().fit(problem.table)


METHODS = (
    Method(REFERENCE, _ranklift),
    Method("pyrpca", lambda p: robust_pca.pyrpca(p.table)),
    Method("rpca on [Y; -Y], rank given", lambda p: robust_pca.rpca(p.table, p.rank)),
    Method(
        "rpca on [Y; -Y], gamma .9, rank given",
        lambda p: robust_pca.rpca(p.table, p.rank, gamma=0.9),
    ),
    Method(
        "rpca as it comes, rank given", lambda p: robust_pca.rpca(p.table, p.rank, mirrored=False)
    ),
    Method("TensorLy robust_pca", lambda p: robust_pca.tensorly(p.table)),
)


def score(problem: Problem, answers: Answers) -> dict[str, Score]:
    """Judge by the low-rank part on all entries, seen or not."""
    out: dict[str, Score] = {}
    size = float(np.linalg.norm(problem.low_rank))
    for name, answer in answers.items():
        found = answer if isinstance(answer, np.ndarray) else answer.low_rank_
        found = found if isinstance(found, np.ndarray) else found.toarray()
        error = float(np.linalg.norm(found - problem.low_rank)) / size
        values = np.linalg.svd(found, compute_uv=False)
        details: dict[str, float | str] = {"rank": float(np.sum(values > 1e-6 * values[0]))}
        # Of entries that are outliers in truth and were seen, by the rest Y - L_found.
        rest = np.abs(problem.table - found)
        seen = np.isfinite(rest)
        marked = rest[seen] > 1e-6 * float(np.abs(problem.low_rank).mean())
        details["support_right"] = float(np.mean(marked == (problem.outliers[seen] != 0)))
        out[name] = Score(error, error < TOLERANCE, details)
    return out


GROUPS = {
    "10000x100 r=3, 10% outliers": ((10_000, 100), 3, 0.10, 0.0),
    "2000x100 r=3, 10% outliers": ((2_000, 100), 3, 0.10, 0.0),
    "2000x100 r=3, 10% outliers, 20% missing": ((2_000, 100), 3, 0.10, 0.2),
    "2000x100 r=10, 20% outliers": ((2_000, 100), 10, 0.20, 0.0),
}
QUICK = tuple(GROUPS)[1:3]


def cases(seeds: int, quick: bool) -> Iterator[Case]:
    """Yield the groups one seed after another."""
    for name in QUICK if quick else GROUPS:
        for seed in range(seeds):
            yield Case(name, seed, make_problem(*GROUPS[name], seed))


def main() -> None:
    """Run and write the table."""
    chosen = options(__doc__, seeds=5, quick_seeds=1)
    records = compare(
        cases(chosen.seeds, chosen.quick),
        chosen.pick(METHODS),
        score,
        warm_up=make_problem((100, 40), 1, 0.05, 0.0, 0),
        limit_s=LIMIT_S,
    )
    write(
        "robust_pca",
        summarise(records, REFERENCE),
        records,
        title="Robust PCA: success, error, time",
        notes=[
            (
                f"L with entries of variance 1; outliers on a uniform support, uniform in +-"
                f"{MAGNITUDE:g} mean |L|; error: of L on all entries; success: below "
                f"{TOLERANCE:g}; {LIMIT_S:g} s a run."
            ),
            (
                "rank: singular values above 1e-6 of the largest; support_right: share of the seen "
                "entries where |Y - L_found| > 1e-6 mean |L| says rightly whether it is an outlier."
            ),
            (
                "Only the rpca rows are told the rank. rpca subtracts column means, which outliers "
                "move; [Y; -Y] has none, at twice the work. pyrpca and rpca take no mask: unseen "
                "entries are 0, outliers to be found; TensorLy takes the mask."
            ),
            "Settings of the peers and how they were chosen: benchmarks/peers/robust_pca.py.",
        ],
        quick=chosen.quick,
    )


if __name__ == "__main__":
    main()
