"""The subgradient of the absolute loss that comes closest to proving a point optimal.

Where X fits a measurement exactly the slope of the absolute loss is any number in [-gamma, gamma].
Optimality of gamma ||A(X) - b||_1 + lambda ||X||_* asks for slopes -s with A*(s) = lambda U V^T on
the tangent space of X. Given the signs at the other measurements, the shortest such slopes within
the bounds are one smooth convex problem over the tangent space. What comes out is then judged by
the duality gap, like any other s.
"""

from __future__ import annotations

import numpy as np

from ..arrays import Array, inner, is_numpy_array, like, namespace, norm
from ..factorizations import Asymmetric, Signed
from ..linalg import conjugate_gradients
from ..losses import Absolute
from ..lowrank import LowRank
from ..problem import FactorizedProblem

FITTED = 1e-9
"""Residuals below this share of max |b| count as exact fits."""

ROUNDS = 30
"""Most Newton steps."""

CORRECTIONS = 30
"""Most corrections of slopes whose A*(s) is too long off the tangent space."""

INTERIOR = 0.97
"""Share of lambda that they aim at: inside the set a point is reached, on its border not."""

DENSE_SIDE, DENSE_ENTRIES = 400, 5_000_000
"""Sizes up to which A*(s) is decomposed: a correction then costs less than Newton's method."""

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
    With J = A on the tangent space and s = clip(J D) on the fitted measurements, D is the minimum
    of sum Huber_gamma(J D) - <wanted, D>, wanted = lambda (U, V) - J^T(known): semismooth Newton
    with conjugate gradients ends after a few steps, each of 10 to 30 products. Without slopes
    within the bounds D is unbounded, and the nearest ones met are returned. Where A*(s) is longer
    than lambda off the tangent space, projections onto the two sets alternate. Source: the
    least-squares dual certificate of principal component pursuit (Candes, Li, Ma, Wright, 2011);
    factored form, bounds and corrections own derivation.
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

    def nearest(center: Array, drift: Array) -> tuple[Array, Array, float]:
        """Return (slopes, J D, error) of the feasible slopes nearest to a center."""
        moved, slopes = center + drift, xp.clip(center + drift, -bound, bound)
        error = norm(pull(slopes) - wanted)
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
        return best, moved - center, least

    zero = xp.zeros_like(known)
    slopes, drift, error = nearest(zero, zero)
    excess = _Excess.of(problem, unit, regularization)
    if excess is None:
        return -(known + slopes)
    best, least = slopes, excess.measure(known + slopes)
    over = [least]
    while least > regularization and error <= 1e3 * ACCURACY * size and len(over) <= CORRECTIONS:
        if len(over) > 5 and over[-1] - regularization > 0.7 * (over[-6] - regularization):
            break
        center = slopes - fitted * excess.measured(known + slopes)
        slopes, drift, error = nearest(center, drift)
        over.append(excess.measure(known + slopes))
        if over[-1] < least:
            best, least = slopes, over[-1]
    return -(known + best)


class _Excess:
    """What of A*(s), off the tangent space, is longer than lambda: for small sides only."""

    def __init__(
        self, problem: FactorizedProblem, left: np.ndarray, right: np.ndarray, limit: float
    ) -> None:
        self.problem, self.left, self.right, self.limit = problem, left, right, limit

    @classmethod
    def of(cls, problem: FactorizedProblem, unit: Array, limit: float) -> _Excess | None:
        """Return None where singular values of a dense matrix would cost too much."""
        n1, n2 = problem.shape
        if not isinstance(problem.factorization, Asymmetric) or not is_numpy_array(problem.b):
            return None
        if min(n1, n2) > DENSE_SIDE or n1 * n2 > DENSE_ENTRIES:
            return None
        return cls(problem, *problem.parts(unit), limit)

    def _rest(self, s: np.ndarray) -> np.ndarray:
        transported = self.problem.operator.adjoint(s)
        dense = np.asarray(transported @ np.eye(self.problem.shape[1]))
        dense = dense - self.left @ (self.left.T @ dense)
        return dense - (dense @ self.right) @ self.right.T

    def measure(self, s: np.ndarray) -> float:
        """Return the norm of A*(s) off the tangent space."""
        rest = self._rest(s)
        gram = rest.T @ rest if rest.shape[0] >= rest.shape[1] else rest @ rest.T
        return float(np.sqrt(max(np.linalg.eigvalsh(gram)[-1], 0.0)))

    def measured(self, s: np.ndarray) -> np.ndarray:
        """Return A of what is longer than a little less than lambda."""
        u, values, vt = np.linalg.svd(self._rest(s), full_matrices=False)
        over = np.maximum(values - INTERIOR * self.limit, 0.0)
        keep = over > 0
        return self.problem.operator.apply_product(u[:, keep] * over[keep], vt[keep].T)


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
