"""Huber loss: Gaussian noise and gross errors, low rank + sparse with noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import Array, inner, namespace
from .base import Loss, Map, check_positive, largest, quadratic_dual_scale


@dataclass(frozen=True)
class Huber(Loss):
    """Square small residuals, take the absolute value of large ones.

    weight * (r^2 / 2 where |r| <= threshold, else threshold |r| - threshold^2 / 2), r = z - b. It
    is the least over sparse s of weight (1/2 ||r - s||^2 + threshold ||s||_1): low rank + sparse
    recovery is this loss, and s = r minus its clipped part.

    Parameters
    ----------
    threshold : float
        In units of b; about 1.345 standard deviations of the noise is 95% efficient for it.
    weight : float, default 1
        Factor of the whole; 1 / threshold makes it approach the absolute loss.

    Notes
    -----
    Source: Huber (1964). The Hessian is that of the residuals within the threshold (a generalised
    one at the kinks of the slope).

    Examples
    --------
    >>> import numpy as np
    >>> Huber(1.0).value(np.array([0.5, 3.0]), np.zeros(2))
    2.625
    """

    threshold: float
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_positive(self.threshold, "threshold")
        check_positive(self.weight, "weight")

    @property
    def smoothness(self) -> float:  # type: ignore[override]
        """Return the weight."""
        return self.weight

    def value(self, z: Array, b: Array) -> float:
        """Return the sum over the measurements."""
        return self.value_and_slope(z, b)[0]

    def slope(self, z: Array, b: Array) -> Array:
        """Return the clipped residual."""
        return self.weight * namespace(z).clip(z - b, -self.threshold, self.threshold)

    def value_and_slope(self, z: Array, b: Array) -> tuple[float, Array]:
        """Return both from one clipped residual."""
        r = z - b
        kept = namespace(z).clip(r, -self.threshold, self.threshold)
        value = inner(kept, r) - 0.5 * inner(kept, kept)
        return self.weight * value, kept if self.weight == 1.0 else self.weight * kept

    def weights(self, z: Array, b: Array) -> Array:
        """Return weight min(1, threshold / |r|), the curvature of a quadratic above the loss.

        The Hessian itself is 0 beyond the threshold: a row of gross errors alone would have no
        curvature to precondition with.
        """
        xp = namespace(z)
        size = xp.abs(z - b)
        return self.weight * self.threshold / xp.where(size > self.threshold, size, self.threshold)

    def curvature(self, z: Array, b: Array) -> Map:
        """Return the product with the weight within the threshold, 0 beyond."""
        xp, r = namespace(z), z - b
        inside = xp.astype(xp.abs(r) <= self.threshold, r.dtype) * self.weight
        return lambda y: inside * y

    def conjugate(self, s: Array, b: Array) -> float:
        """Return <s, b> + ||s||^2 / (2 weight) on |s| <= weight threshold."""
        if largest(s) > self.weight * self.threshold * (1 + 1e-12):
            return float("inf")
        return inner(s, b) + 0.5 * inner(s, s) / self.weight

    def dual_limit(self, s: Array, b: Array) -> float:
        """Return weight threshold / max|s|."""
        size = largest(s)
        return self.weight * self.threshold / size if size > 0 else float("inf")

    def best_dual_scale(self, s: Array, b: Array, limit: float) -> tuple[float, float]:
        """Return the closed form c = clip(weight <s, b> / ||s||^2, 0, limit)."""
        return quadratic_dual_scale(s, b, min(limit, self.dual_limit(s, b)), self.weight)

    def random_slope(self, b: Array, sigma: float, rng: np.random.Generator) -> np.ndarray:
        """Draw clipped Gaussian noise."""
        noise = sigma * rng.standard_normal(b.shape[0])
        return self.weight * np.clip(noise, -self.threshold, self.threshold)

    def sparse_part(self, z: Array, b: Array) -> Array:
        """Return the best sparse part s of b: (b - z) shrunk by the threshold."""
        r = b - z
        return r - namespace(r).clip(r, -self.threshold, self.threshold)
