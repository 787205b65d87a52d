"""Numba kernels of the exact completion: one factor eliminated line by line.

The samples are grouped by the lines j of the longer (outer) axis; A belongs to the shorter (inner)
axis, B to the outer one, A_j are the rows of A sampled by line j. Every kernel handles the lines
[start, stop) in one thread without the GIL; what is scattered along the inner axis goes to a buffer
of the caller's, one a chunk.
"""

from __future__ import annotations

import numba
import numpy as np

_JIT = {
    "nogil": True,
    "cache": True,
    "fastmath": {"reassoc", "contract", "nsz"},
    "boundscheck": False,
}


@numba.njit(**_JIT)
def _inverse_gram(cross, first, last, a, shift, gram, inverse):  # pragma: no cover - compiled
    """inverse = (A_j^T A_j + shift I)^{-1}; directions without curvature are left out of it."""
    k = a.shape[1]
    for c in range(k):
        for d in range(c + 1):
            gram[c, d] = 0.0
    for t in range(first, last):
        i = cross[t]
        for c in range(k):
            value = a[i, c]
            for d in range(c + 1):
                gram[c, d] += value * a[i, d]
    largest = 0.0
    for c in range(k):
        gram[c, c] += shift
        largest = max(largest, gram[c, c])
    floor = 1e-15 * largest
    for c in range(k):
        for d in range(c + 1):
            total = gram[c, d]
            for e in range(d):
                total -= gram[c, e] * gram[d, e]
            if c == d:
                # A pivot at rounding level becomes a huge one: the inverse vanishes there.
                gram[c, c] = np.sqrt(total) if total > floor else 1e150
            else:
                gram[c, d] = total / gram[d, d]
    # The triangular inverse overwrites the factor's lower half, then inverse = T^T T.
    for d in range(k):
        for c in range(d, k):
            total = 1.0 if c == d else 0.0
            for e in range(d, c):
                total -= gram[c, e] * inverse[e, d]
            inverse[c, d] = total / gram[c, c]
    for c in range(k):
        for d in range(c + 1):
            total = 0.0
            for e in range(c, k):
                total += inverse[e, c] * inverse[e, d]
            gram[c, d] = total
    for c in range(k):
        for d in range(c + 1):
            inverse[c, d] = gram[c, d]
            inverse[d, c] = gram[c, d]


@numba.njit(**_JIT)
def prepare(
    indptr, cross, a, b, shift, inverse, blocks, start, stop
):  # pragma: no cover - compiled
    """inverse_j = (A_j^T A_j + shift I)^{-1}; blocks_i += (1 - A_i^T inverse_j A_i) B_j B_j^T."""
    k = a.shape[1]
    gram = np.empty((k, k))
    for j in range(start, stop):
        first, last = indptr[j], indptr[j + 1]
        _inverse_gram(cross, first, last, a, shift, gram, inverse[j])
        for t in range(first, last):
            i = cross[t]
            free = 1.0
            for c in range(k):
                total = 0.0
                for d in range(k):
                    total += inverse[j, c, d] * a[i, d]
                free -= total * a[i, c]
            if free > 0.0:
                for c in range(k):
                    value = free * b[j, c]
                    for d in range(k):
                        blocks[i, c, d] += value * b[j, d]


@numba.njit(**_JIT)
def eliminate(
    indptr, cross, data, a, b, z, inverse, y, residual, out, start, stop
):  # pragma: no cover - compiled
    """Y_j minimises ||data_j - Z_j B_j - A_j Y_j||^2 + shift ||Y_j||^2; out += A*(residual) B."""
    k = a.shape[1]
    g = np.empty(k)
    for j in range(start, stop):
        first, last = indptr[j], indptr[j + 1]
        g[:] = 0.0
        for t in range(first, last):
            i = cross[t]
            total = data[t]
            for c in range(k):
                total -= z[i, c] * b[j, c]
            residual[t] = total
            for c in range(k):
                g[c] += total * a[i, c]
        for c in range(k):
            total = 0.0
            for d in range(k):
                total += inverse[j, c, d] * g[d]
            y[j, c] = total
        for t in range(first, last):
            i = cross[t]
            total = residual[t]
            for c in range(k):
                total -= a[i, c] * y[j, c]
            residual[t] = total
            for c in range(k):
                out[i, c] += total * b[j, c]


