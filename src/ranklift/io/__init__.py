"""Reading incomplete matrices and problems from files, and writing without ever half a file."""

from .atomic import atomic_path, write_text
from .incomplete import IncompleteMatrix, assemble
from .problem import Problem, is_problem, read_problem, write_problem
from .read import read_incomplete
from .write import write_completed

__all__ = [
    "IncompleteMatrix",
    "Problem",
    "assemble",
    "atomic_path",
    "is_problem",
    "read_incomplete",
    "read_problem",
    "write_completed",
    "write_problem",
    "write_text",
]
