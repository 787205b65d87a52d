"""Factorizations: the map W -> X, its calculus, its gauge and its dual, judged by dense matrices.

The second half poses problems: Taylor slopes, dense Jacobians and line searches for every
factorization with every smooth loss.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from cases import assert_close, from_coordinates, random_array, registered, strict
from ranklift.arrays import to_numpy
from ranklift.errors import InputError, ShapeError
from ranklift.factorizations import (
    FACTORIZATIONS,
    Asymmetric,
    Deep,
    Factorization,
    Hermitian,
    Signature,
    Signed,
    Symmetric,
)
from ranklift.line import minimize_along_curve
from ranklift.losses import GroupHuber, Huber, L1BallDistance, Logistic, Loss, Squared
from ranklift.lowrank import LowRank
from ranklift.operators import DenseSensing, MeasurementOperator, PauliSensing
from ranklift.problem import FactorizedProblem
from ranklift.regularizers import SquaredNorm

K = 2
CASES: dict[str, tuple[Factorization, tuple[int, int]]] = {
    "Asymmetric": (Asymmetric(), (6, 4)),
    "Symmetric": (Symmetric(), (5, 5)),
    "Signed": (Signed(), (6, 6)),
    "Hermitian": (Hermitian(), (4, 4)),
    "Deep 2": (Deep(2), (4, 6)),
    "Deep 3": (Deep(), (5, 4)),
    "Deep 4": (Deep(4), (5, 4)),
}
DUAL = ["Symmetric", "Signed", "Hermitian"]
LOSSES = ["Squared", "Huber", "Logistic", "L1BallDistance", "GroupHuber"]
every_case = pytest.mark.parametrize("name", list(CASES))
every_dual = pytest.mark.parametrize("name", DUAL)
every_pair = pytest.mark.parametrize("loss", LOSSES)


def draw(name: str, rng: np.random.Generator, k: int = K) -> np.ndarray:
    made, shape = CASES[name]
    return rng.standard_normal((made.size(shape, k), k))


def full(name: str, w: np.ndarray) -> np.ndarray:
    """Return X(W) by the definitions, not by ``parts``."""
    (n1, n2), k = CASES[name][1], w.shape[1]
    if name == "Asymmetric":
        return w[:n1] @ w[n1:].T
    if name == "Symmetric":
        return w @ w.T
    if name == "Signed":
        return w[:n1] @ w[:n1].T - w[n1:] @ w[n1:].T
    if name == "Hermitian":
        u = w[:n1] + 1j * w[n1:]
        return u @ u.conj().T
    product, inner = w[:n1], w[n1 + n2 :]
    for i in range(inner.shape[0] // k if k else 0):  # W_L W_{L-1} ... W_2
        product = product @ inner[i * k : (i + 1) * k]
    return product @ w[n1 : n1 + n2].T


def operator_for(name: str) -> MeasurementOperator:
    """Return an operator on the case's matrices, with 12 to 20 measurements."""
    rng = np.random.default_rng(3)
    if name == "Hermitian":
        strings = [a + b for a in "IXYZ" for b in "IXYZ"]
        return PauliSensing([strings[i] for i in rng.permutation(16)[:14]])
    return DenseSensing(rng.standard_normal((20, *CASES[name][1])))


def real(x: np.ndarray) -> np.ndarray:
    return np.concatenate([np.real(x).ravel(), np.imag(x).ravel()])


def inner(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.vdot(x, y).real)


def test_every_factorization_has_a_case():
    # Signature lives at one number of columns: see the tests at the end.
    cases = {type(made).__name__ for made, _ in CASES.values()} | {"Signature"}
    assert cases == set(registered(FACTORIZATIONS))


# -- the map and its calculus ------------------------------------------------------------------


@every_case
@pytest.mark.parametrize("k", [1, 2, 5])
def test_matrix_is_that_of_the_definition(name, k, rng):
    made, shape = CASES[name]
    w = draw(name, rng, k)
    assert_close(made.compose(w, shape).toarray(), full(name, w), 1e-13)
    left, right = made.parts(w, shape)
    assert left.shape[0] == shape[0] and right.shape[0] == shape[1]
    assert_close(left @ right.T, full(name, w), 1e-13)
    if made.definite:
        x = full(name, w)
        assert_close(x, x.conj().T, 1e-13)
        assert np.linalg.eigvalsh(x)[0] >= -1e-12 * np.linalg.norm(x)


@every_case
def test_pushforward_is_the_difference_of_parts(name, rng):
    made, shape = CASES[name]
    w, d, h = draw(name, rng), draw(name, rng), 1e-6
    high, low = made.parts(w + h * d, shape), made.parts(w - h * d, shape)
    for found, a, b in zip(made.pushforward(w, d, shape), high, low, strict=True):
        np.testing.assert_allclose(found, (a - b) / (2 * h), atol=1e-8)


