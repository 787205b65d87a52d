"""FactorizedProblem: f(W) = loss(A(X(W)), b) + regularisers, and its exact derivatives.

This is the chain rule, written once for every operator, factorization and loss.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from .arrays import Array, inner, norm
from .factorizations import Asymmetric, Factorization
from .line import minimize_along_curve, minimize_polynomial
from .losses import Loss, Squared
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

    ``residual`` is A(X) - b, ``slope`` the derivative of the loss by A(X) (the residual itself for
    the squared loss), ``value`` the loss plus the regularisers.
    """

    w: Array
    residual: Array
    slope: Array
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

    f(W) = loss(A(L R^T), b) + sum of regularisers, with (L, R) = parts(W).

    Parameters
    ----------
    operator : MeasurementOperator
    b : array, shape (m,)
        In the array namespace of the points W.
    factorization : Factorization, default Asymmetric()
    regularizers : tuple of Regularizer, default none
    loss : Loss, default Squared()
        1/2 ||A(X) - b||^2.

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
    loss: Loss = field(default_factory=Squared)

    @property
    def squared(self) -> bool:
        """Whether the loss is the squared one, for which more is known."""
        return isinstance(self.loss, Squared)

    @property
    def shape(self) -> tuple[int, int]:
        """Return (n1, n2)."""
        return self.operator.shape

    def parts(self, w: Array) -> tuple[Array, Array]:
        """Return (L, R)."""
        return self.factorization.parts(w, self.shape)

    def compose(self, w: Array) -> LowRank:
        """Return X(W)."""
        return self.factorization.compose(w, self.shape)

    def gauge(self, w: Array) -> Array:
        """Return the balanced W with the same X."""
        return self.factorization.gauge(w, self.shape)

    def singular_values(self, w: Array) -> np.ndarray:
        """Return the singular values of X(W) from a balanced W: as many as its search rank."""
        return self.factorization.singular_values(w)

    def search_rank(self, w: Array) -> int:
        """Return the number of rank-one terms that a balanced W holds."""
        return int(self.singular_values(w).size) if w.shape[1] else 0

    def predict(self, w: Array) -> Array:
        """Return A(X(W))."""
        self.counts.apply += 1
        return self.operator.apply_product(*self.parts(w))

    def slope(self, w: Array) -> Array:
        """Return the derivative of the loss by the predictions."""
        return self.loss.slope(self.predict(w), self.b)

    def evaluate(self, w: Array) -> Point:
        """Return residual, loss, value and gradient at W."""
        left, right = self.parts(w)
        self.counts.apply += 1
        self.counts.adjoint += 1
        if self.squared:
            residual, out_left, out_right = self.operator.residual_products(left, right, self.b)
            slope, loss = residual, 0.5 * inner(residual, residual)
        else:
            z = self.operator.apply_product(left, right)
            residual = z - self.b
            loss, slope = self.loss.value_and_slope(z, self.b)
            out_left, out_right = self.operator.adjoint_products(slope, left, right)
        gradient = self.factorization.pullback(w, out_left, out_right, self.shape)
        value = loss
        for regularizer in self.regularizers:
            value += regularizer.value(w)
            gradient = gradient + regularizer.gradient(w)
        return Point(w, residual, slope, loss, value, gradient)

    def hvp(self, point: Point, direction: Array) -> Array:
        """Return the Hessian at the point times a direction."""
        return self._normal(point, direction, point.slope)

    def gauss_newton_product(self, point: Point, direction: Array) -> Array:
        """Return J^T H J times a direction, H the loss's Hessian, plus the regularisers'."""
        return self._normal(point, direction, None)

    def _normal(self, point: Point, direction: Array, slope: Array | None) -> Array:
        self.counts.hvp += 1
        w, factorization = point.w, self.factorization
        left, right = self.parts(w)
        d_left, d_right = factorization.pushforward(w, direction, self.shape)
        curvature = None
        if not self.squared:
            curvature = self.loss.curvature(point.residual + self.b, self.b)
        products = self.operator.normal_products(left, right, d_left, d_right, slope, curvature)
        out = factorization.pullback(w, *products, self.shape)
        if slope is not None and factorization.degree > 2:
            outer = self.operator.adjoint_products(slope, left, right)
            bend = factorization.curvature(w, direction, *outer, self.shape)
            out = out if bend is None else out + bend
        for regularizer in self.regularizers:
            out = out + regularizer.hvp(w, direction)
        return out

    def weights(self, point: Point) -> Array | None:
        """Return a diagonal that stands for the loss's Hessian in preconditioners; None: ones."""
        return None if self.squared else self.loss.weights(point.residual + self.b, self.b)

    def pushforward(self, w: Array, direction: Array) -> Array:
        """Return J D, the derivative of the predictions along D, shape (m,)."""
        self.counts.apply += 1
        first = self.factorization.increments(w, direction, self.shape)[0]
        return self.operator.apply_product(*first)

    def curve(self, point: Point, direction: Array) -> list[Array]:
        """Return z_1, z_2, ... of the exact A(X(W + t D)) = A(X(W)) + sum_j t^j z_j."""
        terms = self.factorization.increments(point.w, direction, self.shape)
        self.counts.apply += len(terms)
        return [self.operator.apply_product(*term) for term in terms]

    def line(self, point: Point, direction: Array) -> np.ndarray:
        """Return the coefficients of the polynomial t -> f(W + t D) of the squared loss.

        Degree 4 (2 L for depth L), exact; one application a power of t in X(W + t D).
        """
        terms = [point.residual, *self.curve(point, direction)]
        coefficients = np.zeros(2 * len(terms) - 1)
        for i, a in enumerate(terms):
            for j, other in enumerate(terms[: i + 1]):
                coefficients[i + j] += (0.5 if i == j else 1.0) * inner(a, other)
        for regularizer in self.regularizers:
            coefficients[:5] += regularizer.line(point.w, direction)
        return coefficients

    def minimize_along(self, point: Point, direction: Array) -> tuple[float, float]:
        """Return (t, decrease) of the best step along a direction.

        Squared loss: the global minimum of the exact polynomial. Other losses: a minimum of the
        exact one-dimensional function, found to a share of its first derivative; an evaluation
        costs O(m) and no application.
        """
        if self.squared:
            return minimize_polynomial(self.line(point, direction))
        penalty = np.zeros(5)
        for regularizer in self.regularizers:
            penalty += regularizer.line(point.w, direction)
        z = point.residual + self.b
        return minimize_along_curve(self.loss, z, self.curve(point, direction), self.b, penalty)

    @property
    def ridge(self) -> float:
        """Return the multiple of the identity that the regularisers add to the Hessian."""
        return sum(regularizer.ridge for regularizer in self.regularizers)

    def transported(self, y: Array) -> Any:
        """Return A*(y)."""
        self.counts.adjoint += 1
        return self.operator.adjoint(y)

    def dual_norm(self, y: Array, rng: np.random.Generator) -> float:
        """Return about ||A*(y)||_2, of its symmetric or Hermitian part where X is of that kind."""
        matrix = self.transported(y)
        form = self.factorization.dual(matrix, self.shape)
        if form is None:
            values = top_singular_triplets(matrix, self.shape, 1, rng)[1]
        else:
            values = top_singular_triplets(form, form.shape, 1, rng)[1]
        return float(values[0]) if values.size else 0.0

    @cached_property
    def scale(self) -> float:
        """Return about ||A*(slope at X = 0)||_2: the unit of all relative measures, that of X.

        ||A*(b)||_2 for the squared loss. A fixed start keeps it repeatable.
        """
        slope = self.loss.slope(0.0 * self.b, self.b)
        value = self.dual_norm(slope, np.random.default_rng(0))
        return value if value > 0 else 1.0

    @cached_property
    def loss_at_zero(self) -> float:
        """Return the loss of X = 0: the unit of gaps without regularisation."""
        return self.loss.value(0.0 * self.b, self.b)

    def relative_gradient(self, point: Point) -> float:
        """Return eps_g = ||gradient||_F / (scale ||W||_F); 0 at W = 0.

        The gradient is A*(slope) times W, so this is a share of what it could be: free of
        units, of the sampling rate and of step sizes.
        """
        size = norm(point.w)
        return point.gradient_norm / (self.scale * size) if size > 0 else 0.0

    def with_regularizers(self, *regularizers: Regularizer) -> FactorizedProblem:
        """Return the same problem with other regularisers and shared counts."""
        return self._twin(replace(self, regularizers=regularizers))

    def with_loss(self, loss: Loss) -> FactorizedProblem:
        """Return the same problem with another loss, measured in the same unit."""
        return self._twin(replace(self, loss=loss))

    def _twin(self, twin: FactorizedProblem) -> FactorizedProblem:
        twin.__dict__["scale"] = self.scale
        return twin
