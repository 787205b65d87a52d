"""Rank-one, quadratic and convolution measurements beyond the contract, and their generators."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator

import ranklift as rl
from cases import assert_close, convolution_rows, quadratic_rows, strict
from ranklift.errors import (
    DTypeError,
    EmptyDataError,
    InputError,
    NonFiniteError,
    RankError,
    ShapeError,
)
from ranklift.instances import bilinear_sensing, covariance_sketch, phase_retrieval
from ranklift.operators import (
    BlindDeconvolution,
    CodedDiffraction,
    MeasurementOperator,
    QuadraticSensing,
    RankOneSensing,
    Subset,
    random_masks,
)


def normal(rng: np.random.Generator, kind: str, *shape: int) -> np.ndarray:
    """Draw a Gaussian array, "real" or "complex"."""
    x = rng.standard_normal(shape)
    return x + 1j * rng.standard_normal(shape) if kind == "complex" else x


def forms(vectors: np.ndarray) -> dict[str, Any]:
    """Return the same vectors in every form that an operator takes."""
    return {
        "array": vectors,
        "sparse": sparse.csr_array(vectors),
        "sparse matrix": sparse.coo_matrix(vectors),
        "linear operator": aslinearoperator(vectors),
        "fortran": np.asfortranarray(vectors),
        "strict": strict(vectors),
    }


FORMS = list(forms(np.eye(2)))


class Counting(LinearOperator):
    """An array that counts the columns it is multiplied with."""

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors, self.forward, self.backward = vectors, 0, 0
        super().__init__(vectors.dtype, vectors.shape)

    def _matmat(self, X: np.ndarray) -> np.ndarray:
        self.forward += X.shape[1]
        return self.vectors @ X

    def _rmatmat(self, X: np.ndarray) -> np.ndarray:
        self.backward += X.shape[1]
        return self.vectors.conj().T @ X

    def counts(self) -> tuple[int, int]:
        found, self.forward, self.backward = (self.forward, self.backward), 0, 0
        return found


def peak_bytes(task: Any) -> int:
    """Return the largest memory allocated while ``task`` runs, beyond what was there before."""
    tracemalloc.start()
    try:
        task()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def check_products(operator: MeasurementOperator, matrices: np.ndarray, kind: str) -> None:
    """Hold every product to A_t with A(X)_t = Re sum (A_t)_ij X_ij and A*(y) = sum y_t conj(A_t).

    For a real unknown the real part of A_t counts.
    """
    rng = np.random.default_rng(5)
    matrices = matrices if kind == "complex" else matrices.real
    m, n1, n2 = matrices.shape
    left, d_left = normal(rng, kind, n1, 3), normal(rng, kind, n1, 3)
    right, d_right = normal(rng, kind, n2, 3), normal(rng, kind, n2, 3)
    y, b, h = rng.standard_normal(m), rng.standard_normal(m), rng.uniform(0.5, 2.0, m)

    def forward(x: np.ndarray) -> np.ndarray:
        return np.einsum("tij,ij->t", matrices, x).real

    def back(y: np.ndarray) -> np.ndarray:
        return np.einsum("t,tij->ij", y, matrices.conj())

    expected = forward(left @ right.T)
    assert_close(operator.apply(left @ right.T), expected)
    found = operator.apply_product(left, right)
    assert_close(found, expected)
    assert found.dtype == np.float64
    s, adjoint = back(y), operator.adjoint(y)
    assert adjoint.shape == (n1, n2) and adjoint.T.shape == (n2, n1)
    assert_close(adjoint @ right, s @ right)
    assert_close(adjoint @ right[:, 0], s @ right[:, 0])
    assert_close(adjoint.T @ left, s.T @ left)
    assert_close(adjoint.T @ left[:, 0], s.T @ left[:, 0])
    assert_close(adjoint.T.T @ right, s @ right)
    assert operator.dottest(rng=0) < 1e-13

    def check(found: Any, gradient: np.ndarray, extra: np.ndarray | None = None) -> None:
        pair = [gradient @ right.conj(), gradient.T @ left.conj()]
        if extra is not None:
            pair = [pair[0] + extra @ d_right.conj(), pair[1] + extra.T @ d_left.conj()]
        for actual, desired in zip(found, pair, strict=True):
            assert_close(actual, desired)

    check(operator.adjoint_products(y, left, right), s)
    residual, *products = operator.residual_products(left, right, b)
    assert_close(residual, expected - b)
    check(products, back(expected - b))
    change = forward(d_left @ right.T + left @ d_right.T)
    directions = left, right, d_left, d_right
    check(operator.normal_products(*directions), back(change))
    check(operator.normal_products(*directions, y), back(change), s)
    curved = operator.normal_products(*directions, y, lambda z: h * z)
    check(curved, back(h * change), s)


# -- rank one ------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_rank_one_vectors_of_every_form(form, rng):
    left, right = rng.standard_normal((17, 6)), rng.standard_normal((17, 4))
    matrices = np.einsum("ti,tj->tij", left, right)
    operator = RankOneSensing(forms(left)[form], forms(right)[form])
    check_products(operator, matrices, "real")
    kept = operator.subset([3, -1, 8])
    assert isinstance(kept, Subset if form == "linear operator" else RankOneSensing)
    check_products(kept, matrices[[3, -1, 8]], "real")
    if form == "linear operator":
        with pytest.raises(InputError, match=r"holds code.*Remedy"):
            operator.to_arrays()
    else:
        check_products(RankOneSensing.from_arrays(operator.to_arrays()), matrices, "real")


def test_rank_one_mixes_forms_and_takes_lists():
    left, right = [[1, 2], [0, 1]], [[1.0, 0.0, 3.0], [2.0, 1.0, 0.0]]
    matrices = np.einsum("ti,tj->tij", np.array(left, float), np.array(right))
    check_products(RankOneSensing(left, right), matrices, "real")
    check_products(RankOneSensing(left, sparse.csr_array(right)), matrices, "real")
    check_products(RankOneSensing(aslinearoperator(np.array(left)), right), matrices, "real")


def test_rank_one_computes_every_image_once(rng):
    left, right = Counting(rng.standard_normal((20, 5))), Counting(rng.standard_normal((20, 4)))
    operator = RankOneSensing(left, right)
    factors = [rng.standard_normal((n, 3)) for n in (5, 4, 5, 4)]
    b = rng.standard_normal(20)
    operator.apply_product(*factors[:2])
    assert left.counts() == right.counts() == (3, 0)
    operator.residual_products(*factors[:2], b)
    assert left.counts() == right.counts() == (3, 3)
    operator.normal_products(*factors, b)
    assert left.counts() == right.counts() == (6, 3)


def test_rank_one_never_forms_the_matrix(rng):
    n1, n2, m = 3000, 2500, 12
    operator = RankOneSensing(rng.standard_normal((m, n1)), rng.standard_normal((m, n2)))
    factors = [rng.standard_normal((n, 2)) for n in (n1, n2, n1, n2)]
    b = rng.standard_normal(m)

    def work() -> None:
        operator.residual_products(*factors[:2], b)
        operator.normal_products(*factors, b)
        operator.adjoint(b).T @ factors[0]

    assert peak_bytes(work) < 8 * n1 * n2 / 50


def test_rank_one_refuses_bad_vectors(rng):
    good = rng.standard_normal((3, 2))
    with pytest.raises(DTypeError, match=r"complex.*Remedy: stack real and imaginary parts"):
        RankOneSensing(good * 1j, good)
    with pytest.raises(DTypeError, match="stack"):
        RankOneSensing(good, aslinearoperator(good * 1j))
    with pytest.raises(ShapeError, match=r"3 left and 2 right.*Remedy"):
        RankOneSensing(good, good[:2])
    with pytest.raises(ShapeError, match="Remedy"):
        RankOneSensing(good[0], good)
    with pytest.raises(EmptyDataError, match="Remedy"):
        RankOneSensing(good[:0], good[:0])
    with pytest.raises(NonFiniteError, match=r"right vectors.*Remedy"):
        RankOneSensing(good, np.full((3, 2), np.nan))
    with pytest.raises(NonFiniteError, match="Remedy"):
        RankOneSensing(sparse.csr_array(np.full((3, 2), np.inf)), good)
    with pytest.raises(DTypeError, match=r"int64.*Remedy"):
        RankOneSensing(good, np.ones((3, 2), dtype=np.int64))


# -- quadratic -----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("field", ["real", "complex"])
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_quadratic_vectors_of_every_form_and_field(kind, field, form, rng):
    vectors = normal(rng, kind, 19, 5)
    matrices = np.einsum("ti,tj->tij", vectors, vectors.conj())
    operator = QuadraticSensing(forms(vectors)[form], field)
    assert operator.hermitian == (field == "complex") and operator.field == field
    check_products(operator, matrices, field)
    assert_close(operator.normal_matrix(), quadratic_rows(vectors, field == "complex"))
    kept = operator.subset([3, -1, 8])
    assert isinstance(kept, Subset if form == "linear operator" else QuadraticSensing)
    check_products(kept, matrices[[3, -1, 8]], field)
    if form == "linear operator":
        with pytest.raises(InputError, match=r"holds code.*Remedy"):
            operator.to_arrays()
    else:
        twin = QuadraticSensing.from_arrays(operator.to_arrays())
        assert twin.field == field
        check_products(twin, matrices, field)


@pytest.mark.parametrize("field", ["real", "complex"])
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_quadratic_products_of_strict_factors(kind, field, rng):
    vectors, y = normal(rng, kind, 11, 4), rng.standard_normal(11)
    left, right = normal(rng, field, 4, 2), normal(rng, field, 4, 2)
    plain, twin = QuadraticSensing(vectors, field), QuadraticSensing(strict(vectors), field)
    expected = plain.residual_products(left, right, y)
    found = twin.residual_products(strict(left), strict(right), strict(y))
    lazy = twin.adjoint(strict(y)) @ strict(right)
    for actual, desired in zip((*found, lazy), (*expected, plain.adjoint(y) @ right), strict=True):
        assert type(actual).__module__.startswith("array_api_strict")
        assert_close(actual, desired)


def test_quadratic_field_follows_the_vectors(rng):
    real, complex_ = rng.standard_normal((6, 3)), normal(rng, "complex", 6, 3)
    assert QuadraticSensing(real).field == "real"
    assert QuadraticSensing(aslinearoperator(real)).field == "real"
    assert QuadraticSensing(complex_).field == "complex"
    assert QuadraticSensing(aslinearoperator(complex_)).field == "complex"
    assert QuadraticSensing(sparse.csr_array(complex_)).field == "complex"
    assert QuadraticSensing(complex_, "real").field == "real"


@pytest.mark.parametrize("field", ["real", "complex"])
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_quadratic_forms_are_intensities(kind, field, rng):
    vectors, u = normal(rng, kind, 30, 6), normal(rng, field, 6, 2)
    operator = QuadraticSensing(vectors, field)
    intensities = (np.abs(vectors @ u) ** 2).sum(axis=1)
    assert_close(operator.apply_product(u, u.conj()), intensities, 1e-14)
    assert_close(operator.apply(rl.LowRank(u, u.conj())), intensities, 1e-14)
    phase = np.exp(0.7j) if field == "complex" else -1.0
    assert_close(operator.apply_product(phase * u, (phase * u).conj()), intensities, 1e-14)


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_quadratic_symmetric_flag_says_what_a_transpose_does(kind, rng):
    for field in ("real", "complex"):
        operator = QuadraticSensing(normal(rng, kind, 14, 4), field)
        x = normal(rng, field, 4, 4)
        same = np.allclose(operator.apply(x), operator.apply(x.T))
        assert operator.symmetric == same


def test_quadratic_shortcut_for_equal_factors(rng):
    """Passing U twice, as symmetric factorizations do, gives what two copies give."""
    for kind in ("real", "complex"):
        operator = QuadraticSensing(normal(rng, kind, 15, 4), "real")
        u, d, b = rng.standard_normal((4, 2)), rng.standard_normal((4, 2)), rng.random(15)
        assert_close(operator.apply_product(u, u), operator.apply_product(u, u.copy()))
        once = operator.residual_products(u, u, b) + operator.normal_products(u, u, d, d, b)
        twice = operator.residual_products(u, u.copy(), b)
        twice += operator.normal_products(u, u.copy(), d, d.copy(), b)
        for actual, desired in zip(once, twice, strict=True):
            assert_close(actual, desired)


def test_quadratic_computes_every_image_once(rng):
    vectors = Counting(normal(rng, "complex", 20, 5))
    operator, b = QuadraticSensing(vectors), rng.standard_normal(20)
    left, right, d_left, d_right = (normal(rng, "complex", 5, 3) for _ in range(4))
    operator.residual_products(left, right, b)
    assert vectors.counts() == (6, 6)
    operator.normal_products(left, right, d_left, d_right, b)
    assert vectors.counts() == (12, 6)
    real = Counting(rng.standard_normal((20, 5)))
    operator, u, d = QuadraticSensing(real), left.real, d_left.real
    operator.residual_products(u, u, b)
    assert real.counts() == (3, 3)
    operator.normal_products(u, u, d, d, b)
    assert real.counts() == (6, 3)


def test_quadratic_never_forms_the_matrix(rng):
    n, m = 3000, 12
    operator = QuadraticSensing(normal(rng, "complex", m, n))
    u, d = normal(rng, "complex", n, 2), normal(rng, "complex", n, 2)
    b = rng.standard_normal(m)

    def work() -> None:
        operator.residual_products(u, u.conj(), b)
        operator.normal_products(u, u.conj(), d, d.conj(), b)
        operator.adjoint(b).T @ u

    assert peak_bytes(work) < 8 * n * n / 20


def test_quadratic_refuses_bad_vectors(rng):
    good = rng.standard_normal((3, 2))
    with pytest.raises(InputError, match=r"field='both'.*Remedy"):
        QuadraticSensing(good, "both")
    with pytest.raises(ShapeError, match="Remedy"):
        QuadraticSensing(good[0])
    with pytest.raises(EmptyDataError, match="Remedy"):
        QuadraticSensing(good[:0])
    with pytest.raises(NonFiniteError, match="Remedy"):
        QuadraticSensing(good * np.nan)
    with pytest.raises(DTypeError, match="Remedy"):
        QuadraticSensing(np.ones((3, 2), dtype=np.int64))


# -- coded diffraction -----------------------------------------------------------------------------


@pytest.mark.parametrize("grid", [(7,), (8,), (3, 4), (2, 3, 2)])
@pytest.mark.parametrize("kind", ["octanary", "signs"])
def test_coded_diffraction_is_the_transform_of_masked_images(kind, grid, rng):
    masks, pixels = random_masks(3, grid, rng, kind=kind), int(np.prod(grid))
    V = CodedDiffraction(masks)
    images = (masks[:, None] * np.eye(pixels).reshape(pixels, *grid)).astype(complex)
    spectra = np.fft.fftn(images, axes=range(2, 2 + len(grid))) / np.sqrt(pixels)
    dense = spectra.reshape(3, pixels, pixels).swapaxes(1, 2).reshape(3 * pixels, pixels)
    assert V.shape == dense.shape and V.dtype == complex
    u, y = normal(rng, "complex", pixels, 2), normal(rng, "complex", 3 * pixels, 2)
    for x in (u, u[:, 0], u.real):
        assert_close(V @ x, dense @ x, 1e-13)
        assert (V @ x).dtype == complex
    assert_close(V.rmatmat(y), dense.conj().T @ y, 1e-13)
    assert_close(V.rmatvec(y[:, 1]), dense.conj().T @ y[:, 1], 1e-13)
    assert_close(V.H @ y, dense.conj().T @ y, 1e-13)
    assert abs(np.vdot(y, V @ u) - np.vdot(V.rmatmat(y), u)) <= 1e-12 * np.linalg.norm(y)
    energy = (np.abs(masks) ** 2).sum(axis=0).ravel()
    assert_close(np.sum(np.abs(V @ u[:, 0]) ** 2), energy @ np.abs(u[:, 0]) ** 2, 1e-13)
    for field in ("real", "complex"):
        operator = QuadraticSensing(V, field)
        matrices = np.einsum("ti,tj->tij", dense, dense.conj())
        check_products(operator, matrices, field)
        assert operator.size_in_bytes == masks.nbytes
        arrays = operator.to_arrays()
        assert all(value.dtype != object for value in arrays.values())
        twin = QuadraticSensing.from_arrays(arrays)
        assert isinstance(twin.vectors, CodedDiffraction) and twin.field == field
        check_products(twin, matrices, field)


def test_masks_follow_their_law():
    masks = random_masks(4, (60, 70), 0)
    assert masks.shape == (4, 60, 70)
    values = [phase * size for phase in (1, -1, 1j, -1j) for size in (np.sqrt(0.5), np.sqrt(3.0))]
    shares = [np.mean(np.isclose(masks, value)) for value in values]
    assert_close(shares, [0.2, 0.05] * 4, 0.05)
    assert abs(sum(shares) - 1) < 1e-12
    assert abs(np.mean(np.abs(masks) ** 2) - 1) < 0.03
    signs = random_masks(4, (60, 70), 0, kind="signs")
    assert signs.dtype == np.float64 and set(np.unique(signs)) == {-1.0, 1.0}
    assert abs(signs.mean()) < 0.03
    np.testing.assert_array_equal(masks, random_masks(4, (60, 70), 0))
    assert np.any(masks != random_masks(4, (60, 70), 1))
    assert random_masks(2, 5, 0).shape == (2, 5)


def test_masks_and_coded_diffraction_refuse_nonsense():
    with pytest.raises(InputError, match=r"kind 'ternary'.*Remedy"):
        random_masks(2, (3,), 0, kind="ternary")
    with pytest.raises(EmptyDataError, match="Remedy"):
        random_masks(0, (3,), 0)
    with pytest.raises(ShapeError, match="Remedy"):
        CodedDiffraction(np.ones(4))
    with pytest.raises(EmptyDataError, match="Remedy"):
        CodedDiffraction(np.ones((0, 4)))
    with pytest.raises(NonFiniteError, match="Remedy"):
        CodedDiffraction(np.full((1, 4), np.nan))
    with pytest.raises(DTypeError, match="Remedy"):
        CodedDiffraction(np.array([["a", "b"]]))


# -- blind deconvolution ---------------------------------------------------------------------------


GRIDS = [(7,), (8,), (1,), (2,), (6, 4), (5, 4), (4, 5), (3, 5), (3, 2, 4)]


def circular_convolution(h: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return sum_p h(p) x(. - p) by shifts, without a transform."""
    axes = tuple(range(h.ndim))
    return sum(h[p] * np.roll(x, p, axis=axes) for p in np.ndindex(*h.shape))


