"""What `ranklift sense` and `recover` write beside the result: factors, matrix, gross errors."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import FileFormatError, TooLargeError
from ..io import Problem, atomic_path
from ..io.read import available_memory
from ..operators import EntrySampling, IdentitySensing

if TYPE_CHECKING:
    from ..lowrank import LowRank
    from ..result import Recovery


def check_estimate(problem: Problem, path: Path) -> None:
    """Raise before any work when the full matrix could not be written.

    Raises
    ------
    FileFormatError, TooLargeError
    """
    hermitian = problem.operator.hermitian
    if hermitian and path.suffix.lower() == ".csv":
        raise FileFormatError(f"--estimate {path}: the matrix is complex", "use a .npy file")
    rows = problem.embedded_shape
    needed = float(rows[0]) * rows[1] * (16 if hermitian else 8)
    text = 3.0 if path.suffix.lower() == ".csv" else 1.0  # 24 characters a number
    free = min(available_memory(), shutil.disk_usage(path.parent).free / text)
    if needed > free:
        raise TooLargeError(
            f"--estimate {path}: the {rows[0]} x {rows[1]} matrix needs about "
            f"{needed / 2**30:.3g} GiB, {free / 2**30:.3g} GiB are free",
            "write its --factors instead",
        )


def write_factors(path: Path, matrix: LowRank) -> None:
    """Write left, right and singular_values; X = left right^T."""
    values = np.asarray(matrix.svd()[1]) if matrix.rank else np.zeros(0)
    with atomic_path(path) as aside:
        np.savez(aside, left=matrix.left, right=matrix.right, singular_values=values)


def write_estimate(path: Path, matrix: LowRank) -> None:
    """Write the full matrix."""
    array = np.asarray(matrix.toarray())
    with atomic_path(path) as aside:
        if path.suffix.lower() == ".npy":
            np.save(aside, array)
        else:
            np.savetxt(aside, array, delimiter=",", fmt="%.17g")


def write_outliers(path: Path, recovery: Recovery, extras: Mapping[str, np.ndarray]) -> None:
    """Write the gross errors one a line: labels of the entry, or the number of the measurement."""
    import pandas as pd

    gross = np.asarray(recovery.extras["outliers"])
    index = np.flatnonzero(gross)
    operator: Any = recovery.operator
    columns: dict[str, Any] = {"measurement": index}
    if isinstance(operator, (EntrySampling, IdentitySensing)):
        if isinstance(operator, EntrySampling):
            places = operator.rows[index], operator.cols[index]
        else:
            places = np.divmod(index, operator.shape[1])
        names = zip(("row", "column"), places, strict=True)
        columns = {
            side: extras[f"{side}_labels"][place] if f"{side}_labels" in extras else place
            for side, place in names
        }
    with atomic_path(path) as aside:
        pd.DataFrame({**columns, "value": gross[index]}).to_csv(aside, index=False)
