"""StateTomography: known states, noise from shots, conventions, typed errors."""

from __future__ import annotations

import itertools
import pickle
import re
from functools import reduce
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score

from ranklift.errors import (
    DTypeError,
    DuplicateEntriesError,
    EmptyDataError,
    InputError,
    NonFiniteError,
    RankError,
    ShapeError,
    TooLargeError,
)
from ranklift.estimators import state_tomography
from ranklift.estimators.state_tomography import StateTomography
from ranklift.instances import (
    ghz_state,
    random_pauli_strings,
    random_state,
    shot_noise,
    w_state,
)
from ranklift.operators import PauliSensing
from ranklift.operators.algebra import Weighted

PAULI = {
    "I": np.eye(2),
    "X": np.array([[0, 1], [1, 0]]),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.diag([1, -1]),
}


def expected(strings: list[str], factor: np.ndarray) -> np.ndarray:
    """Return tr(P rho) from dense Kronecker products: nothing of the library."""
    rho = factor @ factor.conj().T
    matrices = (reduce(np.kron, [PAULI[letter] for letter in string]) for string in strings)
    return np.array([np.trace(matrix @ rho).real for matrix in matrices])


def all_strings(q: int, identity: bool = True) -> list[str]:
    strings = ["".join(letters) for letters in itertools.product("IXYZ", repeat=q)]
    return strings if identity else strings[1:]


def density(factor: np.ndarray) -> np.ndarray:
    return factor @ factor.conj().T


# -- exact values ------------------------------------------------------------------------------


@pytest.mark.parametrize("identity", [True, False])
@pytest.mark.parametrize(
    ("state", "rank"),
    [
        (ghz_state(3), None),
        (w_state(3), None),
        (random_state(3, 1, 4), 1),
        (random_state(3, 2, 5), 2),
    ],
    ids=["GHZ", "W", "pure", "rank 2"],
)
def test_exact_values_give_the_state(state: np.ndarray, rank: int | None, identity: bool) -> None:
    strings = random_pauli_strings(3, 52, rng=3)
    strings = [string for string in strings if string != "III"] + ["III"] * identity
    model = StateTomography(rank, random_state=0).fit(strings, expected(strings, state))
    assert model.rank_ == state.shape[1]
    assert model.n_qubits_ == 3
    np.testing.assert_allclose(model.density_matrix_, density(state), atol=1e-8)
    assert abs(model.trace_before_ - 1) < 1e-8
    assert model.recovery_.certified
    others = all_strings(3)
    np.testing.assert_allclose(model.expectation(others), expected(others, state), atol=1e-8)
    assert model.score(others, expected(others, state)) > 1 - 1e-12


def test_the_rank_is_found_on_four_qubits() -> None:
    state = random_state(4, 2, 1)
    strings = random_pauli_strings(4, 200, rng=0)
    model = StateTomography(certify=False, random_state=0).fit(strings, expected(strings, state))
    assert model.rank_ == 2
    np.testing.assert_allclose(model.density_matrix_, density(state), atol=1e-8)


def test_a_measured_identity_is_taken_as_it_is() -> None:
    # Lost particles: all values are 0.8 of those of the state.
    strings, state = all_strings(2), ghz_state(2)
    model = StateTomography(random_state=0).fit(strings, 0.8 * expected(strings, state))
    assert model.recovery_.operator is not None
    assert model.recovery_.operator.num_measurements == 16
    assert model.trace_before_ == pytest.approx(0.8, abs=1e-8)
    np.testing.assert_allclose(model.density_matrix_, density(state), atol=1e-8)


def test_an_identity_that_is_not_measured_is_added_as_trace_one() -> None:
    strings, state = all_strings(2, identity=False), ghz_state(2)
    model = StateTomography(random_state=0).fit(strings, expected(strings, state))
    operator, values = model.recovery_.operator, model.recovery_.measurements
    assert isinstance(operator, PauliSensing)
    assert operator.strings == [*strings, "II"]
    assert values is not None
    np.testing.assert_array_equal(values, np.append(expected(strings, state), 1.0))


