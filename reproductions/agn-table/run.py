"""Alternating Gauss-Newton beside gradient descent, PrecGD and ScaledGD(lambda)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ranklift.factorizations import Asymmetric, Factorization, Symmetric
from ranklift.initializers import small_random
from ranklift.operators import DenseSensing
from ranklift.problem import FactorizedProblem
from ranklift.reproduce import Outcome, Progress
from ranklift.solvers import (
    AlternatingGaussNewton,
    GradientDescent,
    PreconditionedGradientDescent,
    ScaledGradientDescent,
    Solver,
    Stopping,
)
from ranklift.trace import Trace

TRUE_RANK, SEARCH_RANK, KAPPA = 5, 15, 10.0

LEVELS = (1e-2, 1e-4, 1e-6, 1e-8)

METHODS: dict[str, tuple[Solver, Factorization, float]] = {
    "GD": (GradientDescent(0.25), Symmetric(), 1e-3),
    "PrecGD": (PreconditionedGradientDescent(), Symmetric(), 1e-3),
    # A fixed lambda leaves what the start put into columns to spare: it needs a smaller start.
    "ScaledGD(lambda)": (ScaledGradientDescent(0.3 / KAPPA, step_size=0.15), Symmetric(), 1e-10),
    "AGN": (AlternatingGaussNewton(), Asymmetric(), 1e-3),
}


def run(settings: Mapping[str, Any], progress: Progress) -> Outcome:
    """Run all methods on one instance."""
    n, m = settings["n"], settings["oversampling"] * settings["n"] * TRUE_RANK
    rng = np.random.default_rng(settings["seed"])
    basis = np.linalg.qr(rng.standard_normal((n, TRUE_RANK)))[0]
    factor = basis * np.sqrt(np.linspace(1.0, 1.0 / KAPPA, TRUE_RANK))
    operator = DenseSensing(rng.standard_normal((m, n, n)) / np.sqrt(m))
    b = operator.apply_product(factor, factor)
    curves = {}
    for done, (name, (solver, factorization, scale)) in enumerate(METHODS.items()):
        progress(name, done, len(METHODS))
        problem = FactorizedProblem(operator, b, factorization)
        w = small_random(
            problem, SEARCH_RANK, np.random.default_rng(settings["seed"]), relative_scale=scale
        )
        trace = Trace(max_time_s=settings["seconds"])
        began = time.perf_counter()
        solver.run(
            problem, w, trace=trace,
            stopping=Stopping(gradient_tol=0.0, residual_tol=LEVELS[-1], max_iterations=100_000),
        )  # fmt: skip
        elapsed = time.perf_counter() - began
        residuals = np.array([row.residual_norm for row in trace.rows]) / np.linalg.norm(b)
        # The rows' own clock starts with the trace: spread evenly, since steps cost the same.
        curves[name] = np.linspace(0.0, elapsed, residuals.size), residuals
    rows = []
    for name, (seconds, residuals) in curves.items():
        row: dict[str, Any] = {"method": name, "form": "U V^T" if name == "AGN" else "X X^T"}
        for level in LEVELS:
            below = np.flatnonzero(residuals <= level)
            row[f"steps to {level:.0e}"] = float(below[0]) if below.size else float("nan")
            row[f"s to {level:.0e}"] = float(seconds[below[0]]) if below.size else float("nan")
        rows.append(row | {"residual at the end": float(residuals[-1]), "s": float(seconds[-1])})
    by_name = {row["method"]: row for row in rows}

    def ratio(name: str, level: float) -> float:
        """Return seconds over AGN's; where a method was given up, those until then."""
        own, last = by_name[name][f"s to {level:.0e}"], by_name[name]["s"]
        return (last if np.isnan(own) else own) / by_name["AGN"][f"s to {level:.0e}"]

    values = {
        f"{key}_over_agn": ratio(name, 1e-8)
        for key, name in (("gd", "GD"), ("precgd", "PrecGD"), ("scaledgd", "ScaledGD(lambda)"))
    }
    values["agn_residual"] = by_name["AGN"]["residual at the end"]
    notes = [
        f"n = {n}, r* = {TRUE_RANK}, search rank {SEARCH_RANK}, kappa = {KAPPA:g}, m = {m} "
        f"Gaussian matrices ({operator.size_in_bytes / 1e9:.2f} GB), no noise; each method is "
        f"given up after {settings['seconds']} s. Published (other machine, accuracy not read): GD "
        "500+, PrecGD 87, ScaledGD(lambda) 56, AGN 27 s at n = 100.",
        "GD: longest stable step; PrecGD and AGN: exact line search; ScaledGD(lambda): published "
        "step, told lambda = 0.3 sigma_r, from a start 1e-10 (the others 1e-3).",
    ]
    return Outcome(values, {"Time to a relative residual": rows}, {"time": picture(curves)}, notes)


def picture(curves: dict[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Plot the residual against time."""
    figure = Figure(figsize=(6.4, 3.6))
    axes = figure.subplots()
    for name, (seconds, residuals) in curves.items():
        axes.semilogy(seconds, residuals, lw=1.2, label=name)
    axes.set(xlabel="seconds", ylabel="relative residual")
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
