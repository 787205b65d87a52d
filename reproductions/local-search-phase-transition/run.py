"""Success of gradient descent against m / (n r): two methods from two starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import binomtest, fisher_exact

from ranklift.factorizations import Symmetric
from ranklift.initializers import spectral
from ranklift.instances import gaussian_sensing
from ranklift.metrics import relative_error
from ranklift.problem import FactorizedProblem
from ranklift.reproduce import Outcome, Progress
from ranklift.solvers import GradientDescent, Solver, State, Stopping
from ranklift.solvers.steps import StepState, advance
from ranklift.trace import Trace

RECOVERED = 1e-3
"""Relative error of X up to which a run counts as a success: far above what stops leave."""

FEW = 100
"""A budget at which slow convergence near the threshold of recovery counts as failure."""

NOISE = 0.5
"""Noise of a step relative to its gradient: large, and it vanishes where the gradient does."""


@dataclass(frozen=True)
class NoisyGradientDescent(GradientDescent):
    """Add to every gradient a random direction of NOISE times its length."""

    def step(self, problem: FactorizedProblem, state: State) -> State:
        """Move along the noisy negative gradient."""
        assert isinstance(state, StepState)
        point = state.point
        # Drawn by the value at hand: repeatable, and different at every step.
        rng = np.random.default_rng(abs(hash(point.value)))
        ball = rng.standard_normal(point.w.shape)
        noise = NOISE * point.gradient_norm * ball / np.linalg.norm(ball)
        return advance(problem, state, -(point.gradient + noise))


METHODS: dict[str, Solver] = {
    "GD": GradientDescent(0.25),
    "noisy GD": NoisyGradientDescent(0.25),
}
STARTS = ("random", "SVD")


def run(settings: Mapping[str, Any], progress: Progress) -> Outcome:
    """Count successes in every cell, within few steps and within as many as needed."""
    ratios, trials = settings["ratios"], settings["trials"]
    first: dict[tuple[str, str], list[list[float]]] = {
        (method, start): [[] for _ in ratios] for method in METHODS for start in STARTS
    }
    for i, ratio in enumerate(ratios):
        for trial in range(trials):
            progress("trials", i * trials + trial, len(ratios) * trials)
            for key, step in one(settings, ratio, trial).items():
                first[key][i].append(step)
    values: dict[str, float] = {}
    tables, drawn = {}, {}
    for budget, name in ((FEW, "within_few_steps"), (settings["limit"], "in_the_end")):
        counts = {
            key: [sum(step <= budget for step in cell) for cell in cells]
            for key, cells in first.items()
        }
        rows = [
            {"method": method, "start": start}
            | {
                f"m/(nr) = {ratio:g}": f"{count}/{trials}"
                for ratio, count in zip(ratios, won, strict=True)
            }
            | {"half succeed at": transition(ratios, [count / trials for count in won])}
            for (method, start), won in counts.items()
        ]
        points = [row["half succeed at"] for row in rows]
        values[f"earliest_{name}"], values[f"latest_{name}"] = min(points), max(points)
        tables[f"Successes within {budget} steps"] = rows
        drawn[f"within {budget} steps"] = counts
        if name == "in_the_end":
            shares = np.array(list(counts.values())) / trials
            values["success_at_most_measurements"] = float(shares[:, -1].min())
            values["success_at_fewest_measurements"] = float(shares[:, 0].max())
            values["spread"] = max(points) - min(points)
            values["least_p_value"] = least_p_value(np.array(list(counts.values())), trials)
    notes = [
        f"n = {settings['n']}, r = {settings['rank']}, exact data, matrices of unit spectrum; "
        "random: Gaussian of the solution's size; SVD: top eigenvectors of A*(b). Steps of 1/4.",
        f"Success: relative error at most {RECOVERED:g}. One run, counted at both budgets; the "
        "publication's budget could not be read.",
        f"Noisy GD adds to every gradient a random direction of {NOISE:g} times its length; what "
        "noise the publication adds could not be read.",
        "p-value: Fisher's exact test, the least over the pairs of methods and all cells, not "
        "corrected for their number.",
    ]
    return Outcome(values, tables, {"transition": picture(ratios, drawn, trials)}, notes)


def one(settings: Mapping[str, Any], ratio: float, trial: int) -> dict[tuple[str, str], float]:
    """Return the step at which each of the four runs on one instance comes to the truth."""
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
    out = {}
    for method, solver in METHODS.items():
        for start, w in starts.items():
            reached: list[float] = []

            def watch(
                posed: Any, state: Any, iteration: int, stage: str, to: list[float] = reached
            ) -> None:
                if relative_error(posed.compose(state.point.w), instance.truth) <= RECOVERED:
                    to.append(iteration)

            solver.run(problem, w, stopping=stopping, trace=Trace(observers=[watch]))
            out[method, start] = reached[0] if reached else float("inf")
    return out


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


def picture(
    ratios: list[float], drawn: dict[str, dict[tuple[str, str], list[int]]], trials: int
) -> Figure:
    """Plot the shares with 95% intervals."""
    figure = Figure(figsize=(9.0, 3.4))
    panels = figure.subplots(1, len(drawn), sharey=True)
    for axes, (title, counts) in zip(panels, drawn.items(), strict=True):
        for shift, ((method, start), won) in enumerate(counts.items()):
            bounds = [binomtest(w, trials).proportion_ci(method="wilson") for w in won]
            share = np.array(won) / trials
            low = share - np.array([bound.low for bound in bounds])
            high = np.array([bound.high for bound in bounds]) - share
            axes.errorbar(
                np.array(ratios) + 0.02 * (shift - 1.5), share, np.maximum([low, high], 0.0),
                fmt="o-", ms=3, lw=1, capsize=2, label=f"{method}, {start} start",
            )  # fmt: skip
        axes.axvline(2.0, color="0.8", lw=1, zorder=0)
        axes.set(xlabel="m / (n r)", title=title)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("share of successes")
    panels[0].legend(frameon=False, fontsize=8)
    return figure