def test_an_operator_and_a_list_are_one_thing() -> None:
    strings = all_strings(2)
    values = expected(strings, w_state(2))
    first = StateTomography(random_state=0).fit(strings, values)
    second = StateTomography(random_state=0).fit(PauliSensing(strings), values)
    third = StateTomography(random_state=0).fit(np.array(strings), list(values))
    np.testing.assert_array_equal(first.factor_, second.factor_)
    np.testing.assert_array_equal(first.factor_, third.factor_)
    np.testing.assert_array_equal(
        first.expectation(PauliSensing(["XY"])), first.expectation(["XY"])
    )


# -- conventions -------------------------------------------------------------------------------


def test_eigenvalues_purity_and_entropy_of_a_known_mixture() -> None:
    # 3/4 |00><00| + 1/4 |psi><psi|, psi = (|01> - i |11>) / sqrt(2).
    zero, psi = np.array([1, 0, 0, 0]), np.array([0, 1, 0, -1j]) / np.sqrt(2)
    state = np.stack([np.sqrt(0.75) * zero, 0.5 * psi], axis=1)
    strings = all_strings(2)
    model = StateTomography(random_state=0).fit(strings, expected(strings, state))
    np.testing.assert_allclose(model.eigenvalues_, [0.75, 0.25], atol=1e-10)
    assert model.purity_ == pytest.approx(0.625, abs=1e-10)
    assert model.entropy_ == pytest.approx(2 - 0.75 * np.log2(3), abs=1e-9)
    np.testing.assert_allclose(model.state_, zero, atol=1e-8)
    # The columns are orthogonal, with a real positive first entry among those of largest modulus.
    np.testing.assert_allclose(model.factor_, state, atol=1e-8)
    assert model.fidelity(zero) == pytest.approx(0.75, abs=1e-9)


def test_the_phase_of_a_ket_does_not_depend_on_that_of_the_truth() -> None:
    strings = all_strings(2)
    ket = np.array([0.5, -0.5j, 0.5j, -0.5])
    found = [
        StateTomography(random_state=seed)
        .fit(strings, expected(strings, (phase * ket)[:, None]))
        .state_
        for seed, phase in enumerate([1, 1j, -1, np.exp(0.3j)])
    ]
    for state in found:
        # Of four equal moduli the first is real and positive, whatever rounding says.
        np.testing.assert_allclose(state, ket, atol=1e-8)


def test_a_pure_state_has_purity_one_and_entropy_zero() -> None:
    strings = all_strings(2)
    model = StateTomography(random_state=0).fit(strings, expected(strings, ghz_state(2)))
    assert model.eigenvalues_.tolist() == [1.0]
    assert model.purity_ == 1.0
    assert model.entropy_ == 0.0
    assert model.state_.shape == (4,)
    np.testing.assert_array_equal(model.state_, model.factor_[:, 0])


def test_the_maximally_mixed_state() -> None:
    strings = all_strings(2, identity=False)
    model = StateTomography(random_state=0).fit(strings, np.zeros(15))
    np.testing.assert_allclose(model.density_matrix_, np.eye(4) / 4, atol=1e-9)
    assert model.entropy_ == pytest.approx(2.0, abs=1e-8)


def test_fidelity_takes_kets_factors_and_density_matrices() -> None:
    strings, state, other = all_strings(3), random_state(3, 2, 0), random_state(3, 2, 1)
    model = StateTomography(2, random_state=0).fit(strings, expected(strings, state))
    assert model.fidelity(state) == pytest.approx(1, abs=1e-8)
    # Uhlmann's formula, with matrix square roots from eigenvectors.
    values, vectors = np.linalg.eigh(density(state))
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.conj().T
    inner = np.linalg.eigvalsh(root @ density(other) @ root)
    expectation = np.sum(np.sqrt(np.maximum(inner, 0))) ** 2
    assert model.fidelity(other) == pytest.approx(expectation, abs=1e-6)
    assert model.fidelity(density(other)) == pytest.approx(expectation, abs=1e-6)
    ket = np.eye(8)[2]
    assert model.fidelity(ket) == pytest.approx(density(state)[2, 2].real, abs=1e-8)
    assert model.fidelity(np.eye(8) / 8) == pytest.approx(np.sum(np.sqrt(values[-2:])) ** 2 / 8)


