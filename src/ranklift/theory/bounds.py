"""Error bounds of positive semidefinite recovery, each with what it takes for granted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, isfinite, sqrt
from typing import Any

import numpy as np

from ..arrays import Array, inner
from ..errors import InputError, RankError, ShapeError
from ..factorizations import Symmetric
from ..operators import MeasurementOperator
from ..problem import FactorizedProblem
from ..spectral import FAILURE_PROBABILITY, largest_eigenvalue

MAX_STEPS = 1000
"""Most Lanczos steps for the least eigenvalue of G."""


@dataclass(frozen=True)
class Bound:
    """An upper bound of ||X - M||_F with its conditions.

    Attributes
    ----------
    value : float
        The bound, in units of X; infinite where the argument gives none.
    assumptions : tuple of str
        What is taken for granted. The bound says nothing where one of them is false.
    source : str
    reason : str
        Why the bound is infinite; empty where it is not.
    details : mapping of str to float
        The numbers that went in.
    """

    value: float
    assumptions: tuple[str, ...]
    source: str
    reason: str = ""
    details: Mapping[str, float] = field(default_factory=dict)

    @property
    def informative(self) -> bool:
        """Whether the bound is finite."""
        return isfinite(self.value)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; None for an infinite bound."""
        return {
            "value": self.value if self.informative else None,
            "assumptions": list(self.assumptions),
            "source": self.source,
            "reason": self.reason,
            "details": dict(self.details),
        }


def a_priori_error(
    transported_noise: float,
    delta: float,
    search_rank: int,
    true_rank: int,
    *,
    curvature: float = 0.0,
    truth_trace: float = 0.0,
) -> Bound:
    """Bound ||U U^T - M||_F at every near-second-order point, before anything is computed.

    rho = (1 + delta) sqrt(r*) / (2 sqrt(r - r*)), t = tau sqrt(r + r*), and for rho < 1 - delta

        [t + sqrt(t^2 + 2 (1 - delta - rho) eps_H tr M)] / (2 (1 - delta - rho)).

    Parameters
    ----------
    transported_noise : float
        tau >= ||sym A*(w)||_2, w the noise: in units of A*(b).
    delta : float
        (1 - delta) ||X||_F^2 <= ||A(X)||^2 on symmetric X of rank r + r*, and
        ||A(X)||^2 <= (1 + delta) ||X||_F^2 on rank 2, A as it is; below 1.
    search_rank, true_rank : int
        r, the columns of U, and r*, the rank of M; r > r* is needed for a finite bound.
    curvature : float, default 0
        eps_H: the Hessian of 1/2 ||A(U U^T) - b||^2 is at least -eps_H, in units of A*(b).
    truth_trace : float, default 0
        tr M or more; used with ``curvature`` only.

    Returns
    -------
    Bound
        Infinite for r <= r* or rho >= 1 - delta, which says that this argument does not reach the
        case, not that the search fails there.

    Raises
    ------
    InputError, RankError
        For delta not below 1, negative levels, or ranks below 1.

    Notes
    -----
    Own derivation, proof in docs/theory.md; checked numerically. rho < 1 - delta means
    r > (1 + 1/4 (L/mu)^2) r*, L/mu = (1 + delta) / (1 - delta): more than the noiseless threshold's
    1/4 (L/mu - 1)^2 r* of ``search_rank_for_condition``.

    Examples
    --------
    >>> a_priori_error(1.0, 0.0, 5, 1).value  # rho = 1/4: sqrt(6) / (3/4)
    3.265986...
    >>> a_priori_error(1.0, 0.5, 3, 1).informative, a_priori_error(1.0, 0.5, 4, 1).informative
    (False, True)
    """
    _check(delta, search_rank, true_rank)
    for name, value in (
        ("transported_noise", transported_noise),
        ("curvature", curvature),
        ("truth_trace", truth_trace),
    ):
        _check_level(name, value)
    assumptions = (
        f"(1 - {delta:g}) ||X||^2 <= ||A(X)||^2 on symmetric X of rank {search_rank + true_rank}",
        f"||A(X)||^2 <= (1 + {delta:g}) ||X||^2 on symmetric X of rank 2",
        f"||sym A*(noise)||_2 <= {transported_noise:g}",
        f"M is positive semidefinite of rank at most {true_rank}",
        "the gradient at U is zero",
        f"the least eigenvalue of the Hessian at U is at least -{curvature:g}",
    )
    if curvature > 0:
        assumptions += (f"tr M <= {truth_trace:g}",)
    source = "own derivation (docs/theory.md), checked numerically"
    spare = search_rank - true_rank
    rho = (1 + delta) * sqrt(true_rank) / (2 * sqrt(spare)) if spare > 0 else inf
    details = {"rho": rho, "delta": delta, "transported_noise": transported_noise}
    if spare <= 0:
        reason = f"search rank {search_rank} is not above the true rank {true_rank}"
        return Bound(inf, assumptions, source, reason, details)
    margin = 1 - delta - rho
    if margin <= 0:
        reason = f"rho = {rho:.3g} is not below 1 - delta = {1 - delta:.3g}: raise the search rank"
        return Bound(inf, assumptions, source, reason, details)
    linear = transported_noise * sqrt(search_rank + true_rank)
    value = _root(margin, linear, 0.5 * curvature * truth_trace)
    return Bound(value, assumptions, source, "", details)


