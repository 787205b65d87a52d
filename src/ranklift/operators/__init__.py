"""Measurement operators: what was measured of the unknown matrix."""

from .algebra import Combination, Scaled, Subset, Weighted
from .base import OPERATORS, MeasurementOperator
from .dense import DenseSensing
from .entries import EntrySampling
from .identity import IdentitySensing
from .linear_operator import FromLinearOperator

__all__ = [
    "OPERATORS",
    "Combination",
    "DenseSensing",
    "EntrySampling",
    "FromLinearOperator",
    "IdentitySensing",
    "MeasurementOperator",
    "Scaled",
    "Subset",
    "Weighted",
]
