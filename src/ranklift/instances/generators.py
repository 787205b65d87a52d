"""Generators of random instances; every ensemble has E ||A(X)||^2 = ||X||_F^2 unless it samples."""

from __future__ import annotations

from math import sqrt

import numpy as np

from ..errors import EmptyDataError, InputError, RankError, ShapeError, UnobservedError
from ..lowrank import LowRank
from ..operators import DenseSensing, EntrySampling
from .record import Instance, check_noise


def random_low_rank(
    shape: tuple[int, int],
    rank: int,
    *,
    condition_number: float = 1.0,
    scale: float = 1.0,
    symmetric: bool = False,
    rng: np.random.Generator | int | None = None,
) -> LowRank:
    """Draw M = U diag(s) V^T with U, V uniform orthonormal, s = scale linspace(1, 1 / cond, rank).

    Parameters
    ----------
    shape : (int, int)
        Size n1 x n2.
    rank : int
        Number of non-zero singular values.
    condition_number : float
        The ratio of the largest and the least of them.
    scale : float
        The largest of them, ||M||_2.
    symmetric : bool
        Draw M = U diag(s) U^T, positive semidefinite; both factors are then the same array Z.
    rng : Generator or int, optional
        Source of randomness.

    Returns
    -------
    LowRank
        Balanced factors U sqrt(s), V sqrt(s).

    Raises
    ------
    RankError
        When the rank does not lie in 1..min(shape).
    InputError
        For a condition number below 1 or a scale that is not positive.
    ShapeError
        When ``symmetric`` and the shape is not square.

    Examples
    --------
    >>> M = random_low_rank((5, 4), 2, condition_number=10.0, rng=0)
    >>> M.svd()[1].round(12)
    array([1. , 0.1])
    """
    n1, n2 = shape
    if not 1 <= rank <= min(n1, n2):
        raise RankError(f"rank {rank} in a {n1} x {n2} matrix", f"pass a rank in 1..{min(n1, n2)}")
    if not (np.isfinite(condition_number) and condition_number >= 1):
        raise InputError(
            f"condition number {condition_number}", "pass a finite number of at least 1"
        )
    if not (np.isfinite(scale) and scale > 0):
        raise InputError(f"scale = {scale} is not a size", "pass a positive finite number")
    if symmetric and n1 != n2:
        raise ShapeError(f"a symmetric matrix of shape {shape}", "pass a square shape")
    generator = np.random.default_rng(rng)
    roots = np.sqrt(scale * np.linspace(1.0, 1.0 / condition_number, rank))
    left = np.linalg.qr(generator.standard_normal((n1, rank)))[0] * roots
    if symmetric:
        return LowRank(left, left)
    return LowRank(left, np.linalg.qr(generator.standard_normal((n2, rank)))[0] * roots)


def gaussian_sensing(
    shape: int | tuple[int, int],
    rank: int,
    num_measurements: int,
    *,
    symmetric: bool = False,
    condition_number: float = 1.0,
    scale: float = 1.0,
    noise: float = 0.0,
    rng: np.random.Generator | int | None = None,
) -> Instance:
    """Draw b = A(M) + w with Gaussian measurement matrices, E ||A(X)||^2 = ||X||_F^2.

    The entries of A_i are independent N(0, 1 / m); when ``symmetric``, A_i = (B_i + B_i^T) / 2 with
    such B_i, and E ||A(X)||^2 = ||X||_F^2 holds for symmetric X.

    Parameters
    ----------
    shape : int or (int, int)
        Size n1 x n2; an integer n stands for n x n.
    rank : int
        Rank of the truth, drawn by ``random_low_rank``.
    num_measurements : int
        Number m of measurements.
    symmetric : bool
        Symmetric A_i and a positive semidefinite truth Z Z^T with Z = ``truth.left``.
    condition_number, scale : float
        Of the truth: s_1 / s_r and s_1.
    noise : float
        Standard deviation of w.
    rng : Generator or int, optional
        Source of randomness; one seed gives the same instance with every noise level.

    Raises
    ------
    EmptyDataError
        For no measurement.
    RankError, ShapeError, InputError, NonFiniteError
        See ``random_low_rank`` and ``Instance.with_noise``.

    Notes
    -----
    Holds m n1 n2 numbers.

    Examples
    --------
    >>> instance = gaussian_sensing((4, 3), 1, 20, rng=0)
    >>> instance.operator.shape, instance.measurements.shape, instance.rank
    ((4, 3), (20,), 1)
    """
    size = (shape, shape) if isinstance(shape, int | np.integer) else (shape[0], shape[1])
    size = int(size[0]), int(size[1])
    if num_measurements < 1:
        raise EmptyDataError(f"{num_measurements} measurements", "ask for at least one")
    check_noise(noise)
    generator = np.random.default_rng(rng)
    truth = random_low_rank(
        size,
        rank,
        condition_number=condition_number,
        scale=scale,
        symmetric=symmetric,
        rng=generator,
    )
    matrices = generator.standard_normal((num_measurements, *size)) / sqrt(num_measurements)
    if symmetric:
        matrices = (matrices + matrices.swapaxes(1, 2)) / 2
    operator = DenseSensing(matrices)
    instance = Instance(
        f"gaussian_sensing({size}, rank={rank}, m={num_measurements})",
        operator,
        np.asarray(operator.apply(truth)),
        truth,
        symmetric=symmetric,
        source="Gaussian ensemble",
    )
    return instance.with_noise(noise, rng=generator) if noise else instance


