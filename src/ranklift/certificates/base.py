"""Certificate: (problem, point) -> CertificateReport. Soundness before coverage."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..arrays import Array
from ..problem import FactorizedProblem
from ..status import Rigor, Verdict

CERTIFICATES: dict[str, type[Certificate]] = {}
"""Every certificate by its report name: contract tests run over it."""


@dataclass(frozen=True)
class CertificateReport:
    """What one certificate found.

    Attributes
    ----------
    name : str
    verdict : Verdict
        HOLDS: the statement is established at the stated rigor. FAILS: its negation is, and
        ``witness`` shows it. INCONCLUSIVE: neither.
    measured, threshold : float
        The number compared, and what it was compared with.
    rigor : Rigor
    statement : str
        What the verdict is about, in plain words.
    assumptions : tuple of str
    source : str
    witness : dict or None
        Arrays that show a failure, checkable by hand.
    details : dict
        Further numbers.
    """

    name: str
    verdict: Verdict
    measured: float
    threshold: float
    rigor: Rigor
    statement: str
    assumptions: tuple[str, ...] = ()
    source: str = ""
    witness: Mapping[str, np.ndarray] | None = field(default=None, repr=False, compare=False)
    details: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; the witness is left out."""
        return {
            "name": self.name,
            "verdict": self.verdict.value,
            "measured": self.measured,
            "threshold": self.threshold,
            "rigor": self.rigor.value,
            "statement": self.statement,
            "assumptions": list(self.assumptions),
            "source": self.source,
            "details": {key: float(value) for key, value in self.details.items()},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CertificateReport:
        """Rebuild a report from ``to_dict``."""
        return cls(
            **{
                **values,
                "verdict": Verdict(values["verdict"]),
                "rigor": Rigor(values["rigor"]),
                "assumptions": tuple(values["assumptions"]),
            }
        )


class Certificate(ABC):
    """Check one statement at one point. Subclasses are frozen dataclasses of thresholds."""

    name: ClassVar[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        CERTIFICATES[cls.name] = cls

    @abstractmethod
    def check(
        self, problem: FactorizedProblem, w: Array, rng: np.random.Generator
    ) -> CertificateReport:
        """Return the verdict at W; random draws come from ``rng`` alone."""


PROBABILITY = "the random start of Lanczos misleads with probability at most 1e-10 a bound"
EXACT_LANCZOS = "Lanczos with full reorthogonalisation behaves as in exact arithmetic"
