"""Measurement operators: what was measured of the unknown matrix."""

from .adjusted import Adjusted
from .algebra import Combination, Subset, Weighted
from .base import OPERATORS, MeasurementOperator
from .blind_deconvolution import BlindDeconvolution
from .coded_diffraction import CodedDiffraction, random_masks
from .congruence import Congruence, centering_basis
from .dense import DenseSensing
from .distance import DistanceSensing
from .entries import EntrySampling
from .identity import IdentitySensing
from .linear_operator import FromLinearOperator
from .pauli import PauliSensing
from .quadratic import QuadraticSensing
from .rank_one import RankOneSensing
from .scaled import Scaled

__all__ = [
    "OPERATORS",
    "Adjusted",
    "BlindDeconvolution",
    "CodedDiffraction",
    "Combination",
    "Congruence",
    "DenseSensing",
    "DistanceSensing",
    "EntrySampling",
    "FromLinearOperator",
    "IdentitySensing",
    "MeasurementOperator",
    "PauliSensing",
    "QuadraticSensing",
    "RankOneSensing",
    "Scaled",
    "Subset",
    "Weighted",
    "centering_basis",
    "random_masks",
]
