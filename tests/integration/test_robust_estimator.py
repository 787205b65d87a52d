"""RobustPCA: scikit-learn's own checks, and what a user of the transformer relies on."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from ranklift.errors import InputError, RankError, UnobservedError
from ranklift.estimators.robust_pca import RobustPCA, huber_coefficients


@parametrize_with_checks([RobustPCA()])
def test_scikit_learn_checks(estimator: Any, check: Any) -> None:
    check(estimator)


N1, N2, RANK = 90, 40, 2


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.normal(size=(N1, RANK)) @ rng.normal(size=(RANK, N2))


def spoilt(truth: np.ndarray, noise: float, missing: float) -> tuple[np.ndarray, np.ndarray]:
    """Return (table, gross errors): a tenth of the entries is wrong by up to 10."""
    rng = np.random.default_rng(4)
    gross = np.where(rng.random(truth.shape) < 0.1, rng.uniform(-10, 10, truth.shape), 0.0)
    table = truth + gross + noise * rng.normal(size=truth.shape)
    return np.where(rng.random(truth.shape) < missing, np.nan, table), gross


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(x**2)))


@pytest.mark.parametrize("missing", [0.0, 0.15])
def test_exact_parts(truth: np.ndarray, missing: float) -> None:
    table, gross = spoilt(truth, 0.0, missing)
    model = RobustPCA(random_state=0)
    low_rank = model.fit_transform(table)
    np.testing.assert_allclose(low_rank, truth, atol=1e-10)
    np.testing.assert_array_equal(model.low_rank_, low_rank)
    seen = np.isfinite(table)
    np.testing.assert_allclose(model.outliers_, np.where(seen, gross, 0.0), atol=1e-9)
    assert np.count_nonzero(model.outliers_) == np.count_nonzero(gross[seen])
    assert (model.rank_, model.noise_) == (RANK, 0.0)
    assert model.recovery_.certified
    np.testing.assert_allclose(model.components_ @ model.components_.T, np.eye(RANK), atol=1e-12)
    np.testing.assert_allclose(
        model.singular_values_, np.linalg.svd(truth, compute_uv=False)[:RANK], rtol=1e-10
    )
    # New rows with a tenth of wrong entries and gaps come out exact as well.
    rng = np.random.default_rng(9)
    new = rng.normal(size=(50, RANK)) @ model.components_
    wrong = np.where(rng.random(new.shape) < 0.1, 5.0, 0.0)
    given = np.where(rng.random(new.shape) < missing, np.nan, new + wrong)
    np.testing.assert_allclose(model.transform(given), new, atol=1e-9)


def test_noisy_parts_and_new_rows(truth: np.ndarray) -> None:
    table, _ = spoilt(truth, 0.1, 0.1)
    model = RobustPCA(random_state=0).fit(table[:70])
    assert model.rank_ == RANK
    assert model.noise_ == pytest.approx(0.1, rel=0.2)
    assert rms(model.low_rank_ - truth[:70]) < 0.05
    # The training rows again: the fit was a minimum of the same loss row by row.
    np.testing.assert_allclose(model.transform(table[:70]), model.low_rank_, atol=1e-6)
    new = model.transform(table[70:])
    assert rms(new - truth[70:]) < 0.06
    # A row's answer does not depend on the others; least squares would be off by the outliers.
    np.testing.assert_allclose(model.transform(table[75:76])[0], new[5], rtol=1e-10)
    rows = np.where(np.isfinite(table[70:]), table[70:], 0.0)
    assert rms(rows @ model.components_.T @ model.components_ - truth[70:]) > 0.3
    np.testing.assert_array_equal(model.transform(np.full((1, N2), np.nan)), np.zeros((1, N2)))


def test_huber_coefficients_minimise_their_loss() -> None:
    """Against a general minimiser, row by row, with gaps."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(12, 2)))[0].T
    X = rng.normal(size=(6, 2)) @ basis + 0.1 * rng.normal(size=(6, 12))
    X += np.where(rng.random(X.shape) < 0.2, 4.0, 0.0)
    weights = (rng.random(X.shape) < 0.8).astype(float)
    found = huber_coefficients(X, basis, weights, 0.1345)

    def value(c: np.ndarray, i: int) -> float:
        r = np.abs(X[i] - c @ basis)
        loss = np.where(r <= 0.1345, r * r / 2, 0.1345 * r - 0.1345**2 / 2)
        return float(weights[i] @ loss)

    for i in range(6):
        best = optimize.minimize(value, found[i] + 0.01, args=(i,), method="Nelder-Mead",
                                 options={"xatol": 1e-10, "fatol": 1e-14})  # fmt: skip
        assert value(found[i], i) <= best.fun + 1e-12


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_wrong_samples_and_wrong_features(truth: np.ndarray, noise: float) -> None:
    rng = np.random.default_rng(1)
    table = truth + noise * rng.normal(size=truth.shape)
    by_rows, by_columns = table.copy(), table.copy()
    by_rows[[5, 60]] = 4 * rng.normal(size=(2, N2))
    by_columns[:, [0, 33]] = 4 * rng.normal(size=(N1, 2))
    rows = RobustPCA(outliers="rows", random_state=0).fit(by_rows)
    assert np.flatnonzero(rows.outliers_.any(axis=1)).tolist() == [5, 60]
    right = np.delete(np.arange(N1), [5, 60])
    assert rms((rows.low_rank_ - truth)[right]) < max(1e-9, 0.5 * noise)
    np.testing.assert_allclose(rows.transform(by_rows)[right], rows.low_rank_[right], atol=1e-6)
    columns = RobustPCA(outliers="columns", random_state=0).fit(by_columns)
    assert np.flatnonzero(columns.outliers_.any(axis=0)).tolist() == [0, 33]
    right = np.delete(np.arange(N2), [0, 33])
    assert rms((columns.low_rank_ - truth)[:, right]) < max(1e-9, 0.5 * noise)
    again = columns.transform(by_columns)
    np.testing.assert_allclose(again[:, right], columns.low_rank_[:, right], atol=1e-6)


def test_settings_and_data_that_cannot_be_used(truth: np.ndarray) -> None:
    bad: tuple[dict[str, Any], ...] = (
        {"outliers": "cells"}, {"max_time": -1.0}, {"sparsity": 0.0}, {"noise": "x"}
    )  # fmt: skip
    for options in bad:
        with pytest.raises(InputError, match="Remedy"):
            RobustPCA(**options).fit(truth)
    with pytest.raises(RankError):
        RobustPCA(rank=N2 + 1).fit(truth)
    gap = truth.copy()
    gap[4] = np.nan
    with pytest.raises(UnobservedError, match=r"row\(s\): 4"):
        RobustPCA().fit(gap)
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        RobustPCA().fit(sparse.csr_array(truth))
    with pytest.raises(NotFittedError):
        RobustPCA().transform(truth)


def test_clone_pickle_frames_and_seeds(truth: np.ndarray) -> None:
    table, _ = spoilt(truth, 0.0, 0.05)
    frame = pd.DataFrame(table, columns=[f"c{j}" for j in range(N2)])
    model = RobustPCA(rank=RANK, random_state=3)
    first: Any = clone(model)
    first.fit(frame)
    assert first.get_feature_names_out().tolist() == list(frame.columns)
    second: Any = clone(model)
    np.testing.assert_array_equal(second.fit(table).low_rank_, first.low_rank_)
    again = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(again.transform(frame), first.transform(frame))
