"""DistanceSensing: squared distances of some pairs of points, as measurements of a Gram matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from ..arrays import Array, like, to_numpy
from ..errors import (
    DuplicateEntriesError,
    EmptyDataError,
    InputError,
    ShapeError,
    UnobservedError,
)
from ..threads import CHUNKS, SERIAL_WORK, run_chunks
from .base import MOMENT_SIDE, MeasurementOperator
from .entries import _indices

if TYPE_CHECKING:
    from .congruence import Congruence


class DistanceSensing(MeasurementOperator):
    """Measure squared distances of pairs: A(G)_t = G_ii + G_jj - G_ij - G_ji, (i, j) the t-th pair.

    On a Gram matrix G = P P^T this is ||P_i - P_j||^2, in the square of the coordinates' unit.

    Parameters
    ----------
    rows, cols : integer arrays, shape (m,)
        Zero-based numbers of the first and the second point of every pair, in any order.
    num_points : int
        Number of points n; the unknown is n x n.

    Raises
    ------
    EmptyDataError, ShapeError, DTypeError
        For no pair, lists of unequal lengths, numbers outside 0..n - 1 or that are not integers.
    InputError
        For a pair of a point with itself.
    DuplicateEntriesError
        For a pair listed twice; (i, j) and (j, i) are the same pair.
    UnobservedError
        For a point without any pair: nothing is known about where it lies.

    Notes
    -----
    apply costs 2 m k multiply-adds: (L_i - L_j) . (R_i - R_j), pair by pair. The adjoint
    is the graph Laplacian of the pairs with weights y, sparse with 2 m + n entries; its pattern is
    made once. Memory: 24 m + 20 n bytes. Distances do not change when all points move by one
    vector: A(G) = A(G + 1 a^T + a 1^T) for every a, so A has a kernel on Gram matrices, and a
    search over P has a flat direction for every coordinate. ``centered`` takes it away. Groups of
    points that no pair joins can still move, turn and be mirrored apart. Subsets may leave points
    without a pair. Own derivation.

    Examples
    --------
    >>> import numpy as np
    >>> A = DistanceSensing([0, 1], [1, 2], 3)
    >>> points = np.array([[0.0, 0.0], [3.0, 4.0], [3.0, 5.0]])
    >>> A.apply_product(points, points)
    array([25.,  1.])
    >>> A.adjoint(np.array([1.0, 2.0])).toarray()
    array([[ 1., -1.,  0.],
           [-1.,  3., -2.],
           [ 0., -2.,  2.]])
    """

    @staticmethod
    def example(rng: np.random.Generator) -> DistanceSensing:
        """Make a small instance for the contract tests."""
        chain = np.stack([np.arange(7), np.arange(1, 8)])
        far = np.stack(np.triu_indices(8, 2))[:, rng.permutation(21)[:14]]
        pairs = np.concatenate([chain, far], axis=1)[:, rng.permutation(21)]
        turned = rng.random(21) < 0.5
        pairs[:, turned] = pairs[::-1, turned]
        return DistanceSensing(pairs[0], pairs[1], 8)

    def __init__(self, rows: Any, cols: Any, num_points: int) -> None:
        n = int(num_points)
        rows, cols = _indices(rows, n, "first point's"), _indices(cols, n, "second point's")
        if rows.shape != cols.shape:
            raise ShapeError(
                f"{rows.size} first and {cols.size} second points", "pass two points a pair"
            )
        if rows.size == 0:
            raise EmptyDataError("no measured pair", "pass at least one pair of points")
        if (rows == cols).any():
            point = int(rows[np.argmax(rows == cols)])
            raise InputError(
                f"the pair ({point}, {point}) joins a point with itself",
                "drop such pairs: their distance is zero, whatever the points",
            )
        self._set(rows, cols, n)
        missing = np.flatnonzero(self.pair_counts == 0)
        if missing.size:
            raise UnobservedError(
                f"point {int(missing[0])} is in no pair ({missing.size} such points in all)",
                "measure a distance to it, or drop the point and number the others anew",
            )

    @classmethod
    def _of_pairs(cls, rows: np.ndarray, cols: np.ndarray, num_points: int) -> DistanceSensing:
        # Subsets may leave a point without a pair: hold-out and resampling do.
        if rows.size == 0:
            raise EmptyDataError("no measured pair", "keep at least one pair of points")
        operator = object.__new__(cls)
        operator._set(rows, cols, num_points)
        return operator

    def _set(self, rows: np.ndarray, cols: np.ndarray, n: int) -> None:
        m = rows.size
        self.rows, self.cols = rows, cols
        self.shape, self.num_measurements = (n, n), int(m)
        self.pair_counts = np.bincount(rows, minlength=n) + np.bincount(cols, minlength=n)
        lower, upper = np.minimum(rows, cols), np.maximum(rows, cols)
        key = np.sort(lower.astype(np.int64) * n + upper)
        repeated = np.flatnonzero(key[1:] == key[:-1])
        if repeated.size:
            i, j = divmod(int(key[repeated[0]]), n)
            raise DuplicateEntriesError(
                f"the pair ({i}, {j}) is listed more than once "
                f"({repeated.size} repetitions in all)",
                "average or drop the repetitions; (i, j) and (j, i) are the same distance",
            )
        # Where each number of [-y, -y, degrees] lies in the sparse Laplacian.
        points = np.arange(n, dtype=np.int32)
        lines = np.concatenate([rows, cols, points])
        cross = np.concatenate([cols, rows, points])
        self._order = np.lexsort((cross, lines)).astype(np.int32 if 2 * m + n < 2**31 else np.int64)
        self._cross = cross[self._order]
        self._indptr = np.append(0, np.cumsum(self.pair_counts + 1)).astype(self._order.dtype)

    # -- structure ---------------------------------------------------------------------------

    @property
    def size_in_bytes(self) -> int:
        """Return the memory of the pairs and of the Laplacian's pattern, in bytes."""
        parts = (self.rows, self.cols, self.pair_counts, self._order, self._cross, self._indptr)
        return sum(part.nbytes for part in parts)

    @property
    def symmetric(self) -> bool:
        """Return True: distances of (i, j) and (j, i) are the same."""
        return True

    def subset(self, index: Array) -> DistanceSensing:
        """Return the distances of the listed pairs only; points may be left without a pair."""
        index = to_numpy(index)
        return DistanceSensing._of_pairs(self.rows[index], self.cols[index], self.shape[0])

    def centered(self) -> Congruence:
        """Return the same distances as measurements of an (n - 1) x (n - 1) matrix.

        Notes
        -----
        With C = I - 1 1^T / n, A(G) = A(C G C): moving all points moves no distance. Of all points
        at these distances, those with mean zero have C G C = G; and C = Q Q^T for any Q of n x (n -
        1) orthonormal columns orthogonal to 1 (``centering_basis``). So G = Q H Q^T with
        H = Q^T G Q, positive semidefinite of the same rank and the same trace as the centred G:
        nothing but the kernel is lost. Points are P = Q U of H = U U^T, with mean zero.

        Examples
        --------
        >>> A = DistanceSensing([0, 1], [1, 2], 3).centered()
        >>> A.shape, A.num_measurements
        ((2, 2), 2)
        """
        from .congruence import Congruence, centering_basis

        return Congruence(self, centering_basis(self.shape[0]))

    # -- products ----------------------------------------------------------------------------

    def _apply_matrix(self, matrix: Array) -> Array:
        g, i, j = to_numpy(matrix), self.rows, self.cols
        diagonal = np.diagonal(g)
        return like(diagonal[i] + diagonal[j] - g[i, j] - g[j, i], matrix)

    def apply_product(self, left: Array, right: Array) -> Array:
        """Return (L_i - L_j) . (R_i - R_j) for every pair."""
        from ..kernels import pair_distances as kernels

        a, b = _rows(left), _rows(right)
        out = np.empty(self.num_measurements, dtype=np.result_type(a, b))
        self._run(
            np.linspace(0, out.size, CHUNKS + 1),
            a.shape[1] * out.size,
            lambda lo, hi: kernels.product(self.rows, self.cols, a, b, out, lo, hi),
        )
        return like(out, left)

    def _run(self, bounds: np.ndarray, work: int, kernel: Callable[[int, int], None]) -> None:
        """Run a kernel over the ranges between the bounds, side by side where that pays."""
        edges = bounds.astype(int)
        if work <= SERIAL_WORK:
            kernel(int(edges[0]), int(edges[-1]))
        else:
            run_chunks(lambda c: kernel(int(edges[c]), int(edges[c + 1])), len(edges) - 1)

    @cached_property
    def _point_bounds(self) -> np.ndarray:
        """Bounds of chunks of points with about as many pairs each."""
        wanted = np.linspace(0, self._indptr[-1], CHUNKS + 1)
        bounds = np.searchsorted(self._indptr, wanted)
        bounds[-1] = self.shape[0]
        return bounds

    def adjoint(self, y: Array) -> sparse.csr_array:
        """Return the Laplacian sum_t y_t (e_i - e_j) (e_i - e_j)^T of the pairs, sparse."""
        host, n = to_numpy(y), self.shape[0]
        degrees = np.bincount(self.rows, host, n) + np.bincount(self.cols, host, n)
        data = np.concatenate([-host, -host, degrees.astype(host.dtype, copy=False)])[self._order]
        return sparse.csr_array((data, self._cross, self._indptr), shape=self.shape)

    def adjoint_products(self, y: Array, left: Array, right: Array) -> tuple[Array, Array]:
        """Return (S R, S L) of the Laplacian S, which is symmetric."""
        out = self._laplacian(y, right)
        return out, 1.0 * out if left is right else self._laplacian(y, left)

    def _laplacian(self, y: Array, factor: Array) -> Array:
        from ..kernels import pair_distances as kernels

        weights, x = to_numpy(y), _rows(factor)
        out = np.zeros(x.shape, dtype=np.result_type(weights, x))
        self._run(
            self._point_bounds,
            2 * x.shape[1] * weights.size,
            lambda lo, hi: kernels.laplacian(
                self._indptr, self._cross, self._order, weights, x, out, lo, hi
            ),
        )
        return like(out, factor)

    def gram_blocks(self, factor: Array, *, side: str, weights: Array | None = None) -> Array:
        """Return sum over the pairs of i of w (F_i - F_j) (F_i - F_j)^T for every point i.

        Both sides are the same. Cost m k^2 multiply-adds, memory a few numbers a pair.
        """
        from ..kernels import pair_distances as kernels

        x, m = _rows(factor), self.num_measurements
        w = np.ones(m, dtype=x.dtype) if weights is None else to_numpy(weights)
        out = np.zeros((*x.shape, x.shape[1]), dtype=x.dtype)
        self._run(
            self._point_bounds,
            2 * m * x.shape[1] ** 2,
            lambda lo, hi: kernels.gram_blocks(
                self._indptr, self._cross, self._order, w, x, out, lo, hi
            ),
        )
        return like(out, factor)

    def _moment(
        self, side: str, factor: np.ndarray | None, weights: np.ndarray
    ) -> np.ndarray | None:
        """Return the Laplacian of the pairs with weights w_t ||F_i - F_j||^2, as a full matrix.

        (e_i - e_j)^T F F^T (e_i - e_j) is a squared distance of rows: 2 without a factor. Both
        sides are the same. Cost: m k multiply-adds for the k columns of F, and n^2 numbers.
        """
        if self.shape[0] > MOMENT_SIDE:
            return None
        if factor is not None and factor.ndim == 2:
            lengths = self.apply_product(factor, factor)
        else:
            squares = np.ones(self.shape[0]) if factor is None else factor**2
            lengths = squares[self.rows] + squares[self.cols]
        return self.adjoint(weights * lengths).toarray()

    # -- saving ------------------------------------------------------------------------------

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the pairs and the number of points."""
        return {"rows": self.rows, "cols": self.cols, "num_points": np.array(self.shape[0])}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> DistanceSensing:
        """Rebuild the operator from ``to_arrays``."""
        n = int(arrays["num_points"])
        return cls._of_pairs(
            _indices(arrays["rows"], n, "first point's"),
            _indices(arrays["cols"], n, "second point's"),
            n,
        )


def _rows(factor: Array) -> np.ndarray:
    return np.ascontiguousarray(to_numpy(factor))