def deconvolution(grid: tuple[int, ...], rng: np.random.Generator, **options: Any) -> Any:
    pixels = int(np.prod(grid))
    bases = rng.standard_normal((pixels, 3)), rng.standard_normal((pixels, 4))
    return BlindDeconvolution(*bases, grid, **options)


@pytest.mark.parametrize("grid", GRIDS)
def test_blind_deconvolution_measures_the_circular_convolution(grid, rng):
    operator = deconvolution(grid, rng)
    u, v = rng.standard_normal((3, 2)), rng.standard_normal((4, 2))
    signals = [
        circular_convolution(h.reshape(grid), x.reshape(grid))
        for h, x in zip((operator.filter_basis @ u).T, (operator.signal_basis @ v).T, strict=True)
    ]
    single = operator.apply_product(u[:, :1], v[:, :1])
    assert_close(single, operator.measure(signals[0]), 1e-13)
    assert_close(single, operator.measure(signals[0].ravel()), 1e-13)
    assert_close(np.linalg.norm(single), np.linalg.norm(signals[0]), 1e-13)
    both = operator.apply_product(u, v)
    assert_close(both, operator.measure(signals[0] + signals[1]), 1e-13)
    assert_close(np.linalg.norm(both), np.linalg.norm(signals[0] + signals[1]), 1e-13)
    assert_close(operator.apply(u @ v.T), both, 1e-13)


