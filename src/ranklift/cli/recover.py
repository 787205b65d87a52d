"""`ranklift recover`: find out what a file is, and do what the command for it does."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FileFormatError, InputError
from ..io import IncompleteMatrix, Problem, is_problem, read_incomplete
from ..io.frames import IMAGE_SUFFIXES
from ..operators import EntrySampling, IdentitySensing
from .complete import CompleteOptions, _labels, complete_file
from .fit import _no_offsets
from .sense import SenseOptions, sense_file, sense_problem

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".m4v", ".gif", ".wmv")


def recover_file(
    file: Path, options: SenseOptions, *, robust: bool = False, quiet: bool = False
) -> tuple[dict[str, Any], str, bool]:
    """Return (plain values, text, certified) of a file of any kind; write what was asked for.

    A problem file goes to `sense_file`; a table or triplets to `complete_file`, or, where the loss
    is another than the squared one, through the same steps as a problem file, values as they are.

    Raises
    ------
    InputError
        Bad input, said before any work on the data; videos and images belong to
        ``ranklift separate``.
    """
    _refuse_frames(file)
    if robust:
        if options.loss not in ("squared", "absolute"):
            raise InputError(f"--robust with --loss {options.loss}", "leave one of them out")
        options = replace(options, loss="absolute")
    options.check()
    options.check_outputs(file)
    if is_problem(file):
        return sense_file(file, options, quiet=quiet)
    if options.loss == "squared":
        return complete_file(file, {}, _completion(options), quiet=quiet)
    data = read_incomplete(file)
    extras = _no_offsets(data) | _labels(data)
    return sense_problem(_entries_problem(data), options, quiet=quiet, extras=extras)


def _completion(options: SenseOptions) -> CompleteOptions:
    # complete's "auto" is the hold-out that "estimate" asks for
    return CompleteOptions(
        rank=options.rank,
        noise="auto" if options.noise == "estimate" else options.noise,
        seed=options.seed,
        max_time_s=options.max_time_s,
        output=options.output,
        report=options.report,
        command=options.command,
    )


def _entries_problem(data: IncompleteMatrix) -> Problem:
    full = data.num_observed == data.shape[0] * data.shape[1]
    operator = (
        IdentitySensing(data.shape) if full else EntrySampling(data.rows, data.cols, data.shape)
    )
    return Problem(
        operator, data.values, source=data.source, sha256=data.sha256, layout=data.layout
    )


def _refuse_frames(file: Path) -> None:
    """Raise FileFormatError for what `ranklift separate` is made for."""
    suffix, kind = file.suffix.lower(), ""
    if file.is_dir():
        kind = "a folder"
    elif suffix in VIDEO_SUFFIXES:
        kind = "a video"
    elif suffix in IMAGE_SUFFIXES:
        kind = "an image"
    elif suffix in (".npy", ".npz") and file.is_file() and _holds_frames(file):
        kind = "an array of frames"
    if kind:
        raise FileFormatError(
            f"{file} is {kind}, not a table or a problem",
            f"separate background and foreground of frames: ranklift separate {file}",
        )


def _holds_frames(file: Path) -> bool:
    # a broken file is left to the reader, whose words fit it better
    try:
        if file.suffix.lower() == ".npz":
            with zipfile.ZipFile(file) as archive:
                return "frames.npy" in archive.namelist()
        return np.load(file, mmap_mode="r", allow_pickle=False).ndim in (3, 4)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return False
