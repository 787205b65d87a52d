"""Squared loss: Gaussian noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import Array, inner
from .base import Loss, Map, quadratic_dual_scale


@dataclass(frozen=True)
class Squared(Loss):
    """Take 1/2 ||z - b||^2, the loss of Gaussian noise.

    Examples
    --------
    >>> import numpy as np
    >>> Squared().value(np.array([3.0, 1.0]), np.array([1.0, 1.0]))
    2.0
    """

    def value(self, z: Array, b: Array) -> float:
        """Return 1/2 ||z - b||^2."""
        return 0.5 * inner(z - b, z - b)

    def slope(self, z: Array, b: Array) -> Array:
        """Return the residual z - b."""
        return z - b

    def curvature(self, z: Array, b: Array) -> Map | None:
        """Return None: the identity."""
        return None

    def conjugate(self, s: Array, b: Array) -> float:
        """Return <s, b> + 1/2 ||s||^2."""
        return inner(s, b) + 0.5 * inner(s, s)

    def random_slope(self, b: Array, sigma: float, rng: np.random.Generator) -> np.ndarray:
        """Draw Gaussian noise."""
        return sigma * rng.standard_normal(b.shape[0])

    def best_dual_scale(self, s: Array, b: Array, limit: float) -> tuple[float, float]:
        """Return the closed form c = clip(<s, b> / ||s||^2, 0, limit)."""
        return quadratic_dual_scale(s, b, limit)
