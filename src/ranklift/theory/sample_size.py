"""How many measurements: counting, coverage, and the margin that this library has needed."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, isfinite
from typing import Literal, get_args

from scipy.stats import hypergeom

from ..errors import InputError, RankError
from .rates import degrees_of_freedom

Kind = Literal["gaussian", "entries", "rank_one", "quadratic"]

MARGINS: dict[tuple[str, bool], float] = {
    ("gaussian", False): 1.3,
    ("gaussian", True): 1.5,
    ("rank_one", False): 1.5,
    ("rank_one", True): 2.0,
    ("quadratic", True): 3.5,
    ("entries", False): 2.0,
}
"""Measurements over degrees of freedom at which ``recover`` found 90 of 90 matrices, by kind and
symmetry. One step below (1.2, 1.3, 1.3, 1.5, 3, 1.5 in this order) it was 88, 89, 82, 89, 88, 80;
the failures lie at n = 30 and ranks 1 and 2, where the degrees of freedom are few."""

SERIES = (
    "this library recovered 90 of 90 random matrices (rank given, exact data, n = 30, 40, 60, "
    "r = 1, 2, 3, 5); measured, not proved"
)


@dataclass(frozen=True)
class Advice:
    """A number of measurements with its reasons.

    Attributes
    ----------
    measurements : int
        What to take.
    floor : int
        With fewer the matrix is not determined (for sampled entries: or not seen everywhere).
    reasons : tuple of str
        One sentence a number.
    """

    measurements: int
    floor: int
    reasons: tuple[str, ...]


def coverage_floor(shape: tuple[int, int], count: int, *, failure_probability: float = 0.01) -> int:
    """Return the least m whose uniform sample sees every row and column ``count`` times.

    m distinct entries are drawn uniformly of N = n1 n2. The number in one row is hypergeometric
    H(N, n2, m), in one column H(N, n1, m); the answer is the least m for which the union bound

        n1 P[H(N, n2, m) < count] + n2 P[H(N, n1, m) < count]

    is at most ``failure_probability`` p. For n x n matrices and small counts this is about
    n (log(2 n / p) + (count - 1) log log n): the coupon collector, plus log log n for every further
    sample a line (not ``count`` times the coupon collector).

    Parameters
    ----------
    shape : (int, int)
        Size n1 x n2.
    count : int
        Samples needed in each row and column, 1..min(n1, n2): the rank.
    failure_probability : float, default 0.01
        p, between 0 and 1.

    Raises
    ------
    RankError, ShapeError, InputError
        For a count or probability outside its range, or sizes below 1.

    Notes
    -----
    Own derivation; exact tails, so that only the union bound is lossy. About 30 evaluations.

    Examples
    --------
    >>> coverage_floor((1000, 1000), 1), coverage_floor((1000, 1000), 5)
    (12126, 21298)
    """
    n1, n2 = shape
    degrees_of_freedom(shape, count)  # refuses sizes and ranks that do not fit
    if count < 1:
        raise RankError(f"{count} samples a row", "ask for at least one")
    if not 0 < failure_probability < 1:
        raise InputError(
            f"failure_probability = {failure_probability}", "pass a number between 0 and 1"
        )
    total = n1 * n2

    def fails(m: int) -> bool:
        rows = n1 * float(hypergeom.cdf(count - 1, total, n2, m))
        return rows + n2 * float(hypergeom.cdf(count - 1, total, n1, m)) > failure_probability

    low, high = count * max(n1, n2), total  # with every entry each line is seen n1 or n2 times
    while low < high:
        middle = (low + high) // 2
        if fails(middle):
            low = middle + 1
        else:
            high = middle
    return high


def measurements_needed(
    shape: tuple[int, int],
    rank: int,
    *,
    kind: Kind = "gaussian",
    symmetric: bool = False,
    margin: float | None = None,
    failure_probability: float = 0.01,
) -> Advice:
    """Advise on the number of measurements for exact data of a matrix of this rank.

    margin times the degrees of freedom; for sampled entries no less than ``coverage_floor``; never
    more than the dimension of the whole space, where linear algebra alone determines the matrix.

    Parameters
    ----------
    shape : (int, int)
        Size n1 x n2.
    rank : int
        r, 1..min(n1, n2).
    kind : {"gaussian", "entries", "rank_one", "quadratic"}, default "gaussian"
        Gaussian matrices, uniformly sampled entries, a_i^T X b_i or x_i^T X x_i with Gaussian
        vectors. "quadratic" implies symmetric.
    symmetric : bool, default False
        Whether X is symmetric, and positive semidefinite in the measured cases.
    margin : float, optional
        Measurements over degrees of freedom, at least 1. By default the least one at which this
        library recovered every matrix of a test series (see Notes): a fact about these series, not
        a theorem. Take more against noise: errors fall like 1 / sqrt(m).
    failure_probability : float, default 0.01
        Of the coverage of sampled entries.

    Returns
    -------
    Advice

    Raises
    ------
    InputError, RankError, ShapeError
        For an unknown kind, a margin below 1, a rank outside its range, symmetric rectangles, or
        symmetric sampled entries (both triangles count once: sample the general matrix instead).

    Notes
    -----
    The series: truths of equal singular values (positive semidefinite where symmetric), Gaussian
    ensembles, entries drawn so that every line has r samples, relative error below 1e-5. Badly
    conditioned or coherent matrices need more; larger ones less: phase retrieval at n = 128 came
    back 50 of 50 times from a margin of 2.5. Bhojanapalli, Neyshabur and Srebro (arXiv 1605.07221)
    draw the transition of plain local search for U U^T near m = 2 n r.

    Examples
    --------
    >>> advice = measurements_needed((40, 40), 2)
    >>> advice.floor, advice.measurements
    (156, 203)
    >>> measurements_needed((128, 128), 1, kind="quadratic", margin=2.5).measurements
    320
    """
    symmetric = symmetric or kind == "quadratic"
    if kind not in get_args(Kind):
        kinds = ", ".join(get_args(Kind))
        raise InputError(f"measurements of kind {kind!r}", f"pass one of {kinds}")
    if (kind, symmetric) not in MARGINS:
        raise InputError(f"symmetric sampling of {kind}", "pass symmetric=False")
    freedom = degrees_of_freedom(shape, rank, symmetric=symmetric)
    if rank < 1:
        raise RankError(f"rank {rank}", "pass a rank of at least 1")
    if margin is not None and not (isfinite(margin) and margin >= 1):
        raise InputError(f"margin = {margin}", "pass a finite number of at least 1")
    n1, n2 = shape
    whole = n1 * (n1 + 1) // 2 if symmetric else n1 * n2
    reasons = [f"{freedom} degrees of freedom: fewer measurements leave a continuum of matrices"]
    measured = MARGINS[kind, symmetric]
    reasons.append(
        f"margin {measured:g}: {SERIES}" if margin is None else f"margin {margin:g}: given"
    )
    floor, wanted = freedom, ceil((measured if margin is None else margin) * freedom)
    if kind == "entries":
        covered = coverage_floor(shape, rank, failure_probability=failure_probability)
        reasons.append(
            f"{covered} uniform samples see every row and column {rank} times with probability "
            f"{1 - failure_probability:g}: a line with fewer has a family of completions"
        )
        floor, wanted = max(floor, covered), max(wanted, covered)
    if wanted > whole:
        reasons.append(f"{whole} measurements determine any matrix: structure saves nothing")
        wanted = whole
    return Advice(wanted, min(floor, whole), tuple(reasons))