@every_case
@pytest.mark.parametrize("k", [1, 3])
def test_pullback_is_the_adjoint_of_pushforward(name, k, rng):
    """Re <(dL, dR), (G_L, G_R)> = <D, pullback(G_L, G_R)>."""
    made, shape = CASES[name]
    operator = operator_for(name)
    w = draw(name, rng, k)
    for _ in range(5):
        d = draw(name, rng, k)
        d_left, d_right = made.pushforward(w, d, shape)
        out_left = random_array(operator, rng, *d_left.shape)
        out_right = random_array(operator, rng, *d_right.shape)
        pulled = made.pullback(w, out_left, out_right, shape)
        assert pulled.shape == w.shape and pulled.dtype == w.dtype
        expected = inner(d_left, out_left) + inner(d_right, out_right)
        assert inner(d, pulled) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@every_case
def test_curvature_is_the_difference_of_pullbacks(name, rng):
    made, shape = CASES[name]
    operator = operator_for(name)
    w, d, h = draw(name, rng), draw(name, rng), 1e-6
    left, right = made.parts(w, shape)
    out = random_array(operator, rng, *left.shape), random_array(operator, rng, *right.shape)
    high, low = made.pullback(w + h * d, *out, shape), made.pullback(w - h * d, *out, shape)
    bend = made.curvature(w, d, *out, shape)
    assert (bend is None) == (made.degree == 2)
    expected = (high - low) / (2 * h)
    np.testing.assert_allclose(0 * w if bend is None else bend, expected, atol=1e-7)


@every_case
@pytest.mark.parametrize("k", [1, 3])
def test_increments_are_the_exact_polynomial(name, k, rng):
    made, shape = CASES[name]
    w, d = draw(name, rng, k), draw(name, rng, k)
    terms = [left @ right.T for left, right in made.increments(w, d, shape)]
    assert len(terms) == made.degree
    for t in (-2.3, -0.4, 1e-3, 1.0, 3.0):
        polynomial = full(name, w) + sum(t ** (j + 1) * x for j, x in enumerate(terms))
        assert_close(polynomial, full(name, w + t * d), 1e-12)


@every_case
def test_columns_add_up_where_it_says_so(name, rng):
    made, shape = CASES[name]
    w = draw(name, rng, 3)
    if not made.columnwise:
        assert isinstance(made, Deep)
        return
    parts = [made.compose(w[:, [c]], shape).toarray() for c in range(3)]
    assert_close(np.sum(parts, axis=0), full(name, w), 1e-13)


@every_case
@pytest.mark.parametrize("k", [1, 2])
def test_degrees_of_freedom_are_the_rank_of_the_jacobian(name, k, rng):
    made, shape = CASES[name]
    w = draw(name, rng, k)
    units = np.eye(w.size).reshape(w.size, *w.shape)
    terms = [made.increments(w, unit, shape)[0] for unit in units]
    jacobian = np.stack([real(left @ right.T) for left, right in terms])
    values = np.linalg.svd(jacobian, compute_uv=False)
    measured = int(np.sum(values > 1e-10 * values[0]))
    rank = int(np.linalg.matrix_rank(full(name, w)))
    assert rank == (2 * k if name == "Signed" else k)
    assert measured == made.degrees_of_freedom(shape, rank)


# -- the gauge ---------------------------------------------------------------------------------


def least_square_norm(name: str, x: np.ndarray) -> float:
    """Return min ||W||^2 over X(W) = X."""
    s = np.linalg.svd(x, compute_uv=False)
    if name.startswith("Deep"):
        depth = int(name[-1])
        return depth * float(np.sum(s ** (2 / depth)))
    return float(s.sum()) * (2 if name == "Asymmetric" else 1)


@every_case
@pytest.mark.parametrize("k", [1, 3, 7])
def test_gauge_keeps_the_matrix_with_the_least_norm(name, k, rng):
    made, shape = CASES[name]
    w = draw(name, rng, k) * 10.0 ** np.linspace(0, -1, k)
    w.flags.writeable = False
    balanced = made.gauge(w, shape)
    assert balanced.shape == w.shape and balanced.dtype == w.dtype
    assert_close(full(name, balanced), full(name, w), 1e-12)
    assert np.linalg.norm(balanced) <= np.linalg.norm(w) * (1 + 1e-12)
    # Rounding of a zero singular value weighs eps^(2/L): up to 1e-7 for four layers.
    tolerance = 1e-11 if made.degree == 2 else 1e-6
    least = least_square_norm(name, full(name, w))
    assert np.sum(balanced**2) == pytest.approx(least, rel=tolerance)
    if made.columnwise:  # what ridge_weight says
        nuclear = np.linalg.svd(full(name, w), compute_uv=False).sum()
        assert 0.5 * made.ridge_weight * np.sum(balanced**2) == pytest.approx(nuclear, rel=1e-11)
    again = made.gauge(balanced, shape)
    assert_close(full(name, again), full(name, w), 1e-12)
    assert np.linalg.norm(again) == pytest.approx(np.linalg.norm(balanced), rel=tolerance)
    left, right = made.parts(balanced, shape)
    for part in (left, right):
        gram = part.conj().T @ part
        assert np.linalg.norm(gram - np.diag(np.diag(gram))) <= 1e-10 * np.linalg.norm(gram) or (
            name == "Signed"
        )
    if name == "Signed":  # each half has its own eigenvectors, and both are orthogonal
        plus, minus = balanced[: shape[0]], balanced[shape[0] :]
        size = np.linalg.norm(full(name, w))
        assert np.linalg.norm(plus.T @ minus) <= 1e-10 * size
        for half in (plus, minus):
            gram = half.T @ half
            assert np.linalg.norm(gram - np.diag(np.diag(gram))) <= 1e-10 * size
            assert (np.diff(np.diag(gram)) <= 1e-10 * size).all()


@every_case
def test_gauge_of_nothing(name):
    made, shape = CASES[name]
    for k in (0, 2):
        w = np.zeros((made.size(shape, k), k))
        balanced = made.gauge(w, shape)
        np.testing.assert_array_equal(balanced, w)
        assert np.sum(made.singular_values(balanced)) == 0.0


@every_case
@pytest.mark.parametrize("k", [1, 3])
def test_singular_values_are_those_of_the_matrix(name, k, rng):
    made, shape = CASES[name]
    w = made.gauge(draw(name, rng, k), shape)
    expected = np.linalg.svd(full(name, w), compute_uv=False)
    found = made.singular_values(w)
    assert found.size <= expected.size
    np.testing.assert_allclose(found, expected[: found.size], rtol=1e-9)
    assert expected[found.size :].sum() <= 1e-12 * expected[0]
    problem = FactorizedProblem(operator_for(name), np.ones(1), made)
    assert problem.search_rank(w) == np.linalg.matrix_rank(full(name, w))


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name][0].columnwise])
@pytest.mark.parametrize("rank", [0, 1, 2, 3, 9])
def test_truncation_is_the_best_approximation(name, rank, rng):
    made, shape = CASES[name]
    w = made.gauge(draw(name, rng, 3), shape)
    w.flags.writeable = False
    x = full(name, w)
    u, s, vh = np.linalg.svd(x, full_matrices=False)
    best = (u[:, :rank] * s[:rank]) @ vh[:rank]
    cut = made.truncate(w, rank)
    assert np.linalg.norm(full(name, cut) - best) <= 1e-10 * np.linalg.norm(x)
    found = made.singular_values(cut)
    np.testing.assert_allclose(found, s[: found.size], rtol=1e-9)
    assert np.sum(found > 1e-10 * s[0]) == min(rank, np.linalg.matrix_rank(x))
    left, right = made.factors(cut, shape)
    assert np.linalg.norm(left @ right.T - best) <= 1e-10 * np.linalg.norm(x)
    assert left.shape[1] == right.shape[1] <= max(rank, 1)


def test_signed_truncation_keeps_the_largest_of_either_sign():
    made, n = Signed(), 6
    x = np.diag([3.0, -5.0, 1.0, -0.5, 0.0, 2.0])
    w = made.join(x, np.eye(n))
    assert w.shape == (12, 3)
    np.testing.assert_allclose(made.singular_values(w), [5.0, 3.0, 2.0, 1.0, 0.5], rtol=1e-14)
    for rank, kept in ((1, [-5.0]), (3, [3.0, -5.0, 2.0]), (4, [3.0, -5.0, 1.0, 2.0])):
        expected = np.where(np.isin(np.diag(x), kept), np.diag(x), 0.0)
        assert_close(full("Signed", made.truncate(w, rank)), np.diag(expected), 1e-14)
        left, right = made.factors(made.truncate(w, rank), (n, n))
        assert left.shape == right.shape == (n, rank)
        np.testing.assert_allclose(  # by falling size
            np.linalg.norm(left, axis=0) ** 2, np.sort(np.abs(kept))[::-1], rtol=1e-13
        )


@pytest.mark.parametrize("name", ["Deep 2", "Deep 3", "Deep 4"])
def test_deep_layers_are_balanced_and_keep_their_width(name, rng):
    made, shape = CASES[name]
    w = made.gauge(draw(name, rng, 3), shape)
    assert made.truncate(w, 1) is w
    n1, n2 = shape
    layers = [w[:n1].T, w[n1 : n1 + n2].T]  # W_L^T, W_1
    layers += [w[n1 + n2 + 3 * i : n1 + n2 + 3 * i + 3] for i in range(made.degree - 2)]
    root = np.linalg.svd(full(name, w), compute_uv=False)[:3] ** (1 / made.degree)
    for layer in layers:
        np.testing.assert_allclose(np.linalg.svd(layer, compute_uv=False), root, rtol=1e-9)
        assert_close(layer @ layer.T, np.diag(root**2), 1e-9)


@every_case
def test_join_takes_factors_to_a_point(name, rng):
    made, shape = CASES[name]
    left, right = made.parts(draw(name, rng), shape)
    w = made.join(left, right)
    assert not np.iscomplexobj(w)
    assert_close(full(name, w), left @ right.T, 1e-12)


def test_join_of_what_is_no_such_matrix(rng):
    left, right = rng.standard_normal((6, 2)), rng.standard_normal((6, 2))
    x = left @ right.T
    assert_close(full("Signed", Signed().join(left, right)), 0.5 * (x + x.T), 1e-12)
    mixed = np.array([[1.0, 0.4], [0.4, -2.0]])  # left mixed left^T is symmetric and indefinite
    assert_close(full("Signed", Signed().join(left, left @ mixed)), left @ mixed @ left.T, 1e-12)


# -- the dual matrix ---------------------------------------------------------------------------


def transported(name: str, rng: np.random.Generator) -> Any:
    operator = operator_for(name)
    return operator.adjoint(rng.standard_normal(operator.num_measurements))


def dense_dual(name: str, matrix: Any) -> np.ndarray:
    made, shape = CASES[name]
    form = made.dual(matrix, shape)
    assert form is not None and form.T is form
    return form @ np.eye(form.shape[0])


@every_dual
def test_dual_matrix_is_the_form_of_a_column(name, rng):
    made, shape = CASES[name]
    matrix = transported(name, rng)
    s = np.asarray(matrix @ np.eye(shape[0]))
    dense = dense_dual(name, matrix)
    assert dense.dtype == np.float64 and dense.shape == (made.size(shape), made.size(shape))
    np.testing.assert_allclose(dense, dense.T, atol=1e-13)
    for _ in range(5):
        w = draw(name, rng, 1)
        assert (w.T @ dense @ w).item() == pytest.approx(inner(s, full(name, w)), rel=1e-11)
    form = made.dual(matrix, shape)
    x = rng.standard_normal(dense.shape[0])
    assert_close(form @ x, dense @ x, 1e-13)


@every_dual
def test_dual_eigenvalues_bound_the_inner_product(name, rng):
    """max of <S, X(W)> over ||W|| = 1 is the largest eigenvalue, and that of S by the theory."""
    matrix = transported(name, rng)
    s = np.asarray(matrix @ np.eye(CASES[name][1][0]))
    s = 0.5 * (s + s.conj().T)
    values = np.linalg.eigvalsh(s)
    expected = np.abs(values).max() if name == "Signed" else values[-1]
    assert np.linalg.eigvalsh(dense_dual(name, matrix))[-1] == pytest.approx(expected, rel=1e-12)


def test_dual_of_independent_factors_is_the_matrix_itself(rng):
    for name in ("Asymmetric", "Deep 2", "Deep 3"):
        made, shape = CASES[name]
        assert made.dual(rng.standard_normal(shape), shape) is None
        with pytest.raises(NotImplementedError, match="no dual matrix"):
            made.span(draw(name, rng))


@every_case
def test_dual_norm_is_that_of_the_visible_part(name, rng):
    made, shape = CASES[name]
    operator = operator_for(name)
    problem = FactorizedProblem(operator, np.ones(operator.num_measurements), made)
    y = rng.standard_normal(operator.num_measurements)
    s = np.asarray(operator.adjoint(y) @ np.eye(shape[1]))
    if name in DUAL:
        s = 0.5 * (s + s.conj().T)
    norm = np.linalg.norm(s, 2)
    assert 0.999 * norm <= problem.dual_norm(y, rng) <= norm * (1 + 1e-12)


