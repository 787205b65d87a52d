"""The isometry constant on all symmetric matrices: computed, not assumed, where n is small."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import to_numpy
from ..errors import InputError, ShapeError, TooLargeError
from ..operators import MeasurementOperator

LARGEST_DIMENSION = 2000
"""Most n (n + 1) / 2: singular values of a matrix of this width take seconds."""


@dataclass(frozen=True)
class Isometry:
    """lower ||X||_F^2 <= ||A(X)||^2 <= upper ||X||_F^2, both attained.

    Attributes
    ----------
    lower, upper : float
        Extremes of ||A(X)||^2 / ||X||_F^2.
    """

    lower: float
    upper: float

    @property
    def delta(self) -> float:
        """Return max(1 - lower, upper - 1): for A as it is, as error bounds take it."""
        return max(1.0 - self.lower, self.upper - 1.0)

    @property
    def rescaled_delta(self) -> float:
        """Return (upper - lower) / (upper + lower), as thresholds take it.

        The least delta over all c A, reached at c^2 = 2 / (lower + upper). 1 for A = 0.
        """
        return rescaled_delta(self.lower, self.upper)

    @property
    def scale(self) -> float:
        """Return c = sqrt(2 / (lower + upper)), by which A has to be multiplied for that."""
        return best_scale(self.lower, self.upper)


def rescaled_delta(lower: float, upper: float) -> float:
    """Return (upper - lower) / (upper + lower); 1 where nothing is measured."""
    total = upper + lower
    return (upper - lower) / total if total > 0 else 1.0


def best_scale(lower: float, upper: float) -> float:
    """Return the factor of A that makes lower and upper 1 - delta and 1 + delta."""
    total = upper + lower
    return float(np.sqrt(2.0 / total)) if total > 0 else float("inf")


def symmetric_isometry(operator: MeasurementOperator) -> Isometry:
    """Return the extreme eigenvalues of A*A on all symmetric n x n matrices.

    What holds on all of them holds on every rank, so that ``Isometry.delta`` (or, for the lower
    side only, 1 - ``lower``) may be handed to the error bounds as a fact. ``lower`` is 0 for
    m < n (n + 1) / 2: then this says nothing, although A may be well-behaved on low rank.

    Parameters
    ----------
    operator : MeasurementOperator
        On real n x n matrices, n (n + 1) / 2 <= 2000 (n <= 62).

    Raises
    ------
    InputError, ShapeError
        For complex unknowns or rectangular matrices.
    TooLargeError
        For larger n.

    Notes
    -----
    n (n + 1) / 2 applications and the singular values of the m x n (n + 1) / 2 matrix of A in an
    orthonormal basis. Exact up to rounding, about 1e-15 ``upper`` relative to sqrt(lower upper).

    Examples
    --------
    >>> from ranklift.instances import rip_half
    >>> found = symmetric_isometry(rip_half(2).operator)
    >>> round(found.lower, 12), round(found.upper, 12), round(found.delta, 12)
    (0.5, 1.5, 0.5)
    """
    n = operator.shape[0]
    if operator.hermitian:
        raise InputError("an operator on complex Hermitian matrices", "pass one on real matrices")
    if n != operator.shape[1]:
        raise ShapeError(f"an operator on {operator.shape}", "pass one on square matrices")
    dimension = n * (n + 1) // 2
    if dimension > LARGEST_DIMENSION:
        raise TooLargeError(
            f"symmetric {n} x {n} matrices have dimension {dimension}",
            f"use estimate_rip, or n (n + 1) / 2 <= {LARGEST_DIMENSION}",
        )
    columns = np.empty((operator.num_measurements, dimension))
    for column, (i, j) in enumerate(zip(*np.triu_indices(n), strict=True)):
        unit = np.zeros((n, n))
        unit[i, j] = unit[j, i] = 1.0 if i == j else np.sqrt(0.5)
        columns[:, column] = to_numpy(operator.apply(unit))
    values = np.linalg.svd(columns, compute_uv=False)
    lower = 0.0 if operator.num_measurements < dimension else float(values[-1]) ** 2
    return Isometry(lower, float(values[0]) ** 2)


def delta_from_all_symmetric(operator: MeasurementOperator) -> float:
    """Return ``symmetric_isometry(operator).delta``: a proved delta, 1 or more where it is useless.

    Raises
    ------
    InputError, ShapeError, TooLargeError
        As for ``symmetric_isometry``.

    Examples
    --------
    >>> from ranklift.operators import IdentitySensing
    >>> round(delta_from_all_symmetric(IdentitySensing((3, 3))), 12)
    0.0
    """
    return symmetric_isometry(operator).delta
