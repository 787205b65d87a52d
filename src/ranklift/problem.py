"""FactorizedProblem: f(W) = 1/2 ||A(X(W)) - b||^2 + regularisers, and its exact derivatives.

This is the chain rule, written once for every operator and factorization.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from .arrays import Array, inner, namespace, norm
from .factorizations import Asymmetric, Factorization
from .lowrank import LowRank
from .operators import MeasurementOperator
from .regularizers import Regularizer
from .spectral import top_singular_triplets


@dataclass
class Counts:
    """Number of operator applications spent: apply, adjoint, and Hessian products."""

    apply: int = 0
    adjoint: int = 0
    hvp: int = 0


class Point(NamedTuple):
    """A point of the search with all that its evaluation gave.

    ``loss`` is 1/2 ||residual||^2, ``value`` the loss plus the regularisers.
    """

    w: Array
    residual: Array
    loss: float
    value: float
    gradient: Array

    @property
    def gradient_norm(self) -> float:
        """Return ||gradient||_F."""
        return norm(self.gradient)

    @property
    def residual_norm(self) -> float:
        """Return ||A(X) - b||_2."""
        return norm(self.residual)


@dataclass(frozen=True)
class FactorizedProblem:
    """Pose low-rank recovery over the factors.

    f(W) = 1/2 ||A(L R^T) - b||^2 + sum of regularisers, with (L, R) = parts(W).

    Parameters
    ----------
    operator : MeasurementOperator
    b : array, shape (m,)
        In the array namespace of the points W.
    factorization : Factorization, default Asymmetric()
    regularizers : tuple of Regularizer, default none

    Notes
    -----
    One evaluation costs one apply and one adjoint; a Hessian product the same; memory O(m) plus a
    few arrays of the size of W. Every application is counted in ``counts``.

    Examples
    --------
    >>> import numpy as np
    >>> from ranklift.operators import IdentitySensing
    >>> problem = FactorizedProblem(IdentitySensing((1, 1)), np.array([6.0]))
    >>> problem.evaluate(np.array([[2.0], [4.0]])).gradient
    array([[8.],
           [4.]])
    """

    operator: MeasurementOperator
    b: Array
    factorization: Factorization = field(default_factory=Asymmetric)
    regularizers: tuple[Regularizer, ...] = ()
    counts: Counts = field(default_factory=Counts)

    def parts(self, w: Array) -> tuple[Array, Array]:
        """Return (L, R)."""
        return self.factorization.parts(w, self.operator.shape)

    def compose(self, w: Array) -> LowRank:
        """Return X(W)."""
        return self.factorization.compose(w, self.operator.shape)

    def gauge(self, w: Array) -> Array:
        """Return the balanced W with the same X."""
        return self.factorization.gauge(w, self.operator.shape)

    def evaluate(self, w: Array) -> Point:
        """Return residual, loss, value and gradient at W."""
        self.counts.apply += 1
        self.counts.adjoint += 1
        residual, out_left, out_right = self.operator.residual_products(*self.parts(w), self.b)
        gradient = self.factorization.pullback(out_left, out_right)
        loss = value = 0.5 * inner(residual, residual)
        for regularizer in self.regularizers:
            value += regularizer.value(w)
            gradient = gradient + regularizer.gradient(w)
        return Point(w, residual, loss, value, gradient)

    def hvp(self, point: Point, direction: Array) -> Array:
        """Return the Hessian at the point times a direction."""
        return self._normal(point, direction, point.residual)

    def gauss_newton_product(self, point: Point, direction: Array) -> Array:
        """Return J^T J times a direction, plus the regularisers' Hessians."""
        return self._normal(point, direction, None)

    def _normal(self, point: Point, direction: Array, residual: Array | None) -> Array:
        self.counts.hvp += 1
        out = self.factorization.pullback(
            *self.operator.normal_products(*self.parts(point.w), *self.parts(direction), residual)
        )
        for regularizer in self.regularizers:
            out = out + regularizer.hvp(point.w, direction)
        return out

    def pushforward(self, w: Array, direction: Array) -> Array:
        """Return J D = A(L(D) R^T + L R(D)^T), shape (m,)."""
        self.counts.apply += 1
        xp = namespace(w)
        (left, right), (d_left, d_right) = self.parts(w), self.parts(direction)
        return self.operator.apply_product(
            xp.concat([d_left, left], axis=1), xp.concat([right, d_right], axis=1)
        )

    def line(self, point: Point, direction: Array) -> np.ndarray:
        """Return the coefficients c0..c4 of t -> f(W + t D): exact, two applications."""
        first = self.pushforward(point.w, direction)
        self.counts.apply += 1
        second = self.operator.apply_product(*self.parts(direction))
        r = point.residual
        coefficients = np.array(
            [
                0.5 * inner(r, r),
                inner(r, first),
                0.5 * inner(first, first) + inner(r, second),
                inner(first, second),
                0.5 * inner(second, second),
            ]
        )
        for regularizer in self.regularizers:
            coefficients += regularizer.line(point.w, direction)
        return coefficients

    @property
    def ridge(self) -> float:
        """Return the multiple of the identity that the regularisers add to the Hessian."""
        return sum(regularizer.ridge for regularizer in self.regularizers)

    @cached_property
    def scale(self) -> float:
        """Return about ||A*(b)||_2: the unit of all relative measures, in units of X.

        A fixed start keeps it repeatable.
        """
        self.counts.adjoint += 1
        values = top_singular_triplets(
            self.operator.adjoint(self.b), self.operator.shape, 1, np.random.default_rng(0)
        )[1]
        return float(values[0]) if values.size and values[0] > 0 else 1.0

    def relative_gradient(self, point: Point) -> float:
        """Return eps_g = ||gradient||_F / (||A*(b)||_2 ||W||_F); 0 at W = 0.

        The gradient is A*(residual) times W, so this is a share of what it could be: free of
        units, of the sampling rate and of step sizes.
        """
        size = norm(point.w)
        return point.gradient_norm / (self.scale * size) if size > 0 else 0.0

    def with_regularizers(self, *regularizers: Regularizer) -> FactorizedProblem:
        """Return the same problem with other regularisers and shared counts."""
        twin = FactorizedProblem(
            self.operator, self.b, self.factorization, regularizers, self.counts
        )
        twin.__dict__["scale"] = self.scale
        return twin
