"""From an incomplete matrix to a fit: the estimator by default, `recover` where noise is known."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..io import IncompleteMatrix
from ..io.write import Predict

if TYPE_CHECKING:
    from ..result import Recovery
    from .complete import CompleteOptions

Observer = Callable[[Any], bool]


@dataclass(frozen=True, eq=False)
class Fit:
    """Hold an answer, how it predicts entries in the data's units, and what was asked and chosen.

    Parameters
    ----------
    recovery : Recovery
    predict : callable
        (rows, cols) -> values.
    parameters : mapping of str to str
        For the report.
    model : mapping
        What was chosen, as plain values.
    selection : mapping, optional
        What the hold-out compared.
    elapsed_s : float
        Of everything: choices, fit and certificates.
    """

    recovery: Recovery
    predict: Predict
    parameters: Mapping[str, str]
    model: Mapping[str, Any]
    selection: Mapping[str, Any] | None
    elapsed_s: float


def fit_matrix(data: IncompleteMatrix, options: CompleteOptions, callback: Observer) -> Fit:
    """Fit and certify.

    Noise "auto" goes through `MatrixCompletion`: offsets, scales, weights, rank and
    regularisation by hold-out. Exact data, or a given standard deviation, go to `recover` as they
    are, without offsets: the low-rank matrix is then the answer itself.
    """
    started = time.perf_counter()
    if options.noise == "auto":
        return _fit_estimator(data, options, callback, started)
    return _fit_plain(data, options, callback, started)


def _fit_plain(
    data: IncompleteMatrix, options: CompleteOptions, callback: Observer, started: float
) -> Fit:
    from ..operators import EntrySampling
    from ..pipeline import recover

    recovery = recover(
        EntrySampling(data.rows, data.cols, data.shape),
        data.values,
        rank=options.rank,
        noise=options.noise_level,
        tol=options.tol,
        max_time=options.max_time_s,
        rng=options.seed,
        callback=callback,
    )
    recovery.extras = _no_offsets(data)
    level = options.noise_level
    parameters = {
        "rank": _asked_rank(options),
        "noise": "none: the data are taken as exact"
        if level is None
        else f"standard deviation {level:g}, given",
        "offsets": "none: the values are fitted as they are",
        "tolerance": f"{options.tol:g}",
        "seed": str(options.seed),
    }
    return Fit(
        recovery,
        recovery.matrix.entries,
        parameters,
        {
            "offsets": "none",
            "prediction": "refit" if recovery.refitted else "convex",
            "rank": recovery.rank,
        },
        recovery.holdout,
        time.perf_counter() - started,
    )


def _fit_estimator(
    data: IncompleteMatrix, options: CompleteOptions, callback: Observer, started: float
) -> Fit:
    from ..estimators import MatrixCompletion

    stopped = False

    def observe(row: Any) -> bool:
        nonlocal stopped
        stopped = callback(row)
        return stopped

    estimator = MatrixCompletion(
        rank=options.rank,
        max_time=options.max_time_s,
        random_state=options.seed,
        callback=observe,
    )
    estimator.fit_entries(data.rows, data.cols, data.values, data.shape)
    recovery = estimator.recovery_
    if recovery is None:
        recovery = _offsets_only(data, estimator, stopped)
    model = {
        "offsets": estimator.offsets_.kind,
        "damping": estimator.offsets_.damping,
        "columns_scaled": bool((estimator.offsets_.scale != 1.0).any()),
        "weight_exponent": estimator.weight_exponent_,
        "regularization": estimator.regularization_,
        "prediction": estimator.prediction_,
        "rank": estimator.rank_,
        "holdout_error": estimator.holdout_error_,
        "noise": estimator.noise_,
    }
    predicted = {
        "convex": f"the regularised fit, rank {estimator.rank_}",
        "refit": f"the refit, rank {estimator.rank_}",
        "offsets": "offsets alone: too few entries, or no time, for a low-rank part",
    }
    parameters = {
        "rank": _asked_rank(options),
        "noise": "estimated by hold-out",
        "offsets": {
            "none": "none",
            "columns": "mean and column offsets",
            "both": "mean, row and column offsets",
        }[estimator.offsets_.kind],
        "columns scaled to unit spread": "yes" if model["columns_scaled"] else "no",
        "weights by counts (0 plain, 1 flat)": f"{estimator.weight_exponent_:g}",
        "predictions from": predicted[estimator.prediction_],
        "seed": str(options.seed),
    }
    return Fit(
        recovery,
        estimator.predict,
        parameters,
        model,
        recovery.holdout,
        time.perf_counter() - started,
    )


def _offsets_only(data: IncompleteMatrix, estimator: Any, stopped: bool) -> Recovery:
    """Return the zero matrix as the (uncertified) low-rank part, so that it can be saved."""
    from ..operators import EntrySampling
    from ..result import Recovery
    from ..status import Status

    offsets = estimator.offsets_
    rest = offsets.remove(data.rows, data.cols, data.values)
    n1, n2 = data.shape
    return Recovery(
        left=np.zeros((n1, 0)),
        right=np.zeros((n2, 0)),
        status=Status.USER_STOP if stopped else Status.STALLED,
        relative_residual=1.0,
        residual_norm=float(np.linalg.norm(rest)),
        extras=_no_offsets(data) | offsets.to_arrays(np.arange(n1), np.arange(n2)),
        operator=EntrySampling(data.rows, data.cols, data.shape),
        measurements=rest,
    )


def _no_offsets(data: IncompleteMatrix) -> dict[str, np.ndarray]:
    """Return the extras of a fit to the values as they are: one formula reads every result."""
    n1, n2 = data.shape
    return {
        "mean": np.array(0.0),
        "row_offset": np.zeros(n1),
        "column_offset": np.zeros(n2),
        "column_location": np.zeros(n2),
        "column_scale": np.ones(n2),
        "row_weight": np.ones(n1),
        "column_weight": np.ones(n2),
        "row_index": np.arange(n1),
        "column_index": np.arange(n2),
    }


def _asked_rank(options: CompleteOptions) -> str:
    return "searched for" if options.rank is None else f"{options.rank}, given"
