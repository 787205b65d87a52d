"""`ranklift separate`: fit the background to some frames, then split all of them one by one."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import FileFormatError, InputError, RankError, ShapeError
from ..io.atomic import atomic_path, check_writable
from ..io.frame_writer import VIDEO_SUFFIXES, FrameWriter
from ..io.frames import Frames, open_frames
from ..io.video import VideoFrames
from .console import Watch, certificate_lines, collected_warnings, note

if TYPE_CHECKING:
    from ..estimators.background import BackgroundModel
    from ..result import Recovery
    from ..trace import TraceRow

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".mtx")
"""Refused by name: FFmpeg takes some texts for pictures of letters."""

SLOWEST, FASTEST = 1e-3, 1e3
"""Frames a second that a video can be written with."""


@dataclass(frozen=True)
class SeparateOptions:
    """Hold what `ranklift separate` was asked for, beside the input.

    Parameters
    ----------
    background, foreground, mask : Path, optional
        Videos or folders to write; without any of the three, `background` and `foreground` beside
        the input: .mp4 for a video, folders otherwise.
    result : Path, optional
        .npz file of the fit, for ``ranklift verify``.
    report : Path, optional
        HTML report of the fit.
    rank, sample, threshold, seed
        As in ``BackgroundModel``.
    max_frames : int, optional
        Only the first frames of the input are used.
    step : int
        Every step-th of them is written; the fit chooses among all.
    max_time_s : float, optional
        For the robust principal component analysis.
    command : str
        For provenance.
    """

    background: Path | None = None
    foreground: Path | None = None
    mask: Path | None = None
    result: Path | None = None
    report: Path | None = None
    rank: int | None = None
    sample: int = 60
    threshold: float = 5.0
    seed: int = 0
    max_frames: int | None = None
    step: int = 1
    max_time_s: float | None = None
    command: str = ""

    def check(self) -> None:
        """Raise InputError for values that make no sense.

        Raises
        ------
        InputError
        """
        from ..estimators.background import LEAST_FRAMES

        if self.sample < LEAST_FRAMES:
            raise InputError(f"--sample {self.sample}", f"use at least {LEAST_FRAMES} frames")
        if self.max_frames is not None and self.max_frames < LEAST_FRAMES:
            raise InputError(
                f"--max-frames {self.max_frames}", f"use at least {LEAST_FRAMES} frames"
            )
        if self.step < 1:
            raise InputError(f"--step {self.step}", "use 1 for every frame, 2 for every other one")
        if not 0 < self.threshold < np.inf:
            raise InputError(
                f"--threshold {self.threshold:g}", "use a positive number of standard deviations"
            )
        if self.max_time_s is not None and not 0 < self.max_time_s < np.inf:
            raise InputError(f"--max-time {self.max_time_s:g}", "use a positive number of seconds")

    def outputs(self, frames: Frames) -> dict[str, Path]:
        """Return what is to be written of every frame, and where."""
        named = {"background": self.background, "foreground": self.foreground, "mask": self.mask}
        chosen = {kind: path for kind, path in named.items() if path is not None}
        if chosen:
            return chosen
        suffix = ".mp4" if isinstance(frames, VideoFrames) else ""
        source = frames.path if frames.path.name not in ("", "..") else frames.path.resolve()
        return {kind: source.with_name(kind + suffix) for kind in ("background", "foreground")}

    def check_outputs(self, outputs: Mapping[str, Path], source: Path) -> None:
        """Raise FileFormatError for outputs that cannot be written or would overwrite something.

        Raises
        ------
        FileFormatError
        """
        named = {f"--{kind}": path for kind, path in outputs.items()}
        for option, path in named.items():
            suffix = path.suffix.lower()
            if suffix not in VIDEO_SUFFIXES and not path.is_dir() and suffix.strip(".0123456789"):
                raise FileFormatError(
                    f"{option} {path} cannot be written as {suffix!r}",
                    f"use {', '.join(VIDEO_SUFFIXES)}, or a folder's name without a suffix",
                )
        if self.result is not None:
            named["--result"] = check_writable(self.result)
            if self.result.suffix.lower() != ".npz":
                raise FileFormatError(f"--result {self.result}", "use a name that ends in .npz")
        if self.report is not None:
            named["--report"] = check_writable(self.report)
        for option, path in named.items():
            if path.exists() and path.samefile(source):
                raise FileFormatError(f"{option} {path} is the input", "name another output")
        for (first, one), (second, two) in itertools.permutations(named.items(), 2):
            if one.resolve() == two.resolve():
                raise FileFormatError(
                    f"{first} and {second} are both {one}", "name each output differently"
                )
            if one.resolve() in two.resolve().parents:
                raise FileFormatError(
                    f"{second} {two} lies in {first} {one}", "name each output its own place"
                )


class FrameWatch(Watch):
    """Count frames beside iterations; Ctrl-C keeps what the current phase has to keep."""

    abandoned = False
    closing = False
    """While outputs get their names Ctrl-C has no effect: all of them appear, or none."""

    kept = ""
    """What the first Ctrl-C keeps; nothing: it interrupts."""

    def phase(self, kept: str) -> None:
        """Begin a phase with a bar of its own."""
        self.kept, self.stop_requested = kept, False
        if self._bar is not None:
            self._bar.remove_task(self._task)
            self._task = self._bar.add_task(self._label, total=self._max_time_s)

    def close(self) -> None:
        """Let Ctrl-C have no effect from now on."""
        self.closing = True

    def count(self, stage: str, done: int, total: int) -> None:
        """Show how much of a stage is done."""
        if self.abandoned:
            # The robust fit takes an interrupt for a wish to stop.
            raise KeyboardInterrupt
        if self._bar is not None:
            self._bar.update(
                self._task,
                description=f"{self._label} · {stage} · {done} of {total}",
                completed=done,
                total=total,
            )

    def _observe(self, row: TraceRow) -> bool:
        if not self.kept:
            self.phase("using the best background so far")
        return super()._observe(row)

    def _interrupt(self, number: int, frame: Any) -> None:
        if self.closing:
            return
        if self.stop_requested or not self.kept:
            self.abandoned = True
            raise KeyboardInterrupt
        self.stop_requested = True
        note(f"stopping: {self.kept} (Ctrl-C again to abandon it)")


@dataclass(frozen=True)
class Pass:
    """Hold what the pass over the frames counted.

    Parameters
    ----------
    frames : int
        Written.
    foreground_share : float
        Of all their pixels.
    elapsed_s : float
    complete : bool
        False after Ctrl-C.
    """

    frames: int
    foreground_share: float
    elapsed_s: float
    complete: bool


def separate_file(
    path: Path, options: SeparateOptions, *, quiet: bool = False
) -> tuple[dict[str, Any], str, bool]:
    """Return (plain values, text, certified and complete) of a separated video; write the outputs.

    The sample of the fit is in memory, and one frame of the pass over all of them.

    All outputs are written aside and renamed at the end, or removed after a failure. Ctrl-C:
    while the sample is read, nothing is kept; during the fit, its best iterate is used and
    all frames are written; during the pass over the frames, the outputs are closed in good order
    with the frames so far. A second Ctrl-C in a phase removes the outputs.

    Raises
    ------
    InputError
        Bad input, said before any work where it shows before; broken frames when they are met.
    """
    options.check()
    if path.suffix.lower() in TABLE_SUFFIXES and path.is_file():
        raise FileFormatError(
            f"{path} is no video: unsupported suffix {path.suffix}",
            "name a video, a folder of images, or a .npy file with frames",
        )
    frames = open_frames(path)
    outputs = options.outputs(frames)
    options.check_outputs(outputs, path)
    _check_size(frames, options)
    rate = None
    if frames.fps is not None:
        rate = min(max(frames.fps / options.step, SLOWEST), FASTEST)
    made = {kind: FrameWriter(output, rate) for kind, output in outputs.items()}
    label = path.resolve().name
    with (
        collected_warnings() as warnings,
        FrameWatch(label, quiet=quiet, max_time_s=options.max_time_s) as watch,
    ):
        started = time.perf_counter()
        model = _fit(frames, options, watch)
        fit_s = time.perf_counter() - started
        recovery = model.recovery_
        with _write_failures(), ExitStack() as stack:
            if options.result is not None:
                recovery.extras |= _extras(model)
                recovery.provenance |= _provenance(frames, options)
                recovery.save(stack.enter_context(atomic_path(options.result)))
            if options.report is not None:
                from ..viz import write_report

                page = stack.enter_context(atomic_path(options.report))
                write_report(page, recovery, _context(frames, model, options, fit_s, warnings))
            writers = {kind: stack.enter_context(writer) for kind, writer in made.items()}
            stack.callback(watch.close)
            watch.phase("closing the files with the frames so far")
            passed = _write(frames, model, options, writers, watch)
    files = {kind: str(output) for kind, output in outputs.items()}
    if options.result is not None:
        files["result"] = str(options.result)
    if options.report is not None:
        files["report"] = str(options.report)
    values = {
        **recovery.to_dict(),
        "certified": bool(recovery.certified),
        "data": {
            "source": str(path),
            "frames": frames.count,
            "height": frames.height,
            "width": frames.width,
            "channels": frames.channels,
            "fps": frames.fps,
        },
        "frames_fitted": int(model.frame_indices_.size),
        "frames_written": passed.frames,
        "complete": passed.complete,
        "threshold": options.threshold,
        "foreground_share": passed.foreground_share,
        "fit_s": fit_s,
        "pass_s": passed.elapsed_s,
        "frames_per_s": passed.frames / passed.elapsed_s,
        "warnings": list(warnings),
        "files": files,
    }
    text = _text(frames, recovery, values)
    return values, text, bool(recovery.certified) and passed.complete


@contextmanager
def _write_failures() -> Iterator[None]:
    """Turn a full disk, or a picture that the encoder refuses, into FileFormatError."""
    av = sys.modules.get("av")
    broken = (OSError,) if av is None else (OSError, av.FFmpegError)
    try:
        yield
    except broken as error:
        text = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise FileFormatError(
            f"the outputs cannot be written ({text})", "free space, or name folders for images"
        ) from error


def _check_size(frames: Frames, options: SeparateOptions) -> None:
    """Raise for too few frames or too large a rank, before any frame of the sample is read."""
    from ..estimators.background import LEAST_FRAMES

    count = frames.count if options.max_frames is None else min(options.max_frames, frames.count)
    if count < LEAST_FRAMES:
        raise ShapeError(
            f"{frames.path} has {count} frame{'s' * (count != 1)}",
            f"give at least {LEAST_FRAMES} frames",
        )
    sampled = -(-count // -(-count // options.sample))
    most = min(sampled, frames.height * frames.width)
    if options.rank is not None and options.rank > most:
        raise RankError(
            f"--rank {options.rank} for {sampled} sampled frames of {frames.height} x "
            f"{frames.width}",
            f"use at most {most} (1 to 3 are usual), or a larger --sample",
        )


def _fit(frames: Frames, options: SeparateOptions, watch: FrameWatch) -> BackgroundModel:
    from ..estimators.background import BackgroundModel

    model = BackgroundModel(
        options.rank,
        sample=options.sample,
        threshold=options.threshold,
        max_time=options.max_time_s,
        random_state=options.seed,
        callback=watch.callback,
        progress=watch.count,
    )
    model.fit(frames, stop=options.max_frames)
    if watch.abandoned:
        raise KeyboardInterrupt
    return model


def _write(
    frames: Frames,
    model: BackgroundModel,
    options: SeparateOptions,
    writers: Mapping[str, FrameWriter],
    watch: FrameWatch,
) -> Pass:
    """Split frame after frame."""
    from ..estimators.background import foreground_picture

    stop = frames.count if options.max_frames is None else min(options.max_frames, frames.count)
    total = -(-stop // options.step)
    done, covered, complete, started = 0, 0, True, time.perf_counter()
    for _, frame in frames.read(options.step, options.max_frames):
        background, _, mask = model.separate(frame)
        for kind, writer in writers.items():
            if kind == "foreground":
                writer.append(foreground_picture(frame, mask))
            else:
                writer.append(background if kind == "background" else mask)
        done += 1
        covered += np.count_nonzero(mask)
        watch.count("writing frames", done, max(total, done))
        if watch.stop_requested and done < total:
            complete = False
            break
    share = covered / (done * frames.height * frames.width)
    return Pass(done, share, time.perf_counter() - started, complete)


def _context(
    frames: Frames,
    model: BackgroundModel,
    options: SeparateOptions,
    fit_s: float,
    warnings: list[str],
) -> Any:
    from ..viz import ReportContext

    fitted = model.recovery_
    pixels, sampled = fitted.left.shape[0], model.frame_indices_.size
    return ReportContext(
        title=f"Background of {frames.path.resolve().name}",
        data={
            "Data": str(frames.path),
            "Frames": f"{frames.count:,} of {frames.height} x {frames.width}",
            "Fitted": f"{sampled} frames at {pixels:,} random pixels; the other pixels follow "
            "from the coefficients",
        },
        parameters={
            "Rank": "searched for" if options.rank is None else f"{options.rank}, given",
            "Threshold": f"{options.threshold:g} standard deviations",
            "Seed": str(options.seed),
        },
        elapsed_s=fit_s,
        warnings=warnings,
    )


def _extras(model: BackgroundModel) -> dict[str, np.ndarray]:
    """Return what makes up the background of all pixels: basis @ coefficients."""
    return {
        "basis": model.basis_.astype(np.float32),
        "coefficients": model.coefficients_,
        "spread": model.spread_.astype(np.float32),
        "frame_indices": model.frame_indices_,
    }


def _provenance(frames: Frames, options: SeparateOptions) -> dict[str, Any]:
    return {
        "command": options.command,
        "seed": options.seed,
        "source": str(frames.path),
        "frames": repr(frames),
        "threshold": options.threshold,
    }


def _text(frames: Frames, recovery: Recovery, values: Mapping[str, Any]) -> str:
    from ..viz.words import headline

    line = headline(recovery)
    colour = "gray" if frames.channels == 1 else "colour"
    rate = "" if frames.fps is None else f", {frames.fps:.4g} a second"
    noise = "" if not recovery.noise else f", noise {255 * recovery.noise:.2f} of 255 gray levels"
    lines = [
        f"{frames.path.resolve().name}: {frames.count:,} {colour} frames of {frames.height} x "
        f"{frames.width}{rate}",
        f"background of rank {recovery.rank}{noise}; {values['frames_fitted']} frames fitted in "
        f"{values['fit_s']:.1f} s",
        f"foreground: {100 * values['foreground_share']:.2f} % of the pixels of "
        f"{values['frames_written']:,} frames, {values['frames_per_s']:.1f} frames a second",
        f"{line.badge.upper()}: {line.sentence}",
    ]
    lines += certificate_lines(recovery)
    lines += [f"note: {message}" for message in values["warnings"]]
    if not values["complete"]:
        lines.append("INCOMPLETE: stopped by Ctrl-C, later frames are missing from the files")
    lines.append("wrote " + ", ".join(values["files"].values()))
    return "\n".join(lines)
