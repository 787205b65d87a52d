"""Plain SoftImpute with hold-out lambda, written for the benchmark.

Mazumder, Hastie, Tibshirani 2010, JMLR 11, "Spectral regularization algorithms for learning large
incomplete matrices": X <- S_lambda(P(M) + P_perp(X)), warm starts down a path of lambda.
"""

from __future__ import annotations

import numpy as np


def _shrink(matrix: np.ndarray, threshold: float) -> np.ndarray:
    # The Gram matrix of the short side: several times faster than an SVD, accurate enough here.
    if matrix.shape[0] > matrix.shape[1]:
        return _shrink(matrix.T, threshold).T
    squares, vectors = np.linalg.eigh(matrix @ matrix.T)
    values = np.sqrt(np.maximum(squares, 0.0))
    keep = values > threshold
    vectors = vectors[:, keep]
    return (vectors * (1.0 - threshold / values[keep])) @ (vectors.T @ matrix)


def _solve(
    table: np.ndarray,
    seen: np.ndarray,
    threshold: float,
    start: np.ndarray,
    rtol: float,
    max_iterations: int,
) -> np.ndarray:
    current = start
    for _ in range(max_iterations):
        following = _shrink(np.where(seen, table, current), threshold)
        change = np.linalg.norm(following - current)
        current = following
        if change <= rtol * max(np.linalg.norm(current), 1e-12):
            break
    return current


def impute(
    table: np.ndarray,
    *,
    lambdas: int = 20,
    smallest: float = 1e-3,
    held_out: float = 0.1,
    rtol: float = 1e-4,
    max_iterations: int = 200,
    seed: int = 0,
) -> np.ndarray:
    """Fill the NaN of ``table``.

    Columns are standardised by their seen entries; lambda runs down a geometric path from
    ||P(M)||_2 to ``smallest`` times it, warm-started; the best on ``held_out`` of the seen
    entries is taken (the path stops after three worse ones) and refitted on all of them.
    """
    seen = np.isfinite(table)
    mean = np.nanmean(table, axis=0)
    spread = np.nanstd(table, axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    scaled = np.where(seen, (table - mean) / spread, 0.0)
    rng = np.random.default_rng([seed, 7002])
    test = seen & (rng.random(table.shape) < held_out)
    train = seen & ~test
    largest = float(np.linalg.norm(np.where(train, scaled, 0.0), 2))
    path = largest * np.geomspace(1.0, smallest, lambdas)
    fit = np.zeros_like(scaled)
    errors: list[float] = []
    for threshold in path:
        fit = _solve(scaled, train, threshold, fit, rtol, max_iterations)
        # Errors in the units of the table, as they are judged.
        errors.append(float(np.sqrt(np.mean(((fit - scaled) * spread)[test] ** 2))))
        if len(errors) - 1 - int(np.argmin(errors)) >= 3:
            break
    best = int(np.argmin(errors))
    fit = np.zeros_like(scaled)
    for threshold in path[: best + 1]:
        fit = _solve(scaled, seen, threshold, fit, rtol, max_iterations)
    return np.where(seen, table, fit * spread + mean)
