"""Trace: what a run recorded at every iteration, and the observer that progress and Ctrl-C use."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class TraceRow(NamedTuple):
    """One iteration of one stage.

    ``objective`` is the stage's own objective, ``gradient_norm`` the relative gradient eps_g,
    ``gap`` the certified relative gap where one was computed, else NaN.
    """

    stage: str
    iteration: int
    elapsed_s: float
    objective: float
    residual_norm: float
    gradient_norm: float
    rank: int
    gap: float = float("nan")


Callback = Callable[[TraceRow], "bool | None"]

Observer = Callable[[Any, Any, int, str], None]
"""Called with (problem, state, iteration, stage) at every row: it sees the iterate itself."""


@dataclass
class Trace:
    """The rows of a run, in order, and its clock.

    Parameters
    ----------
    callback : callable, optional
        Called with every row; returning True stops the run with Status.USER_STOP.
    max_time_s : float
        Seconds after which ``out_of_time`` is True.
    observers : list of callable
        Told of every iterate of a solver; they must not change what they are shown. A
        ``Trajectory`` is one.
    """

    callback: Callback | None = None
    max_time_s: float = float("inf")
    rows: list[TraceRow] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)
    stop_requested: bool = False
    newest: Any = None  # the iterate to keep when a stage is interrupted
    observers: list[Observer] = field(default_factory=list)

    @property
    def elapsed_s(self) -> float:
        """Return the seconds since the run began."""
        return time.perf_counter() - self.started

    @property
    def out_of_time(self) -> bool:
        """Whether the time budget is spent."""
        return self.elapsed_s > self.max_time_s

    def record(
        self,
        stage: str,
        iteration: int,
        *,
        objective: float,
        residual_norm: float,
        gradient_norm: float,
        rank: int,
        gap: float = float("nan"),
    ) -> None:
        """Append a row and tell the callback."""
        row = TraceRow(
            stage, iteration, self.elapsed_s, objective, residual_norm, gradient_norm, rank, gap
        )
        self.rows.append(row)
        if self.callback is not None and self.callback(row):
            self.stop_requested = True

    def observe(self, problem: Any, state: Any, iteration: int, stage: str) -> None:
        """Show an iterate to the observers."""
        for observer in self.observers:
            observer(problem, state, iteration, stage)
