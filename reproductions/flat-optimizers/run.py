"""Endpoints of optimisers against the flat and the nuclear solution, below and above recovery."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from ranklift.curvature_weights import curvature_weights
from ranklift.errors import ConvergenceWarning
from ranklift.flatness.optimizers import (
    LabelNoiseDescent,
    LargeStepDescent,
    SharpnessAwareMinimization,
    Units,
)
from ranklift.flatness.polish import polish
from ranklift.flatness.sharpness import sharpness
from ranklift.initializers import small_random
from ranklift.instances import Instance, gaussian_sensing
from ranklift.minimum_norm import solve_minimum_norm
from ranklift.problem import FactorizedProblem
from ranklift.reproduce import Outcome, Progress
from ranklift.solvers import GradientDescent, Stopping
from ranklift.trace import Trace
from ranklift.trials import run_trials

CONDITION = 2.0
"""Of the truth, as in the notes' other reference run; that of the 15 x 12 one is not known."""

ALPHA = 1e-4
"""Small start: spectral norm over ||A*(b)||_2^(1/2)."""

LARGE = 2.0
"""Large start: Frobenius norm over ||b|| / ||A*(b)||_2^(1/2); balanced fits have 1.4 or more."""

SHARE = 0.98
"""Large step: mu over 2 / lambda_max of the flat solution."""

WITHIN = 1.01
"""Trace over the least one that counts as flat."""

FITTED = 1e-10

CHECKPOINTS = np.unique(np.round(100 * 1.5 ** np.arange(14), -2)).astype(int)
"""Steps at which a run is looked at."""

UNFITTED = 0.5
"""||A(X) - b|| / ||b|| above which no fit is near: most of the noise stays below."""

SMALL, BIG = "small start", "large start"

RUNS = (
    ("GD", SMALL), ("GD", BIG), ("large step", SMALL), ("large step", BIG),
    ("label noise", SMALL), ("label noise", BIG), ("label noise, one", BIG),
    ("SAM", SMALL), ("SAM", BIG), ("SAM, one", BIG),
)  # fmt: skip


def run(settings: Mapping[str, Any], progress: Progress) -> Outcome:
    """Run every optimiser on every draw."""
    keys = ("shape", "rank", "gradients")
    trials = run_trials(
        trial,
        [{key: settings[key] for key in keys} | {"m": m, "seed": seed}
         for m in settings["m"] for seed in range(settings["draws"])],
        store=settings.get("store"), progress=progress,
    )  # fmt: skip
    ends = [end for row in trials for end in row["ends"]]
    low, high = min(settings["m"]), max(settings["m"])

    def pick(name: str, key: str, m: int | None = None, start: str = "") -> np.ndarray:
        return np.array([
            end[key] for end in ends
            if end["optimiser"] == name and not end["diverged"]
            and m in (None, end["m"]) and start in ("", end["start"])
        ])  # fmt: skip

    def flat_share(name: str) -> float:
        # A run that diverged is none that went to a flat solution.
        of = [end for end in ends if end["optimiser"] == name]
        return float(np.mean([not e["diverged"] and e["trace"] <= WITHIN for e in of]))

    flat = np.array([row["flat error"] for row in trials if row["m"] == low])
    nuclear = np.array([row["nuclear error"] for row in trials if row["m"] == low])
    small = pick("GD", "error", low, SMALL)
    above = [max(row["flat error"], row["nuclear error"]) for row in trials if row["m"] == high]
    balance = pick("label noise", "scaled trace", low) / pick("label noise", "trace", low)
    values = {
        "convex_gap": max(row["convex gap"] for row in trials),
        "share_below_flat": np.mean(flat < 0.149),
        "share_below_nuclear": np.mean(nuclear < 0.206),
        "share_below_small": np.mean(small < 0.155),
        "small_gd_to_flat": np.median(small) / np.median(flat),
        "large_gd_trace": np.median(pick("GD", "trace", low, BIG)),
        "label_noise_flat": flat_share("label noise"),
        "label_noise_distance": np.median(pick("label noise", "to flat", low)),
        "label_noise_balance": np.median(balance),
        "label_noise_one_flat": flat_share("label noise, one"),
        "sam_sharpness": np.median(pick("SAM", "curvature", low)),
        "sam_trace": np.median(pick("SAM", "trace", low)),
        "sam_one_flat": flat_share("SAM, one"),
        "large_step_edge": max(pick("large step", "edge"), default=float("nan")),
        "large_step_trace": np.median(pick("large step", "trace", low, BIG)),
        "above_convex": max(above),
        "above_small": max(pick("GD", "raw error", high, SMALL)),
        "above_label_noise": max(pick("label noise", "error", high)),
        "diverged": np.mean([end["diverged"] for end in ends]),
        "unpolished": max(end["residual"] for end in ends if not end["diverged"]),
    }
    tables = {"Median relative errors of the convex solutions": [
        {"m": m} | {key: median([row[key] for row in trials if row["m"] == m])
                    for key in ("flat error", "nuclear error", "flat to nuclear", "kappa",
                                "flat curvature")}
        for m in settings["m"]
    ]}  # fmt: skip
    for m in settings["m"]:
        tables[f"m = {m}: medians over {settings['draws']} draws"] = [
            summary([e for e in ends if (e["m"], e["optimiser"], e["start"]) == (m, *which)])
            for which in RUNS
        ]
    notes = [
        f"gaussian_sensing({tuple(settings['shape'])}, {settings['rank']}, m, condition_number="
        f"{CONDITION:g}), L and R of {min(settings['shape'])} columns; {settings['gradients']} "
        "gradients a run at most, of all data or of one measurement ('one'). Small start: "
        f"small_random at {ALPHA:g}; large start: Gaussian entries, ||W||_F = {LARGE:g} ||b|| / "
        "||A*(b)||^(1/2).",
        "error, to flat, to nuclear: relative to the truth and the two convex solutions. trace, "
        "scaled trace: over their least values. curvature: lambda_max over that of the flat "
        "solution. imbalance: ||L'D1^2 L - R'D2^2 R|| over ||L'D1^2 L|| + ||R'D2^2 R||; plain: the "
        "same of d2 D1^2, d1 D2^2. All at polished endpoints, but raw error and residual.",
        f"within: share of runs that end at a trace within {WITHIN - 1:.0%} of the least; steps "
        "to flat: the checkpoint from which on it stays there (- where fewer than half do).",
    ]
    figures = {"traces": picture(ends, settings["m"])}
    return Outcome({k: float(v) for k, v in values.items()}, tables, figures, notes)


