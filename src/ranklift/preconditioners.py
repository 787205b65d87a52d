"""Preconditioners of the factorised Hessian: row blocks, and the stiff modes of the core.

Row blocks. The diagonal of J^T J by rows of W is k x k and cheap for sampled entries.

Core modes. At a solution of the nuclear-norm problem A*(s) maps V to lambda U, and along
dL = U N, dR = V N the ridge cancels: the Hessian is ||A(U (N S + S N^T) V^T)||^2 with S = diag of
the square roots of the singular values, tiny where sigma_i is small, while the row blocks see
lambda + p sigma_i. With A*A ~ p on the core it decouples by pairs (i, j): curvature
2 p (sigma_i + sigma_j) along (sqrt(sigma_j), sqrt(sigma_i)) and zero along the gauge. Adding the
inverse of that to the row blocks (a two-level additive preconditioner) removes the ill-conditioning
lambda / (p sigma_min). Own derivation.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .arrays import Array, is_numpy_array, like, namespace, norm, to_numpy
from .problem import FactorizedProblem, Point
from .threads import CHUNKS, SERIAL_WORK, run_chunks

Map = Callable[[Array], Array]

EXACT_BLOCKS = 12
"""Search rank up to which exact row blocks pay: beyond it their k^3 a row outweighs the CG steps
saved (measured: 1000 x 1000, 60,000 entries). Three times that without a ridge, where the blocks
are all there is."""

FADING = 1e-8
"""Share of the largest squared column length below which a core mode's curvature stays: along a
column that fades to zero the ridge no longer cancels, so that the formula would tend to zero where
the Hessian does not, and such columns alone would then decide when conjugate gradients stop."""


def preconditioner(problem: FactorizedProblem, point: Point, shift: float) -> Map | None:
    """Return an approximate inverse of the Hessian at a balanced W, or None without row blocks.

    Parameters
    ----------
    shift : float
        Added to the row blocks: ridge plus damping.

    Notes
    -----
    Building it costs k^2 a sample and k^3 a row; one use k^2 a row of W.
    """
    w, weights = point.w, problem.weights(point)
    if w.shape[1] > EXACT_BLOCKS * (1 if problem.ridge > 0 else 3):
        rows = mean_blocks(problem, w, shift, weights)
    else:
        rows = row_blocks(problem, w, shift, weights)
    if not problem.factorization.columnwise or w.shape[1] == 0:
        return rows
    gain = mean_gain(problem, w)
    if rows is None:
        rows = mean_columns(problem, w, shift, gain)
    core = core_modes(problem, w, gain) if problem.ridge > 0 else None
    if rows is None or core is None:
        return rows
    return lambda x: rows(x) + core(x)


def row_blocks(
    problem: FactorizedProblem, w: Array, shift: float, weights: Array | None = None
) -> Map | None:
    """Return d -> (blocks + shift I)^{-1} d, or None when the operator has no cheap blocks."""
    left, right = problem.parts(w)
    operator, isometry = problem.operator, problem.operator.isometry
    if isometry is not None:
        operator, left, right = isometry.base, isometry.embed(left), isometry.embed(right)
    rows = operator.gram_blocks(right, side="left", weights=weights)
    columns = operator.gram_blocks(left, side="right", weights=weights)
    if rows is None or columns is None:
        return None
    factorization, shape = problem.factorization, operator.shape
    blocks = factorization.stack_blocks(rows, columns)
    if blocks is None:
        return None
    solve = block_solver(blocks, shift)
    if isometry is None:
        return solve

    def between(x: Array) -> Array:
        # Q^T B^{-1} Q for (Q^T B Q)^{-1}: the spans differ by one direction a column.
        embedded = [isometry.embed(part) for part in factorization.parts(x, problem.shape)]
        inner = factorization.parts(solve(factorization.join(*embedded)), shape)
        return factorization.join(*(isometry.project(part) for part in inner))

    return between


def mean_blocks(
    problem: FactorizedProblem, w: Array, shift: float, weights: Array | None = None
) -> Map | None:
    """Return the row blocks with every sample replaced by the mean row of the other factor.

    At a balanced W the blocks become diagonal: p_i l_c^2 + shift with p_i the share of row i that
    is observed and l_c the column lengths. One block of k = 1 asks the operator for the p_i.
    """
    left, right = problem.parts(w)
    xp = namespace(w)
    flat_left = xp.ones_like(left[:, :1]) / np.sqrt(left.shape[0])
    flat_right = xp.ones_like(right[:, :1]) / np.sqrt(right.shape[0])
    rows = problem.operator.gram_blocks(flat_right, side="left", weights=weights)
    columns = problem.operator.gram_blocks(flat_left, side="right", weights=weights)
    if rows is None or columns is None:
        return None
    square_left = xp.sum(left * left, axis=0)[None, :]
    square_right = xp.sum(right * right, axis=0)[None, :]
    diagonal = problem.factorization.stack_blocks(
        rows[:, :, 0] * square_right, columns[:, :, 0] * square_left
    )
    if diagonal is None:
        return None
    inverse = 1.0 / (diagonal + shift)
    return lambda x: inverse * x


def mean_gain(problem: FactorizedProblem, w: Array) -> float:
    """Return ||A(X)||^2 / ||X||^2, 0 at X = 0: what A*A multiplies X by, on average."""
    size = problem.compose(w).norm()
    return (norm(problem.predict(w)) / size) ** 2 if size > 0 else 0.0


def mean_columns(problem: FactorizedProblem, w: Array, shift: float, gain: float) -> Map | None:
    """Return the Hessian's mean by columns of W, for operators without cheap row blocks.

    With A*A about gain times the identity the block of L is gain R^T R, at a balanced W the
    diagonal gain sigma_c: this removes the condition number of X from conjugate gradients, as
    scaled gradient descent does (Tong, Ma, Chi 2021).
    """
    if gain == 0.0 or shift <= 0.0:
        return None
    xp = namespace(w)
    sigma = 0.5 * problem.factorization.ridge_weight * xp.sum(w * w, axis=0)[None, :]
    inverse = 1.0 / (sigma * float(problem.factorization.ridge_weight * gain) + float(shift))
    return lambda x: inverse * x


def core_modes(problem: FactorizedProblem, w: Array, gain: float) -> Map | None:
    """Return the inverse of the Hessian on the modes dW = W S^{-1} N (see the module's text)."""
    if gain == 0.0:
        return None
    xp = namespace(w)
    lengths = xp.sqrt(xp.sum(w * w, axis=0))
    if bool(xp.any(lengths == 0)):
        return None
    basis = w / lengths[None, :]
    square = lengths * lengths
    pair = square[:, None] + square[None, :]
    pair = xp.maximum(pair, FADING * xp.max(square) * xp.ones_like(pair))
    # For dW = basis N the pair (N_ij, N_ji) has the Hessian c a a^T, a = (l_j, l_i): c = gain / 2
    # where a column of W holds both factors (l^2 = 2 sigma), 2 gain where it is U (l^2 = sigma).
    scale = (2.0 if problem.factorization.ridge_weight > 1 else 0.5) * gain * pair * pair

    def solve(x: Array) -> Array:
        n = basis.T @ x
        along = n * lengths[None, :] + n.T * lengths[:, None]
        return basis @ (along * lengths[None, :] / scale)

    return solve


def block_solver(blocks: Array, shift: float) -> Callable[[Array], Array]:
    """Return x -> z with (block_i + shift I) z_i = x_i for every row i."""
    if is_numpy_array(blocks):
        from .kernels import sampled_entries as kernels

        factors = np.array(blocks, order="C")
        rows = factors.shape[0]
        bounds = np.linspace(0, rows, 1 + (CHUNKS if factors.size > SERIAL_WORK else 1)).astype(int)
        chunks = len(bounds) - 1
        run_chunks(
            lambda c: kernels.factor_blocks(factors, shift, bounds[c], bounds[c + 1]), chunks
        )

        def solve(x: np.ndarray) -> np.ndarray:
            z = np.array(x, order="C")
            run_chunks(
                lambda c: kernels.solve_blocks(factors, z, True, True, bounds[c], bounds[c + 1]),
                chunks,
            )
            return z

        return solve
    # The array API standard has no batched triangular solve: invert the small blocks once, in
    # NumPy, with the same floor against singular ones.
    host = to_numpy(blocks)
    k = host.shape[1]
    largest = np.einsum("iaa->ia", host).max(axis=1, initial=0.0) + shift
    floor = np.where(largest > 0, 1e-14 * largest, 1.0)
    eye = np.eye(k)
    inverse = like(np.linalg.inv(host + (shift + floor)[:, None, None] * eye), blocks)
    xp = namespace(inverse)
    return lambda x: xp.sum(inverse * x[:, None, :], axis=2)
