"""Restricted isometry from below: extremes of ||A(X)||^2 / ||X||_F^2 found by local search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from scipy.optimize import minimize

from ..arrays import to_numpy
from ..errors import InputError, RankError, ShapeError
from ..lowrank import LowRank
from ..operators import MeasurementOperator
from ..status import Rigor
from .isometry import best_scale, rescaled_delta


@dataclass(frozen=True)
class RipEstimate:
    """What a search over low-rank matrices found: an estimate, never a certificate.

    Attributes
    ----------
    lower, upper : float
        Quotients ||A(X)||^2 / ||X||_F^2 of the two witnesses: the true minimum is at most
        ``lower``, the true maximum at least ``upper``.
    rank : int
        Largest rank of X.
    symmetric : bool
        Whether X runs over symmetric matrices only.
    minimizer, maximizer : LowRank
        The witnesses, ||X||_F = 1.
    lower_values, upper_values : ndarray
        What every start ended at, best first: many equal best values speak for a global extreme,
        one alone does not.
    """

    rigor: ClassVar[Rigor] = Rigor.HEURISTIC

    lower: float
    upper: float
    rank: int
    symmetric: bool
    minimizer: LowRank = field(repr=False)
    maximizer: LowRank = field(repr=False)
    lower_values: np.ndarray = field(repr=False)
    upper_values: np.ndarray = field(repr=False)

    @property
    def delta(self) -> float:
        """Return (upper - lower) / (upper + lower): at most the constant of the best c A.

        1 when nothing is measured at all.
        """
        return rescaled_delta(self.lower, self.upper)

    @property
    def unscaled_delta(self) -> float:
        """Return max(1 - lower, upper - 1): at most the constant of A as it is."""
        return max(1.0 - self.lower, self.upper - 1.0)

    @property
    def scale(self) -> float:
        """Return c = sqrt(2 / (lower + upper)), by which A is multiplied in ``delta``."""
        return best_scale(self.lower, self.upper)


def estimate_rip(
    operator: MeasurementOperator,
    rank: int,
    *,
    starts: int = 8,
    rng: np.random.Generator | int | None = 0,
    symmetric: bool | None = None,
    max_iterations: int = 1000,
) -> RipEstimate:
    """Search for the extremes of ||A(X)||^2 / ||X||_F^2 over X of at most this rank.

    Each start runs L-BFGS on the quotient as a function of the factors of X = L R^T, or of
    X = U S U^T, S = diag(+-1), for symmetric X; every split of signs, up to X -> -X, is searched.
    A value found is attained by its witness, and a better one may exist: ``delta`` is a LOWER
    estimate of the restricted isometry constant. A small one proves nothing; a large one shows that
    theorems for a smaller constant do not apply.

    Parameters
    ----------
    operator : MeasurementOperator
        On real matrices, n1 x n2.
    rank : int
        Largest rank of X, 1..min(n1, n2). For a search at rank r and a truth of rank r*, theorems
        need r + r* or 2 r.
    starts : int, default 8
        Gaussian starts for each extreme (and each split of signs).
    rng : Generator or int, default 0
    symmetric : bool, optional
        Whether X is symmetric; by default where A sees the symmetric part only, since others then
        have A(X) = 0.
    max_iterations : int, default 1000
        Of one L-BFGS run.

    Raises
    ------
    InputError, RankError, ShapeError
        For complex unknowns, no start, a rank outside its range, or ``symmetric`` on rectangles.

    Notes
    -----
    One application and one adjoint an evaluation, 2 starts max_iterations of them at most (times
    rank // 2 + 1 where symmetric); memory O(m + (n1 + n2) rank). The sign split matters: with p
    positive and q negative signs X has at most p positive and q negative eigenvalues, and
    different splits are not connected through factors of full rank.

    Examples
    --------
    >>> from ranklift.instances import rip_half
    >>> found = estimate_rip(rip_half(2).operator, 1)
    >>> found.delta < 0.5  # the constant 1/2 is that of rank 2
    True
    >>> round(estimate_rip(rip_half(2).operator, 2).delta, 6)
    0.5
    """
    n1, n2 = operator.shape
    if operator.hermitian:
        raise InputError("an operator on complex Hermitian matrices", "pass one on real matrices")
    symmetric = operator.symmetric if symmetric is None else symmetric
    if symmetric and n1 != n2:
        raise ShapeError(f"symmetric matrices of shape {operator.shape}", "use symmetric=False")
    if not 1 <= rank <= min(n1, n2):
        raise RankError(f"rank {rank} in a {n1} x {n2} matrix", f"use 1..{min(n1, n2)}")
    if starts < 1:
        raise InputError(f"{starts} starts", "ask for at least one")
    generator = np.random.default_rng(rng)
    splits: list[np.ndarray | None] = [None]
    if symmetric:
        splits = [np.where(np.arange(rank) < q, -1.0, 1.0) for q in range(rank // 2 + 1)]
    ends: list[tuple[list[float], LowRank]] = []
    for sign in (1.0, -1.0):
        values, best = [], None
        for signs in splits:
            for _ in range(starts):
                quotient = _Quotient(operator, rank, signs, sign)
                x = quotient.search(generator, max_iterations)
                value = measured_quotient(operator, x)
                if best is None or sign * value < min(sign * v for v in values):
                    best = x
                values.append(value)
        assert best is not None
        ends.append((sorted(values, reverse=sign < 0), best))
    (low, minimizer), (high, maximizer) = ends
    return RipEstimate(
        low[0], high[0], rank, symmetric, minimizer, maximizer, np.array(low), np.array(high)
    )


def measured_quotient(operator: MeasurementOperator, x: LowRank) -> float:
    """Return ||A(X)||^2 / ||X||_F^2.

    Examples
    --------
    >>> from ranklift.operators import EntrySampling
    >>> x = LowRank(np.ones((2, 1)), np.ones((2, 1)))
    >>> round(measured_quotient(EntrySampling([0], [1], (2, 2)), x), 12)
    0.25
    """
    y = to_numpy(operator.apply(x))
    return float(y @ y) / x.norm() ** 2


@dataclass(frozen=True)
class _Quotient:
    """The quotient, or its negative, as a function of the stacked factors."""

    operator: MeasurementOperator
    rank: int
    signs: np.ndarray | None
    sign: float

    def factors(self, flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n1 = self.operator.shape[0]
        w = flat.reshape(-1, self.rank)
        return (w[:n1], w[n1:]) if self.signs is None else (w, w * self.signs)

    def search(self, rng: np.random.Generator, max_iterations: int) -> LowRank:
        """Return where L-BFGS from one Gaussian start ends, with norm 1."""
        n1, n2 = self.operator.shape
        rows = n1 + n2 if self.signs is None else n1
        start = rng.standard_normal(rows * self.rank) / np.sqrt(rows * self.rank)
        evaluate: Callable[[np.ndarray], tuple[float, np.ndarray]] = self.value_and_gradient
        found = minimize(
            evaluate,
            start,
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": max_iterations, "ftol": 1e-15, "gtol": 1e-9, "maxcor": 20},
        )
        x = LowRank(*self.factors(found.x))
        return LowRank(x.left / x.norm(), x.right)

    def value_and_gradient(self, flat: np.ndarray) -> tuple[float, np.ndarray]:
        """Return +-q and its gradient 2 (A*(A(X)) - q X) / ||X||^2, pulled back to the factors."""
        left, right = self.factors(flat)
        # <L R^T, L R^T>: Gram matrices are accurate here, nothing cancels.
        left_gram, right_gram = left.T @ left, right.T @ right
        size = float(np.vdot(left_gram, right_gram))
        y = to_numpy(self.operator.apply_product(left, right))
        value = float(y @ y) / size
        out_left, out_right = self.operator.adjoint_products(y, left, right)
        slope_left = to_numpy(out_left) - value * (left @ right_gram)
        slope_right = to_numpy(out_right) - value * (right @ left_gram)
        if self.signs is None:
            gradient = np.concatenate([slope_left, slope_right])
        else:
            gradient = slope_left + slope_right * self.signs
        return self.sign * value, self.sign * (2.0 / size) * gradient.ravel()
