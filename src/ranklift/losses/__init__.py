"""Losses: how predicted measurements are compared with the observed ones."""

from .absolute import Absolute
from .base import LOSSES, Loss
from .group_huber import GroupHuber
from .huber import Huber
from .l1_ball import L1BallDistance
from .logistic import Logistic
from .squared import Squared

__all__ = [
    "LOSSES",
    "Absolute",
    "GroupHuber",
    "Huber",
    "L1BallDistance",
    "Logistic",
    "Loss",
    "Squared",
]
