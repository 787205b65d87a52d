"""What every command shares: output, errors as exit codes, progress, and Ctrl-C."""

from __future__ import annotations

import json
import math
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import typer

from ..errors import InputError, TooLargeError

if TYPE_CHECKING:
    from ..trace import TraceRow

EXIT_CERTIFIED, EXIT_NOT_CERTIFIED, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 0, 3, 2, 130


def say(text: str) -> None:
    """Print a line of the answer on stdout."""
    typer.echo(text)


def note(text: str) -> None:
    """Print a line beside the answer on stderr."""
    typer.echo(text, err=True)


def emit_json(values: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout; NaN and infinity become null, as JSON demands."""
    typer.echo(json.dumps(plain(values), allow_nan=False))


def plain(value: Any) -> Any:
    """Return value with NumPy scalars, arrays, enums and tuples as plain JSON values.

    Examples
    --------
    >>> plain({"a": (1, float("nan"))})
    {'a': [1, None]}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return str(getattr(value, "value", value))


@contextmanager
def failures(as_json: bool) -> Iterator[None]:
    """Turn bad input into one line on stderr and exit code 2; Ctrl-C into 130.

    With `as_json` the same words are also the JSON object on stdout.
    """
    try:
        yield
    except InputError as error:
        _fail(error, as_json)
    except MemoryError:
        _fail(
            TooLargeError("memory ran out", "use a smaller matrix or rank, or a larger machine"),
            as_json,
        )
    except KeyboardInterrupt:
        note("ranklift: interrupted before there was an answer; nothing was written")
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _fail(error: InputError, as_json: bool) -> None:
    note("ranklift: " + " ".join(str(error).split()))
    if as_json:
        report = {"type": type(error).__name__, "cause": error.cause, "remedy": error.remedy}
        emit_json({"error": report, "exit_code": EXIT_BAD_INPUT})
    raise typer.Exit(EXIT_BAD_INPUT)


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """Collect the messages of warnings, each once, instead of printing them with file names."""
    messages: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield messages
        finally:
            messages += dict.fromkeys(
                str(item.message)
                for item in caught
                if not issubclass(item.category, (DeprecationWarning, FutureWarning))
            )


class Watch(AbstractContextManager[Any]):
    """Show progress on a terminal and let Ctrl-C stop a run that keeps its best iterate.

    The first Ctrl-C asks the solver to stop at its next iteration, the second one interrupts.

    Parameters
    ----------
    label : str
    quiet : bool
        Never show progress.
    max_time_s : float, optional
        Length of the bar; without it the bar only shows that work goes on.
    """

    def __init__(self, label: str, *, quiet: bool = False, max_time_s: float | None = None) -> None:
        self.stop_requested = False
        self._label = label
        self._max_time_s = max_time_s
        self._bar: Any = None
        self._task: Any = None
        self._previous: Any = None
        self._show = not quiet and sys.stderr.isatty()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._interrupt)
        if self._show:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
            from rich.progress import TimeElapsedColumn as Elapsed

            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                Elapsed(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(self._label, total=self._max_time_s)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    @property
    def callback(self) -> Callable[[TraceRow], bool]:
        """Return the callback for ``recover``: it reports and asks to stop when told to."""
        return self._observe

    def _observe(self, row: TraceRow) -> bool:
        if self._bar is not None:
            gap = f" · gap {row.gap:.0e}" if math.isfinite(row.gap) else ""
            stage = row.stage.replace("_", " ")
            self._bar.update(
                self._task,
                description=f"{self._label} · {stage} · {row.iteration} · rank {row.rank}{gap}",
                completed=row.elapsed_s if self._max_time_s is not None else None,
            )
        return self.stop_requested

    def _interrupt(self, number: int, frame: Any) -> None:
        if self.stop_requested:
            raise KeyboardInterrupt
        self.stop_requested = True
        note("stopping: keeping the best answer so far (Ctrl-C again to abandon it)")


def certificate_lines(recovery: Any) -> list[str]:
    """Return one line a certificate, the regularised stage's by "convex.name"."""
    from ..viz.words import meaning

    reports = list(recovery.certificates.items())
    if recovery.convex is not None:
        reports += [(f"convex.{name}", r) for name, r in recovery.convex.certificates.items()]
    return [
        f"  {report.verdict.value.upper():<12} "
        f"{meaning(name.split('.')[-1], report.statement).title} ({name}): "
        f"measured {report.measured:.3g}, threshold {report.threshold:.3g}"
        for name, report in reports
    ]