class Cell(NamedTuple):
    """One instance with what its endpoints are measured against."""

    problem: FactorizedProblem
    truth: np.ndarray
    flat: np.ndarray
    nuclear: np.ndarray
    left: np.ndarray
    right: np.ndarray
    least: float
    flat_curvature: float

    def trace(self, w: np.ndarray) -> float:
        """Return the trace of the Hessian of (1/m) ||A(L R^T) - b||^2 over its least value."""
        left, right = self.problem.parts(w)
        d1, d2 = self.problem.shape
        value = 2 * d2 * np.sum(left * (self.left @ left))
        value += 2 * d1 * np.sum(right * (self.right @ right))
        return float(value / (self.least * np.sqrt(d1 * d2)))

    def scaled_trace(self, w: np.ndarray) -> float:
        """Return 2 ||D1 L||^2 + 2 ||D2 R||^2 over its least value."""
        left, right = self.problem.parts(w)
        value = 2 * np.sum(left * (self.left @ left)) + 2 * np.sum(right * (self.right @ right))
        return float(value / self.least)

    def imbalance(self, w: np.ndarray, by_left: float = 1.0, by_right: float = 1.0) -> float:
        """Return ||L^T D1^2 L - R^T D2^2 R||, weighted, over the sum of both norms."""
        left, right = self.problem.parts(w)
        a, b = by_left * left.T @ self.left @ left, by_right * right.T @ self.right @ right
        return float(np.linalg.norm(a - b) / (np.linalg.norm(a) + np.linalg.norm(b)))


