"""Complex Hermitian positive semidefinite factorization X = U U^H."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import Array, conj, is_complex, matmul, namespace, to_numpy
from ..linalg import orthonormal
from .base import DualMatrix, Factorization
from .symmetric import orthogonal_columns, square_size


class Hermitian(Factorization):
    """Stack W = [Re U; Im U], real of shape (2n, k), for the complex X = U U^H.

    Points of the search stay real arrays, so solvers and certificates need no complex twin; only
    the operator sees L = U and R = conj(U). A Hermitian S acts on columns of W as the real
    symmetric [[Re S, -Im S], [Im S, Re S]], which has the eigenvalues of S, each twice.

    Examples
    --------
    >>> import numpy as np
    >>> Hermitian().compose(np.array([[1.0], [0.0], [0.0], [2.0]]), (2, 2)).toarray()
    array([[1.+0.j, 0.-2.j],
           [0.+2.j, 4.+0.j]])
    """

    definite = True

    def size(self, shape: tuple[int, int], rank: int = 1) -> int:
        """Return 2n; the matrix must be square."""
        return 2 * square_size(shape)

    def parts(self, w: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
        """Return (U, conj(U))."""
        n = shape[0]
        real, imaginary = w[:n, ...], w[n:, ...]
        return real + 1j * imaginary, real - 1j * imaginary

    def pullback(
        self, w: Array, out_left: Array, out_right: Array, shape: tuple[int, int]
    ) -> Array:
        """Return the real and imaginary parts of out_L + conj(out_R)."""
        return split(out_left + conj(out_right))

    def join(self, left: Array, right: Array) -> Array:
        """Return the mean of L and conj(R): exact when they agree."""
        return split(0.5 * (left + conj(right)))

    def gauge(self, w: Array, shape: tuple[int, int]) -> Array:
        """Return U Q with complex-orthogonal columns of falling norm."""
        return split(orthogonal_columns(self.parts(w, shape)[0]))

    def degrees_of_freedom(self, shape: tuple[int, int], rank: int) -> int:
        """Return 2 n r - r^2, real."""
        return 2 * shape[0] * rank - rank * rank

    def dual(self, transported: Any, shape: tuple[int, int]) -> DualMatrix:
        """Return the real form of the Hermitian S."""
        n = shape[0]

        def product(x: np.ndarray) -> np.ndarray:
            return split(to_numpy(matmul(transported, x[:n] + 1j * x[n:])))

        return DualMatrix(2 * n, product)

    def span(self, w: Array) -> np.ndarray:
        """Return an orthonormal basis of all complex multiples of U's columns: [W, i W]."""
        host = to_numpy(w)
        n = host.shape[0] // 2
        turned = np.concatenate([-host[n:], host[:n]])
        return orthonormal(np.concatenate([host, turned], axis=1))


def split(u: Array) -> Array:
    """Return [Re U; Im U]."""
    xp = namespace(u)
    if not is_complex(u):
        return xp.concat([u, xp.zeros_like(u)], axis=0)
    return xp.concat([xp.real(u), xp.imag(u)], axis=0)
