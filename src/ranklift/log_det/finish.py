"""Gauss-Newton finish at a fixed rank: one factor eliminated exactly, Kaufman's Jacobian.

minimise over A of sum_j min_{B_j} ||b_j - A_j B_j||^2. With B = V S W^T the unknown is the change Z
of A W S, and Kaufman's Gauss-Newton matrix is sum_j V_j V_j^T (x) (I - P_j), P_j the projector onto
the columns of A_j: no scale of the data enters it. It is blind to Z = A N, which the gauge term
q A A^T supplies (q the observed share). Excellent near an exact fit, no globaliser.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from ..linalg import conjugate_gradients
from ..preconditioners import block_solver
from ..trace import Trace
from .samples import Samples

MOST_CG_STEPS = 300
"""Per Gauss-Newton step: more does not pay, the next step goes on from a better point."""

DENSE_UNKNOWNS = 2000
"""Number of unknowns up to which the normal matrix may be factored."""


@dataclass(frozen=True)
class Fit:
    """Factors A (inner, k) and B (outer, k) with the relative residual of A B^T."""

    a: np.ndarray
    b: np.ndarray
    residual: np.ndarray
    relative_residual: float

    @property
    def rank(self) -> int:
        """Return the number of columns."""
        return int(self.a.shape[1])


def fit_outer(samples: Samples, a: np.ndarray) -> Fit:
    """Return the exact least-squares B for orthonormalised A, both rotated to B = V S."""
    from ..kernels import log_det as kernels

    a = np.ascontiguousarray(np.linalg.qr(a)[0])
    b, residual = np.empty((samples.outer, a.shape[1])), np.empty(samples.count)
    samples.run(
        8 * a.shape[1],
        lambda lo, hi: kernels.least_squares(
            samples.indptr, samples.cross, samples.data, a, b, residual, lo, hi
        ),
    )
    relative = float(np.linalg.norm(residual) / np.linalg.norm(samples.data))
    return Fit(a, b, residual, relative)


def finish(
    samples: Samples,
    a: np.ndarray,
    *,
    tol: float,
    trace: Trace,
    max_steps: int,
) -> Fit:
    """Run the finish from A; the result is exact when its relative residual is at most tol.

    Notes
    -----
    Gives up after two successful steps in a row that gain less than 2 per cent (a minimum that is
    no fit), and after five steps that together fail to halve the residual. Cost a step: m k^2 and
    4 m k a CG step, or (inner k)^3 / 3 where CG is slow and the matrix small.
    """
    fit = fit_outer(samples, a)
    rate = samples.rate
    damping = 1e-9 * rate
    history = [fit.relative_residual]
    poor_steps = 0
    for _ in range(max_steps):
        if fit.relative_residual <= tol or trace.out_of_time or trace.stop_requested:
            break
        if len(history) > 5 and history[-1] > 0.5 * history[-6]:
            break
        if poor_steps == 2:
            break
        v, s, wt = np.linalg.svd(fit.b, full_matrices=False)
        if s[-1] <= 1e-14 * s[0]:
            break
        a, v = np.ascontiguousarray(fit.a @ wt.T), np.ascontiguousarray(v)
        step = _step(samples, a, v, fit, damping)
        trial = fit_outer(samples, a * s + step)
        if trial.relative_residual < fit.relative_residual:
            poor = trial.relative_residual > 0.98 * fit.relative_residual
            poor_steps = poor_steps + 1 if poor else 0
            fit, damping = trial, damping / 10
        else:
            damping = max(30 * damping, 1e-4 * rate)
        history.append(fit.relative_residual)
    return fit


def _step(samples: Samples, a: np.ndarray, v: np.ndarray, fit: Fit, damping: float) -> np.ndarray:
    from ..kernels import log_det as kernels

    n, k = a.shape
    indptr, cross, rate = samples.indptr, samples.cross, samples.rate
    inverse = np.empty((samples.outer, k, k))
    blocks = samples.accumulate(
        (n, k, k),
        2 * k * k,
        lambda out, lo, hi: kernels.prepare(indptr, cross, a, v, 0.0, inverse, out, lo, hi),
    )
    gradient = samples.matmul(fit.residual, v)
    blocks += (damping + rate * np.sum(a * a, axis=1))[:, None, None] * np.eye(k)

    def normal(z: np.ndarray) -> np.ndarray:
        z = np.ascontiguousarray(z)
        image = samples.accumulate(
            (n, k),
            4 * k,
            lambda out, lo, hi: kernels.schur_product(indptr, cross, a, v, z, inverse, out, lo, hi),
        )
        return image + damping * z + rate * (a @ (a.T @ z))

    dense_is_cheap = n * k <= DENSE_UNKNOWNS
    limit = MOST_CG_STEPS
    rtol = min(1e-2, max(1e-7, fit.relative_residual))
    run = conjugate_gradients(
        normal, -gradient, preconditioner=block_solver(blocks, 0.0), rtol=rtol, max_iterations=limit
    )
    if run.iterations < limit or not dense_is_cheap:
        return run.step
    dense = samples.accumulate(
        (n * k, n * k),
        1,
        lambda out, lo, hi: kernels.dense_schur(indptr, cross, a, v, inverse, out, lo, hi),
    )
    gauge = rate * (a @ a.T)
    grid = dense.reshape(n, k, n, k)
    for c in range(k):
        grid[:, c, :, c] += gauge
    dense[np.diag_indices(n * k)] += damping
    try:
        factor = cho_factor(dense, lower=True, overwrite_a=True, check_finite=False)
    except LinAlgError:
        return run.step
    return cho_solve(factor, gradient.ravel(), check_finite=False).reshape(n, k)


def extend_inner(samples: Samples, core: Samples, fit: Fit) -> np.ndarray:
    """Return A with the inner lines that the core lacks fitted to the core's outer lines."""
    a = fit.a.copy()
    known = np.diff(core.indptr) > 0
    missing = np.bincount(core.cross, minlength=samples.inner) == 0
    usable = missing[samples.cross] & known[samples.lines]
    lines, cross, data = samples.lines[usable], samples.cross[usable], samples.data[usable]
    order = np.argsort(cross, kind="stable")
    lines, cross, data = lines[order], cross[order], data[order]
    for i in np.flatnonzero(missing):
        at = slice(*np.searchsorted(cross, [i, i + 1]))
        a[i] = np.linalg.lstsq(fit.b[lines[at]], data[at], rcond=None)[0]
    return a
