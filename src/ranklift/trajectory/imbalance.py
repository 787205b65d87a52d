"""Imbalance of two factors, and the exact law of its change along gradient descent."""

from __future__ import annotations

import numpy as np

from ..arrays import to_numpy
from ..errors import InputError
from ..factorizations import Asymmetric
from ..problem import FactorizedProblem, Point


def imbalance(left: np.ndarray, right: np.ndarray) -> float:
    """Return ||L^H L - R^H R||_2.

    Examples
    --------
    >>> imbalance(np.array([[2.0], [0.0]]), np.array([[1.0]]))
    3.0
    """
    return float(np.linalg.norm(left.conj().T @ left - right.conj().T @ right, 2))


def imbalance_step(problem: FactorizedProblem, point: Point, step: float) -> np.ndarray:
    """Return D_{t+1} - D_t of a gradient step of length mu: mu^2 (R^T G^T G R - L^T G G^T L).

    D = L^T L - R^T R and G = A*(A(X) - b): the terms of first order in mu cancel, so that small
    steps keep the balance of the start.

    Parameters
    ----------
    problem : FactorizedProblem
        Asymmetric and without regularisers, of any loss (G is then A* of its slope).
    point : Point
        The iterate before the step.
    step : float
        mu itself: of ``GradientDescent(step_size=c)`` it is c / problem.scale.

    Raises
    ------
    InputError
        For another factorization, or with regularisers: the law is not theirs.

    Returns
    -------
    array, shape (k, k)

    Notes
    -----
    Exact in exact arithmetic. No application of A: G R and G^T L are the gradient of the point.
    Own derivation, checked in the tests.

    Examples
    --------
    >>> from ranklift.operators import IdentitySensing
    >>> problem = FactorizedProblem(IdentitySensing((1, 1)), np.array([6.0]))
    >>> imbalance_step(problem, problem.evaluate(np.array([[2.0], [4.0]])), 0.5)  # G = 2
    array([[12.]])
    """
    if not isinstance(problem.factorization, Asymmetric) or problem.regularizers:
        raise InputError(
            "the imbalance law of a problem that is regularised or not X = L R^T",
            "pass an Asymmetric problem without regularisers",
        )
    g_left, g_right = (to_numpy(part) for part in problem.parts(point.gradient))
    return step**2 * (g_left.T @ g_left - g_right.T @ g_right)
