"""Flat (count-weighted) against plain nuclear norm on unevenly sampled tables.

MatrixCompletion with ||D1^a X D2^a||_*, D from row and column counts: a = 0 (plain), 1/2, 1 (flat)
and "auto", each with its own lambda by hold-out inside the training entries. Two real tables, each also under
uniform sampling as a control; a tenth of the sampled entries is held out, and where the table is
known outside the sample the error there is reported as well. Success: better than the training mean.

A run that was stopped goes on where it was: finished cases wait in results/quick/.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from scipy import stats

from . import datasets
from .harness import RESULTS, Answers, Case, Method, Record, Score, Value, compare, options, write
from .ratings import rmse

HELD_OUT = 0.1
PLAIN = "0 (plain)"
EXPONENTS: dict[str, float | str] = {PLAIN: 0.0, "0.5": 0.5, "1 (flat)": 1.0, "auto": "auto"}

WIND_SHARE = 0.2
"""Share of all months and cells that is sampled."""

CORE = 200
"""Films and users of the MovieLens core: the most rated, then who rated most of them."""

CORE_SHARE = 0.4
"""Share of the core's ratings that is sampled."""

Triplets = tuple[np.ndarray, np.ndarray, np.ndarray]
Table = tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, int]]


@dataclass(frozen=True)
class Sample:
    """Training and held-out entries of one sampling pattern, and known ones outside of it."""

    shape: tuple[int, int]
    train: Triplets
    held: Triplets
    outside: Triplets

    @property
    def counts(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the training entries of every row and of every column."""
        return (
            np.bincount(self.train[0], minlength=self.shape[0]),
            np.bincount(self.train[1], minlength=self.shape[1]),
        )


def power_law(size: int, exponent: float, rng: np.random.Generator) -> np.ndarray:
    """Return the weights 1, 2^-s, 3^-s, ... in random order."""
    return rng.permutation(np.arange(1, size + 1) ** -exponent)


def sample(
    table: Table,
    row_weights: np.ndarray,
    column_weights: np.ndarray,
    count: int,
    rng: np.random.Generator,
) -> Sample:
    """Draw ``count`` known entries one after another with weight u_i v_j; hold out a tenth of them.

    The largest log-weights plus Gumbel noise are such a draw without replacement.
    """
    rows, cols, values, shape = table
    keys = np.log(row_weights[rows] * column_weights[cols]) + rng.gumbel(size=values.size)
    order = np.argsort(-keys)
    drawn, outside = rng.permutation(order[:count]), order[count:]
    tenth = round(HELD_OUT * count)
    train, held, rest = (
        (rows[index], cols[index], values[index])
        for index in map(np.sort, (drawn[tenth:], drawn[:tenth], outside))
    )
    return Sample(shape, train, held, rest)


@cache
def winds() -> tuple[Table, np.ndarray]:
    """Return every third latitude and fourth longitude as months x cells; latitudes of the cells."""
    field, latitudes, longitudes = datasets.navy_winds()
    thin = field[:, 1:-1:3, ::4]
    months, cells = thin.shape[0], thin.shape[1] * thin.shape[2]
    rows, cols = np.indices((months, cells)).reshape(2, -1)
    where = np.repeat(latitudes[1:-1:3], longitudes[::4].size)
    return (rows, cols, thin.reshape(-1), (months, cells)), where


def wind_power_law(exponent: float, seed: int) -> Sample:
    """Sample months and cells by power laws."""
    rng = np.random.default_rng([seed, 7007])
    table, _ = winds()
    (n1, n2), count = table[3], round(WIND_SHARE * table[2].size)
    weights = power_law(n1, exponent, rng), power_law(n2, exponent, rng)
    return sample(table, *weights, count, rng)


def wind_stations(seed: int) -> Sample:
    """Sample as a growing network of the northern mid-latitudes would.

    Weight of a month: a hundredfold growth over the eleven years; of a cell: a bell of 20 degrees
    around 40 N, and a fiftieth of its height anywhere else.
    """
    rng = np.random.default_rng([seed, 7007])
    table, latitudes = winds()
    months = 100.0 ** (np.arange(table[3][0]) / table[3][0])
    cells = np.exp(-0.5 * ((latitudes - 40.0) / 20.0) ** 2) + 0.02
    return sample(table, months, cells, round(WIND_SHARE * table[2].size), rng)


@cache
def movielens() -> Table:
    """Return users, films, ratings, shape."""
    return datasets.movielens()


def _kept(table: Table, keep: np.ndarray) -> Table:
    """Return the kept ratings, users and films numbered anew."""
    users, rows = np.unique(table[0][keep], return_inverse=True)
    films, cols = np.unique(table[1][keep], return_inverse=True)
    return rows, cols, table[2][keep], (users.size, films.size)


def movielens_users(share: float, seed: int) -> Sample:
    """Take all ratings of some of the users, drawn anew for every seed: the counts are their own."""
    rng = np.random.default_rng([seed, 7007])
    whole = movielens()
    chosen = rng.random(whole[3][0]) < share
    table = _kept(whole, chosen[whole[0]])
    (n1, n2), count = table[3], table[2].size
    return sample(table, np.ones(n1), np.ones(n2), count, rng)


def movielens_core(exponent: float, seed: int) -> Sample:
    """Sample ratings of the busiest users and films by power laws; 0: uniformly."""
    rng = np.random.default_rng([seed, 7007])
    rows, cols, _, shape = movielens()
    films = np.argsort(-np.bincount(cols, minlength=shape[1]), kind="stable")[:CORE]
    inside = np.isin(cols, films)
    users = np.argsort(-np.bincount(rows[inside], minlength=shape[0]), kind="stable")[:CORE]
    table = _kept(movielens(), inside & np.isin(rows, users))
    weights = power_law(table[3][0], exponent, rng), power_law(table[3][1], exponent, rng)
    return sample(table, *weights, round(CORE_SHARE * table[2].size), rng)


GROUPS: dict[str, Callable[[int], Sample]] = {
    "winds, uniform (control)": partial(wind_power_law, 0.0),
    "winds, power law 0.75": partial(wind_power_law, 0.75),
    "winds, power law 1.5": partial(wind_power_law, 1.5),
    "winds, growing northern network": wind_stations,
    "MovieLens core, uniform (control)": partial(movielens_core, 0.0),
    "MovieLens core, power law 1.5": partial(movielens_core, 1.5),
    "MovieLens, half of the users": partial(movielens_users, 0.5),
}
QUICK = tuple(GROUPS)[4:6]


def fit(data: Sample, exponent: float | str) -> object:
    """Fit offsets and the weighted nuclear norm; lambda, and the exponent if "auto", by hold-out."""
    from ranklift.estimators import MatrixCompletion

    # The same offsets and the convex answer for every exponent: only the norm differs.
    model = MatrixCompletion(
        weight_exponent=exponent,
        offsets="both",
        scale=False,
        prediction="convex",
        unobserved="offsets",
        certify=False,
        random_state=0,
    )
    return model.fit_entries(*data.train, data.shape)


METHODS = [Method(name, partial(fit, exponent=value)) for name, value in EXPONENTS.items()]


def score(data: Sample, answers: Answers) -> dict[str, Score]:
    """Judge by the root mean square error on the held-out entries."""
    mean = rmse(np.full(data.held[2].size, data.train[2].mean()), data.held[2])
    roots = [np.sqrt(counts[counts > 0]) for counts in data.counts]
    out: dict[str, Score] = {}
    for name, model in answers.items():
        error = rmse(model.predict(*data.held[:2]), data.held[2])
        details: dict[str, Value] = {}
        if data.outside[2].size:
            details["outside"] = rmse(model.predict(*data.outside[:2]), data.outside[2])
        details |= {
            "kappa_rows": float(roots[0].max() / roots[0].min()),
            "kappa_columns": float(roots[1].max() / roots[1].min()),
            "entries": float(data.train[2].size),
            "rank": float(model.rank_),
            "exponent": float(model.weight_exponent_),
            "regularization": float(model.regularization_),
        }
        out[name] = Score(error, error <= mean, details)
    return out


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return the mean and the half-width of its 95 % t-interval."""
    half = stats.t.ppf(0.975, values.size - 1) * stats.sem(values) if values.size > 1 else np.nan
    return float(values.mean()), float(half)


def _shown(values: np.ndarray) -> str:
    mean, half = interval(values)
    return f"{mean:.4f} ± {half:.4f}"


def tabulate(records: Sequence[Record]) -> list[dict[str, Value]]:
    """Return one row for each group and exponent: means and paired differences with intervals."""
    rows: list[dict[str, Value]] = []
    for group in dict.fromkeys(r.group for r in records):
        runs = {(r.method, r.seed): r for r in records if r.group == group and r.success}
        for name in EXPONENTS:
            # Pairs only: a split that either of the two failed says nothing about the difference.
            seeds = [s for method, s in runs if method == name and (PLAIN, s) in runs]
            if seeds:
                found = [runs[name, s] for s in seeds]
                rows.append(_row(group, name, found, [runs[PLAIN, s] for s in seeds]))
    return rows


def _row(group: str, name: str, found: list[Record], plain: list[Record]) -> dict[str, Value]:
    row: dict[str, Value] = {"group": group, "exponent": name, "splits": len(found)}
    for title, errors in (("held out", _errors), ("not sampled", _outside)):
        own, base = errors(found), errors(plain)
        if own.size == 0:
            continue
        row[title] = _shown(own)
        row[f"{title}, minus plain"] = ""  # keeps the column beside its error
        if name != PLAIN:
            share = 100.0 * float(np.mean((own - base) / base))
            row[f"{title}, minus plain"] = f"{_shown(own - base)} ({share:+.2f} %)"
    for key in ("kappa_rows", "kappa_columns", "rank"):
        row[key] = float(np.median([float(r.details[key]) for r in found]))
    if name == "auto":
        chosen = Counter(float(r.details["exponent"]) for r in found)
        row["chosen"] = ", ".join(f"{value:g}: {chosen[value]}" for value in sorted(chosen))
    row["time_s"] = float(np.median([r.time_s for r in found]))
    return row


def _errors(records: list[Record]) -> np.ndarray:
    return np.array([r.error for r in records])


def _outside(records: list[Record]) -> np.ndarray:
    return np.array([float(r.details["outside"]) for r in records if "outside" in r.details])


def finished(groups: Sequence[str], seeds: int) -> Path:
    """Return the file that keeps the finished cases of a run with these settings."""
    settings = [list(groups), seeds, list(EXPONENTS), HELD_OUT, WIND_SHARE, CORE, CORE_SHARE]
    digest = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:12]
    return RESULTS / "quick" / f"flat_weights-{digest}.jsonl"


