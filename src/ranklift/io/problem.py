"""Problem files: an operator and its measurements in one .npz, ours or plain arrays by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import to_numpy
from ..errors import (
    DTypeError,
    FileFormatError,
    InputError,
    NonFiniteError,
    ShapeError,
    TooLargeError,
)
from ..lowrank import LowRank
from ..operators import Congruence, MeasurementOperator
from ..operators.algebra import _pack
from ..validation import checked_measurements
from .archive import BROKEN, load_arrays, read_headers
from .atomic import atomic_path
from .binary import _broken
from .problem_layouts import WAYS, Arrays, Layout, find_layout, plain_text
from .read import _check_file, available_memory, file_sha256

STRUCTURES: Mapping[str, bool | str] = {"general": False, "psd": True, "indefinite": "indefinite"}
"""Words for what is known of X, as ``recover(symmetric=...)`` takes it."""


@dataclass(frozen=True, eq=False)
class Problem:
    """Hold a recovery problem as a file has it.

    Parameters
    ----------
    operator : MeasurementOperator
        The map A. Of distances: centred, on (n - 1) x (n - 1) matrices (``embedded`` goes back).
    b : float64 array, shape (m,)
        The measurements.
    symmetric : bool, "indefinite" or None
        What X is, as in ``recover``; None where the file does not say.
    noise : float, "estimate" or None
        Standard deviation of the noise in b, 0 for exact data; None where the file does not say.
    truth : array or LowRank, n1 x n2, optional
        The true X, for the error only.
    source : str
        The file.
    sha256 : str
        Hash of the file's bytes.
    layout : str
        How the file was understood, in words.
    """

    operator: MeasurementOperator
    b: NDArray[np.float64]
    symmetric: bool | str | None = None
    noise: float | str | None = None
    truth: Any = None
    source: str = "memory"
    sha256: str = ""
    layout: str = ""

    @property
    def embedded_shape(self) -> tuple[int, int]:
        """Return the size of the unknown in the file's own coordinates."""
        operator = self.operator
        return operator.base.shape if isinstance(operator, Congruence) else operator.shape

    def embedded(self, matrix: LowRank) -> LowRank:
        """Return an answer in the file's own coordinates: Q X Q^T of centred distances.

        Its left factor then holds one point a row.
        """
        if not isinstance(self.operator, Congruence):
            return matrix
        embed = self.operator.embed
        return LowRank(embed(matrix.left), embed(matrix.right))

    def error(self, matrix: LowRank) -> float | None:
        """Return ||X - truth||_F / ||truth||_F, None without a truth."""
        if self.truth is None:
            return None
        if isinstance(self.truth, LowRank):
            from ..metrics import relative_error

            return relative_error(matrix, self.truth)
        size = float(np.linalg.norm(self.truth))
        return float(np.linalg.norm(matrix.toarray() - self.truth)) / (size if size > 0 else 1.0)


