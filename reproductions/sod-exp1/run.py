"""Experiment 1 of the notebooks."""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ranklift.reproduce import Outcome, Progress

SHARED = runpy.run_path(str(Path(__file__).parents[1] / "sod_experiment.py"))


def run(settings: Mapping[str, Any], progress: Progress) -> Outcome:
    """Run it."""
    return SHARED["run"]("exp1", settings, progress)
