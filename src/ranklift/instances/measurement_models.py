"""Random instances of rank-one and quadratic measurement models."""

from __future__ import annotations

import numpy as np

from ..errors import EmptyDataError, InputError, ShapeError
from ..lowrank import LowRank
from ..operators import MeasurementOperator, QuadraticSensing, RankOneSensing
from .generators import random_low_rank
from .record import Instance, check_noise


def bilinear_sensing(
    shape: int | tuple[int, int],
    rank: int,
    num_measurements: int,
    *,
    condition_number: float = 1.0,
    scale: float = 1.0,
    noise: float = 0.0,
    rng: np.random.Generator | int | None = None,
) -> Instance:
    """Draw b_i = a_i^T M b_i + w_i with Gaussian vectors, E ||A(X)||^2 = ||X||_F^2.

    The entries of a_i and b_i are independent N(0, 1 / sqrt(m)).

    Parameters
    ----------
    shape : int or (int, int)
        Size n1 x n2; an integer n stands for n x n.
    rank : int
        Rank of the truth, drawn by ``random_low_rank``.
    num_measurements : int
        Number m of pairs.
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
    RankError, InputError, NonFiniteError
        See ``random_low_rank`` and ``Instance.with_noise``.

    Notes
    -----
    Holds m (n1 + n2) numbers. E A*A is the identity, but ||A(X)||^2 spreads more than that of
    ``gaussian_sensing``: for X of rank one, E (a^T X b)^4 is 9 times the squared variance, not 3.

    Examples
    --------
    >>> instance = bilinear_sensing((4, 3), 1, 20, rng=0)
    >>> instance.operator, instance.rank
    (RankOneSensing(shape=(4, 3), m=20), 1)
    """
    size = (shape, shape) if isinstance(shape, int | np.integer) else (shape[0], shape[1])
    n1, n2 = int(size[0]), int(size[1])
    _check_count(num_measurements)
    check_noise(noise)
    generator = np.random.default_rng(rng)
    truth = random_low_rank(
        (n1, n2), rank, condition_number=condition_number, scale=scale, rng=generator
    )
    deviation = num_measurements**-0.25
    left, right = (deviation * generator.standard_normal((num_measurements, n)) for n in (n1, n2))
    name = f"bilinear_sensing({(n1, n2)}, rank={rank}, m={num_measurements})"
    return _measured(name, RankOneSensing(left, right), truth, noise, generator, symmetric=False)


def phase_retrieval(
    n: int,
    num_measurements: int,
    *,
    field: str = "real",
    scale: float = 1.0,
    noise: float = 0.0,
    rng: np.random.Generator | int | None = None,
) -> Instance:
    """Draw ``b_i = |v_i u|^2 + w_i`` with Gaussian row vectors v_i; the truth is M = u u^H.

    Parameters
    ----------
    n : int
        Length of the signal u, uniform on a sphere.
    num_measurements : int
        Number m of intensities.
    field : "real" or "complex"
        What u and the vectors are; complex entries have independent real and imaginary parts.
    scale : float
        ||u||^2 = ||M||_2.
    noise : float
        Standard deviation of w; a noisy intensity may be negative.
    rng : Generator or int, optional
        Source of randomness; one seed gives the same instance with every noise level.

    Returns
    -------
    Instance
        Symmetric; ``truth.left`` is u as one column, ``truth.right`` its complex conjugate. u is
        determined up to a sign (a phase, if complex).

    Raises
    ------
    ShapeError, EmptyDataError
        For an empty signal, for no measurement.
    InputError, NonFiniteError
        For another field, a scale that is not positive, a noise level below zero.

    Notes
    -----
    Quadratic forms see the trace apart from the rest, so that no scaling makes these ensembles
    isometries. Here they are on matrices of trace zero: the entries of v_i have variance
    1 / sqrt(2 m) (real) or 1 / sqrt(m) (complex, ``E |v_ij|^2``): E A*A(X) = X + tr(X) I / 2 on
    symmetric, and X + tr(X) I on Hermitian X. On M itself E ||A(M)||^2 is 1.5 (real) or 2 (complex)
    times ||M||_F^2. Papers with unit variance have measurements sqrt(2 m) or sqrt(m) times as
    large. Holds m n numbers. Own derivation (fourth moments of Gaussian vectors).

    Examples
    --------
    >>> import numpy as np
    >>> instance = phase_retrieval(3, 12, field="complex", rng=0)
    >>> intensities = abs(instance.operator.vectors @ instance.truth.left[:, 0]) ** 2
    >>> bool(np.allclose(intensities, instance.measurements))
    True
    """
    if n < 1:
        raise ShapeError(f"a signal of length {n}", "pass a positive length")
    _check_count(num_measurements)
    check_noise(noise)
    if field not in ("real", "complex"):
        raise InputError(f"field={field!r}", 'pass "real" or "complex"')
    generator = np.random.default_rng(rng)
    if field == "real":
        truth = random_low_rank((n, n), 1, scale=scale, symmetric=True, rng=generator)
        vectors = _sketching_vectors(num_measurements, n, generator)
    else:
        # A real column of length 2 n, uniform on its sphere, holds both parts of a complex one.
        parts = random_low_rank((2 * n, 2 * n), 1, scale=scale, symmetric=True, rng=generator)
        u = parts.left[:n] + 1j * parts.left[n:]
        truth = LowRank(u, u.conj())
        real, imaginary = generator.standard_normal((2, num_measurements, n))
        vectors = (real + 1j * imaginary) * (2.0**-0.5 * num_measurements**-0.25)
    name = f"phase_retrieval({n}, m={num_measurements}, {field})"
    return _measured(name, QuadraticSensing(vectors), truth, noise, generator, symmetric=True)