def trial(case: Mapping[str, Any]) -> dict[str, Any]:
    """Return the convex solutions' errors and every optimiser's end on one instance."""
    instance = gaussian_sensing(
        tuple(case["shape"]), case["rank"], case["m"], condition_number=CONDITION,
        rng=np.random.default_rng([case["m"], case["seed"]]),
    )  # fmt: skip
    cell, gap, kappa = solved(instance)
    problem, size = cell.problem, float(np.linalg.norm(cell.truth))
    k = min(problem.shape)
    rng = np.random.default_rng([1, case["m"], case["seed"]])
    large = rng.standard_normal((sum(problem.shape), k))
    large *= LARGE * Units.of(problem).factor / np.linalg.norm(large)
    starts = {SMALL: small_random(problem, k, rng, relative_scale=ALPHA), BIG: large}
    optimisers = optimisers_of(cell, case["gradients"], case["seed"])
    ends = []
    for name, start in RUNS:
        end = optimisers[name](starts[start], cell)
        ends.append({"m": case["m"], "optimiser": name, "start": start} | end)
    return {
        "m": case["m"], "ends": ends, "convex gap": gap, "kappa": kappa,
        "flat curvature": cell.flat_curvature,
        "flat error": float(np.linalg.norm(cell.flat - cell.truth)) / size,
        "nuclear error": float(np.linalg.norm(cell.nuclear - cell.truth)) / size,
        "flat to nuclear": relative(cell.flat, cell.nuclear),
    }  # fmt: skip


def solved(instance: Instance) -> tuple[Cell, float, float]:
    """Return an instance with its two convex solutions, their largest gap, and kappa of D."""
    problem = FactorizedProblem(instance.operator, instance.measurements)
    weights = curvature_weights(problem.operator)
    plain = solve_minimum_norm(problem, np.random.default_rng(0), tolerance=1e-9)
    posed = weights.pose(problem)
    weighted = solve_minimum_norm(posed, np.random.default_rng(0), tolerance=1e-9)
    left, right = weights.back(*posed.parts(weighted.w))
    gap = max(plain.gap, plain.relative_residual, weighted.gap, weighted.relative_residual)
    cell = Cell(
        problem, instance.truth.toarray(), left @ right.T, problem.compose(plain.w).toarray(),
        weights.left_squared, weights.right_squared, 4 * weighted.norm,
        curvature(problem, np.vstack([left, right])),
    )  # fmt: skip
    return cell, gap, weights.condition


Optimiser = Callable[[np.ndarray, Cell], dict[str, Any]]


