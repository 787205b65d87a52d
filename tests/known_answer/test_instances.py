"""Every published or derived number of the instance library, judged by the referee."""

from __future__ import annotations

from itertools import product
from math import sqrt
from typing import Any

import numpy as np
import pytest

import referee
from ranklift import instances as library
from ranklift.errors import (
    EmptyDataError,
    InputError,
    NonFiniteError,
    RankError,
    ShapeError,
    UnobservedError,
)
from ranklift.lowrank import LowRank

EXACT = 1e-12


def explicit_rows(instance: Any) -> np.ndarray:
    """Build the measurement matrix from the operator's data, without its products."""
    operator: Any = instance.operator
    name = type(operator).__name__
    n1, n2 = operator.shape
    if name == "DenseSensing":
        return operator.matrices.reshape(-1, n1 * n2)
    if name == "EntrySampling":
        return referee.entry_rows(operator.rows, operator.cols, (n1, n2))
    if name == "Weighted":
        return np.diag(operator.weights)
    assert name == "IdentitySensing"
    return np.eye(n1 * n2)


def pair(point: Any) -> tuple[np.ndarray, np.ndarray | None]:
    return point if isinstance(point, tuple) else (point, None)


HARD = [
    library.perturbed_matrix_completion(3, 0.3),
    library.perturbed_matrix_completion(4, 0.2),
    library.perturbed_matrix_completion(5, 0.1),
    library.perturbed_matrix_completion(7, 0.1),
    library.perturbed_matrix_completion(26, 0.1),
    library.rip_half(2),
    library.rip_half(4),
    library.rank_one_truth(2, 1, 0.5),
    library.rank_one_truth(4, 2, 0.62, zeta=1.3),
    library.rank_one_truth(6, 3, 0.7),
    library.sod_three_by_three(),
    library.two_by_two_weighted(2.5),
    library.unbalanced_saddle((7, 5), 2, search_rank=3, scale=4.0),
    library.flat_is_not_nuclear(0.2),
    library.deep_is_not_sparse(3),
]


# -- the referee itself ------------------------------------------------------------------------