def read_problem(path: Path | str, *, memory_limit: int | None = None) -> Problem:
    r"""Read an operator and its measurements from a .npz file; objects are never unpickled.

    Either a file of `write_problem`, or arrays under these names, m measurements each:

    ======================================= ================================================
    A, (m, n1, n2) or (m, n1 n2) with shape <A_t, X>: ``DenseSensing``
    left (m, n1), right (m, n2)             left_t^T X right_t: ``RankOneSensing``
    vectors (m, n), real or complex         v_t X v_t^H: ``QuadraticSensing``
    strings (m,), text such as "XIZ"        Re tr(P_t X): ``PauliSensing``
    pairs (m, 2), n_points (optional)       squared distances: ``DistanceSensing``, centred
    rows (m,), cols (m,), shape (optional)  X[row, col]: ``EntrySampling``
    ======================================= ================================================

    with the measurements b (or y). Of ``pairs``, b are squared distances; they may also be named
    squared_distances, or be given unsquared as distances. Of ``rows``, values is a name for b too.
    Optional: noise (standard deviation, 0 for exact data), symmetric (true for positive
    semidefinite X, false, or "general", "psd", "indefinite"), truth (X; of distances the Gram
    matrix), field ("real" where X is real and ``vectors`` are complex).

    Parameters
    ----------
    path : path
        Stored by ``np.savez`` or ``np.savez_compressed``.
    memory_limit : int, optional
        Bytes this process may use for reading; by default what the machine has available. An A
        above half of it stays on the disk and is read block by block at every product; this needs
        ``np.savez`` (uncompressed), float values and C order.

    Returns
    -------
    Problem

    Raises
    ------
    FileFormatError
        Missing or broken file; names that are missing, unknown or say two things.
    ShapeError, DTypeError, NonFiniteError, EmptyDataError, DuplicateEntriesError, TooLargeError
        Arrays that are no such measurements, each with its remedy.

    Notes
    -----
    Cost: one pass over the file for its hash, one to read it. Memory: the arrays, twice for an A of
    integers or in Fortran order.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "p.npz"
    >>> np.savez(path, left=np.eye(2), right=np.eye(2), y=np.array([3.0, 4.0]), noise=0.1)
    >>> problem = read_problem(path)
    >>> problem.operator, problem.b.tolist(), problem.noise
    (RankOneSensing(shape=(2, 2), m=2), [3.0, 4.0], 0.1)
    """
    path = Path(path)
    suffix = path.suffix.lower()
    _check_file(path, suffix)
    if suffix != ".npz":
        raise FileFormatError(f"{path}: a problem file is an .npz, not {suffix}", WAYS)
    limit = available_memory() if memory_limit is None else memory_limit
    try:
        headers = read_headers(path)
        layout = find_layout(path, headers)
        arrays = load_arrays(path, headers, limit)
        return _problem(path, layout, arrays)
    except InputError:
        raise
    except MemoryError as error:
        raise TooLargeError(
            f"{path}: memory ran out while reading", "use a larger machine"
        ) from error
    except BROKEN as error:
        raise _broken(path, error) from error


def write_problem(
    path: Path | str,
    operator: MeasurementOperator,
    b: Any,
    *,
    symmetric: bool | str | None = None,
    noise: float | str | None = None,
    truth: Any = None,
) -> Path:
    """Write an operator and its measurements to one .npz file, aside and renamed.

    Parameters
    ----------
    path : path
        Ends in .npz.
    operator : MeasurementOperator
        One that holds data, not code.
    b : array, shape (m,)
    symmetric : bool or "indefinite", optional
        What X is, as in ``recover``.
    noise : float or "estimate", optional
        Standard deviation of the noise in b; 0 for exact data.
    truth : array or LowRank, n1 x n2, optional

    Raises
    ------
    InputError
        A typed subclass when b does not fit, the operator holds code, or the path is not writable.

    Notes
    -----
    The file holds ``operator.to_arrays()`` and b: ``read_problem`` gives the same operator back.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from ranklift.operators import IdentitySensing
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "p.npz"
    >>> _ = write_problem(path, IdentitySensing((2, 1)), np.array([1.0, 2.0]), symmetric=False)
    >>> problem = read_problem(path)
    >>> problem.operator, problem.b.tolist(), problem.symmetric
    (IdentitySensing(shape=(2, 1), m=2), [1.0, 2.0], False)
    """
    path = Path(path)
    if path.suffix.lower() != ".npz":
        raise FileFormatError(f"{path}: a problem file is an .npz", "use a name that ends in .npz")
    arrays = {**_pack(operator, "operator"), "b": to_numpy(checked_measurements(operator, b))}
    if symmetric is not None:
        arrays["symmetric"] = np.array(_symmetric(path, symmetric))
    if noise is not None:
        arrays["noise"] = np.array(_noise(path, noise))
    if isinstance(truth, LowRank):
        arrays |= {"truth_left": to_numpy(truth.left), "truth_right": to_numpy(truth.right)}
    elif truth is not None:
        arrays["truth"] = to_numpy(truth)
    _truth(path, operator, arrays)
    with atomic_path(path) as aside:
        np.savez(aside, **arrays)  # type: ignore[arg-type]
    return path


