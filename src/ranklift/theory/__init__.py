"""Theory in the tool: what is promised, at which isometry constant, search rank and sample size.

Thresholds (``sufficient_delta``, ``necessary_delta``, ``search_rank_for``) say when a search can be
trapped; error bounds (``a_priori_error``, ``a_posteriori_error_of``) list what they assume;
``symmetric_isometry`` computes an isometry constant where that is possible and ``estimate_rip``
bounds one from below; ``minimax_rate`` and ``measurements_needed`` say what error and how many
measurements to expect. Derivations: docs/theory.md.
"""

from .bounds import Bound, a_posteriori_error, a_posteriori_error_of, a_priori_error
from .isometry import Isometry, delta_from_all_symmetric, symmetric_isometry
from .rates import completion_rate, degrees_of_freedom, minimax_rate, statistical_error
from .rip_estimate import RipEstimate, estimate_rip, measured_quotient
from .sample_size import Advice, coverage_floor, measurements_needed
from .thresholds import (
    condition_from_delta,
    delta_from_condition,
    necessary_delta,
    search_rank_for,
    search_rank_for_condition,
    sufficient_delta,
)

__all__ = [
    "Advice",
    "Bound",
    "Isometry",
    "RipEstimate",
    "a_posteriori_error",
    "a_posteriori_error_of",
    "a_priori_error",
    "completion_rate",
    "condition_from_delta",
    "coverage_floor",
    "degrees_of_freedom",
    "delta_from_all_symmetric",
    "delta_from_condition",
    "estimate_rip",
    "measured_quotient",
    "measurements_needed",
    "minimax_rate",
    "necessary_delta",
    "search_rank_for",
    "search_rank_for_condition",
    "statistical_error",
    "sufficient_delta",
    "symmetric_isometry",
]
