"""BlindDeconvolution: the spectrum of a convolution of two unknown signals in known subspaces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy import fft, sparse
from scipy.sparse.linalg import LinearOperator

from ..arrays import Array, like, to_numpy
from ..errors import DTypeError, InputError, NonFiniteError, ShapeError
from .base import MOMENT_SIDE, MeasurementOperator, times_factor
from .quadratic import checked_vectors, stored_vectors, vector_bytes

MOMENT_COLUMNS = 32
"""Basis columns that a moment transforms at once: 32 signals on the grid."""

MOMENT_NUMBERS = 2**24
"""Largest number of complex Fourier coefficients of basis columns (256 MiB) a moment is made of."""


class BlindDeconvolution(MeasurementOperator):
    """Measure the Fourier coefficients of h * x, h = B u and x = C v, linear in X = u v^T.

    The structured case of rank-one sensing: with F the transform on the grid, coefficient l is
    sqrt(N) (F B)_l X (F C)_l^T. The kept complex coefficients become real numbers, real and
    imaginary parts apart, weighted so that all of them together have the norm of h * x.

    Parameters
    ----------
    filter_basis : array, sparse matrix or LinearOperator, shape (N, n1)
        B, real; N = prod(shape).
    signal_basis : array, sparse matrix or LinearOperator, shape (N, n2)
        C, real.
    shape : tuple of int
        Grid of both signals (an integer N: (N,)); the convolution is circular on it.
    frequencies : array of int, optional
        Positions in the flattened half spectrum (that of ``scipy.fft.rfftn``); by default all.

    Raises
    ------
    ShapeError, EmptyDataError, DTypeError, NonFiniteError, InputError

    Notes
    -----
    A(L R^T) costs 2 k transforms, a gradient 4 k, a Hessian product 6 k: N log N each, and never
    m n1 n2. Transforms run in SciPy, whatever the namespace of the factors. Source: the lifting of
    Ahmed, Recht, Romberg (2014); the real form is own derivation.

    Examples
    --------
    >>> import numpy as np
    >>> A = BlindDeconvolution(np.eye(4)[:, :2], np.eye(4), (4,))
    >>> blurred = np.array([1.0, 2.0, 0.0, 0.0])  # (1, 2) * (1, 0, 0, 0)
    >>> X = np.outer([1.0, 2.0], [1.0, 0.0, 0.0, 0.0])
    >>> bool(np.allclose(A.apply(X), A.measure(blurred)))
    True
    """

    @staticmethod
    def example(rng: np.random.Generator) -> BlindDeconvolution:
        """Make a small instance for the contract tests."""
        bases = rng.standard_normal((24, 4)), rng.standard_normal((24, 5))
        return BlindDeconvolution(*bases, (6, 4), frequencies=[0, 1, 2, 3, 5, 7, 8, 10, 11, 13, 14])

    def __init__(
        self,
        filter_basis: Any,
        signal_basis: Any,
        shape: int | tuple[int, ...],
        frequencies: Any = None,
    ) -> None:
        self.grid = _checked_grid(shape)
        self.filter_basis, filter_complex = _checked_basis(filter_basis, "filter basis")
        self.signal_basis, signal_complex = _checked_basis(signal_basis, "signal basis")
        if filter_complex or signal_complex:
            raise DTypeError("a complex basis", "pass real bases: the signals are real")
        pixels = int(np.prod(self.grid))
        for basis, name in ((self.filter_basis, "filter"), (self.signal_basis, "signal")):
            if basis.shape[0] != pixels:
                raise ShapeError(
                    f"a {name} basis with {basis.shape[0]} rows on a grid of {pixels} points",
                    f"pass one row a point of the grid {self.grid}",
                )
        self.shape = int(self.filter_basis.shape[1]), int(self.signal_basis.shape[1])
        self._half = (*self.grid[:-1], self.grid[-1] // 2 + 1)
        half_size = int(np.prod(self._half))
        kept = np.arange(half_size) if frequencies is None else np.asarray(frequencies)
        if kept.ndim != 1 or kept.dtype.kind not in "iu" or kept.size == 0:
            raise InputError("frequencies that are no positions", "pass a list of integers")
        if kept.min() < 0 or kept.max() >= half_size or np.unique(kept).size != kept.size:
            raise InputError(
                f"frequencies outside 0..{half_size - 1}, or repeated",
                "pass distinct positions of the flattened half spectrum",
            )
        self.frequencies = kept.astype(np.intp)
        self._real, self._imaginary = self._weights()
        self.num_measurements = int(np.sum(self._real > 0) + np.sum(self._imaginary > 0))

    def _weights(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the weights of real and imaginary parts at the kept frequencies.

        A coefficient whose conjugate is another kept or dropped entry of the full spectrum counts
        for how often it occurs among the stored half: columns 0 and N/2 of the half spectrum are
        stored with their conjugates, the others stand for two. A coefficient that is its own
        conjugate is real.
        """
        index = np.unravel_index(self.frequencies, self._half)
        last = index[-1]
        size = self.grid[-1]
        stored_twice = (last == 0) | (2 * last == size)
        weight = np.where(stored_twice, 1.0, np.sqrt(2.0))
        own = np.ones(self.frequencies.size, dtype=bool)
        for position, length in zip(index, self.grid, strict=True):
            own &= (2 * position) % length == 0
        return weight, np.where(own, 0.0, weight)

    @property
    def size_in_bytes(self) -> int:
        """Return the memory of the bases, 0 for LinearOperators."""
        return vector_bytes(self.filter_basis) + vector_bytes(self.signal_basis)

    # -- spectra -----------------------------------------------------------------------------

    def _spectra(self, basis: Any, x: np.ndarray) -> np.ndarray:
        """Return the half spectra of the k signals basis @ x, shape (k, *half)."""
        signals = np.asarray(basis @ x).T.reshape(x.shape[1], *self.grid)
        axes = tuple(range(1, len(self.grid) + 1))
        return np.asarray(fft.rfftn(signals, axes=axes, norm="ortho"))

    def _filters(self, left: Array) -> np.ndarray:
        return self._spectra(self.filter_basis, to_numpy(left))

    def _signals(self, right: Array) -> np.ndarray:
        return self._spectra(self.signal_basis, to_numpy(right))

    def _correlated(self, basis: Any, spectra: np.ndarray) -> np.ndarray:
        """Return basis^T S, S the k signals of these half spectra, scaled as in ``_pack_total``."""
        axes = tuple(range(1, len(self.grid) + 1))
        # norm="ortho" splits the factor N of the inverse transform evenly, as the forward one does.
        signals = fft.irfftn(spectra, s=self.grid, axes=axes, norm="ortho")
        pixels = int(np.prod(self.grid))
        signals = np.sqrt(pixels) * np.asarray(signals).reshape(len(spectra), pixels)
        return _transposed_product(basis, signals.T)

    def _pack_total(self, spectrum: np.ndarray) -> np.ndarray:
        return self._pack(np.sqrt(np.prod(self.grid)) * spectrum)

    def _pack(self, spectrum: np.ndarray) -> np.ndarray:
        kept: Any = spectrum.reshape(-1)[self.frequencies]
        own = self._imaginary > 0
        return np.concatenate([self._real * kept.real, (self._imaginary * kept.imag)[own]])

    def _unpack(self, y: np.ndarray) -> np.ndarray:
        """Return the adjoint of ``_pack`` after an inverse transform: the real signal's spectrum.

        <pack(F s), y> = <s, F^H unpack(y)>: rfftn drops the conjugate half, whose share the inverse
        real transform adds, so that entries standing for two are halved here.
        """
        count = self.frequencies.size
        values = self._real * y[:count] + 0j
        values[self._imaginary > 0] += 1j * (self._imaginary[self._imaginary > 0] * y[count:])
        stands_for_two = self._real > 1.0
        values = np.where(stands_for_two, 0.5 * values, values)
        out = np.zeros(int(np.prod(self._half)), dtype=complex)
        out[self.frequencies] = values
        return self._symmetrised(out.reshape(self._half))

    def _symmetrised(self, half: np.ndarray) -> np.ndarray:
        """Return the half spectrum of the real part of the signal that ``half`` stands for.

        In the columns stored with their conjugates only the Hermitian part makes a real signal.
        """
        out = half.copy()
        size = self.grid[-1]
        for last in {0, size // 2} if size % 2 == 0 else {0}:
            column = half[..., last]
            mirrored = column
            for axis in range(column.ndim):
                mirrored = np.roll(np.flip(mirrored, axis), 1, axis)
            out[..., last] = 0.5 * (column + mirrored.conj())
        return out

    def measure(self, signal: Any) -> np.ndarray:
        """Return the measurements of an observed h * x, an array on the grid or its raveled values.

        Raises
        ------
        ShapeError, DTypeError, NonFiniteError
        """
        signal = to_numpy(signal)
        if signal.shape not in (self.grid, (int(np.prod(self.grid)),)):
            raise ShapeError(f"a signal of shape {signal.shape}", f"pass one on {self.grid}")
        if signal.dtype.kind not in "fiub":
            raise DTypeError(f"a signal of type {signal.dtype}", "pass real numbers")
        if not np.isfinite(signal).all():
            raise NonFiniteError("a signal with NaN or inf", "fill these points first")
        return self._pack(np.asarray(fft.rfftn(signal.reshape(self.grid), norm="ortho")))

    # -- products ----------------------------------------------------------------------------

    def apply_product(self, left: Array, right: Array) -> Array:
        """Return the spectrum of the sum of the columns' convolutions."""
        filters, signals = self._filters(left), self._signals(right)
        return like(self._pack_total((filters * signals).sum(axis=0)), left)

    def _apply_matrix(self, matrix: Array) -> Array:
        # X = X I: as many columns as X has.
        host = to_numpy(matrix)
        return like(to_numpy(self.apply_product(host, np.eye(self.shape[1]))), matrix)

    def residual_products(self, left: Array, right: Array, b: Array) -> tuple[Array, Array, Array]:
        """Return the residual and gradient products with every spectrum computed once."""
        filters, signals = self._filters(left), self._signals(right)
        residual = self._pack_total((filters * signals).sum(axis=0)) - to_numpy(b)
        kernel = self._unpack(residual)
        return (
            like(residual, left),
            like(self._correlated(self.filter_basis, kernel * signals.conj()), left),
            like(self._correlated(self.signal_basis, kernel * filters.conj()), left),
        )

    def normal_products(
        self,
        left: Array,
        right: Array,
        d_left: Array,
        d_right: Array,
        s: Array | None = None,
        curvature: Callable[[Array], Array] | None = None,
    ) -> tuple[Array, Array]:
        """Return the Hessian product with every spectrum computed once."""
        filters, signals = self._filters(left), self._signals(right)
        d_filters, d_signals = self._filters(d_left), self._signals(d_right)
        y = self._pack_total((d_filters * signals + filters * d_signals).sum(axis=0))
        if curvature is not None:
            y = to_numpy(curvature(like(y, left)))
        kernel = self._unpack(y)
        back_left, back_right = kernel * signals.conj(), kernel * filters.conj()
        if s is not None:
            kernel = self._unpack(to_numpy(s))
            back_left += kernel * d_signals.conj()
            back_right += kernel * d_filters.conj()
        return (
            like(self._correlated(self.filter_basis, back_left), left),
            like(self._correlated(self.signal_basis, back_right), left),
        )

    def adjoint(self, y: Array) -> BlindAdjoint:
        """Return B^T corr(C ., y) by its products."""
        return BlindAdjoint(self, y)

    # -- moments -----------------------------------------------------------------------------

    def _moment(
        self, side: str, factor: np.ndarray | None, weights: np.ndarray
    ) -> np.ndarray | None:
        """Return the moment from the spectra of all basis columns; bases exchanged on the right.

        Real and imaginary part of Z = g b c^T, b and c the spectra of B and C at a frequency, give

            Re Z M Re Z^T = Re(Z M Z^H + Z M Z^T) / 2,    Im Z M Im Z^T = Re(Z M Z^H - Z M Z^T) / 2,

        with Z M Z^H = g^2 |F^T c|^2 b b^H and Z M Z^T = g^2 (c^T F F^T c) b b^T. Cost: n1 + n2
        transforms and l n1^2 complex multiply-adds for l kept frequencies; memory l (n1 + n2)
        complex numbers, None from ``MOMENT_NUMBERS`` on. Own derivation.
        """
        if not self._tractable(self.shape[0] if side == "left" else self.shape[1]):
            return None
        b, c = self._kept(self.filter_basis), self._kept(self.signal_basis)
        own, other = (b, c) if side == "left" else (c, b)
        images = times_factor(other, factor)
        same, mixed = self._part_weights(weights)
        same, mixed = same * np.sum(np.abs(images) ** 2, axis=1), mixed * np.sum(images**2, axis=1)
        return (own.T @ (same[:, None] * own.conj() + mixed[:, None] * own)).real

    def _transposed_moment(self, weights: np.ndarray) -> np.ndarray | None:
        """Return the sum of Re Z Re Z and Im Z Im Z from the spectra, as of ``_moment``.

        Re Z Re Z = Re(Z conj(Z) + Z Z) / 2 and Im Z Im Z = Re(Z conj(Z) - Z Z) / 2, with Z conj(Z)
        = g^2 (c^T conj(b)) b c^H and Z Z = g^2 (c^T b) b c^T.
        """
        if not self._tractable(self.shape[0]):
            return None
        b, c = self._kept(self.filter_basis), self._kept(self.signal_basis)
        same, mixed = self._part_weights(weights)
        same, mixed = same * np.sum(c * b.conj(), axis=1), mixed * np.sum(c * b, axis=1)
        return (b.T @ (same[:, None] * c.conj() + mixed[:, None] * c)).real

    def _tractable(self, side: int) -> bool:
        return side <= MOMENT_SIDE and self.frequencies.size * sum(self.shape) <= MOMENT_NUMBERS

    def _kept(self, basis: Any) -> np.ndarray:
        """Return the spectra of all columns of a basis at the kept frequencies, l x n."""
        n = int(basis.shape[1])
        out = np.empty((self.frequencies.size, n), dtype=complex)
        for lo in range(0, n, MOMENT_COLUMNS):
            hi = min(lo + MOMENT_COLUMNS, n)
            spectra = self._spectra(basis, np.eye(n, hi - lo, -lo))
            out[:, lo:hi] = spectra.reshape(hi - lo, -1)[:, self.frequencies].T
        return out

    def _part_weights(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the weights of Re(Z M Z^H) and Re(Z M Z^T) of b c^T at every kept frequency."""
        count = self.frequencies.size
        imaginary = np.zeros(count)
        imaginary[self._imaginary > 0] = weights[count:]
        real, imaginary = self._real**2 * weights[:count], self._imaginary**2 * imaginary
        half = 0.5 * float(np.prod(self.grid))
        return half * (real + imaginary), half * (real - imaginary)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the bases, the grid and the frequencies."""
        return {
            "filter_basis": stored_vectors(self, self.filter_basis),
            "signal_basis": stored_vectors(self, self.signal_basis),
            "grid": np.array(self.grid),
            "frequencies": self.frequencies,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> BlindDeconvolution:
        """Rebuild the operator from ``to_arrays``."""
        grid = tuple(int(size) for size in arrays["grid"])
        return cls(arrays["filter_basis"], arrays["signal_basis"], grid, arrays["frequencies"])


class BlindAdjoint:
    """The matrix B^T H(y) C with H(y) the circular correlation by y, known by its products."""

    def __init__(self, operator: BlindDeconvolution, y: Array, transposed: bool = False) -> None:
        self.operator, self.y, self.transposed = operator, y, transposed
        self.shape = operator.shape[::-1] if transposed else operator.shape

    @property
    def T(self) -> BlindAdjoint:
        """Return the transpose: the bases exchanged, since convolution commutes."""
        return BlindAdjoint(self.operator, self.y, not self.transposed)

    def __matmul__(self, x: Array) -> Array:
        op, host = self.operator, to_numpy(x)
        into, out_of = op.signal_basis, op.filter_basis
        if self.transposed:
            into, out_of = out_of, into
        columns = host[:, None] if host.ndim == 1 else host
        spectra = op._spectra(into, columns).conj() * op._unpack(to_numpy(self.y))
        back = op._correlated(out_of, spectra)
        return like(back[:, 0] if host.ndim == 1 else back, x)


def _checked_grid(shape: Any) -> tuple[int, ...]:
    sizes = np.atleast_1d(np.asarray(shape))
    if sizes.ndim != 1 or sizes.size == 0 or sizes.dtype.kind not in "iu" or sizes.min() < 1:
        raise ShapeError(f"a grid of shape {shape}", "pass a tuple of positive integers")
    return tuple(int(size) for size in sizes)


def _checked_basis(basis: Any, name: str) -> tuple[Any, bool]:
    checked, is_complex = checked_vectors(basis, name)
    if not (isinstance(checked, LinearOperator) or sparse.issparse(checked)):
        checked = to_numpy(checked)  # the transforms run in SciPy
    return checked, is_complex


def _transposed_product(basis: Any, x: np.ndarray) -> np.ndarray:
    if isinstance(basis, LinearOperator):
        return np.asarray(basis.rmatmat(x))
    if sparse.issparse(basis):
        return np.asarray(basis.T @ x)
    return basis.T @ x
