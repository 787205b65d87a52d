"""robust_pca() where the answer is known, and beside an independent convex solver."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ranklift as rl
from ranklift.errors import ConvergenceWarning, InputError, RankError
from ranklift.losses import Absolute
from ranklift.operators import EntrySampling, IdentitySensing, MeasurementOperator
from ranklift.robust import robust_pca
from ranklift.status import Status, Verdict


def separated(
    shape: tuple[int, int], rank: int, share: float, seed: int, noise: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (L, S, Y): entries of variance 1, outliers uniform in +-10."""
    rng = np.random.default_rng(seed)
    low_rank = rng.normal(size=(shape[0], rank)) @ rng.normal(size=(rank, shape[1]))
    low_rank /= np.sqrt(rank)
    sparse = np.zeros(shape)
    where = rng.choice(low_rank.size, round(share * low_rank.size), replace=False)
    sparse.flat[where] = rng.uniform(-10, 10, where.size)
    return low_rank, sparse, low_rank + sparse + noise * rng.normal(size=shape)


def sample(
    table: np.ndarray, missing: float, seed: int
) -> tuple[MeasurementOperator, np.ndarray, np.ndarray]:
    """Return (operator, b, mask)."""
    mask = np.random.default_rng([seed, 1]).random(table.shape) >= missing
    if missing == 0.0:
        return IdentitySensing(table.shape), table.ravel(), mask
    rows, cols = np.nonzero(mask)
    return EntrySampling(rows, cols, table.shape), table[rows, cols], mask


def error(found: Any, truth: np.ndarray) -> float:
    return float(np.linalg.norm(found.matrix.toarray() - truth) / np.linalg.norm(truth))


def pursuit(
    table: np.ndarray, mask: np.ndarray, gamma: float, steps: int = 4000
) -> tuple[np.ndarray, np.ndarray]:
    """Minimise ||L||_* + gamma ||Y - L||_1 over the mask by ADMM; return (L, multiplier)."""
    y = np.where(mask, table, 0.0)
    low_rank, sparse, dual = np.zeros_like(y), np.zeros_like(y), np.zeros_like(y)
    weight = 0.25 * np.count_nonzero(mask) / np.abs(y).sum()
    for _ in range(steps):
        u, s, vt = np.linalg.svd(y - sparse + dual / weight, full_matrices=False)
        low_rank = (u * np.maximum(s - 1 / weight, 0.0)) @ vt
        rest = y - low_rank + dual / weight
        shrunk = np.sign(rest) * np.maximum(np.abs(rest) - gamma / weight, 0.0)
        sparse = np.where(mask, shrunk, rest)
        dual = dual + weight * (y - low_rank - sparse)
    return low_rank, dual


def objective(low_rank: np.ndarray, table: np.ndarray, mask: np.ndarray, gamma: float) -> float:
    missed = np.abs(np.where(mask, table - low_rank, 0.0)).sum()
    return float(np.linalg.norm(low_rank, "nuc") + gamma * missed)


def dual_bound(dual: np.ndarray, table: np.ndarray, mask: np.ndarray, gamma: float) -> float:
    """Return <s, Y> of a multiplier made feasible: a lower bound of the minimum."""
    s = np.where(mask, dual, 0.0)
    s = s / max(1.0, np.linalg.norm(s, 2), float(np.abs(s).max()) / gamma)
    return float(np.sum(s * np.where(mask, table, 0.0)))


# -- exact data --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("rank", [None, 3])
def test_exact_recovery_with_a_certificate(seed: int, missing: float, rank: int | None) -> None:
    low_rank, sparse, table = separated((300, 60), 3, 0.1, seed)
    operator, b, mask = sample(table, missing, seed)
    found = robust_pca(operator, b, rank=rank, rng=0)
    assert found.rank == 3
    assert error(found, low_rank) < 1e-11
    assert found.noise is None
    np.testing.assert_allclose(found.extras["outliers"], sparse[mask], atol=1e-9)
    assert np.array_equal(found.extras["outliers"] != 0, sparse[mask] != 0)
    assert found.certificates["identifiability"].verdict is Verdict.HOLDS
    assert found.certified
    convex = found.convex
    assert convex is not None
    report = convex.certificates["duality_gap"]
    assert report.verdict is Verdict.HOLDS
    assert isinstance(convex.loss, Absolute)
    # The same numbers without the library's code.
    primal = objective(convex.matrix.toarray(), table, mask, convex.loss.weight)
    assert report.details["primal"] == pytest.approx(primal, rel=1e-12)
    assert primal == pytest.approx(objective(low_rank, table, mask, convex.loss.weight), rel=1e-12)


