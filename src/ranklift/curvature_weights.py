"""Curvature weights D1, D2: how sharply the data see each row and each column direction of X.

With A(X)_j = <A_j, X>,  D1^2 = 1/(m n2) sum_j A_j A_j^T  and  D2^2 = 1/(m n1) sum_j A_j^T A_j. The
scaled trace of the Hessian of f = (1/m) ||A(L R^T) - b||^2 is 2 ||D1 L||^2 + 2 ||D2 R||^2, and its
least value over all L R^T = X is 4 ||D1 X D2||_* (Ding, Drusvyatskiy, Fazel, Harchaoui, arXiv
2203.03756). Entries: D1 and D2 hold the square roots of the counts of rows and columns.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from .arrays import Array, like, matmul, namespace, to_numpy
from .errors import TooLargeError
from .factorizations import (
    Asymmetric,
    Factorization,
    Hermitian,
    Signature,
    Signed,
    Symmetric,
)
from .operators import DenseSensing, MeasurementOperator, Scaled
from .problem import FactorizedProblem

EXPLICIT_NUMBERS = 20_000_000
"""Numbers m n1 n2 up to which the matrices A_j of an operator without moments of its own are
written out: 160 MB and as many seconds as the operator needs for m adjoints."""

SINGULAR = 1e-7
"""Eigenvalues of D below this share of the largest count as zero: D^2 is computed to rounding, so
that D is known to the square root of it."""


ONE_KIND = (Symmetric, Signed, Signature)
"""Factorizations that see the symmetric parts of the A_j only."""


@dataclass(frozen=True)
class CurvatureWeights:
    """D1 and D2 of an operator, and what follows from them.

    Attributes
    ----------
    left_squared, right_squared : arrays
        D1^2 and D2^2: matrices, or their diagonals where they are diagonal.
    factorization : Factorization
        Of one kind (symmetric, signed, Hermitian) D1 = D2 (conjugated) weighs the symmetric part of
        the A_j: the other part is not seen.
    """

    left_squared: np.ndarray
    right_squared: np.ndarray
    factorization: Factorization

    @cached_property
    def _left(self) -> _Root:
        return _Root.of(self.left_squared)

    @cached_property
    def _right(self) -> _Root:
        if self.left_squared is self.right_squared:
            return self._left  # the very same arrays keep symmetric operators symmetric
        return _Root.of(self.right_squared)

    @property
    def left(self) -> np.ndarray:
        """Return D1, positive semidefinite; its diagonal where it is diagonal."""
        return self._left.matrix

    @property
    def right(self) -> np.ndarray:
        """Return D2."""
        return self._right.matrix

    @property
    def condition(self) -> float:
        """Return kappa: the largest over the smallest eigenvalue of D1 and D2; inf if singular.

        Flat factors have ||L||^2 + ||R||^2 of at most kappa^2 times the least possible.
        """
        values = np.concatenate([self._left.eigenvalues, self._right.eigenvalues])
        least = float(values.min())
        return float(values.max()) / least if least > 0 else float("inf")

    @property
    def unmeasured(self) -> tuple[int, int]:
        """Return how many row and column directions no measurement sees (D singular there)."""
        return self._left.nullity, self._right.nullity

    @property
    def unmeasured_words(self) -> str:
        """Return which directions are not seen, in words; "" where all are."""
        parts = []
        for name, root in (("row", self._left), ("column", self._right)):
            if not root.nullity:
                continue
            where = ""
            if root.matrix.ndim == 1:
                listed = np.flatnonzero(root.eigenvalues == 0)[:5]
                where = f" ({name} {', '.join(map(str, listed))}{', ...' * (root.nullity > 5)})"
            parts.append(f"{root.nullity} {name} directions{where}")
        return " and ".join(parts)

    def forth(self, left: Array, right: Array) -> tuple[Array, Array]:
        """Return D1 L and D2 R, the factors of Z = D1 X D2^T."""
        return _product(self._left.matrix, left), _product(self._right.matrix, right)

    def back(self, left: Array, right: Array) -> tuple[Array, Array]:
        """Return D1^+ L and D2^+ R: the factors of X from those of Z."""
        return _product(self._left.inverse, left), _product(self._right.inverse, right)

    def point(self, problem: FactorizedProblem, w: Array) -> Array:
        """Return the parameters of Z with the factors D1 L and D2 R: nothing is balanced."""
        return problem.factorization.stack(*self.forth(*problem.parts(w)))

    def unpose(self, problem: FactorizedProblem, point: Array) -> Array:
        """Return the parameters of X with the factors D1^+ and D2^+ times those of Z."""
        return problem.factorization.stack(*self.back(*problem.parts(point)))

    def warn_if_unmeasured(self, *, stacklevel: int) -> None:
        """Warn of directions that no measurement sees."""
        if self.unmeasured_words:
            warnings.warn(
                f"no measurement sees {self.unmeasured_words}: D is singular and X is set to zero "
                "there. Remedy: leave these rows and columns out, or measure them",
                UserWarning,
                stacklevel=stacklevel + 1,
            )

    def pose(self, problem: FactorizedProblem) -> FactorizedProblem:
        """Return the problem in Z: A(D1^+ Z D2^+) = b, whose kappa(Z) is kappa of D1 X D2."""
        operator = problem.operator.scaled(self._left.inverse, self._right.inverse)
        return replace(problem, operator=operator)


@dataclass(frozen=True)
class _Root:
    """The square root of a positive semidefinite matrix, and its pseudo-inverse."""

    matrix: np.ndarray
    inverse: np.ndarray
    eigenvalues: np.ndarray

    @property
    def nullity(self) -> int:
        return int(np.sum(self.eigenvalues == 0))

    @classmethod
    def of(cls, square: np.ndarray) -> _Root:
        if square.ndim == 1:
            root = _kept(square)
            return cls(root, _inverse(root), root)
        values, vectors = np.linalg.eigh(square)
        root = _kept(values)
        adjoint = vectors.conj().T
        return cls((vectors * root) @ adjoint, (vectors * _inverse(root)) @ adjoint, root)


def _kept(squares: np.ndarray) -> np.ndarray:
    root = np.sqrt(np.maximum(squares, 0.0))
    return np.where(root > SINGULAR * root.max(initial=0.0), root, 0.0)


def _inverse(root: np.ndarray) -> np.ndarray:
    return np.divide(1.0, root, out=np.zeros_like(root), where=root > 0)


def _product(scale: np.ndarray, x: Array) -> Array:
    matrix = like(scale, x)
    xp = namespace(x)
    if matrix.dtype != x.dtype and not xp.isdtype(x.dtype, "complex floating"):
        matrix = xp.astype(matrix, x.dtype)
    return matrix[:, None] * x if scale.ndim == 1 else matrix @ x


def curvature_weights(
    operator: MeasurementOperator, factorization: Factorization | None = None
) -> CurvatureWeights:
    """Return D1 and D2 of an operator, from its own second moments.

    Parameters
    ----------
    operator : MeasurementOperator
    factorization : Factorization, default Asymmetric() (Hermitian() of a complex unknown)

    Raises
    ------
    TooLargeError
        Where the operator has no moments of its own and is too large to write its matrices out.

    Notes
    -----
    Cost: entries O(m); vectors O(m n^2); dense matrices O(m n1 n2 (n1 + n2)). The square roots of
    matrices take O(n^3).

    Examples
    --------
    >>> from ranklift.operators import EntrySampling
    >>> weights = curvature_weights(EntrySampling([0, 0, 1], [0, 1, 0], (2, 2)))
    >>> weights.left_squared * 3 * 2  # m n2 D1^2: the row counts
    array([2., 1.])
    >>> round(weights.condition, 6)
    1.414214
    """
    if factorization is None:
        factorization = Hermitian() if operator.hermitian else Asymmetric()
    m, (n1, n2) = operator.num_measurements, operator.shape
    if isinstance(factorization, ONE_KIND):
        square = symmetric_moment(operator) / (m * n1)
        return CurvatureWeights(square, square, factorization)
    left = second_moment(operator, "left") / (m * n2)
    if operator.hermitian:
        return CurvatureWeights(left, left.conj(), factorization)
    return CurvatureWeights(left, second_moment(operator, "right") / (m * n1), factorization)


def second_moment(
    operator: MeasurementOperator, side: str, factor: np.ndarray | None = None
) -> np.ndarray:
    """Return sum_j A_j F F^H A_j^H (left) or sum_j A_j^T F F^H conj(A_j) (right), exactly.

    The operator's own structure where it has one, else from its matrices written out; see
    ``MeasurementOperator.moment``.

    Raises
    ------
    TooLargeError
    """
    own = operator.moment(side, factor)
    if own is not None:
        return own
    if not operator.hermitian:
        return _dense_moment(operator, written_out(operator), side, factor)
    matrices = written_out(operator)
    matrices = matrices if side == "left" else matrices.swapaxes(1, 2)
    if factor is not None:
        matrices = matrices * factor if factor.ndim == 1 else matrices @ factor
    return np.einsum("jab,jcb->ac", matrices, matrices.conj(), optimize=True)


def symmetric_moment(operator: MeasurementOperator) -> np.ndarray:
    """Return sum_j S_j^2 of the symmetric parts S_j of the A_j, real, on square matrices."""
    own = operator.moment("left")
    if operator.symmetric and own is not None:
        return own
    turned = operator.transposed_moment()
    other = operator.moment("right")
    if own is None or other is None or turned is None:
        matrices = written_out(operator)
        parts = 0.5 * (matrices + matrices.swapaxes(1, 2))
        return _dense_moment(operator, parts, "left")
    full = [np.diag(part) if part.ndim == 1 else part for part in (own, other, turned)]
    total = 0.25 * (full[0] + full[1] + full[2] + full[2].T)
    return np.diagonal(total).copy() if own.ndim == other.ndim == turned.ndim == 1 else total


def _dense_moment(
    operator: MeasurementOperator,
    matrices: np.ndarray,
    side: str,
    factor: np.ndarray | None = None,
) -> np.ndarray:
    moment = DenseSensing(matrices).moment(side, factor)
    if moment is None:
        raise TooLargeError(
            f"the {side} weights of {operator!r} as a full matrix",
            'ask for an estimate of the trace (method="hutchinson")',
        )
    return moment


def written_out(operator: MeasurementOperator) -> np.ndarray:
    """Return the matrices A_j, shape (m, n1, n2), by m adjoints.

    Raises
    ------
    TooLargeError
    """
    m, (n1, n2) = operator.num_measurements, operator.shape
    if isinstance(operator, DenseSensing):
        return np.asarray(to_numpy(operator.matrices), dtype=float)
    if isinstance(operator, Scaled):  # once for the base: its adjoints may be slow
        base = written_out(operator.base)
        rows = _product(operator.row_scale.conj().T, base.transpose(1, 2, 0).reshape(n1, -1))
        rows = rows.reshape(n1, n2, m).transpose(1, 0, 2).reshape(n2, -1)
        both = _product(operator.column_scale.conj().T, rows).reshape(n2, n1, m)
        return np.ascontiguousarray(both.transpose(2, 1, 0))
    if m * n1 * n2 > EXPLICIT_NUMBERS:
        raise TooLargeError(
            f"the {m} matrices of {operator!r}, {n1} x {n2} each, to be written out",
            "override MeasurementOperator.moment of this operator, or ask for an estimate of the "
            'trace (method="hutchinson")',
        )
    out = np.empty((m, n1, n2), dtype=complex if operator.hermitian else float)
    eye = np.eye(n2, dtype=out.dtype)
    for j in range(m):
        unit = np.zeros(m)
        unit[j] = 1.0
        out[j] = to_numpy(matmul(operator.adjoint(unit), eye))
    return out
