"""Checks of output files before any work: writable, told apart, and not the input."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..errors import FileFormatError
from ..io.atomic import check_writable

Output = tuple[Path | None, tuple[str, ...]]
"""Where to write (None: nowhere), and the suffixes that the option takes (none: any)."""


def check_outputs(outputs: Mapping[str, Output], file: Path | None = None) -> None:
    """Raise FileFormatError for outputs that cannot be written or would overwrite the input.

    Parameters
    ----------
    outputs : mapping from option to (path, suffixes)
    file : Path, optional
        The input file.

    Raises
    ------
    FileFormatError
    """
    wanted = {name: (path, known) for name, (path, known) in outputs.items() if path is not None}
    for option, (path, known) in wanted.items():
        assert path is not None
        check_writable(path)
        if file is not None and path.exists() and file.exists() and path.samefile(file):
            raise FileFormatError(f"{path} is the input file", "name another output file")
        if known and path.suffix.lower() not in known:
            raise FileFormatError(
                f"{option} {path}", f"use a name that ends in {' or '.join(known)}"
            )
    if len({path.resolve() for path, _ in wanted.values() if path is not None}) < len(wanted):
        raise FileFormatError("two outputs have the same name", "name each output differently")
