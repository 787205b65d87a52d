"""Quantum states on q qubits in factored form, their measurement noise, and their fidelity."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import EmptyDataError, InputError, NonFiniteError, RankError, ShapeError
from ..operators.pauli import LETTERS

MAX_QUBITS = 30
"""Beyond, numbers of strings do not fit into 64 bits, nor states into memory."""


def random_pauli_strings(q: int, m: int, rng: np.random.Generator | int | None = None) -> list[str]:
    """Draw m distinct Pauli strings of q letters, uniform among all 4^q.

    Parameters
    ----------
    q : int
        Number of qubits.
    m : int
        Number of strings. All "I" may be among them: its expectation value is the trace.
    rng : Generator or int, optional
        Source of randomness.

    Returns
    -------
    list of str
        In random order.

    Raises
    ------
    ShapeError
        For a number of qubits outside 1..30.
    EmptyDataError, InputError
        When m is below 1 or above 4^q.

    Examples
    --------
    >>> sorted(random_pauli_strings(1, 4, rng=0))
    ['I', 'X', 'Y', 'Z']
    """
    _dimension(q)
    if m < 1:
        raise EmptyDataError(f"{m} Pauli strings", "ask for at least one")
    if m > 4**q:
        raise InputError(
            f"{m} distinct strings on {q} qubits", f"ask for at most 4^{q} = {4**q} of them"
        )
    numbers = np.random.default_rng(rng).choice(4**q, size=m, replace=False)
    digits = (numbers[:, None] >> (2 * np.arange(q - 1, -1, -1))) & 3
    return ["".join(LETTERS[digit] for digit in row) for row in digits]


def random_state(q: int, rank: int, rng: np.random.Generator | int | None = None) -> np.ndarray:
    """Draw a density matrix rho = U U^H of trace one, uniform among purifications.

    U is a complex Gaussian matrix divided by its Frobenius norm: the state of q qubits when a
    random pure state of these and an environment of dimension ``rank`` is traced over the latter.

    Parameters
    ----------
    q : int
        Number of qubits; n = 2^q.
    rank : int
        Rank of rho.
    rng : Generator or int, optional
        Source of randomness.

    Returns
    -------
    complex array, shape (n, rank)
        The factor U; as factors of X = L R^T, L = U and R = conj(U).

    Raises
    ------
    ShapeError, RankError
        For a number of qubits outside 1..30, a rank outside 1..n.

    Examples
    --------
    >>> U = random_state(3, 2, rng=0)
    >>> U.shape, round(float(np.vdot(U, U).real), 12)
    ((8, 2), 1.0)
    """
    n = _dimension(q)
    if not 1 <= rank <= n:
        raise RankError(f"rank {rank} of a {n} x {n} state", f"pass a rank in 1..{n}")
    generator = np.random.default_rng(rng)
    u = generator.standard_normal((n, rank)) + 1j * generator.standard_normal((n, rank))
    return u / np.linalg.norm(u)


def ghz_state(q: int) -> np.ndarray:
    """Return the Greenberger-Horne-Zeilinger state of q qubits, complex, shape (2^q, 1).

    ``(|0...0> + |1...1>) / sqrt(2)``.

    Raises
    ------
    ShapeError
        For a number of qubits outside 1..30.

    Examples
    --------
    >>> ghz_state(2).real.ravel().round(3)
    array([0.707, 0.   , 0.   , 0.707])
    """
    state = np.zeros((_dimension(q), 1), dtype=complex)
    state[[0, -1]] = np.sqrt(0.5)
    return state


def w_state(q: int) -> np.ndarray:
    """Return the W state of q qubits, complex, shape (2^q, 1).

    ``(|10...0> + |010...0> + ... + |0...01>) / sqrt(q)``.

    Raises
    ------
    ShapeError
        For a number of qubits outside 1..30.

    Examples
    --------
    >>> w_state(2).real.ravel().round(3)
    array([0.   , 0.707, 0.707, 0.   ])
    """
    state = np.zeros((_dimension(q), 1), dtype=complex)
    state[2 ** np.arange(q)] = 1 / np.sqrt(q)
    return state


def shot_noise(
    expectations: Any, shots: Any, rng: np.random.Generator | int | None = None
) -> np.ndarray:
    """Estimate expectation values from +1 and -1 outcomes: (2 k - N) / N, k ~ B(N, (1 + e) / 2).

    Parameters
    ----------
    expectations : array, shape (m,)
        Exact values e in [-1, 1] (a rounding error beyond is cut off).
    shots : int or integer array, shape (m,)
        Number N of outcomes for each value; the variance of an estimate is (1 - e^2) / N.
    rng : Generator or int, optional
        Source of randomness.

    Raises
    ------
    NonFiniteError, InputError
        For values that are not finite or lie outside [-1, 1], for less than one shot.
    ShapeError
        When an array of shots does not match the values.

    Notes
    -----
    The outcomes of different strings are independent: every string is measured on its own.

    Examples
    --------
    >>> shot_noise([1.0, -1.0], 10)
    array([ 1., -1.])
    """
    values = np.asarray(expectations, dtype=float)
    if not np.isfinite(values).all():
        raise NonFiniteError("an expectation value is NaN or inf", "pass finite numbers")
    if values.size and np.abs(values).max() > 1 + 1e-9:
        worst = values.flat[int(np.abs(values).argmax())]
        raise InputError(
            f"an expectation value of {worst:.6g}",
            "pass values in [-1, 1]: those of a state of trace one",
        )
    counts = np.asarray(shots)
    if not np.issubdtype(counts.dtype, np.integer) or (counts < 1).any():
        raise InputError(f"shots = {shots}", "pass whole numbers of at least 1")
    if counts.ndim and counts.shape != values.shape:
        raise ShapeError(
            f"shots of shape {counts.shape} for values of shape {values.shape}",
            "pass one number, or one a value",
        )
    p = np.clip((1 + values) / 2, 0.0, 1.0)
    return 2 * np.random.default_rng(rng).binomial(counts, p) / counts - 1


def fidelity(u: np.ndarray, v: np.ndarray) -> float:
    """Return Uhlmann's fidelity F = (tr sqrt(sqrt(rho) sigma sqrt(rho)))^2 of U U^H and V V^H.

    Parameters
    ----------
    u : array, shape (n, r)
    v : array, shape (n, s)
        Factors of trace one; F scales with both traces.

    Returns
    -------
    float
        1 for equal states, 0 for orthogonal ones; ``|<u, v>|^2`` of pure states.

    Raises
    ------
    ShapeError
        When the factors are not two matrices with the same number of rows.

    Notes
    -----
    The square of the sum of the singular values of U^H V: that matrix and sqrt(rho) sqrt(sigma)
    differ by isometries. Cost n r s multiply-adds. Own derivation.

    Examples
    --------
    >>> round(fidelity(ghz_state(3), np.eye(8)[:, :1]), 12)
    0.5
    """
    if u.ndim != 2 or v.ndim != 2 or u.shape[0] != v.shape[0]:
        raise ShapeError(
            f"factors of shapes {u.shape} and {v.shape}", "pass matrices of the same size n"
        )
    return float(np.linalg.svd(u.conj().T @ v, compute_uv=False).sum() ** 2)


def _dimension(q: int) -> int:
    if not 1 <= q <= MAX_QUBITS:
        raise ShapeError(f"{q} qubits", f"pass a number in 1..{MAX_QUBITS}")
    return 2**q