def test_the_certificate_agrees_with_an_independent_dual_bound() -> None:
    low_rank, _, table = separated((40, 30), 2, 0.05, 0)
    operator, b, mask = sample(table, 0.0, 0)
    found = robust_pca(operator, b, rng=0)
    convex = found.convex
    assert convex is not None
    assert isinstance(convex.loss, Absolute)
    gamma = convex.loss.weight
    reference, dual = pursuit(table, mask, gamma)
    least = dual_bound(dual, table, mask, gamma)
    # ADMM's two bounds meet: it found the minimum, and ranklift's answer has the same value.
    best = objective(reference, table, mask, gamma)
    assert best - least < 1e-8 * best
    assert convex.certificates["duality_gap"].verdict is Verdict.HOLDS
    assert objective(convex.matrix.toarray(), table, mask, gamma) - least < 1e-6 * best
    assert convex.certificates["duality_gap"].details["dual"] <= best * (1 + 1e-9)
    assert error(found, low_rank) < 1e-11


@pytest.mark.parametrize("share", [0.05, 0.2, 0.3, 0.45])
@pytest.mark.parametrize("seed", [0, 1])
def test_pursuit_is_certified_just_where_it_has_the_answer(share: float, seed: int) -> None:
    """Beyond some share of outliers another matrix has a lower objective: HOLDS would be wrong."""
    _, _, table = separated((40, 30), 2, share, seed)
    operator, b, mask = sample(table, 0.0, 0)
    found = robust_pca(operator, b, rank=2, noise=None, sparsity=1 / np.sqrt(40), rng=0)
    convex = found.convex
    assert convex is not None
    if not isinstance(convex.loss, Absolute):
        assert found.noise is not None  # the claim is about another problem, and says so
        return
    gamma = convex.loss.weight
    reference, dual = pursuit(table, mask, gamma)
    best = objective(reference, table, mask, gamma)
    assert best - dual_bound(dual, table, mask, gamma) < 1e-5 * best
    excess = objective(convex.matrix.toarray(), table, mask, gamma) / best - 1
    report = convex.certificates["duality_gap"]
    assert report.measured >= excess - 1e-9
    assert (report.verdict is Verdict.HOLDS) == (excess < 1e-8)


def test_another_gamma_is_tried_only_when_none_was_given() -> None:
    """With so many entries missing the default gamma is too small, and a larger one is not."""
    _, _, table = separated((150, 40), 3, 0.1, 0)
    operator, b, mask = sample(table, 0.3, 0)
    default = 1 / np.sqrt(b.size / 40)
    given = robust_pca(operator, b, sparsity=default, rng=0).convex
    free = robust_pca(operator, b, rng=0).convex
    assert given is not None
    assert free is not None
    assert given.loss.to_dict()["weight"] == pytest.approx(default)
    assert given.certificates["duality_gap"].verdict is Verdict.INCONCLUSIVE
    # With reason: another matrix has a lower objective.
    other = pursuit(table, mask, default, 500)[0]
    found = objective(given.matrix.toarray(), table, mask, default)
    assert objective(other, table, mask, default) < found * (1 - 1e-6)
    assert free.certificates["duality_gap"].verdict is Verdict.HOLDS
    assert free.loss.to_dict()["weight"] > 1.2 * default


def test_a_sparse_table_has_no_low_rank_part() -> None:
    table = np.zeros((40, 30))
    rng = np.random.default_rng(0)
    table.flat[rng.choice(1200, 60, replace=False)] = rng.normal(size=60)
    found = robust_pca(IdentitySensing(table.shape), table.ravel(), rng=0)
    assert error(found, np.ones_like(table)) == pytest.approx(1.0)  # X = 0
    np.testing.assert_array_equal(found.extras["outliers"], table.ravel())
    assert found.convex is not None
    assert found.convex.certificates["duality_gap"].verdict is Verdict.HOLDS
    gamma = found.convex.loss.to_dict()["weight"]
    _, dual = pursuit(table, table == table, gamma)
    best = dual_bound(dual, table, table == table, gamma)
    assert best == pytest.approx(gamma * np.abs(table).sum(), rel=1e-6)


@pytest.mark.parametrize("rank", [None, 3])
def test_flat_form_with_the_true_size_of_the_outliers(rank: int | None) -> None:
    low_rank, sparse, table = separated((200, 50), 3, 0.1, 5)
    size = float(np.abs(sparse).sum())
    found = robust_pca(
        IdentitySensing(table.shape), table.ravel(), rank=rank, outlier_norm=size, rng=0
    )
    assert found.rank == 3
    assert error(found, low_rank) < 1e-11
    assert found.loss.to_dict() == {"class": "L1BallDistance", "radius": size}
    assert found.convex is not None
    assert found.convex.certificates["duality_gap"].verdict is Verdict.HOLDS


def test_a_rank_above_the_true_one_is_no_harm() -> None:
    low_rank, _, table = separated((120, 50), 2, 0.1, 3)
    found = robust_pca(IdentitySensing(table.shape), table.ravel(), rank=4, rng=0)
    assert error(found, low_rank) < 1e-11
    assert found.rank <= 4