@every_dual
def test_span_is_an_orthonormal_basis_that_holds_the_point(name, rng):
    made, shape = CASES[name]
    w = made.gauge(draw(name, rng), shape)
    p = made.span(w)
    columns = {"Symmetric": K, "Signed": 2 * K, "Hermitian": 2 * K}[name]
    assert p.shape == (w.shape[0], columns)
    np.testing.assert_allclose(p.T @ p, np.eye(columns), atol=1e-12)
    assert_close(p @ (p.T @ w), w, 1e-12)
    assert made.span(np.zeros((w.shape[0], 0))).shape == (w.shape[0], 0)
    # Zero columns span nothing.
    padded = np.hstack([w, np.zeros((w.shape[0], 2))])
    assert made.span(padded).shape == p.shape


@every_dual
def test_span_deflates_the_cluster_at_lambda(name, rng):
    """With A*(s) = lambda on X's range, the projected dual has the rest of the spectrum."""
    made, (n, _) = CASES[name]
    basis = rng.standard_normal((n, n))
    if name == "Hermitian":
        basis = basis + 1j * rng.standard_normal((n, n))
    basis = np.linalg.qr(basis)[0]
    lam, second = 2.0, 1.3
    values = np.r_[lam, lam, second, rng.uniform(-1, 1, n - 3)]
    if name == "Signed":
        values[1] = -lam
    s = (basis * values) @ basis.conj().T
    u = basis[:, :2] * np.sqrt([3.0, 1.0])
    if name == "Signed":
        w = np.zeros((2 * n, 1))
        w[:n, 0], w[n:, 0] = u[:, 0], u[:, 1]
    elif name == "Hermitian":
        w = np.concatenate([np.real(u), np.imag(u)])
    else:
        w = u
    dense, p = dense_dual(name, s), made.span(w)
    np.testing.assert_allclose(dense @ p, lam * p, atol=1e-12)
    rest = np.eye(len(p)) - p @ p.T
    assert np.linalg.eigvalsh(rest @ dense @ rest)[-1] == pytest.approx(second, rel=1e-12)


# -- around ------------------------------------------------------------------------------------


@every_case
def test_saving_as_plain_values(name, rng):
    made, shape = CASES[name]
    twin = Factorization.from_dict(json.loads(json.dumps(made.to_dict())))
    assert type(twin) is type(made) and twin.to_dict() == made.to_dict()
    w = draw(name, rng)
    np.testing.assert_array_equal(
        twin.compose(w, shape).toarray(), made.compose(w, shape).toarray()
    )


def test_unusable_shapes_and_depths():
    for made in (Symmetric(), Signed(), Hermitian()):
        with pytest.raises(ShapeError, match=r"3 x 4 matrix.*Remedy"):
            made.size((3, 4))
    for depth in (1, 0, -2):
        with pytest.raises(InputError, match=rf"depth {depth}.*Remedy"):
            Deep(depth)


@every_case
def test_strict_array_api_arrays(name, rng):
    made, shape = CASES[name]
    w, d = draw(name, rng), draw(name, rng)
    sw, sd = strict(w), strict(d)
    left, right = made.parts(w, shape)
    s_left, s_right = made.parts(sw, shape)
    bend = made.curvature(sw, sd, s_left, s_right, shape)
    pairs = [
        (s_left, left),
        (s_right, right),
        (made.pushforward(sw, sd, shape)[1], made.pushforward(w, d, shape)[1]),
        (made.pullback(sw, s_left, s_right, shape), made.pullback(w, left, right, shape)),
        (made.gauge(sw, shape), made.gauge(w, shape)),
        (made.join(s_left, s_right), made.join(left, right)),
        (made.compose(sw, shape).toarray(), full(name, w)),
        (made.truncate(made.gauge(sw, shape), 1), made.truncate(made.gauge(w, shape), 1)),
        (
            made.factors(made.gauge(sw, shape), shape)[0],
            made.factors(made.gauge(w, shape), shape)[0],
        ),
    ]
    if bend is not None:
        pairs.append((bend, made.curvature(w, d, left, right, shape)))
    for found, expected in pairs:
        assert type(found).__module__.startswith("array_api_strict")
        assert_close(to_numpy(found), expected, 1e-11)
    np.testing.assert_allclose(
        made.singular_values(made.gauge(sw, shape)), made.singular_values(made.gauge(w, shape))
    )
    if name in DUAL:
        assert_close(made.span(sw), made.span(w), 1e-11)


@every_case
def test_results_repeat_and_inputs_stay(name, rng):
    made, shape = CASES[name]
    w, d = draw(name, rng), draw(name, rng)
    w.flags.writeable = d.flags.writeable = False
    left, right = (np.array(part) for part in made.parts(w, shape))
    left.flags.writeable = right.flags.writeable = False
    for make in (
        lambda: made.pullback(w, left, right, shape),
        lambda: made.gauge(w, shape),
        lambda: made.join(left, right),
        lambda: np.hstack(made.increments(w, d, shape)[-1][:1]),
        lambda: made.truncate(made.gauge(w, shape), 1),
        lambda: made.singular_values(w),
    ):
        np.testing.assert_array_equal(make(), make())


