"""Instance: a recovery problem together with what is known about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..errors import NonFiniteError
from ..lowrank import LowRank
from ..operators import MeasurementOperator

Factors = Any
"""A point: an array U (n, k) for U U^T when symmetric, else the pair L (n1, k), R (n2, k)."""


@dataclass(frozen=True, eq=False)
class Instance:
    """Hold one problem b = A(M) + w and its known answers.

    Attributes
    ----------
    name : str
        Name of the family with its parameters.
    operator : MeasurementOperator
        The map A.
    measurements : ndarray, shape (m,)
        The data b.
    truth : LowRank, n1 x n2
        The matrix M. When ``symmetric``, M = Z Z^T and Z is ``truth.left``.
    spurious_points : tuple of factors
        Known points, other than the truth, where a search can stop: arrays U when ``symmetric``,
        pairs (L, R) otherwise.
    symmetric : bool
        Whether the unknown is U U^T.
    noise : float
        Standard deviation of w.
    source : str
        Where the problem was published, or "own construction".
    known : mapping of str to float
        Numbers known in closed form or published: objective values, least Hessian eigenvalues,
        restricted isometry constants. f = 1/2 ||A(.) - b||^2 throughout.

    Examples
    --------
    >>> from ranklift.instances import rip_half
    >>> instance = rip_half(2)
    >>> instance.rank, instance.symmetric, instance.known["spurious_value"]
    (1, True, 0.375)
    """

    name: str
    operator: MeasurementOperator
    measurements: np.ndarray
    truth: LowRank
    spurious_points: tuple[Factors, ...] = ()
    symmetric: bool = False
    noise: float = 0.0
    source: str = "own construction"
    known: Mapping[str, float] = field(default_factory=dict)

    @property
    def rank(self) -> int:
        """Return the number of columns of the truth's factors."""
        return self.truth.rank

    def with_noise(self, noise: float, *, rng: np.random.Generator | int | None = None) -> Instance:
        """Return the same problem with Gaussian noise of this standard deviation added to b.

        The spurious points and known values are dropped: they belong to the data as they were.

        Raises
        ------
        NonFiniteError
            When ``noise`` is not a finite number of at least 0.

        Examples
        --------
        >>> from ranklift.instances import rip_half
        >>> noisy = rip_half(2).with_noise(0.1, rng=0)
        >>> noisy.noise, noisy.spurious_points
        (0.1, ())
        """
        check_noise(noise)
        generator = np.random.default_rng(rng)
        disturbance = noise * generator.standard_normal(self.measurements.shape)
        return replace(
            self,
            name=f"{self.name} + noise {noise:g}",
            measurements=self.measurements + disturbance,
            noise=float(np.hypot(self.noise, noise)),
            spurious_points=(),
            known={},
        )


def check_noise(noise: float) -> None:
    """Refuse a noise level that is not a standard deviation."""
    if not (np.isfinite(noise) and noise >= 0):
        raise NonFiniteError(
            f"noise = {noise} is not a standard deviation", "pass a finite number of at least 0"
        )


def symmetric_instance(
    name: str,
    operator: MeasurementOperator,
    z: np.ndarray,
    points: tuple[np.ndarray, ...],
    source: str,
    known: Mapping[str, float],
) -> Instance:
    """Return the instance of truth z z^T with noiseless measurements."""
    truth = LowRank(z, z)
    measurements = np.asarray(operator.apply(truth))
    return Instance(
        name, operator, measurements, truth, points, symmetric=True, source=source, known=known
    )