# -- noise -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("noise", ["estimate", 0.1])
def test_noisy_data_near_the_oracle(seed: int, noise: str | float) -> None:
    low_rank, sparse, table = separated((300, 60), 3, 0.1, seed, noise=0.1)
    found = robust_pca(IdentitySensing(table.shape), table.ravel(), noise=noise, rng=0)
    assert found.rank == 3
    assert found.noise == pytest.approx(0.1, rel=0.15)
    # The oracle knows which entries are right: least squares on them at the true rank.
    rows, cols = np.nonzero(sparse == 0)
    oracle = rl.recover(
        EntrySampling(rows, cols, table.shape), table[rows, cols], rank=3,
        regularization=None, noise=0.1, certify=False, rng=0,
    )  # fmt: skip
    assert error(found, low_rank) < 1.25 * error(oracle, low_rank)
    assert found.convex is not None
    assert found.convex.certificates["duality_gap"].verdict is Verdict.HOLDS
    marked = found.extras["outliers"].reshape(table.shape) != 0
    assert marked[np.abs(sparse) > 1.0].all()
    assert marked[sparse == 0].mean() < 0.01


def test_pure_noise_has_no_rank() -> None:
    b = np.random.default_rng(0).normal(size=1500)
    found = robust_pca(IdentitySensing((50, 30)), b, rng=0)
    assert found.rank == 0
    assert found.noise == pytest.approx(1.0, rel=0.1)


# -- columns -----------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_wrong_columns_are_found(noise: float, missing: float) -> None:
    low_rank, _, table = separated((60, 100), 3, 0.0, 0, noise=noise)
    wrong = [3, 40, 77]
    table[:, wrong] = 3.0 * np.random.default_rng(1).normal(size=(60, 3))
    operator, b, mask = sample(table, missing, 0)
    found = robust_pca(operator, b, outliers="columns", rng=0)
    assert found.rank == 3
    marked = np.zeros(table.shape, dtype=bool)
    marked[mask] = found.extras["outliers"] != 0
    assert np.flatnonzero(marked.any(axis=0)).tolist() == wrong
    right = np.delete(found.matrix.toarray() - low_rank, wrong, axis=1)
    size = np.linalg.norm(low_rank)
    assert np.linalg.norm(right) < (1e-9 if noise == 0.0 else 0.5 * noise) * size


# -- statuses, errors, files -------------------------------------------------------------------


@pytest.fixture(scope="module")
def table() -> np.ndarray:
    return separated((120, 50), 2, 0.1, 3)[2]


def solve(table: np.ndarray, **options: Any) -> Any:
    return robust_pca(IdentitySensing(table.shape), table.ravel(), **{"rng": 0, **options})


def test_time_is_kept(table: np.ndarray) -> None:
    with pytest.warns(ConvergenceWarning, match="max_time"):
        found = solve(table, max_time=1e-3)
    assert found.status is Status.MAX_TIME
    assert not found.certified


@pytest.mark.parametrize("stage", ["nuclear_norm", "huber", "inliers"])
@pytest.mark.parametrize("how", ["callback", "interrupt"])
def test_stopping_keeps_what_there_is(table: np.ndarray, stage: str, how: str) -> None:
    def stop(row: Any) -> bool:
        if row.stage == stage and how == "interrupt":
            raise KeyboardInterrupt
        return bool(row.stage == stage)

    with pytest.warns(ConvergenceWarning, match="user_stop"):
        found = solve(table, callback=stop)
    assert found.status is Status.USER_STOP
    assert not found.certified
    assert found.extras["outliers"].shape == (table.size,)


@pytest.mark.parametrize(
    "options",
    [
        {"outliers": "rows"},
        {"sparsity": 0.0},
        {"sparsity": "x"},
        {"outlier_norm": -1.0},
        {"outlier_norm": 1.0, "outliers": "columns"},
        {"noise": -1.0},
        {"noise": "much"},
        {"max_time": 0.0},
        {"max_time": "long"},
    ],
)
def test_settings_that_make_no_sense(table: np.ndarray, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="Remedy"):
        solve(table, **options)


def test_impossible_ranks_and_operators(table: np.ndarray) -> None:
    with pytest.raises(RankError):
        solve(table, rank=51)
    dense = rl.instances.gaussian_sensing((6, 5), 1, 60, rng=0)
    with pytest.raises(InputError, match="column outliers"):
        robust_pca(dense.operator, dense.measurements, outliers="columns")


def test_same_seed_same_answer(table: np.ndarray) -> None:
    first, second = solve(table, rng=4), solve(table, rng=4)
    np.testing.assert_array_equal(first.left, second.left)
    np.testing.assert_array_equal(first.extras["outliers"], second.extras["outliers"])


@pytest.mark.parametrize("outliers", ["entries", "columns"])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_files_verify(tmp_path: Path, outliers: str, noise: float) -> None:
    table = separated((60, 40), 2, 0.05, 3, noise=noise)[2]
    found = solve(table, outliers=outliers)
    assert found.convex is not None
    found.save(tmp_path / "answer.npz")
    verified = rl.verify(tmp_path / "answer.npz")
    assert verified.agrees, verified.differences
    names = {report.name for report in verified.reports}
    assert "convex.duality_gap" in names
    again = rl.load(tmp_path / "answer.npz")
    np.testing.assert_array_equal(again.extras["outliers"], found.extras["outliers"])
