"""Trajectories: every column against dense NumPy or a closed form, and no influence on the run."""

from __future__ import annotations

import itertools
import json
import tracemalloc
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.linalg import subspace_angles

import referee
from cases import explicit_rows, registered, strict, strict_operator
from ranklift import instances
from ranklift.errors import InputError, RankError, ShapeError
from ranklift.factorizations import Asymmetric, Deep, Hermitian, Signed, Symmetric
from ranklift.initializers import small_random, spectral
from ranklift.losses import Absolute, Huber
from ranklift.lowrank import LowRank
from ranklift.operators import DenseSensing, EntrySampling, IdentitySensing, PauliSensing
from ranklift.problem import FactorizedProblem
from ranklift.regularizers import SquaredNorm
from ranklift.solvers import SOLVERS, GradientDescent, Stopping, TrustRegion
from ranklift.trace import Trace
from ranklift.trajectory import (
    Trajectory,
    TrajectoryRow,
    imbalance_step,
    phases,
    spectral_subspace,
)
from ranklift.viz.trajectory import plot_trajectory

FIXED = GradientDescent(step_size=0.25)


def pose(symmetric: bool = False, k: int = 3) -> tuple[FactorizedProblem, Any, Any]:
    """Return a problem of rank 2, its instance, and a small start."""
    shape = 7 if symmetric else (8, 6)
    instance = instances.gaussian_sensing(
        shape, 2, 60, symmetric=symmetric, condition_number=2.0, rng=4
    )
    factorization = Symmetric() if symmetric else Asymmetric()
    problem = FactorizedProblem(instance.operator, instance.measurements, factorization)
    w = small_random(problem, k, np.random.default_rng(0), relative_scale=1e-3)
    return problem, instance, w


def observed(problem, w, trajectory, *, solver=FIXED, iterations=20, **kwargs):
    """Run a solver under observation; return the iterates that it went through."""
    points = []
    run = solver.run(
        problem,
        w,
        stopping=Stopping(max_iterations=iterations, gradient_tol=0.0, residual_tol=0.0),
        trace=Trace(observers=[trajectory, lambda p, state, i, stage: points.append(state.point)]),
        **kwargs,
    )
    return run, points


@pytest.mark.parametrize("symmetric", [False, True])
def test_columns_against_dense_algebra(symmetric):
    problem, instance, w = pose(symmetric)
    rng = np.random.default_rng(8)
    held_out = DenseSensing(rng.standard_normal((11, *problem.shape)))
    values = rng.standard_normal(11)
    trajectory = Trajectory(instance.truth, test=(held_out, values), curvature_every=25)
    _, points = observed(problem, w, trajectory, iterations=200)
    rows, test_rows = explicit_rows(problem.operator), explicit_rows(held_out)
    truth = instance.truth.toarray()
    transported = (rows.T @ problem.b).reshape(problem.shape)
    u, _, vt = np.linalg.svd(transported)
    p, q = u[:, :2], vt[:2].T
    if symmetric:
        p = np.linalg.eigh((transported + transported.T) / 2)[1][:, -2:]
    table = trajectory.table()
    assert len(points) == 201 and table["iteration"].tolist() == list(range(201))
    assert table["test_error"][-1] < 0.1 < table["test_error"][0]
    for i in range(0, 201, 25):
        left, right = problem.parts(points[i].w)
        other = None if symmetric else right
        found = {name: column[i] for name, column in table.items()}
        misfit = referee.residual(rows, problem.b, left, other)
        train = np.linalg.norm(misfit) / np.linalg.norm(problem.b)
        assert found["train_error"] == pytest.approx(train, rel=1e-12)
        error = referee.relative_error(truth, left, other)
        assert found["test_error"] == pytest.approx(error, rel=1e-12)
        missed = referee.residual(test_rows, values, left, other)
        held = np.linalg.norm(missed) / np.linalg.norm(values)
        assert found["held_out_error"] == pytest.approx(held, rel=1e-12)
        gram = left.T @ left - right.T @ right
        assert found["imbalance"] == pytest.approx(np.linalg.norm(gram, 2), rel=1e-9)
        stacked = left if symmetric else np.vstack([left, right]) / np.sqrt(2)
        target = p if symmetric else np.vstack([p, q])
        z, s, _ = np.linalg.svd(stacked, full_matrices=False)
        assert found["signal"] == pytest.approx(s[1], rel=1e-12)
        assert found["residual"] == pytest.approx(s[2], rel=1e-9)
        angle = np.sin(subspace_angles(z[:, :2], target).max())
        assert found["misalignment"] == pytest.approx(angle, rel=1e-7)
        coupling = np.linalg.norm(p.T @ left - q.T @ right)
        coupling /= np.linalg.norm(p.T @ left + q.T @ right)
        expected = 0.0 if symmetric else coupling
        assert found["coupling"] == pytest.approx(expected, rel=1e-7)
        least = referee.least_curvature(rows, problem.b, left, other)
        assert found["least_curvature"] == pytest.approx(least, rel=1e-8, abs=1e-11)


