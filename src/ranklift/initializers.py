"""Starting points: spectral, and small random."""

from __future__ import annotations

import numpy as np

from .arrays import Array, like, matmul, to_numpy
from .factorizations import Symmetric
from .problem import FactorizedProblem
from .spectral import top_singular_triplets


def spectral(problem: FactorizedProblem, rank: int, rng: np.random.Generator) -> Array:
    """Return the top singular vectors of A*(b), scaled to the best fit along their own ray.

    X0 = c U_k S_k V_k^T of A*(b) with c = <A(X0), b> / ||A(X0)||^2, so that no normalisation of A
    needs to be known. Symmetric problems use the eigenvectors of sym A*(b) with positive values.
    Source: Keshavan, Montanari, Oh (2010) for completion; the scaling is own derivation.
    """
    operator = problem.operator
    problem.counts.adjoint += 1
    transported = operator.adjoint(problem.b)
    if isinstance(problem.factorization, Symmetric):
        left, right = _positive_part(transported, operator.shape[0], rank, rng)
    else:
        u, s, v = top_singular_triplets(transported, operator.shape, rank, rng)
        left, right = u * np.sqrt(s), v * np.sqrt(s)
    fitted = to_numpy(operator.apply_product(like(left, problem.b), like(right, problem.b)))
    problem.counts.apply += 1
    energy = float(fitted @ fitted)
    factor = float(fitted @ to_numpy(problem.b)) / energy if energy > 0 else 0.0
    root = np.sqrt(max(factor, 0.0))
    return problem.factorization.join(like(left * root, problem.b), like(right * root, problem.b))


def _positive_part(
    transported: object, n: int, rank: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    def product(x: np.ndarray) -> np.ndarray:
        transposed = transported.T  # type: ignore[attr-defined]
        return 0.5 * to_numpy(matmul(transported, x) + matmul(transposed, x))

    width = min(2 * rank + 8, n)
    x = np.linalg.qr(rng.standard_normal((n, width)))[0]
    for _ in range(8):
        x = np.linalg.qr(product(x))[0]
    values, vectors = np.linalg.eigh(x.T @ product(x))
    top = np.argsort(values)[::-1][:rank]
    factor = x @ vectors[:, top] * np.sqrt(np.maximum(values[top], 0.0))
    return factor, factor


def small_random(
    problem: FactorizedProblem, rank: int, rng: np.random.Generator, *, relative_scale: float = 1e-3
) -> Array:
    """Return relative_scale sqrt(||A*(b)||_2) times a Gaussian matrix of unit spectral norm.

    Small starts align with the leading singular vectors before they grow, which is what makes
    search at an excess rank favour low rank (Soltanolkotabi, Stoeger, Xie, arXiv 2303.14244).
    """
    rows = problem.factorization.size(problem.operator.shape)
    w = rng.standard_normal((rows, rank)) / (np.sqrt(rows) + np.sqrt(rank))
    return like(relative_scale * np.sqrt(problem.scale) * w, problem.b)
