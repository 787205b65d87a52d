"""Frames of videos, image folders and arrays, one after another."""

from __future__ import annotations

import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DTypeError, EmptyDataError, FileFormatError, InputError, ShapeError
from .frame_writer import Frame, FrameWriter

__all__ = ["Frame", "FrameWriter", "Frames", "gray", "open_frames"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")

LUMA = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in the luma of ITU-R BT.601."""

_ORIENTATION, _SIDEWAYS = 274, (5, 6, 7, 8)
"""EXIF tag of the camera's orientation, and its values that swap height and width."""

_CAMERA_FORMATS = ("JPEG", "MPO", "TIFF")
"""Formats with EXIF in the header: Pillow decodes a whole png to look for it."""


class Frames(ABC):
    """A sequence of frames of one size that is read in order, as often as asked.

    Attributes
    ----------
    path : Path
    count : int
        Number of frames; of a video what its header says, which can be a few too many.
    height, width : int
        In pixels.
    channels : int
        1 (gray) or 3 (red, green, blue).
    fps : float or None
        Frames a second of a video.
    """

    path: Path
    count: int
    height: int
    width: int
    channels: int
    fps: float | None = None

    def read(self, step: int = 1, stop: int | None = None) -> Iterator[tuple[int, Frame]]:
        """Yield (index, frame) of the frames 0, step, 2 step, ... below `stop`.

        Parameters
        ----------
        step : int, default 1
        stop : int, optional
            By default all frames.

        Yields
        ------
        index : int
        frame : uint8 array, shape (height, width) or (height, width, 3)

        Raises
        ------
        FileFormatError
            Where a frame cannot be read, with its number.

        Notes
        -----
        One frame is in memory at a time.
        """
        if step < 1 or (stop is not None and stop < 0):
            raise InputError(f"step {step}, stop {stop}", "use step >= 1 and stop >= 0")
        return self._read(step, stop)

    @abstractmethod
    def _read(self, step: int, stop: int | None) -> Iterator[tuple[int, Frame]]: ...

    def __repr__(self) -> str:
        """Describe the frames."""
        kind = "gray" if self.channels == 1 else "colour"
        rate = "" if self.fps is None else f", {self.fps:g} a second"
        return f"{self.count} {kind} frames of {self.height} x {self.width}{rate} ({self.path})"


def open_frames(path: Path | str) -> Frames:
    """Open a video, a folder of images, or an array of frames.

    Parameters
    ----------
    path : path
        A video that FFmpeg reads (needs ``pip install 'ranklift[video]'``); a folder of png, jpg,
        bmp or tif images of one size, in natural order (frame2 before frame10); a .npy or .npz
        file with one array, or one named "frames", of shape (frames, height, width) or
        (frames, height, width, 3): uint8, bool, or floats in [0, 1].

    Returns
    -------
    Frames

    Raises
    ------
    FileFormatError
        Missing or unreadable file, a folder without images, images of several sizes (the first
        that differs is named).
    EmptyDataError, ShapeError, DTypeError
        Arrays that hold no frames.

    Notes
    -----
    Sizes are checked from the headers, before any frame is read. Transparency is ignored; 16-bit
    images are reduced to 8 bits; the orientation that a camera noted is applied.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "clip.npy"
    >>> np.save(path, np.arange(24, dtype=np.uint8).reshape(4, 2, 3))
    >>> frames = open_frames(path)
    >>> frames.count, frames.height, frames.width, frames.channels
    (4, 2, 3, 1)
    >>> [(index, int(frame[0, 0])) for index, frame in frames.read(step=2)]
    [(0, 0), (2, 12)]
    """
    path = Path(path)
    if not path.exists():
        raise FileFormatError(f"{path} does not exist", "check the path")
    if path.is_dir():
        return ImageFrames(path)
    if not path.is_file():
        raise FileFormatError(f"{path} is not a file", "name a video or a folder of images")
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        raise FileFormatError(f"{path} is one image", "name the folder that holds the images")
    if path.stat().st_size == 0:
        raise FileFormatError(f"{path} is empty", "write or download the file again")
    if suffix in (".npy", ".npz"):
        return ArrayFrames(path)
    from .video import VideoFrames

    return VideoFrames(path)


def gray(frame: NDArray[Any]) -> NDArray[np.float64]:
    """Return the brightness in [0, 1]: 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601 luma) over 255.

    Parameters
    ----------
    frame : uint8 array, shape (height, width) or (height, width, 3)

    Examples
    --------
    >>> gray(np.array([[[255, 0, 0], [0, 255, 0]]], dtype=np.uint8)).round(3).tolist()
    [[0.299, 0.587]]
    """
    if frame.ndim == 2:
        return frame / 255.0
    return frame @ (LUMA / 255.0)


class ImageFrames(Frames):
    """The images of a folder, in natural order of their names."""

    def __init__(self, path: Path) -> None:
        self.path = path
        names = sorted(
            (p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()),
            key=lambda p: _natural(p.name),
        )
        self.paths = [p for p in names if not p.name.startswith(".")]
        if not self.paths:
            raise FileFormatError(
                f"{path} holds no images", f"name a folder with {', '.join(IMAGE_SUFFIXES)} files"
            )
        self.count = len(self.paths)
        self.channels = 1
        for index, image in enumerate(self.paths):
            height, width, colour = _header(image)
            if index == 0:
                self.height, self.width = height, width
            elif (height, width) != (self.height, self.width):
                raise FileFormatError(
                    f"{image} is {height} x {width}, {self.paths[0].name} and those before it are "
                    f"{self.height} x {self.width}",
                    "give images of one size",
                )
            if colour:
                self.channels = 3

    def _read(self, step: int, stop: int | None) -> Iterator[tuple[int, Frame]]:
        for index in range(0, min(self.count, self.count if stop is None else stop), step):
            frame = _load_image(self.paths[index], self.channels)
            if frame.shape[:2] != (self.height, self.width):
                raise FileFormatError(
                    f"{self.paths[index]} has changed since it was opened", "start again"
                )
            yield index, frame


def _natural(name: str) -> list[Any]:
    """Return a sorting key by which frame2 comes before frame10."""
    parts = re.split(r"([0-9]+)", name.lower())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)] + [name]


