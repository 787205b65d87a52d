"""Every operator, held to its explicit matrix and to the generic rules of the base class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cases import (
    OPERATOR_NAMES,
    assert_close,
    coordinates,
    explicit_rows,
    from_coordinates,
    operator_example,
    random_array,
    registered,
    strict,
    strict_operator,
)
from ranklift.arrays import to_numpy
from ranklift.errors import (
    DTypeError,
    DuplicateEntriesError,
    EmptyDataError,
    InputError,
    NonFiniteError,
    ShapeError,
)
from ranklift.lowrank import LowRank
from ranklift.operators import (
    OPERATORS,
    Combination,
    DenseSensing,
    EntrySampling,
    FromLinearOperator,
    IdentitySensing,
    MeasurementOperator,
    Subset,
    Weighted,
)

RANK = 3
each_operator = pytest.mark.parametrize("name", OPERATOR_NAMES)


class _Generic(MeasurementOperator):
    """The same map with none of the operator's overrides (underscore: not registered)."""

    def __init__(self, base: MeasurementOperator) -> None:
        self.base, self.shape, self.num_measurements = base, base.shape, base.num_measurements
        self.hermitian = base.hermitian

    @property
    def size_in_bytes(self) -> int:
        return self.base.size_in_bytes

    def _apply_matrix(self, matrix: Any) -> Any:
        return self.base._apply_matrix(matrix)

    def apply_product(self, left: Any, right: Any) -> Any:
        return self.base.apply_product(left, right)

    def adjoint(self, y: Any) -> Any:
        return self.base.adjoint(y)


