"""Invariances: what the answer may not depend on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import referee
from ranklift.certificates import duality_gap
from ranklift.factorizations import Asymmetric, Symmetric
from ranklift.line import minimize_polynomial
from ranklift.lowrank import LowRank
from ranklift.nuclear_norm import solve_nuclear_norm
from ranklift.operators import DenseSensing, EntrySampling, MeasurementOperator
from ranklift.problem import FactorizedProblem
from ranklift.solvers import GaussNewton, Stopping, TrustRegion

seeds = st.integers(0, 2**32 - 1)
shapes = st.tuples(st.integers(4, 9), st.integers(4, 9))
scales = st.floats(1e-6, 1e6)
TOLERANCE = 1e-11


def sampled(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[EntrySampling, np.ndarray]:
    """Draw a noisy rank-two matrix, three quarters of it observed, and its data."""
    n1, n2 = shape
    full = rng.standard_normal((n1, 2)) @ rng.standard_normal((2, n2))
    flat = rng.permutation(n1 * n2)[: max(4, 3 * n1 * n2 // 4)]
    rows, cols = flat // n2, flat % n2
    return EntrySampling(rows, cols, shape), full[rows, cols] + 0.1 * rng.standard_normal(flat.size)


def dense(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[DenseSensing, np.ndarray]:
    n1, n2 = shape
    matrices = rng.standard_normal((n1 * n2, n1, n2)) / np.sqrt(n1 * n2)
    full = rng.standard_normal((n1, 2)) @ rng.standard_normal((2, n2))
    operator = DenseSensing(matrices)
    return operator, operator.apply(full) + 0.1 * rng.standard_normal(n1 * n2)


def convex_answer(operator: MeasurementOperator, b: np.ndarray, share: float = 0.3) -> np.ndarray:
    """Return the unique matrix of the nuclear-norm problem, lambda a share of ||A*(b)||_2."""
    problem = FactorizedProblem(operator, b)
    dense_adjoint = operator.adjoint(b) @ np.eye(operator.shape[1])
    lam = share * float(np.linalg.norm(dense_adjoint, 2))
    w = np.zeros((sum(operator.shape), 0))
    run = solve_nuclear_norm(problem, lam, w, np.random.default_rng(0), tolerance=TOLERANCE)
    assert run.gap.relative <= TOLERANCE
    return problem.compose(run.w).toarray()


def same(one: np.ndarray, other: np.ndarray, rtol: float = 1e-4) -> None:
    # A gap of 1e-11 leaves sqrt(1e-11), about 3e-6, in the matrix, times its conditioning.
    assert np.linalg.norm(one - other) <= rtol * np.linalg.norm(one) + 1e-300


@given(seeds, shapes, scales)
def test_scaling_the_data_scales_the_answer(seed, shape, c):
    operator, b = sampled(np.random.default_rng(seed), shape)
    same(c * convex_answer(operator, b), convex_answer(operator, c * b))


@given(seeds, shapes, st.floats(1e-3, 1e3))
def test_scaling_the_operator_with_the_data_changes_nothing(seed, shape, c):
    operator, b = dense(np.random.default_rng(seed), shape)
    same(convex_answer(operator, b), convex_answer(c * operator, c * b))


@given(seeds, shapes)
def test_order_of_the_measurements_does_not_matter(seed, shape):
    rng = np.random.default_rng(seed)
    for operator, b in (sampled(rng, shape), dense(rng, shape)):
        order = rng.permutation(b.size)
        same(convex_answer(operator, b), convex_answer(operator.subset(order), b[order]))


@given(seeds, shapes)
def test_permuting_rows_and_columns_permutes_the_answer(seed, shape):
    rng = np.random.default_rng(seed)
    operator, b = sampled(rng, shape)
    p, q = rng.permutation(shape[0]), rng.permutation(shape[1])
    permuted = EntrySampling(p[operator.rows], q[operator.cols], shape)
    answer = np.empty(shape)
    answer[np.ix_(p, q)] = convex_answer(operator, b)
    same(answer, convex_answer(permuted, b))


@given(seeds, shapes)
def test_rotations_of_dense_sensing_rotate_the_answer(seed, shape):
    """<P^T A_t Q, X> = <A_t, P X Q^T>."""
    rng = np.random.default_rng(seed)
    operator, b = dense(rng, shape)
    p = np.linalg.qr(rng.standard_normal((shape[0], shape[0])))[0]
    q = np.linalg.qr(rng.standard_normal((shape[1], shape[1])))[0]
    turned = DenseSensing(p.T @ operator.matrices @ q)
    same(convex_answer(operator, b), p @ convex_answer(turned, b) @ q.T)


@given(seeds, shapes)
def test_transposing_the_problem_transposes_the_answer(seed, shape):
    rng = np.random.default_rng(seed)
    entries, b = sampled(rng, shape)
    mirrored = EntrySampling(entries.cols, entries.rows, shape[::-1])
    same(convex_answer(entries, b).T, convex_answer(mirrored, b))
    matrices, y = dense(rng, shape)
    mirrored_dense = DenseSensing(np.swapaxes(matrices.matrices, 1, 2))
    same(convex_answer(matrices, y).T, convex_answer(mirrored_dense, y))


@given(seeds, st.integers(3, 7))
def test_symmetric_problems_rotate_too(seed, n):
    rng = np.random.default_rng(seed)
    matrices = rng.standard_normal((n * n, n, n)) / n
    z = rng.standard_normal((n, 2))
    b = np.einsum("tij,ij->t", matrices, z @ z.T) + 0.1 * rng.standard_normal(n * n)
    p = np.linalg.qr(rng.standard_normal((n, n)))[0]
    answers = []
    for a in (matrices, p.T @ matrices @ p):
        problem = FactorizedProblem(DenseSensing(a), b, Symmetric())
        run = solve_nuclear_norm(
            problem, 0.3, np.zeros((n, 0)), np.random.default_rng(0), tolerance=TOLERANCE
        )
        assert run.gap.relative <= TOLERANCE
        answers.append(problem.compose(run.w).toarray())
    same(answers[0], p @ answers[1] @ p.T)


@given(seeds, shapes, st.floats(1e-3, 1e3))
def test_the_loss_does_not_see_the_gauge(seed, shape, c):
    """(L Q c, R Q / c) with Q orthogonal is the same matrix, loss and gap."""
    rng = np.random.default_rng(seed)
    operator, b = sampled(rng, shape)
    problem = FactorizedProblem(operator, b)
    left, right = rng.standard_normal((shape[0], 3)), rng.standard_normal((shape[1], 3))
    q = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    one, other = np.concatenate([left, right]), np.concatenate([left @ q * c, right @ q / c])
    assert problem.evaluate(one).loss == pytest.approx(problem.evaluate(other).loss, rel=1e-10)
    np.testing.assert_allclose(
        np.abs(problem.gauge(one)), np.abs(problem.gauge(other)), rtol=1e-6, atol=1e-6
    )
    gaps = [
        duality_gap(problem, w, 0.5, np.random.default_rng(0), max_steps=50) for w in (one, other)
    ]
    assert gaps[0].primal == pytest.approx(gaps[1].primal, rel=1e-9)
    assert gaps[0].dual == pytest.approx(gaps[1].dual, rel=1e-6, abs=1e-6 * gaps[0].primal)


@given(seeds, st.sampled_from([TrustRegion(), GaussNewton()]))
def test_local_search_commutes_with_units_and_transposition(seed, solver):
    rng = np.random.default_rng(seed)
    operator, b = dense(rng, (7, 5))
    w = rng.standard_normal((12, 2))
    stopping = Stopping(max_iterations=3)

    def search(a: Any, y: np.ndarray, start: np.ndarray) -> np.ndarray:
        problem = FactorizedProblem(a, y)
        return problem.compose(solver.run(problem, start, stopping=stopping).point.w).toarray()

    base = search(operator, b, w)
    c = 2.0**10
    same(c * base, search(operator, c * b, np.sqrt(c) * w), 1e-6)
    mirrored = DenseSensing(np.swapaxes(operator.matrices, 1, 2))
    same(base.T, search(mirrored, b, np.concatenate([w[7:], w[:7]])), 1e-6)


@given(seeds, st.integers(0, 4), st.integers(1, 7), st.integers(1, 7))
def test_low_rank_arithmetic_is_that_of_the_full_matrix(seed, k, n1, n2):
    rng = np.random.default_rng(seed)
    x, y = (LowRank(rng.standard_normal((n1, k)), rng.standard_normal((n2, k))) for _ in range(2))
    full, other = x.toarray(), y.toarray()
    size = 1e-12 * (1 + np.linalg.norm(full) + np.linalg.norm(other)) ** 2
    z, t = rng.standard_normal((n2, 2)), rng.standard_normal((3, n1))
    for got, expected in (
        ((x + y).toarray(), full + other),
        ((x - y).toarray(), full - other),
        ((-2.5 * x).toarray(), -2.5 * full),
        (x.T.toarray(), full.T),
        (x @ z, full @ z),
        (t @ x, t @ full),
        ((x @ y.T).toarray(), full @ other.T),
        (x.balanced().toarray(), full),
        (x.inner(y), np.sum(full * other)),
        (x.norm(), np.linalg.norm(full)),
        (x.nuclear_norm(), np.linalg.svd(full, compute_uv=False).sum()),
    ):
        np.testing.assert_allclose(got, expected, atol=size, rtol=1e-10)
    rows, cols = rng.integers(n1, size=5), rng.integers(n2, size=5)
    np.testing.assert_allclose(x.entries(rows, cols), full[rows, cols], atol=size)
    best = x.truncate(1)
    expected_error = np.linalg.norm(np.linalg.svd(full, compute_uv=False)[1:])
    assert best.rank <= 1
    assert np.linalg.norm(best.toarray() - full) == pytest.approx(expected_error, abs=size)


@given(st.lists(st.floats(-10, 10), min_size=5, max_size=5), st.floats(-20, 20))
def test_no_point_of_a_line_is_below_the_quartic_minimum(coefficients, probe):
    c = np.array(coefficients)
    c[4] = abs(c[4]) + 0.01
    t, decrease = minimize_polynomial(c)
    assert decrease >= 0
    value = np.polyval(c[::-1], t)
    scale = 1 + np.abs(c).max() * max(1.0, abs(t)) ** 4
    assert value == pytest.approx(c[0] - decrease, abs=1e-12 * scale)
    assert np.polyval(c[::-1], probe) >= value - 1e-9 * scale


@given(seeds, st.integers(1, 4), st.floats(0.01, 0.9))
def test_weak_duality_at_any_point(seed, k, share):
    """No point's dual value exceeds any other point's primal value."""
    rng = np.random.default_rng(seed)
    operator, b = sampled(rng, (6, 5))
    problem = FactorizedProblem(operator, b)
    rows = referee.entry_rows(operator.rows, operator.cols, (6, 5))
    lam = share * problem.scale
    primals, duals = [], []
    for _ in range(4):
        w = Asymmetric().gauge(rng.standard_normal((11, k)) * 10.0 ** rng.uniform(-3, 1), (6, 5))
        gap = duality_gap(problem, w, lam, rng, max_steps=int(rng.integers(2, 30)))
        primals.append(referee.objective(rows, b, w[:6], w[6:], lam=lam))
        duals.append(gap.dual)
    primals.append(0.5 * float(b @ b))
    assert max(duals) <= min(primals) * (1 + 1e-11)
