"""Regularisers of the factors: value, gradient, Hessian product and exact line polynomial."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from .arrays import Array, inner
from .factorizations import Factorization


class Regularizer(ABC):
    """A smooth function of W added to the loss; a polynomial of degree at most 4 along a line."""

    @abstractmethod
    def value(self, w: Array) -> float:
        """Return the value at W."""

    @abstractmethod
    def gradient(self, w: Array) -> Array:
        """Return the gradient at W."""

    @abstractmethod
    def hvp(self, w: Array, direction: Array) -> Array:
        """Return the Hessian at W times a direction."""

    @abstractmethod
    def line(self, w: Array, direction: Array) -> np.ndarray:
        """Return the coefficients c0..c4 of t -> value(W + t D)."""

    @property
    def ridge(self) -> float:
        """Return the multiple of the identity in the Hessian, for preconditioners."""
        return 0.0


@dataclass(frozen=True)
class SquaredNorm(Regularizer):
    """Penalise weight/2 ||W||_F^2.

    At a balanced W it is weight * ||X||_* (asymmetric) or weight/2 * tr X (symmetric, so that
    weight = 2 lambda there); minimised over all factorizations it is the nuclear norm of X.
    Source: Srebro, Rennie, Jaakkola (2004); the identity is elementary.

    Examples
    --------
    >>> import numpy as np
    >>> SquaredNorm(2.0).value(np.array([[3.0], [4.0]]))
    25.0
    """

    weight: float

    def value(self, w: Array) -> float:
        """Return weight/2 ||W||^2."""
        return 0.5 * self.weight * inner(w, w)

    def gradient(self, w: Array) -> Array:
        """Return weight W."""
        return self.weight * w

    def hvp(self, w: Array, direction: Array) -> Array:
        """Return weight D."""
        return self.weight * direction

    def line(self, w: Array, direction: Array) -> np.ndarray:
        """Return the quadratic along the line."""
        half = 0.5 * self.weight
        squares = inner(w, w), 2 * inner(w, direction), inner(direction, direction)
        return np.array([*(half * square for square in squares), 0.0, 0.0])

    @property
    def ridge(self) -> float:
        """Return the weight."""
        return self.weight


@dataclass(frozen=True)
class Balancing(Regularizer):
    """Penalise weight ||L^T L - R^T R||_F^2 of an asymmetric factorization.

    weight 1/8 beside 1/2 ||A(L R^T) - b||^2 is Park et al. (AISTATS 2017) in our scaling: with
    W = [L; R] and balanced N, 4 ||L R^T - M||^2 + ||L^T L - R^T R||^2
    = ||W W^T - N N^T||^2 + 2 ||M_L^T L - M_R^T R||^2.
    """

    shape: tuple[int, int]
    factorization: Factorization
    weight: float = 0.125

    def _difference(self, a: Array, b: Array) -> Array:
        """Return the symmetrised bilinear form of the imbalance."""
        a_left, a_right = self.factorization.parts(a, self.shape)
        b_left, b_right = self.factorization.parts(b, self.shape)
        form = a_left.T @ b_left - a_right.T @ b_right
        return 0.5 * (form + form.T)

    def _signed(self, w: Array, core: Array) -> Array:
        left, right = self.factorization.parts(w, self.shape)
        return self.factorization.pullback(w, left @ core, -(right @ core), self.shape)

    def value(self, w: Array) -> float:
        """Return weight ||L^T L - R^T R||^2."""
        imbalance = self._difference(w, w)
        return self.weight * inner(imbalance, imbalance)

    def gradient(self, w: Array) -> Array:
        """Return 4 weight [L C; -R C] with C the imbalance."""
        return 4 * self.weight * self._signed(w, self._difference(w, w))

    def hvp(self, w: Array, direction: Array) -> Array:
        """Return the derivative of the gradient."""
        return (
            4
            * self.weight
            * (
                self._signed(direction, self._difference(w, w))
                + 2 * self._signed(w, self._difference(w, direction))
            )
        )

    def line(self, w: Array, direction: Array) -> np.ndarray:
        """Return the quartic along the line: C(t) = C0 + 2 t C1 + t^2 C2."""
        c0, c1, c2 = (
            self._difference(w, w),
            2 * self._difference(w, direction),
            self._difference(direction, direction),
        )
        return self.weight * np.array(
            [
                inner(c0, c0),
                2 * inner(c0, c1),
                inner(c1, c1) + 2 * inner(c0, c2),
                2 * inner(c1, c2),
                inner(c2, c2),
            ]
        )
