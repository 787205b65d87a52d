"""Spectral bounds: the truth is inside, above all where Lanczos is known to stop too early."""

from __future__ import annotations

import numpy as np
import pytest

from cases import assert_close, strict
from ranklift.spectral import (
    FAILURE_PROBABILITY,
    largest_eigenvalue,
    largest_singular_value,
    missed_fraction,
    top_singular_triplets,
    without,
)

N = 120
SPECTRA = {
    "hidden above a cluster": np.r_[1.0 + 1e-4, np.ones(N - 1)],
    "far above a cluster": np.r_[2.0, np.ones(N - 1)],
    "tight pair": np.r_[1.0 + 1e-9, 1.0, np.linspace(0, 0.9, N - 2)],
    "cluster at the top": np.r_[1 + 1e-6 * np.arange(20), np.linspace(0, 0.5, N - 20)],
    "even": np.linspace(0.0, 1.0, N),
    "geometric": 0.9 ** np.arange(N),
    "indefinite": np.linspace(-1.0, 1.0, N),
    "negative": np.linspace(-5.0, -1.0, N),
    "one positive among large negative": np.r_[1e-3, -np.geomspace(1, 1e3, N - 1)],
    "identity": np.ones(N),
    "zero": np.zeros(N),
    "rank one": np.r_[1.0, np.zeros(N - 1)],
}
each_spectrum = pytest.mark.parametrize("spectrum", SPECTRA.values(), ids=SPECTRA.keys())


def matrix(values: np.ndarray, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.standard_normal((values.size, values.size)))[0]
    return (q * values) @ q.T


@each_spectrum
@pytest.mark.parametrize("max_steps", [2, 7, 25, 60, 1000])
def test_eigenvalue_bounds_hold_at_any_number_of_steps(spectrum, max_steps):
    h = matrix(spectrum)
    truth = np.linalg.eigvalsh(h)[-1]
    slack = 1e-12 * max(1.0, np.abs(spectrum).max())
    for seed in range(4):
        rng = np.random.default_rng(seed)
        found = largest_eigenvalue(lambda x: h @ x, N, rng, max_steps=max_steps)
        assert found.ritz <= truth + slack
        assert found.upper >= truth - slack
        assert found.steps <= max_steps
        vector = found.vectors[:, 0]
        assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-10)
        assert vector @ h @ vector == pytest.approx(found.ritz, abs=1e3 * slack)
        assert found.values[0] == pytest.approx(found.ritz, abs=slack)


@each_spectrum
def test_full_runs_are_exact(spectrum):
    h = matrix(spectrum)
    truth = np.linalg.eigvalsh(h)[-1]
    scale = max(1.0, np.abs(spectrum).max())
    found = largest_eigenvalue(lambda x: h @ x, N, np.random.default_rng(0), max_steps=N)
    assert found.ritz == pytest.approx(truth, abs=1e-10 * scale)
    assert found.upper == pytest.approx(truth, abs=1e-10 * scale)


def test_too_few_steps_promise_nothing():
    """The Ritz value of two steps may be anything; the bound must say that it is infinite."""
    h = matrix(SPECTRA["even"])
    found = largest_eigenvalue(lambda x: h @ x, N, np.random.default_rng(0), max_steps=2)
    assert found.upper == np.inf and found.ritz < 0.95
    floored = largest_eigenvalue(
        lambda x: h @ x, N, np.random.default_rng(0), max_steps=2, floor=0.0
    )
    assert floored.upper == np.inf


def test_a_hidden_eigenvalue_is_inside_the_bound_when_the_ritz_value_misses_it():
    """The loose Lanczos tolerance behind false certificates elsewhere: theta looks settled."""
    hidden = np.r_[1.001, np.linspace(0.0, 1.0, 1999)]
    found = largest_eigenvalue(
        lambda x: hidden * x, 2000, np.random.default_rng(2), max_steps=40, floor=0.0
    )
    assert found.ritz < 1.0005  # it has not seen 1.001
    assert np.isfinite(found.upper) and found.upper >= 1.001


def test_a_user_drawing_from_the_same_seed_does_not_choose_the_start():
    """A start vector that is an eigenvector would end the run in one step, and certify anything."""
    n = 300
    mine = np.random.default_rng(0).standard_normal(n)
    mine /= np.linalg.norm(mine)
    other = np.roll(mine, 1)
    other -= mine * (mine @ other)
    other /= np.linalg.norm(other)

    def product(x: np.ndarray) -> np.ndarray:
        return mine * (mine @ x) + 2 * other * (other @ x)

    found = largest_eigenvalue(product, n, np.random.default_rng(0))
    assert found.ritz == pytest.approx(2.0) and found.upper >= 2.0 - 1e-12
    inside = largest_eigenvalue(
        product, n, np.random.default_rng(0), project=lambda x: x - mine * (mine @ x)
    )
    assert abs(mine @ inside.vectors[:, 0]) < 1e-12
    assert inside.ritz == pytest.approx(2.0)


def test_target_stops_early_on_either_side():
    h = matrix(SPECTRA["even"])

    def run(target: float | None) -> tuple[int, float, float]:
        rng = np.random.default_rng(0)
        found = largest_eigenvalue(lambda x: h @ x, N, rng, target=target, floor=0.0)
        return found.steps, found.ritz, found.upper

    exceeded = run(0.5)
    assert exceeded[0] <= 20 and exceeded[1] > 0.5
    bounded = run(1.5)
    assert bounded[0] < N and 1.0 - 1e-12 <= bounded[2] <= 1.5
    assert run(None)[0] >= max(exceeded[0], bounded[0])


def test_several_vectors_are_orthonormal_and_sorted():
    h = matrix(SPECTRA["geometric"])
    found = largest_eigenvalue(lambda x: h @ x, N, np.random.default_rng(0), vectors=4)
    assert_close(found.vectors.T @ found.vectors, np.eye(4), 1e-9)
    assert_close(found.values, 0.9 ** np.arange(4), 1e-9)
    assert (np.diff(found.values) < 0).all()


def test_projection_restricts_the_search():
    values = np.r_[10.0, 9.0, np.linspace(0, 1, N - 2)]
    q = np.linalg.qr(np.random.default_rng(3).standard_normal((N, N)))[0]
    h, top = (q * values) @ q.T, q[:, :2]
    found = largest_eigenvalue(
        lambda x: h @ x, N, np.random.default_rng(0), project=lambda x: x - top @ (top.T @ x)
    )
    assert found.ritz == pytest.approx(1.0, abs=1e-9)
    assert found.upper == pytest.approx(1.0, abs=1e-3) and found.upper >= 1.0 - 1e-12
    assert np.linalg.norm(top.T @ found.vectors) < 1e-9


def test_runs_repeat_and_products_that_are_not_finite_are_refused():
    h = matrix(SPECTRA["even"])
    one = largest_eigenvalue(lambda x: h @ x, N, np.random.default_rng(0), max_steps=30)
    two = largest_eigenvalue(lambda x: h @ x, N, np.random.default_rng(0), max_steps=30)
    assert (one.ritz, one.upper) == (two.ritz, two.upper)
    np.testing.assert_array_equal(one.vectors, two.vectors)
    with pytest.raises(ValueError, match="not finite"):
        largest_eigenvalue(lambda x: np.nan * x, N, np.random.default_rng(0))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_tiny_matrices(n):
    values = np.arange(1.0, n + 1)
    found = largest_eigenvalue(lambda x: values * x, n, np.random.default_rng(0))
    assert found.ritz == pytest.approx(n) and found.upper == pytest.approx(n)


def test_missed_fraction_is_the_published_bound():
    """eps solves 1.648 sqrt(n) exp(-sqrt(eps) (2k - 1)) = p (Kuczynski, Wozniakowski, 4.2)."""
    for n in (10, 1000, 10**6):
        for p in (1e-10, 1e-3):
            last = 1.0
            for k in (1, 2, 5, 20, 50, 200, 1000):
                eps = missed_fraction(n, k, p)
                assert 0 < eps <= last
                last = eps
                if eps < 1:
                    risk = 1.648 * np.sqrt(n) * np.exp(-np.sqrt(eps) * (2 * k - 1))
                    assert risk == pytest.approx(p, rel=1e-9)
            assert missed_fraction(n, 10**7, p) < 1e-10
    assert missed_fraction(1000, 50, 1e-12) > missed_fraction(1000, 50, 1e-6)
    assert FAILURE_PROBABILITY <= 1e-10


@pytest.mark.parametrize("steps", [25, 60])
def test_upper_bounds_follow_from_the_missed_fraction(steps):
    """theta + eps/(1 - eps) (theta - floor), or with both ends missed by eps of the spread."""
    n = 2000
    values = np.random.default_rng(1).uniform(0.0, 1.0, n)
    looks = steps // 10 + 1  # every tenth step is a look: the failure probability is shared
    eps = missed_fraction(n, steps, 1e-6 / looks)
    assert 0 < eps < 0.5

    def run(sign: float, floor: float | None = None) -> tuple[float, float]:
        found = largest_eigenvalue(
            lambda x: sign * values * x,
            n,
            np.random.default_rng(0),
            max_steps=steps,
            floor=floor,
            failure_probability=1e-6,
        )
        return found.ritz, found.upper

    theta, upper = run(1.0)
    bottom = -run(-1.0)[0]  # the same start: the other end of the same Krylov space
    assert upper == pytest.approx(theta + eps * (theta - bottom) / (1 - 2 * eps), rel=1e-9)
    theta, upper = run(1.0, floor=-3.0)
    assert upper == pytest.approx(theta + eps / (1 - eps) * (theta + 3.0), rel=1e-9)


