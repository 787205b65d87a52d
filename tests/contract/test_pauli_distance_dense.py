"""Pauli strings, distances, congruences and dense matrices in blocks, beyond the contract."""

from __future__ import annotations

import tracemalloc
from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy.linalg import eigh, hadamard
from scipy.sparse.linalg import aslinearoperator
from scipy.spatial.distance import pdist

from cases import PAULI_MATRICES, assert_close, distance_rows, pauli_matrix
from ranklift import threads
from ranklift.errors import (
    DTypeError,
    DuplicateEntriesError,
    EmptyDataError,
    InputError,
    NonFiniteError,
    RankError,
    ShapeError,
    UnobservedError,
)
from ranklift.instances.quantum_states import (
    fidelity,
    ghz_state,
    random_pauli_strings,
    random_state,
    shot_noise,
    w_state,
)
from ranklift.operators import (
    Congruence,
    DenseSensing,
    DistanceSensing,
    EntrySampling,
    IdentitySensing,
    PauliSensing,
    Subset,
    centering_basis,
    dense,
    distance,
    pauli,
)


def complex_normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def peak_bytes(task: Any) -> int:
    """Return the largest memory allocated while ``task`` runs, beyond what was there before."""
    tracemalloc.start()
    try:
        task()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# -- Pauli strings -------------------------------------------------------------------------------


def check_pauli(operator: PauliSensing, rng: np.random.Generator) -> None:
    """Hold every product to the Kronecker products of the letters' matrices."""
    n, strings = operator.shape[0], operator.strings
    matrices = np.array([pauli_matrix(string) for string in strings])
    left, right, y = complex_normal(rng, n, 2), complex_normal(rng, n, 2), rng.random(len(strings))
    for l_, r_ in ((left, right), (left.real, right.real), (left.real, right)):
        expected = np.einsum("sij,ji->s", matrices, l_ @ r_.T).real
        assert_close(operator.apply(l_ @ r_.T), expected, 1e-13)
        assert_close(operator.apply_product(l_, r_), expected, 1e-13)
        assert operator.apply_product(l_, r_).dtype == np.float64
    total = np.einsum("s,sij->ij", y, matrices)
    adjoint = operator.adjoint(y)
    for _ in range(2):  # the second time from kept diagonals
        assert_close(adjoint @ right, total @ right, 1e-13)
        assert_close(adjoint.T @ left[:, 0], total.T @ left[:, 0], 1e-13)
    assert (adjoint @ right[:, :0]).shape == (n, 0)
    with pytest.raises(ShapeError, match="Remedy"):
        adjoint @ np.ones(n + 1)
    got = operator.adjoint_products(y, left, right)
    assert_close(got[0], total @ right.conj(), 1e-13)
    assert_close(got[1], total.T @ left.conj(), 1e-13)


@pytest.mark.parametrize("q", [1, 2, 3, 4])
@pytest.mark.parametrize("path", ["chosen", "transform", "string by string"])
@pytest.mark.parametrize("chunk", [2**17, 40])
def test_pauli_products_are_those_of_kronecker_products(q, path, chunk, monkeypatch, rng):
    if path != "chosen":
        monkeypatch.setattr(pauli, "_few", lambda *sizes: path == "string by string")
    monkeypatch.setattr(pauli, "CHUNK_NUMBERS", chunk)
    every = ["".join(letters) for letters in product("IXYZ", repeat=q)]
    shuffled = [every[i] for i in rng.permutation(len(every))]
    check_pauli(PauliSensing(shuffled), rng)
    check_pauli(PauliSensing(shuffled[:3]), rng)
    check_pauli(PauliSensing(["Y" * q]), rng)


def test_pauli_adjoint_beyond_the_cache(monkeypatch, rng):
    monkeypatch.setattr(pauli, "CACHE_NUMBERS", 0)
    check_pauli(PauliSensing(random_pauli_strings(4, 50, rng)), rng)


def test_both_ways_to_sum_are_taken():
    assert pauli._few(1, 64, 4096) and not pauli._few(4096, 64, 4096)


