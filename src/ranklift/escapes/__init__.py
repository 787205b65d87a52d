"""Escapes: ways down from a point that a certificate rejects."""

from .base import ESCAPES, Candidate, Escape
from .negative_curvature import NegativeCurvature
from .rank_lift import RankLift

__all__ = ["ESCAPES", "Candidate", "Escape", "NegativeCurvature", "RankLift"]
