"""CoordinateRecovery: points from some of their distances."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components, shortest_path
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, check_random_state

from ..errors import (
    EmptyDataError,
    InputError,
    NonFiniteError,
    RankError,
    ShapeError,
    UnobservedError,
)
from ..factorizations import Symmetric
from ..operators import Congruence, DistanceSensing
from ..pipeline import recover
from ..problem import FactorizedProblem
from ..refit import refit
from ..result import Recovery
from ..solvers import TrustRegion
from ..trace import Callback

SPARE = 2
"""Dimensions beyond the wanted ones in which the search begins: points that are on the wrong side
of others can then pass around them instead of through them."""

SEARCH = TrustRegion(curvature_tol=float("inf"), max_inner=100)
"""Local search of the start; its end is judged in the final fit."""

START_TOLERANCE = 1e-6
"""Relative gradient at which the start is left to the final fit."""

EXACT = 1e-6
"""Share of the data's size below which the start's residual counts as exact distances."""

SHORTEST_PATHS_LIMIT = 5000
"""Points up to which all shortest paths are found for the start: 200 MB, some 20 s."""


class CoordinateRecovery(BaseEstimator):
    """Find points whose distances are known for some pairs, and certify them.

    Squared distances are linear in the Gram matrix G = P P^T of the centred points P:
    d_ij^2 = G_ii + G_jj - 2 G_ij. Its rank is the dimension of the space, so that this recovers a
    positive semidefinite matrix of low rank.

    Parameters
    ----------
    dimension : int, default 2
        Of the space, 1 or more.
    error : "absolute" or "relative", default "absolute"
        Whether the errors of all distances are of one size, or of one share of the distance. A
        squared distance has the error 2 d times that of the distance: measurements are weighted by
        1 / (2 d), or 1 / (2 d^2) times the median distance, so that the fit is one of distances.
    noise : float, "estimate" or None, default "estimate"
        Standard deviation of the distances' errors, in their units (relative ones: at the median
        distance); "estimate" takes it from the fit; None for exact distances.
    max_time : float, optional
        Seconds for the final fit.
    certify : bool, default True
        Whether to check the certificates.
    random_state : int, RandomState or None
    callback : callable, optional
        As in ``rl.recover``.

    Attributes
    ----------
    points_ : array, shape (n, dimension)
        Centred, along their principal axes; the largest coordinate of each axis is positive. With
        anchors: aligned to them.
    stress_ : float
        Kruskal's stress-1: sqrt(sum (d_found - d)^2 / sum d^2) over the known pairs.
    rmse_ : float
        Root mean square error of the known distances, in their units.
    rank_ : int
        The dimension.
    recovery_ : Recovery
        The Gram matrix in centred coordinates (n - 1 of them) with its certificates:
        ``identifiability`` says that the points cannot flex.

    Raises
    ------
    InputError
        A typed subclass for unusable input, before any work.

    Notes
    -----
    Start: classical scaling of the shortest paths, then a search with two spare dimensions and
    equal errors of all distances, then with their own. Memory: n^2 numbers for the shortest paths
    (up to 5000 points; the convex stage of ``recover`` beyond), else O(m). Distances leave
    rotations, reflections and shifts free: see ``align``.
    Source of the Gram form: classical scaling (Torgerson); weights and spare dimensions own design.

    Examples
    --------
    >>> import numpy as np
    >>> corners = np.array([[0.0, 0.0], [3.0, 0.0], [3.0, 4.0], [0.0, 4.0]])
    >>> pairs = np.array([[0, 1], [1, 2], [2, 3], [3, 0], [0, 2], [1, 3]])
    >>> distances = np.array([3.0, 4.0, 3.0, 4.0, 5.0, 5.0])
    >>> model = CoordinateRecovery(noise=None, random_state=0).fit(pairs, distances)
    >>> bool(abs(model.align([0, 1, 2], corners[:3]) - corners).max() < 1e-8)
    True
    """

    def __init__(
        self,
        dimension: int = 2,
        *,
        error: str = "absolute",
        noise: float | str | None = "estimate",
        regularization: float | str | None = None,
        max_time: float | None = None,
        certify: bool = True,
        random_state: Any = None,
        callback: Callback | None = None,
    ) -> None:
        self.dimension = dimension
        self.error = error
        self.noise = noise
        self.regularization = regularization
        self.max_time = max_time
        self.certify = certify
        self.random_state = random_state
        self.callback = callback

    def fit(
        self,
        pairs: Any,
        distances: Any = None,
        *,
        n_points: int | None = None,
        anchors: tuple[Any, Any] | None = None,
    ) -> CoordinateRecovery:
        """Fit to distances of pairs, or to a square table with NaN where they are unknown.

        Parameters
        ----------
        pairs : int array (m, 2), or array (n, n) without ``distances``
            Zero-based numbers of the points; a table may be symmetric or hold one triangle.
        distances : array (m,)
            Plain distances, positive.
        n_points : int, optional
            Number of points; by default the largest number and one.
        anchors : (indices, positions), optional
            Points at known places, to which the answer is aligned.
        """
        pairs, distances, count = _checked_distances(pairs, distances, n_points)
        if not isinstance(self.dimension, (int, np.integer)) or not 1 <= self.dimension < count:
            raise RankError(
                f"dimension {self.dimension!r} for {count} points",
                "pass a whole number from 1 to n - 1",
            )
        if self.error not in ("absolute", "relative"):
            raise InputError(f"error={self.error!r}", 'pass "absolute" or "relative"')
        _check_connected(pairs, count)
        k = int(self.dimension)
        seed = int(check_random_state(self.random_state).randint(2**31))
        centred = DistanceSensing(pairs[:, 0], pairs[:, 1], count).centered()
        weights = 0.5 / distances
        if self.error == "relative":
            weights *= float(np.median(distances)) / distances
        operator, b = centred.weighted(weights), weights * distances**2
        start = self._start(centred, weights, pairs, distances, k, seed)
        self.recovery_ = self._final(operator, b, start, k, seed)
        self.rank_ = k
        self._set_points(centred, k)
        i, j = pairs.T
        found = np.linalg.norm(self.points_[i] - self.points_[j], axis=1)
        self.rmse_ = float(np.sqrt(np.mean((found - distances) ** 2)))
        self.stress_ = float(np.linalg.norm(found - distances) / np.linalg.norm(distances))
        if anchors is not None:
            self.points_ = self.align(*anchors)
        return self

    def _start(
        self,
        centred: Congruence,
        weights: np.ndarray,
        pairs: np.ndarray,
        distances: np.ndarray,
        k: int,
        seed: int,
    ) -> np.ndarray | None:
        """Return factors from shortest paths, refined with spare dimensions and then without."""
        count = centred.base.shape[0]
        if count > SHORTEST_PATHS_LIMIT:
            return None
        rng = np.random.default_rng([seed, 1])
        width = min(k + SPARE, count - 1)
        w = centred.project(_classical_scaling(pairs, distances, count, width))
        # Equal errors of all distances make the better conditioned problem: it finds the shape.
        for scale in (0.5 / distances, weights):
            problem = FactorizedProblem(centred.weighted(scale), scale * distances**2, Symmetric())
            for columns in sorted({width, k}, reverse=True):
                w = problem.gauge(w)[:, :columns]
                w = refit(problem, w, columns, rng, tol=START_TOLERANCE, solver=SEARCH).point.w
            width = k
        # Tighter, so that what is left of the residual is noise, if there is any.
        return refit(problem, w, k, rng, tol=START_TOLERANCE**1.5, solver=SEARCH).point.w

    def _final(
        self, operator: Any, b: np.ndarray, start: np.ndarray | None, k: int, seed: int
    ) -> Recovery:
        noise = self.noise
        if noise == "estimate" and start is not None:
            residual = operator.apply_product(start, start) - b
            freedom = b.size - Symmetric().degrees_of_freedom(operator.shape, k)
            noise = float(np.linalg.norm(residual) / np.sqrt(max(freedom, 0.1 * b.size)))
            if noise <= EXACT * float(np.sqrt(np.mean(b**2))):
                noise = None
        # Without a start (too many points for shortest paths) the convex problem gives one.
        convex = self.regularization if start is not None else "auto"
        return recover(
            operator, b, symmetric=True, rank=k, init=start, noise=noise, regularization=convex,
            max_time=self.max_time, certify=self.certify, rng=seed, callback=self.callback,
        )  # fmt: skip

    def _set_points(self, centred: Congruence, k: int) -> None:
        points = np.asarray(centred.basis @ np.asarray(self.recovery_.left))
        if points.shape[1] < k:
            points = np.pad(points, ((0, 0), (0, k - points.shape[1])))
        largest = np.take_along_axis(points, np.abs(points).argmax(axis=0)[None], axis=0)[0]
        self.points_ = points * np.where(largest < 0, -1.0, 1.0)

    def align(self, indices: Any, positions: Any, *, scale: bool = False) -> np.ndarray:
        """Return the points, turned, reflected and shifted to known positions of some of them.

        Parameters
        ----------
        indices : int array, shape (p,)
        positions : array, shape (p, dimension)
        scale : bool, default False
            Whether to fit a common scale too.

        Notes
        -----
        Orthogonal Procrustes: exact for p > dimension points in general position, the best in the
        least-squares sense for more.
        """
        check_is_fitted(self)
        indices = np.atleast_1d(np.asarray(indices))
        positions = np.asarray(positions, dtype=float)
        if positions.shape != (indices.size, self.points_.shape[1]):
            raise ShapeError(
                f"{indices.size} anchors with positions of shape {positions.shape}",
                f"pass one position of {self.points_.shape[1]} coordinates an anchor",
            )
        found = self.points_[indices]
        middle, target = found.mean(axis=0), positions.mean(axis=0)
        u, s, vt = np.linalg.svd((found - middle).T @ (positions - target))
        spread = float(np.sum((found - middle) ** 2))
        factor = float(s.sum()) / spread if scale and spread > 0 else 1.0
        return factor * (self.points_ - middle) @ (u @ vt) + target


def _checked_distances(
    pairs: Any, distances: Any, n_points: int | None
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return pairs, distances and the number of points."""
    if distances is None:
        table = np.asarray(pairs, dtype=float)
        if table.ndim != 2 or table.shape[0] != table.shape[1]:
            raise ShapeError(
                f"a table of distances of shape {table.shape}",
                "pass a square one with NaN where they are unknown, or pairs and distances",
            )
        filled = np.where(np.isnan(table), table.T, table)
        both = ~np.isnan(table) & ~np.isnan(table.T)
        if not np.allclose(table[both], table.T[both], rtol=1e-9):
            raise InputError("a table of distances that is not symmetric", "make d_ij = d_ji")
        i, j = np.nonzero(np.triu(~np.isnan(filled), 1))
        return _positive(np.stack([i, j], axis=1), filled[i, j], len(table))
    pairs, distances = np.asarray(pairs), np.asarray(distances, dtype=float)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or distances.shape != (len(pairs),):
        raise ShapeError(
            f"pairs of shape {pairs.shape} and distances of shape {distances.shape}",
            "pass (m, 2) point numbers and m distances",
        )
    if pairs.size == 0:
        raise EmptyDataError("no distance at all", "pass at least n - 1 of them")
    count = int(pairs.max()) + 1 if n_points is None else int(n_points)
    return _positive(pairs, distances, count)


