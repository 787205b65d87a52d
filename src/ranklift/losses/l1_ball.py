"""Distance to the l1 ball: outliers of a known total size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import Array, inner, like, namespace, to_numpy
from .base import Loss, Map, check_positive, largest


@dataclass(frozen=True)
class L1BallDistance(Loss):
    """Take 1/2 dist(z - b, {||s||_1 <= radius})^2: residuals up to a total size are free.

    The flat-minima paper's robust PCA (Ding, Drusvyatskiy, Fazel, Harchaoui, arXiv 2203.03756):
    with radius = ||S||_1 of the true outliers, Y = M + S fits exactly. Its slope is the residual
    clipped at the level theta that leaves radius beyond it: a Huber loss whose threshold adapts.

    Parameters
    ----------
    radius : float
        ||S||_1, in units of b.

    Notes
    -----
    One evaluation sorts |r|: O(m log m). Generalised Hessian: the identity within theta, and the
    mean of the beyond residuals' changes against their signs (own derivation: theta' = mean of
    sign(r_i) r_i' over the residuals beyond).

    Examples
    --------
    >>> import numpy as np
    >>> L1BallDistance(2.0).value(np.array([3.0, 0.0]), np.zeros(2))
    0.5
    """

    radius: float

    def __post_init__(self) -> None:
        check_positive(self.radius, "radius")

    def _level(self, r: np.ndarray) -> float:
        """Return theta >= 0 with sum max(|r| - theta, 0) = radius; 0 inside of the ball."""
        size = np.abs(r)
        if float(size.sum()) <= self.radius:
            return 0.0
        ordered = np.sort(size)[::-1]
        levels = (np.cumsum(ordered) - self.radius) / np.arange(1, size.size + 1)
        count = int(np.flatnonzero(ordered > levels)[-1])
        return max(0.0, float(levels[count]))  # just outside of the ball it is 0 up to rounding

    def value(self, z: Array, b: Array) -> float:
        """Return half of the squared distance."""
        slope = self.slope(z, b)
        return 0.5 * inner(slope, slope)

    def slope(self, z: Array, b: Array) -> Array:
        """Return the residual minus its projection: clipped at theta."""
        r = z - b
        level = self._level(to_numpy(r))
        return namespace(r).clip(r, -level, level)

    def curvature(self, z: Array, b: Array) -> Map:
        """Return the generalised Hessian product."""
        r = to_numpy(z - b)
        level = self._level(r)
        if level == 0.0:
            return lambda y: 0.0 * y
        beyond = np.abs(r) > level
        signs = np.where(beyond, np.sign(r), 0.0)
        share = signs / max(int(beyond.sum()), 1)

        def product(y: Array) -> Array:
            host = to_numpy(y)
            return like(np.where(beyond, 0.0, host) + signs * float(share @ host), y)

        return product

    def weights(self, z: Array, b: Array) -> Array:
        """Return min(1, theta / |r|), as for the Huber loss with threshold theta; 1 in the ball."""
        r = to_numpy(z - b)
        level = self._level(r)
        if level == 0.0:
            return like(np.ones_like(r), z)
        return like((level / np.maximum(np.abs(r), level)).astype(r.dtype, copy=False), z)

    def conjugate(self, s: Array, b: Array) -> float:
        """Return <s, b> + 1/2 ||s||^2 + radius max|s|."""
        return inner(s, b) + 0.5 * inner(s, s) + self.radius * largest(s)

    def random_slope(self, b: Array, sigma: float, rng: np.random.Generator) -> np.ndarray:
        """Draw Gaussian noise: the small residuals are free of the ball."""
        return sigma * rng.standard_normal(b.shape[0])

    def sparse_part(self, z: Array, b: Array) -> Array:
        """Return the projection of b - z onto the ball."""
        return (b - z) + self.slope(z, b)
