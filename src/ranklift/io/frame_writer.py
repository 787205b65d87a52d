"""FrameWriter: a video or a folder of images that appears when all of it is written."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DTypeError, EmptyDataError, FileFormatError, InputError, ShapeError
from .atomic import check_writable

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv")
"""What is written as a video; any other path is a folder."""

Frame = NDArray[np.uint8]


class FrameWriter:
    """Write frames to a video or a folder of png images, which appears when all is written.

    Parameters
    ----------
    path : path
        .mp4, .avi or .mkv: a video, by H.264 where FFmpeg has it and MPEG-4 otherwise; both need
        even sizes, so that an odd height or width gets its last row or column twice. Anything
        else: a new or empty folder for 000000.png, 000001.png, ...
    fps : float, optional
        Frames a second of a video, from 0.001 to 1000; None counts as 25.

    Raises
    ------
    FileFormatError
        Where it could not be written in the end: missing folder, another file in the way; before
        any frame.
    EmptyDataError
        At the end, without a frame.

    Notes
    -----
    Written aside, renamed when the block ends and removed when it fails; an older video of that
    name is then replaced. One frame in memory.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp()) / "out"
    >>> with FrameWriter(folder) as writer:
    ...     writer.append(np.zeros((4, 6)))
    ...     writer.append(np.ones((4, 6, 3)))
    >>> sorted(p.name for p in folder.iterdir())
    ['000000.png', '000001.png']
    """

    def __init__(self, path: Path | str, fps: float | None = None) -> None:
        self.path = Path(path)
        self.fps = 25.0 if fps is None else float(fps)
        if not 1e-3 <= self.fps <= 1e3:
            raise InputError(f"{fps} frames a second", "pass a number from 0.001 to 1000")
        self.is_video = self.path.suffix.lower() in VIDEO_SUFFIXES
        self.count = 0
        self._size: tuple[int, int] | None = None
        self._video: Any = None
        aside = f".{self.path.stem[:40]}.{secrets.token_hex(6)}{self.path.suffix}"
        self._aside = self.path.with_name(aside)
        self._check()

    def _check(self) -> None:
        if self.is_video:
            check_writable(self.path)
            from .video import require_av

            require_av(self.path)
            return
        if self.path.is_dir():
            if any(self.path.iterdir()):
                raise FileFormatError(f"{self.path} is not empty", "name a new folder")
        elif self.path.exists():
            raise FileFormatError(f"{self.path} is a file", "name a new folder, or a .mp4 file")
        else:
            check_writable(self.path)

    def __enter__(self) -> FrameWriter:
        """Return the writer."""
        return self

    def append(self, frame: NDArray[Any]) -> None:
        """Write one frame.

        Parameters
        ----------
        frame : array, shape (height, width) or (height, width, 3)
            uint8, bool, or floats, which are clipped to [0, 1].

        Raises
        ------
        ShapeError, DTypeError
            A frame of another size than the first, or of other values.
        """
        frame = _checked_frame(frame)
        size = (int(frame.shape[0]), int(frame.shape[1]))
        if self._size is None:
            self._size = size
        elif size != self._size:
            raise ShapeError(
                f"frame {self.count} is {size}, those before are {self._size}",
                "write frames of one size",
            )
        if self.is_video:
            self._append_to_video(frame)
        else:
            from PIL import Image

            self._aside.mkdir(exist_ok=True)
            # Level 1: four times as fast as the default, files a sixth larger (vtest.avi).
            Image.fromarray(frame).save(self._aside / f"{self.count:06d}.png", compress_level=1)
        self.count += 1

    def _append_to_video(self, frame: Frame) -> None:
        from .video import VideoFile

        if self._video is None:
            assert self._size is not None
            self._video = VideoFile(self._aside, self.fps, self._size)
        self._video.append(frame)

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        """Rename what was written, or remove it after an error."""
        try:
            if self._video is not None:
                self._video.close(finish=kind is None)
            if kind is not None:
                return
            if not self.count:
                raise EmptyDataError(f"no frame for {self.path}", "append at least one")
            # An empty folder is replaced by the rename.
            os.replace(self._aside, self.path)
        finally:
            if self._aside.is_dir():
                shutil.rmtree(self._aside)
            self._aside.unlink(missing_ok=True)


def _checked_frame(frame: NDArray[Any]) -> Frame:
    frame = np.asarray(frame)
    if (frame.ndim != 2 and (frame.ndim != 3 or frame.shape[2] != 3)) or frame.size == 0:
        raise ShapeError(f"a frame of shape {frame.shape}", "pass (height, width[, 3])")
    if frame.dtype == np.uint8:
        return np.ascontiguousarray(frame)
    if frame.dtype.kind not in "bf" or not np.isfinite(frame).all():
        raise DTypeError(f"a frame of {frame.dtype}", "pass uint8, or finite floats in [0, 1]")
    return np.rint(np.clip(frame.astype(np.float64), 0.0, 1.0) * 255.0).astype(np.uint8)
