"""Frames are read back as they were written, and every broken input says what is wrong."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ranklift.errors import DTypeError, EmptyDataError, FileFormatError, InputError, ShapeError
from ranklift.io.frames import FrameWriter, gray, open_frames

try:
    import av
except ImportError:
    av = None

needs_av = pytest.mark.skipif(av is None, reason="the optional package av is not installed")


def moving_blob(count: int = 12, height: int = 48, width: int = 64) -> np.ndarray:
    """Return smooth colour frames (encoders keep them within a few gray levels), all distinct."""
    y, x = np.mgrid[:height, :width]
    frames = np.empty((count, height, width, 3), dtype=np.uint8)
    for t in range(count):
        blob = np.exp(-((x - 8 - 4 * t) ** 2 + (y - 24) ** 2) / 200)
        for channel, level in enumerate((40, 90, 140)):
            frames[t, :, :, channel] = level + (100 * blob).astype(np.uint8)
    return frames


def save(folder: Path, name: str, array: np.ndarray, **options: Any) -> None:
    Image.fromarray(array).save(folder / name, **options)


# -- images -----------------------------------------------------------------------------------


def test_images_come_back_exactly_in_natural_order(tmp_path: Path) -> None:
    frames = moving_blob()
    for t, frame in enumerate(frames):
        save(tmp_path, f"f{t}.png", frame)
    (tmp_path / "notes.txt").write_text("no image")
    found = open_frames(tmp_path)
    assert (found.count, found.height, found.width, found.channels) == (12, 48, 64, 3)
    assert found.fps is None
    read = list(found.read())
    assert [index for index, _ in read] == list(range(12))
    assert np.array_equal(np.array([frame for _, frame in read]), frames)


def test_step_and_stop(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", moving_blob())
    found = open_frames(tmp_path / "a.npy")
    assert [index for index, _ in found.read(step=3, stop=8)] == [0, 3, 6]
    assert [index for index, _ in found.read(stop=0)] == []
    assert [index for index, _ in found.read(stop=99)][-1] == 11
    with pytest.raises(InputError, match="step 0"):
        found.read(step=0)


def test_gray_images_stay_gray_unless_one_is_colour(tmp_path: Path) -> None:
    level = np.full((4, 6), 77, dtype=np.uint8)
    save(tmp_path, "a.png", level)
    assert open_frames(tmp_path).channels == 1
    assert next(open_frames(tmp_path).read())[1].shape == (4, 6)
    save(tmp_path, "b.png", np.zeros((4, 6, 3), dtype=np.uint8))
    found = open_frames(tmp_path)
    assert found.channels == 3
    assert np.array_equal(next(found.read())[1], np.repeat(level[:, :, None], 3, axis=2))


def test_sixteen_bits_are_reduced_to_eight(tmp_path: Path) -> None:
    deep = np.array([[0, 256, 32768, 65535]], dtype=np.uint16)
    save(tmp_path, "a.png", deep)
    _, frame = next(open_frames(tmp_path).read())
    assert frame.tolist() == [[0, 1, 128, 255]]


def test_the_orientation_of_a_camera_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6  # the picture is shown turned right by a quarter
    save(tmp_path, "a.jpg", np.zeros((16, 32), dtype=np.uint8), exif=exif)
    found = open_frames(tmp_path)
    assert (found.height, found.width) == (32, 16)
    _, frame = next(found.read())
    assert frame.shape == (32, 16)
    Image.fromarray(frame).save(tmp_path / "a.jpg")
    assert open_frames(tmp_path).width == 16


def test_the_first_image_of_another_size_is_named(tmp_path: Path) -> None:
    for name, height in (("f1.png", 4), ("f2.png", 4), ("f10.png", 5), ("f11.png", 6)):
        save(tmp_path, name, np.zeros((height, 6), dtype=np.uint8))
    with pytest.raises(FileFormatError, match=r"f10\.png is 5 x 6, f1\.png .* 4 x 6"):
        open_frames(tmp_path)


def test_broken_images(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="no images"):
        open_frames(tmp_path)
    (tmp_path / "a.png").write_bytes(b"no png")
    with pytest.raises(FileFormatError, match=r"a\.png cannot be read"):
        open_frames(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    save(tmp_path, "a.png", noise)
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    found = open_frames(tmp_path)  # the header is whole
    with pytest.raises(FileFormatError, match=r"a\.png cannot be read"):
        list(found.read())
    with pytest.raises(FileFormatError, match="one image"):
        open_frames(tmp_path / "a.png")
    with pytest.raises(FileFormatError, match="does not exist"):
        open_frames(tmp_path / "none")


# -- arrays -----------------------------------------------------------------------------------


def test_arrays_of_bytes_and_floats(tmp_path: Path) -> None:
    frames = moving_blob()
    np.savez(tmp_path / "a.npz", frames=frames, fps=10)
    assert np.array_equal([f for _, f in open_frames(tmp_path / "a.npz").read()], frames)
    np.save(tmp_path / "b.npy", frames[..., 0] / 255.0)
    found = open_frames(tmp_path / "b.npy")
    assert found.channels == 1
    assert np.array_equal([f for _, f in found.read()], frames[..., 0])


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        (np.zeros((3, 4)), ShapeError, r"shape \(3, 4\)"),
        (np.zeros((3, 4, 5, 2)), ShapeError, "height, width, 3"),
        (np.zeros((0, 4, 5)), EmptyDataError, "at least one frame"),
        (np.zeros((2, 4, 5), dtype=np.int64), DTypeError, "int64"),
        (np.zeros((2, 4, 5), dtype=complex), DTypeError, "complex"),
    ],
)
def test_arrays_without_frames(
    tmp_path: Path, array: np.ndarray, error: type[InputError], message: str
) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(error, match=message):
        open_frames(tmp_path / "a.npy")


@pytest.mark.parametrize("wrong", [2.0, -0.5, np.nan])
def test_a_float_outside_the_unit_interval_is_located(tmp_path: Path, wrong: float) -> None:
    array = np.zeros((3, 4, 5))
    array[2, 1, 1] = wrong
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(FileFormatError, match="frame 2 has values outside"):
        list(open_frames(tmp_path / "a.npy").read())


def test_broken_archives(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"x")
    (tmp_path / "a.npz").write_bytes(b"x")
    (tmp_path / "b.npz").write_bytes(b"")
    np.save(tmp_path / "c.npy", np.array([{}]), allow_pickle=True)
    np.savez(tmp_path / "d.npz", a=np.zeros(1), b=np.zeros(1))
    for name in ("a.npy", "a.npz", "b.npz", "c.npy"):
        with pytest.raises(FileFormatError, match=r"cannot be read|is empty"):
            open_frames(tmp_path / name)
    with pytest.raises(FileFormatError, match="holds a, b"):
        open_frames(tmp_path / "d.npz")


def test_gray_is_the_luma_and_keeps_gray_values() -> None:
    level = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.allclose(gray(np.repeat(level[:, :, None], 3, axis=2)), level / 255, atol=1e-15)
    assert gray(level).dtype == np.float64
    assert gray(np.array([[[255, 0, 0]]], dtype=np.uint8))[0, 0] == pytest.approx(0.299)


# -- writing ----------------------------------------------------------------------------------


def test_a_written_folder_reads_back(tmp_path: Path) -> None:
    frames = moving_blob()
    with FrameWriter(tmp_path / "out") as writer:
        for t, frame in enumerate(frames):
            writer.append(frame if t % 2 else frame / 255.0)
            assert not (tmp_path / "out").exists()
    assert np.array_equal([f for _, f in open_frames(tmp_path / "out").read()], frames)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_floats_are_clipped(tmp_path: Path) -> None:
    with FrameWriter(tmp_path / "out") as writer:
        writer.append(np.array([[-1.0, 0.5, 7.0]]))
    assert next(open_frames(tmp_path / "out").read())[1].tolist() == [[0, 128, 255]]


@pytest.mark.parametrize("name", ["out", pytest.param("out.mp4", marks=needs_av)])
def test_a_failure_leaves_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(ZeroDivisionError), FrameWriter(tmp_path / name) as writer:
        writer.append(np.zeros((8, 8)))
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(EmptyDataError, match="no frame"), FrameWriter(tmp_path / name):
        pass
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_by_surprise(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(FileFormatError, match="is a file"):
        FrameWriter(tmp_path / "file")
    with pytest.raises(FileFormatError, match="not empty"):
        FrameWriter(tmp_path)
    with pytest.raises(FileFormatError, match="does not exist"):
        FrameWriter(tmp_path / "none" / "out")
    with pytest.raises(InputError, match="1000"):
        FrameWriter(tmp_path / "out", fps=0)


def test_frames_that_cannot_be_written(tmp_path: Path) -> None:
    with FrameWriter(tmp_path / "out") as writer:
        writer.append(np.zeros((4, 6)))
        with pytest.raises(ShapeError, match="frame 1"):
            writer.append(np.zeros((4, 7)))
        with pytest.raises(ShapeError):
            writer.append(np.zeros((4, 6, 2)))
        with pytest.raises(DTypeError):
            writer.append(np.full((4, 6), np.nan))
        with pytest.raises(DTypeError):
            writer.append(np.zeros((4, 6), dtype=np.int32))
    assert open_frames(tmp_path / "out").count == 1


# -- videos -----------------------------------------------------------------------------------


def write_video(path: Path, frames: np.ndarray, fps: float = 10) -> None:
    with FrameWriter(path, fps) as writer:
        for frame in frames:
            writer.append(frame)
            assert not path.exists()


@needs_av
@pytest.mark.parametrize("suffix", ["mp4", "avi", "mkv"])
def test_a_video_reads_back_in_order(tmp_path: Path, suffix: str) -> None:
    frames = moving_blob()
    write_video(tmp_path / f"v.{suffix}", frames)
    found = open_frames(tmp_path / f"v.{suffix}")
    assert (found.count, found.height, found.width, found.channels) == (12, 48, 64, 3)
    assert found.fps == pytest.approx(10)
    for _ in range(2):
        read = list(found.read())
        assert [index for index, _ in read] == list(range(12))
        for index, frame in read:
            # Neighbouring frames differ by 20 levels at the blob's flanks.
            assert np.abs(gray(frame) - gray(frames[index])).max() < 8 / 255
    assert [p.name for p in tmp_path.iterdir()] == [f"v.{suffix}"]
    some = list(found.read(step=5, stop=11))
    assert [index for index, _ in some] == [0, 5, 10]
    assert np.array_equal(some[1][1], read[5][1])


@needs_av
def test_odd_sizes_are_padded_by_the_last_row_and_column(tmp_path: Path) -> None:
    frames = moving_blob()[:, :47, :63]
    write_video(tmp_path / "v.mp4", frames)
    found = open_frames(tmp_path / "v.mp4")
    assert (found.height, found.width) == (48, 64)
    _, frame = next(found.read())
    padded = np.pad(frames[0], ((0, 1), (0, 1), (0, 0)), mode="edge")
    assert np.abs(gray(frame) - gray(padded)).max() < 8 / 255


@needs_av
@pytest.mark.parametrize("suffix", ["avi", "mkv"])
def test_a_truncated_video_says_where_it_ends(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    write_video(tmp_path / "v.avi", rng.integers(0, 256, (60, 48, 64, 3), dtype=np.uint8))
    write_video(tmp_path / "v.mkv", rng.integers(0, 256, (60, 48, 64, 3), dtype=np.uint8))
    whole = (tmp_path / f"v.{suffix}").read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(whole[: len(whole) // 2])
    reached = -1
    with pytest.raises(FileFormatError, match=r"truncated: it ends after \d+") as caught:
        for index, _ in open_frames(cut).read():
            reached = index
    assert f"after {reached + 1} " in str(caught.value)
    assert 10 < reached < 50
    assert len(list(open_frames(cut).read(stop=10))) == 10


@needs_av
def test_files_that_are_no_videos(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video at all" * 100)
    (tmp_path / "b.mp4").write_bytes(b"")
    with pytest.raises(FileFormatError, match="no video that FFmpeg reads"):
        open_frames(tmp_path / "a.mp4")
    with pytest.raises(FileFormatError, match="empty"):
        open_frames(tmp_path / "b.mp4")


def test_without_av_the_remedy_is_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "a.mp4").write_bytes(b"something")
    with pytest.raises(FileFormatError, match=r"pip install 'ranklift\[video\]'"):
        open_frames(tmp_path / "a.mp4")
    with pytest.raises(FileFormatError, match=r"pip install 'ranklift\[video\]'"):
        FrameWriter(tmp_path / "b.mp4")
