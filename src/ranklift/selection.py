"""Selection: which of the many matrices that fit is the answer, by a convex criterion.

"nuclear": the least nuclear norm. "flat": the least ||D1 X D2||_*, D1 and D2 the curvature weights.
"min_norm": the least ||L||^2 + ||R||^2 at a given width. Exact data: subject to A(X) = b, certified
by multipliers. Noisy data: a penalty, at the lambda that the noise asks for, and no refit, which
would select by rank instead.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .arrays import Array, is_numpy_array, to_numpy
from .certificates import Flatness, MinimumNorm
from .curvature_weights import CurvatureWeights, curvature_weights
from .errors import InputError
from .flattest import solve_flattest
from .minimum_norm import check_constrained, solve_minimum_norm
from .refit import exact_refit
from .result import Recovery
from .solution_set import descend_on_solution_set
from .status import Status

if TYPE_CHECKING:
    from .operators import MeasurementOperator
    from .problem import FactorizedProblem
    from .stages import Stages

SELECTIONS = ("flat", "nuclear", "min_norm")

GAP_TOLERANCE = 1e-6
"""Relative gap at which a selected answer is certified, as in ``stages``."""

TIGHTER = 0.3 * GAP_TOLERANCE
"""Of the search: what follows it is rounding."""


def check_selection(
    selection: str | None, rank: int | None, exact: bool, **given: Any
) -> str | None:
    """Return the selection, or raise InputError for settings that contradict it."""
    if selection is None:
        return None
    if selection not in SELECTIONS:
        raise InputError(f"selection={selection!r}", f"use None or one of {SELECTIONS}")
    if selection == "min_norm" and not exact:
        raise InputError(
            'selection="min_norm" of noisy data',
            'use selection="nuclear", the same norm as a penalty, or noise=None for exact data',
        )
    if rank is not None and selection != "min_norm":
        raise InputError(
            f"rank={rank} with selection={selection!r}, which has the rank of its convex problem",
            'leave rank out, or use selection="min_norm"',
        )
    if given.get("refit") is True:
        raise InputError(
            f"refit=True with selection={selection!r}: a refit selects by rank",
            "leave one of them out",
        )
    for name in ("init", "solver"):
        if given.get(name) not in (None, "auto"):
            raise InputError(
                f"{name}= with selection={selection!r}, whose problem is convex",
                f"leave {name} out",
            )
    return selection


def selected_exactly(
    search: Stages, selection: str, operator: MeasurementOperator, certify: bool
) -> Recovery:
    """Return the selected matrix among those that reproduce the data, and its certificates.

    ``operator`` is the caller's: the multipliers kept go by its order of the measurements.
    """
    problem, rng, trace = search.problem, search.rng, search.trace
    check_constrained(problem)
    flat = selection == "flat"
    with search.stage("selection"):
        if flat:
            weights = curvature_weights(problem.operator, problem.factorization)
            weights.warn_if_unmeasured(stacklevel=3)
            run = solve_flattest(problem, weights, rng, tolerance=TIGHTER, trace=trace)
        else:
            run = solve_minimum_norm(problem, rng, tolerance=TIGHTER, trace=trace)
        w, status = run.w, run.status
        if search.rank is not None and problem.search_rank(w) > search.rank:
            w, status = _narrow(search, w)
    result = search.finish(w, status, None, certify)
    if flat:  # flatness is about factors: not those of least norm
        result.left, result.right = problem.factorization.factors(w, problem.shape)
    if certify and w.shape[1] and not trace.stop_requested:
        check = Flatness if flat else MinimumNorm
        report = check(GAP_TOLERANCE, run.multipliers).check(problem, w, rng)
        result.certificates[report.name] = report
    result.extras["multipliers"] = _in_order_of(operator, run.multipliers)
    return result


def unweighted(result: Recovery, problem: FactorizedProblem, weights: CurvatureWeights) -> Recovery:
    """Return a recovery in the weighted variable as one of X, with flat factors."""
    result.left, result.right = weights.back(result.left, result.right)
    if result.convex is not None:
        left, right = weights.back(result.convex.left, result.convex.right)
        result.convex = replace(result.convex, left=left, right=right, weighted=True)
    return result


def _narrow(search: Stages, wide: Array) -> tuple[Array, Status]:
    """Return a least ||W|| at the given width: from the fit at that rank, along the solution set.

    A local minimum: no convex problem stands for it.
    """
    problem = search.problem
    assert search.rank is not None
    run = exact_refit(problem, wide, search.rank, search.rng, tol=search.tol, trace=search.trace)
    found = descend_on_solution_set(problem, problem.gauge(run.point.w), trace=search.trace)
    return found.w, found.status


def _in_order_of(operator: MeasurementOperator, multipliers: Array) -> np.ndarray:
    """Return multipliers of the canonical order by the caller's positions."""
    host = to_numpy(multipliers)
    if not is_numpy_array(multipliers):
        return host  # other namespaces are never reordered
    positions = np.arange(host.size, dtype=float)
    order = np.asarray(operator.canonical(positions)[1]).astype(int)
    out = np.empty_like(host)
    out[order] = host
    return out
