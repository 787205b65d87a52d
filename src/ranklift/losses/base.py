"""Losses: how predicted measurements z = A(X) are compared with the observed b.

Every loss is convex in z, so one Fenchel dual certifies them all: for any s in the domain of the
conjugate l* and ||A*(s)||_2 <= lambda, -l*(-s) bounds the minimum of l(A(X)) + lambda ||X||_* from
below. The slope l'(z) drives gradients, and minus it is the natural s.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from ..arrays import Array, inner, namespace
from ..errors import InputError

LOSSES: dict[str, type[Loss]] = {}
"""Every loss by class name: contract tests run over it, saved results are read through it."""

Map = Callable[[Array], Array]


class Loss(ABC):
    """A convex function of the predictions z, given the measurements b.

    Subclasses are frozen dataclasses of their constants; ``parameters`` are plain numbers.
    """

    smoothness: float = 1.0
    """Lipschitz constant of the slope; infinite for a loss with kinks."""

    zero_at_fit: ClassVar[bool] = True
    """Whether the loss is 0, its least value, at z = b."""

    separable: ClassVar[bool] = True
    """Whether it is a sum over measurements, so that their order does not matter."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        LOSSES[cls.__name__] = cls

    @abstractmethod
    def value(self, z: Array, b: Array) -> float:
        """Return the loss."""

    @abstractmethod
    def slope(self, z: Array, b: Array) -> Array:
        """Return the gradient in z (at a kink: the subgradient of least size)."""

    def value_and_slope(self, z: Array, b: Array) -> tuple[float, Array]:
        """Return both at once; a loss may share the work between them."""
        return self.value(z, b), self.slope(z, b)

    @abstractmethod
    def curvature(self, z: Array, b: Array) -> Map | None:
        """Return y -> H y with the (generalised) Hessian in z; None for the identity."""

    @abstractmethod
    def conjugate(self, s: Array, b: Array) -> float:
        """Return sup over z of <s, z> - loss; infinite outside of its domain."""

    @abstractmethod
    def random_slope(self, b: Array, sigma: float, rng: np.random.Generator) -> np.ndarray:
        """Draw the slope at the true matrix: what a regularisation has to outweigh."""

    def to_dict(self) -> dict[str, Any]:
        """Return the class name and its constants as plain values."""
        return {"class": type(self).__name__, **vars(self)}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Loss:
        """Rebuild a loss from ``to_dict``."""
        constants = {key: value for key, value in values.items() if key != "class"}
        return LOSSES[values["class"]](**constants)

    def weights(self, z: Array, b: Array) -> Array | None:
        """Return a diagonal to precondition with, an upper bound of the curvature; None: ones."""
        return None

    def check(self, b: Array) -> None:
        """Raise InputError when b cannot be data of this loss."""
        return

    def dual_limit(self, s: Array, b: Array) -> float:
        """Return the largest c with -c s in the domain of the conjugate."""
        return float("inf")

    def best_dual_scale(self, s: Array, b: Array, limit: float) -> tuple[float, float]:
        """Return (c, -l*(-c s)) for about the best c in [0, limit].

        c -> -l*(-c s) is concave; every c gives a valid bound, so a rough search only costs
        tightness.
        """
        from scipy.optimize import minimize_scalar

        high = min(limit, self.dual_limit(s, b))
        high = high if np.isfinite(high) else 1.0
        found = minimize_scalar(
            lambda c: self.conjugate(-c * s, b),
            bounds=(0.0, high),
            method="bounded",
            options={"xatol": 1e-11 * high},
        )
        tried = [(-self.conjugate(-c * s, b), c) for c in (0.0, float(found.x), high)]
        best, c = max(tried)
        return c, best


def quadratic_dual_scale(
    s: Array, b: Array, limit: float, weight: float = 1.0
) -> tuple[float, float]:
    """Return (c, D) for the best c in [0, limit] of c <s, b> - c^2 ||s||^2 / (2 weight)."""
    linear, square = inner(s, b), inner(s, s) / weight
    if square == 0.0:
        return 0.0, 0.0
    c = min(max(linear / square, 0.0), limit)
    return c, c * linear - 0.5 * c * c * square


def check_positive(value: float, name: str) -> None:
    """Raise InputError unless the constant of a loss is positive and finite."""
    if not np.isfinite(value) or value <= 0:
        raise InputError(f"{name} {value!r} of a loss", "pass a positive, finite number")


def largest(s: Array) -> float:
    """Return max |s_i|."""
    return float(namespace(s).max(namespace(s).abs(s))) if s.shape[0] else 0.0
