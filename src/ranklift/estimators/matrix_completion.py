"""MatrixCompletion: a drop-in imputer with certificates."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, check_random_state, validate_data

from .. import threads
from ..errors import (
    EmptyDataError,
    InputError,
    NonFiniteError,
    RankError,
    ShapeError,
    TooLargeError,
    UnobservedError,
)
from ..factorizations import Asymmetric
from ..lowrank import LowRank
from ..noise import HoldOut, Split, hold_out
from ..operators import EntrySampling
from ..pipeline import recover
from ..problem import FactorizedProblem
from ..result import Recovery
from ..trace import Callback, Trace
from .offsets import choose_offsets, fit_offsets, units_differ
from .table import ObservedTable, count_weights, factors_of, observed_entries, reject_repetitions

LEAST_ENTRIES = 30
"""Fewer observed entries than this cannot be split: only offsets are fitted."""

SCREENING_RANK = 10
"""Rank of the solutions at which offsets and weight exponents are compared: cheap, and enough to
tell them apart."""

NUMBER = (int, float, np.integer, np.floating)

DENSE_LIMIT = 2_000_000_000
"""Most bytes of a completed table that ``transform`` returns for sparse input."""


class MatrixCompletion(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Fill the gaps of a table by a certified low-rank model.

    value_ij = mean + row_i + column_j + (L R^T)_ij, in scaled units where columns have different
    ones. Offsets, rank, regularisation and the weight
    exponent are chosen by hold-out unless given.

    Parameters
    ----------
    rank : int, optional
        Rank of the refit; by default chosen by hold-out.
    regularization : float or "auto", default "auto"
        lambda > 0 of the nuclear norm, in the units of the (offset-free, scaled) data.
    weight_exponent : float or "auto", default "auto"
        Weights of the nuclear norm by row and column counts: 0 plain, 1 flat (the weighted trace
        norm). "auto" compares 0, 1/2 and 1 by hold-out where counts vary.
    offsets : "auto", "both", "columns" or "none", default "auto"
    scale : "auto" or bool, default "auto"
        Scale columns to unit spread; "auto" does when their spreads differ by more than tenfold.
    prediction : "auto", "convex" or "refit", default "auto"
        Which stage predicts; "auto" takes the one with the smaller hold-out error.
    unobserved : "error" or "offsets", default "error"
        What to do with training rows and columns without a value: refuse, or predict them by the
        offsets alone.
    max_time : float, optional
        Seconds for the whole fit.
    certify : bool, default True
        Whether to check the certificates of the fit.
    random_state : int, RandomState or None
    callback : callable, optional
        As in ``rl.recover``.

    Attributes
    ----------
    recovery_ : Recovery or None
        The full answer with its certificates, of the offset-free, scaled and weighted table;
        None when the table is too small to be split. Its ``extras`` lead back to the units of the
        data: value_ij = column_location_j + column_scale_j (mean + row_offset_i + column_offset_j
        + row_weight_i column_weight_j (L R^T)_ij), over the rows and columns with values
        (row_index, column_index).
    rank_, regularization_, weight_exponent_, prediction_ : what was chosen
    noise_ : float
        Standard deviation of the data around the model, in their own units: the root of the sum
        of squares over m - degrees of freedom.
    holdout_error_ : float
        Root mean square error on the held-out tenth, in scaled units.
    offsets_ : Offsets
    n_features_in_, feature_names_in_

    Notes
    -----
    Memory: the observed entries and factors only; ``transform`` returns a dense table.
    Source of the weights: notes/flat-minima.md; Salakhutdinov and Srebro (2010) for exponent 1.

    Examples
    --------
    >>> import numpy as np
    >>> table = np.outer(np.arange(1.0, 9.0), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    >>> gaps = table.copy()
    >>> gaps[[0, 3, 6], [1, 4, 2]] = np.nan
    >>> filled = MatrixCompletion(random_state=0).fit_transform(gaps)
    >>> bool(abs(filled - table).max() < 1e-3)
    True
    """

    def __init__(
        self,
        rank: int | None = None,
        *,
        regularization: float | str = "auto",
        weight_exponent: float | str = "auto",
        offsets: str = "auto",
        scale: bool | str = "auto",
        prediction: str = "auto",
        unobserved: str = "error",
        max_time: float | None = None,
        certify: bool = True,
        random_state: Any = None,
        callback: Callback | None = None,
    ) -> None:
        self.rank = rank
        self.regularization = regularization
        self.weight_exponent = weight_exponent
        self.offsets = offsets
        self.scale = scale
        self.prediction = prediction
        self.unobserved = unobserved
        self.max_time = max_time
        self.certify = certify
        self.random_state = random_state
        self.callback = callback

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    # -- fitting ------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None) -> MatrixCompletion:
        """Fit to a table with gaps.

        Parameters
        ----------
        X : array or DataFrame with NaN for gaps, or sparse matrix
            Shape (n_samples, n_features). Of a sparse matrix the stored entries are the observed
            ones, explicit zeros included.
        y : ignored

        Raises
        ------
        UnobservedError
            When a column holds no value.
        DuplicateEntriesError
            When a sparse matrix repeats an entry.
        """
        reject_repetitions(X)
        X = validate_data(
            self, X, accept_sparse="csr", dtype=np.float64, ensure_all_finite="allow-nan"
        )
        return self._fit(*observed_entries(X), X.shape)

    def fit_entries(
        self, rows: Any, cols: Any, values: Any, shape: tuple[int, int] | None = None
    ) -> MatrixCompletion:
        """Fit to triplets (row, column, value), zero-based; no table is formed.

        Raises
        ------
        InputError
            A typed subclass for lengths that differ, NaN or inf, repeated or missing entries.
        """
        rows, cols = np.asarray(rows), np.asarray(cols)
        values = np.asarray(values, dtype=np.float64)
        if min(rows.size, cols.size, values.size) == 0:
            raise EmptyDataError("no entry", "pass at least one (row, column, value)")
        if shape is None:
            shape = (int(rows.max()) + 1, int(cols.max()) + 1)
        EntrySampling(rows, cols, shape)  # typed errors for positions, before any work
        if values.shape != rows.shape:
            raise ShapeError(
                f"values of shape {values.shape} for positions of shape {rows.shape}",
                "pass one value an entry",
            )
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise NonFiniteError(
                f"{bad.size} values are NaN or inf, the first at position {bad[0]}",
                "leave these entries out: what is not listed counts as a gap",
            )
        vars(self).pop("feature_names_in_", None)  # of an earlier fit to a DataFrame
        self.n_features_in_ = int(shape[1])
        return self._fit(rows, cols, values, shape)

    def _fit(
        self, rows: np.ndarray, cols: np.ndarray, values: np.ndarray, shape: tuple[int, int]
    ) -> MatrixCompletion:
        self._check_parameters(shape)
        if values.size == 0:
            raise EmptyDataError("the table holds no value", "pass at least one observed entry")
        self._check_observed(rows, cols, shape)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        rng = np.random.default_rng([seed, 1])
        trace = Trace(
            callback=self.callback,
            max_time_s=float("inf") if self.max_time is None else self.max_time,
        )
        self.shape_ = (int(shape[0]), int(shape[1]))
        table = ObservedTable(rows, cols, values, self.shape_)
        selection = None
        if values.size >= LEAST_ENTRIES and min(np.count_nonzero(c) for c in table.counts) >= 2:
            with threads.single_threaded_blas():
                selection = self._select(table, rng, trace)
        if selection is None:
            return self._fit_offsets_only(table)
        return self._fit_model(table, selection, seed, trace)

    def _check_observed(self, rows: np.ndarray, cols: np.ndarray, shape: tuple[int, int]) -> None:
        if self.unobserved not in ("error", "offsets"):
            raise InputError(f"unobserved {self.unobserved!r}", 'use "error" or "offsets"')
        if self.unobserved == "offsets":
            return
        for axis, index, size in (("row", rows, shape[0]), ("column", cols, shape[1])):
            unseen = np.flatnonzero(np.bincount(index, minlength=size) == 0)
            if unseen.size:
                raise UnobservedError(
                    f"{unseen.size} {axis}(s) without a value, the first at position {unseen[0]}",
                    f'drop the {axis}(s), or pass unobserved="offsets" to predict them by offsets',
                )

    def _check_parameters(self, shape: tuple[int, int]) -> None:
        if self.offsets not in ("auto", "both", "columns", "none"):
            raise InputError(f"offsets {self.offsets!r}", 'use "auto", "both", "columns" or "none"')
        if self.prediction not in ("auto", "convex", "refit"):
            raise InputError(f"prediction {self.prediction!r}", 'use "auto", "convex" or "refit"')
        for name, least in (("regularization", "above 0"), ("weight_exponent", "at least 0")):
            value = getattr(self, name)
            number = isinstance(value, NUMBER) and 0 <= value < np.inf
            if value != "auto" and (not number or (value == 0 and least == "above 0")):
                raise InputError(f"{name} {value!r}", f'use "auto" or a number {least}')
        if self.scale not in ("auto", True, False):
            raise InputError(f"scale {self.scale!r}", 'use "auto", True or False')
        time = self.max_time
        if time is not None and not (isinstance(time, NUMBER) and time > 0):
            raise InputError(f"max_time {self.max_time!r}", "use a positive number of seconds")
        if self.rank is not None and (
            not isinstance(self.rank, Integral) or not 1 <= self.rank <= min(shape)
        ):
            raise RankError(
                f"rank {self.rank!r} for a table of shape {tuple(shape)}",
                f"pass a whole number between 1 and {min(shape)}, or None",
            )

    def _select(
        self, table: ObservedTable, rng: np.random.Generator, trace: Trace
    ) -> _Selection | None:
        """Choose offsets, weights, lambda and rank on one hold-out split."""
        train, test = table.split(rng)
        scaled = self._scaled(table)
        kinds = ("none", "columns", "both") if self.offsets == "auto" else (self.offsets,)
        if scaled and self.offsets == "auto":
            kinds = kinds[1:]  # a spread is one around the column's mean
        kind, damping = choose_offsets(
            train.triplets, test.triplets, table.shape, kinds, scale_columns=scaled
        )
        fixed = None if self.regularization == "auto" else float(self.regularization)
        share = test.values.size / table.values.size

        def run(kind: str, exponent: float, stop_at_rank: int | None) -> HoldOut | None:
            fitted = fit_offsets(
                *train.triplets, table.shape, kind=kind, damping=damping, scale_columns=scaled
            )
            residual, held = fitted.remove(*train.triplets), fitted.remove(*test.triplets)
            if float(np.linalg.norm(residual)) <= 1e-12 * float(np.linalg.norm(train.values)):
                return None
            scales = count_weights(table, exponent)
            operator, b = train.operator(scales).canonical(residual)
            split = Split(
                FactorizedProblem(operator, b, Asymmetric()), test.operator(scales), held, share
            )
            return hold_out(
                split,
                np.random.default_rng(rng.integers(2**32)),
                rank=self.rank,
                regularization=fixed,
                trace=trace,
                stop_at_rank=stop_at_rank,
            )

        screened: dict[tuple[str, float], HoldOut | None] = {}

        def least(candidates: list[tuple[str, float]]) -> tuple[str, float]:
            for key in candidates:
                if len(candidates) > 1 and key not in screened:
                    screened[key] = run(*key, SCREENING_RANK)
            return (
                _least({key: screened[key] for key in candidates if key in screened})
                or (candidates[0])
            )

        # Offsets that help by themselves can add rank to what is left: ask the whole model.
        exponents = self._exponents(table)
        if self.offsets == "auto" and kind != "none" and not scaled:
            kind = least([(kind, exponents[0]), ("none", exponents[0])])[0]
        kind, exponent = least([(kind, e) for e in exponents])
        found = run(kind, exponent, None)
        if found is None:
            return None
        return _Selection(kind, damping, scaled, exponent, found)

    def _scaled(self, table: ObservedTable) -> bool:
        if self.scale == "auto":
            return units_differ(table.cols, table.values, table.shape[1])
        return bool(self.scale)

    def _exponents(self, table: ObservedTable) -> tuple[float, ...]:
        if self.weight_exponent != "auto":
            return (float(self.weight_exponent),)
        spreads = [np.std(c) / np.mean(c) for c in table.counts]
        # Below a quarter the weights of rows and columns are equal within rounding of the error.
        return (0.0, 0.5, 1.0) if max(spreads) > 0.25 else (0.0,)

    def _fit_offsets_only(self, table: ObservedTable) -> MatrixCompletion:
        kind = "columns" if self.offsets in ("auto", "columns") else self.offsets
        self.offsets_ = fit_offsets(
            *table.triplets,
            table.shape,
            kind=kind,
            damping=0.5,
            scale_columns=self._scaled(table),
        )
        self._set_factors(np.zeros((table.shape[0], 0)), np.zeros((table.shape[1], 0)), None)
        self._set_errors(table, (np.ones(table.shape[0]), np.ones(table.shape[1])))
        self.recovery_: Recovery | None = None
        self.rank_, self.regularization_, self.weight_exponent_ = 0, 0.0, 0.0
        self.prediction_, self.holdout_error_ = "offsets", float("nan")
        return self

    def _fit_model(
        self, table: ObservedTable, chosen: _Selection, seed: int, trace: Trace
    ) -> MatrixCompletion:
        found = chosen.found
        self.offsets_ = fit_offsets(
            *table.triplets,
            table.shape,
            kind=chosen.kind,
            damping=chosen.damping,
            scale_columns=chosen.scaled,
        )
        residual = self.offsets_.remove(*table.triplets)
        scales = count_weights(table, chosen.exponent)
        # Rows and columns without values keep the factor 0; the search is over the others.
        row_index, column_index = (np.flatnonzero(counts) for counts in table.counts)
        kept = table.compressed(row_index, column_index)
        row_scale, column_scale = scales[0][row_index], scales[1][column_index]
        left_time = None if self.max_time is None else max(0.0, self.max_time - trace.elapsed_s)
        prediction = self.prediction
        if prediction == "auto":
            prediction = "refit" if found.refit_error < found.convex_error else "convex"
        refit_wanted = prediction == "refit"
        self.recovery_ = recover(
            kept.operator((row_scale, column_scale)),
            residual,
            rank=found.rank if refit_wanted else None,
            refit=refit_wanted,
            init=None if refit_wanted else factors_of(found.w, table, row_index, column_index),
            noise=max(min(found.convex_error, found.refit_error), np.finfo(float).tiny),
            regularization=found.regularization,
            certify=self.certify,
            max_time=left_time,
            rng=seed,
            callback=self.callback,
        )
        self.recovery_.holdout = found.to_dict()
        self.recovery_.extras = {
            **self.offsets_.to_arrays(row_index, column_index),
            "row_weight": row_scale,
            "column_weight": column_scale,
            "row_index": row_index,
            "column_index": column_index,
        }
        convex = self.recovery_.convex
        if prediction == "convex" and convex is not None:
            part, penalty = convex.matrix, convex.regularization
        else:
            prediction, part, penalty = "refit", self.recovery_.matrix, 0.0
        left = np.zeros((table.shape[0], part.rank))
        right = np.zeros((table.shape[1], part.rank))
        left[row_index] = row_scale[:, None] * part.left
        right[column_index] = column_scale[:, None] * part.right
        self.rank_, self.regularization_ = part.rank, found.regularization
        self.weight_exponent_, self.prediction_ = chosen.exponent, prediction
        self.holdout_error_ = min(found.convex_error, found.refit_error)
        self.holdout_ = found.to_dict()
        mean_count = float(table.counts[0][row_index].mean())
        self._set_factors(left, right, (penalty, chosen.exponent, mean_count))
        self._set_errors(table, scales)
        return self

    def _set_factors(
        self, left: np.ndarray, right: np.ndarray, ridge: tuple[float, float, float] | None
    ) -> None:
        self.left_, self.right_, self.ridge_ = left, right, ridge
        self.n_features_in_ = int(self.right_.shape[0])

    def _set_errors(self, table: ObservedTable, scales: tuple[np.ndarray, np.ndarray]) -> None:
        """Estimate the noise, and keep what standard errors need: inverse Gram blocks."""
        k = self.left_.shape[1]
        self.row_precision_ = self.column_precision_ = None
        freedom = self.offsets_.degrees_of_freedom(table.rows, table.cols)
        if 0 < k * k * sum(table.shape) * 8 <= 400_000_000:
            operator = EntrySampling(table.rows, table.cols, table.shape)
            penalty = self.ridge_[0] if self.ridge_ else 0.0
            # A small ridge keeps rows with fewer than k samples finite.
            typical = max(float(np.mean(self.left_**2) + np.mean(self.right_**2)), 1e-300)
            inverses = []
            for factor, side, scale in (
                (self.right_, "left", scales[0]),
                (self.left_, "right", scales[1]),
            ):
                gram = operator.gram_blocks(factor, side=side)
                ridge = np.maximum(penalty / scale**2, 1e-3 * typical)
                inverses.append(np.linalg.inv(gram + ridge[:, None, None] * np.eye(k)))
                freedom += float(np.sum(inverses[-1] * gram))  # the sum of the leverages
            self.row_precision_, self.column_precision_ = inverses
            freedom -= k * k  # what a change of basis moves between the factors
        fitted = LowRank(self.left_, self.right_).entries(table.rows, table.cols)
        rest = self.offsets_.remove(*table.triplets) - fitted
        m = rest.size
        remaining = max(m - freedom, 0.1 * m)
        self.noise_ = float(
            np.sqrt(np.sum((rest * self.offsets_.scale[table.cols]) ** 2) / remaining)
        )
        self.scaled_noise_ = float(np.sqrt(np.sum(rest**2) / remaining))

    # -- using the fit ------------------------------------------------------------------------

    def predict(self, rows: Any, cols: Any = None, *, return_std: bool = False) -> Any:
        """Return the fitted values at entries of the training table, or of a whole table.

        ``predict(rows, cols)`` asks for single entries; ``predict(X)`` returns the fitted values of
        a table with gaps, whose rows may be new: ``transform`` without the observed values.

        Parameters
        ----------
        rows, cols : integer arrays, shape (p,)
            Without ``cols`` the first argument is a table X.
        return_std : bool, default False
            Also return the standard error of each fitted value: noise times the root of
            r_j^T P_i^-1 r_j + l_i^T Q_j^-1 l_i with P, Q the Gram blocks of row i and column j
            (first-order, other factor held fixed; observation noise not included).

        Raises
        ------
        ShapeError
            For positions outside the table.
        """
        check_is_fitted(self)
        if cols is None:
            return self._fitted_table(rows)[0]
        rows, cols = np.atleast_1d(rows).astype(int), np.atleast_1d(cols).astype(int)
        n1, n2 = self.shape_
        outside = (rows < 0) | (rows >= n1) | (cols < 0) | (cols >= n2)
        if rows.shape != cols.shape or outside.any():
            raise ShapeError(
                f"positions outside the {n1} x {n2} training table, or lists of two lengths",
                "pass zero-based rows and columns of the fitted table",
            )
        low_rank = np.sum(self.left_[rows] * self.right_[cols], axis=1)
        values = self.offsets_.baseline(rows, cols) + self.offsets_.scale[cols] * low_rank
        if not return_std:
            return values
        return values, self._standard_errors(rows, cols)

    def _standard_errors(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        noise = self.scaled_noise_ * self.offsets_.scale[cols]
        if self.row_precision_ is None or self.column_precision_ is None:
            return noise
        out = np.empty(rows.shape)
        step = max(1, 4_000_000 // self.left_.shape[1] ** 2)  # 32 MB of blocks at a time
        for start in range(0, rows.size, step):
            part = slice(start, start + step)
            i, j = rows[part], cols[part]
            left, right = self.left_[i], self.right_[j]
            out[part] = np.einsum("ta,tab,tb->t", right, self.row_precision_[i], right)
            out[part] += np.einsum("ta,tab,tb->t", left, self.column_precision_[j], left)
        return noise * np.sqrt(np.maximum(out, 0.0))

    def transform(self, X: Any) -> np.ndarray:
        """Return the table with its gaps filled; observed values stay as they are.

        Rows may be new: each gets its own offset and factor row, by ridge regression of its
        observed values on the fitted columns.

        Raises
        ------
        TooLargeError
            When a sparse table would not fit into memory as a dense one; use ``predict``.
        """
        out, (rows, cols, values) = self._fitted_table(X)
        out[rows, cols] = values
        return out

    def _fitted_table(self, X: Any) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Return the fitted values of a table and its observed entries."""
        check_is_fitted(self)
        reject_repetitions(X)
        X = validate_data(
            self, X, accept_sparse="csr", dtype=np.float64,
            ensure_all_finite="allow-nan", reset=False,
        )  # fmt: skip
        n1, n2 = X.shape
        if sparse.issparse(X) and n1 * n2 * 8 > DENSE_LIMIT:
            raise TooLargeError(
                f"a completed table of {n1 * n2 * 8 / 1e9:.1f} GB",
                "transform fewer rows at a time, or ask predict(rows, cols) for single entries",
            )
        entries = observed_entries(X)
        return self._complete(*entries, n1), entries

    def _complete(
        self, rows: np.ndarray, cols: np.ndarray, values: np.ndarray, n1: int
    ) -> np.ndarray:
        fit, scale = self.offsets_, self.offsets_.scale
        order = np.argsort(rows, kind="stable")
        bounds = np.searchsorted(rows[order], np.arange(n1 + 1))
        centred = fit.remove_columns(cols, values)
        k = self.right_.shape[1]
        factors, row_offsets = np.zeros((n1, k)), np.zeros(n1)
        for i in range(n1):
            entries = order[bounds[i] : bounds[i + 1]]
            if entries.size == 0:
                continue
            row_offsets[i] = fit.row_offset(centred[entries])
            if k:
                seen = cols[entries]
                factors[i] = self._row_factor(self.right_[seen], centred[entries] - row_offsets[i])
        out = factors @ self.right_.T
        out += fit.mean + row_offsets[:, None] + fit.column
        return fit.location + scale * out

    def _row_factor(self, design: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Return argmin 1/2 ||design z - target||^2 + penalty/2 ||z||^2 for one row."""
        assert self.ridge_ is not None
        penalty, exponent, mean_count = self.ridge_
        # The row scale d enters as L = d L': a ridge lambda on L' is lambda / d^2 on L.
        penalty = penalty * (target.size / mean_count) ** exponent
        gram = design.T @ design
        floor = 1e-8 * (np.trace(gram) / gram.shape[0] + np.finfo(float).tiny)
        gram[np.diag_indices_from(gram)] += penalty + floor
        return np.linalg.solve(gram, design.T @ target)


@dataclass(frozen=True)
class _Selection:
    kind: str
    damping: float
    scaled: bool
    exponent: float
    found: HoldOut


def _least(screened: dict[Any, HoldOut | None]) -> Any:
    """Return the key of the least hold-out error, compared at a common rank of the solutions.

    Where one problem stops at rank 9 and another at 20, the second would win by its rank.
    """
    paths = {key: found for key, found in screened.items() if found is not None}
    if not paths:
        return None
    common = min(max(rank for _, rank, _ in found.path) for found in paths.values())

    def score(found: HoldOut) -> float:
        ranks = [rank for _, rank, _ in found.path]
        errors = np.minimum.accumulate([error for _, _, error in found.path])
        return min(float(np.interp(common, ranks, errors)), found.refit_error)

    return min(paths, key=lambda key: score(paths[key]))