def test_a_start_along_the_truth_stays_aligned():
    """X = u u^T with u = t z: t follows t - mu 2 (t^2 - 1) t, the angle and the rest stay zero."""
    z = np.array([[2.0], [1.0], [-1.0], [0.5]])
    truth = LowRank(z, z)
    problem = FactorizedProblem(IdentitySensing((4, 4)), truth.toarray().ravel(), Symmetric())
    trajectory = Trajectory(truth)
    observed(problem, 0.1 * z, trajectory, iterations=30)
    table = trajectory.table()
    t, size = 0.1, float(np.linalg.norm(z))
    assert len(table["signal"]) >= 10  # it then stands still at the truth
    for i in range(len(table["signal"])):
        assert table["signal"][i] == pytest.approx(t * size, rel=1e-12)
        assert table["test_error"][i] == pytest.approx(1 - t * t, rel=1e-9, abs=1e-14)
        t -= 0.25 * 2 * (t * t - 1) * t  # scale is ||z||^2, which the gradient carries as well
    assert np.all(table["misalignment"] <= 1e-12)
    assert not table["residual"].any()
    assert not table["imbalance"].any() and not table["coupling"].any()


def test_factors_couple_at_the_rate_of_the_linearised_iteration():
    """[P; Q] grows by 1 + mu sigma a step and [P; -Q] shrinks by 1 - mu sigma, mu sigma = 1/4."""
    truth = instances.random_low_rank((6, 5), 1, rng=0)
    problem = FactorizedProblem(IdentitySensing((6, 5)), truth.toarray().ravel())
    w = small_random(problem, 2, np.random.default_rng(3), relative_scale=1e-6)
    trajectory = Trajectory(truth)
    observed(problem, w, trajectory, iterations=15)
    coupling = trajectory.table()["coupling"]
    np.testing.assert_allclose(coupling, coupling[0] * 0.6 ** np.arange(16), rtol=1e-8)
    assert coupling[0] > 0.1


@pytest.mark.parametrize(("shape", "k"), [((8, 6), 3), ((5, 9), 6)])
def test_imbalance_law(shape, k):
    instance = instances.gaussian_sensing(shape, 2, 70, condition_number=2.0, rng=1)
    problem = FactorizedProblem(instance.operator, instance.measurements)
    w = small_random(problem, k, np.random.default_rng(0), relative_scale=0.3)
    seen: list[tuple[Any, float]] = []
    FIXED.run(
        problem,
        w,
        stopping=Stopping(max_iterations=60),
        trace=Trace(observers=[lambda p, s, i, stage: seen.append((s.point, s.step_size))]),
    )

    def gram(point):
        left, right = problem.parts(point.w)
        return left.T @ left - right.T @ right

    predicted_sum, largest = np.zeros((k, k)), 0.0
    for (point, _), (following, step) in itertools.pairwise(seen):
        change = imbalance_step(problem, point, step)
        unit = np.linalg.norm(point.w) ** 2
        assert np.linalg.norm(gram(following) - gram(point) - change) <= 1e-12 * unit
        # The formula as it is written in the docs, from the dense G.
        rows = explicit_rows(problem.operator)
        left, right = problem.parts(point.w)
        g = referee.gradient_matrix(rows, problem.b, left, right)
        dense = step**2 * (right.T @ g.T @ g @ right - left.T @ g @ g.T @ left)
        np.testing.assert_allclose(change, dense, rtol=0, atol=1e-12 * np.linalg.norm(dense))
        largest = max(largest, np.linalg.norm(change) / unit)
        predicted_sum += change
    assert len(seen) == 61 and largest > 1e-4  # the law is tested where it says something
    total = gram(seen[-1][0]) - gram(seen[0][0])
    assert np.linalg.norm(total - predicted_sum) <= 1e-12 * np.linalg.norm(seen[-1][0].w) ** 2


def test_smaller_steps_keep_the_balance():
    """At the same time mu t the imbalance gained falls in proportion to mu."""
    problem, instance, w = pose()
    w = problem.gauge(w) * 300.0
    gained = []
    for step, iterations in ((0.1, 200), (0.05, 400), (0.025, 800)):
        trajectory = Trajectory(instance.truth, every=iterations)
        observed(problem, w, trajectory, solver=GradientDescent(step), iterations=iterations)
        assert trajectory.rows[0].imbalance <= 1e-12
        gained.append(trajectory.rows[-1].imbalance)
    assert gained[0] > 1e-6
    ratios = [a / b for a, b in itertools.pairwise(gained)]
    np.testing.assert_allclose(ratios, 2.0, rtol=0.15)


@pytest.mark.parametrize("name", registered(SOLVERS))
def test_every_solver_is_observed_and_not_disturbed(name):
    problem, instance, _ = pose()
    w = spectral(pose()[0], 2, np.random.default_rng(0)) * 1.3
    problem, plain_problem = (FactorizedProblem(problem.operator, problem.b) for _ in range(2))
    stopping = Stopping(max_iterations=6)
    plain = SOLVERS[name]().run(plain_problem, w.copy(), stopping=stopping)
    trajectory = Trajectory(instance.truth, curvature_every=2)
    trace = Trace(observers=[trajectory])
    run = SOLVERS[name]().run(problem, w.copy(), stopping=stopping, trace=trace)
    np.testing.assert_array_equal(run.point.w, plain.point.w)
    assert run.status is plain.status and run.iterations == plain.iterations
    assert problem.counts == plain_problem.counts
    assert [row.iteration for row in trajectory.rows] == [row.iteration for row in trace.rows]
    assert {row.stage for row in trajectory.rows} == {name}
    unit = np.linalg.norm(problem.b)
    for row, own in zip(trace.rows, trajectory.rows, strict=True):
        assert own.train_error == pytest.approx(row.residual_norm / unit, rel=1e-12)
        assert np.isfinite(own.misalignment) and np.isfinite(own.coupling)
    measured = [np.isfinite(row.least_curvature) for row in trajectory.rows]
    assert measured == [i % 2 == 0 for i in range(len(measured))]


def test_every_and_the_last_iterate():
    problem, instance, w = pose()
    dense, sparse = Trajectory(instance.truth), Trajectory(instance.truth, every=4)
    observed(problem, w, dense, iterations=10)
    observed(problem, w, sparse, iterations=10)
    assert [row.iteration for row in sparse.rows] == [0, 4, 8, 10]
    assert [dense.rows[i][1:-1] for i in (0, 4, 8, 10)] == [row[1:-1] for row in sparse.rows]
    observed(problem, w, sparse, iterations=5)
    assert [row.iteration for row in sparse.rows] == [0, 4, 8, 10, 0, 4, 5]
    assert sparse.table("GradientDescent")["iteration"].tolist() == [0, 4, 5]


def test_stages_are_picked():
    problem, instance, w = pose()
    trajectory = Trajectory(instance.truth, stages={"second"}, every=3)
    observed(problem, w, trajectory, stage="first", iterations=4)
    run, _ = observed(problem, w, trajectory, stage="second", iterations=4)
    observed(problem, run.point.w, trajectory, stage="third", iterations=4)
    assert trajectory.recorded == ["second"]
    assert [row.iteration for row in trajectory.rows] == [0, 3, 4]


def test_truth_as_array_or_factors():
    problem, instance, w = pose()
    truth = instance.truth
    errors = []
    for form in (truth, truth.toarray(), (truth.left, truth.right)):
        trajectory = Trajectory(form)
        observed(problem, w, trajectory, iterations=40)
        assert trajectory.true_rank == 2
        errors.append(trajectory.table()["test_error"])
    np.testing.assert_allclose(errors[1], errors[0], rtol=1e-10)
    np.testing.assert_allclose(errors[2], errors[0], rtol=1e-10)


def test_without_truth_and_with_a_rank_only():
    problem, _, w = pose()
    bare, ranked = Trajectory(), Trajectory(true_rank=2)
    observed(problem, w, bare, iterations=3)
    observed(problem, w, ranked, iterations=3)
    row = bare.rows[-1]
    assert np.isfinite(row.train_error) and np.isfinite(row.imbalance)
    assert np.isnan([row.test_error, row.signal, row.coupling, row.misalignment]).all()
    row = ranked.rows[-1]
    assert np.isnan(row.test_error) and row.signal > 0 and 0 < row.misalignment <= 1


def test_fewer_columns_than_the_rank():
    """One column cannot span two directions: the angle to the missing one is a right one."""
    problem, instance, w = pose(k=1)
    trajectory = Trajectory(instance.truth)
    observed(problem, w, trajectory, iterations=3)
    assert [row.misalignment for row in trajectory.rows] == pytest.approx([1.0] * 4, abs=1e-12)
    assert not trajectory.table()["signal"].any() and not trajectory.table()["residual"].any()


def test_hermitian_columns():
    """A pure state's U = c psi e^{i phi}: error and angle do not see the phase."""
    operator = PauliSensing.example(np.random.default_rng(0))
    n = operator.shape[0]
    rng = np.random.default_rng(1)
    psi = rng.standard_normal((n, 1)) + 1j * rng.standard_normal((n, 1))
    psi /= np.linalg.norm(psi)
    truth = LowRank(psi, psi.conj())
    rows = explicit_rows(operator)
    full = truth.toarray()
    b = rows @ np.concatenate([full.real.ravel(), full.imag.ravel()])
    problem = FactorizedProblem(operator, b, Hermitian())
    adjoint = (rows.T @ b).reshape(2, n, n)
    top = np.linalg.eigh(adjoint[0] + 1j * adjoint[1])[1][:, -1:]
    u = 0.5 * np.exp(0.7j) * psi
    trajectory = Trajectory(truth, curvature_every=1)
    observed(problem, np.vstack([u.real, u.imag]), trajectory, iterations=0)
    row = trajectory.rows[0]
    assert row.test_error == pytest.approx(0.75, rel=1e-12)
    assert row.signal == pytest.approx(0.5, rel=1e-12)
    assert (row.imbalance, row.coupling, row.residual) == (0.0, 0.0, 0.0)
    expected = np.sqrt(1 - abs(np.vdot(top, psi)) ** 2)
    assert row.misalignment == pytest.approx(expected, abs=1e-7)
    assert np.isfinite(row.least_curvature)


def test_signed_columns():
    """X = diag(2, -1, 0) of known factors: signal and residual are those of U1 and U2 together."""
    truth = np.diag([2.0, -1.0, 0.0])
    problem = FactorizedProblem(IdentitySensing((3, 3)), truth.ravel(), Signed())
    w = np.zeros((6, 2))
    w[0, 0], w[4, 0], w[5, 1] = 0.3, 0.2, 0.1  # U1 = .3 e1, U2 = [.2 e2, .1 e3]
    trajectory = Trajectory(truth)
    observed(problem, w, trajectory, iterations=0)
    row = trajectory.rows[0]
    assert (row.signal, row.residual) == pytest.approx((0.2, 0.1), rel=1e-12)
    assert row.misalignment == pytest.approx(0.0, abs=1e-12)
    assert row.coupling == pytest.approx(0.0, abs=1e-12)


def test_deep_factors_have_errors_only():
    truth = instances.random_low_rank((5, 4), 1, rng=0)
    problem = FactorizedProblem(IdentitySensing((5, 4)), truth.toarray().ravel(), Deep(3))
    w = np.random.default_rng(0).standard_normal((11, 2))
    trajectory = Trajectory(truth)
    observed(problem, w, trajectory, solver=GradientDescent(), iterations=2)
    row = trajectory.rows[-1]
    assert np.isfinite(row.test_error)
    assert row.test_error == pytest.approx(row.train_error, rel=1e-12)
    assert np.isnan([row.imbalance, row.coupling, row.signal, row.misalignment]).all()


def test_other_losses_align_with_their_slope():
    problem, _, _ = pose()
    loss = Huber(0.1)
    other = problem.with_loss(loss)
    slope = -np.clip(problem.b, -0.1, 0.1)
    rows = explicit_rows(problem.operator)
    u, _, vt = np.linalg.svd((rows.T @ -slope).reshape(problem.shape))
    basis = spectral_subspace(other, 2)
    assert basis is not None
    expected = np.vstack([u[:, :2], vt[:2].T])
    assert subspace_angles(basis, expected).max() <= 1e-7


def test_a_loss_with_kinks_has_no_curvature():
    problem, instance, w = pose()
    trajectory = Trajectory(instance.truth, curvature_every=1)
    robust = problem.with_loss(Absolute())
    observed(robust, w, trajectory, solver=GradientDescent(), iterations=2)
    assert np.isnan(trajectory.table()["least_curvature"]).all()
    assert np.isfinite(trajectory.table()["misalignment"]).all()


def test_spectral_subspace_takes_positive_eigenvalues():
    """Of diag(1, -3, 2) the top eigenvector is e3, though -3 is larger in size."""
    problem = FactorizedProblem(
        IdentitySensing((3, 3)), np.diag([1.0, -3.0, 2.0]).ravel(), Symmetric()
    )
    basis = spectral_subspace(problem, 1)
    assert basis is not None
    np.testing.assert_allclose(np.abs(basis[:, 0]), [0, 0, 1], atol=1e-10)
    assert spectral_subspace(problem, 3) is None  # two are positive


def test_equal_singular_values():
    """A repeated eigenvalue has no single eigenvector, its space is found all the same."""
    truth = instances.random_low_rank((40, 30), 3, rng=2)
    problem = FactorizedProblem(IdentitySensing((40, 30)), truth.toarray().ravel())
    basis = spectral_subspace(problem, 3)
    assert basis is not None
    u, _, v = truth.svd()
    # All of [u_i; v_i] have eigenvalue 1, so that their span is the whole eigenspace.
    assert subspace_angles(basis, np.vstack([u, v])).max() <= 1e-7


def test_other_array_namespaces():
    problem, instance, w = pose()
    twin = FactorizedProblem(strict_operator(problem.operator), strict(problem.b))
    one, other = (Trajectory(instance.truth, curvature_every=5) for _ in range(2))
    observed(problem, w, one, iterations=5)
    observed(twin, strict(w), other, iterations=5)
    for name, column in one.table().items():
        if name != "stage":
            np.testing.assert_allclose(column, other.table()[name], rtol=1e-6, atol=1e-12)


def test_no_full_matrix_is_formed():
    shape, m = (3000, 2500), 30_000
    rng = np.random.default_rng(0)
    truth = instances.random_low_rank(shape, 2, rng=0)
    flat = np.unique(rng.integers(0, shape[0] * shape[1], size=m))
    operator = EntrySampling(flat // shape[1], flat % shape[1], shape)
    problem = FactorizedProblem(operator, np.asarray(operator.apply(truth)))
    w = spectral(problem, 2, rng)
    trajectory = Trajectory(truth, curvature_every=1, curvature_steps=20)
    tracemalloc.start()
    observed(problem, w, trajectory, iterations=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < shape[0] * shape[1] * 8 / 2
    assert np.isfinite(trajectory.rows[-1].misalignment)


def test_saved_and_rebuilt():
    problem, instance, w = pose()
    trajectory = Trajectory(instance.truth, every=3, curvature_every=2)
    observed(problem, w, trajectory, iterations=10)
    document = json.loads(json.dumps(trajectory.to_dict(), allow_nan=False))
    again = Trajectory.from_dict(document)
    assert again.to_dict() == trajectory.to_dict()
    assert again.rows[1].iteration == 3 and np.isnan(again.rows[1].least_curvature)
    assert "8 x 6" in again.description and "m = 60" in again.description


def test_phases_of_a_run():
    problem, instance, w = pose()
    trajectory = Trajectory(instance.truth)
    observed(problem, w, trajectory, iterations=200)
    found = phases(trajectory, misalignment_tol=0.5)
    table = trajectory.table()
    assert found.alignment_end is not None and found.saddle_end is not None
    assert 0 < found.alignment_end < found.saddle_end < found.last == 200
    before = slice(0, found.saddle_end)
    assert np.all(table["signal"][before] < table["signal"][-1] / 2)
    assert table["signal"][found.saddle_end] >= table["signal"][-1] / 2
    assert np.all(table["misalignment"][: found.alignment_end] > 0.5)
    assert table["misalignment"][found.alignment_end] <= 0.5
    assert phases(trajectory, misalignment_tol=1e-9).alignment_end is None


def test_the_plot_shows_the_columns():
    problem, instance, w = pose()
    trajectory = Trajectory(instance.truth, curvature_every=10)
    observed(problem, w, trajectory, iterations=100)
    figure = plot_trajectory(trajectory)
    assert isinstance(figure, Figure)
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert labels == ["relative error", "singular values", "balance", "misalignment", "curvature"]
    table = trajectory.table()
    lines = figure.axes[0].lines
    np.testing.assert_array_equal(lines[0].get_ydata(), table["train_error"])
    np.testing.assert_array_equal(lines[1].get_ydata(), table["test_error"])
    curvature = figure.axes[4].lines[0]
    assert list(curvature.get_xdata()) == list(range(0, 101, 10))
    title = figure.get_suptitle()
    assert "GradientDescent" in title and "DenseSensing 8 x 6" in title and "r = 2" in title
    bounds = phases(trajectory)
    drawn = {tuple(line.get_xdata()) for line in figure.axes[3].lines[1:]}
    assert drawn == {(bounds.alignment_end,) * 2, (bounds.saddle_end,) * 2}


def test_the_plot_leaves_out_what_was_not_recorded():
    problem, _, w = pose(symmetric=True)
    trajectory = Trajectory()
    observed(problem, w, trajectory, solver=TrustRegion(), iterations=5)
    figure = plot_trajectory(trajectory)
    assert [axes.get_ylabel() for axes in figure.axes] == ["relative error"]
    assert len(figure.axes[0].lines) == 1


def test_a_single_record_can_be_drawn():
    problem = FactorizedProblem(IdentitySensing((3, 2)), np.zeros(6))
    trajectory = Trajectory()
    observed(problem, np.zeros((5, 1)), trajectory, iterations=0)
    assert trajectory.rows[0].train_error == 0.0
    assert [axes.get_ylabel() for axes in plot_trajectory(trajectory).axes] == ["relative error"]


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"every": 0}, InputError),
        ({"every": 2.5}, InputError),
        ({"curvature_every": 0}, InputError),
        ({"true_rank": -1}, InputError),
        ({"curvature_steps": True}, InputError),
        ({"truth": np.zeros(3)}, ShapeError),
        ({"truth": (np.zeros((3, 1)),)}, InputError),
        ({"test": (IdentitySensing((2, 2)), np.zeros(3))}, ShapeError),
    ],
)
def test_unusable_settings(settings, error):
    with pytest.raises(error, match="Remedy"):
        Trajectory(**settings)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"truth": np.ones((6, 8))}, ShapeError),
        ({"test": (IdentitySensing((2, 2)), np.zeros(4))}, ShapeError),
        ({"true_rank": 7}, RankError),
    ],
)
def test_settings_of_another_problem(settings, error):
    problem, _, w = pose()
    with pytest.raises(error, match="Remedy"):
        observed(problem, w, Trajectory(**settings), iterations=1)


def test_unusable_questions():
    problem, _, w = pose()
    empty = Trajectory()
    with pytest.raises(InputError, match="empty"):
        plot_trajectory(empty)
    observed(problem, w, empty, iterations=1)
    with pytest.raises(InputError, match="no record of the stage"):
        plot_trajectory(empty, stage="TrustRegion")
    with pytest.raises(InputError, match="true_rank"):
        phases(empty)
    ridge = problem.with_regularizers(SquaredNorm(0.1))
    with pytest.raises(InputError, match="imbalance law"):
        imbalance_step(ridge, ridge.evaluate(w), 0.1)


def test_row_fields_are_the_columns():
    problem, _, w = pose()
    trajectory = Trajectory()
    observed(problem, w, trajectory, iterations=1)
    assert tuple(trajectory.table()) == TrajectoryRow._fields
