"""The escape search and its place in recover(): budgets, records, stops, files and reports."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

import ranklift as rl
from ranklift.errors import ConvergenceWarning, InputError
from ranklift.escapes import (
    ESCAPES,
    Candidate,
    Escape,
    EscapeSearch,
    RandomRestart,
    SimulatedLift,
)
from ranklift.factorizations import Symmetric
from ranklift.instances import gaussian_sensing, perturbed_matrix_completion
from ranklift.problem import FactorizedProblem
from ranklift.solvers import SolverRun, Stopping, TrustRegion
from ranklift.status import Status
from ranklift.trace import Trace
from ranklift.viz.report import build_report

TRAP = perturbed_matrix_completion(7, 0.1)
POINT = TRAP.spurious_points[0]


@pytest.fixture
def problem() -> FactorizedProblem:
    return FactorizedProblem(TRAP.operator, TRAP.measurements, Symmetric())


@pytest.fixture
def scripted() -> Any:
    """Return an escape that proposes given points, forgotten by the registry afterwards."""

    @dataclass(frozen=True)
    class Scripted(Escape):
        points: tuple[np.ndarray, ...] = ()
        random: ClassVar[bool] = False

        def candidates(self, problem, w, reports, rng) -> Sequence[Candidate]:
            before = problem.evaluate(w).value
            return [Candidate(p, problem.evaluate(p).value, before, "script") for p in self.points]

    yield Scripted
    del ESCAPES["Scripted"]


def descend(problem: FactorizedProblem, w: np.ndarray) -> SolverRun:
    return TrustRegion().run(problem, w, stopping=Stopping(gradient_tol=1e-11))


def search(problem: FactorizedProblem, plan: EscapeSearch, **options: Any) -> Any:
    settings = {
        "descend": lambda w: descend(problem, w),
        "solved": lambda run: run.point.residual_norm < 1e-9,
    } | options
    return plan.run(problem, descend(problem, POINT), np.random.default_rng(0), **settings)


def test_a_solved_start_is_left_alone(problem):
    ends = search(problem, EscapeSearch((SimulatedLift(),)), solved=lambda run: True)
    assert ends.solved and ends.attempts == ()
    np.testing.assert_allclose(np.abs(ends.run.point.w), np.abs(POINT), atol=1e-8)


def test_attempts_record_where_each_descent_led(problem, scripted):
    """The trap itself, then the truth: the first is not lower, the second is."""
    plan = EscapeSearch((scripted((POINT, TRAP.truth.left)),))
    ends = search(problem, plan)
    assert [a.accepted for a in ends.attempts] == [False, True]
    assert [a.kind for a in ends.attempts] == ["script", "script"]
    first, second = ends.attempts
    assert first.after == pytest.approx(first.before) and second.after < 1e-20
    assert first.candidate == pytest.approx(problem.evaluate(POINT).value)
    assert ends.solved and ends.run.point.value == second.after


def test_an_escape_that_brings_nothing_lower_is_asked_once(problem, scripted):
    ends = search(problem, EscapeSearch((scripted((POINT,)),), descents=5))
    assert not ends.solved and len(ends.attempts) == 1


def test_chance_is_asked_until_the_budget_ends(problem, scripted):
    """A descent that goes nowhere: every restart is spent."""
    stay = descend(problem, POINT)
    plan = EscapeSearch((scripted((POINT,)), RandomRestart(count=2)), descents=7)
    ends = search(problem, plan, descend=lambda w: stay)
    assert len(ends.attempts) == 7 and not ends.solved
    assert [a.escape for a in ends.attempts] == ["Scripted"] + 6 * ["RandomRestart"]


def test_budgets_are_kept(problem):
    stay = descend(problem, POINT)
    for plan, most in (
        (EscapeSearch((RandomRestart(),), descents=3), 3),
        (EscapeSearch((RandomRestart(),), seconds=1e-12), 0),
    ):
        assert len(search(problem, plan, descend=lambda w: stay).attempts) == most
    for name in ("descents", "seconds", "each"):
        with pytest.raises(InputError, match=name):
            EscapeSearch(**{name: 0})


def test_a_stop_request_ends_the_search(problem):
    trace = Trace()

    def stopping(w: np.ndarray) -> SolverRun:
        trace.stop_requested = True
        return descend(problem, POINT)

    ends = search(problem, EscapeSearch((RandomRestart(),)), descend=stopping, trace=trace)
    assert len(ends.attempts) == 1
    spent = Trace(max_time_s=0.0)
    assert search(problem, EscapeSearch((RandomRestart(),)), trace=spent).attempts == ()


# -- in recover() --------------------------------------------------------------------------------


def recover(**settings: Any) -> Any:
    start = {"rank": 1, "symmetric": True, "init": (POINT, POINT), "rng": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return rl.recover(TRAP.operator, TRAP.measurements, **(start | settings))


def test_recover_leaves_every_trap_by_itself_and_not_without_escapes():
    for point in TRAP.spurious_points[:4]:
        found = recover(init=(point, point))
        assert found.status is Status.ZERO_RESIDUAL and found.certified
        assert (found.matrix - TRAP.truth).norm() < 1e-9
        assert found.escapes[-1].accepted
        stuck = recover(init=(point, point), escapes=None)
        assert stuck.escapes == [] and not stuck.certified
        assert stuck.relative_residual > 1e-3


def test_recover_repeats_bit_by_bit():
    one, two = recover(), recover()
    np.testing.assert_array_equal(one.left, two.left)
    strip = [{k: v for k, v in a.to_dict().items() if k != "elapsed_s"} for a in one.escapes]
    assert strip == [
        {k: v for k, v in a.to_dict().items() if k != "elapsed_s"} for a in two.escapes
    ]


def test_recover_takes_escapes_and_searches_of_the_caller():
    chosen = recover(escapes=[RandomRestart(count=6)])
    assert {a.escape for a in chosen.escapes} == {"RandomRestart"}
    limited = recover(escapes=EscapeSearch((RandomRestart(),), descents=1))
    assert len(limited.escapes) == 1
    budget = recover(escapes=EscapeSearch(descents=2))  # the automatic choice, within a budget
    assert 1 <= len(budget.escapes) <= 2 and budget.certified


def test_known_noise_decides_whether_to_escape():
    noisy = TRAP.with_noise(1e-3, rng=1)
    settings = {"rank": 1, "symmetric": True, "noise": 1e-3, "regularization": None, "rng": 0}
    found = rl.recover(noisy.operator, noisy.measurements, init=(POINT, POINT), **settings)
    assert found.escapes and (found.matrix - TRAP.truth).norm() < 0.1
    truth = TRAP.truth.left
    quiet = rl.recover(noisy.operator, noisy.measurements, init=(truth, truth), **settings)
    assert quiet.escapes == []


def test_a_rank_too_low_costs_no_more_than_the_budget():
    instance = gaussian_sensing(8, 3, 60, symmetric=True, rng=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = rl.recover(instance.operator, instance.measurements, rank=1, symmetric=True, rng=0)
    assert not found.certified and 1 <= len(found.escapes) <= EscapeSearch().descents
    # Escapes never make an answer worse.
    assert all(a.after < a.before for a in found.escapes if a.accepted)


def test_escapes_are_kept_in_file_summary_and_report(tmp_path):
    found = recover()
    again = rl.load(found.save(tmp_path / "found.npz"))
    assert again.escapes == found.escapes
    assert "escapes: 1 descents" in found.summary() and "SimulatedLift" in found.summary()
    page = build_report(found)
    assert "How wrong answers were left" in page and "SimulatedLift" in page
    assert "How wrong answers were left" not in build_report(recover(escapes=None))


def test_a_certified_answer_is_not_escaped_from():
    """diag(1, -1, 0): no positive semidefinite matrix fits better than diag(1, 0, 0)."""
    operator = rl.operators.IdentitySensing((3, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = rl.recover(
            operator, np.diag([1.0, -1.0, 0.0]).ravel(), rank=1, symmetric=True, rng=0
        )
    assert found.escapes == [] and found.certificates["psd_gap"].verdict.value == "holds"
    assert np.abs(found.matrix.toarray() - np.diag([1.0, 0.0, 0.0])).max() < 1e-6


def test_an_answer_without_refit_stays_regularised():
    instance = gaussian_sensing(8, 2, 60, symmetric=True, rng=0)
    found = rl.recover(
        instance.operator, instance.measurements, rank=2, symmetric=True, refit=False, rng=0
    )
    assert found.escapes == [] and found.convex is not None and not found.refitted


def test_ctrl_c_keeps_what_was_found(problem):
    """It strikes in the second descent; the first one ended lower."""
    trace, calls = Trace(), []
    lower = descend(problem, 0.9 * TRAP.truth.left)

    def interrupted(w: np.ndarray) -> SolverRun:
        calls.append(w)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return lower

    ends = search(
        problem, EscapeSearch((RandomRestart(),)), descend=interrupted, trace=trace,
        solved=lambda run: False,
    )  # fmt: skip
    assert trace.stop_requested and ends.run is lower and len(ends.attempts) == 1


def test_a_stop_in_the_escapes_is_the_status_of_the_answer():
    def callback(row: Any) -> bool:
        return row.stage == "refit" and row.iteration > 0

    found = recover(callback=callback, regularization=None)
    assert found.status is Status.USER_STOP
