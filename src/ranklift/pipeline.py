"""recover(): measurements in, low-rank matrix and certificates out. The pipeline on one screen."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import initializers, threads
from .arrays import Array, is_numpy_array, namespace
from .curvature_weights import curvature_weights
from .errors import ConvergenceWarning, InputError, RankError, ShapeError
from .escapes import Escape, EscapeSearch
from .factorizations import Asymmetric, Factorization, Hermitian, Signed, Symmetric
from .losses import Loss, Squared
from .operators import MeasurementOperator
from .problem import FactorizedProblem
from .progress import progress_callback
from .result import Recovery
from .selection import check_selection, selected_exactly, unweighted
from .solvers import SOLVERS, Solver
from .stages import Stages
from .status import Status
from .trace import Callback, Observer, Trace
from .validation import (
    check_memory,
    check_observed,
    checked_measurements,
    checked_noise,
    checked_rank,
    checked_regularization,
)

SEED_SALT = 0x72616E6B
"""Keeps our random streams apart from a caller's of the same seed."""


def recover(
    operator: MeasurementOperator,
    b: Array,
    *,
    rank: int | None = None,
    symmetric: bool | str = False,
    loss: Loss | None = None,
    noise: float | str | None = None,
    regularization: float | str | None = "auto",
    solver: Solver | str = "auto",
    escapes: EscapeSearch | Sequence[Escape] | str | None = "auto",
    certify: bool = True,
    tol: float = 1e-8,
    max_time: float | None = None,
    rng: np.random.Generator | int | None = None,
    callback: Callback | None = None,
    progress: bool = False,
    init: str | tuple[Array, Array] | Array | None = None,
    refit: bool | str = "auto",
    selection: str | None = None,
    observers: Sequence[Observer] = (),
) -> Recovery:
    """Recover a low-rank matrix from its measurements, and certify what was found.

    (i) min 1/2 ||A(X) - b||^2 + lambda ||X||_* to a certified relative gap, lambda continued down
    to the noise level; (ii) refit without shrinkage at the revealed rank, to a near-second-order
    point; (iii) for exact entries, a rank search that works below the nuclear norm's threshold.
    Both stages stay in the result, each with its own certificates.

    Parameters
    ----------
    operator : MeasurementOperator
        A, from n1 x n2 matrices to m numbers.
    b : array, shape (m,)
        The measurements; NumPy, or the array library that the factors shall live in.
    rank : int, optional
        Rank of the answer; by default it is searched for.
    symmetric : bool or "indefinite", default False
        True: search for a positive semidefinite X = U U^T (complex Hermitian U U^H where the
        operator's unknown is); "indefinite": any symmetric X. Operators that only see the symmetric
        part of X are searched over symmetric X in any case: the rest is not measured.
    loss : Loss, default the squared loss
        How A(X) is compared with b; see ``ranklift.losses``. Robust losses take gross errors,
        Logistic 1-bit data.
    noise : float, "estimate" or None
        Standard deviation of the noise in b; "estimate" chooses lambda and rank by hold-out;
        None or 0 for exact data.
    regularization : float, "auto" or None
        lambda; "auto" takes it from the noise; None leaves stage (i) out.
    solver : Solver or its class name, default "auto"
        Local search of the refit: Gauss-Newton for exact data, else trust-region Newton.
    escapes : EscapeSearch, sequence of Escape, "auto" or None
        How to leave an answer that the data reject: exact data that are not reproduced, or a
        residual above the known noise, at a given rank. "auto" tries the escapes that have the best
        odds by measurement (``escapes.automatic``) until one descent ends at a fit or a round
        brings nothing lower; an ``EscapeSearch`` has its own budget. A sequence is tried at
        any answer. Every attempt is kept in the result. None: no escapes.
    certify : bool, default True
        Whether to check the certificates of the answer.
    tol : float, default 1e-8
        Relative gradient ||gradient|| / (||A*(b)|| ||W||) of the refit.
    max_time : float, optional
        Seconds after which the best iterate so far is returned with Status.MAX_TIME.
    rng : Generator or int, optional
        Same seed, same result.
    callback : callable, optional
        Called with every TraceRow; returning True stops with Status.USER_STOP, as does Ctrl-C.
    progress : bool, default False
        Show a progress line on standard error after two seconds.
    init : "spectral", "small_random", (L, R), U or None
        Start of the refit (with refit=False, of the regularised stage); by default the refit
        starts from the regularised solution, for exact entries from the rank search.
    refit : bool or "auto", default "auto"
        Whether the answer is refitted without shrinkage. "auto" does, unless a hold-out
        (noise="estimate") finds the regularised solution to predict better; that solution is then
        the answer.
    selection : "flat", "nuclear", "min_norm" or None
        Which of the many matrices that fit is the answer; by default the one of least rank found.
        "nuclear": the least nuclear norm. "flat": the least ||D1 X D2||_* with the curvature
        weights (entries: root counts of rows and columns), where the loss bends least; the factors
        are then the flattest. Both subject to A(X) = b for exact data, as a penalty for
        noisy data. "min_norm": the least ||L||^2 + ||R||^2 among factors of width ``rank`` (exact
        data; a local minimum where that is below the rank of the "nuclear" answer).
    observers : sequence of callable, default none
        Shown every iterate of every stage, as ``Trace`` has it: a ``trajectory.Trajectory``.

    Returns
    -------
    Recovery

    Raises
    ------
    InputError
        A typed subclass for unusable input, before any work: see ``ranklift.errors``.

    Warns
    -----
    ConvergenceWarning
        When the last stage stopped before its test was met. The numbers are kept.

    Notes
    -----
    Cost: 10 to 50 Hessian products a lambda, one pass over the measurements each; memory O(m) plus
    about 20 arrays of the size of the factors. Sources: see ``nuclear_norm``, ``log_det``,
    ``refit``.

    Examples
    --------
    >>> import numpy as np
    >>> import ranklift as rl
    >>> truth = np.outer([1.0, 2.0, 3.0, 4.0], [1.0, -1.0, 2.0, 1.0])
    >>> seen = np.array([0, 1, 2, 4, 5, 7, 8, 10, 11, 13, 14])
    >>> A = rl.operators.EntrySampling(seen // 4, seen % 4, (4, 4))
    >>> found = rl.recover(A, truth.ravel()[seen], rng=0)
    >>> found.rank, bool(abs(found.matrix.toarray() - truth).max() < 1e-8)
    (1, True)
    """
    sigma, lam = checked_noise(noise), checked_regularization(regularization)
    b = checked_measurements(operator, b)
    rank = checked_rank(rank, operator.shape, operator.num_measurements)
    check_observed(operator)
    check_memory(operator, rank or 10)
    plan = _plan(escapes)
    local_solver = _solver(solver)
    problem = posed = pose(operator, b, symmetric, loss)
    exact = sigma == 0.0 and problem.squared
    selection = check_selection(selection, rank, exact, init=init, solver=solver, refit=refit)
    weights = None
    if selection is not None and not exact:
        refit = False
        if selection == "flat":
            weights = curvature_weights(problem.operator, problem.factorization)
            weights.warn_if_unmeasured(stacklevel=2)
            posed = weights.pose(problem)
    _check_settings(problem, sigma, lam, rank, init)
    generator = make_generator(rng)
    limit = float("inf") if max_time is None else float(max_time)
    trace = Trace(max_time_s=limit, observers=list(observers))
    search = Stages(posed, generator, trace, rank, sigma, lam, local_solver, tol, refit)
    with threads.single_threaded_blas(), progress_callback(progress, callback) as observer:
        trace.callback = observer
        if selection is not None and exact:
            result = selected_exactly(search, selection, operator, certify)
        else:
            start = _start(problem, init, rank, generator)
            convex = search.regularised_stage(start)
            w, status = search.answer_stage(convex, start)
            w, status = search.escape_stage(w, status, plan)
            result = search.finish(w, status, convex, certify)
    if weights is not None:
        result = unweighted(result, problem, weights)
    chosen = {} if selection is None else {"selection": selection}
    result.provenance = provenance(
        operator, rng, noise=sigma, rank=rank, regularization=lam, tol=tol, **chosen
    )
    result.operator, result.measurements = operator, b
    warn_unless_stationary(result.status, stacklevel=3)
    return result


