"""Scaled, preconditioned and alternating methods: closed forms, and the condition number."""

from __future__ import annotations

import numpy as np
import pytest

from ranklift.errors import InputError
from ranklift.factorizations import Asymmetric, Deep, Hermitian, Signed, Symmetric
from ranklift.initializers import small_random, spectral
from ranklift.instances import gaussian_sensing, random_pauli_strings, random_state
from ranklift.operators import IdentitySensing, PauliSensing
from ranklift.problem import FactorizedProblem
from ranklift.solvers import (
    AlternatingGaussNewton,
    GradientDescent,
    PerturbedPreconditionedGradientDescent,
    PreconditionedGradientDescent,
    ScaledGradientDescent,
    Solver,
    Stopping,
)
from ranklift.status import Status

SCALED = [
    ScaledGradientDescent(),
    PreconditionedGradientDescent(),
    PreconditionedGradientDescent("residual"),
    PerturbedPreconditionedGradientDescent(),
]


def fully_observed(m: np.ndarray, factorization=None) -> FactorizedProblem:
    return FactorizedProblem(
        IdentitySensing(m.shape), m.ravel(), factorization or Asymmetric()
    )  # fmt: skip


def low_rank(shape: tuple[int, int], rank: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((shape[0], rank)) @ rng.standard_normal((rank, shape[1]))


@pytest.mark.parametrize("rule", ["exact", 1.0])
def test_one_alternating_step_solves_the_fully_observed_problem(rule):
    """L = M R (R^T R)^-1 spans M's columns, and R = M^T L (L^T L)^-1 completes it."""
    m = low_rank((9, 7), 3, 0)
    problem = fully_observed(m)
    w = np.random.default_rng(1).standard_normal((16, 3))
    run = AlternatingGaussNewton(rule).run(problem, w, stopping=Stopping(max_iterations=1))
    assert np.abs(problem.compose(run.point.w).toarray() - m).max() <= 1e-12 * np.abs(m).max()


def test_a_scaled_step_by_hand():
    """X = u^2 = 1, M = 3: u - mu 2 (u^2 - 3) u / (u^2 + lambda), lambda = damping M."""
    problem = fully_observed(np.array([[3.0]]), Symmetric())
    solver = ScaledGradientDescent(damping=0.1, step_size=0.2)
    run = solver.run(problem, np.array([[1.0]]), stopping=Stopping(max_iterations=1))
    assert run.point.w[0, 0] == pytest.approx(1 + 0.2 * 2 * 2 / (1 + 0.3), rel=1e-13)


@pytest.mark.parametrize(
    ("damping", "eta"), [("gradient", 4.0), ("residual", 2.0), (0.1, 0.3)], ids=str
)
def test_a_preconditioned_step_by_hand(damping, eta):
    """At u = 1, M = 3: gradient -4, (X^T X)^(-1/2) = 1, error 2."""
    problem = fully_observed(np.array([[3.0]]), Symmetric())
    solver = PreconditionedGradientDescent(damping, step_size=0.2)
    run = solver.run(problem, np.array([[1.0]]), stopping=Stopping(max_iterations=1))
    assert run.point.w[0, 0] == pytest.approx(1 + 0.2 * 4 / (1 + eta), rel=1e-13)


def test_known_noise_lessens_the_residual_damping():
    problem = fully_observed(np.array([[3.0]]), Symmetric())
    solver = PreconditionedGradientDescent("residual", noise_norm=1.2, step_size=0.2)
    run = solver.run(problem, np.array([[1.0]]), stopping=Stopping(max_iterations=1))
    assert run.point.w[0, 0] == pytest.approx(1 + 0.2 * 4 / (1 + 1.6), rel=1e-13)


def search(solver: Solver, kappa: float, k: int, start: float, limit: int) -> tuple[Status, int]:
    instance = gaussian_sensing(12, 2, 300, symmetric=True, condition_number=kappa, rng=3)
    problem = FactorizedProblem(instance.operator, instance.measurements, Symmetric())
    w = small_random(problem, k, np.random.default_rng(0), relative_scale=start)
    stopping = Stopping(gradient_tol=0.0, residual_tol=1e-8, max_iterations=limit)
    run = solver.run(problem, w, stopping=stopping)
    error = (problem.compose(run.point.w) - instance.truth).norm() / instance.truth.norm()
    assert (error <= 1e-7) is (run.status is Status.ZERO_RESIDUAL)
    return run.status, run.iterations


def test_gradient_descent_pays_for_the_condition_number_and_others_do_not():
    """At the true rank: proportional to kappa for plain descent, flat for scaled ones."""
    exact = Status.ZERO_RESIDUAL
    plain = [search(GradientDescent(0.25), kappa, 2, 1e-2, 20_000) for kappa in (2, 20, 200)]
    assert all(status is exact for status, _ in plain)
    assert plain[2][1] > 6 * plain[1][1] > 36 * plain[0][1]
    for solver in (
        ScaledGradientDescent(damping=1e-3, step_size=0.2),
        PreconditionedGradientDescent(step_size=0.2),
    ):
        runs = [search(solver, kappa, 2, 1e-2, 1000) for kappa in (2, 20, 200)]
        assert all(status is exact for status, _ in runs)
        steps = [count for _, count in runs]
        assert max(steps) < 1.5 * min(steps)
        assert 10 * steps[2] < plain[2][1]


def test_excess_rank_costs_preconditioned_descent_little():
    """Plain descent becomes sublinear: columns to spare vanish like 1 / t."""
    status, count = search(PreconditionedGradientDescent(), 3, 4, 0.3, 150)
    assert status is Status.ZERO_RESIDUAL
    status, _ = search(GradientDescent(), 3, 4, 0.3, 10 * count)
    assert status is Status.MAX_ITERATIONS


def test_alternating_steps_do_not_feel_condition_number_nor_excess_rank():
    for kappa in (1.0, 1e3):
        instance = gaussian_sensing((14, 12), 2, 500, condition_number=kappa, rng=0)
        problem = FactorizedProblem(instance.operator, instance.measurements)
        w = small_random(problem, 5, np.random.default_rng(1))
        stopping = Stopping(gradient_tol=0.0, residual_tol=1e-10, max_iterations=200)
        run = AlternatingGaussNewton().run(problem, w, stopping=stopping)
        assert run.status is Status.ZERO_RESIDUAL
        error = (problem.compose(run.point.w) - instance.truth).norm()
        assert error <= 1e-9 * instance.truth.norm()


@pytest.mark.parametrize("solver", SCALED, ids=lambda s: f"{type(s).__name__}")
def test_complex_hermitian_unknowns(solver):
    rng = np.random.default_rng(0)
    operator, truth = PauliSensing(random_pauli_strings(3, 60, 0)), random_state(3, 2, 0)
    b = operator.apply_product(truth, truth.conj())
    problem = FactorizedProblem(operator, b, Hermitian())
    w = spectral(problem, 2, rng)
    w = w + 0.1 * np.linalg.norm(w) * rng.standard_normal(w.shape) / np.sqrt(w.size)
    stopping = Stopping(gradient_tol=0.0, residual_tol=1e-10, max_iterations=500)
    run = solver.run(problem, w, stopping=stopping)
    assert run.status is Status.ZERO_RESIDUAL
    error = problem.compose(run.point.w).toarray() - truth @ truth.conj().T
    assert np.abs(error).max() <= 1e-8


@pytest.mark.parametrize("factorization", [Signed(), Deep(3)], ids=["signed", "deep"])
@pytest.mark.parametrize("solver", [*SCALED, AlternatingGaussNewton()], ids=str)
def test_other_factorizations_are_refused(solver, factorization):
    problem = fully_observed(np.eye(4), factorization)
    w = np.ones((factorization.size((4, 4), 2), 2))
    with pytest.raises(InputError, match="Remedy"):
        solver.run(problem, w)


@pytest.mark.parametrize(
    "solver",
    [
        ScaledGradientDescent(damping=0.0),
        ScaledGradientDescent(step_size=-1.0),
        PreconditionedGradientDescent(damping="noise"),
        PreconditionedGradientDescent(damping=float("inf")),
        PreconditionedGradientDescent(noise_norm=-1.0),
        AlternatingGaussNewton(step_size="fast"),
    ],
    ids=str,
)
def test_bad_settings_are_refused_before_any_work(solver):
    with pytest.raises(InputError, match="Remedy"):
        solver.run(fully_observed(np.eye(3)), np.ones((6, 1)))


@pytest.mark.parametrize("solver", [GradientDescent(0.25), GradientDescent(), *SCALED], ids=str)
def test_starts_below_what_the_value_resolves(solver):
    """From 1e-12 the first steps change the value by 1e-24 of itself: slopes must decide."""
    instance = gaussian_sensing(12, 2, 300, symmetric=True, rng=3)
    problem = FactorizedProblem(instance.operator, instance.measurements, Symmetric())
    w = small_random(problem, 2, np.random.default_rng(0), relative_scale=1e-12)
    run = solver.run(problem, w, stopping=Stopping(residual_tol=1e-8, max_iterations=1000))
    assert run.status is Status.ZERO_RESIDUAL
    error = (problem.compose(run.point.w) - instance.truth).norm()
    assert error <= 1e-7 * instance.truth.norm()
