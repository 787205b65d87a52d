"""Flatness against finite differences, the convex problem, and each other."""

from __future__ import annotations

import numpy as np
import pytest

import ranklift as rl
from cases import OPERATOR_NAMES, operator_example, square_example
from ranklift.curvature_weights import curvature_weights, written_out
from ranklift.errors import InputError, ShapeError, TooLargeError
from ranklift.factorizations import (
    Asymmetric,
    Deep,
    Factorization,
    Hermitian,
    Signature,
    Signed,
    Symmetric,
)
from ranklift.operators import (
    DenseSensing,
    EntrySampling,
    FromLinearOperator,
    IdentitySensing,
    MeasurementOperator,
    PauliSensing,
    QuadraticSensing,
    RankOneSensing,
)
from ranklift.problem import FactorizedProblem
from ranklift.solution_set import retract
from ranklift.status import Status, Verdict

flatness = rl.flatness


def loss(operator: MeasurementOperator, b: np.ndarray, kind: Factorization, w: np.ndarray) -> float:
    left, right = kind.parts(w, operator.shape)
    return float(np.sum((operator.apply_product(left, right) - b) ** 2)) / b.size


def differences(
    operator: MeasurementOperator, b: np.ndarray, kind: Factorization, w: np.ndarray
) -> np.ndarray:
    """Return the diagonal of the Hessian: t -> f is a polynomial of degree 2 deg X, exactly fitted.

    Every entry of W enters X at most squared, so that f along it has degree 4: the second
    derivative at 0 from five points is exact up to rounding, whatever the step.
    """
    h = 0.5
    out = np.empty(w.size)
    weights = np.array([-1.0, 16.0, -30.0, 16.0, -1.0]) / (12 * h * h)
    for index in range(w.size):
        values = []
        for t in (-2, -1, 0, 1, 2):
            moved = w.copy()
            moved.flat[index] += t * h
            values.append(loss(operator, b, kind, moved))
        out[index] = weights @ values
    return out.reshape(w.shape)


KINDS: dict[str, tuple[Factorization, int]] = {
    "asymmetric": (Asymmetric(), 3),
    "symmetric": (Symmetric(), 2),
    "signed": (Signed(), 2),
    "signature": (Signature((1, 1, -1)), 3),
    "deep 3": (Deep(3), 2),
    "deep 4": (Deep(4), 2),
}


def cases() -> list[tuple[str, str]]:
    return [(name, kind) for name in OPERATOR_NAMES for kind in KINDS]


@pytest.mark.parametrize(("name", "kind"), cases())
@pytest.mark.parametrize("fitted", [True, False])
def test_traces_agree_with_finite_differences(name, kind, fitted):
    factorization, k = KINDS[kind]
    square = kind in ("symmetric", "signed", "signature")
    operator = square_example(name) if square else operator_example(name)
    if operator.hermitian:
        factorization = Hermitian()
    rng = np.random.default_rng(1)
    w = rng.standard_normal((factorization.size(operator.shape, k), k))
    b = operator.apply_product(*factorization.parts(w, operator.shape))
    if not fitted:
        b = b + rng.standard_normal(b.size)
    diagonal = differences(operator, b, factorization, w)
    given = {"factorization": factorization}
    found = flatness.trace_of_hessian(operator, b, w, **given)
    assert isinstance(found, float) and found.standard_error == 0.0
    assert found == pytest.approx(diagonal.sum(), rel=1e-8, abs=1e-8)
    half = flatness.trace_of_hessian(operator, b, w, scaling="half", **given)
    assert half == pytest.approx(found * b.size / 2, rel=1e-12)
    if isinstance(factorization, Deep):
        with pytest.raises(InputError, match="depth"):
            flatness.scaled_trace(operator, b, w, **given)
        return
    n1, n2 = operator.shape
    expected = diagonal.sum() / n1
    if kind == "asymmetric" and not operator.hermitian:
        expected = diagonal[:n1].sum() / n1 + diagonal[n1:].sum() / n2
    assert flatness.scaled_trace(operator, b, w, **given) == pytest.approx(
        expected, rel=1e-8, abs=1e-8
    )