def entry_completion(
    shape: tuple[int, int],
    rank: int,
    oversampling: float,
    *,
    condition_number: float = 1.0,
    scale: float = 1.0,
    noise: float = 0.0,
    rng: np.random.Generator | int | None = None,
) -> Instance:
    """Draw m = rho r (n1 + n2 - r) uniform entries of a random matrix of rank r.

    Every row and column is seen at least r times: where the uniform draw leaves one short, entries
    are added there at random and as many are dropped where they are in excess.

    Parameters
    ----------
    shape : (int, int)
        Size n1 x n2.
    rank : int
        Rank r of the truth, drawn by ``random_low_rank``.
    oversampling : float
        rho, the number of samples over the degrees of freedom.
    condition_number, scale : float
        Of the truth: s_1 / s_r and s_1. The entries have root mean square ||M||_F / sqrt(n1 n2).
    noise : float
        Standard deviation of the noise of an entry.
    rng : Generator or int, optional
        Source of randomness; one seed gives the same instance with every noise level.

    Raises
    ------
    InputError
        When rho is not positive, or asks for more entries than there are.
    UnobservedError
        When m samples cannot see every row and column r times.
    RankError, NonFiniteError
        See ``random_low_rank`` and ``Instance.with_noise``.

    Notes
    -----
    The operator is not rescaled: ||A(X)||^2 is the plain sum over the sampled entries.

    Examples
    --------
    >>> instance = entry_completion((30, 20), 2, 3.0, rng=0)
    >>> instance.operator.num_measurements
    288
    >>> int(instance.operator.row_counts.min()) >= 2
    True
    """
    n1, n2 = int(shape[0]), int(shape[1])
    check_noise(noise)
    generator = np.random.default_rng(rng)
    truth = random_low_rank(
        (n1, n2), rank, condition_number=condition_number, scale=scale, rng=generator
    )
    if not (np.isfinite(oversampling) and oversampling > 0):
        raise InputError(f"oversampling {oversampling}", "pass a positive finite number")
    m = round(oversampling * rank * (n1 + n2 - rank))
    if m > n1 * n2:
        raise InputError(
            f"oversampling {oversampling} asks for {m} of {n1 * n2} entries",
            f"pass at most {n1 * n2 / (rank * (n1 + n2 - rank)):.3g}, or a lower rank",
        )
    if m < rank * max(n1, n2):
        raise UnobservedError(
            f"{m} samples cannot see {max(n1, n2)} rows or columns {rank} times each",
            f"raise oversampling to at least {max(n1, n2) / (n1 + n2 - rank):.3g}",
        )
    flat = _uniform_positions(n1 * n2, m, generator)
    flat = _fill_short_lines(flat, (n1, n2), rank, generator)
    operator = EntrySampling(flat // n2, flat % n2, (n1, n2))
    instance = Instance(
        f"entry_completion({(n1, n2)}, rank={rank}, oversampling={oversampling:g})",
        operator,
        np.asarray(operator.apply(truth)),
        truth,
        source="uniform sampling of entries",
        known={"oversampling": m / (rank * (n1 + n2 - rank))},
    )
    return instance.with_noise(noise, rng=generator) if noise else instance


def _uniform_positions(total: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw ``count`` distinct positions of ``total``, sorted, without a permutation of them all."""
    if 3 * count > total:
        return np.sort(rng.permutation(total)[:count])
    positions = np.unique(rng.integers(0, total, size=count + count // 3 + 16))
    while positions.size < count:
        more = rng.integers(0, total, size=count - positions.size + 16)
        positions = np.union1d(positions, more)
    keep = np.ones(positions.size, dtype=bool)
    keep[rng.permutation(positions.size)[: positions.size - count]] = False
    return positions[keep]


def _fill_short_lines(
    flat: np.ndarray, shape: tuple[int, int], least: int, rng: np.random.Generator
) -> np.ndarray:
    """Move as few samples as needed so that every row and column has at least ``least``."""
    n2 = shape[1]
    count = flat.size
    for axis in (0, 1):
        index = flat // n2 if axis == 0 else flat % n2
        counts = np.bincount(index, minlength=shape[axis])
        added = []
        for line in np.flatnonzero(counts < least):
            seen = flat[index == line]
            other = np.arange(shape[1 - axis])
            candidates = line * n2 + other if axis == 0 else other * n2 + line
            free = np.setdiff1d(candidates, seen, assume_unique=True)
            added.append(rng.choice(free, size=least - counts[line], replace=False))
        if added:
            flat = np.concatenate([flat, *added])
    surplus = flat.size - count
    if surplus == 0:
        return np.sort(flat)
    rows, cols = flat // n2, flat % n2
    row_counts = np.bincount(rows, minlength=shape[0])
    column_counts = np.bincount(cols, minlength=n2)
    keep = np.ones(flat.size, dtype=bool)
    for position in rng.permutation(flat.size):
        i, j = rows[position], cols[position]
        if row_counts[i] > least and column_counts[j] > least:
            keep[position] = False
            row_counts[i] -= 1
            column_counts[j] -= 1
            surplus -= 1
            if surplus == 0:
                return np.sort(flat[keep])
    raise UnobservedError(
        f"{count} samples could not be spread to see every row and column {least} times",
        "raise oversampling",
    )
