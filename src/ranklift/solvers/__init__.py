"""Solvers: local searches on the factorised problem, all run by one loop."""

from .alternating import AlternatingLeastSquares
from .base import SOLVERS, Solver, SolverRun, State, Stopping
from .gauss_newton import GaussNewton
from .gradient_descent import GradientDescent
from .trust_region import TrustRegion

__all__ = [
    "SOLVERS",
    "AlternatingLeastSquares",
    "GaussNewton",
    "GradientDescent",
    "Solver",
    "SolverRun",
    "State",
    "Stopping",
    "TrustRegion",
]
