"""The least curvature of the factorised objective, enclosed by Lanczos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .arrays import Array, like, to_numpy
from .problem import FactorizedProblem
from .spectral import ExtremeEigenvalue, largest_eigenvalue


@dataclass(frozen=True)
class LeastCurvature:
    """The least Hessian eigenvalue, enclosed: a Rayleigh quotient and a lower bound."""

    ritz_least: float
    lower: float
    vector: np.ndarray
    steps: int


def least_curvature(
    problem: FactorizedProblem,
    w: Array,
    rng: np.random.Generator,
    *,
    target: float | None = None,
    max_steps: int = 200,
) -> LeastCurvature:
    """Enclose lambda_min of the Hessian at W by random-start Lanczos on its negative.

    ``target`` (positive) lets the run stop once the bound shows lambda_min >= -target, or a Ritz
    value shows lambda_min < -target. One Hessian product a step.
    """
    rows, columns = w.shape
    if columns == 0:  # X = 0 without a factor to move: no direction at all
        return LeastCurvature(0.0, 0.0, np.zeros((rows, 0)), 0)
    point = problem.evaluate(w)

    def negative_hessian(x: np.ndarray) -> np.ndarray:
        product = problem.hvp(point, like(x.reshape(rows, columns), w))
        return -to_numpy(product).ravel()

    found: ExtremeEigenvalue = largest_eigenvalue(
        negative_hessian, rows * columns, rng, target=target, max_steps=max_steps
    )
    vector = found.vectors[:, 0].reshape(rows, columns).astype(to_numpy(w[:0, :]).dtype)
    return LeastCurvature(-found.ritz, -found.upper, vector, found.steps)
