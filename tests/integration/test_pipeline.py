"""recover() end to end: stages, typed errors, interruption, result files."""

import json

import numpy as np
import pytest

import ranklift as rl
import referee
from ranklift.errors import (
    ConvergenceWarning,
    DTypeError,
    FileFormatError,
    InputError,
    NonFiniteError,
    RankError,
    ShapeError,
    UnobservedError,
)
from ranklift.instances import entry_completion, gaussian_sensing
from ranklift.metrics import relative_error
from ranklift.status import Status, Verdict

NOISE = 0.05


def noisy(seed=0, shape=(60, 50), rank=3, oversampling=4.0):
    instance = entry_completion(shape, rank, oversampling, rng=seed)
    sigma = NOISE * float(np.sqrt(np.mean(instance.measurements**2)))
    draws = np.random.default_rng([seed, 99]).standard_normal(instance.measurements.size)
    return instance, instance.measurements + sigma * draws, sigma


@pytest.mark.parametrize("symmetric", [False, True])
def test_exact_dense_sensing_finds_the_rank_and_certifies(symmetric):
    instance = gaussian_sensing((14, 14), 2, 150, symmetric=symmetric, rng=3)
    found = rl.recover(instance.operator, instance.measurements, symmetric=symmetric, rng=0)
    assert found.rank == 2
    assert found.status is Status.ZERO_RESIDUAL
    assert relative_error(found.matrix, instance.truth) < 1e-8
    assert found.certificates["zero_residual"].verdict is Verdict.HOLDS
    assert found.certificates["identifiability"].verdict is Verdict.HOLDS
    assert found.raise_if_failed() is found


def test_known_noise_reveals_the_rank_and_the_gap_agrees_with_the_referee():
    instance, b, sigma = noisy()
    found = rl.recover(instance.operator, b, noise=sigma, rng=0)
    assert found.rank == 3
    error = relative_error(found.matrix, instance.truth)
    assert error < relative_error(found.convex.matrix, instance.truth)
    report = found.convex.certificates["duality_gap"]
    assert report.verdict is Verdict.HOLDS
    matrix = found.convex.matrix.toarray()
    residual = b - matrix[instance.operator.rows, instance.operator.cols]
    lam = found.convex.regularization
    dual_norm = np.linalg.norm(instance.operator.adjoint(residual).toarray(), 2)
    primal = 0.5 * residual @ residual + lam * np.linalg.norm(matrix, "nuc")
    s = residual * min(lam / dual_norm, (residual @ b) / (residual @ residual))
    gap = (primal - (s @ b - 0.5 * s @ s)) / primal
    assert -1e-12 <= gap <= 1e-6
    assert report.measured >= gap - 1e-9


def test_hold_out_estimates_noise_and_rank():
    instance, b, sigma = noisy(seed=4)
    found = rl.recover(instance.operator, b, noise="estimate", rng=0)
    assert found.rank == 3
    assert found.noise == pytest.approx(sigma, rel=0.15)
    assert found.holdout["rank"] == 3


def test_pure_noise_is_not_called_a_matrix():
    instance, _, _ = noisy(seed=5)
    b = np.random.default_rng(7).standard_normal(instance.measurements.size)
    found = rl.recover(instance.operator, b, noise=1.0, rng=0)
    assert found.certificates.get("zero_residual", None) is None or (
        found.certificates["zero_residual"].verdict is not Verdict.HOLDS
    )
    assert found.convex.relative_gap <= 1e-6


def test_two_blocks_without_a_common_sample_fail_the_sampling_check():
    rng = np.random.default_rng(0)
    truth = np.outer(rng.standard_normal(12), rng.standard_normal(12))
    rows, cols = np.nonzero(np.kron(np.eye(2), np.ones((6, 6))))
    operator = rl.operators.EntrySampling(rows, cols, (12, 12))
    found = rl.recover(operator, truth[rows, cols], rank=1, rng=0)
    assert found.certificates["sampling"].verdict is Verdict.FAILS
    assert found.certificates["identifiability"].verdict is not Verdict.HOLDS


def test_zero_measurements_give_the_zero_matrix():
    instance, b, _ = noisy()
    found = rl.recover(instance.operator, np.zeros_like(b), noise=0.1, rng=0)
    assert found.matrix.norm() == pytest.approx(0.0, abs=1e-12)


def test_same_seed_same_answer_and_inputs_untouched():
    instance, b, sigma = noisy(seed=2)
    copy = b.copy()
    first = rl.recover(instance.operator, b, noise=sigma, rng=11)
    second = rl.recover(instance.operator, b, noise=sigma, rng=11)
    np.testing.assert_array_equal(first.left, second.left)
    np.testing.assert_array_equal(b, copy)


def test_quiet_by_default(capfd):
    instance, b, sigma = noisy()
    rl.recover(instance.operator, b, noise=sigma, rng=0)
    out, err = capfd.readouterr()
    assert out == "" and err == ""


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"b": "nan"}, NonFiniteError),
        ({"b": "short"}, ShapeError),
        ({"b": "complex"}, DTypeError),
        ({"rank": 0}, RankError),
        ({"rank": 51}, RankError),
        ({"rank": 2.5}, RankError),
        ({"noise": -1.0}, InputError),
        ({"noise": "loud"}, InputError),
        ({"regularization": -1.0}, InputError),
        ({"solver": "Magic"}, InputError),
        ({"init": "nowhere"}, InputError),
        ({"init": "spectral"}, RankError),
        ({"symmetric": True}, ShapeError),
        ({"escapes": "somehow"}, InputError),
        ({"noise": 0.1, "regularization": None}, RankError),
    ],
)
def test_bad_input_is_refused_with_cause_and_remedy(change, error):
    instance, b, _ = noisy()
    spoiled = {
        "nan": np.where(np.arange(b.size) == 3, np.nan, b),
        "short": b[:-1],
        "complex": b + 1j,
    }
    change = dict(change)
    values = spoiled[change.pop("b")] if "b" in change else b
    with pytest.raises(error) as caught:
        rl.recover(instance.operator, values, **change)
    assert caught.value.cause and caught.value.remedy


