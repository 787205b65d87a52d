"""Symmetric instances with known spurious points: f(U) = 1/2 ||A(U U^T) - b||^2."""

from __future__ import annotations

from math import sqrt

import numpy as np

from ..errors import InputError, RankError, ShapeError
from ..operators import DenseSensing
from .record import Instance, symmetric_instance


def rip_half(n: int = 2) -> Instance:
    """Build the instance with restricted isometry constant 1/2 and a spurious point.

    Zero-based: A_00 = E_00 + E_11 / 2; A_01 = sqrt(3)/2 (E_01 + E_10);
    A_10 = (E_01 - E_10) / sqrt(2); A_11 = sqrt(3)/2 E_11; every other A_ij = E_ij. Truth z = e_0;
    spurious x = +-e_1 / sqrt(2), f = 3/8. For n = 2 the antisymmetric A_10 is left out.

    Parameters
    ----------
    n : int
        Size, at least 2.

    Raises
    ------
    ShapeError
        For n < 2.

    Notes
    -----
    x is a degenerate second-order point, not a strict minimum: along x_1^2 = (1 - 4 x_0^2) / 2,
    f = 3/8 - 3/2 x_0^4. Source: Zhang, Sojoudi, Lavaei, JMLR 20 (2019), Example 1.

    Examples
    --------
    >>> rip_half(2).measurements
    array([1., 0., 0.])
    """
    if n < 2:
        raise ShapeError(f"n = {n} is too small", "pass n of at least 2")
    matrices = np.eye(n * n).reshape(n, n, n, n)
    matrices[:2, :2] = 0.0
    matrices[0, 0, 0, 0], matrices[0, 0, 1, 1] = 1.0, 0.5
    matrices[0, 1, 0, 1] = matrices[0, 1, 1, 0] = sqrt(3) / 2
    matrices[1, 0, 0, 1], matrices[1, 0, 1, 0] = 1 / sqrt(2), -1 / sqrt(2)
    matrices[1, 1, 1, 1] = sqrt(3) / 2
    flat = matrices.reshape(n * n, n, n)
    if n == 2:
        flat = flat[[0, 1, 3]]
    z, x = np.zeros((n, 1)), np.zeros((n, 1))
    z[0], x[1] = 1.0, 1 / sqrt(2)
    return symmetric_instance(
        f"rip_half(n={n})",
        DenseSensing(flat),
        z,
        (x, -x),
        "Zhang, Sojoudi, Lavaei, JMLR 20 (2019), Example 1",
        {"delta": 0.5, "spurious_value": 0.375, "spurious_curvature": 0.0},
    )


def rank_one_truth(n: int, r: int, delta: float, *, zeta: float = 1.0) -> Instance:
    """Build a rank-one truth with a spurious second-order point at search rank r.

    z = zeta e_0; X = s [e_1 .. e_r], s^2 = zeta^2 delta / sqrt(r); p = sum_{i=1..r} E_ii / sqrt(r).
    Measurements: E_00 + delta p; sqrt(1 - delta^2) p; sqrt(1 + delta) (E_0i + E_i0) / sqrt(2),
    i = 1..r; an orthonormal basis of the symmetric matrices orthogonal to all these. The spectrum
    of A*A on symmetric matrices is exactly within [1 - delta, 1 + delta], both ends attained.

    Parameters
    ----------
    n : int
        Size, at least r + 1.
    r : int
        Search rank, at least 1.
    delta : float
        Restricted isometry constant, sqrt(r) / (1 + sqrt(r)) <= delta < 1.
    zeta : float
        Length of z, positive.

    Raises
    ------
    RankError
        For r < 1 or n < r + 1.
    InputError
        For delta below the threshold (X is then no second-order point) or not below 1, or a zeta
        that is not positive.

    Notes
    -----
    No such point exists for delta < 1 / (1 + 1 / sqrt(r)), so the threshold is sharp, and raising r
    raises the delta at which a search can be trapped. Own construction.

    Examples
    --------
    >>> instance = rank_one_truth(3, 2, 0.6)
    >>> instance.spurious_points[0].shape, instance.operator.num_measurements
    ((3, 2), 6)
    """
    if r < 1 or n < r + 1:
        raise RankError(f"search rank {r} and size {n} do not fit", "use r >= 1 and n >= r + 1")
    threshold = sqrt(r) / (1 + sqrt(r))
    if not threshold - 1e-12 <= delta < 1:
        raise InputError(
            f"delta = {delta} is outside [{threshold:.6g}, 1), where the point is spurious",
            f"pass delta of at least sqrt(r)/(1+sqrt(r)) = {threshold:.6g} and below 1",
        )
    if not (np.isfinite(zeta) and zeta > 0):
        raise InputError(f"zeta = {zeta} is not a length", "pass a positive number")
    e = np.eye(n)
    p = np.diag(np.r_[0.0, np.full(r, 1 / sqrt(r)), np.zeros(n - r - 1)])
    matrices = [np.outer(e[0], e[0]) + delta * p, sqrt(1 - delta**2) * p]
    matrices += [sqrt(1 + delta) * _symmetric_unit(e, 0, i) for i in range(1, r + 1)]
    matrices += [
        _symmetric_unit(e, i, j) for i in range(n) for j in range(i + 1, n) if i > 0 or j > r
    ]
    matrices += [np.outer(e[i], e[i]) for i in range(r + 1, n)]
    for i in range(1, r):  # Helmert contrasts: diagonals on 1..r orthogonal to p
        contrast = np.zeros(n)
        contrast[1 : i + 1], contrast[i + 1] = 1.0, -i
        matrices.append(np.diag(contrast / sqrt(i * (i + 1))))
    x = zeta * sqrt(delta / sqrt(r)) * e[:, 1 : r + 1]
    return symmetric_instance(
        f"rank_one_truth(n={n}, r={r}, delta={delta:g})",
        DenseSensing(np.array(matrices)),
        zeta * e[:, :1],
        (x,),
        "own construction; sharp against the threshold delta < 1/(1+1/sqrt(r))",
        {
            "delta": delta,
            "threshold": threshold,
            "search_rank": float(r),
            "spurious_value": zeta**4 * (1 - delta**2) / 2,
        },
    )


