"""Exact completion: instances with a known truth, and the inner problem against dense algebra."""

from __future__ import annotations

import numpy as np
import pytest

from ranklift.errors import RankError
from ranklift.instances import Instance, entry_completion
from ranklift.kernels import log_det as kernels
from ranklift.log_det import ExactCompletion, complete_exactly
from ranklift.log_det.finish import finish, fit_outer
from ranklift.log_det.inner import reweighted_step
from ranklift.log_det.samples import Samples
from ranklift.lowrank import LowRank
from ranklift.operators import EntrySampling
from ranklift.status import Status
from ranklift.trace import Trace, TraceRow


def _sampling(instance: Instance) -> EntrySampling:
    assert isinstance(instance.operator, EntrySampling)
    return instance.operator


def _error(found: ExactCompletion, truth: LowRank) -> float:
    n1 = truth.shape[0]
    return (LowRank(found.w[:n1], found.w[n1:]) - truth).norm() / truth.norm()


@pytest.mark.parametrize(
    ("shape", "oversampling", "condition_number", "seed"),
    [
        ((120, 150), 1.6, 10.0, 0),
        ((120, 150), 1.6, 10.0, 1),
        ((150, 120), 1.6, 1000.0, 2),
        ((150, 120), 3.0, 10.0, 3),
        ((130, 130), 1.6, 1.0, 4),
    ],
)
def test_unknown_rank_is_found(
    shape: tuple[int, int], oversampling: float, condition_number: float, seed: int
) -> None:
    """Near the information limit the truth comes back to rounding, with its rank."""
    instance = entry_completion(shape, 3, oversampling, condition_number=condition_number, rng=seed)
    found = complete_exactly(_sampling(instance), instance.measurements, rng=seed)
    assert found.status is Status.ZERO_RESIDUAL
    assert found.rank == 3
    assert found.w.shape == (sum(shape), 3)
    assert found.relative_residual <= 1e-12
    assert _error(found, instance.truth) < 1e-8


def test_factors_are_balanced_and_fit_the_data() -> None:
    """L^T L = R^T R, and the reported residual is that of the returned factors."""
    instance = entry_completion((60, 80), 2, 2.0, condition_number=5.0, rng=0)
    found = complete_exactly(_sampling(instance), instance.measurements, rng=0)
    left, right = found.w[:60], found.w[60:]
    np.testing.assert_allclose(left.T @ left, right.T @ right, atol=1e-12)
    residual = instance.operator.apply(LowRank(left, right)) - instance.measurements
    assert np.linalg.norm(residual) <= 1e-11 * np.linalg.norm(instance.measurements)


def test_given_rank_and_repeatability() -> None:
    """A given rank is met, and the same seed gives the same answer."""
    instance = entry_completion((100, 120), 3, 1.6, condition_number=10.0, rng=5)
    runs = [
        complete_exactly(_sampling(instance), instance.measurements, rank=3, rng=7)
        for _ in range(2)
    ]
    assert runs[0].rank == 3
    assert _error(runs[0], instance.truth) < 1e-8
    np.testing.assert_array_equal(runs[0].w, runs[1].w)


def test_units_do_not_matter() -> None:
    """Data a million times larger take the same path."""
    instance = entry_completion((80, 90), 2, 1.7, condition_number=3.0, rng=1)
    runs = [
        complete_exactly(_sampling(instance), scale * instance.measurements, rng=0)
        for scale in (1.0, 2.0**20)
    ]
    assert runs[0].rounds == runs[1].rounds
    assert _error(runs[1], instance.truth * 2.0**20) < 1e-8


def test_plenty_of_samples_need_no_smoothing() -> None:
    """With four times the needed samples the rank lift alone arrives."""
    instance = entry_completion((80, 90), 3, 4.0, rng=2)
    trace = Trace()
    found = complete_exactly(_sampling(instance), instance.measurements, rng=0, trace=trace)
    assert (found.rounds, found.attempts, found.rank) == (0, 0, 3)
    assert [row.rank for row in trace.rows] == [1, 2, 3]


def test_noise_is_never_called_exact() -> None:
    """Noisy data have no exact fit below the counting bound: the best iterate comes back."""
    instance = entry_completion((30, 25), 1, 2.0, noise=0.01, rng=0)
    found = complete_exactly(_sampling(instance), instance.measurements, rank=1, rng=0)
    assert found.status is Status.STALLED
    assert found.attempts > 1
    assert 1e-6 < found.relative_residual < 1.0
    assert np.all(np.isfinite(found.w))


def test_stopping_keeps_the_best_iterate() -> None:
    """A callback and a spent budget end the search early, by their own names."""
    instance = entry_completion((60, 70), 3, 1.5, condition_number=10.0, rng=0)
    norm = np.linalg.norm(instance.measurements)

    def stop(row: TraceRow) -> bool:
        return row.stage == "rank_search" and row.iteration == 3

    runs = {
        Status.USER_STOP: Trace(callback=stop),
        Status.MAX_TIME: Trace(max_time_s=0.0),
    }
    for status, trace in runs.items():
        found = complete_exactly(_sampling(instance), instance.measurements, rng=0, trace=trace)
        assert found.status is status
        fitted = instance.operator.apply(LowRank(found.w[:60], found.w[60:]))
        relative = np.linalg.norm(fitted - instance.measurements) / norm
        assert relative == pytest.approx(found.relative_residual, rel=1e-6)
        assert relative < 1.0


