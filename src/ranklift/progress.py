"""Progress display for runs over two seconds: a callback with a spinner, on request only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .trace import Callback, TraceRow

QUIET_S = 2.0
"""Seconds before anything is shown."""

STAGE_NAMES = {
    "nuclear_norm": "regularised search",
    "certificate": "checking the certificate",
    "refit": "refit without shrinkage",
    "rank_lift": "rank search by lifts",
    "rank_search": "rank search",
    "huber": "robust fit",
    "inliers": "fit without the outliers",
}


@contextmanager
def progress_callback(enabled: bool, callback: Callback | None) -> Iterator[Callback | None]:
    """Yield a callback that also shows the current stage on standard error."""
    if not enabled:
        yield callback
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as display:
        task = display.add_task("recovering", total=None, visible=False)

        def show(row: TraceRow) -> bool | None:
            name = STAGE_NAMES.get(row.stage, row.stage)
            gap = "" if row.gap != row.gap else f", gap {row.gap:.1e}"
            text = f"{name}: rank {row.rank}, objective {row.objective:.4g}{gap}"
            display.update(task, description=text, visible=row.elapsed_s > QUIET_S)
            return callback(row) if callback is not None else None

        yield show
