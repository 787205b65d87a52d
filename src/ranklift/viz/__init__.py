"""Plots and the one-file HTML report; Matplotlib is imported on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .report import ReportContext, build_report, write_report
    from .words import Headline, headline

_HOME = {
    "Headline": "words",
    "ReportContext": "report",
    "build_report": "report",
    "headline": "words",
    "write_report": "report",
}
__all__ = ["Headline", "ReportContext", "build_report", "headline", "write_report"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
