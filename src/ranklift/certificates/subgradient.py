"""The subgradient of the absolute loss that comes closest to proving a point optimal.

Where X fits a measurement exactly the slope of the absolute loss is any number in [-gamma, gamma].
Optimality of gamma ||A(X) - b||_1 + lambda ||X||_* asks for slopes -s with A*(s) = lambda U V^T on
the tangent space of X. Given the signs at the other measurements, the shortest such slopes within
the bounds are one smooth convex problem over the tangent space. What comes out is then judged by
the duality gap, like any other s.
"""

from __future__ import annotations

import numpy as np

from ..arrays import Array, inner, like, namespace, norm
from ..factorizations import Asymmetric, Signed
from ..linalg import conjugate_gradients
from ..losses import Absolute
from ..lowrank import LowRank
from ..problem import FactorizedProblem

FITTED = 1e-9
"""Residuals below this share of max |b| count as exact fits."""

ROUNDS = 30
"""Most Newton steps."""

ACCURACY = 1e-11
"""Relative error of the tangent equations at which Newton's method ends: it bounds the gap."""

STEEP = 1e4
"""Size of J D, in units of the bound, beyond which no slopes within the bounds solve them."""


def least_squares_subgradient(
    problem: FactorizedProblem, w: Array, z: Array, regularization: float
) -> Array:
    """Return slopes -s: signs where X misses b, a nearly feasible dual where it fits.

    Parameters
    ----------
    problem : FactorizedProblem
        With the absolute loss.
    w : array
        A balanced point.
    z : array, shape (m,)
        Its predictions.
    regularization : float
        lambda.

    Notes
    -----
    With J = A on the tangent space and s = clip(J D) on the fitted measurements, D is the
    minimum of sum Huber_gamma(J D) - <wanted, D>, wanted = lambda (U, V) - J^T(known): semismooth
    Newton with conjugate gradients ends after a few steps, each of 10 to 30 products. Without
    slopes within the bounds D is unbounded, and the nearest ones met are returned. Source: the least-squares
    dual certificate of principal component pursuit (Candes, Li, Ma, Wright, 2011); factored form
    and bounds own derivation.
    """
    assert isinstance(problem.loss, Absolute)
    xp, b = namespace(problem.b), problem.b
    r = z - b
    fitted = xp.astype(xp.abs(r) <= FITTED * xp.max(xp.abs(b)), b.dtype)
    known = -problem.loss.slope(z, b) * (1.0 - fitted)
    if not w.shape[1]:
        return -known
    if isinstance(problem.factorization, Asymmetric):
        u, s, v = LowRank(*problem.parts(w)).svd()
        keep = int(np.sum(np.asarray(s) > 1e-12 * float(s[0])))
        unit = problem.factorization.join(u[:, :keep], v[:, :keep])
    elif isinstance(problem.factorization, Signed):
        unit = like(problem.factorization.span(w), w)  # one column of W holds both signs
    else:
        lengths = xp.sqrt(xp.sum(w * w, axis=0))
        keep = int(xp.sum(xp.astype(lengths > 1e-6 * xp.max(lengths), xp.int64)))
        unit = w[:, :keep] / lengths[None, :keep]
    # <s, A(X(W + t D))>' = lambda kappa' with kappa = weight/2 ||W||^2: the same system for every
    # factorization, J the derivative of X(W) at the unit columns.
    target = regularization * problem.factorization.ridge_weight * unit

    def pull(y: Array) -> Array:
        products = problem.operator.adjoint_products(y, *problem.parts(unit))
        return problem.factorization.pullback(unit, *products, problem.shape)

    bound = problem.loss.weight
    wanted = target - pull(known)
    size = norm(target)
    moved = xp.zeros_like(known)
    slopes, error = moved, norm(wanted)
    best, least = slopes, error
    for _ in range(ROUNDS):
        if error <= ACCURACY * size or float(xp.max(xp.abs(moved))) > STEEP * bound:
            break
        inside = fitted * xp.astype(xp.abs(moved) <= bound, b.dtype)
        found = conjugate_gradients(
            lambda d, inside=inside: pull(inside * problem.pushforward(unit, d)),
            pull(slopes) - wanted, rtol=min(0.1, max(1e-4, error / size)), max_iterations=100,
        )  # fmt: skip
        speed = fitted * problem.pushforward(unit, found.step)
        t = _minimum(moved, speed, float(inner(wanted, found.step)), bound)
        moved = moved + t * speed
        slopes = xp.clip(moved, -bound, bound)
        error = norm(pull(slopes) - wanted)
        if error < least:
            best, least = slopes, error
    return -(known + best)


def _minimum(moved: Array, speed: Array, gain: float, bound: float) -> float:
    """Return about the t that minimises sum Huber(moved + t speed) - t gain."""
    xp = namespace(moved)

    def slope(t: float) -> float:
        return float(inner(xp.clip(moved + t * speed, -bound, bound), speed)) - gain

    low, low_slope, high = 0.0, slope(0.0), 1.0
    if low_slope >= 0.0:
        return 0.0
    enough = 0.1 * abs(low_slope)
    high_slope = slope(high)
    while high_slope < -enough and high < STEEP:
        low, low_slope, high = high, high_slope, 4.0 * high
        high_slope = slope(high)
    if abs(high_slope) <= enough or high_slope < 0.0:
        return high
    for _ in range(30):
        t = high - high_slope * (high - low) / (high_slope - low_slope)
        value = slope(t)
        if abs(value) <= enough:
            return t
        if value < 0.0:
            low, low_slope, high_slope = t, value, 0.5 * high_slope
        else:
            high, high_slope, low_slope = t, value, 0.5 * low_slope
    return low