def test_missed_fraction_is_respected_by_chance():
    """With a large allowed failure probability a bound fails no more often than allowed."""
    values, k, p = np.r_[1.0, np.linspace(0, 0.999, 399)], 12, 0.2
    eps = missed_fraction(values.size, k, p)
    assert eps < 1
    missed = 0
    for seed in range(200):
        found = largest_eigenvalue(
            lambda x: values * x, values.size, np.random.default_rng(seed), max_steps=k,
            floor=0.0, failure_probability=p,
        )  # fmt: skip
        missed += found.upper < 1.0
    assert missed <= 200 * p


@pytest.mark.parametrize("shape", [(40, 25), (25, 40), (30, 30), (1, 9), (9, 1)])
@pytest.mark.parametrize("max_steps", [3, 300])
def test_singular_value_bounds_hold(shape, max_steps, rng):
    s = rng.standard_normal(shape)
    truth = np.linalg.norm(s, 2)
    found = largest_singular_value(s, shape, np.random.default_rng(0), max_steps=max_steps)
    assert found.ritz <= truth * (1 + 1e-12) and found.upper >= truth * (1 - 1e-12)
    u, v = found.left[:, 0], found.right[:, 0]
    assert u.shape == (shape[0],) and v.shape == (shape[1],)
    assert np.linalg.norm(u) == pytest.approx(1.0) and np.linalg.norm(v) == pytest.approx(1.0)
    assert u @ s @ v == pytest.approx(found.values[0])
    assert found.ritz == pytest.approx(found.values[0])


@pytest.mark.parametrize("shape", [(40, 25), (25, 40)])
def test_deflated_singular_value_is_that_of_the_complement(shape, rng):
    p = np.linalg.qr(rng.standard_normal((shape[0], 3)))[0]
    q = np.linalg.qr(rng.standard_normal((shape[1], 2)))[0]
    s = rng.standard_normal(shape) + 50 * p[:, :2] @ q.T
    complement = (np.eye(shape[0]) - p @ p.T) @ s @ (np.eye(shape[1]) - q @ q.T)
    exact = np.linalg.svd(complement, compute_uv=False)
    found = largest_singular_value(
        s, shape, np.random.default_rng(0), project=(without(p), without(q)), vectors=3
    )
    assert_close(found.values, exact[:3], 1e-9)
    assert found.upper == pytest.approx(exact[0], rel=1e-9)
    assert np.linalg.norm(p.T @ found.left) < 1e-9 and np.linalg.norm(q.T @ found.right) < 1e-9
    assert_close(found.left.T @ complement @ found.right, np.diag(exact[:3]), 1e-7)


def test_clustered_singular_values_at_the_optimum_of_a_nuclear_norm_problem(rng):
    """r values coincide at lambda: deflated, the bound is sharp; as a whole it still holds."""
    u = np.linalg.qr(rng.standard_normal((60, 60)))[0]
    v = np.linalg.qr(rng.standard_normal((50, 50)))[0]
    values = np.r_[np.ones(10), np.linspace(0.9, 0.0, 40)]
    s = (u[:, :50] * values) @ v.T
    whole = largest_singular_value(s, s.shape, np.random.default_rng(0), max_steps=30)
    assert whole.upper >= 1.0 - 1e-12
    rest = largest_singular_value(
        s, s.shape, np.random.default_rng(0), project=(without(u[:, :10]), without(v[:, :10]))
    )
    assert 0.9 - 1e-9 <= rest.upper < 0.9 + 1e-3


def test_full_deflation_leaves_nothing(rng):
    s = rng.standard_normal((8, 5))
    found = largest_singular_value(
        s, (8, 5), np.random.default_rng(0), project=(without(np.eye(8)), without(np.eye(5)))
    )
    assert found.upper < 1e-6
    found = largest_singular_value(
        s, (8, 5), np.random.default_rng(0), project=(without(np.zeros((8, 0))), without(np.eye(5)))
    )
    assert found.upper < 1e-6


def test_strict_matrices_and_their_products(rng):
    s = rng.standard_normal((12, 9))
    found = largest_singular_value(strict(s), s.shape, np.random.default_rng(0))
    assert found.ritz == pytest.approx(np.linalg.norm(s, 2))
    u, values, v = top_singular_triplets(strict(s), s.shape, 2, np.random.default_rng(0))
    assert_close(values, np.linalg.svd(s, compute_uv=False)[:2], 1e-8)
    assert all(isinstance(x, np.ndarray) for x in (u, values, v))


@pytest.mark.parametrize("shape", [(50, 30), (30, 50), (3, 20)])
def test_top_triplets_of_a_low_rank_matrix_are_exact(shape, rng):
    left, right = rng.standard_normal((shape[0], 3)), rng.standard_normal((shape[1], 3))
    u, values, v = top_singular_triplets(left @ right.T, shape, 3, np.random.default_rng(0))
    assert_close((u * values) @ v.T, left @ right.T, 1e-10)
    assert_close(u.T @ u, np.eye(3), 1e-10)
    assert (np.diff(values) <= 0).all()
    few = top_singular_triplets(left @ right.T, shape, 99, np.random.default_rng(0))
    assert few[1].size == min(shape)
