"""Videos, read and written frame by frame through PyAV, which brings FFmpeg along."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FileFormatError
from .frames import Frame, Frames

QUALITY = {"libx264": {"crf": "18", "preset": "veryfast"}, "mpeg4": {"qscale": "2"}}
"""Options of the encoders at which their errors are not seen."""


def require_av(path: Path) -> Any:
    """Return PyAV, or raise FileFormatError that says how to install it."""
    try:
        import av
    except ImportError as error:
        raise FileFormatError(
            f"{path}: videos need the package av", "pip install 'ranklift[video]'"
        ) from error
    return av


class VideoFrames(Frames):
    """The frames of a video's first picture stream, in the order they are shown."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._av = require_av(path)
        with self._open() as container:
            stream = container.streams.video[0]
            self.fps = float(stream.average_rate) if stream.average_rate else None
            self._duration = _duration(container, stream)
            self._declared = stream.frames
            try:
                first = next(container.decode(stream), None)
            except self._av.FFmpegError as error:
                raise self._broken("cannot be decoded", error) from error
            if first is None:
                raise FileFormatError(f"{path} has no frame", "write or download the file again")
            self.channels = 1 if first.format.name.startswith("gray") else 3
            self.height, self.width = self._array(first).shape[:2]
        self.count = self._declared or self._packets()

    def _open(self) -> Any:
        try:
            container = self._av.open(str(self.path))
        except (self._av.FFmpegError, OSError) as error:
            raise self._broken("is no video that FFmpeg reads", error) from error
        if not container.streams.video:
            container.close()
            raise FileFormatError(f"{self.path} has no pictures", "name a video")
        # Frames are decoded side by side; their order stays.
        container.streams.video[0].thread_type = "AUTO"
        return container

    def _packets(self) -> int:
        """Count frames without decoding them, where the header does not say their number."""
        with self._open() as container:
            try:
                return sum(1 for packet in container.demux(video=0) if packet.size)
            except self._av.FFmpegError as error:
                raise self._broken("breaks off", error) from error

    def _array(self, frame: Any) -> Frame:
        array = frame.to_ndarray(format="gray" if self.channels == 1 else "rgb24")
        turns = round(getattr(frame, "rotation", 0) / 90)
        return np.ascontiguousarray(np.rot90(array, turns)) if turns else array

    def _read(self, step: int, stop: int | None) -> Iterator[tuple[int, Frame]]:
        index, shown = 0, 0.0
        with self._open() as container:
            stream = container.streams.video[0]
            decoded = container.decode(stream)
            while stop is None or index < stop:
                try:
                    frame = next(decoded, None)
                except self._av.FFmpegError as error:
                    raise self._broken(f"breaks off at frame {index}", error) from error
                if frame is None:
                    self._check_end(index, shown)
                    return
                if frame.pts is not None and stream.start_time is not None:
                    shown = float((frame.pts - stream.start_time) * stream.time_base)
                if index % step == 0:
                    array = self._array(frame)
                    if array.shape[:2] != (self.height, self.width):
                        raise FileFormatError(
                            f"{self.path}: frame {index} is {array.shape[0]} x {array.shape[1]}, "
                            f"the first is {self.height} x {self.width}",
                            "give a video of one size",
                        )
                    yield index, array
                index += 1

    def _check_end(self, read: int, shown: float) -> None:
        """Raise where the pictures end well before the header's frame count and duration.

        Healthy files miss a frame or two of their headers, and in AVI files frames may be left
        out on purpose: those have the full duration.
        """
        rate = self.fps or 25.0
        # FFmpeg guesses the duration of a cut AVI file from its size; the count is the header's.
        promised = max(self._duration, self._declared / rate)
        if (self._declared == 0 or read < self._declared) and shown + 3.5 / rate < promised:
            of = f" of {self._declared}" if self._declared else ""
            raise FileFormatError(
                f"{self.path} is truncated: it ends after {read}{of} frames, "
                f"{shown:.1f} s of {promised:.1f} s",
                f"copy or download it again, or stop at frame {read}",
            )

    def _broken(self, what: str, error: BaseException) -> FileFormatError:
        text = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return FileFormatError(
            f"{self.path} {what} ({text})", "copy or download it again, or name another file"
        )


def _duration(container: Any, stream: Any) -> float:
    """Return the seconds that the header promises for the pictures, 0 where it does not."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    # The longest stream's duration: it says something about the pictures only when alone.
    if len(container.streams) == 1 and container.duration:
        return container.duration / 1e6
    return 0.0


class VideoFile:
    """A video that is being written.

    Parameters
    ----------
    path : Path
    fps : float
    size : (int, int)
        Height and width of the frames; odd ones are padded by the last row or column.
    """

    def __init__(self, path: Path, fps: float, size: tuple[int, int]) -> None:
        av = require_av(path)
        self._frame = av.VideoFrame
        self._pad = (size[0] % 2, size[1] % 2)
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        self._container: Any = av.open(str(path), mode="w")
        self._stream = self._container.add_stream(
            codec, rate=Fraction(fps).limit_denominator(1001), options=QUALITY[codec]
        )
        self._stream.height, self._stream.width = size[0] + self._pad[0], size[1] + self._pad[1]
        self._stream.pix_fmt = "yuv420p"

    def append(self, frame: Frame) -> None:
        """Encode a uint8 frame, shape (height, width) or (height, width, 3)."""
        if frame.ndim == 2:
            frame = np.repeat(frame[:, :, None], 3, axis=2)
        if any(self._pad):
            frame = np.pad(frame, ((0, self._pad[0]), (0, self._pad[1]), (0, 0)), mode="edge")
        picture = self._frame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        self._container.mux(self._stream.encode(picture))

    def close(self, *, finish: bool) -> None:
        """Close the file, after the frames that the encoder still holds when it is to be kept."""
        try:
            if finish:
                self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()
