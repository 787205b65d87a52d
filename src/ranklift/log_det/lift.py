"""Rank by rank from the residual: the cheap first try where samples are plenty.

At rank k a few Gauss-Newton steps explain k directions; the leading singular vector of what is left
on the samples starts direction k + 1. With twice the samples that the rank needs this mostly walks
to the exact fit in a fraction of the smoothing path's time; with fewer it stops short of it.
"""

from __future__ import annotations

import numpy as np

from ..trace import Trace
from .finish import Fit, finish
from .samples import Samples

PLENTY = 0.5
"""Share of m up to which the dimension k (n1 + n2 - k) counts as plentifully sampled."""


def lift_rank(
    samples: Samples,
    largest_rank: int,
    rng: np.random.Generator,
    *,
    tol: float,
    trace: Trace,
) -> Fit | None:
    """Return an exact fit, or None when no rank with plenty of samples has one in reach."""
    a = np.zeros((samples.inner, 0))
    residual = samples.data
    size = float(np.linalg.norm(samples.data))
    for k in range(1, largest_rank + 1):
        if k * (samples.inner + samples.outer - k) > PLENTY * samples.count:
            return None
        start = np.concatenate([a, _leading_left_vector(samples, residual, rng)], axis=1)
        fit = finish(samples, start, tol=tol, trace=trace, max_steps=10)
        trace.record(
            "rank_lift",
            k,
            objective=0.5 * (size * fit.relative_residual) ** 2,
            residual_norm=size * fit.relative_residual,
            gradient_norm=float("nan"),
            rank=k,
        )
        if fit.relative_residual <= tol:
            return fit
        if trace.stop_requested or trace.out_of_time:
            return None
        a, residual = fit.a, fit.residual
    return None


def _leading_left_vector(
    samples: Samples, values: np.ndarray, rng: np.random.Generator, steps: int = 6
) -> np.ndarray:
    x = rng.standard_normal((samples.outer, 3))
    for _ in range(steps):
        y = np.linalg.qr(samples.matmul(values, x))[0]
        x = samples.rmatmul(values, y)
    return y @ np.linalg.svd(x.T @ x)[0][:, :1]
