"""Every measurement model through the same five verbs: recover, certify, save, load, verify."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import ranklift as rl
from ranklift import operators
from ranklift.errors import InputError, RankError, ShapeError
from ranklift.factorizations import Asymmetric, Hermitian, Signed, Symmetric
from ranklift.instances import (
    bilinear_sensing,
    covariance_sketch,
    random_pauli_strings,
    random_state,
)
from ranklift.losses import Absolute, Huber, L1BallDistance, Logistic
from ranklift.status import Verdict

HOLDS = Verdict.HOLDS


class Model(NamedTuple):
    """A small exact instance of a measurement model."""

    operator: operators.MeasurementOperator
    b: np.ndarray
    truth: np.ndarray
    rank: int
    settings: dict[str, Any]
    factorization: type


def _bilinear(rng: np.random.Generator) -> Model:
    made = bilinear_sensing((14, 11), 2, 150, rng=rng)
    truth = np.asarray(made.truth.toarray())
    return Model(made.operator, np.asarray(made.measurements), truth, 2, {}, Asymmetric)


def _blind(rng: np.random.Generator) -> Model:
    operator = operators.BlindDeconvolution(
        rng.standard_normal((80, 6)), rng.standard_normal((80, 9)), (80,)
    )
    truth = np.outer(rng.standard_normal(6), rng.standard_normal(9))
    return Model(operator, operator.apply(truth), truth, 1, {}, Asymmetric)


def _phase(rng: np.random.Generator) -> Model:
    vectors, u = rng.standard_normal((72, 12)), rng.standard_normal(12)
    operator = operators.QuadraticSensing(vectors)
    settings = {"symmetric": True}
    return Model(operator, (vectors @ u) ** 2, np.outer(u, u), 1, settings, Symmetric)


def _complex_phase(rng: np.random.Generator) -> Model:
    vectors = rng.standard_normal((80, 10)) + 1j * rng.standard_normal((80, 10))
    u = rng.standard_normal(10) + 1j * rng.standard_normal(10)
    operator = operators.QuadraticSensing(vectors)
    b = np.abs(vectors @ u) ** 2
    return Model(operator, b, np.outer(u, u.conj()), 1, {"symmetric": True}, Hermitian)


def _covariance(rng: np.random.Generator) -> Model:
    made = covariance_sketch(12, 2, 120, rng=rng)
    truth = np.asarray(made.truth.toarray())
    b = np.asarray(made.measurements)
    return Model(made.operator, b, truth, 2, {"symmetric": True}, Symmetric)


def _network(rng: np.random.Generator) -> Model:
    vectors = rng.standard_normal((150, 10))
    u = rng.standard_normal((10, 3))
    truth = (u * np.array([1.0, 1.0, -1.0])) @ u.T
    operator = operators.QuadraticSensing(vectors)
    return Model(operator, operator.apply(truth), truth, 3, {}, Signed)


def _state(rng: np.random.Generator) -> Model:
    operator = operators.PauliSensing(random_pauli_strings(4, 180, rng))
    u = random_state(4, 2, rng)
    truth = u @ u.conj().T
    return Model(operator, operator.apply(truth), truth, 2, {"symmetric": True}, Hermitian)


def _distances(rng: np.random.Generator) -> Model:
    points = rng.standard_normal((30, 2))
    rows, cols = np.triu_indices(30, 1)
    kept = rng.permutation(rows.size)[:220]
    operator = operators.DistanceSensing(rows[kept], cols[kept], 30).centered()
    basis = operator.basis @ np.eye(29)
    u = basis.T @ points
    return Model(operator, operator.apply(u @ u.T), u @ u.T, 2, {"symmetric": True}, Symmetric)


MODELS: dict[str, Callable[[np.random.Generator], Model]] = {
    "bilinear": _bilinear,
    "blind deconvolution": _blind,
    "phase retrieval": _phase,
    "complex phase retrieval": _complex_phase,
    "covariance sketch": _covariance,
    "quadratic network": _network,
    "quantum state": _state,
    "distances": _distances,
}
each_model = pytest.mark.parametrize("name", list(MODELS))


def pose(name: str) -> Model:
    return MODELS[name](np.random.default_rng(7))


def error(found: rl.Recovery, model: Model) -> float:
    x = np.asarray(found.matrix.toarray())
    return float(np.linalg.norm(x - model.truth) / np.linalg.norm(model.truth))


@each_model
def test_exact_data_are_recovered_and_certified(name):
    model = pose(name)
    found = rl.recover(model.operator, model.b, rng=0, **model.settings)
    assert type(found.factorization) is model.factorization
    assert found.rank == model.rank
    assert error(found, model) < 1e-8
    for certificate in ("zero_residual", "stationarity", "curvature", "identifiability"):
        assert found.certificates[certificate].verdict is HOLDS, certificate
    assert found.certified
    if found.factorization.definite:
        assert found.certificates["psd_gap"].verdict is HOLDS


@each_model
def test_noisy_data_are_fitted_to_the_noise(name):
    """At the true rank the error is a small multiple of the best unbiased estimator's."""
    model, sigma = pose(name), 1e-2
    rng = np.random.default_rng(3)
    unit = np.sqrt(np.mean(model.b**2))
    noise = sigma * unit
    b = model.b + noise * rng.standard_normal(model.b.size)
    found = rl.recover(model.operator, b, noise=noise, rank=model.rank, rng=0, **model.settings)
    assert found.convex is not None
    assert found.convex.certificates["duality_gap"].verdict is HOLDS
    report = found.certificates["identifiability"]
    assert report.verdict is HOLDS
    # One over the smallest singular value on the tangent space bounds the error per unit of noise.
    bound = noise * np.sqrt(model.b.size) / (report.measured * report.details["gain"])
    assert error(found, model) * np.linalg.norm(model.truth) < 2 * bound
    assert error(found, model) < 20 * sigma


