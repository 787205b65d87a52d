"""What an escape costs without tensors, and what the lifted problem costs with them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ranklift.errors import TooLargeError
from ranklift.escapes import LiftedProblem, SimulatedLift
from ranklift.factorizations import Symmetric
from ranklift.operators import QuadraticSensing
from ranklift.problem import FactorizedProblem
from ranklift.reproduce import Outcome, Progress


def run(settings: Mapping[str, Any], progress: Progress) -> Outcome:
    """Time explicit gradients and matrix-free escapes."""
    explicit, simulated = [], []
    for done, (n, order) in enumerate([tuple(x) for x in settings["explicit"]]):
        progress("explicit lifts", done, len(settings["explicit"]))
        explicit.append(lifted(n, order))
    for done, n in enumerate(settings["sizes"]):
        progress("escapes", done, len(settings["sizes"]))
        simulated.append(escape(n, settings["seed"]))
    known = {(row["n"], row["l"]): row for row in explicit}
    values = {
        "most_applications": float(max(row["applications and adjoints"] for row in simulated)),
        "gradients_at_largest": simulated[-1]["over gradients"],
        "growth_with_order": known[3, 5]["s a gradient"] / known[3, 3]["s a gradient"],
        "growth_with_size": known[5, 3]["s a gradient"] / known[3, 3]["s a gradient"],
        "explicit_refused": float(
            sum(row["s a gradient"] != row["s a gradient"] for row in explicit)
        ),
    }
    notes = [
        "Explicit: m = n (n + 1) / 2 symmetric Gaussian matrices, r = 1, one gradient of h^l; "
        "refused above 1 GB in one array. Lifted descent takes hundreds to 1e5 of them.",
        "Escape: quadratic sensing with m = 4 n Gaussian vectors, rank 1, all candidates of one "
        "eigenvector. Its time holds a Lanczos run of at most 60 products with A*(residual), each "
        "as dear as a gradient here; 'over gradients' counts them in.",
    ]
    tables = {"Explicit lifted problem": explicit, "SimulatedLift": simulated}
    return Outcome(values, tables, {"cost": picture(explicit, simulated)}, notes)


def lifted(n: int, order: int) -> dict[str, Any]:
    """Time one gradient of the explicit lifted problem."""
    rng = np.random.default_rng(0)
    m = n * (n + 1) // 2
    matrices = rng.standard_normal((m, n, n))
    row: dict[str, Any] = {"n": n, "l": order, "numbers in a tensor": float((m * n) ** order)}
    try:
        problem = LiftedProblem(matrices + matrices.transpose(0, 2, 1), np.ones(m), order)
    except TooLargeError:
        return row | {"s a gradient": float("nan")}
    w = problem.lift(rng.standard_normal((n, 1)))
    return row | {"s a gradient": least_time(lambda: problem.value_and_gradient(w))}


def escape(n: int, seed: int) -> dict[str, Any]:
    """Time one escape, and one gradient beside it."""
    rng = np.random.default_rng(seed)
    operator = QuadraticSensing(rng.standard_normal((4 * n, n)) / np.sqrt(4 * n))
    z = rng.standard_normal((n, 1))
    problem = FactorizedProblem(operator, operator.apply_product(z, z), Symmetric())
    w = rng.standard_normal((n, 1))
    assert problem.scale > 0  # measured once a problem: no cost of an escape
    problem.counts.apply = problem.counts.adjoint = 0
    found = SimulatedLift(eigenvectors=1).candidates(problem, w, {}, np.random.default_rng(0))
    count = problem.counts.apply + problem.counts.adjoint
    seconds = least_time(
        lambda: SimulatedLift(eigenvectors=1).candidates(problem, w, {}, np.random.default_rng(0))
    )
    gradient = least_time(lambda: problem.evaluate(w))
    return {
        "n": n, "m": 4 * n, "candidates": len(found), "applications and adjoints": count,
        "s an escape": seconds, "s a gradient": gradient, "over gradients": seconds / gradient,
    }  # fmt: skip


def least_time(work: Any) -> float:
    """Return the least of three times."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def picture(explicit: list[dict[str, Any]], simulated: list[dict[str, Any]]) -> Figure:
    """Plot times against n."""
    figure = Figure(figsize=(6.4, 3.6))
    axes = figure.subplots()
    for order in sorted({row["l"] for row in explicit}):
        rows = [row for row in explicit if row["l"] == order]
        axes.loglog([r["n"] for r in rows], [r["s a gradient"] for r in rows], "o-", ms=3, lw=1,
                    label=f"explicit, l = {order}: one gradient")  # fmt: skip
    axes.loglog([r["n"] for r in simulated], [r["s an escape"] for r in simulated], "ko-", ms=3,
                label="SimulatedLift: a whole escape")  # fmt: skip
    axes.set(xlabel="n", ylabel="seconds")
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
