"""Which escapes recover() tries, and in which order."""

from __future__ import annotations

from ..problem import FactorizedProblem
from .base import Escape
from .negative_curvature import NegativeCurvature
from .simulated_lift import SimulatedLift


def automatic(problem: FactorizedProblem) -> tuple[Escape, ...]:
    """Return the escapes for a problem, best measured odds first."""
    return (NegativeCurvature(), SimulatedLift())
