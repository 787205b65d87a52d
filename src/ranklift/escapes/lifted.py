"""The lifted problem with all its tensors: a reference for what other files do without them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np

from ..errors import InputError, ShapeError, TooLargeError

LARGEST_TENSOR = 2**27
"""Numbers in the largest array, 1 GB: m^l (n r)^l grows out of reach at once."""


@dataclass(frozen=True)
class LiftedProblem:
    """Pose h^l(w) = 1/2 ||<A^(x l), w w> - b^(x l)||^2 over tensors w of order l.

    w has l modes of size n r. With Q_i = A_i (x) I_r the prediction is

        y[i1..il] = w^T (Q_i1 (x) ... (x) Q_il) w,

    which for w = vec(X)^(x l) is the l-fold outer power of A(X X^T).

    Parameters
    ----------
    matrices : array, shape (m, n, n)
        Symmetric A_i.
    b : array, shape (m,)
    order : int
        l, odd.
    columns : int, default 1
        r, the columns of X.

    Raises
    ------
    InputError, ShapeError
        For an even order, or matrices and b that do not fit.
    TooLargeError
        Above 2^27 numbers.

    Notes
    -----
    Memory and time m^l (n r)^l: n = 3, m = 9 takes 1 ms at l = 3 and 0.2 s at l = 5. Source: the
    lifted problem of Shen et al. (arXiv 2602.05887), as read in their notebooks.

    Examples
    --------
    >>> lifted = LiftedProblem(np.ones((1, 1, 1)), np.array([2.0]), 3)
    >>> lifted.value(lifted.lift(np.array([[1.0]])))  # 1/2 (1 - 2^3)^2
    24.5
    """

    matrices: np.ndarray
    b: np.ndarray
    order: int
    columns: int = 1

    def __post_init__(self) -> None:
        m, n, other = self.matrices.shape
        if n != other or self.b.shape != (m,):
            raise ShapeError(
                f"matrices of shape {self.matrices.shape} and b of shape {self.b.shape}",
                "pass (m, n, n) and (m,)",
            )
        if self.order < 1 or self.order % 2 == 0:
            raise InputError(f"order {self.order}", "pass an odd number: 1, 3, 5, ...")
        size = (m * n * self.columns) ** self.order
        if size > LARGEST_TENSOR:
            raise TooLargeError(
                f"an explicit lift of {size:.1e} numbers", "use SimulatedLift, which builds none"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of w."""
        return (self.matrices.shape[1] * self.columns,) * self.order

    def lift(self, x: np.ndarray) -> np.ndarray:
        """Return vec(X)^(x l) of X, shape (n, r)."""
        return self.outer(*[x.ravel()] * self.order)

    @staticmethod
    def outer(*vectors: np.ndarray) -> np.ndarray:
        """Return v1 (x) v2 (x) ..."""
        return reduce(np.multiply.outer, vectors)

    def images(self, w: np.ndarray) -> np.ndarray:
        """Return (Q_i1 (x) ... (x) Q_il) w, shape (m,) * l + w.shape."""
        n, r = self.matrices.shape[1], self.columns
        q = np.einsum("iab,cd->iacbd", self.matrices, np.eye(r)).reshape(-1, n * r, n * r)
        out = w
        for _ in range(self.order):
            # The last mode of w goes, and (measurement, mode) come first: after l turns all modes
            # have been replaced, in order.
            out = np.tensordot(q, out, axes=([2], [out.ndim - 1]))
        front = range(0, 2 * self.order, 2)
        back = range(1, 2 * self.order, 2)
        return out.transpose(*front, *back)

    def value(self, w: np.ndarray) -> float:
        """Return h^l(w)."""
        return self.value_and_gradient(w)[0]

    def value_and_gradient(self, w: np.ndarray) -> tuple[float, np.ndarray]:
        """Return h^l(w) and its gradient 2 sum_i (y - b^(x l))_i (Q_i1 (x) ... (x) Q_il) w."""
        modes = tuple(range(self.order))
        images = self.images(w)
        y = np.tensordot(images, w, axes=(tuple(range(self.order, 2 * self.order)), modes))
        residual = y - self.outer(*[self.b] * self.order)
        return 0.5 * float(np.sum(residual**2)), 2.0 * np.tensordot(
            residual, images, (modes, modes)
        )

    def curvature(self, w: np.ndarray, direction: np.ndarray) -> float:
        """Return the second derivative of h^l at w along a direction."""
        modes, inner = tuple(range(self.order)), tuple(range(self.order, 2 * self.order))
        images = self.images(w)
        y = np.tensordot(images, w, axes=(inner, modes))
        slope = 2.0 * np.tensordot(images, direction, axes=(inner, modes))
        bend = 2.0 * np.tensordot(self.images(direction), direction, axes=(inner, modes))
        residual = y - self.outer(*[self.b] * self.order)
        return float(np.sum(slope**2) + np.sum(residual * bend))


def lifted_curvature(
    matrices: np.ndarray, b: np.ndarray, x: np.ndarray, u: np.ndarray, order: int
) -> float:
    """Return the curvature of h^l at vec(x)^(x l) along u^(x l), rank one, in closed form.

    2 [(u^T P u)^l - (u^T Q u)^l] + 4 (p / 4)^l with P = A*A(x x^T), Q = A*(b) and
    p = ||A(u x^T + x u^T)||^2.

    Parameters
    ----------
    matrices : array, shape (m, n, n)
    b : array, shape (m,)
    x, u : arrays, shape (n,)
    order : int
        l.

    Notes
    -----
    It is negative for large l exactly where max(u^T P u, p / 4) < u^T Q u. Own derivation (the
    notes' [D]), checked against ``LiftedProblem``.

    Examples
    --------
    >>> one = np.ones((1, 1, 1))
    >>> x, u = np.array([1.0]), np.array([1.0])
    >>> lifted_curvature(one, np.array([2.0]), x, u, 3)  # f = 1/2 (w^2 - 8)^2 at w = 1: 6 - 16
    -10.0
    """
    ax = np.einsum("iab,a,b->i", matrices, x, x)
    au = np.einsum("iab,a,b->i", matrices, u, u)
    both = np.einsum("iab,a,b->i", matrices, u, x) + np.einsum("iab,a,b->i", matrices, x, u)
    p = float(both @ both)
    return 2 * (float(ax @ au) ** order - float(b @ au) ** order) + 4 * (p / 4) ** order
