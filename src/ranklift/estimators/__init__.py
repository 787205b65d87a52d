"""scikit-learn estimators."""

from .matrix_completion import MatrixCompletion

__all__ = ["MatrixCompletion"]