# -- noise -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "bound"),
    [(ghz_state(3), 0.99), (random_state(3, 2, 2), 0.97)],
    ids=["GHZ", "rank 2"],
)
def test_shots_leave_a_state_of_high_fidelity(state: np.ndarray, bound: float) -> None:
    strings = all_strings(3, identity=False)
    exact = expected(strings, state)
    for seed in range(4):
        values = shot_noise(exact, 500, seed)
        model = StateTomography(shots=500, random_state=0).fit(strings, values)
        assert model.rank_ == state.shape[1]
        assert model.fidelity(state) > bound
        assert abs(model.trace_before_ - 1) < 0.1
        assert np.vdot(model.factor_, model.factor_).real == pytest.approx(1, abs=1e-12)
        assert model.eigenvalues_.sum() == pytest.approx(1, abs=1e-12)
        assert model.recovery_.noise == pytest.approx(500**-0.5)


def test_settings_with_more_shots_weigh_more() -> None:
    strings, state = all_strings(3, identity=False), w_state(3)
    exact, good, flat = expected(strings, state), [], []
    for seed in range(6):
        shots = np.where(np.random.default_rng(seed).random(63) < 0.5, 10, 5000)
        values = shot_noise(exact, shots, seed)
        model = StateTomography(1, certify=False, random_state=0)
        weighted = clone(model).fit(strings, values, shots=shots)
        assert weighted.recovery_.noise == pytest.approx(shots.mean() ** -0.5)
        assert isinstance(weighted.recovery_.operator, Weighted)
        whitened = np.append(np.sqrt(shots / shots.mean()), 1.0)
        np.testing.assert_allclose(weighted.recovery_.operator.weights, whitened)
        good.append(1 - weighted.fidelity(state))
        mean = clone(model).set_params(noise=float(np.sqrt(np.mean(1 / shots))))
        flat.append(1 - mean.fit(strings, values).fidelity(state))
    assert np.median(good) < 0.1 * np.median(flat)


def test_equal_shots_are_the_same_as_one_number() -> None:
    strings, state = all_strings(2), ghz_state(2)
    values = shot_noise(expected(strings, state), 100, 0)
    one = StateTomography(shots=100, random_state=0).fit(strings, values)
    each = StateTomography(random_state=0).fit(strings, values, shots=np.full(16, 100))
    over = StateTomography(shots=7, random_state=0).fit(strings, values, shots=100)
    np.testing.assert_array_equal(one.factor_, each.factor_)
    np.testing.assert_array_equal(one.factor_, over.factor_)
    assert over.recovery_.noise == pytest.approx(0.1)


def test_a_given_rank_is_kept() -> None:
    strings = all_strings(2)
    values = shot_noise(expected(strings, ghz_state(2)), 100, 1)
    assert StateTomography(shots=100, random_state=0).fit(strings, values).rank_ == 1
    model = StateTomography(2, shots=100, random_state=0).fit(iter(strings), values)
    assert model.rank_ == 2
    assert model.factor_.shape == (4, 2)


def test_noise_as_a_number_allows_corrected_values_beyond_one() -> None:
    strings, state = all_strings(3), ghz_state(3)
    rng = np.random.default_rng(0)
    values = expected(strings, state) + 0.05 * rng.standard_normal(64)
    assert np.abs(values).max() > 1.01
    for noise in (0.05, "estimate"):
        model = StateTomography(1, noise=noise, random_state=0).fit(strings, values)
        assert model.fidelity(state) > 0.97
        assert model.recovery_.noise == pytest.approx(0.05, rel=0.5)
    for settings in ({}, {"shots": 100}, {"noise": 0.001}, {"noise": None}, {"noise": 0.0}):
        with pytest.raises(InputError, match=r"expectation value 1\.\d+ of '[IXYZ]{3}'"):
            StateTomography(**settings).fit(strings, values)


