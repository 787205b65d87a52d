"""The explicit lifted problem: closed forms on lifted points, derivatives, and its cost."""

from __future__ import annotations

import numpy as np
import pytest

from ranklift.errors import InputError, ShapeError, TooLargeError
from ranklift.escapes.lifted import LiftedProblem, lifted_curvature
from ranklift.instances import Instance, perturbed_matrix_completion, sod_three_by_three

SIZES = [(3, 1, 4, 3), (2, 2, 3, 3), (2, 1, 3, 5), (3, 2, 4, 1)]
each_size = pytest.mark.parametrize(("n", "r", "m", "order"), SIZES)


def draw(n: int, r: int, m: int, order: int) -> tuple[LiftedProblem, np.random.Generator]:
    rng = np.random.default_rng(n + 10 * m)
    matrices = rng.standard_normal((m, n, n))
    symmetric = matrices + matrices.transpose(0, 2, 1)
    return LiftedProblem(symmetric, rng.standard_normal(m), order, r), rng


@each_size
def test_a_lifted_point_has_the_power_of_its_measurements(n, r, m, order):
    lifted, rng = draw(n, r, m, order)
    x = rng.standard_normal((n, r))
    y = np.einsum("iab,ac,bc->i", lifted.matrices, x, x)
    difference = lifted.outer(*[y] * order) - lifted.outer(*[lifted.b] * order)
    assert lifted.value(lifted.lift(x)) == pytest.approx(0.5 * np.sum(difference**2), rel=1e-12)


@each_size
def test_derivatives_match_differences_at_points_that_are_no_powers(n, r, m, order):
    lifted, rng = draw(n, r, m, order)
    w, d = rng.standard_normal(lifted.shape), rng.standard_normal(lifted.shape)
    value, gradient = lifted.value_and_gradient(w)
    ahead, behind = lifted.value(w + 1e-5 * d), lifted.value(w - 1e-5 * d)
    assert np.sum(gradient * d) == pytest.approx((ahead - behind) / 2e-5, rel=1e-7)
    ahead, behind = lifted.value(w + 1e-3 * d), lifted.value(w - 1e-3 * d)
    second = (ahead - 2 * value + behind) / 1e-6
    assert lifted.curvature(w, d) == pytest.approx(second, rel=1e-4)


@pytest.mark.parametrize("order", [1, 3, 5])
def test_curvature_along_a_lifted_direction_is_the_closed_form(order):
    lifted, rng = draw(3, 1, 3, order)
    for _ in range(3):
        x, u = rng.standard_normal((2, 3))
        explicit = lifted.curvature(lifted.lift(x[:, None]), lifted.lift(u[:, None]))
        closed = lifted_curvature(lifted.matrices, lifted.b, x, u, order)
        assert explicit == pytest.approx(closed, rel=1e-10)


@pytest.mark.parametrize(
    "instance", [perturbed_matrix_completion(3, 0.3), sod_three_by_three()], ids=lambda i: i.name
)
def test_a_strict_minimum_bends_upwards_unlifted(instance: Instance):
    """And in the lift the sign is that of max(u^T P u, p / 4) - u^T Q u, for large orders."""
    n = instance.operator.shape[0]
    units = np.eye(n * n).reshape(n * n, n, n)
    rows = np.array([instance.operator.apply(unit) for unit in units]).T
    matrices = rows.reshape(-1, n, n)
    matrices = 0.5 * (matrices + matrices.transpose(0, 2, 1))
    x = instance.spurious_points[0][:, 0]
    b = instance.measurements
    residual = np.einsum("iab,a,b->i", matrices, x, x) - b
    u = np.linalg.eigh(np.einsum("iab,i->ab", matrices, residual))[1][:, 0]
    assert lifted_curvature(matrices, b, x, u, 1) > 0
    upwards = max(
        np.einsum("iab,a,b,i->", matrices, u, u, residual + b),
        0.25 * np.sum((2 * np.einsum("iab,a,b->i", matrices, u, x)) ** 2),
    )
    expected = np.sign(upwards - np.einsum("iab,a,b,i->", matrices, u, u, b))
    assert np.sign(lifted_curvature(matrices, b, x, u, 101)) == expected


def test_bad_lifts_are_refused():
    matrices, b = np.zeros((4, 3, 3)), np.zeros(4)
    with pytest.raises(InputError, match="odd"):
        LiftedProblem(matrices, b, 2)
    with pytest.raises(ShapeError, match="Remedy"):
        LiftedProblem(matrices, np.zeros(3), 3)
    with pytest.raises(TooLargeError, match="SimulatedLift"):
        LiftedProblem(np.zeros((100, 10, 10)), np.zeros(100), 5)
