"""Huber loss of groups: whole columns as outliers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import Array, inner, like, to_numpy
from ..errors import InputError
from .base import Loss, Map, check_positive, quadratic_dual_scale


class GroupHuber(Loss):
    """Huber's loss of the lengths of groups of residuals: whole columns may be outliers.

    sum over groups of (l^2 / 2 where l <= threshold, else threshold l - threshold^2 / 2) with l the
    norm of the group's residuals: the least over s of 1/2 ||r - s||^2 + threshold sum ||s_g||.

    Parameters
    ----------
    groups : array of int, shape (m,)
        Group of every measurement, from 0; for column outliers the column index.
    threshold : float
        In units of the length of a group's residual.

    Notes
    -----
    Source: the group norm of outlier pursuit (Xu, Caramanis, Sanghavi, 2012), smoothed.

    Examples
    --------
    >>> import numpy as np
    >>> GroupHuber(np.array([0, 0]), 1.0).value(np.array([3.0, 4.0]), np.zeros(2))
    4.5
    """

    separable = False

    def __init__(self, groups: Any, threshold: float) -> None:
        self.groups = np.asarray(groups, dtype=np.intp)
        if self.groups.ndim != 1 or self.groups.min(initial=0) < 0:
            raise InputError(
                "groups that are no list of numbers from 0", "pass one group number a measurement"
            )
        self.threshold = float(threshold)
        check_positive(self.threshold, "threshold")
        self._count = int(self.groups.max(initial=-1)) + 1

    def to_dict(self) -> dict[str, Any]:
        """Return the class name, the groups and the threshold as plain values."""
        name = type(self).__name__
        return {"class": name, "groups": self.groups.tolist(), "threshold": self.threshold}

    def check(self, b: Array) -> None:
        """Raise InputError unless there is one group number a measurement."""
        if int(b.shape[0]) != self.groups.size:
            raise InputError(
                f"{self.groups.size} group numbers for {b.shape[0]} measurements",
                "pass one group number a measurement",
            )

    def lengths(self, r: Array) -> np.ndarray:
        """Return the norm of every group."""
        host = to_numpy(r)
        return np.sqrt(np.bincount(self.groups, host * host, minlength=self._count))

    def _factor(self, r: Array) -> np.ndarray:
        lengths = self.lengths(r)
        return np.minimum(1.0, self.threshold / np.maximum(lengths, 1e-300))

    def value(self, z: Array, b: Array) -> float:
        """Return the sum over the groups."""
        lengths = self.lengths(z - b)
        kept = np.minimum(lengths, self.threshold)
        return float(kept @ lengths - 0.5 * kept @ kept)

    def slope(self, z: Array, b: Array) -> Array:
        """Return the residual, shortened to the threshold in every group."""
        r = z - b
        return r * like(self._factor(r)[self.groups].astype(to_numpy(r).dtype), r)

    def weights(self, z: Array, b: Array) -> Array:
        """Return the shortening factor: an upper bound of the curvature."""
        r = z - b
        return like(self._factor(r)[self.groups].astype(to_numpy(r).dtype), r)

    def curvature(self, z: Array, b: Array) -> Map:
        """Return f (I - u u^T) in the groups beyond the threshold, the identity within."""
        r = to_numpy(z - b)
        lengths, factor = self.lengths(r), self._factor(r)
        unit = np.where(factor < 1.0, 1.0 / np.maximum(lengths, 1e-300), 0.0)[self.groups] * r
        spread = factor[self.groups]

        def product(y: Array) -> Array:
            host = to_numpy(y)
            along = np.bincount(self.groups, unit * host, minlength=self._count)
            return like((spread * (host - unit * along[self.groups])).astype(host.dtype), y)

        return product

    def conjugate(self, s: Array, b: Array) -> float:
        """Return <s, b> + 1/2 ||s||^2 where no group is longer than the threshold."""
        if self.lengths(s).max(initial=0.0) > self.threshold * (1 + 1e-12):
            return float("inf")
        return inner(s, b) + 0.5 * inner(s, s)

    def dual_limit(self, s: Array, b: Array) -> float:
        """Return threshold / the longest group."""
        longest = float(self.lengths(s).max(initial=0.0))
        return self.threshold / longest if longest > 0 else float("inf")

    def best_dual_scale(self, s: Array, b: Array, limit: float) -> tuple[float, float]:
        """Return the closed form c = clip(<s, b> / ||s||^2, 0, limit)."""
        return quadratic_dual_scale(s, b, min(limit, self.dual_limit(s, b)))

    def random_slope(self, b: Array, sigma: float, rng: np.random.Generator) -> np.ndarray:
        """Draw Gaussian noise, shortened."""
        noise = sigma * rng.standard_normal(b.shape[0])
        return noise * self._factor(noise)[self.groups]

    def sparse_part(self, z: Array, b: Array) -> Array:
        """Return the best group-sparse part of b - z."""
        return (b - z) + self.slope(z, b)