@pytest.mark.parametrize("kind", KINDS)
def test_probes_are_within_their_standard_error(kind):
    factorization, k = KINDS[kind]
    rng = np.random.default_rng(3)
    operator = DenseSensing(rng.standard_normal((25, 5, 5)))
    w = rng.standard_normal((factorization.size((5, 5), k), k))
    b = rng.standard_normal(25)
    ask = {"factorization": factorization}
    names = ["trace_of_hessian"] + ([] if kind.startswith("deep") else ["scaled_trace"])
    for name in names:
        exact = getattr(flatness, name)(operator, b, w, **ask)
        errors = []
        for seed in range(20):
            estimate = getattr(flatness, name)(
                operator, b, w, method="hutchinson", probes=60, rng=seed, **ask
            )
            assert estimate.standard_error > 0
            errors.append((estimate - exact) / estimate.standard_error)
        # twenty standard normal numbers: their mean has the deviation .22, their root mean square
        # of 1 the deviation .16
        assert abs(np.mean(errors)) < 1.1
        assert 0.4 < np.sqrt(np.mean(np.square(errors))) < 1.8


def test_large_foreign_operators_are_estimated():
    n, m = 240, 400
    rows = np.random.default_rng(0).standard_normal((m, n * n)) / n
    operator = FromLinearOperator(rows, (n, n))
    factors = tuple(np.random.default_rng(1).standard_normal((2, n, 1)))
    estimate = flatness.trace_of_hessian(operator, None, factors, probes=20)
    exact = flatness.trace_of_hessian(DenseSensing(rows.reshape(m, n, n)), None, factors)
    assert estimate.standard_error > 0 == exact.standard_error
    assert abs(estimate - exact) < 5 * estimate.standard_error
    with pytest.raises(TooLargeError, match="moment"):
        flatness.trace_of_hessian(operator, None, factors, method="exact")


def test_weights_of_entries_are_root_counts():
    rows, cols = np.array([0, 0, 0, 1, 2]), np.array([0, 1, 2, 1, 0])
    weights = curvature_weights(EntrySampling(rows, cols, (3, 3)))
    np.testing.assert_allclose(weights.left, np.sqrt(np.array([3, 1, 1]) / 15))
    np.testing.assert_allclose(weights.right, np.sqrt(np.array([2, 2, 1]) / 15))
    assert weights.condition == pytest.approx(np.sqrt(3))


def test_weights_of_all_pauli_strings_are_the_identity():
    operator = PauliSensing.example(np.random.default_rng(0))
    weights = curvature_weights(operator)
    assert weights.condition == pytest.approx(1.0)
    assert weights.left.ndim == 1


def test_unmeasured_rows_are_named():
    operator = EntrySampling([0, 0, 2], [0, 1, 1], (3, 2))
    weights = curvature_weights(operator)
    assert weights.unmeasured == (1, 0) and "row 1" in weights.unmeasured_words
    assert weights.condition == float("inf")
    factors = np.ones((3, 1)), np.ones((2, 1))
    with pytest.warns(UserWarning, match="no measurement sees 1 row"):
        flat = flatness.flatten(operator, None, factors)
    assert flat.report.verdict is Verdict.HOLDS
    assert np.all(flat.left[1] == 0)


# -- the least scaled trace -------------------------------------------------------------------


def instance(index: int) -> tuple[FactorizedProblem, np.ndarray]:
    """Return one of twenty problems below (even) and above (odd) the recovery threshold."""
    rng = np.random.default_rng(100 + index)
    d, above = 8, index % 2 == 1
    factors = rng.standard_normal((2, d, 1))
    truth, kind = factors[0] @ factors[1].T, Asymmetric()
    family = ["sensing", "bilinear", "completion", "network", "covariance"][index // 4]
    if family == "sensing":
        operator: MeasurementOperator = DenseSensing(
            rng.standard_normal((48 if above else 18, d, d))
        )
    elif family == "bilinear":
        m = 52 if above else 20
        operator = RankOneSensing(rng.standard_normal((m, d)), rng.standard_normal((m, d)))
    elif family == "completion":
        seen = rng.permutation(64)[: 56 if above else 36]
        operator = EntrySampling(seen // d, seen % d, (d, d))
    else:
        operator = QuadraticSensing(rng.standard_normal((34 if above else 12, d)))
        if family == "network":
            truth, kind = factors[0] @ factors[0].T - factors[1] @ factors[1].T, Signed()
        else:
            truth, kind = factors[0] @ factors[0].T, Symmetric()
    return FactorizedProblem(operator, operator.apply(truth), kind), truth


def enclosed_norm(
    problem: FactorizedProblem, matrix: np.ndarray, y: np.ndarray
) -> tuple[float, float]:
    """Return ||D1 X D2||_* and a lower bound of it over all X that fit, by NumPy alone.

    Weak duality: <y, b> = <A*(y), X> <= ||D1 X D2||_* ||D1^-1 A*(y) D2^-1||_2.
    """
    kind, (n1, n2) = problem.factorization, problem.shape
    matrices = written_out(problem.operator)
    m = len(matrices)
    assert np.linalg.norm(
        np.einsum("jab,ab->j", matrices, matrix) - problem.b
    ) <= 1e-8 * np.linalg.norm(problem.b)
    if isinstance(kind, Asymmetric):
        square = np.einsum("jab,jcb->ac", matrices, matrices) / (m * n2)
        other = np.einsum("jba,jbc->ac", matrices, matrices) / (m * n1)
    else:
        parts = 0.5 * (matrices + matrices.swapaxes(1, 2))
        square = other = np.einsum("jab,jbc->ac", parts, parts) / (m * n1)
    roots = []
    for moment in (square, other):
        values, vectors = np.linalg.eigh(moment)
        roots.append((vectors * np.sqrt(values)) @ vectors.T)
    size = np.linalg.norm(roots[0] @ matrix @ roots[1], "nuc")
    dual = np.linalg.inv(roots[0]) @ np.tensordot(y, matrices, 1) @ np.linalg.inv(roots[1])
    if isinstance(kind, Asymmetric):
        largest = np.linalg.norm(dual, 2)
    else:
        values = np.linalg.eigvalsh(0.5 * (dual + dual.T))
        largest = values[-1] if isinstance(kind, Symmetric) else np.abs(values).max()
    return float(size), float(y @ problem.b / largest)


@pytest.mark.parametrize("index", range(20))
def test_the_least_scaled_trace_is_a_multiple_of_the_weighted_norm(index):
    problem, _ = instance(index)
    constant = 4.0 if isinstance(problem.factorization, Asymmetric) else 8.0
    rng = np.random.default_rng(index)
    start = rng.standard_normal((problem.factorization.size(problem.shape), 8))
    flat = flatness.flatten(problem.operator, problem.b, start, factorization=problem.factorization)
    assert flat.status is Status.CONVERGED
    assert flat.report.verdict is Verdict.HOLDS
    trace = flatness.scaled_trace(
        problem.operator, problem.b, problem.factorization.stack(flat.left, flat.right),
        factorization=problem.factorization,
    )  # fmt: skip
    assert trace == pytest.approx(flat.scaled_trace, rel=1e-8)
    # The notes' claim: min str = 4 min ||D1 Z D2||_*, the minimum enclosed from both sides.
    size, bound = enclosed_norm(problem, flat.matrix.toarray(), flat.multipliers)
    assert trace == pytest.approx(constant * size, rel=1e-7)
    assert trace == pytest.approx(constant * bound, rel=1e-6)
    # The search along the solution set, at full width, ends at the same value.
    point = problem.factorization.stack(flat.left, flat.right)
    moved = along(problem, point, rng)
    assert moved.scaled_trace == pytest.approx(trace, rel=1e-6)


def along(problem: FactorizedProblem, flat: np.ndarray, rng: np.random.Generator):
    """Descend on the solution set from wide factors that fit by Gauss-Newton."""
    rows, k = flat.shape
    wide = np.hstack([flat, np.zeros((rows, max(0, 8 - k)))])
    start = retract(problem, wide + 0.1 * rng.standard_normal(wide.shape))
    if start is None:  # positive semidefinite X above the threshold: S is U times rotations
        start = wide @ np.linalg.qr(rng.standard_normal((wide.shape[1], wide.shape[1])))[0]
    return flatness.flatten(
        problem.operator, problem.b, start, factorization=problem.factorization,
        level="solution_set",
    )  # fmt: skip


# -- levels, certificates, sharpness ----------------------------------------------------------


def skewed(problem: FactorizedProblem, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    u, s, vt = np.linalg.svd(truth)
    return 7.0 * u[:, :1] * s[0], vt[:1].T / 7.0


@pytest.mark.parametrize("index", [1, 5, 9])
def test_gauge_keeps_the_matrix_and_balances_it(index):
    problem, truth = instance(index)
    left, right = skewed(problem, truth)
    flat = flatness.flatten(problem.operator, problem.b, (left, right), level="gauge")
    np.testing.assert_allclose(flat.left @ flat.right.T, left @ right.T, atol=1e-12)
    assert flat.scaled_trace < 0.2 * flat.scaled_trace_before
    assert flat.report.details["weighted_imbalance"] < 1e-12
    assert flat.scaled_trace == pytest.approx(flat.report.details["least_for_this_matrix"])


def test_gauge_leaves_unseen_rows_alone():
    operator = EntrySampling([0, 0, 2], [0, 1, 1], (3, 2))
    rng = np.random.default_rng(0)
    factors = rng.standard_normal((3, 1)), rng.standard_normal((2, 1))
    with pytest.warns(UserWarning, match="row 1"):
        flat = flatness.flatten(operator, None, factors, level="gauge")
    np.testing.assert_allclose(flat.matrix.toarray(), factors[0] @ factors[1].T, atol=1e-13)


def test_certify_flatness_names_the_rival_and_the_misfit():
    problem, truth = instance(0)  # below the threshold: the truth is not the flattest
    u, s, vt = np.linalg.svd(truth)
    balanced = u[:, :1] * np.sqrt(s[0]), vt[:1].T * np.sqrt(s[0])
    gauge = flatness.flatten(problem.operator, problem.b, balanced, level="gauge")
    assert gauge.report.verdict is not Verdict.HOLDS
    report = flatness.certify_flatness(problem.operator, problem.b, (gauge.left, gauge.right))
    assert report.verdict is Verdict.FAILS
    left, right = report.witness["left"], report.witness["right"]
    fit = problem.operator.apply(left @ right.T) - problem.b
    assert np.linalg.norm(fit) <= 1e-8 * np.linalg.norm(problem.b)
    lower = flatness.scaled_trace(problem.operator, problem.b, (left, right))
    assert lower < gauge.scaled_trace * (1 - 1e-6)
    wrong = flatness.certify_flatness(problem.operator, problem.b, (1.1 * gauge.left, gauge.right))
    assert wrong.verdict is Verdict.FAILS and "misfit" in wrong.witness


@pytest.mark.parametrize("index", [0, 4, 8])
def test_the_norm_of_flat_factors_is_bounded_by_kappa(index):
    problem, truth = instance(index)
    start = np.vstack([truth, np.eye(8)])
    flat = flatness.flatten(problem.operator, problem.b, start, factorization=Asymmetric())
    details = flat.report.details
    plain = rl.recover(problem.operator, problem.b, selection="nuclear", rng=0)
    least = 2 * plain.singular_values.sum()
    assert details["least_squared_norms_if_flat"] <= least * (1 + 1e-6)
    assert details["squared_norms"] <= details["kappa"] ** 2 * least
    assert details["squared_norms"] >= least * (1 - 1e-6)


@pytest.mark.parametrize("index", [16, 18])
def test_all_fits_of_a_covariance_are_equally_flat(index):
    # D^2 = sum ||x_j||^2 x_j x_j^T / (m d) is a combination of the measurements.
    problem, truth = instance(index)
    vectors = problem.operator.apply(np.eye(8)), written_out(problem.operator)
    combination = np.tensordot(vectors[0], vectors[1], 1) / (problem.b.size * 8)
    np.testing.assert_allclose(
        combination, curvature_weights(problem.operator, Symmetric()).left_squared, atol=1e-12
    )
    values, basis = np.linalg.eigh(truth)
    root = basis[:, -1:] * np.sqrt(values[-1])
    flat = flatness.flatten(problem.operator, problem.b, root)
    least = rl.recover(problem.operator, problem.b, symmetric=True, selection="nuclear", rng=0)
    assert flat.matrix.toarray().trace() == pytest.approx(
        least.matrix.toarray().trace(), rel=1e-6
    )  # among equals the one of least trace
    wide = np.hstack([root, np.zeros((8, 7))])
    other = retract(problem, wide + 0.2 * np.random.default_rng(index).standard_normal((8, 8)))
    assert other is not None
    assert np.linalg.norm(other @ other.T - truth) > 0.01 * np.linalg.norm(truth)
    for factors in (root, other, flat.left):
        trace = flatness.scaled_trace(problem.operator, problem.b, factors)
        assert trace == pytest.approx(flat.scaled_trace, rel=1e-9)
        report = flatness.certify_flatness(problem.operator, problem.b, factors)
        assert report.verdict is Verdict.HOLDS and "equally flat" in report.statement


def test_fits_of_other_semidefinite_problems_are_not():
    rng = np.random.default_rng(4)
    matrices = rng.standard_normal((5, 6, 6))
    operator = DenseSensing(matrices + matrices.swapaxes(1, 2))
    root = rng.standard_normal((6, 1))
    b = operator.apply(root @ root.T)
    flat = flatness.flatten(operator, b, root)
    assert flat.report.verdict is Verdict.HOLDS
    assert flat.scaled_trace < 0.99 * flat.scaled_trace_before
    assert flatness.certify_flatness(operator, b, root).verdict is Verdict.FAILS


def test_states_whose_trace_is_measured_are_all_of_least_norm():
    rng = np.random.default_rng(6)
    operator = PauliSensing(["II", "XZ", "YY", "ZI"])
    psi = rng.standard_normal((4, 3)) + 1j * rng.standard_normal((4, 3))
    problem = FactorizedProblem(operator, operator.apply(psi @ psi.conj().T), Hermitian())
    w = problem.factorization.stack(psi, psi.conj())
    report = rl.certificates.MinimumNorm().check(problem, w, rng)
    assert report.verdict is Verdict.HOLDS


def test_bad_requests_are_typed():
    operator = IdentitySensing((3, 2))
    factors = np.ones((3, 1)), np.ones((2, 1))
    with pytest.raises(InputError, match="scaling"):
        flatness.trace_of_hessian(operator, None, factors, scaling="mode")
    with pytest.raises(InputError, match="method"):
        flatness.trace_of_hessian(operator, None, factors, method="guess")
    with pytest.raises(InputError, match="probes"):
        flatness.trace_of_hessian(operator, None, factors, method="hutchinson", probes=1)
    with pytest.raises(InputError, match="level"):
        flatness.flatten(operator, None, factors, level="best")
    with pytest.raises(InputError, match="do not reproduce"):
        flatness.flatten(operator, np.ones(6) * 3, factors, level="solution_set")
    with pytest.raises(ShapeError, match="shapes"):
        flatness.scaled_trace(operator, None, (factors[1], factors[0]))
    with pytest.raises(InputError, match="W instead"):
        flatness.trace_of_hessian(operator, None, factors, factorization=Deep(3))
    with pytest.raises(ShapeError, match="rows"):
        flatness.trace_of_hessian(operator, None, np.ones((4, 2)), factorization=Deep(3))


def test_sharpness_is_the_largest_eigenvalue_and_its_step_is_the_edge():
    rng = np.random.default_rng(5)
    operator = DenseSensing(rng.standard_normal((40, 6, 5)))
    w = rng.standard_normal((11, 2))
    b = operator.apply_product(w[:6], w[6:])
    found = flatness.sharpness(operator, b, (w[:6], w[6:]), scaling="half")
    problem = FactorizedProblem(operator, b)
    point = problem.evaluate(w)
    columns = [problem.hvp(point, unit.reshape(w.shape)).ravel() for unit in np.eye(w.size)]
    eigenvalue = np.linalg.eigvalsh(np.array(columns))[-1]
    assert found.eigenvalue == pytest.approx(eigenvalue, rel=1e-10)
    assert found.upper >= eigenvalue * (1 - 1e-12)
    mean = flatness.sharpness(operator, b, (w[:6], w[6:]))
    assert mean.eigenvalue == pytest.approx(eigenvalue * 2 / 40)
    # A tiny push along the eigenvector shrinks below the edge and grows beyond it.
    for factor, grows in ((0.95, False), (1.05, True)):
        at = w + 1e-7 * found.direction
        for _ in range(40):
            at = at - factor * found.edge_of_stability_step * problem.evaluate(at).gradient
        assert (np.abs(np.vdot(at - w, found.direction)) > 1e-7) == grows
