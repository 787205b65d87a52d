"""Plain gradient descent beside preconditioned and Newton-type methods, over condition numbers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ranklift.factorizations import Asymmetric, Symmetric
from ranklift.initializers import small_random
from ranklift.instances import gaussian_sensing
from ranklift.problem import FactorizedProblem
from ranklift.reproduce import Outcome, Progress
from ranklift.solvers import (
    AlternatingGaussNewton,
    AlternatingLeastSquares,
    GaussNewton,
    GradientDescent,
    PerturbedPreconditionedGradientDescent,
    PreconditionedGradientDescent,
    ScaledGradientDescent,
    Solver,
    Stopping,
    TrustRegion,
)
from ranklift.trace import Trace

ACCURACY = 1e-10
"""Relative residual at which the clock stops."""

LAMBDA = 0.3
"""ScaledGD's lambda over the least singular value of the truth, which no user knows."""

ETA = 0.3
"""The published step of ScaledGD(lambda), whose loss is 1/4 ||.||^2: half of it is ours."""


def run(settings: Mapping[str, Any], progress: Progress) -> Outcome:
    """Run the sweep and both published settings."""
    sweep = condition_numbers(settings, progress)
    published = [precgd(settings["precgd"], rank) for rank in (2, 4)]
    progress("published settings", 1, 2)
    scaled, curves = scaledgd(settings["scaledgd"])
    exact = [row for row in sweep if row["search rank"] == "r*"]

    def count(method: str, kappa: float) -> float:
        return next(
            row["iterations"] for row in exact if row["method"] == method and row["kappa"] == kappa
        )

    kappas = settings["sweep"]["condition_numbers"]
    values: dict[str, float] = {
        "gd_growth": count("GD, fixed step", 100) / count("GD, fixed step", 1),
        "precgd_rank_2": published[0]["PrecGD iterations"],
        "precgd_rank_4": published[1]["PrecGD iterations"],
        "gd_rank_4_left": published[1]["GD residual, 10 times as many"],
        "scaledgd_over_gd": next(
            row["ratio"] for row in scaled if row["kappa"] == 7 and row["residual"] == 1e-3
        ),
    }
    for key, method in (("scaledgd", "ScaledGD(lambda)"), ("precgd", "PrecGD"), ("agn", "AGN")):
        counts = [count(method, kappa) for kappa in kappas]
        values[f"{key}_flatness"] = max(counts) / min(counts)
    last = [row for row in exact if row["kappa"] == kappas[-1]]
    plain = min(row["seconds"] for row in last if row["method"].startswith("GD"))
    values["time_over_precgd"] = plain / next(
        row["seconds"] for row in last if row["method"] == "PrecGD"
    )
    notes = [
        f"Sweep: relative residual {ACCURACY:g}, small random start 1e-3. Runs that did not "
        "reach it show where they were given up. Seconds are this machine's.",
        "ScaledGD(lambda) is told the least singular value; AGN and PrecGD are told nothing.",
        "ScaledGD setting: both methods with the published step eta = 0.3 and the start 1e-10; at "
        "which accuracy the publication compares them could not be read, so four are shown. "
        "GD takes a longer step than that: its tuned count is in the table.",
    ]
    tables = {
        "Iterations and time to 1e-10, by condition number": sweep,
        "PrecGD's setting (X X^T, r* = 2, m = 3 n r)": published,
        "ScaledGD(lambda)'s setting (r* = 3, r = 5, m = 10 n r*)": scaled,
    }
    return Outcome(values, tables, {"convergence": picture(sweep, curves)}, notes)


def methods(kappa: float) -> dict[str, Solver]:
    """Return every method of the sweep."""
    return {
        "GD, fixed step": GradientDescent(0.25),
        "GD, exact step": GradientDescent(),
        "ScaledGD(lambda)": ScaledGradientDescent(damping=LAMBDA / kappa),
        "PrecGD": PreconditionedGradientDescent(),
        "PPrecGD": PerturbedPreconditionedGradientDescent(),
        "AGN": AlternatingGaussNewton(),
        "ALS": AlternatingLeastSquares(),
        "Gauss-Newton": GaussNewton(),
        "trust region": TrustRegion(),
    }


def condition_numbers(settings: Mapping[str, Any], progress: Progress) -> list[dict[str, Any]]:
    """Time every method at every condition number, at the true rank and at twice that."""
    sweep, rows = settings["sweep"], []
    n, r = sweep["n"], sweep["rank"]
    cases = [(kappa, k) for kappa in sweep["condition_numbers"] for k in (r, 2 * r)]
    for done, (kappa, k) in enumerate(cases):
        progress("condition numbers", done, len(cases))
        m = sweep["oversampling"] * 2 * n * r
        instance = gaussian_sensing((n, n), r, m, condition_number=kappa, rng=sweep["seed"])
        for name, solver in methods(kappa).items():
            problem = FactorizedProblem(instance.operator, instance.measurements, Asymmetric())
            w = small_random(problem, k, np.random.default_rng(sweep["seed"]))
            limit = sweep["limit"] if k == r else sweep["limit_above"]
            began = time.perf_counter()
            found = solver.run(
                problem, w,
                stopping=Stopping(gradient_tol=0.0, residual_tol=ACCURACY, max_iterations=limit),
            )  # fmt: skip
            seconds = time.perf_counter() - began
            error = (problem.compose(found.point.w) - instance.truth).norm()
            rows.append({
                "kappa": kappa, "search rank": "r*" if k == r else "2 r*", "method": name,
                "reached": "yes" if found.status.value == "zero_residual" else "no",
                "iterations": found.iterations, "seconds": seconds,
                "applications": problem.counts.apply + problem.counts.hvp,
                "relative error": float(error / instance.truth.norm()),
            })  # fmt: skip
    return rows


