"""Arrays of an .npz archive: what they are before they are read, and a large one left on disk."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DTypeError, TooLargeError

BROKEN = (
    OSError, EOFError, KeyError, IndexError, TypeError, ValueError, RuntimeError, struct.error,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What reading a damaged or forged archive may raise."""


@dataclass(frozen=True)
class Header:
    """Say what an array of the archive is, before it is read."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]

    @property
    def num_bytes(self) -> float:
        """Return the memory of reading it, with the copy that integers and Fortran order need."""
        items = float(np.prod(self.shape, dtype=np.float64))
        copied = self.fortran or self.dtype.kind in "iub"
        return items * (self.dtype.itemsize + (8 if copied else 0))


def read_headers(path: Path) -> dict[str, Header]:
    """Return what the arrays are, by name; reads a few hundred bytes of each."""
    headers = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            with archive.open(member) as file:
                headers[member.removesuffix(".npy")] = _read_header(file)
    return headers


def _read_header(file: Any) -> Header:
    version = np.lib.format.read_magic(file)
    first = np.lib.format.read_array_header_1_0
    shape, fortran, dtype = (
        first(file) if version == (1, 0) else np.lib.format.read_array_header_2_0(file)
    )
    return Header(shape, fortran, dtype)


def load_arrays(path: Path, headers: Mapping[str, Header], limit: int) -> dict[str, Any]:
    """Return the arrays by name; an A above half of the limit as a memory map where it can be one.

    Raises
    ------
    DTypeError
        For Python objects, which are never unpickled.
    TooLargeError
        When the rest needs more than ``limit`` bytes.
    """
    objects = [name for name, header in headers.items() if header.dtype.hasobject]
    if objects:
        raise DTypeError(
            f"{path}: {objects[0]} holds Python objects, which are not loaded from files",
            "store plain arrays of numbers, and text as np.array(..., dtype=str)",
        )
    arrays: dict[str, Any] = {}
    if "A" in headers and headers["A"].num_bytes > limit / 2:
        mapped = _mapped(path, "A")
        arrays |= {} if mapped is None else {"A": mapped}
    needed = sum(header.num_bytes for name, header in headers.items() if name not in arrays)
    if needed > limit:
        raise TooLargeError(
            f"{path}: reading needs about {needed / 2**30:.2g} GiB, {limit / 2**30:.2g} GiB are "
            "available",
            "use a larger machine; or store A in float64, C order and with np.savez, which is not "
            "compressed: it then stays on the disk",
        )
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        return arrays | {name: archive[name] for name in headers if name not in arrays}


def _mapped(path: Path, name: str) -> np.memmap[Any, Any] | None:
    """Return an uncompressed array of the archive as a memory map; None where it cannot be one."""
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo(f"{name}.npy")
    with path.open("rb") as file:
        # The local header of a zip member: 30 bytes, of which the last four give two lengths.
        file.seek(member.header_offset + 26)
        lengths = struct.unpack("<HH", file.read(4))
        file.seek(sum(lengths), 1)
        if member.compress_type != zipfile.ZIP_STORED:
            return None
        header = _read_header(file)
        if header.dtype.kind != "f" or header.fortran:
            return None
        return np.memmap(path, header.dtype, "r", file.tell(), header.shape)
