"""The unbalanced saddle: gradient zero, curvature as small as one likes, error one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ranklift.factorizations import Asymmetric
from ranklift.instances import unbalanced_saddle
from ranklift.problem import FactorizedProblem
from ranklift.regularizers import Balancing
from ranklift.reproduce import Outcome, Progress
from ranklift.second_order import least_curvature
from ranklift.solvers import Solver, SolverRun, Stopping, TrustRegion
from ranklift.solvers.trust_region import TrustState


class PlainTrustRegion(TrustRegion):
    """TrustRegion as a textbook has it: the start is not balanced."""

    def init(self, problem: FactorizedProblem, w: np.ndarray) -> TrustState:
        """Evaluate the start as it is."""
        return TrustState(problem.evaluate(w))


def run(settings: Mapping[str, Any], progress: Progress) -> Outcome:
    """Measure gradient, curvature and error at every scale, and search from there."""
    rows, balanced_errors = [], []
    shape, rank = tuple(settings["shape"]), settings["rank"]
    for done, scale in enumerate(settings["scales"]):
        progress("scales", done, len(settings["scales"]))
        instance = unbalanced_saddle(shape, rank, scale=scale, rng=settings["seed"])
        plain = FactorizedProblem(instance.operator, instance.measurements, Asymmetric())
        balanced = plain.with_regularizers(Balancing(shape, Asymmetric()))
        w = plain.factorization.join(*instance.spurious_points[0])
        point, held = plain.evaluate(w), balanced.evaluate(w)
        s1 = float(instance.truth.svd()[1][0])
        exact = -2 * s1**2 / (scale**2 + np.sqrt(scale**4 + 4 * s1**2))  # without cancellation
        measured = least_curvature(plain, w, np.random.default_rng(0)).ritz_least
        found = search(TrustRegion(), balanced, w)
        error = relative_error(balanced, found, instance)
        balanced_errors.append(error)
        rows.append(
            {
                "t": scale,
                "eps_g": plain.relative_gradient(point),
                "least curvature": measured,
                "by the formula": float(exact),
                "relative error": float(
                    (plain.compose(w) - instance.truth).norm() / instance.truth.norm()
                ),
                "gradient with balancing": held.gradient_norm,
                "its formula": 0.5 * np.sqrt(rank) * scale**3,
                "error after a balanced search": error,
            }
        )
    last = rows[-1]
    stopping = Stopping(curvature_tol=1e-3)
    stuck = PlainTrustRegion().run(plain, w, stopping=stopping)
    values = {
        "largest_gradient": max(row["eps_g"] for row in rows),
        "curvature_formula_error": max(
            abs(row["least curvature"] / row["by the formula"] - 1) for row in rows
        ),
        "curvature_at_largest_scale": -last["least curvature"] / plain.scale,
        "error_at_largest_scale": last["relative error"],
        "balanced_gradient_error": max(
            abs(row["gradient with balancing"] / row["its formula"] - 1) for row in rows
        ),
        "balanced_search_error": max(balanced_errors),
        "unbalanced_search_error": relative_error(plain, stuck, instance),
    }
    return Outcome(values, {"Points": rows}, {"curvature": picture(rows)})


def search(solver: Solver, problem: FactorizedProblem, w: np.ndarray) -> SolverRun:
    """Run a solver to a near-second-order point."""
    return solver.run(problem, w, stopping=Stopping(max_iterations=500))


def relative_error(problem: FactorizedProblem, found: SolverRun, instance: Any) -> float:
    """Return ||X - M||_F / ||M||_F."""
    return float((problem.compose(found.point.w) - instance.truth).norm() / instance.truth.norm())


def picture(rows: list[dict[str, float]]) -> Figure:
    """Plot the negative curvature against t, measured and by the formula."""
    figure = Figure(figsize=(5, 3.2))
    axes = figure.subplots()
    scales = [row["t"] for row in rows]
    axes.loglog(scales, [-row["least curvature"] for row in rows], "o", label="measured")
    axes.loglog(scales, [-row["by the formula"] for row in rows], "-", label="formula")
    axes.set(xlabel="t", ylabel="negative curvature; the error of X stays 1")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
