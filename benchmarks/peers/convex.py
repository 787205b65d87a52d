"""CVXPY for dense measurements: the nuclear norm, exact or with a squared loss, and PhaseLift."""

from __future__ import annotations

from typing import Any

import numpy as np


def nuclear_norm_exact(
    matrices: np.ndarray, b: np.ndarray, *, solver: str, eps: float, max_time_s: float
) -> np.ndarray:
    """Return argmin ||X||_* subject to <A_t, X> = b_t."""
    import cvxpy as cp

    unknown = cp.Variable(matrices.shape[1:])
    measured = matrices.reshape(len(b), -1) @ cp.vec(unknown, order="C")
    problem = cp.Problem(cp.Minimize(cp.normNuc(unknown)), [measured == b])
    return _solve(problem, unknown, solver, eps, max_time_s)


def nuclear_norm_squared(
    matrices: np.ndarray,
    b: np.ndarray,
    regularization: float,
    *,
    solver: str,
    eps: float,
    max_time_s: float,
) -> np.ndarray:
    """Return argmin 1/2 ||A(X) - b||^2 + lambda ||X||_*."""
    import cvxpy as cp

    unknown = cp.Variable(matrices.shape[1:])
    measured = matrices.reshape(len(b), -1) @ cp.vec(unknown, order="C")
    objective = 0.5 * cp.sum_squares(measured - b) + regularization * cp.normNuc(unknown)
    return _solve(cp.Problem(cp.Minimize(objective)), unknown, solver, eps, max_time_s)


def phase_lift(
    vectors: np.ndarray, b: np.ndarray, *, solver: str, eps: float, max_time_s: float
) -> np.ndarray:
    """Return argmin tr(X) subject to X >= 0 and x_t^T X x_t = b_t (real PhaseLift)."""
    import cvxpy as cp

    m, n = vectors.shape
    unknown = cp.Variable((n, n), PSD=True)
    outer = np.einsum("ti,tj->tij", vectors, vectors).reshape(m, -1)
    measured = outer @ cp.vec(unknown, order="C")
    problem = cp.Problem(cp.Minimize(cp.trace(unknown)), [measured == b])
    return _solve(problem, unknown, solver, eps, max_time_s)


def _solve(problem: Any, unknown: Any, solver: str, eps: float, max_time_s: float) -> np.ndarray:
    """Return the value of the unknown.

    An "inaccurate" solution is one too: the benchmark judges it by the truth (Clarabel ends so on
    equality constraints that hold exactly, with 1e-8 and better).

    Raises
    ------
    RuntimeError
        When the solver stops without a solution or at its time limit.
    """
    import cvxpy as cp

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
    if unknown.value is None or problem.status not in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE):
        raise RuntimeError(f"{solver} stopped: {problem.status}")
    return np.asarray(unknown.value)