@pytest.mark.parametrize("symmetric", [True, False])
def test_referee_derivatives_match_central_differences(symmetric):
    rng = np.random.default_rng(1)
    n1, n2, k = 4, 4 if symmetric else 3, 2
    rows, b = rng.standard_normal((9, n1 * n2)), rng.standard_normal(9)
    options: dict[str, Any] = {"lam": 0.7} if symmetric else {"lam": 0.7, "balance": True}
    point = rng.standard_normal((n1 + (0 if symmetric else n2)) * k)

    def split(x):
        left = x[: n1 * k].reshape(n1, k)
        return (left, None) if symmetric else (left, x[n1 * k :].reshape(n2, k))

    step = 1e-5
    units = step * np.eye(point.size)
    slopes = [
        referee.objective(rows, b, *split(point + e), **options)
        - referee.objective(rows, b, *split(point - e), **options)
        for e in units
    ]
    gradient = referee.gradient(rows, b, *split(point), **options)
    np.testing.assert_allclose(np.array(slopes) / (2 * step), gradient, rtol=1e-7, atol=1e-7)
    curves = [
        referee.gradient(rows, b, *split(point + e), **options)
        - referee.gradient(rows, b, *split(point - e), **options)
        for e in units
    ]
    hessian = referee.hessian(rows, b, *split(point), **options)
    np.testing.assert_allclose(np.array(curves) / (2 * step), hessian, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(hessian, hessian.T, atol=EXACT)


def test_referee_duality_gap_closes_at_the_soft_thresholded_matrix():
    rng = np.random.default_rng(2)
    data = rng.standard_normal((5, 4))
    u, s, vt = np.linalg.svd(data, full_matrices=False)
    lam = 0.5 * (s[1] + s[2])
    roots = np.sqrt(s[:2] - lam)
    left, right = u[:, :2] * roots, vt[:2].T * roots
    rows, b = np.eye(20), data.ravel()
    optimal = referee.duality_gap(rows, b, left, right, lam=lam)
    assert abs(optimal.gap) < EXACT
    assert optimal.dual_norm == pytest.approx(lam)
    worse = referee.duality_gap(rows, b, 1.1 * left, right, lam=lam)
    assert worse.gap > 1e-3
    assert worse.dual <= optimal.primal + EXACT


def test_referee_symmetric_gaps_bound_the_suboptimality_in_closed_form():
    values = np.array([3.0, 1.0, -1.0])
    rows, b = np.eye(9), np.diag(values).ravel()
    # trace weight lam = 1/2 keeps 2.5 and .5 of the eigenvalues
    factor = np.diag(np.sqrt([2.5, 0.5, 0.0]))[:, :2]
    assert abs(referee.duality_gap(rows, b, factor, lam=0.5).gap) < EXACT
    # without regulariser the best X >= 0 is diag(3, 1, 0); rank one leaves (1 / 2) 1^2
    rank_one = np.array([[sqrt(3.0)], [0.0], [0.0]])
    assert referee.psd_gap(rows, b, np.diag(np.sqrt([3.0, 1.0, 0.0])), 4.0) < EXACT
    assert 0.5 <= referee.psd_gap(rows, b, rank_one, 4.0) == pytest.approx(4.0)


def test_referee_tangent_singular_value_of_known_operators():
    rng = np.random.default_rng(3)
    left, right = rng.standard_normal((4, 2)), rng.standard_normal((3, 2))
    assert referee.tangent_singular_value(2 * np.eye(12), left, right) == pytest.approx(2)
    assert referee.tangent_singular_value(np.eye(16), left) == pytest.approx(1)
    # ten dimensions, nine measurements
    assert referee.tangent_singular_value(np.eye(12)[:9], left, right) == 0.0
    # an unobserved row leaves a direction of the tangent space unseen
    unseen = np.vstack([np.eye(12)[:9], np.eye(12)[:9]])
    assert referee.tangent_singular_value(unseen, left, right) < EXACT


# -- what every instance promises --------------------------------------------------------------


@pytest.mark.parametrize("instance", HARD, ids=lambda instance: instance.name)
def test_measurements_and_operator_agree_with_explicit_matrices(instance):
    rows = explicit_rows(instance)
    rng = np.random.default_rng(0)
    n1, n2 = instance.operator.shape
    assert rows.shape == (instance.operator.num_measurements, n1 * n2)
    assert instance.truth.shape == (n1, n2)
    np.testing.assert_allclose(
        rows @ instance.truth.toarray().ravel(), instance.measurements, atol=EXACT
    )
    x = LowRank(rng.standard_normal((n1, 2)), rng.standard_normal((n2, 2)))
    full = x.left @ x.right.T
    np.testing.assert_allclose(instance.operator.apply(x), rows @ full.ravel(), atol=1e-11)
    np.testing.assert_allclose(instance.operator.apply(full), rows @ full.ravel(), atol=1e-11)
    y = rng.standard_normal(rows.shape[0])
    np.testing.assert_allclose(
        instance.operator.adjoint(y) @ np.eye(n2), (rows.T @ y).reshape(n1, n2), atol=1e-11
    )


@pytest.mark.parametrize("instance", HARD, ids=lambda instance: instance.name)
def test_listed_points_are_stationary_spurious_and_have_the_known_values(instance):
    rows, b = explicit_rows(instance), instance.measurements
    truth = instance.truth.toarray()
    assert instance.spurious_points
    for point in instance.spurious_points:
        left, right = pair(point)
        assert (right is None) == instance.symmetric
        assert np.abs(referee.gradient(rows, b, left, right)).max() < 1e-11
        assert referee.relative_error(truth, left, right) > 0.1
        if "spurious_value" in instance.known:
            value = referee.objective(rows, b, left, right)
            assert value == pytest.approx(instance.known["spurious_value"], rel=1e-4, abs=EXACT)
        if "spurious_curvature" in instance.known:
            curvature = referee.least_curvature(rows, b, left, right)
            expected = instance.known["spurious_curvature"]
            assert curvature == pytest.approx(expected, rel=1e-3, abs=1e-10)


# -- perturbed matrix completion ---------------------------------------------------------------


def pmc_weights(n: int, eps: float) -> np.ndarray:
    w = np.full((n, n), eps)
    for i in range(n):
        for j in range(n):
            if i == j or i % 2 == 1 or j % 2 == 1:
                w[i, j] = 1.0
    return w


@pytest.mark.parametrize(("n", "eps"), [(3, 0.3), (6, 0.2), (26, 0.1)])
def test_pmc_normal_operator_is_the_squared_weights(n, eps):
    instance = library.perturbed_matrix_completion(n, eps)
    m = np.random.default_rng(0).standard_normal((n, n))
    m = m + m.T
    measured = instance.operator.apply(m)
    back = instance.operator.adjoint(measured) @ np.eye(n)
    np.testing.assert_allclose(back, pmc_weights(n, eps) ** 2 * m, atol=EXACT)
    assert eps**2 * np.sum(m**2) <= measured @ measured <= np.sum(m**2)
    np.testing.assert_array_equal(instance.truth.left[:, 0], np.arange(n) % 2 == 0)


@pytest.mark.parametrize(("n", "eps"), [(3, 0.3), (5, 0.1)])
def test_pmc_isometry_bounds_are_attained(n, eps):
    instance = library.perturbed_matrix_completion(n, eps)
    low, high = referee.isometry_bounds(explicit_rows(instance), n)
    assert (low, high) == pytest.approx((eps**2, 1.0))
    assert (high - low) / (high + low) == pytest.approx(instance.known["delta"])


def test_pmc_three_has_the_published_minimum():
    instance = library.perturbed_matrix_completion(3, 0.3)
    rows, b = explicit_rows(instance), instance.measurements
    points = sorted(instance.spurious_points, key=lambda point: point[0, 0])
    for point, sign in zip(points, (1, -1), strict=True):
        np.testing.assert_allclose(point[:, 0], sign * 0.91371 * np.array([-1, 0, 1]), atol=5e-6)
        assert referee.objective(rows, b, point) == pytest.approx(0.33028, abs=5e-6)
        assert referee.least_curvature(rows, b, point) == pytest.approx(2.68, abs=5e-3)
        g = referee.gradient_matrix(rows, b, point)
        # experiment 2 of the escape notes: lambda, sigma and the escape feasibility score
        lam, sigma = np.linalg.eigvalsh(g)[0], np.linalg.norm(point)
        assert lam == pytest.approx(-0.33032, abs=1e-4)
        assert sigma == pytest.approx(1.29214, abs=1e-4)
        assert -lam / (sigma**2 * 1.8659) == pytest.approx(0.1060, abs=1e-4)


def pmc_minima_by_descent(
    n: int, eps: float, starts: np.ndarray
) -> dict[tuple[int, ...], np.ndarray]:
    """Descend from all starts at once, polish by Newton, return strict minima by sign pattern."""
    squares = pmc_weights(n, eps) ** 2
    z = (np.arange(n) % 2 == 0).astype(float)
    x = starts.copy()
    for _ in range(3000):
        error = squares * (x[:, :, None] * x[:, None, :] - np.outer(z, z))
        x -= 0.05 * 2 * np.einsum("sij,sj->si", error, x)
    rows, b = np.diag(pmc_weights(n, eps).ravel()), (pmc_weights(n, eps) * np.outer(z, z)).ravel()
    found: dict[tuple[int, ...], np.ndarray] = {}
    for start in x:
        point = start[:, None]
        for _ in range(4):
            step = np.linalg.solve(
                referee.hessian(rows, b, point), referee.gradient(rows, b, point)
            )
            point = point - step[:, None]
        if referee.least_curvature(rows, b, point) < 1e-6:
            continue
        assert np.abs(referee.gradient(rows, b, point)).max() < 1e-12
        pattern = tuple(int(s) for s in np.sign(np.round(point[:, 0], 9)))
        previous = found.setdefault(pattern, point)
        np.testing.assert_allclose(point, previous, atol=1e-9)
    return found


@pytest.mark.parametrize(
    ("n", "eps", "count"), [(3, 0.3, 2), (4, 0.3, 2), (5, 0.1, 6), (7, 0.1, 14), (5, 0.8, 0)]
)
def test_pmc_minima_are_those_that_descents_find(n, eps, count):
    random = np.random.default_rng(4).uniform(-1, 1, (200, n))
    signs = np.array(list(product((-1.0, 1.0), repeat=n)))
    # signs perturbed, so that no start lies on the boundary between two basins
    starts = np.vstack(
        [random, signs + 0.05 * np.random.default_rng(5).uniform(-1, 1, signs.shape)]
    )
    found = pmc_minima_by_descent(n, eps, starts)
    truth = tuple(int(i % 2 == 0) for i in range(n))
    spurious = {p: x for p, x in found.items() if p not in (truth, tuple(-s for s in truth))}
    assert len(spurious) == len(found) - 2 == count
    points = library.perturbed_matrix_completion(n, eps).spurious_points
    assert len(points) == count
    listed = {tuple(int(s) for s in np.sign(p[:, 0])): p for p in points}
    assert listed.keys() == spurious.keys()
    for pattern, point in listed.items():
        np.testing.assert_allclose(point, spurious[pattern], atol=1e-9)


def test_pmc_nine_and_large_list_strict_minima():
    instance = library.perturbed_matrix_completion(9, 0.1)
    rows, b = explicit_rows(instance), instance.measurements
    assert len({tuple(np.sign(p[:, 0])) for p in instance.spurious_points}) == 30
    assert all(referee.least_curvature(rows, b, p) > 1 for p in instance.spurious_points)
    large = library.perturbed_matrix_completion(15, 0.1)
    assert [int((p < 0).sum()) for p in large.spurious_points] == list(range(1, 8))
    rows, b = explicit_rows(large), large.measurements
    assert all(referee.least_curvature(rows, b, p) > 1 for p in large.spurious_points)


@pytest.mark.parametrize("n", [3, 6, 9])
def test_pmc_spectral_start_is_the_truth(n):
    instance = library.perturbed_matrix_completion(n, 0.1)
    _, vectors = np.linalg.eigh(instance.operator.adjoint(instance.measurements))
    z = instance.truth.left[:, 0]
    assert abs(vectors[:, -1] @ z) / np.linalg.norm(z) == pytest.approx(1.0, abs=1e-12)


def test_pmc_takes_another_truth_and_lists_no_points_for_it():
    z = np.array([1.0, -2.0, 0.0, 0.5])
    instance = library.perturbed_matrix_completion(4, 0.2, truth=z)
    assert instance.spurious_points == ()
    np.testing.assert_allclose(
        instance.measurements.reshape(4, 4), pmc_weights(4, 0.2) * np.outer(z, z), atol=EXACT
    )


# -- restricted isometry instances -------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 5])
def test_rip_half_has_constant_one_half_and_a_degenerate_point(n):
    instance = library.rip_half(n)
    rows, b = explicit_rows(instance), instance.measurements
    assert referee.isometry_bounds(rows, n) == pytest.approx((0.5, 1.5))
    if n > 2:  # with the antisymmetric measurement the bounds hold on all matrices
        assert referee.isometry_bounds(rows) == pytest.approx((0.5, 1.5))
    for x0 in (0.1, 0.3, 0.5):
        u = np.zeros((n, 1))
        u[0], u[1] = x0, sqrt((1 - 4 * x0**2) / 2)
        assert referee.objective(rows, b, u) == pytest.approx(0.375 - 1.5 * x0**4)


def test_rip_half_two_has_the_published_matrices():
    root = sqrt(3) / 2
    expected = [[[1, 0], [0, 0.5]], [[0, root], [root, 0]], [[0, 0], [0, root]]]
    np.testing.assert_allclose(explicit_rows(library.rip_half(2)).reshape(3, 2, 2), expected)


def rank_one_truth_gram(n: int, r: int, delta: float) -> np.ndarray:
    """Build A*A from its eigenstructure: 1 +- delta on span(E_00, p), 1 + delta on the cross."""
    e00 = np.zeros((n, n))
    e00[0, 0] = 1
    p = np.diag([0.0] + [1 / sqrt(r)] * r + [0.0] * (n - r - 1))
    swap = np.outer(e00.ravel(), p.ravel())
    symmetrise = sum(np.outer(s.ravel(), s.ravel()) for s in referee.symmetric_basis(n))
    gram = symmetrise + delta * (swap + swap.T)
    for i in range(1, r + 1):
        cross = np.zeros((n, n))
        cross[0, i] = cross[i, 0] = sqrt(0.5)
        gram += delta * np.outer(cross.ravel(), cross.ravel())
    return gram


@pytest.mark.parametrize(("n", "r"), [(2, 1), (4, 1), (3, 2), (5, 2), (4, 3), (7, 5)])
@pytest.mark.parametrize("excess", [0.0, 0.02, 0.2])
def test_rank_one_truth_is_a_second_order_trap_at_the_threshold(n, r, excess):
    delta = sqrt(r) / (1 + sqrt(r)) + excess
    instance = library.rank_one_truth(n, r, delta, zeta=1.5)
    rows, b = explicit_rows(instance), instance.measurements
    assert rows.shape[0] == n * (n + 1) // 2
    np.testing.assert_allclose(rows.T @ rows, rank_one_truth_gram(n, r, delta), atol=EXACT)
    assert referee.isometry_bounds(rows, n) == pytest.approx((1 - delta, 1 + delta))
    (point,) = instance.spurious_points
    assert point.shape == (n, r)
    assert np.abs(referee.gradient(rows, b, point)).max() < EXACT
    assert referee.least_curvature(rows, b, point) > -1e-11


@pytest.mark.parametrize(("n", "r"), [(2, 1), (4, 2), (5, 3)])
def test_rank_one_truth_point_is_a_saddle_below_the_threshold(n, r):
    delta = sqrt(r) / (1 + sqrt(r)) - 0.05
    values, vectors = np.linalg.eigh(rank_one_truth_gram(n, r, delta))
    rows = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    z, point = np.eye(n)[:, :1], sqrt(delta / sqrt(r)) * np.eye(n)[:, 1 : r + 1]
    b = rows @ referee.matrix(z).ravel()
    assert np.abs(referee.gradient(rows, b, point)).max() < 1e-7
    assert referee.least_curvature(rows, b, point) < -0.01


def test_sod_instance_has_the_published_minimum():
    instance = library.sod_three_by_three()
    rows, b = explicit_rows(instance), instance.measurements
    point, opposite = instance.spurious_points
    np.testing.assert_array_equal(opposite, -point)
    np.testing.assert_allclose(point[:, 0], [0.22347, 0.09183, 0.59858], atol=6e-6)
    assert referee.objective(rows, b, point) == pytest.approx(0.05829, abs=5e-6)
    assert referee.least_curvature(rows, b, point) == pytest.approx(0.389, abs=5e-4)
    np.testing.assert_array_equal(b, [0.0783, 0.0389, 0.0293, 0.0762, -0.0889, 0.4097])
    # experiment 3 of the escape notes: lambda, kappa and the escape feasibility score
    values, vectors = np.linalg.eigh(referee.gradient_matrix(rows, b, point))
    u, sigma = vectors[:, 0], np.linalg.norm(point)
    v = point[:, 0] / sigma
    kappa = abs(
        (rows @ (np.outer(u, v) + np.outer(v, u)).ravel()) @ (rows @ np.outer(u, u).ravel())
    )
    assert values[0] == pytest.approx(-0.1332, abs=5e-5)
    # The notes print .6334. The converged point has .6339; iterates of 100 gradient steps near it,
    # the published stopping rule, spread from .57 to .63. The score agrees in all digits.
    assert kappa == pytest.approx(0.6339, abs=5e-5)
    assert kappa == pytest.approx(0.6334, abs=1e-3)
    score = -values[0] / (sigma**2 * 1.8753) + kappa**2 / (2 * 1.8753**2)
    assert score == pytest.approx(0.2276, abs=1e-4)


@pytest.mark.parametrize("a", [0.5, 1.9, 2.0, 2.1, 6.0])
def test_two_by_two_is_second_order_from_a_equal_two(a):
    instance = library.two_by_two_weighted(a)
    rows, b = explicit_rows(instance), instance.measurements
    for u in np.random.default_rng(0).standard_normal((5, 2)):
        value = (1 + a) * ((u**2 - 1) ** 2).sum() + 2 * (u[0] * u[1] - 1) ** 2
        assert referee.objective(rows, b, u[:, None]) == pytest.approx(value)
    low, high = referee.isometry_bounds(rows, 2)
    assert (high - low) / (high + low) == pytest.approx(a / (a + 2))
    for point in instance.spurious_points:
        np.testing.assert_allclose(np.abs(point), sqrt(a / (a + 2)))
        assert np.abs(referee.gradient(rows, b, point)).max() < 1e-12 * (1 + a) * 10
        curvature = referee.least_curvature(rows, b, point)
        assert curvature == pytest.approx(instance.known["spurious_curvature"], abs=1e-9)
        assert (curvature > -1e-9) == (a >= 2)


# -- counterexamples ---------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1.0, 10.0, 100.0])
def test_unbalanced_saddle_needs_the_balancing_term(scale):
    instance = library.unbalanced_saddle((8, 6), 2, search_rank=3, scale=scale)
    rows, b = np.eye(48), instance.measurements
    ((left, right),) = instance.spurious_points
    assert left.shape == (8, 3) and right.shape == (6, 3)
    assert np.abs(referee.gradient(rows, b, left, right)).max() < 1e-12 * scale
    assert referee.relative_error(instance.truth.toarray(), left, right) == pytest.approx(1)
    expected = (scale**2 - sqrt(scale**4 + 4)) / 2
    curvature = referee.least_curvature(rows, b, left, right)
    # eigenvalues of size t^2 leave t^2 eps of absolute accuracy
    assert curvature == pytest.approx(expected, abs=1e-13 * scale**2 * 10)
    assert instance.known["spurious_curvature"] == pytest.approx(expected, abs=1e-8, rel=1e-6)
    size = np.linalg.norm(referee.gradient(rows, b, left, right, balance=True))
    assert size == pytest.approx(sqrt(3) / 2 * scale**3)
    assert size == pytest.approx(instance.known["balanced_gradient_norm"])
    if scale == 100.0:
        assert size == pytest.approx(8.7e5, rel=5e-3)


@pytest.mark.parametrize("eps", [0.01, 0.3, 0.9])
def test_flat_solution_has_less_trace_and_more_nuclear_norm(eps):
    instance = library.flat_is_not_nuclear(eps)
    rows, known = explicit_rows(instance), instance.known
    ((left, right),) = instance.spurious_points
    np.testing.assert_allclose(left @ right.T, np.diag([0, 1 / eps]), atol=EXACT)
    assert referee.objective(rows, instance.measurements, left, right) < EXACT
    trace = referee.scaled_trace(rows, left, right)
    trace_nuclear = referee.scaled_trace(rows, instance.truth.left, instance.truth.right)
    assert (trace, trace_nuclear) == pytest.approx((2 * eps, 2.0))
    assert (known["scaled_trace_flat"], known["scaled_trace_nuclear"]) == (2 * eps, 2.0)
    norms = [np.linalg.norm(x, "nuc") for x in (left @ right.T, instance.truth.toarray())]
    assert norms == pytest.approx([known["nuclear_norm_flat"], known["nuclear_norm_nuclear"]])
    assert norms[0] > norms[1]


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_depth_prefers_the_dense_vector(depth):
    instance = library.deep_is_not_sparse(depth)

    def trace(x: np.ndarray) -> float:
        factors = np.tile(x ** (1 / depth), (depth, 1))

        def loss(v: np.ndarray) -> float:
            return float((v.prod(axis=0).sum() - 1) ** 2)

        total = 0.0  # the loss is quadratic in each number: second differences are exact
        for index in np.ndindex(factors.shape):
            up, down = factors.copy(), factors.copy()
            up[index] += 1
            down[index] -= 1
            total += loss(up) - 2 * loss(factors) + loss(down)
        return total

    ((left, right),) = instance.spurious_points
    dense, sparse = trace((left @ right.T)[:, 0]), trace(instance.truth.toarray()[:, 0])
    assert dense == pytest.approx(instance.known["trace_spurious"])
    assert sparse == pytest.approx(instance.known["trace_truth"])
    assert dense == pytest.approx(sparse) if depth == 2 else dense < sparse - 1


# -- generators --------------------------------------------------------------------------------


@pytest.mark.parametrize("symmetric", [True, False])
def test_gaussian_ensemble_preserves_the_norm_on_average(symmetric):
    m = 20_000
    shape = (4, 4) if symmetric else (4, 3)
    instance = library.gaussian_sensing(shape, 2, m, symmetric=symmetric, rng=7)
    rows = explicit_rows(instance)
    assert instance.symmetric == symmetric == instance.operator.symmetric
    low, high = referee.isometry_bounds(rows, 4 if symmetric else None)
    # extreme eigenvalues of a Wishart matrix of dimension <= 12: 1 +- 2 sqrt(12 / m) + fluctuation
    assert 0.92 < low < high < 1.08
    if symmetric:
        np.testing.assert_array_equal(instance.truth.left, instance.truth.right)


def test_gaussian_sensing_seeds_noise_and_spectrum():
    options: dict[str, Any] = {"condition_number": 4.0, "scale": 2.0}
    clean = library.gaussian_sensing(6, 3, 4000, rng=1, **options)
    noisy = library.gaussian_sensing((6, 6), 3, 4000, rng=1, noise=0.5, **options)
    np.testing.assert_array_equal(explicit_rows(clean), explicit_rows(noisy))
    np.testing.assert_allclose(np.linalg.svd(clean.truth.toarray())[1][:3], [2.0, 1.25, 0.5])
    difference = noisy.measurements - clean.measurements
    assert difference.std() == pytest.approx(0.5, rel=0.06)
    assert (clean.noise, noisy.noise) == (0.0, 0.5)
    again = library.gaussian_sensing(6, 3, 4000, rng=np.random.default_rng(1), **options)
    np.testing.assert_array_equal(clean.measurements, again.measurements)
    other = library.gaussian_sensing(6, 3, 4000, rng=2, **options)
    assert np.abs(clean.measurements - other.measurements).max() > 0.01


def test_noise_adds_in_quadrature_and_forgets_the_known_answers():
    instance = library.sod_three_by_three().with_noise(3.0, rng=0).with_noise(4.0, rng=1)
    assert instance.noise == pytest.approx(5.0)
    assert instance.spurious_points == () and instance.known == {}
    assert np.abs(instance.measurements - library.sod_three_by_three().measurements).max() > 0.1


@pytest.mark.parametrize(
    ("shape", "rank", "rho"),
    [((30, 20), 2, 3.0), ((40, 60), 5, 1.05), ((12, 9), 3, 1.0), ((20, 4), 2, 0.95)],
)
@pytest.mark.parametrize("seed", range(5))
def test_completion_sees_every_line_often_enough(shape, rank, rho, seed):
    instance = library.entry_completion(shape, rank, rho, condition_number=10.0, rng=seed)
    operator: Any = instance.operator
    rows, cols = operator.rows, operator.cols
    assert rows.size == round(rho * rank * (sum(shape) - rank))
    assert len(set(zip(rows.tolist(), cols.tolist(), strict=True))) == rows.size
    assert np.bincount(rows, minlength=shape[0]).min() >= rank
    assert np.bincount(cols, minlength=shape[1]).min() >= rank
    truth = instance.truth.toarray()
    np.testing.assert_allclose(instance.measurements, truth[rows, cols], atol=EXACT)
    values = np.linalg.svd(truth, compute_uv=False)
    np.testing.assert_allclose(values[:rank], np.linspace(1, 0.1, rank))
    assert values[rank:].max() < EXACT


@pytest.mark.parametrize("rho", [1.4, 3.0])  # sparse and dense draw
def test_completion_entries_are_uniform(rho):
    draws, hits = 600, np.zeros((9, 8))
    for seed in range(draws):
        operator: Any = library.entry_completion((9, 8), 1, rho, rng=seed).operator
        hits[operator.rows, operator.cols] += 1
    rate = round(rho * 16) / 72
    deviation = np.abs(hits - draws * rate).max() / sqrt(draws * rate * (1 - rate))
    assert deviation < 4.5


def test_completion_can_take_every_entry_and_keeps_data_under_noise():
    shape, rank = (6, 6), 2
    full = library.entry_completion(shape, rank, 36 / 20, rng=0)
    assert full.operator.num_measurements == 36
    noisy = library.entry_completion(shape, rank, 36 / 20, rng=0, noise=0.1)
    np.testing.assert_array_equal(explicit_rows(full), explicit_rows(noisy))
    assert 0.05 < (noisy.measurements - full.measurements).std() < 0.2


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: library.perturbed_matrix_completion(1, 0.1), ShapeError),
        (lambda: library.perturbed_matrix_completion(3, 1.0), InputError),
        (lambda: library.perturbed_matrix_completion(3, 0.1, truth=np.ones(4)), ShapeError),
        (lambda: library.rip_half(1), ShapeError),
        (lambda: library.rank_one_truth(2, 2, 0.7), RankError),
        (lambda: library.rank_one_truth(4, 2, 0.5), InputError),
        (lambda: library.rank_one_truth(4, 2, 1.0), InputError),
        (lambda: library.rank_one_truth(4, 2, 0.7, zeta=0.0), InputError),
        (lambda: library.two_by_two_weighted(-1.0), InputError),
        (lambda: library.unbalanced_saddle((4, 4), 3), RankError),
        (lambda: library.unbalanced_saddle(scale=np.inf), InputError),
        (lambda: library.flat_is_not_nuclear(1.0), InputError),
        (lambda: library.deep_is_not_sparse(1), InputError),
        (lambda: library.gaussian_sensing((3, 4), 4, 10), RankError),
        (lambda: library.gaussian_sensing((3, 4), 1, 10, symmetric=True), ShapeError),
        (lambda: library.gaussian_sensing(3, 1, 0), EmptyDataError),
        (lambda: library.gaussian_sensing(3, 1, 5, noise=np.nan), NonFiniteError),
        (lambda: library.gaussian_sensing(3, 1, 5, condition_number=0.5), InputError),
        (lambda: library.gaussian_sensing(3, 1, 5, scale=0.0), InputError),
        (lambda: library.entry_completion((4, 4), 1, 3.0), InputError),
        (lambda: library.entry_completion((9, 8), 2, 0.3), UnobservedError),
        (lambda: library.entry_completion((9, 8), 2, np.nan), InputError),
        (lambda: library.rip_half(2).with_noise(-1.0), NonFiniteError),
    ],
)
def test_bad_parameters_are_refused_with_a_remedy(make, error):
    with pytest.raises(error) as caught:
        make()
    assert type(caught.value) is error
    assert caught.value.cause and caught.value.remedy
