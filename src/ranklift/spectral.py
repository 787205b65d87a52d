"""Extreme singular values and eigenvalues, with bounds that hold with a stated probability.

A Lanczos run by itself only bounds the largest eigenvalue from below. From a start vector drawn
uniformly from the sphere, Kuczynski and Wozniakowski (SIAM J. Matrix Anal. Appl. 13, 1992,
theorem 4.2) bound what it can have missed: for a symmetric n x n matrix and k steps,

    P[ lambda_1 - theta_1 > eps (lambda_1 - lambda_n) ] <= 1.648 sqrt(n) exp(-sqrt(eps) (2k - 1)).

Full reorthogonalisation keeps the run close to the exact arithmetic that the theorem assumes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh_tridiagonal

from .arrays import matmul, to_numpy

Map = Callable[[np.ndarray], np.ndarray]

FAILURE_PROBABILITY = 1e-10
"""Chance that a random start misleads one bound: small beside any other risk of a user."""

_SALT = 0x6C616E637A6F73

BASIS_BYTES = 100_000_000
"""Most memory of one Lanczos basis: a bound that needs more steps is given up, and says so."""


@dataclass(frozen=True)
class ExtremeEigenvalue:
    """The largest eigenvalue of a symmetric matrix, enclosed.

    Attributes
    ----------
    ritz : float
        Lower bound: a Rayleigh quotient, up to rounding.
    upper : float
        Upper bound; wrong with at most the stated failure probability.
    vectors : array (n, p)
        Ritz vectors, best first; the first one shows ``ritz``.
    values : array (p,)
        Their Ritz values.
    steps : int
        Products with the matrix.
    """

    ritz: float
    upper: float
    vectors: np.ndarray
    values: np.ndarray
    steps: int


def missed_fraction(n: int, steps: int, failure_probability: float) -> float:
    """Return the eps of the Kuczynski-Wozniakowski bound; 1 when it says nothing yet.

    Examples
    --------
    >>> missed_fraction(1000, 3, 1e-10)
    1.0
    >>> round(missed_fraction(1000, 100, 1e-10), 4)
    0.0184
    """
    exponent = np.log(1.648 * np.sqrt(n) / failure_probability)
    return float(min(1.0, (exponent / (2 * steps - 1)) ** 2))


def largest_eigenvalue(
    matvec: Callable[[np.ndarray], np.ndarray],
    n: int,
    rng: np.random.Generator,
    *,
    floor: float | None = None,
    target: float | None = None,
    stop_on_witness: bool = True,
    max_steps: int = 300,
    vectors: int = 1,
    project: Callable[[np.ndarray], np.ndarray] | None = None,
    failure_probability: float = FAILURE_PROBABILITY,
) -> ExtremeEigenvalue:
    """Enclose the largest eigenvalue of a symmetric matrix by random-start Lanczos.

    Parameters
    ----------
    matvec : callable
        x -> H x for vectors of length n; H must map the range of ``project`` into itself.
    n : int
    rng : Generator
        Draws the start vector; the probability is over this draw.
    floor : float, optional
        A known lower bound of the least eigenvalue (0 for a Gram matrix). Without it the other
        end of the spectrum is bounded by the same run, at twice the failure probability.
    target : float, optional
        Stop as soon as the upper bound is below it, or a Ritz value shows that it is exceeded.
    stop_on_witness : bool, default True
        Whether a Ritz value above the target ends the run; False refines the bound all the same.
    max_steps : int
        Most products with H; memory n * max_steps numbers.
    vectors : int
        Number of Ritz vectors to return; with more than one, steps are not cut short by a
        Ritz value above the target until they have settled.
    project : callable, optional
        Orthogonal projector onto the subspace in which the eigenvalue is sought.

    Raises
    ------
    ValueError
        When H returns a number that is not finite.
    """
    # A stream of its own: a user's factors drawn from the same seed must not be the start vector.
    start = np.random.default_rng([_SALT, *rng.integers(2**32, size=4)]).standard_normal(n)
    full = float(np.linalg.norm(start))
    if project is not None:
        start = project(start)
        if np.linalg.norm(start) <= 1e-13 * full:  # rounding: nothing is left to search
            start = np.zeros(n)
        start = project(start)
    if n == 0:
        return ExtremeEigenvalue(floor or 0.0, floor or 0.0, np.zeros((0, 0)), np.zeros(0), 0)
    max_steps = min(n, max(2, min(max_steps, BASIS_BYTES // (8 * n))))
    basis = np.empty((max_steps + 1, n))
    alphas, betas = np.empty(max_steps), np.empty(max_steps)
    length = float(np.linalg.norm(start))
    if length == 0.0:
        zero = floor if floor is not None else 0.0
        return ExtremeEigenvalue(zero, zero, np.zeros((n, 0)), np.zeros(0), 0)
    basis[0] = start / length
    check_every = 10
    # The bound is looked at after every tenth step: a union bound over all looks.
    each = failure_probability / (max_steps // check_every + 1)
    steps, exhausted = 0, False
    theta = upper = 0.0
    while True:
        w = matvec(basis[steps])
        if project is not None:
            w = project(w)
        alphas[steps] = basis[steps] @ w
        steps += 1
        if not np.isfinite(alphas[steps - 1]):
            raise ValueError("a Lanczos product is not finite")
        # Twice is enough (Kahan): one pass leaves the basis orthogonal to about 1e-8 only.
        for _ in range(2):
            w = w - basis[:steps].T @ (basis[:steps] @ w)
        if project is not None:  # once more: what is left of an exhausted space is rounding
            w = project(w)
        betas[steps - 1] = np.linalg.norm(w)
        scale = np.abs(alphas[:steps]).max() + betas[:steps].max()
        exhausted = betas[steps - 1] <= 1e-14 * scale
        last = steps == max_steps or exhausted
        if not last:
            basis[steps] = w / betas[steps - 1]
        if last or steps % check_every == 0:
            ends = _ritz_ends(alphas[:steps], betas[: steps - 1])
            theta, bottom = ends
            eps = 0.0 if exhausted or steps == n else missed_fraction(n, steps, each)
            upper = _upper(theta, bottom, eps, floor)
            # The last couplings bound the Ritz residual; 1e-13 covers rounding of the recurrence.
            upper += 1e-13 * scale
            settled = vectors == 1 or steps >= min(max_steps, 3 * vectors + 20)
            witnessed = stop_on_witness and settled and target is not None and theta > target
            if last or witnessed or (target is not None and upper <= target):
                break
    count = min(vectors, steps)
    values, small = eigh_tridiagonal(
        alphas[:steps], betas[: steps - 1], select="i", select_range=(steps - count, steps - 1)
    )
    return ExtremeEigenvalue(
        float(theta), float(upper), basis[:steps].T @ small[:, ::-1], values[::-1], steps
    )


def _ritz_ends(alphas: np.ndarray, betas: np.ndarray) -> tuple[float, float]:
    if alphas.size == 1:
        return float(alphas[0]), float(alphas[0])
    values = eigh_tridiagonal(alphas, betas, eigvals_only=True)
    return float(values[-1]), float(values[0])


def _upper(theta: float, bottom: float, eps: float, floor: float | None) -> float:
    if floor is not None:
        return float("inf") if eps >= 1 else theta + eps / (1 - eps) * (theta - floor)
    # Both ends are missed by at most eps times the true spread, which is then at most
    # (theta - bottom) / (1 - 2 eps).
    return float("inf") if eps >= 0.5 else theta + eps * (theta - bottom) / (1 - 2 * eps)


@dataclass(frozen=True)
class ExtremeSingularValue:
    """The largest singular value of a matrix, enclosed; ``left`` and ``right`` show ``ritz``."""

    ritz: float
    upper: float
    left: np.ndarray
    values: np.ndarray
    right: np.ndarray
    steps: int


def largest_singular_value(
    matrix: object,
    shape: tuple[int, int],
    rng: np.random.Generator,
    *,
    project: tuple[Map, Map] | None = None,
    target: float | None = None,
    stop_on_witness: bool = True,
    max_steps: int = 300,
    vectors: int = 1,
    failure_probability: float = FAILURE_PROBABILITY,
) -> ExtremeSingularValue:
    """Enclose ||S||_2, or ||P S Q||_2 with ``project`` = two orthogonal projectors x -> P x.

    Lanczos on the Gram matrix of the smaller side; arguments as in ``largest_eigenvalue``. ``S``
    needs ``@`` and ``.T``.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> value = largest_singular_value(np.diag([3.0, 2.0, 1.0]), (3, 3), rng)
    >>> round(value.ritz, 9), round(value.upper, 9)
    (3.0, 3.0)
    """
    p, q = project if project is not None else (_same, _same)
    transposed = shape[0] < shape[1]
    s, s_t = matrix, matrix.T  # type: ignore[attr-defined]
    if transposed:
        s, s_t, p, q, shape = s_t, s, q, p, (shape[1], shape[0])

    def forward(x: np.ndarray) -> np.ndarray:
        return p(_product(s, x))

    found = largest_eigenvalue(
        lambda x: _product(s_t, forward(x)),
        shape[1],
        rng,
        floor=0.0,
        target=None if target is None else target * target,
        stop_on_witness=stop_on_witness,
        max_steps=max_steps,
        vectors=vectors,
        project=q,
        failure_probability=failure_probability,
    )
    values = np.sqrt(np.maximum(found.values, 0.0))
    right = found.vectors
    left = (
        np.stack([forward(column) for column in right.T], axis=1)
        if right.size
        else np.zeros((shape[0], 0))
    )
    left = left / np.where(values > 0, values, 1.0)
    if transposed:
        left, right = right, left
    return ExtremeSingularValue(
        float(np.sqrt(max(found.ritz, 0.0))),
        float(np.sqrt(max(found.upper, 0.0))),
        left,
        values,
        right,
        found.steps,
    )


def without(basis: np.ndarray) -> Map:
    """Return x -> (I - B B^T) x for an orthonormal basis B."""
    return lambda x: x - basis @ (basis.T @ x)


def _same(x: np.ndarray) -> np.ndarray:
    return x


def _product(matrix: object, x: np.ndarray) -> np.ndarray:
    # Column form: operators of the algebra scale along the first axis of a matrix or a vector.
    return to_numpy(matmul(matrix, x))


def top_singular_triplets(
    matrix: object,
    shape: tuple[int, int],
    count: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (U, s, V) of about the ``count`` largest singular triplets, for starting points.

    Randomised subspace iteration (Halko, Martinsson, Tropp 2011) with 8 extra columns and 6 power
    steps: cheap, and accurate where the values stand out. 14 products with count + 8 columns.
    """
    width = min(count + 8, min(shape))
    x = rng.standard_normal((shape[1], width))
    s, s_t = matrix, matrix.T  # type: ignore[attr-defined]
    for _ in range(6):
        x = np.linalg.qr(_product(s, x))[0]
        x = np.linalg.qr(_product(s_t, x))[0]
    image = _product(s, x)
    u, values, vt = np.linalg.svd(image, full_matrices=False)
    count = min(count, width)
    return u[:, :count], values[:count], x @ vt[:count].T
