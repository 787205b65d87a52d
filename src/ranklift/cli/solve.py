"""From a problem and its options to a `Recovery`: which solver, structure, loss and noise."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..io import Problem
from ..io.problem import STRUCTURES
from ..operators import (
    DistanceSensing,
    MeasurementOperator,
    QuadraticSensing,
)

if TYPE_CHECKING:
    from ..result import Recovery
    from .sense import SenseOptions

Observer = Callable[[Any], bool]

EXACT = 1e-7
"""Noise found by hold-out, as a share of the root mean square of b, below which the data are fitted
once more as exact ones: the residual is then certified down to rounding."""


def solve(problem: Problem, options: SenseOptions, callback: Observer) -> Recovery:
    """Return the certified answer of the stage that fits the loss; data without noise twice.

    Raises
    ------
    InputError
        Before any work.
    """
    from ..losses import Huber, Logistic
    from ..pipeline import recover
    from ..robust import robust_pca

    noise: float | str = options.noise_level
    if noise == "auto" and problem.noise is not None:
        noise = problem.noise
    common: dict[str, Any] = {
        "max_time": options.max_time_s,
        "rng": options.seed,
        "callback": callback,
    }
    operator, b = problem.operator, problem.b
    if options.loss == "absolute":
        return robust_pca(
            operator, b, rank=options.rank, noise="estimate" if noise == "auto" else noise,
            outliers=options.outliers, **common,
        )  # fmt: skip
    common |= {"symmetric": _structure(problem, options), "tol": options.tol}
    if options.loss == "logistic":
        # By default lambda is what chance alone yields: of 12 instances of rank 1 it gave all signs
        # and the rank, where a hold-out fitted better probabilities at ranks of 4 to 19.
        held = "estimate" if noise == "estimate" else None
        return recover(operator, b, loss=Logistic(), noise=held, refit=False, **common)
    common |= {"rank": options.rank}
    if options.loss == "huber":
        loss = Huber(_threshold(options, noise))
        return recover(
            operator, b, loss=loss, noise="estimate" if noise in ("auto", 0.0) else noise, **common
        )
    started = time.perf_counter()
    selection = options.selection
    if selection == "min_norm" and noise == "auto":
        noise = 0.0  # it is for exact data alone
    if selection is not None and noise != "auto":
        return recover(operator, b, noise=noise, selection=selection, **common)
    found = recover(operator, b, noise="estimate" if noise == "auto" else noise, **common)
    unit = float(np.sqrt(np.mean(b**2)))
    exact = noise == "auto" and found.noise is not None and found.noise <= EXACT * unit
    if found.status.value in ("user_stop", "max_time"):
        return found
    if not (exact and found.rank) and selection is not None:
        return recover(operator, b, noise="estimate", selection=selection, **common)
    if not exact or not found.rank:
        return found
    if options.max_time_s is not None:
        left = options.max_time_s - (time.perf_counter() - started)
        if left <= 0:
            return found
        common["max_time"] = left
    # Searched for anew: a hold-out may spend a rank on rounding.
    again = recover(operator, b, noise=None, selection=selection, **common)
    return again if again.certified or selection is not None else found


def _structure(problem: Problem, options: SenseOptions) -> bool | str:
    """Return what is asked of X: the option, else the file, else what the model is used for."""
    if options.structure != "auto":
        if problem.operator.hermitian and options.structure != "psd":
            raise InputError(
                f"--structure {options.structure} for a complex Hermitian matrix",
                "leave it out: only positive semidefinite ones are searched for",
            )
        return STRUCTURES[options.structure]
    if problem.symmetric is not None:
        return problem.symmetric
    definite = innermost(problem.operator, QuadraticSensing, DistanceSensing)
    return problem.operator.hermitian or definite


def innermost(operator: MeasurementOperator, *kinds: type[MeasurementOperator]) -> bool:
    """Whether the operator under weights, scales and bases is of one of these classes."""
    base: Any = operator
    while hasattr(base, "base"):
        base = base.base
    return isinstance(base, kinds)


def _threshold(options: SenseOptions, noise: float | str) -> float:
    from ..residual_scale import EFFICIENT

    if options.threshold is not None:
        return options.threshold
    if isinstance(noise, float) and noise > 0:
        return EFFICIENT * noise
    raise InputError(
        "--loss huber without --threshold",
        "add --threshold in units of b; or --noise with a standard deviation, of which it is then "
        f"{EFFICIENT:g}; or use --loss absolute, which finds both",
    )
