"""A street without its passers-by: background and foreground of a video, frame after frame."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ranklift.errors import FileFormatError
from ranklift.estimators.background import BackgroundModel, foreground_picture
from ranklift.io.frames import Frames, open_frames

from .record import HOME, INK, save

RANK, SAMPLE = 1, 60
SHOWN = (150, 560)

PACKAGE, MEMBER = "opencv-doc", "vtest.avi"
"""Debian's package with OpenCV's sample data, 96 MB to download, and the file in it."""

CACHE = Path(tempfile.gettempdir()) / "ranklift-examples"


def vtest() -> Path:
    """Return OpenCV's sample video out of Debian's package; fetched once, then kept in CACHE.

    Raises
    ------
    FileFormatError
        Where apt cannot fetch it.
    """
    kept = CACHE / MEMBER
    if kept.exists():
        return kept
    remedy = f"get {MEMBER} of OpenCV's samples (samples/data) and pass it with --video PATH"
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise FileFormatError(f"no apt here to fetch the package {PACKAGE} with", remedy)
    with tempfile.TemporaryDirectory() as folder:
        try:
            subprocess.run(["apt-get", "download", "-qq", PACKAGE], cwd=folder, check=True)
            (package,) = Path(folder).glob(f"{PACKAGE}_*.deb")
            subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
            (found,) = Path(folder).rglob(MEMBER)
        except (subprocess.CalledProcessError, ValueError) as error:
            raise FileFormatError(
                f"apt-get download {PACKAGE} brought no {MEMBER} ({error})",
                f"apt-get update may help; or {remedy}",
            ) from error
        CACHE.mkdir(parents=True, exist_ok=True)
        aside = kept.with_suffix(".partial")
        shutil.copy(found, aside)
        aside.replace(kept)
    return kept


def options(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line: that of all examples, and the video."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=HOME, help="folder for picture and record")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--video", type=Path, help="vtest.avi; by default from Debian's package")
    return parser.parse_args(argv)


def separate_all(
    frames: Frames, model: BackgroundModel
) -> tuple[list[list[np.ndarray]], float, float]:
    """Return the pictures of the frames SHOWN, the share of foreground, and the seconds."""
    started, rows, shares = time.perf_counter(), [], []
    for index, frame in frames.read():
        background, _, mask = model.separate(frame)
        shares.append(mask.mean())
        if index in SHOWN:
            rows.append([frame, background, mask, foreground_picture(frame, mask, fill=255)])
    return rows, float(np.mean(shares)), time.perf_counter() - started


def picture(rows: list[list[np.ndarray]]) -> Figure:
    """Return a figure of frame, background, mask and foreground, one row a frame."""
    figure = Figure(figsize=(11, 4.1))
    axes = figure.subplots(len(rows), 4, gridspec_kw={"wspace": 0.03, "hspace": 0.04})
    for line, row in zip(axes, rows, strict=True):
        for ax, image in zip(line, row, strict=True):
            ax.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="antialiased")
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_color("#c8ccd2")
    for ax, title in zip(axes[0], ("frame", "background", "mask", "foreground"), strict=True):
        ax.set_title(title, fontsize=10, color=INK)
    for ax, index in zip(axes[:, 0], SHOWN, strict=True):
        ax.set_ylabel(f"frame {index}", fontsize=9, color=INK)
    return figure


def main(argv: list[str] | None = None) -> None:
    """Run the example."""
    args, started = options(argv), time.perf_counter()
    frames = open_frames(args.video if args.video is not None else vtest())
    fit_started = time.perf_counter()
    model = BackgroundModel(RANK, sample=SAMPLE, random_state=args.seed).fit(frames)
    fit_s = time.perf_counter() - fit_started
    rows, share, pass_s = separate_all(frames, model)
    save(
        "video_background", "robust PCA (video background)", picture(rows),
        {
            "frames": frames.count,
            "pixels a frame": frames.height * frames.width,
            "frames fitted": int(model.frame_indices_.size),
            "rank": model.rank_,
            "noise, gray levels of 255": round(255 * model.noise_, 2),
            "share of foreground": round(share, 4),
            "seconds of the fit": round(fit_s, 1),
            "seconds a frame after it": round(pass_s / frames.count, 4),
        },
        model.recovery_,
        source="OpenCV sample vtest.avi (Debian package opencv-doc)",
        output=args.output, started=started,
    )  # fmt: skip


if __name__ == "__main__":
    main()
