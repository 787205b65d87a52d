"""Searches along a line: exact polynomials for the squared loss, a safeguarded root otherwise."""

from __future__ import annotations

import numpy as np

from .arrays import Array, inner
from .losses import Loss

GROWTH = 4.0
"""Factor by which a step grows while the function still falls at its end."""


FLAT = 0.1
"""Share of the first derivative at which a search along a curve ends: a probe costs half of a
Hessian product, and a better step than this saves less."""


def minimize_polynomial(coefficients: np.ndarray) -> tuple[float, float]:
    """Return (t, decrease) of the global minimum of c0 + c1 t + ... + cd t^d.

    The stationary points are the real roots of the derivative; the decrease is relative to t = 0
    and computed without c0, which would cancel its digits.

    Examples
    --------
    >>> t, decrease = minimize_polynomial(np.array([7.0, -4.0, 2.0, 0.0, 0.0]))
    >>> round(t, 12), round(decrease, 12)
    (1.0, 2.0)
    """
    c = [float(value) for value in coefficients]
    derivative = [power * c[power] for power in range(len(c) - 1, 0, -1)]
    roots = np.roots(derivative)
    real = roots.real[np.abs(roots.imag) <= 1e-6 * (1 + np.abs(roots.real))]
    best, best_value = 0.0, 0.0
    for t in real:
        value = 0.0
        for coefficient in reversed(c[1:]):
            value = t * (coefficient + value)
        if value < best_value:
            best, best_value = float(t), float(value)
    return best, -best_value


def minimize_along_curve(
    loss: Loss, z: Array, terms: list[Array], b: Array, penalty: np.ndarray
) -> tuple[float, float]:
    """Return (t, decrease) of a minimum of t -> loss(z + sum_j t^j z_j, b) + penalty(t).

    Parameters
    ----------
    loss : Loss
    z : array, shape (m,)
        Predictions at t = 0.
    terms : list of arrays (m,)
        z_1, z_2, ...
    b : array, shape (m,)
    penalty : array, shape (5,)
        Coefficients of the regularisers along the line.

    Notes
    -----
    The derivative changes sign at a minimum: its bracket is grown from t = 1 (the step of a Newton
    method) and narrowed by regula falsi (Illinois) until |derivative| fell to FLAT of its start:
    near a solution that is Newton's step itself. About 2 to 6 evaluations of O(m).
    """

    def at(t: float) -> tuple[float, float]:
        # Horner's rule for the predictions and their speed.
        moved, speed = terms[-1], terms[-1] * len(terms)
        for order in range(len(terms) - 1, 0, -1):
            moved = terms[order - 1] + t * moved
            speed = order * terms[order - 1] + t * speed
        value, slope = loss.value_and_slope(z + t * moved, b)
        value += float(np.polyval(penalty[::-1], t))
        return value, inner(slope, speed) + float(np.polyval(np.polyder(penalty[::-1]), t))

    start_value, start_slope = at(0.0)
    if start_slope == 0.0 or not np.isfinite(start_slope):
        return 0.0, 0.0
    sign = -1.0 if start_slope > 0 else 1.0  # walk downhill, backwards if need be
    steep, rounding = abs(start_slope), 1e-14 * abs(start_value)
    best = (0.0, 0.0)

    def probe(t: float) -> tuple[float, bool]:
        """Return the slope at t and whether t will do; keep the best so far."""
        nonlocal best
        value, slope = at(sign * t)
        decrease = start_value - value
        if abs(decrease) <= rounding:
            # The digits of the value are spent: the trapezoid of the slopes tells the decrease.
            decrease = 0.5 * t * (steep - abs(slope)) if abs(slope) < steep else 0.0
        if decrease > best[1]:
            best = (sign * t, decrease)
        flat = abs(slope) <= FLAT * steep and decrease > 0.0
        return (sign * slope if np.isfinite(value) else float("nan")), flat

    low, low_slope, high = 0.0, -steep, 1.0
    for _ in range(40):
        high_slope, done = probe(high)
        if done:
            return best
        if not high_slope < 0.0:
            break
        low, low_slope = high, high_slope
        high *= GROWTH
    else:
        return best
    for _ in range(60):
        usable = np.isfinite(high_slope) and high_slope > low_slope
        t = high - high_slope * (high - low) / (high_slope - low_slope) if usable else 0.0
        if not low < t < high:
            t = 0.5 * (low + high)
        slope, done = probe(t)
        if done or high - low <= 1e-15 * high:
            break
        if slope < 0.0:
            low, low_slope = t, slope
            high_slope *= 0.5
        else:
            high, high_slope = t, slope
            low_slope *= 0.5
    return best
