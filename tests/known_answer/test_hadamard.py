"""Entrywise products: the trace is exact, least when balanced, and depth decides about sparsity."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from ranklift.errors import (
    ConvergenceWarning,
    EmptyDataError,
    InputError,
    NonFiniteError,
    ShapeError,
    UnobservedError,
)
from ranklift.flatness.hadamard import (
    balanced_layers,
    flattest_vector,
    hadamard_trace,
    least_hadamard_trace,
)


def problem(seed: int, m: int, n: int, sparsity: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = np.zeros(n)
    x[rng.permutation(n)[:sparsity]] = rng.standard_normal(sparsity)
    return rng.standard_normal((m, n)), x


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("scaling", ["mean", "half"])
def test_the_trace_is_that_of_finite_differences_off_the_data(depth: int, scaling: str) -> None:
    rng = np.random.default_rng(depth)
    a, b, v = rng.standard_normal((5, 7)), rng.standard_normal(5), rng.standard_normal((depth, 7))
    v[0, 2] = 0.0

    def loss(layers: np.ndarray) -> float:
        squares = np.sum((a @ np.prod(layers, axis=0) - b) ** 2)
        return float(squares / 5 if scaling == "mean" else squares / 2)

    # f is a parabola in every single entry, so that a difference of any width is exact.
    total = 0.0
    for place in np.ndindex(*v.shape):
        up, down = v.copy(), v.copy()
        up[place] += 1.0
        down[place] -= 1.0
        total += loss(up) - 2 * loss(v) + loss(down)
    assert hadamard_trace(a, list(v), scaling=scaling) == pytest.approx(total, rel=1e-10)


@pytest.mark.parametrize("depth", [1, 2, 3, 5, 50])
def test_balanced_layers_are_the_flattest(depth: int) -> None:
    a, x = problem(depth, 4, 9, 6)
    layers = balanced_layers(x, depth)
    np.testing.assert_allclose(np.prod(layers, axis=0), x, rtol=1e-12, atol=0)
    least = least_hadamard_trace(x, a, depth)
    assert hadamard_trace(a, layers) == pytest.approx(least, rel=1e-12)
    rng = np.random.default_rng(0)
    for _ in range(20):
        gains = np.exp(rng.standard_normal((depth, 9)))
        gains[-1] = 1 / np.prod(gains[:-1], axis=0)  # the product stays
        other = hadamard_trace(a, list(np.stack(layers) * gains))
        assert other >= least * (1 - 1e-12)
    assert least_hadamard_trace(x, a, depth, scaling="half") == pytest.approx(2 * least)


def test_flat_is_not_the_least_norm() -> None:
    """A = (1, eps), b = 1: the flattest vector is (0, 1/eps), not (1, 0)."""
    a = np.array([[1.0, 0.1]])
    found = flattest_vector(a, [1.0], 2)
    np.testing.assert_allclose(found.x, [0.0, 10.0], atol=1e-12)
    # The notes' scaled traces 2 eps and 2 are halves (d = 2) of these.
    assert found.trace == pytest.approx(4 * 0.1)
    assert least_hadamard_trace([1.0, 0.0], a, 2) == pytest.approx(4.0)


@pytest.mark.parametrize("depth", [3, 4, 50])
def test_deep_is_not_sparse(depth: int) -> None:
    """A = (1, 1), b = 1, truth e_1: from depth three on (1/2, 1/2) is flatter."""
    a = np.array([[1.0, 1.0]])
    found = flattest_vector(a, [1.0], depth)
    np.testing.assert_allclose(found.x, [0.5, 0.5], rtol=1e-8)
    assert found.trace == pytest.approx(2 * depth * 2 ** (2 / depth - 1))
    assert least_hadamard_trace([1.0, 0.0], a, depth) == pytest.approx(2 * depth)
    assert flattest_vector(a, [1.0], 2).trace == pytest.approx(4.0)  # a tie at depth two


@pytest.mark.parametrize("depth", [3, 4, 7])
def test_one_measurement_in_closed_form(depth: int) -> None:
    """x_j ~ sign(a_j) |a_j|^(1 - q), q = p / (p - 1): weakly measured entries are the largest."""
    a = np.array([3.0, -1.0, 0.5, 2.0])
    wanted = np.sign(a) * np.abs(a) ** (1 - (2 * depth - 2) / (depth - 2))
    found = flattest_vector(a[None], [2.0], depth)
    np.testing.assert_allclose(found.x, 2.0 * wanted / (a @ wanted), rtol=1e-5)


@pytest.mark.parametrize("depth", [3, 4, 10, 1000])
@pytest.mark.parametrize("m", [1, 6, 19])
def test_multipliers_prove_the_minimum(depth: int, m: int) -> None:
    """p ||a_j||^2 sign(x_j) |x_j|^(p-1) lies in the range of A^T, and A x = b."""
    a, truth = problem(m, m, 20, 3)
    a *= np.logspace(-1, 1, 20)
    found = flattest_vector(a, a @ truth, depth)
    assert found.gap <= 1e-10
    np.testing.assert_allclose(a @ found.x, a @ truth, rtol=0, atol=1e-10)
    slope = np.sum(a**2, axis=0) * np.sign(found.x) * np.abs(found.x) ** (1 - 2 / depth)
    outside = slope - np.linalg.pinv(a) @ (a @ slope)
    assert np.linalg.norm(outside) <= 1e-4 * np.linalg.norm(slope)  # the gap is quadratic in it
    assert found.trace == pytest.approx(least_hadamard_trace(found.x, a, depth), rel=1e-12)
    assert found.trace < least_hadamard_trace(truth, a, depth)
    assert hadamard_trace(a, found.layers) == pytest.approx(found.trace, rel=1e-10)


def test_depth_two_finds_a_sparse_vector_and_greater_depth_does_not() -> None:
    a, truth = problem(0, 20, 40, 3)
    errors = {
        depth: np.linalg.norm(flattest_vector(a, a @ truth, depth).x - truth)
        / np.linalg.norm(truth)
        for depth in (2, 3, 4, 50)
    }
    assert errors[2] < 1e-12
    assert min(errors[3], errors[4], errors[50]) > 0.05


def test_depth_two_is_certified_where_it_does_not_recover() -> None:
    a, truth = problem(1, 12, 40, 10)
    found = flattest_vector(a, a @ truth, 2)
    assert found.gap <= 1e-10
    assert np.count_nonzero(found.x) <= 12 and np.linalg.norm(found.x - truth) > 0.1
    assert found.lower_bound <= found.trace < least_hadamard_trace(truth, a, 2)


@pytest.mark.parametrize("depth", [2, 3, 6])
def test_invariances(depth: int) -> None:
    a, truth = problem(2, 8, 15, 2)
    b = a @ truth
    found = flattest_vector(a, b, depth)
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((8, 8)))[0]
    order = np.random.default_rng(1).permutation(15)
    for other, scale in (
        (flattest_vector(rotation @ a, rotation @ b, depth).x, 1.0),
        (flattest_vector(np.vstack([a, a]), np.hstack([b, b]), depth).x, 1.0),  # rank below m
        (flattest_vector(a, -3 * b, depth).x, -3.0),
        (flattest_vector(1e-6 * a, 1e-6 * b, depth).x, 1.0),
        (flattest_vector(a, b, depth, scaling="half").x, 1.0),
    ):
        np.testing.assert_allclose(other, scale * found.x, atol=1e-4)
    np.testing.assert_allclose(flattest_vector(a[:, order], b, depth).x, found.x[order], atol=1e-4)


@pytest.mark.parametrize("depth", [2, 3])
def test_a_single_solution_is_the_flattest(depth: int) -> None:
    a, truth = problem(3, 9, 6, 3)
    found = flattest_vector(a, a @ truth, depth)
    np.testing.assert_allclose(found.x, truth, atol=1e-12)
    assert found.gap == 0.0
    nothing = flattest_vector(a[:4], np.zeros(4), depth)
    assert not nothing.x.any() and nothing.trace == 0.0


@pytest.mark.parametrize(
    ("matrix", "b", "depth", "error", "words"),
    [
        ([[1.0, 0.0]], [1.0], 3, UnobservedError, "1 zero columns of A, the first 1"),
        ([[1.0, 1.0], [2.0, 2.0]], [1.0, 0.0], 3, InputError, "outside the range of A by 8.9e-01"),
        ([[1.0, np.nan]], [1.0], 3, NonFiniteError, "A holds NaN"),
        ([[1.0, 1.0]], [np.inf], 3, NonFiniteError, "b holds NaN or inf"),
        ([[1.0, 1.0]], [1.0, 2.0], 3, ShapeError, "a vector of 1 numbers"),
        ([1.0, 1.0], [1.0], 3, ShapeError, "one row a measurement"),
        (np.zeros((0, 2)), [], 3, EmptyDataError, "at least one row"),
        ([[1.0, 1.0]], [1.0], 1, InputError, "at least 2"),
        ([[1.0, 1.0]], [1.0], 2.5, InputError, "at least 2"),
    ],
)
def test_bad_input_is_refused(
    matrix: Any, b: Any, depth: Any, error: type[InputError], words: str
) -> None:
    with pytest.raises(error, match=words):
        flattest_vector(matrix, b, depth)


def test_bad_layers_and_scalings_are_refused() -> None:
    with pytest.raises(InputError, match="mean"):
        hadamard_trace([[1.0]], [[1.0]], scaling="sum")
    with pytest.raises(ShapeError, match="a layer of shape"):
        hadamard_trace([[1.0, 2.0]], [[1.0, 2.0], [1.0]])
    with pytest.raises(InputError, match="depth 0"):
        balanced_layers([1.0], 0)


def test_a_gap_that_is_not_reached_is_said() -> None:
    a, truth = problem(4, 5, 12, 2)
    with pytest.warns(ConvergenceWarning, match="duality gap"):
        found = flattest_vector(a, a @ truth, 3, relative_gap=-1.0)
    assert found.gap <= 1e-12  # no number of steps reaches -1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flattest_vector(a, a @ truth, 3)
