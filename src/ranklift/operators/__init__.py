"""Measurement operators: what was measured of the unknown matrix."""

from .algebra import Combination, Scaled, Subset, Weighted
from .base import OPERATORS, MeasurementOperator
from .congruence import Congruence, centering_basis
from .dense import DenseSensing
from .distance import DistanceSensing
from .entries import EntrySampling
from .identity import IdentitySensing
from .linear_operator import FromLinearOperator
from .pauli import PauliSensing

__all__ = [
    "OPERATORS",
    "Combination",
    "Congruence",
    "DenseSensing",
    "DistanceSensing",
    "EntrySampling",
    "FromLinearOperator",
    "IdentitySensing",
    "MeasurementOperator",
    "PauliSensing",
    "Scaled",
    "Subset",
    "Weighted",
    "centering_basis",
]
