"""Exact completion near the information limit, the rank unknown: log-det smoothing and a finish."""

from .complete import ExactCompletion, complete_exactly

__all__ = ["ExactCompletion", "complete_exactly"]
