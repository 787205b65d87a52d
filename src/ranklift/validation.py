"""Checks of what a caller hands in: typed errors before any work."""

from __future__ import annotations

from typing import Any

import numpy as np

from .arrays import Array, is_numpy_array, namespace, to_numpy
from .certificates.sampling import sampled_entries
from .errors import (
    DTypeError,
    InputError,
    NonFiniteError,
    RankError,
    ShapeError,
    TooLargeError,
    UnobservedError,
)
from .operators import MeasurementOperator


def checked_measurements(operator: MeasurementOperator, b: Any) -> Array:
    """Return b as a floating-point vector that fits the operator.

    Raises
    ------
    ShapeError, DTypeError, NonFiniteError
    """
    if not hasattr(b, "shape") or isinstance(b, np.generic):
        b = np.asarray(b)
    if tuple(b.shape) != (operator.num_measurements,):
        raise ShapeError(
            f"b of shape {tuple(b.shape)} for {operator.num_measurements} measurements",
            "pass one value a measurement, as a one-dimensional array",
        )
    if is_numpy_array(b):
        if b.dtype.kind not in "fiub":
            raise DTypeError(f"b of type {b.dtype}", "pass real numbers (float64 or integers)")
        if b.dtype.kind != "f":
            b = b.astype(float)
    elif not namespace(b).isdtype(b.dtype, "real floating"):
        raise DTypeError(f"b of type {b.dtype}", "pass real floating-point numbers")
    host = to_numpy(b)
    bad = np.flatnonzero(~np.isfinite(host))
    if bad.size:
        raise NonFiniteError(
            f"b holds {bad.size} values that are NaN or inf, the first at position {bad[0]}",
            "drop these measurements from b and from the operator",
        )
    return b


def checked_rank(rank: Any, shape: tuple[int, int], num_measurements: int) -> int | None:
    """Return the rank, or raise RankError when it cannot be one."""
    if rank is None:
        return None
    if isinstance(rank, bool) or not isinstance(rank, (int, np.integer)) or rank < 1:
        raise RankError(f"rank {rank!r}", "pass a positive integer, or None to search for it")
    if rank > min(shape):
        raise RankError(
            f"rank {rank} above the smaller side of a {shape[0]} x {shape[1]} matrix",
            f"pass at most {min(shape)}, or None to search for it",
        )
    return int(rank)


def check_observed(operator: MeasurementOperator) -> None:
    """Raise UnobservedError when a row or column has no sample: nothing is known about it."""
    sampling = sampled_entries(operator)
    if sampling is None:
        return
    for axis, counts in (("row", sampling.row_counts), ("column", sampling.column_counts)):
        missing = np.flatnonzero(counts == 0)
        if missing.size:
            shown = ", ".join(str(i) for i in missing[:5]) + (", ..." if missing.size > 5 else "")
            raise UnobservedError(
                f"{missing.size} unobserved {axis}(s): {shown}",
                f"drop the {axis}(s) without samples, or observe at least one entry of each",
            )


def check_memory(operator: MeasurementOperator, search_rank: int) -> None:
    """Raise TooLargeError when factors and work arrays would not fit into this machine."""
    available = _available_bytes()
    rows = sum(operator.shape)
    # About 20 arrays of the size of the factors are alive at once, and 6 of the size of b.
    needed = 8 * (20 * rows * search_rank + 6 * operator.num_measurements)
    if available is not None and needed > available:
        raise TooLargeError(
            f"about {needed / 1e9:.1f} GB needed, {available / 1e9:.1f} GB of memory available",
            "lower the rank, use fewer measurements, or a machine with more memory",
        )


def _available_bytes() -> int | None:
    try:
        with open("/proc/meminfo") as stream:
            for line in stream:
                if line.startswith("MemAvailable:"):
                    return 1024 * int(line.split()[1])
    except OSError:
        pass
    return None


def checked_noise(noise: Any) -> float | str:
    """Return 0.0 for exact data, a standard deviation, or "estimate"."""
    if noise is None:
        return 0.0
    if noise == "estimate":
        return "estimate"
    if isinstance(noise, str) or not np.isfinite(noise) or noise < 0:
        raise InputError(
            f"noise {noise!r}", 'pass a standard deviation >= 0, "estimate", or None for exact data'
        )
    return float(noise)


def checked_regularization(regularization: Any) -> float | str | None:
    """Return lambda > 0, "auto", or None for no regularised stage."""
    if regularization is None or regularization == "auto":
        return regularization
    if isinstance(regularization, str) or not np.isfinite(regularization) or regularization < 0:
        raise InputError(
            f"regularization {regularization!r}",
            'pass lambda > 0, "auto", or None to leave the regularised stage out',
        )
    return float(regularization) or None


def check_positive(name: str, value: Any) -> None:
    """Raise InputError unless value is a positive finite number."""
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not number or not 0 < value < np.inf:
        raise InputError(f"{name}={value!r}", "pass a positive number")


def check_whole(name: str, value: Any) -> None:
    """Raise InputError unless value is a positive integer."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise InputError(f"{name}={value!r}", "pass a positive integer")
