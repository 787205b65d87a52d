"""Phase maps of exact recovery: flat solutions against the nuclear norm, six problem families."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import fisher_exact

from ranklift.reproduce import Outcome, Progress, load_module
from ranklift.trials import run_trials

instances = load_module(Path(__file__).parent / "instances.py")
robust = load_module(Path(__file__).parent / "robust.py")

FAMILIES = ["sensing", "bilinear", "completion", "network", "covariance", "robust"]

REFERENCE = {
    ("sensing", 2): {65: (0, 0), 80: (9, 9), 100: (10, 10)},
    ("bilinear", 2): {70: (2, 1), 90: (10, 10), 110: (10, 10)},
    ("network", 3): {50: (3, 2), 60: (9, 10), 70: (10, 10)},
    ("completion", 2): {86: (1, 1), 101: (4, 5), 120: (9, 9)},
}
"""Successes (flat, plain) of ten draws at d = 12, measured by another code (shared notes)."""


def run(settings: Mapping[str, Any], progress: Progress) -> Outcome:
    """Count recoveries of both solutions over the grid."""

    def trials(cases: list[dict[str, Any]], label: str) -> list[dict[str, Any]]:
        return run_trials(trial, cases, store=settings.get("store"), progress=progress, label=label)

    counted = [
        {"family": family, "d": 12, "rank": rank, "m": m, "seed": seed}
        for (family, rank), cells in REFERENCE.items()
        for m in cells
        for seed in range(settings["count_draws"])
    ]
    counts = trials(counted, "counts at d = 12")
    maps: list[dict[str, Any]] = []
    for d in settings["dims"]:
        for family in FAMILIES:
            grid = settings["maps"][family]
            cases = [
                {"family": family, "d": d, "rank": rank, "level": level, "seed": seed}
                | ({} if family == "robust" else {"m": size(family, d, rank, level)})
                for rank in grid["ranks"][str(d)]
                for level in grid["levels"]
                if family == "robust" or size(family, d, rank, level) <= 0.95 * d * d
                for seed in range(settings["draws"])
            ]
            maps += trials(cases, f"{family}, d = {d}")
    return report(settings, counts, maps)


def size(family: str, d: int, rank: int, level: float) -> int:
    """Return m at a multiple of the degrees of freedom."""
    symmetric = family in ("network", "covariance")
    freedom = rank * d - rank * (rank - 1) // 2 if symmetric else rank * (2 * d - rank)
    return round(level * freedom)


def trial(case: Mapping[str, Any]) -> dict[str, Any]:
    """Solve one draw both ways."""
    family, d, rank = case["family"], case["d"], case["rank"]
    rng = np.random.default_rng([FAMILIES.index(family), d, rank, case.get("m", 0), case["seed"]])
    if family == "robust":
        both = robust.solve_robust(d, rank, case["level"], rng)
    else:
        drawn = instances.draw(family, d, rank, case["m"], rng)
        both = {
            "flat": instances.solve(drawn, flat=True),
            "plain": instances.solve(drawn, flat=False),
        }
        if family == "covariance":  # the only fit has the largest trace and the least
            both["flat"]["recovered"] &= both["plain"]["recovered"]
            both["flat"]["certified"] |= proved_failure(both["plain"])
    return {**case, **both}


def proved_failure(outcome: Mapping[str, Any]) -> bool:
    """Whether another matrix than the truth was shown to be a solution."""
    return outcome["certified"] and not outcome["recovered"]


def report(
    settings: Mapping[str, Any], counts: list[dict[str, Any]], maps: list[dict[str, Any]]
) -> Outcome:
    """Put values, tables and figures together."""
    values: dict[str, float] = {}
    compared = [
        against_reference(family, rank, m, counts) for (family, rank), cells in REFERENCE.items()
        for m in cells
    ]  # fmt: skip
    values["counts_p_value"] = min(min(row["p (flat)"], row["p (plain)"]) for row in compared)
    everything = counts + maps
    values["certified"] = float(
        np.mean([row[kind]["certified"] for row in everything for kind in ("flat", "plain")])
    )
    tables = {"Successes at d = 12, with the reference's ten draws": compared}
    notes = [
        "d = 12: reference counts are of other draws, by another code.",
        "A failure is proved by a matrix that fits the data to rounding with a smaller norm than "
        "the truth, or by a closed gap at another matrix.",
    ]
    figures: dict[str, Any] = {}
    if maps:
        rows = [summary(d, family, maps) for d in settings["dims"] for family in FAMILIES]
        values["largest_difference"] = max(abs(row["flat"] - row["plain"]) for row in rows)
        values["recovered_at_the_end"] = min(row["flat at the end"] for row in rows)
        tables["Shares of successes by family"] = rows
        for d in settings["dims"]:
            cells = [cell for family in FAMILIES for cell in map_cells(d, family, maps)]
            tables[f"Every cell at d = {d}: successes of {settings['draws']}"] = cells
            figures[f"maps-{d}"] = map_figure(d, settings, maps)
    excesses = excess_rows(everything)
    tables["Flat factors where both recover: medians"] = excesses
    values["norm_excess"] = max(row["norm excess"] for row in excesses)
    values["imbalance"] = max(row["imbalance"] for row in excesses)
    figures["excess-and-imbalance"] = excess_figure(everything)
    return Outcome(values, tables, figures, notes)


def against_reference(
    family: str, rank: int, m: int, counts: list[dict[str, Any]]
) -> dict[str, Any]:
    """Compare the successes of one cell with the reference's of ten."""
    cell = [row for row in counts if (row["family"], row["m"]) == (family, m)]
    row: dict[str, Any] = {"family": family, "rank": rank, "m": m, "draws": len(cell)}
    for kind, reference in zip(("flat", "plain"), REFERENCE[family, rank][m], strict=True):
        hits = sum(case[kind]["recovered"] for case in cell)
        table = [[hits, len(cell) - hits], [reference, 10 - reference]]
        row |= {
            kind: f"{hits}/{len(cell)}",
            f"reference ({kind})": f"{reference}/10",
            f"p ({kind})": float(fisher_exact(table).pvalue),
        }
    return row


