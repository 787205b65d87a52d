"""Starting points: spectral, and small random."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import nnls
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from .arrays import Array, inner, like
from .factorizations import DualMatrix
from .operators import QuadraticSensing
from .problem import FactorizedProblem
from .spectral import top_singular_triplets


def spectral(problem: FactorizedProblem, rank: int, rng: np.random.Generator) -> Array:
    """Return the top singular vectors of A*(b), scaled to the best fit along their own ray.

    X0 = c U_k S_k V_k^T of A*(b) with c = <A(X0), b> / ||A(X0)||^2, so that no normalisation of A
    needs to be known. Symmetric problems use the eigenvectors of sym A*(b) with positive values;
    other losses the slope at X = 0 in place of -b.
    Source: Keshavan, Montanari, Oh (2010) for completion; the scaling is own derivation.
    """
    factorization, shape = problem.factorization, problem.shape
    transported = problem.transported(-problem.loss.slope(0.0 * problem.b, problem.b))
    form = factorization.dual(transported, shape)
    if form is None:
        u, s, v = top_singular_triplets(transported, shape, rank, rng)
        left, right = like(u * np.sqrt(s), problem.b), like(v * np.sqrt(s), problem.b)
        w = factorization.join(left, right)
    else:
        # Twice as many as needed: a Hermitian form has every eigenvalue twice, and the gauge merges
        # what belongs to one direction.
        w = problem.gauge(like(_positive_part(form, min(2 * rank, form.shape[0]), rng), problem.b))
        w = factorization.truncate(w, rank)
    fitted = problem.predict(w)
    energy = float(inner(fitted, fitted))
    factor = float(inner(fitted, problem.b)) / energy if energy > 0 else 0.0
    # W of degree L in X scales by the L-th root.
    return w * max(factor, 0.0) ** (1.0 / factorization.degree)


def _positive_part(form: DualMatrix, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return the top eigenvectors times the roots of their values, negative values left out."""
    rows = form.shape[0]
    x = np.linalg.qr(rng.standard_normal((rows, min(count + 8, rows))))[0]
    for _ in range(8):
        x = np.linalg.qr(form @ x)[0]
    values, vectors = np.linalg.eigh(x.T @ (form @ x))
    top = np.argsort(values)[::-1][:count]
    return x @ vectors[:, top] * np.sqrt(np.maximum(values[top], 0.0))


def small_random(
    problem: FactorizedProblem, rank: int, rng: np.random.Generator, *, relative_scale: float = 1e-3
) -> Array:
    """Return relative_scale sqrt(||A*(b)||_2) times a Gaussian matrix of unit spectral norm.

    Small starts align with the leading singular vectors before they grow, which is what makes
    search at an excess rank favour low rank (Soltanolkotabi, Stoeger, Xie, arXiv 2303.14244).
    """
    rows = problem.factorization.size(problem.shape, rank)
    w = rng.standard_normal((rows, rank)) / (np.sqrt(rows) + np.sqrt(rank))
    return like(relative_scale * np.sqrt(problem.scale) * w, problem.b)


SMALL = 64
"""Size up to which all eigenvectors are computed at once."""

LEAST_WEIGHT = -20.0
"""Weight of vectors that see nothing of the signal."""


def intensity_spectral(
    operator: QuadraticSensing, intensities: np.ndarray, rank: int, rng: np.random.Generator
) -> np.ndarray:
    """Return a start U for intensities of u u^H: top eigenvectors of A*(T(y)), scaled to fit y.

    T(y) = max(1 - 1/y, -20) with y of mean 1. Plain weights T(y) = y are ruled by a few large
    intensities; these grow no further than 1, and vectors nearly orthogonal to the signal, which
    tell most about it, count against the directions that they point in.

    Parameters
    ----------
    operator : QuadraticSensing
        Of vectors of comparable norm.
    intensities : array, shape (m,)
        With a positive mean; negative ones count as 0.
    rank : int
        Columns of U.
    rng : Generator
        Draws the Lanczos start.

    Returns
    -------
    array, shape (n, rank), real or complex like the unknown

    Notes
    -----
    Cost: some 100 products with the vectors and their adjoint. T was chosen by measurement: real
    Gaussian vectors, n = 128, mean correlation with the signal at m/n = 2, 3: 0.81, 0.92 (floor -5:
    0.79, 0.90); with T(y) = (y - 1) / (y + sqrt(m/n) - 1) (Mondelli and Montanari, as PhasePack
    has it) 0.75, 0.83; with T(y) = y 0.43, 0.57. To our knowledge 1 - 1/y is the design of Luo,
    Alghamdi and Lu for Gaussian vectors, which by the abstract of "Spectral method for phase
    retrieval: an expectation propagation perspective" is the best for orthonormal columns, too.
    """
    n = operator.shape[0]
    level = np.maximum(intensities / np.mean(intensities), 0.0)
    weights = np.maximum(1.0 - 1.0 / np.maximum(level, 1e-3), LEAST_WEIGHT)
    transported = operator.adjoint(weights)
    kind = complex if operator.hermitian else float
    if n <= SMALL:
        vectors = np.linalg.eigh(transported @ np.eye(n, dtype=kind))[1][:, : -rank - 1 : -1]
    else:
        form: Any = LinearOperator(
            dtype=kind,
            shape=(n, n),
            matvec=lambda x: transported @ x,  # type: ignore[call-arg]
        )
        v0 = rng.standard_normal(n).astype(kind)
        try:
            vectors = eigsh(form, k=rank, which="LA", v0=v0, tol=1e-4)[1][:, ::-1]  # type: ignore[arg-type]
        except ArpackNoConvergence:  # any start is allowed: the search tells how good it was
            vectors = np.linalg.qr(rng.standard_normal((n, rank)))[0].astype(kind)
    images = np.abs(operator.vectors @ vectors) ** 2
    squares = nnls(images, np.maximum(intensities, 0.0))[0]
    return vectors * np.sqrt(np.maximum(squares, 1e-4 * squares.max()))
