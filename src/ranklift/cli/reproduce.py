"""`ranklift reproduce`: run a reproduction of this repository and print its verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from ..reproduce import ReproductionVerdict, home, load_claim, names, reproduce, trials_store
from ..reproduction_report import write_report
from .console import EXIT_INTERRUPTED, Watch, note


class RunWatch(Watch):
    """Show what a run does, and how much of it is done."""

    def count(self, what: str, done: int, total: int) -> None:
        """Update the bar; Ctrl-C ends the run, whose finished trials are on disk."""
        if self.stop_requested:
            raise KeyboardInterrupt
        if self._bar is not None:
            self._bar.update(
                self._task, description=f"{self._label} · {what}", completed=done, total=total
            )

    def _interrupt(self, number: int, frame: Any) -> None:
        if self.stop_requested:
            raise KeyboardInterrupt
        self.stop_requested = True
        note("stopping after the step under way (Ctrl-C again: at once)")


def list_reproductions() -> tuple[dict[str, Any], str, bool]:
    """Return (plain values, text, True) of what can be reproduced."""
    claims = [load_claim(home() / name) for name in names()]
    values = {
        "reproductions": [
            {"name": claim.name, "title": claim.title, "sizes": list(claim.sizes)}
            for claim in claims
        ]
    }
    lines = [f"{claim.name} ({', '.join(claim.sizes)}): {claim.title}" for claim in claims]
    return values, "\n".join(lines), True


def run_reproduction(
    name: str, *, size: str, output: Path | None, quiet: bool
) -> tuple[dict[str, Any], str, bool]:
    """Return (plain values, text, reproduced) of one run; write its report.

    Raises
    ------
    InputError
        An unknown name or size.
    typer.Exit
        After Ctrl-C.
    """
    try:
        with RunWatch(name, quiet=quiet) as watch:
            report = reproduce(name, size=size, progress=watch.count)
    except KeyboardInterrupt:
        note(f"ranklift: interrupted; {_what_is_kept(trials_store(home() / name, size))}")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    folder = output if output is not None else home() / name / "results"
    written = write_report(report, folder)
    lines = [f"{report.claim.title} ({size}, {report.elapsed_s:.1f} s)"]
    for quantity in report.claim.quantities:
        value = report.outcome.values.get(quantity.name)
        shown = "-" if value is None else f"{value:.4g}"
        lines.append(
            f"  {report.verdicts[quantity.name].value.upper():<15} {quantity.statement}: {shown}, "
            f"claimed {quantity.claimed} ({quantity.origin})"
        )
    lines += [f"note: {note}" for note in report.outcome.notes]
    lines.append(f"{report.verdict.value.upper()}; wrote {', '.join(map(str, written))}")
    values = {**report.to_dict(), "files": [str(path) for path in written]}
    return values, "\n".join(lines), report.verdict is ReproductionVerdict.REPRODUCED


def _what_is_kept(store: Path) -> str:
    if not store.exists():
        return "nothing was written"
    return f"the same command goes on from the finished trials in {store}"
