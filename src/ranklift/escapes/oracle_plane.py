"""The plane of a simulated escape: a W + b u q^T + c E W, on which the loss is known exactly.

X(W) is a quadratic form of the columns of W, for X = U U^T, U U^H and L R^T alike: measurement i is
<D_i, W W^T> with a symmetric D_i (of L R^T: [[0, A_i], [A_i^T, 0]] / 2, the balanced lift, own
derivation). With G = sum r_i D_i the gradient is 2 G W. The plane is spanned by W, by u q^T, u an
eigenvector of G with a negative value and (sigma, v, q) a singular triplet of W, and by E W with
E = sum_i y_i D_i, y = A(u v^T + v u^T). Six images A(.) make the loss on it a polynomial of degree
four in (a, b, c), and no operator is applied for its values.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from ..arrays import Array, as_point, to_numpy
from ..factorizations import Factorization, Hermitian, dilation
from ..problem import FactorizedProblem, Point
from ..spectral import largest_eigenvalue

PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
"""Products of the coordinates, in the order of the images."""


def descent_eigenvectors(
    problem: FactorizedProblem, point: Point, count: int, rng: np.random.Generator, max_steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the least eigenvalues of G, those below zero, and their vectors as columns.

    Of a complex Hermitian G, whose real form has every eigenvalue twice, one vector of each: i u
    makes the same X as u. Which of the two copies Lanczos comes to is a matter of rounding.

    Notes
    -----
    One adjoint, and one product with A*(slope) and its transpose a Lanczos step.
    """
    transported = problem.transported(point.slope)
    form = problem.factorization.dual(transported, problem.shape)
    form = dilation(transported, problem.shape) if form is None else form
    copies = 2 if isinstance(problem.factorization, Hermitian) else 1
    found = largest_eigenvalue(
        lambda x: -(form @ x), form.shape[0], rng, max_steps=max_steps, vectors=copies * count
    )
    below = np.flatnonzero(found.values > 1e-12 * problem.scale).tolist()
    if copies == 2:
        below = _one_of_each(problem.factorization, found.vectors, below)[:count]
    return -found.values[below], found.vectors[:, below]


def _one_of_each(
    factorization: Factorization, vectors: np.ndarray, columns: list[int]
) -> list[int]:
    """Return the columns that are no complex combinations of those before them."""
    kept: list[int] = []
    for j in columns:
        known = factorization.span(vectors[:, kept]).T @ vectors[:, j]
        if np.linalg.norm(known) < 0.5:  # a copy has 1, eigenvectors of other eigenvalues 0
            kept.append(j)
    return kept


class Triplet(NamedTuple):
    """A singular value of W with its vectors."""

    sigma: float
    v: np.ndarray
    q: np.ndarray


def smallest_triplets(w: np.ndarray, count: int) -> list[Triplet]:
    """Return the smallest nonzero singular values of W with their vectors, smallest first."""
    left, values, right = np.linalg.svd(w, full_matrices=False)
    nonzero = np.flatnonzero(values > 1e-8 * values.max(initial=0.0))
    return [Triplet(float(values[j]), left[:, j], right[j]) for j in nonzero[::-1][:count]]


def mixed_image(problem: FactorizedProblem, w: Array, u: np.ndarray, v: np.ndarray) -> Array:
    """Return A(u v^T + v u^T)."""
    return problem.pushforward(as_point(v[:, None], w), as_point(u[:, None], w))


def gamma_direction(
    problem: FactorizedProblem, w: Array, u: np.ndarray, v: np.ndarray
) -> np.ndarray:
    """Return E W, E = sum_i y_i D_i with y = A(u v^T + v u^T): one application, one adjoint."""
    outer = problem.operator.adjoint_products(mixed_image(problem, w, u, v), *problem.parts(w))
    problem.counts.adjoint += 1
    return 0.5 * to_numpy(problem.factorization.pullback(w, *outer, problem.shape))


