"""Draws of five problem families, and the two solutions of each; the sixth is in robust.py."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from ranklift.certificates.minimum_norm import gauge_norm
from ranklift.curvature_weights import CurvatureWeights, curvature_weights, written_out
from ranklift.factorizations import Asymmetric, Factorization, Signed, Symmetric
from ranklift.minimum_norm import solve_minimum_norm
from ranklift.operators import (
    DenseSensing,
    EntrySampling,
    MeasurementOperator,
    QuadraticSensing,
    RankOneSensing,
)
from ranklift.problem import FactorizedProblem
from ranklift.solution_set import retract
from ranklift.status import Status

RECOVERED = 1e-6
"""Relative error of a success."""


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
    """Minimise ||D1 X D2||_* (flat) or ||X||_* over the X that fit; judge the truth by it.

    Of a covariance every fit is flat (``ranklift.flattest``), so that the truth must be the only
    one: flat asks the fit of largest trace, plain that of least trace.
    """
    started = time.perf_counter()
    operator, b = drawn.operator.canonical(drawn.operator.apply(drawn.truth))
    problem = posed = FactorizedProblem(operator, b, drawn.factorization)
    weights, truth = curvature_weights(operator, drawn.factorization), drawn.truth
    kappa = weights.condition
    if flat and isinstance(drawn.factorization, Symmetric):
        if any(weights.unmeasured):  # whatever is added there fits as well
            return {"error": float("inf"), "recovered": False, "certified": True, "kappa": kappa,
                    "seconds": time.perf_counter() - started}  # fmt: skip
        weights = against_trace(weights)
    if flat:
        rows = weights.forth(truth, truth)[0]
        posed, truth = weights.pose(problem), weights.forth(rows.T, rows.T)[1].T
    undercut = Undercut(posed, truth)
    run = solve_minimum_norm(posed, np.random.default_rng(0), enough=undercut)
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
        "kappa": kappa,
        "gap": run.gap,
        "seconds": time.perf_counter() - started,
    }


def against_trace(weights: CurvatureWeights) -> CurvatureWeights:
    """Return weights C^(1/2), C = a D^2 - I > 0: tr(D^2 X) is fixed, so that C maximises tr X."""
    square = weights.left_squared
    least = float(np.linalg.eigvalsh(square)[0])
    square = 2.0 / least * square - np.eye(len(square))
    return replace(weights, left_squared=square, right_squared=square)


class Undercut:
    """Say when some matrix that fits exactly has a smaller norm than the truth: a proved failure.

    The matrix is X plus the least correction by the A_j that makes it fit; of positive semidefinite
    ones, which that would leave, the one that Gauss-Newton corrections of U lead to.
    """

    def __init__(self, problem: FactorizedProblem, truth: np.ndarray) -> None:
        self.problem = problem
        self.semidefinite = isinstance(problem.factorization, Symmetric)
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
        if missed > (1e-5 if self.semidefinite else 0.02):  # Gauss-Newton costs more than a product
            return False
        if self.semidefinite:
            at = retract(self.problem, w)
            return at is not None and gauge_norm(self.problem, at) < self.least
        if self.gram is None:
            return False
        correction = (cho_solve(self.gram, misfit) @ self.rows).reshape(self.problem.shape)
        fitting = self.problem.compose(w).toarray() + correction
        left = self.problem.operator.apply(fitting) - self.problem.b
        exact = np.linalg.norm(left) <= 1e-10 * np.linalg.norm(self.problem.b)
        return bool(exact and np.linalg.norm(fitting, "nuc") < self.least)
