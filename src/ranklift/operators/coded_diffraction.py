"""Coded diffraction: Fourier transforms of masked images, as vectors for QuadraticSensing."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import fft
from scipy.sparse.linalg import LinearOperator

from ..errors import EmptyDataError, InputError, NonFiniteError, ShapeError

KINDS = ("octanary", "signs")


def random_masks(
    count: int,
    shape: tuple[int, ...],
    rng: np.random.Generator | int | None = None,
    *,
    kind: str = "octanary",
) -> np.ndarray:
    """Draw masks for coded diffraction, shape (count, *shape).

    "octanary": b1 b2 with b1 uniform in {1, -1, i, -i} and b2 = sqrt(1/2) with probability 4/5, else
    sqrt(3) (Candes, Li, Soltanolkotabi, 2015), so that E |mask|^2 = 1; "signs": uniform +-1, real.

    Raises
    ------
    InputError
        For another kind.

    Examples
    --------
    >>> masks = random_masks(3, (4, 4), 0, kind="signs")
    >>> masks.shape, sorted(set(masks.ravel().tolist()))
    ((3, 4, 4), [-1.0, 1.0])
    """
    if kind not in KINDS:
        raise InputError(f"masks of kind {kind!r}", f"use one of {KINDS}")
    rng = np.random.default_rng(rng)
    size = (count, *shape)
    if kind == "signs":
        return rng.choice([-1.0, 1.0], size)
    phase = rng.choice([1.0, -1.0, 1.0j, -1.0j], size)
    return phase * np.where(rng.random(size) < 0.8, np.sqrt(0.5), np.sqrt(3.0))


def coded_diffraction(shape: tuple[int, ...], masks: Any) -> LinearOperator:
    """Return u -> (F(mask_1 u), ..., F(mask_L u)), F the unitary n-d Fourier transform.

    Parameters
    ----------
    shape : tuple of int
        Grid of the image; u is its row-major vector of length N.
    masks : array, shape (L, *shape)
        Real or complex.

    Returns
    -------
    LinearOperator, shape (L N, N), complex

    Raises
    ------
    ShapeError, EmptyDataError, NonFiniteError

    Notes
    -----
    One product: L transforms, N log N each; the adjoint the same. Source: Candes, Li,
    Soltanolkotabi, phase retrieval from coded diffraction patterns (2015).

    Examples
    --------
    >>> import numpy as np
    >>> V = coded_diffraction((2,), np.ones((1, 2)))
    >>> np.abs(V @ np.array([1.0, 0.0])) ** 2
    array([0.5, 0.5])
    """
    shape = tuple(int(size) for size in shape)
    masks = np.asarray(masks)
    if masks.ndim != len(shape) + 1 or masks.shape[1:] != shape:
        raise ShapeError(
            f"masks of shape {masks.shape} for images of shape {shape}", f"pass (L, *{shape})"
        )
    if masks.size == 0:
        raise EmptyDataError("no mask", "pass at least one, of non-zero size")
    if not np.isfinite(masks).all():
        raise NonFiniteError("a mask holds NaN or inf", "replace it")
    count, pixels = masks.shape[0], int(np.prod(shape))
    axes = tuple(range(1, len(shape) + 1))

    def forward(u: np.ndarray) -> np.ndarray:
        columns = u.reshape(pixels, -1).T.reshape(-1, *shape)
        out = [fft.fftn(masks * image, axes=axes, norm="ortho").reshape(-1) for image in columns]
        return np.stack(out, axis=1).reshape(count * pixels, *u.shape[1:])

    def backward(y: np.ndarray) -> np.ndarray:
        columns = y.reshape(count * pixels, -1).T.reshape(-1, count, *shape)
        out = [
            (masks.conj() * fft.ifftn(c, axes=axes, norm="ortho")).sum(axis=0).reshape(-1)
            for c in columns
        ]
        return np.stack(out, axis=1).reshape(pixels, *y.shape[1:])

    return LinearOperator(
        (count * pixels, pixels),
        matvec=forward,
        rmatvec=backward,
        matmat=forward,
        rmatmat=backward,
        dtype=np.dtype(complex),
    )  # type: ignore[call-arg]
