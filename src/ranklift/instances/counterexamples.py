"""Instances showing why a term or a test is needed: unbalanced factors, flatness, depth."""

from __future__ import annotations

from math import sqrt

import numpy as np

from ..errors import InputError, RankError
from ..lowrank import LowRank
from ..operators import DenseSensing, IdentitySensing
from .generators import random_low_rank
from .record import Instance


def unbalanced_saddle(
    shape: tuple[int, int] = (8, 6),
    rank: int = 2,
    *,
    search_rank: int | None = None,
    scale: float = 100.0,
    rng: np.random.Generator | int | None = 0,
) -> Instance:
    """Build a useless point that looks second-order: f = 1/2 ||U V^T - M||_F^2 without balancing.

    U = t Q with Q orthonormal and orthogonal to col(M), V = 0, t = ``scale``. The gradient is
    exactly 0 and the least curvature (t^2 - sqrt(t^4 + 4 s_1^2)) / 2 ~ -s_1^2 / t^2 tends to 0
    while the error stays ||M||_F. With the balancing term 1/8 ||U^T U - V^T V||_F^2 the gradient
    there has norm 1/2 sqrt(k) t^3, k the search rank.

    Parameters
    ----------
    shape : (int, int)
        Size n1 x n2 of M.
    rank : int
        Rank of M, whose singular values are all 1.
    search_rank : int, optional
        Columns of U and V; ``rank`` when left out.
    scale : float
        The size t of the factor, positive.
    rng : Generator or int
        Source of M.

    Raises
    ------
    RankError
        When rank + search_rank > n1: no room for U orthogonal to M.
    InputError
        When ``scale`` is not positive and finite.

    Notes
    -----
    Own construction. The published statement of the theorem that balancing is necessary was not
    available.

    Examples
    --------
    >>> instance = unbalanced_saddle(scale=100.0, search_rank=3)
    >>> round(instance.known["balanced_gradient_norm"])
    866025
    """
    k = rank if search_rank is None else search_rank
    if k < 1 or rank + k > shape[0]:
        raise RankError(
            f"rank {rank} and search rank {k} leave no room in {shape[0]} rows",
            "use search_rank >= 1 and rank + search_rank <= n1",
        )
    if not (np.isfinite(scale) and scale > 0):
        raise InputError(f"scale = {scale} is not a size", "pass a positive finite number")
    generator = np.random.default_rng(rng)
    truth = random_low_rank(shape, rank, rng=generator)
    basis = np.linalg.svd(truth.left)[0]
    left, right = scale * basis[:, rank : rank + k], np.zeros((shape[1], k))
    operator = IdentitySensing(shape)
    return Instance(
        f"unbalanced_saddle(shape={shape}, rank={rank}, search_rank={k}, scale={scale:g})",
        operator,
        np.asarray(operator.apply(truth)),
        truth,
        ((left, right),),
        known={
            "search_rank": float(k),
            # The textbook form (t^2 - sqrt(t^4 + 4)) / 2 cancels for large t.
            "spurious_curvature": -2.0 / (scale**2 + sqrt(scale**4 + 4.0)),
            "spurious_value": rank / 2,
            "balanced_gradient_norm": 0.5 * sqrt(k) * scale**3,
        },
    )


def flat_is_not_nuclear(eps: float) -> Instance:
    """Build one measurement, A = diag(1, eps), b = 1, whose flat solution is not the nuclear one.

    X_nuc = diag(1, 0) has the least nuclear norm, X_flat = diag(0, 1 / eps) the least scaled trace
    (1/d1) tr(L block) + (1/d2) tr(R block) of the Hessian of (1/m) ||A(L R^T) - b||^2: 2 eps
    against 2. The truth is X_nuc; the flat point is listed as spurious (a global minimum of f).

    Parameters
    ----------
    eps : float
        Second weight, 0 < eps < 1.

    Raises
    ------
    InputError
        For eps outside (0, 1).

    Notes
    -----
    Own construction, for Ding, Drusvyatskiy, Fazel, Harchaoui, arXiv 2203.03756.

    Examples
    --------
    >>> flat_is_not_nuclear(0.1).known["scaled_trace_flat"]
    0.2
    """
    if not 0 < eps < 1:
        raise InputError(f"eps = {eps} is outside (0, 1)", "pass a number between 0 and 1")
    e = np.eye(2)
    flat = e[:, 1:] / sqrt(eps)
    return Instance(
        f"flat_is_not_nuclear(eps={eps:g})",
        DenseSensing(np.diag([1.0, eps])[None]),
        np.ones(1),
        LowRank(e[:, :1], e[:, :1]),
        ((flat, flat.copy()),),
        source="own construction, for arXiv 2203.03756",
        known={
            "spurious_value": 0.0,
            "scaled_trace_flat": 2 * eps,
            "scaled_trace_nuclear": 2.0,
            "nuclear_norm_flat": 1 / eps,
            "nuclear_norm_nuclear": 1.0,
        },
    )


def deep_is_not_sparse(depth: int) -> Instance:
    """Build x_1 + x_2 = 1, where flat Hadamard factors of depth 3 or more are not sparse.

    For x = v_1 o .. o v_k balanced, the least Hessian trace of (v_1 o .. o v_k . a - b)^2 is
    ``2 k sum_j |x_j|^{2 - 2/k}``: k = 2 is indifferent between e_1 and (1/2, 1/2), k >= 3 prefers
    (1/2, 1/2). As a matrix problem x is 2 x 1; the truth is e_1, the spurious point (1/2, 1/2).

    Parameters
    ----------
    depth : int
        The number k of factors, at least 2.

    Raises
    ------
    InputError
        For a depth below 2.

    Notes
    -----
    Own construction, for Ding, Drusvyatskiy, Fazel, Harchaoui, arXiv 2203.03756.

    Examples
    --------
    >>> known = deep_is_not_sparse(3).known
    >>> known["trace_spurious"] < known["trace_truth"]
    True
    """
    if depth < 2:
        raise InputError(f"depth {depth} has no factors to trade", "pass a depth of at least 2")
    one = np.ones((1, 1))
    return Instance(
        f"deep_is_not_sparse(depth={depth})",
        DenseSensing(np.ones((1, 2, 1))),
        np.ones(1),
        LowRank(np.array([[1.0], [0.0]]), one),
        ((np.full((2, 1), 0.5), one),),
        source="own construction, for arXiv 2203.03756",
        known={
            "depth": float(depth),
            "spurious_value": 0.0,
            "trace_truth": 2.0 * depth,
            "trace_spurious": 2.0 * depth * 2.0 ** (2 / depth - 1),
        },
    )
