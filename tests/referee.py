"""An independent referee: recompute everything from explicit measurement matrices.

Plain NumPy, dense, slow on purpose, and without a line of the library: what it says about a point
shares no code with what the library says. Throughout:

- ``rows`` is an (m, n1 * n2) array; row t holds A_t row by row: A(X)_t = rows[t] . vec(X);
- a point is (left, right) for X = L R^T, or (left, None) for the symmetric X = U U^T;
- objective F = 1/2 ||A(X) - b||^2 + lam/2 (||L||_F^2 + ||R||_F^2)
  [+ 1/8 ||L^T L - R^T R||_F^2 with ``balance=True``, asymmetric only];
  the symmetric form puts L = R = U, so its term is lam ||U||_F^2;
- gradients and Hessians order the unknowns as [L.ravel(), R.ravel()].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray


def matrix(left: Array, right: Array | None = None) -> Array:
    """Return the full n1 x n2 array X."""
    return left @ (left if right is None else right).T


def residual(rows: Array, b: Array, left: Array, right: Array | None = None) -> Array:
    """Return A(X) - b."""
    return rows @ matrix(left, right).ravel() - b


def gradient_matrix(rows: Array, b: Array, left: Array, right: Array | None = None) -> Array:
    """Return G = A*(A(X) - b), its symmetric part in the symmetric form."""
    return _adjoint(rows, residual(rows, b, left, right), left, right)


def objective(
    rows: Array,
    b: Array,
    left: Array,
    right: Array | None = None,
    *,
    lam: float = 0.0,
    balance: bool = False,
) -> float:
    """Return F."""
    other = left if right is None else right
    value = 0.5 * np.sum(residual(rows, b, left, right) ** 2)
    value += 0.5 * lam * (np.sum(left**2) + np.sum(other**2))
    if balance and right is not None:
        value += 0.125 * np.sum((left.T @ left - right.T @ right) ** 2)
    return float(value)


def gradient(
    rows: Array,
    b: Array,
    left: Array,
    right: Array | None = None,
    *,
    lam: float = 0.0,
    balance: bool = False,
) -> Array:
    """Return the gradient of F as one vector, L first."""
    g = gradient_matrix(rows, b, left, right)
    if right is None:
        return (2 * g @ left + 2 * lam * left).ravel()
    d_left, d_right = g @ right + lam * left, g.T @ left + lam * right
    if balance:
        imbalance = left.T @ left - right.T @ right
        d_left = d_left + 0.5 * left @ imbalance
        d_right = d_right - 0.5 * right @ imbalance
    return np.concatenate([d_left.ravel(), d_right.ravel()])


def hessian(
    rows: Array,
    b: Array,
    left: Array,
    right: Array | None = None,
    *,
    lam: float = 0.0,
    balance: bool = False,
) -> Array:
    """Return the dense Hessian of F: size n k (symmetric) or (n1 + n2) k."""
    n1, k = left.shape
    g = gradient_matrix(rows, b, left, right)
    if right is None:
        jacobian = rows @ (_d_left(left, n1) + _d_right(left, n1))
        return jacobian.T @ jacobian + np.kron(2 * g + 2 * lam * np.eye(n1), np.eye(k))
    n2 = right.shape[0]
    jacobian = rows @ np.hstack([_d_left(right, n1), _d_right(left, n2)])
    out = jacobian.T @ jacobian + lam * np.eye((n1 + n2) * k)
    cross = np.kron(g, np.eye(k))
    out[: n1 * k, n1 * k :] += cross
    out[n1 * k :, : n1 * k] += cross.T
    if balance:
        imbalance = left.T @ left - right.T @ right
        d_imbalance = np.hstack([_d_gram(left), -_d_gram(right)])
        out += 0.25 * d_imbalance.T @ d_imbalance
        out[: n1 * k, : n1 * k] += 0.5 * np.kron(np.eye(n1), imbalance)
        out[n1 * k :, n1 * k :] -= 0.5 * np.kron(np.eye(n2), imbalance)
    return out


def least_curvature(
    rows: Array,
    b: Array,
    left: Array,
    right: Array | None = None,
    *,
    lam: float = 0.0,
    balance: bool = False,
) -> float:
    """Return the least eigenvalue of the Hessian of F."""
    dense = hessian(rows, b, left, right, lam=lam, balance=balance)
    return float(np.linalg.eigvalsh((dense + dense.T) / 2)[0])


@dataclass(frozen=True)
class DualityGap:
    """A primal value, a lower bound of the optimum, and the scale of the dual point."""

    primal: float
    dual: float
    gap: float
    relative_gap: float
    scale: float
    dual_norm: float


def duality_gap(
    rows: Array, b: Array, left: Array, right: Array | None = None, *, lam: float
) -> DualityGap:
    """Bound F - F* for the nuclear norm (trace, symmetric: X >= 0) problem with weight lam > 0.

    s0 = b - A(X); s = c s0 with c = clip(<s0, b> / ||s0||^2, 0, lam / ||A* s0||); the dual value is
    <s, b> - 1/2 ||s||^2. The norm is the spectral one, in the symmetric form lambda_max.
    """
    primal = objective(rows, b, left, right, lam=lam)
    s0 = -residual(rows, b, left, right)
    transported = _adjoint(rows, s0, left, right)
    if right is None:
        dual_norm = max(float(np.linalg.eigvalsh(transported)[-1]), 0.0)
    else:
        dual_norm = float(np.linalg.svd(transported, compute_uv=False)[0])
    size = float(s0 @ s0)
    wanted = float(s0 @ b) / size if size > 0 else 0.0
    limit = lam / dual_norm if dual_norm > 0 else np.inf
    scale = float(min(max(wanted, 0.0), limit))
    dual = float(scale * (s0 @ b) - 0.5 * scale**2 * size)
    gap = primal - dual
    relative = gap / abs(primal) if primal else gap
    return DualityGap(primal, dual, gap, relative, scale, dual_norm)


def psd_gap(rows: Array, b: Array, factor: Array, trace_bound: float) -> float:
    """Return h + R nu >= f(U) - min {f : X >= 0, tr X <= R} (no regulariser).

    h = 1/2 <grad f, U> and nu = max(0, -lambda_min(G)).
    """
    g = gradient_matrix(rows, b, factor)
    h = float(np.sum((g @ factor) * factor))
    return h + trace_bound * max(0.0, -float(np.linalg.eigvalsh(g)[0]))


def tangent_singular_value(rows: Array, left: Array, right: Array | None = None) -> float:
    """Return the least singular value of A on {U dV^T + dU V^T} ({U dV^T + dV U^T}, symmetric).

    The factors must have full column rank. Zero when there are fewer measurements than dimensions.
    """
    n1, k = left.shape
    u_full = np.linalg.svd(left)[0]
    v_full = u_full if right is None else np.linalg.svd(right)[0]
    n2 = v_full.shape[0]
    basis = []
    for i in range(n1):
        for j in range(n2):
            if i >= k and j >= k:
                continue  # normal to the tangent space
            unit = np.outer(u_full[:, i], v_full[:, j])
            if right is None:
                if i > j:
                    continue
                unit = unit if i == j else (unit + unit.T) / np.sqrt(2)
            basis.append(unit.ravel())
    restricted = rows @ np.array(basis).T
    if restricted.shape[0] < restricted.shape[1]:
        return 0.0
    return float(np.linalg.svd(restricted, compute_uv=False)[-1])


def isometry_bounds(rows: Array, n: int | None = None) -> tuple[float, float]:
    """Return the extremes of ||A(X)||^2 / ||X||_F^2, over symmetric n x n X when n is given."""
    if n is not None:
        rows = rows @ np.array(symmetric_basis(n)).reshape(-1, n * n).T
    values = np.linalg.eigvalsh(rows.T @ rows)
    return float(values[0]), float(values[-1])


def symmetric_basis(n: int) -> list[Array]:
    """Return an orthonormal basis of the symmetric n x n matrices."""
    basis = []
    for i in range(n):
        for j in range(i, n):
            unit = np.zeros((n, n))
            unit[i, j] = unit[j, i] = 1.0 if i == j else np.sqrt(0.5)
            basis.append(unit)
    return basis


def scaled_trace(rows: Array, left: Array, right: Array) -> float:
    """Return (1/n1) tr(L block) + (1/n2) tr(R block) of the Hessian of (1/m) ||A(L R^T) - b||^2.

    The trace does not depend on b.
    """
    m, (n1, k), n2 = rows.shape[0], left.shape, right.shape[0]
    diagonal = np.diag(hessian(rows, rows @ matrix(left, right).ravel(), left, right))
    return float(2 / m * (diagonal[: n1 * k].sum() / n1 + diagonal[n1 * k :].sum() / n2))


def relative_error(truth: Array, left: Array, right: Array | None = None) -> float:
    """Return ||X - M||_F / ||M||_F for a full array M."""
    return float(np.linalg.norm(matrix(left, right) - truth) / np.linalg.norm(truth))


def entry_rows(rows: Array, cols: Array, shape: tuple[int, int]) -> Array:
    """Return the explicit measurement matrix of sampled entries."""
    out = np.zeros((len(rows), shape[0] * shape[1]))
    out[np.arange(len(rows)), np.asarray(rows, dtype=np.int64) * shape[1] + cols] = 1.0
    return out


def _adjoint(rows: Array, y: Array, left: Array, right: Array | None) -> Array:
    n1, n2 = left.shape[0], (left if right is None else right).shape[0]
    out = (rows.T @ y).reshape(n1, n2)
    return (out + out.T) / 2 if right is None else out


def _d_left(right: Array, n1: int) -> Array:
    """Return the derivative of vec(L R^T) in L.ravel(): dX_ij = sum_c dL_ic R_jc."""
    return np.kron(np.eye(n1), right)


def _d_right(left: Array, n2: int) -> Array:
    """Return the derivative of vec(L R^T) in R.ravel(): dX_ij = sum_c L_ic dR_jc."""
    n1, k = left.shape
    out = np.zeros((n1, n2, n2, k))
    for j in range(n2):
        out[:, j, j, :] = left
    return out.reshape(n1 * n2, n2 * k)


def _d_gram(factor: Array) -> Array:
    """Return the derivative of vec(F^T F) in F.ravel()."""
    n, k = factor.shape
    out = np.zeros((k, k, n, k))
    for c in range(k):
        out[c, :, :, c] += factor.T  # dF_ic F_id
        out[:, c, :, c] += factor.T  # F_id dF_ic
    return out.reshape(k * k, n * k)
