"""BackgroundModel: the background of a video as a low-rank matrix, and what moves before it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from .. import threads
from ..errors import InputError, ShapeError, TooLargeError
from ..io.frames import Frames, gray, open_frames
from ..io.read import available_memory
from ..operators import IdentitySensing
from ..residual_scale import EFFICIENT, GAUSSIAN_MEDIAN
from ..robust import robust_pca
from ..trace import Callback
from .robust_pca import NUMBER, ROWS_AT_ONCE, huber_coefficients

Progress = Callable[[str, int, int], Any]
"""Called with what is being done, and how much of how much is done."""

QUANTISATION = 1 / (255 * np.sqrt(12))
"""Standard deviation of rounding to 8 bits, in units of the brightness: no spread is below."""

LEAST_FRAMES = 3
"""A median of fewer frames says nothing about which of them shows the background."""

SEPARATION_PIXELS = 5000
"""Pixels on which the coefficients of a frame are found before the pass over all of them."""


class BackgroundModel(BaseEstimator):
    """Split frames into a background that hardly changes and a foreground that covers it.

    The frames as columns of Y (pixels x frames) are Y = X + S + noise, with X of low rank (the
    scene under changing light) and S sparse (what moves before it). A frame y is split by
    min over c of sum_i Huber(y_i - (L c)_i) with the orthonormal basis L of X.

    Parameters
    ----------
    rank : int, optional
        Rank of X; by default the one that shows, which is 1 for a still scene under light of
        changing strength. Shadows that move need 2 or 3: a part of X that is weaker than S does
        not show by itself. Every further rank also takes up more of what moves slowly.
    sample : int, default 60
        Number of evenly spaced frames to fit, at most. At every pixel the background must show in
        most of them.
    threshold : float, default 5
        A pixel is foreground where it differs from the background by more than this many standard
        deviations of its usual residual.
    pixels : int, default 5000
        Number of random pixels from which the coefficients of the sampled frames are found; the
        basis is then fitted at all pixels. The coefficients are few: 5000 pixels determine them
        far below the noise.
    max_time : float, optional
        Seconds for the robust principal component analysis.
    memory_limit : int, optional
        Bytes for the fit; by default what the machine has available.
    random_state : int, default 0
        Seed of the pixels.
    callback : callable, optional
        As in ``rl.recover``, for the robust principal component analysis.
    progress : callable, optional
        ``progress(stage, done, total)``: frames in the stage "reading frames", pixels in
        "fitting the background".

    Attributes
    ----------
    basis_ : array, shape (height * width, rank_)
        L, orthonormal columns.
    coefficients_ : array, shape (rank_, n_sampled)
        The sampled frames' backgrounds are ``basis_ @ coefficients_``.
    rank_ : int
    noise_ : float
        Standard deviation of the small errors, the brightness being in [0, 1].
    spread_ : array, shape (height, width)
        Standard deviation of the usual residual at every pixel, from the median absolute residual
        of the sampled frames, at least ``noise_``.
    frame_indices_ : int array, shape (n_sampled,)
        The frames that were fitted.
    recovery_ : Recovery
        The robust principal component analysis of the random pixels, with its certificates.

    Raises
    ------
    InputError
        A typed subclass, before any work; TooLargeError where the frames would not fit into
        memory.

    Notes
    -----
    Limits: what covers a pixel in half of the sampled frames passes for its background. In one
    frame of a street scene white over 40% of the picture was withstood at rank 1, over 30% at
    rank 3; at half of the picture the fit follows it.

    Colour: the model is of the brightness, and so is the background; the mask applies to the
    colours (``foreground_picture``). Things as bright as what they cover stay unseen.

    Memory: 4 bytes for every pixel of the sampled frames, and 8 (3 rank + 12) a pixel. Measured on
    57 of 795 frames of 576 x 768 with 2 cores: 13 to 19 s at rank 1 and 3, 0.5 GB; then 25 to 60
    frames a second. Source: Candes, Li, Ma, Wright (2011) for
    the model; the basis of all pixels from some of them is our own derivation: regression of every
    pixel on the coefficients.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> import numpy as np
    >>> scene = np.random.default_rng(0).integers(50, 200, (30, 40), dtype=np.uint8)
    >>> frames = np.repeat(scene[None], 12, axis=0)
    >>> for t in range(12):
    ...     frames[t, 10:14, 3 * t : 3 * t + 4] = 255
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "clip.npy"
    >>> np.save(path, frames)
    >>> model = BackgroundModel().fit(path)
    >>> background, foreground, mask = model.separate(frames[5])
    >>> model.rank_, bool(np.abs(background - scene / 255).max() < 0.5 / 255)
    (1, True)
    >>> int(mask.sum()), bool(mask[10:14, 15:19].all())
    (16, True)
    """

    def __init__(
        self,
        rank: int | None = None,
        *,
        sample: int = 60,
        threshold: float = 5.0,
        pixels: int = 5000,
        max_time: float | None = None,
        memory_limit: int | None = None,
        random_state: int = 0,
        callback: Callback | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.rank = rank
        self.sample = sample
        self.threshold = threshold
        self.pixels = pixels
        self.max_time = max_time
        self.memory_limit = memory_limit
        self.random_state = random_state
        self.callback = callback
        self.progress = progress

    # -- fitting ------------------------------------------------------------------------------

    def fit(self, frames: Frames | Path | str, *, stop: int | None = None) -> BackgroundModel:
        """Fit the background to evenly spaced frames.

        Parameters
        ----------
        frames : Frames or path
            As ``open_frames`` returns them, or what it opens.
        stop : int, optional
            Only frames below this index.

        Raises
        ------
        InputError
            A typed subclass: settings out of range, fewer than three frames, too little memory,
            or a frame that cannot be read.
        """
        if not isinstance(frames, Frames):
            frames = open_frames(frames)
        self._check_settings()
        count = frames.count if stop is None else min(stop, frames.count)
        step = -(-count // self.sample)
        sampled = 0 if count < 1 else -(-count // step)
        if sampled < LEAST_FRAMES:
            raise ShapeError(
                f"{sampled} of {count} frames of {frames.path} to fit",
                f"use at least {LEAST_FRAMES} frames",
            )
        self._check_memory(frames, sampled)
        stack, indices = self._stack(frames, step, stop, sampled)
        rng = np.random.default_rng(self.random_state)
        pixels = stack.shape[0]
        chosen = np.sort(rng.choice(pixels, min(self.pixels, pixels), replace=False))
        some = stack[chosen].astype(np.float64)
        found = robust_pca(
            IdentitySensing(some.shape), some.ravel(), rank=self.rank, noise="estimate",
            max_time=self.max_time, rng=self.random_state, callback=self.callback,
        )  # fmt: skip
        self.recovery_ = found
        self.noise_ = float(found.noise or 0.0)
        self.rank_ = found.rank
        self.frame_indices_ = indices
        self._shape = (frames.height, frames.width)
        with threads.single_threaded_blas():
            self._fit_basis(stack, found.matrix.svd()[2].T)
        self._chosen = np.sort(rng.choice(pixels, min(SEPARATION_PIXELS, pixels), replace=False))
        return self

    def _check_settings(self) -> None:
        for name, least in (("sample", LEAST_FRAMES), ("pixels", 1)):
            value = getattr(self, name)
            if not isinstance(value, (int, np.integer)) or value < least:
                raise InputError(f"{name} {value!r}", f"use an integer of at least {least}")
        if not isinstance(self.threshold, NUMBER) or not 0 < self.threshold < np.inf:
            raise InputError(f"threshold {self.threshold!r}", "use a positive number")

    def _check_memory(self, frames: Frames, sampled: int) -> None:
        pixels = frames.height * frames.width
        # The stack; the basis, its factorisation and the arrays of one frame; and those of the
        # principal component analysis.
        needed = 4 * pixels * sampled + 8 * pixels * (3 * (self.rank or 3) + 12)
        needed += 8 * 40 * min(self.pixels, pixels) * sampled
        limit = available_memory() if self.memory_limit is None else self.memory_limit
        if needed > limit:
            raise TooLargeError(
                f"about {needed / 1e9:.2f} GB for {sampled} frames of {frames.height} x "
                f"{frames.width}, {limit / 1e9:.2f} GB of memory available",
                "use a smaller sample, or smaller frames",
            )

    def _stack(
        self, frames: Frames, step: int, stop: int | None, sampled: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the sampled frames' brightness, pixels x frames, and their indices."""
        stack = np.empty((sampled, frames.height * frames.width), dtype=np.float32)
        indices: list[int] = []
        for index, frame in frames.read(step, stop):
            if len(indices) == sampled:
                break
            stack[len(indices)] = gray(frame).ravel()
            indices.append(index)
            self._report("reading frames", len(indices), sampled)
        if len(indices) < LEAST_FRAMES:
            raise ShapeError(
                f"{len(indices)} frames of {frames.path} to fit", f"use at least {LEAST_FRAMES}"
            )
        return stack[: len(indices)].T, np.array(indices)

    def _fit_basis(self, stack: NDArray[np.float32], right: NDArray[np.float64]) -> None:
        """Regress every pixel's brightness on the frames' coefficients, and take the spread."""
        pixels = stack.shape[0]
        fitted = np.empty((pixels, right.shape[0]))
        spread = np.empty(pixels)
        floor = EFFICIENT * max(self.noise_, QUANTISATION)
        for start in range(0, pixels, ROWS_AT_ONCE):
            part = slice(start, min(start + ROWS_AT_ONCE, pixels))
            values = stack[part].astype(np.float64)
            fitted[part] = _regressed(values, right, floor)
            residual = np.abs(values - fitted[part] @ right)
            spread[part] = GAUSSIAN_MEDIAN * np.median(residual, axis=1)
            self._report("fitting the background", part.stop, pixels)
        self.basis_, triangle = np.linalg.qr(fitted)
        self.coefficients_ = triangle @ right
        least = max(self.noise_, QUANTISATION)
        self.spread_ = np.maximum(spread, least).reshape(self._shape)

    def _report(self, stage: str, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(stage, done, total)

    # -- using the fit ------------------------------------------------------------------------

    def separate(
        self, frame: NDArray[Any]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """Split one frame, which may be new.

        Parameters
        ----------
        frame : uint8 array, shape (height, width) or (height, width, 3)

        Returns
        -------
        background : array, shape (height, width)
            L c, the brightness of the background in [0, 1] up to the noise.
        foreground : array, shape (height, width)
            The brightness less the background, signed: brighter things are positive.
        mask : bool array, shape (height, width)
            Where |foreground| > threshold * spread_.

        Raises
        ------
        ShapeError
            A frame of another size than those fitted.
        """
        check_is_fitted(self, "basis_")
        frame = np.asarray(frame)
        if frame.shape[:2] != self._shape or frame.shape[2:] not in ((), (3,)):
            raise ShapeError(
                f"a frame of shape {frame.shape}, fitted were {self._shape}", "pass such a frame"
            )
        y = gray(frame).ravel()
        with threads.single_threaded_blas():
            background = (self.basis_ @ self._frame_coefficients(y)).reshape(self._shape)
        foreground = y.reshape(self._shape) - background
        return background, foreground, np.abs(foreground) > self.threshold * self.spread_

    def _frame_coefficients(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return argmin over c of sum_i Huber(y_i - (L c)_i), by reweighted least squares."""
        threshold = EFFICIENT * max(self.noise_, QUANTISATION)
        some = self.basis_[self._chosen].T
        c = _regressed(y[None, self._chosen], some, threshold)
        rest = np.maximum(np.abs(y - self.basis_ @ c[0]), threshold)
        weighted = self.basis_ * (threshold / rest)[:, None]
        gram = weighted.T @ self.basis_ + 1e-12 * np.eye(self.rank_)
        return np.linalg.solve(gram, weighted.T @ y)


def _regressed(
    values: NDArray[np.float64], basis: NDArray[np.float64], threshold: float
) -> NDArray[np.float64]:
    """Return argmin over c of Huber(row - c basis) for every row; black frames have no basis."""
    if basis.shape[0] == 0:
        return np.zeros((values.shape[0], 0))
    return huber_coefficients(values, basis, np.ones(values.shape), threshold)


def foreground_picture(
    frame: NDArray[np.uint8], mask: NDArray[np.bool_], *, fill: int = 0
) -> NDArray[np.uint8]:
    """Return the frame in its colours where the mask is on, and `fill` elsewhere.

    Parameters
    ----------
    frame : uint8 array, shape (height, width) or (height, width, 3)
    mask : bool array, shape (height, width)
    fill : int, default 0
        Gray level from 0 (black) to 255 (white).

    Examples
    --------
    >>> foreground_picture(np.array([[7, 9]], dtype=np.uint8), np.array([[True, False]])).tolist()
    [[7, 0]]
    """
    picture = np.full_like(frame, fill)
    picture[mask] = frame[mask]
    return picture
