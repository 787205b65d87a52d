"""The three vocabularies that are never mixed: why it stopped, what is proved, how strictly."""

from __future__ import annotations

from enum import Enum


class Status(str, Enum):
    """Say why an iteration stopped. It says nothing about global optimality.

    Examples
    --------
    >>> Status.MAX_ITERATIONS.implies_stationarity
    False
    >>> Status.SECOND_ORDER.implies_stationarity
    True
    """

    CONVERGED = "converged"
    SECOND_ORDER = "second_order"
    ZERO_RESIDUAL = "zero_residual"
    MAX_ITERATIONS = "max_iterations"
    MAX_TIME = "max_time"
    STALLED = "stalled"
    USER_STOP = "user_stop"

    @property
    def implies_stationarity(self) -> bool:
        """Whether the first-order test was met when the iteration stopped."""
        return self in (Status.CONVERGED, Status.SECOND_ORDER, Status.ZERO_RESIDUAL)

    @property
    def remedy(self) -> str:
        """What to do when this reason is unwelcome."""
        return _REMEDIES[self]


_REMEDIES = {
    Status.CONVERGED: "nothing to do: the first-order test was met",
    Status.SECOND_ORDER: "nothing to do: gradient and least curvature are below tolerance",
    Status.ZERO_RESIDUAL: "nothing to do: the data are fitted to rounding",
    Status.MAX_ITERATIONS: "raise max_iterations, or loosen tol",
    Status.MAX_TIME: "raise max_time, or resume from the returned factors with init=",
    Status.STALLED: "no step improves the objective in working precision: loosen tol, rescale the "
    "data, or use float64",
    Status.USER_STOP: "resume from the returned factors with init=",
}


class Verdict(str, Enum):
    """Say what a certificate concludes about a point."""

    HOLDS = "holds"
    FAILS = "fails"
    INCONCLUSIVE = "inconclusive"


class Rigor(str, Enum):
    """Say how strictly a verdict is established."""

    PROVED = "proved"
    HIGH_PROBABILITY = "high_probability"
    HEURISTIC = "heuristic"