@pytest.mark.parametrize("q", range(8))
def test_walsh_hadamard_is_the_product_with_the_hadamard_matrix(q, rng):
    x = rng.standard_normal((3, 2**q))
    assert_close(pauli.walsh_hadamard(x), x @ hadamard(2**q), 1e-14)


def test_expectation_values_of_known_states():
    ghz, w = ghz_state(3), w_state(3)
    operator = PauliSensing(["III", "XXX", "XYY", "YXY", "ZZI", "ZII", "YYY", "IIZ"])
    values = operator.apply_product(ghz, ghz.conj())
    assert_close(values, np.array([1, 1, -1, -1, 1, 0, 0, 0.0]), 1e-15)
    values = PauliSensing(["ZII", "IZI", "ZZZ", "XXI", "YIY"]).apply_product(w, w.conj())
    assert_close(values, np.array([1 / 3, 1 / 3, -1, 2 / 3, 2 / 3]), 1e-15)
    # The first letter acts on the most significant bit: |10> has Z = -1 on the first qubit.
    one_zero = np.eye(4)[:, [2]]
    assert_close(PauliSensing(["ZI", "IZ"]).apply_product(one_zero, one_zero), np.array([-1.0, 1]))


def test_all_pauli_strings_are_an_isometry(rng):
    """The 4^q strings divided by sqrt(2^q) are an orthonormal basis of the Hermitian matrices."""
    q = 3
    operator = PauliSensing(["".join(letters) for letters in product("IXYZ", repeat=q)])
    x = complex_normal(rng, 8, 8)
    x = x + x.conj().T
    assert abs(np.sum(operator.apply(x) ** 2) / 8 - np.linalg.norm(x) ** 2) < 1e-11
    assert_close(operator.adjoint(operator.apply(x)) @ np.eye(8) / 8, x, 1e-13)


def test_pauli_of_twelve_qubits_stays_small(monkeypatch, rng):
    monkeypatch.setattr(pauli, "CACHE_NUMBERS", 0)
    operator = PauliSensing(random_pauli_strings(12, 600, rng))
    u, y = random_state(12, 2, rng), rng.standard_normal(600)
    full = 2**24 * 16

    def products() -> None:
        values = operator.apply_product(u, u.conj())
        assert np.abs(values).max() <= 1
        operator.adjoint_products(y, u, u.conj())

    assert peak_bytes(products) < full / 10
    # <A(X), y> = <X, A*(y)> of the same point.
    out = operator.adjoint_products(y, u, u.conj())[0]
    assert abs(operator.apply_product(u, u.conj()) @ y - np.vdot(u, out).real) < 1e-12


def test_pauli_symmetric_flag_counts_y():
    assert PauliSensing(["XX", "YY", "ZI"]).symmetric
    assert not PauliSensing(["XX", "YI"]).symmetric


def test_pauli_keeps_the_callers_order():
    strings = ["ZZ", "IX", "YY", "XZ", "ZI"]
    operator = PauliSensing(strings)
    assert operator.strings == strings and operator.num_qubits == 2
    assert operator.subset([3, 0]).strings == ["XZ", "ZZ"]
    twin = PauliSensing.from_arrays(operator.to_arrays())
    assert twin.strings == strings and operator.to_arrays()["codes"].dtype == np.uint8


@pytest.mark.parametrize(
    ("strings", "error", "words"),
    [
        ([], EmptyDataError, "no Pauli string"),
        (["XA"], InputError, "'XA'"),
        (["XX", "xz"], InputError, "'xz'"),
        ([""], InputError, "''"),
        (["XX", 3], InputError, "3"),
        (["XX", "XXX"], ShapeError, "'XXX' has 3 letters"),
        ("XX", DTypeError, "one string"),
        (["XX", "ZY", "XX"], DuplicateEntriesError, "'XX'"),
        (["I" * 31], ShapeError, "31 qubits"),
    ],
)
def test_pauli_refuses_bad_strings(strings, error, words):
    with pytest.raises(error, match=f"{words}.*Remedy"):
        PauliSensing(strings)


# -- quantum states ------------------------------------------------------------------------------


