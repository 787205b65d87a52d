"""Trajectories: what the theory of local search looks at, measured along a run."""

from .alignment import spectral_subspace
from .imbalance import imbalance, imbalance_step
from .phases import Phases, phases
from .record import Trajectory, TrajectoryRow

__all__ = [
    "Phases",
    "Trajectory",
    "TrajectoryRow",
    "imbalance",
    "imbalance_step",
    "phases",
    "spectral_subspace",
]