def is_problem(path: Path | str) -> bool:
    """Whether an .npz file holds more than entries of a table: a model, or measurements b of one.

    Raises
    ------
    FileFormatError
        When the file is missing or broken.
    """
    path = Path(path)
    if path.suffix.lower() != ".npz":
        return False
    _check_file(path, ".npz")
    try:
        names = set(read_headers(path))
    except InputError:
        raise
    except BROKEN as error:
        raise _broken(path, error) from error
    measured = {"b", "y", "squared_distances", "distances"}
    models = {"left", "right", "vectors", "strings", "pairs", "operator.class"}
    return bool(names & models) or (len(names) > 1 and bool(names & measured))


# -- what the arrays say -------------------------------------------------------------------


def _problem(path: Path, layout: Layout, arrays: dict[str, Any]) -> Problem:
    operator = layout.build(path, arrays)
    name = next(name for name in layout.values if name in arrays)
    b = arrays[name]
    if name == "distances":
        if b.dtype.kind not in "fiu" or not (b >= 0).all():
            raise NonFiniteError(
                f"{path}: distances that are negative or no numbers", "correct or drop these pairs"
            )
        b = np.asarray(b, dtype=float) ** 2
    b = np.asarray(checked_measurements(operator, b), dtype=np.float64)
    symmetric = _symmetric(path, arrays["symmetric"]) if "symmetric" in arrays else None
    noise = _noise(path, arrays["noise"]) if "noise" in arrays else None
    truth = _truth(path, operator, arrays)
    sha = file_sha256(path)
    return Problem(operator, b, symmetric, noise, truth, str(path), sha, layout.words)


def _symmetric(path: Path, value: Any) -> bool | str:
    item = np.asarray(value).item() if np.asarray(value).size == 1 else value
    if isinstance(item, (bool, int)) and item in (0, 1):
        return bool(item)
    if isinstance(item, str) and item in STRUCTURES:
        return STRUCTURES[item]
    raise FileFormatError(
        f"{path}: symmetric is {item!r}", "store true (positive semidefinite), false, or "
        f"one of {', '.join(STRUCTURES)}",
    )  # fmt: skip


def _noise(path: Path, value: Any) -> float | str:
    array = np.asarray(value)
    if array.size == 1 and array.dtype.kind in "US" and plain_text(array) in ("estimate", "exact"):
        return "estimate" if plain_text(array) == "estimate" else 0.0
    if array.size == 1 and array.dtype.kind in "fiu" and 0 <= float(array.item()) < np.inf:
        return float(array.item())
    raise FileFormatError(
        f"{path}: noise is {array.ravel()[:3].tolist()}",
        'store one standard deviation, 0 for exact data, or "estimate"',
    )


def _truth(path: Path, operator: MeasurementOperator, arrays: Arrays) -> Any:
    sides = [arrays[name] for name in ("truth_left", "truth_right") if name in arrays]
    given = sides + ([arrays["truth"]] if "truth" in arrays else [])
    if not given:
        return None
    if len(given) != 1 + bool(sides) or len(sides) == 1:
        raise FileFormatError(
            f"{path}: ambiguous truth", "store truth, or truth_left and truth_right"
        )
    kinds = "fiubc" if operator.hermitian else "fiub"
    for part in given:
        if part.dtype.kind not in kinds:
            raise DTypeError(f"{path}: truth of type {part.dtype}", "store numbers of X's kind")
        if not np.isfinite(part).all():
            raise NonFiniteError(f"{path}: truth holds NaN or inf", "store finite numbers")
    truth = LowRank(*sides) if sides else given[0]
    if tuple(truth.shape) == operator.shape:
        return truth
    isometry = operator.isometry
    if isometry is not None and tuple(truth.shape) == isometry.base.shape:
        if isinstance(truth, LowRank):
            return LowRank(isometry.project(truth.left), isometry.project(truth.right))
        return isometry.project(isometry.project(truth).T).T
    raise ShapeError(
        f"{path}: truth of shape {tuple(truth.shape)} for {operator!r}",
        "store the true X in its full size, or leave truth out",
    )
