"""`ranklift separate`: right pictures, streamed, whole files or none, and errors said first."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ranklift as rl
from ranklift.cli import separate
from ranklift.cli.app import main
from ranklift.io.frames import ArrayFrames, FrameWriter, gray, open_frames

Run = Callable[..., tuple[int, str, str]]
COUNT, HEIGHT, WIDTH = 24, 36, 48
NOISE = 1.0
"""In gray levels of 255, as are the pictures below."""

RNG = np.random.default_rng(4)
SCENE = np.add.outer(RNG.integers(60, 120, HEIGHT), RNG.integers(0, 60, WIDTH)).astype(float)
MASKS = np.zeros((COUNT, HEIGHT, WIDTH), dtype=bool)
for index in range(COUNT):
    MASKS[index, 10:18, 1 + 2 * index % 44 : 5 + 2 * index % 44] = True
LIGHT = 1 - 0.2 * np.arange(COUNT) / COUNT
BACKGROUNDS = LIGHT[:, None, None] * SCENE
FRAMES = np.where(
    MASKS, 250, np.rint(BACKGROUNDS + NOISE * RNG.standard_normal(BACKGROUNDS.shape))
).astype(np.uint8)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs `separate` in a fresh folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "clip.npy", FRAMES)

    def call(*arguments: str, command: str = "separate") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ranklift", command, *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        return int(caught.value.code or 0), captured.out, captured.err

    return call


def write_images(folder: Path, frames: np.ndarray = FRAMES) -> Path:
    folder.mkdir()
    for index, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"f{index}.png")
    return folder


def pictures(path: Path) -> np.ndarray:
    return np.array([frame for _, frame in open_frames(path).read()])


def names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


def overlap(found: np.ndarray, true: np.ndarray) -> float:
    return np.count_nonzero(found & true) / np.count_nonzero(found | true)


def refuse(constant: str) -> Any:
    raise AssertionError(f"{constant} is not JSON")


# -- what is written --------------------------------------------------------------------------


def test_a_folder_of_images_is_split_into_folders_beside_it(run: Run, tmp_path: Path) -> None:
    tinted = np.stack([FRAMES, FRAMES // 2, FRAMES // 3], axis=-1)
    tinted[MASKS] = [20, 250, 90]
    write_images(tmp_path / "street", tinted)
    code, out, err = run("street")
    assert (code, err) == (0, "")
    assert names(tmp_path) == ["background", "clip.npy", "foreground", "street"]
    background, foreground = pictures(tmp_path / "background"), pictures(tmp_path / "foreground")
    assert background.shape == (COUNT, HEIGHT, WIDTH)  # of the brightness, in gray
    true = gray(np.stack([BACKGROUNDS, BACKGROUNDS / 2, BACKGROUNDS / 3], axis=-1)) * 255
    assert np.sqrt(np.mean((background - true) ** 2)) < NOISE
    assert np.array_equal(foreground[MASKS], tinted[MASKS])
    assert np.count_nonzero(foreground[~MASKS].any(axis=1)) < 0.01 * MASKS.sum()
    lines = out.splitlines()
    assert lines[0] == f"street: {COUNT} colour frames of {HEIGHT} x {WIDTH}"
    assert lines[1].startswith("background of rank 1, noise ")
    assert float(lines[2].split()[1]) == pytest.approx(100 * MASKS.mean(), rel=0.02)
    assert lines[3].startswith("CERTIFIED: ")
    assert any("HOLDS" in line and "(convex.duality_gap)" in line for line in lines[4:])
    assert lines[-1] == "wrote background, foreground"


def test_json_result_file_and_verify(run: Run, tmp_path: Path) -> None:
    code, out, err = run(
        "clip.npy", "--background", "b", "--mask", "m", "--result", "r.npz", "--rank", "1",
        "--threshold", "6", "--seed", "3", "--json",
    )  # fmt: skip
    values = json.loads(out, parse_constant=refuse)
    assert (code, err, out.count("\n"), values["exit_code"]) == (0, "", 1, 0)
    assert names(tmp_path) == ["b", "clip.npy", "m", "r.npz"]  # no foreground: not asked for
    masks = pictures(tmp_path / "m")
    assert set(np.unique(masks)) == {0, 255}
    assert overlap(masks == 255, MASKS) > 0.98
    assert values["foreground_share"] == np.mean(masks == 255)
    assert values["data"] == {
        "source": "clip.npy", "frames": COUNT, "height": HEIGHT, "width": WIDTH, "channels": 1,
        "fps": None,
    }  # fmt: skip
    assert (values["rank"], values["certified"], values["complete"]) == (1, True, True)
    assert values["noise"] * 255 == pytest.approx(NOISE, rel=0.2)
    assert (values["frames_fitted"], values["frames_written"]) == (COUNT, COUNT)
    assert values["frames_per_s"] == pytest.approx(COUNT / values["pass_s"])
    assert values["convex"]["certificates"]["duality_gap"]["verdict"] == "holds"
    assert values["files"] == {"background": "b", "mask": "m", "result": "r.npz"}
    saved = rl.load(tmp_path / "r.npz")
    assert saved.provenance["command"].startswith("ranklift separate clip.npy --background b")
    assert saved.provenance["seed"] == 3
    rebuilt = saved.extras["basis"] @ saved.extras["coefficients"]
    of_fit = pictures(tmp_path / "b")[saved.extras["frame_indices"]]
    assert np.abs(255 * rebuilt.T.reshape(of_fit.shape) - of_fit).max() < 2
    code, out, _ = run("r.npz", "--json", command="verify")
    verified = json.loads(out)
    assert verified["differences"] == {}
    assert (code, verified["agrees"], verified["certified"]) == (0, True, True)


def test_the_same_seed_gives_the_same_files(run: Run, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert run("clip.npy", "--mask", name, "--seed", "5", "--rank", "1")[0] == 0
    assert np.array_equal(pictures(tmp_path / "one"), pictures(tmp_path / "two"))


def test_step_and_max_frames(run: Run, tmp_path: Path) -> None:
    code, out, _ = run(
        "clip.npy", "--foreground", "f", "--step", "4", "--max-frames", "18", "--sample", "6",
        "--rank", "1", "--json",
    )  # fmt: skip
    values = json.loads(out)
    assert (code, values["frames_written"], values["frames_fitted"]) == (0, 5, 6)
    found = pictures(tmp_path / "f")
    assert names(tmp_path / "f") == [f"{index:06d}.png" for index in range(5)]
    assert np.array_equal(found[MASKS[:18:4]], FRAMES[:18:4][MASKS[:18:4]])


def test_frames_are_streamed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[tuple[str, int]] = []
    read, append = ArrayFrames._read, FrameWriter.append

    def logged_read(self: ArrayFrames, step: int, stop: int | None) -> Any:
        for index, frame in read(self, step, stop):
            events.append(("read", index))
            yield index, frame

    def logged_append(self: FrameWriter, frame: np.ndarray) -> None:
        events.append((self.path.name, self.count))
        append(self, frame)

    monkeypatch.setattr(ArrayFrames, "_read", logged_read)
    monkeypatch.setattr(FrameWriter, "append", logged_append)
    assert (
        run("clip.npy", "--background", "b", "--mask", "m", "--sample", "6", "--rank", "1")[0] == 0
    )
    assert events[:6] == [("read", index) for index in range(0, COUNT, 4)]
    each = [[("read", index), ("b", index), ("m", index)] for index in range(COUNT)]
    assert events[6:] == [event for frame in each for event in frame]


# -- videos -----------------------------------------------------------------------------------


def test_a_video_becomes_videos_beside_it(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("av")
    (tmp_path / "films").mkdir()
    with FrameWriter(tmp_path / "films" / "clip.mkv", 8) as writer:
        for frame in FRAMES:
            writer.append(frame)
    code, out, err = run("films/clip.mkv", "--step", "2", "--json")
    values = json.loads(out)
    assert (code, err) == (0, "")
    assert names(tmp_path / "films") == ["background.mp4", "clip.mkv", "foreground.mp4"]
    assert values["data"]["fps"] == 8
    background = open_frames(tmp_path / "films" / "background.mp4")
    assert (background.count, background.fps) == (COUNT // 2, 4)  # as long as the input
    error = pictures(background.path)[..., 1] - BACKGROUNDS[::2]
    assert np.sqrt(np.mean(error**2)) < 4  # two passes through an encoder
    lit = pictures(tmp_path / "films" / "foreground.mp4")[..., 1] > 128
    assert overlap(lit, MASKS[::2]) > 0.7
    code, _, err = run("films/clip.mkv", "--mask", "films/clip.mkv")
    assert (code, "is the input" in err) == (2, True)


def test_pictures_that_the_encoder_refuses(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("av")
    np.save(tmp_path / "wide.npy", np.tile(np.arange(20000) % 200, (4, 2, 1)).astype(np.uint8))
    code, _, err = run("wide.npy", "--background", "b.mp4", "--mask", "m")
    assert code == 2
    assert "the outputs cannot be written" in err and "folders" in err
    assert names(tmp_path) == ["clip.npy", "wide.npy"]


def test_videos_without_av_say_what_to_install(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "clip.mp4").write_bytes(b"a video")
    for arguments in (["clip.mp4"], ["clip.npy", "--mask", "m.mp4"]):
        code, _, err = run(*arguments)
        assert code == 2
        assert "pip install 'ranklift[video]'" in err
    assert names(tmp_path) == ["clip.mp4", "clip.npy"]


# -- failures and Ctrl-C ----------------------------------------------------------------------


def test_a_broken_frame_leaves_nothing_behind(run: Run, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "street")
    whole = (folder / "f21.png").read_bytes()
    (folder / "f21.png").write_bytes(whole[: len(whole) // 2])
    code, out, err = run("street", "--sample", "12", "--rank", "1", "--result", "r.npz", "--json")
    assert code == 2
    assert "f21.png cannot be read" in err
    assert json.loads(out)["error"]["type"] == "FileFormatError"
    assert names(tmp_path) == ["clip.npy", "street"]


def test_the_report_of_the_fit_is_one_page(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("clip.npy", "--mask", "m", "--rank", "1", "--report", "r.html", "--json")
    page = (tmp_path / "r.html").read_text()
    assert code == 0 and json.loads(out)["files"]["report"] == "r.html"
    assert "Background of clip.npy" in page and "Best possible regularised fit" in page
    assert page.rstrip().endswith("</html>")


def test_a_full_disk_leaves_nothing_behind(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = FrameWriter.append

    def full(self: FrameWriter, frame: np.ndarray) -> None:
        if self.count == 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        append(self, frame)

    monkeypatch.setattr(FrameWriter, "append", full)
    code, _, err = run("clip.npy", "--result", "r.npz")
    assert code == 2
    assert "No space left on device" in err and "Remedy: free space" in err
    assert names(tmp_path) == ["clip.npy"]


def interrupts(monkeypatch: pytest.MonkeyPatch, stage: str, when: Sequence[int]) -> None:
    """Send Ctrl-C after these frames of a stage."""
    count = separate.FrameWatch.count

    def counted(self: separate.FrameWatch, at: str, done: int, total: int) -> None:
        count(self, at, done, total)
        if at == stage and done in when:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(separate.FrameWatch, "count", counted)


def test_interrupted_pass_keeps_its_frames(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupts(monkeypatch, "writing frames", [6])
    before = signal.getsignal(signal.SIGINT)
    code, out, err = run("clip.npy", "--mask", "m", "--result", "r.npz", "--json")
    assert signal.getsignal(signal.SIGINT) is before
    values = json.loads(out)
    assert (code, values["certified"], values["complete"]) == (3, True, False)
    assert "closing the files with the frames so far" in err
    # The signal comes after the sixth frame's check at the latest.
    assert values["frames_written"] == len(names(tmp_path / "m")) in (6, 7)
    written = pictures(tmp_path / "m") == 255
    assert overlap(written, MASKS[: len(written)]) > 0.95
    assert rl.load(tmp_path / "r.npz").certified


def test_second_interrupt_removes_the_outputs(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = separate.FrameWatch.count

    def counted(self: separate.FrameWatch, at: str, done: int, total: int) -> None:
        count(self, at, done, total)
        if at == "writing frames" and done == 6:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(separate.FrameWatch, "count", counted)
    code, _, err = run("clip.npy", "--mask", "m", "--result", "r.npz")
    assert code == 130
    assert "nothing was written" in err
    assert names(tmp_path) == ["clip.npy"]


def test_interrupts_while_the_files_are_closed_have_no_effect(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave = FrameWriter.__exit__

    def leaving(self: FrameWriter, *error: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        leave(self, *error)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(FrameWriter, "__exit__", leaving)
    assert run("clip.npy", "--mask", "m", "--background", "b")[0] == 0
    assert len(names(tmp_path / "m")) == len(names(tmp_path / "b")) == COUNT


def test_interrupted_fit_is_used_for_all_frames(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    observe, seen = separate.FrameWatch._observe, 0

    def interrupted(self: separate.FrameWatch, row: Any) -> bool:
        nonlocal seen
        seen += 1
        if seen == 12:
            os.kill(os.getpid(), signal.SIGINT)
        return observe(self, row)

    monkeypatch.setattr(separate.FrameWatch, "_observe", interrupted)
    code, out, err = run("clip.npy", "--mask", "m", "--rank", "1", "--result", "r.npz", "--json")
    values = json.loads(out)
    assert (code, values["status"], values["certified"]) == (3, "user_stop", False)
    assert "using the best background so far" in err
    assert (values["frames_written"], values["complete"]) == (COUNT, True)
    assert overlap(pictures(tmp_path / "m") == 255, MASKS) > 0.9
    assert rl.load(tmp_path / "r.npz").status is rl.Status.USER_STOP


def test_interrupt_before_there_is_an_answer(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupts(monkeypatch, "reading frames", [5])
    code, out, err = run("clip.npy", "--mask", "m", "--result", "r.npz")
    assert (code, out) == (130, "")
    assert "nothing was written" in err
    assert names(tmp_path) == ["clip.npy"]


def test_out_of_time_is_not_certified_but_written(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("clip.npy", "--mask", "m", "--rank", "1", "--max-time", "1e-9", "--json")
    values = json.loads(out, parse_constant=refuse)
    assert (code, values["status"], values["certified"]) == (3, "max_time", False)
    assert (values["complete"], len(names(tmp_path / "m"))) == (True, COUNT)


# -- input that is refused --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.avi"], "none.avi does not exist"),
        (["text.csv"], "unsupported suffix .csv"),
        (["text.avi"], "Remedy: "),
        (["pairs.npy"], "has shape"),
        (["blank"], "holds no images"),
        (["mixed"], "give images of one size"),
        (["short.npy"], "short.npy has 2 frames"),
        (["clip.npy", "--sample", "2"], "--sample 2"),
        (["clip.npy", "--max-frames", "2"], "--max-frames 2"),
        (["clip.npy", "--step", "0"], "--step 0"),
        (["clip.npy", "--threshold", "0"], "--threshold 0"),
        (["clip.npy", "--threshold", "-2"], "--threshold -2"),
        (["clip.npy", "--threshold", "nan"], "--threshold nan"),
        (["clip.npy", "--max-time", "0"], "--max-time 0"),
        (["clip.npy", "--rank", "25"], "--rank 25 for 24 sampled frames"),
        (["clip.npy", "--rank", "5", "--sample", "4"], "--rank 5 for 4 sampled frames"),
        (["clip.npy", "--mask", "m.gif"], "cannot be written as '.gif'"),
        (["clip.npy", "--mask", "clip.npy"], "cannot be written as '.npy'"),
        (["clip.npy", "--mask", "no/such/m"], "mkdir -p"),
        (["clip.npy", "--mask", "mixed"], "mixed is not empty"),
        (["mixed2", "--mask", "mixed2"], "--mask mixed2 is the input"),
        (["clip.npy", "--result", "clip.npy"], "ends in .npz"),
        (["stack.npz", "--result", "stack.npz"], "--result stack.npz is the input"),
        (["clip.npy", "--result", "no/such/r.npz"], "mkdir -p"),
        (["clip.npy", "--mask", "m", "--background", "./m"], "--background and --mask are both m"),
        (["clip.npy", "--mask", "blank", "--result", "blank/r.npz"], "lies in --mask blank"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_bad_input_is_one_line_and_code_2(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str,
    as_json: bool,
) -> None:
    (tmp_path / "text.csv").write_text("a,b\n1,2\n")
    (tmp_path / "text.avi").write_text("no video")
    (tmp_path / "blank").mkdir()
    np.save(tmp_path / "pairs.npy", np.zeros((5, 2), dtype=np.uint8))
    np.save(tmp_path / "short.npy", FRAMES[:2])
    np.savez(tmp_path / "stack.npz", frames=FRAMES)
    write_images(tmp_path / "mixed", FRAMES[:4])
    Image.fromarray(FRAMES[0, :-1]).save(tmp_path / "mixed" / "f4.png")
    write_images(tmp_path / "mixed2", FRAMES[:4])
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    def no_work(*_: Any) -> Any:
        raise AssertionError("work before the check")

    monkeypatch.setattr(separate, "_fit", no_work)
    code, out, err = run(*arguments, *(["--json"] if as_json else []))
    assert code == 2
    assert err.count("\n") == 1
    assert words in err
    assert "Remedy: " in err
    if as_json:
        assert json.loads(out)["error"]["cause"] in err
    else:
        assert out == ""
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