def _header(path: Path) -> tuple[int, int, bool]:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                width, height = image.size
                if _orientation(image) in _SIDEWAYS:
                    width, height = height, width
                return height, width, not _is_gray(image.mode)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _unreadable(path, error) from error


def _orientation(image: Any) -> int:
    return image.getexif().get(_ORIENTATION, 1) if image.format in _CAMERA_FORMATS else 1


def _is_gray(mode: str) -> bool:
    return mode in ("1", "L", "LA", "La", "F") or mode.startswith("I")


def _load_image(path: Path, channels: int) -> Frame:
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                image = opened if _orientation(opened) == 1 else ImageOps.exif_transpose(opened)
                if image.mode.startswith("I"):
                    # Pillow clips 16 bits to 8 when it converts.
                    deep = np.asarray(image).astype(np.int64) >> 8
                    image = Image.fromarray(np.clip(deep, 0, 255).astype(np.uint8))
                elif image.mode == "F":
                    image = Image.fromarray(_as_bytes(np.asarray(image), str(path)))
                return np.asarray(image.convert("L" if channels == 1 else "RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        if isinstance(error, InputError):
            raise
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: BaseException) -> FileFormatError:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return FileFormatError(f"{path} cannot be read ({text})", "write or download the file again")


class ArrayFrames(Frames):
    """Frames of a .npy file, read from disk as needed, or of a .npz file, held in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.array = array = _load_array(path)
        colour = array.ndim == 4 and array.shape[3] == 3
        if array.ndim != 3 and not colour:
            raise ShapeError(
                f"{path} has shape {array.shape}",
                "store (frames, height, width) or (frames, height, width, 3)",
            )
        if array.size == 0:
            raise EmptyDataError(f"{path} has shape {array.shape}", "store at least one frame")
        if array.dtype != np.uint8 and array.dtype.kind not in "bf":
            raise DTypeError(f"{path} holds {array.dtype}", "store uint8, or floats in [0, 1]")
        self.count, self.height, self.width = (int(n) for n in array.shape[:3])
        self.channels = 3 if colour else 1

    def _read(self, step: int, stop: int | None) -> Iterator[tuple[int, Frame]]:
        for index in range(0, min(self.count, self.count if stop is None else stop), step):
            frame = np.asarray(self.array[index])
            if frame.dtype == np.uint8:
                yield index, np.array(frame)
            else:
                yield index, _as_bytes(frame, f"{self.path}, frame {index}")


def _load_array(path: Path) -> NDArray[Any]:
    import zipfile

    try:
        if path.suffix.lower() == ".npy":
            return np.load(path, mmap_mode="r", allow_pickle=False)
        with np.load(path, allow_pickle=False) as archive:
            names = list(archive.files)
            if "frames" in names:
                names = ["frames"]
            if len(names) == 1:
                return archive[names[0]]
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from error
    held = ", ".join(sorted(names)) or "nothing"
    raise FileFormatError(f"{path} holds {held}", "store one array, or name it frames")


def _as_bytes(frame: NDArray[Any], where: str) -> Frame:
    values = frame.astype(np.float64)
    # Written so that a NaN fails as well.
    if not (values.min() >= -1e-6 and values.max() <= 1 + 1e-6):
        raise FileFormatError(
            f"{where} has values outside [0, 1]", "scale floats to [0, 1], or store uint8"
        )
    return np.rint(np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8)
