"""Numba kernels over sampled entries in compressed-row order.

Each kernel handles the rows [start, stop) in one thread without the GIL; callers hand out row
chunks and add up the per-chunk buffers of column sums. ``reassociate`` lets the short dot products
vectorise; the order of summation is fixed at compile time, so results repeat exactly.
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
def product(indptr, cols, left, right, out, start, stop):  # pragma: no cover - compiled
    """out_t = <L_i, R_j> for every sampled entry t = (i, j)."""
    k = left.shape[1]
    for i in range(start, stop):
        for t in range(indptr[i], indptr[i + 1]):
            j = cols[t]
            total = 0.0
            for c in range(k):
                total += left[i, c] * right[j, c]
            out[t] = total


@numba.njit(**_JIT)
def residual_products(
    indptr, cols, left, right, b, residual, out_left, out_right, start, stop
):  # pragma: no cover - compiled
    """residual = A(L R^T) - b;  out_left += A*(residual) R;  out_right += A*(residual)^T L."""
    k = left.shape[1]
    for i in range(start, stop):
        for t in range(indptr[i], indptr[i + 1]):
            j = cols[t]
            total = -float(b[t])
            for c in range(k):
                total += left[i, c] * right[j, c]
            residual[t] = total
            for c in range(k):
                out_left[i, c] += total * right[j, c]
                out_right[j, c] += total * left[i, c]


@numba.njit(**_JIT)
def adjoint_products(
    indptr, cols, y, left, right, out_left, out_right, start, stop
):  # pragma: no cover - compiled
    """out_left += A*(y) R;  out_right += A*(y)^T L."""
    k = left.shape[1]
    for i in range(start, stop):
        for t in range(indptr[i], indptr[i + 1]):
            j = cols[t]
            value = y[t]
            for c in range(k):
                out_left[i, c] += value * right[j, c]
                out_right[j, c] += value * left[i, c]


@numba.njit(**_JIT)
def normal_products(
    indptr, cols, left, right, d_left, d_right, s, weight, out_left, out_right, start, stop
):  # pragma: no cover - compiled
    """Hessian product in one pass over the entries.

    With y = A(dL R^T + L dR^T): out_left += A*(y) R + weight A*(s) dR, and the transposed twin.
    """
    k = left.shape[1]
    for i in range(start, stop):
        for t in range(indptr[i], indptr[i + 1]):
            j = cols[t]
            total = 0.0
            for c in range(k):
                total += d_left[i, c] * right[j, c] + left[i, c] * d_right[j, c]
            if weight != 0.0:
                curvature = weight * s[t]
                for c in range(k):
                    out_left[i, c] += total * right[j, c] + curvature * d_right[j, c]
                    out_right[j, c] += total * left[i, c] + curvature * d_left[i, c]
            else:
                for c in range(k):
                    out_left[i, c] += total * right[j, c]
                    out_right[j, c] += total * left[i, c]


@numba.njit(**_JIT)
def gram_blocks(indptr, cols, weights, right, out, start, stop):  # pragma: no cover - compiled
    """out_i = sum over the samples (i, j) of w_t R_j R_j^T, one k x k block a row."""
    k = right.shape[1]
    for i in range(start, stop):
        for t in range(indptr[i], indptr[i + 1]):
            j = cols[t]
            w = weights[t] if weights.shape[0] > 1 else weights[0]
            for a in range(k):
                value = w * right[j, a]
                for c in range(a + 1):
                    out[i, a, c] += value * right[j, c]
        for a in range(k):
            for c in range(a):
                out[i, c, a] = out[i, a, c]


@numba.njit(**_JIT)
def factor_blocks(blocks, shift, start, stop):  # pragma: no cover - compiled
    """Replace each block by the Cholesky factor (lower) of block + shift I, in place.

    A pivot at rounding level is replaced by a huge one: that direction is then left alone.
    """
    k = blocks.shape[1]
    for i in range(start, stop):
        scale = 0.0
        for a in range(k):
            blocks[i, a, a] += shift
            scale = max(scale, blocks[i, a, a])
        floor = 1e-14 * scale
        for a in range(k):
            for c in range(a + 1):
                total = blocks[i, a, c]
                for d in range(c):
                    total -= blocks[i, a, d] * blocks[i, c, d]
                if a == c:
                    blocks[i, a, a] = np.sqrt(total) if total > floor else 1e150
                else:
                    blocks[i, a, c] = total / blocks[i, c, c]


@numba.njit(**_JIT)
def solve_blocks(factors, x, lower, upper, start, stop):  # pragma: no cover - compiled
    """Solve C_i z_i = x_i (lower), C_i^T z_i = x_i (upper) or both, in place, row by row."""
    k = x.shape[1]
    for i in range(start, stop):
        if lower:
            for a in range(k):
                total = x[i, a]
                for c in range(a):
                    total -= factors[i, a, c] * x[i, c]
                x[i, a] = total / factors[i, a, a]
        if upper:
            for a in range(k - 1, -1, -1):
                value = x[i, a] / factors[i, a, a]
                x[i, a] = value
                for c in range(a):
                    x[i, c] -= factors[i, a, c] * value


@numba.njit(**_JIT)
def sparse_matmul(indptr, cols, y, x, out, start, stop):  # pragma: no cover - compiled
    """out_i += sum_t y_t x_j: the rows of a sparse matrix times a dense one."""
    k = x.shape[1]
    for i in range(start, stop):
        for t in range(indptr[i], indptr[i + 1]):
            j = cols[t]
            for c in range(k):
                out[i, c] += y[t] * x[j, c]