@pytest.mark.parametrize("grid", GRIDS)
def test_blind_deconvolution_on_some_frequencies(grid, rng):
    half_size = int(np.prod((*grid[:-1], grid[-1] // 2 + 1)))
    for count in {half_size, (half_size + 1) // 2, 1}:
        operator = deconvolution(grid, rng, frequencies=rng.permutation(half_size)[:count])
        rows = convolution_rows(operator)
        assert operator.num_measurements == len(rows)
        check_products(operator, rows.reshape(-1, 3, 4), "real")


def test_blind_deconvolution_weights_follow_the_frequencies(rng):
    """One frequency at a time, real and imaginary parts are those of the full measurement."""
    grid, signal = (5, 6), rng.standard_normal((5, 6))
    spectrum = np.fft.fft2(signal) / np.sqrt(30)
    total = 0.0
    for position in range(5 * 4):
        index = np.unravel_index(position, (5, 4))
        found = deconvolution(grid, rng, frequencies=[position]).measure(signal)
        weight = 1.0 if index[1] in (0, 3) else np.sqrt(2)
        value = weight * spectrum[index]
        alone = index in ((0, 0), (0, 3))  # five is odd: no other frequency is its own conjugate
        assert_close(found, [value.real] if alone else [value.real, value.imag], 1e-13)
        total += found @ found
    assert_close(total, np.sum(signal**2), 1e-13)


def test_blind_deconvolution_adjoint_is_a_correlation(rng):
    """At all frequencies A is an isometry of h * x, so A*(measure(s)) = B^T corr(s, C .)."""
    grid = (4, 6)
    operator = deconvolution(grid, rng)
    signal = rng.standard_normal(grid)
    adjoint = operator.adjoint(operator.measure(signal))
    blurred = [
        [circular_convolution(h.reshape(grid), x.reshape(grid)) for x in operator.signal_basis.T]
        for h in operator.filter_basis.T
    ]
    expected = np.einsum("ijkl,kl->ij", np.array(blurred), signal)
    assert_close(adjoint @ np.eye(4), expected, 1e-13)
    assert_close(adjoint.T @ np.eye(3), expected.T, 1e-13)


@pytest.mark.parametrize("form", FORMS)
def test_blind_deconvolution_bases_of_every_form(form, rng):
    filters, signals = rng.standard_normal((12, 3)), rng.standard_normal((12, 4))
    chosen = [0, 2, 3, 5, 8]
    rows = convolution_rows(BlindDeconvolution(filters, signals, (3, 4), chosen))
    operator = BlindDeconvolution(forms(filters)[form], forms(signals)[form], (3, 4), chosen)
    check_products(operator, rows.reshape(-1, 3, 4), "real")
    if form == "linear operator":
        with pytest.raises(InputError, match=r"holds code.*Remedy"):
            operator.to_arrays()
    else:
        twin = BlindDeconvolution.from_arrays(operator.to_arrays())
        check_products(twin, rows.reshape(-1, 3, 4), "real")


def test_blind_deconvolution_computes_every_spectrum_once(rng):
    filters, signals = Counting(rng.standard_normal((9, 3))), Counting(rng.standard_normal((9, 4)))
    operator = BlindDeconvolution(filters, signals, 9)
    factors = [rng.standard_normal((n, 2)) for n in (3, 4, 3, 4)]
    b = rng.standard_normal(operator.num_measurements)
    operator.residual_products(*factors[:2], b)
    assert filters.counts() == signals.counts() == (2, 2)
    operator.normal_products(*factors, b)
    assert filters.counts() == signals.counts() == (4, 2)


def test_blind_deconvolution_refuses_nonsense(rng):
    filters, signals = rng.standard_normal((24, 3)), rng.standard_normal((24, 4))
    with pytest.raises(DTypeError, match="Remedy"):
        BlindDeconvolution(filters * 1j, signals, (6, 4))
    with pytest.raises(ShapeError, match=r"grid of 20 points.*Remedy"):
        BlindDeconvolution(filters, signals, (5, 4))
    for shape in ((), (-6, -4), (0,), (6.0, 4.0), "ab"):
        with pytest.raises(ShapeError, match="Remedy"):
            BlindDeconvolution(filters, signals, shape)
    for frequencies in ([], [0.5], [[1]], [-1], [18], [3, 3], [True] * 18):
        with pytest.raises(InputError, match="Remedy"):
            BlindDeconvolution(filters, signals, (6, 4), frequencies)
    operator = BlindDeconvolution(filters, signals, (6, 4))
    for shape in ((4, 6), (25,), (1, 6, 4)):
        with pytest.raises(ShapeError, match="Remedy"):
            operator.measure(np.zeros(shape))
    with pytest.raises(NonFiniteError, match="Remedy"):
        operator.measure(np.full((6, 4), np.nan))
    with pytest.raises(DTypeError, match="Remedy"):
        operator.measure(np.zeros((6, 4), dtype=complex))


# -- generators ------------------------------------------------------------------------------------


GENERATORS = {
    "bilinear": lambda m, rng, **kw: bilinear_sensing((6, 5), 2, m, rng=rng, **kw),
    "real phases": lambda m, rng, **kw: phase_retrieval(6, m, rng=rng, **kw),
    "complex phases": lambda m, rng, **kw: phase_retrieval(6, m, field="complex", rng=rng, **kw),
    "covariance": lambda m, rng, **kw: covariance_sketch(6, 3, m, rng=rng, **kw),
}


@pytest.mark.parametrize("name", GENERATORS)
def test_generated_instances_are_what_they_say(name):
    make = GENERATORS[name]
    instance = make(40, 3, scale=2.5)
    truth = instance.truth.toarray()
    assert instance.measurements.shape == (40,) and instance.measurements.dtype == np.float64
    assert_close(instance.measurements, instance.operator.apply(truth), 1e-13)
    assert_close(np.linalg.norm(truth, 2), 2.5, 1e-13)
    assert np.linalg.matrix_rank(truth) == instance.rank
    assert instance.symmetric == (name != "bilinear")
    if instance.symmetric:
        assert_close(truth, truth.conj().T, 1e-14)
        assert np.linalg.eigvalsh(truth).min() > -1e-12
        u = instance.truth.left
        assert_close(truth, u @ u.conj().T, 1e-14)
    assert instance.operator.hermitian == np.iscomplexobj(truth) == (name == "complex phases")
    again, other, noisy = make(40, 3, scale=2.5), make(40, 4), make(40, 3, scale=2.5, noise=0.5)
    np.testing.assert_array_equal(instance.measurements, again.measurements)
    assert np.any(instance.measurements != other.measurements)
    np.testing.assert_array_equal(noisy.truth.left, instance.truth.left)
    assert noisy.noise == 0.5
    assert 0.3 < np.std(noisy.measurements - instance.measurements) < 0.7
    with pytest.raises(EmptyDataError, match="Remedy"):
        make(0, 3)
    with pytest.raises(NonFiniteError, match="Remedy"):
        make(40, 3, noise=-1.0)
    with pytest.raises(InputError, match="Remedy"):
        make(40, 3, scale=0.0)


@pytest.mark.parametrize(
    ("name", "trace_share"),
    [("bilinear", 0.0), ("real phases", 0.5), ("complex phases", 1.0), ("covariance", 0.5)],
)
def test_generated_ensembles_have_the_stated_second_moments(name, trace_share, rng):
    """E ||A(X)||^2 = ||X||^2 + c tr(X)^2, on a matrix with a trace and on one without."""
    operator = GENERATORS[name](40_000, 8).operator
    n1, n2 = operator.shape
    x = normal(rng, "complex" if operator.hermitian else "real", n1, n2)
    if name != "bilinear":
        x = x + x.conj().T
        x /= np.linalg.norm(x)
        traceless = x - np.trace(x) / n1 * np.eye(n1)
        with_trace = traceless + 0.3 * np.eye(n1)
        cases = [traceless, with_trace]
    else:
        cases = [x]
    for matrix in cases:
        expected = np.linalg.norm(matrix) ** 2
        if name != "bilinear":
            expected += trace_share * np.trace(matrix).real ** 2
        found = np.sum(operator.apply(matrix) ** 2)
        assert abs(found - expected) <= 0.06 * expected


def test_generators_refuse_nonsense():
    with pytest.raises(InputError, match=r"field='other'.*Remedy"):
        phase_retrieval(4, 10, field="other")
    with pytest.raises(ShapeError, match="Remedy"):
        phase_retrieval(0, 10)
    with pytest.raises(RankError, match="Remedy"):
        bilinear_sensing((4, 3), 4, 10)
    with pytest.raises(RankError, match="Remedy"):
        covariance_sketch(4, 0, 10)
    with pytest.raises(InputError, match="Remedy"):
        covariance_sketch(4, 2, 10, condition_number=0.5)
    assert bilinear_sensing(4, 1, 9, rng=0).operator.shape == (4, 4)