def share(rows: list[dict[str, Any]], kind: str, what: str = "recovered") -> float:
    """Return the share of rows."""
    return float(np.mean([row[kind][what] for row in rows])) if rows else float("nan")


def of_family(d: int, family: str, maps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the trials of one map."""
    return [row for row in maps if (row["d"], row["family"]) == (d, family)]


def summary(d: int, family: str, maps: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one line about a map."""
    rows = of_family(d, family, maps)
    levels = sorted({row["level"] for row in rows})
    best = levels[0] if family == "robust" else levels[-1]
    ranks = sorted({row["rank"] for row in rows})
    at_end = [row for row in rows if row["level"] == best and row["rank"] == ranks[0]]
    only = [sum(row[a]["recovered"] and not row[b]["recovered"] for row in rows)
            for a, b in (("flat", "plain"), ("plain", "flat"))]  # fmt: skip
    cells = {(row["rank"], row["level"]) for row in rows}
    proved = sum(
        all(row[kind]["certified"] for row in rows for kind in ("flat", "plain")
            if (row["rank"], row["level"]) == cell)
        for cell in cells
    )  # fmt: skip
    return {
        "d": d, "family": family, "draws": len(rows), "flat": share(rows, "flat"),
        "plain": share(rows, "plain"), "only flat": only[0], "only plain": only[1],
        "flat at the end": share(at_end, "flat"),
        "cells": len(cells), "cells certified": proved,
        "median kappa(D)": float(np.median([row["flat"]["kappa"] for row in rows])),
        "core seconds": sum(
            row["flat"]["seconds"] + (0.0 if family == "robust" else row["plain"]["seconds"])
            for row in rows
        ),
    }  # fmt: skip


def map_cells(d: int, family: str, maps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the successes of every cell of a map."""
    rows = of_family(d, family, maps)
    out = []
    for rank, level in sorted({(row["rank"], row["level"]) for row in rows}):
        cell = [row for row in rows if (row["rank"], row["level"]) == (rank, level)]
        out.append(
            {"family": family, "rank": rank, "level": level, "m": cell[0].get("m", d * d)}
            | {kind: sum(row[kind]["recovered"] for row in cell) for kind in ("flat", "plain")}
            | {"certified": sum(row["flat"]["certified"] and row["plain"]["certified"]
                                for row in cell)}
        )  # fmt: skip
    return out


def map_figure(d: int, settings: Mapping[str, Any], maps: list[dict[str, Any]]) -> Figure:
    """Draw the maps of one size: rank against measurements, flat above plain."""
    figure = Figure(figsize=(15, 5), layout="constrained")
    axes = figure.subplots(2, len(FAMILIES))
    for column, family in enumerate(FAMILIES):
        rows, grid = of_family(d, family, maps), settings["maps"][family]
        ranks, levels = grid["ranks"][str(d)], grid["levels"]
        for line, kind in enumerate(("flat", "plain")):
            cells = [[share([r for r in rows if (r["rank"], r["level"]) == (rank, level)], kind)
                      for level in levels] for rank in ranks]  # fmt: skip
            ax = axes[line, column]
            ax.imshow(cells, vmin=0, vmax=1, cmap="gray", origin="lower", aspect="auto")
            ax.set_xticks(range(len(levels)), [f"{level:g}" for level in levels], rotation=90)
            ax.set_yticks(range(len(ranks)), [str(rank) for rank in ranks])
            ax.set_title(f"{family}: {kind}", fontsize=9)
            if line:
                ax.set_xlabel("share wrong" if family == "robust" else "m / freedom")
        axes[0, column].tick_params(labelbottom=False)
    axes[0, 0].set_ylabel("rank")
    axes[1, 0].set_ylabel("rank")
    figure.suptitle(f"d = {d}: share of draws recovered (white: all)")
    return figure


def both_recover(trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return family, size, and excess and imbalance of the flat factors, where both recover."""
    return [
        {
            "family": row["family"],
            "d": row["d"],
            "ratio": row["m"] / row["d"] ** 2,
            "excess": row["flat"]["size"] / row["plain"]["size"] - 1.0,
            "imbalance": row["flat"]["imbalance"],
        }
        for row in trials
        if row["family"] != "robust" and row["flat"]["recovered"] and row["plain"]["recovered"]
    ]


def excess_rows(trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the medians by family and size."""
    rows = both_recover(trials)
    return [
        {
            "family": family, "d": d, "draws": len(kept),
            "norm excess": float(np.median([row["excess"] for row in kept])),
            "imbalance": float(np.median([row["imbalance"] for row in kept])),
        }
        for d in sorted({row["d"] for row in rows})
        for family in FAMILIES
        if (kept := [row for row in rows if (row["family"], row["d"]) == (family, d)])
    ]  # fmt: skip


def excess_figure(trials: list[dict[str, Any]]) -> Figure:
    """Draw norm excess and imbalance of the flat factors over m / d^2."""
    rows = both_recover(trials)
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots(1, 2)
    for name, ax in zip(("excess", "imbalance"), axes, strict=True):
        for family in FAMILIES[:-1]:
            kept = [row for row in rows if row["family"] == family and row[name] > 1e-8]
            ax.semilogy(
                [row["ratio"] for row in kept], [row[name] for row in kept], ".", label=family,
                markersize=3,
            )  # fmt: skip
        ax.set_xlabel("m / d^2")
        ax.set_title(
            "norm excess of flat factors" if name == "excess" else "imbalance of flat factors"
        )
    axes[0].legend(fontsize=8)
    return figure


if __name__ == "__main__":
    sys.exit("run it by: ranklift reproduce flat-phase-maps")
