"""Where optimisers go along the fits: known limits on L R = 1, and the laws they follow there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from ranklift.curvature_weights import curvature_weights
from ranklift.errors import ConvergenceWarning, InputError
from ranklift.factorizations import Symmetric
from ranklift.flatness.optimizers import (
    FlatnessOptimizer,
    LabelNoiseDescent,
    LargeStepDescent,
    SharpnessAwareMinimization,
)
from ranklift.flatness.polish import polish
from ranklift.flatness.sharpness import sharpness
from ranklift.instances import gaussian_sensing
from ranklift.losses import Huber
from ranklift.minimum_norm import solve_minimum_norm
from ranklift.operators import DenseSensing, IdentitySensing
from ranklift.problem import FactorizedProblem
from ranklift.regularizers import SquaredNorm
from ranklift.solvers import GradientDescent, Stopping

ALL = [
    LabelNoiseDescent(steps=300),
    LabelNoiseDescent(steps=300, step_size=0.03, batch_size=2),
    SharpnessAwareMinimization(steps=300),
    SharpnessAwareMinimization(steps=300, step_size=0.03, batch_size=2),
    LargeStepDescent(steps=300),
]


def scalar(b: float = 1.0) -> FactorizedProblem:
    """L R = b: the fits are a hyperbola, the flattest of them |L| = |R|."""
    return FactorizedProblem(IdentitySensing((1, 1)), np.array([b]))


def sensing(m: int, seed: int = 0) -> FactorizedProblem:
    instance = gaussian_sensing((6, 5), 1, m, rng=seed)
    return FactorizedProblem(instance.operator, instance.measurements)


def gaussian(problem: FactorizedProblem, k: int, seed: int, size: float = 1.0) -> np.ndarray:
    w = np.random.default_rng(seed).standard_normal((sum(problem.shape), k))
    return size * w / np.linalg.norm(w)


def matrices(problem: FactorizedProblem) -> np.ndarray:
    assert isinstance(problem.operator, DenseSensing)
    return np.asarray(problem.operator.matrices)


def curvature(problem: FactorizedProblem, w: np.ndarray) -> float:
    factors = problem.parts(w)
    return sharpness(problem.operator, problem.b, factors, scaling="half").eigenvalue


def imbalance(w: np.ndarray) -> float:
    return float(w[0, 0] ** 2 - w[1, 0] ** 2)


def excess(problem: FactorizedProblem, w: np.ndarray) -> float:
    """Return the trace of the Hessian over 4 sqrt(d1 d2) min ||D1 X D2||_*, from the matrices."""
    a, (d1, d2) = matrices(problem), problem.shape
    left, right = problem.parts(w)
    trace = 2 * np.sum((a @ right) ** 2) + 2 * np.sum((a.swapaxes(1, 2) @ left) ** 2)
    posed = curvature_weights(problem.operator).pose(problem)
    least = solve_minimum_norm(posed, np.random.default_rng(0)).norm
    return float(trace / len(a) / (4 * np.sqrt(d1 * d2) * least))


# -- one number: everything is known ---------------------------------


def test_descent_with_a_small_step_keeps_the_imbalance() -> None:
    start = np.array([[2.0], [0.1]])
    run = GradientDescent(0.01).run(scalar(), start, stopping=Stopping(max_iterations=5000))
    assert run.point.residual_norm < 1e-7
    assert imbalance(run.point.w) == pytest.approx(imbalance(start), rel=0.01)


@pytest.mark.parametrize(
    "optimiser",
    [LabelNoiseDescent(steps=4000), SharpnessAwareMinimization(radius=0.2, steps=4000)],
)
def test_noise_and_sharpness_awareness_balance(optimiser: FlatnessOptimizer) -> None:
    for start in ([[2.0], [0.1]], [[-0.1], [-2.0]], [[3.0], [0.3]]):
        problem = scalar()
        w = polish(problem, optimiser.run(problem, np.array(start)).w)
        assert float(w[0, 0] * w[1, 0]) == pytest.approx(1.0, abs=1e-9)
        np.testing.assert_allclose(np.abs(w), 1.0, atol=0.03)


def test_the_saddle_at_zero_attracts_sharpness_awareness_within_its_radius() -> None:
    """There grad f = -(R, L), and G = -(R, L) + rho W / ||W|| points outwards for ||W|| < rho.

    The unstable component u moves by mu u (1 - rho / ||W||): outside it grows, as in descent.
    """
    problem, stopping = scalar(), Stopping(max_iterations=2000)
    held = SharpnessAwareMinimization(radius=0.2, steps=2000).run(problem, np.full((2, 1), 0.05))
    assert np.linalg.norm(held.w) < 0.2 and held.relative_residual > 0.97
    free = SharpnessAwareMinimization(radius=0.2, steps=2000).run(problem, np.full((2, 1), 0.2))
    assert free.relative_residual < 0.2
    descent = GradientDescent(0.25).run(problem, np.full((2, 1), 0.05), stopping=stopping)
    assert descent.point.residual_norm < 1e-7


@pytest.mark.parametrize("step", [0.5, 0.7, 0.9])
def test_a_large_step_flattens_as_far_as_it_must(step: float) -> None:
    """Curvature L^2 + R^2: only fits below 2 / mu attract, and nothing moves a fit that does."""
    problem = scalar()
    start = np.array([[2.0], [0.49]])
    assert curvature(problem, start) > 2 / step
    run = LargeStepDescent(step_size=step).run(problem, start)
    assert not run.diverged and run.relative_residual <= 1e-12
    assert 2.0 <= curvature(problem, run.w) < 2 / step
    flat = np.array([[1.05], [1 / 1.05]])
    rest = LargeStepDescent(step_size=step).run(problem, flat)
    assert rest.steps == 0 and np.array_equal(rest.w, flat)


def decay(noise: float, step: float, steps: int, seed: int = 0) -> float:
    """Return the rate a step at which label noise takes L^2 - R^2 off L R = 1."""
    start = np.array([[1.6], [1 / 1.6]])
    run = LabelNoiseDescent(noise, step, steps, seed=seed).run(scalar(), start)
    return -float(np.log(imbalance(run.w) / imbalance(start))) / steps


def test_label_noise_follows_the_gradient_flow_of_the_trace() -> None:
    """-(mu^2 sigma^2 / 4) grad tr on the hyperbola: L^2 - R^2 shrinks by mu^2 sigma^2 a step.

    Exactly, by mu^2 g^2 for residuals g, noise included, of variance sigma^2 / (1 - mu lambda / 2).
    """
    step, noise = 0.05, 0.2
    rate = np.mean([decay(noise, step, 4000, seed) for seed in range(4)])  # to about 1%
    flow = (step * noise) ** 2
    assert flow < rate < 1.15 * flow
    curvature = 0.5 * (1.6**2 + 1.6**-2) + 0.5 * 2.5  # of the start and, about, of the end
    assert rate == pytest.approx(flow / (1 - step * curvature / 2), rel=0.04)


def test_the_drift_is_quadratic_in_the_noise_and_in_the_step() -> None:
    base = decay(0.1, 0.1, 4000)
    assert decay(0.2, 0.1, 4000) / base == pytest.approx(4.0, rel=0.1)
    assert decay(0.1, 0.05, 4000) / base == pytest.approx(1 / 4, rel=0.15)


# -- matrices: label noise ends flat, descent does not ---------------------------------


def test_label_noise_finds_the_flat_solution_and_descent_does_not() -> None:
    problem = sensing(18, seed=3)
    start = gaussian(problem, 5, seed=0, size=2.0)
    plain = GradientDescent(0.1).run(problem, start, stopping=Stopping(max_iterations=5000))
    assert plain.point.residual_norm < 1e-6
    assert excess(problem, plain.point.w) > 1.15
    noisy = LabelNoiseDescent(0.3, 0.4, 12_000).run(problem, start)
    assert noisy.relative_residual > 0.01  # the noise floor
    w = polish(problem, noisy.w)
    assert 1.0 - 1e-6 <= excess(problem, w) < 1.01


def test_label_noise_balances_by_the_plain_trace_with_the_law_of_its_step() -> None:
    """X is known, so that only L -> c L, R -> R / c is free: least is -sum log(1 - mu lambda / 2).

    For small steps that is the plain trace, d2 L^T D1^2 L = d1 R^T D2^2 R: 4 on 8 x 2 matrices,
    where the scaled trace has 1; a step of 0.3 brings it down to about 3.2.
    """
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((8, 1)) @ rng.standard_normal((1, 2))
    a = rng.standard_normal((30, 8, 2))
    problem = FactorizedProblem(DenseSensing(a), np.einsum("iab,ab->i", a, truth))
    weights = curvature_weights(problem.operator)

    def ratio(left: np.ndarray, right: np.ndarray) -> float:
        above = left.T @ weights.left_squared @ left
        return float((above / (right.T @ weights.right_squared @ right))[0, 0])

    def least(step: float) -> float:
        u, s, vt = np.linalg.svd(truth)
        left, right = u[:, :1] * np.sqrt(s[0]), vt[:1].T * np.sqrt(s[0])

        def law(c: float) -> float:
            outer = np.concatenate([a @ (right / c), a.swapaxes(1, 2) @ (left * c)], axis=1)
            jacobian = outer.reshape(len(a), -1)
            curvatures = np.linalg.eigvalsh(jacobian.T @ jacobian)
            return -float(np.sum(np.log1p(-step / problem.scale * curvatures / 2)))

        c = minimize_scalar(law, bounds=(0.9, 2.0), method="bounded").x
        return ratio(left * c, right / c)

    assert least(1e-4) == pytest.approx(8 / 2, rel=1e-3)
    run = LabelNoiseDescent(0.1, 0.3, 20_000).run(problem, gaussian(problem, 1, 1, 2.0))
    found = ratio(*problem.parts(polish(problem, run.w)))
    assert found == pytest.approx(least(0.3), rel=0.04)
    assert abs(least(0.3) / 4 - 1) > 0.15


def test_sharpness_awareness_lowers_the_largest_curvature_below_that_of_the_flat_solution() -> None:
    problem = sensing(18, seed=3)
    weights = curvature_weights(problem.operator)
    posed = weights.pose(problem)
    flat = solve_minimum_norm(posed, np.random.default_rng(0))
    w = np.vstack(weights.back(*posed.parts(flat.w)))
    run = SharpnessAwareMinimization(0.05, steps=8000).run(problem, gaussian(problem, 5, 0, 2.0))
    end = polish(problem, run.w)
    assert curvature(problem, end) < 0.95 * curvature(problem, w)
    assert excess(problem, end) > 1.05  # not the flat solution: another measure of flatness


# -- polishing ---------------------------------


def test_polishing_finds_the_nearest_fit_to_first_order() -> None:
    """Along S nothing moves: the correction is orthogonal to the null space of J."""
    problem = sensing(12)
    fit = polish(problem, gaussian(problem, 3, 0))
    a = matrices(problem)
    left, right = problem.parts(fit)
    jacobian = np.concatenate([a @ right, a.swapaxes(1, 2) @ left], axis=1).reshape(12, -1)
    off = jacobian.T @ np.random.default_rng(1).standard_normal(12)
    for size in (1e-2, 1e-3):
        moved = size * off.reshape(fit.shape) / np.linalg.norm(off)
        assert np.linalg.norm(polish(problem, fit + moved) - fit) < 10 * size**2
    kernel = np.linalg.svd(jacobian)[2][-1].reshape(fit.shape)
    along = polish(problem, fit + 1e-3 * kernel) - fit
    assert float(np.sum(along * kernel)) == pytest.approx(1e-3, rel=1e-2)


def test_polishing_keeps_the_balance() -> None:
    w = polish(scalar(), np.array([[4.0], [0.26]]))
    np.testing.assert_allclose(w, [[4.0], [0.25]], atol=0.01)


def test_a_polish_that_fails_says_so() -> None:
    problem = scalar()
    with pytest.warns(ConvergenceWarning, match="relative residual"):
        polish(problem, np.zeros((2, 1)))  # a saddle: J = 0
    with pytest.warns(ConvergenceWarning, match=r"asked for 1\.0e-10"):
        polish(sensing(12), gaussian(sensing(12), 3, 0), max_steps=1)


# -- conduct ---------------------------------


@pytest.mark.parametrize("optimiser", ALL, ids=repr)
def test_runs_repeat_and_do_not_touch_their_start(optimiser: FlatnessOptimizer) -> None:
    problem = sensing(20)
    start = gaussian(problem, 2, 0)
    kept = start.copy()
    first, second = optimiser.run(problem, start), optimiser.run(sensing(20), start)
    assert np.array_equal(first.w, second.w)
    assert np.array_equal(start, kept)
    assert first.steps == 300 and not first.diverged
    residual = np.linalg.norm(problem.predict(first.w) - problem.b) / np.linalg.norm(problem.b)
    assert first.relative_residual == pytest.approx(residual)


@pytest.mark.parametrize("optimiser", ALL, ids=repr)
def test_units_of_the_data_do_not_matter(optimiser: FlatnessOptimizer) -> None:
    """X -> c X, A -> a A: factors scale by sqrt(c), steps, noise and radii with them."""
    problem = sensing(20)
    a = matrices(problem)
    scaled = FactorizedProblem(DenseSensing(4.0 * a), 4.0 * 9.0 * problem.b)
    start = gaussian(problem, 2, 0)
    plain, other = optimiser.run(problem, start), optimiser.run(scaled, 3.0 * start)
    np.testing.assert_allclose(other.w, 3.0 * plain.w, rtol=1e-6, atol=1e-8)


def test_seeds_differ_where_there_is_chance() -> None:
    problem = sensing(20)
    start = gaussian(problem, 2, 0)
    for make in (
        lambda seed: LabelNoiseDescent(steps=50, seed=seed),
        lambda seed: SharpnessAwareMinimization(steps=50, batch_size=1, step_size=0.02, seed=seed),
    ):
        assert not np.allclose(make(0).run(problem, start).w, make(1).run(problem, start).w)


def test_the_observer_sees_the_run_and_ends_it() -> None:
    problem, seen = sensing(20), []

    def look(steps: int, w: np.ndarray) -> bool:
        seen.append(steps)
        return steps >= 60

    start = gaussian(problem, 2, 0)
    run = LabelNoiseDescent(steps=1000).run(problem, start, observe=look, every=20)
    assert seen == [0, 20, 40, 60] and run.steps == 60


def test_batches_of_all_data_are_no_batches() -> None:
    problem = sensing(20)
    start = gaussian(problem, 2, 0)
    whole = LabelNoiseDescent(steps=50).run(problem, start)
    assert np.array_equal(LabelNoiseDescent(steps=50, batch_size=20).run(problem, start).w, whole.w)


def test_batch_gradients_are_unbiased() -> None:
    """One small step from each batch, averaged, is the step of all data."""
    problem = sensing(4)
    start = gaussian(problem, 2, 0)
    optimiser = SharpnessAwareMinimization(1e-9, 1e-3, 1, 1)
    moves: dict[bytes, np.ndarray] = {}
    for seed in range(60):
        w = SharpnessAwareMinimization(1e-9, 1e-3, 1, 1, seed).run(problem, start).w - start
        moves[w.round(9).tobytes()] = w
    assert len(moves) == 4 and optimiser.batch_size == 1
    whole = LargeStepDescent(1e-3, 1).run(problem, start).w - start
    np.testing.assert_allclose(np.mean(list(moves.values()), axis=0), whole, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("optimiser", [*ALL[:-1], LargeStepDescent(0.3, 300)], ids=repr)
def test_other_factorizations(optimiser: FlatnessOptimizer) -> None:
    instance = gaussian_sensing(5, 1, 20, symmetric=True, rng=0)
    problem = FactorizedProblem(instance.operator, instance.measurements, Symmetric())
    w = np.random.default_rng(0).standard_normal((5, 2)) / 3
    run = optimiser.run(problem, w)
    assert not run.diverged and run.w.shape == (5, 2)
    assert run.relative_residual < np.linalg.norm(problem.predict(w) - problem.b) / np.linalg.norm(
        problem.b
    )


def test_divergence_is_said_and_the_last_iterate_is_finite() -> None:
    run = LargeStepDescent(step_size=10.0).run(scalar(), np.array([[2.0], [1.0]]))
    assert run.diverged and np.isfinite(run.w).all() and run.steps < 50


@pytest.mark.parametrize(
    ("optimiser", "words"),
    [
        (LabelNoiseDescent(noise=0.0), r"noise=0\.0"),
        (LabelNoiseDescent(noise=float("nan")), "noise=nan"),
        (LabelNoiseDescent(step_size=-1.0), r"step_size=-1\.0"),
        (LabelNoiseDescent(steps=0), "steps=0"),
        (LabelNoiseDescent(steps=1.5), r"steps=1\.5"),  # type: ignore[arg-type]
        (LabelNoiseDescent(batch_size=0), "batch_size=0"),
        (LabelNoiseDescent(batch_size=3), "a divisor of 20"),
        (LabelNoiseDescent(batch_size=40), "a divisor of 20"),
        (SharpnessAwareMinimization(radius=float("inf")), "radius=inf"),
        (SharpnessAwareMinimization(radius=True), "radius=True"),
        (LargeStepDescent(step_size="exact"), "step_size='exact'"),  # type: ignore[arg-type]
        (LargeStepDescent(residual_tol=-1.0), r"residual_tol=-1\.0"),
    ],
)
def test_bad_settings_are_refused(optimiser: FlatnessOptimizer, words: str) -> None:
    problem = sensing(20)
    with pytest.raises(InputError, match=words):
        optimiser.run(problem, gaussian(problem, 2, 0))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"loss": Huber(1.0)}, "Huber"),
        ({"regularizers": (SquaredNorm(0.1),)}, "regularisers"),
        ({"b": np.zeros(20)}, "b = 0"),
    ],
)
def test_problems_without_flat_fits_are_refused(change: dict[str, Any], words: str) -> None:
    base = sensing(20)
    problem = FactorizedProblem(**({"operator": base.operator, "b": base.b} | change))
    start = gaussian(problem, 2, 0)
    for attempt in (lambda: LargeStepDescent().run(problem, start), lambda: polish(problem, start)):
        with pytest.raises(InputError, match=words):
            attempt()
    with pytest.raises(InputError, match="every=0"):
        LargeStepDescent().run(base, start, every=0)