def residuals(solver: Solver, problem: FactorizedProblem, w: np.ndarray, limit: int) -> np.ndarray:
    """Return the relative residual at every iteration."""
    trace = Trace()
    solver.run(
        problem, w, trace=trace,
        stopping=Stopping(gradient_tol=0.0, residual_tol=ACCURACY, max_iterations=limit),
    )  # fmt: skip
    return np.array([row.residual_norm for row in trace.rows]) / np.linalg.norm(problem.b)


def first_below(curve: np.ndarray, level: float) -> float:
    """Return the first iteration at or below a level, NaN if none is."""
    below = np.flatnonzero(curve <= level)
    return float(below[0]) if below.size else float("nan")


def precgd(setting: Mapping[str, Any], k: int) -> dict[str, Any]:
    """Return how far PrecGD and plain descent come at one search rank."""
    n = setting["n"]
    instance = gaussian_sensing(n, 2, 3 * n * k, symmetric=True, rng=setting["seed"])
    problem = FactorizedProblem(instance.operator, instance.measurements, Symmetric())
    w = small_random(problem, k, np.random.default_rng(setting["seed"]), relative_scale=1.0)
    fast = residuals(PreconditionedGradientDescent(), problem, w, setting["limit"])
    slow = residuals(GradientDescent(), problem, w, 10 * (fast.size - 1))
    return {
        "n": n, "search rank": k, "m": 3 * n * k, "PrecGD iterations": first_below(fast, ACCURACY),
        "GD iterations": first_below(slow, ACCURACY),
        "GD residual, 10 times as many": float(slow[-1]),
    }  # fmt: skip


def scaledgd(
    setting: Mapping[str, Any],
) -> tuple[list[dict[str, Any]], dict[str, dict[str, np.ndarray]]]:
    """Return counts of ScaledGD(lambda) and plain descent over condition numbers."""
    n, rows, curves = setting["n"], [], {}
    for kappa in (3, 5, 7):
        instance = gaussian_sensing(
            n, 3, 30 * n, symmetric=True, condition_number=kappa, rng=setting["seed"]
        )
        problem = FactorizedProblem(instance.operator, instance.measurements, Symmetric())
        w = small_random(problem, 5, np.random.default_rng(setting["seed"]), relative_scale=1e-10)
        curve = {
            "GD": residuals(GradientDescent(ETA / 2), problem, w, setting["limit"]),
            "GD, longest stable step": residuals(
                GradientDescent(0.25), problem, w, setting["limit"]
            ),
            "ScaledGD(lambda)": residuals(
                ScaledGradientDescent(damping=LAMBDA / kappa, step_size=ETA / 2), problem, w, 200
            ),
        }
        curves[f"kappa {kappa}"] = curve
        for level in (1e-2, 1e-3, 1e-4, 1e-6):
            counts = {name: first_below(values, level) for name, values in curve.items()}
            ratio = counts["GD"] / counts["ScaledGD(lambda)"]
            rows.append({"n": n, "kappa": kappa, "residual": level, **counts, "ratio": ratio})
    return rows, curves


def picture(sweep: list[dict[str, Any]], curves: dict[str, dict[str, np.ndarray]]) -> Figure:
    """Plot iterations against the condition number, and the residuals at kappa = 7."""
    figure = Figure(figsize=(9.0, 3.6))
    axes, right = figure.subplots(1, 2)
    for name in methods(1.0):
        chosen = [
            row for row in sweep
            if row["method"] == name and row["search rank"] == "r*" and row["reached"] == "yes"
        ]  # fmt: skip
        axes.loglog(
            [row["kappa"] for row in chosen], [row["iterations"] for row in chosen], "o-", ms=3,
            lw=1, label=name,
        )  # fmt: skip
    axes.set(xlabel="condition number", ylabel="iterations to 1e-10", title="search rank r*")
    axes.legend(frameon=False, fontsize=6)
    for name, curve in curves["kappa 7"].items():
        right.semilogy(curve, lw=1, label=name)
    right.set(xlabel="iteration", ylabel="relative residual", title="kappa 7, r* = 3, r = 5")
    right.legend(frameon=False, fontsize=7)
    for each in (axes, right):
        each.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure
