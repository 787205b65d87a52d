"""The chain rule: derivatives for every operator, factorization and regulariser.

Judged by Taylor slopes, by the explicit polynomial along a line, and by the dense referee.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import referee
from cases import (
    OPERATOR_NAMES,
    assert_close,
    explicit_rows,
    operator_example,
    registered,
    square_example,
    strict,
    strict_operator,
)
from ranklift.errors import ShapeError
from ranklift.factorizations import FACTORIZATIONS, Asymmetric, Symmetric
from ranklift.line import minimize_polynomial
from ranklift.operators import IdentitySensing
from ranklift.problem import FactorizedProblem
from ranklift.regularizers import Balancing, SquaredNorm

K, LAM = 2, 0.37
# The dense referee knows these two; tests/contract/test_factorizations.py holds the others.
FACTORIZATION_NAMES = ["Asymmetric", "Symmetric"]
REAL_OPERATORS = [name for name in OPERATOR_NAMES if not operator_example(name).hermitian]
PENALTIES = ["plain", "ridge", "balance", "both"]
CASES = [
    (operator, factorization, penalty)
    for operator in REAL_OPERATORS
    for factorization in FACTORIZATION_NAMES
    for penalty in PENALTIES
    if factorization == "Asymmetric" or penalty in ("plain", "ridge")
]
every_case = pytest.mark.parametrize(("operator", "factorization", "penalty"), CASES)
every_pair = pytest.mark.parametrize(
    ("operator", "factorization"), sorted({case[:2] for case in CASES})
)


def pose(operator_name: str, factorization_name: str, penalty: str = "plain") -> FactorizedProblem:
    """Pose a small problem with data that no matrix fits."""
    factorization = FACTORIZATIONS[factorization_name]()
    square = factorization_name == "Symmetric"
    operator = square_example(operator_name) if square else operator_example(operator_name)
    b = np.random.default_rng(5).standard_normal(operator.num_measurements)
    regularizers: list[Any] = []
    if penalty in ("ridge", "both"):
        regularizers.append(SquaredNorm(2 * LAM if square else LAM))
    if penalty in ("balance", "both"):
        regularizers.append(Balancing(operator.shape, factorization))
    return FactorizedProblem(operator, b, factorization, tuple(regularizers))


def judge(penalty: str) -> dict[str, Any]:
    """Return the referee's options for a penalty."""
    return {
        "lam": LAM if penalty in ("ridge", "both") else 0.0,
        "balance": penalty in ("balance", "both"),
    }


def factors(problem: FactorizedProblem, w: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    left, right = problem.parts(w)
    return left, None if isinstance(problem.factorization, Symmetric) else right


def draw(problem: FactorizedProblem, rng: np.random.Generator, k: int = K) -> np.ndarray:
    return rng.standard_normal((problem.factorization.size(problem.operator.shape), k))


def slope(errors: list[float], steps: list[float]) -> float:
    return float(np.log(errors[0] / errors[1]) / np.log(steps[0] / steps[1]))


def test_the_registry_holds_the_factorizations():
    expected = {"Asymmetric", "Symmetric", "Signed", "Signature", "Hermitian", "Deep"}
    assert expected == set(registered(FACTORIZATIONS))


@every_case
def test_taylor_slopes_are_two_and_three(operator, factorization, penalty, rng):
    problem = pose(operator, factorization, penalty)
    w, d = draw(problem, rng), draw(problem, rng)
    # Partly along W: there the cubic coefficient is positive, and no slope is 4 by accident.
    d = w / np.linalg.norm(w) + 0.5 * d / np.linalg.norm(d)
    point = problem.evaluate(w)
    first = float(np.sum(point.gradient * d))
    second = float(np.sum(problem.hvp(point, d) * d))
    steps = [3e-2, 3e-3]
    values = [problem.evaluate(w + t * d).value for t in steps]
    linear = [abs(v - point.value - t * first) for v, t in zip(values, steps, strict=True)]
    quadratic = [
        abs(v - point.value - t * first - 0.5 * t * t * second)
        for v, t in zip(values, steps, strict=True)
    ]
    assert abs(slope(linear, steps) - 2) < 0.05
    assert abs(slope(quadratic, steps) - 3) < 0.05


@every_case
def test_line_is_the_exact_quartic(operator, factorization, penalty, rng):
    problem = pose(operator, factorization, penalty)
    w, d = draw(problem, rng), draw(problem, rng)
    coefficients = problem.line(problem.evaluate(w), d)
    assert coefficients.shape == (5,)
    for t in (-1.7, -0.3, 0.0, 0.4, 2.5):
        exact = problem.evaluate(w + t * d).value
        assert abs(np.polyval(coefficients[::-1], t) - exact) <= 1e-12 * exact


@every_case
def test_value_and_gradient_are_the_referees(operator, factorization, penalty, rng):
    problem = pose(operator, factorization, penalty)
    rows, w = explicit_rows(problem.operator), draw(problem, rng)
    left, right = factors(problem, w)
    point, options = problem.evaluate(w), judge(penalty)
    expected = referee.objective(rows, problem.b, left, right, **options)
    assert abs(point.value - expected) <= 1e-13 * expected
    assert abs(point.loss - referee.objective(rows, problem.b, left, right)) <= 1e-13 * expected
    assert_close(point.residual, referee.residual(rows, problem.b, left, right))
    assert_close(point.gradient.ravel(), referee.gradient(rows, problem.b, left, right, **options))
    assert point.gradient_norm == pytest.approx(np.linalg.norm(point.gradient), rel=1e-14)
    assert point.residual_norm == pytest.approx(np.linalg.norm(point.residual), rel=1e-14)


@every_case
def test_hessian_is_the_referees(operator, factorization, penalty, rng):
    problem = pose(operator, factorization, penalty)
    rows, w = explicit_rows(problem.operator), draw(problem, rng)
    point = problem.evaluate(w)
    units = np.eye(w.size).reshape(w.size, *w.shape)
    dense = np.stack([problem.hvp(point, unit).ravel() for unit in units], axis=1)
    expected = referee.hessian(rows, problem.b, *factors(problem, w), **judge(penalty))
    assert_close(dense, expected)
    assert_close(dense, dense.T, 1e-12)


@every_pair
def test_gauss_newton_product_is_the_hessian_without_residual(operator, factorization, rng):
    problem = pose(operator, factorization, "ridge")
    rows, w, d = explicit_rows(problem.operator), draw(problem, rng), draw(problem, rng)
    left, right = factors(problem, w)
    fitted = rows @ referee.matrix(left, right).ravel()
    expected = referee.hessian(rows, fitted, left, right, lam=LAM) @ d.ravel()
    assert_close(problem.gauss_newton_product(problem.evaluate(w), d).ravel(), expected)
    image = problem.pushforward(w, d)
    j_d = np.linalg.norm(image) ** 2 + problem.ridge * np.linalg.norm(d) ** 2
    assert j_d == pytest.approx(float(expected @ d.ravel()), rel=1e-12)


@every_pair
@pytest.mark.parametrize("k", [0, 1, 3, 8])
def test_gauge_keeps_the_matrix_and_balances_it(operator, factorization, k, rng):
    problem = pose(operator, factorization)
    w = draw(problem, rng, k) * 10.0 ** np.linspace(0, -2, k)
    if k > 1:
        w[:, 0] += 5 * w[:, 1]
    before = w.copy()
    balanced = problem.gauge(w)
    np.testing.assert_array_equal(w, before)
    assert balanced.shape == w.shape
    full = problem.compose(w).toarray()
    assert_close(problem.compose(balanced).toarray(), full, 1e-12)
    left, right = problem.parts(balanced)
    gram = left.T @ left
    size = max(np.linalg.norm(gram), 1e-300)
    assert np.linalg.norm(gram - right.T @ right) <= 1e-12 * size
    assert np.linalg.norm(gram - np.diag(np.diag(gram))) <= 1e-12 * size
    assert (np.diff(np.diag(gram)) <= 1e-12 * size).all()
    nuclear = np.linalg.svd(full, compute_uv=False).sum()
    least = (1 if factorization == "Symmetric" else 2) * nuclear
    assert np.sum(balanced**2) == pytest.approx(least, rel=1e-12, abs=1e-12)
    assert_close(problem.gauge(balanced)[:, :0], balanced[:, :0])
    assert_close(np.abs(problem.gauge(balanced)), np.abs(balanced), 1e-9)


@every_pair
def test_counts_grow_with_every_application(operator, factorization, rng):
    problem = pose(operator, factorization)
    w = draw(problem, rng)
    point = problem.evaluate(w)
    assert (problem.counts.apply, problem.counts.adjoint, problem.counts.hvp) == (1, 1, 0)
    problem.hvp(point, w)
    problem.gauss_newton_product(point, w)
    problem.line(point, w)
    assert (problem.counts.apply, problem.counts.adjoint, problem.counts.hvp) == (3, 1, 2)
    twin = problem.with_regularizers(SquaredNorm(1.0))
    twin.evaluate(w)
    assert problem.counts is twin.counts
    assert (problem.ridge, twin.ridge) == (0.0, 1.0)


@every_pair
def test_scale_is_the_spectral_norm_of_the_transported_data(operator, factorization):
    problem = pose(operator, factorization)
    dense = (explicit_rows(problem.operator).T @ problem.b).reshape(problem.operator.shape)
    if factorization == "Symmetric":  # all that a symmetric X can see
        dense = 0.5 * (dense + dense.T)
    norm = np.linalg.norm(dense, 2)
    assert 0.999 * norm <= problem.scale <= norm * (1 + 1e-12)
    assert problem.with_regularizers(SquaredNorm(1.0)).scale == problem.scale


@every_pair
def test_relative_gradient_has_no_units(operator, factorization, rng):
    """Data and matrix in other units, b -> c b and W -> sqrt(c) W, give the same number."""
    problem, c = pose(operator, factorization), 1e5
    w = draw(problem, rng)
    scaled = FactorizedProblem(problem.operator, c * problem.b, problem.factorization)
    one = problem.relative_gradient(problem.evaluate(w))
    other = scaled.relative_gradient(scaled.evaluate(np.sqrt(c) * w))
    assert one == pytest.approx(other, rel=1e-9)


@every_case
def test_evaluation_repeats_and_leaves_inputs_alone(operator, factorization, penalty, rng):
    problem = pose(operator, factorization, penalty)
    w, d = draw(problem, rng), draw(problem, rng)
    w.flags.writeable = d.flags.writeable = problem.b.flags.writeable = False
    first, second = problem.evaluate(w), problem.evaluate(w)
    np.testing.assert_array_equal(first.gradient, second.gradient)
    np.testing.assert_array_equal(problem.hvp(first, d), problem.hvp(second, d))
    np.testing.assert_array_equal(problem.line(first, d), problem.line(second, d))
    assert first.value == second.value


@every_case
def test_strict_array_api_arrays(operator, factorization, penalty, rng):
    problem = pose(operator, factorization, penalty)
    w, d = draw(problem, rng), draw(problem, rng)
    twin = FactorizedProblem(
        strict_operator(problem.operator),
        strict(problem.b),
        problem.factorization,
        problem.regularizers,
    )
    point, expected = twin.evaluate(strict(w)), problem.evaluate(w)
    assert type(point.gradient).__module__.startswith("array_api_strict")
    assert point.value == pytest.approx(expected.value, rel=1e-13)
    assert_close(point.gradient, expected.gradient, 1e-13)
    assert_close(twin.hvp(point, strict(d)), problem.hvp(expected, d), 1e-13)
    assert_close(twin.line(point, strict(d)), problem.line(expected, d), 1e-12)
    assert_close(twin.compose(twin.gauge(strict(w))).toarray(), problem.compose(w).toarray())
    assert twin.scale == pytest.approx(problem.scale, rel=1e-12)


def test_balancing_is_parks_identity(rng):
    """4 ||L R^T - M||^2 + ||L^T L - R^T R||^2 = ||W W^T - N N^T||^2 + 2 ||M_L^T L - M_R^T R||^2."""
    shape = (6, 4)
    balanced = Asymmetric().gauge(rng.standard_normal((10, K)), shape)
    w = rng.standard_normal((10, K))
    m_left, m_right = Asymmetric().parts(balanced, shape)
    left, right = Asymmetric().parts(w, shape)
    problem = FactorizedProblem(
        IdentitySensing(shape),
        (m_left @ m_right.T).ravel(),
        regularizers=(Balancing(shape, Asymmetric()),),
    )
    signed = np.concatenate([m_left, -m_right])
    other = np.linalg.norm(w @ w.T - balanced @ balanced.T) ** 2
    other += 2 * np.linalg.norm(m_left.T @ left - m_right.T @ right) ** 2
    assert np.linalg.norm(signed.T @ balanced) < 1e-10
    assert 8 * problem.evaluate(w).value == pytest.approx(other, rel=1e-12)


def test_symmetric_needs_square_matrices():
    with pytest.raises(ShapeError, match="Remedy"):
        Symmetric().size((3, 4))


def test_line_minimum_is_global(rng):
    """The exact line search finds the lowest of several minima, to rounding of the roots."""
    for _ in range(50):
        c = rng.standard_normal(5)
        c[4] = abs(c[4]) + 0.05
        t, decrease = minimize_polynomial(c)
        grid = np.linspace(-60, 60, 200_001)
        lowest = float(np.min(np.polyval(c[::-1], grid)))
        assert c[0] - decrease <= lowest + 1e-9
        assert np.polyval(c[::-1], t) == pytest.approx(c[0] - decrease, abs=1e-9)
    assert minimize_polynomial(np.array([1.0, 0.0, 1.0, 0.0, 1.0])) == (0.0, -0.0)