# -- problems ----------------------------------------------------------------------------------


def predictions(name: str, w: np.ndarray) -> np.ndarray:
    """Return A(X(W)) of the case's operator from the dense X."""
    return np.asarray(operator_for(name).apply(full(name, w)))


def between(sizes: np.ndarray) -> float:
    """Return the middle of the widest gap in the central half of ``sizes`` (moves, items)."""
    low, high = np.sort(sizes.min(axis=0)), np.sort(sizes.max(axis=0))
    m = low.size
    gaps = low[1:] - np.maximum.accumulate(high)[:-1]
    i = m // 4 + int(np.argmax(gaps[m // 4 : 3 * m // 4]))
    assert gaps[i] > 0
    return float(0.5 * (np.maximum.accumulate(high)[i] + low[i + 1]))


def pose(name: str, loss: str, moves: list[np.ndarray], lam: float = 0.3) -> FactorizedProblem:
    """Pose a problem whose residuals at all of ``moves`` are on one side of every kink."""
    operator = operator_for(name)
    m = operator.num_measurements
    rng = np.random.default_rng(8)
    z = np.array([predictions(name, w) for w in moves])
    b = z[0] + 2.0 * rng.standard_normal(m)
    chosen: Loss
    if loss == "Logistic":
        b, chosen = rng.choice([-1.0, 1.0], m), Logistic()
    elif loss == "Huber":
        chosen = Huber(between(np.abs(z - b)), 1.7)
    elif loss == "L1BallDistance":
        # The level moves with the residuals; in the middle of a gap it stays there.
        level = between(np.abs(z - b))
        chosen = L1BallDistance(float(np.maximum(np.abs(z[0] - b) - level, 0).sum()))
    elif loss == "GroupHuber":
        groups = np.arange(m) % 7
        lengths = [[np.linalg.norm(r[groups == g]) for g in range(7)] for r in z - b]
        chosen = GroupHuber(groups, between(np.array(lengths)))
    else:
        chosen = Squared()
    return FactorizedProblem(operator, b, CASES[name][0], (SquaredNorm(lam),), loss=chosen)


def slope(errors: list[float], steps: list[float]) -> float:
    return float(np.log(errors[0] / errors[1]) / np.log(steps[0] / steps[1]))


@every_case
@every_pair
def test_taylor_slopes_are_two_and_three(name, loss, rng):
    w, d = 0.6 * draw(name, rng), draw(name, rng)
    # Partly along W, so that no coefficient of the expansion vanishes by accident.
    d = w / np.linalg.norm(w) + 0.5 * d / np.linalg.norm(d)
    steps = [1e-2, 1e-3]
    problem = pose(name, loss, [w, *(w + t * d for t in steps)])
    point = problem.evaluate(w)
    first, second = inner(point.gradient, d), inner(problem.hvp(point, d), d)
    values = [problem.evaluate(w + t * d).value for t in steps]
    linear = [abs(v - point.value - t * first) for v, t in zip(values, steps, strict=True)]
    quadratic = [
        abs(v - point.value - t * first - 0.5 * t * t * second)
        for v, t in zip(values, steps, strict=True)
    ]
    assert abs(slope(linear, steps) - 2) < 0.05
    assert abs(slope(quadratic, steps) - 3) < 0.1


@every_case
@every_pair
def test_value_is_the_loss_of_the_dense_matrix(name, loss, rng):
    w = draw(name, rng)
    problem = pose(name, loss, [w])
    point = problem.evaluate(w)
    z = predictions(name, w)
    expected = problem.loss.value(z, problem.b)
    assert point.loss == pytest.approx(expected, rel=1e-12)
    assert point.value == pytest.approx(expected + 0.15 * np.sum(w**2), rel=1e-12)
    assert_close(point.residual, z - problem.b, 1e-12)
    assert_close(point.slope, problem.loss.slope(z, problem.b), 1e-11)
    assert_close(problem.slope(w), point.slope, 1e-12)


@every_case
@every_pair
def test_hessian_is_the_difference_of_gradients(name, loss, rng):
    w, h = 0.6 * draw(name, rng), 1e-5
    units = np.eye(w.size).reshape(w.size, *w.shape)
    problem = pose(name, loss, [w, *(w + sign * h * e for e in units for sign in (-1, 1))])
    point = problem.evaluate(w)
    dense = np.stack([problem.hvp(point, e).ravel() for e in units], axis=1)
    assert_close(dense, dense.T, 1e-12)
    gradients = [
        (problem.evaluate(w + h * e).gradient - problem.evaluate(w - h * e).gradient).ravel()
        for e in units
    ]
    assert_close(dense, np.stack(gradients, axis=1) / (2 * h), 1e-7)


