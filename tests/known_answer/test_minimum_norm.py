"""The least-norm matrix of exact data: known answers, enclosed from both sides by NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from cases import explicit_rows, square_example
from ranklift.errors import InputError
from ranklift.explicit_hessian import ExplicitHessian
from ranklift.factorizations import Asymmetric, Deep, Hermitian, Signed, Symmetric
from ranklift.losses import Huber
from ranklift.minimum_norm import FEASIBLE, solve_minimum_norm
from ranklift.nuclear_norm import ridge
from ranklift.operators import DenseSensing, EntrySampling, IdentitySensing, PauliSensing
from ranklift.problem import FactorizedProblem
from ranklift.solution_set import descend_on_solution_set, retract
from ranklift.status import Status
from ranklift.trace import Trace

HILBERT = 1.0 / (1.0 + np.arange(6)[:, None] + np.arange(5)[None, :])


def rng_(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def dense(m: int, shape: tuple[int, int] = (7, 6), seed: int = 0) -> FactorizedProblem:
    rng = rng_(seed)
    matrices = rng.standard_normal((m, *shape))
    truth = np.outer(rng.standard_normal(shape[0]), rng.standard_normal(shape[1]))
    return FactorizedProblem(DenseSensing(matrices), np.einsum("jab,ab->j", matrices, truth))


def enclosed(problem: FactorizedProblem, run) -> tuple[float, float]:
    """Return the nuclear norm of the answer and the bound of its multipliers, without library."""
    left, right = problem.parts(run.w)
    rows = explicit_rows(problem.operator)
    fit = rows @ (left @ right.T).ravel() - problem.b
    assert np.linalg.norm(fit) <= 1e-9 * np.linalg.norm(problem.b)
    dual = (run.multipliers @ rows).reshape(problem.shape)
    kind = problem.factorization
    top = np.linalg.norm(dual, 2)
    if isinstance(kind, (Symmetric, Signed)):
        values = np.linalg.eigvalsh(0.5 * (dual + dual.T))
        top = values[-1] if isinstance(kind, Symmetric) else np.abs(values).max()
    return float(np.linalg.norm(left @ right.T, "nuc")), float(run.multipliers @ problem.b / top)


def test_everything_observed_leaves_no_choice():
    problem = FactorizedProblem(IdentitySensing((6, 5)), HILBERT.ravel())
    run = solve_minimum_norm(problem, rng_())
    assert run.status is Status.CONVERGED
    np.testing.assert_allclose(problem.compose(run.w).toarray(), HILBERT, atol=1e-9)
    assert run.norm == pytest.approx(np.linalg.norm(HILBERT, "nuc"), rel=1e-8)


def test_two_by_two_with_a_blank():
    # ||[[1, 2], [2, x]]||_* is least at x = 4 (rank one) ... and equal to 4 = 2 * 2 at x = -1.
    operator = EntrySampling([0, 0, 1], [0, 1, 0], (2, 2))
    run = solve_minimum_norm(FactorizedProblem(operator, np.array([1.0, 2.0, 2.0])), rng_())
    values = [np.linalg.norm([[1, 2], [2, x]], "nuc") for x in np.linspace(-5, 5, 2001)]
    assert run.norm == pytest.approx(min(values), abs=1e-6)


@pytest.mark.parametrize("m", [10, 18, 26, 36])
@pytest.mark.parametrize("seed", range(3))
def test_norm_is_enclosed(m, seed):
    problem = dense(m, seed=seed)
    run = solve_minimum_norm(problem, rng_())
    norm, bound = enclosed(problem, run)
    assert run.status is Status.CONVERGED and run.relative_residual <= FEASIBLE
    assert norm == pytest.approx(run.norm, rel=1e-9)
    assert bound >= norm * (1 - 1e-6)
    assert run.lower_bound <= bound * (1 + 1e-9)


@pytest.mark.parametrize("kind", [Symmetric(), Signed()])
@pytest.mark.parametrize("name", ["QuadraticSensing", "DenseSensing", "EntrySampling"])
def test_norm_is_enclosed_for_symmetric_unknowns(kind, name):
    operator = square_example(name)
    n = operator.shape[0]
    u = rng_(1).standard_normal((n, 2))
    truth = u @ (np.diag([1.0, -1.0]) if isinstance(kind, Signed) else np.eye(2)) @ u.T
    problem = FactorizedProblem(operator, operator.apply(truth), kind)
    run = solve_minimum_norm(problem, rng_())
    norm, bound = enclosed(problem, run)
    assert run.status is Status.CONVERGED
    assert bound >= norm * (1 - 1e-6)
    assert norm <= np.linalg.norm(truth, "nuc") * (1 + 1e-9)


def test_a_quantum_state_is_found_by_its_least_trace():
    operator = PauliSensing.example(rng_())
    n = operator.shape[0]
    psi = rng_(1).standard_normal((n, 1)) + 1j * rng_(2).standard_normal((n, 1))
    truth = psi @ psi.conj().T
    problem = FactorizedProblem(operator, operator.apply(truth), Hermitian())
    run = solve_minimum_norm(problem, rng_())
    found = problem.compose(run.w).toarray()
    assert run.status is Status.CONVERGED
    assert np.real(np.trace(found)) <= np.real(np.trace(truth)) * (1 + 1e-7)
    np.testing.assert_allclose(operator.apply(found), problem.b, atol=1e-9)


def test_no_data_no_matrix():
    problem = FactorizedProblem(IdentitySensing((3, 2)), np.zeros(6))
    run = solve_minimum_norm(problem, rng_())
    assert run.w.shape[1] == 0 and run.norm == 0 and run.status is Status.CONVERGED


def test_data_that_no_matrix_fits_stall():
    operator = DenseSensing(np.stack([np.eye(3)] * 2))
    run = solve_minimum_norm(FactorizedProblem(operator, np.array([1.0, 2.0])), rng_())
    assert run.status is Status.STALLED and run.relative_residual > 0.1


def test_a_run_can_be_stopped():
    stops = []

    def enough(w: np.ndarray, misfit: np.ndarray) -> bool:
        stops.append(misfit)
        return len(stops) == 2

    run = solve_minimum_norm(dense(18), rng_(), enough=enough)
    assert run.status is Status.USER_STOP and run.rounds == 2
    trace = Trace(max_time_s=0.0)
    late = solve_minimum_norm(dense(18), rng_(), trace=trace)
    assert late.status is Status.MAX_TIME


def test_what_is_no_convex_problem_is_refused():
    operator, b = dense(18).operator, dense(18).b
    with pytest.raises(InputError, match="squared"):
        solve_minimum_norm(FactorizedProblem(operator, b, loss=Huber(1.0)), rng_())
    with pytest.raises(InputError, match="Deep"):
        solve_minimum_norm(FactorizedProblem(operator, b, Deep(3)), rng_())


def test_large_problems_do_without_the_explicit_hessian():
    rng = rng_(4)
    n, m = 120, 5000
    seen = rng.permutation(n * n)[:m]
    factors = rng.standard_normal((2, n, 2))
    truth = factors[0] @ factors[1].T
    problem = FactorizedProblem(EntrySampling(seen // n, seen % n, (n, n)), truth.ravel()[seen])
    assert not ExplicitHessian.suits(problem)
    run = solve_minimum_norm(problem, rng_())
    assert run.status is Status.CONVERGED and run.gap <= 1e-6
    error = np.linalg.norm(problem.compose(run.w).toarray() - truth) / np.linalg.norm(truth)
    assert error < 1e-9


@pytest.mark.parametrize("kind", [Asymmetric(), Symmetric(), Signed()])
@pytest.mark.parametrize("name", ["DenseSensing", "EntrySampling", "RankOneSensing", "Scaled"])
def test_explicit_hessian_is_the_hessian(kind, name):
    operator = square_example(name)
    rng = rng_(3)
    problem = ridge(FactorizedProblem(operator, rng.standard_normal(operator.num_measurements),
                                      kind), 0.3)  # fmt: skip
    w = rng.standard_normal((kind.size(operator.shape), 3))
    point = problem.evaluate(w)
    hessian = ExplicitHessian(operator).hessian(problem, point)
    for seed in range(3):
        d = rng_(seed).standard_normal(w.shape)
        product = problem.hvp(point, d)
        np.testing.assert_allclose((hessian @ d.ravel()).reshape(w.shape), product, rtol=1e-10,
                                   atol=1e-10 * np.abs(product).max())  # fmt: skip


# -- the solution set -------------------------------------------------------------------------


def test_retraction_ends_on_the_solution_set_or_says_no():
    problem = dense(18)
    rng = rng_(1)
    w = retract(problem, rng.standard_normal((13, 4)))
    assert w is not None
    left, right = problem.parts(w)
    fit = problem.operator.apply_product(left, right) - problem.b
    assert np.linalg.norm(fit) <= 1e-9 * np.linalg.norm(problem.b)
    # Two equal matrices with two values: nothing fits.
    impossible = FactorizedProblem(DenseSensing(np.stack([np.eye(3)] * 2)), np.array([1.0, 2.0]))
    assert retract(impossible, rng.standard_normal((6, 2))) is None


@pytest.mark.parametrize("seed", range(4))
def test_wide_factors_descend_to_the_convex_answer(seed):
    problem = dense(14, seed=seed)
    convex = solve_minimum_norm(problem, rng_())
    start = retract(problem, rng_(seed).standard_normal((13, 6)))
    assert start is not None
    run = descend_on_solution_set(problem, start)
    assert run.status is Status.CONVERGED and run.slope <= 1e-6
    assert 0.5 * np.sum(run.w**2) == pytest.approx(convex.norm, rel=1e-6)


def test_narrow_factors_end_above_it():
    problem = FactorizedProblem(dense(16).operator, rng_(0).standard_normal(16))
    convex = solve_minimum_norm(problem, rng_())
    assert convex.w.shape[1] == 3
    run = descend_on_solution_set(problem, retract(problem, rng_(5).standard_normal((13, 2))))
    assert run.status is Status.CONVERGED
    assert 0.5 * np.sum(run.w**2) > convex.norm * (1 + 1e-3)


def test_descent_stops_when_told():
    problem = dense(14)
    start = retract(problem, rng_(1).standard_normal((13, 6)))
    run = descend_on_solution_set(problem, start, max_iterations=2)
    assert run.status is Status.MAX_ITERATIONS and run.iterations == 2
    trace = Trace()
    trace.stop_requested = True
    assert descend_on_solution_set(problem, start, trace=trace).status is Status.USER_STOP
