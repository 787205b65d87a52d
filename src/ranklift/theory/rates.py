"""Statistical rates: the error that noise alone forces, in each scaling of the measurements."""

from __future__ import annotations

from math import isfinite, sqrt

from ..errors import EmptyDataError, InputError, RankError, ShapeError
from ..factorizations import Asymmetric, Symmetric


def degrees_of_freedom(shape: tuple[int, int], rank: int, *, symmetric: bool = False) -> int:
    """Return r (n1 + n2 - r), of symmetric matrices n r - r (r - 1) / 2.

    Parameters
    ----------
    shape : (int, int)
        Size n1 x n2.
    rank : int
        r, 0..min(n1, n2).
    symmetric : bool, default False

    Raises
    ------
    RankError, ShapeError
        For a rank outside its range, sizes below 1, or ``symmetric`` on rectangles.

    Notes
    -----
    The dimension of the manifold of matrices of rank r.

    Examples
    --------
    >>> degrees_of_freedom((40, 40), 2), degrees_of_freedom((40, 40), 2, symmetric=True)
    (156, 79)
    >>> degrees_of_freedom((4, 4), 4), degrees_of_freedom((4, 4), 4, symmetric=True)
    (16, 10)
    """
    n1, n2 = shape
    if n1 < 1 or n2 < 1 or (symmetric and n1 != n2):
        kind = "symmetric " if symmetric else ""
        raise ShapeError(f"{kind}matrices of shape {shape}", "pass two positive sizes that fit")
    if not 0 <= rank <= min(n1, n2):
        raise RankError(f"rank {rank} in a {n1} x {n2} matrix", f"pass 0..{min(n1, n2)}")
    kind = Symmetric() if symmetric else Asymmetric()
    return kind.degrees_of_freedom((n1, n2), rank)


def statistical_error(
    noise_std: float, n: int, true_rank: int, num_measurements: int | None = None
) -> float:
    """Return E_stat = sqrt(sigma^2 n r* / m), the order of the least error of X = U U^T.

    Two scalings, with the same answer:

    - ``num_measurements`` given: measurement matrices of unit variance and a loss divided by m, as
      in arXiv 2104.10790; sigma is the standard deviation of a measurement there.
    - left out: this library's, E ||A(X)||^2 = ||X||_F^2. Measurements, and their noise, are then
      1 / sqrt(m) of those: E_stat = sigma sqrt(n r*).

    Parameters
    ----------
    noise_std : float
        sigma, in units of b.
    n, true_rank : int
        Size of the n x n matrix and its rank r*.
    num_measurements : int, optional
        m.

    Raises
    ------
    InputError, RankError, EmptyDataError
        For a negative level, a rank outside 1..n, or m < 1.

    Notes
    -----
    The rate of convex methods up to a constant (abstract of arXiv 2104.10790, version 3). With the
    tangent space known, least squares has error sigma sqrt(n r - r (r - 1) / 2) in our scaling.
    Measured here: 1.2 E_stat at most for points at the noise level (``reproduce noisy-minimax``).

    Examples
    --------
    >>> round(statistical_error(0.1, 50, 2, 10_000), 12)
    0.01
    >>> round(statistical_error(0.1 / 100, 50, 2), 12)  # sqrt(m) = 100
    0.01
    """
    return minimax_rate(
        noise_std, (n, n), true_rank, symmetric=True, num_measurements=num_measurements
    )


def minimax_rate(
    noise_std: float,
    shape: tuple[int, int],
    true_rank: int,
    *,
    symmetric: bool = False,
    num_measurements: int | None = None,
) -> float:
    """Return sqrt(sigma^2 (n1 + n2) r* / m), with n for n1 + n2 where X is symmetric.

    Parameters
    ----------
    noise_std, true_rank, num_measurements
        As for ``statistical_error``; without m in this library's scaling.
    shape : (int, int)
        Size n1 x n2.
    symmetric : bool, default False

    Raises
    ------
    InputError, RankError, ShapeError, EmptyDataError
        As for ``statistical_error``.

    Examples
    --------
    >>> minimax_rate(0.5, (20, 12), 2)
    4.0
    """
    if not (isfinite(noise_std) and noise_std >= 0):
        raise InputError(f"noise_std = {noise_std}", "pass a finite number of at least 0")
    degrees_of_freedom(shape, true_rank, symmetric=symmetric)
    if true_rank < 1:
        raise RankError(f"a truth of rank {true_rank}", "pass a rank of at least 1")
    m = 1 if num_measurements is None else num_measurements
    if m < 1:
        raise EmptyDataError(f"{m} measurements", "pass at least one")
    sides = shape[0] if symmetric else shape[0] + shape[1]
    return noise_std * sqrt(sides * true_rank / m)


def completion_rate(
    noise_std: float, shape: tuple[int, int], true_rank: int, num_measurements: int
) -> float:
    """Return sqrt(sigma^2 (n1 + n2) r* n1 n2 / m) for m uniformly sampled entries.

    With p = m / (n1 n2), A / sqrt(p) keeps norms on average and has noise sigma / sqrt(p): this is
    ``minimax_rate`` of that, the Frobenius error of the whole matrix.

    Parameters
    ----------
    noise_std : float
        Standard deviation of the noise of an entry.
    shape, true_rank
        As for ``minimax_rate``.
    num_measurements : int
        m, at most n1 n2.

    Raises
    ------
    InputError, RankError, ShapeError, EmptyDataError
        As for ``minimax_rate``, and for m > n1 n2.

    Notes
    -----
    For incoherent matrices only: entries say nothing of a matrix with one entry. Logarithmic
    factors are left out.

    Examples
    --------
    >>> round(completion_rate(0.5, (20, 12), 2, 240), 12)  # everything is seen
    4.0
    >>> round(completion_rate(0.5, (20, 12), 2, 60), 12)
    8.0
    """
    entries = shape[0] * shape[1]
    if num_measurements > entries:
        raise InputError(f"{num_measurements} of {entries} entries", "pass m <= n1 n2")
    return minimax_rate(noise_std, shape, true_rank, num_measurements=num_measurements) * sqrt(
        entries
    )
