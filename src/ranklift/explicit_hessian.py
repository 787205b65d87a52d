"""The factorised Hessian of a small problem, formed and factorised: a preconditioner without peer.

With the matrices A_j of the measurements written out, the Hessian at W by rows and columns of W is

    H = sum_j g_j g_j^T + 2 dual(A*(s)) (x) I_k + ridge I,    g_j = grad <A_j, X(W)>,

s the residual and w^T dual(S) w = <S, X(w)> of a column w. Where m n1 n2 numbers fit and W is small
it costs less than the Hessian products that conjugate gradients would spend. Own derivation.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from .arrays import Array, is_numpy_array, matmul, to_numpy
from .curvature_weights import written_out
from .factorizations import Hermitian
from .operators import MeasurementOperator
from .preconditioners import Map, preconditioner
from .problem import FactorizedProblem, Point

LARGEST = 1500
"""Numbers in W up to which H is formed: 18 MB, and a tenth of a second to factorise."""

WRITTEN = 4_000_000
"""Numbers m n1 n2 up to which the A_j are written out."""


class ExplicitHessian:
    """Precondition by the Hessian itself; see ``preconditioners.preconditioner`` for the call.

    Parameters
    ----------
    operator : MeasurementOperator
        The measurements of all problems it will be asked about.

    Notes
    -----
    Cost of a use: m (rows k)^2 + (rows k)^3 / 3 multiply-adds; memory m n1 n2 + 2 (rows k)^2.
    """

    def __init__(self, operator: MeasurementOperator) -> None:
        self._matrices = written_out(operator)

    @staticmethod
    def suits(problem: FactorizedProblem) -> bool:
        """Whether the measurements of the problem are few and small enough to be written out."""
        (n1, n2), m = problem.shape, problem.operator.num_measurements
        known = problem.factorization.columnwise and not isinstance(
            problem.factorization, Hermitian
        )
        return known and problem.squared and is_numpy_array(problem.b) and m * n1 * n2 <= WRITTEN

    def __call__(self, problem: FactorizedProblem, point: Point, shift: float) -> Map | None:
        """Return d -> (H + shift' I)^{-1} d, shift' as small as positive definiteness allows."""
        rows, k = point.w.shape
        if rows * k > LARGEST or k == 0:
            return preconditioner(problem, point, shift)
        hessian = self.hessian(problem, point)
        diagonal = np.diagonal(hessian).copy()
        # H is singular along the gauge and may be indefinite away from a minimum.
        for damping in (1e-3 * problem.ridge, problem.ridge, shift + problem.ridge):
            np.fill_diagonal(hessian, diagonal + damping)
            try:
                factor = cho_factor(hessian, lower=True)
            except LinAlgError:
                continue
            return _solver(factor)
        return preconditioner(problem, point, shift)

    def hessian(self, problem: FactorizedProblem, point: Point) -> np.ndarray:
        """Return H, shape (rows k, rows k), for W read row by row."""
        w = to_numpy(point.w)
        rows, k = w.shape
        gradients = self._gradients(problem, w).reshape(rows * k, -1)
        out = gradients @ gradients.T
        bend = 2.0 * self._dual(problem, point.slope)
        out.reshape(rows, k, rows, k)[:, np.arange(k), :, np.arange(k)] += bend
        out[np.diag_indices(rows * k)] += problem.ridge
        return out

    def _gradients(self, problem: FactorizedProblem, w: np.ndarray) -> np.ndarray:
        """Return g_j, shape (rows, k, m): the pull-back of A_j R and A_j^T L, all j at once."""
        left, right = (to_numpy(part) for part in problem.parts(w))
        m, (n1, n2) = len(self._matrices), problem.shape
        out_left = (self._matrices.reshape(m * n1, n2) @ right).reshape(m, n1, -1)
        turned = np.tensordot(left, self._matrices, axes=(0, 1))  # (columns, m, n2)
        return problem.factorization.pullback(
            w, out_left.transpose(1, 2, 0), turned.transpose(2, 0, 1), problem.shape
        )

    def _dual(self, problem: FactorizedProblem, slope: Array) -> np.ndarray:
        (n1, n2), factorization = problem.shape, problem.factorization
        transported = np.tensordot(to_numpy(slope), self._matrices, axes=1)
        form = factorization.dual(transported, problem.shape)
        if form is not None:
            return matmul(form, np.eye(form.shape[0]))
        dilated = np.zeros((n1 + n2, n1 + n2))
        dilated[:n1, n1:], dilated[n1:, :n1] = 0.5 * transported, 0.5 * transported.T
        return dilated


def _solver(factor: tuple[np.ndarray, bool]) -> Callable[[Array], Array]:
    return lambda x: cho_solve(factor, x.ravel()).reshape(x.shape)
