"""Escapes: every proposal is lower, by the amount that the theory predicts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import referee
from cases import assert_close, explicit_rows, registered, strict, strict_operator
from ranklift import instances
from ranklift.certificates import Curvature
from ranklift.escapes import ESCAPES, NegativeCurvature, RankLift
from ranklift.factorizations import Asymmetric, Symmetric
from ranklift.nuclear_norm import ridge, solve_nuclear_norm
from ranklift.problem import FactorizedProblem
from ranklift.solvers import Stopping, TrustRegion

ESCAPE_NAMES = registered(ESCAPES)
UNREGULARISED = {"SimulatedLift"}
"""Escapes whose construction is that of plain least squares: none elsewhere."""
each_escape = pytest.mark.parametrize("name", ESCAPE_NAMES)
DATA = {
    "sampled": instances.entry_completion((12, 10), 2, 2.5, noise=0.02, rng=0),
    "dense": instances.gaussian_sensing((7, 6), 2, 60, noise=0.02, rng=0),
    "symmetric": instances.gaussian_sensing(7, 2, 40, symmetric=True, noise=0.02, rng=3),
}
each_kind = pytest.mark.parametrize("kind", list(DATA))
each_level = pytest.mark.parametrize("lam", [0.0, 0.05])


def pose(kind: str, lam: float = 0.0) -> FactorizedProblem:
    instance = DATA[kind]
    factorization = Symmetric() if instance.symmetric else Asymmetric()
    problem = FactorizedProblem(instance.operator, instance.measurements, factorization)
    return ridge(problem, lam) if lam else problem


def draw(problem: FactorizedProblem, k: int, seed: int) -> np.ndarray:
    rows = problem.factorization.size(problem.operator.shape)
    size = np.sqrt(problem.scale / rows)
    return size * np.random.default_rng(seed).standard_normal((rows, k))


def dense_gradient(problem: FactorizedProblem, w: np.ndarray) -> np.ndarray:
    left, right = problem.parts(w)
    other = None if isinstance(problem.factorization, Symmetric) else right
    return referee.gradient_matrix(explicit_rows(problem.operator), problem.b, left, other)


def convex_optimum(kind: str, lam: float, tolerance: float) -> Any:
    problem = pose(kind)
    rng = np.random.default_rng(0)
    w = draw(problem, 2, 0)
    run = solve_nuclear_norm(problem, lam, w, rng, tolerance=tolerance)
    assert run.gap.relative <= tolerance
    return run


def test_the_registry_holds_the_escapes():
    assert {"RankLift", "NegativeCurvature"} <= set(ESCAPE_NAMES)


@each_escape
@each_kind
@each_level
def test_candidates_are_lower_and_say_by_how_much(name, kind, lam):
    problem = pose(kind, lam)
    for seed in range(5):
        w = draw(problem, 2, seed)
        before = w.copy()
        found = ESCAPES[name]().propose(problem, w, {}, np.random.default_rng(seed))
        np.testing.assert_array_equal(w, before)
        if lam and name in UNREGULARISED:
            assert found is None
            continue
        assert found is not None
        if ESCAPES[name].descends:
            assert found.value < found.before
        if ESCAPES[name].keeps_rank:
            assert found.w.shape == w.shape
        fresh = pose(kind, lam)
        assert found.value == pytest.approx(fresh.evaluate(found.w).value, rel=1e-12)
        assert found.before == pytest.approx(fresh.evaluate(w).value, rel=1e-12)
        again = ESCAPES[name]().propose(problem, w, {}, np.random.default_rng(seed))
        assert again is not None
        np.testing.assert_array_equal(again.w, found.w)


@each_kind
@each_level
@pytest.mark.parametrize("columns", [1, 3])
def test_rank_lift_lowers_the_value_by_the_predicted_amount(kind, lam, columns):
    """(sum t_i^2)^2 / (2 ||A(sum t_i u_i v_i^T)||^2), t_i = sigma_i - lambda > 0, any W."""
    problem = pose(kind, lam)
    rows = explicit_rows(problem.operator)
    for seed in range(5):
        w = 0.3 * draw(problem, 1, seed)
        escape = RankLift(columns=columns, max_steps=200)
        found = escape.propose(problem, w, {}, np.random.default_rng(seed))
        assert found is not None
        assert_close(found.w[:, :1], w, 0.0)
        left, right = problem.parts(found.w[:, 1:])
        assert 1 <= left.shape[1] <= columns
        # Columns are orthogonal, balanced, and t_i is proportional to their squared norms.
        weights = np.sum(left**2, axis=0)
        assert_close(left.T @ left, np.diag(weights), 1e-7)
        u, v = left / np.sqrt(weights), right / np.sqrt(weights)
        minus_g = -dense_gradient(problem, w)
        t = np.einsum("ia,ij,ja->a", u, minus_g, v) - lam
        assert (t > 0).all()
        assert_close(weights / weights.sum(), t / t.sum(), 1e-6)
        image = rows @ ((u * t) @ v.T).ravel()
        predicted = float(t @ t) ** 2 / (2 * float(image @ image))
        assert found.before - found.value == pytest.approx(predicted, rel=1e-6)


@each_kind
def test_rank_lift_from_nothing(kind):
    """From rank 0 the first direction is the top singular pair of A*(b)."""
    problem = pose(kind, 0.05)
    w = draw(problem, 0, 0)
    found = RankLift(columns=1, max_steps=200).propose(problem, w, {}, np.random.default_rng(0))
    assert found is not None and found.w.shape[1] == 1
    rows = explicit_rows(problem.operator)
    dense = (rows.T @ problem.b).reshape(problem.operator.shape)
    dense = 0.5 * (dense + dense.T) if kind == "symmetric" else dense
    top = np.linalg.eigvalsh(dense)[-1] if kind == "symmetric" else np.linalg.norm(dense, 2)
    left, right = problem.parts(found.w)
    pair = float((left.T @ dense @ right).item() / (np.linalg.norm(left) * np.linalg.norm(right)))
    assert pair == pytest.approx(top, rel=1e-9)
    assert found.before == pytest.approx(0.5 * float(problem.b @ problem.b), rel=1e-14)


@each_kind
def test_rank_lift_is_none_at_the_convex_optimum(kind):
    run = convex_optimum(kind, 0.05, 1e-10)
    problem = pose(kind, 0.05)
    found = RankLift(max_steps=500).propose(problem, run.w, {}, np.random.default_rng(0))
    assert found is None or found.before - found.value <= 1e-9 * found.before


def test_rank_lift_is_none_at_an_exact_fit():
    instance = instances.gaussian_sensing((7, 6), 2, 60, rng=0)
    problem = FactorizedProblem(instance.operator, instance.measurements)
    w = np.concatenate([instance.truth.left, instance.truth.right])
    assert RankLift().propose(problem, w, {}, np.random.default_rng(0)) is None


@each_kind
@each_level
def test_negative_curvature_is_none_at_a_local_minimum(kind, lam):
    problem = pose(kind, lam)
    stopping = Stopping(gradient_tol=1e-13)
    run = TrustRegion().run(problem, draw(problem, 2, 0), stopping=stopping)
    left, right = problem.parts(run.point.w)
    other = None if kind == "symmetric" else right
    rows = explicit_rows(problem.operator)
    assert referee.least_curvature(rows, problem.b, left, other, lam=lam) > -1e-8 * problem.scale
    found = NegativeCurvature().propose(problem, run.point.w, {}, np.random.default_rng(0))
    assert found is None


@pytest.mark.parametrize(
    "instance",
    [
        instances.gaussian_sensing((7, 6), 2, 60, rng=0),
        instances.gaussian_sensing(7, 2, 40, symmetric=True, rng=3),
    ],
    ids=["asymmetric", "symmetric"],
)
@pytest.mark.parametrize("with_report", [False, True])
def test_negative_curvature_leaves_the_saddle_at_zero(instance, with_report):
    factorization = Symmetric() if instance.symmetric else Asymmetric()
    problem = FactorizedProblem(instance.operator, instance.measurements, factorization)
    zero = np.zeros((factorization.size(instance.operator.shape), 2))
    reports = {}
    if with_report:
        reports["curvature"] = Curvature().check(problem, zero, np.random.default_rng(1))
        assert reports["curvature"].witness is not None
    found = NegativeCurvature().propose(problem, zero, reports, np.random.default_rng(0))
    assert found is not None
    # The exact minimum along the lowest eigenvector, which fits the leading pair of A*(b).
    assert found.value < 0.9 * found.before
    line = problem.line(problem.evaluate(zero), found.w)
    assert abs(np.polyval(np.polyder(line[::-1]), 1.0)) <= 1e-8 * found.before


def test_negative_curvature_leaves_a_saddle_that_is_no_trivial_point():
    """Rank-one part of the truth: stationary for full data, and a strict saddle."""
    from ranklift.operators import IdentitySensing

    rng = np.random.default_rng(0)
    u = np.linalg.qr(rng.standard_normal((6, 2)))[0]
    v = np.linalg.qr(rng.standard_normal((5, 2)))[0]
    b = ((u * [2.0, 1.0]) @ v.T).ravel()
    problem = FactorizedProblem(IdentitySensing((6, 5)), b)
    w = np.zeros((11, 2))
    w[:6, 0], w[6:, 0] = np.sqrt(2) * u[:, 0], np.sqrt(2) * v[:, 0]
    assert problem.evaluate(w).gradient_norm < 1e-14
    found = NegativeCurvature().propose(problem, w, {}, np.random.default_rng(0))
    assert found is not None and found.before == pytest.approx(0.5)
    assert found.value < 1e-12


@each_escape
@each_kind
def test_strict_array_api_arrays(name, kind):
    problem = pose(kind)
    twin = FactorizedProblem(
        strict_operator(problem.operator), strict(problem.b), problem.factorization
    )
    w = draw(problem, 2, 1)
    expected = ESCAPES[name]().propose(problem, w, {}, np.random.default_rng(0))
    found = ESCAPES[name]().propose(twin, strict(w), {}, np.random.default_rng(0))
    assert found is not None and expected is not None
    assert type(found.w).__module__.startswith("array_api_strict")
    assert found.value == pytest.approx(expected.value, rel=1e-8)


def test_rank_lift_leaves_the_spurious_minima_of_the_library():
    """Lifting by one column goes down from every known spurious point."""
    for instance in (
        instances.perturbed_matrix_completion(3, 0.3),
        instances.sod_three_by_three(),
        instances.two_by_two_weighted(3.0),
        instances.rank_one_truth(4, 2, 0.7),
    ):
        problem = FactorizedProblem(instance.operator, instance.measurements, Symmetric())
        for point in instance.spurious_points:
            found = RankLift().propose(problem, point, {}, np.random.default_rng(0))
            assert found is not None
            assert found.value < found.before * (1 - 1e-3)