def covariance_sketch(
    n: int,
    rank: int,
    num_measurements: int,
    *,
    condition_number: float = 1.0,
    scale: float = 1.0,
    noise: float = 0.0,
    rng: np.random.Generator | int | None = None,
) -> Instance:
    """Draw b_i = x_i^T M x_i + w_i with Gaussian sketches x_i of a low-rank covariance matrix M.

    b_i is the mean energy of a stream of data, of covariance M, after projection on x_i.

    Parameters
    ----------
    n : int
        M is n x n.
    rank : int
        Rank of M = Z Z^T, positive semidefinite, drawn by ``random_low_rank``; Z is
        ``truth.left``.
    num_measurements : int
        Number m of sketches.
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
    RankError, InputError, NonFiniteError
        See ``random_low_rank`` and ``Instance.with_noise``.

    Notes
    -----
    Scaled like the real ``phase_retrieval``: the entries of x_i have variance 1 / sqrt(2 m), so
    that E ||A(X)||^2 = ||X||_F^2 + tr(X)^2 / 2 on symmetric X, an isometry only where the trace
    vanishes. Holds m n numbers.

    Examples
    --------
    >>> instance = covariance_sketch(6, 2, 40, rng=0)
    >>> instance.operator, instance.symmetric, bool(instance.measurements.min() > 0)
    (QuadraticSensing(shape=(6, 6), m=40), True, True)
    """
    _check_count(num_measurements)
    check_noise(noise)
    generator = np.random.default_rng(rng)
    truth = random_low_rank(
        (n, n),
        rank,
        condition_number=condition_number,
        scale=scale,
        symmetric=True,
        rng=generator,
    )
    operator = QuadraticSensing(_sketching_vectors(num_measurements, n, generator))
    name = f"covariance_sketch({n}, rank={rank}, m={num_measurements})"
    return _measured(name, operator, truth, noise, generator, symmetric=True)


def _check_count(num_measurements: int) -> None:
    if num_measurements < 1:
        raise EmptyDataError(f"{num_measurements} measurements", "ask for at least one")


def _sketching_vectors(m: int, n: int, generator: np.random.Generator) -> np.ndarray:
    return generator.standard_normal((m, n)) * (2.0 * m) ** -0.25


def _measured(
    name: str,
    operator: MeasurementOperator,
    truth: LowRank,
    noise: float,
    generator: np.random.Generator,
    *,
    symmetric: bool,
) -> Instance:
    measurements = np.asarray(operator.apply(truth))
    instance = Instance(
        name, operator, measurements, truth, symmetric=symmetric, source="Gaussian ensemble"
    )
    return instance.with_noise(noise, rng=generator) if noise else instance
