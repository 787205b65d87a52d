"""Escapes: ways on from a point that a certificate or the data reject."""

from .automatic import automatic
from .base import ESCAPES, Candidate, Escape
from .lifted import LiftedProblem, lifted_curvature
from .negative_curvature import NegativeCurvature
from .rank_lift import RankLift
from .search import EscapeAttempt, EscapeOutcome, EscapeSearch
from .simulated_lift import SimulatedLift

__all__ = [
    "ESCAPES",
    "Candidate",
    "Escape",
    "EscapeAttempt",
    "EscapeOutcome",
    "EscapeSearch",
    "LiftedProblem",
    "NegativeCurvature",
    "RankLift",
    "SimulatedLift",
    "automatic",
    "lifted_curvature",
]
