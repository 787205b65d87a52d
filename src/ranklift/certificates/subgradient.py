"""The subgradient of the absolute loss that comes closest to proving a point optimal.

Where X fits a measurement exactly the slope of the absolute loss is any number in [-gamma, gamma].
Optimality of gamma ||A(X) - b||_1 + lambda ||X||_* asks for slopes -s with A*(s) = lambda U V^T on
the tangent space of X. Given the signs at the other measurements, the least-squares solution on the
fitted ones is one linear system in the tangent space; where it leaves the bounds it is clipped and
corrected again. What comes out is then judged by the duality gap, like any other s.
"""

from __future__ import annotations

import numpy as np

from ..arrays import Array, like, namespace, norm
from ..factorizations import Asymmetric, Signed
from ..linalg import conjugate_gradients
from ..losses import Absolute
from ..lowrank import LowRank
from ..problem import FactorizedProblem

FITTED = 1e-9
"""Residuals below this share of max |b| count as exact fits."""

ROUNDS = 40
"""Most rounds of correction and clip."""


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
    With J = A on the tangent space restricted to the fitted measurements the system is
    J^T J D = lambda (U, V) - J^T(signs), solved by conjugate gradients; alternating with the clip
    it converges as projections onto two convex sets do. About 5 products a round. Source: the
    least-squares dual certificate of principal component pursuit (Candes, Li, Ma, Wright, 2011);
    factored form and clipping own derivation.
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

    slopes, bound = known, problem.loss.weight
    for _ in range(ROUNDS):
        wanted = target - pull(slopes)
        if norm(wanted) <= 1e-13 * norm(target):
            break
        found = conjugate_gradients(
            lambda d: pull(fitted * problem.pushforward(unit, d)), -wanted, rtol=1e-4,
            max_iterations=100,
        )  # fmt: skip
        corrected = slopes + fitted * problem.pushforward(unit, found.step)
        slopes = xp.clip(corrected, -bound, bound)
        if norm(slopes - corrected) <= 1e-12 * norm(slopes) and found.iterations < 100:
            slopes = corrected
    return -xp.clip(slopes, -bound, bound)
