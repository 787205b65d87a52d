"""How often each escape reaches the truth, at equal numbers of descents, beside restarts."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import binomtest

import ranklift as rl
from ranklift.escapes import (
    Escape,
    EscapeSearch,
    NonReversibleLangevin,
    OverdampedLangevin,
    RandomPerturbation,
    RandomRestart,
    RankExcursion,
    SimulatedLift,
    SpectralRestart,
    UnderdampedLangevin,
)
from ranklift.factorizations import Symmetric
from ranklift.initializers import spectral
from ranklift.instances import Instance, gaussian_sensing
from ranklift.problem import FactorizedProblem
from ranklift.reproduce import Outcome, Progress
from ranklift.solvers import SolverRun, Stopping, TrustRegion

FITTED = 1e-8
"""Relative residual of a success: no other point fits better, and rounding is far below."""

EXTRA = 6
"""Descents after the first."""

RIVALS: dict[str, tuple[Escape, ...]] = {
    "simulated lift (SOD)": (SimulatedLift(),),
    "rank excursion": (RankExcursion(),),
    "random restarts": (RandomRestart(count=2),),
    "random perturbation": (RandomPerturbation(count=2),),
    "overdamped Langevin": (OverdampedLangevin(),),
    "underdamped Langevin": (UnderdampedLangevin(),),
    "non-reversible Langevin": (NonReversibleLangevin(),),
    "spectral restart, then SOD": (SpectralRestart(), SimulatedLift()),
}

CASES = ((1, 14), (2, 26))
"""Rank and number of measurements at n = 10, a little above the count of unknowns."""


def run(settings: Mapping[str, Any], progress: Progress) -> Outcome:
    """Count successes of every method in both cases."""
    trials, rows = settings["trials"], []
    values: dict[str, float] = {}
    for rank, m in CASES:
        wins: dict[str, list[bool]] = {}
        spent: dict[str, list[int]] = {}
        for trial in range(trials):
            progress(f"rank {rank}", trial, trials)
            for name, (won, descents) in one(rank, m, trial).items():
                wins.setdefault(name, []).append(won)
                spent.setdefault(name, []).append(descents)
        shares = {name: float(np.mean(won)) for name, won in wins.items()}
        for name, won in wins.items():
            interval = binomtest(sum(won), trials).proportion_ci(method="wilson")
            rows.append({
                "case": f"r = {rank}, m = {m}", "method": name, "successes": f"{sum(won)}/{trials}",
                "share": shares[name], "95% interval": f"{interval.low:.2f} to {interval.high:.2f}",
                "descents, mean": float(np.mean(spent[name])),
            })  # fmt: skip
        rivals = [shares[name] for name in RIVALS if name != "simulated lift (SOD)"]
        values |= {
            f"gd_{rank}": shares["one descent, random start"],
            f"spectral_{rank}": shares["one descent, spectral start"],
            f"sod_{rank}": shares["simulated lift (SOD)"],
            f"restarts_{rank}": shares["random restarts"],
            f"recover_less_best_{rank}": shares["rl.recover"]
            - max(*rivals, shares["simulated lift (SOD)"]),
        }
    mapped = []
    for rank, m in [(r, m) for r, counts in settings["map"].items() for m in counts]:
        progress(f"map, rank {rank}", len(mapped), sum(map(len, settings["map"].values())))
        wins = dict.fromkeys(("one descent, random start", "simulated lift (SOD)"), 0)
        for trial in range(settings["map_trials"]):
            for name, (won, _) in one(int(rank), m, trial, tuple(wins)).items():
                wins[name] += won
        mapped.append({"r": int(rank), "m": m} | {
            name: f"{count}/{settings['map_trials']}" for name, count in wins.items()
        })  # fmt: skip
    notes = [
        f"n = 10, {trials} instances, exact data. Every method begins with the same descent from a "
        f"random start and has {EXTRA} descents more; it stops at a fit (residual {FITTED:g}). "
        "Descent: trust-region Newton to a second-order point.",
        "rl.recover: rank given, everything else by default; its descents are the attempts of its "
        "escapes and one.",
    ]
    tables = {"Successes": rows, "Over the number of measurements": mapped}
    return Outcome(values, tables, {"odds": picture(rows)}, notes)


def one(rank: int, m: int, trial: int, only: tuple[str, ...] = ()) -> dict[str, tuple[bool, int]]:
    """Return who solves one instance, and with how many descents; all methods, or some."""
    instance = gaussian_sensing(
        10, rank, m, symmetric=True, rng=np.random.default_rng([rank, trial])
    )
    problem = FactorizedProblem(instance.operator, instance.measurements, Symmetric())
    unit = float(np.linalg.norm(problem.b))

    def descend(w: np.ndarray) -> SolverRun:
        return TrustRegion().run(
            problem, w, stopping=Stopping(gradient_tol=1e-11, max_iterations=1000)
        )

    def solved(found: SolverRun) -> bool:
        return bool(found.point.residual_norm <= FITTED * unit)

    rng = np.random.default_rng([7, rank, trial])
    first = descend(np.sqrt(problem.scale / 10) * rng.standard_normal((10, rank)))
    out = {"one descent, random start": (solved(first), 1)}
    if not only:
        informed = descend(spectral(problem, rank, rng))
        out["one descent, spectral start"] = solved(informed), 1
        out["rl.recover"] = recovered(instance, rank)
    for name, escapes in RIVALS.items():
        if only and name not in only:
            continue
        search = EscapeSearch(escapes, descents=EXTRA, each=EXTRA)
        ends = search.run(
            problem, first, np.random.default_rng([8, trial]), descend=descend, solved=solved
        )
        out[name] = ends.solved, 1 + len(ends.attempts)
    return out


def recovered(instance: Instance, rank: int) -> tuple[bool, int]:
    """Return whether recover() solves an instance, and its descents."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rl.errors.ConvergenceWarning)
        found = rl.recover(
            instance.operator,
            instance.measurements,
            rank=rank,
            symmetric=True,
            certify=False,
            rng=0,
        )
    return found.relative_residual <= FITTED, 1 + len(found.escapes)


def picture(rows: list[dict[str, Any]]) -> Figure:
    """Draw the shares with their intervals."""
    figure = Figure(figsize=(9.0, 3.6))
    cases = list(dict.fromkeys(row["case"] for row in rows))
    for axes, case in zip(figure.subplots(1, len(cases), sharey=True), cases, strict=True):
        chosen = [row for row in rows if row["case"] == case][::-1]
        for height, row in enumerate(chosen):
            low, high = (float(x) for x in row["95% interval"].split(" to "))
            axes.plot([low, high], [height, height], color="0.6", lw=2)
            axes.plot([row["share"]], [height], "ko", ms=4)
        axes.set_yticks(range(len(chosen)), [row["method"] for row in chosen], fontsize=8)
        axes.set(xlabel="share of instances solved", title=case)
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure
