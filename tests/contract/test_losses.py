"""Losses: convex functions with slope, Hessian and conjugate, judged by differences and by duality.

The judges are finite differences, the Fenchel-Young inequality and searches that know the loss by
its values alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar

from cases import assert_close, registered, strict
from ranklift.arrays import to_numpy
from ranklift.errors import InputError
from ranklift.losses import (
    LOSSES,
    Absolute,
    GroupHuber,
    Huber,
    L1BallDistance,
    Logistic,
    Loss,
    Squared,
)

M = 12
# Group 1 is empty, and the sizes differ.
GROUPS = np.array([0, 2, 0, 2, 3, 3, 3, 3, 4, 0, 2, 5])
CLEAR = 0.03
"""Distance from all kinks that differences keep."""


@dataclass(frozen=True)
class Case:
    """A loss with the distance of a residual to its nearest kink."""

    loss: Loss
    clearance: Callable[[np.ndarray], float] = lambda r: np.inf
    signs: bool = False


def ball_level(r: np.ndarray, radius: float) -> float:
    """Return theta with sum max(|r| - theta, 0) = radius by bisection; 0 inside of the ball."""
    low, high = 0.0, float(np.abs(r).max())
    if np.abs(r).sum() <= radius:
        return 0.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        if np.maximum(np.abs(r) - middle, 0).sum() > radius:
            low = middle
        else:
            high = middle
    return high


def group_lengths(r: np.ndarray) -> np.ndarray:
    return np.array([np.linalg.norm(r[g == GROUPS]) for g in range(6)])


CASES = {
    "Squared": Case(Squared()),
    "Huber": Case(Huber(0.7), lambda r: np.abs(np.abs(r) - 0.7).min()),
    "Huber weighted": Case(Huber(0.4, 2.5), lambda r: np.abs(np.abs(r) - 0.4).min()),
    "Absolute": Case(Absolute(0.8), lambda r: np.abs(r).min()),
    "Logistic": Case(Logistic(), signs=True),
    "L1BallDistance": Case(
        L1BallDistance(5.0), lambda r: np.abs(np.abs(r) - ball_level(r, 5.0)).min()
    ),
    "L1BallDistance within": Case(L1BallDistance(1e3)),
    "GroupHuber": Case(
        GroupHuber(GROUPS, 1.4), lambda r: np.abs(group_lengths(r)[[0, 2, 3, 4, 5]] - 1.4).min()
    ),
}
SMOOTH = [name for name in CASES if name != "Absolute"]
every_case = pytest.mark.parametrize("name", list(CASES))
every_smooth = pytest.mark.parametrize("name", SMOOTH)


def pose(name: str, seed: int = 0) -> tuple[Loss, np.ndarray, np.ndarray]:
    """Return the loss, data b and predictions z whose residuals keep clear of kinks."""
    case, rng = CASES[name], np.random.default_rng(seed)
    b = rng.choice([-1.0, 1.0], M) if case.signs else 2 * rng.standard_normal(M)
    while True:
        # Partly fitted: <slope, b> is then negative, as it is along a run from X = 0.
        z = 0.4 * b + 1.2 * rng.standard_normal(M)
        if case.clearance(z - b) > CLEAR:
            return case.loss, z, b


def hessian(loss: Loss, z: np.ndarray, b: np.ndarray) -> np.ndarray:
    product = loss.curvature(z, b)
    if product is None:
        return np.eye(M)
    return np.stack([product(unit) for unit in np.eye(M)], axis=1)


def test_every_loss_has_a_case():
    assert {type(case.loss).__name__ for case in CASES.values()} == set(registered(LOSSES))


# -- derivatives -------------------------------------------------------------------------------


@every_case
@pytest.mark.parametrize("seed", range(3))
def test_slope_is_the_difference_of_values(name, seed):
    loss, z, b = pose(name, seed)
    h = 1e-5
    expected = [(loss.value(z + h * e, b) - loss.value(z - h * e, b)) / (2 * h) for e in np.eye(M)]
    np.testing.assert_allclose(loss.slope(z, b), expected, atol=1e-8)


@every_case
@pytest.mark.parametrize("seed", range(3))
def test_hessian_is_the_difference_of_slopes(name, seed):
    loss, z, b = pose(name, seed)
    h = 1e-5
    expected = [(loss.slope(z + h * e, b) - loss.slope(z - h * e, b)) / (2 * h) for e in np.eye(M)]
    dense = hessian(loss, z, b)
    np.testing.assert_allclose(dense, np.stack(expected, axis=1), atol=1e-8)
    np.testing.assert_allclose(dense, dense.T, atol=1e-14)
    values = np.linalg.eigvalsh(dense)
    assert values[0] >= -1e-14 and values[-1] <= loss.smoothness * (1 + 1e-14)


@every_case
def test_value_and_slope_agree_with_both(name):
    loss, z, b = pose(name)
    value, slope = loss.value_and_slope(z, b)
    assert value == pytest.approx(loss.value(z, b), rel=1e-15)
    assert_close(slope, loss.slope(z, b), 1e-15)


@every_smooth
def test_smoothness_is_a_lipschitz_constant_and_is_reached(name, rng):
    loss, _, b = pose(name)
    ratios = []
    for scale in (1e-4, 1e-2, 1.0, 100.0):
        for _ in range(100):
            z = scale * rng.standard_normal(M) + (0 if loss.zero_at_fit is False else b)
            step = scale * rng.standard_normal(M)
            change = np.linalg.norm(loss.slope(z + step, b) - loss.slope(z, b))
            ratios.append(change / np.linalg.norm(step))
    assert max(ratios) <= loss.smoothness * (1 + 1e-10)
    if name == "L1BallDistance":  # flat within the ball: its steepest points are beyond
        z = b + 50.0 * rng.choice([-1.0, 1.0], M)
        ratios.append(np.linalg.norm(loss.slope(1.0 * z + np.sign(z - b), b) - loss.slope(z, b)))
        ratios[-1] /= np.sqrt(M)
    if name != "L1BallDistance within":
        assert max(ratios) >= 0.99 * loss.smoothness


def test_absolute_loss_has_no_lipschitz_constant():
    assert Absolute(0.8).smoothness == np.inf


@every_case
def test_convexity_along_random_segments(name, rng):
    loss, _, b = pose(name)
    for _ in range(50):
        z, other, t = 3 * rng.standard_normal(M), 3 * rng.standard_normal(M), rng.uniform()
        chord = (1 - t) * loss.value(z, b) + t * loss.value(other, b)
        assert loss.value((1 - t) * z + t * other, b) <= chord + 1e-12 * abs(chord)
        tangent = loss.value(z, b) + loss.slope(z, b) @ (other - z)
        assert loss.value(other, b) >= tangent - 1e-12 * (1 + abs(tangent))


@every_case
def test_zero_at_fit(name, rng):
    loss, z, b = pose(name)
    if loss.zero_at_fit:
        assert loss.value(b, b) == 0.0
        np.testing.assert_array_equal(loss.slope(b, b), 0.0)
    else:
        assert loss.value(b, b) > 0.1
    assert loss.value(z, b) >= 0.0


@every_case
def test_the_order_of_measurements_matters_for_groups_only(name, rng):
    loss, z, b = pose(name)
    order = np.roll(np.arange(M), 5)
    same = loss.value(z[order], b[order]) == pytest.approx(loss.value(z, b), rel=1e-12)
    assert same or not loss.separable
    assert loss.separable == (type(loss) is not GroupHuber)


@every_case
def test_weights_stand_for_the_hessian(name):
    for seed in range(3):
        loss, z, b = pose(name, seed)
        weights, dense = loss.weights(z, b), hessian(loss, z, b)
        if weights is None:
            assert type(loss) in (Squared, Absolute)
            continue
        assert weights.shape == (M,)
        assert (weights >= 0).all() and (weights <= loss.smoothness).all()
        if type(loss) is Logistic:
            np.testing.assert_allclose(np.diag(weights), dense, atol=1e-15)
            continue
        if type(loss) is L1BallDistance:  # those of the Huber loss at its level; 1 within the ball
            r, level = np.abs(z - b), ball_level(z - b, loss.radius)
            expected = np.minimum(1.0, level / r) if level > 0 else np.ones(M)
            np.testing.assert_allclose(weights, expected, rtol=1e-12)
            continue
        # Quadratics with these weights lie above the loss, touch it at z, and are never flat.
        assert (weights > 0).all() and (weights < loss.smoothness).any()
        rng = np.random.default_rng(seed)
        for _ in range(200):
            step = 10.0 ** rng.uniform(-3, 1) * rng.standard_normal(M)
            above = loss.value(z, b) + loss.slope(z, b) @ step + 0.5 * (weights * step) @ step
            assert loss.value(z + step, b) <= above * (1 + 1e-12)
        if type(loss) is GroupHuber:
            assert np.linalg.eigvalsh(np.diag(weights) - dense)[0] >= -1e-14


# -- the conjugate -----------------------------------------------------------------------------


@every_case
def test_fenchel_young(name, rng):
    """value(z) + conjugate(s) >= <s, z>, with equality exactly at the slope."""
    loss, _, b = pose(name)
    for _ in range(100):
        z, other = b + 2 * rng.standard_normal(M), b + 2 * rng.standard_normal(M)
        s = loss.slope(other, b) * rng.uniform()
        surplus = loss.value(z, b) + loss.conjugate(s, b) - s @ z
        assert np.isfinite(surplus) and surplus >= -1e-12 * (1 + abs(s @ z))
        s = loss.slope(z, b)
        equal = loss.value(z, b) + loss.conjugate(s, b) - s @ z
        assert abs(equal) <= 1e-12 * (1 + abs(s @ z))
    assert loss.conjugate(0 * b, b) == pytest.approx(0.0, abs=1e-300)


def outside(name: str, b: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return points just outside of the conjugate's domain, and rays along which it shows."""
    unit = np.eye(M)[3]
    if name == "Logistic":  # p = -b s must be in [0, 1]
        return [(0.01 * b[3] * unit, b[3] * unit), (-1.01 * b[3] * unit, -b[3] * unit)]
    if name == "GroupHuber":
        s = np.where(GROUPS == 2, 1.0, 0.0)
        s *= 1.01 * 1.4 / np.linalg.norm(s)
        return [(s, s), (-s, -s)]
    limit = {"Huber": 0.7, "Huber weighted": 0.4 * 2.5, "Absolute": 0.8}[name]
    return [(sign * 1.01 * limit * unit, sign * unit) for sign in (-1.0, 1.0)]


@pytest.mark.parametrize("name", ["Huber", "Huber weighted", "Absolute", "Logistic", "GroupHuber"])
def test_conjugate_is_infinite_outside_of_its_domain(name):
    loss, _, b = pose(name)
    for s, ray in outside(name, b):
        assert loss.conjugate(s, b) == np.inf
        # It is: <s, z> - loss grows without bound along the ray ...
        gains = [s @ (t * ray) - loss.value(t * ray, b) for t in (1e4, 1e5, 1e6)]
        assert gains[0] < gains[1] < gains[2] and gains[2] > 5e3
        # ... and the domain begins right beside.
        inside = 0.999 / 1.01 * s
        if name != "Logistic" or b @ s < 0:
            assert np.isfinite(loss.conjugate(inside, b))


@pytest.mark.parametrize("name", ["Squared", "L1BallDistance"])
def test_conjugate_is_finite_everywhere(name, rng):
    loss, _, b = pose(name)
    s = 1e6 * rng.standard_normal(M)
    assert np.isfinite(loss.conjugate(s, b)) and loss.dual_limit(s, b) == np.inf


@every_case
def test_dual_limit_is_where_the_domain_ends(name):
    loss, z, b = pose(name)
    s = -loss.slope(z, b)
    limit = loss.dual_limit(s, b)
    if not np.isfinite(limit):
        assert name in ("Squared", "L1BallDistance", "L1BallDistance within")
        return
    assert limit >= 1.0  # minus the slope itself is in the domain
    assert np.isfinite(loss.conjugate(-limit * s, b))
    assert loss.conjugate(-1.0001 * limit * s, b) == np.inf
    assert loss.dual_limit(0 * s, b) == np.inf


@every_case
@pytest.mark.parametrize("limit", [0.0, 0.3, 1.0, 7.0])
@pytest.mark.parametrize("direction", ["slope", "random"])
def test_best_dual_scale_is_a_lower_bound_and_nearly_the_best(name, limit, direction, rng):
    """For any c >= 0 and z, -conjugate(-c s) <= loss(z) + c <s, z>."""
    for seed in range(3):
        loss, z, b = pose(name, seed)
        s = -loss.slope(z, b) if direction == "slope" else rng.standard_normal(M)
        c, bound = loss.best_dual_scale(s, b, limit)
        assert 0.0 <= c <= limit
        assert bound == pytest.approx(-loss.conjugate(-c * s, b), rel=1e-10, abs=1e-13)
        for _ in range(50):
            other = z + rng.standard_normal(M) * 10.0 ** rng.uniform(-3, 1)
            assert bound <= loss.value(other, b) + c * (s @ other) + 1e-12 * (1 + abs(bound))
        high = min(limit, loss.dual_limit(s, b))
        grid = [-loss.conjugate(-x * s, b) for x in np.linspace(0, high, 2001)]
        assert bound >= max(grid) - 1e-9 * (1 + abs(max(grid)))


@every_case
def test_best_dual_scale_without_a_limit(name):
    loss, z, b = pose(name)
    c, bound = loss.best_dual_scale(-loss.slope(z, b), b, float("inf"))
    assert np.isfinite(c) and np.isfinite(bound) and bound >= 0.0
    assert loss.best_dual_scale(0 * z, b, float("inf"))[1] == 0.0


def test_dual_bounds_are_far_from_trivial():
    """Along minus the slope at the start of a run the bound is well above 0, that of c = 0."""
    for name in CASES:
        if name == "L1BallDistance within":  # loss 0 at X = 0: 0 is the best bound
            continue
        loss, _, b = pose(name)
        s = -loss.slope(0 * b, b)
        bound = loss.best_dual_scale(s, b, 10.0)[1]
        assert bound == pytest.approx(loss.value(0 * b, b), rel=1e-9)


# -- what is special to some -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Huber", "Huber weighted"])
def test_sparse_part_of_huber(name, rng):
    """Weight (1/2 (r - s)^2 + threshold |s|) is least at s, measurement by measurement."""
    loss, z, b = pose(name)
    s, values = loss.sparse_part(z, b), loss.to_dict()  # type: ignore[attr-defined]
    threshold, weight = values["threshold"], values["weight"]

    def cost(x: float, r: float) -> float:
        return weight * (0.5 * (r - x) ** 2 + threshold * abs(x))

    for r, found in zip(b - z, s, strict=True):
        brute: Any = minimize_scalar(lambda x, r=r: cost(x, r), bounds=(-20, 20), method="bounded")
        assert cost(found, r) <= brute.fun + 1e-12
        assert found == pytest.approx(brute.x, abs=1e-4)
    assert (s == 0).any() and (s != 0).any()
    total = sum(cost(x, r) for x, r in zip(s, b - z, strict=True))
    assert total == pytest.approx(loss.value(z, b), rel=1e-13)


