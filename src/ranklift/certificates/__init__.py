"""Certificates: what can be proved about a computed point."""

from .base import CERTIFICATES, Certificate, CertificateReport
from .curvature import Curvature
from .duality import DualityGap, NuclearNormOptimality, duality_gap
from .flatness import Flatness
from .identifiability import Identifiability
from .minimum_norm import MinimumNorm
from .psd_gap import PSDGap
from .rank_deficiency import RankDeficiency
from .sampling import Sampling
from .stationarity import Stationarity
from .zero_residual import ZeroResidual

__all__ = [
    "CERTIFICATES",
    "Certificate",
    "CertificateReport",
    "Curvature",
    "DualityGap",
    "Flatness",
    "Identifiability",
    "MinimumNorm",
    "NuclearNormOptimality",
    "PSDGap",
    "RankDeficiency",
    "Sampling",
    "Stationarity",
    "ZeroResidual",
    "duality_gap",
]