@each_model
def test_results_are_saved_and_verified(name, tmp_path: Path):
    model = pose(name)
    found = rl.recover(model.operator, model.b, rng=0, **model.settings)
    path = found.save(tmp_path / "result.npz")
    loaded = rl.load(path)
    assert loaded.factorization == found.factorization or (
        type(loaded.factorization) is type(found.factorization)
    )
    np.testing.assert_array_equal(loaded.left, found.left)
    verification = rl.verify(path, rng=1)
    assert verification.agrees, verification.differences
    # A wrong answer in the file is found out.
    loaded.left, loaded.right = 1.01 * loaded.left, 1.01 * loaded.right
    broken = rl.verify(loaded.save(tmp_path / "broken.npz"), rng=1)
    assert not broken.agrees


@each_model
def test_same_seed_same_result(name):
    model = pose(name)
    one, other = (
        rl.recover(model.operator, model.b, rng=5, certify=False, **model.settings)
        for _ in range(2)
    )
    np.testing.assert_array_equal(one.left, other.left)


def test_an_indefinite_matrix_is_not_forced_to_be_positive():
    model = pose("quadratic network")
    found = rl.recover(model.operator, model.b, rng=0, symmetric="indefinite")
    values = np.linalg.eigvalsh(np.asarray(found.matrix.toarray()))
    expected = np.linalg.eigvalsh(model.truth)
    np.testing.assert_allclose(values, expected, atol=1e-8 * np.abs(expected).max())
    with pytest.warns(rl.errors.ConvergenceWarning):
        wrong = rl.recover(model.operator, model.b, rng=0, symmetric=True, max_time=1e-9)
    assert wrong.symmetric


# -- losses ------------------------------------------------------------------------------------


def entries(rng: np.random.Generator) -> tuple[operators.EntrySampling, np.ndarray, np.ndarray]:
    truth = rng.standard_normal((40, 2)) @ rng.standard_normal((2, 30))
    rows, cols = np.nonzero(rng.random(truth.shape) < 0.6)
    return operators.EntrySampling(rows, cols, truth.shape), truth[rows, cols], truth


def test_huber_withstands_gross_errors_that_mislead_the_squared_loss():
    rng = np.random.default_rng(0)
    operator, b, truth = entries(rng)
    noisy = b + 0.05 * rng.standard_normal(b.size)
    noisy[rng.permutation(b.size)[: b.size // 10]] += 10.0

    def off(found: rl.Recovery) -> float:
        return float(np.linalg.norm(found.matrix.toarray() - truth) / np.linalg.norm(truth))

    robust = rl.recover(operator, noisy, loss=Huber(0.07), noise=0.05, rank=2, rng=0)
    plain = rl.recover(operator, noisy, noise=0.05, rank=2, rng=0)
    assert off(robust) < 0.03 < 0.3 < off(plain)
    assert robust.convex is not None
    assert robust.convex.certificates["duality_gap"].verdict is HOLDS
    assert rl.certify(operator, noisy, robust)


def test_one_bit_data_give_the_signs_of_the_truth():
    rng = np.random.default_rng(1)
    operator, b, truth = entries(rng)
    signs = np.where(rng.random(b.size) < 1 / (1 + np.exp(-6 * b)), 1.0, -1.0)
    found = rl.recover(operator, signs, loss=Logistic(), rng=0)
    assert not found.refitted  # nothing says at which rank
    assert found.convex is not None
    assert found.convex.certificates["duality_gap"].verdict is HOLDS
    x = np.asarray(found.matrix.toarray())
    clear = np.abs(truth) > 0.5
    assert np.mean(np.sign(x[clear]) == np.sign(truth[clear])) > 0.85
    with pytest.raises(InputError, match="1-bit"):
        rl.recover(operator, b, loss=Logistic(), rng=0)


def test_a_ball_of_the_right_size_lets_the_outliers_go():
    rng = np.random.default_rng(2)
    operator, b, truth = entries(rng)
    wrong = b.copy()
    places = rng.permutation(b.size)[:30]
    wrong[places] += rng.choice([-5.0, 5.0], 30)
    found = rl.recover(operator, wrong, loss=L1BallDistance(150.0), noise=1e-6, rank=2, rng=0,
                       regularization=1e-2)  # fmt: skip
    x = np.asarray(found.matrix.toarray())
    assert np.linalg.norm(x - truth) < 1e-4 * np.linalg.norm(truth)


def test_settings_that_cannot_work_are_refused_before_any_work():
    rng = np.random.default_rng(0)
    operator, b, _ = entries(rng)
    with pytest.raises(InputError, match=r"kinks.*robust_pca"):
        rl.recover(operator, b, loss=Absolute())
    with pytest.raises(InputError, match=r"without a noise level.*noise="):
        rl.recover(operator, b, loss=Huber(0.1))
    with pytest.raises(RankError, match="rank="):
        rl.recover(operator, b, loss=Huber(0.1), regularization=None)
    with pytest.raises(InputError, match="indefinite"):
        rl.recover(operator, b, symmetric="both")
    with pytest.raises(ShapeError, match="symmetric"):
        rl.recover(operator, b, symmetric="indefinite")
    state = pose("quantum state")
    with pytest.raises(InputError, match="Hermitian"):
        rl.recover(state.operator, state.b, symmetric="indefinite")
