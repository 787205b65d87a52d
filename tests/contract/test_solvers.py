"""Every solver: falling values, known answers, honest statuses, no hidden state."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from cases import assert_close, registered, strict, strict_operator
from ranklift import instances
from ranklift.errors import InputError
from ranklift.factorizations import Asymmetric, Symmetric
from ranklift.initializers import small_random, spectral
from ranklift.operators import DenseSensing, EntrySampling, MeasurementOperator
from ranklift.problem import FactorizedProblem
from ranklift.regularizers import Balancing, SquaredNorm
from ranklift.solvers import SOLVERS, GaussNewton, GradientDescent, Stopping, TrustRegion
from ranklift.status import Status
from ranklift.trace import Trace, TraceRow

SOLVER_NAMES = registered(SOLVERS)
ASYMMETRIC_ONLY = {"AlternatingGaussNewton", "AlternatingLeastSquares"}
each_solver = pytest.mark.parametrize("name", SOLVER_NAMES)
DATA = {
    "sampled": instances.entry_completion((20, 14), 2, 2.8, rng=0),
    "dense": instances.gaussian_sensing((8, 6), 2, 80, rng=0),
    "symmetric": instances.gaussian_sensing(8, 2, 60, symmetric=True, rng=3),
}
CASES = [
    (name, kind)
    for name in SOLVER_NAMES
    for kind in DATA
    if kind != "symmetric" or name not in ASYMMETRIC_ONLY
]
each_case = pytest.mark.parametrize(("name", "kind"), CASES)


def pose(kind: str, noise: float = 0.0, lam: float = 0.0) -> FactorizedProblem:
    """Pose a named instance."""
    instance = DATA[kind].with_noise(noise, rng=1) if noise else DATA[kind]
    factorization = Symmetric() if instance.symmetric else Asymmetric()
    penalties = (SquaredNorm(lam),) if lam else ()
    return FactorizedProblem(instance.operator, instance.measurements, factorization, penalties)


def start(problem: FactorizedProblem, k: int = 2, seed: int = 0) -> Any:
    """Return a start away from the answer: spectral plus noise of its own size."""
    rng = np.random.default_rng(seed)
    w = spectral(problem, k, rng)
    return w + 0.3 * np.linalg.norm(w) * rng.standard_normal(w.shape) / np.sqrt(w.size)


def recorder() -> tuple[Trace, list[TraceRow]]:
    trace = Trace()
    return trace, trace.rows


def test_the_registry_holds_the_solvers():
    assert {
        "AlternatingLeastSquares",
        "GaussNewton",
        "GradientDescent",
        "TrustRegion",
    } <= set(SOLVER_NAMES)


@each_case
@pytest.mark.parametrize("lam", [0.0, 0.05])
def test_values_never_rise(name, kind, lam):
    problem = pose(kind, noise=0.02, lam=lam)
    trace, rows = recorder()
    run = SOLVERS[name]().run(
        problem, start(problem), stopping=Stopping(max_iterations=60), trace=trace
    )
    values = [row.objective for row in rows]
    assert len(values) > 3 and values[0] > values[-1] * (1 + 1e-6)
    # At the very end the gradient may still fall where the value is at rounding.
    assert all(b <= a * (1 + 1e-13) for a, b in itertools.pairwise(values))
    assert run.point.value <= values[-1] * (1 + 1e-13)
    assert [row.iteration for row in rows] == list(range(len(rows)))
    assert {row.stage for row in rows} == {name}
    assert all(row.rank == 2 for row in rows)


@each_case
def test_recovers_a_known_matrix(name, kind):
    problem, truth = pose(kind), DATA[kind].truth
    run = SOLVERS[name]().run(problem, start(problem), stopping=Stopping(max_iterations=2000))
    assert run.status.implies_stationarity
    assert run.iterations < 2000
    assert run.measures["eps_g"] <= 1e-8
    assert (problem.compose(run.point.w) - truth).norm() <= 1e-6 * truth.norm()


@each_case
def test_reaches_a_stationary_point_of_noisy_data(name, kind):
    """With and without shrinkage; the gradient is recomputed from scratch."""
    for lam in (0.0, 0.1):
        problem = pose(kind, noise=0.05, lam=lam)
        run = SOLVERS[name]().run(
            problem, start(problem), stopping=Stopping(gradient_tol=1e-6, max_iterations=3000)
        )
        assert run.status in (Status.CONVERGED, Status.SECOND_ORDER)
        fresh = pose(kind, noise=0.05, lam=lam)
        point = fresh.evaluate(run.point.w)
        assert fresh.relative_gradient(point) <= 1.01e-6
        assert point.value == pytest.approx(run.point.value, rel=1e-12)


@each_solver
def test_solvers_agree_on_a_regularised_minimum(name):
    """A strongly regularised problem has one minimum, and every solver finds it."""
    problem = pose("dense", noise=0.05, lam=0.4)
    reference = TrustRegion().run(problem, start(problem, 4, seed=3))
    run = SOLVERS[name]().run(
        problem, start(problem, 4, seed=4), stopping=Stopping(max_iterations=5000)
    )
    assert reference.status is Status.SECOND_ORDER and run.status.implies_stationarity
    assert run.point.value == pytest.approx(reference.point.value, rel=1e-9)
    assert_close(
        problem.compose(run.point.w).toarray(), problem.compose(reference.point.w).toarray(), 1e-4
    )


@each_case
def test_runs_repeat_bit_by_bit(name, kind):
    runs = []
    for _ in range(2):
        problem = pose(kind, noise=0.02)
        stopping = Stopping(max_iterations=30)
        runs.append(SOLVERS[name]().run(problem, start(problem), stopping=stopping))
    np.testing.assert_array_equal(runs[0].point.w, runs[1].point.w)
    assert runs[0].status is runs[1].status
    assert runs[0].iterations == runs[1].iterations
    assert runs[0].measures == runs[1].measures


@each_case
def test_inputs_are_left_untouched(name, kind):
    problem = pose(kind, noise=0.02)
    w, b = start(problem), problem.b.copy()
    before = w.copy()
    w.flags.writeable = problem.b.flags.writeable = False
    run = SOLVERS[name]().run(problem, w, stopping=Stopping(max_iterations=5))
    problem.b.flags.writeable = True
    np.testing.assert_array_equal(w, before)
    np.testing.assert_array_equal(problem.b, b)
    assert not np.shares_memory(run.point.w, w)


@each_case
def test_strict_array_api_arrays_give_the_same_result(name, kind):
    problem = pose(kind, noise=0.02)
    twin = FactorizedProblem(
        strict_operator(problem.operator), strict(problem.b), problem.factorization
    )
    assert isinstance(twin.operator, EntrySampling if kind == "sampled" else DenseSensing)
    stopping = Stopping(gradient_tol=1e-6, max_iterations=500)
    w = start(problem)
    expected = SOLVERS[name]().run(problem, w, stopping=stopping)
    run = SOLVERS[name]().run(twin, strict(w), stopping=stopping)
    assert type(run.point.w).__module__.startswith("array_api_strict")
    assert run.status is expected.status
    assert run.point.value == pytest.approx(expected.point.value, rel=1e-10)
    assert_close(
        twin.compose(run.point.w).toarray(), problem.compose(expected.point.w).toarray(), 1e-5
    )
    strict_start = spectral(twin, 2, np.random.default_rng(0))
    assert_close(strict_start, spectral(problem, 2, np.random.default_rng(0)), 1e-10)


@each_solver
def test_float32_problems_stay_in_float32(name):
    instance = DATA["dense"]
    operator = DenseSensing(instance.operator.matrices.astype(np.float32))
    problem = FactorizedProblem(operator, instance.measurements.astype(np.float32))
    w = start(problem).astype(np.float32)
    run = SOLVERS[name]().run(problem, w, stopping=Stopping(gradient_tol=1e-4, max_iterations=500))
    assert run.point.w.dtype == np.float32
    assert run.status.implies_stationarity
    error = (problem.compose(run.point.w) - instance.truth).norm()
    assert error <= 1e-2 * instance.truth.norm()


@each_solver
@pytest.mark.parametrize("k", [1, 4, 9])
def test_other_search_ranks(name, k):
    """Too few columns, too many, and more than a side of the matrix has."""
    problem = pose("dense", noise=0.05)
    w = small_random(problem, k, np.random.default_rng(0), relative_scale=0.3)
    run = SOLVERS[name]().run(problem, w, stopping=Stopping(max_iterations=40))
    assert run.point.w.shape == w.shape
    assert np.isfinite(run.point.value)
    assert run.point.value < problem.evaluate(w).value


@each_solver
def test_two_factor_solvers_refuse_one(name):
    problem = pose("symmetric")
    if name in ASYMMETRIC_ONLY:
        with pytest.raises(InputError, match="Remedy"):
            SOLVERS[name]().run(problem, start(problem))
    else:
        SOLVERS[name]().run(problem, start(problem), stopping=Stopping(max_iterations=1))


@each_solver
def test_balanced_problems_are_searched_too(name):
    instance = DATA["dense"]
    penalty = Balancing(instance.operator.shape, Asymmetric())
    problem = FactorizedProblem(instance.operator, instance.measurements, regularizers=(penalty,))
    run = SOLVERS[name]().run(problem, start(problem), stopping=Stopping(max_iterations=1500))
    assert run.status.implies_stationarity
    left, right = problem.parts(run.point.w)
    assert_close(left.T @ left, right.T @ right, 1e-5)
    assert (problem.compose(run.point.w) - instance.truth).norm() <= 1e-5 * instance.truth.norm()


# -- statuses ----------------------------------------------------------------------------------


@each_solver
def test_zero_residual(name):
    """A start that fits to rounding is reported as such before any step."""
    problem, truth = pose("dense"), DATA["dense"].truth
    w = np.concatenate([truth.left, truth.right])
    run = SOLVERS[name]().run(problem, w)
    assert (run.status, run.iterations) == (Status.ZERO_RESIDUAL, 0)
    # With a regulariser a fit proves nothing: the search must go on.
    shrunk = pose("dense", lam=0.1)
    run = SOLVERS[name]().run(shrunk, w, stopping=Stopping(max_iterations=3))
    assert run.status is not Status.ZERO_RESIDUAL
    assert run.iterations > 0 and run.point.value < shrunk.evaluate(w).value


def test_converged_and_second_order():
    problem = pose("dense", noise=0.05)
    first = GaussNewton().run(problem, start(problem))
    assert first.status is Status.CONVERGED and "eps_h" not in first.measures
    second = TrustRegion().run(problem, start(problem))
    assert second.status is Status.SECOND_ORDER
    assert second.measures["eps_h"] <= 1e-6
    skipped = TrustRegion(curvature_tol=float("inf")).run(problem, start(problem))
    assert skipped.status is Status.CONVERGED and "eps_h" not in skipped.measures


@each_solver
def test_a_saddle_is_second_order_to_nobody(name):
    """X = 0 is stationary: first-order solvers stop there and may not claim more."""
    problem = pose("dense")
    zero = np.zeros((14, 2))
    run = SOLVERS[name]().run(problem, zero)
    if SOLVERS[name].second_order:
        assert run.status in (Status.SECOND_ORDER, Status.ZERO_RESIDUAL)
        error = problem.compose(run.point.w) - DATA["dense"].truth
        assert error.norm() <= 1e-6 * DATA["dense"].truth.norm()
    else:
        assert run.status is Status.CONVERGED
        np.testing.assert_array_equal(run.point.w, zero)


@each_solver
def test_max_iterations(name):
    problem = pose("sampled")
    for limit in (0, 2):
        stopping = Stopping(max_iterations=limit)
        run = SOLVERS[name]().run(problem, start(problem), stopping=stopping)
        assert (run.status, run.iterations) == (Status.MAX_ITERATIONS, limit)
        assert not run.status.implies_stationarity
        assert run.measures["eps_g"] > stopping.gradient_tol


@each_solver
def test_max_time(name):
    problem = pose("sampled")
    run = SOLVERS[name]().run(problem, start(problem), trace=Trace(max_time_s=0.0))
    assert (run.status, run.iterations) == (Status.MAX_TIME, 0)
    assert np.isfinite(run.point.value)


@each_solver
def test_stalled(name):
    """An unreachable tolerance ends in STALLED, at a point that is as good as rounding allows."""
    problem = pose("dense", noise=0.05, lam=0.1)
    stopping = Stopping(gradient_tol=0.0, max_iterations=3000)
    run = SOLVERS[name]().run(problem, start(problem), stopping=stopping)
    assert run.status is Status.STALLED
    assert not run.status.implies_stationarity
    assert 0 < run.measures["eps_g"] < 1e-7


@each_solver
def test_user_stop_by_callback(name):
    problem = pose("sampled")
    seen: list[TraceRow] = []

    def callback(row: TraceRow) -> bool:
        seen.append(row)
        return row.iteration == 2

    trace = Trace(callback=callback)
    run = SOLVERS[name]().run(problem, start(problem), trace=trace)
    assert (run.status, run.iterations) == (Status.USER_STOP, 2)
    assert trace.stop_requested
    assert seen == trace.rows and len(seen) == 3
    assert run.point.value == seen[-1].objective


@each_solver
def test_user_stop_by_keyboard_interrupt_in_a_callback(name):
    problem = pose("sampled")

    def callback(row: TraceRow) -> None:
        if row.iteration == 2:
            raise KeyboardInterrupt

    trace = Trace(callback=callback)
    run = SOLVERS[name]().run(problem, start(problem), trace=trace)
    assert (run.status, run.iterations) == (Status.USER_STOP, 2)
    assert trace.stop_requested
    assert run.point.value == trace.rows[-1].objective


@each_solver
def test_user_stop_by_keyboard_interrupt_inside_a_step(name):
    """Ctrl-C may strike anywhere: the last complete iterate comes back."""
    calls = 0

    class Interrupted(DenseSensing):
        # Without the fused products: every gradient then passes through the adjoint.
        residual_products = MeasurementOperator.residual_products
        normal_products = MeasurementOperator.normal_products

        def adjoint(self, y: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 8:
                raise KeyboardInterrupt
            return super().adjoint(y)

    instance = DATA["dense"]
    problem = FactorizedProblem(Interrupted(instance.operator.matrices), instance.measurements)
    w = start(pose("dense"))
    run = SOLVERS[name]().run(problem, w)
    assert run.status is Status.USER_STOP
    assert run.point.value <= pose("dense").evaluate(w).value * (1 + 1e-13)
    fresh = pose("dense").evaluate(run.point.w)
    assert run.point.value == pytest.approx(fresh.value, rel=1e-12)


def test_other_exceptions_of_a_callback_are_not_swallowed():
    problem = pose("sampled")

    def callback(row: TraceRow) -> None:
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        GradientDescent().run(problem, start(problem), trace=Trace(callback=callback))


def test_every_status_is_forced_here_and_has_a_remedy():
    forced = {
        "ZERO_RESIDUAL",
        "CONVERGED",
        "SECOND_ORDER",
        "MAX_ITERATIONS",
        "MAX_TIME",
        "STALLED",
        "USER_STOP",
    }
    assert forced == set(Status.__members__)
    for status in Status:
        assert status.remedy and status.value == status.name.lower()
        stationary = status.name in ("ZERO_RESIDUAL", "CONVERGED", "SECOND_ORDER")
        assert status.implies_stationarity is stationary


@each_solver
def test_status_does_not_depend_on_units(name):
    """b -> c b multiplies X by c and changes nothing else."""
    c = 2.0**20
    problem = pose("dense", noise=0.05)
    scaled = FactorizedProblem(problem.operator, c * problem.b)
    stopping = Stopping(max_iterations=400)
    w = start(problem)
    one = SOLVERS[name]().run(problem, w, stopping=stopping)
    other = SOLVERS[name]().run(scaled, np.sqrt(c) * w, stopping=stopping)
    assert one.status is other.status and one.iterations == other.iterations
    assert other.point.value == pytest.approx(c * c * one.point.value, rel=1e-12)


def test_spectral_start_is_near_and_repeats():
    problem, truth = pose("dense"), DATA["dense"].truth
    w = spectral(problem, 2, np.random.default_rng(0))
    again = spectral(problem, 2, np.random.default_rng(0))
    np.testing.assert_array_equal(w, again)
    assert (problem.compose(w) - truth).norm() < 0.8 * truth.norm()
    # Scaled along its own ray: no multiple of it fits better.
    residual = problem.evaluate(w).residual
    image = problem.operator.apply_product(*problem.parts(w))
    assert abs(residual @ image) <= 1e-10 * np.linalg.norm(image) ** 2


def test_small_random_start_has_the_stated_size():
    problem = pose("symmetric")
    w = small_random(problem, 3, np.random.default_rng(0), relative_scale=1e-3)
    assert w.shape == (8, 3)
    size = np.linalg.norm(w, 2) / np.sqrt(problem.scale)
    assert 2e-4 < size < 2e-3
