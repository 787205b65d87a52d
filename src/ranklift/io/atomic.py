"""Write aside, then replace: a reader never sees half a file."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import FileFormatError


def check_writable(path: Path | str) -> Path:
    """Raise before hours of work when a result could not be written at its end.

    Raises
    ------
    FileFormatError
        When the folder is missing or not writable, or the path is a folder.
    """
    path = Path(path)
    folder = path.parent
    if path.is_dir():
        raise FileFormatError(f"{path} is a folder", "name a file in it")
    if not folder.is_dir():
        raise FileFormatError(
            f"the folder {folder} does not exist", f"create it: mkdir -p {folder}"
        )
    if not os.access(folder, os.W_OK):
        raise FileFormatError(f"the folder {folder} is not writable", "choose another output path")
    return path


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`, renamed onto it on success, deleted on failure.

    The temporary name keeps the suffix, because writers such as ``numpy.savez`` append one
    otherwise. The rename is atomic because both names are in one folder.

    Raises
    ------
    FileFormatError
        When the folder is missing or not writable.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> target = pathlib.Path(tempfile.mkdtemp()) / "a.txt"
    >>> with atomic_path(target) as aside:
    ...     _ = aside.write_text("done")
    ...     target.exists()
    False
    >>> target.read_text()
    'done'
    """
    path = check_writable(path)
    aside = path.with_name(f".{path.stem[:40]}.{secrets.token_hex(6)}{path.suffix}")
    try:
        yield aside
        with aside.open("rb") as written:  # the data must be on disk before the name is
            os.fsync(written.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_path(path) as aside:
        aside.write_text(text, encoding="utf-8")
