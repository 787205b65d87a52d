"""Starting points: spectral, and small random."""

from __future__ import annotations

import numpy as np

from .arrays import Array, inner, like
from .factorizations import DualMatrix
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
