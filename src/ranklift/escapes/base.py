"""Escape: from a point that a certificate rejects to a lower one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..arrays import Array
from ..certificates import CertificateReport
from ..problem import FactorizedProblem

ESCAPES: dict[str, type[Escape]] = {}
"""Every escape class by name: contract tests run over it."""


class Candidate(NamedTuple):
    """A point to descend from; ``value`` is the objective there, ``before`` at the old point."""

    w: Array
    value: float
    before: float


class Escape(ABC):
    """Propose a point from which local search finds a better answer."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        ESCAPES[cls.__name__] = cls

    @abstractmethod
    def propose(
        self,
        problem: FactorizedProblem,
        w: Array,
        reports: Mapping[str, CertificateReport],
        rng: np.random.Generator,
    ) -> Candidate | None:
        """Return a candidate below W, or None when this escape sees no way down."""
