"""Trace and scaled trace of the Hessian: exact from second moments, or estimated by probes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..arrays import Array, inner, like, to_numpy
from ..curvature_weights import second_moment, symmetric_moment
from ..errors import InputError, TooLargeError
from ..factorizations import Asymmetric, Deep, Factorization, Hermitian, Signature, Signed
from ..operators import MeasurementOperator
from ..problem import FactorizedProblem
from .point import host, pose_factors, scale_of

if TYPE_CHECKING:
    from ..lowrank import LowRank
    from ..result import Recovery

METHODS = ("auto", "exact", "hutchinson")


class HessianTrace(float):
    """A trace, with the standard error of an estimate (0 where it is exact).

    Attributes
    ----------
    standard_error : float
    """

    standard_error: float

    def __new__(cls, value: float, standard_error: float = 0.0) -> HessianTrace:
        """Make a float that knows its standard error."""
        trace = super().__new__(cls, value)
        trace.standard_error = standard_error
        return trace


def trace_of_hessian(
    operator: MeasurementOperator,
    b: Array | None,
    factors: Recovery | LowRank | tuple[Array, Array] | Array,
    *,
    factorization: Factorization | None = None,
    scaling: str = "mean",
    method: str = "auto",
    probes: int = 200,
    rng: np.random.Generator | int | None = 0,
) -> HessianTrace:
    r"""Return the trace of the Hessian of the loss at given factors, fitted or not.

    ``(2/m) sum_j (||A_j R||^2 + ||A_j^T L||^2)`` for X = L R^T and f = (1/m) ||A(X) - b||^2.

    Parameters
    ----------
    operator : MeasurementOperator
    b : array, shape (m,), or None
        None: a point that fits. X = L R^T and products of more layers are linear in each, so that b
        does not matter there; quadratic ones have a residual term.
    factors : Recovery, LowRank, (L, R), or array
        An array is U of X = U U^T (U U^H), or W of the factorization given.
    factorization : Factorization, optional
        Deep, Signed, Signature, ...; by default from the factors.
    scaling : "mean" or "half", default "mean"
        f = (1/m) ||A(X) - b||^2, as in the literature of flat minima, or 1/2 ||A(X) - b||^2, as
        everywhere else in this library.
    method : "auto", "exact" or "hutchinson"
        "auto" is exact where the operator has second moments or is small enough to be written out,
        else an estimate.
    probes : int, default 200
        Hessian products of an estimate.
    rng : Generator or int, default 0
        Draws the probes.

    Returns
    -------
    HessianTrace
        A float with ``standard_error``.

    Raises
    ------
    InputError, ShapeError, TooLargeError
        An unknown scaling or method, factors that do not fit, method="exact" of a large operator
        without moments.

    Notes
    -----
    ====================== =========================================================
    X                      trace of the Hessian of 1/2 ||A(X) - b||^2, r = A(X) - b
    ====================== =========================================================
    L R^T                  <R, M2 R> + <L, M1 L>, M1 = sum A_j A_j^T, M2 = sum A_j^T A_j
    U diag(s) U^T          4 <U, M U> + 2 (sum s) tr A*(r), M = sum (sym A_j)^2
    U U^H                  4 <U, M1 U> + 4 k tr A*(r)
    W_L ... W_1            sum_l <P_l, M1(Q_l) P_l>, M1(Q) = sum A_j Q Q^T A_j^T
    ====================== =========================================================

    with P_l the layers above W_l and Q_l^T those below. Source: Ding, Drusvyatskiy, Fazel,
    Harchaoui (arXiv 2203.03756) for X = L R^T and U1 U1^T - U2 U2^T, the rest own derivation.
    Estimates: Hutchinson (1989) with random signs.
    Cost: exact, that of the moments; an estimate, one Hessian product a probe.

    Examples
    --------
    >>> import numpy as np
    >>> from ranklift.operators import EntrySampling
    >>> A = EntrySampling([0, 1], [0, 1], (2, 2))
    >>> L, R = np.array([[1.0], [2.0]]), np.array([[3.0], [1.0]])
    >>> trace_of_hessian(A, None, (L, R))  # (2/2) (3^2 + 1^2 + 1^2 + 2^2)
    15.0
    """
    problem, w = pose_factors(operator, b, factors, factorization)
    return _trace(problem, w, scaling, method, probes, rng, scaled=False)


def scaled_trace(
    operator: MeasurementOperator,
    b: Array | None,
    factors: Recovery | LowRank | tuple[Array, Array] | Array,
    *,
    factorization: Factorization | None = None,
    scaling: str = "mean",
    method: str = "auto",
    probes: int = 200,
    rng: np.random.Generator | int | None = 0,
) -> HessianTrace:
    """Return (1/n1) tr(L block) + (1/n2) tr(R block) of the Hessian: what flat solutions minimise.

    2 ||D1 L||^2 + 2 ||D2 R||^2 with the curvature weights D1, D2; its least value over all factors
    of one X is 4 ||D1 X D2||_*. For factors of one kind (U U^T, U U^H, signed) the trace over n.

    Parameters
    ----------
    operator, b, factors, factorization, scaling, method, probes, rng
        As for ``trace_of_hessian``.

    Raises
    ------
    InputError
        For deep factorizations, whose inner layers have no such scale; and as
        ``trace_of_hessian``.

    Notes
    -----
    Source: Ding, Drusvyatskiy, Fazel, Harchaoui (arXiv 2203.03756).

    Examples
    --------
    >>> import numpy as np
    >>> from ranklift.operators import IdentitySensing
    >>> X = np.diag([3.0, 1.0])  # ||X||_* = 4; D1 = D2 = I / 2
    >>> scaled_trace(IdentitySensing((2, 2)), None, (X, np.eye(2)))  # 2 * 10 / 4 + 2 * 2 / 4
    6.0
    """
    problem, w = pose_factors(operator, b, factors, factorization)
    if isinstance(problem.factorization, Deep):
        raise InputError(
            "the scaled trace of a deep factorization", "use trace_of_hessian: depth has no n1, n2"
        )
    return _trace(problem, w, scaling, method, probes, rng, scaled=True)


def _trace(
    problem: FactorizedProblem, w: Array, scaling: str, method: str, probes: int, rng: object,
    *, scaled: bool,
) -> HessianTrace:  # fmt: skip
    unit = scale_of(problem, scaling)
    if method not in METHODS:
        raise InputError(f"method={method!r}", f"use one of {METHODS}")
    if method != "hutchinson":
        try:
            return HessianTrace(unit * exact_trace(problem, w, scaled=scaled))
        except TooLargeError:
            if method == "exact":
                raise
    if probes < 2:
        raise InputError(f"{probes} probes", "pass at least 2: one has no standard error")
    generator = np.random.default_rng(rng)  # type: ignore[arg-type]
    return _hutchinson(problem, w, unit, probes, generator, scaled)


def exact_trace(problem: FactorizedProblem, w: Array, *, scaled: bool = False) -> float:
    """Return the trace for 1/2 ||A(X) - b||^2 at W; scaled: row blocks over n1 and n2."""
    operator, factorization, (n1, n2) = problem.operator, problem.factorization, problem.shape
    if isinstance(factorization, Deep):
        return _deep_trace(operator, factorization, w)
    left, right = (host(part) for part in problem.parts(w))
    if isinstance(factorization, Asymmetric):
        blocks = (
            _form(second_moment(operator, "right"), right),
            _form(second_moment(operator, "left"), left),
        )
        return blocks[0] / n1 + blocks[1] / n2 if scaled else blocks[0] + blocks[1]
    if isinstance(factorization, Hermitian):
        value = 4.0 * _form(second_moment(operator, "left"), left)
    else:
        value = 4.0 * _form(symmetric_moment(operator), left)
    value += _bend(factorization, int(w.shape[1])) * _residual_trace(problem, w)
    return value / n1 if scaled else value


def _form(moment: np.ndarray, factor: np.ndarray) -> float:
    """Return <F, M F>, M a matrix or the diagonal of one."""
    turned = moment[:, None] * factor if moment.ndim == 1 else moment @ factor
    return float(np.real(np.vdot(factor, turned)))


def _bend(factorization: Factorization, columns: int) -> float:
    """Return t with tr of the Hessian of <S, X(W)> by W equal to t tr S."""
    if isinstance(factorization, Hermitian):
        return 4.0 * columns
    if isinstance(factorization, Signed):
        return 0.0  # as many columns of either sign
    if isinstance(factorization, Signature):
        return 2.0 * sum(factorization.signs)
    return 2.0 * columns


def _residual_trace(problem: FactorizedProblem, w: Array) -> float:
    """Return tr A*(r) = <r, A(I)>."""
    residual = problem.predict(w) - problem.b
    eye = like(np.eye(problem.shape[0], dtype=float), residual)
    return float(inner(residual, problem.operator.apply_product(eye, eye)))


def _deep_trace(operator: MeasurementOperator, factorization: Deep, w: Array) -> float:
    above, below = factorization.around(w, operator.shape)
    total = 0.0
    for over, under in zip(above, below, strict=True):
        factor = None if under is None else host(under)
        moment = second_moment(operator, "left", factor)
        if over is None:
            total += float(moment.sum() if moment.ndim == 1 else np.trace(moment))
        else:
            total += _form(moment, host(over))
    return total


def _hutchinson(
    problem: FactorizedProblem, w: Array, unit: float, probes: int, rng: np.random.Generator,
    scaled: bool,
) -> HessianTrace:  # fmt: skip
    """Return the mean of z^T H z over random signs z, blocks scaled by 1/sqrt(n1), 1/sqrt(n2)."""
    point, (n1, n2) = problem.evaluate(w), problem.shape
    rows = int(w.shape[0])
    scale = np.full(rows, 1.0)
    if scaled:
        scale[:] = n1**-0.5
        if isinstance(problem.factorization, Asymmetric):
            scale[n1:] = n2**-0.5
    values = np.empty(probes)
    for probe in range(probes):
        signs = rng.integers(0, 2, size=tuple(w.shape)) * 2.0 - 1.0
        z = like((scale[:, None] * signs).astype(to_numpy(w[:0, :]).dtype), w)
        values[probe] = float(inner(z, problem.hvp(point, z)))
    error = float(values.std(ddof=1)) / probes**0.5
    return HessianTrace(unit * float(values.mean()), unit * error)
