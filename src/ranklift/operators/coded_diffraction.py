"""Coded diffraction: Fourier transforms of masked images, as vectors for QuadraticSensing."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import fft
from scipy.sparse.linalg import LinearOperator

from ..errors import DTypeError, EmptyDataError, InputError, NonFiniteError, ShapeError

KINDS = ("octanary", "signs")


def random_masks(
    count: int,
    shape: int | tuple[int, ...],
    rng: np.random.Generator | int | None = None,
    *,
    kind: str = "octanary",
) -> np.ndarray:
    """Draw masks for coded diffraction, shape ``(count, *shape)``, on a grid of one or more axes.

    "octanary": b1 b2 with b1 uniform in {1, -1, i, -i} and b2 = sqrt(1/2) with probability 4/5,
    else sqrt(3) (Candes, Li, Soltanolkotabi, 2015), so that ``E |mask|^2 = 1``; "signs": +1 or -1.

    Raises
    ------
    InputError, EmptyDataError
        For another kind, for no mask.

    Examples
    --------
    >>> masks = random_masks(3, (4, 4), 0, kind="signs")
    >>> masks.shape, sorted(set(masks.ravel().tolist()))
    ((3, 4, 4), [-1.0, 1.0])
    """
    if kind not in KINDS:
        raise InputError(f"masks of kind {kind!r}", f"use one of {KINDS}")
    if count < 1:
        raise EmptyDataError(f"{count} masks", "ask for at least one")
    rng = np.random.default_rng(rng)
    size = (count, *np.atleast_1d(shape))
    if kind == "signs":
        return rng.choice([-1.0, 1.0], size)
    phase = rng.choice([1.0, -1.0, 1.0j, -1.0j], size)
    return phase * np.where(rng.random(size) < 0.8, np.sqrt(0.5), np.sqrt(3.0))


class CodedDiffraction(LinearOperator):
    """Map u to (F(mask_1 u), ..., F(mask_L u)), F the unitary n-d Fourier transform.

    The intensities ``|.|^2`` of its output, as ``QuadraticSensing(CodedDiffraction(masks))``, are
    what a detector sees behind L masks; no vector of it is ever formed.

    Parameters
    ----------
    masks : array, shape ``(L, *grid)``
        Real or complex; u is the row-major vector of an image on the grid, N points.

    Raises
    ------
    ShapeError, EmptyDataError, DTypeError, NonFiniteError

    Notes
    -----
    Shape (L N, N), complex. One product: L transforms, N log N each; the adjoint the same. Source:
    Candes, Li, Soltanolkotabi, phase retrieval from coded diffraction patterns (2015).

    Examples
    --------
    >>> import numpy as np
    >>> V = CodedDiffraction(np.ones((1, 2)))
    >>> np.abs(V @ np.array([1.0, 0.0])) ** 2
    array([0.5, 0.5])
    """

    def __init__(self, masks: Any) -> None:
        self.masks = np.asarray(masks)
        if self.masks.ndim < 2:
            raise ShapeError(f"masks of shape {self.masks.shape}", "stack them as (L, *grid)")
        if self.masks.size == 0:
            raise EmptyDataError("no mask", "pass at least one, of non-zero size")
        if self.masks.dtype.kind not in "fciub":
            raise DTypeError(f"masks of type {self.masks.dtype}", "pass real or complex numbers")
        if not np.isfinite(self.masks).all():
            raise NonFiniteError("a mask holds NaN or inf", "replace it")
        self.grid = self.masks.shape[1:]
        self._axes = tuple(range(1, self.masks.ndim))
        super().__init__(np.dtype(complex), (self.masks.size, int(np.prod(self.grid))))

    def _matvec(self, x: np.ndarray) -> np.ndarray:
        image = np.reshape(x, self.grid)
        return np.asarray(fft.fftn(self.masks * image, axes=self._axes, norm="ortho")).ravel()

    def _rmatvec(self, x: np.ndarray) -> np.ndarray:
        images = fft.ifftn(np.reshape(x, self.masks.shape), axes=self._axes, norm="ortho")
        return np.ravel((self.masks.conj() * images).sum(axis=0))

    def _matmat(self, X: np.ndarray) -> np.ndarray:
        return _columnwise(self._matvec, X, self.shape[0])

    def _rmatmat(self, X: np.ndarray) -> np.ndarray:
        return _columnwise(self._rmatvec, X, self.shape[1])


def _columnwise(product: Any, x: np.ndarray, rows: int) -> np.ndarray:
    out = np.empty((rows, x.shape[1]), dtype=complex)
    for column in range(x.shape[1]):
        out[:, column] = product(x[:, column])
    return out
