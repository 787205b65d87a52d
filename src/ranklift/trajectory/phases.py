"""Phases of a run from a small start: alignment, saddle avoidance, local refinement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from .record import Trajectory


@dataclass(frozen=True)
class Phases:
    """The phases of a run from a small start, by iteration; None where a run does not get there.

    Attributes
    ----------
    alignment_end : int or None
        First iteration with misalignment at or below the tolerance.
    saddle_end : int or None
        First iteration with sigma_r at half its final value: saddle avoidance ends, local
        refinement begins.
    last : int
        The last iteration recorded.
    """

    alignment_end: int | None
    saddle_end: int | None
    last: int


def phases(
    trajectory: Trajectory, *, stage: str | None = None, misalignment_tol: float = 0.5
) -> Phases:
    """Say where alignment, saddle avoidance and local refinement end. Own definitions.

    Parameters
    ----------
    trajectory : Trajectory
        With a true rank, of a run that came to its end: half of sigma_r's final value is meant.
    stage : str, optional
        By default the first one recorded; of several runs of it the last.
    misalignment_tol : float, default 0.5
        Sine of the angle at which the factors count as aligned.

    Raises
    ------
    InputError
        When nothing was recorded of the stage, or no true rank was known.

    Examples
    --------
    >>> from ranklift.trajectory import TrajectoryRow
    >>> trajectory = Trajectory.from_dict({"description": "", "true_rank": 1, "columns": {
    ...     name: [None] * 4 for name in TrajectoryRow._fields} | {"stage": ["GD"] * 4,
    ...     "iteration": [0, 10, 20, 30], "signal": [0.01, 0.02, 0.6, 1.0],
    ...     "misalignment": [0.9, 0.2, 0.01, 0.0]}})
    >>> phases(trajectory)
    Phases(alignment_end=10, saddle_end=20, last=30)
    """
    table = trajectory.table(stage or trajectory.recorded[0])
    signal, iterations = table["signal"], table["iteration"]
    if np.isnan(signal[-1]):
        raise InputError("no signal was recorded", "give Trajectory a truth or a true_rank")
    aligned = iterations[table["misalignment"] <= misalignment_tol].tolist()
    grown = iterations[(signal > 0) & (2 * signal >= signal[-1])].tolist()
    return Phases(next(iter(aligned), None), next(iter(grown), None), int(iterations[-1]))
