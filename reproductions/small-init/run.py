"""Gradient descent from small random starts: scale, search rank, step, balance, phases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ranklift.instances import Instance, gaussian_sensing
from ranklift.metrics import relative_error
from ranklift.problem import FactorizedProblem
from ranklift.reproduce import Outcome, Progress
from ranklift.solvers import GradientDescent, Stopping
from ranklift.trace import Trace
from ranklift.trajectory import Trajectory, imbalance, imbalance_step, phases
from ranklift.viz.trajectory import plot_trajectory

HORIZON = 600
"""Steps at mu = 1/4, as in the reference run."""

FITTED = 0.05
"""Relative error whose first iteration the reference run reports."""


def run(settings: Mapping[str, Any], progress: Progress) -> Outcome:
    """Sweep alpha, k and mu, check the law, and record one run."""
    instance = gaussian_sensing((40, 30), 2, 560, condition_number=2.0, rng=0)
    seeds, values = range(settings["seeds"]), {}
    by_scale, by_rank, by_step = [], [], []
    for done, alpha in enumerate(settings["alphas"]):
        progress("scales of the start", done, len(settings["alphas"]))
        rows = [descend(instance, alpha, 70, seed) for seed in seeds]
        by_scale.append({"alpha": alpha} | means(rows))
        if alpha < 1e-2:
            values[f"first_{alpha:.0e}"] = by_scale[-1][f"first t, error <= {FITTED}"]
            values[f"error_{alpha:.0e}"] = by_scale[-1]["test error"]
    large = by_scale[0]
    values |= {
        "large_start_error": large["test error"],
        "large_start_imbalance": large["imbalance"],
    }
    for done, k in enumerate(settings["search_ranks"]):
        progress("search ranks", done, len(settings["search_ranks"]))
        by_rank.append({"k": k} | means([descend(instance, 1e-4, k, seed) for seed in seeds]))
        values[f"error_rank_{k}"] = by_rank[-1]["test error"]
    for done, halvings in enumerate(range(settings["halvings"] + 1)):
        progress("steps", done, settings["halvings"] + 1)
        row = descend(instance, 1e-4, 70, 0, mu=0.25 / 2**halvings)
        by_step.append({"mu": 0.25 / 2**halvings} | row)
    logs = np.log([[row["mu"], row["imbalance"]] for row in by_step[1:]])
    values["imbalance_exponent"] = slope(logs)
    small = [row for row in by_scale if row["alpha"] < 1e-2]
    logs = np.log([[row["alpha"], row["test error"]] for row in small])
    values["scale_exponent"] = slope(logs)
    values["law"] = max(law_error(instance, k, seed) for k in (2, 70) for seed in seeds)
    trajectory, ends = recorded(instance)
    values |= ends
    notes = [
        "Instance: gaussian_sensing((40, 30), 2, 560, condition_number=2, rng=0); starts: alpha "
        f"times standard normal entries, seeds 0 to {settings['seeds'] - 1}; mu = 1/4, "
        f"t = {HORIZON}. With another instance of the same kind test errors differ by factors: "
        "2e-5 to 3e-4 at alpha = 1e-7 over eight of them.",
        "The law is checked at every one of 200 steps, relative to ||W||_F^2.",
        "Step sweep: t mu is the same in every row.",
    ]
    tables = {
        "Scale of the start, k = 70": by_scale, "Search rank, alpha = 1e-4": by_rank,
        "Step, alpha = 1e-4, k = 70": by_step,
    }  # fmt: skip
    figures = {"sweeps": picture(by_scale, by_rank, by_step), "phases": trajectory}
    return Outcome(values, tables, figures, notes)


def pose(instance: Instance) -> FactorizedProblem:
    """Return f = 1/2 ||A(V W^T) - b||^2."""
    return FactorizedProblem(instance.operator, instance.measurements)


def start(alpha: float, k: int, seed: int) -> np.ndarray:
    """Return alpha times a standard normal [V; W]."""
    return alpha * np.random.default_rng(seed).standard_normal((70, k))


def descend(
    instance: Instance, alpha: float, k: int, seed: int, mu: float = 0.25
) -> dict[str, float]:
    """Run to the horizon and return what the tables show."""
    problem, errors = pose(instance), []

    def watch(posed: FactorizedProblem, state: Any, iteration: int, stage: str) -> None:
        errors.append(relative_error(posed.compose(state.point.w), instance.truth))

    found = GradientDescent(mu * problem.scale).run(
        problem, start(alpha, k, seed), trace=Trace(observers=[watch]),
        stopping=Stopping(
            gradient_tol=0.0, residual_tol=0.0, max_iterations=round(HORIZON * 0.25 / mu)
        ),
    )  # fmt: skip
    fitted = np.flatnonzero(np.array(errors) <= FITTED)
    return {
        f"first t, error <= {FITTED}": float(fitted[0]) if fitted.size else float("nan"),
        "train error": found.point.residual_norm / float(np.linalg.norm(problem.b)),
        "test error": errors[-1],
        "imbalance": imbalance(*problem.parts(found.point.w)),
        "steps": float(found.iterations),
    }


def means(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean of every column."""
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def slope(logs: np.ndarray) -> float:
    """Return the slope of a line through points (x, y)."""
    return float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0])


