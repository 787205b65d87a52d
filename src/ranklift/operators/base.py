"""MeasurementOperator: the linear map A from n1 x n2 matrices to m measurements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..arrays import Array, conj, inner, like, matmul, namespace, to_numpy
from ..errors import DTypeError, InputError, ShapeError
from ..lowrank import LowRank

if TYPE_CHECKING:
    from .algebra import Combination, Weighted
    from .congruence import Congruence
    from .scaled import Scaled

OPERATORS: dict[str, type[MeasurementOperator]] = {}
"""Every operator class by name: contract tests run over it, saved results are read through it."""

MOMENT_SIDE = 4096
"""Largest side of a moment that is formed as a full matrix (128 MiB); diagonal ones have none."""


class MeasurementOperator(ABC):
    """Map X to the measurements A(X), and residuals back by the adjoint A*.

    A subclass provides ``shape``, ``num_measurements``, ``size_in_bytes``, ``_apply_matrix``,
    ``apply_product`` and ``adjoint``. All else follows from the chain rule; a subclass may override
    the fused products (``adjoint_products``, ``residual_products``, ``normal_products``), and a
    contract test then holds the override to the generic rule. Where the structure makes second
    moments cheap it provides ``_moment`` and ``_transposed_moment``, which get checked arguments.

    Notes
    -----
    An operator never rescales what it is given: f = 1/2 ||A(X) - b||^2 everywhere. Measurements are
    real. Where the unknown is complex Hermitian (``hermitian``), <X, Y> means Re tr(X^H Y) and the
    factors of X = L R^T may be complex.
    """

    shape: tuple[int, int]
    num_measurements: int
    hermitian: bool = False
    """Whether the unknown is a complex Hermitian matrix."""
    example: ClassVar[Any] = None
    """A function of a random generator that makes a small instance, for the contract tests."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not cls.__name__.startswith("_"):
            OPERATORS[cls.__name__] = cls

    # -- what a subclass must say -----------------------------------------------------------

    @property
    @abstractmethod
    def size_in_bytes(self) -> int:
        """Return the memory held by the operator's data, in bytes."""

    @abstractmethod
    def _apply_matrix(self, matrix: Array) -> Array:
        """Return A(X) of a full n1 x n2 array."""

    @abstractmethod
    def apply_product(self, left: Array, right: Array) -> Array:
        """Return A(L R^T) from the factors (n1, k) and (n2, k)."""

    @abstractmethod
    def adjoint(self, y: Array) -> Any:
        """Return A*(y): something n1 x n2 with ``@`` and ``.T``, formed only if it is dense."""

    # -- what follows from it ---------------------------------------------------------------

    def apply(self, matrix: Array | LowRank) -> Array:
        """Return A(X), shape (m,), of a full array or a LowRank matrix.

        Raises
        ------
        ShapeError
            When X is not n1 x n2.
        """
        if tuple(matrix.shape) != self.shape:
            raise ShapeError(
                f"a matrix of shape {tuple(matrix.shape)} for an operator on {self.shape}",
                "pass a matrix of the operator's shape",
            )
        if isinstance(matrix, LowRank):
            return self.apply_product(matrix.left, matrix.right)
        return self._apply_matrix(matrix)

    def adjoint_products(self, y: Array, left: Array, right: Array) -> tuple[Array, Array]:
        """Return (A*(y) R, A*(y)^T L): all that a gradient needs of A*(y).

        Complex factors enter by their conjugates: (S conj(R), S^T conj(L)) is then the gradient of
        Re <S, L R^T>.
        """
        transported = self.adjoint(y)
        return transported @ conj(right), transported.T @ conj(left)

    def residual_products(self, left: Array, right: Array, b: Array) -> tuple[Array, Array, Array]:
        """Return r = A(L R^T) - b with A*(r) R and A*(r)^T L."""
        residual = self.apply_product(left, right) - b
        return residual, *self.adjoint_products(residual, left, right)

    def normal_products(
        self,
        left: Array,
        right: Array,
        d_left: Array,
        d_right: Array,
        s: Array | None = None,
        curvature: Callable[[Array], Array] | None = None,
    ) -> tuple[Array, Array]:
        """Return the Hessian product of a loss of A(L R^T) along (dL, dR), by factor.

        With y = H A(dL R^T + L dR^T): (A*(y) R + A*(s) dR, A*(y)^T L + A*(s)^T dL). ``s`` is the
        slope of the loss (the residual of the squared one); without it this is the Gauss-Newton
        product. ``curvature`` is y -> H y, the loss's Hessian; None is that of the squared loss.
        """
        if left is right and d_left is d_right and self.symmetric:
            y = 2.0 * self.apply_product(d_left, left)  # one factor: both terms measure the same
        else:
            xp = namespace(left)
            y = self.apply_product(
                xp.concat([d_left, left], axis=1), xp.concat([right, d_right], axis=1)
            )
        if curvature is not None:
            y = curvature(y)
        out_left, out_right = self.adjoint_products(y, left, right)
        if s is not None:
            curve_left, curve_right = self.adjoint_products(s, d_left, d_right)
            out_left, out_right = out_left + curve_left, out_right + curve_right
        return out_left, out_right

    def gram_blocks(
        self, factor: Array, *, side: str, weights: Array | None = None
    ) -> Array | None:
        """Return the diagonal blocks of the least-squares Hessian in one factor.

        side "left": block i is the k x k Gauss-Newton Hessian in row i of L for fixed R = factor,
        shape (n1, k, k); "right" the same for R with fixed L. ``weights`` multiply the squared
        measurements. None when A does not make these blocks cheap; preconditioned solvers then go
        without, and alternating least squares uses conjugate gradients.
        """
        return None

    def moment(self, side: str, factor: Any = None, *, weights: Any = None) -> np.ndarray | None:
        """Return the second moment of the measurement matrices, between the columns of a factor.

        With A(X)_j = <A_j, X> and M = F F^H it is ``sum_j w_j A_j M A_j^H`` (side "left", n1 x n1)
        or ``sum_j w_j A_j^T M conj(A_j)`` (side "right", n2 x n2).

        Parameters
        ----------
        side : {"left", "right"}
            The factor of X = L R^T whose rows the moment belongs to.
        factor : array or None
            F with n2 rows ("left") or n1 rows ("right"), complex only where the unknown is. None
            (default) is the identity, a vector d stands for diag(d).
        weights : array, shape (m,), or None
            Real weights of the measurements, which may be negative. By default all are 1.

        Returns
        -------
        numpy.ndarray or None
            The diagonal where the moment is diagonal whatever the data, else the full matrix,
            symmetric or Hermitian to the last bit. None where A does not make it cheap, or where
            the full matrix would have more than ``MOMENT_SIDE`` rows.

        Raises
        ------
        InputError, ShapeError, DTypeError
            For another side, a factor or weights of another size, complex numbers where real ones
            are due.

        Notes
        -----
        On the host and in double precision, whatever namespace the arguments are in. For 1/2
        ||A(L R^T) - b||^2 of real factors, moment("left", R) is the sum of the k diagonal blocks
        that the columns of L have in the Gauss-Newton Hessian, and its trace is that of the L
        block. The sides are tied by tr moment("left", F) = tr(F^T moment("right") conj(F)). Where
        all A_j are Hermitian, moment("right", F) is the conjugate of moment("left", conj(F)).

        Examples
        --------
        >>> from ranklift.operators import EntrySampling
        >>> A = EntrySampling([0, 0, 1], [0, 1, 1], (2, 2))
        >>> A.moment("left"), A.moment("right", weights=[1.0, 2.0, 4.0])
        (array([2., 1.]), array([1., 6.]))
        """
        if side not in ("left", "right"):
            raise InputError(f"a moment of side {side!r}", 'pass "left" or "right"')
        across = self.shape[1] if side == "left" else self.shape[0]
        if factor is not None:
            factor = self._checked_factor(to_numpy(factor), side, across)
        moment = self._moment(side, factor, self._checked_weights(weights))
        if moment is None or moment.ndim == 1:
            return moment
        return 0.5 * (moment + moment.conj().T)

    def _moment(
        self, side: str, factor: np.ndarray | None, weights: np.ndarray
    ) -> np.ndarray | None:
        """Return ``moment`` of checked arguments: NumPy arrays, weights always given.

        A full matrix need only be Hermitian up to rounding.
        """
        return None

    def transposed_moment(self, weights: Any = None) -> np.ndarray | None:
        """Return ``sum_j w_j A_j A_j``: where X = U U^T, both factors move at once.

        Of non-symmetric A_j the curvature in U holds (A_j + A_j^T)^2, whose mixed terms are this
        matrix and its transpose.

        Parameters
        ----------
        weights : array, shape (m,), or None
            Real weights, which may be negative. By default all are 1.

        Returns
        -------
        numpy.ndarray or None
            As of ``moment``, but symmetric only where the A_j are: then it is ``moment("left")``.

        Raises
        ------
        ShapeError, DTypeError
            For an operator on matrices that are not square, for other weights than m real numbers.

        Examples
        --------
        >>> from ranklift.operators import RankOneSensing
        >>> RankOneSensing([[1.0, 2.0]], [[3.0, 1.0]]).transposed_moment()
        array([[15.,  5.],
               [30., 10.]])
        """
        if self.shape[0] != self.shape[1]:
            raise ShapeError(
                f"products A_j A_j of {self.shape[0]} x {self.shape[1]} matrices",
                "ask for moment(side): only square matrices can be multiplied by themselves",
            )
        checked = self._checked_weights(weights)
        if self.symmetric:
            return self.moment("left", weights=checked)
        return self._transposed_moment(checked)

    def _transposed_moment(self, weights: np.ndarray) -> np.ndarray | None:
        """Return ``transposed_moment`` of checked weights, the A_j square and not all symmetric."""
        return None

    def _checked_factor(self, factor: np.ndarray, side: str, rows: int) -> np.ndarray:
        if factor.ndim not in (1, 2) or factor.shape[0] != rows:
            raise ShapeError(
                f"a factor of shape {factor.shape} in a moment of side {side!r}",
                f"pass {rows} rows, or the {rows} numbers of a diagonal",
            )
        if factor.dtype.kind == "c" and not self.hermitian:
            raise DTypeError("a complex factor of a real unknown", "pass real numbers")
        return factor.astype(complex if factor.dtype.kind == "c" else float, copy=False)

    def _checked_weights(self, weights: Any) -> np.ndarray:
        if weights is None:
            return np.ones(self.num_measurements)
        host = to_numpy(weights)
        if host.shape != (self.num_measurements,):
            raise ShapeError(
                f"weights of shape {host.shape}", f"pass {self.num_measurements} numbers"
            )
        if host.dtype.kind not in "fiub":
            raise DTypeError(f"weights of type {host.dtype}", "pass real numbers")
        return host.astype(float, copy=False)

    @property
    def isometry(self) -> Congruence | None:
        """Return this operator where it is A'(Q X Q^T) with orthonormal columns of Q, else None.

        The row blocks of A', between Q and Q^T, then precondition the Hessian of A.
        """
        return None

    def normal_matrix(self) -> np.ndarray:
        """Return the dense m x (n1 n2) matrix of A: for tests and tiny problems only.

        Of a Hermitian unknown it acts on the real and imaginary parts: m x (2 n1 n2).
        """
        n1, n2 = self.shape
        if self.hermitian:
            units = np.eye(n1 * n2, dtype=complex).reshape(-1, n1, n2)
            return np.stack(
                [to_numpy(self._apply_matrix(x)) for x in (*units, *(1j * units))], axis=1
            )
        columns = np.empty((self.num_measurements, n1 * n2))
        for index in range(n1 * n2):
            unit = np.zeros((n1, n2))
            unit.flat[index] = 1.0
            columns[:, index] = to_numpy(self._apply_matrix(unit))
        return columns

    @property
    def symmetric(self) -> bool:
        """Whether A(X) = A(X^T) for every X."""
        return False

    def canonical(self, b: Array) -> tuple[MeasurementOperator, Array]:
        """Return the same measurements in the order that the operator works fastest in."""
        return self, b

    def dottest(self, rng: np.random.Generator | int | None = None, rtol: float = 1e-10) -> float:
        """Check <A(X), y> = <X, A*(y)> on random X and y and return the relative mismatch.

        Raises
        ------
        InputError
            When the mismatch exceeds ``rtol``: apply and adjoint are not a pair.
        """
        rng = np.random.default_rng(rng)
        n1, n2 = self.shape
        left, right = rng.standard_normal((n1, 2)), rng.standard_normal((n2, 2))
        if self.hermitian:
            left = left + 1j * rng.standard_normal((n1, 2))
            right = right + 1j * rng.standard_normal((n2, 2))
        y = rng.standard_normal(self.num_measurements)
        forward = to_numpy(self.apply(LowRank(left, right)))
        products = to_numpy(matmul(self.adjoint(y), right.conj()))
        mismatch = abs(float(forward @ y) - inner(products, left))
        mismatch /= float(np.linalg.norm(forward) * np.linalg.norm(y)) + np.finfo(float).tiny
        if mismatch > rtol:
            raise InputError(
                f"apply and adjoint of {type(self).__name__} disagree (relative {mismatch:.1e})",
                "correct the operator's adjoint; <A(X), y> must equal <X, A*(y)>",
            )
        return mismatch

    # -- saving ------------------------------------------------------------------------------

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the operator's data as plain arrays for a result file.

        Raises
        ------
        InputError
            When the operator holds code rather than data.
        """
        raise InputError(
            f"{type(self).__name__} holds code, which a result file cannot store",
            "save with include_operator=False and pass the operator to rl.certify yourself",
        )

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> MeasurementOperator:
        """Rebuild the operator from ``to_arrays``."""
        raise InputError(f"{cls.__name__} cannot be read from a file", "pass the operator itself")

    # -- algebra -----------------------------------------------------------------------------

    def weighted(self, weights: Array) -> Weighted:
        """Return X -> w * A(X): weights of the measurements (square roots of loss weights)."""
        from .algebra import Weighted

        return Weighted(self, weights)

    def scaled(self, row_scale: Array, column_scale: Array) -> Scaled:
        """Return X -> A(D1 X D2^T), D1 and D2 matrices or the diagonals of such."""
        from .scaled import Scaled

        return Scaled(self, row_scale, column_scale)

    def subset(self, index: Array) -> MeasurementOperator:
        """Return the operator that keeps the measurements listed in ``index``."""
        from .algebra import Subset

        return Subset(self, index)

    def split(
        self, train: np.ndarray, test: np.ndarray, b: Array
    ) -> tuple[MeasurementOperator, Array, MeasurementOperator, Array]:
        """Return (A, b) of the training measurements, and (A, b) of those held out of them.

        The second pair need only predict: A(X) - b there is the error on the held-out data.
        """
        xp = namespace(b)
        kept, held = (xp.take(b, like(index, b)) for index in (train, test))
        return self.subset(train), kept, self.subset(test), held

    def __mul__(self, factor: float) -> Combination:
        from .algebra import Combination

        return Combination((self,), (float(factor),))

    __rmul__ = __mul__

    def __add__(self, other: MeasurementOperator) -> Combination:
        from .algebra import Combination

        return Combination((self, other), (1.0, 1.0))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={self.shape}, m={self.num_measurements})"


def times_factor(matrix: Any, factor: np.ndarray | None) -> np.ndarray:
    """Return X F for a factor as ``moment`` takes it: None, a diagonal or a matrix."""
    if factor is None:
        return matrix
    return matrix * factor if factor.ndim == 1 else matrix @ factor


def factor_energies(factor: np.ndarray | None, rows: int) -> np.ndarray:
    """Return the squared norms of the rows of a factor as ``moment`` takes it."""
    if factor is None:
        return np.ones(rows)
    squares = np.abs(factor) ** 2
    return squares if squares.ndim == 1 else squares.sum(axis=1)
