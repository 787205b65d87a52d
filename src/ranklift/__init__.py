"""ranklift: low-rank matrix recovery that certifies its answer."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from . import (
        certificates,
        errors,
        escapes,
        estimators,
        factorizations,
        flatness,
        instances,
        losses,
        metrics,
        operators,
        solvers,
        theory,
        trajectory,
    )
    from .certificates.verify import Verification, certify, verify
    from .lowrank import LowRank
    from .pipeline import recover
    from .problem import FactorizedProblem
    from .result import Recovery, load
    from .robust import robust_pca
    from .status import Rigor, Status, Verdict

# Names are looked up on first use, so that `import ranklift` costs milliseconds (PEP 562).
_HOME = {
    "LowRank": "lowrank",
    "FactorizedProblem": "problem",
    "Recovery": "result",
    "Rigor": "status",
    "Status": "status",
    "Verdict": "status",
    "Verification": "certificates.verify",
    "certify": "certificates.verify",
    "load": "result",
    "recover": "pipeline",
    "robust_pca": "robust",
    "verify": "certificates.verify",
}
_SUBMODULES = (
    "certificates",
    "errors",
    "escapes",
    "estimators",
    "factorizations",
    "flatness",
    "instances",
    "losses",
    "metrics",
    "operators",
    "solvers",
    "theory",
    "trajectory",
)

__all__ = [
    "FactorizedProblem",
    "LowRank",
    "Recovery",
    "Rigor",
    "Status",
    "Verdict",
    "Verification",
    "__version__",
    "certificates",
    "certify",
    "errors",
    "escapes",
    "estimators",
    "factorizations",
    "flatness",
    "instances",
    "load",
    "losses",
    "metrics",
    "operators",
    "recover",
    "robust_pca",
    "solvers",
    "theory",
    "trajectory",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
        globals()[name] = value
        return value
    if name in _SUBMODULES:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
