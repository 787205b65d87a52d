"""Sharpness: the largest eigenvalue of the Hessian, and the step beyond which descent leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..arrays import Array, like, to_numpy
from ..factorizations import Factorization
from ..operators import MeasurementOperator
from ..spectral import largest_eigenvalue
from .point import pose_factors, scale_of

if TYPE_CHECKING:
    from ..lowrank import LowRank
    from ..result import Recovery


@dataclass(frozen=True)
class Sharpness:
    """The largest eigenvalue of the Hessian, enclosed.

    Attributes
    ----------
    eigenvalue : float
        A Rayleigh quotient: at most the largest eigenvalue.
    upper : float
        At least the largest eigenvalue, wrong with a probability of at most 1e-10.
    direction : array, the shape of W
        Unit vector of the Rayleigh quotient.
    products : int
        Hessian products spent.
    """

    eigenvalue: float
    upper: float
    direction: np.ndarray
    products: int

    @property
    def stable_step(self) -> float:
        """Return 2 / upper: gradient descent of a smaller step does not leave a minimum here."""
        return 2.0 / self.upper if self.upper > 0 else float("inf")

    @property
    def edge_of_stability_step(self) -> float:
        """Return 2 / eigenvalue: of any larger step gradient descent leaves along ``direction``."""
        return 2.0 / self.eigenvalue if self.eigenvalue > 0 else float("inf")


def sharpness(
    operator: MeasurementOperator,
    b: Array | None,
    factors: Recovery | LowRank | tuple[Array, Array] | Array,
    *,
    factorization: Factorization | None = None,
    scaling: str = "mean",
    max_steps: int = 200,
    rng: np.random.Generator | int | None = 0,
) -> Sharpness:
    """Enclose the largest eigenvalue of the Hessian of the loss at given factors.

    Parameters
    ----------
    operator, b, factors, factorization, scaling
        As for ``trace_of_hessian``.
    max_steps : int, default 200
        Most Hessian products; the enclosure narrows like their square.
    rng : Generator or int, default 0
        Draws the Lanczos start.

    Raises
    ------
    InputError, ShapeError

    Notes
    -----
    Gradient descent with step s is x -> (I - s H) x near a minimum: it is left along eigenvectors
    with s lambda > 2, the edge of stability. Lanczos from a random start; bound of Kuczynski and
    Wozniakowski (1992), see ``spectral``.

    Examples
    --------
    >>> import numpy as np
    >>> from ranklift.operators import IdentitySensing
    >>> found = sharpness(IdentitySensing((1, 1)), None, (np.array([[3.0]]), np.array([[4.0]])))
    >>> round(found.eigenvalue, 9), round(found.edge_of_stability_step, 9)  # 2 (3^2 + 4^2)
    (50.0, 0.04)
    """
    problem, w = pose_factors(operator, b, factors, factorization)
    unit = scale_of(problem, scaling)
    rows, columns = (int(size) for size in w.shape)
    point = problem.evaluate(w)

    def product(x: np.ndarray) -> np.ndarray:
        direction = like(x.reshape(rows, columns), w)
        return to_numpy(problem.hvp(point, direction)).reshape(-1)

    found = largest_eigenvalue(
        product, rows * columns, np.random.default_rng(rng), max_steps=max_steps
    )
    return Sharpness(
        unit * found.ritz,
        unit * max(found.upper, found.ritz),
        found.vectors[:, 0].reshape(rows, columns),
        found.steps,
    )
