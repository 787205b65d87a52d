"""Where small starts point: the factors beside the leading subspace of A*(b)."""

from __future__ import annotations

import numpy as np

from ..arrays import norm
from ..factorizations import DualMatrix, dilation
from ..problem import FactorizedProblem

NAN = float("nan")


def spectral_subspace(problem: FactorizedProblem, rank: int) -> np.ndarray | None:
    """Return the top eigenvectors that small starts align with, as orthonormal columns.

    Of sym A*(b) for X = U U^H, shape (n, r); else of [[0, A*(b)], [A*(b)^T, 0]], shape
    (n1 + n2, r): there they are [P; Q] / sqrt 2 of the leading singular pairs. None where fewer
    than r of the eigenvalues are positive. Losses other than the squared one put their slope at
    X = 0 in place of -b.

    Notes
    -----
    Restarted block Krylov iteration, to a residual of 1e-12 ||A*(b)||_2 where the gap allows it
    within some hundred products with blocks of about r + 4 columns.
    """
    n1 = problem.shape[0]
    transported = problem.operator.adjoint(-problem.loss.slope(0.0 * problem.b, problem.b))
    if not problem.factorization.definite:
        return _leading_eigenvectors(dilation(transported, problem.shape), rank)
    form = problem.factorization.dual(transported, problem.shape)
    assert form is not None
    if form.shape[0] == n1:
        return _leading_eigenvectors(form, rank)
    # The real form of a Hermitian matrix has every eigenvalue twice: v and i v.
    real = _leading_eigenvectors(form, 2 * rank)
    if real is None:
        return None
    return np.linalg.svd(real[:n1] + 1j * real[n1:], full_matrices=False)[0][:, :rank]


def _leading_eigenvectors(form: DualMatrix, count: int) -> np.ndarray | None:
    n = form.shape[0]
    block = np.random.default_rng(0).standard_normal((n, min(count + 4, n)))
    width = block.shape[1]
    values = vectors = np.zeros(0)
    for _ in range(40):
        blocks = [np.linalg.qr(block)[0]]
        for _ in range(4):
            blocks.append(np.linalg.qr(form @ blocks[-1])[0])
        basis = np.linalg.qr(np.concatenate(blocks, axis=1))[0]
        image = form @ basis
        core = basis.T @ image
        values, small = np.linalg.eigh(0.5 * (core + core.T))
        values, small = values[::-1], small[:, ::-1]
        vectors = block = basis @ small[:, :width]
        off = image @ small[:, :count] - vectors[:, :count] * values[:count]
        size = float(np.abs(values).max())
        if np.linalg.norm(off) <= 1e-12 * size:
            break
    if values[count - 1] <= 1e-12 * np.abs(values).max():
        return None
    return vectors[:, :count]


def alignment(
    left: np.ndarray, right: np.ndarray, r: int, basis: np.ndarray | None, *, definite: bool
) -> dict[str, float]:
    """Return signal, residual, coupling and misalignment of a pair of factors."""
    stacked = left if definite else np.concatenate([left, right]) / np.sqrt(2)
    vectors, values, _ = np.linalg.svd(stacked, full_matrices=False)
    padded = np.concatenate([values, np.zeros(r + 1)])
    out = {"signal": float(padded[r - 1]), "residual": float(padded[r])}
    if definite:
        out["coupling"] = 0.0
    if basis is None:
        return out
    independent = int(np.sum(values[:r] > 1e-14 * values.max(initial=0.0)))
    top = vectors[:, :independent]
    outside = basis - top @ (top.conj().T @ basis)
    out["misalignment"] = min(1.0, float(np.linalg.norm(outside, 2)))
    if not definite:
        p, q = basis[: left.shape[0]].T @ left, basis[left.shape[0] :].T @ right
        together = norm(p + q)
        out["coupling"] = norm(p - q) / together if together > 0 else NAN
    return out
