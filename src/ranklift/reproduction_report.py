"""Reports of reproductions: a table of verdicts a run, and the pages of all of them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .io.atomic import atomic_path, write_text
from .reproduce import Report, load_claim, names


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write SIZE.json, SIZE.md and figures into a folder; return what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / f"{report.size}.json", folder / f"{report.size}.md"]
    write_text(written[0], json.dumps(report.to_dict(), indent=1) + os.linesep)
    for name, figure in report.outcome.figures.items():
        path = folder / f"{report.size}-{name}.png"
        with atomic_path(path) as aside:
            figure.savefig(aside, dpi=110, bbox_inches="tight")
        written.append(path)
    write_text(written[1], markdown(report))
    return written


def markdown(report: Report) -> str:
    """Return the report as Markdown: verdicts, tables, figures, deviations."""
    claim = report.claim
    lines = [
        f"## {claim.title}",
        "",
        f"`ranklift reproduce {claim.name} --size {report.size}`: **{report.verdict.value}**, "
        f"{report.elapsed_s:.0f} s. Source: {claim.source}",
        "",
    ]
    rows = [
        {
            "quantity": quantity.statement,
            "whose": quantity.origin,
            "claimed": quantity.claimed,
            "measured": report.outcome.values.get(quantity.name),
            "verdict": report.verdicts[quantity.name].value,
        }
        for quantity in claim.quantities
    ]
    lines += [*table(rows), ""]
    for name, content in report.outcome.tables.items():
        lines += [f"{name}:", "", *table(content), ""]
    for name in report.outcome.figures:
        lines += [f"![{name}]({report.size}-{name}.png)", ""]
    lines += [f"- {note}" for note in report.outcome.notes]
    return "\n".join(lines).rstrip() + "\n"


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return rows as lines of a Markdown table.

    Examples
    --------
    >>> table([{"rank": 2, "error": 0.00012}])
    ['| rank | error |', '|---|---|', '| 2 | 0.00012 |']
    """
    if not rows:
        return []
    columns = list(rows[0])
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        lines.append("| " + " | ".join(_cell(row.get(column)) for column in columns) + " |")
    return lines


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|")


def write_pages(reproductions: Path, folder: Path) -> list[Path]:
    """Write a page a reproduction and an overview, from READMEs and committed results.

    Parameters
    ----------
    reproductions : path
        As ``home()`` returns it.
    folder : path
        Where the pages go, in place of those there; figures are linked from there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.md"):
        stale.unlink()
    rows, written = [], []
    for name in names(reproductions):
        source, claim = reproductions / name, load_claim(reproductions / name)
        link = Path(os.path.relpath(source / "results", folder)).as_posix()
        text = [(source / "README.md").read_text(encoding="utf-8").rstrip()]
        row: dict[str, Any] = {"reproduction": f"[{name}]({name}.md)", "claim": claim.title}
        for size in claim.sizes:
            report = source / "results" / f"{size}.md"
            row[size] = _verdicts(source / "results" / f"{size}.json")
            if report.exists():
                shown = report.read_text(encoding="utf-8").replace(
                    f"]({size}-", f"]({link}/{size}-"
                )
                lines = shown.splitlines()
                lines[0] = f"## Results, {size} size"
                text.append("\n".join(lines))
        rows.append(row)
        written.append(folder / f"{name}.md")
        write_text(written[-1], "\n\n".join(text) + "\n")
    index = [
        "# Reproductions", "", _OVERVIEW, "", *table(rows), "", "```{toctree}", ":hidden:", "",
        *names(reproductions), "```",
    ]  # fmt: skip
    written.append(folder / "index.md")
    write_text(written[-1], "\n".join(index) + "\n")
    return written


_OVERVIEW = """\
Claims of papers and of this project, written down before the run with tolerances and seeds
(`claim.toml`), run by one command (`ranklift reproduce NAME --size quick`), and judged number by
number: *reproduced*, *not reproduced*, *not comparable*. Each number says whose it is: read in a
*paper* (or quoted from it in this project's notes), *measured* by this project before, or *own*.
Below, how many of a run's numbers were reproduced; each page has them all, and says which were not
and why."""


def _verdicts(path: Path) -> str:
    """Return "9 of 10 reproduced" of a report, "-" where there is none."""
    if not path.exists():
        return "-"
    quantities = json.loads(path.read_text(encoding="utf-8"))["quantities"]
    good = sum(quantity["verdict"] == "reproduced" for quantity in quantities)
    return f"all {good} reproduced" if good == len(quantities) else f"{good} of {len(quantities)}"
