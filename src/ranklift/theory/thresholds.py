"""Isometry constants below which a search rank leaves no spurious minimum, and their inverse."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite, sqrt

from ..errors import InputError, RankError


def sufficient_delta(search_rank: int, true_rank: int) -> float:
    """Return 1 / (1 + sqrt(r*/r)): with a smaller delta there is no spurious second-order point.

    f(U) = 1/2 ||A(U U^T - M)||^2 over U of r columns, M of rank r*, no noise, and
    (1 - delta) ||X||_F^2 <= ||A(X)||^2 <= (1 + delta) ||X||_F^2 on matrices of low rank, after the
    best rescaling of A.

    Parameters
    ----------
    search_rank : int
        r, the columns of U, at least ``true_rank``. From r = n on (n x n matrices) every delta
        does, whatever this formula says: see ``search_rank_for``.
    true_rank : int
        r*, at least 1.

    Raises
    ------
    RankError
        For ranks that are no integers, r* < 1 or r < r*.

    Notes
    -----
    Source: Zhang, arXiv 2104.10790 (version 1), whose abstract states it without the rank on which
    delta is meant: 2 r is the largest one that U U^T - M and the Hessian's U V^T + V U^T can have.

    Examples
    --------
    >>> sufficient_delta(2, 2), sufficient_delta(8, 2), sufficient_delta(9, 1)
    (0.5, 0.6666666666666666, 0.75)
    """
    r, truth = _ranks(search_rank, true_rank)
    # One division before each root and after it: monotone in r in floating point, too.
    return 1.0 / (1.0 + sqrt(truth / r))


def necessary_delta(search_rank: int, true_rank: int) -> float:
    """Return 1 / (1 + 1 / sqrt(r - r* + 1)): from this delta on there are counterexamples.

    Between ``sufficient_delta`` and this number nothing is claimed. Both agree for r* = 1 and for
    r = r*, where the threshold is therefore sharp.

    Parameters
    ----------
    search_rank, true_rank : int
        As for ``sufficient_delta``.

    Raises
    ------
    RankError
        As for ``sufficient_delta``.

    Notes
    -----
    Source: Zhang, arXiv 2104.10790 (version 1), abstract. ``instances.rank_one_truth`` is a
    counterexample for r* = 1 of this project's own.

    Examples
    --------
    >>> necessary_delta(4, 1) == sufficient_delta(4, 1), necessary_delta(5, 5)
    (True, 0.5)
    >>> sufficient_delta(5, 2) < necessary_delta(5, 2)
    True
    """
    r, truth = _ranks(search_rank, true_rank)
    return 1.0 / (1.0 + sqrt(1.0 / (r - truth + 1)))


def search_rank_for(delta: float, true_rank: int, *, size: int | None = None) -> int:
    """Return the least search rank that removes spurious minima at this delta.

    The least integer r >= r* with delta < 1 / (1 + sqrt(r*/r)), that is
    r > r* (delta / (1 - delta))^2: max(r*, floor(r* (delta / (1 - delta))^2) + 1).

    Parameters
    ----------
    delta : float
        Restricted isometry constant, 0 <= delta < 1.
    true_rank : int
        r*, at least 1.
    size : int, optional
        n of the n x n matrix. With n columns U U^T reaches every positive semidefinite matrix, and
        every second-order point is a global minimum whatever delta is: the answer is cut there.

    Returns
    -------
    int
        r. Without ``size``, delta < sufficient_delta(r, r*) holds as floating-point numbers, and
        fails at r - 1 unless r = r*.

    Raises
    ------
    InputError
        For delta outside [0, 1).
    RankError
        For r* < 1 or r* > n.

    Notes
    -----
    Why n columns suffice: if U (n x n) is regular, the gradient 2 G U = 0 gives G = 0; if it is
    not, U v = 0 for a unit vector v, and the Hessian along y v^T is 2 y^T G y >= 0 for every y, so
    that G is positive semidefinite and <G, U U^T> = 0: the conditions of the convex problem.

    Examples
    --------
    >>> [search_rank_for(delta, 2) for delta in (0.49, 0.5, 0.6, 0.8, 0.9)]
    [2, 3, 5, 33, 163]
    >>> search_rank_for(0.9, 2, size=50)
    50
    """
    if not 0 <= delta < 1:
        raise InputError(f"delta = {delta} is outside [0, 1)", "pass an isometry constant below 1")
    ratio = delta / (1.0 - delta)
    return _least_rank(
        true_rank, true_rank * ratio * ratio, lambda r: delta < sufficient_delta(r, true_rank), size
    )


def search_rank_for_condition(
    smoothness_over_convexity: float, true_rank: int, *, size: int | None = None
) -> int:
    """Return the least search rank for a loss of this condition number: r > 1/4 (L/mu - 1)^2 r*.

    phi(X), X = U U^T, is L-smooth and mu-strongly convex (on matrices of low rank). r = r* if and
    only if L/mu < 3. With L/mu = (1 + delta) / (1 - delta) this is ``search_rank_for``, up to
    rounding at the edge.

    Parameters
    ----------
    smoothness_over_convexity : float
        L / mu, at least 1.
    true_rank, size : int
        As for ``search_rank_for``.

    Raises
    ------
    InputError
        For a ratio below 1 or not finite.
    RankError
        For r* < 1 or r* > n.

    Notes
    -----
    Source: Zhang, arXiv 2207.01789, abstract.

    Examples
    --------
    >>> [search_rank_for_condition(kappa, 2) for kappa in (1.0, 2.99, 3.0, 5.0, 9.0)]
    [2, 2, 3, 9, 33]
    """
    if not (isfinite(smoothness_over_convexity) and smoothness_over_convexity >= 1):
        raise InputError(
            f"L/mu = {smoothness_over_convexity} is no condition number",
            "pass a finite number of at least 1",
        )
    bound = 0.25 * (smoothness_over_convexity - 1.0) ** 2 * true_rank
    return _least_rank(true_rank, bound, lambda r: r > bound, size)


def condition_from_delta(delta: float) -> float:
    """Return L/mu = (1 + delta) / (1 - delta) of 1/2 ||A(.) - b||^2 on low rank.

    Raises
    ------
    InputError
        For delta outside [0, 1).

    Examples
    --------
    >>> condition_from_delta(0.5)
    3.0
    """
    if not 0 <= delta < 1:
        raise InputError(f"delta = {delta} is outside [0, 1)", "pass an isometry constant below 1")
    return (1.0 + delta) / (1.0 - delta)


def delta_from_condition(smoothness_over_convexity: float) -> float:
    """Return delta = (L/mu - 1) / (L/mu + 1), the inverse of ``condition_from_delta``.

    Raises
    ------
    InputError
        For a ratio below 1 or not finite.

    Examples
    --------
    >>> delta_from_condition(3.0)
    0.5
    """
    kappa = smoothness_over_convexity
    if not (isfinite(kappa) and kappa >= 1):
        raise InputError(f"L/mu = {kappa} is no condition number", "pass a number of at least 1")
    return (kappa - 1.0) / (kappa + 1.0)


def _least_rank(
    true_rank: int, bound: float, enough: Callable[[int], bool], size: int | None
) -> int:
    """Return the least r >= r* with ``enough(r)``, a monotone test that turns near ``bound``."""
    _ranks(true_rank, true_rank)
    if size is not None and size < true_rank:
        raise RankError(f"a truth of rank {true_rank} in {size} rows", "pass r* <= n")
    low, high = true_rank, max(true_rank, int(bound) + 1)
    while not enough(high):  # the closed form may be off by its rounding, which grows with r
        low, high = high + 1, 2 * high
    while low < high:
        middle = (low + high) // 2
        if enough(middle):
            high = middle
        else:
            low = middle + 1
    return high if size is None else min(high, size)


def _ranks(search_rank: int, true_rank: int) -> tuple[int, int]:
    if int(search_rank) != search_rank or int(true_rank) != true_rank:
        raise RankError(f"ranks {search_rank} and {true_rank}", "pass integers")
    if not 1 <= true_rank <= search_rank:
        raise RankError(
            f"search rank {search_rank} for a truth of rank {true_rank}",
            "pass 1 <= true_rank <= search_rank",
        )
    return int(search_rank), int(true_rank)
