"""Rivals of the simulated lift: exact moments of the dynamics, starts, jumps and excursions."""

from __future__ import annotations

from collections import deque
from itertools import islice

import numpy as np
import pytest

from ranklift.errors import InputError
from ranklift.escapes import (
    EscapeSearch,
    NonReversibleLangevin,
    OverdampedLangevin,
    RandomPerturbation,
    RandomRestart,
    RankExcursion,
    SpectralRestart,
    UnderdampedLangevin,
    nonreversible_path,
    overdamped_path,
    underdamped_path,
)
from ranklift.factorizations import Symmetric
from ranklift.instances import gaussian_sensing, perturbed_matrix_completion
from ranklift.problem import FactorizedProblem
from ranklift.solvers import SolverRun, Stopping, TrustRegion

CURVATURES = np.array([1.0, 3.0])
REPLICAS = 40_000


def quadratic(w: np.ndarray) -> np.ndarray:
    return w * CURVATURES


def settle(path, count: int) -> np.ndarray:
    return deque(islice(path, count), maxlen=1)[0]


def within(sample: np.ndarray, variance: np.ndarray) -> bool:
    """Whether empirical variances lie within 5 standard errors of Gaussian ones."""
    error = variance * np.sqrt(2.0 / sample.shape[0])
    return bool((np.abs(sample.var(axis=0) - variance) < 5 * error).all())


def test_kinetic_positions_have_the_exact_variance_at_any_step():
    rng = np.random.default_rng(0)
    path = underdamped_path(quadratic, np.zeros((REPLICAS, 2)), 0.6, 0.5, rng, friction=1.0)
    assert within(settle(path, 60), 0.5 / CURVATURES)


def test_overdamped_variance_is_that_of_the_recursion():
    """w <- (1 - h k) w + sqrt(2 T h) xi: 2 T h / (1 - (1 - h k)^2), not yet T / k."""
    rng = np.random.default_rng(1)
    h, heat = 0.2, 0.5
    path = overdamped_path(quadratic, np.zeros((REPLICAS, 2)), h, heat, rng)
    exact = 2 * heat * h / (1 - (1 - h * CURVATURES) ** 2)
    sample = settle(path, 80)
    assert within(sample, exact) and not within(sample, heat / CURVATURES)


def test_without_noise_kinetic_motion_keeps_its_energy_up_to_the_step():
    """Friction 0, temperature 0 and a start at rest: a harmonic oscillator."""
    rng = np.random.default_rng(2)
    path = underdamped_path(quadratic, np.array([1.0, 0.0]), 0.01, 0.0, rng, friction=0.0)
    w = settle(path, 100)
    assert w[0] == pytest.approx(np.cos(1.0), abs=1e-4) and w[1] == 0.0


def test_skew_drift_leaves_the_covariance_of_small_steps_as_it_is():
    """Lyapunov: S = A S A^T + 2 T h I, A = I - h (I + J) K; as h -> 0 S = T / K, J or not."""
    skew = np.array([[0.0, 2.0], [-2.0, 0.0]])
    curvature = np.diag(CURVATURES)
    for h, size in ((1e-3, 2e-2), (1e-4, 2e-3)):
        a = np.eye(2) - h * (np.eye(2) + skew) @ curvature
        kron = np.eye(4) - np.kron(a, a)
        covariance = np.linalg.solve(kron, 2 * 0.5 * h * np.eye(2).ravel()).reshape(2, 2)
        assert np.abs(covariance - 0.5 * np.diag(1 / CURVATURES)).max() < size
    rng = np.random.default_rng(3)
    path = nonreversible_path(quadratic, np.zeros((4, 2)), 0.01, 0.0, rng, skew=skew)
    assert not next(path).any()
    with pytest.raises(InputError, match="skew"):
        next(nonreversible_path(quadratic, np.zeros((4, 2)), 0.01, 0.5, rng, skew=np.eye(2)))


def test_a_skew_drift_turns_while_it_descends():
    skew = np.array([[0.0, 2.0], [-2.0, 0.0]])
    rng = np.random.default_rng(4)
    path = nonreversible_path(quadratic, np.array([1.0, 0.0]), 0.01, 0.0, rng, skew=skew)
    np.testing.assert_allclose(next(path), [1 - 0.01, 0.02], rtol=0, atol=1e-15)


# -- as escapes ----------------------------------------------------------------------------------

TRAP = perturbed_matrix_completion(5, 0.1)


def pose() -> FactorizedProblem:
    return FactorizedProblem(TRAP.operator, TRAP.measurements, Symmetric())


def descend(problem: FactorizedProblem, w: np.ndarray) -> SolverRun:
    return TrustRegion().run(problem, w, stopping=Stopping(gradient_tol=1e-11, max_iterations=500))


@pytest.mark.parametrize(
    ("escape", "descents"),
    [
        (SpectralRestart(), 1),
        (RankExcursion(), 1),
        (RandomRestart(count=12), 12),
        (RandomPerturbation(radius=1.0, count=12), 12),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, int) else str(value),
)
def test_escapes_leave_the_minima_of_perturbed_completion(escape, descents):
    problem = pose()
    for point in TRAP.spurious_points:
        ends = EscapeSearch((escape,), descents=descents, each=descents).run(
            problem, descend(problem, point), np.random.default_rng(0),
            descend=lambda w: descend(problem, w),
            solved=lambda run: run.point.residual_norm < 1e-9,
        )  # fmt: skip
        assert ends.solved and len(ends.attempts) <= descents


@pytest.mark.parametrize("kind", [OverdampedLangevin, UnderdampedLangevin, NonReversibleLangevin])
def test_langevin_escapes_move_and_stay_near_what_their_heat_allows(kind):
    escape = kind(temperature=0.05)
    problem, point = pose(), TRAP.spurious_points[0]
    before = problem.evaluate(point).value
    found = escape.propose(problem, point, {}, np.random.default_rng(0))
    assert found is not None and found.before == pytest.approx(before)
    assert 0.01 < np.linalg.norm(found.w - point) < 3 * np.linalg.norm(point)
    assert found.value < 3 * before


def test_random_starts_have_the_best_scale_of_their_ray():
    problem = pose()
    for candidate in RandomRestart(count=3).candidates(
        problem, TRAP.spurious_points[0], {}, np.random.default_rng(0)
    ):
        for factor in (0.99, 1.01):
            assert problem.evaluate(factor * candidate.w).value > candidate.value


def test_an_excursion_comes_back_with_the_rank_it_left():
    instance = gaussian_sensing((8, 7), 2, 60, rng=0)
    problem = FactorizedProblem(instance.operator, instance.measurements)
    w = np.random.default_rng(0).standard_normal((15, 2))
    found = RankExcursion(columns=2).propose(problem, w, {}, np.random.default_rng(0))
    assert found is not None and found.w.shape == w.shape
    assert found.value == pytest.approx(problem.evaluate(found.w).value, rel=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda: RandomRestart(count=0),
        lambda: RandomPerturbation(radius=-1.0),
        lambda: RankExcursion(columns=0),
        lambda: OverdampedLangevin(temperature=-1.0),
        lambda: UnderdampedLangevin(friction=0.0),
        lambda: NonReversibleLangevin(strength=float("nan")),
    ],
)
def test_bad_settings_are_refused(make):
    with pytest.raises(InputError, match="Remedy"):
        make().candidates(pose(), TRAP.spurious_points[0], {}, np.random.default_rng(0))
