"""polish: from a point near the solution set to the nearest fit; takes off noise and no more."""

from __future__ import annotations

import warnings

from ..arrays import Array, norm
from ..errors import ConvergenceWarning, InputError
from ..linalg import conjugate_gradients
from ..problem import FactorizedProblem
from ..validation import check_positive, check_whole


def polish(
    problem: FactorizedProblem, w: Array, *, tolerance: float = 1e-10, max_steps: int = 30
) -> Array:
    """Return a fit near w: Gauss-Newton steps of least norm, which leave balance as it is.

    W - J^+ (A(X) - b), J the derivative of A(X) by W: to first order the nearest point of S, so
    that what an optimiser chose along S is kept and the noise across it is taken off.

    Parameters
    ----------
    problem : FactorizedProblem
        Of the squared loss, without regularisers, b not zero.
    w : array
    tolerance : float, default 1e-10
        ||A(X) - b|| / ||b|| of a fit.
    max_steps : int, default 30
        Four to six are usual.

    Raises
    ------
    InputError
        Another loss, regularisers, b = 0.

    Warns
    -----
    ConvergenceWarning
        The tolerance was not met: w is far from S, or at a point where J loses rank.

    Notes
    -----
    Cost: conjugate gradients on J^T J a step, with one Hessian product each; from 0 they stay in
    the range of J^T, where the solution of least norm lies. ``GaussNewton`` balances the factors
    instead, which flattens by itself. A step that raises the residual is halved.

    Examples
    --------
    >>> import numpy as np
    >>> from ranklift.operators import IdentitySensing
    >>> problem = FactorizedProblem(IdentitySensing((1, 1)), np.array([1.0]))
    >>> w = polish(problem, np.array([[2.0], [0.51]]))
    >>> round(float(w[0, 0] * w[1, 0]), 9), (w**2).round(2).ravel().tolist()
    (1.0, [3.99, 0.25])
    """
    check_exact_problem(problem)
    check_positive("tolerance", tolerance)
    check_whole("max_steps", max_steps)
    size, point = norm(problem.b), problem.evaluate(w)
    for _ in range(max_steps):
        residual = point.residual_norm
        if residual <= tolerance * size:
            return point.w
        step = conjugate_gradients(
            lambda d, at=point: problem.gauss_newton_product(at, d),
            point.gradient,
            rtol=min(1e-2, residual / size),
            max_iterations=10 * problem.operator.num_measurements,
        ).step
        for halvings in range(20):
            following = problem.evaluate(point.w + 0.5**halvings * step)
            if following.residual_norm < residual:
                break
        else:
            break
        point = following
    if not point.residual_norm <= tolerance * size:
        warnings.warn(
            f"polishing ended at a relative residual of {point.residual_norm / size:.1e}, asked "
            f"for {tolerance:.1e}",
            ConvergenceWarning,
            stacklevel=2,
        )
    return point.w


def check_exact_problem(problem: FactorizedProblem) -> None:
    """Raise InputError unless the loss is squared and nothing but b chooses among the fits."""
    if not problem.squared or problem.regularizers:
        what = type(problem.loss).__name__ if not problem.squared else "regularisers"
        raise InputError(
            f"flat fits of a problem with {what}",
            "pose it with the squared loss and without regularisers: those choose among the fits",
        )
    if norm(problem.b) == 0:
        raise InputError("b = 0: its flattest fit is X = 0", "pass data that are not all zero")