@every_case
@every_pair
def test_gauss_newton_product_is_made_of_the_jacobian(name, loss, rng):
    """J^T H J + mu I, with J by differences of the predictions."""
    w, h = 0.6 * draw(name, rng), 1e-5
    problem = pose(name, loss, [w])
    point = problem.evaluate(w)
    units = np.eye(w.size).reshape(w.size, *w.shape)
    jacobian = np.stack([problem.pushforward(w, e) for e in units], axis=1)
    differences = [
        (predictions(name, w + h * e) - predictions(name, w - h * e)) / (2 * h) for e in units
    ]
    assert_close(jacobian, np.stack(differences, axis=1), 1e-8)
    assert_close(point.gradient.ravel(), jacobian.T @ point.slope + 0.3 * w.ravel(), 1e-11)
    product = problem.loss.curvature(point.residual + problem.b, problem.b)
    bent = jacobian if product is None else np.stack([product(c) for c in jacobian.T], axis=1)
    expected = jacobian.T @ bent + 0.3 * np.eye(w.size)
    dense = np.stack([problem.gauss_newton_product(point, e).ravel() for e in units], axis=1)
    assert_close(dense, expected, 1e-11)


@every_case
def test_curve_and_line_are_exact(name, rng):
    w, d = draw(name, rng), draw(name, rng)
    problem = pose(name, "Squared", [w])
    point = problem.evaluate(w)
    terms, coefficients = problem.curve(point, d), problem.line(point, d)
    degree = problem.factorization.degree
    assert len(terms) == degree and coefficients.shape == (2 * degree + 1,)
    for t in (-1.7, -0.3, 0.4, 2.5):
        z = predictions(name, w) + sum(t ** (j + 1) * z for j, z in enumerate(terms))
        assert_close(z, predictions(name, w + t * d), 1e-12)
        exact = problem.evaluate(w + t * d).value
        assert np.polyval(coefficients[::-1], t) == pytest.approx(exact, rel=1e-11)


def lowest_on_grid(values: np.ndarray, start: int, downhill: int) -> float:
    """Return the first local minimum from ``start`` in the given direction."""
    i = start
    while 0 < i < len(values) - 1 and values[i + downhill] <= values[i]:
        i += downhill
    return float(values[i])


@every_case
@every_pair
@pytest.mark.parametrize("kind", ["downhill", "uphill", "short", "random"])
def test_minimize_along_finds_a_minimum(name, loss, kind, rng):
    """Against a dense grid: the global minimum (squared loss), else the first one downhill."""
    for _ in range(2):
        w = 0.6 * draw(name, rng)
        problem = pose(name, loss, [w])
        point = problem.evaluate(w)
        d = {
            "downhill": -point.gradient / np.linalg.norm(point.gradient),
            "uphill": point.gradient / np.linalg.norm(point.gradient),
            "short": -1e-3 * point.gradient / np.linalg.norm(point.gradient),
            "random": rng.standard_normal(w.shape),
        }[kind]
        t, decrease = problem.minimize_along(point, d)
        found = problem.evaluate(w + t * d)
        assert decrease > 0
        assert point.value - found.value == pytest.approx(decrease, rel=1e-6, abs=1e-11)
        first, last = inner(point.gradient, d), inner(found.gradient, d)
        reach = 4.0 if kind != "short" else 4e3
        grid = np.linspace(-reach, reach, 1601)
        terms = problem.curve(point, d)
        z = predictions(name, w) + sum(
            grid[:, None] ** (j + 1) * term for j, term in enumerate(terms)
        )
        penalty = 0.15 * np.array([np.sum((w + x * d) ** 2) for x in grid])
        values = np.array([problem.loss.value(row, problem.b) for row in z]) + penalty
        if loss == "Squared":
            assert abs(last) <= 1e-6 * abs(first)
            assert found.value <= values.min() + 1e-9 * point.value
        else:
            assert abs(last) <= 0.1 * abs(first) * (1 + 1e-9)
            assert t * first < 0  # it walks downhill
            local = lowest_on_grid(values, 800, -1 if first > 0 else 1)
            assert decrease >= 0.9 * (point.value - local)  # it stops at a tenth of the slope


def test_line_search_ends_at_once_where_it_is_flat():
    """A stationary point, and a start whose loss swamps the decrease."""
    penalty = np.zeros(5)
    z, step = np.array([0.5, 0.0]), np.array([0.0, 1.0])
    assert minimize_along_curve(Huber(1.0), z, [step], 0 * z, penalty) == (0.0, 0.0)
    z, step = np.array([1e9, 1e-4]), np.array([0.0, -1e-4])
    t, decrease = minimize_along_curve(Huber(1.0), z, [step], 0 * z, penalty)
    assert t == pytest.approx(1.0, abs=0.1)
    assert decrease == pytest.approx(5e-9, rel=0.02)