def test_random_strings_are_distinct_and_uniform():
    assert sorted(random_pauli_strings(3, 64, rng=0)) == [
        "".join(letters) for letters in product("IXYZ", repeat=3)
    ]
    strings = random_pauli_strings(12, 3000, rng=0)
    assert len(set(strings)) == 3000 and strings == random_pauli_strings(12, 3000, rng=0)
    counts = np.array([[s[i] for s in strings].count(c) for i in range(12) for c in "IXYZ"])
    # 48 counts of mean 750 and standard deviation 24.
    assert np.abs(counts - 750).max() < 5 * 24
    with pytest.raises(InputError, match=r"17 distinct.*Remedy: ask for at most 4\^2"):
        random_pauli_strings(2, 17)
    with pytest.raises(EmptyDataError, match="Remedy"):
        random_pauli_strings(2, 0)
    with pytest.raises(ShapeError, match="Remedy"):
        random_pauli_strings(0, 1)


def test_states_have_trace_one_and_the_rank(rng):
    for state, rank in ((random_state(3, 2, rng), 2), (ghz_state(4), 1), (w_state(4), 1)):
        assert np.iscomplexobj(state) and state.shape[1] == rank
        assert abs(np.vdot(state, state).real - 1) < 1e-14
        assert np.linalg.matrix_rank(state) == rank
    assert np.flatnonzero(w_state(3)).tolist() == [1, 2, 4]
    with pytest.raises(RankError, match="Remedy"):
        random_state(2, 5)
    with pytest.raises(ShapeError, match="Remedy"):
        ghz_state(31)


def test_shot_noise_has_the_binomial_moments():
    e, shots = np.full(20_000, 0.6), 50
    estimates = shot_noise(e, shots, rng=0)
    # Values lie on the grid of 50 outcomes.
    assert np.abs((estimates + 1) * 25 - np.round((estimates + 1) * 25)).max() < 1e-9
    sigma = np.sqrt((1 - 0.6**2) / shots)
    assert abs(estimates.mean() - 0.6) < 5 * sigma / np.sqrt(e.size)
    assert abs(estimates.std() / sigma - 1) < 5 / np.sqrt(2 * e.size)
    np.testing.assert_array_equal(shot_noise([1 + 1e-12, -1.0], [3, 4], rng=0), [1.0, -1.0])
    for values, count, error in (
        ([1.1], 5, InputError),
        ([np.nan], 5, NonFiniteError),
        ([0.1], 0, InputError),
        ([0.1], 2.5, InputError),
        ([0.1], [3, 4], ShapeError),
    ):
        with pytest.raises(error, match="Remedy"):
            shot_noise(values, count)


def test_fidelity_is_uhlmanns(rng):
    u, v = random_state(3, 2, rng), random_state(3, 4, rng)
    rho, sigma = u @ u.conj().T, v @ v.conj().T
    values, vectors = eigh(rho)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.conj().T
    expected = np.sqrt(np.maximum(eigh(root @ sigma @ root)[0], 0)).sum() ** 2
    assert abs(fidelity(u, v) - expected) < 1e-7  # square roots of rounding errors in the referee
    assert abs(fidelity(u, u) - 1) < 1e-13
    turn = np.linalg.qr(complex_normal(rng, 2, 2))[0]
    assert abs(fidelity(u @ turn, v) - fidelity(v, u)) < 1e-13
    assert fidelity(np.eye(4)[:, :1], np.eye(4)[:, 1:2]) == 0.0
    with pytest.raises(ShapeError, match="Remedy"):
        fidelity(u, np.ones((4, 1)))


# -- distances -----------------------------------------------------------------------------------


def all_pairs(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs in pdist's order, each the one or the other way round."""
    i, j = np.triu_indices(n, 1)
    turned = rng.random(i.size) < 0.5
    return np.where(turned, j, i), np.where(turned, i, j)


def test_distances_are_those_of_scipy(rng):
    points = rng.standard_normal((12, 3))
    operator = DistanceSensing(*all_pairs(12, rng), 12)
    expected = pdist(points, "sqeuclidean")
    assert_close(operator.apply_product(points, points), expected, 1e-14)
    assert_close(operator.apply_product(points, points.copy()), expected, 1e-14)
    assert_close(operator.apply(points @ points.T), expected, 1e-13)


def test_distances_in_many_chunks(monkeypatch, rng):
    points = rng.standard_normal((12, 3))
    operator = DistanceSensing(*all_pairs(12, rng), 12)
    y = rng.standard_normal(operator.num_measurements)
    whole = [
        operator.apply_product(points, points),
        operator.adjoint_products(y, points, points)[0],
        operator.gram_blocks(points, side="left"),
    ]
    monkeypatch.setattr(distance, "SERIAL_WORK", 0)
    chunks = [
        operator.apply_product(points, points),
        operator.adjoint_products(y, points, points)[0],
        operator.gram_blocks(points, side="left"),
    ]
    for one, other in zip(chunks, whole, strict=True):
        np.testing.assert_array_equal(one, other)
    assert_close(whole[1], operator.adjoint(y) @ points, 1e-13)


def test_far_points_keep_their_digits(rng):
    """Differences are taken before products: G_ii + G_jj - 2 G_ij would lose ten digits here."""
    points = rng.standard_normal((12, 3))
    operator = DistanceSensing(*all_pairs(12, rng), 12)
    far = points + 1e5
    assert_close(operator.apply_product(far, far), pdist(points, "sqeuclidean"), 1e-9)


def test_the_adjoint_is_the_weighted_laplacian(rng):
    i, j = all_pairs(6, rng)
    operator, y = DistanceSensing(i, j, 6), rng.standard_normal(15)
    weights = np.zeros((6, 6))
    weights[i, j] = weights[j, i] = y
    expected = np.diag(weights.sum(axis=1)) - weights
    laplacian = operator.adjoint(y)
    assert_close(laplacian.toarray(), expected, 1e-14)
    assert laplacian.nnz == 2 * 15 + 6
    points = rng.standard_normal((6, 2))
    out = operator.adjoint_products(y, points, points)
    assert_close(out[0], expected @ points)
    assert_close(out[1], expected @ points)
    assert not np.shares_memory(*out)


def test_subsets_may_leave_a_point_alone(rng):
    operator = DistanceSensing([0, 1, 2], [1, 2, 3], 4).subset([0])
    assert operator.pair_counts.tolist() == [1, 1, 0, 0]
    twin = DistanceSensing.from_arrays(operator.to_arrays())
    assert_close(twin.adjoint(np.ones(1)).toarray(), operator.adjoint(np.ones(1)).toarray(), 0.0)
    blocks = operator.gram_blocks(rng.standard_normal((4, 2)), side="left")
    assert not blocks[2:].any() and blocks[:2].any()
    with pytest.raises(EmptyDataError, match="Remedy"):
        operator.subset(np.zeros(1, dtype=bool))


@pytest.mark.parametrize(
    ("rows", "cols", "error", "words"),
    [
        ([], [], EmptyDataError, "no measured pair"),
        ([0, 1], [1], ShapeError, "2 first and 1 second"),
        ([0, 1], [1, 3], ShapeError, "index 3"),
        ([0, -1], [1, 2], ShapeError, "index -1"),
        ([0.0, 1.0], [1, 2], DTypeError, "float64"),
        ([0, 1], [2, 1], InputError, r"\(1, 1\)"),
        ([0, 1, 0], [1, 2, 1], DuplicateEntriesError, r"\(0, 1\)"),
        ([0, 1, 2], [1, 2, 1], DuplicateEntriesError, r"\(1, 2\)"),
        ([0], [2], UnobservedError, "point 1"),
    ],
)
def test_distances_refuse_bad_pairs(rows, cols, error, words):
    with pytest.raises(error, match=f"{words}.*Remedy"):
        DistanceSensing(rows, cols, 3)


# -- congruences and centring --------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 10, 101])
def test_centering_basis_spans_what_is_orthogonal_to_ones(n, rng):
    basis = centering_basis(n)
    q = basis @ np.eye(n - 1)
    assert q.shape == (n, n - 1)
    assert np.abs(q.T @ q - np.eye(n - 1)).max() < 1e-14
    assert np.abs(q.sum(axis=0)).max() < 1e-13
    assert_close(q @ q.T, np.eye(n) - np.full((n, n), 1 / n), 1e-14)
    w, z = rng.standard_normal((n, 2)), complex_normal(rng, n - 1)
    assert_close(basis.T @ w, q.T @ w, 1e-14)
    assert_close(basis.T @ w[:, 0], q.T @ w[:, 0], 1e-14)
    assert_close(basis @ z, q @ z, 1e-14)


def test_centering_needs_two_points():
    with pytest.raises(ShapeError, match="Remedy"):
        centering_basis(1)


def test_centered_distances_lose_the_kernel_and_nothing_else(rng):
    n, operator = 7, DistanceSensing(*all_pairs(7, rng), 7)
    points, shift = rng.standard_normal((n, 2)), rng.standard_normal((n, 1))
    gram, ones = points @ points.T, np.ones((n, 1))
    moved = gram + ones @ shift.T + shift @ ones.T
    assert_close(operator.apply(moved), operator.apply(gram), 1e-13)
    centered = operator.centered()
    assert centered.symmetric and centered.shape == (n - 1, n - 1)
    u = centered.basis.T @ points
    assert_close(centered.apply_product(u, u), pdist(points, "sqeuclidean"), 1e-13)
    assert_close(centered.embed(u), points - points.mean(axis=0), 1e-13)
    # On symmetric matrices of size n - 1 the distances of all pairs determine everything.
    assert np.linalg.matrix_rank(centered.normal_matrix()) == n * (n - 1) // 2


def test_centered_distances_are_saved_without_the_basis(rng):
    operator = DistanceSensing(*all_pairs(5, rng), 5).centered()
    arrays = operator.to_arrays()
    assert arrays["centering"] == 5 and "basis" not in arrays
    twin = Congruence.from_arrays(arrays)
    u = rng.standard_normal((4, 2))
    np.testing.assert_array_equal(twin.apply_product(u, u), operator.apply_product(u, u))
    np.testing.assert_array_equal(
        twin.subset([2, 1]).apply_product(u, u), operator.apply_product(u, u)[[2, 1]]
    )


def test_congruence_by_linear_operator_is_that_by_its_matrix(rng):
    base, q = EntrySampling([0, 3, 2], [1, 2, 2], (4, 4)), rng.standard_normal((4, 3))
    array, lazy = Congruence(base, q), Congruence(base, aslinearoperator(q))
    x, y = rng.standard_normal((3, 3)), rng.standard_normal(3)
    assert_close(lazy.apply(x), (q @ x @ q.T)[[0, 3, 2], [1, 2, 2]], 1e-14)
    assert_close(lazy.adjoint(y) @ x, array.adjoint(y) @ x, 1e-14)
    assert lazy.dottest(rng=0) < 1e-13
    with pytest.raises(InputError, match=r"holds code.*Remedy"):
        lazy.to_arrays()


def test_congruence_of_a_hermitian_operator(rng):
    strings, q = ["XY", "ZZ", "IY", "XX"], rng.standard_normal((4, 3))
    operator = Congruence(PauliSensing(strings), q)
    assert operator.hermitian and operator.dottest(rng=0) < 1e-13
    u = complex_normal(rng, 3, 2)
    x = q @ u @ u.conj().T @ q.T
    expected = [np.trace(pauli_matrix(string) @ x).real for string in strings]
    assert_close(operator.apply_product(u, u.conj()), np.array(expected), 1e-13)


def test_congruence_refuses_bad_bases():
    base = IdentitySensing((4, 4))
    for operator, basis, error in (
        (IdentitySensing((4, 3)), np.ones((4, 2)), ShapeError),
        (base, np.ones((3, 2)), ShapeError),
        (base, np.ones(4), ShapeError),
        (base, np.ones((4, 2), dtype=complex), DTypeError),
        (base, np.full((4, 2), np.inf), NonFiniteError),
    ):
        with pytest.raises(error, match="Remedy"):
            Congruence(operator, basis)


# -- dense matrices in blocks --------------------------------------------------------------------


def dense_products(operator: Any, rng_seed: int = 0) -> dict[str, np.ndarray]:
    """Return every product with drawn factors."""
    rng = np.random.default_rng(rng_seed)
    (n1, n2), m = operator.shape, operator.num_measurements
    left, d_left = rng.standard_normal((2, n1, 3))
    right, d_right = rng.standard_normal((2, n2, 3))
    b, s = rng.standard_normal((2, m))
    directions = (left, right, d_left, d_right)
    out: dict[str, Any] = {
        "apply": operator.apply(left @ right.T),
        "adjoint": operator.adjoint(b),
    }
    for name, values in {
        "residual": operator.residual_products(left, right, b),
        "adjoint_products": operator.adjoint_products(b, left, right),
        "newton": operator.normal_products(*directions, s),
        "gauss_newton": operator.normal_products(*directions),
        "curved": operator.normal_products(*directions, s, lambda y: 2 * y),
    }.items():
        out |= {f"{name}{i}": value for i, value in enumerate(values)}
    return out


def expected_products(matrices: np.ndarray) -> dict[str, np.ndarray]:
    """Return the same products by sums over full arrays."""
    flat = matrices.astype(float).reshape(len(matrices), -1)
    generic = IdentitySensing(matrices.shape[1:])

    class _Explicit(DenseSensing):  # underscore: not registered
        def __init__(self) -> None:
            self.shape, self.num_measurements = generic.shape, len(flat)

        def apply(self, matrix: Any) -> Any:
            return flat @ matrix.ravel()

        def adjoint(self, y: Any) -> Any:
            return (flat.T @ y).reshape(self.shape)

        def adjoint_products(self, y: Any, left: Any, right: Any) -> Any:
            return self.adjoint(y) @ right, self.adjoint(y).T @ left

        def residual_products(self, left: Any, right: Any, b: Any) -> Any:
            residual = self.apply(left @ right.T) - b
            return residual, *self.adjoint_products(residual, left, right)

        def normal_products(
            self, left: Any, right: Any, dl: Any, dr: Any, s: Any = None, curvature: Any = None
        ) -> Any:
            y = self.apply(dl @ right.T + left @ dr.T)
            g = self.adjoint(y if curvature is None else curvature(y))
            h = 0 * g if s is None else self.adjoint(s)
            return g @ right + h @ dr, g.T @ left + h.T @ dl

    return dense_products(_Explicit())


@pytest.mark.parametrize("block_bytes", [1, 5000, 2**21])
@pytest.mark.parametrize("m", [7, 400])
def test_blocks_and_chunks_add_up(block_bytes, m, monkeypatch, rng):
    """m = 400 is beyond the serial size: four chunks of rows."""
    monkeypatch.setattr(dense, "BLOCK_BYTES", block_bytes)
    matrices = rng.standard_normal((m, 35, 30))
    expected = expected_products(matrices)
    for key, value in dense_products(DenseSensing(matrices)).items():
        assert_close(value, expected[key], 1e-12)
    strided = np.asfortranarray(matrices)
    for key, value in dense_products(DenseSensing(strided)).items():
        assert_close(value, expected[key], 1e-12)


def test_sums_do_not_depend_on_the_number_of_cores(monkeypatch, rng):
    operator = DenseSensing(rng.standard_normal((400, 35, 30)))
    monkeypatch.setattr(dense, "BLOCK_BYTES", 2**17)
    first = dense_products(operator)
    monkeypatch.setattr(threads, "available_cores", lambda: 1)
    for key, value in dense_products(operator).items():
        np.testing.assert_array_equal(value, first[key])


def test_every_matrix_is_read_once_a_product(monkeypatch, rng):
    operator = DenseSensing(rng.standard_normal((400, 35, 30)))
    monkeypatch.setattr(dense, "BLOCK_BYTES", 2**17)
    reads = np.zeros(400, dtype=int)
    plain = DenseSensing._block

    def counted(self: DenseSensing, lo: int, hi: int) -> np.ndarray:
        reads[lo:hi] += 1
        return plain(self, lo, hi)

    monkeypatch.setattr(DenseSensing, "_block", counted)
    left, d_left = rng.standard_normal((2, 35, 3))
    right, d_right = rng.standard_normal((2, 30, 3))
    b = rng.standard_normal(400)
    for product_of, times in (
        (lambda: operator.residual_products(left, right, b), 1),
        (lambda: operator.normal_products(left, right, d_left, d_right, b), 1),
        (lambda: operator.normal_products(left, right, d_left, d_right), 1),
        (lambda: operator.normal_products(left, right, d_left, d_right, b, np.negative), 2),
        (lambda: operator.adjoint_products(b, left, right), 1),
    ):
        reads[:] = 0
        product_of()
        np.testing.assert_array_equal(reads, times)


def test_float32_matrices_are_summed_in_float64(rng):
    matrices = rng.standard_normal((400, 35, 30)).astype(np.float32)
    expected = expected_products(matrices)
    for key, value in dense_products(DenseSensing(matrices)).items():
        assert value.dtype == np.float64
        assert_close(value, expected[key], 1e-12)


@pytest.mark.parametrize("order", ["C", "F"])
def test_memmap_is_never_loaded(order, tmp_path, monkeypatch, rng):
    monkeypatch.setattr(dense, "BLOCK_BYTES", 2**16)
    matrices = rng.standard_normal((2000, 32, 32))  # 16 MB
    mapped: Any = np.memmap(
        tmp_path / "matrices", dtype=float, mode="w+", shape=matrices.shape, order=order
    )
    mapped[...] = matrices
    mapped.flush()
    mapped = np.memmap(
        tmp_path / "matrices", dtype=float, mode="r", shape=matrices.shape, order=order
    )
    results: dict[str, Any] = {}

    def work() -> None:
        operator = DenseSensing(mapped)
        assert np.shares_memory(operator._data, mapped) and operator.matrices is mapped
        assert np.shares_memory(operator.to_arrays()["matrices"], mapped)
        assert not operator.symmetric
        kept = operator.subset(np.arange(0, 2000, 2))
        assert isinstance(kept, Subset)
        results.update(dense_products(operator))
        results["subset"] = dense_products(kept)

    assert peak_bytes(work) < matrices.nbytes / 20
    for key, value in dense_products(DenseSensing(matrices)).items():
        assert type(results[key]) is np.ndarray
        assert_close(results[key], value, 0.0 if order == "C" else 1e-13)
    half = dense_products(DenseSensing(matrices[::2]))
    for key, value in results["subset"].items():
        assert_close(value, half[key], 1e-13)


def test_memmap_symmetry_and_finiteness_are_checked_to_the_last_block(tmp_path, monkeypatch, rng):
    monkeypatch.setattr(dense, "BLOCK_BYTES", 2**12)
    matrices = rng.standard_normal((100, 8, 8))
    matrices += matrices.swapaxes(1, 2)
    np.save(tmp_path / "matrices.npy", matrices)
    mapped = np.load(tmp_path / "matrices.npy", mmap_mode="r+")
    assert DenseSensing(mapped).symmetric
    mapped[-1, 0, 1] += 1.0
    assert not DenseSensing(mapped).symmetric
    mapped[-1, 3, 3] = np.nan
    with pytest.raises(NonFiniteError, match="Remedy"):
        DenseSensing(mapped)


def test_pauli_reference_matrices_are_right():
    """The referee of this file: X Y = i Z, and every square is the identity."""
    x, y, z = (PAULI_MATRICES[letter] for letter in "XYZ")
    np.testing.assert_array_equal(x @ y, 1j * z)
    for letter in (x, y, z):
        np.testing.assert_array_equal(letter @ letter, np.eye(2))
    first, second, point = np.array([0]), np.array([1]), np.array([[3.0], [7.0]])
    assert (distance_rows(first, second, 2) @ (point @ point.T).ravel()).item() == 16.0
