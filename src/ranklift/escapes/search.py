"""Escape search: propose, descend, keep what came out lower, within a budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ..arrays import Array
from ..certificates import CertificateReport
from ..errors import InputError
from ..problem import FactorizedProblem
from ..solvers import SolverRun
from ..trace import Trace
from .base import Escape

DECREASE = 1e-9
"""Share of the value by which a descent must end lower: below it two descents reached one point."""


@dataclass(frozen=True)
class EscapeAttempt:
    """One candidate and what descending from it gave.

    Attributes
    ----------
    round : int
        Rounds begin anew after every accepted attempt, from 1.
    escape, kind : str
        Class name, and the construction where the escape has several.
    before, candidate, after : float
        Objective at the point left, at the candidate, and after the descent from it.
    accepted : bool
        Whether the search went on from there: the descent ended lower than the best so far.
    status : str
        Of the descent.
    elapsed_s : float
        Seconds of the descent.
    """

    round: int
    escape: str
    kind: str
    before: float
    candidate: float
    after: float
    accepted: bool
    status: str
    elapsed_s: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


@dataclass(frozen=True)
class EscapeOutcome:
    """The best point of an escape search, every attempt, and whether it is solved."""

    run: SolverRun
    attempts: tuple[EscapeAttempt, ...]
    solved: bool


@dataclass(frozen=True)
class EscapeSearch:
    """Say which escapes are tried, and for how long.

    Parameters
    ----------
    escapes : sequence of Escape
        In this order in every round.
    descents : int, default 6
        Most descents altogether: a hopeless case (data of a higher rank) costs that much more.
    seconds : float, default inf
        No descent begins later than this after the search began.
    each : int, default 4
        Most candidates of one escape a round, those of least value first.

    Raises
    ------
    InputError
        For budgets that allow nothing.

    Notes
    -----
    Own design; the loop follows the notes on Shen et al. (arXiv 2602.05887): an escape is judged by
    the value after the descent, not by the value at the candidate, which may be higher.
    """

    escapes: Sequence[Escape] = field(default_factory=tuple)
    descents: int = 6
    seconds: float = float("inf")
    each: int = 4

    def __post_init__(self) -> None:
        for name in ("descents", "seconds", "each"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} = {getattr(self, name)!r}", "pass a positive number")

    def run(
        self,
        problem: FactorizedProblem,
        start: SolverRun,
        rng: np.random.Generator,
        *,
        descend: Callable[[Array], SolverRun],
        solved: Callable[[SolverRun], bool],
        reports: Mapping[str, CertificateReport] | None = None,
        trace: Trace | None = None,
    ) -> EscapeOutcome:
        """Search from the end of a descent.

        Parameters
        ----------
        start : SolverRun
            The point to leave.
        descend : callable
            Local search from a candidate.
        solved : callable
            Whether a run needs no more escapes: the certificate of the problem at hand.
        reports : mapping, optional
            What is known about the start; used in the first round.
        trace : Trace, optional
            Its time budget and stop requests end the search.
        """
        trace = trace if trace is not None else Trace()
        began = time.perf_counter()
        best, attempts = start, []
        known: Mapping[str, CertificateReport] = reports or {}
        turn, asked = 1, list(self.escapes)
        try:
            while asked and not solved(best):
                left, proposed = best, False
                value = left.point.value
                for escape in asked:
                    candidates = escape.candidates(problem, left.point.w, known, rng)
                    proposed = proposed or bool(candidates)
                    for candidate in candidates[: self.each]:
                        spent = time.perf_counter() - began
                        over = len(attempts) >= self.descents or spent > self.seconds
                        if over or trace.stop_requested or trace.out_of_time:
                            return EscapeOutcome(best, tuple(attempts), solved(best))
                        run = descend(candidate.w)
                        lower = run.point.value < best.point.value - DECREASE * value
                        attempts.append(
                            EscapeAttempt(
                                turn, type(escape).__name__, candidate.kind, value,
                                candidate.value, run.point.value, lower, run.status.value,
                                time.perf_counter() - began - spent,
                            )
                        )  # fmt: skip
                        best = run if lower else best
                        if solved(best):
                            return EscapeOutcome(best, tuple(attempts), True)
                    if best is not left:
                        break
                if best is not left:
                    turn, known, asked = turn + 1, {}, list(self.escapes)
                else:  # asked again, only chance can bring something else
                    asked = [escape for escape in self.escapes if escape.random and proposed]
        except KeyboardInterrupt:
            trace.stop_requested = True
        return EscapeOutcome(best, tuple(attempts), solved(best))
