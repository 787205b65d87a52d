"""MatrixCompletion: scikit-learn's own checks, and what a user of the imputer relies on."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from ranklift.errors import (
    ConvergenceWarning,
    DuplicateEntriesError,
    EmptyDataError,
    InputError,
    NonFiniteError,
    RankError,
    ShapeError,
    TooLargeError,
    UnobservedError,
)
from ranklift.estimators import MatrixCompletion, matrix_completion
from ranklift.estimators.table import ObservedTable, count_weights

N1, NEW, N2, RANK, SIGMA = 80, 20, 50, 2, 0.1

REFUSED = (
    "the stored entries of a sparse matrix are the observations; the check's random data leave "
    "rows without any, which is refused by design"
)


def _expected_failures(estimator: MatrixCompletion) -> dict[str, str]:
    return {
        "check_estimator_sparse_tag": REFUSED,
        "check_estimator_sparse_array": f"{REFUSED}; predict(X) answers with a table",
        "check_estimator_sparse_matrix": f"{REFUSED}; predict(X) answers with a table",
    }


@parametrize_with_checks([MatrixCompletion()], expected_failed_checks=_expected_failures)
def test_scikit_learn_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def test_the_sparse_checks_fail_for_the_reason_given() -> None:
    # The data of scikit-learn's checks: rows of zeros only, so of no stored entry.
    dense = np.random.RandomState(0).uniform(size=(40, 3))
    dense[dense < 0.6] = 0
    X = sparse.csr_array(dense)
    assert (np.diff(X.indptr) == 0).any()
    with pytest.raises(UnobservedError, match=r"row\(s\) without a value"):
        MatrixCompletion().fit(X)
    filled = MatrixCompletion(unobserved="offsets", random_state=0).fit_transform(X)
    np.testing.assert_array_equal(filled[X.nonzero()], X.data)


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    """Return a rank-2 table with a mean and column offsets; its last rows are kept as new rows."""
    rng = np.random.default_rng(5)
    low_rank = rng.normal(size=(N1 + NEW, RANK)) @ rng.normal(size=(RANK, N2))
    return low_rank + 3.0 + np.linspace(-1.0, 1.0, N2)


@pytest.fixture(scope="module")
def gaps(truth: np.ndarray) -> np.ndarray:
    """Return half of the entries with noise, NaN elsewhere."""
    rng = np.random.default_rng(6)
    noisy = truth + SIGMA * rng.normal(size=truth.shape)
    return np.where(rng.random(truth.shape) < 0.5, noisy, np.nan)


@pytest.fixture(scope="module")
def fitted(gaps: np.ndarray) -> MatrixCompletion:
    return MatrixCompletion(random_state=0).fit(gaps[:N1])


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(x**2)))


# -- accuracy ----------------------------------------------------------------------------------


def test_gaps_are_filled_better_than_a_measurement_would(
    fitted: MatrixCompletion, truth: np.ndarray, gaps: np.ndarray
) -> None:
    filled = fitted.transform(gaps[:N1])
    missing = np.isnan(gaps[:N1])
    assert rms((filled - truth[:N1])[missing]) < 0.7 * SIGMA
    np.testing.assert_array_equal(filled[~missing], gaps[:N1][~missing])
    assert fitted.recovery_ is not None
    assert fitted.recovery_.certified
    assert fitted.prediction_ == "refit"
    assert fitted.noise_ == pytest.approx(SIGMA, rel=0.1)
    # the hold-out error is that of predicting a noisy entry
    assert SIGMA < fitted.holdout_error_ < 1.5 * SIGMA


def test_new_rows_are_filled(fitted: MatrixCompletion, truth: np.ndarray, gaps: np.ndarray) -> None:
    new = gaps[N1:]
    filled = fitted.transform(new)
    assert rms((filled - truth[N1:])[np.isnan(new)]) < SIGMA
    np.testing.assert_array_equal(filled[~np.isnan(new)], new[~np.isnan(new)])
    # A row's answer does not depend on the other rows of the call.
    np.testing.assert_allclose(fitted.transform(new[3:4])[0], filled[3], rtol=1e-12)
    # A row without values gets mean and column offsets.
    blank = fitted.transform(np.full((1, N2), np.nan))[0]
    np.testing.assert_allclose(blank, fitted.offsets_.mean + fitted.offsets_.column)


def test_exact_table_is_recovered(truth: np.ndarray) -> None:
    mask = np.random.default_rng(0).random((N1, N2)) < 0.6
    filled = MatrixCompletion(random_state=0).fit_transform(np.where(mask, truth[:N1], np.nan))
    assert rms(filled - truth[:N1]) < 1e-4 * rms(truth[:N1])


def test_fit_transform_is_fit_then_transform(fitted: MatrixCompletion, gaps: np.ndarray) -> None:
    X = gaps[:N1]
    np.testing.assert_array_equal(
        MatrixCompletion(random_state=0).fit_transform(X), fitted.transform(X)
    )


def test_predict_of_entries_and_of_a_table_agree(
    fitted: MatrixCompletion, gaps: np.ndarray
) -> None:
    rows, cols = np.indices((N1, N2)).reshape(2, -1)
    table = fitted.predict(gaps[:N1])
    assert table.shape == (N1, N2)
    assert not np.isnan(table).any()
    np.testing.assert_allclose(fitted.predict(rows, cols), table.ravel(), atol=1e-5)
    # the model's value also where one was observed
    seen = ~np.isnan(gaps[:N1])
    assert 0.5 * SIGMA < rms((table - gaps[:N1])[seen]) < 1.2 * SIGMA
    assert fitted.predict(3, 4) == pytest.approx(table[3, 4], abs=1e-5)


def test_standard_errors_cover_the_truth(
    fitted: MatrixCompletion, truth: np.ndarray, gaps: np.ndarray
) -> None:
    rows, cols = np.nonzero(np.isnan(gaps[:N1]))
    values, errors = fitted.predict(rows, cols, return_std=True)
    np.testing.assert_array_equal(values, fitted.predict(rows, cols))
    assert (errors > 0).all()
    covered = np.mean(np.abs(values - truth[rows, cols]) < 1.96 * errors)
    assert 0.85 < covered < 0.99


def test_standard_errors_follow_the_units_of_columns() -> None:
    rng = np.random.default_rng(2)
    units, location = np.logspace(-3, 3, 30), np.linspace(-50.0, 50.0, 30)
    low_rank = rng.normal(size=(80, 2)) @ rng.normal(size=(2, 30))
    mask = rng.random(low_rank.shape) < 0.6
    full = (location + low_rank) * units
    noisy = full + SIGMA * units * rng.normal(size=full.shape)
    model = MatrixCompletion(random_state=0).fit(np.where(mask, noisy, np.nan))
    rows, cols = np.nonzero(~mask)
    values, errors = model.predict(rows, cols, return_std=True)
    for part in (cols < 10, (cols >= 10) & (cols < 20), cols >= 20):
        assert rms(((values - full[rows, cols]) / units[cols])[part]) < 1.5 * SIGMA
    inside = np.abs(values - full[rows, cols]) < 1.96 * errors
    for part in (cols < 10, (cols >= 10) & (cols < 20), cols >= 20):
        assert 0.65 < np.mean(inside[part]) < 0.99  # the error of column means is not in them
    assert not (model.offsets_.scale == 1.0).all()


# -- what a user asks for ----------------------------------------------------------------------


def test_given_rank_regularization_and_exponent_are_used(gaps: np.ndarray) -> None:
    X = gaps[:N1]
    ranked = MatrixCompletion(rank=4, prediction="refit", random_state=0).fit(X)
    assert (ranked.rank_, ranked.prediction_, ranked.left_.shape) == (4, "refit", (N1, 4))
    convex = MatrixCompletion(
        regularization=5.0, weight_exponent=0.5, prediction="convex", random_state=0
    ).fit(X)
    assert convex.recovery_ is not None
    assert convex.recovery_.convex is not None
    assert convex.regularization_ == pytest.approx(5.0)
    assert convex.recovery_.convex.regularization == pytest.approx(5.0)
    assert (convex.weight_exponent_, convex.prediction_) == (0.5, "convex")
    assert not convex.recovery_.refitted
    assert convex.recovery_.certificates == {}
    assert convex.recovery_.certified
    assert "it is the answer" in convex.recovery_.summary()
    more = MatrixCompletion(regularization=20.0, prediction="convex", random_state=0).fit(X)
    less = MatrixCompletion(regularization=2.0, prediction="convex", random_state=0).fit(X)
    seen = ~np.isnan(X)
    assert rms((less.predict(X) - X)[seen]) < rms((more.predict(X) - X)[seen])


@pytest.mark.parametrize("kind", ["none", "columns", "both"])
def test_given_offsets_are_used(kind: str, gaps: np.ndarray) -> None:
    model = MatrixCompletion(offsets=kind, scale=kind == "columns", random_state=0).fit(gaps[:N1])
    assert model.offsets_.kind == kind
    assert bool(model.offsets_.row.any()) is (kind == "both")
    assert bool((model.offsets_.scale != 1).any()) is (kind == "columns")


def test_uneven_counts_are_weighed_and_predicted_consistently(truth: np.ndarray) -> None:
    rng = np.random.default_rng(3)
    share = np.linspace(0.15, 0.9, N1)[:, None] * np.ones(N2)
    noisy = truth[:N1] + 0.5 * rng.normal(size=(N1, N2))
    X = np.where(rng.random((N1, N2)) < share, noisy, np.nan)
    model = MatrixCompletion(weight_exponent=1.0, prediction="convex", random_state=0).fit(X)
    rows, cols = np.indices((N1, N2)).reshape(2, -1)
    # transform fits every row anew; at the optimum of the weighted problem that changes nothing
    scale = rms(model.left_ @ model.right_.T)
    difference = model.predict(rows, cols) - model.predict(X).ravel()
    assert rms(difference) < 1e-3 * scale


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_count_weights_are_the_documented_ones(exponent: float) -> None:
    rows, cols = np.nonzero(np.triu(np.ones((5, 7))))
    table = ObservedTable(rows, cols, np.ones(rows.size), (5, 7))
    for scale, counts in zip(
        count_weights(table, exponent),
        (np.array([7, 6, 5, 4, 3]), np.array([1, 2, 3, 4, 5, 5, 5])),
        strict=True,
    ):
        np.testing.assert_allclose(scale, (counts / counts.mean()) ** (-exponent / 2))


def test_extras_and_factors_alone_predict_in_data_units(truth: np.ndarray, tmp_path: Any) -> None:
    from ranklift import load

    rng = np.random.default_rng(3)
    X = np.where(rng.random((N1, N2)) < np.linspace(0.2, 0.9, N2), truth[:N1], np.nan)
    X[7], X[:, 11] = np.nan, np.nan
    X += SIGMA * rng.normal(size=X.shape)
    model = MatrixCompletion(
        offsets="both", scale=True, weight_exponent=1.0, unobserved="offsets", random_state=0
    ).fit(X)
    assert model.recovery_ is not None
    found = load(model.recovery_.save(tmp_path / "r.npz"))
    extras = found.extras
    assert 7 not in extras["row_index"]
    assert 11 not in extras["column_index"]
    low_rank = extras["row_weight"][:, None] * found.matrix.toarray() * extras["column_weight"]
    offsets = extras["mean"] + extras["row_offset"][:, None] + extras["column_offset"]
    values = extras["column_location"] + extras["column_scale"] * (offsets + low_rank)
    rows, cols = (a.ravel() for a in np.meshgrid(extras["row_index"], extras["column_index"]))
    np.testing.assert_allclose(model.predict(rows, cols), values.T.ravel(), rtol=1e-10)


# -- input -------------------------------------------------------------------------------------


def test_sparse_zeros_are_observations_and_missing_ones_are_gaps(gaps: np.ndarray) -> None:
    X = np.round(gaps[:N1])  # many exact zeros
    rows, cols = np.nonzero(~np.isnan(X))
    values = X[rows, cols]
    assert (values == 0).any()
    for kind in (sparse.coo_array, sparse.coo_matrix):
        stored = kind((values, (rows, cols)), shape=X.shape)
        for table in (stored, stored.tocsr(), stored.tocsc()):
            filled = MatrixCompletion(random_state=0).fit_transform(table)
            np.testing.assert_array_equal(filled[rows, cols], values)
    np.testing.assert_array_equal(filled, MatrixCompletion(random_state=0).fit_transform(X))
    entries = MatrixCompletion(random_state=0).fit_entries(rows, cols, values, X.shape)
    np.testing.assert_array_equal(entries.transform(X), filled)


def test_repeated_entries_are_refused() -> None:
    repeated = sparse.coo_array((np.ones(4), ([0, 0, 1, 2], [0, 0, 1, 2])), shape=(3, 3))
    with pytest.raises(DuplicateEntriesError, match="1 repeated"):
        MatrixCompletion().fit(repeated)
    rows = sparse.csr_array((np.ones(4), [0, 0, 1, 2], [0, 2, 3, 4]), shape=(3, 3))
    with pytest.raises(DuplicateEntriesError, match="1 repeated"):
        MatrixCompletion().fit(rows)
    with pytest.raises(DuplicateEntriesError):
        MatrixCompletion().fit_entries([0, 0, 1], [0, 0, 1], [1.0, 2.0, 3.0])


def test_unobserved_rows_and_columns(gaps: np.ndarray) -> None:
    X = gaps[:N1].copy()
    X[5], X[:, 9] = np.nan, np.nan
    with pytest.raises(UnobservedError, match=r"1 row\(s\) without a value, .* position 5"):
        MatrixCompletion().fit(X)
    X[5] = gaps[5]
    with pytest.raises(UnobservedError, match=r"1 column\(s\) without a value, .* position 9"):
        MatrixCompletion().fit(np.where(np.arange(N2) == 9, np.nan, X))
    X[5] = np.nan
    model = MatrixCompletion(unobserved="offsets", random_state=0).fit(X)
    filled = model.transform(X)
    assert np.isfinite(filled).all()
    np.testing.assert_allclose(filled[5], model.offsets_.mean + model.offsets_.column)
    np.testing.assert_allclose(filled[:, 9], model.offsets_.mean + model.offsets_.row)
    rows, cols = np.full(N2, 5), np.arange(N2)
    np.testing.assert_allclose(model.predict(rows, cols), filled[5])


def test_data_frames_keep_their_names(gaps: np.ndarray) -> None:
    names = [f"c{j}" for j in range(N2)]
    frame = pd.DataFrame(gaps[:N1], columns=names, index=[f"r{i}" for i in range(N1)])
    before = frame.copy()
    model = MatrixCompletion(random_state=0).set_output(transform="pandas")
    filled = model.fit_transform(frame)
    assert isinstance(filled, pd.DataFrame)
    pd.testing.assert_index_equal(filled.index, frame.index)
    assert list(filled.columns) == names
    assert list(model.get_feature_names_out()) == names
    assert not filled.isna().any().any()
    pd.testing.assert_frame_equal(frame, before)
    with pytest.raises(ValueError, match="feature names"):
        model.transform(frame[names[::-1]])
    rows, cols = np.nonzero(~np.isnan(gaps[:N1]))
    model.fit_entries(rows, cols, gaps[rows, cols], (N1, N2))
    assert list(model.get_feature_names_out())[:2] == ["x0", "x1"]


def test_inputs_stay_untouched(gaps: np.ndarray) -> None:
    X = gaps[:N1].copy()
    rows, cols = np.nonzero(~np.isnan(X))
    shuffled = np.random.default_rng(0).permutation(rows.size)
    stored = sparse.csr_array(
        sparse.coo_array((X[rows, cols][shuffled], (rows[shuffled], cols[shuffled])), shape=X.shape)
    )
    stored.data = stored.data[::-1].copy()
    copies = X.copy(), stored.data.copy(), stored.indices.copy()
    MatrixCompletion(random_state=0).fit(X).transform(X)
    MatrixCompletion(random_state=0).fit(stored).transform(stored)
    np.testing.assert_array_equal(X, copies[0])
    np.testing.assert_array_equal(stored.data, copies[1])
    np.testing.assert_array_equal(stored.indices, copies[2])


# -- the machinery around an estimator -----------------------------------------------------------


def test_same_seed_same_result(fitted: MatrixCompletion, gaps: np.ndarray) -> None:
    again = MatrixCompletion(random_state=0).fit(gaps[:N1])
    np.testing.assert_array_equal(again.left_, fitted.left_)
    np.testing.assert_array_equal(again.right_, fitted.right_)
    other = MatrixCompletion(random_state=np.random.RandomState(7)).fit(gaps[:N1])
    assert (other.left_.shape != fitted.left_.shape) or (other.left_ != fitted.left_).any()


def test_pickle_and_clone(fitted: MatrixCompletion, gaps: np.ndarray) -> None:
    loaded = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(loaded.transform(gaps), fitted.transform(gaps))
    assert loaded.recovery_.certified
    fresh = clone(MatrixCompletion(rank=3, unobserved="offsets"))
    assert fresh.get_params()["rank"] == 3
    with pytest.raises(NotFittedError):
        clone(fitted).transform(gaps)


def test_pipeline_with_a_regressor(truth: np.ndarray, gaps: np.ndarray) -> None:
    y = (truth - 3.0)[:, :5] @ np.array([1.0, -1.0, 0.5, 2.0, 0.3])
    pipeline = make_pipeline(MatrixCompletion(random_state=0), Ridge(1e-3))
    pipeline.fit(gaps[:N1], y[:N1])
    assert pipeline.score(gaps[N1:], y[N1:]) > 0.97


def test_callback_sees_progress_and_stops(gaps: np.ndarray) -> None:
    stages = []

    def stop_later(row: Any) -> bool:
        stages.append(row.stage)
        return len(stages) > 3

    with pytest.warns(ConvergenceWarning):
        model = MatrixCompletion(callback=stop_later, random_state=0).fit(gaps[:N1])
    assert len(stages) >= 4
    assert np.isfinite(model.transform(gaps[:N1])).all()


@pytest.mark.filterwarnings("ignore::ranklift.errors.ConvergenceWarning")
@pytest.mark.parametrize("max_time", [1e-9, 0.02, 0.1])
def test_out_of_time_still_predicts(gaps: np.ndarray, max_time: float) -> None:
    model = MatrixCompletion(max_time=max_time, random_state=0).fit(gaps[:N1])
    filled = model.transform(gaps[:N1])
    seen = ~np.isnan(gaps[:N1])
    assert np.isfinite(filled).all()
    np.testing.assert_array_equal(filled[seen], gaps[:N1][seen])
    rows, cols = np.nonzero(~seen)
    assert np.isfinite(model.predict(rows, cols, return_std=True)).all()


# -- small and degenerate tables -------------------------------------------------------------------


@pytest.mark.parametrize("offsets", ["auto", "columns", "both"])
@pytest.mark.parametrize("shape", [(1, 1), (6, 1), (1, 6), (3, 4), (40, 1)])
def test_tables_too_small_for_a_low_rank_part(shape: tuple[int, int], offsets: str) -> None:
    X = 5.0 + np.random.default_rng(0).normal(size=shape)
    if shape == (3, 4):
        X[1, 2] = np.nan
    model = MatrixCompletion(offsets=offsets, random_state=0).fit(X)
    assert (model.rank_, model.prediction_, model.recovery_) == (0, "offsets", None)
    assert model.n_features_in_ == shape[1]
    filled = model.transform(X)
    seen = ~np.isnan(X)
    np.testing.assert_array_equal(filled[seen], X[seen])
    new = model.transform(np.full((2, shape[1]), np.nan))
    assert (np.abs(new - 5.0) < 4.0).all()
    values, errors = model.predict([0], [0], return_std=True)
    assert np.isfinite([values, errors]).all()


def test_constant_table_is_its_constant() -> None:
    X = np.full((12, 9), 7.0)
    X[2, 3] = np.nan
    assert MatrixCompletion(random_state=0).fit_transform(X)[2, 3] == pytest.approx(7.0)


def test_noise_without_structure_is_not_fitted() -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((60, 40)) < 0.5
    model = MatrixCompletion(random_state=0).fit(
        np.where(mask, rng.normal(size=mask.shape), np.nan)
    )
    rows, cols = np.nonzero(~mask)
    assert rms(model.predict(rows, cols)) < 0.4  # the truth is 0


# -- bad input: typed errors, before any work -----------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "error", "words"),
    [
        ({"rank": 0}, RankError, "rank 0"),
        ({"rank": N2 + 1}, RankError, f"between 1 and {N2}"),
        ({"rank": 2.5}, RankError, "whole number"),
        ({"rank": "two"}, RankError, "whole number"),
        ({"regularization": -1.0}, InputError, "regularization -1.0"),
        ({"regularization": 0.0}, InputError, "above 0"),
        ({"regularization": "much"}, InputError, "regularization 'much'"),
        ({"regularization": None}, InputError, "regularization None"),
        ({"weight_exponent": np.nan}, InputError, "weight_exponent nan"),
        ({"weight_exponent": np.inf}, InputError, "weight_exponent inf"),
        ({"offsets": "rows"}, InputError, "offsets 'rows'"),
        ({"scale": "yes"}, InputError, "scale 'yes'"),
        ({"prediction": "best"}, InputError, "prediction 'best'"),
        ({"unobserved": "drop"}, InputError, "unobserved 'drop'"),
        ({"max_time": 0}, InputError, "max_time 0"),
        ({"max_time": "soon"}, InputError, "max_time 'soon'"),
    ],
)
def test_bad_parameters(
    parameters: dict[str, Any], error: type[InputError], words: str, gaps: np.ndarray
) -> None:
    with pytest.raises(error, match="Remedy: ") as caught:
        MatrixCompletion(**parameters).fit(gaps[:N1])
    assert words in str(caught.value)


def test_bad_entries(fitted: MatrixCompletion) -> None:
    model = MatrixCompletion()
    with pytest.raises(EmptyDataError):
        model.fit_entries([], [], [])
    with pytest.raises(EmptyDataError):
        model.fit_entries([], [], [1.0])
    with pytest.raises(NonFiniteError, match="position 1"):
        model.fit_entries([0, 1], [0, 1], [1.0, np.nan])
    with pytest.raises(ShapeError):
        model.fit_entries([0, 1], [0, 1], [1.0])
    with pytest.raises(ShapeError):
        model.fit_entries([0, 5], [0, 1], [1.0, 2.0], (2, 2))
    for unobserved in ("error", "offsets"):
        with pytest.raises(EmptyDataError):
            MatrixCompletion(unobserved=unobserved).fit(np.full((3, 3), np.nan))
    for rows, cols in (([N1], [0]), ([0], [-1]), ([0, 1], [0])):
        with pytest.raises(ShapeError, match="positions outside"):
            fitted.predict(rows, cols)


def test_a_table_too_large_to_return_is_said_before(
    fitted: MatrixCompletion, monkeypatch: pytest.MonkeyPatch, gaps: np.ndarray
) -> None:
    monkeypatch.setattr(matrix_completion, "DENSE_LIMIT", 8 * N1 * N2 - 1)
    stored = sparse.csr_array(np.nan_to_num(gaps[:N1]))
    with pytest.raises(TooLargeError, match="predict"):
        fitted.transform(stored)
