"""What flatness is asked about: measurements and factors, however they come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..arrays import Array, conj, to_numpy
from ..errors import InputError, ShapeError
from ..factorizations import Asymmetric, Deep, Factorization, Hermitian, Signature, Symmetric
from ..operators import MeasurementOperator
from ..problem import FactorizedProblem
from ..validation import checked_measurements

if TYPE_CHECKING:
    from ..lowrank import LowRank
    from ..result import Recovery

SCALINGS = ("mean", "half")


def pose_factors(
    operator: MeasurementOperator,
    b: Array | None,
    factors: Recovery | LowRank | tuple[Array, Array] | Array,
    factorization: Factorization | None = None,
) -> tuple[FactorizedProblem, Array]:
    """Return the problem and the point W of given factors; nothing is balanced.

    Parameters
    ----------
    operator : MeasurementOperator
    b : array, shape (m,), or None
        None: the factors' own predictions, that is a point of the solution set.
    factors : Recovery, LowRank, (L, R), or an array
        An array is U of X = U U^T (U U^H), or, where a factorization is given, its W.
    factorization : Factorization, optional
        Default: that of a Recovery; Hermitian for a complex unknown; Symmetric for an array; else
        Asymmetric.

    Raises
    ------
    ShapeError, InputError
    """
    from ..lowrank import LowRank
    from ..result import Recovery

    w: Any = None
    if isinstance(factors, Recovery):
        kind = factorization if factorization is not None else factors.factorization
        parts: Any = factors.left, factors.right
    elif isinstance(factors, LowRank):
        parts, kind = (factors.left, factors.right), factorization
    elif isinstance(factors, (tuple, list)):
        if len(factors) != 2:
            raise ShapeError(f"{len(factors)} factors", "pass (L, R), or W with a factorization")
        parts, kind = tuple(factors), factorization
    elif factorization is not None and not isinstance(factorization, Symmetric):
        w, parts, kind = factors, None, factorization
    else:
        parts, kind = (factors, conj(factors)), factorization
        kind = kind or (Hermitian() if operator.hermitian else Symmetric())
    kind = kind or (Hermitian() if operator.hermitian else Asymmetric())
    if parts is not None:
        left, right = parts
        if (int(left.shape[0]), int(right.shape[0])) != operator.shape or left.ndim != 2:
            raise ShapeError(
                f"factors of shapes {tuple(left.shape)}, {tuple(right.shape)} for {operator!r}",
                "pass factors of shapes (n1, k) and (n2, k)",
            )
        if isinstance(kind, (Deep, Signature)):
            raise InputError(
                f"two factors of a factorization {kind!r}", "pass its W instead of (L, R)"
            )
        w = kind.stack(left, right)
    columns = int(w.shape[1]) if w.ndim == 2 else 0
    if w.ndim != 2 or int(w.shape[0]) != kind.size(operator.shape, columns):
        raise ShapeError(
            f"W of shape {tuple(w.shape)} for {kind!r} on {operator!r}",
            f"pass {kind.size(operator.shape, columns)} rows",
        )
    if b is None:
        b = operator.apply_product(*kind.parts(w, operator.shape))
    return FactorizedProblem(operator, checked_measurements(operator, b), kind), w


def scale_of(problem: FactorizedProblem, scaling: str) -> float:
    """Return what 1/2 ||A(X) - b||^2 is multiplied by: 2 / m ("mean") or 1 ("half").

    Raises
    ------
    InputError
        For another scaling.
    """
    if scaling not in SCALINGS:
        raise InputError(f"scaling={scaling!r}", f"use one of {SCALINGS}")
    return 2.0 / problem.operator.num_measurements if scaling == "mean" else 1.0


def host(x: Array) -> Any:
    """Return the array in NumPy, in double precision."""
    out = to_numpy(x)
    return out.astype(complex if out.dtype.kind == "c" else float, copy=False)