_SOD_MATRICES = (  # entries 00, 01, 02, 11, 12, 22
    (0.0783, 0.2372, -0.0439, -0.0397, 0.1456, -0.4724),
    (0.0389, 0.0536, -0.0059, 0.4614, -0.3907, 0.2760),
    (0.0293, -0.1456, -0.1656, 0.3257, 0.2528, -0.0078),
    (0.0762, 0.3193, -0.3338, -0.3364, 0.5847, 0.1873),
    (-0.0889, 0.7089, 0.4472, 0.3788, 0.0902, -0.3193),
    (0.4097, 0.1190, 0.2078, 0.2282, -0.2274, 0.4046),
)


def sod_three_by_three() -> Instance:
    """Build the 3 x 3 instance with a strict spurious minimum: z = e_0, six symmetric A_i.

    The spurious minimum x = +-(.22347, .09183, .59858), f = .05829, least Hessian eigenvalue .389,
    is refined by Newton steps to rounding.

    Notes
    -----
    Source: the notebooks published with Shen, Yang, He, Gao, Ma, arXiv 2602.05887.

    Examples
    --------
    >>> instance = sod_three_by_three()
    >>> instance.spurious_points[0].ravel().round(5)
    array([0.22347, 0.09183, 0.59858])
    """
    matrices = np.empty((6, 3, 3))
    rows, cols = np.triu_indices(3)
    matrices[:, rows, cols] = matrices[:, cols, rows] = np.array(_SOD_MATRICES)
    operator, z = DenseSensing(matrices), np.eye(3)[:, :1]
    b = matrices[:, 0, 0]
    x = np.array([0.22347, 0.09183, 0.59858])
    for _ in range(5):
        products = matrices @ x
        residual_matrix = np.tensordot(products @ x - b, matrices, axes=1)
        hessian = 2 * residual_matrix + 4 * products.T @ products
        x = x - np.linalg.solve(hessian, 2 * residual_matrix @ x)
    point = x[:, None]
    return symmetric_instance(
        "sod_three_by_three()",
        operator,
        z,
        (point, -point),
        "notebooks of Shen, Yang, He, Gao, Ma, arXiv 2602.05887",
        {"spurious_value": 0.05829, "spurious_curvature": 0.389},
    )


def two_by_two_weighted(a: float) -> Instance:
    """Build f(u) = (1+a)(u_0^2 - 1)^2 + (1+a)(u_1^2 - 1)^2 + 2 (u_0 u_1 - 1)^2.

    Truth z = (1, 1). x = +-sqrt(a / (a + 2)) (1, -1) is stationary; it is a second-order point if
    and only if a >= 2. The restricted isometry constant after rescaling is a / (a + 2).

    Parameters
    ----------
    a : float
        Extra weight of the diagonal, positive.

    Raises
    ------
    InputError
        For a that is not positive and finite.

    Examples
    --------
    >>> two_by_two_weighted(2.0).known["spurious_curvature"]
    0.0
    """
    if not (np.isfinite(a) and a > 0):
        raise InputError(f"a = {a} is not a weight", "pass a positive finite number")
    diagonal = sqrt(2 * (1 + a))
    matrices = np.array(
        [[[diagonal, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, diagonal]], [[0.0, 1.0], [1.0, 0.0]]]
    )
    x = sqrt(a / (a + 2)) * np.array([[1.0], [-1.0]])
    return symmetric_instance(
        f"two_by_two_weighted(a={a:g})",
        DenseSensing(matrices),
        np.ones((2, 1)),
        (x, -x),
        "two-dimensional weighted example, spurious if and only if a >= 2",
        {
            "delta": a / (a + 2),
            "spurious_value": 8 * (1 + a) / (a + 2),
            "spurious_curvature": 8 * (1 + a) * (a - 2) / (a + 2),
        },
    )


def _symmetric_unit(e: np.ndarray, i: int, j: int) -> np.ndarray:
    return (np.outer(e[i], e[j]) + np.outer(e[j], e[i])) / sqrt(2)