@dataclass(frozen=True)
class OraclePlane:
    """The plane, its images, and the polynomial that the loss is on it.

    Attributes
    ----------
    basis : array, shape (3, rows, k)
        W, u q^T and E W, the last two scaled to the length of W.
    images : array, shape (6, m)
        A of the symmetric products of the basis, in the order of ``PAIRS``; off-diagonal ones
        twice.
    b : array, shape (m,)
    """

    basis: np.ndarray
    images: np.ndarray
    b: np.ndarray

    @staticmethod
    def build(
        problem: FactorizedProblem, point: Point, u: np.ndarray, v: np.ndarray, q: np.ndarray
    ) -> OraclePlane:
        """Apply the operator six times, and its adjoint once.

        Parameters
        ----------
        u, v : arrays, shape (rows,)
        q : array, shape (k,)
        """
        w = to_numpy(point.w)
        size = max(float(np.linalg.norm(w)), np.finfo(float).tiny)
        gamma = gamma_direction(problem, point.w, u, v)
        length = float(np.linalg.norm(gamma))
        gamma = gamma * (size / length) if length > 0 else gamma
        beta = size * np.outer(u, q)
        first, second = as_point(beta, point.w), as_point(gamma, point.w)
        images = [
            point.residual + problem.b,
            problem.pushforward(point.w, first),
            problem.pushforward(point.w, second),
            problem.predict(first),
            problem.pushforward(first, second),
            problem.predict(second),
        ]
        return OraclePlane(
            np.stack([w, beta, gamma]), np.stack([to_numpy(y) for y in images]), to_numpy(problem.b)
        )

    @cached_property
    def gram(self) -> np.ndarray:
        """Return the inner products of the images."""
        return self.images @ self.images.T

    @cached_property
    def fit(self) -> np.ndarray:
        """Return the inner products of the images with b."""
        return self.images @ self.b

    def at(self, a: np.ndarray) -> np.ndarray:
        """Return the point of the search with coordinates (a, b, c)."""
        return np.tensordot(a, self.basis, axes=1)

    def value(self, a: np.ndarray) -> float:
        """Return the loss there, from the residual itself: small ones are not lost in rounding."""
        residual = _products(a) @ self.images - self.b
        return 0.5 * float(residual @ residual)

    def ray(self, axis: int) -> np.ndarray | None:
        """Return the point of least loss on a ray: s^2 = <A(Y), b> / ||A(Y)||^2."""
        k = PAIRS.index((axis, axis))
        if self.gram[k, k] <= 0 or self.fit[k] <= 0:
            return None
        return np.eye(3)[axis] * np.sqrt(self.fit[k] / self.gram[k, k])

    def stationary(self, base: np.ndarray, axis: int) -> list[np.ndarray]:
        """Return the stationary points of the quartic from ``base`` along an axis."""
        unit = np.eye(3)[axis]
        constant, bend = _products(base) @ self.images - self.b, _products(unit) @ self.images
        slope = _products(base + unit) @ self.images - self.b - constant - bend
        return [base + t * unit for t in stationary_points(constant, slope, bend)]

    def joint(self, starts: list[np.ndarray]) -> np.ndarray:
        """Return the least point found from these starts on the whole plane."""
        unit = float(self.b @ self.b)

        def loss(a: np.ndarray) -> tuple[float, np.ndarray]:
            products = _products(a)
            slope = self.gram @ products - self.fit
            value = 0.5 * products @ (slope - self.fit) + 0.5 * unit
            gradient = np.zeros(3)
            for k, (i, j) in enumerate(PAIRS):
                gradient[i] += slope[k] * a[j]
                gradient[j] += slope[k] * a[i]
            return float(value) / unit, gradient / unit

        ends = [
            minimize(loss, a, jac=True, method="BFGS", options={"gtol": 1e-12}).x for a in starts
        ]
        return min([*ends, *starts], key=self.value)


def stationary_points(constant: np.ndarray, slope: np.ndarray, bend: np.ndarray) -> list[float]:
    """Return the real t at which 1/2 ||constant + t slope + t^2 bend||^2 has derivative zero.

    Examples
    --------
    >>> one = np.ones(1)
    >>> [round(t, 12) for t in stationary_points(-4 * one, 0 * one, one)]  # (t^2 - 4)^2 / 2
    [-2.0, 0.0, 2.0]
    """
    derivative = [
        2 * bend @ bend, 3 * slope @ bend, slope @ slope + 2 * constant @ bend, constant @ slope,
    ]  # fmt: skip
    roots = np.roots(np.trim_zeros(derivative, "f"))
    return sorted(roots[np.abs(roots.imag) <= 1e-7 * (1 + np.abs(roots))].real.tolist())


def _products(a: np.ndarray) -> np.ndarray:
    return np.array([a[i] * a[j] for i, j in PAIRS])
