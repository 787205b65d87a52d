"""Perturbed matrix completion: exponentially many strict spurious minima, all known."""

from __future__ import annotations

from itertools import product

import numpy as np

from ..errors import InputError, ShapeError
from ..operators import DenseSensing, IdentitySensing, MeasurementOperator
from .record import Instance, symmetric_instance

_DENSE_LIMIT = 24  # n^2 dense measurement matrices hold n^4 numbers: 2.7 MB here
_ALL_PATTERNS_LIMIT = 6  # above it the 2^k sign patterns are listed up to symmetry only


def perturbed_matrix_completion(n: int, eps: float, *, truth: np.ndarray | None = None) -> Instance:
    """Build perturbed matrix completion (PMC): weights 1 and eps on the entries of z z^T.

    A_ij = W_ij (e_i e_j^T + e_j e_i^T) / 2 for all n^2 ordered pairs, row by row, with (zero-based)
    W_ij = 1 if i = j or i odd or j odd, else eps, so A*A(M) = W^2 o M on symmetric M and
    eps^2 ||M||_F^2 <= ||A(M)||^2 <= ||M||_F^2.

    Parameters
    ----------
    n : int
        Size, at least 2.
    eps : float
        Weight of the nearly unobserved entries, 0 < eps < 1.
    truth : ndarray, shape (n,), optional
        The vector z; without it, 1 at even indices and 0 elsewhere.

    Returns
    -------
    Instance
        With the default z and k = ceil(n / 2), the strict spurious minima: 2^k - 2 of them when eps
        is small. For k > 6 one for each number of minus signs is listed, the rest being its
        permutations. Above n = 24 the operator is the weighted identity, equal on symmetric
        matrices, since n^4 numbers would not fit. With another truth none are listed.

    Raises
    ------
    ShapeError, InputError
        For n < 2, a truth of the wrong shape, or eps outside (0, 1).

    Notes
    -----
    n = 3: x = +-c (-1, 0, 1), c^2 = (1 - eps^2) / (1 + eps^2), f = 4 eps^2 / (1 + eps^2).
    Source: Yalcin, Zhang, Lavaei, Sojoudi, arXiv 2110.10279.

    Examples
    --------
    >>> instance = perturbed_matrix_completion(3, 0.3)
    >>> len(instance.spurious_points), round(instance.known["spurious_value"], 5)
    (2, 0.33028)
    """
    if n < 2:
        raise ShapeError(f"n = {n} is too small", "pass n of at least 2")
    if not 0 < eps < 1:
        raise InputError(f"eps = {eps} is outside (0, 1)", "pass a weight between 0 and 1")
    odd = np.arange(n) % 2 == 1
    weights = np.where(odd[:, None] | odd[None, :] | np.eye(n, dtype=bool), 1.0, eps)
    known = {"delta": (1 - eps**2) / (1 + eps**2)}
    points: tuple[np.ndarray, ...] = ()
    if truth is None:
        z = np.where(odd, 0.0, 1.0)
        points = _strict_minima(n, weights**2, z, eps)
        if n == 3:
            known["spurious_value"] = 4 * eps**2 / (1 + eps**2)
    else:
        z = np.asarray(truth, dtype=float)
        if z.shape != (n,):
            raise ShapeError(f"truth of shape {z.shape}", f"pass a vector of {n} numbers")
    operator: MeasurementOperator = (
        _pmc_dense(weights)
        if n <= _DENSE_LIMIT
        else IdentitySensing((n, n)).weighted(weights.ravel())
    )
    return symmetric_instance(
        f"perturbed_matrix_completion(n={n}, eps={eps:g})",
        operator,
        z[:, None],
        points,
        "Yalcin, Zhang, Lavaei, Sojoudi, arXiv 2110.10279",
        known,
    )


def _pmc_dense(weights: np.ndarray) -> DenseSensing:
    n = weights.shape[0]
    units = np.eye(n * n).reshape(n, n, n, n)
    matrices = weights[:, :, None, None] * (units + units.swapaxes(2, 3)) / 2
    return DenseSensing(matrices.reshape(n * n, n, n))


def _strict_minima(
    n: int, squares: np.ndarray, z: np.ndarray, eps: float
) -> tuple[np.ndarray, ...]:
    """Find the strict spurious minima: a sign pattern on the even indices, zero at the odd."""
    even = np.arange(0, n, 2)
    k = even.size
    patterns = (
        list(product((1.0, -1.0), repeat=k))
        if k <= _ALL_PATTERNS_LIMIT
        else [(1.0,) * (k - q) + (-1.0,) * q for q in range(1, k)]
    )
    sizes: dict[int, tuple[float, float] | None] = {}
    points = []
    for pattern in patterns:
        minus = pattern.count(-1.0)
        if minus in (0, k):  # +-z, the truth
            continue
        if minus not in sizes:
            sizes[minus] = _coordinate_sizes(k - minus, minus, eps**2)
        size = sizes[minus]
        if size is None:
            continue
        x = np.zeros(n)
        x[even] = [size[0] if sign > 0 else -size[1] for sign in pattern]
        error = squares * (np.outer(x, x) - np.outer(z, z))
        hessian = 2 * (error + squares * np.outer(x, x) + np.diag(squares @ x**2))
        if np.linalg.eigvalsh(hessian)[0] > 1e-9:
            points.append(x[:, None])
    return tuple(points)


def _coordinate_sizes(plus: int, minus: int, e: float) -> tuple[float, float] | None:
    """Solve for the common size of the plus and of the minus coordinates by Newton's method.

    (1 + e (plus - 1)) (a^2 - 1) a + e minus b (a b + 1) = 0, and the same with both swapped; the
    path starts at e = 0, where a = b = 1, and follows e in steps.
    """
    y = np.ones(2)
    counts = np.array([plus, minus], dtype=float)
    for weight in np.linspace(0.0, e, 21)[1:]:
        own, cross = 1 + weight * (counts - 1), weight * counts[::-1]
        for _ in range(50):
            other = y[::-1]
            diagonal = own * (3 * y**2 - 1) + cross * other**2
            off = cross * (2 * y * other + 1)
            jacobian = np.array([[diagonal[0], off[0]], [off[1], diagonal[1]]])
            if abs(np.linalg.det(jacobian)) < 1e-12:
                return None
            step = np.linalg.solve(jacobian, _size_equations(y, own, cross))
            y = y - step
            if np.abs(step).max() < 1e-15:
                break
        if not (y > 1e-3).all() or np.abs(_size_equations(y, own, cross)).max() > 1e-12:
            return None  # the branch has ended: this pattern has no minimum at this eps
    return float(y[0]), float(y[1])


def _size_equations(y: np.ndarray, own: np.ndarray, cross: np.ndarray) -> np.ndarray:
    other = y[::-1]
    return own * (y**2 - 1) * y + cross * other * (y * other + 1)
