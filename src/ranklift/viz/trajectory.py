"""The plot of a trajectory: stacked panels over one axis of iterations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from ..trajectory import Trajectory, phases
from .plots import _STYLE, AMBER, BLUE, INK, MUTED, PLUM, TEAL

APART = 0.15
"""Least distance of two direct labels, as a share of a panel's height."""


@dataclass(frozen=True)
class _Panel:
    label: str
    lines: tuple[tuple[str, str, str], ...]  # column, label, colour
    log: bool
    height: float = 1.0


PANELS = (
    _Panel(
        "relative error",
        (
            ("train_error", "train", BLUE),
            ("test_error", "test", AMBER),
            ("held_out_error", "held out", TEAL),
        ),
        log=True,
        height=1.4,
    ),
    _Panel(
        "singular values",
        (("signal", "signal $\\sigma_r$", BLUE), ("residual", "residual $\\sigma_{r+1}$", AMBER)),
        log=True,
        height=1.2,
    ),
    _Panel(
        "balance",
        (("imbalance", "imbalance", PLUM), ("coupling", "coupling", TEAL)),
        log=True,
        height=1.2,
    ),
    _Panel("misalignment", (("misalignment", "sine of angle", BLUE),), log=False),
    _Panel("curvature", (("least_curvature", "$\\lambda_{\\min}$ Hessian", AMBER),), log=False),
)


def plot_trajectory(
    trajectory: Trajectory, *, stage: str | None = None, misalignment_tol: float = 0.5
) -> Figure:
    """Draw errors, singular values, balance, misalignment and curvature of a run.

    Parameters
    ----------
    trajectory : Trajectory
        Columns without a number to show (not recorded, or zero on a logarithmic axis) have no line,
        and a panel without a line is left out.
    stage : str, optional
        By default the first one recorded; of several runs of it the last.
    misalignment_tol : float, default 0.5
        See ``phases``, whose boundaries are the vertical lines where signal was recorded.

    Returns
    -------
    matplotlib.figure.Figure
        Belongs to no pyplot state: keep it by ``figure.savefig(path)``.

    Raises
    ------
    InputError
        When nothing was recorded of the stage.
    """
    stage = stage if stage is not None else trajectory.recorded[0]
    table = trajectory.table(stage)
    panels = [p for p in PANELS if any(_drawable(table[line[0]], p).any() for line in p.lines)]
    panels = panels or [PANELS[0]]
    heights = [panel.height for panel in panels]
    with rc_context(_STYLE):
        figure = Figure(figsize=(7.0, 1.3 + 1.25 * sum(heights)), layout="constrained")
        grid = figure.subplots(
            len(panels), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights}
        )[:, 0]
        x = table["iteration"].astype(float)
        for axes, panel in zip(grid, panels, strict=True):
            _paint(axes, panel, x, table)
        grid[-1].set_xlabel("iteration")
        grid[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
        grid[-1].set_xlim(x[0], max(x[-1], x[0] + 1))
        if not np.isnan(table["signal"][-1]):
            found = phases(trajectory, stage=stage, misalignment_tol=misalignment_tol)
            _mark(grid, found.alignment_end, "aligned", row=1)
            _mark(grid, found.saddle_end, "$\\sigma_r$ at half its final value", row=0)
        figure.align_ylabels(list(grid))
        rank = "" if trajectory.true_rank is None else f", r = {trajectory.true_rank}"
        figure.suptitle(
            f"{stage} on {trajectory.description}{rank}",
            x=0.01,
            ha="left",
            color=INK,
            fontsize=10.5,
        )
        figure.draw_without_rendering()  # ticks take their style when they are first drawn
    return figure


def _drawable(y: NDArray[np.float64], panel: _Panel) -> NDArray[np.bool_]:
    return np.isfinite(y) & (y > 0) if panel.log else np.isfinite(y)


def _paint(
    axes: Axes, panel: _Panel, x: NDArray[np.float64], table: dict[str, NDArray[np.float64]]
) -> None:
    ends: list[tuple[float, str, str]] = []
    for name, label, colour in panel.lines:
        y = table[name]
        drawn = _drawable(y, panel)
        if not drawn.any():
            continue
        few = drawn.sum() <= 40
        axes.plot(
            x[drawn], y[drawn], "o-" if few else "-", ms=3, lw=1.5, color=colour, clip_on=False
        )
        ends.append((float(y[drawn][-1]), label, colour))
    if panel.log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=5))
        axes.yaxis.set_minor_locator(NullLocator())
    elif panel.label == "misalignment":
        axes.set_ylim(0.0, 1.04)
        axes.set_yticks([0.0, 0.5, 1.0])
    else:
        axes.axhline(0.0, color=MUTED, lw=0.8)
        axes.margins(y=0.12)
    axes.set_ylabel(panel.label)
    axes.tick_params(labelsize=9.5)
    _label_ends(axes, ends)


def _label_ends(axes: Axes, ends: list[tuple[float, str, str]]) -> None:
    """Write each line's name at its end, right of the axes, none on top of another."""
    to_share = axes.transData + axes.transAxes.inverted()
    at = [float(to_share.transform((axes.get_xlim()[0], y))[1]) for y, _, _ in ends]
    previous = -np.inf
    for i in np.argsort(at):
        height = max(at[i], previous + APART)
        _, label, colour = ends[i]
        axes.text(1.012, height, label, color=colour, transform=axes.transAxes, va="center",
                  fontsize=9.5)  # fmt: skip
        previous = height


def _mark(grid: NDArray[np.object_], iteration: int | None, label: str, *, row: int) -> None:
    """Draw a boundary through all panels and name it above the first."""
    if iteration is None:
        return
    for axes in grid:
        axes.axvline(iteration, color=MUTED, lw=0.9, ls=(0, (4, 3)), alpha=0.8, zorder=0.9)
    top: Axes = grid[0]
    low, high = top.get_xlim()
    late = iteration > low + 0.6 * (high - low)
    top.annotate(f"{label} ({iteration})", (iteration, 1.0), xytext=(0, 3 + 12 * row),
                 xycoords=top.get_xaxis_transform(), textcoords="offset points",
                 color=MUTED, fontsize=8.5, ha="right" if late else "left",
                 va="bottom")  # fmt: skip