def optimisers_of(cell: Cell, gradients: int, seed: int) -> dict[str, Optimiser]:
    """Return the optimisers, each with the same number of gradients to spend."""
    mu = SHARE * 2 / cell.flat_curvature
    settings = {
        "large step": LargeStepDescent(mu * cell.problem.scale, gradients, FITTED),
        "label noise": LabelNoiseDescent(0.3, 0.4, gradients, seed=seed),
        "label noise, one": LabelNoiseDescent(0.3, 0.03, gradients, batch_size=1, seed=seed),
        "SAM": SharpnessAwareMinimization(0.05, 0.25, gradients // 2, seed=seed),
        "SAM, one": SharpnessAwareMinimization(0.05, 0.02, gradients // 2, 1, seed),
    }

    def wander(name: str) -> Optimiser:
        def go(w: np.ndarray, cell: Cell) -> dict[str, Any]:
            seen: list[tuple[int, float]] = []

            def look(steps: int, at: np.ndarray) -> None:
                if steps in CHECKPOINTS:
                    seen.append((steps, seen_at(cell, at)))

            found = settings[name].run(cell.problem, w, observe=look)
            if found.diverged:
                return {"diverged": True, "seen": seen}
            end = measured(cell, found.w, seen, found.steps, found.relative_residual)
            edge = end["curvature"] * cell.flat_curvature * mu / 2
            return end | {"edge": edge}

        return go

    def descend(w: np.ndarray, cell: Cell) -> dict[str, Any]:
        seen: list[tuple[int, float]] = []

        def look(posed: FactorizedProblem, state: Any, iteration: int, stage: str) -> None:
            if iteration in CHECKPOINTS:
                seen.append((iteration, seen_at(cell, state.point.w)))

        found = GradientDescent(0.25).run(
            cell.problem, w, trace=Trace(observers=[look]),
            stopping=Stopping(gradient_tol=0.0, residual_tol=FITTED, max_iterations=gradients),
        )  # fmt: skip
        residual = found.point.residual_norm / float(np.linalg.norm(cell.problem.b))
        return measured(cell, found.point.w, seen, found.iterations, residual)

    return {"GD": descend} | {name: wander(name) for name in settings}


def seen_at(cell: Cell, w: np.ndarray) -> float:
    """Return the trace of a fit near w, NaN while w is on its way to the data."""
    problem = cell.problem
    residual = np.linalg.norm(problem.predict(w) - problem.b) / np.linalg.norm(problem.b)
    if not residual <= UNFITTED:
        return float("nan")
    with warnings.catch_warnings():  # a little off the data does not change the trace much
        warnings.simplefilter("ignore", ConvergenceWarning)
        return cell.trace(polish(problem, w, tolerance=1e-4, max_steps=10))


def measured(
    cell: Cell, w: np.ndarray, seen: list[tuple[int, float]], steps: int, residual: float
) -> dict[str, Any]:
    """Return what the tables hold of an endpoint."""
    problem = cell.problem
    unpolished = relative(problem.compose(w).toarray(), cell.truth)
    w = polish(problem, w)
    x = problem.compose(w).toarray()
    trace = cell.trace(w)
    d1, d2 = problem.shape
    away = [at for at, value in seen if not value <= WITHIN]
    flat_at = [at for at, _ in seen if at > max(away, default=-1)]
    arrived = flat_at[0] if flat_at and trace <= WITHIN else None
    return {
        "diverged": False, "error": relative(x, cell.truth), "raw error": unpolished,
        "to flat": relative(x, cell.flat), "to nuclear": relative(x, cell.nuclear), "trace": trace,
        "scaled trace": cell.scaled_trace(w),
        "curvature": curvature(problem, w) / cell.flat_curvature,
        "imbalance": cell.imbalance(w), "plain imbalance": cell.imbalance(w, d2, d1),
        "residual": residual, "steps": steps, "flat at": arrived,
        "seen": [*seen, (steps, trace)],
    }  # fmt: skip


def curvature(problem: FactorizedProblem, w: np.ndarray) -> float:
    """Return the largest eigenvalue of the Hessian of 1/2 ||A(L R^T) - b||^2."""
    factors = problem.parts(w)
    return sharpness(problem.operator, problem.b, factors, scaling="half").eigenvalue


def relative(x: np.ndarray, to: np.ndarray) -> float:
    """Return ||x - to|| / ||to||."""
    return float(np.linalg.norm(x - to) / np.linalg.norm(to))


def median(values: Sequence[float]) -> float:
    """Return the median, NaN of nothing."""
    return float(np.median(values)) if len(values) else float("nan")


def summary(ends: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the medians of one optimiser's runs, and the share of them that came to flatness."""
    kept = [end for end in ends if not end["diverged"]]
    keys = ("error", "raw error", "to flat", "to nuclear", "trace", "scaled trace", "curvature",
            "imbalance", "plain imbalance", "residual")  # fmt: skip
    name = ends[0]["optimiser"]
    arrived = [end["flat at"] for end in kept if end["flat at"] is not None]
    often = 2 * len(arrived) >= len(ends)
    steps = median([end["steps"] for end in kept])
    row: dict[str, Any] = {"optimiser": name, "start": ends[0]["start"].split()[0]}
    row |= {key: median([end[key] for end in kept]) for key in keys}
    row["within"] = sum(end["trace"] <= WITHIN for end in kept) / len(ends)
    row["steps to flat"] = median(arrived) if often else "-"
    row["steps to a fit"] = steps if name in ("GD", "large step") else "-"
    row["diverged"] = len(ends) - len(kept)
    return row


def picture(ends: Sequence[Mapping[str, Any]], sizes: Sequence[int]) -> Figure:
    """Plot the median excess of the trace against the steps, from the large start."""
    figure = Figure(figsize=(9.0, 3.0), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(sizes), sharey=True))
    for axes, m in zip(panels, sizes, strict=True):
        for name in dict.fromkeys(name for name, start in RUNS if start == BIG):
            runs = [dict(map(tuple, end["seen"])) for end in ends
                    if (end["m"], end["optimiser"], end["start"]) == (m, name, BIG)
                    and not end["diverged"]]  # fmt: skip
            curve = [(at, [seen[at] for seen in runs if at in seen]) for at in CHECKPOINTS.tolist()]
            # Runs that have ended stay where they are.
            curve = [(at, [last(seen, at) for seen in runs]) for at, now in curve if now]
            axes.plot([at for at, _ in curve], [median(now) - 1 for _, now in curve], label=name)
        axes.set(xscale="log", yscale="log", xlabel="steps", title=f"m = {m}")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("trace over the least, less 1")
    panels[-1].legend(frameon=False, fontsize=7)
    return figure


def last(seen: Mapping[int, float], at: int) -> float:
    """Return what was seen last up to a step."""
    return seen[max((step for step in seen if step <= at), default=min(seen))]