@every_pair
def test_line_search_on_a_convex_line_has_a_bounded_error(loss, rng):
    """Along D in L alone X is linear: f(t) - f* <= |f'(t)| |t - t*|, with f' a tenth at most."""
    for _ in range(3):
        w = draw("Asymmetric", rng)
        problem = pose("Asymmetric", loss, [w])
        point = problem.evaluate(w)
        d = -point.gradient
        d[6:] = 0.0
        t, decrease = problem.minimize_along(point, d)
        found = problem.evaluate(w + t * d)
        grid = np.linspace(0, 3 * t, 601)
        values = np.array([problem.evaluate(w + x * d).value for x in grid])
        assert 0 < values.argmin() < 600
        allowed = 0.1 * inner(d, d) * (abs(t - grid[values.argmin()]) + grid[1])
        assert found.value <= values.min() + allowed
        assert decrease > 0


@every_case
@every_pair
def test_strict_problems_agree(name, loss, rng):
    w, d = 0.6 * draw(name, rng), draw(name, rng)
    problem = pose(name, loss, [w])
    operator = problem.operator
    if isinstance(operator, DenseSensing):
        operator = DenseSensing(strict(to_numpy(operator.matrices)))
    twin = FactorizedProblem(
        operator, strict(problem.b), problem.factorization, problem.regularizers, loss=problem.loss
    )
    point, expected = twin.evaluate(strict(w)), problem.evaluate(w)
    assert type(point.gradient).__module__.startswith("array_api_strict")
    assert point.value == pytest.approx(expected.value, rel=1e-12)
    assert_close(point.gradient, expected.gradient, 1e-12)
    assert_close(twin.hvp(point, strict(d)), problem.hvp(expected, d), 1e-11)
    assert twin.minimize_along(point, strict(d)) == pytest.approx(
        problem.minimize_along(expected, d), rel=1e-6
    )
    assert twin.scale == pytest.approx(problem.scale, rel=1e-9)


def test_hermitian_coordinates_are_consistent(rng):
    """The referee's coordinates of a Hermitian operator and ``real`` agree, so tests may mix."""
    operator = operator_for("Hermitian")
    w = draw("Hermitian", rng)
    x = CASES["Hermitian"][0].compose(w, operator.shape)
    assert isinstance(x, LowRank)
    assert_close(from_coordinates(operator, real(full("Hermitian", w))), x.toarray(), 1e-13)
    assert_close(operator.normal_matrix() @ real(x.toarray()), operator.apply(x), 1e-12)


# -- fixed signs -------------------------------------------------------------------------------


def test_signature_is_signed_without_zero_halves(rng):
    signed, n = Signed(), 6
    left = rng.standard_normal((n, 3))
    w = signed.join(left, left * np.array([1.0, -1.0, 1.0]))
    made, fixed = signed.fixed(w)
    assert sorted(made.signs) == [-1, 1, 1] and fixed.shape == (n, 3)
    x = full("Signed", w)
    assert_close(made.compose(fixed, (n, n)).toarray(), x, 1e-12)
    balanced = made.gauge(rng.standard_normal((n, 3)), (n, n))
    for sign in (1, -1):  # columns of one sign are orthogonal, by falling length
        gram = balanced[:, np.array(made.signs) == sign]
        gram = gram.T @ gram
        assert_close(gram, np.diag(np.diag(gram)), 1e-12)
        assert (np.diff(np.diag(gram)) <= 0).all()


def test_signature_has_the_calculus_of_the_others(rng):
    made, n = Signature((1, -1, 1)), 6
    operator = DenseSensing(rng.standard_normal((20, n, n)))
    problem = FactorizedProblem(operator, rng.standard_normal(20), made)
    w, d = rng.standard_normal((n, 3)), rng.standard_normal((n, 3))
    point = problem.evaluate(w)
    h = 1e-5
    high, low = problem.evaluate(w + h * d), problem.evaluate(w - h * d)
    slope = (high.value - low.value) / (2 * h)
    assert inner(point.gradient, d) == pytest.approx(slope, rel=1e-6)
    np.testing.assert_allclose(
        problem.hvp(point, d), (high.gradient - low.gradient) / (2 * h), rtol=1e-5, atol=1e-5
    )
    assert_close(problem.compose(problem.gauge(w)).toarray(), problem.compose(w).toarray(), 1e-12)
