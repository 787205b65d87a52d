"""Flatness: how sharp a solution is, the flattest one that fits, and a proof that it is.

>>> import numpy as np
>>> import ranklift as rl
>>> A = rl.operators.EntrySampling([0, 0, 1], [0, 1, 0], (2, 2))
>>> factors = np.array([[1.0], [2.0]]), np.array([[1.0], [2.0]])
>>> rl.flatness.scaled_trace(A, None, factors) >= rl.flatness.flatten(A, None, factors).scaled_trace
True
"""

from ..curvature_weights import CurvatureWeights, curvature_weights
from .decomposition import DecompositionRun, flattest_decomposition
from .flatten import FlatFactors, certify_flatness, flatten
from .hadamard import (
    FlattestVector,
    balanced_layers,
    flattest_vector,
    hadamard_trace,
    least_hadamard_trace,
)
from .optimizers import (
    FlatnessOptimizer,
    LabelNoiseDescent,
    LargeStepDescent,
    OptimizerRun,
    SharpnessAwareMinimization,
)
from .polish import polish
from .sharpness import Sharpness, sharpness
from .traces import HessianTrace, scaled_trace, trace_of_hessian

__all__ = [
    "CurvatureWeights",
    "DecompositionRun",
    "FlatFactors",
    "FlatnessOptimizer",
    "FlattestVector",
    "HessianTrace",
    "LabelNoiseDescent",
    "LargeStepDescent",
    "OptimizerRun",
    "Sharpness",
    "SharpnessAwareMinimization",
    "balanced_layers",
    "certify_flatness",
    "curvature_weights",
    "flatten",
    "flattest_decomposition",
    "flattest_vector",
    "hadamard_trace",
    "least_hadamard_trace",
    "polish",
    "scaled_trace",
    "sharpness",
    "trace_of_hessian",
]
