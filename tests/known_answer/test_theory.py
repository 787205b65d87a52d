"""Thresholds, bounds, isometry estimates and rates against answers known in closed form."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ranklift as rl
from ranklift import theory
from ranklift.errors import InputError, RankError, ShapeError, TooLargeError
from ranklift.factorizations import Asymmetric, Symmetric
from ranklift.initializers import spectral
from ranklift.instances import (
    Instance,
    entry_completion,
    gaussian_sensing,
    perturbed_matrix_completion,
    random_low_rank,
    rank_one_truth,
    rip_half,
    unbalanced_saddle,
)
from ranklift.operators import (
    DenseSensing,
    EntrySampling,
    IdentitySensing,
    QuadraticSensing,
    RankOneSensing,
)
from ranklift.problem import FactorizedProblem
from ranklift.regularizers import Balancing
from ranklift.second_order import least_curvature
from ranklift.solvers import Stopping, TrustRegion
from ranklift.theory.sample_size import MARGINS, Kind

# -- thresholds ------------------------------------------------------------------------------


@given(
    st.floats(min_value=0.0, max_value=1.0, exclude_max=True),
    st.integers(min_value=1, max_value=1000),
)
@settings(deadline=None)
def test_search_rank_is_the_least_that_satisfies_the_threshold(delta: float, truth: int) -> None:
    r = theory.search_rank_for(delta, truth)
    assert r >= truth
    assert delta < theory.sufficient_delta(r, truth)
    if r > truth:
        assert not delta < theory.sufficient_delta(r - 1, truth)


@given(st.integers(min_value=1, max_value=10**6), st.integers(min_value=1, max_value=1000))
@settings(deadline=None)
def test_search_rank_inverts_the_threshold_at_its_edge(extra: int, truth: int) -> None:
    r = truth + extra
    edge = theory.sufficient_delta(r, truth)
    assert theory.search_rank_for(edge, truth) == r + 1  # the inequality is strict
    assert theory.search_rank_for(np.nextafter(edge, 0.0), truth) <= r


def test_thresholds_agree_where_they_are_sharp() -> None:
    for r in range(1, 50):
        assert theory.sufficient_delta(r, 1) == pytest.approx(1 / (1 + 1 / sqrt(r)), rel=1e-15)
        assert theory.necessary_delta(r, 1) == theory.sufficient_delta(r, 1)
        assert theory.necessary_delta(r, r) == theory.sufficient_delta(r, r) == 0.5
        for truth in range(1, r + 1):
            assert theory.sufficient_delta(r, truth) <= theory.necessary_delta(r, truth)


def test_condition_number_and_delta_say_the_same() -> None:
    for delta in np.linspace(0.013, 0.97, 53):
        kappa = theory.condition_from_delta(delta)
        assert theory.delta_from_condition(kappa) == pytest.approx(delta, rel=1e-13)
        for truth in (1, 2, 7):
            assert theory.search_rank_for_condition(kappa, truth) == theory.search_rank_for(
                delta, truth
            )
    assert theory.search_rank_for_condition(2.999, 4) == 4
    assert theory.search_rank_for_condition(3.0, 4) == 5


def lifted_counterexample(search_rank: int, truth: int, delta: float) -> Instance:
    """Put rank_one_truth beside truth - 1 directions that the search has right (own work)."""
    core = rank_one_truth(search_rank - truth + 2, search_rank - truth + 1, delta)
    a, n = core.operator.shape[0], core.operator.shape[0] + truth - 1
    core_matrices = core.operator.normal_matrix().reshape(-1, a, a)
    matrices = [np.pad(x, (0, truth - 1)) for x in core_matrices]
    for i in range(n):
        for j in range(max(i, a), n):
            unit = np.zeros((n, n))
            unit[i, j] = unit[j, i] = 1.0 if i == j else sqrt(0.5)
            matrices.append(unit)
    rest = np.eye(n)[:, a:] * 3.0  # large enough to keep the curvature across the blocks
    z = np.hstack([np.pad(core.truth.left, ((0, truth - 1), (0, 0))), rest])
    x = np.hstack([np.pad(core.spurious_points[0], ((0, truth - 1), (0, 0))), rest])
    operator = DenseSensing(np.array(matrices))
    matrix = random_low_rank((n, n), truth, symmetric=True, rng=0)
    exact = type(matrix)(z, z)
    return Instance(
        "lifted", operator, np.asarray(operator.apply(exact)), exact, (x,), symmetric=True
    )


@pytest.mark.parametrize(("search_rank", "truth"), [(2, 1), (3, 2), (5, 2), (4, 4), (6, 3)])
def test_counterexamples_exist_from_the_necessary_delta_on(search_rank: int, truth: int) -> None:
    delta = theory.necessary_delta(search_rank, truth)
    instance = lifted_counterexample(search_rank, truth, delta)
    found = theory.symmetric_isometry(instance.operator)
    assert found.rescaled_delta == pytest.approx(delta, rel=1e-12)
    (x,) = instance.spurious_points
    assert np.linalg.matrix_rank(x) == search_rank
    assert np.linalg.matrix_rank(instance.truth.left) == truth
    problem = FactorizedProblem(instance.operator, instance.measurements, Symmetric())
    point = problem.evaluate(x)
    assert point.gradient_norm < 1e-12
    assert point.value > 0.1
    assert least_curvature(problem, x, np.random.default_rng(0)).lower > -1e-9


def test_n_columns_leave_no_spurious_point_whatever_delta() -> None:
    # delta = .98 asks for search rank 2451; n = 3 columns do.
    instance = perturbed_matrix_completion(3, 0.1)
    delta = instance.known["delta"]
    assert theory.search_rank_for(delta, 1) == 2451
    assert theory.search_rank_for(delta, 1, size=3) == 3
    problem = FactorizedProblem(instance.operator, instance.measurements, Symmetric())
    spurious = instance.spurious_points[0]
    assert least_curvature(problem, spurious, np.random.default_rng(0)).lower > 0
    lifted = np.pad(spurious, ((0, 0), (0, 2)))
    assert least_curvature(problem, lifted, np.random.default_rng(0)).ritz_least < -0.01


@pytest.mark.parametrize("delta", [-0.1, 1.0, float("nan"), float("inf")])
def test_isometry_constants_out_of_range_are_refused(delta: float) -> None:
    with pytest.raises(InputError, match="delta"):
        theory.search_rank_for(delta, 1)
    with pytest.raises(InputError, match="delta"):
        theory.condition_from_delta(delta)


def test_ranks_out_of_range_are_refused() -> None:
    with pytest.raises(RankError, match="search rank 1 for a truth of rank 2"):
        theory.sufficient_delta(1, 2)
    with pytest.raises(RankError, match="integers"):
        theory.necessary_delta(2.5, 1)  # type: ignore[arg-type]
    with pytest.raises(RankError, match="truth of rank 0"):
        theory.search_rank_for(0.5, 0)
    with pytest.raises(RankError, match="rank 4 in 3 rows"):
        theory.search_rank_for(0.5, 4, size=3)
    with pytest.raises(InputError, match="condition number"):
        theory.search_rank_for_condition(0.5, 1)
    with pytest.raises(InputError, match="condition number"):
        theory.delta_from_condition(0.5)


# -- error bounds ----------------------------------------------------------------------------


def test_a_posteriori_bound_of_a_scaled_truth_is_known_and_nearly_attained() -> None:
    # A = I, X = s M: G = (s - 1) M, h = s (s - 1) ||M||^2, nu = 0; bound / error = sqrt(s/(s-1)).
    truth = random_low_rank((6, 6), 2, symmetric=True, rng=0)
    b = np.asarray(IdentitySensing((6, 6)).apply(truth))
    for s in (2.0, 100.0):
        bound = theory.a_posteriori_error_of(
            IdentitySensing((6, 6)), b, sqrt(s) * truth.left,
            delta=0.0, true_rank=2, noise_level=0.0, rng=0,
        )  # fmt: skip
        error = (s - 1) * truth.norm()
        assert bound.value == pytest.approx(sqrt(s * (s - 1)) * truth.norm(), rel=1e-6)
        assert error <= bound.value
    assert bound.value < 1.006 * error


CASES = [  # n, r*, r, m over n (n + 1) / 2, noise
    (8, 1, 1, 12, 0.05),
    (8, 1, 6, 12, 0.02),
    (8, 2, 2, 12, 0.01),
    (10, 1, 4, 30, 0.1),
    (10, 2, 10, 60, 0.1),
]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("case", CASES)
def test_bounds_hold_where_delta_is_computed(
    case: tuple[int, int, int, int, float], seed: int
) -> None:
    n, truth, r, density, sigma = case
    clean = gaussian_sensing(n, truth, density * n * (n + 1) // 2, symmetric=True, rng=seed)
    noisy = clean.with_noise(sigma, rng=100 + seed)
    noise = clean.operator.adjoint(noisy.measurements - clean.measurements)
    tau = float(np.linalg.norm(0.5 * (noise + noise.T), 2))
    problem = FactorizedProblem(noisy.operator, noisy.measurements, Symmetric())
    run = TrustRegion().run(
        problem,
        spectral(problem, r, np.random.default_rng(seed)),
        stopping=Stopping(gradient_tol=1e-12, max_iterations=300),
    )
    u = run.point.w
    error = float((problem.compose(u) - clean.truth).norm())
    isometry = theory.symmetric_isometry(noisy.operator)
    assert isometry.delta < 1

    def measured(delta: float) -> float:
        return theory.a_posteriori_error_of(
            noisy.operator, noisy.measurements, u,
            delta=delta, true_rank=truth, noise_level=tau, rng=0,
        ).value  # fmt: skip

    assert error <= measured(1 - isometry.lower)
    # Measured ratios: 2.4 to 16 over 24 runs.
    assert measured(1 - isometry.lower) < 25 * error
    # A point that is no solution is bounded as well.
    rough = u + 0.3 * np.random.default_rng(seed).standard_normal(u.shape)
    rough_error = float((problem.compose(rough) - clean.truth).norm())
    rough_bound = theory.a_posteriori_error_of(
        noisy.operator, noisy.measurements, rough,
        delta=1 - isometry.lower, true_rank=truth, noise_level=tau, rng=0,
    )  # fmt: skip
    assert rough_error <= rough_bound.value
    bend = max(0.0, -least_curvature(problem, u, np.random.default_rng(0)).lower)
    before = theory.a_priori_error(
        tau, isometry.delta, r, truth, curvature=bend, truth_trace=float(truth)
    )
    assert error <= before.value
    assert r > truth or not before.informative
    # Measured ratios at n = 10: 5.0 to 8.8.
    assert n < 10 or before.value < 10 * error


def test_a_wrong_delta_breaks_the_bound() -> None:
    clean = gaussian_sensing(8, 1, 12 * 36, symmetric=True, rng=0)
    noisy = clean.with_noise(0.02, rng=100)
    noise = clean.operator.adjoint(noisy.measurements - clean.measurements)
    tau = float(np.linalg.norm(0.5 * (noise + noise.T), 2))
    problem = FactorizedProblem(noisy.operator, noisy.measurements, Symmetric())
    start = spectral(problem, 6, np.random.default_rng(0))
    u = TrustRegion().run(problem, start, stopping=Stopping(gradient_tol=1e-12)).point.w
    lower = theory.symmetric_isometry(noisy.operator).lower
    bound = theory.a_posteriori_error_of(
        noisy.operator, noisy.measurements, u,
        delta=1 - 10 * lower, true_rank=1, noise_level=tau, rng=0,
    )  # fmt: skip
    assert bound.value < float((problem.compose(u) - clean.truth).norm())


def test_a_posteriori_bound_at_spurious_points() -> None:
    for instance in (rip_half(3), rank_one_truth(5, 3, 0.7), perturbed_matrix_completion(5, 0.3)):
        lower = theory.symmetric_isometry(instance.operator).lower
        for x in instance.spurious_points:
            bound = theory.a_posteriori_error_of(
                instance.operator, instance.measurements, x,
                delta=1 - lower, true_rank=1, noise_level=0.0, rng=0,
            )  # fmt: skip
            error = float(np.linalg.norm(x @ x.T - instance.truth.toarray()))
            assert error <= bound.value < 10 * error


def test_a_priori_bound_says_why_it_is_infinite() -> None:
    equal = theory.a_priori_error(0.1, 0.1, 2, 2)
    assert not equal.informative
    assert "not above the true rank" in equal.reason
    assert equal.to_dict()["value"] is None
    narrow = theory.a_priori_error(0.1, 0.5, 3, 1)
    assert "rho = 0.53 is not below 1 - delta = 0.5" in narrow.reason
    wide = theory.a_priori_error(0.1, 0.5, 4, 1)
    assert wide.reason == ""
    rho = 1.5 / (2 * sqrt(3))
    assert wide.value == pytest.approx(0.1 * sqrt(5) / (0.5 - rho), rel=1e-14)
    assert wide.to_dict()["value"] == wide.value
    # The edge is r = (1 + (L / mu)^2 / 4) r*: 3.25 for delta = 1/2.
    assert len([line for line in wide.assumptions if "noise" in line]) == 1
    curved = theory.a_priori_error(0.0, 0.0, 5, 1, curvature=0.06, truth_trace=2.0)
    assert curved.value == pytest.approx(sqrt(0.06 / 0.75), rel=1e-14)


@pytest.mark.parametrize("kept", [0, 1])
def test_a_priori_bound_at_saddles(kept: int) -> None:
    # A = I, M = diag(1, 1/2, 0, ..), U = the first ``kept`` of its columns: G = UU^T - M, gradient
    # 0, eps_H twice the largest eigenvalue missed.
    truth = np.array([1.0, 0.5])
    operator = IdentitySensing((8, 8))
    matrix = np.zeros((8, 8))
    matrix[[0, 1], [0, 1]] = truth
    u = np.zeros((8, 6))
    u[:kept, :kept] = np.eye(kept)
    problem = FactorizedProblem(operator, np.asarray(operator.apply(matrix)), Symmetric())
    assert problem.evaluate(u).gradient_norm == 0.0
    bend = -least_curvature(problem, u, np.random.default_rng(0)).lower
    assert bend == pytest.approx(2 * truth[kept], rel=1e-6)
    bound = theory.a_priori_error(0.0, 0.0, 6, 2, curvature=bend, truth_trace=1.5)
    error = float(np.linalg.norm(u @ u.T - matrix))
    assert error <= bound.value < 2.5 * error
    # Taken for a minimum (eps_H = 0), it would be the truth: the bound fails without curvature.
    assert theory.a_priori_error(0.0, 0.0, 6, 2).value == 0.0


def test_bounds_refuse_what_they_cannot_use() -> None:
    with pytest.raises(InputError, match="delta = 1"):
        theory.a_priori_error(0.1, 1.0, 3, 1)
    with pytest.raises(InputError, match="transported_noise"):
        theory.a_priori_error(-0.1, 0.1, 3, 1)
    with pytest.raises(InputError, match="nu"):
        theory.a_posteriori_error(0.0, float("nan"), 1.0, 0.0, 0.1, 1, 1)
    with pytest.raises(InputError, match="h = nan"):
        theory.a_posteriori_error(float("nan"), 0.0, 1.0, 0.0, 0.1, 1, 1)
    with pytest.raises(RankError):
        theory.a_posteriori_error(0.0, 0.0, 1.0, 0.0, 0.1, 1, 0)
    given_ = {"delta": 0.1, "true_rank": 1, "noise_level": 0.0}
    with pytest.raises(ShapeError, match="square"):
        theory.a_posteriori_error_of(IdentitySensing((3, 2)), np.ones(6), np.ones((3, 1)), **given_)
    with pytest.raises(ShapeError, match="factors"):
        theory.a_posteriori_error_of(IdentitySensing((2, 2)), np.ones(4), np.ones(2), **given_)
    complex_operator = QuadraticSensing(np.ones((3, 2)) + 1j)
    for call in (
        lambda: theory.a_posteriori_error_of(
            complex_operator, np.ones(3), np.ones((2, 1)), **given_
        ),
        lambda: theory.symmetric_isometry(complex_operator),
        lambda: theory.estimate_rip(complex_operator, 1),
    ):
        with pytest.raises(InputError, match="Hermitian"):
            call()


# -- isometry constants ----------------------------------------------------------------------


def test_isometry_of_instances_is_their_known_delta() -> None:
    for instance in (
        rip_half(2), rip_half(4), rank_one_truth(4, 2, 0.6), rank_one_truth(6, 4, 0.8),
        perturbed_matrix_completion(3, 0.3), perturbed_matrix_completion(6, 0.1),
    ):  # fmt: skip
        found = theory.symmetric_isometry(instance.operator)
        assert found.rescaled_delta == pytest.approx(instance.known["delta"], rel=1e-12)
        scaled = theory.symmetric_isometry(instance.operator * found.scale)
        assert scaled.delta == pytest.approx(instance.known["delta"], rel=1e-12)


def test_isometry_of_few_measurements_is_void() -> None:
    operator = gaussian_sensing(6, 1, 20, symmetric=True, rng=0).operator
    assert theory.symmetric_isometry(operator).lower == 0.0
    assert theory.delta_from_all_symmetric(operator) >= 1.0
    with pytest.raises(TooLargeError, match="2016"):
        theory.symmetric_isometry(IdentitySensing((63, 63)))
    with pytest.raises(ShapeError):
        theory.symmetric_isometry(IdentitySensing((3, 2)))


def test_estimate_of_the_identity_is_an_isometry() -> None:
    for shape, rank in (((5, 3), 1), ((5, 3), 3)):
        found = theory.estimate_rip(IdentitySensing(shape), rank, starts=2)
        assert found.lower == pytest.approx(1.0, abs=1e-14)
        assert found.upper == pytest.approx(1.0, abs=1e-14)
        assert found.delta == pytest.approx(0.0, abs=1e-14)


@pytest.mark.parametrize(("n", "eps"), [(3, 0.3), (5, 0.1), (8, 0.3)])
def test_estimate_on_perturbed_completion(n: int, eps: float) -> None:
    operator = perturbed_matrix_completion(n, eps).operator
    pair = theory.estimate_rip(operator, 2)
    assert pair.symmetric
    assert pair.lower == pytest.approx(eps**2, rel=1e-9)
    assert pair.upper == pytest.approx(1.0, rel=1e-12)
    assert pair.delta == pytest.approx((1 - eps**2) / (1 + eps**2), rel=1e-10)
    # Rank one: x on the k even indices, all of one size.
    k = (n + 1) // 2
    one = theory.estimate_rip(operator, 1)
    assert one.lower == pytest.approx((1 + (k - 1) * eps**2) / k, rel=1e-9)


@pytest.mark.parametrize(("n", "r", "delta"), [(3, 1, 0.5), (4, 2, 0.6), (5, 3, 0.7)])
def test_estimate_reaches_the_constant_of_rank_one_truths(n: int, r: int, delta: float) -> None:
    operator = rank_one_truth(n, r, delta).operator
    assert theory.estimate_rip(operator, r + 1).delta == pytest.approx(delta, rel=1e-9)
    assert theory.estimate_rip(operator, 1).delta < delta - 0.1


def test_estimate_of_rip_half() -> None:
    for n in (2, 3):
        found = theory.estimate_rip(rip_half(n).operator, 2, symmetric=True)
        assert (found.lower, found.upper) == (pytest.approx(0.5), pytest.approx(1.5))
        assert found.delta == pytest.approx(0.5, rel=1e-9)
        assert found.scale == pytest.approx(1.0)
        assert found.unscaled_delta == pytest.approx(0.5)


@pytest.mark.parametrize("symmetric", [True, False])
def test_estimate_stays_below_the_constant_and_its_witnesses_show_it(symmetric: bool) -> None:
    n = 6
    instance = gaussian_sensing(n, 1, 90, symmetric=symmetric, rng=3)
    operator = instance.operator
    if symmetric:
        isometry = theory.symmetric_isometry(operator)
        lower, upper = isometry.lower, isometry.upper
    else:
        values = np.linalg.svd(operator.normal_matrix(), compute_uv=False) ** 2
        lower, upper = values[-1], values[0]
    last = 0.0
    for rank in range(1, n + 1):
        found = theory.estimate_rip(operator, rank, starts=4)
        assert found.symmetric == symmetric
        assert lower * (1 - 1e-12) <= found.lower < found.upper <= upper * (1 + 1e-12)
        assert found.delta <= (upper - lower) / (upper + lower) + 1e-12
        assert found.delta > last  # larger sets, wider extremes
        last = found.delta
        for value, x in ((found.lower, found.minimizer), (found.upper, found.maximizer)):
            full = x.toarray()
            assert np.linalg.matrix_rank(full, tol=1e-8) <= rank
            assert np.linalg.norm(full) == pytest.approx(1.0, rel=1e-12)
            assert not symmetric or np.abs(full - full.T).max() < 1e-15
            y = operator.apply(full)
            assert float(y @ y) == pytest.approx(value, rel=1e-10)
        assert (np.diff(found.lower_values) >= 0).all()
        assert (np.diff(found.upper_values) <= 0).all()
    assert last == pytest.approx((upper - lower) / (upper + lower), rel=1e-6)


def test_estimate_sees_an_unsampled_entry_and_repeats_itself() -> None:
    operator = EntrySampling([0, 0, 1], [0, 1, 0], (2, 2))
    found = theory.estimate_rip(operator, 1, rng=5)
    again = theory.estimate_rip(operator, 1, rng=5)
    assert found.lower == pytest.approx(0.0, abs=1e-12)
    assert found.delta == pytest.approx(1.0, abs=1e-12)
    assert found.lower == again.lower
    assert np.array_equal(found.maximizer.left, again.maximizer.left)


def test_estimate_refuses_what_it_cannot_search() -> None:
    operator = IdentitySensing((3, 2))
    with pytest.raises(RankError, match="rank 3"):
        theory.estimate_rip(operator, 3)
    with pytest.raises(ShapeError, match="symmetric"):
        theory.estimate_rip(operator, 1, symmetric=True)
    with pytest.raises(InputError, match="starts"):
        theory.estimate_rip(operator, 1, starts=0)


# -- rates and sample sizes ------------------------------------------------------------------


@pytest.mark.parametrize("symmetric", [True, False])
def test_degrees_of_freedom_are_the_rank_of_the_jacobian(symmetric: bool) -> None:
    n1, n2 = (5, 5) if symmetric else (6, 4)
    rng = np.random.default_rng(0)
    for rank in range(1, min(n1, n2) + 1):
        left = rng.standard_normal((n1, rank))
        right = left if symmetric else rng.standard_normal((n2, rank))
        columns = []
        for i in range(n1 * rank):
            step = np.zeros(n1 * rank)
            step[i] = 1.0
            tangent = step.reshape(n1, rank) @ right.T
            columns.append((tangent + tangent.T if symmetric else tangent).ravel())
        for i in range(0 if symmetric else n2 * rank):
            step = np.zeros(n2 * rank)
            step[i] = 1.0
            columns.append((left @ step.reshape(n2, rank).T).ravel())
        found = np.linalg.matrix_rank(np.array(columns))
        assert found == theory.degrees_of_freedom((n1, n2), rank, symmetric=symmetric)


def test_rates_agree_across_scalings() -> None:
    sigma, n, r, m = 0.3, 40, 2, 3200
    ours = sigma / sqrt(m)
    assert theory.statistical_error(sigma, n, r, m) == pytest.approx(
        theory.statistical_error(ours, n, r), rel=1e-14
    )
    assert theory.minimax_rate(sigma, (n, n), r, num_measurements=m) == pytest.approx(
        sqrt(2) * theory.statistical_error(sigma, n, r, m), rel=1e-14
    )
    # Everything seen: completion is denoising.
    assert theory.completion_rate(sigma, (8, 6), 2, 48) == pytest.approx(
        theory.minimax_rate(sigma, (8, 6), 2), rel=1e-14
    )


@pytest.mark.parametrize("symmetric", [True, False])
def test_the_rate_is_the_size_of_measured_errors(symmetric: bool) -> None:
    n, r, sigma, ratios = 12, 2, 1e-4, []
    for seed in range(6):
        clean = gaussian_sensing(n, r, 1500, symmetric=symmetric, rng=seed)
        noisy = clean.with_noise(sigma, rng=50 + seed)
        kind = Symmetric() if symmetric else Asymmetric()
        problem = FactorizedProblem(noisy.operator, noisy.measurements, kind)
        start = spectral(problem, r, np.random.default_rng(0))
        run = TrustRegion().run(problem, start, stopping=Stopping(gradient_tol=1e-10))
        error = float((problem.compose(run.point.w) - clean.truth).norm())
        ratios.append(error / theory.minimax_rate(sigma, (n, n), r, symmetric=symmetric))
    freedom = theory.degrees_of_freedom((n, n), r, symmetric=symmetric)
    expected = sqrt(freedom / ((n if symmetric else 2 * n) * r))
    assert np.sqrt(np.mean(np.square(ratios))) == pytest.approx(expected, rel=0.15)


def test_rates_refuse_impossible_input() -> None:
    with pytest.raises(InputError, match="noise_std"):
        theory.statistical_error(-1.0, 5, 1)
    with pytest.raises(RankError):
        theory.statistical_error(1.0, 5, 6)
    with pytest.raises(InputError, match="13 of 12"):
        theory.completion_rate(1.0, (3, 4), 1, 13)
    with pytest.raises(ShapeError):
        theory.degrees_of_freedom((3, 4), 1, symmetric=True)


def test_coverage_floor_keeps_its_promise() -> None:
    shape, count, p = (30, 20), 2, 0.1
    m = theory.coverage_floor(shape, count, failure_probability=p)
    rng = np.random.default_rng(0)
    missed, trials = 0, 1000
    for _ in range(trials):
        flat = rng.choice(600, size=m, replace=False)
        rows, cols = np.bincount(flat // 20, minlength=30), np.bincount(flat % 20, minlength=20)
        missed += min(rows.min(), cols.min()) < count
    # The union bound loses little: .1 promised, about .09 expected; 3 standard errors are .03.
    assert 0.05 * trials < missed < 0.13 * trials
    assert theory.coverage_floor(shape, 20, failure_probability=p) == 600
    assert theory.coverage_floor((1, 1), 1) == 1


def test_coverage_floor_is_the_coupon_collector() -> None:
    n, p = 100_000, 0.01
    found = theory.coverage_floor((n, n), 1, failure_probability=p)
    assert found == pytest.approx(n * np.log(2 * n / p), rel=1e-3)


def test_advice_is_consistent() -> None:
    sensing = theory.measurements_needed((40, 40), 2, margin=2.0)
    assert (sensing.floor, sensing.measurements) == (156, 312)
    assert theory.measurements_needed((40, 40), 2, symmetric=True, margin=1.0).measurements == 79
    # Full rank: the whole space, whatever the margin.
    assert theory.measurements_needed((5, 4), 4, margin=3.0).measurements == 20
    assert theory.measurements_needed((5, 5), 5, kind="quadratic").measurements == 15
    entries = theory.measurements_needed((1000, 1000), 1, kind="entries")
    assert entries.floor == theory.coverage_floor((1000, 1000), 1)
    assert entries.measurements >= entries.floor > 1999
    assert any("probability 0.99" in reason for reason in entries.reasons)


def recovered(kind: str, symmetric: bool, m: int, seed: int) -> bool:
    n, r = 30, 2
    rng = np.random.default_rng(seed)
    truth = random_low_rank((n, n), r, symmetric=symmetric, rng=rng)
    if kind == "gaussian":
        operator = gaussian_sensing(n, r, m, symmetric=symmetric, rng=rng).operator
    elif kind == "entries":
        instance = entry_completion((n, n), r, m / (r * (2 * n - r)), rng=rng)
        operator, truth = instance.operator, instance.truth
    elif kind == "rank_one":
        operator = RankOneSensing(rng.standard_normal((m, n)), rng.standard_normal((m, n)))
    else:
        operator = QuadraticSensing(rng.standard_normal((m, n)))
    b = np.asarray(operator.apply(truth))
    answer = rl.recover(operator, b, rank=r, symmetric=symmetric, rng=seed, certify=False)
    return bool((answer.matrix - truth).norm() < 1e-5 * truth.norm())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ranklift.errors.ConvergenceWarning")
@pytest.mark.parametrize(("kind", "symmetric"), list(MARGINS))
def test_margins_are_enough_and_counting_is_not(kind: Kind, symmetric: bool) -> None:
    advice = theory.measurements_needed((30, 30), 2, kind=kind, symmetric=symmetric)
    margin = MARGINS[kind, symmetric]
    wanted = int(np.ceil(margin * theory.degrees_of_freedom((30, 30), 2, symmetric=symmetric)))
    assert advice.measurements >= wanted
    assert sum(recovered(kind, symmetric, wanted, seed) for seed in range(8)) == 8
    # Fewer than the degrees of freedom: no method can succeed.
    few = int(0.9 * advice.floor) if kind != "entries" else None
    if few is not None:
        assert sum(recovered(kind, symmetric, few, seed) for seed in range(3)) == 0


def test_advice_refuses_impossible_input() -> None:
    with pytest.raises(InputError, match="kind 'pauli'"):
        theory.measurements_needed((4, 4), 1, kind="pauli")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="margin"):
        theory.measurements_needed((4, 4), 1, margin=0.5)
    with pytest.raises(InputError, match="symmetric sampling of entries"):
        theory.measurements_needed((4, 4), 1, kind="entries", symmetric=True)
    with pytest.raises(RankError):
        theory.measurements_needed((4, 4), 0)
    with pytest.raises(InputError, match="failure_probability"):
        theory.coverage_floor((4, 4), 1, failure_probability=0.0)
    with pytest.raises(RankError):
        theory.coverage_floor((4, 4), 0)


# -- the balancing term (docs/theory.md) -----------------------------------------------------


def test_balancing_identity() -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        k = 3
        u, v = rng.standard_normal((6, k)), rng.standard_normal((5, k))
        truth = random_low_rank((6, 5), k, condition_number=3.0, rng=rng)
        rotation = np.linalg.qr(rng.standard_normal((k, k)))[0]
        m_u, m_v = truth.left @ rotation, truth.right @ rotation
        w, target = np.vstack([u, v]), np.vstack([m_u, m_v])
        left = 4 * np.sum((u @ v.T - m_u @ m_v.T) ** 2) + np.sum((u.T @ u - v.T @ v) ** 2)
        right = np.sum((w @ w.T - target @ target.T) ** 2)
        right += 2 * np.sum((m_u.T @ u - m_v.T @ v) ** 2)
        assert left == pytest.approx(right, rel=1e-12)


def test_small_gradients_force_balance_and_the_saddle_attains_the_bound() -> None:
    # ||U^T U - V^T V||_F^2 <= sqrt(k) (||U||_2 + ||V||_2) ||gradient||_F / (4 weight)
    ratios = []
    for scale in (0.1, 1.0, 30.0):
        instance = unbalanced_saddle(scale=scale, search_rank=3)
        kind = Asymmetric()
        balanced = FactorizedProblem(
            instance.operator, instance.measurements, kind, (Balancing((8, 6), kind, 0.125),)
        )
        ((left, right),) = instance.spurious_points
        rng = np.random.default_rng(0)
        saddle = kind.join(left, right)
        for w in (saddle, *(rng.standard_normal((14, 3)) for _ in range(5))):
            u, v = kind.parts(w, (8, 6))
            imbalance = np.sum((u.T @ u - v.T @ v) ** 2)
            gradient = balanced.evaluate(w).gradient_norm
            bound = 2 * sqrt(3) * (np.linalg.norm(u, 2) + np.linalg.norm(v, 2)) * gradient
            assert imbalance <= bound * (1 + 1e-12)
            if w is saddle:
                ratios.append(imbalance / bound)
    assert ratios == pytest.approx([1.0, 1.0, 1.0], rel=1e-12)
