"""One self-contained HTML file that says what was asked, what came out and how far to trust it."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..io.atomic import write_text
from . import escapes, plots
from .style import CSS
from .words import RIGOR_WORDS, VERDICT_WORDS, headline, meaning


@dataclass(frozen=True, eq=False)
class ReportContext:
    """Hold what a report says beyond the Recovery itself; every part may be missing.

    Parameters
    ----------
    title : str
    data : mapping of str to str
        What the data are, in words: source, size, density.
    parameters : mapping of str to str
        What was asked for.
    observed, fitted : array, shape (m,)
        Observed values and their fit, in the data's own units.
    holdout_observed, holdout_fitted : array, shape (h,)
        Entries kept aside from the fit.
    comparisons : mapping of str to float
        Hold-out RMSE of simpler models, by name.
    provenance : mapping of str to str
        What reproduces the result, beside ``Recovery.provenance``.
    selection : mapping, optional
        What the hold-out for rank and regularisation compared (``HoldOut.to_dict``); by default
        ``Recovery.holdout``.
    elapsed_s : float, optional
        Seconds of everything; by default ``Recovery.wall_time``.
    warnings : sequence of str
    """

    title: str = "Low-rank recovery"
    data: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    observed: Any = None
    fitted: Any = None
    holdout_observed: Any = None
    holdout_fitted: Any = None
    comparisons: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
    selection: Mapping[str, Any] | None = None
    elapsed_s: float | None = None
    warnings: Sequence[str] = ()


def build_report(recovery: Any, context: ReportContext | None = None) -> str:
    """Return the report of a Recovery as one HTML page without outside resources.

    Parameters
    ----------
    recovery : Recovery
    context : ReportContext, optional
        Without it the data are taken from ``recovery.operator`` and ``recovery.measurements``.

    Notes
    -----
    Every text is escaped. Plots are inline SVG; a density plot of many points holds one bitmap.
    Cost: about two seconds, whatever the size of the data.
    """
    context = ReportContext() if context is None else context
    observed, fitted = _observed_and_fitted(recovery, context)
    sections = [
        _answer(recovery, context, observed, fitted),
        _asked(recovery, context),
        _plots(recovery, context, observed, fitted),
        escapes.section(recovery),
        _selection(recovery, context),
        _holdout(context),
        _certificates(recovery),
        _provenance(recovery, context),
    ]
    title = html.escape(context.title)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>{title}</h1>\n<p class="sub">Low-rank recovery with a certificate, by ranklift</p>\n'
        + "\n".join(section for section in sections if section)
        + "\n</main>\n</body>\n</html>\n"
    )


def write_report(path: Path | str, recovery: Any, context: ReportContext | None = None) -> None:
    """Write `build_report` to a file, atomically."""
    write_text(path, build_report(recovery, context))


def rmse(observed: Any, fitted: Any) -> float:
    """Return the root mean square difference.

    Examples
    --------
    >>> rmse([1.0, 2.0], [1.0, 4.0]) ** 2
    2.0000000000000004
    """
    difference = np.asarray(observed, dtype=np.float64) - np.asarray(fitted, dtype=np.float64)
    return float(np.sqrt(np.mean(difference**2)))


def _observed_and_fitted(recovery: Any, context: ReportContext) -> tuple[Any, Any]:
    if context.observed is not None:
        return context.observed, context.fitted
    if recovery.operator is None or recovery.measurements is None:
        return None, None
    return recovery.measurements, recovery.operator.apply(recovery.matrix)


def _unit(recovery: Any) -> str:
    """Return what the measurements are called: entries of the matrix, or anything else."""
    from ..certificates.sampling import sampled_entries
    from ..operators import IdentitySensing

    operator = recovery.operator
    if operator is None or isinstance(operator, IdentitySensing):
        return "entries"
    return "measurements" if sampled_entries(operator) is None else "entries"


def _one_bit(recovery: Any) -> bool:
    return type(recovery.loss).__name__ == "Logistic"


def _answer(recovery: Any, context: ReportContext, observed: Any, fitted: Any) -> str:
    line = headline(recovery)
    elapsed = recovery.wall_time if context.elapsed_s is None else context.elapsed_s
    tiles = [(str(recovery.rank), "rank of the answer")]
    if context.holdout_observed is not None and len(context.holdout_observed):
        error = rmse(context.holdout_observed, context.holdout_fitted)
        tiles.append((number(error), "RMSE on held-out entries"))
    elif _one_bit(recovery):
        if fitted is not None:
            share = float(np.mean(np.asarray(observed) * np.asarray(fitted) > 0))
            tiles.append((f"{100 * share:.3g} %", "of the outcomes on the fitted side"))
    elif recovery.relative_residual is not None:
        tiles.append((number(recovery.relative_residual), "relative residual"))
    if recovery.convex is not None:
        tiles.append((number(recovery.convex.relative_gap), "certified relative gap"))
    tiles.append((f"{elapsed:.3g} s", "to fit and certify"))
    warnings = "".join(f'<p class="note">{html.escape(text)}</p>' for text in context.warnings)
    return (
        f'<section class="answer {"good" if line.certified else "bad"}">'
        f'<span class="badge {"holds" if line.certified else "fails"}">{line.badge}</span>'
        f"<p>{html.escape(line.sentence)}</p>"
        '<div class="tiles">'
        + "".join(
            f'<div class="tile"><b>{html.escape(value)}</b><span>{name}</span></div>'
            for value, name in tiles
        )
        + f"</div>{warnings}</section>"
    )


def _asked(recovery: Any, context: ReportContext) -> str:
    n1, n2 = recovery.matrix.shape
    data = dict(context.data) or {"Matrix": f"{n1:,} x {n2:,}"}
    return (
        "<section><h2>What was asked</h2>" + _facts({**data, **context.parameters}) + "</section>"
    )


def _plots(recovery: Any, context: ReportContext, observed: Any, fitted: Any) -> str:
    figures: list[tuple[str, str, str]] = []
    rows = _rows(recovery.trace)
    convex = recovery.convex
    if rows:
        report = convex.certificates.get("duality_gap") if convex is not None else None
        threshold = float(report.threshold) if report is not None else None
        figures.append(
            (
                "Convergence",
                plots.convergence(rows, threshold),
                (
                    "Each stage has its own objective. The gap bounds how far the regularised fit "
                    "is from the best one; it is computed, not estimated."
                ),
            )
        )
    convex_values = None
    if convex is not None and recovery.refitted:
        convex_values = singular_values(convex.left, convex.right)
    figures.append(
        (
            "Spectrum",
            plots.spectrum(recovery.singular_values, recovery.rank, convex_values),
            (
                "A drop after the chosen rank supports the choice; a slow decay means that the "
                "data are only approximately of low rank."
                if recovery.refitted
                else "The regularisation sets small singular values to zero, so the rank follows "
                "from it. A slow decay means that the data are only approximately of low rank."
            ),
        )
    )
    if observed is not None and len(observed):
        figures.append(
            (
                "Observed against fitted",
                plots.observed_against_fitted(observed, fitted),
                f"The {len(observed):,} {_unit(recovery)} that were fitted"
                + (f" ({plots.SAMPLE:,} drawn)." if len(observed) > plots.SAMPLE else ".")
                + _one_bit_words(recovery),
            )
        )
        residuals = np.asarray(observed, dtype=np.float64) - np.asarray(fitted, dtype=np.float64)
        if not _one_bit(recovery):
            text = f"Root mean square {number(rmse(observed, fitted))}. {_tails(recovery)}"
            figures.append(("Residuals", plots.residual_histogram(residuals), text))
    body = "".join(
        f"<figure><h3>{title}</h3>{svg}<figcaption>{html.escape(text)}</figcaption></figure>"
        for title, svg, text in figures
    )
    return f'<section><h2>How it went</h2><div class="plots">{body}</div></section>'


def _one_bit_words(recovery: Any) -> str:
    """Return what the fitted value of a 1-bit measurement means."""
    if not _one_bit(recovery):
        return ""
    return (
        " Each was -1 or 1; the fitted value z gives 1 the probability 1 / (1 + exp(-z)), so that "
        "outcomes and values need only have the same sign."
    )


def _tails(recovery: Any) -> str:
    """Return what heavy tails of the residuals mean for the loss that was minimised."""
    if type(recovery.loss).__name__ == "Squared":
        return "Skew or heavy tails mean that least squares is not the natural loss for these data."
    return (
        "Gross errors lie far outside, in the tails, and hardly move this robust fit; the plot "
        "shows the central 99.8 %."
    )


def _selection(recovery: Any, context: ReportContext) -> str:
    found = context.selection or recovery.holdout
    if not found:
        return ""
    unit = _unit(recovery)
    facts = {
        "Share held out": f"{100 * found['share']:.3g} % of the {unit}",
        "Regularisation chosen": number(found["regularization"]),
        "Best rank of a refit": "none" if found["refit_error"] is None else str(found["rank"]),
        "Hold-out RMSE, regularised fit": number(found["convex_error"]),
        "Hold-out RMSE, refit": "not tried: too few entries in many rows or columns"
        if found["refit_error"] is None
        else number(found["refit_error"]),
    }
    if unit != "entries" and found["refit_error"] is None:
        facts["Hold-out RMSE, refit"] = "not tried: too few measurements"
    if "baseline_error" in found:
        facts["Hold-out RMSE, offsets alone"] = number(found["baseline_error"])
    path = [(float(row[0]), float(row[-1])) for row in found.get("path", ())]
    figure = ""
    if len(path) > 1:
        # the path was run on the train entries; the chosen value is scaled to all of them
        least = min(path, key=lambda point: point[1])[0]
        svg = plots.holdout_path(path, least, unit=f"regularisation on the train {unit}")
        figure = (
            f"<figure>{svg}<figcaption>The error along the path of regularisation values "
            f"that were tried, on the train {unit}; the value chosen there is scaled to all "
            f"{unit}.</figcaption></figure>"
        )
    return (
        "<section><h2>How regularisation and rank were chosen</h2>"
        f"<p>By the error on {unit} held out for this purpose; the final fit uses all of them. "
        "Having guided the choice, this error is slightly too good. It is in the units of the fit"
        + (": where columns were scaled, in units of their spread" if unit == "entries" else "")
        + ".</p>"
        f'<div class="plots"><div>{_facts(facts)}</div>{figure}</div></section>'
    )


def _holdout(context: ReportContext) -> str:
    if context.holdout_observed is None or not len(context.holdout_observed):
        return ""
    observed, fitted = context.holdout_observed, context.holdout_fitted
    errors = {"This answer": rmse(observed, fitted), **context.comparisons}
    facts = {name: number(error) for name, error in errors.items()}
    svg = plots.observed_against_fitted(observed, fitted, title="held-out")
    return (
        "<section><h2>Entries kept aside</h2>"
        f"<p>{len(observed):,} entries took no part in the fit. Root mean square error on them:</p>"
        f'<div class="plots"><div>{_facts(facts)}</div>'
        f"<figure>{svg}<figcaption>Held-out entries: the honest picture of how well blanks are "
        "filled.</figcaption></figure></div></section>"
    )


def _certificates(recovery: Any) -> str:
    cards = []
    if recovery.convex is not None:
        of = "about the regularised fit" + ("" if recovery.refitted else ", which is the answer")
        cards += [_card(name, item, of) for name, item in recovery.convex.certificates.items()]
    of = "about the answer"
    cards += [_card(name, item, of) for name, item in recovery.certificates.items()]
    if not cards:
        cards = ["<p>No certificate was asked for.</p>"]
    return (
        "<section><h2>What is established</h2>"
        "<p>Each check was computed from the data and the factors alone. It says what it says "
        "about the fit to the data; none of them can say that the data are right.</p>"
        + "".join(cards)
        + "</section>"
    )


def _card(name: str, report: Any, of: str) -> str:
    verdict = str(getattr(report.verdict, "value", report.verdict))
    rigor = str(getattr(report.rigor, "value", report.rigor))
    # the count of measurements alone knows no rows and columns
    words = meaning(name, report.statement, entries="connected_parts" in report.details)
    facts = {
        "What it says" if verdict == "holds" else "What it would say": words.says,
        "What it does not say": words.does_not_say,
        "As it does not hold": words.otherwise if verdict != "holds" else "",
        "Measured": f"{number(report.measured)}, required {_relation(name)} "
        f"{number(report.threshold)}",
        "How strictly": RIGOR_WORDS.get(rigor, rigor),
        "Checked statement": report.statement,
    }
    if report.assumptions:
        facts["Assumes"] = "; ".join(report.assumptions)
    if report.details:
        facts["Details"] = ", ".join(
            f"{key.replace('_', ' ')} {number(value)}" for key, value in report.details.items()
        )
    if report.source:
        facts["Source"] = report.source
    body = "".join(
        f"<dt>{html.escape(key)}</dt><dd>{html.escape(value)}</dd>"
        for key, value in facts.items()
        if value
    )
    return (
        f'<article class="cert"><header><span class="badge {html.escape(verdict)}">'
        f"{html.escape(VERDICT_WORDS.get(verdict, verdict))}</span><h3>{html.escape(words.title)}"
        f'</h3><span class="of">{of}</span></header><dl>{body}</dl></article>'
    )


def _relation(name: str) -> str:
    return "at least" if name in ("identifiability", "sampling") else "at most"


def _provenance(recovery: Any, context: ReportContext) -> str:
    facts = {_words(key): _text(value) for key, value in recovery.provenance.items()}
    facts |= dict(context.provenance)
    counts = recovery.counts
    facts["Operator applications"] = (
        f"{counts.apply:,} forward, {counts.adjoint:,} adjoint, {counts.hvp:,} Hessian products"
    )
    status = str(getattr(recovery.status, "value", recovery.status))
    facts["Iteration ended with"] = status.replace("_", " ")
    return (
        "<section><h2>How to reproduce it</h2>"
        + _facts(facts)
        + '<p class="note">The result file holds the data and the factors: <code>ranklift verify'
        "</code> recomputes every check from them.</p></section>"
    )


def _facts(facts: Mapping[str, str]) -> str:
    body = "".join(
        f"<dt>{html.escape(str(key))}</dt><dd>{html.escape(str(value))}</dd>"
        for key, value in facts.items()
    )
    return f'<dl class="facts">{body}</dl>'


def _rows(trace: Any) -> Sequence[Any]:
    if trace is None:
        return ()
    return list(trace.rows if hasattr(trace, "rows") else trace)


def singular_values(left: Any, right: Any) -> Any:
    """Return the singular values of L R^T through two small QR factors."""
    r_left = np.asarray(np.linalg.qr(np.asarray(left), mode="r"))
    r_right = np.asarray(np.linalg.qr(np.asarray(right), mode="r"))
    return np.linalg.svd(r_left @ r_right.T, compute_uv=False)


def number(value: float) -> str:
    """Return a number as a person writes it.

    Examples
    --------
    >>> [number(v) for v in (0, 3.0, 0.123456, 3.2e-9, 1234567.0, float("nan"))]
    ['0', '3', '0.1235', '3.2e-09', '1,234,567', 'not computed']
    """
    value = float(value)
    if math.isnan(value):
        return "not computed"
    if value == int(value) if math.isfinite(value) else False:
        return f"{int(value):,}" if abs(value) < 1e12 else f"{value:.3g}"
    if 1e-3 <= abs(value) < 1e6:
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return f"{value:.3g}"


def _words(key: str) -> str:
    return str(key).replace("_", " ").capitalize()


def _text(value: Any) -> str:
    if value is None:
        return "not given"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    if isinstance(value, float):
        return number(value)
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ", ".join(_text(item) for item in value)
    return str(value)