def test_sparse_part_of_group_huber():
    loss, z, b = pose("GroupHuber")
    s, r = loss.sparse_part(z, b), b - z  # type: ignore[attr-defined]

    def cost(x: np.ndarray, part: np.ndarray) -> float:
        return 0.5 * np.sum((part - x) ** 2) + 1.4 * float(np.linalg.norm(x))

    total = 0.0
    for group in np.unique(GROUPS):
        part, found = r[group == GROUPS], s[group == GROUPS]
        options = {"xatol": 1e-9, "fatol": 1e-13, "maxiter": 20_000, "maxfev": 20_000}
        brute = min(
            (minimize(cost, start, (part,), "Nelder-Mead", options=options)
             for start in (part, 0.3 * part)),
            key=lambda run: run.fun,
        )  # fmt: skip
        assert cost(found, part) <= brute.fun + 1e-10
        np.testing.assert_allclose(found, brute.x, atol=1e-4)
        total += cost(found, part)
    lengths = group_lengths(s)
    assert (lengths == 0).sum() > 1 and (lengths > 0).any()
    assert total == pytest.approx(loss.value(z, b), rel=1e-13)


def test_sparse_part_of_the_l1_ball_is_the_projection(rng):
    loss, z, b = pose("L1BallDistance")
    s, r = loss.sparse_part(z, b), b - z  # type: ignore[attr-defined]
    assert np.abs(s).sum() == pytest.approx(5.0, rel=1e-13)
    # s = p - q with p, q >= 0 and sum (p + q) <= 5, by a general solver.
    brute = minimize(
        lambda x: 0.5 * np.sum((r - x[:M] + x[M:]) ** 2),
        np.zeros(2 * M),
        jac=lambda x: np.concatenate([x[:M] - x[M:] - r, r - x[:M] + x[M:]]),
        method="SLSQP",
        bounds=[(0, None)] * (2 * M),
        constraints={"type": "ineq", "fun": lambda x: 5.0 - x.sum()},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    np.testing.assert_allclose(s, brute.x[:M] - brute.x[M:], atol=1e-5)
    assert loss.value(z, b) == pytest.approx(brute.fun, rel=1e-8)
    # The projection's variational inequality, at random points of the ball and its corners.
    points = [5.0 * sign * e for e in np.eye(M) for sign in (-1, 1)]
    points += [5.0 * x / np.abs(x).sum() for x in rng.standard_normal((100, M))]
    assert max((r - s) @ (p - s) for p in points) <= 1e-12
    within = L1BallDistance(1e3)
    np.testing.assert_array_equal(within.sparse_part(z, b), r)
    assert within.value(z, b) == 0.0


@pytest.mark.parametrize("radius", [1e-6, 0.3, 5.0, 17.0])
def test_level_of_the_l1_ball_by_bisection(radius, rng):
    loss = L1BallDistance(radius)
    for r in (
        rng.standard_normal(40),
        rng.standard_normal(40) * 10.0 ** rng.uniform(-8, 3, 40),
        np.repeat([2.0, -2.0, 1.0, 0.0], 5),  # ties
        np.r_[100.0, np.zeros(9)],
        np.array([-17.5]),
        np.full(4, radius / 4),  # on the sphere of the ball
    ):
        level = ball_level(r, radius)
        expected = np.clip(r, -level, level)
        np.testing.assert_allclose(loss.slope(r, 0 * r), expected, atol=1e-12 * np.abs(r).max())


def test_smoothed_absolute_loss_is_below_by_at_most_its_stated_share(rng):
    for weight, width in ((0.8, 0.1), (3.0, 1e-3)):
        loss = Absolute(weight)
        twin = loss.smoothed(width)
        z, b = rng.standard_normal(200), 0.5 * rng.standard_normal(200)
        z[:50] = b[:50] + width * rng.uniform(-2, 2, 50)
        below = np.array(
            [loss.value(z[[i]], b[[i]]) - twin.value(z[[i]], b[[i]]) for i in range(200)]
        )
        assert (below >= -1e-14).all() and below.max() <= weight * width / 2 * (1 + 1e-9)
        assert below.max() >= 0.99 * weight * width / 2
        assert loss.value(z, b) - twin.value(z, b) == pytest.approx(below.sum(), rel=1e-9)
        assert twin.smoothness == pytest.approx(weight / width)


def test_huber_approaches_the_squared_and_the_absolute_loss(rng):
    z, b = rng.standard_normal(M), rng.standard_normal(M)
    assert Huber(1e3).value(z, b) == pytest.approx(Squared().value(z, b), rel=1e-14)
    assert Huber(1e-9, 1e9).value(z, b) == pytest.approx(Absolute().value(z, b), rel=1e-7)


def test_groups_of_one_are_hubers_loss(rng):
    z, b = 2 * rng.standard_normal(M), rng.standard_normal(M)
    alone = GroupHuber(rng.permutation(M), 0.9)
    assert alone.value(z, b) == pytest.approx(Huber(0.9).value(z, b), rel=1e-14)
    assert_close(alone.slope(z, b), Huber(0.9).slope(z, b), 1e-14)


def test_logistic_loss_far_out_neither_overflows_nor_underflows():
    loss, b = Logistic(), np.array([1.0, -1.0, 1.0, -1.0])
    z = np.array([1e4, 1e4, -1e4, -1e4])
    assert loss.value(z, b) == 2e4
    np.testing.assert_array_equal(loss.slope(z, b), [0.0, 1.0, -1.0, 0.0])
    np.testing.assert_array_equal(loss.weights(z, b), 0.0)
    # A tail of exp(-40) is kept: 1 + it would round to 1.
    tail = loss.value(np.array([40.0]), np.array([1.0]))
    assert tail == pytest.approx(np.exp(-40.0), rel=1e-12)


def test_residuals_of_zero_divide_by_nothing():
    for name, case in CASES.items():
        b = np.where(np.arange(M) % 2, 1.0, -1.0)
        assert np.isfinite(case.loss.value(b, b)), name
        assert np.isfinite(case.loss.slope(b, b)).all()
        assert np.isfinite(hessian(case.loss, b, b)).all()


# -- around ------------------------------------------------------------------------------------


@every_case
def test_saving_as_plain_values(name):
    loss, z, b = pose(name)
    values = loss.to_dict()
    twin = Loss.from_dict(json.loads(json.dumps(values)))
    assert type(twin) is type(loss) and values["class"] == type(loss).__name__
    assert twin.to_dict() == values
    assert twin.value(z, b) == loss.value(z, b)
    np.testing.assert_array_equal(twin.slope(z, b), loss.slope(z, b))


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize(
    "make",
    [
        Huber,
        lambda x: Huber(1.0, x),
        Absolute,
        L1BallDistance,
        lambda x: GroupHuber(np.zeros(2, int), x),
    ],
)
def test_constants_must_be_positive_and_finite(make, bad):
    with pytest.raises(InputError, match="Remedy: pass a positive, finite number") as caught:
        make(bad)
    assert repr(bad) in str(caught.value)


def test_logistic_data_are_signs():
    good = np.array([1.0, -1.0, 1.0])
    Logistic().check(good)
    Logistic().check(strict(good))
    for bad in (0.0, 2.0, 0.5, float("nan")):
        data = good.copy()
        data[1] = bad
        with pytest.raises(InputError, match=r"b\[1\] = .* Remedy: .*-1 and 1"):
            Logistic().check(data)


def test_groups_must_fit_the_data():
    loss = GroupHuber(np.array([0, 1, 1]), 1.0)
    loss.check(np.zeros(3))
    with pytest.raises(InputError, match=r"3 .*2 .*Remedy|2 .*3 .*Remedy"):
        loss.check(np.zeros(2))
    with pytest.raises(InputError, match="Remedy"):
        GroupHuber(np.array([0, -1, 1]), 1.0)


@every_case
def test_data_of_the_kind_pass_the_check(name):
    loss, _, b = pose(name)
    loss.check(b)
    loss.check(strict(b))


@every_case
def test_random_slopes(name):
    """Repeatable, of the size that the loss can reach, and growing with the noise."""
    loss, _, b = pose(name)
    one = loss.random_slope(b, 0.5, np.random.default_rng(1))
    np.testing.assert_array_equal(one, loss.random_slope(b, 0.5, np.random.default_rng(1)))
    assert one.shape == (M,) and np.ptp(one) > 0
    assert (one != loss.random_slope(b, 0.5, np.random.default_rng(2))).any()
    far = np.abs(loss.random_slope(b, 1e6, np.random.default_rng(1)))
    if name in ("Absolute", "Logistic"):
        np.testing.assert_array_equal(np.abs(one), 0.8 if name == "Absolute" else 0.5)
    elif name.startswith("Huber"):
        assert far.max() == pytest.approx(loss.dual_limit(np.ones(1), b[:1]))
    elif name == "GroupHuber":
        assert group_lengths(far).max() == pytest.approx(1.4)
    else:
        assert np.abs(one).max() < 2.5 and far.max() > 1e5


@every_case
def test_strict_array_api_arrays(name):
    """Every method keeps the namespace it was handed and gives the same numbers."""
    loss, z, b = pose(name)
    sz, sb = strict(z), strict(b)
    slope = loss.slope(sz, sb)
    weights, product = loss.weights(sz, sb), loss.curvature(sz, sb)
    arrays: list[tuple[Any, np.ndarray]] = [
        (slope, loss.slope(z, b)),
        (loss.value_and_slope(sz, sb)[1], loss.slope(z, b)),
    ]
    if weights is not None:
        arrays.append((weights, np.asarray(loss.weights(z, b))))
    if product is not None:
        arrays.append((product(sb), hessian(loss, z, b) @ b))
    if hasattr(loss, "sparse_part"):
        part: Any = loss.sparse_part  # type: ignore[attr-defined]
        arrays.append((part(sz, sb), part(z, b)))
    for found, expected in arrays:
        assert type(found).__module__.startswith("array_api_strict")
        assert_close(to_numpy(found), expected, 1e-14)
    assert loss.value(sz, sb) == pytest.approx(loss.value(z, b), rel=1e-14)
    s = -loss.slope(z, b)
    assert loss.conjugate(strict(-s), sb) == pytest.approx(loss.conjugate(-s, b), rel=1e-13)
    assert loss.dual_limit(strict(s), sb) == pytest.approx(loss.dual_limit(s, b))
    pair = loss.best_dual_scale(strict(s), sb, 3.0)
    assert pair == pytest.approx(loss.best_dual_scale(s, b, 3.0), rel=1e-6, abs=1e-13)


@every_case
def test_single_precision_stays(name):
    loss, z, b = pose(name)
    z, b = z.astype(np.float32), b.astype(np.float32)
    product, weights = loss.curvature(z, b), loss.weights(z, b)
    assert loss.slope(z, b).dtype == np.float32
    assert weights is None or weights.dtype == np.float32
    assert product is None or product(b).dtype == np.float32


@every_case
def test_evaluation_repeats_and_leaves_inputs_alone(name):
    loss, z, b = pose(name)
    s = -loss.slope(z, b)
    for array in (z, b, s):
        array.flags.writeable = False
    product = loss.curvature(z, b)

    def everything() -> list[Any]:
        return [
            loss.value(z, b),
            loss.slope(z, b),
            0.0 if product is None else product(z),
            loss.conjugate(-s, b),
            loss.best_dual_scale(s, b, 2.0),
            0.0 if loss.weights(z, b) is None else loss.weights(z, b),
        ]

    for first, second in zip(everything(), everything(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_residual_a_rounding_error_outside_of_the_ball_is_a_fit():
    # sum(sorted) and cumsum differ by rounding: a negative threshold turned every sign around.
    rng = np.random.default_rng(0)
    for _ in range(200):
        r = rng.standard_normal(25)
        loss = L1BallDistance(float(np.abs(r).sum()) * (1 - 1e-16))
        zero = np.zeros(25)
        assert loss.weights(r, zero).min() >= 0 and (loss.slope(r, zero) * r).min() >= 0
