"""Robust PCA, Y = M + S: whether the truth solves the flat problem, and the plain one.

Flat:  min ||X||_*  subject to ||Y - X||_1 <= ||S||_1.
Plain: min ||X||_* + gamma ||Y - X||_1, principal component pursuit, gamma = 1 / sqrt(d).

By ``ranklift.flatness.decomposition``: ``ranklift.robust_pca`` also finds truths that solve neither
problem, and the map is about the problems. A success is proved by the gap, a failure by a
decomposition that is allowed and has a lower value than the truth's.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from ranklift.flatness.decomposition import (
    Decomposition,
    DecompositionRun,
    Pursuit,
    WithinBall,
    decompose,
)

RECOVERED = 1e-6
"""Relative error of a success, and relative gap that proves it."""

UNDERCUT = 1e-9
"""Relative decrease below the truth's value that proves a failure: far above rounding."""

MAX_ITERATIONS = 20_000


def judge(problem: Decomposition, data: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Say whether the truth solves the problem, and whether that is proved either way."""
    allowed = problem.value(truth, data - truth)

    def undercut(run: DecompositionRun) -> bool:
        return run.value < allowed * (1 - UNDERCUT)

    def error(run: DecompositionRun) -> float:
        return float(np.linalg.norm(data - run.outliers - truth))

    def reached(run: DecompositionRun) -> bool:
        return run.gap <= RECOVERED and error(run) < RECOVERED

    run = decompose(
        problem, data, RECOVERED, MAX_ITERATIONS,
        enough=lambda run: undercut(run) or reached(run),
    )  # fmt: skip
    recovered = reached(run) and not undercut(run)
    return {"recovered": recovered, "certified": recovered or undercut(run), "error": error(run),
            "gap": run.gap}  # fmt: skip


def solve_robust(d: int, rank: int, share: float, rng: np.random.Generator) -> dict[str, Any]:
    """Draw Y = M + S with a share of wrong entries; judge both problems."""
    started = time.perf_counter()
    factors = rng.standard_normal((2, d, rank))
    truth = factors[0] @ factors[1].T
    truth /= np.linalg.norm(truth)
    wrong = np.zeros(d * d)
    where = rng.permutation(d * d)[: max(1, round(share * d * d))]
    wrong[where] = 3.0 / d * rng.standard_normal(where.size)
    data = truth + wrong.reshape(d, d)
    problems = {"flat": WithinBall(float(np.abs(wrong).sum())), "plain": Pursuit(d**-0.5)}
    judged = {kind: judge(problem, data, truth) for kind, problem in problems.items()}
    common = {"seconds": time.perf_counter() - started, "kappa": 1.0}
    return {kind: outcome | common for kind, outcome in judged.items()}
