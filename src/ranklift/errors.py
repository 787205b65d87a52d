"""Typed errors: every message names the cause and the remedy."""

from __future__ import annotations


class RankliftError(Exception):
    """Root of every error that ranklift raises on purpose."""


class InputError(RankliftError, ValueError):
    """Report unusable input before any work is done.

    Parameters
    ----------
    cause : str
        What is wrong, with the offending value or place.
    remedy : str
        What the caller can do about it.

    Examples
    --------
    >>> str(InputError("b has 2 values, A has 3 measurements", "pass one value a measurement"))
    'b has 2 values, A has 3 measurements. Remedy: pass one value a measurement.'
    """

    def __init__(self, cause: str, remedy: str) -> None:
        self.cause = cause.rstrip(".")
        self.remedy = remedy.rstrip(".")
        super().__init__(f"{self.cause}. Remedy: {self.remedy}.")

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str]]:
        return type(self), (self.cause, self.remedy)


class NonFiniteError(InputError):
    """A NaN or an infinity where a finite number is needed."""


class EmptyDataError(InputError):
    """No measurement at all."""


class DuplicateEntriesError(InputError):
    """The same matrix entry is listed twice."""


class ShapeError(InputError):
    """Sizes that do not fit together."""


class DTypeError(InputError):
    """Values that are not real floating-point numbers or integers."""


class UnobservedError(InputError):
    """A row or a column without a single sample."""


class RankError(InputError):
    """A rank that the matrix or the number of measurements cannot carry."""


class TooLargeError(InputError):
    """A computation that would not fit into memory."""


class FileFormatError(InputError):
    """A file that is missing, broken, or of an unknown format."""


class NotCertifiedError(RankliftError):
    """Raised by ``Recovery.raise_if_failed`` when a verdict does not hold."""


class ConvergenceWarning(UserWarning):
    """A solver stopped before its convergence test was met; the numbers are kept."""