def law_error(instance: Instance, k: int, seed: int) -> float:
    """Return the largest deviation from the imbalance law along 200 steps."""
    problem, worst, before = pose(instance), 0.0, None

    def watch(posed: FactorizedProblem, state: Any, iteration: int, stage: str) -> None:
        nonlocal worst, before
        w = state.point.w
        left, right = posed.parts(w)
        change = left.T @ left - right.T @ right
        if before is not None:
            off = float(np.abs(change - before).max())
            worst = max(worst, off / float(np.linalg.norm(w)) ** 2)
        before = change + imbalance_step(posed, state.point, 0.25)

    GradientDescent(0.25 * problem.scale).run(
        problem, start(1e-2, k, seed), trace=Trace(observers=[watch]),
        stopping=Stopping(gradient_tol=0.0, residual_tol=0.0, max_iterations=200),
    )  # fmt: skip
    return worst


def recorded(instance: Instance) -> tuple[Figure, dict[str, float]]:
    """Return the picture of one run and the ends of its phases."""
    problem = pose(instance)
    trajectory = Trajectory(instance.truth, curvature_every=20)
    GradientDescent(0.25 * problem.scale).run(
        problem, start(1e-4, 70, 0), trace=Trace(observers=[trajectory]),
        stopping=Stopping(gradient_tol=0.0, max_iterations=300),
    )  # fmt: skip
    found, table = phases(trajectory), trajectory.table()
    if found.alignment_end is None or found.saddle_end is None:
        raise RuntimeError("the run from a small start shows no phases")
    growth = slice(0, found.saddle_end + 1)
    return plot_trajectory(trajectory), {
        "alignment_end": float(found.alignment_end),
        "saddle_after_alignment": float(found.saddle_end - found.alignment_end),
        "coupling_while_growing": float(table["coupling"][growth][found.alignment_end :].max()),
        "residual_over_signal": float(table["residual"][-1] / table["signal"][-1]) ** 2,
    }


def picture(
    by_scale: list[dict[str, Any]], by_rank: list[dict[str, Any]], by_step: list[dict[str, Any]]
) -> Figure:
    """Plot the three sweeps."""
    figure = Figure(figsize=(9.5, 3.0))
    panels = figure.subplots(1, 3)
    for axes, rows, key, what in (
        (panels[0], by_scale, "alpha", "test error"),
        (panels[1], by_rank, "k", "test error"),
        (panels[2], by_step, "mu", "imbalance"),
    ):
        axes.loglog([row[key] for row in rows], [row[what] for row in rows], "o-", ms=3, lw=1)
        axes.set(xlabel=key, ylabel=what)
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure
