"""Simulated lift: it leaves every known strict minimum, at a small and counted cost."""

from __future__ import annotations

import numpy as np
import pytest

import referee
from cases import explicit_rows
from ranklift.errors import InputError
from ranklift.escapes import EscapeSearch, SimulatedLift, TruncatedDescent, escape_feasibility
from ranklift.escapes.oracle_plane import OraclePlane, descent_eigenvectors, stationary_points
from ranklift.factorizations import Asymmetric, Hermitian, Signed, Symmetric
from ranklift.instances import (
    Instance,
    gaussian_sensing,
    perturbed_matrix_completion,
    random_pauli_strings,
    random_state,
    rip_half,
    sod_three_by_three,
    two_by_two_weighted,
)
from ranklift.losses import Huber
from ranklift.operators import EntrySampling, IdentitySensing, PauliSensing
from ranklift.problem import Counts, FactorizedProblem
from ranklift.regularizers import SquaredNorm
from ranklift.solvers import SolverRun, Stopping, TrustRegion

TRAPS = [
    perturbed_matrix_completion(3, 0.3),
    perturbed_matrix_completion(5, 0.1),
    perturbed_matrix_completion(7, 0.1),
    perturbed_matrix_completion(9, 0.1),
    sod_three_by_three(),
    two_by_two_weighted(3.0),
]


def pose(instance: Instance) -> FactorizedProblem:
    return FactorizedProblem(instance.operator, instance.measurements, Symmetric())


def descend(problem: FactorizedProblem, w: np.ndarray) -> SolverRun:
    return TrustRegion().run(problem, w, stopping=Stopping(gradient_tol=1e-11, max_iterations=500))


@pytest.mark.parametrize("instance", TRAPS, ids=lambda instance: instance.name)
def test_every_known_minimum_is_left_by_one_descent(instance):
    problem, truth = pose(instance), instance.truth
    assert instance.spurious_points
    for point in instance.spurious_points:
        start = descend(problem, point)
        # A strict minimum: Newton's method stays where it is.
        assert (problem.compose(start.point.w) - problem.compose(point)).norm() < 1e-6
        ends = EscapeSearch((SimulatedLift(),), descents=1).run(
            problem, start, np.random.default_rng(0), descend=lambda w: descend(problem, w),
            solved=lambda run: run.point.residual_norm < 1e-9,
        )  # fmt: skip
        assert ends.solved and len(ends.attempts) == 1
        assert (problem.compose(ends.run.point.w) - truth).norm() <= 1e-8 * truth.norm()


def asymmetric(seed: int) -> tuple[FactorizedProblem, np.ndarray]:
    instance = gaussian_sensing((7, 6), 2, 40, rng=seed)
    problem = FactorizedProblem(instance.operator, instance.measurements)
    return problem, np.random.default_rng(seed).standard_normal((13, 2))


def hermitian(seed: int) -> tuple[FactorizedProblem, np.ndarray]:
    operator, truth = PauliSensing(random_pauli_strings(3, 40, seed)), random_state(3, 2, seed)
    b = operator.apply_product(truth, truth.conj())
    w = np.random.default_rng(seed).standard_normal((16, 2))
    return FactorizedProblem(operator, b, Hermitian()), w


def symmetric(seed: int) -> tuple[FactorizedProblem, np.ndarray]:
    instance = gaussian_sensing(7, 2, 30, symmetric=True, rng=seed)
    return pose(instance), np.random.default_rng(seed).standard_normal((7, 2))


each_kind = pytest.mark.parametrize("make", [symmetric, asymmetric, hermitian])


@each_kind
def test_candidates_have_the_values_they_claim(make):
    problem, w = make(0)
    kinds = ("joint", "additive beta", "additive gamma", "beta ray", "gamma ray", "beta swap")
    escape = SimulatedLift(eigenvectors=2, pairs=2, kinds=kinds)
    found = escape.candidates(problem, w, {}, np.random.default_rng(0))
    assert {"joint", "additive beta", "additive gamma", "beta swap"} <= {c.kind for c in found}
    assert [c.value for c in found] == sorted(c.value for c in found)
    before = problem.evaluate(w).value
    for candidate in found:
        assert candidate.value == pytest.approx(problem.evaluate(candidate.w).value, rel=1e-9)
        assert candidate.before == pytest.approx(before, rel=1e-12)
        if candidate.kind.startswith(("additive", "beta swap")):
            continue
        # Along its own ray nothing is lower.
        for factor in (0.999, 1.001):
            assert problem.evaluate(factor * candidate.w).value > candidate.value


@each_kind
def test_eigenvectors_are_those_of_the_gradient_matrix(make):
    problem, w = make(1)
    point = problem.evaluate(w)
    values, vectors = descent_eigenvectors(problem, point, 2, np.random.default_rng(0), 100)
    assert values.size == 2 and values[0] < values[1] < 0
    for value, u in zip(values, vectors.T, strict=True):
        image = problem.predict(u[:, None])
        assert float(point.residual @ image) == pytest.approx(value, rel=1e-9)
    if make is symmetric:
        left, _ = problem.parts(w)
        dense = referee.gradient_matrix(explicit_rows(problem.operator), problem.b, left)
        least = np.linalg.eigvalsh(0.5 * (dense + dense.T))[:2]
        np.testing.assert_allclose(values, least, rtol=1e-9)


@each_kind
def test_the_joint_candidate_is_stationary_on_its_plane(make):
    problem, w = make(2)
    point = problem.evaluate(w)
    _, vectors = descent_eigenvectors(problem, point, 1, np.random.default_rng(0), 100)
    left, _, right = np.linalg.svd(w, full_matrices=False)
    plane = OraclePlane.build(problem, point, vectors[:, 0], left[:, -1], right[-1])
    start = [a for axis in (1, 2) for a in plane.stationary(np.eye(3)[0], axis)]
    best = plane.joint(start)
    assert plane.value(best) <= min(plane.value(a) for a in start)
    gradient = problem.evaluate(plane.at(best)).gradient
    for direction in plane.basis:
        slope = abs(float(np.vdot(gradient, direction)))
        assert slope <= 1e-5 * problem.scale * np.linalg.norm(w) ** 2


def test_stationary_points_of_a_line():
    rng = np.random.default_rng(0)
    constant, slope, bend = rng.standard_normal((3, 6))
    for t in stationary_points(constant, slope, bend):
        residual = constant + t * slope + t * t * bend
        assert abs(residual @ (slope + 2 * t * bend)) < 1e-9


def test_cost_is_five_gradients_and_one_lanczos_run():
    problem, w = symmetric(3)
    counted = FactorizedProblem(problem.operator, problem.b, Symmetric(), counts=Counts())
    unit = counted.scale  # known to whoever descended to w
    counted.counts.apply = counted.counts.adjoint = 0
    escape = SimulatedLift(eigenvectors=1)
    assert unit > 0 and escape.candidates(counted, w, {}, np.random.default_rng(0))
    assert counted.counts.hvp == 0
    assert counted.counts.apply + counted.counts.adjoint <= 10  # a gradient is one of each


def test_nothing_of_the_size_of_the_matrix_is_formed():
    """n = 2000: the matrix would take 32 MB."""
    import tracemalloc

    n, m = 2000, 20_000
    rng = np.random.default_rng(0)
    u = rng.standard_normal((n, 2))
    places = rng.choice(n * n, m, replace=False)
    operator = EntrySampling(places // n, places % n, (n, n))
    b = operator.apply_product(u, u)
    problem = FactorizedProblem(operator, b)
    w = rng.standard_normal((2 * n, 2))
    problem.evaluate(w)  # compiles
    tracemalloc.start()
    found = SimulatedLift(eigenvectors=1).candidates(problem, w, {}, rng)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found and peak < 16e6


def test_what_it_does_not_cover_gives_no_candidate():
    problem, w = symmetric(4)
    rng = np.random.default_rng(0)
    for other in (
        problem.with_regularizers(SquaredNorm(0.1)),
        problem.with_loss(Huber(1.0)),
        FactorizedProblem(problem.operator, problem.b, Signed()),
    ):
        start = np.concatenate([w, w]) if isinstance(other.factorization, Signed) else w
        assert SimulatedLift().candidates(other, start, {}, rng) == []
    instance = gaussian_sensing(7, 2, 30, symmetric=True, rng=0)
    solved = pose(instance)
    assert SimulatedLift().candidates(solved, instance.truth.left, {}, rng) == []
    assert isinstance(asymmetric(0)[0].factorization, Asymmetric)


# -- the published scores and the truncated descent ----------------------------------------------

EXPERIMENTS = [
    # instance, (l, rho, eta, t), delta, EFS, kind, value at the point, as the notes have them
    (rip_half(2), (3, 0.1, 0.01, 660), 0.5, 1.0, "beta", 0.0697),
    (perturbed_matrix_completion(3, 0.3), (11, 0.3, 0.01, 59000), 0.8659, 0.1060, "gamma", 1.95e-4),
    (sod_three_by_three(), (5, 0.1, 0.1, 150000), 0.8753, 0.2276, "gamma", 0.0729),
]


@pytest.mark.parametrize(
    ("instance", "parameters", "delta", "score", "kind", "value"),
    EXPERIMENTS,
    ids=["exp1", "exp2", "exp3"],
)
def test_notebook_experiments(instance, parameters, delta, score, kind, value):
    problem, point = pose(instance), instance.spurious_points[0]
    found = escape_feasibility(problem, point, np.random.default_rng(0))
    assert found is not None
    assert found.published_score(delta) == pytest.approx(score, rel=1e-3)
    moved = TruncatedDescent(*parameters).candidate(problem, point, np.random.default_rng(0))
    assert moved.kind == kind
    assert moved.value == pytest.approx(value, rel=5e-3)
    end = descend(problem, moved.w)
    assert (problem.compose(end.point.w) - instance.truth).norm() < 1e-6


@pytest.mark.parametrize("instance", [TRAPS[0], TRAPS[4], TRAPS[5]], ids=lambda i: i.name)
def test_the_score_says_whether_a_step_descends(instance):
    """No step along u q^T lowers the loss at these minima, and all the scores are below one."""
    problem = pose(instance)
    for point in instance.spurious_points:
        found = escape_feasibility(problem, point, np.random.default_rng(0))
        assert found is not None and found.score < 1
        direction = np.outer(found.u, found.q)
        here = problem.evaluate(point).value
        for s in (0.5 * found.step, found.step, 0.1, -0.1, 1.0):
            change = s**2 * (
                found.eigenvalue + found.singular_value**2 * found.mixed_energy / 2
                + s * found.singular_value * found.cross + s**2 * found.energy / 2
            )  # fmt: skip
            value = problem.evaluate(point + s * direction).value
            assert value - here == pytest.approx(change, rel=1e-6, abs=1e-10)
            assert value >= here - 1e-12


def test_a_saddle_has_a_score_above_one_and_a_step_that_descends():
    """A rank-one part of a rank-two truth, fully observed: lambda = -1, nothing mixes."""
    problem = FactorizedProblem(
        IdentitySensing((3, 3)), np.diag([2.0, 1.0, 0.0]).ravel(), Symmetric()
    )
    w = np.array([[np.sqrt(2.0), 0.0], [0.0, 1e-3], [0.0, 0.0]])
    found = escape_feasibility(problem, w, np.random.default_rng(0))
    assert found is not None and found.score > 1


def test_truncated_descent_is_stable_for_large_orders():
    problem, point = pose(TRAPS[0]), TRAPS[0].spurious_points[0]
    plain = TruncatedDescent(3, 0.1, 0.01, 50)
    found = escape_feasibility(problem, point, np.random.default_rng(0))
    assert found is not None
    beta, gamma = plain.logarithms(found.eigenvalue, found.singular_value)
    nu = 1 - 0.01 * found.eigenvalue**3
    assert np.exp(beta) == pytest.approx(0.1 * nu**50, rel=1e-12)
    total = sum(nu**k for k in range(50))
    expected = 0.01 * 0.1 * found.singular_value**3 / 4 * total
    assert np.exp(gamma) == pytest.approx(expected, rel=1e-10)
    for order in (51, 101):
        moved = TruncatedDescent(order, 0.3, 0.5, 10**9).candidate(
            problem, point, np.random.default_rng(0)
        )
        assert np.isfinite(moved.value) and moved.kind in ("beta", "gamma", "failed")
    for bad in ((2, 0.1, 0.1, 5), (3, -0.1, 0.1, 5), (3, 0.1, 0.1, 0)):
        with pytest.raises(InputError, match="Remedy"):
            TruncatedDescent(*bad)
    with pytest.raises(InputError, match="delta"):
        found.published_score(1.5)
