"""Deep factorization X = W_L ... W_1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import Array, namespace, to_numpy
from ..errors import InputError
from ..lowrank import LowRank
from .base import Factorization, pad_columns


@dataclass(frozen=True)
class Deep(Factorization):
    """Stack the factors of X = W_L W_{L-1} ... W_1, all of inner width k, as one array.

    W = [W_L; W_1^T; W_{L-1}; ...; W_2], shape (n1 + n2 + (L - 2) k, k). X has degree L in W: this
    is the one factorization whose R = (W_{L-1} ... W_1)^T is not linear in W. The minimum of
    ||W||^2 at fixed X is L sum_i sigma_i^(2/L), no norm for L > 2: no convex certificate applies.

    Parameters
    ----------
    depth : int, default 3
        Number L of factors, at least 2.

    Examples
    --------
    >>> import numpy as np
    >>> Deep(3).compose(np.array([[2.0], [3.0], [5.0]]), (1, 1)).toarray()
    array([[30.]])
    """

    depth: int = 3

    columnwise = False

    def __post_init__(self) -> None:
        if self.depth < 2:
            raise InputError(f"depth {self.depth}", "pass a depth of at least 2")

    @property
    def degree(self) -> int:  # type: ignore[override]
        """Return the depth."""
        return self.depth

    def size(self, shape: tuple[int, int], rank: int = 1) -> int:
        """Return n1 + n2 + (L - 2) k."""
        return shape[0] + shape[1] + (self.depth - 2) * rank

    def _layers(self, w: Array, shape: tuple[int, int]) -> tuple[Array, Array, list[Array]]:
        """Return W_L, W_1^T and the transposed inner layers, from W_{L-1} down to W_2."""
        (n1, n2), k = shape, int(w.shape[1])
        inner = [w[n1 + n2 + i * k : n1 + n2 + (i + 1) * k, :].T for i in range(self.depth - 2)]
        return w[:n1, :], w[n1 : n1 + n2, :], inner

    def parts(self, w: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
        """Return (W_L, (W_{L-1} ... W_1)^T)."""
        left, right, inner = self._layers(w, shape)
        for layer in reversed(inner):
            right = right @ layer
        return left, right

    def _chain(self, first: Array, inner: list[Array]) -> list[Array]:
        """Return first, first V_2, first V_2 V_3, ...: the partial products towards R."""
        chain = [first]
        for layer in reversed(inner):
            chain.append(chain[-1] @ layer)
        return chain

    def around(
        self, w: Array, shape: tuple[int, int]
    ) -> tuple[list[Array | None], list[Array | None]]:
        """Return, for l = L, ..., 1, the layers above W_l and the transposed layers below.

        X = P_l W_l Q_l^T; None stands for the identity at the ends.
        """
        left, first, inner = self._layers(w, shape)
        below: list[Array | None] = [None, first]  # from the first layer up to W_L
        for layer in reversed(inner):
            below.append(below[-1] @ layer)  # type: ignore[operator]
        above: list[Array | None] = [None, left]  # from W_L down to the first layer
        for layer in inner:
            above.append(above[-1] @ layer.T)  # type: ignore[operator]
        return above[: self.depth], below[: self.depth][::-1]

    def pushforward(
        self, w: Array, direction: Array, shape: tuple[int, int]
    ) -> tuple[Array, Array]:
        """Return the product rule over all layers."""
        _, first, inner = self._layers(w, shape)
        d_left, d_right, d_inner = self._layers(direction, shape)
        partial = first
        for layer, d_layer in zip(reversed(inner), reversed(d_inner), strict=True):
            d_right = d_right @ layer + partial @ d_layer
            partial = partial @ layer
        return d_left, d_right

    def pullback(
        self, w: Array, out_left: Array, out_right: Array, shape: tuple[int, int]
    ) -> Array:
        """Carry the gradient of R back through the layers."""
        _, first, inner = self._layers(w, shape)
        partials = self._chain(first, inner)
        layers = list(reversed(inner))
        gradients: list[Array] = []
        back = out_right
        for index in range(len(layers) - 1, -1, -1):
            gradients.append((partials[index].T @ back).T)
            back = back @ layers[index].T
        return namespace(w).concat([out_left, back, *gradients], axis=0)

    def curvature(
        self,
        w: Array,
        direction: Array,
        out_left: Array,
        out_right: Array,
        shape: tuple[int, int],
    ) -> Array | None:
        """Differentiate ``pullback`` at fixed gradients by factor."""
        if self.depth == 2:
            return None
        xp = namespace(w)
        _, first, inner = self._layers(w, shape)
        _, d_first, d_inner = self._layers(direction, shape)
        layers, d_layers = list(reversed(inner)), list(reversed(d_inner))
        partials, d_partials = [first], [d_first]
        for layer, d_layer in zip(layers, d_layers, strict=True):
            d_partials.append(d_partials[-1] @ layer + partials[-1] @ d_layer)
            partials.append(partials[-1] @ layer)
        gradients: list[Array] = []
        back, d_back = out_right, xp.zeros_like(out_right)
        for index in range(len(layers) - 1, -1, -1):
            gradients.append((d_partials[index].T @ back + partials[index].T @ d_back).T)
            d_back = d_back @ layers[index].T + back @ d_layers[index].T
            back = back @ layers[index].T
        return xp.concat([xp.zeros_like(out_left), d_back, *gradients], axis=0)

    def increments(
        self, w: Array, direction: Array, shape: tuple[int, int]
    ) -> list[tuple[Array, Array]]:
        """Expand the product: the coefficients of R(t) by powers, then times W_L + t D_L."""
        left, first, inner = self._layers(w, shape)
        d_left, d_first, d_inner = self._layers(direction, shape)
        powers = [first, d_first]
        for layer, d_layer in zip(reversed(inner), reversed(d_inner), strict=True):
            following = [p @ layer for p in powers]
            shifted = [p @ d_layer for p in powers]
            powers = [
                following[0],
                *(a + b for a, b in zip(following[1:], shifted[:-1], strict=True)),
                shifted[-1],
            ]
        xp = namespace(w)
        terms = []
        for power in range(1, self.depth + 1):
            if power == self.depth:
                terms.append((d_left, powers[power - 1]))
            else:
                pair = xp.concat([powers[power - 1], powers[power]], axis=1)
                terms.append((xp.concat([d_left, left], axis=1), pair))
        return terms

    def join(self, left: Array, right: Array) -> Array:
        """Return the balanced layers of L R^T: every layer has the singular values s^(1/L)."""
        xp = namespace(left)
        k = int(left.shape[1])
        u, s, v = LowRank(left, right).svd()
        root = s ** (1.0 / self.depth)
        outer = [pad_columns(factor * root[None, :], k) for factor in (u, v)]
        padded = pad_columns(root[None, :], k)[0, :]
        middle = xp.eye(k, dtype=left.dtype) * padded[None, :]
        return xp.concat([*outer, *([middle] * (self.depth - 2))], axis=0)

    def gauge(self, w: Array, shape: tuple[int, int]) -> Array:
        """Return the balanced layers of the same X."""
        return self.join(*self.parts(w, shape))

    def degrees_of_freedom(self, shape: tuple[int, int], rank: int) -> int:
        """Return r (n1 + n2 - r)."""
        return rank * (shape[0] + shape[1] - rank)

    def singular_values(self, w: Array) -> np.ndarray:
        """Return the L-th powers of the layers' singular values, from a balanced W."""
        k = int(w.shape[1])
        if self.depth == 2:
            return np.linalg.norm(to_numpy(w), axis=0) ** 2 / 2
        # The last k rows are one inner layer, diag(sigma^(1/L)).
        return np.abs(np.diagonal(to_numpy(w)[-k:])) ** self.depth

    def truncate(self, w: Array, rank: int) -> Array:
        """Return W itself: the width belongs to the array's shape."""
        return w