def a_posteriori_error(
    h: float,
    nu: float,
    trace: float,
    transported_noise: float,
    delta: float,
    search_rank: int,
    true_rank: int,
) -> Bound:
    """Bound ||U U^T - M||_F from what was measured at U, stationary or not (C3).

    a = (tau + nu) sqrt(r + r*), c = max(0, h) + nu tr(U U^T):

        ||U U^T - M||_F <= [a + sqrt(a^2 + 4 (1 - delta) c)] / (2 (1 - delta)).

    Parameters
    ----------
    h : float
        <G, U U^T>, G = sym A*(A(U U^T) - b): half of <gradient, U>.
    nu : float
        max(0, -lambda_min(G)) or more, in units of A*(b).
    trace : float
        tr(U U^T) = ||U||_F^2.
    transported_noise : float
        tau >= ||sym A*(w)||_2, w the noise: in units of A*(b).
    delta : float
        (1 - delta) ||X||_F^2 <= ||A(X)||^2 on symmetric X of rank r + r*, A as it is. Only this
        lower side is used. An assumption, unless ``symmetric_isometry`` could measure it.
    search_rank, true_rank : int
        Ranks of U U^T and M, or more.

    Raises
    ------
    InputError, RankError
        For delta not below 1, numbers that are negative or not finite, or ranks below 1.

    Notes
    -----
    Own derivation, proof in docs/theory.md; checked numerically. Constant work.

    Examples
    --------
    >>> a_posteriori_error(0.0, 0.0, 1.0, 0.1, 0.5, 3, 1).value  # tau sqrt(r + r*) / (1 - delta)
    0.4
    """
    _check(delta, search_rank, true_rank)
    if not isfinite(h):
        raise InputError(f"h = {h}", "pass a finite number")
    for name, value in (("nu", nu), ("trace", trace), ("transported_noise", transported_noise)):
        _check_level(name, value)
    value = _root(
        1 - delta,
        (transported_noise + nu) * sqrt(search_rank + true_rank),
        max(0.0, h) + nu * trace,
    )
    assumptions = (
        f"(1 - {delta:g}) ||X||^2 <= ||A(X)||^2 on symmetric X of rank {search_rank + true_rank}",
        f"||sym A*(noise)||_2 <= {transported_noise:g}",
        f"M is positive semidefinite of rank at most {true_rank}",
        f"lambda_min(G) >= -{nu:g}",
    )
    details = {"h": h, "nu": nu, "trace": trace, "delta": delta}
    details["transported_noise"] = transported_noise
    return Bound(value, assumptions, "own derivation (docs/theory.md)", "", details)


