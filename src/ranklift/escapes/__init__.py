"""Escapes: ways on from a point that a certificate or the data reject."""

from .automatic import automatic
from .base import ESCAPES, Candidate, Escape
from .feasibility import EscapeFeasibility, escape_feasibility
from .langevin import (
    NonReversibleLangevin,
    OverdampedLangevin,
    UnderdampedLangevin,
    nonreversible_path,
    overdamped_path,
    underdamped_path,
)
from .lifted import LiftedProblem, lifted_curvature
from .negative_curvature import NegativeCurvature
from .random_perturbation import RandomPerturbation
from .rank_excursion import RankExcursion
from .rank_lift import RankLift
from .restart import RandomRestart, SpectralRestart
from .search import EscapeAttempt, EscapeOutcome, EscapeSearch
from .simulated_lift import SimulatedLift
from .truncated_descent import TruncatedDescent

__all__ = [
    "ESCAPES",
    "Candidate",
    "Escape",
    "EscapeAttempt",
    "EscapeFeasibility",
    "EscapeOutcome",
    "EscapeSearch",
    "LiftedProblem",
    "NegativeCurvature",
    "NonReversibleLangevin",
    "OverdampedLangevin",
    "RandomPerturbation",
    "RandomRestart",
    "RankExcursion",
    "RankLift",
    "SimulatedLift",
    "SpectralRestart",
    "TruncatedDescent",
    "UnderdampedLangevin",
    "automatic",
    "escape_feasibility",
    "lifted_curvature",
    "nonreversible_path",
    "overdamped_path",
    "underdamped_path",
]
