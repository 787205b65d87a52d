"""The report's plots as SVG text, drawn without pyplot and without global state."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

INK, MUTED, GRID = "#1f2933", "#5f6c7b", "#e3e8ee"
BLUE, AMBER, TEAL, PLUM = "#2b6299", "#b45f06", "#2a7f74", "#7a4988"
STAGE_COLOURS = (BLUE, AMBER, TEAL, PLUM)
STAGE_NAMES = {
    "nuclear_norm": "regularised fit",
    "refit": "refit",
    "log_det": "rank search",
}
SAMPLE = 200_000  # points of a density plot; more do not change the picture

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: sharp, small, readable by a screen reader
    "svg.hashsalt": "ranklift",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Helvetica", "Arial"],
    "font.size": 10.5,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "path.simplify": True,
}


def draw(
    paint: Callable[[Figure], None], *, label: str, size: tuple[float, float] = (5.6, 3.6)
) -> str:
    """Return the SVG element of a figure; `label` is its text for a screen reader."""
    with rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        paint(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", dpi=160, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="[A-Za-z]\w*_\d+"', "", svg)  # such ids would repeat across plots
    width, height = (f"{72 * side:g}" for side in size)
    text = label.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return re.sub(
        r"<svg[^>]*>",
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label="{text}">',
        svg,
        count=1,
    )


def convergence(rows: Sequence[Any], threshold: float | None = None) -> str:
    """Draw the objective, and the certified gap and relative gradient, against time.

    Parameters
    ----------
    rows : sequence of TraceRow
    threshold : float, optional
        Relative gap below which the certificate holds, drawn as a line.
    """
    time, gap = _column(rows, "elapsed_s"), _column(rows, "gap")
    gradient = _column(rows, "gradient_norm")
    searches = [row for row in rows if row.stage != "certificate"]
    names = list(dict.fromkeys(row.stage for row in searches))

    def paint(figure: Figure) -> None:
        upper, lower = figure.subplots(2, 1, sharex=True)
        for k, name in enumerate(names):
            x, y = _unbroken(searches, name, "objective")
            upper.plot(x, y, "o-", ms=2.2, lw=1.1, color=STAGE_COLOURS[k % len(STAGE_COLOURS)],
                       label=STAGE_NAMES.get(name, name.replace("_", " ")))  # fmt: skip
        upper.set_ylabel("objective")
        if _spans_decades(_column(searches, "objective")):
            upper.set_yscale("log")
        else:  # the usual factor "1e6" above the axis would collide with the legend
            upper.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.5g}"))
        if len(names) <= 6:
            _legend_above(upper)
        steep = np.isfinite(gradient) & (gradient > 0)
        if steep.any():
            lower.plot(time[steep], gradient[steep], ".", color=MUTED, ms=3, alpha=0.7,
                       label="relative gradient")  # fmt: skip
        known = np.isfinite(gap) & (gap > 0)
        if known.any():
            lower.plot(time[known], gap[known], "o-", color=PLUM, ms=4.5, lw=1.4,
                       label="certified gap")  # fmt: skip
        if threshold is not None and threshold > 0:
            lower.axhline(threshold, color=AMBER, lw=1.1, ls="--", label="required gap")
        if lower.get_legend_handles_labels()[0]:
            lower.set_yscale("log")
            _legend_above(lower)
        lower.set_ylabel("optimality")
        lower.set_xlabel("seconds")

    return draw(paint, label="objective and certified gap against time", size=(5.6, 4.6))


def spectrum(values: Any, rank: int, convex_values: Any = None, noise: float | None = None) -> str:
    """Draw singular values of the answer and of the convex solution, with the chosen rank."""
    own = _positive(values)[:60]
    convex = _positive(convex_values)[:60]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        if convex.size:
            axes.plot(np.arange(1, convex.size + 1), convex, "s", color=AMBER, ms=5, mfc="none",
                      label="regularised fit")  # fmt: skip
        if own.size:
            axes.plot(np.arange(1, own.size + 1), own, "o-", color=BLUE, ms=5, lw=1.2,
                      label="answer")  # fmt: skip
        if rank > 0:
            axes.axvline(rank + 0.5, color=MUTED, lw=1.1, ls="--", label=f"chosen rank {rank}")
        if noise is not None and noise > 0:
            axes.axhline(noise, color=TEAL, lw=1.1, ls=":", label="noise level")
        if _spans_decades(np.concatenate([own, convex])):
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
            axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:.4g}"))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlim(0.5, max(own.size, convex.size, rank, 3) + 0.9)
        axes.set_xlabel("number of the singular value")
        axes.set_ylabel("singular value")
        _legend_above(axes)

    return draw(paint, label=f"singular values, chosen rank {rank}")


def observed_against_fitted(observed: Any, fitted: Any, *, title: str = "observed") -> str:
    """Draw fitted against observed values: points, or a density for more than 2,000."""
    x, y = _sampled(observed, fitted)
    low = float(min(x.min(), y.min()))
    high = float(max(x.max(), y.max()))
    margin = 0.03 * (high - low) or 1.0

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        if x.size > 2000:
            cells = axes.hexbin(x, y, gridsize=48, bins="log", mincnt=1, cmap="Blues",
                                linewidths=0.2, extent=(low, high, low, high),
                                rasterized=True)  # fmt: skip
            bar = figure.colorbar(cells, ax=axes, pad=0.01, aspect=30)
            bar.set_label("measurements in a cell")
            bar.outline.set_visible(False)  # type: ignore[union-attr]
        else:
            axes.plot(x, y, "o", color=BLUE, ms=4, alpha=0.55, mec="none")
        axes.plot([low, high], [low, high], color=AMBER, lw=1.2, label="fitted = observed")
        axes.set_xlim(low - margin, high + margin)
        axes.set_ylim(low - margin, high + margin)
        axes.set_xlabel(f"{title} value")
        axes.set_ylabel("fitted value")
        _legend_above(axes)

    return draw(paint, label=f"fitted against {title} values", size=(5.6, 4.2))


def residual_histogram(residuals: Any) -> str:
    """Draw the residuals' histogram beside the normal curve of the same mean and spread."""
    x = np.asarray(residuals, dtype=np.float64).ravel()
    mean, spread = float(x.mean()), float(x.std())
    # heavy tails would squeeze the bars into one: show the central 99.8 % and say so
    low, high = (float(q) for q in np.quantile(x, [0.001, 0.999]))
    if not high > low:
        low, high = mean - (abs(mean) or 1.0), mean + (abs(mean) or 1.0)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        bins = int(np.clip(np.sqrt(x.size), 12, 60))
        width = (high - low) / bins
        axes.hist(x, bins=bins, range=(low, high), weights=np.full(x.size, 1.0 / x.size),
                  color=BLUE, alpha=0.75, edgecolor="white", linewidth=0.4,
                  label="residuals")  # fmt: skip
        if spread > 0:
            t = np.linspace(low, high, 200)
            curve = np.exp(-0.5 * ((t - mean) / spread) ** 2) / (spread * np.sqrt(2 * np.pi))
            axes.plot(t, width * curve, color=AMBER, lw=1.4, label="normal curve")
        axes.set_xlabel("observed minus fitted")
        axes.set_ylabel("share of the measurements")
        _legend_above(axes)

    return draw(paint, label="histogram of the residuals")


def holdout_path(points: Sequence[tuple[float, float]], chosen: float, *, unit: str) -> str:
    """Draw the hold-out error against the regularisation, with the chosen value."""
    pairs = sorted((x, y) for x, y in points if x > 0 and np.isfinite(y))

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot(*zip(*pairs, strict=True), "o-", color=BLUE, ms=4.5, lw=1.3)
        axes.axvline(chosen, color=AMBER, lw=1.1, ls="--", label=f"chosen: {chosen:.3g}")
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(unit)
        axes.set_ylabel("hold-out RMSE")
        _legend_above(axes)

    return draw(paint, label="hold-out error along the regularisation path")


def _unbroken(
    rows: Sequence[Any], stage: str, name: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return time and a column of a stage, with NaN where another run of it begins."""
    x: list[float] = []
    y: list[float] = []
    last: Any = None
    for row in rows:
        if row.stage == stage:
            if last is None or last.stage != stage or row.iteration <= last.iteration:
                x.append(np.nan)
                y.append(np.nan)
            x.append(float(row.elapsed_s))
            y.append(float(getattr(row, name)))
        last = row
    return np.array(x), np.array(y)


def _legend_above(axes: Axes) -> None:
    if not axes.get_legend_handles_labels()[0]:
        return
    # inside the axes a legend would cover data at one place or another
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=3, borderaxespad=0.1,
                handlelength=1.6, columnspacing=1.1, handletextpad=0.5)  # fmt: skip


def _spans_decades(values: NDArray[Any]) -> bool:
    positive = values[np.isfinite(values) & (values > 0)]
    return bool(positive.size) and float(positive.max()) > 20 * float(positive.min())


def _column(rows: Sequence[Any], name: str) -> NDArray[np.float64]:
    return np.array([float(getattr(row, name)) for row in rows], dtype=np.float64)


def _positive(values: Any) -> NDArray[np.float64]:
    if values is None:
        return np.empty(0)
    array = np.asarray(values, dtype=np.float64).ravel()
    return array[np.isfinite(array) & (array > 0)]


def _sampled(observed: Any, fitted: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x = np.asarray(observed, dtype=np.float64).ravel()
    y = np.asarray(fitted, dtype=np.float64).ravel()
    if x.size > SAMPLE:
        pick = np.random.default_rng(0).choice(x.size, SAMPLE, replace=False)
        x, y = x[pick], y[pick]
    return x, y
