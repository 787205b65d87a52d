"""The reweighted least-squares problem of one round of log-det smoothing.

With X ~ U diag(s) V^T and a = s - eps the weight is a Kronecker product, and the next iterate

    argmin ||(eps I + A A^T)^{-1/2} X (eps I + B B^T)^{-1/2}||_F  subject to the data,
    A = U sqrt(a), B = V sqrt(a),

is X+ = Z B^T + A Y^T + A*(R), where (Z, Y) minimises

    ||P(Z B^T + A Y^T) - b||^2 + eps ||Y||^2 + eps ||Z||^2 - eps tr Z^T U diag(a / (a + eps)) U^T Z

and R is the residual: low rank plus sparse. Y goes line by line; CG solves for Z. Weight: Kuemmerle
and Mayrink Verdun (MatrixIRLS, ICML 2021); the factorised form is own work.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..linalg import conjugate_gradients
from ..preconditioners import block_solver
from .samples import Samples


@dataclass(frozen=True)
class Iterate:
    """X = left right^T + (sparse matrix of the samples with the residuals), never dense."""

    samples: Samples
    left: np.ndarray
    right: np.ndarray
    residual: np.ndarray

    def matmul(self, x: np.ndarray) -> np.ndarray:
        """Return X x."""
        return self.samples.matmul(self.residual, x) + self.left @ (self.right.T @ x)

    def rmatmul(self, x: np.ndarray) -> np.ndarray:
        """Return X^T x."""
        return self.samples.rmatmul(self.residual, x) + self.right @ (self.left.T @ x)


def reweighted_step(
    samples: Samples,
    u: np.ndarray,
    s: np.ndarray,
    v: np.ndarray,
    eps: float,
    *,
    rtol: float = 1e-2,
    improvement: float = 0.3,
    max_iterations: int = 50,
) -> tuple[Iterate, int]:
    """Return the next iterate from the triplets above eps, and the CG steps it took.

    Parameters
    ----------
    u, s, v : arrays (inner, w), (w,), (outer, w)
        The triplets with s > eps.
    rtol : float
        CG tolerance, relative to the right-hand side in the preconditioner's norm.

    Notes
    -----
    Cost: m w^2 to prepare, 4 m w a CG step. The w^2 directions U N are nearly in the kernel of the
    Schur complement (A N' Y^T undoes them), with curvature of order eps^2 / s: beside the exact
    diagonal blocks the preconditioner inverts the operator on them, pairs d != d' neglected.
    """
    from ..kernels import log_det as kernels

    n, w = u.shape
    indptr, cross = samples.indptr, samples.cross
    excess = np.maximum(s - eps, 1e-3 * s)
    root = np.sqrt(excess)
    a, b = np.ascontiguousarray(u * root), np.ascontiguousarray(v * root)
    share = excess / (excess + eps)
    inverse = np.empty((samples.outer, w, w))
    blocks = samples.accumulate(
        (n, w, w),
        2 * w * w,
        lambda out, lo, hi: kernels.prepare(indptr, cross, a, b, eps, inverse, out, lo, hi),
    )
    blocks += (eps * (1.0 - (u * u) @ share))[:, None, None] * np.eye(w)
    rows = block_solver(blocks, 0.0)
    coarse = _coarse_inverses(inverse, b, excess, eps)

    def ridge(z: np.ndarray) -> np.ndarray:
        return eps * (z - u @ (share[:, None] * (u.T @ z)))

    def schur(z: np.ndarray) -> np.ndarray:
        z = np.ascontiguousarray(z)
        return ridge(z) + samples.accumulate(
            (n, w),
            4 * w,
            lambda out, lo, hi: kernels.schur_product(indptr, cross, a, b, z, inverse, out, lo, hi),
        )

    y, residual = np.empty((samples.outer, w)), np.empty(samples.count)

    def descent(z: np.ndarray) -> np.ndarray:
        # Minus half the gradient at Z after elimination of Y.
        pulled = samples.accumulate(
            (n, w),
            4 * w,
            lambda out, lo, hi: kernels.eliminate(
                indptr, cross, samples.data, a, b, z, inverse, y, residual, out, lo, hi
            ),
        )
        return pulled - ridge(z)

    def precondition(x: np.ndarray) -> np.ndarray:
        n_core = np.einsum("dce,ed->cd", coarse, u.T @ x)
        return rows(x) + u @ n_core

    zero = descent(np.zeros((n, w)))
    size = np.sqrt(np.sum(zero * precondition(zero)))
    z = np.ascontiguousarray(u * (s / root))
    found = descent(z)
    start = np.sqrt(np.sum(found * precondition(found)))
    # Even a warm start within the tolerance is improved: small components hide below it.
    run = conjugate_gradients(
        schur,
        -found,
        preconditioner=precondition,
        rtol=min(improvement, rtol * size / start) if start > 0 else 1.0,
        max_iterations=max_iterations,
    )
    descent(np.ascontiguousarray(z + run.step))
    left = np.concatenate([z + run.step, a], axis=1)
    right = np.concatenate([b, y], axis=1)
    return Iterate(samples, left, right, residual), run.iterations


def _coarse_inverses(
    inverse: np.ndarray, b: np.ndarray, excess: np.ndarray, eps: float
) -> np.ndarray:
    """Return, for every column d, the inverse of the Schur complement on the span of U e_c e_d^T.

    <U e_c' e_d^T, S U e_c e_d^T> = eps / sqrt(a_c a_c') sum_j (I - eps inverse_j)_c'c B_jd^2
    + eps^2 / (a_c + eps) delta: exact, since A_j^T A_j = inverse_j^{-1} - eps I.
    """
    w = b.shape[1]
    weights = b * b
    sums = (weights.T @ inverse.reshape(-1, w * w)).reshape(w, w, w)
    core = weights.sum(axis=0)[:, None, None] * np.eye(w) - eps * sums
    scale = 1.0 / np.sqrt(excess)
    core *= eps * scale[:, None] * scale[None, :]
    core += np.diag(eps * eps / (excess + eps))
    return np.linalg.inv(core)
