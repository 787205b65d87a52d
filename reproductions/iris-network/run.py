"""A quadratic network on Iris: where descents end, and what escapes add in training and test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_iris

from ranklift.escapes import EscapeSearch, SimulatedLift
from ranklift.factorizations import Symmetric
from ranklift.operators import QuadraticSensing
from ranklift.problem import FactorizedProblem
from ranklift.reproduce import Outcome, Progress
from ranklift.solvers import GradientDescent, SolverRun, Stopping, TrustRegion

RANK = 2


def run(settings: Mapping[str, Any], progress: Progress) -> Outcome:
    """Descend from random starts, briefly and to the end, escape, and test."""
    rows, curves = [], []
    for done, name in enumerate(("setosa", "versicolor", "virginica")):
        progress(name, done, 3)
        for seed in range(settings["starts"]):
            rows.append({"target": name} | one(done, seed, settings["steps"]))
    table, trapped, freed = [], 0, 0
    for name in dict.fromkeys(row["target"] for row in rows):
        chosen = [row for row in rows if row["target"] == name]
        ends = np.array([row["Newton, train"] for row in chosen])
        after = np.array([row["Newton + SOD, train"] for row in chosen])
        worse = ends > min(ends.min(), after.min()) * (1 + 1e-5)
        trapped += int(worse.sum())
        freed += int((after[worse] <= min(ends.min(), after.min()) * (1 + 1e-5)).sum())
        table.append({"target": name, "starts": len(chosen),
                      "distinct minima": int(np.unique(np.round(ends / ends.min(), 6)).size)}
                     | {key: float(np.mean([row[key] for row in chosen]))
                        for key in chosen[0] if key != "target"})  # fmt: skip
        curves.append(ends)
    values = {
        "published_first": float("nan"),
        "published_second": float("nan"),
        "published_last": float("nan"),
        "escape_never_higher": max(row["+ SOD, train"] / row["GD, train"] for row in rows),
        "trapped_freed": freed / trapped if trapped else float("nan"),
        "newton_spread": max(float(c.max() / c.min()) for c in curves),
        "test_gain": float(np.mean([row["+ SOD, test"] - row["GD, test"] for row in rows])),
    }
    notes = [
        "Four features of unit length and a constant (d = 5), target one species against the rest,"
        " X = U U^T of rank 2, loss sum of squares / (2 m); 100 flowers to train, 50 to test.",
        f"GD: {settings['steps']} steps of 1/4 from a small random start, not converged; + SOD: an "
        "escape and as many steps, up to four times; Newton: to a second-order point; Newton + "
        f"SOD: escapes from there, eight descents. {trapped} of {len(rows)} converged runs ended "
        f"above the least minimum found, {freed} of them came to it.",
        "The published run (train .032152, .0306, .0288) does not say target, scaling and split: "
        "its values are not comparable.",
    ]
    return Outcome(values, {"Means over starts": table}, {"loss": picture(table)}, notes)


def one(species: int, seed: int, steps: int) -> dict[str, float]:
    """Return train and test losses of one start."""
    data = load_iris()
    features = data.data / np.linalg.norm(data.data, axis=1, keepdims=True)
    features = np.column_stack([features, np.ones(len(features))])
    target = (data.target == species).astype(float)
    order = np.random.default_rng(0).permutation(len(target))
    train, test = order[:100], order[100:]
    problem = FactorizedProblem(QuadraticSensing(features[train]), target[train], Symmetric())

    def losses(w: np.ndarray) -> tuple[float, float]:
        both = []
        for part in (train, test):
            fitted = np.sum((features[part] @ w) ** 2, axis=1)
            both.append(0.5 * float(np.mean((fitted - target[part]) ** 2)))
        return both[0], both[1]

    rng = np.random.default_rng(seed)
    start = 0.1 * rng.standard_normal((5, RANK))
    brief = Stopping(gradient_tol=0.0, max_iterations=steps)

    def descend(w: np.ndarray) -> SolverRun:
        return GradientDescent(0.25).run(problem, w, stopping=brief)

    first = descend(start)
    escaped = EscapeSearch((SimulatedLift(),), descents=4).run(
        problem, first, rng, descend=descend, solved=lambda found: False
    )

    def converge(w: np.ndarray) -> SolverRun:
        return TrustRegion().run(problem, w, stopping=Stopping(max_iterations=500))

    newton = converge(start)
    left = EscapeSearch((SimulatedLift(),), descents=8).run(
        problem, newton, rng, descend=converge, solved=lambda found: False
    )
    out: dict[str, float] = {}
    for name, found in (
        ("GD", first), ("+ SOD", escaped.run), ("Newton", newton), ("Newton + SOD", left.run)
    ):  # fmt: skip
        out[f"{name}, train"], out[f"{name}, test"] = losses(found.point.w)
    return out


def picture(table: list[dict[str, Any]]) -> Figure:
    """Draw mean losses."""
    figure = Figure(figsize=(6.4, 3.2))
    axes = figure.subplots()
    names = [row["target"] for row in table]
    for shift, (key, colour) in enumerate((("GD", "0.6"), ("+ SOD", "C0"), ("Newton", "k"))):
        for part, filled in (("train", True), ("test", False)):
            axes.plot(np.arange(len(names)) + 0.15 * (shift - 1),
                      [row[f"{key}, {part}"] for row in table], "o", color=colour, ms=6,
                      mfc=colour if filled else "none", label=f"{key}, {part}")  # fmt: skip
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel("loss")
    axes.legend(frameon=False, fontsize=7, ncols=3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
