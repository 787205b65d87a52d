"""Run every example, then make the coverage table: ``python -m examples``."""

from __future__ import annotations

import importlib
import sys

from ranklift.errors import InputError

from . import coverage

NAMES = (
    "video_background", "face_occlusions", "phase_retrieval", "blind_deconvolution",
    "covariance_genes", "city_coordinates", "quantum_state", "quadratic_network",
)  # fmt: skip

for name in NAMES:
    try:
        importlib.import_module(f"examples.{name}").main(sys.argv[1:])
    except InputError as error:  # data that this machine cannot get: the others still run
        print(f"{name}: {error}", file=sys.stderr)
coverage.main()
