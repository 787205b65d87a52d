"""Error over E_stat at near-second-order points, over decades of noise and search ranks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import ranklift as rl
from ranklift.factorizations import Asymmetric, Symmetric
from ranklift.initializers import small_random, spectral
from ranklift.instances import gaussian_sensing
from ranklift.noise import noise_level
from ranklift.nuclear_norm import ridge
from ranklift.problem import FactorizedProblem
from ranklift.reproduce import Outcome, Progress
from ranklift.solvers import GradientDescent, Stopping, TrustRegion

MULTIPLES = (1, 2, 5)
LAMBDAS = (2.0, 1.4, 1.0, 0.7, 0.5, 0.35, 0.25, 0.15)
"""Candidates of the best-tuned nuclear norm, in units of ||A*(noise)||_2."""

TIGHT = Stopping(gradient_tol=1e-12, max_iterations=300)

RANKS = ("r*", "2r*", "5r*")
MARGIN = 1.2
"""eps_H of a point at the noise level, in units of what pure noise gives: ||A*(noise)||_2, twice
that for X X^T. The level is an expectation, and the noise of a draw lies above it now and then."""


def run(settings: Mapping[str, Any], progress: Progress) -> Outcome:
    """Measure every noise level, form, seed and search rank."""
    rows: list[dict[str, Any]] = []
    sigmas = [10.0**e for e in settings["decades"]]
    cases = [(s, form, seed) for form in ("XX^T", "UV^T") for s in sigmas
             for seed in range(settings["seeds"])]  # fmt: skip
    for done, (sigma, form, seed) in enumerate(cases):
        progress("noise levels", done, len(cases))
        rows.append(case(settings, sigma, form == "XX^T", seed) | {"form": form})
    values: dict[str, float] = {}
    for form, word in (("XX^T", "symmetric"), ("UV^T", "asymmetric")):
        for name in RANKS:
            for stop, suffix in (("", ""), (" to rounding", "_to_rounding")):
                key = f"{word}_{name.replace('*', '')}{suffix}"
                values[key] = max(row[name + stop] for row in rows if row["form"] == form)
    for name, keys in {
        "points": RANKS,
        "minima": [f"{rank} to rounding" for rank in RANKS],
        "recover": ["recover"],
    }.items():
        values[f"{name}_over_nuclear"] = max(
            row[key] / row["nuclear"] for row in rows for key in keys
        )
    values["largest_eps_h"] = max(row[f"{name} eps_H"] for row in rows for name in RANKS)
    table = summary(rows, sigmas)
    notes = [
        "E_stat = sqrt(sigma^2 n r*/m) (XX^T) and sqrt(sigma^2 (n1 + n2) r*/m) (UV^T) for "
        "matrices of unit variance and a loss divided by m; ours are 1 / sqrt(m) of that.",
        "r*, 2r*, 5r*: gradient descent from a start 1e-6 of the data's size to the first point "
        f"with eps_g <= tau / 100 and eps_H <= {MARGIN} tau (2 tau for XX^T), tau = ||A*(noise)||. "
        "to rounding: Newton's method from a spectral start to eps_g = 1e-12, eps_H = 1e-6.",
        "At search ranks above r* minima to rounding fit noise with every column: by counting, "
        "sqrt(degrees of freedom / (n r*)) is about 1.4 at 2 r* and 2 at 5 r*, whatever the method."
        " A small start reaches the noise level's second-order point before those columns grow.",
        f"best nuclear: the lambda of least true error among {len(LAMBDAS)} (an oracle that no "
        "method has). recover: rl.recover with the noise level given, the rank not.",
    ]
    return Outcome(
        values, {"Error / E_stat, mean over seeds": table}, {"error": picture(rows)}, notes
    )


def case(settings: Mapping[str, Any], sigma: float, symmetric: bool, seed: int) -> dict[str, Any]:
    """Return error / E_stat of every method on one instance."""
    n, r = settings["n"], settings["rank"]
    m = settings["oversampling"] * n * r
    clean = gaussian_sensing(n if symmetric else (n, n), r, m, symmetric=symmetric, rng=seed)
    ours = sigma / np.sqrt(m)  # the source's measurements have unit variance and a loss with 1/m
    instance = clean.with_noise(ours, rng=1000 + seed)
    unit = ours * np.sqrt((n if symmetric else 2 * n) * r)
    kind = Symmetric() if symmetric else Asymmetric()
    problem = FactorizedProblem(instance.operator, instance.measurements, kind)

    def error(w: np.ndarray) -> float:
        return float((problem.compose(w) - instance.truth).norm()) / unit

    row: dict[str, Any] = {"sigma": sigma, "seed": seed}
    level = noise_level(problem, ours, np.random.default_rng(0))
    tau = level / problem.scale
    bend = 2 * tau if symmetric else tau  # the Hessian on empty columns is that often A*(residual)
    w = np.zeros(0)
    for multiple, name in zip(MULTIPLES, RANKS, strict=True):
        small = small_random(
            problem, multiple * r, np.random.default_rng(seed), relative_scale=1e-6
        )
        found = GradientDescent(0.25, curvature_tol=MARGIN * bend).run(
            problem, small, stopping=Stopping(gradient_tol=1e-2 * tau, max_iterations=5000)
        )
        row[name], row[f"{name} status"] = error(found.point.w), found.status.value
        row[f"{name} eps_H"] = found.measures.get("eps_h", np.nan) / bend
        start = spectral(problem, multiple * r, np.random.default_rng(seed))
        found = TrustRegion().run(problem, start, stopping=TIGHT)
        w, row[f"{name} to rounding"] = found.point.w, error(found.point.w)
        row[f"{name} to rounding status"] = found.status.value
    # The last search has columns to spare: shrunk, it is the convex problem's solution.
    shrunk = []
    for factor in LAMBDAS:
        w = TrustRegion(float("inf")).run(ridge(problem, factor * level), w, stopping=TIGHT).point.w
        shrunk.append(error(w))
    row["nuclear"] = min(shrunk)
    answer = rl.recover(
        instance.operator, instance.measurements, symmetric=symmetric, noise=ours, rng=seed,
        certify=False,
    )  # fmt: skip
    row["recover"] = float((answer.matrix - instance.truth).norm()) / unit
    row["recovered rank"] = answer.rank
    return row


def summary(rows: list[dict[str, Any]], sigmas: list[float]) -> list[dict[str, Any]]:
    """Return means over seeds."""
    out = []
    for form in ("XX^T", "UV^T"):
        for sigma in sigmas:
            chosen = [row for row in rows if row["form"] == form and row["sigma"] == sigma]
            line: dict[str, Any] = {"form": form, "sigma": f"{sigma:.0e}"}
            for key in (*RANKS, *(f"{rank} to rounding" for rank in RANKS), "nuclear", "recover"):
                line["best nuclear" if key == "nuclear" else key] = float(
                    np.mean([row[key] for row in chosen])
                )
            line["recovered ranks"] = ", ".join(str(row["recovered rank"]) for row in chosen)
            statuses = {row[f"{key} status"] for row in chosen for key in RANKS}
            line["statuses"] = ", ".join(sorted(statuses))
            out.append(line)
    return out


def picture(rows: list[dict[str, Any]]) -> Figure:
    """Plot error / E_stat against the noise."""
    figure = Figure(figsize=(8.5, 3.2))
    for axes, form in zip(figure.subplots(1, 2, sharey=True), ("XX^T", "UV^T"), strict=True):
        chosen = [row for row in rows if row["form"] == form]
        sigmas = sorted({row["sigma"] for row in chosen})
        for key in (*RANKS, "5r* to rounding", "nuclear", "recover"):
            means = [np.mean([r[key] for r in chosen if r["sigma"] == s]) for s in sigmas]
            style = {"nuclear": "k--", "recover": "k-", "5r* to rounding": "r:"}.get(key, "o-")
            label = {"nuclear": "best nuclear norm", "recover": "rl.recover"}.get(key, f"r = {key}")
            axes.semilogx(sigmas, means, style, ms=3, label=label)
        axes.set(title=form, xlabel="noise")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("error / E_stat")
    figure.axes[0].set_ylim(bottom=0)
    figure.axes[1].legend(frameon=False, fontsize=8)
    return figure
