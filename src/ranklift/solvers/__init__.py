"""Solvers: local searches on the factorised problem, all run by one loop."""

from .alternating import AlternatingLeastSquares
from .alternating_gauss_newton import AlternatingGaussNewton
from .base import SOLVERS, Solver, SolverRun, State, Stopping
from .gauss_newton import GaussNewton
from .gradient_descent import GradientDescent, horizon
from .perturbed_gradient_descent import PerturbedGradientDescent
from .preconditioned_gradient_descent import (
    PerturbedPreconditionedGradientDescent,
    PreconditionedGradientDescent,
)
from .scaled_gradient_descent import ScaledGradientDescent
from .stochastic_gradient_descent import StochasticGradientDescent
from .trust_region import TrustRegion

__all__ = [
    "SOLVERS",
    "AlternatingGaussNewton",
    "AlternatingLeastSquares",
    "GaussNewton",
    "GradientDescent",
    "PerturbedGradientDescent",
    "PerturbedPreconditionedGradientDescent",
    "PreconditionedGradientDescent",
    "ScaledGradientDescent",
    "Solver",
    "SolverRun",
    "State",
    "StochasticGradientDescent",
    "Stopping",
    "TrustRegion",
    "horizon",
]
