"""Trajectory: what the theory of local search looks at, measured along a run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from ..arrays import conj, norm, to_numpy
from ..errors import InputError, RankError, ShapeError
from ..lowrank import LowRank
from ..metrics import relative_error
from ..operators import MeasurementOperator
from ..problem import Counts, FactorizedProblem, Point
from ..second_order import least_curvature
from .alignment import alignment, spectral_subspace
from .imbalance import imbalance

NAN = float("nan")


class TrajectoryRow(NamedTuple):
    """One observed iterate; NaN where a column does not apply. docs/trajectory.md has the formulas.

    Attributes
    ----------
    stage : str
    iteration : int
    train_error : float
        ||A(X) - b|| / ||b||.
    test_error : float
        ||X - M||_F / ||M||_F, M the truth.
    held_out_error : float
        ||A_test(X) - b_test|| / ||b_test||.
    imbalance : float
        ||L^H L - R^H R||_2, in units of X.
    coupling : float
        ||P^T L - Q^T R||_F / ||P^T L + Q^T R||_F in the leading singular pairs (P, Q) of A*(b).
    signal, residual : float
        sigma_r and sigma_{r+1} of [L; R] / sqrt 2 (of U, semidefinite), in units of sqrt X.
    misalignment : float
        Sine of the largest angle between the top r left singular vectors of that matrix and
        [P; Q] / sqrt 2.
    least_curvature : float
        Rayleigh quotient of the Hessian at the least Ritz vector, in units of A*(b).
    """

    stage: str
    iteration: int
    train_error: float
    test_error: float = NAN
    held_out_error: float = NAN
    imbalance: float = NAN
    coupling: float = NAN
    signal: float = NAN
    residual: float = NAN
    misalignment: float = NAN
    least_curvature: float = NAN


@dataclass
class Trajectory:
    """Record the columns of ``TrajectoryRow`` along a run: an observer for ``Trace(observers=[])``.

    Parameters
    ----------
    truth : LowRank, array (n1, n2), or pair of factors (n1, r), (n2, r), optional
        The matrix M behind the data, for ``test_error``. A full array is factored once.
    test : (MeasurementOperator, array (m_test,)), optional
        Held-out measurements, for ``held_out_error``.
    every : int, default 1
        Record each iterate whose number is a multiple of this, and the last one.
    curvature_every : int, optional
        Measure the least Hessian eigenvalue at each record whose number is a multiple of this.
    true_rank : int, optional
        The rank r of signal, residual, coupling and misalignment; by default that of the truth.
        Without either these columns are NaN.
    stages : collection of str, optional
        Record these stages only; a solver's stage is its class name unless it was given another.
    curvature_steps : int, default 200
        Most Hessian products of one curvature; exact up to this number of unknowns.

    Raises
    ------
    InputError, RankError, ShapeError
        For settings out of range here; at the first iterate for a shape that is not the problem's.

    Notes
    -----
    It changes nothing: iterates are the same bit for bit, and its own applications of A are not in
    ``problem.counts``. Those are one apply of the test operator a record, one evaluation and up to
    ``curvature_steps`` Hessian products a curvature, and some hundred products with A*(b) once. A
    record costs O((n1 + n2) (k + r)^2) besides, and no n1 x n2 array is formed. The clock of the
    trace runs on meanwhile: take times from a run without it.
    Source: the quantities are those named by Soltanolkotabi, Stoeger, Xie (arXiv 2303.14244); of
    coupling and misalignment the paper's definitions could not be read, and these are our own.

    Examples
    --------
    >>> import numpy as np
    >>> from ranklift.operators import IdentitySensing
    >>> from ranklift.solvers import GradientDescent, Stopping
    >>> from ranklift.trace import Trace
    >>> M = np.diag([1.0, 0.0])
    >>> problem = FactorizedProblem(IdentitySensing((2, 2)), M.ravel())
    >>> trajectory = Trajectory(M)
    >>> w = 0.1 * np.ones((4, 1))
    >>> run = GradientDescent(step_size=0.25).run(
    ...     problem, w, stopping=Stopping(max_iterations=60),
    ...     trace=Trace(observers=[trajectory]))
    >>> round(trajectory.rows[0].misalignment, 6), round(trajectory.rows[-1].signal, 6)
    (0.707107, 1.0)
    """

    truth: Any = None
    test: tuple[MeasurementOperator, Any] | None = None
    every: int = 1
    curvature_every: int | None = None
    true_rank: int | None = None
    stages: Collection[str] | None = None
    curvature_steps: int = 200
    description: str = field(default="", init=False)

    def __post_init__(self) -> None:
        for name in ("every", "curvature_every", "true_rank", "curvature_steps"):
            value = getattr(self, name)
            if value is None and name in ("curvature_every", "true_rank"):
                continue
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise InputError(f"{name} = {value!r}", "pass an integer of at least 1")
        if self.truth is not None:
            self.truth = _as_low_rank(self.truth)
            if self.true_rank is None:
                self.true_rank = max(1, _numerical_rank(self.truth))
        if self.test is not None:
            operator, values = self.test
            if tuple(values.shape) != (operator.num_measurements,):
                raise ShapeError(
                    f"test values of shape {tuple(values.shape)} for an operator with "
                    f"{operator.num_measurements} measurements",
                    "pass one value a test measurement",
                )
        self._rows: list[TrajectoryRow] = []
        self._pending: tuple[FactorizedProblem, Point, int, str] | None = None
        self._data: tuple[Any, Any, Any] | None = None
        self._basis: np.ndarray | None = None

    def __call__(self, problem: FactorizedProblem, state: Any, iteration: int, stage: str) -> None:
        """Observe an iterate: what ``Trace`` calls."""
        if self.stages is not None and stage not in self.stages:
            return
        newest = (problem, state.point, iteration, stage)
        if self._pending and (self._pending[3] != stage or self._pending[2] >= iteration):
            self._record_pending()
        self._pending = newest
        if iteration % self.every == 0:
            self._record_pending()

    @property
    def rows(self) -> list[TrajectoryRow]:
        """Return the records, the newest iterate included."""
        self._record_pending()
        return self._rows

    def table(self, stage: str | None = None) -> dict[str, np.ndarray]:
        """Return the columns as arrays by name: all rows, or those of a stage's last run.

        Raises
        ------
        InputError
            When nothing was recorded of the stage.
        """
        rows = self.rows
        if stage is not None:
            rows = [row for row in rows if row.stage == stage]
            if not rows:
                raise InputError(
                    f"no record of the stage {stage!r}", f"pass one of {sorted(self.recorded)}"
                )
            begins = [i for i in range(len(rows)) if rows[i].iteration <= rows[i - 1].iteration]
            rows = rows[begins[-1] :]
        return {
            name: np.array([row[i] for row in rows], dtype=_DTYPES.get(name, float))
            for i, name in enumerate(TrajectoryRow._fields)
        }

    @property
    def recorded(self) -> list[str]:
        """Return the stages recorded, in order.

        Raises
        ------
        InputError
            When there is none.
        """
        stages = list(dict.fromkeys(row.stage for row in self.rows))
        if not stages:
            raise InputError("an empty trajectory", "observe a run first")
        return stages

    def to_dict(self) -> dict[str, Any]:
        """Return description, rank and columns as plain values, None for NaN: ready for JSON."""
        columns = {
            name: [None if value != value else value for value in column.tolist()]
            for name, column in self.table().items()
        }
        return {
            "description": self.description,
            "true_rank": self.true_rank,
            "columns": columns,
        }

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Trajectory:
        """Rebuild the records of ``to_dict``, to be plotted."""
        out = Trajectory(true_rank=values["true_rank"])
        out.description = values["description"]
        columns = [values["columns"][name] for name in TrajectoryRow._fields]
        for row in zip(*columns, strict=True):
            out._rows.append(TrajectoryRow._make(NAN if value is None else value for value in row))
        return out

    def _record_pending(self) -> None:
        if self._pending is not None:
            row = self._measure(*self._pending)
            self._pending = None
            self._rows.append(row)

    def _measure(
        self, problem: FactorizedProblem, point: Point, iteration: int, stage: str
    ) -> TrajectoryRow:
        # Counts of its own: what is spent on looking is no cost of the solver.
        problem = replace(problem, counts=Counts())
        self._begin(problem, point)
        factorization, r = problem.factorization, self.true_rank
        left, right = (to_numpy(part) for part in problem.parts(point.w))
        out: dict[str, float] = {"train_error": _ratio(point.residual_norm, norm(problem.b))}
        if self.truth is not None:
            out["test_error"] = relative_error(LowRank(left, right), self.truth)
        if self.test is not None:
            operator, values = self.test
            misfit = operator.apply_product(*problem.parts(point.w)) - values
            out["held_out_error"] = _ratio(norm(misfit), norm(values))
        if factorization.degree == 2:
            out["imbalance"] = 0.0 if factorization.definite else imbalance(left, right)
            if r is not None:
                out |= alignment(left, right, r, self._basis, definite=factorization.definite)
        wanted = self.curvature_every is not None and len(self._rows) % self.curvature_every == 0
        if wanted and np.isfinite(problem.loss.smoothness):
            rng = np.random.default_rng(0)
            found = least_curvature(problem, point.w, rng, max_steps=self.curvature_steps)
            out["least_curvature"] = found.ritz_least
        return TrajectoryRow(stage, iteration, **out)

    def _begin(self, problem: FactorizedProblem, point: Point) -> None:
        """Check the settings against a problem not seen before, and find its spectral subspace."""
        data = (problem.operator, problem.b, problem.factorization)
        if self._data is not None and all(a is b for a, b in zip(data, self._data, strict=True)):
            return
        shapes = [("truth", self.truth), ("test operator", self.test and self.test[0])]
        for name, thing in shapes:
            if thing is not None and tuple(thing.shape) != tuple(problem.shape):
                raise ShapeError(
                    f"the {name} has shape {tuple(thing.shape)}, the problem {problem.shape}",
                    "pass both for one matrix",
                )
        if self.true_rank is not None and self.true_rank > min(problem.shape):
            raise RankError(
                f"true_rank {self.true_rank} in a problem of shape {problem.shape}",
                f"pass a rank in 1..{min(problem.shape)}",
            )
        n1, n2 = problem.shape
        self.description = (
            f"{type(problem.operator).__name__} {n1} x {n2}, "
            f"m = {problem.operator.num_measurements}, "
            f"{type(problem.factorization).__name__}, k = {int(point.w.shape[1])}"
        )
        self._basis = None
        if self.true_rank is not None and problem.factorization.degree == 2:
            self._basis = spectral_subspace(problem, self.true_rank)
        self._data = data


_DTYPES: dict[str, Any] = {"stage": object, "iteration": np.int64}


def _ratio(size: float, unit: float) -> float:
    return size / unit if unit > 0 else size


def _as_low_rank(truth: Any) -> LowRank:
    if isinstance(truth, LowRank):
        return LowRank(to_numpy(truth.left), to_numpy(truth.right))
    if isinstance(truth, tuple):
        if len(truth) != 2:
            raise InputError(f"a truth of {len(truth)} factors", "pass the pair (L, R)")
        return LowRank(to_numpy(truth[0]), to_numpy(truth[1]))
    full = to_numpy(truth)
    if full.ndim != 2:
        raise ShapeError(f"a truth of shape {full.shape}", "pass a matrix or its two factors")
    u, s, vh = np.linalg.svd(full, full_matrices=False)
    kept = s > 1e-15 * s.max(initial=0.0)
    return LowRank(u[:, kept] * s[kept], conj(vh[kept].conj().T))


def _numerical_rank(truth: LowRank) -> int:
    s = to_numpy(truth.svd()[1])
    return int(np.sum(s > 1e-10 * s.max(initial=0.0)))