def warn_unless_stationary(status: Status, *, stacklevel: int) -> None:
    """Warn when a last stage stopped before its test was met."""
    if not status.implies_stationarity:
        warnings.warn(
            f"stopped with status {status.value}: {status.remedy}",
            ConvergenceWarning,
            stacklevel=stacklevel,
        )


def make_generator(rng: np.random.Generator | int | None) -> np.random.Generator:
    """Return the generator of a call."""
    # A plain default_rng(seed) would repeat the draws of a caller who masks data with that seed.
    if isinstance(rng, (int, np.integer)):
        return np.random.default_rng([int(rng), SEED_SALT])
    return np.random.default_rng(rng)


def pose(
    operator: MeasurementOperator, b: Array, symmetric: bool | str, loss: Loss | None
) -> FactorizedProblem:
    """Pose the problem over the factorization that fits the operator, in its fastest order."""
    factorization = _factorization(operator, symmetric)
    factorization.size(operator.shape)  # raises for a symmetric problem that is not square
    loss = loss if loss is not None else Squared()
    loss.check(b)
    if is_numpy_array(b) and loss.separable:
        operator, b = operator.canonical(b)
    return FactorizedProblem(operator, b, factorization, loss=loss)


def _factorization(operator: MeasurementOperator, symmetric: bool | str) -> Factorization:
    if isinstance(symmetric, str) and symmetric != "indefinite":
        raise InputError(f"symmetric={symmetric!r}", 'pass True, False or "indefinite"')
    if operator.hermitian:
        if symmetric == "indefinite":
            raise InputError(
                "an indefinite search for a complex Hermitian matrix",
                "pass symmetric=True: only positive semidefinite ones are supported",
            )
        return Hermitian()
    if symmetric is True:
        return Symmetric()
    return Signed() if symmetric or operator.symmetric else Asymmetric()


