"""Imputation of real complete tables with 30 % of the entries masked at random.

Error: root mean square error on the masked entries over the standard deviation of their true
values. Success: better than the column means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from . import datasets
from .harness import Answers, Case, Method, Score, compare, options, summarise, write
from .peers import soft_impute

MASKED = 0.3
LIMIT_S = 400.0


@dataclass(frozen=True)
class Table:
    """A complete table and its copy with gaps (NaN)."""

    truth: np.ndarray
    gaps: np.ndarray


def mask(truth: np.ndarray, seed: int) -> Table:
    """Hide 30 % of the entries, at least one of every row and column left."""
    # A stream of its own: an imputer that draws its hold-out from default_rng(0) would otherwise
    # draw the very numbers of the mask, and hold out only entries that are hidden already.
    rng = np.random.default_rng([seed, 7001])
    hidden = rng.random(truth.shape) < MASKED
    for j in np.flatnonzero(hidden.all(axis=0)):
        hidden[rng.integers(truth.shape[0]), j] = False
    for i in np.flatnonzero(hidden.all(axis=1)):
        hidden[i, rng.integers(truth.shape[1])] = False
    return Table(truth, np.where(hidden, np.nan, truth))


def _ranklift(table: Table) -> np.ndarray:
    from ranklift.estimators import MatrixCompletion

    return np.asarray(MatrixCompletion().fit_transform(table.gaps))


def _soft_impute(table: Table) -> np.ndarray:
    return soft_impute.impute(table.gaps)


def _knn(table: Table) -> np.ndarray:
    from sklearn.impute import KNNImputer

    return KNNImputer(keep_empty_features=True).fit_transform(table.gaps)


def _iterative(table: Table) -> np.ndarray:
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    wide = table.gaps.shape[1] > 500
    # One regression a column and round: with thousands of columns the defaults take days.
    imputer = IterativeImputer(
        random_state=0,
        keep_empty_features=True,
        max_iter=3 if wide else 10,
        n_nearest_features=20 if wide else None,
    )
    return np.asarray(imputer.fit_transform(table.gaps))


def _column_means(table: Table) -> np.ndarray:
    return np.where(np.isnan(table.gaps), np.nanmean(table.gaps, axis=0), table.gaps)


METHODS = (
    Method("ranklift MatrixCompletion()", _ranklift),
    Method("SoftImpute (plain, here)", _soft_impute),
    Method("IterativeImputer", _iterative),
    Method("KNNImputer", _knn),
    Method("column means", _column_means),
)


def nrmse(table: Table, filled: np.ndarray) -> float:
    """Return the root mean square error on the gaps over the spread of their true values."""
    hidden = np.isnan(table.gaps)
    truth = table.truth[hidden]
    return float(np.sqrt(np.mean((filled[hidden] - truth) ** 2)) / np.std(truth))


def score(table: Table, answers: Answers) -> dict[str, Score]:
    """Judge by NRMSE; worse than the column means is no success."""
    plain = nrmse(table, _column_means(table))
    out: dict[str, Score] = {}
    for name, filled in answers.items():
        error = nrmse(table, filled)
        out[name] = Score(error, bool(np.isfinite(error) and error <= plain))
    return out


TABLES: dict[str, Callable[[], np.ndarray]] = {
    "digits 1797x64": datasets.digits,
    "gas sensors 1000x100": datasets.gas_sensors,
    "chlorine 1000x50": datasets.chlorine,
    "NCI60 64x6830": datasets.nci60,
}


def cases(seeds: int, quick: bool) -> Iterator[Case]:
    """Yield each table under several masks; a quick run keeps a tenth of the genes."""
    for name, load in TABLES.items():
        truth = load()
        if quick and truth.shape[1] > 500:
            truth, name = truth[:, ::10], f"{name}, every 10th gene"
        for seed in range(seeds):
            yield Case(name, seed, mask(truth, seed))


def main() -> None:
    """Run and write the table."""
    chosen = options(__doc__, seeds=5, quick_seeds=1)
    reference = METHODS[0].name
    records = compare(
        cases(chosen.seeds, chosen.quick),
        chosen.pick(METHODS),
        score,
        warm_up=mask(datasets.digits()[:80, :12], 0),
        limit_s=LIMIT_S,
    )
    write(
        "imputation",
        summarise(records, reference),
        records,
        title="Imputation of real tables, 30 % masked: error and time",
        notes=[
            "error: RMSE on the masked entries over the standard deviation of their true values.",
            (
                "ranklift: MatrixCompletion() with its defaults, hold-out included in the time; "
                "KNNImputer with its defaults; SoftImpute with standardised columns and lambda by "
                "hold-out of 10 %, 20 values, warm-started (benchmarks/peers/soft_impute.py)."
            ),
            (
                "IterativeImputer: defaults (BayesianRidge, 10 rounds), random_state 0; for tables of "
                "more than 500 columns capped at 3 rounds and 20 nearest features."
            ),
            "Thread settings of every method are its own.",
        ],
        quick=chosen.quick,
    )


if __name__ == "__main__":
    main()
