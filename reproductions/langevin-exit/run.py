"""Exit and recurrence times of three Langevin dynamics on a two-well low-rank loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ranklift.escapes import nonreversible_path, overdamped_path, underdamped_path
from ranklift.instances import two_by_two_weighted
from ranklift.reproduce import Outcome, Progress

METHODS = ("overdamped", "overdamped, longer step", "underdamped", "non-reversible")

STRENGTH = 2.0
"""Of the skew drift: I + J lengthens steps by sqrt(1 + STRENGTH^2); the longer overdamped step
grants that to the other method, too."""


def run(settings: Mapping[str, Any], progress: Progress) -> Outcome:
    """Measure, per method: first exit from the spurious well, and return to it."""
    a, replicas, limit = settings["a"], settings["replicas"], settings["limit"]
    rows, values, samples = [], {}, {}
    for done, heat in enumerate(settings["temperatures"]):
        progress("temperatures", done, len(settings["temperatures"]))
        for name in METHODS:
            rng = np.random.default_rng([settings["seed"], done])
            exits, returns = times(name, a, heat, settings["step"], replicas, limit, rng)
            samples[heat, name] = exits, returns
            row: dict[str, Any] = {"temperature": heat, "dynamics": name}
            for what, t in (("exit", exits), ("return", returns)):
                mean, half = mean_and_half_width(t)
                row |= {f"mean {what}, gradients": mean, f"{what}, 95%": half,
                        f"{what} not seen": int(np.isinf(t).sum())}  # fmt: skip
            rows.append(row)
    for key, name, reference in (
        ("underdamped", "underdamped", METHODS[0]),
        ("underdamped_long", "underdamped", METHODS[1]),
        ("nonreversible", "non-reversible", METHODS[0]),
        ("nonreversible_long", "non-reversible", METHODS[1]),
    ):
        for what in (0, 1):
            # Returns at low temperatures are cut off by the limit: only the highest is compared.
            heats = settings["temperatures"] if what == 0 else settings["temperatures"][-1:]
            worst = 0.0
            for heat in heats:
                fast, half = mean_and_half_width(samples[heat, name][what])
                slow, slow_half = mean_and_half_width(samples[heat, reference][what])
                worst = max(worst, (fast + half) / (slow - slow_half))
            values[f"{key}_{('exit', 'return')[what]}"] = worst
    notes = [
        f"f = (1 + a)(u1^2 - 1)^2 + (1 + a)(u2^2 - 1)^2 + 2 (u1 u2 - 1)^2, a = {a:g}: two global "
        "minima +-(1, 1), two spurious ones. Each replica starts at a spurious one; exit: u1 u2 > "
        "0.5; return: from there until u1 u2 < -0.2.",
        f"Equal numbers of gradients are compared; {replicas} replicas. The overdamped step is "
        f"{settings['step']:g} or {np.sqrt(1 + STRENGTH**2):.2f} times that, the non-reversible "
        f"one the first with a drift of strength {STRENGTH:g}, the kinetic one sqrt(2 h): the same "
        "diffusion at friction 1, here with friction 0.5.",
        "Ratios: the upper end of the faster's 95% interval over the lower end of the "
        "overdamped's. Returns are means of what was seen before the limit, exits never seen count "
        "as the limit.",
    ]
    return Outcome(values, {"Times in gradients": rows}, {"exit": picture(samples)}, notes)


def loss_gradient(a: float) -> Any:
    """Return the gradient of the two-well loss over replicas, (..., 2) -> (..., 2)."""

    def gradient(u: np.ndarray) -> np.ndarray:
        cross = 4 * (u[..., :1] * u[..., 1:] - 1) * u[..., ::-1]
        return 4 * (1 + a) * (u**2 - 1) * u + cross

    return gradient


def times(
    name: str, a: float, heat: float, step: float, replicas: int, limit: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return first exits and, counted from there, first returns; infinite where not seen."""
    x = two_by_two_weighted(a).spurious_points[0][:, 0]
    start = np.tile(x, (replicas, 1))
    gradient = loss_gradient(a)
    path: Iterator[np.ndarray]
    if name.startswith("overdamped"):
        longer = np.sqrt(1 + STRENGTH**2) if "longer" in name else 1.0
        path = overdamped_path(gradient, start, longer * step, heat, rng)
    elif name == "underdamped":
        path = underdamped_path(gradient, start, np.sqrt(2 * step), heat, rng, friction=0.5)
    else:
        skew = np.array([[0.0, STRENGTH], [-STRENGTH, 0.0]])
        path = nonreversible_path(gradient, start, step, heat, rng, skew=skew)
    exits, returns = np.full(replicas, np.inf), np.full(replicas, np.inf)
    for t, u in zip(range(1, limit + 1), path, strict=False):
        side = u[:, 0] * u[:, 1]
        back = np.isfinite(exits) & np.isinf(returns) & (side < -0.2)
        returns[back] = t - exits[back]
        exits[np.isinf(exits) & (side > 0.5)] = t
        if np.isfinite(returns).all():
            break
    exits[np.isinf(exits)] = limit
    return exits, returns


def mean_and_half_width(t: np.ndarray) -> tuple[float, float]:
    """Return the mean of what was seen, and half its 95% interval."""
    seen = t[np.isfinite(t)]
    if seen.size < 2:
        return float("nan"), float("nan")
    return float(seen.mean()), float(1.96 * seen.std(ddof=1) / np.sqrt(seen.size))


def picture(samples: dict[tuple[float, str], tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Plot the share that has not left against the number of gradients."""
    figure = Figure(figsize=(9.0, 3.2))
    heats = list(dict.fromkeys(heat for heat, _ in samples))
    panels = figure.subplots(1, len(heats), sharey=True, squeeze=False)[0]
    for axes, heat in zip(panels, heats, strict=True):
        for name in METHODS:
            t = np.sort(samples[heat, name][0])
            axes.semilogx(t, 1 - np.arange(1, t.size + 1) / t.size, lw=1.2, label=name)
        axes.set(xlabel="gradients", title=f"T = {heat:g}")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("share still in the spurious well")
    panels[0].legend(frameon=False, fontsize=8)
    return figure
