"""CVXPY: min 1/2 ||X_Omega - b||^2 + lambda ||X||_* with SCS (first order) or Clarabel (interior)."""

from __future__ import annotations

import numpy as np


def solve(
    rows: np.ndarray,
    cols: np.ndarray,
    values: np.ndarray,
    shape: tuple[int, int],
    regularization: float,
    *,
    solver: str,
    eps: float = 1e-7,
    max_time_s: float = 120.0,
) -> np.ndarray:
    """Return the solution X as an array.

    Raises
    ------
    RuntimeError
        When the solver stops without a solution or at its time limit.
    """
    import cvxpy as cp

    unknown = cp.Variable(shape)
    loss = 0.5 * cp.sum_squares(unknown[rows, cols] - values)
    problem = cp.Problem(cp.Minimize(loss + regularization * cp.normNuc(unknown)))
    if solver == "SCS":
        settings = {"eps": eps, "max_iters": 200_000, "time_limit_secs": max_time_s}
    else:
        settings = {
            "tol_gap_rel": eps,
            "tol_gap_abs": eps,
            "tol_feas": eps,
            "time_limit": max_time_s,
        }
    try:
        problem.solve(solver=solver, **settings)
    except cp.SolverError as error:
        raise RuntimeError(f"{solver}: {error}") from error
    if unknown.value is None or problem.status != cp.OPTIMAL:
        raise RuntimeError(f"{solver} stopped: {problem.status}")
    return np.asarray(unknown.value)
