"""Shared set-up: tests/ on the path (``import referee``, ``import cases``), warnings are errors."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Before NumPy is imported: timings aside, results must not depend on BLAS threads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import pytest
from hypothesis import settings

# The same examples on every machine, and no deadline: a slow machine is no failure.
settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=25)
settings.load_profile("repeatable")


def pytest_configure(config: pytest.Config) -> None:
    """Turn every warning into an error, whatever file the run is configured by."""
    config.addinivalue_line("filterwarnings", "error")


@pytest.fixture
def rng() -> np.random.Generator:
    """Return a fresh generator of a fixed seed."""
    return np.random.default_rng(20240607)