def run(groups: Sequence[str], seeds: int, methods: Sequence[Method]) -> list[Record]:
    """Run all cases that are not finished yet, and keep each as soon as it is."""
    path = finished([*groups, *(m.name for m in methods)], seeds)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.read_text().splitlines() if path.exists() else []
    records = [Record(**row) for line in lines for row in json.loads(line)]
    done = {(r.group, r.seed) for r in records}
    warm_up = movielens_core(0.0, seeds) if len(done) < len(groups) * seeds else None
    for turn, case in enumerate(_cases(groups, seeds, done)):
        order = list(methods) if turn % 2 == 0 else list(methods)[::-1]
        new = compare([case], order, score, warm_up=warm_up if turn == 0 else None)
        records += new
        with path.open("a") as file:
            file.write(json.dumps([asdict(record) for record in new]) + "\n")
    return sorted(records, key=lambda r: (list(groups).index(r.group), r.seed))


def _cases(groups: Sequence[str], seeds: int, done: set[tuple[str, int]]) -> Iterator[Case]:
    for seed in range(seeds):  # splits outside: a run cut short has some of every group
        for group in groups:
            if (group, seed) not in done:
                yield Case(group, seed, GROUPS[group](seed))


def main() -> None:
    """Run and write the table."""
    chosen = options(__doc__, seeds=10, quick_seeds=2)
    groups = QUICK if chosen.quick else tuple(GROUPS)
    methods = chosen.pick(METHODS)
    records = run(groups, chosen.seeds, methods)
    write(
        "flat_weights",
        tabulate(records),
        records,
        title="Flat weights: count-weighted against plain nuclear norm on unevenly sampled tables",
        notes=NOTES,
        quick=chosen.quick,
    )
    finished([*groups, *(m.name for m in methods)], chosen.seeds).unlink(missing_ok=True)