def _positive(
    pairs: np.ndarray, distances: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, int]:
    if distances.size == 0:
        raise EmptyDataError("no distance at all", "pass at least n - 1 of them")
    if not np.isfinite(distances).all():
        raise NonFiniteError("a distance is NaN or inf", "drop its pair")
    bad = np.flatnonzero(distances <= 0)
    if bad.size:
        raise InputError(
            f"distance {distances[bad[0]]:g} of the pair {tuple(int(p) for p in pairs[bad[0]])}",
            "pass positive distances; merge points at one place",
        )
    return pairs, distances, count


def _check_connected(pairs: np.ndarray, count: int) -> None:
    if pairs.min() < 0 or pairs.max() >= count:
        return  # DistanceSensing says so in its own words
    graph = sparse.coo_array((np.ones(len(pairs)), pairs.T), shape=(count, count))
    parts, labels = connected_components(graph, directed=False)
    if parts > 1:
        sizes = np.sort(np.bincount(labels))[::-1]
        shown = ", ".join(str(size) for size in sizes[:5]) + (", ..." if parts > 5 else "")
        raise UnobservedError(
            f"the pairs connect the points in {parts} separate groups of {shown}",
            "measure distances between the groups, or fit them one by one",
        )


def _classical_scaling(
    pairs: np.ndarray, distances: np.ndarray, count: int, width: int
) -> np.ndarray:
    """Return points from the doubly centred squared shortest paths."""
    graph = sparse.csr_array((distances, pairs.T), shape=(count, count))
    square = np.asarray(shortest_path(graph, directed=False)) ** 2
    square -= square.mean(axis=0)
    square -= square.mean(axis=1)[:, None]
    values, vectors = sparse.linalg.eigsh(
        -0.5 * square, k=width, which="LA", v0=np.cos(np.arange(count, dtype=float))
    ) if width < count - 1 else np.linalg.eigh(-0.5 * square)  # fmt: skip
    order = np.argsort(values)[::-1][:width]
    # Spare dimensions in which the paths are flat start small, not at the saddle 0.
    floor = 1e-3 * max(float(values[order[0]]), 1e-300)
    return vectors[:, order] * np.sqrt(np.maximum(values[order], floor))
