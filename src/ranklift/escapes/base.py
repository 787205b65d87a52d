"""Escape: from a point that a certificate rejects to others, from which to descend again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..arrays import Array
from ..certificates import CertificateReport
from ..problem import FactorizedProblem

ESCAPES: dict[str, type[Escape]] = {}
"""Every escape class by name: contract tests run over it."""


class Candidate(NamedTuple):
    """A point to descend from; ``value`` is the objective there, ``before`` at the old point.

    ``kind`` names the construction where an escape has several.
    """

    w: Array
    value: float
    before: float
    kind: str = ""


class Escape(ABC):
    """Propose points from which local search may find a better answer."""

    descends: ClassVar[bool] = True
    """Whether a candidate is always below the point it came from. Where it is not, only the descent
    from it tells whether the escape succeeded."""

    keeps_rank: ClassVar[bool] = True
    """Whether candidates have as many columns as the point they came from."""

    random: ClassVar[bool] = False
    """Whether asking again gives other candidates: it is then asked until the budget ends."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not cls.__name__.startswith("_"):  # what several escapes share is none itself
            ESCAPES[cls.__name__] = cls

    @abstractmethod
    def candidates(
        self,
        problem: FactorizedProblem,
        w: Array,
        reports: Mapping[str, CertificateReport],
        rng: np.random.Generator,
    ) -> Sequence[Candidate]:
        """Return candidates by rising value; none when this escape sees no way on.

        Parameters
        ----------
        problem : FactorizedProblem
        w : array
            The point to leave, as a rule a stationary one.
        reports : mapping of str to CertificateReport
            What is known about it; witnesses are used where they help.
        rng : Generator
        """

    def propose(
        self,
        problem: FactorizedProblem,
        w: Array,
        reports: Mapping[str, CertificateReport],
        rng: np.random.Generator,
    ) -> Candidate | None:
        """Return the candidate of least value, or None."""
        found = self.candidates(problem, w, reports, rng)
        return found[0] if found else None
