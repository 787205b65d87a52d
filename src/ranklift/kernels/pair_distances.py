"""Numba kernels over pairs of points: differences, their Laplacian, and its diagonal blocks.

Pairs are listed once for ``product``; the others walk every point's pairs in compressed-row order,
so that no two threads write to one point. ``order`` numbers the pairs: t and t + m are pair t
seen from its two ends, 2 m and beyond the diagonal, where nothing is to be done.
"""

from __future__ import annotations

import numba

from .sampled_entries import _JIT


@numba.njit(**_JIT)
def product(rows, cols, left, right, out, start, stop):  # pragma: no cover - compiled
    """out_t = <L_i - L_j, R_i - R_j> for the pairs t = (i, j) from start to stop."""
    k = left.shape[1]
    for t in range(start, stop):
        i, j = rows[t], cols[t]
        total = 0.0
        for c in range(k):
            total += (left[i, c] - left[j, c]) * (right[i, c] - right[j, c])
        out[t] = total


@numba.njit(**_JIT)
def laplacian(indptr, cross, order, y, x, out, start, stop):  # pragma: no cover - compiled
    """out_i += sum over the pairs (i, j) of y_ij (x_i - x_j), for the points start to stop."""
    k, m = x.shape[1], y.shape[0]
    for i in range(start, stop):
        for e in range(indptr[i], indptr[i + 1]):
            t = order[e]
            if t >= 2 * m:
                continue
            weight, j = y[t if t < m else t - m], cross[e]
            for c in range(k):
                out[i, c] += weight * (x[i, c] - x[j, c])


@numba.njit(**_JIT)
def gram_blocks(indptr, cross, order, weights, x, out, start, stop):  # pragma: no cover - compiled
    """out_i += sum over the pairs (i, j) of w_ij (x_i - x_j) (x_i - x_j)^T."""
    k, m = x.shape[1], weights.shape[0]
    for i in range(start, stop):
        for e in range(indptr[i], indptr[i + 1]):
            t = order[e]
            if t >= 2 * m:
                continue
            weight, j = weights[t if t < m else t - m], cross[e]
            for a in range(k):
                scaled = weight * (x[i, a] - x[j, a])
                for c in range(k):
                    out[i, a, c] += scaled * (x[i, c] - x[j, c])