@pytest.mark.parametrize("shape", [(1, 30), (30, 1), (3, 30)])
def test_full_rank_fits_what_nothing_else_does(shape: tuple[int, int]) -> None:
    """The smaller side bounds the rank; that rank always fits."""
    rows, cols = np.divmod(np.arange(shape[0] * shape[1]), shape[1])
    operator = EntrySampling(rows, cols, shape)
    data = np.random.default_rng(0).standard_normal(rows.size)
    found = complete_exactly(operator, data, rank=min(shape), rng=0)
    assert found.status is Status.ZERO_RESIDUAL
    assert found.rank == min(shape)


def test_zero_data() -> None:
    """Zero measurements are fitted by the zero matrix."""
    operator = EntrySampling([0, 1, 2], [0, 1, 1], (3, 2))
    found = complete_exactly(operator, np.zeros(3))
    assert found.status is Status.ZERO_RESIDUAL
    assert not found.w.any()


@pytest.mark.parametrize("rank", [0, 4])
def test_impossible_ranks_are_refused(rank: int) -> None:
    """A rank outside 1..min(shape) is an input error."""
    instance = entry_completion((5, 3), 1, 1.0, rng=0)
    with pytest.raises(RankError, match=r"pass a rank in 1\.\.3"):
        complete_exactly(_sampling(instance), instance.measurements, rank=rank)


@pytest.mark.parametrize("shape", [(12, 15), (15, 12)])
def test_reweighted_step_solves_the_weighted_problem(shape: tuple[int, int]) -> None:
    """The factored solution equals W_L A*(y) W_R with A(W_L A*(y) W_R) = b, formed densely."""
    instance = entry_completion(shape, 2, 2.0, condition_number=3.0, rng=4)
    samples = Samples.of(_sampling(instance), instance.measurements)
    x = _sampling(instance).adjoint(instance.measurements).toarray()
    x = x.T if samples.transposed else x
    u, s, vt = np.linalg.svd(x)
    eps, w = 0.9 * s[2], 2
    u, s, v = u[:, :w], s[:w], vt[:w].T
    new = reweighted_step(samples, u, s, v, eps, rtol=1e-13, max_iterations=500)[0]
    weight_left = eps * np.eye(samples.inner) + (u * (s - eps)) @ u.T
    weight_right = eps * np.eye(samples.outer) + (v * (s - eps)) @ v.T
    i, j = samples.cross, samples.lines
    system = weight_left[np.ix_(i, i)] * weight_right[np.ix_(j, j)]
    y = np.zeros_like(x)
    y[i, j] = np.linalg.solve(system, samples.data)
    expected = weight_left @ y @ weight_right
    np.testing.assert_allclose(new.matmul(np.eye(samples.outer)), expected, atol=1e-9)
    np.testing.assert_allclose(new.rmatmul(np.eye(samples.inner)), expected.T, atol=1e-9)


def test_normal_matrix_agrees_with_its_products() -> None:
    """The dense Kaufman matrix and its product are the same map."""
    instance = entry_completion((14, 17), 2, 2.0, rng=4)
    samples = Samples.of(_sampling(instance), instance.measurements)
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((14, 2)), rng.standard_normal((17, 2))
    inverse, blocks = np.empty((17, 2, 2)), np.zeros((14, 2, 2))
    lines = (samples.indptr, samples.cross)
    kernels.prepare(*lines, a, b, 0.0, inverse, blocks, 0, 17)
    dense = np.zeros((28, 28))
    kernels.dense_schur(*lines, a, b, inverse, dense, 0, 17)
    dense = np.tril(dense) + np.tril(dense, -1).T
    z, image = rng.standard_normal((14, 2)), np.zeros((14, 2))
    kernels.schur_product(*lines, a, b, z, inverse, image, 0, 17)
    np.testing.assert_allclose(dense @ z.ravel(), image.ravel(), rtol=1e-11, atol=1e-11)
    for i in range(14):
        np.testing.assert_allclose(dense[2 * i : 2 * i + 2, 2 * i : 2 * i + 2], blocks[i])
    # A N' is undone by the eliminated factor: the kernel of the matrix.
    np.testing.assert_allclose(dense @ (a @ rng.standard_normal((2, 2))).ravel(), 0, atol=1e-11)


def test_finish_converges_from_near_the_truth() -> None:
    """A perturbed column space is repaired to rounding."""
    instance = entry_completion((50, 60), 3, 2.5, condition_number=100.0, rng=3)
    samples = Samples.of(_sampling(instance), instance.measurements)
    rng = np.random.default_rng(1)
    a = instance.truth.left + 1e-3 * rng.standard_normal((50, 3))
    before = fit_outer(samples, a).relative_residual
    fit = finish(samples, a, tol=1e-12, trace=Trace(), max_steps=30)
    assert before > 1e-4
    assert fit.relative_residual <= 1e-12
    assert (LowRank(fit.a, fit.b) - instance.truth).norm() < 1e-9
