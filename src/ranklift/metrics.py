"""Errors against a known truth: the third answer, never mixed with status or verdict."""

from __future__ import annotations

import numpy as np

from .arrays import to_numpy
from .lowrank import LowRank

__all__ = ["largest_principal_angle", "relative_error"]


def relative_error(estimate: LowRank, truth: LowRank) -> float:
    """Return ||X - M||_F / ||M||_F of two factored matrices.

    Parameters
    ----------
    estimate, truth : LowRank
        Of one shape; neither is formed. The difference is measured through QR factors, so that
        errors down to rounding level are seen.

    Raises
    ------
    ShapeError
        When the shapes differ.

    Notes
    -----
    Cost: two QR factorizations of n x (k + r). Source: definition.

    Examples
    --------
    >>> import numpy as np
    >>> truth = LowRank(np.array([[3.0], [4.0]]), np.array([[1.0]]))
    >>> relative_error(1.1 * truth, truth)  # doctest: +ELLIPSIS
    0.1...
    """
    size = truth.norm()
    return (estimate - truth).norm() / size if size > 0 else estimate.norm()


def largest_principal_angle(estimate: LowRank, truth: LowRank) -> float:
    """Return the largest principal angle between the column spaces, in radians.

    arcsin of ||(I - P P^T) U||_2 with orthonormal bases P of the estimate's and U of the truth's
    column space: accurate for small angles, where arccos is not.

    Parameters
    ----------
    estimate, truth : LowRank
        With the same number of rows; the estimate's space may be the larger one.

    Notes
    -----
    Cost: two QR factorizations of n x k. Source: Bjorck and Golub (1973).

    Examples
    --------
    >>> import numpy as np
    >>> right = np.array([[1.0]])
    >>> a = LowRank(np.array([[1.0], [0.0]]), right)
    >>> b = LowRank(np.array([[1.0], [1.0]]), right)
    >>> round(largest_principal_angle(a, b) * 4 / np.pi, 9)
    1.0
    """
    p = np.linalg.qr(to_numpy(estimate.left))[0]
    u = np.linalg.qr(to_numpy(truth.left))[0]
    outside = u - p @ (p.T @ u)
    return float(np.arcsin(min(1.0, np.linalg.norm(outside, 2)))) if outside.size else 0.0
