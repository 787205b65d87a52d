"""Reading incomplete matrices from files, and writing results without ever leaving half a file."""

from .atomic import atomic_path, write_text
from .incomplete import IncompleteMatrix, assemble
from .read import read_incomplete
from .write import write_completed

__all__ = [
    "IncompleteMatrix",
    "assemble",
    "atomic_path",
    "read_incomplete",
    "write_completed",
    "write_text",
]