def test_an_unobserved_row_is_refused():
    instance, b, _ = noisy()
    keep = np.flatnonzero(instance.operator.rows != 5)
    with pytest.raises(UnobservedError, match="5"):
        rl.recover(instance.operator.subset(keep), b[keep])


@pytest.mark.parametrize("stage", ["nuclear_norm", "certificate", "refit"])
@pytest.mark.parametrize("how", ["return", "interrupt"])
def test_a_stop_keeps_the_iterate(stage, how):
    instance, b, sigma = noisy()

    def callback(row):
        if row.stage == stage:
            if how == "interrupt":
                raise KeyboardInterrupt
            return True
        return None

    with pytest.warns(ConvergenceWarning, match="user_stop"):
        found = rl.recover(instance.operator, b, noise=sigma, rng=0, callback=callback)
    assert found.status is Status.USER_STOP
    assert np.isfinite(found.left).all()


def test_no_time_is_max_time():
    instance, b, sigma = noisy()
    with pytest.warns(ConvergenceWarning, match="max_time"):
        found = rl.recover(instance.operator, b, noise=sigma, rng=0, max_time=0.0)
    assert found.status is Status.MAX_TIME


def test_file_round_trip_verification_and_tampering(tmp_path):
    instance, b, sigma = noisy()
    found = rl.recover(instance.operator, b, noise=sigma, rng=0)
    found.extras["labels"] = np.array(["a", "b"])
    path = found.save(tmp_path / "result.npz")
    again = rl.load(path)
    np.testing.assert_array_equal(again.left, found.left)
    assert again.certificates.keys() == found.certificates.keys()
    assert list(again.extras["labels"]) == ["a", "b"]
    json.dumps(found.to_dict(), allow_nan=False)
    assert rl.verify(path).agrees
    assert [p.name for p in tmp_path.iterdir()] == ["result.npz"]

    data = dict(np.load(path, allow_pickle=False))
    data["convex.left"] = 1.2 * data["convex.left"]
    np.savez(tmp_path / "forged.npz", **data)
    forged = rl.verify(tmp_path / "forged.npz")
    assert not forged.agrees
    assert "convex.duality_gap" in forged.differences


def test_broken_files_are_named(tmp_path):
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"PK\x03\x04 nothing")
    for path in (broken, tmp_path / "absent.npz"):
        with pytest.raises(FileFormatError):
            rl.load(path)


def test_the_referee_sees_a_stationary_answer():
    instance = gaussian_sensing((8, 7), 2, 60, rng=1)
    rng = np.random.default_rng(5)
    b = instance.measurements + 0.01 * rng.standard_normal(60)
    found = rl.recover(instance.operator, b, noise=0.01, rank=2, rng=0)
    rows = np.asarray(instance.operator.matrices).reshape(60, -1)
    gradient = referee.gradient(rows, b, found.left, found.right)
    size = np.linalg.norm(found.left) * np.linalg.norm(rows.T @ b)
    assert max(np.abs(part).max() for part in gradient) < 1e-6 * size


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("sigma", [1e-9, 1e-6])
def test_tiny_known_noise_is_reached_and_hides_no_rank(symmetric, sigma):
    """The search must come well below the noise, or the rank seems larger and the error stays."""
    shape = 20 if symmetric else (20, 20)
    for seed in (0, 2):
        clean = gaussian_sensing(shape, 2, 1200, symmetric=symmetric, rng=seed)
        instance = clean.with_noise(sigma, rng=10 + seed)
        found = rl.recover(
            instance.operator, instance.measurements, symmetric=symmetric, noise=sigma, rng=0
        )
        assert found.rank == 2
        freedom = 39 if symmetric else 76
        assert (found.matrix - instance.truth).norm() <= 1.6 * sigma * np.sqrt(freedom)


def test_observers_see_every_stage_and_change_nothing():
    instance = gaussian_sensing((9, 7), 2, 60, rng=0).with_noise(0.01, rng=1)
    seen: list[str] = []
    settings = {"noise": 0.01, "rng": 0}
    observed = rl.recover(
        instance.operator,
        instance.measurements,
        observers=[lambda problem, state, iteration, stage: seen.append(stage)],
        **settings,
    )
    plain = rl.recover(instance.operator, instance.measurements, **settings)
    assert {"nuclear_norm", "refit"} <= set(seen)
    np.testing.assert_array_equal(observed.left, plain.left)
    assert observed.counts == plain.counts


def test_escapes_are_checked_before_any_work():
    instance = gaussian_sensing((9, 7), 2, 60, rng=0)
    with pytest.raises(InputError, match="Escape objects"):
        rl.recover(instance.operator, instance.measurements, escapes=["SimulatedLift"])
    with pytest.raises(InputError, match="descents"):
        rl.escapes.EscapeSearch(descents=0)