NOTES = (
    (
        "Errors: root mean square (m/s, rating points), mean ± half of the 95 % t-interval over the splits; "
        "minus plain: paired on the same split, below 0 the weights help. held out: a random tenth of the sampled "
        "entries, sampled as unevenly as the training; not sampled: all known entries outside the sample."
    ),
    (
        "Every exponent has row and column offsets and a lambda by hold-out of a tenth of the training entries; "
        "prediction by the convex answer, no certificates. kappa: largest over smallest root of the training counts, "
        "rows and columns without an entry left out; kappa and rank: medians. chosen: how often auto took which exponent."
    ),
    (
        f"winds: zonal surface wind, 132 months x 864 cells (every third latitude, fourth longitude), {WIND_SHARE:.0%} "
        "sampled. Power law s: months and cells in random order have weights 1, 2^-s, 3^-s, ...; growing northern "
        "network: a hundredfold growth over the months, cells around 40 N. Each seed draws a new sample. The patterns "
        "are made, the field is real."
    ),
    (
        f"MovieLens core: the {CORE} most rated films x the {CORE} users who rated most of them, {CORE_SHARE:.0%} of the "
        "ratings sampled, uniformly or by power laws as above. Half of the users: all their ratings, with the counts they come with; a new half each seed."
    ),
    (
        "Controls have the same number of entries as the uneven samples of the same table. All splits of a group come from "
        "one table and overlap: the intervals tell about this table, not about others."
    ),
)


if __name__ == "__main__":
    main()