def test_nothing_above_the_noise_is_no_state() -> None:
    strings = all_strings(3, identity=False)
    with pytest.raises(InputError, match=r"fit of trace 0 .* Remedy: collect more shots"):
        StateTomography(noise=1.0, random_state=0).fit(strings, np.zeros(63))
    model = StateTomography(random_state=0)
    with pytest.raises(InputError, match="fit of trace 0"):
        model.fit(["III", *strings], np.zeros(64))
    with pytest.raises(NotFittedError):
        model.expectation(["XXX"])


# -- scikit-learn ------------------------------------------------------------------------------


def test_clone_pickle_and_repeated_fits_agree() -> None:
    strings = random_pauli_strings(3, 50, rng=0)
    values = shot_noise(expected(strings, w_state(3)), 300, 0)
    before = strings.copy(), values.copy()
    model = StateTomography(shots=300, random_state=3)
    assert model.get_params() == {
        "rank": None, "shots": 300, "noise": "auto", "max_time": None, "certify": True,
        "random_state": 3, "callback": None,
    }  # fmt: skip
    model.fit(strings, values)
    again = clone(model)
    assert not hasattr(again, "factor_")
    with pytest.raises(NotFittedError):
        _ = again.density_matrix_
    again.fit(strings, values)
    np.testing.assert_array_equal(again.factor_, model.factor_)
    restored = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(restored.expectation(strings), model.expectation(strings))
    assert strings == before[0]
    np.testing.assert_array_equal(values, before[1])


def test_inputs_that_are_read_only_are_left_alone() -> None:
    strings = all_strings(2)
    values, shots = expected(strings, ghz_state(2)), np.arange(16) + 50
    values.flags.writeable = shots.flags.writeable = False
    model = StateTomography(1, random_state=0).fit(strings, values, shots=shots)
    assert model.fidelity(ghz_state(2)) > 0.999


def test_cross_validation_scores_the_strings_left_out() -> None:
    strings = np.array(random_pauli_strings(3, 60, rng=1))
    values = expected(list(strings), w_state(3))
    scores = cross_val_score(StateTomography(1, random_state=0), strings, values, cv=3)
    assert scores.min() > 1 - 1e-10


def test_certificates_only_on_request() -> None:
    strings = all_strings(2)
    model = StateTomography(certify=False, random_state=0)
    model.fit(strings, expected(strings, ghz_state(2)))
    assert model.recovery_.certificates == {}


# -- typed errors ------------------------------------------------------------------------------

GOOD = ["XX", "YY", "ZZ"]