def _check_settings(
    problem: FactorizedProblem,
    sigma: float | str,
    lam: float | str | None,
    rank: int | None,
    init: Any,
) -> None:
    """Raise for combinations that leave the rank or lambda without anything to choose them by."""
    if not np.isfinite(problem.loss.smoothness):
        raise InputError(
            f"recover() with the loss {type(problem.loss).__name__}, which has kinks",
            "use ranklift.robust_pca for gross errors, or its smoothed() version",
        )
    if lam == "auto" and sigma == 0.0 and not problem.squared:
        slope = problem.loss.random_slope(problem.b, 0.0, np.random.default_rng(0))
        if not slope.any():
            raise InputError(
                f"{type(problem.loss).__name__} without a noise level: nothing sets lambda",
                'pass noise= (a standard deviation or "estimate"), or regularization=',
            )
    blind = lam is None and isinstance(sigma, float) and (sigma > 0 or not problem.squared)
    if blind and rank is None and init is None:
        raise RankError(
            "noisy data without a regularised stage, a rank or a start",
            'pass rank= or init=, or leave regularization at "auto", which reveals the rank',
        )


def _plan(escapes: EscapeSearch | Sequence[Escape] | str | None) -> EscapeSearch | None:
    """Return the escape search of the argument; without escapes: to be chosen."""
    if escapes is None or isinstance(escapes, EscapeSearch):
        return escapes
    if isinstance(escapes, str):
        if escapes != "auto":
            raise InputError(
                f"escapes {escapes!r}", 'pass "auto", None, Escape objects or an EscapeSearch'
            )
        return EscapeSearch()
    chosen = tuple(escapes)
    if not all(isinstance(escape, Escape) for escape in chosen):
        raise InputError(f"escapes {escapes!r}", "pass Escape objects, such as SimulatedLift()")
    return EscapeSearch(chosen) if chosen else None


def _solver(solver: Solver | str) -> Solver | None:
    if isinstance(solver, Solver):
        return solver
    if solver == "auto":
        return None
    if solver not in SOLVERS:
        raise InputError(f"unknown solver {solver!r}", f'use "auto" or one of {sorted(SOLVERS)}')
    return SOLVERS[solver]()


def _start(
    problem: FactorizedProblem,
    init: str | tuple[Array, Array] | Array | None,
    rank: int | None,
    rng: np.random.Generator,
) -> Array | None:
    """Return the caller's start as a point W, or None."""
    if init is None:
        return None
    if isinstance(init, str):
        makers = {"spectral": initializers.spectral, "small_random": initializers.small_random}
        if init not in makers:
            raise InputError(f"unknown init {init!r}", f"use one of {sorted(makers)} or factors")
        if rank is None:
            raise RankError(f"init={init!r} without a rank", "pass rank= as well")
        return makers[init](problem, rank, rng)
    if isinstance(init, tuple):
        w = problem.factorization.join(*init) if len(init) == 2 else None
    else:
        w = init
    rows = problem.factorization.size(problem.shape)
    if w is None or w.ndim != 2 or w.shape[0] != rows:
        raise ShapeError(
            "init does not fit the operator", "pass (L, R) of shapes (n1, k), (n2, k), or U (n, k)"
        )
    if rank is not None and w.shape[1] != rank:
        raise RankError(f"init has {w.shape[1]} columns, rank is {rank}", "make them agree")
    return namespace(w).asarray(w, copy=True)


def provenance(operator: MeasurementOperator, rng: Any, **settings: Any) -> dict[str, Any]:
    """Return versions, seed and settings, for the result file."""
    import scipy

    from . import __version__

    return {
        "ranklift": __version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "operator": repr(operator),
        "seed": rng if isinstance(rng, int) else None,
        **settings,
    }
