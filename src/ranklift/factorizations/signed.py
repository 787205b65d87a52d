"""Signed symmetric factorization X = U1 U1^T - U2 U2^T."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import Array, like, namespace, to_numpy
from ..linalg import orthonormal
from .base import DualMatrix, Factorization, pad_columns
from .symmetric import square_size, symmetric_product


class Signed(Factorization):
    """Stack W = [U1; U2], shape (2n, k), for any symmetric X = U1 U1^T - U2 U2^T.

    The balanced W has the positive eigenvectors in U1 and the negative ones in U2, each sorted:
    k columns carry up to k eigenvalues of either sign, and min ||W||^2 over all W is ||X||_*.
    Quadratic networks learn such an X (Ding, Drusvyatskiy, Fazel, Harchaoui, arXiv 2203.03756).

    Examples
    --------
    >>> import numpy as np
    >>> Signed().compose(np.array([[2.0], [0.0], [0.0], [1.0]]), (2, 2)).toarray()
    array([[ 4.,  0.],
           [ 0., -1.]])
    """

    def size(self, shape: tuple[int, int], rank: int = 1) -> int:
        """Return 2n; the matrix must be square."""
        return 2 * square_size(shape)

    def parts(self, w: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
        """Return ([U1, U2], [U1, -U2])."""
        n = shape[0]
        plus, minus = w[:n, ...], w[n:, ...]
        xp = namespace(w)
        return xp.concat([plus, minus], axis=1), xp.concat([plus, -minus], axis=1)

    def pullback(
        self, w: Array, out_left: Array, out_right: Array, shape: tuple[int, int]
    ) -> Array:
        """Return [(S + S^T) U1; -(S + S^T) U2]."""
        k = int(out_left.shape[1]) // 2
        plus = out_left[:, :k] + out_right[:, :k]
        minus = out_left[:, k:] - out_right[:, k:]
        return namespace(w).concat([plus, minus], axis=0)

    def join(self, left: Array, right: Array) -> Array:
        """Return the eigenvectors of the symmetric part of L R^T, scaled and sorted by sign."""
        host_left, host_right = to_numpy(left), to_numpy(right)
        basis = orthonormal(np.concatenate([host_left, host_right], axis=1))
        core = (basis.T @ host_left) @ (host_right.T @ basis)
        values, vectors = np.linalg.eigh(0.5 * (core + core.T))
        tiny = 1e-14 * np.abs(values).max(initial=0.0)
        plus = basis @ (vectors * np.sqrt(np.maximum(values, 0.0)))[:, values > tiny][:, ::-1]
        minus = basis @ (vectors * np.sqrt(np.maximum(-values, 0.0)))[:, values < -tiny]
        k = max(plus.shape[1], minus.shape[1])
        w = np.concatenate([pad_columns(plus, k), pad_columns(minus, k)])
        return like(w.astype(host_left.dtype, copy=False), left)

    def stack(self, left: Array, right: Array) -> Array:
        """Return W with the columns of L that R repeats in U1, those that it negates in U2."""
        host, other = to_numpy(left), to_numpy(right)
        plus = np.all(host == other, axis=0)
        if not np.all(plus | np.all(host == -other, axis=0)):
            return self.join(left, right)
        halves = [host[:, plus], host[:, ~plus]]
        k = max(half.shape[1] for half in halves)
        return like(np.concatenate([pad_columns(half, k) for half in halves]), left)

    def gauge(self, w: Array, shape: tuple[int, int]) -> Array:
        """Return the eigenvectors of X, padded with zero columns."""
        joined = self.join(*self.parts(w, shape))
        # 2k parts hold at most k eigenvalues of either sign, so that no column is lost.
        return pad_columns(joined, int(w.shape[1]))

    def degrees_of_freedom(self, shape: tuple[int, int], rank: int) -> int:
        """Return n r - r (r - 1) / 2."""
        return shape[0] * rank - rank * (rank - 1) // 2

    def dual(self, transported: Any, shape: tuple[int, int]) -> DualMatrix:
        """Return diag(sym S, -sym S)."""
        n = shape[0]

        def product(x: np.ndarray) -> np.ndarray:
            signed = x[:n], -x[n:]
            return np.concatenate([symmetric_product(transported, signed[0]),
                                   symmetric_product(transported, signed[1])])  # fmt: skip

        return DualMatrix(2 * n, product)

    def span(self, w: Array) -> np.ndarray:
        """Return an orthonormal basis of span(U1) + span(U2), in both halves apart."""
        host = to_numpy(w)
        n = host.shape[0] // 2
        plus, minus = orthonormal(host[:n]), orthonormal(host[n:])
        out = np.zeros((2 * n, plus.shape[1] + minus.shape[1]))
        out[:n, : plus.shape[1]], out[n:, plus.shape[1] :] = plus, minus
        return out

    def _squares(self, w: Array) -> np.ndarray:
        host = to_numpy(w)
        n = host.shape[0] // 2
        return np.stack([(half**2).sum(axis=0) for half in (host[:n], host[n:])])

    def truncate(self, w: Array, rank: int) -> Array:
        """Return the ``rank`` largest eigenvalues of either sign."""
        squares = self._squares(w)
        order = np.argsort(-squares, axis=None, kind="stable")[:rank]
        keep = np.zeros(squares.size, dtype=bool)
        keep[order] = True
        keep = (keep.reshape(squares.shape)) & (squares > 0)
        host = to_numpy(w)
        n = host.shape[0] // 2
        columns = max(int(keep.any(axis=0).sum()), 1) if w.shape[1] else 0
        out = np.concatenate([host[:n] * keep[0], host[n:] * keep[1]])[:, :columns]
        return like(out, w)

    def singular_values(self, w: Array) -> np.ndarray:
        """Return the absolute eigenvalues of X, descending, without the zeros."""
        squares = np.sort(self._squares(w), axis=None)[::-1]
        return squares[squares > 0]

    def factors(self, w: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
        """Return ([U1, U2], [U1, -U2]) without zero columns, by falling eigenvalue size."""
        left, right = self.parts(w, shape)
        squares = self._squares(w).ravel()
        order = np.argsort(-squares, kind="stable")
        order = order[squares[order] > 0]
        xp = namespace(w)
        index = like(order, w)
        return xp.take(left, index, axis=1), xp.take(right, index, axis=1)

    def fixed(self, w: Array) -> tuple[Signature, Array]:
        """Return the signature of a W, and W without its zero halves for it."""
        n = int(w.shape[0]) // 2
        left, right = self.factors(w, (n, n))
        xp = namespace(w)
        signs = to_numpy(xp.sum(left * right, axis=0)) > 0
        return Signature(tuple(1 if sign else -1 for sign in signs)), left


@dataclass(frozen=True)
class Signature(Factorization):
    """Take W = U, shape (n, k), for X = sum_c s_c u_c u_c^T with fixed signs s_c.

    At a fixed rank the signs have to be fixed too: in ``Signed`` every column of W may grow a
    second eigenvalue of the other sign.

    Examples
    --------
    >>> import numpy as np
    >>> Signature((1, -1)).compose(np.diag([2.0, 1.0]), (2, 2)).toarray()
    array([[ 4.,  0.],
           [ 0., -1.]])
    """

    signs: tuple[int, ...] = (1,)

    columnwise = False

    def size(self, shape: tuple[int, int], rank: int = 1) -> int:
        """Return n; the matrix must be square."""
        return square_size(shape)

    def _signed(self, w: Array) -> Array:
        return w * like(np.array(self.signs, dtype=to_numpy(w[:0, :]).dtype), w)

    def parts(self, w: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
        """Return (U, U diag(s))."""
        return w, self._signed(w)

    def pullback(
        self, w: Array, out_left: Array, out_right: Array, shape: tuple[int, int]
    ) -> Array:
        """Return (S + S^T) U diag(s)."""
        return out_left + self._signed(out_right)

    def join(self, left: Array, right: Array) -> Array:
        """Return the eigenvectors of sym L R^T of the fixed signs, largest first, scaled."""
        signed = Signed().join(left, right)
        n, k = int(left.shape[0]), len(self.signs)
        halves = {1: pad_columns(signed[:n, :], k), -1: pad_columns(signed[n:, :], k)}
        taken, columns = {1: 0, -1: 0}, []
        for sign in self.signs:
            columns.append(halves[sign][:, taken[sign] : taken[sign] + 1])
            taken[sign] += 1
        return namespace(left).concat(columns, axis=1)

    def gauge(self, w: Array, shape: tuple[int, int]) -> Array:
        """Return the scaled eigenvectors of X, which has at most as many of either sign."""
        return self.join(*self.parts(w, shape))

    def degrees_of_freedom(self, shape: tuple[int, int], rank: int) -> int:
        """Return n r - r (r - 1) / 2."""
        return shape[0] * rank - rank * (rank - 1) // 2