@pytest.mark.parametrize(
    ("strings", "values", "error", "words"),
    [
        ([], [], EmptyDataError, "no Pauli string"),
        (["II"], [1.0], EmptyDataError, "identity as only string"),
        (["XX", "ZZ", "XX"], [1, 1, 1], DuplicateEntriesError, "'XX' is listed more than once"),
        (["XX", "ZZZ"], [1, 1], ShapeError, "'ZZZ' has 3 letters, 'XX' has 2"),
        (["XX", "ZA"], [1, 1], InputError, "'ZA' is not a Pauli string"),
        (["XX", ""], [1, 1], InputError, "'' is not a Pauli string"),
        (["XX", 3], [1, 1], InputError, "3 is not a Pauli string"),
        ("XX", [1], DTypeError, "one string 'XX' instead of a list"),
        (None, [1], DTypeError, "strings None"),
        (GOOD, [1, 1], ShapeError, "(2,) for 3 measurements"),
        (GOOD, [[1, 1, 1]], ShapeError, "(1, 3) for 3 measurements"),
        (GOOD, [1, np.nan, 1], NonFiniteError, "NaN or inf"),
        (GOOD, [1, np.inf, 1], NonFiniteError, "NaN or inf"),
        (GOOD, [1, 1j, 1], DTypeError, "expectations of type complex"),
        (GOOD, ["1", "1", "1"], DTypeError, "expectations of type"),
        (GOOD, [1, -1.01, 1], InputError, "expectation value -1.01 of 'YY'"),
    ],
)
def test_unusable_data(strings: Any, values: Any, error: type, words: str) -> None:
    with pytest.raises(error, match=re.escape(words)) as caught:
        StateTomography().fit(strings, values)
    assert ". Remedy: " in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"rank": 0}, RankError, "rank 0"),
        ({"rank": 5}, RankError, "rank 5 above"),
        ({"rank": 1.5}, RankError, "rank 1.5"),
        ({"shots": 0}, InputError, "shots 0"),
        ({"shots": -3}, InputError, "shots -3"),
        ({"shots": 10.5}, InputError, "shots 10.5"),
        ({"shots": True}, InputError, "shots True"),
        ({"shots": [10, 10]}, ShapeError, "shots of shape (2,)"),
        ({"shots": [10, 10, 0]}, InputError, "shots [10, 10, 0]"),
        ({"noise": "much"}, InputError, "noise 'much'"),
        ({"noise": -0.1}, InputError, "noise -0.1"),
        ({"noise": np.nan}, InputError, "noise nan"),
        ({"noise": np.inf}, InputError, "noise inf"),
        ({"noise": True}, InputError, "noise True"),
        ({"noise": np.ones(3)}, InputError, "noise array"),
        ({"max_time": 0}, InputError, "max_time 0"),
    ],
)
def test_unusable_settings(settings: dict[str, Any], error: type, words: str) -> None:
    with pytest.raises(error, match=re.escape(words)) as caught:
        StateTomography(**settings).fit(GOOD, [1, -1, 1])
    assert ". Remedy: " in str(caught.value)


@pytest.mark.parametrize(
    ("state", "error", "words"),
    [
        (np.ones(3), ShapeError, "a state of shape (3,)"),
        (np.ones((4, 5)), ShapeError, "a state of shape (4, 5)"),
        (np.ones((4, 0)), ShapeError, "a state of shape (4, 0)"),
        (np.ones((4, 1, 1)), ShapeError, "a state of shape (4, 1, 1)"),
        (1.0, ShapeError, "a state of shape ()"),
        (np.ones(4), InputError, "a state of trace 4"),
        (np.eye(4), InputError, "a state of trace 4"),
        ([1, np.nan, 0, 0], InputError, "a state of trace nan"),
        (np.diag([1.5, -0.5, 0, 0]), InputError, "eigenvalue -0.5"),
        (np.eye(4) / 4 + np.triu(np.ones((4, 4)), 1), InputError, "not Hermitian"),
        (np.eye(4) / 4 + np.diag([np.nan] * 3, 1), InputError, "not Hermitian"),
    ],
)
def test_states_that_are_none(state: Any, error: type, words: str) -> None:
    model = StateTomography(random_state=0).fit(
        all_strings(2), expected(all_strings(2), w_state(2))
    )
    with pytest.raises(error, match=re.escape(words)) as caught:
        model.fidelity(state)
    assert ". Remedy: " in str(caught.value)


def test_prediction_and_memory_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    model = StateTomography(random_state=0)
    with pytest.raises(NotFittedError):
        model.fidelity(ghz_state(2))
    model.fit(all_strings(2), expected(all_strings(2), ghz_state(2)))
    with pytest.raises(ShapeError, match="strings of 3 letters for a state of 2 qubits"):
        model.expectation(["XXX"])
    with pytest.raises(ShapeError, match=r"expectations of shape \(1,\) for 2"):
        model.score(["XX", "ZZ"], [1.0])
    monkeypatch.setattr(state_tomography, "available_memory", lambda: 100)
    with pytest.raises(TooLargeError, match=r"needed for rho, .* Remedy: work with factor_"):
        _ = model.density_matrix_
