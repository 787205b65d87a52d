"""The flattest matrix that fits exact data: least ||D1 X D2||_*, and the multipliers that prove it.

Of X = U U^H the flat problem is min tr(D X D). Where D^2 is a combination of the measurements, as
of quadratic ones, D^2 ~ sum ||x_j||^2 x_j x_j^T, the data fix tr(D X D) = <y, b>: every fit is as
flat as every other (own derivation), and the one of least trace is taken.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .certificates.flatness import fixed_trace_multipliers
from .certificates.minimum_norm import gauge_norm, lower_bound
from .curvature_weights import CurvatureWeights
from .minimum_norm import FEASIBLE, MinimumNormRun, solve_minimum_norm
from .problem import FactorizedProblem
from .status import Status
from .trace import Trace


def solve_flattest(
    problem: FactorizedProblem,
    weights: CurvatureWeights,
    rng: np.random.Generator,
    *,
    tolerance: float = 1e-6,
    trace: Trace | None = None,
) -> MinimumNormRun:
    """Find the X of least ||D1 X D2||_* (tr(D X D) of semidefinite X) with A(X) = b.

    Parameters
    ----------
    problem : FactorizedProblem
        In X, of the squared loss.
    weights : CurvatureWeights
        Of its operator and factorization.
    rng : Generator
    tolerance : float, default 1e-6
        Relative gap between the weighted norm and its lower bound.
    trace : Trace, optional

    Returns
    -------
    MinimumNormRun
        ``w`` holds X with flat factors; norm, lower bound and multipliers are those of D1 X D2.

    Notes
    -----
    Source: theorem 3.2 of Ding, Drusvyatskiy, Fazel, Harchaoui (arXiv 2203.03756). Cost: that of
    ``solve_minimum_norm``.

    Examples
    --------
    >>> from ranklift.curvature_weights import curvature_weights
    >>> from ranklift.operators import IdentitySensing
    >>> problem = FactorizedProblem(IdentitySensing((2, 2)), np.array([2.0, 0.0, 0.0, 1.0]))
    >>> weights = curvature_weights(problem.operator)  # D1 = D2 = I / 2^(1/2 + 1/2)
    >>> round(solve_flattest(problem, weights, np.random.default_rng(0)).norm, 9)
    0.75
    """
    posed = weights.pose(problem)
    level = fixed_trace_multipliers(posed, weights)
    if level is None:
        run = solve_minimum_norm(posed, rng, tolerance=tolerance, trace=trace)
        return replace(run, w=weights.unpose(problem, run.w))
    run = solve_minimum_norm(problem, rng, tolerance=tolerance, trace=trace)
    point = posed.gauge(weights.point(problem, run.w))
    size, bound = gauge_norm(posed, point), lower_bound(posed, point, level, rng)
    run = replace(run, norm=size, lower_bound=bound, multipliers=level)
    # The least trace is only a choice among equals: its own gap may stay open.
    if run.status is Status.STALLED and run.relative_residual <= FEASIBLE and run.gap <= tolerance:
        return replace(run, status=Status.CONVERGED)
    return run
