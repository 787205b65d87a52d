"""Absolute loss: exact data with gross errors, low rank + sparse."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import Array, inner, namespace
from .base import Loss, Map, check_positive, largest
from .huber import Huber


@dataclass(frozen=True)
class Absolute(Loss):
    """Take weight ||z - b||_1: its minimiser fits most data exactly and ignores gross errors.

    It has kinks, so that solvers work on ``smoothed`` versions; gradients here are subgradients,
    and a run on it never reports convergence by them alone. The duality gap does hold for it.

    Examples
    --------
    >>> import numpy as np
    >>> Absolute().value(np.array([3.0, 1.0]), np.array([1.0, 1.5]))
    2.5
    """

    weight: float = 1.0
    smoothness = float("inf")

    def __post_init__(self) -> None:
        check_positive(self.weight, "weight")

    def smoothed(self, width: float) -> Huber:
        """Return the Huber loss below it by at most weight width / 2 a measurement."""
        return Huber(width, self.weight / width)

    def value(self, z: Array, b: Array) -> float:
        """Return weight ||z - b||_1."""
        xp = namespace(z)
        return self.weight * float(xp.sum(xp.abs(z - b)))

    def slope(self, z: Array, b: Array) -> Array:
        """Return the signs, 0 at exact fits."""
        return self.weight * namespace(z).sign(z - b)

    def curvature(self, z: Array, b: Array) -> Map:
        """Return zero: the loss is piecewise linear."""
        return lambda y: 0.0 * y

    def conjugate(self, s: Array, b: Array) -> float:
        """Return <s, b> on |s| <= weight."""
        if largest(s) > self.weight * (1 + 1e-12):
            return float("inf")
        return inner(s, b)

    def dual_limit(self, s: Array, b: Array) -> float:
        """Return weight / max|s|."""
        size = largest(s)
        return self.weight / size if size > 0 else float("inf")

    def random_slope(self, b: Array, sigma: float, rng: np.random.Generator) -> np.ndarray:
        """Draw signs."""
        return self.weight * rng.choice([-1.0, 1.0], b.shape[0])
