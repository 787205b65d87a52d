"""Conjugate gradients with curvature control, and orthonormal bases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .arrays import Array, inner, namespace

Map = Callable[[Array], Array]


@dataclass(frozen=True)
class CGResult:
    """What a truncated conjugate-gradient run found.

    Attributes
    ----------
    step : array
        The approximate minimiser of 1/2 <d, H d> + <g, d> within the radius.
    iterations : int
    predicted_decrease : float
        Decrease of the quadratic model at ``step``, at least 0.
    length : float
        Norm of the step in the preconditioner's inner product: what the radius limits.
    on_boundary : bool
        Whether the radius cut the step.
    negative_direction : array or None
        A direction with <d, H d> <= 0, if one was met.
    """

    step: Array
    iterations: int
    predicted_decrease: float
    length: float
    on_boundary: bool
    negative_direction: Array | None


def conjugate_gradients(
    hessian: Map,
    gradient: Array,
    *,
    preconditioner: Map | None = None,
    rtol: float = 1e-2,
    max_iterations: int = 200,
    radius: float = float("inf"),
) -> CGResult:
    """Minimise the quadratic model by Steihaug's truncated conjugate gradients.

    m(d) = <g, d> + 1/2 <d, H d>, ||d||_P <= radius, from d = 0 in the norm of the preconditioner P.

    Parameters
    ----------
    hessian, preconditioner : callables
        d -> H d and d -> P^{-1} d, both symmetric; P positive definite.
    gradient : array
        g, any shape.
    rtol : float
        Stop when the P^{-1}-norm of the residual fell by this factor.
    max_iterations : int
        One Hessian product each.
    radius : float
        Trust radius; infinite for plain conjugate gradients.

    Notes
    -----
    Source: Steihaug (1983); Nocedal and Wright, Numerical Optimization, algorithm 7.2. A kernel of
    H that is orthogonal to g (the gauge directions) is never entered.
    """
    xp = namespace(gradient)
    solve = preconditioner if preconditioner is not None else (lambda x: x)
    step = xp.zeros_like(gradient)
    residual = gradient
    z = solve(residual)
    direction = -z
    rz = inner(residual, z)
    if rz <= 0:
        return CGResult(step, 0, 0.0, 0.0, False, None)
    target = rtol * rtol * rz
    # Inner products in the P-norm by the usual recurrences: P itself is never applied.
    step_sq, step_dir, dir_sq = 0.0, 0.0, rz
    model = 0.0
    for iteration in range(1, max_iterations + 1):
        h_direction = hessian(direction)
        curvature = inner(direction, h_direction)
        negative = curvature <= 0
        length = float("inf") if negative else rz / curvature
        next_sq = 0.0 if negative else step_sq + length * (2 * step_dir + length * dir_sq)
        if negative or next_sq >= radius * radius:
            if radius < float("inf"):
                root = np.sqrt(step_dir**2 + dir_sq * (radius**2 - step_sq))
                length = float((root - step_dir) / dir_sq)
            elif iteration == 1:
                # Negative curvature at once and no radius: the preconditioned gradient itself.
                length = 1.0
            else:
                length = 0.0
            model += -length * rz + 0.5 * length * length * curvature
            step = step + length * direction
            return CGResult(
                step, iteration, max(0.0, -model), radius, True, direction if negative else None
            )
        step = step + length * direction
        model -= 0.5 * length * rz
        step_sq = next_sq
        residual = residual + length * h_direction
        z = solve(residual)
        rz_next = inner(residual, z)
        if rz_next <= target:
            return CGResult(step, iteration, max(0.0, -model), step_sq**0.5, False, None)
        beta = rz_next / rz
        step_dir = beta * (step_dir + length * dir_sq)
        dir_sq = rz_next + beta * beta * dir_sq
        direction = -z + beta * direction
        rz = rz_next
    return CGResult(step, max_iterations, max(0.0, -model), step_sq**0.5, False, None)


def orthonormal(x: Array) -> Array:
    """Return an orthonormal basis of the columns' span (rank-deficient columns are dropped)."""
    xp = namespace(x)
    u, s, _ = xp.linalg.svd(x, full_matrices=False)
    if s.shape[0] == 0:
        return u
    keep = int(xp.sum(xp.astype(s > 1e-13 * xp.max(s), xp.int64)))
    return u[:, :keep]
