"""How many random starts end at a wrong point, against the search rank."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ranklift.factorizations import Symmetric
from ranklift.instances import Instance, perturbed_matrix_completion, rank_one_truth
from ranklift.problem import FactorizedProblem
from ranklift.reproduce import Outcome, Progress
from ranklift.second_order import least_curvature
from ranklift.solvers import Stopping, TrustRegion

WRONG = 1e-3
"""Relative error of X from which a run counts as trapped: far above what the stop leaves."""


def run(settings: Mapping[str, Any], progress: Progress) -> Outcome:
    """Count trapped runs on both families."""
    searched, trials = settings["search_ranks"], settings["trials"]
    table: list[dict[str, Any]] = []
    unfinished = 0.0
    below, above, lifted = [0.0], [], []
    families = [(r, e) for r in settings["instance_ranks"] for e in settings["excess"]]
    total = len(families) + len(settings["completion_sizes"])
    for done, (r, excess) in enumerate(families):
        progress("instances", done, total)
        delta = threshold(r) + excess
        if delta >= 1:
            continue
        instance = rank_one_truth(r + 3, r, delta)
        row: dict[str, Any] = {"instance": f"rank-one truth, point of rank {r}", "delta": delta}
        for k in searched:
            share, undone = trapped(instance, k, trials, settings["seed"])
            row[f"k = {k}"], unfinished = share, max(unfinished, undone)
            if delta < threshold(k):
                below.append(share)
        table.append(row)
        point = instance.spurious_points[0]
        above.append(curvature(instance, point))
        lifted.append(curvature(instance, np.pad(point, ((0, 0), (0, 1)))))
    for done, n in enumerate(settings["completion_sizes"]):
        progress("instances", len(families) + done, total)
        epsilon = 0.3 if n == 3 else 0.1
        instance = perturbed_matrix_completion(n, epsilon)
        delta = (1 - epsilon**2) / (1 + epsilon**2)
        row = {"instance": f"perturbed completion, n = {n}", "delta": delta}
        for k in searched:
            row[f"k = {k}"], undone = trapped(instance, k, trials, settings["seed"])
            unfinished = max(unfinished, undone)
        table.append(row)
    completion = [row for row in table if "completion" in row["instance"]]
    values = {
        "trapped_below_threshold": max(below),
        "least_curvature_above": min(above),
        "curvature_one_rank_up": max(lifted),
        "trapped_rank_one_completion": completion[-1]["k = 1"],
        "trapped_rank_two_completion": max(row["k = 2"] for row in completion),
    }
    notes = [
        "Search: trust-region Newton to a near-second-order point, from Gaussian starts of the "
        f"solution's size; at most {100 * unfinished:.0f}% of the runs of a cell ended before one, "
        "and count as not trapped.",
        "On these completion instances the restricted isometry constant is above every threshold: "
        "that rank 2 suffices there is measured, not implied.",
    ]
    return Outcome(
        values, {"Share of starts trapped, by search rank k": table},
        {"trapped": picture(table, searched)}, notes,
    )  # fmt: skip


def threshold(r: int) -> float:
    """Return 1 / (1 + 1/sqrt(r)), sharp for a rank-one truth at search rank r."""
    return 1.0 / (1.0 + 1.0 / np.sqrt(r))


def trapped(instance: Instance, k: int, trials: int, seed: int) -> tuple[float, float]:
    """Return the shares of random starts that stop at a wrong point, and that do not stop."""
    problem = FactorizedProblem(instance.operator, instance.measurements, Symmetric())
    n, wrong, undone = instance.operator.shape[0], 0, 0
    for trial in range(trials):
        rng = np.random.default_rng([seed, trial, k])
        w = np.sqrt(problem.scale / n) * rng.standard_normal((n, k))
        found = TrustRegion().run(
            problem, w, stopping=Stopping(gradient_tol=1e-10, max_iterations=1000)
        )
        error = (problem.compose(found.point.w) - instance.truth).norm()
        away = bool(error > WRONG * instance.truth.norm())
        wrong += away and found.status.implies_stationarity
        undone += away and not found.status.implies_stationarity
    return wrong / trials, undone / trials


def curvature(instance: Instance, w: np.ndarray) -> float:
    """Return the least Hessian eigenvalue at a point, relative to ||A*(b)||_2."""
    problem = FactorizedProblem(instance.operator, instance.measurements, Symmetric())
    return least_curvature(problem, w, np.random.default_rng(0)).ritz_least / problem.scale


def picture(table: list[dict[str, Any]], searched: list[int]) -> Figure:
    """Plot the trapped share against the search rank."""
    figure = Figure(figsize=(6.4, 3.4))
    axes = figure.subplots()
    for row in table:
        shares = [row[f"k = {k}"] for k in searched]
        dashed = "--" if "completion" in row["instance"] else "-"
        label = f"{row['instance']}, delta {row['delta']:.2f}"
        axes.plot(searched, shares, f"o{dashed}", ms=3, lw=1, label=label)
    axes.set(xlabel="search rank", ylabel="share of starts trapped", xticks=searched)
    axes.legend(frameon=False, fontsize=6)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
