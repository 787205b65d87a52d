"""The path of the objective through escapes, as a picture and as a section of the report."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .plots import AMBER, BLUE, MUTED, draw


def escape_path(attempts: Sequence[Any]) -> str:
    """Draw the objective at the point left, at the candidate, and after the descent.

    Parameters
    ----------
    attempts : sequence of EscapeAttempt
    """
    levels = np.array([[a.before, a.candidate, a.after] for a in attempts], dtype=np.float64)
    # A fit to rounding has no place on a logarithmic axis of losses: it ends at its edge.
    floor = 1e-12 * max(float(levels.max()), np.finfo(float).tiny)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for turn, attempt in enumerate(attempts, start=1):
            before, candidate, after = np.maximum(levels[turn - 1], floor)
            colour = BLUE if attempt.accepted else MUTED
            x = turn + np.array([-0.3, 0.0, 0.3])
            axes.plot(x, [before, candidate, after], "-", color=colour, lw=1.2)
            axes.plot(x[1], candidate, "o", color=AMBER, mfc="none", ms=5,
                      label="candidate" if turn == 1 else None)  # fmt: skip
            axes.plot(x[2], after, "o", color=colour, ms=5)
        axes.set_yscale("log")
        axes.set_xlabel("attempt")
        axes.set_ylabel("objective")
        axes.set_xticks(range(1, len(attempts) + 1, max(1, len(attempts) // 12)))

    return draw(paint, label="objective before, at and after every escape")


def section(recovery: Any) -> str:
    """Return the report's section on escapes; empty where none was tried."""
    attempts = recovery.escapes
    if not attempts:
        return ""
    rows = "".join(
        "<tr>"
        f"<td>{turn}</td><td>{html.escape(a.escape + (': ' + a.kind if a.kind else ''))}</td>"
        f"<td>{a.before:.3g}</td><td>{a.candidate:.3g}</td><td>{a.after:.3g}</td>"
        f"<td>{'kept' if a.accepted else 'not lower'}</td></tr>"
        for turn, a in enumerate(attempts, start=1)
    )
    return (
        "<section><h2>How wrong answers were left</h2>"
        "<p>The data rejected the point that the search had come to, so escapes proposed others to "
        "descend from. Candidates may lie higher (open circles): what counts is where the descent "
        "from them ends (full circles).</p>"
        f'<div class="plots"><figure>{escape_path(attempts)}</figure>'
        "<table><tr><th></th><th>escape</th><th>before</th><th>candidate</th><th>after</th>"
        f"<th></th></tr>{rows}</table></div></section>"
    )
