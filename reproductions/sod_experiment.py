"""What the reproductions sod-exp1, -exp2 and -exp3 share: closed-form escape, then descent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ranklift.escapes import EscapeSearch, SimulatedLift, TruncatedDescent, escape_feasibility
from ranklift.factorizations import Symmetric
from ranklift.instances import (
    Instance,
    perturbed_matrix_completion,
    rip_half,
    sod_three_by_three,
)
from ranklift.problem import FactorizedProblem
from ranklift.reproduce import Outcome, Progress
from ranklift.solvers import GradientDescent, SolverRun, Stopping, TrustRegion
from ranklift.trace import Trace

EXPERIMENTS: dict[str, tuple[Instance, TruncatedDescent, float, float, int]] = {
    # (l, rho, eta, t); delta; step of descent and its number after the escape, as published
    "exp1": (rip_half(2), TruncatedDescent(3, 0.1, 0.01, 660), 0.5, 0.01, 200),
    "exp2": (
        perturbed_matrix_completion(3, 0.3), TruncatedDescent(11, 0.3, 0.01, 59_000), 0.8659,
        0.001, 1500,
    ),
    "exp3": (sod_three_by_three(), TruncatedDescent(5, 0.1, 0.1, 150_000), 0.8753, 0.1, 100),
}  # fmt: skip


def run(name: str, settings: Mapping[str, Any], progress: Progress) -> Outcome:
    """Run one experiment from its exact spurious point."""
    progress(name, 0, 1)
    row, curve = experiment(*EXPERIMENTS[name], factor=settings["more_steps"])
    values = {
        "score": row["EFS"],
        "gamma": float(row["kind"] == "gamma"),
        "before": row["h before"],
        "candidate": row["h at the candidate"],
        "after": row["h after descent"],
        "distance": row["distance after descent"],
        "own": row["SimulatedLift: h after"],
    }
    notes = [
        "From the exact spurious point; the notebooks come there by descent. Plain gradient "
        f"descent with the published step after the escape, {settings['more_steps']} times the "
        "published number of steps. The last column is the parameter-free escape and Newton's "
        "descent.",
    ]
    return Outcome(values, {"Experiment": [row]}, {"path": picture(name, curve)}, notes)


def experiment(
    instance: Instance, escape: TruncatedDescent, delta: float, step: float, steps: int, *,
    factor: int,
) -> tuple[dict[str, Any], np.ndarray]:  # fmt: skip
    """Return the numbers of one experiment, and the loss along the descent after the escape."""
    problem = FactorizedProblem(instance.operator, instance.measurements, Symmetric())
    point, rng = instance.spurious_points[0], np.random.default_rng(0)
    scores = escape_feasibility(problem, point, rng)
    if scores is None:
        raise RuntimeError("the spurious point shows no direction of escape")
    moved = escape.candidate(problem, point, rng)
    trace = Trace()
    found = GradientDescent(step * problem.scale).run(
        problem, moved.w, trace=trace,
        stopping=Stopping(gradient_tol=0.0, residual_tol=1e-12, max_iterations=factor * steps),
    )  # fmt: skip
    start = SolverRun(problem.evaluate(point), found.status, 0)
    own = EscapeSearch((SimulatedLift(),)).run(
        problem, start, rng, descend=lambda w: newton(problem, w),
        solved=lambda r: r.point.residual_norm < 1e-9,
    )  # fmt: skip
    return {
        "EFS": scores.published_score(delta), "exact score": scores.score, "kind": moved.kind,
        "h before": moved.before, "h at the candidate": moved.value,
        "h after descent": found.point.value,
        "distance after descent": float((problem.compose(found.point.w) - instance.truth).norm()),
        "SimulatedLift: h after": own.run.point.value,
    }, np.array([row.objective for row in trace.rows])  # fmt: skip


def newton(problem: FactorizedProblem, w: np.ndarray) -> SolverRun:
    """Descend by trust-region Newton."""
    return TrustRegion().run(problem, w, stopping=Stopping(gradient_tol=1e-11))


def picture(name: str, curve: np.ndarray) -> Figure:
    """Plot the loss after the escape."""
    figure = Figure(figsize=(5.0, 2.8))
    axes = figure.subplots()
    axes.semilogy(np.maximum(curve, 1e-25), lw=1.2)
    axes.set(xlabel="steps after the escape", ylabel="loss", title=name)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
