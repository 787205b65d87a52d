"""What every example leaves behind: a picture and a record of figures and verdicts.

Run one as ``python -m examples.NAME``; ``--output`` chooses the folder (default: docs/examples: the
gallery shows the pictures, and its coverage table is made from the records).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib.figure import Figure

import ranklift as rl

HOME = Path(__file__).resolve().parent.parent / "docs" / "examples"

INK, QUIET, ACCENT, WARM = "#1a1a1a", "#8a8f98", "#1f6feb", "#d1495b"


def options(description: str | None, argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line that all examples share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--output", type=Path, default=HOME, help="folder for picture and record")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(argv)


def verdicts(recovery: rl.Recovery) -> list[dict[str, Any]]:
    """Return every report of both stages as plain rows."""
    stages: list[tuple[str, Any]] = [("answer", recovery.certificates)]
    if recovery.convex is not None:
        stages.append(("convex", recovery.convex.certificates))
    return [
        {
            "stage": stage,
            "certificate": name,
            "verdict": report.verdict.value,
            "rigor": report.rigor.value,
            "measured": report.measured,
        }
        for stage, reports in stages
        for name, report in reports.items()
    ]


def save(
    name: str,
    model: str,
    figure: Figure,
    figures: dict[str, Any],
    recovery: rl.Recovery,
    *,
    source: str,
    output: Path,
    started: float,
) -> None:
    """Write NAME.png and NAME.json, and print the figures."""
    output.mkdir(parents=True, exist_ok=True)
    figure.savefig(output / f"{name}.png", dpi=110, bbox_inches="tight")
    spent = recovery.stage_times.get("certificates", 0.0)
    record = {
        "name": name,
        "model": model,
        "source": source,
        "figures": figures,
        "rank": recovery.rank,
        "status": recovery.status.value,
        "certified": recovery.certified,
        "verdicts": verdicts(recovery),
        "solve_s": round(recovery.wall_time, 3),
        "certificates_share": round(spent / max(recovery.wall_time, 1e-9), 3),
        "example_s": round(time.perf_counter() - started, 1),
    }
    (output / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    print(f"{name}: rank {recovery.rank}, {recovery.status.value}, certified {recovery.certified}")
    for key, value in figures.items():
        print(f"  {key}: {value}")