@numba.njit(**_JIT)
def schur_product(indptr, cross, a, b, z, inverse, out, start, stop):  # pragma: no cover - compiled
    """out += sum_j (I - A_j inverse_j A_j^T) Z_j B_j B_j^T, scattered to the rows of line j."""
    k = a.shape[1]
    longest = 0
    for j in range(start, stop):
        longest = max(longest, indptr[j + 1] - indptr[j])
    values, g, y = np.empty(longest), np.empty(k), np.empty(k)
    for j in range(start, stop):
        first, last = indptr[j], indptr[j + 1]
        g[:] = 0.0
        for t in range(first, last):
            i = cross[t]
            total = 0.0
            for c in range(k):
                total += z[i, c] * b[j, c]
            values[t - first] = total
            for c in range(k):
                g[c] += total * a[i, c]
        for c in range(k):
            total = 0.0
            for d in range(k):
                total += inverse[j, c, d] * g[d]
            y[c] = total
        for t in range(first, last):
            i = cross[t]
            total = values[t - first]
            for c in range(k):
                total -= a[i, c] * y[c]
            for c in range(k):
                out[i, c] += total * b[j, c]


@numba.njit(**_JIT)
def least_squares(indptr, cross, data, a, b, residual, start, stop):  # pragma: no cover - compiled
    """B_j minimises ||data_j - A_j B_j||: normal equations, refined twice."""
    k = a.shape[1]
    gram, inverse, g = np.empty((k, k)), np.empty((k, k)), np.empty(k)
    for j in range(start, stop):
        first, last = indptr[j], indptr[j + 1]
        _inverse_gram(cross, first, last, a, 0.0, gram, inverse)
        b[j, :] = 0.0
        for t in range(first, last):
            residual[t] = data[t]
        for _ in range(3):
            g[:] = 0.0
            for t in range(first, last):
                i = cross[t]
                for c in range(k):
                    g[c] += residual[t] * a[i, c]
            for c in range(k):
                total = 0.0
                for d in range(k):
                    total += inverse[c, d] * g[d]
                b[j, c] += total
            for t in range(first, last):
                i = cross[t]
                total = data[t]
                for c in range(k):
                    total -= a[i, c] * b[j, c]
                residual[t] = total


@numba.njit(**_JIT)
def scatter_matmul(indptr, cross, y, x, out, start, stop):  # pragma: no cover - compiled
    """out_i += sum_t y_t x_j: the sparse matrix of the samples, inner axis first, times x."""
    k = x.shape[1]
    for j in range(start, stop):
        for t in range(indptr[j], indptr[j + 1]):
            i = cross[t]
            value = y[t]
            for c in range(k):
                out[i, c] += value * x[j, c]


@numba.njit(**_JIT)
def dense_schur(indptr, cross, a, b, inverse, out, start, stop):  # pragma: no cover - compiled
    """out += the matrix of ``schur_product``, (n k, n k), upper block triangle by row index."""
    k = a.shape[1]
    h = np.empty(k)
    for j in range(start, stop):
        first, last = indptr[j], indptr[j + 1]
        for t in range(first, last):
            i = cross[t]
            for c in range(k):
                total = 0.0
                for d in range(k):
                    total += inverse[j, c, d] * a[i, d]
                h[c] = total
            # Sorted indices: cross[u] <= cross[t] for u <= t, so this is the lower triangle.
            for u in range(first, t + 1):
                other = cross[u]
                value = 1.0 if u == t else 0.0
                for c in range(k):
                    value -= h[c] * a[other, c]
                for c in range(k):
                    scaled = value * b[j, c]
                    for d in range(k):
                        out[i * k + c, other * k + d] += scaled * b[j, d]
