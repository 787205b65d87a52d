"""scikit-learn estimators."""

from .background import BackgroundModel
from .bilinear_regression import BilinearRegression
from .coordinate_recovery import CoordinateRecovery
from .covariance_sketch import CovarianceSketch
from .matrix_completion import MatrixCompletion
from .matrix_sensing import MatrixSensing
from .phase_retrieval import PhaseRetrieval
from .quadratic_network import QuadraticNetwork
from .robust_pca import RobustPCA
from .state_tomography import StateTomography

__all__ = [
    "BackgroundModel",
    "BilinearRegression",
    "CoordinateRecovery",
    "CovarianceSketch",
    "MatrixCompletion",
    "MatrixSensing",
    "PhaseRetrieval",
    "QuadraticNetwork",
    "RobustPCA",
    "StateTomography",
]
