"""Draws of the six problem families, and the two solutions of each."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from ranklift import robust_pca
from ranklift.curvature_weights import curvature_weights, written_out
from ranklift.factorizations import Asymmetric, Factorization, Signed, Symmetric
from ranklift.minimum_norm import solve_minimum_norm
from ranklift.operators import (
    DenseSensing,
    EntrySampling,
    IdentitySensing,
    MeasurementOperator,
    QuadraticSensing,
    RankOneSensing,
)
from ranklift.problem import FactorizedProblem
from ranklift.status import Status

RECOVERED = 1e-6
"""Relative error of a success."""

SPARSITIES = [0.5, 0.63, 0.8, 1.0, 1.25, 1.6, 2.0]
"""Multiples of 1 / sqrt(d) tried for robust PCA: the truth minimises ||X||_* within the ball
||Y - X||_1 <= ||S||_1 exactly if it minimises ||X||_* + gamma ||Y - X||_1 for some gamma (a
multiplier of the ball), so that any gamma that recovers it proves a success."""


@dataclass(frozen=True)
class Draw:
    """A problem of one family with its truth."""

    operator: MeasurementOperator
    factorization: Factorization
    truth: np.ndarray


def draw(family: str, d: int, rank: int, m: int, rng: np.random.Generator) -> Draw:
    """Draw a truth of unit Frobenius norm and m measurements of it."""
    factors = rng.standard_normal((2, d, rank))
    factorization: Factorization = Asymmetric()
    if family == "network":  # half of the hidden units, rounded up, count with a plus
        signs = np.where(np.arange(rank) < (rank + 1) // 2, 1.0, -1.0)
        truth, factorization = (factors[0] * signs) @ factors[0].T, Signed()
    elif family == "covariance":
        truth, factorization = factors[0] @ factors[0].T, Symmetric()
    else:
        truth = factors[0] @ factors[1].T
    truth /= np.linalg.norm(truth)
    if family == "sensing":
        operator: MeasurementOperator = DenseSensing(rng.standard_normal((m, d, d)))
    elif family == "bilinear":
        operator = RankOneSensing(rng.standard_normal((m, d)), rng.standard_normal((m, d)))
    elif family == "completion":
        seen = rng.permutation(d * d)[:m]
        operator = EntrySampling(seen // d, seen % d, (d, d))
    else:
        operator = QuadraticSensing(rng.standard_normal((m, d)))
    return Draw(operator, factorization, truth)


def solve(drawn: Draw, *, flat: bool) -> dict[str, Any]:
    """Minimise ||D1 X D2||_* (flat) or ||X||_* over the X that fit; judge the truth by it."""
    started = time.perf_counter()
    operator, b = drawn.operator.canonical(drawn.operator.apply(drawn.truth))
    problem = posed = FactorizedProblem(operator, b, drawn.factorization)
    weights, truth = curvature_weights(operator, drawn.factorization), drawn.truth
    if flat:
        rows = weights.forth(truth, truth)[0]
        posed, truth = weights.pose(problem), weights.forth(rows.T, rows.T)[1].T
    enough = None if isinstance(drawn.factorization, Symmetric) else Undercut(posed, truth)
    run = solve_minimum_norm(posed, np.random.default_rng(0), enough=enough)
    parts = posed.parts(run.w)
    left, right = weights.back(*parts) if flat else parts
    error = float(np.linalg.norm(left @ right.T - drawn.truth))
    grams = left.T @ left, right.T @ right
    if isinstance(drawn.factorization, Signed):
        grams = grams[0], grams[0]
    return {
        "error": error,
        "recovered": error < RECOVERED,
        "certified": run.status in (Status.CONVERGED, Status.USER_STOP),
        "size": float(np.sum(left**2) + np.sum(right**2)),
        "imbalance": float(np.linalg.norm(grams[0] - grams[1]) / np.linalg.norm(grams[0])),
        "kappa": weights.condition,
        "gap": run.gap,
        "seconds": time.perf_counter() - started,
    }


class Undercut:
    """Say when some matrix that fits exactly has a smaller norm than the truth: a proved failure.

    The matrix is X plus the least correction by the A_j that makes it fit.
    """

    def __init__(self, problem: FactorizedProblem, truth: np.ndarray) -> None:
        self.problem = problem
        self.symmetric = isinstance(problem.factorization, Signed)
        self.least = float(np.linalg.norm(truth, "nuc")) * (1 - 1e-6)
        matrices = written_out(problem.operator)
        self.rows = matrices.reshape(len(matrices), -1)
        try:
            self.gram: Any = cho_factor(self.rows @ self.rows.T)
        except LinAlgError:  # measurements that repeat each other: no correction by them
            self.gram = None

    def __call__(self, w: np.ndarray, misfit: np.ndarray) -> bool:
        """Whether X(W), corrected, undercuts the truth."""
        missed = np.linalg.norm(misfit) / np.linalg.norm(self.problem.b)
        if self.gram is None or missed > 0.02:
            return False
        correction = (cho_solve(self.gram, misfit) @ self.rows).reshape(self.problem.shape)
        fitting = self.problem.compose(w).toarray() + correction
        left = self.problem.operator.apply(fitting) - self.problem.b
        exact = np.linalg.norm(left) <= 1e-10 * np.linalg.norm(self.problem.b)
        return bool(exact and np.linalg.norm(fitting, "nuc") < self.least)


def solve_robust(d: int, rank: int, share: float, rng: np.random.Generator) -> dict[str, Any]:
    """Judge principal component pursuit: gamma = 1 / sqrt(d), and the best of several."""
    started = time.perf_counter()
    factors = rng.standard_normal((2, d, rank))
    truth = factors[0] @ factors[1].T
    truth /= np.linalg.norm(truth)
    wrong = np.zeros(d * d)
    where = rng.permutation(d * d)[: max(1, round(share * d * d))]
    wrong[where] = 3.0 / d * rng.standard_normal(where.size)
    data = truth + wrong.reshape(d, d)
    found: dict[float, tuple[bool, bool, float]] = {}
    for multiple in SPARSITIES:
        gamma = multiple / np.sqrt(d)
        answer = robust_pca(
            IdentitySensing((d, d)), data.ravel(), noise=None, sparsity=gamma, rng=0
        )
        assert answer.convex is not None
        matrix = answer.convex.matrix.toarray()
        error = float(np.linalg.norm(matrix - truth))
        closed = answer.convex.relative_gap <= 1e-6
        values = [
            np.linalg.norm(x, "nuc") + gamma * np.abs(data - x).sum() for x in (matrix, truth)
        ]
        undercut = bool(values[0] < values[1] * (1 - 1e-9))  # the truth is no minimum: a failure
        found[multiple] = (error < RECOVERED and closed, closed or undercut, error)
    best = min(found.values(), key=lambda outcome: (not outcome[0], outcome[2]))
    if not best[0]:  # failed at every gamma tried: proved if each of these is
        best = (False, all(outcome[1] for outcome in found.values()), best[2])
    plain = found[1.0]
    common = {"seconds": time.perf_counter() - started, "kappa": 1.0}
    return {
        "flat": {"recovered": best[0], "error": best[2], "certified": best[1], **common},
        "plain": {"recovered": plain[0], "error": plain[2], "certified": plain[1], **common},
    }
