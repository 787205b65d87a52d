"""Second moments of the measurement matrices, held to the matrices themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import aslinearoperator

from cases import (
    OPERATOR_NAMES,
    assert_close,
    operator_example,
    random_array,
    square_example,
    strict,
    strict_operator,
)
from ranklift.errors import DTypeError, InputError, ShapeError
from ranklift.operators import (
    Adjusted,
    BlindDeconvolution,
    CodedDiffraction,
    Combination,
    Congruence,
    DenseSensing,
    DistanceSensing,
    EntrySampling,
    FromLinearOperator,
    IdentitySensing,
    MeasurementOperator,
    PauliSensing,
    QuadraticSensing,
    RankOneSensing,
    adjusted,
    base,
    blind_deconvolution,
    centering_basis,
    congruence,
    dense,
    distance,
    pauli,
    quadratic,
    random_masks,
    rank_one,
)

RTOL = 1e-12
WITHOUT = {"Combination", "FromLinearOperator"}
"""Operators whose example gives no moment; all others must."""

WITHOUT_TRANSPOSED = WITHOUT | {"Congruence", "PauliSensing", "Scaled"}
"""Square operators, not symmetric ones, without sum_j w_j A_j A_j."""

DIAGONAL = {
    "EntrySampling": "every factor",
    "IdentitySensing": "every factor",
    "Subset": "every factor",
    "Weighted": "every factor",
    "PauliSensing": "diagonal factors",
}
"""Operators whose moments are diagonal, and for which factors."""

each_operator = pytest.mark.parametrize("name", OPERATOR_NAMES)
each_side = pytest.mark.parametrize("side", ["left", "right"])


def _masked(field: str) -> Callable[[np.random.Generator], QuadraticSensing]:
    return lambda rng: QuadraticSensing(CodedDiffraction(random_masks(3, (2, 3), rng)), field)


def _complex(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def _sparse(rng: np.random.Generator, m: int, n: int) -> Any:
    return sparse.csr_array(rng.standard_normal((m, n)) * (rng.random((m, n)) < 0.4))


def _linear(rng: np.random.Generator, m: int, n: int) -> Any:
    return aslinearoperator(rng.standard_normal((m, n)))


def _wide_entries(rng: np.random.Generator) -> EntrySampling:
    flat = rng.permutation(40)[:17]
    return EntrySampling(flat // 10, flat % 10, (4, 10))


def _pauli(rng: np.random.Generator, qubits: int, count: int) -> PauliSensing:
    codes = rng.permutation(4**qubits)[:count]
    letters = [["IXYZ"[code // 4**i % 4] for i in range(qubits)] for code in codes]
    return PauliSensing(["".join(row) for row in letters])


MORE: dict[str, Callable[[np.random.Generator], MeasurementOperator]] = {
    "wide entries": _wide_entries,
    "grouped entries": lambda rng: _wide_entries(rng).canonical(np.zeros(17))[0],
    "square identity": lambda rng: IdentitySensing((4, 4)),
    "single-precision matrices": lambda rng: DenseSensing(
        rng.standard_normal((9, 4, 3)).astype(np.float32)
    ),
    "symmetric matrices": lambda rng: DenseSensing(
        np.stack([a + a.T for a in rng.standard_normal((9, 4, 4))])
    ),
    "sparse pairs": lambda rng: RankOneSensing(_sparse(rng, 20, 5), _sparse(rng, 20, 6)),
    "computed pairs": lambda rng: RankOneSensing(_linear(rng, 20, 5), _linear(rng, 20, 5)),
    "pairs in blocks of columns": lambda rng: RankOneSensing(
        rng.standard_normal((30, 150)), _linear(rng, 30, 70)
    ),
    "complex vectors, complex X": lambda rng: QuadraticSensing(_complex(rng, 20, 5)),
    "complex vectors, real X": lambda rng: QuadraticSensing(_complex(rng, 20, 5), "real"),
    "real vectors, complex X": lambda rng: QuadraticSensing(
        rng.standard_normal((20, 5)), "complex"
    ),
    "sparse vectors": lambda rng: QuadraticSensing(_sparse(rng, 20, 5)),
    "computed vectors": lambda rng: QuadraticSensing(aslinearoperator(_complex(rng, 20, 5))),
    "masks, complex X": _masked("complex"),
    "masks, real X": _masked("real"),
    "one qubit": lambda rng: PauliSensing(["Y", "I", "X"]),
    "four qubits": lambda rng: _pauli(rng, 4, 60),
    "all strings": lambda rng: _pauli(rng, 2, 16),
    "real strings": lambda rng: PauliSensing(["YY", "XI", "IZ", "ZX"]),
    "even grid": lambda rng: BlindDeconvolution(
        rng.standard_normal((16, 4)), rng.standard_normal((16, 4)), (4, 4)
    ),
    "odd grid": lambda rng: BlindDeconvolution(
        _sparse(rng, 15, 4), _linear(rng, 15, 3), (15,), [3, 0, 7]
    ),
    "spectra in blocks of columns": lambda rng: BlindDeconvolution(
        rng.standard_normal((9, 40)), rng.standard_normal((9, 3)), (9,)
    ),
    "centred distances": lambda rng: DistanceSensing([0, 1, 3, 0], [1, 2, 2, 3], 4).centered(),
    "congruent strings": lambda rng: Congruence(_pauli(rng, 2, 9), rng.standard_normal((4, 3))),
    "centred entries": lambda rng: Congruence(
        EntrySampling([0, 1, 2, 2, 3], [1, 0, 2, 3, 0], (4, 4)), centering_basis(4)
    ),
    "adjusted strings": lambda rng: Adjusted(_pauli(rng, 2, 9), rng.standard_normal((9, 2))),
    "adjusted intensities": lambda rng: Adjusted(
        QuadraticSensing(_complex(rng, 20, 5)), np.ones((20, 1))
    ),
    "adjusted by nothing": lambda rng: Adjusted(_wide_entries(rng), np.zeros((17, 2))),
    "multiple": lambda rng: Combination((_wide_entries(rng),), (-3.0,)),
    "weighted subset": lambda rng: (
        _wide_entries(rng).weighted(rng.standard_normal(17)).subset([4, 2, 11, 7])
    ),
    "scaled intensities": lambda rng: QuadraticSensing(_complex(rng, 20, 5)).scaled(
        *(lambda d: (d, d.conj()))(_complex(rng, 5, 5))
    ),
}
"""Further structures, by what they are; all of them give moments."""

MORE_WITHOUT_TRANSPOSED = {
    "all strings",
    "one qubit",
    "four qubits",
    "congruent strings",
    "centred entries",
    "adjusted strings",
    "adjusted intensities",
    "complex vectors, complex X",
    "computed vectors",
    "masks, complex X",
    "scaled intensities",
}
each_structure = pytest.mark.parametrize("structure", MORE)


def measurement_matrices(operator: MeasurementOperator) -> np.ndarray:
    """Return the A_j, m x n1 x n2: complex where the unknown is."""
    rows, (n1, n2) = operator.normal_matrix(), operator.shape
    if operator.hermitian:
        real, imaginary = np.split(rows, 2, axis=1)
        rows = real + 1j * imaginary
    return rows.reshape(-1, n1, n2)


def expected_moment(
    matrices: np.ndarray, side: str, factor: np.ndarray | None, weights: np.ndarray | None
) -> np.ndarray:
    turned = matrices if side == "left" else matrices.swapaxes(1, 2)
    if factor is not None:
        turned = turned @ (np.diag(factor) if factor.ndim == 1 else factor)
    w = np.ones(len(matrices)) if weights is None else weights
    return np.einsum("t,tik,tjk->ij", w, turned, turned.conj())


def factors(
    operator: MeasurementOperator, side: str, rng: np.random.Generator
) -> dict[str, np.ndarray | None]:
    n = operator.shape[1 if side == "left" else 0]
    return {
        "identity": None,
        "diagonal": random_array(operator, rng, n),
        "matrix": random_array(operator, rng, n, 3),
        "real matrix": rng.standard_normal((n, n + 2)),
    }


def given(
    operator: MeasurementOperator, side: str, factor: Any = None, weights: Any = None
) -> np.ndarray:
    """Return a moment that must be there."""
    moment = operator.moment(side, factor, weights=weights)
    assert isinstance(moment, np.ndarray) and moment.dtype in (float, complex)
    return moment


def full(moment: np.ndarray) -> np.ndarray:
    return np.diag(moment) if moment.ndim == 1 else moment


def check_moments(operator: MeasurementOperator, rng: np.random.Generator) -> None:
    """Compare every moment with that of the explicit matrices."""
    matrices = measurement_matrices(operator)
    for weights in (None, rng.standard_normal(operator.num_measurements)):
        for side in ("left", "right"):
            for factor in factors(operator, side, rng).values():
                kept = [None if x is None else x.copy() for x in (factor, weights)]
                moment = given(operator, side, factor, weights)
                assert_close(full(moment), expected_moment(matrices, side, factor, weights), RTOL)
                if moment.ndim == 2:
                    np.testing.assert_array_equal(moment, moment.conj().T)
                for before, after in zip(kept, (factor, weights), strict=True):
                    if before is not None:
                        np.testing.assert_array_equal(before, after)


def check_transposed(operator: MeasurementOperator, rng: np.random.Generator) -> None:
    matrices = measurement_matrices(operator)
    for weights in (None, rng.standard_normal(operator.num_measurements)):
        w = np.ones(len(matrices)) if weights is None else weights
        moment = operator.transposed_moment(weights)
        assert moment is not None
        assert_close(full(moment), np.einsum("t,tij,tjk->ik", w, matrices, matrices), RTOL)


@each_operator
def test_moments_are_those_of_the_explicit_matrices(name, rng):
    operator = operator_example(name)
    if name in WITHOUT:
        assert operator.moment("left") is None and operator.moment("right") is None
        return
    check_moments(operator, rng)


@each_structure
def test_moments_of_every_structure(structure, rng):
    check_moments(MORE[structure](rng), rng)


@each_operator
def test_moments_on_square_matrices(name, rng):
    operator = square_example(name)
    if name not in WITHOUT:
        check_moments(operator, rng)
    if name in WITHOUT_TRANSPOSED:
        assert not operator.symmetric
        assert operator.transposed_moment() is None
        return
    check_transposed(operator, rng)


@each_structure
def test_transposed_moments_of_every_structure(structure, rng):
    operator = MORE[structure](rng)
    if operator.shape[0] != operator.shape[1]:
        with pytest.raises(ShapeError, match=r"only square.*"):
            operator.transposed_moment()
    elif structure in MORE_WITHOUT_TRANSPOSED:
        assert operator.transposed_moment() is None
    else:
        check_transposed(operator, rng)


@each_side
@pytest.mark.parametrize("name", DIAGONAL)
def test_diagonal_moments_come_as_diagonals(name, side, rng):
    operator = operator_example(name)
    n = operator.shape[0 if side == "left" else 1]
    for kind, factor in factors(operator, side, rng).items():
        diagonal = "matrix" not in kind or DIAGONAL[name] == "every factor"
        assert given(operator, side, factor).shape == ((n,) if diagonal else (n, n))


@each_side
def test_masks_give_a_diagonal_where_weights_do_not_vary_behind_one(side, rng):
    operator = _masked("complex")(rng)
    diagonal = _complex(rng, 6)
    by_mask = np.repeat([1.0, -2.0, 0.5], 6)
    assert given(operator, side).shape == (6,)
    assert given(operator, side, diagonal, by_mask).shape == (6,)
    assert given(operator, side, weights=np.arange(18.0)).shape == (6, 6)
    assert given(operator, side, _complex(rng, 6, 2)).shape == (6, 6)
    assert given(_masked("real")(rng), side).shape == (6, 6)
    explicit = measurement_matrices(operator)
    assert_close(
        full(given(operator, side, diagonal, by_mask)),
        expected_moment(explicit, side, diagonal, by_mask),
        RTOL,
    )


@each_operator
def test_both_sides_have_one_trace(name, rng):
    """sum_j ||A_j F||^2 is the trace of the left moment, and <F, right moment conj(F)>."""
    if name in WITHOUT:
        return
    operator = operator_example(name)
    factor = random_array(operator, rng, operator.shape[1], 2)
    weights = rng.uniform(0.5, 2.0, operator.num_measurements)
    left = full(given(operator, "left", factor, weights))
    right = full(given(operator, "right", weights=weights))
    energy = np.trace(factor.T @ right @ factor.conj())
    assert_close(np.trace(left), energy, RTOL)


@each_operator
def test_arguments_of_other_namespaces_and_kinds(name, rng):
    if name in WITHOUT:
        return
    operator = operator_example(name)
    other = strict_operator(operator)
    for side, n in zip(("left", "right"), operator.shape[::-1], strict=True):
        factor = rng.integers(-3, 4, (n, 2))
        weights = rng.integers(-3, 4, operator.num_measurements)
        expected = operator.moment(side, factor.astype(float), weights=weights.astype(float))
        assert_close(operator.moment(side, factor, weights=weights), expected, RTOL)
        foreign = other.moment(side, strict(factor * 1.0), weights=strict(weights * 1.0))
        assert isinstance(foreign, np.ndarray)
        assert_close(foreign, expected, RTOL)
        assert_close(operator.moment(side, factor.tolist(), weights=list(weights)), expected, RTOL)


@each_operator
def test_unusable_arguments_are_refused(name):
    operator = operator_example(name)
    (n1, n2), m = operator.shape, operator.num_measurements
    for wrong in ("Left", "both", "", None):
        with pytest.raises(InputError, match="Remedy"):
            operator.moment(wrong)  # pyright: ignore[reportArgumentType]
    for side, n in (("left", n2), ("right", n1)):
        for shape in ((), (n + 1,), (n + 1, 2), (n, 2, 2), (1, n)):
            with pytest.raises(ShapeError, match="Remedy"):
                operator.moment(side, np.ones(shape))
        for shape in ((), (m + 1,), (1,), (m, 1)):
            with pytest.raises(ShapeError, match="Remedy"):
                operator.moment(side, weights=np.ones(shape))
        with pytest.raises(DTypeError, match="Remedy"):
            operator.moment(side, weights=np.ones(m, dtype=complex))
        if not operator.hermitian:
            with pytest.raises(DTypeError, match="Remedy"):
                operator.moment(side, np.ones((n, 2), dtype=complex))
    square = square_example(name)
    with pytest.raises(ShapeError, match="Remedy"):
        square.transposed_moment(np.ones(square.num_measurements + 1))


def test_factors_of_a_rectangle_are_not_taken_for_the_other_side():
    operator = EntrySampling([0, 1], [2, 0], (2, 3))
    with pytest.raises(ShapeError, match="pass 3 rows"):
        operator.moment("left", np.ones((2, 4)))
    with pytest.raises(ShapeError, match="pass 2 rows"):
        operator.moment("right", np.ones((3, 4)))


def test_moments_of_sampled_entries_are_counts(rng):
    operator = _wide_entries(rng)
    np.testing.assert_array_equal(given(operator, "left"), operator.row_counts)
    np.testing.assert_array_equal(given(operator, "right"), operator.column_counts)
    moment = given(operator, "left")
    moment += 1.0
    np.testing.assert_array_equal(given(operator, "left"), operator.row_counts)


def test_moments_of_distances_without_a_factor_are_twice_the_laplacian():
    operator = DistanceSensing([0, 1], [1, 2], 3)
    laplacian = np.array([[1.0, -1.0, 0.0], [-1.0, 2.0, -1.0], [0.0, -1.0, 1.0]])
    np.testing.assert_array_equal(operator.moment("left"), 2 * laplacian)
    np.testing.assert_array_equal(operator.transposed_moment(), 2 * laplacian)


def test_matrices_in_many_blocks_and_chunks(rng, tmp_path):
    """More than one block a chunk and more than one chunk, from memory and from a file."""
    matrices = rng.standard_normal((3000, 12, 9))
    weights, factor = rng.standard_normal(3000), rng.standard_normal((9, 2))
    np.save(tmp_path / "matrices.npy", matrices)
    mapped = np.load(tmp_path / "matrices.npy", mmap_mode="r")
    for operator in (DenseSensing(matrices), DenseSensing(mapped), DenseSensing(strict(matrices))):
        moment = operator.moment("left", factor, weights=weights)
        assert_close(moment, expected_moment(matrices, "left", factor, weights), RTOL)
        np.testing.assert_array_equal(
            operator.moment("left", factor, weights=weights), moment, strict=True
        )


def test_full_matrices_have_a_largest_size(rng, monkeypatch):
    """Above it only diagonal moments are given."""
    operators = [operator_example(name) for name in OPERATOR_NAMES if name not in WITHOUT]
    operators += [make(rng) for make in MORE.values()]
    # The scales of Scaled are matrices of that size already.
    operators = [operator for operator in operators if type(operator).__name__ != "Scaled"]
    before = [(op, side, given(op, side)) for op in operators for side in ("left", "right")]
    for module in (adjusted, blind_deconvolution, congruence, dense, distance, pauli):
        monkeypatch.setattr(module, "MOMENT_SIDE", 1)
    for module in (quadratic, rank_one):
        monkeypatch.setattr(module, "MOMENT_SIDE", 1)
    missing = 0
    for operator, side, moment in before:
        if moment.ndim == 1:
            assert_close(given(operator, side), moment, RTOL)
        else:
            missing += 1
            assert operator.moment(side) is None
    assert missing > 40
    assert base.MOMENT_SIDE == 4096


def test_computed_vectors_are_only_multiplied_by_a_factor_of_few_columns(monkeypatch, rng):
    monkeypatch.setattr(rank_one, "MOMENT_SIDE", 5)
    operator = RankOneSensing(_linear(rng, 20, 4), _linear(rng, 20, 8))
    assert operator.moment("left") is None
    factor = rng.standard_normal((8, 2))
    expected = expected_moment(measurement_matrices(operator), "left", factor, None)
    assert_close(operator.moment("left", factor), expected, RTOL)


def test_too_many_spectra_are_not_kept(monkeypatch):
    operator = operator_example("BlindDeconvolution")
    monkeypatch.setattr(blind_deconvolution, "MOMENT_NUMBERS", 98)
    assert operator.moment("left") is None
    monkeypatch.setattr(blind_deconvolution, "MOMENT_NUMBERS", 99)
    assert operator.moment("left") is not None


def test_a_generic_operator_gives_none(rng):
    operator = FromLinearOperator(rng.standard_normal((7, 9)), (3, 3))
    assert operator.moment("left", np.ones(3)) is None
    assert operator.transposed_moment() is None
