"""Success of gradient descent against m / (n r): two methods from two starts."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import binomtest, fisher_exact

from ranklift.factorizations import Symmetric
from ranklift.initializers import spectral
from ranklift.instances import gaussian_sensing
from ranklift.problem import FactorizedProblem
from ranklift.reproduce import Outcome, Progress
from ranklift.solvers import GradientDescent, PerturbedGradientDescent, Solver, Stopping

RECOVERED = 1e-3
"""Relative error of X up to which a run counts as a success: far above what stops leave."""

METHODS: dict[str, Solver] = {
    "GD": GradientDescent(0.25),
    "noisy GD": PerturbedGradientDescent(0.25),
}
STARTS = ("random", "SVD")


def run(settings: Mapping[str, Any], progress: Progress) -> Outcome:
    """Count successes in every cell."""
    ratios, trials = settings["ratios"], settings["trials"]
    counts: dict[tuple[str, str], list[int]] = {
        (method, start): [0] * len(ratios) for method in METHODS for start in STARTS
    }
    unfinished = 0
    for i, ratio in enumerate(ratios):
        for trial in range(trials):
            progress("trials", i * trials + trial, len(ratios) * trials)
            wins, undone = one(settings, ratio, trial)
            unfinished += undone
            for key, won in wins.items():
                counts[key][i] += won
    table = []
    for (method, start), won in counts.items():
        row: dict[str, Any] = {"method": method, "start": start}
        row |= {
            f"m/(nr) = {ratio:g}": f"{w}/{trials}" for ratio, w in zip(ratios, won, strict=True)
        }
        row["half succeed at"] = transition(ratios, [w / trials for w in won])
        table.append(row)
    points = [row["half succeed at"] for row in table]
    shares = np.array(list(counts.values())) / trials
    values = {
        "earliest_transition": min(points),
        "latest_transition": max(points),
        "spread": max(points) - min(points),
        "success_at_most_measurements": float(shares[:, -1].min()),
        "success_at_fewest_measurements": float(shares[:, 0].max()),
        "least_p_value": least_p_value(np.array(list(counts.values())), trials),
    }
    cells = len(ratios) * trials * len(counts)
    notes = [
        f"n = {settings['n']}, r = {settings['rank']}, exact data, matrices of unit spectrum; "
        "random: Gaussian of the solution's size; SVD: top eigenvectors of A*(b).",
        f"Success: relative error at most {RECOVERED:g} after at most {settings['limit']} steps of "
        f"1/4; {unfinished} of {cells} runs ended neither there nor at a stationary point.",
        "Noisy GD perturbs where the gradient vanishes and the least curvature is negative; what "
        "noise the publication adds could not be read.",
        "p-value: Fisher's exact test, the least over the pairs of methods and all cells, not "
        "corrected for their number.",
    ]
    return Outcome(
        values, {"Successes": table}, {"transition": picture(ratios, counts, trials)}, notes
    )


def one(
    settings: Mapping[str, Any], ratio: float, trial: int
) -> tuple[dict[tuple[str, str], bool], int]:
    """Return which of the four runs on one instance succeed, and how many did not finish."""
    n, r = settings["n"], settings["rank"]
    m = round(ratio * n * r)
    seed = 1000 * trial + m
    instance = gaussian_sensing(n, r, m, symmetric=True, rng=seed)
    problem = FactorizedProblem(instance.operator, instance.measurements, Symmetric())
    rng = np.random.default_rng(seed)
    starts = {
        "random": np.sqrt(1.0 / n) * rng.standard_normal((n, r)),
        "SVD": spectral(problem, r, rng),
    }
    stopping = Stopping(gradient_tol=1e-6, residual_tol=1e-5, max_iterations=settings["limit"])
    wins, unfinished = {}, 0
    for method, solver in METHODS.items():
        for start, w in starts.items():
            found = solver.run(problem, w, stopping=stopping)
            error = (problem.compose(found.point.w) - instance.truth).norm()
            wins[method, start] = bool(error <= RECOVERED * instance.truth.norm())
            unfinished += not (wins[method, start] or found.status.implies_stationarity)
    return wins, unfinished


def transition(ratios: list[float], shares: list[float]) -> float:
    """Return where the share of successes first comes to one half, linearly interpolated."""
    for i, share in enumerate(shares):
        if share >= 0.5:
            if i == 0:
                return ratios[0]
            weight = (0.5 - shares[i - 1]) / (share - shares[i - 1])
            return float(ratios[i - 1] + weight * (ratios[i] - ratios[i - 1]))
    return float("nan")


def least_p_value(counts: np.ndarray, trials: int) -> float:
    """Return the least p-value of Fisher's exact test over pairs of methods and cells."""
    return min(
        float(fisher_exact([[a, trials - a], [b, trials - b]]).pvalue)
        for cell in counts.T
        for a, b in combinations(cell, 2)
    )


def picture(ratios: list[float], counts: dict[tuple[str, str], list[int]], trials: int) -> Figure:
    """Plot the shares with 95% intervals."""
    figure = Figure(figsize=(6.4, 3.6))
    axes = figure.subplots()
    for shift, ((method, start), won) in enumerate(counts.items()):
        bounds = [binomtest(w, trials).proportion_ci(method="wilson") for w in won]
        share = np.array(won) / trials
        low = share - np.array([bound.low for bound in bounds])
        high = np.array([bound.high for bound in bounds]) - share
        axes.errorbar(
            np.array(ratios) + 0.02 * (shift - 1.5), share, np.maximum([low, high], 0.0), fmt="o-",
            ms=3, lw=1, capsize=2, label=f"{method}, {start} start",
        )  # fmt: skip
    axes.axvline(2.0, color="0.8", lw=1, zorder=0)
    axes.set(xlabel="m / (n r)", ylabel="share of successes")
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
