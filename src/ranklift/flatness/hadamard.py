"""Flat minima of entrywise products x = v_1 o ... o v_k: sparse at depth two, not beyond it.

f(v_1, ..., v_k) = (1/m) ||A (v_1 o ... o v_k) - b||^2, or half the squared norm. x is linear in
each layer, so that no second derivative of x enters the diagonal of the Hessian: its trace holds no
residual, and among the layers of a given x it is least when they are equal in magnitude.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.optimize import linprog

from ..errors import (
    ConvergenceWarning,
    EmptyDataError,
    InputError,
    NonFiniteError,
    ShapeError,
    UnobservedError,
)

RELATIVE_GAP = 1e-10
"""Duality gap over the value at which the flattest vector counts as found."""

MAX_STEPS = 200
"""Newton steps; five to thirty are usual."""

RANGE_TOL = 1e-9
"""Largest part of b outside the range of A, relative to b: above, no x fits."""


@dataclass(frozen=True)
class FlattestVector:
    """The x with A x = b whose best layers have the least trace of the Hessian.

    Attributes
    ----------
    x : array of shape (n,)
        At depth two one of possibly many; unique at greater depth.
    trace : float
        Trace of the Hessian at the balanced layers of x.
    lower_bound : float
        No layers with A x = b have a smaller trace (weak duality).
    gap : float
        (trace - lower_bound) / trace; 0 where A x = b has one solution.
    depth : int
    iterations : int
    """

    x: np.ndarray
    trace: float
    lower_bound: float
    gap: float
    depth: int
    iterations: int

    @property
    def layers(self) -> list[np.ndarray]:
        """Return layers of x at which the trace is attained."""
        return balanced_layers(self.x, self.depth)


def hadamard_trace(matrix: Any, layers: Sequence[Any], *, scaling: str = "mean") -> float:
    """Return the trace of the Hessian of f at any layers, fitted or not.

    2 s sum_j ||a_j||^2 sum_i prod_{l != i} v_lj^2, s = 1/m ("mean") or 1/2 ("half").

    Parameters
    ----------
    matrix : array of shape (m, n)
        A, with columns a_j.
    layers : sequence of k arrays of shape (n,)
    scaling : "mean" or "half"
        f = (1/m) ||A x - b||^2, as in the literature of flat minima, or 1/2 ||A x - b||^2.

    Raises
    ------
    ShapeError, NonFiniteError, InputError
        Sizes that do not fit, NaN or infinity, an unknown scaling.

    Notes
    -----
    Own derivation: d^2 x / d v_lj^2 = 0, so that a diagonal entry is 2 s ||A dx / dv_lj||^2. Cost
    O(m n + k n).

    Examples
    --------
    >>> hadamard_trace([[1.0, 1.0]], [[1.0, 2.0], [3.0, 0.0], [1.0, 1.0]])
    46.0
    """
    a = _matrix(matrix)
    _depth(len(layers), 1)
    v = np.stack([_vector(layer, a.shape[1], "a layer") for layer in layers])
    # Products of all layers but one from both sides: a quotient would fail at zeros.
    before = np.cumprod(np.vstack([np.ones_like(v[:1]), v[:-1]]), axis=0)
    after = np.cumprod(np.vstack([np.ones_like(v[:1]), v[:0:-1]]), axis=0)[::-1]
    return float(2 * _scale(a, scaling) * np.sum(_weights(a) * (before * after) ** 2))


def least_hadamard_trace(x: Any, matrix: Any, depth: int, *, scaling: str = "mean") -> float:
    """Return the least trace of the Hessian among all layers of x.

    2 k s sum_j ||a_j||^2 |x_j|^(2 - 2/k), by the inequality of the arithmetic and the geometric
    mean; ``balanced_layers`` attain it.

    Parameters
    ----------
    x : array of shape (n,)
    matrix : array of shape (m, n)
    depth : int
        k, at least 1; at depth 1 the trace is the same for every x.
    scaling : "mean" or "half"
        As for ``hadamard_trace``.

    Raises
    ------
    ShapeError, NonFiniteError, InputError
        Sizes that do not fit, NaN or infinity, a depth below 1, an unknown scaling.

    Notes
    -----
    Own derivation.

    Examples
    --------
    >>> round(least_hadamard_trace([1.0, -8.0], [[1.0, 1.0]], 3), 12)
    102.0
    """
    a = _matrix(matrix)
    x = _vector(x, a.shape[1], "x")
    power = 2 - 2 / _depth(depth, 1)
    return float(2 * depth * _scale(a, scaling) * np.sum(_weights(a) * np.abs(x) ** power))


def balanced_layers(x: Any, depth: int) -> list[np.ndarray]:
    """Return layers of x of equal magnitude |x|^(1/k), the sign in the first.

    Parameters
    ----------
    x : array of shape (n,)
    depth : int
        k, at least 1.

    Raises
    ------
    ShapeError, NonFiniteError, InputError
        An x that is no finite vector, a depth below 1.

    Examples
    --------
    >>> [layer.tolist() for layer in balanced_layers([4.0, -9.0], 2)]
    [[2.0, -3.0], [2.0, 3.0]]
    """
    x = np.asarray(x, dtype=float)
    x = _vector(x, x.size, "x")
    root = np.abs(x) ** (1 / _depth(depth, 1))
    return [np.copysign(root, x)] + [root.copy() for _ in range(depth - 1)]


def flattest_vector(
    matrix: Any,
    b: Any,
    depth: int,
    *,
    scaling: str = "mean",
    relative_gap: float = RELATIVE_GAP,
) -> FlattestVector:
    """Minimise sum_j ||a_j||^2 |x_j|^p, p = 2 - 2/k, over A x = b.

    Depth 2 is a weighted l1 norm (a linear program; sparse), depth 3 and more a weighted l_p norm
    with p > 1: strictly convex, and x_j = 0 only where (A^T y)_j = 0 for the multipliers y, so that
    solutions are not sparse in general.

    Parameters
    ----------
    matrix : array of shape (m, n)
        A, of any rank, without zero columns.
    b : array of shape (m,)
        In the range of A.
    depth : int
        k, at least 2 (at depth 1 every solution is as flat as any other).
    scaling : "mean" or "half"
        As for ``hadamard_trace``; changes the traces, not x.
    relative_gap : float, default 1e-10
        Duality gap over the trace at which Newton's method stops.

    Returns
    -------
    FlattestVector

    Raises
    ------
    InputError
        b outside the range of A, a depth below 2, an unknown scaling.
    UnobservedError
        Zero columns of A: their entries are not measured, and none is flatter than another.
    ShapeError, NonFiniteError, EmptyDataError
        Sizes that do not fit, NaN or infinity, no rows or columns.

    Warns
    -----
    ConvergenceWarning
        The gap was not reached; the result holds the one that was.

    Notes
    -----
    With z_j = ||a_j||^(2/p) x_j and orthonormal rows Q: min ||z||_p^p over Q z = c. For p > 1 the
    dual max c^T y - (p - 1) sum_j (|Q^T y|_j / p)^q, q = p/(p - 1), is smooth, and damped Newton
    steps cost O(r^2 n) for rank r. Own derivation.

    Examples
    --------
    One measurement of two entries: depth three shares what depth two may put into one.

    >>> flattest_vector([[1.0, 1.0]], [1.0], 3).x.round(6).tolist()
    [0.5, 0.5]
    >>> flattest_vector([[1.0, 0.5]], [1.0], 2).x.round(6).tolist()
    [0.0, 2.0]
    """
    a = _matrix(matrix)
    b = _vector(b, a.shape[0], "b")
    power = 2 - 2 / _depth(depth, 2)
    scale = 2 * depth * _scale(a, scaling)
    weights = _weights(a)
    if not weights.all():
        zero = np.flatnonzero(weights == 0)
        raise UnobservedError(
            f"{zero.size} zero columns of A, the first {zero[0]}: those entries of x are not "
            "measured, and the trace does not depend on them",
            "drop these columns",
        )
    if not b.any():
        return FlattestVector(np.zeros(a.shape[1]), 0.0, 0.0, 0.0, depth, 0)
    u, singular, vt = np.linalg.svd(a, full_matrices=False)
    rank = int(np.sum(singular > max(a.shape) * np.finfo(float).eps * singular[0]))
    inside = u[:, :rank].T @ b
    off = float(np.linalg.norm(b - u[:, :rank] @ inside) / np.linalg.norm(b))
    if off > RANGE_TOL:
        raise InputError(
            f"b lies outside the range of A by {off:.1e} of its norm, so that no x fits",
            "pass exact measurements, or their projection onto the range of A",
        )
    if rank == a.shape[1]:
        x = vt.T @ (inside / singular)
        trace = scale * float(np.sum(weights * np.abs(x) ** power))
        return FlattestVector(x, trace, trace, 0.0, depth, 0)
    stretch = weights ** (1 / power)
    r, q = _lower_and_rows(vt[:rank] / stretch)
    c = np.linalg.solve(r, inside / singular[:rank])
    size = float(np.linalg.norm(c))
    solve = _sparsest if depth == 2 else _shared
    z, bound, iterations = solve(q, c / size, power, relative_gap)
    value = float(np.sum(np.abs(z) ** power))
    unit = scale * size**power
    gap = max(0.0, 1 - bound / value)
    if gap > relative_gap:
        warnings.warn(
            f"the flattest vector of depth {depth} has a relative duality gap of {gap:.1e}, "
            f"asked for {relative_gap:.1e}",
            ConvergenceWarning,
            stacklevel=2,
        )
    return FlattestVector(
        size * z / stretch, unit * value, unit * min(bound, value), gap, depth, iterations
    )


def _lower_and_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return L and Q of rows = L Q, the rows of Q orthonormal."""
    q, r = np.linalg.qr(rows.T)
    return r.T, q.T


def _sparsest(
    q: np.ndarray, c: np.ndarray, power: float, tol: float
) -> tuple[np.ndarray, float, int]:
    """Minimise ||z||_1 over Q z = c; return z, a lower bound, and the number of pivots."""
    n = q.shape[1]
    found = linprog(
        np.ones(2 * n), A_eq=np.hstack([q, -q]), b_eq=c, method="highs-ds",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )  # fmt: skip
    if found.x is None:
        raise RuntimeError(f"the linear program failed: {found.message}")
    z, y = found.x[:n] - found.x[n:], np.asarray(found.eqlin.marginals)
    # The program is solved to 1e-10 of its data; its vertex and multipliers to rounding.
    support = np.flatnonzero(np.abs(z) > 1e-9 * np.abs(z).max())
    exact = np.linalg.lstsq(q[:, support], c)[0]
    if np.linalg.norm(q[:, support] @ exact - c) <= 1e-12:
        z = np.zeros(n)
        z[support] = exact
        y = y + np.linalg.lstsq(q[:, support].T, np.sign(exact) - q[:, support].T @ y)[0]
    bound = float(c @ y) / max(1.0, float(np.abs(q.T @ y).max()))
    return z, bound, int(found.nit)


def _shared(
    q: np.ndarray, c: np.ndarray, power: float, tol: float
) -> tuple[np.ndarray, float, int]:
    """Minimise ||z||_p^p over Q z = c; return z, a lower bound, and the number of steps."""
    conjugate = power / (power - 1)

    def dual(y: np.ndarray) -> float:
        return float(c @ y - (power - 1) * np.sum((np.abs(q.T @ y) / power) ** conjugate))

    def stretched(y: np.ndarray) -> np.ndarray:
        """Return the best multiple of y: the dual function is t c^T y - t^q (...) along it."""
        rest = (power - 1) * np.sum((np.abs(q.T @ y) / power) ** conjugate)
        return y * float(c @ y / (conjugate * rest)) ** (1 / (conjugate - 1))

    best, bound = q.T @ c, -np.inf
    y = stretched(c)
    step = 0
    while True:
        slope = np.abs(q.T @ y) / power
        z = np.sign(q.T @ y) * slope ** (conjugate - 1)
        fitted = z + q.T @ (c - q @ z)
        best = min(best, fitted, key=lambda point: np.sum(np.abs(point) ** power))
        bound = max(bound, dual(y))
        value = float(np.sum(np.abs(best) ** power))
        if value - bound <= tol * value or step == MAX_STEPS:
            return best, bound, step
        bend = (conjugate - 1) / power * slope ** (conjugate - 2)
        y = stretched(_ascended(dual, y, c - q @ z, (q * bend) @ q.T))
        step += 1


def _ascended(
    dual: Callable[[np.ndarray], float], y: np.ndarray, gradient: np.ndarray, hessian: np.ndarray
) -> np.ndarray:
    """Take a Newton step, shortened until it pays; a ridge where entries of Q^T y vanish."""
    ridge = 1e-15 * float(np.trace(hessian))
    while True:
        try:
            factor = cho_factor(hessian + ridge * np.eye(len(y)))
            break
        except LinAlgError:
            ridge *= 100
    direction = cho_solve(factor, gradient)
    start, ascent, length = dual(y), float(gradient @ direction), 1.0
    while length > 1e-12 and dual(y + length * direction) < start + 1e-4 * length * ascent:
        length /= 2
    return y + length * direction


def _matrix(matrix: Any) -> np.ndarray:
    a = np.asarray(matrix, dtype=float)
    if a.ndim != 2:
        raise ShapeError(f"A of shape {a.shape}", "pass a matrix, one row a measurement")
    if not a.size:
        raise EmptyDataError(f"A of shape {a.shape}", "pass at least one row and one column")
    if not np.isfinite(a).all():
        raise NonFiniteError("A holds NaN or inf", "drop these rows from A and from b")
    return a


def _vector(values: Any, length: int, what: str) -> np.ndarray:
    v = np.asarray(values, dtype=float)
    if v.shape != (length,):
        raise ShapeError(f"{what} of shape {v.shape}", f"pass a vector of {length} numbers")
    if not np.isfinite(v).all():
        raise NonFiniteError(f"{what} holds NaN or inf", "pass finite numbers")
    return v


def _depth(depth: int, least: int) -> int:
    if isinstance(depth, bool) or not isinstance(depth, (int, np.integer)) or depth < least:
        raise InputError(f"depth {depth!r}", f"pass a whole number of at least {least}")
    return int(depth)


def _scale(a: np.ndarray, scaling: str) -> float:
    if scaling not in ("mean", "half"):
        raise InputError(f"scaling {scaling!r}", 'use "mean" or "half"')
    return 1 / a.shape[0] if scaling == "mean" else 0.5


def _weights(a: np.ndarray) -> np.ndarray:
    return np.sum(a**2, axis=0)