def a_posteriori_error_of(
    operator: MeasurementOperator,
    b: Array,
    factors: Array,
    *,
    delta: float,
    true_rank: int,
    noise_level: float,
    rng: np.random.Generator | int | None = None,
) -> Bound:
    """Measure h and nu at U and return ``a_posteriori_error``.

    Parameters
    ----------
    operator : MeasurementOperator
        On real n x n matrices.
    b : array, shape (m,)
    factors : array, shape (n, k)
        U; search_rank is k.
    delta, true_rank
        As for ``a_posteriori_error``.
    noise_level : float
        tau >= ||sym A*(w)||_2, in units of A*(b); not the standard deviation of w.
    rng : Generator or int, optional
        Draws the Lanczos start.

    Raises
    ------
    InputError, ShapeError, RankError
        For complex unknowns, factors that do not fit, and as for ``a_posteriori_error``.

    Notes
    -----
    One application, one adjoint and at most 1,000 products with G; memory n times as many
    numbers. nu is the upper bound of ``spectral.largest_eigenvalue``: wrong with probability 1e-10
    at most over its random start.

    Examples
    --------
    >>> from ranklift.instances import rip_half
    >>> instance = rip_half(2)
    >>> U = instance.truth.left
    >>> bound = a_posteriori_error_of(
    ...     instance.operator, instance.measurements, U, delta=0.5, true_rank=1, noise_level=0.0)
    >>> bound.value < 1e-6
    True
    """
    if operator.hermitian:
        raise InputError("an operator on complex Hermitian matrices", "pass one on real matrices")
    if operator.shape[0] != operator.shape[1]:
        raise ShapeError(f"an operator on {operator.shape}", "pass one on square matrices")
    if getattr(factors, "ndim", 0) != 2 or factors.shape[0] != operator.shape[0]:
        raise ShapeError(
            f"factors of shape {getattr(factors, 'shape', None)} for n = {operator.shape[0]}",
            "pass U as an (n, k) array",
        )
    problem = FactorizedProblem(operator, b, Symmetric())
    slope = problem.slope(factors)
    form = problem.factorization.dual(problem.transported(slope), problem.shape)
    assert form is not None
    found = largest_eigenvalue(
        lambda x: -(form @ x), form.shape[0], np.random.default_rng(rng), max_steps=MAX_STEPS
    )
    if not isfinite(found.upper):  # only where memory leaves a handful of steps
        raise InputError("Lanczos could not bound lambda_min(G)", "use psd_gap or a smaller n")
    bound = a_posteriori_error(
        float(inner(slope, problem.predict(factors))),
        max(0.0, found.upper),
        float(inner(factors, factors)),
        noise_level,
        delta,
        max(1, int(factors.shape[1])),
        true_rank,
    )
    missed = f"Lanczos start misleads with probability at most {FAILURE_PROBABILITY:g}"
    return Bound(
        bound.value, (*bound.assumptions, missed), bound.source, bound.reason, bound.details
    )


def _root(quadratic: float, linear: float, constant: float) -> float:
    """Return the largest e with quadratic e^2 <= linear e + constant."""
    return (linear + sqrt(linear * linear + 4 * quadratic * constant)) / (2 * quadratic)


def _check(delta: float, search_rank: int, true_rank: int) -> None:
    if not (isfinite(delta) and delta < 1):
        raise InputError(f"delta = {delta} is not below 1", "pass an isometry constant below 1")
    if search_rank < 1 or true_rank < 1:
        raise RankError(f"ranks {search_rank} and {true_rank}", "pass ranks of at least 1")


def _check_level(name: str, value: float) -> None:
    if not (isfinite(value) and value >= 0):
        raise InputError(f"{name} = {value}", "pass a finite number of at least 0")
