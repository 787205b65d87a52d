"""Logistic loss: 1-bit measurements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import Array, namespace, to_numpy
from ..errors import InputError
from .base import Loss, Map


@dataclass(frozen=True)
class Logistic(Loss):
    """Take sum log(1 + exp(-b z)) for 1-bit data b in {-1, 1}: P(b = 1) = 1 / (1 + exp(-z)).

    Notes
    -----
    Source: Davenport, Plan, van den Berg, Wootters, 1-bit matrix completion (2014), in the usual
    logistic form. Without a bound on X its infimum 0 is not attained on separable data: regularise.

    Examples
    --------
    >>> import numpy as np
    >>> round(float(Logistic().value(np.zeros(2), np.array([1.0, -1.0])) / np.log(2.0)), 12)
    2.0
    """

    smoothness = 0.25
    zero_at_fit = False

    def check(self, b: Array) -> None:
        """Raise InputError unless b holds -1 and 1 only."""
        host = to_numpy(b)
        bad = np.flatnonzero(np.abs(host) != 1.0)
        if bad.size:
            raise InputError(
                f"b[{bad[0]}] = {host[bad[0]]:g} in 1-bit data",
                "code the two outcomes as -1 and 1 (from 0 and 1: 2 b - 1)",
            )

    def _probability(self, z: Array, b: Array) -> Array:
        """Return 1 / (1 + exp(b z)), without overflow."""
        xp, margin = namespace(z), b * z
        small = xp.exp(-xp.abs(margin))
        return xp.where(margin > 0, small / (1.0 + small), 1.0 / (1.0 + small))

    def value(self, z: Array, b: Array) -> float:
        """Return the negative log-likelihood."""
        xp, margin = namespace(z), b * z
        tail = xp.log1p(xp.exp(-xp.abs(margin)))
        return float(xp.sum(tail - 0.5 * (margin - xp.abs(margin))))

    def slope(self, z: Array, b: Array) -> Array:
        """Return -b P(the other outcome)."""
        return -b * self._probability(z, b)

    def weights(self, z: Array, b: Array) -> Array:
        """Return p (1 - p)."""
        p = self._probability(z, b)
        return p * (1.0 - p)

    def curvature(self, z: Array, b: Array) -> Map:
        """Return the product with p (1 - p)."""
        weights = self.weights(z, b)
        return lambda y: weights * y

    def conjugate(self, s: Array, b: Array) -> float:
        """Return the sum of p log p + (1 - p) log(1 - p), p = -b s in [0, 1]."""
        p = -to_numpy(b) * to_numpy(s)
        if p.size and (p.min() < -1e-12 or p.max() > 1 + 1e-12):
            return float("inf")
        p = np.clip(p, 0.0, 1.0)
        entropy = np.zeros_like(p)
        for q in (p, 1.0 - p):
            entropy += np.where(q > 0, q * np.log(np.where(q > 0, q, 1.0)), 0.0)
        return float(entropy.sum())

    def dual_limit(self, s: Array, b: Array) -> float:
        """Return 1 / max(b s): probabilities end at one, and begin at zero."""
        p = to_numpy(b) * to_numpy(s)
        if p.size and p.min() < 0:
            return 0.0
        most = float(p.max(initial=0.0))
        return 1.0 / most if most > 0 else float("inf")

    def random_slope(self, b: Array, sigma: float, rng: np.random.Generator) -> np.ndarray:
        """Draw the slope at z = 0: halves of random sign."""
        return 0.5 * rng.choice([-1.0, 1.0], b.shape[0])
