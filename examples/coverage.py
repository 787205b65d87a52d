"""The certificate coverage table: for each example which verdict, at which rigor, at what cost.

Made from the records that the examples left: ``python -m examples.coverage`` after them.
"""

from __future__ import annotations

import json
from pathlib import Path

from .record import HOME

ORDER = (
    "zero_residual", "stationarity", "curvature", "identifiability", "sampling", "psd_gap",
    "rank_deficiency", "convex.duality_gap", "convex.stationarity",
)  # fmt: skip
SHORT = {"holds": "✓", "fails": "✗", "inconclusive": "?"}
RIGOR = {"proved": "P", "high_probability": "HP", "heuristic": "H"}


def table(home: Path = HOME) -> str:
    """Return the table as Markdown."""
    records = [json.loads(path.read_text()) for path in sorted(home.glob("*.json"))]
    head = ["model", "certified", *(name.replace("_", " ") for name in ORDER), "share of time"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for record in records:
        prefix = {"answer": "", "convex": "convex."}
        found = {prefix[row["stage"]] + row["certificate"]: row for row in record["verdicts"]}
        cells = [record["model"], "yes" if record["certified"] else "no"]
        for name in ORDER:
            row = found.get(name)
            cells.append("-" if row is None else f"{SHORT[row['verdict']]} {RIGOR[row['rigor']]}")
        cells.append(f"{100 * record['certificates_share']:.0f}% of {record['solve_s']:.1f} s")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the table beside the records."""
    (HOME / "coverage.md").write_text(table())
    print(table())


if __name__ == "__main__":
    main()
