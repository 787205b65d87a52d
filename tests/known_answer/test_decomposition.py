"""Flat solutions of robust PCA: known answers, and bounds recomputed without the library."""

from __future__ import annotations

import numpy as np
import pytest

import ranklift as rl
from ranklift.errors import ConvergenceWarning, InputError, NonFiniteError, ShapeError
from ranklift.flatness import flattest_decomposition, scaled_trace
from ranklift.flatness.decomposition import Pursuit, WithinBall, decompose
from ranklift.operators import IdentitySensing
from ranklift.status import Status


def drawn(seed: int, share: float, shape: tuple[int, int] = (14, 11)) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    # Spread evenly: no row is so weak that its wrong entries are cheaper as low rank.
    rows, columns = (rng.uniform(1, 2, n) * rng.choice([-1, 1], n) for n in shape)
    truth = np.outer(rows, columns)
    wrong = np.where(rng.random(shape) < share, 3.0 * rng.standard_normal(shape), 0.0)
    return truth, wrong


def enclosed(data: np.ndarray, radius: float, run) -> tuple[float, float]:
    """Return the norm at the allowed outliers and the bound of the multipliers, by NumPy alone."""
    assert np.abs(run.outliers).sum() <= radius * (1 + 1e-12)
    z = run.multipliers
    bound = (np.sum(z * data) - radius * np.abs(z).max()) / np.linalg.norm(z, 2)
    return np.linalg.norm(data - run.outliers, "nuc"), bound


@pytest.mark.parametrize("seed", range(4))
def test_few_outliers_are_found(seed):
    truth, wrong = drawn(seed, 0.03, (24, 20))
    radius = np.abs(wrong).sum()
    flat = flattest_decomposition(truth + wrong, radius, tolerance=1e-8)
    assert flat.status is Status.CONVERGED
    np.testing.assert_allclose(flat.matrix, truth, atol=1e-6)
    left, right = flat.factors
    assert left.shape == (24, 1) and right.shape == (20, 1)
    np.testing.assert_allclose(left.T @ left, right.T @ right, rtol=1e-9)


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_norm_is_enclosed_below_and_above_the_threshold(share):
    truth, wrong = drawn(7, share)
    radius = np.abs(wrong).sum()
    flat = flattest_decomposition(truth + wrong, radius)
    size, bound = enclosed(truth + wrong, radius, flat)
    assert bound <= size <= bound * (1 + 2e-6)
    assert size == pytest.approx(flat.value) and bound == pytest.approx(flat.lower_bound)
    if share == 0.5:  # the truth is allowed, and is no solution
        assert size < 0.999 * np.linalg.norm(truth, "nuc")


def test_the_trace_of_the_local_model_is_that_of_an_identity():
    truth, wrong = drawn(1, 0.03)
    flat = flattest_decomposition(truth + wrong, np.abs(wrong).sum())
    # (1/m) ||L R^T - ...||^2 has 1/m of the trace of ||L R^T - ...||^2.
    trace = scaled_trace(IdentitySensing(truth.shape), None, flat.factors)
    assert flat.scaled_trace == pytest.approx(trace * truth.size)


def test_a_large_ball_allows_zero_and_a_pursuit_of_large_weight_keeps_the_data():
    truth, _ = drawn(2, 0.0)
    everything = flattest_decomposition(truth, np.abs(truth).sum() * 1.01)
    assert not everything.matrix.any() and everything.gap == 0.0
    assert everything.status is Status.CONVERGED and everything.factors[0].shape == (14, 0)
    kept = decompose(Pursuit(10.0), truth, 1e-8, 5000)
    np.testing.assert_allclose(kept.matrix, truth, atol=1e-6)


def test_pursuit_agrees_with_robust_pca_where_that_is_certified():
    truth, wrong = drawn(3, 0.05)
    gamma = 14**-0.5
    found = rl.robust_pca(
        IdentitySensing(truth.shape), (truth + wrong).ravel(), noise=None, sparsity=gamma, rng=0
    )
    assert found.convex is not None and found.convex.relative_gap <= 1e-6
    run = decompose(Pursuit(gamma), truth + wrong, 1e-8, 20_000)
    assert run.status is Status.CONVERGED
    assert run.value == pytest.approx(found.convex.objective, rel=1e-6)


def test_a_run_can_be_ended_and_says_when_it_is_too_short():
    truth, wrong = drawn(4, 0.2)
    seen = []
    ended = decompose(
        WithinBall(5.0), truth + wrong, 1e-8, 5000, enough=lambda run: bool(seen.append(run)) or
        len(seen) == 2,
    )  # fmt: skip
    assert ended.status is Status.USER_STOP and ended.iterations == seen[1].iterations
    with pytest.warns(ConvergenceWarning, match="max_iterations"):
        short = flattest_decomposition(truth + wrong, 5.0, max_iterations=3)
    assert short.status is Status.MAX_ITERATIONS


def test_bad_input_is_typed():
    with pytest.raises(ShapeError, match="shape"):
        flattest_decomposition(np.ones(3), 1.0)
    with pytest.raises(NonFiniteError, match="robust_pca"):
        flattest_decomposition(np.array([[np.nan]]), 1.0)
    for given in ({"outlier_norm": 0.0}, {"outlier_norm": 1.0, "tolerance": -1.0}):
        with pytest.raises(InputError, match="positive"):
            flattest_decomposition(np.eye(2), **given)
    with pytest.raises(InputError, match="max_iterations"):
        flattest_decomposition(np.eye(2), 1.0, max_iterations=0)
