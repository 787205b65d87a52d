"""solve_nuclear_norm against an independent proximal gradient method on full matrices."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import referee
from cases import explicit_rows, strict, strict_operator
from ranklift import instances
from ranklift.factorizations import Asymmetric, Symmetric
from ranklift.nuclear_norm import continuation, geometric_path, prune, solve_nuclear_norm
from ranklift.operators import IdentitySensing
from ranklift.problem import FactorizedProblem
from ranklift.solvers import AlternatingLeastSquares, GaussNewton
from ranklift.status import Status
from ranklift.trace import Trace, TraceRow

DATA = {
    "sampled": instances.entry_completion((14, 11), 2, 2.2, noise=0.05, rng=0),
    "wide": instances.entry_completion((8, 20), 2, 2.0, noise=0.05, rng=4),
    "dense": instances.gaussian_sensing((7, 6), 2, 50, noise=0.05, rng=0),
    "few": instances.gaussian_sensing((7, 6), 2, 20, noise=0.05, rng=2),
    "symmetric": instances.gaussian_sensing(7, 2, 40, symmetric=True, noise=0.05, rng=3),
}
SHARES = [0.9, 0.3, 0.03]
every_case = pytest.mark.parametrize(
    ("kind", "share"), [(kind, share) for kind in DATA for share in SHARES]
)


def pose(kind: str) -> FactorizedProblem:
    instance = DATA[kind]
    factorization = Symmetric() if instance.symmetric else Asymmetric()
    return FactorizedProblem(instance.operator, instance.measurements, factorization)


def dense_norm(kind: str) -> float:
    """Return ||A*(b)||_2, in the symmetric case lambda_max of its symmetric part."""
    rows, b = explicit_rows(DATA[kind].operator), DATA[kind].measurements
    full = (rows.T @ b).reshape(DATA[kind].operator.shape)
    if DATA[kind].symmetric:
        return float(np.linalg.eigvalsh((full + full.T) / 2)[-1])
    return float(np.linalg.norm(full, 2))


def empty(problem: FactorizedProblem) -> np.ndarray:
    return np.zeros((problem.factorization.size(problem.operator.shape), 0))


def solve(kind: str, lam: float, tolerance: float = 1e-8, **options: Any) -> Any:
    problem = pose(kind)
    w = options.pop("w", empty(problem))
    return solve_nuclear_norm(
        problem, lam, w, np.random.default_rng(0), tolerance=tolerance, **options
    )


def referee_gap(kind: str, w: np.ndarray, lam: float) -> referee.DualityGap:
    problem = pose(kind)
    left, right = problem.parts(w)
    other = None if DATA[kind].symmetric else right
    return referee.duality_gap(explicit_rows(problem.operator), problem.b, left, other, lam=lam)


def proximal_gradient(kind: str, lam: float, iterations: int = 20_000) -> tuple[np.ndarray, float]:
    """Return the minimiser over full matrices and its value (FISTA with restarts)."""
    rows, b = explicit_rows(DATA[kind].operator), DATA[kind].measurements
    shape, symmetric = DATA[kind].operator.shape, DATA[kind].symmetric
    lipschitz = np.linalg.norm(rows, 2) ** 2

    def shrink(x: np.ndarray) -> np.ndarray:
        if symmetric:
            values, vectors = np.linalg.eigh((x + x.T) / 2)
            return (vectors * np.maximum(values - lam / lipschitz, 0.0)) @ vectors.T
        u, s, vt = np.linalg.svd(x, full_matrices=False)
        return (u * np.maximum(s - lam / lipschitz, 0.0)) @ vt

    x = momentum = np.zeros(shape)
    t = 1.0
    for _ in range(iterations):
        g = (rows.T @ (rows @ momentum.ravel() - b)).reshape(shape)
        following = shrink(momentum - g / lipschitz)
        if np.sum((momentum - following) * (following - x)) > 0:
            t = 1.0  # restart (O'Donoghue and Candes)
        t_next = 0.5 * (1 + np.sqrt(1 + 4 * t * t))
        momentum = following + (t - 1) / t_next * (following - x)
        moved = np.linalg.norm(following - x)
        x, t = following, t_next
        if moved <= 1e-14 * np.linalg.norm(x):
            break
    nuclear = np.linalg.svd(x, compute_uv=False).sum()
    return x, float(0.5 * np.sum((rows @ x.ravel() - b) ** 2) + lam * nuclear)


@every_case
def test_reaches_the_optimum_of_an_independent_solver(kind, share):
    lam = share * dense_norm(kind)
    run = solve(kind, lam)
    assert run.status is Status.CONVERGED and run.reached <= 1e-8
    assert run.gap.relative <= 1e-8 and run.regularization == lam
    # The certified gap is true: the referee's dense one is no larger.
    exact = referee_gap(kind, run.w, lam)
    assert exact.relative_gap <= run.gap.relative + 1e-12
    x, value = proximal_gradient(kind, lam)
    assert run.gap.primal == pytest.approx(value, rel=1e-7)
    assert run.gap.dual <= value * (1 + 1e-10)
    found = pose(kind).compose(run.w).toarray()
    assert np.linalg.norm(found - x) <= 2e-2 * np.linalg.norm(x) + 1e-9


@every_case
def test_answer_is_balanced_and_pruned(kind, share):
    problem, lam = pose(kind), share * dense_norm(kind)
    w = solve(kind, lam).w
    np.testing.assert_allclose(np.abs(problem.gauge(w)), np.abs(w), atol=1e-7 * np.linalg.norm(w))
    norms = np.linalg.norm(w, axis=0)
    assert (norms > 0).all() and w.shape[1] <= min(problem.operator.shape)
    # About the rank of the exact minimiser: columns that carry next to nothing aside.
    x, _ = proximal_gradient(kind, lam)
    rank = int(np.sum(np.linalg.svd(x, compute_uv=False) > 1e-3 * np.linalg.norm(x)))
    assert int(np.sum(norms**2 > 1e-3 * np.sum(norms**2))) <= rank + 1


@pytest.mark.parametrize("kind", list(DATA))
def test_zero_is_the_answer_above_the_critical_lambda(kind):
    critical = dense_norm(kind)
    run = solve(kind, 1.001 * critical)
    assert run.status is Status.CONVERGED
    assert pose(kind).compose(run.w).norm() < 1e-6
    below = solve(kind, 0.99 * critical)
    assert pose(kind).compose(below.w).norm() > 1e-4


@pytest.mark.parametrize("symmetric", [False, True])
def test_full_data_are_soft_thresholded(symmetric):
    rng = np.random.default_rng(0)
    n, lam = 12, 1.1
    b = rng.standard_normal((n, n))
    b = (b + b.T) / 2 if symmetric else b
    factorization = Symmetric() if symmetric else Asymmetric()
    problem = FactorizedProblem(IdentitySensing((n, n)), b.ravel(), factorization)
    run = solve_nuclear_norm(problem, lam, empty(problem), rng, tolerance=1e-10)
    assert run.status is Status.CONVERGED
    if symmetric:
        values, vectors = np.linalg.eigh(b)
        expected = (vectors * np.maximum(values - lam, 0.0)) @ vectors.T
    else:
        u, s, vt = np.linalg.svd(b)
        expected = (u * np.maximum(s - lam, 0.0)) @ vt
    error = np.linalg.norm(problem.compose(run.w).toarray() - expected)
    assert error <= 1e-4 * np.linalg.norm(expected)


@pytest.mark.parametrize("kind", ["sampled", "dense", "symmetric"])
def test_any_start_ends_at_the_same_value(kind):
    """Local search alone would not: the start may be a saddle, of wrong rank, or huge."""
    lam = 0.2 * dense_norm(kind)
    expected = solve(kind, lam).gap.primal
    problem = pose(kind)
    rows = problem.factorization.size(problem.operator.shape)
    rng = np.random.default_rng(1)
    starts = [
        np.zeros((rows, 2)),
        rng.standard_normal((rows, 1)),
        10 * rng.standard_normal((rows, 6)),
    ]
    for w in starts:
        before = w.copy()
        run = solve(kind, lam, w=w)
        np.testing.assert_array_equal(w, before)
        assert run.status is Status.CONVERGED
        assert run.gap.primal == pytest.approx(expected, rel=2e-8)


def test_runs_repeat_bit_by_bit():
    lam = 0.2 * dense_norm("sampled")
    one, other = solve("sampled", lam), solve("sampled", lam)
    np.testing.assert_array_equal(one.w, other.w)
    assert (one.gap.primal, one.gap.dual) == (other.gap.primal, other.gap.dual)


@pytest.mark.parametrize("solver", [GaussNewton(), AlternatingLeastSquares()])
def test_other_inner_solvers_reach_the_same_value(solver):
    lam = 0.3 * dense_norm("sampled")
    run = solve("sampled", lam, tolerance=1e-6, solver=solver)
    assert run.status is Status.CONVERGED
    assert run.gap.primal == pytest.approx(solve("sampled", lam).gap.primal, rel=1e-6)


@pytest.mark.parametrize("kind", ["sampled", "dense", "symmetric"])
def test_strict_array_api_arrays_give_the_same_value(kind):
    lam = 0.3 * dense_norm(kind)
    problem = pose(kind)
    twin = FactorizedProblem(
        strict_operator(problem.operator), strict(problem.b), problem.factorization
    )
    run = solve_nuclear_norm(twin, lam, strict(empty(problem)), np.random.default_rng(0))
    assert type(run.w).__module__.startswith("array_api_strict")
    assert run.status is Status.CONVERGED
    assert run.gap.primal == pytest.approx(solve(kind, lam).gap.primal, rel=2e-6)


def test_statuses_other_than_converged():
    lam = 0.1 * dense_norm("sampled")
    assert solve("sampled", lam, max_rounds=1).status is Status.MAX_ITERATIONS
    assert solve("sampled", lam, trace=Trace(max_time_s=0.0)).status is Status.MAX_TIME

    def stop_at_once(row: TraceRow) -> bool:
        return True

    run = solve("sampled", lam, trace=Trace(callback=stop_at_once))
    assert run.status is Status.USER_STOP

    def later(row: TraceRow) -> bool:
        return row.stage == "nuclear_norm" and row.iteration == 2

    run = solve("sampled", lam, trace=Trace(callback=later))
    assert run.status is Status.USER_STOP and run.gap.relative > 1e-8


def test_continuation_falls_to_the_last_lambda():
    problem, top = pose("sampled"), dense_norm("sampled")
    path = geometric_path(top, 0.05 * top)
    assert path[-1] == 0.05 * top and all(b < a for a, b in itertools.pairwise(path))
    runs = list(continuation(problem, path, np.random.default_rng(0)))
    assert [run.regularization for run in runs] == path
    for run in runs:
        exact = referee_gap("sampled", run.w, run.regularization)
        # Optimistic gaps steer a path; the true one is of their order.
        assert exact.relative_gap <= 5e-2
    final = solve("sampled", path[-1], w=runs[-1].w)
    assert final.status is Status.CONVERGED
    assert final.gap.primal == pytest.approx(solve("sampled", path[-1]).gap.primal, rel=2e-8)


def test_prune_drops_only_what_vanishes():
    w = np.diag([1.0, 1e-3, 1e-9])
    assert prune(w, 1e-7).shape == (3, 2)
    np.testing.assert_array_equal(prune(w, 1e-7), w[:, :2])
    assert prune(np.zeros((3, 0)), 1e-7).shape == (3, 0)
