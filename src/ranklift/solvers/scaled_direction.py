"""Gradients scaled by the factors' Gram matrices: what the condition number of X does no harm.

The Gauss-Newton Hessian of X = L R^T has the blocks (R^T R) of L and (L^T L) of R times what A*A
multiplies matrices by. Its inverse turns the gradient into one in the metric of X, in which all
singular values converge at one rate (Tong, Ma, Chi 2021); a shift keeps it bounded where a factor
loses rank, as every factor of more columns than the truth does.
"""

from __future__ import annotations

import numpy as np

from ..arrays import Array, like, norm, to_numpy
from ..errors import InputError
from ..factorizations import Asymmetric, Hermitian, Symmetric
from ..initializers import spectral
from ..preconditioners import mean_gain
from ..problem import FactorizedProblem

_SCALABLE = (Asymmetric, Symmetric, Hermitian)
"""Factorizations whose ``join`` is linear and undone by ``parts``."""


def matrix_gain(problem: FactorizedProblem) -> float:
    """Return ||A(X)||^2 / ||X||^2 at the spectral matrix of rank one: the unit of fixed steps.

    Raises
    ------
    InputError
        With a factorization of other blocks.
    """
    if not isinstance(problem.factorization, _SCALABLE):
        raise InputError(
            f"gradients scaled by the factors of {type(problem.factorization).__name__}",
            "use GaussNewton or TrustRegion, which know every factorization",
        )
    gain = mean_gain(problem, spectral(problem, 1, np.random.default_rng(0)))
    return gain if gain > 0 else 1.0


def grams(problem: FactorizedProblem, w: Array) -> tuple[np.ndarray, np.ndarray]:
    """Return R^T conj(R) and L^T conj(L), k x k, on the host."""
    left, right = (to_numpy(part) for part in problem.parts(w))
    return right.T @ right.conj(), left.T @ left.conj()


def scaled(
    problem: FactorizedProblem, gradient: Array, blocks: tuple[np.ndarray, np.ndarray],
    shift: float, power: float = -1.0,
) -> Array:  # fmt: skip
    """Return (g_L (R^T R + shift)^power, g_R (L^T L + shift)^power), stacked like W.

    Eigenvalues at rounding level of the largest count as zero, and their inverses too.
    """
    parts = problem.parts(gradient)
    out = []
    for part, block in zip(parts, blocks, strict=True):
        values, vectors = np.linalg.eigh(block)
        values = np.maximum(values, 0.0) + shift
        floor = np.finfo(values.dtype).eps * values.size * values.max(initial=0.0)
        powers = np.where(values > floor, np.maximum(values, floor), np.inf) ** power
        out.append(part @ like((vectors * powers) @ vectors.conj().T, part))
    return problem.factorization.join(*out)


def gradient_in_metric(
    problem: FactorizedProblem, gradient: Array, blocks: tuple[np.ndarray, np.ndarray], shift: float
) -> float:
    """Return ||grad f (X^T X + shift)^(-1/2)||_F: the gradient by X, as far as the factors see."""
    return norm(scaled(problem, gradient, blocks, shift, -0.5))


def ridge_shift(problem: FactorizedProblem, gain: float) -> float:
    """Return what regularisers add to the Gram matrices, in their unit."""
    return problem.ridge / (problem.factorization.ridge_weight * gain)
