"""Which escapes recover() tries, and in which order."""

from __future__ import annotations

from ..problem import FactorizedProblem
from .base import Escape
from .negative_curvature import NegativeCurvature
from .restart import RandomRestart
from .simulated_lift import SimulatedLift


def automatic(problem: FactorizedProblem) -> tuple[Escape, ...]:
    """Return the escapes for a problem, best measured odds first.

    A saddle is left along its curvature. From minima the simulated lift comes first: it needs the
    fewest descents (``reproduce escape-odds``, ``reproduce pmc-success``); random restarts follow,
    which solve what it does not.

    Examples
    --------
    >>> from ranklift.instances import sod_three_by_three
    >>> trap = sod_three_by_three()
    >>> problem = FactorizedProblem(trap.operator, trap.measurements)
    >>> [type(escape).__name__ for escape in automatic(problem)]
    ['NegativeCurvature', 'SimulatedLift', 'RandomRestart']
    """
    return (NegativeCurvature(), SimulatedLift(), RandomRestart(count=2))