def draw(operator: MeasurementOperator, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw everything that products ask for; complex factors of a Hermitian unknown."""
    (n1, n2), m = operator.shape, operator.num_measurements
    return {
        "left": random_array(operator, rng, n1, RANK),
        "right": random_array(operator, rng, n2, RANK),
        "d_left": random_array(operator, rng, n1, RANK),
        "d_right": random_array(operator, rng, n2, RANK),
        "y": rng.standard_normal(m),
        "b": rng.standard_normal(m),
    }


def all_products(operator: MeasurementOperator, d: dict[str, Any]) -> dict[str, Any]:
    """Return the result of every product by name."""
    left, right, y = d["left"], d["right"], d["y"]
    out: dict[str, Any] = {"apply_product": operator.apply_product(left, right)}
    out["apply"] = operator.apply(left @ right.T)
    for name, values in {
        "adjoint": operator.adjoint_products(y, left, right),
        "residual": operator.residual_products(left, right, d["b"]),
        "newton": operator.normal_products(left, right, d["d_left"], d["d_right"], y),
        "gauss_newton": operator.normal_products(left, right, d["d_left"], d["d_right"]),
    }.items():
        out |= {f"{name}{i}": value for i, value in enumerate(values)}
    for side, factor in (("left", right), ("right", left)):
        for tag, weights in (("", None), ("weighted", y * y)):
            blocks = operator.gram_blocks(factor, side=side, weights=weights)
            if blocks is not None:
                out[f"blocks {side} {tag}"] = blocks
    return out


def test_the_registry_holds_every_public_operator():
    assert {
        "EntrySampling",
        "DenseSensing",
        "IdentitySensing",
        "FromLinearOperator",
        "Weighted",
        "Scaled",
        "Subset",
        "Combination",
        "PauliSensing",
        "DistanceSensing",
        "Congruence",
    } <= set(registered(OPERATORS))
    assert "_Generic" not in OPERATORS


@each_operator
def test_example_states_its_sizes(name):
    operator = operator_example(name)
    assert type(operator) is OPERATORS[name]
    n1, n2 = operator.shape
    assert isinstance(n1, int) and isinstance(n2, int) and n1 > 0 and n2 > 0
    assert isinstance(operator.num_measurements, int) and operator.num_measurements > 0
    assert isinstance(operator.size_in_bytes, int) and operator.size_in_bytes >= 0
    assert repr(operator) == f"{name}(shape={(n1, n2)}, m={operator.num_measurements})"


@each_operator
def test_normal_matrix_is_the_explicit_one(name):
    operator = operator_example(name)
    assert_close(operator.normal_matrix(), explicit_rows(operator), 1e-14)


@each_operator
def test_apply_agrees_on_factors_and_full_matrices(name, rng):
    operator = operator_example(name)
    d = draw(operator, rng)
    expected = explicit_rows(operator) @ coordinates(operator, d["left"] @ d["right"].T)
    assert_close(operator.apply(d["left"] @ d["right"].T), expected)
    assert_close(operator.apply(LowRank(d["left"], d["right"])), expected)
    assert_close(operator.apply_product(d["left"], d["right"]), expected)


@each_operator
def test_apply_refuses_another_shape(name, rng):
    operator = operator_example(name)
    n1, n2 = operator.shape
    with pytest.raises(ShapeError, match="Remedy"):
        operator.apply(np.ones((n1 + 1, n2)))
    with pytest.raises(ShapeError, match="Remedy"):
        operator.apply(LowRank(np.ones((n1, 1)), np.ones((n2 + 1, 1))))


@each_operator
def test_dottest_passes(name):
    operator = operator_example(name)
    assert operator.dottest(rng=0) < 1e-13
    assert operator.dottest(rng=1) < 1e-13


@each_operator
def test_adjoint_multiplies_like_its_dense_matrix(name, rng):
    operator = operator_example(name)
    (n1, n2), d = operator.shape, draw(operator, rng)
    dense = from_coordinates(operator, explicit_rows(operator).T @ d["y"])
    adjoint = operator.adjoint(d["y"])
    assert tuple(adjoint.shape) == (n1, n2)
    assert tuple(adjoint.T.shape) == (n2, n1)
    assert_close(adjoint @ d["right"], dense @ d["right"])
    assert_close(adjoint @ d["right"][:, 0], dense @ d["right"][:, 0])
    assert_close(adjoint.T @ d["left"], dense.T @ d["left"])
    assert_close(adjoint.T @ d["left"][:, 0], dense.T @ d["left"][:, 0])
    assert_close(adjoint.T.T @ d["right"], dense @ d["right"])


@each_operator
def test_fused_products_follow_the_generic_rule(name, rng):
    operator = operator_example(name)
    d = draw(operator, rng)
    fused, generic = all_products(operator, d), all_products(_Generic(operator), d)
    for key, value in generic.items():
        assert_close(fused[key], value)


@each_operator
def test_fused_products_follow_the_explicit_matrix(name, rng):
    operator = operator_example(name)
    rows, d = explicit_rows(operator), draw(operator, rng)
    left, right, d_left, d_right, y = (d[k] for k in ("left", "right", "d_left", "d_right", "y"))

    def back(v: np.ndarray) -> np.ndarray:
        return from_coordinates(operator, rows.T @ v)

    def forward(x: np.ndarray) -> np.ndarray:
        return rows @ coordinates(operator, x)

    got = all_products(operator, d)
    # The gradient of Re <S, L R^T> has conjugates; of real factors they are the factors.
    left_, right_, d_left_, d_right_ = (np.conj(x) for x in (left, right, d_left, d_right))
    assert_close(got["adjoint0"], back(y) @ right_)
    assert_close(got["adjoint1"], back(y).T @ left_)
    residual = forward(left @ right.T) - d["b"]
    assert_close(got["residual0"], residual)
    assert_close(got["residual1"], back(residual) @ right_)
    assert_close(got["residual2"], back(residual).T @ left_)
    z = forward(d_left @ right.T + left @ d_right.T)
    assert_close(got["gauss_newton0"], back(z) @ right_)
    assert_close(got["gauss_newton1"], back(z).T @ left_)
    assert_close(got["newton0"], back(z) @ right_ + back(y) @ d_right_)
    assert_close(got["newton1"], back(z).T @ left_ + back(y).T @ d_left_)
    # A loss with curvature: y = H A(dX) between apply and adjoint.
    weights = rng.uniform(0.5, 2.0, y.size)
    args = (left, right, d_left, d_right)
    curved = operator.normal_products(*args, y, lambda v: weights * v)
    assert_close(curved[0], back(weights * z) @ right_ + back(y) @ d_right_)
    assert_close(curved[1], back(weights * z).T @ left_ + back(y).T @ d_left_)
    curved = operator.normal_products(*args, curvature=lambda v: weights * v)
    assert_close(curved[0], back(weights * z) @ right_)
    assert_close(curved[1], back(weights * z).T @ left_)


@each_operator
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("weighted", [False, True])
def test_gram_blocks_are_the_diagonal_blocks(name, side, weighted, rng):
    operator = operator_example(name)
    (n1, n2), d = operator.shape, draw(operator, rng)
    factor = d["right"] if side == "left" else d["left"]
    weights = rng.uniform(0.1, 2.0, operator.num_measurements) if weighted else None
    blocks = operator.gram_blocks(factor, side=side, weights=weights)
    cheap = {"EntrySampling", "IdentitySensing", "Weighted", "Scaled", "DistanceSensing"}
    mixed = name == "Scaled" and side == "right"  # a full matrix mixes the rows
    assert blocks is not None or mixed or name not in cheap
    if operator.hermitian:
        assert blocks is None  # the Hessian of a complex row is not a k x k matrix
    if blocks is not None:
        matrices = explicit_rows(operator).reshape(-1, n1, n2)
        matrices = matrices if side == "left" else matrices.swapaxes(1, 2)
        jacobian = np.einsum("tij,jc->tic", matrices, factor)
        w = np.ones(len(matrices)) if weights is None else weights
        assert_close(blocks, np.einsum("t,tia,tic->iac", w, jacobian, jacobian))


@each_operator
def test_symmetric_flag_means_blind_to_transposition(name, rng):
    operator = operator_example(name)
    n1, n2 = operator.shape
    if operator.symmetric:
        x = random_array(operator, rng, n1, n2)
        assert_close(operator.apply(x), operator.apply(x.T))
    elif n1 == n2:
        x = random_array(operator, rng, n1, n2)
        assert np.abs(operator.apply(x) - operator.apply(x.T)).max() > 1e-6


def test_symmetric_flag_of_symmetric_matrices(rng):
    matrices = rng.standard_normal((4, 3, 3))
    assert not DenseSensing(matrices).symmetric
    both = DenseSensing(matrices + matrices.swapaxes(1, 2))
    assert both.symmetric and both.weighted(np.ones(4)).symmetric and (2.0 * both).symmetric
    assert both.subset([1, 3]).symmetric
    assert not (both + DenseSensing(matrices)).symmetric


@each_operator
def test_canonical_holds_the_same_measurements(name, rng):
    operator = operator_example(name)
    b = rng.standard_normal(operator.num_measurements)
    twin, ordered = operator.canonical(b)
    rows, rows_twin = explicit_rows(operator), explicit_rows(twin)
    assert_close(np.sort(ordered), np.sort(b), 0.0)
    # Order does not matter to A*A and to A*(b).
    assert_close(rows.T @ rows, rows_twin.T @ rows_twin)
    assert_close(rows.T @ b, rows_twin.T @ ordered)
    d = draw(operator, rng)
    fused, generic = all_products(twin, d), all_products(_Generic(twin), d)
    for key, value in generic.items():
        assert_close(fused[key], value)
    again, b_again = twin.canonical(ordered)
    assert_close(explicit_rows(again), rows_twin, 0.0)
    assert_close(b_again, ordered, 0.0)


@each_operator
def test_repeated_products_are_bitwise_equal(name, rng):
    d = draw(operator_example(name), rng)
    first = all_products(operator_example(name), d)
    second = all_products(operator_example(name), d)
    for key, value in first.items():
        np.testing.assert_array_equal(value, second[key], strict=True)


@each_operator
def test_inputs_are_left_untouched(name, rng):
    operator = operator_example(name)
    d = draw(operator, rng)
    for value in d.values():
        value.flags.writeable = False
    copies = {key: value.copy() for key, value in d.items()}
    before = explicit_rows(operator)
    results = all_products(operator, d)
    operator.canonical(d["b"])
    for key, value in d.items():
        np.testing.assert_array_equal(value, copies[key])
        assert not any(np.shares_memory(value, result) for result in results.values())
    np.testing.assert_array_equal(explicit_rows(operator), before)


@each_operator
def test_any_memory_layout_gives_the_same(name, rng):
    operator = operator_example(name)
    d = draw(operator, rng)
    fortran = {key: np.asfortranarray(value) for key, value in d.items()}
    strided = {key: np.repeat(value, 2, axis=-1)[..., ::2] for key, value in d.items()}
    expected = all_products(operator, d)
    for other in (fortran, strided):
        for key, value in all_products(operator, other).items():
            assert_close(value, expected[key], 1e-13)


@each_operator
def test_strict_array_api_arrays(name, rng):
    operator = operator_example(name)
    d = draw(operator, rng)
    expected = all_products(operator, d)
    twin = strict_operator(operator)
    results = all_products(twin, {key: strict(value) for key, value in d.items()})
    assert results.keys() == expected.keys()
    for key, value in results.items():
        assert type(value).__module__.startswith("array_api_strict"), key
        assert_close(value, expected[key], 1e-13)
    # NumPy probes, as in Lanczos runs, meet data of another namespace.
    assert twin.dottest(rng=0) < 1e-13
    assert_close(twin.normal_matrix(), explicit_rows(operator), 1e-14)


@each_operator
def test_float32_factors(name, rng):
    operator = operator_example(name)
    single = {"f": np.float32, "c": np.complex64}
    double = {"f": np.float64, "c": np.complex128}
    d = {key: value.astype(single[value.dtype.kind]) for key, value in draw(operator, rng).items()}
    expected = all_products(operator, {k: v.astype(double[v.dtype.kind]) for k, v in d.items()})
    for key, value in all_products(operator, d).items():
        kind = expected[key].dtype.kind
        assert value.dtype in (single[kind], double[kind])
        assert_close(value, expected[key], 2e-6)


def test_float32_storage_with_float64_factors(rng):
    """Big data may be stored in half the memory; sums still run in float64."""
    matrices = rng.standard_normal((30, 6, 5)).astype(np.float32)
    small, wide = DenseSensing(matrices), DenseSensing(matrices.astype(float))
    assert 2 * small.size_in_bytes == wide.size_in_bytes
    d = draw(wide, rng)
    expected = all_products(wide, d)
    for key, value in all_products(small, d).items():
        assert value.dtype == np.float64
        assert_close(value, expected[key], 1e-14)
    entries = operator_example("EntrySampling")
    d = draw(entries, rng)
    d["b"] = d["b"].astype(np.float32)
    residual = entries.residual_products(d["left"], d["right"], d["b"])[0]
    assert residual.dtype == np.float64
    expected_residual = entries.apply_product(d["left"], d["right"]) - d["b"].astype(float)
    assert_close(residual, expected_residual, 1e-14)


@each_operator
def test_saved_arrays_rebuild_the_operator(name, rng):
    operator = operator_example(name)
    if name == "FromLinearOperator":
        with pytest.raises(InputError, match=r"holds code.*Remedy"):
            operator.to_arrays()
        with pytest.raises(InputError, match="Remedy"):
            OPERATORS[name].from_arrays({})
        return
    arrays = operator.to_arrays()
    assert all(isinstance(value, np.ndarray) for value in arrays.values())
    assert all(value.dtype != object for value in arrays.values())
    twin = OPERATORS[name].from_arrays(arrays)
    assert type(twin) is type(operator) and twin.shape == operator.shape
    np.testing.assert_array_equal(explicit_rows(twin), explicit_rows(operator))
    d = draw(operator, rng)
    expected = all_products(operator, d)
    for key, value in all_products(twin, d).items():
        np.testing.assert_array_equal(value, expected[key], strict=True)


def test_saved_arrays_of_nested_operators(rng):
    base = operator_example("EntrySampling")
    m, (n1, n2) = base.num_measurements, base.shape
    nested = 3.0 * base.weighted(rng.uniform(1, 2, m)).scaled(
        rng.uniform(1, 2, n1), rng.uniform(1, 2, n2)
    )
    nested = nested + base.weighted(rng.uniform(1, 2, m))
    twin = Combination.from_arrays(nested.to_arrays())
    np.testing.assert_array_equal(explicit_rows(twin), explicit_rows(nested))


# -- algebra -----------------------------------------------------------------------------------


def check(operator: MeasurementOperator, rows: np.ndarray, rng: np.random.Generator) -> None:
    """Hold an operator to an explicit matrix: forward, adjoint, all products."""
    assert operator.num_measurements == rows.shape[0]
    assert_close(operator.normal_matrix(), rows, 1e-13)
    assert operator.dottest(rng=0) < 1e-13
    d = draw(operator, rng)
    expected = rows @ coordinates(operator, d["left"] @ d["right"].T)
    assert_close(operator.apply_product(d["left"], d["right"]), expected)
    fused, generic = all_products(operator, d), all_products(_Generic(operator), d)
    for key, value in generic.items():
        assert_close(fused[key], value)
    for side, factor in (("left", d["right"]), ("right", d["left"])):
        blocks = operator.gram_blocks(factor, side=side)
        if blocks is not None:
            matrices = rows.reshape(-1, *operator.shape)
            jacobian = np.einsum(
                "tij,jc->tic" if side == "left" else "tji,jc->tic", matrices, factor
            )
            assert_close(blocks, np.einsum("tia,tic->iac", jacobian, jacobian))


@each_operator
def test_subset_keeps_the_listed_measurements(name, rng):
    operator = operator_example(name)
    rows, m = explicit_rows(operator), operator.num_measurements
    index = rng.permutation(m)[: m // 2]
    check(operator.subset(index), rows[index], rng)
    mask = np.zeros(m, dtype=bool)
    mask[index] = True
    check(operator.subset(mask), rows[mask], rng)
    check(operator.subset(list(index[:3])), rows[index[:3]], rng)
    check(operator.subset(strict(index[:3])), rows[index[:3]], rng)
    check(operator.subset([-1, 0]), rows[[-1, 0]], rng)
    check(operator.subset(index).subset([2, 0]), rows[index[[2, 0]]], rng)
    check(Subset(operator, index), rows[index], rng)


@each_operator
def test_weighted_multiplies_the_measurements(name, rng):
    operator = operator_example(name)
    rows = explicit_rows(operator)
    weights = rng.uniform(0.5, 2.0, operator.num_measurements)
    check(operator.weighted(weights), weights[:, None] * rows, rng)
    zeros = np.where(np.arange(weights.size) % 3 == 0, 0.0, -weights)
    check(operator.weighted(zeros), zeros[:, None] * rows, rng)
    check(operator.weighted(weights).weighted(weights), weights[:, None] ** 2 * rows, rng)
    check(operator.weighted(weights).subset([1, 0]), (weights[:, None] * rows)[[1, 0]], rng)


@each_operator
def test_scaled_multiplies_rows_and_columns(name, rng):
    operator = operator_example(name)
    (n1, n2), rows = operator.shape, explicit_rows(operator)
    d1, d2 = rng.uniform(0.5, 2.0, n1), rng.uniform(0.5, 2.0, n2)
    expected = rows * np.tile(np.outer(d1, d2).ravel(), 2 if operator.hermitian else 1)
    check(operator.scaled(d1, d2), expected, rng)
    check(operator.scaled(d1, d2).subset([2, 1]), expected[[2, 1]], rng)
    check(operator.scaled(d1, d2).scaled(1 / d1, 1 / d2), rows, rng)


@each_operator
def test_multiples_and_sums(name, rng):
    operator = operator_example(name)
    rows = explicit_rows(operator)
    check(-2.5 * operator, -2.5 * rows, rng)
    check(operator * 3, 3 * rows, rng)
    weights = rng.uniform(0.5, 2.0, operator.num_measurements)
    total = operator + 2 * operator.weighted(weights)
    check(total, (1 + 2 * weights[:, None]) * rows, rng)
    check(total.subset([3, 1]), ((1 + 2 * weights[:, None]) * rows)[[3, 1]], rng)


def test_multiples_of_sampled_entries_accept_strict_arrays(rng):
    operator = 2.0 * operator_example("EntrySampling")
    d = draw(operator, rng)
    expected = all_products(operator, d)
    for key, value in all_products(operator, {k: strict(v) for k, v in d.items()}).items():
        assert_close(value, expected[key], 1e-13)


def test_sum_refuses_other_sizes(rng):
    with pytest.raises(ShapeError, match="cannot add"):
        IdentitySensing((2, 3)) + IdentitySensing((3, 2))
    with pytest.raises(ShapeError, match="cannot add"):
        IdentitySensing((2, 3)) + IdentitySensing((2, 3)).subset([0, 1])
    with pytest.raises(NonFiniteError):
        float("nan") * IdentitySensing((2, 3))


@each_operator
def test_wrong_weights_and_scales_are_refused(name):
    operator = operator_example(name)
    m, (n1, n2) = operator.num_measurements, operator.shape
    with pytest.raises(ShapeError, match="Remedy"):
        operator.weighted(np.ones(m + 1))
    with pytest.raises(NonFiniteError, match="Remedy"):
        operator.weighted(np.full(m, np.nan))
    with pytest.raises(ShapeError, match="Remedy"):
        operator.scaled(np.ones(n1 + 1), np.ones(n2))
    with pytest.raises(NonFiniteError, match="Remedy"):
        operator.scaled(np.ones(n1), np.full(n2, np.inf))


# -- operators one by one ----------------------------------------------------------------------


def test_dottest_catches_a_wrong_adjoint(rng):
    class _Wrong(_Generic):
        def adjoint(self, y: Any) -> Any:
            return 1.0001 * self.base.adjoint(y)

    with pytest.raises(InputError, match=r"disagree.*Remedy"):
        _Wrong(operator_example("DenseSensing")).dottest(rng=0)


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (7, 7), (1, 8), (8, 1)])
@pytest.mark.parametrize("order", ["row", "column", "shuffled"])
def test_entries_in_any_order_and_orientation(shape, order, rng):
    n1, n2 = shape
    flat = np.sort(rng.permutation(n1 * n2)[: max(3, n1 * n2 // 2)])
    rows, cols = flat // n2, flat % n2
    if order == "column":
        rows, cols = rows[np.lexsort((rows, cols))], cols[np.lexsort((rows, cols))]
    elif order == "shuffled":
        shuffle = rng.permutation(flat.size)
        rows, cols = rows[shuffle], cols[shuffle]
    operator = EntrySampling(rows, cols, shape)
    np.testing.assert_array_equal(operator.rows, rows)
    np.testing.assert_array_equal(operator.cols, cols)
    np.testing.assert_array_equal(operator.row_counts, np.bincount(rows, minlength=n1))
    np.testing.assert_array_equal(operator.column_counts, np.bincount(cols, minlength=n2))
    x = rng.standard_normal(shape)
    np.testing.assert_array_equal(operator.apply(x), x[rows, cols])
    explicit = np.zeros((flat.size, n1 * n2))
    explicit[np.arange(flat.size), rows * n2 + cols] = 1.0
    check(operator, explicit, rng)


def test_entries_large_enough_for_the_thread_pool(rng):
    """Chunked kernels, with rows that cross chunk bounds, give the generic rule's numbers."""
    shape = (300, 200)
    flat = rng.permutation(60_000)[:50_000]
    for operator in (
        EntrySampling(flat // 200, flat % 200, shape),
        EntrySampling(flat % 200, flat // 200, shape[::-1]),
    ):
        d = draw(operator, rng)
        fused, generic = all_products(operator, d), all_products(_Generic(operator), d)
        for key, value in generic.items():
            assert_close(fused[key], value)
        again = all_products(operator, d)
        for key, value in fused.items():
            np.testing.assert_array_equal(value, again[key], strict=True)


@pytest.mark.parametrize(
    ("rows", "cols", "error"),
    [
        ([], [], EmptyDataError),
        ([0, 1], [0], ShapeError),
        ([0, 3], [0, 0], ShapeError),
        ([0, 1], [0, -1], ShapeError),
        ([0.0, 1.0], [0, 1], DTypeError),
        ([[0, 1]], [[0, 1]], ShapeError),
        ([0, 1, 0], [1, 1, 1], DuplicateEntriesError),
        ([2, 0, 0, 2], [0, 0, 1, 0], DuplicateEntriesError),
    ],
)
def test_entries_refuse_bad_positions(rows, cols, error):
    with pytest.raises(error, match="Remedy"):
        EntrySampling(rows, cols, (3, 2))


def test_duplicate_entry_is_named():
    with pytest.raises(DuplicateEntriesError, match=r"entry \(2, 0\)"):
        EntrySampling([2, 0, 0, 2], [0, 0, 1, 0], (3, 2))
    with pytest.raises(DuplicateEntriesError, match=r"entry \(0, 2\)"):
        EntrySampling([0, 0, 1, 0], [2, 0, 0, 2], (2, 3))


def test_dense_refuses_bad_matrices():
    with pytest.raises(ShapeError, match="Remedy"):
        DenseSensing(np.ones((3, 3)))
    with pytest.raises(EmptyDataError, match="Remedy"):
        DenseSensing(np.ones((0, 3, 3)))
    with pytest.raises(NonFiniteError, match="Remedy"):
        DenseSensing(np.full((1, 2, 2), np.nan))
    with pytest.raises(DTypeError, match="Remedy"):
        DenseSensing(np.ones((1, 2, 2), dtype=complex))


def test_linear_operator_refuses_bad_maps():
    with pytest.raises(ShapeError, match="Remedy"):
        FromLinearOperator(np.ones((3, 5)), (2, 2))
    with pytest.raises(DTypeError, match="Remedy"):
        FromLinearOperator(np.ones((3, 4), dtype=complex), (2, 2))


def test_identity_refuses_an_empty_matrix():
    with pytest.raises(EmptyDataError, match="Remedy"):
        IdentitySensing((0, 3))


def test_weights_reach_a_lossless_sum_of_squares(rng):
    """||w o (A(X) - b)||^2 is the weighted loss: what users of weights rely on."""
    base = operator_example("EntrySampling")
    m, (n1, n2) = base.num_measurements, base.shape
    w, b, x = rng.uniform(0.5, 2, m), rng.standard_normal(m), rng.standard_normal((n1, n2))
    loss = 0.5 * np.sum((Weighted(base, w).apply(x) - w * b) ** 2)
    expected = 0.5 * np.sum(w**2 * (x[base.rows, base.cols] - b) ** 2)
    assert abs(loss - expected) <= 1e-13 * expected
    assert to_numpy(base.apply(x)).dtype == np.float64
