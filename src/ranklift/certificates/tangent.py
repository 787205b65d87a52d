"""The tangent space of the rank-r matrices in orthonormal coordinates, by products only.

Asymmetric: H = U B^T + C V^T with U^T C = 0 has ||H||^2 = ||B||^2 + ||C||^2. Symmetric and
Hermitian: H = U S U^H + (U Z^H + Z U^H) / sqrt 2 with S = S^H and U^H Z = 0 has
||H||^2 = ||S||^2 + ||Z||^2, so that Y = U S + Z, with U^H Y Hermitian, is an orthonormal
coordinate. Own derivation.
"""

from __future__ import annotations

import numpy as np

from ..arrays import to_numpy
from ..factorizations.hermitian import split
from ..operators import MeasurementOperator

ROOT_HALF = np.sqrt(0.5)


class TangentMap:
    """J: coordinates -> A(H), with its adjoint and the projector onto valid coordinates.

    Parameters
    ----------
    operator : MeasurementOperator
    u, v : arrays (n1, r), (n2, r)
        Orthonormal singular vectors of X = U diag(s) V^T.
    symmetric : bool
        Whether H is symmetric (Hermitian for complex u) by construction.
    """

    def __init__(
        self, operator: MeasurementOperator, u: np.ndarray, v: np.ndarray, symmetric: bool
    ) -> None:
        self.operator, self.u, self.v, self.symmetric = operator, u, v, symmetric
        self.complex = np.iscomplexobj(u)
        rows = u.shape[0] if symmetric else u.shape[0] + v.shape[0]
        self.size = rows * u.shape[1] * (2 if self.complex else 1)

    def _array(self, x: np.ndarray) -> np.ndarray:
        shaped = x.reshape(-1, self.u.shape[1])
        if not self.complex:
            return shaped
        n = shaped.shape[0] // 2
        return shaped[:n] + 1j * shaped[n:]

    def _vector(self, y: np.ndarray) -> np.ndarray:
        return (split(y) if self.complex else y).ravel()

    def project(self, x: np.ndarray) -> np.ndarray:
        """Return the nearest valid coordinates."""
        y = self._array(x)
        if self.symmetric:
            inside = self.u.conj().T @ y
            return self._vector(y - self.u @ (0.5 * (inside - inside.conj().T)))
        n2 = self.v.shape[0]
        b, c = y[:n2], y[n2:]
        return self._vector(np.concatenate([b, c - self.u @ (self.u.T @ c)]))

    def factors(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (L, R) with H = L R^T."""
        y = self._array(x)
        if self.symmetric:
            inside = self.u @ (self.u.conj().T @ y)
            d = 0.5 * inside + ROOT_HALF * (y - inside)
            return np.hstack([self.u, d]), np.hstack([d, self.u]).conj()
        n2 = self.v.shape[0]
        return np.hstack([self.u, y[n2:]]), np.hstack([y[:n2], self.v])

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return A(H)."""
        return to_numpy(self.operator.apply_product(*self.factors(x)))

    def adjoint(self, y: np.ndarray) -> np.ndarray:
        """Return the coordinates of the projection of A*(y) onto the tangent space."""
        if self.symmetric:
            left, right = self.operator.adjoint_products(y, self.u, self.u.conj())
            g = to_numpy(left) + to_numpy(right).conj()
            inside = self.u @ (self.u.conj().T @ g)
            return self.project(self._vector(0.5 * inside + ROOT_HALF * (g - inside)))
        left, right = (to_numpy(x) for x in self.operator.adjoint_products(y, self.u, self.v))
        return self.project(self._vector(np.concatenate([right, left])))
