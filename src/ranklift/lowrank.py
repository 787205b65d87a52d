"""LowRank: the matrix L R^T, never formed."""

from __future__ import annotations

from dataclasses import dataclass

from .arrays import Array, inner, namespace, norm
from .errors import RankError, ShapeError


@dataclass(frozen=True, eq=False)
class LowRank:
    """Represent X = L R^T by its factors.

    Parameters
    ----------
    left : array, shape (n1, k)
    right : array, shape (n2, k)
        Factors of one array namespace; k may be 0.

    Raises
    ------
    ShapeError
        When the factors are not two matrices with the same number of columns.

    Notes
    -----
    Memory (n1 + n2) k numbers; a product with p vectors costs (n1 + n2) k p multiply-adds.

    Examples
    --------
    >>> import numpy as np
    >>> X = LowRank(np.array([[1.0], [2.0]]), np.array([[3.0], [4.0]]))
    >>> X.toarray()
    array([[3., 4.],
           [6., 8.]])
    >>> round(X.norm() ** 2)
    125
    """

    left: Array
    right: Array

    __array_ufunc__ = None  # NumPy must hand ndarray @ LowRank to __rmatmul__

    def __post_init__(self) -> None:
        left, right = self.left, self.right
        if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[1]:
            raise ShapeError(
                f"factors of shapes {tuple(left.shape)} and {tuple(right.shape)} do not multiply",
                "pass left as (n1, k) and right as (n2, k)",
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Return (n1, n2)."""
        return int(self.left.shape[0]), int(self.right.shape[0])

    @property
    def rank(self) -> int:
        """Return the number of columns k: an upper bound of the rank."""
        return int(self.left.shape[1])

    @property
    def T(self) -> LowRank:
        """Return the transpose, sharing the factors."""
        return LowRank(self.right, self.left)

    def __matmul__(self, other: Array) -> Array:
        if isinstance(other, LowRank):
            return LowRank(self.left, other.right @ (other.left.T @ self.right))
        return self.left @ (self.right.T @ other)

    def __rmatmul__(self, other: Array) -> Array:
        return (other @ self.left) @ self.right.T

    def __mul__(self, scalar: float) -> LowRank:
        return LowRank(self.left * scalar, self.right)

    __rmul__ = __mul__

    def __neg__(self) -> LowRank:
        return self * -1.0

    def __add__(self, other: LowRank) -> LowRank:
        if self.shape != other.shape:
            raise ShapeError(f"cannot add {self.shape} and {other.shape}", "use equal shapes")
        xp = namespace(self.left)
        return LowRank(
            xp.concat([self.left, other.left], axis=1), xp.concat([self.right, other.right], axis=1)
        )

    def __sub__(self, other: LowRank) -> LowRank:
        return self + (-other)

    def inner(self, other: LowRank) -> float:
        """Return <X, Y> = tr(X^T Y) through k x k Gram matrices."""
        return inner(self.left.T @ other.left, self.right.T @ other.right)

    def norm(self) -> float:
        """Return the Frobenius norm.

        Through QR factors: the Gram matrices would lose half of the digits of a difference.
        """
        return norm(self._core())

    def nuclear_norm(self) -> float:
        """Return the sum of the singular values."""
        xp = namespace(self.left)
        return float(xp.sum(xp.linalg.svdvals(self._core()))) if self.rank else 0.0

    def _core(self) -> Array:
        xp = namespace(self.left)
        left = xp.linalg.qr(self.left, mode="reduced")[1]
        right = xp.linalg.qr(self.right, mode="reduced")[1]
        return left @ right.T

    def svd(self) -> tuple[Array, Array, Array]:
        """Return (U, s, V) with X = U diag(s) V^T, s descending, min(k, n1, n2) triplets."""
        xp = namespace(self.left)
        q_left, r_left = xp.linalg.qr(self.left, mode="reduced")
        q_right, r_right = xp.linalg.qr(self.right, mode="reduced")
        u, s, vh = xp.linalg.svd(r_left @ r_right.T, full_matrices=False)
        return q_left @ u, s, q_right @ vh.T

    def balanced(self) -> LowRank:
        """Return the same matrix with L = U sqrt(S), R = V sqrt(S), so that L^T L = R^T R."""
        xp = namespace(self.left)
        u, s, v = self.svd()
        root = xp.sqrt(s)
        return LowRank(u * root[None, :], v * root[None, :])

    def truncate(self, rank: int) -> LowRank:
        """Return the best approximation of at most the given rank, balanced."""
        if rank < 0:
            raise RankError(f"rank {rank} is negative", "pass a rank of at least 0")
        balanced = self.balanced()
        return LowRank(balanced.left[:, :rank], balanced.right[:, :rank])

    def entries(self, rows: Array, cols: Array) -> Array:
        """Return X[rows[t], cols[t]] for every t; cost k multiply-adds an entry."""
        xp = namespace(self.left)
        return xp.sum(xp.take(self.left, rows, axis=0) * xp.take(self.right, cols, axis=0), axis=1)

    def toarray(self) -> Array:
        """Return the full n1 x n2 array: only for matrices that fit into memory."""
        return self.left @ self.right.T
