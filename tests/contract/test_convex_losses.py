"""The duality gap of other losses and factorizations, against solvers that share no code with it.

The referee here is accelerated proximal gradients on the dense matrix, with explicit measurement
rows; where CVXPY is installed it is a second one. Then the certificates that are not for everyone:
kinks, and the Hermitian positive semidefinite gap.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest

from cases import coordinates, explicit_rows, from_coordinates
from ranklift.certificates import (
    Curvature,
    NuclearNormOptimality,
    PSDGap,
    RankDeficiency,
    Stationarity,
    duality_gap,
)
from ranklift.certificates.curvature import residual_bound
from ranklift.factorizations import Asymmetric, Deep, Factorization, Hermitian, Signed, Symmetric
from ranklift.losses import Absolute, GroupHuber, Huber, L1BallDistance, Logistic, Loss, Squared
from ranklift.nuclear_norm import NuclearNormRun, solve_nuclear_norm
from ranklift.operators import DenseSensing, EntrySampling, IdentitySensing, PauliSensing
from ranklift.problem import FactorizedProblem
from ranklift.status import Status, Verdict

HOLDS, FAILS, INCONCLUSIVE = Verdict.HOLDS, Verdict.FAILS, Verdict.INCONCLUSIVE
TOLERANCE = 1e-8
GROUPS = np.arange(42) % 6


@dataclass(frozen=True)
class Case:
    """A problem of the nuclear norm; lam as a share of the least that makes X = 0 optimal."""

    factorization: Factorization
    loss: Callable[[np.ndarray], Loss]
    share: float = 0.2
    kind: str = "dense"


CASES = {
    "Squared": Case(Asymmetric(), lambda r: Squared()),
    "Huber": Case(Asymmetric(), lambda r: Huber(0.5)),
    "Huber weighted, sampled": Case(Asymmetric(), lambda r: Huber(0.3, 2.0), 0.3, "sampled"),
    "Logistic": Case(Asymmetric(), lambda r: Logistic(), 0.3),
    "Logistic, sampled": Case(Asymmetric(), lambda r: Logistic(), 0.3, "sampled"),
    "L1BallDistance": Case(Asymmetric(), lambda r: L1BallDistance(0.7 * float(np.abs(r).sum()))),
    "GroupHuber": Case(Asymmetric(), lambda r: GroupHuber(GROUPS, 0.8)),
    "Symmetric": Case(Symmetric(), lambda r: Squared(), 0.2, "symmetric"),
    "Symmetric Huber": Case(Symmetric(), lambda r: Huber(0.5), 0.2, "symmetric"),
    "Signed": Case(Signed(), lambda r: Squared(), 0.2, "symmetric"),
    "Signed Logistic": Case(Signed(), lambda r: Logistic(), 0.3, "symmetric"),
    "Hermitian": Case(Hermitian(), lambda r: Squared(), 0.2, "pauli"),
    "Hermitian Huber": Case(Hermitian(), lambda r: Huber(0.3), 0.2, "pauli"),
}
every_case = pytest.mark.parametrize("name", list(CASES))


@cache
def pose(name: str) -> tuple[FactorizedProblem, float]:
    """Return the problem and lambda: a matrix of rank two, noise, and a few gross errors."""
    case, rng = CASES[name], np.random.default_rng(11)
    if case.kind == "pauli":
        strings = [a + b + c for a in "IXYZ" for b in "IXYZ" for c in "IXYZ"]
        operator: Any = PauliSensing([strings[i] for i in rng.permutation(64)[:40]])
    elif case.kind == "sampled":
        flat = rng.permutation(56)[:42]
        operator = EntrySampling(flat // 7, flat % 7, (8, 7))
    else:
        shape = (6, 6) if case.kind == "symmetric" else (7, 5)
        operator = DenseSensing(rng.standard_normal((42, *shape)) / 4)
    n1, n2 = operator.shape
    left, right = rng.standard_normal((n1, 2)), rng.standard_normal((n2, 2))
    if case.kind == "pauli":
        left = (left + 1j * rng.standard_normal((n1, 2))) / 2
        truth = left @ left.conj().T
    elif isinstance(case.factorization, Signed):
        truth = left @ np.diag([1.0, -1.0]) @ left.T
    else:
        truth = left @ (left if case.kind == "symmetric" else right).T
    b = explicit_rows(operator) @ coordinates(operator, truth)
    b = b + 0.1 * rng.standard_normal(b.size)
    errors = np.zeros(b.size)
    errors[rng.permutation(b.size)[:5]] = 3 * rng.choice([-1.0, 1.0], 5)
    loss = case.loss(errors)
    b = b + errors
    if isinstance(loss, Logistic):
        b = np.where(b > 0, 1.0, -1.0)
    problem = FactorizedProblem(operator, b, case.factorization, loss=loss)
    return problem, case.share * problem.scale


@cache
def solved(name: str) -> NuclearNormRun:
    problem, lam = pose(name)
    rng = np.random.default_rng(0)
    start = 0.3 * rng.standard_normal((problem.factorization.size(problem.shape), 1))
    return solve_nuclear_norm(problem, lam, start, rng, tolerance=TOLERANCE)


# -- the referee -------------------------------------------------------------------------------


def penalty(problem: FactorizedProblem, x: np.ndarray) -> float:
    """Return ||X||_*: for positive semidefinite X this is the trace."""
    return float(np.linalg.svd(x, compute_uv=False).sum())


def shrink(problem: FactorizedProblem, x: np.ndarray, step: float) -> np.ndarray:
    """Return the minimiser of 1/2 ||Y - X||^2 + step ||Y||_* over the matrices of the kind."""
    made = problem.factorization
    if isinstance(made, Asymmetric):
        u, s, vh = np.linalg.svd(x, full_matrices=False)
        return (u * np.maximum(s - step, 0)) @ vh
    values, vectors = np.linalg.eigh(0.5 * (x + x.conj().T))
    if isinstance(made, Signed):
        kept = np.sign(values) * np.maximum(np.abs(values) - step, 0)
    else:
        kept = np.maximum(values - step, 0)
    return (vectors * kept) @ vectors.conj().T


def objective(name: str, x: np.ndarray) -> float:
    """Return the loss, written out here, plus lambda ||X||_*."""
    problem, lam = pose(name)
    b, loss = problem.b, problem.loss
    z = explicit_rows(problem.operator) @ coordinates(problem.operator, x)
    r = np.abs(z - b)
    if isinstance(loss, Huber):
        t = loss.threshold
        value = loss.weight * np.where(r <= t, r * r / 2, t * r - t * t / 2).sum()
    elif isinstance(loss, Logistic):
        value = np.logaddexp(0, -b * z).sum()
    elif isinstance(loss, GroupHuber):
        size, t = np.sqrt(np.bincount(GROUPS, r * r)), loss.threshold
        value = np.where(size <= t, size * size / 2, t * size - t * t / 2).sum()
    elif isinstance(loss, L1BallDistance):
        low, high = 0.0, r.max()
        for _ in range(100):
            level = 0.5 * (low + high)
            beyond = np.maximum(r - level, 0).sum() > loss.radius
            low, high = (level, high) if beyond else (low, level)
        value = 0.5 * np.sum(np.minimum(r, high) ** 2)
    else:
        value = 0.5 * np.sum(r * r)
    return float(value) + lam * penalty(problem, x)


@cache
def referee_optimum(name: str) -> tuple[float, np.ndarray]:
    """Return the least objective found and its X, by FISTA with restarts on the dense matrix."""
    problem, lam = pose(name)
    rows, b, operator = explicit_rows(problem.operator), problem.b, problem.operator
    step = 1.0 / (problem.loss.smoothness * float(np.linalg.norm(rows, 2)) ** 2)
    x = np.zeros(problem.shape, dtype=complex if operator.hermitian else float)
    ahead, momentum = x, 1.0
    for _ in range(20_000):
        slope = problem.loss.slope(rows @ coordinates(operator, ahead), b)
        gradient = from_coordinates(operator, rows.T @ slope)
        new = shrink(problem, ahead - step * gradient, step * lam)
        change = new - x
        if np.vdot(ahead - new, change).real > 0:  # momentum leads uphill
            momentum = 1.0
        following = 0.5 * (1 + np.sqrt(1 + 4 * momentum**2))
        ahead, momentum = new + (momentum - 1) / following * change, following
        x = new
        if np.linalg.norm(change) <= 1e-15 * np.linalg.norm(x) and momentum > 2:
            break
    return objective(name, x), x


# -- the optimum -------------------------------------------------------------------------------


@every_case
def test_certified_objective_is_the_referees_optimum(name):
    problem, _ = pose(name)
    run = solved(name)
    assert run.status is Status.CONVERGED and run.gap.relative <= TOLERANCE
    x = np.asarray(problem.compose(run.w).toarray())
    found, (best, other) = objective(name, x), referee_optimum(name)
    assert run.gap.primal == pytest.approx(found, rel=1e-11)
    assert run.gap.dual <= best * (1 + 1e-12)  # a lower bound, whoever searches
    assert found == pytest.approx(best, rel=2 * TOLERANCE)
    assert found <= best * (1 + TOLERANCE)
    assert np.linalg.norm(x) > 0.1  # not the trivial answer
    assert np.linalg.norm(x - other) <= 1e-2 * np.linalg.norm(other)


@every_case
def test_certified_objective_is_cvxpys(name):
    cp = pytest.importorskip("cvxpy")
    problem, lam = pose(name)
    (n1, n2), b, loss = problem.shape, problem.b, problem.loss
    rows = explicit_rows(problem.operator)
    made = problem.factorization
    if isinstance(made, Hermitian):
        x = cp.Variable((n1, n2), hermitian=True)
        z = rows @ cp.hstack([cp.vec(cp.real(x), order="C"), cp.vec(cp.imag(x), order="C")])
        size, limits = cp.real(cp.trace(x)), [x >> 0]
    else:
        x = cp.Variable((n1, n2), symmetric=not isinstance(made, Asymmetric))
        z = rows @ cp.vec(x, order="C")
        size, limits = cp.normNuc(x), []
        if isinstance(made, Symmetric):
            size, limits = cp.trace(x), [x >> 0]
    r = z - b
    if isinstance(loss, Huber):
        misfit = 0.5 * loss.weight * cp.sum(cp.huber(r, loss.threshold))
    elif isinstance(loss, Logistic):
        misfit = cp.sum(cp.logistic(cp.multiply(-b, z)))
    elif isinstance(loss, GroupHuber):
        lengths = [cp.norm(r[np.flatnonzero(g == GROUPS)]) for g in range(6)]
        misfit = 0.5 * cp.sum(cp.huber(cp.hstack(lengths), loss.threshold))
    elif isinstance(loss, L1BallDistance):
        sparse = cp.Variable(b.size)
        misfit = 0.5 * cp.sum_squares(r - sparse)
        limits = [*limits, cp.norm1(sparse) <= loss.radius]
    else:
        misfit = 0.5 * cp.sum_squares(r)
    task = cp.Problem(cp.Minimize(misfit + lam * size), limits)
    with warnings.catch_warnings():
        # Where it ends short of 1e-9 it says so; the comparison below asks for 1e-7.
        warnings.filterwarnings("ignore", "Solution may be inaccurate")
        task.solve(solver="CLARABEL", tol_gap_rel=1e-9, tol_gap_abs=1e-9, tol_feas=1e-9)
    gap = solved(name).gap
    assert gap.primal == pytest.approx(task.value, rel=1e-7)
    assert gap.dual <= task.value * (1 + 1e-7)


@every_case
def test_no_random_perturbation_is_better(name):
    """Independent of any solver: the certified point against its neighbours in all scales."""
    problem, _ = pose(name)
    run, rng = solved(name), np.random.default_rng(1)
    for scale in 10.0 ** np.arange(-6, 1):
        for _ in range(20):
            extra = rng.standard_normal((run.w.shape[0], int(rng.integers(1, 4))))
            w = np.hstack([run.w * (1 + scale * rng.standard_normal(run.w.shape)), scale * extra])
            moved = np.asarray(problem.compose(w).toarray())
            assert objective(name, moved) >= run.gap.dual * (1 - 1e-13)
            assert objective(name, moved) >= run.gap.primal * (1 - TOLERANCE)


@every_case
@pytest.mark.parametrize("share", [1.0001, 3.0])
def test_zero_is_the_answer_above_the_scale(name, share):
    problem, _ = pose(name)
    # ``scale`` is a Ritz value, at most a little below the norm.
    lam = share * problem.scale * 1.001
    for k in (0, 2):
        w = np.zeros((problem.factorization.size(problem.shape), k))
        report = NuclearNormOptimality(lam).check(problem, w, np.random.default_rng(0))
        assert report.verdict is HOLDS, report
        assert report.details["primal"] == pytest.approx(problem.loss_at_zero, rel=1e-13)


# -- soundness away from it --------------------------------------------------------------------


@every_case
def test_gap_bounds_the_suboptimality_anywhere(name):
    problem, lam = pose(name)
    best = referee_optimum(name)[0]
    rng = np.random.default_rng(5)
    rows = problem.factorization.size(problem.shape)
    for i in range(12):
        w = 10.0 ** rng.uniform(-3, 0.5) * rng.standard_normal((rows, 1 + i % 3))
        gap = duality_gap(problem, w, lam, rng, tolerance=1e-6)
        x = np.asarray(problem.compose(w).toarray())
        assert gap.primal == pytest.approx(objective(name, x), rel=1e-10)
        assert gap.dual <= best * (1 + 1e-12)
        assert gap.primal - gap.dual >= (objective(name, x) - best) * (1 - 1e-10)
        assert gap.norm_lower <= gap.norm_upper * (1 + 1e-12)
        # Any slope gives a valid bound, a wrong one too.
        other = duality_gap(problem, w, lam, rng, slope=rng.standard_normal(problem.b.size))
        assert other.dual <= best * (1 + 1e-12)


@every_case
def test_dual_norm_enclosure_is_that_of_the_dense_matrix(name):
    problem, lam = pose(name)
    rows, rng = explicit_rows(problem.operator), np.random.default_rng(5)
    for k in (1, 3):
        w = rng.standard_normal((problem.factorization.size(problem.shape), k))
        z = rows @ coordinates(problem.operator, np.asarray(problem.compose(w).toarray()))
        s = from_coordinates(problem.operator, -rows.T @ problem.loss.slope(z, problem.b))
        if isinstance(problem.factorization, Asymmetric):
            norm = np.linalg.norm(s, 2)
        else:
            values = np.linalg.eigvalsh(0.5 * (s + s.conj().T))
            signed = isinstance(problem.factorization, Signed)
            norm = np.abs(values).max() if signed else max(values[-1], 0.0)
        gap = duality_gap(problem, w, lam, rng, tolerance=1e-6)
        assert gap.norm_lower * lam <= norm * (1 + 1e-11)
        assert gap.norm_upper * lam >= norm * (1 - 1e-11)


@every_case
def test_certificate_holds_at_the_optimum_only(name):
    problem, lam = pose(name)
    best, w = referee_optimum(name)[0], solved(name).w
    certificate = NuclearNormOptimality(lam, tolerance=1e-6)
    rng = np.random.default_rng(2)
    assert certificate.check(problem, w, rng).verdict is HOLDS
    moved = [w * (1 + 0.03 * sign) for sign in (-1, 1)]
    moved += [w + 0.03 * rng.standard_normal(w.shape) for _ in range(4)]
    moved += [np.hstack([w, 0.1 * rng.standard_normal((w.shape[0], 1))]), w[:, :-1], 0 * w]
    verdicts = []
    for point in moved:
        value = objective(name, np.asarray(problem.compose(point).toarray()))
        report = certificate.check(problem, point, rng)
        assert value - best > 1e-6 * value  # it is not optimal ...
        assert report.verdict is not HOLDS  # ... and is not said to be
        assert report.measured >= (value - best) / value * (1 - 1e-9)
        verdicts.append(report.verdict)
        if report.verdict is FAILS:  # the witness lowers the objective, by a line of trials
            assert report.witness is not None
            left, right = report.witness["left"], report.witness["right"]
            if left.ndim == 1:  # a signed column is two rank-one terms
                left, right = left[:, None], right[:, None]
            x = np.asarray(problem.compose(point).toarray())
            trials = [objective(name, x + t * left @ right.T) for t in np.logspace(-5, 1, 61)]
            assert min(trials) < value * (1 - 1e-6) + 1e-12
    assert verdicts[-1] is FAILS  # at 0 a lift direction shows it


def test_deep_points_are_judged_by_the_same_convex_problem():
    problem, lam = pose("Huber")
    left, right = problem.parts(solved("Huber").w)
    rng = np.random.default_rng(0)
    for depth in (2, 3, 4):
        twin = FactorizedProblem(problem.operator, problem.b, Deep(depth), loss=problem.loss)
        w = Deep(depth).join(left, right)
        gap = duality_gap(twin, w, lam, rng, tolerance=TOLERANCE)
        assert gap.primal == pytest.approx(solved("Huber").gap.primal, rel=1e-12)
        assert NuclearNormOptimality(lam).check(twin, w, rng).verdict is HOLDS
        assert NuclearNormOptimality(lam).check(twin, 1.1 * w, rng).verdict is not HOLDS


@every_case
def test_curvature_encloses_the_dense_hessians_least_eigenvalue(name):
    problem, _ = pose(name)
    rng = np.random.default_rng(6)
    rows = problem.factorization.size(problem.shape)
    points = [0.05 * rng.standard_normal((rows, 1)), rng.standard_normal((rows, 2))]
    verdicts = []
    for start in (*points, solved(name).w):
        # The witness belongs to the balanced W, whose columns are free in sign and phase.
        w = problem.gauge(start)
        point = problem.evaluate(w)
        units = np.eye(w.size).reshape(w.size, *w.shape)
        dense = np.stack([problem.hvp(point, e).ravel() for e in units], axis=1)
        least = float(np.linalg.eigvalsh(0.5 * (dense + dense.T))[0])
        report = Curvature().check(problem, start, rng)
        verdicts.append(report.verdict)
        threshold = report.threshold * problem.scale
        assert report.details["lower_bound"] <= least + 1e-9 * problem.scale
        if report.verdict is HOLDS:
            assert least >= -threshold * (1 + 1e-9)
        elif report.verdict is FAILS:
            assert least < -threshold * (1 - 1e-9)
            assert report.witness is not None
            d = report.witness["direction"]
            quotient = np.vdot(d, problem.hvp(point, d)) / np.vdot(d, d)
            assert -quotient == pytest.approx(report.measured * problem.scale, rel=1e-9)
        else:
            assert report.details["lower_bound"] < -threshold
    assert verdicts[0] is FAILS  # near 0 every problem bends downwards


@every_case
def test_bound_of_the_curvature_by_the_slope_is_sound(name):
    """Near W = 0 the Hessian is the form of the slope alone: a smaller bound would be wrong."""
    problem, _ = pose(name)
    rng = np.random.default_rng(6)
    rows = problem.factorization.size(problem.shape)
    for scale in (1e-7, 0.3, 1.0):
        w = scale * rng.standard_normal((rows, 1))
        point = problem.evaluate(w)
        dense = np.stack([problem.hvp(point, e[:, None]).ravel() for e in np.eye(rows)], axis=1)
        least = float(np.linalg.eigvalsh(0.5 * (dense + dense.T))[0])
        bound = residual_bound(problem, w, rng, 1e-2 * problem.scale)
        assert bound >= -least * (1 - 1e-9)
        norm = problem.dual_norm(point.slope, rng) * problem.factorization.ridge_weight
        assert bound >= norm * (1 - 1e-9)
        # Once a Ritz value exceeds the threshold the search ends, without a bound.
        assert bound <= 1.01 * norm or bound == np.inf


@pytest.mark.parametrize("loss", [Squared(), Huber(1e3), Huber(1e3, 5.0)])
@pytest.mark.parametrize(("share", "verdict"), [(0.3, INCONCLUSIVE), (3.0, FAILS)])
def test_duality_gap_fails_only_by_a_decrease_that_is_there(loss, share, verdict):
    """A wrong size along e1 (no lift shows it) and a chance along e2 of ``share`` tolerances."""
    scale = loss.smoothness
    # Along t e2 e2^T, F falls by at most scale (1 - lam / scale)^2 / 2; primal as written out.
    excess = np.sqrt(share * 1e-6 * 2 * (0.5 * (0.7**2 + 1) + 1.3))
    lam = scale * (1 - excess)
    problem = FactorizedProblem(IdentitySensing((2, 2)), np.diag([2.0, 1.0]).ravel(), loss=loss)
    w = np.sqrt(1.3) * np.array([[1.0], [0.0], [1.0], [0.0]])
    report = NuclearNormOptimality(lam).check(problem, w, np.random.default_rng(0))
    assert report.verdict is verdict, report


@every_case
def test_stationarity_measures_the_gradient_of_the_loss(name):
    problem, _ = pose(name)
    rng = np.random.default_rng(6)
    w = problem.gauge(rng.standard_normal((problem.factorization.size(problem.shape), 2)))
    h = 1e-6
    units = np.eye(w.size).reshape(w.size, *w.shape)
    differences = [
        (problem.evaluate(w + h * e).value - problem.evaluate(w - h * e).value) / (2 * h)
        for e in units
    ]
    report = Stationarity().check(problem, w, rng)
    expected = np.linalg.norm(differences) / (problem.scale * np.linalg.norm(w))
    assert report.verdict is FAILS
    assert report.measured == pytest.approx(expected, rel=1e-6)


# -- losses with kinks -------------------------------------------------------------------------


@cache
def robust() -> tuple[FactorizedProblem, np.ndarray, np.ndarray]:
    """Return a fully seen rank-one matrix with two gross errors, absolute loss, W and X."""
    rng = np.random.default_rng(4)
    u, v = rng.standard_normal(8), rng.standard_normal(8)
    u, v = np.sign(u) * (1 + 0.1 * np.abs(u)), np.sign(v) * (1 + 0.1 * np.abs(v))
    x = np.outer(u, v)
    b = x.copy()
    b[2, 5] += 4.0
    b[6, 1] -= 3.0
    problem = FactorizedProblem(IdentitySensing((8, 8)), b.ravel(), loss=Absolute(1.0))
    return problem, Asymmetric().join(u[:, None], v[:, None]), x


def absolute_objective(x: np.ndarray, lam: float) -> float:
    problem = robust()[0]
    return float(np.abs(x.ravel() - problem.b).sum() + lam * np.linalg.norm(x, "nuc"))


def test_kinks_leave_derivative_certificates_inconclusive_and_say_why():
    problem, w, _ = robust()
    for point in (w, 1.3 * w, 0 * w):
        for certificate in (Stationarity(), Curvature()):
            report = certificate.check(problem, point, np.random.default_rng(0))
            assert report.verdict is INCONCLUSIVE
            assert "kinks" in report.statement
            assert report.witness is None
    symmetric = FactorizedProblem(
        IdentitySensing((8, 8)), problem.b, Symmetric(), loss=Absolute(1.0)
    )
    for certificate in (PSDGap(), RankDeficiency()):
        report = certificate.check(symmetric, np.ones((8, 1)), np.random.default_rng(0))
        assert report.verdict is INCONCLUSIVE and np.isnan(report.measured)
        assert "kinks" in report.statement or "smooth" in report.statement


def test_absolute_loss_is_certified_by_its_own_subgradient():
    """The truth below two gross errors is the optimum, which no sign pattern at zeros shows."""
    problem, w, x = robust()
    lam, rng = 1.5, np.random.default_rng(0)
    report = NuclearNormOptimality(lam).check(problem, w, rng)
    assert report.verdict is HOLDS, report
    assert report.details["primal"] == pytest.approx(absolute_objective(x, lam), rel=1e-12)
    for scale in (1e-6, 1e-3, 0.1, 1.0):
        for _ in range(50):
            moved = x + scale * rng.standard_normal((8, 2)) @ rng.standard_normal((2, 8))
            assert absolute_objective(moved, lam) >= report.details["dual"]
    for point in (1.05 * w, w + 0.05 * rng.standard_normal(w.shape), 0 * w):
        value = absolute_objective(np.asarray(problem.compose(point).toarray()), lam)
        other = NuclearNormOptimality(lam).check(problem, point, rng)
        assert other.verdict is not HOLDS
        assert other.details["dual"] <= report.details["primal"] * (1 + 1e-12)
        assert other.measured >= (value - report.details["primal"]) / value * (1 - 1e-9)


@pytest.mark.parametrize("made", [Symmetric(), Signed(), Hermitian()])
def test_absolute_loss_of_other_factorizations(made):
    """Gross errors in all-Pauli or all-entry data leave the truth optimal, and certified."""
    # A smaller lambda asks for more than least squares on the tangent space can show.
    rng, n, lam = np.random.default_rng(7), 8, 8.0
    if isinstance(made, Hermitian):
        letters = [a + b + c for a in "IXYZ" for b in "IXYZ" for c in "IXYZ"]
        operator: Any = PauliSensing(letters)
        w = np.concatenate([rng.standard_normal((n, 1)), rng.standard_normal((n, 1))])
    else:
        operator = DenseSensing(rng.standard_normal((80, n, n)))
        w = rng.standard_normal((made.size((n, n)), 1))
    w = made.gauge(w, (n, n))
    x = np.asarray(made.compose(w, (n, n)).toarray())
    rows = explicit_rows(operator)
    b = rows @ coordinates(operator, x)
    b[[3, 20, 41]] += [2.0, -3.0, 5.0]
    problem = FactorizedProblem(operator, b, made, loss=Absolute(1.0))

    def value(y: np.ndarray) -> float:
        misfit = np.abs(rows @ coordinates(operator, y) - b).sum()
        return float(misfit + lam * np.linalg.svd(y, compute_uv=False).sum())

    certificate = NuclearNormOptimality(lam)
    report = certificate.check(problem, w, np.random.default_rng(0))
    assert report.details["primal"] == pytest.approx(value(x), rel=1e-11)
    for scale in (1e-5, 1e-2, 1.0):
        for _ in range(50):
            extra = np.hstack([w + scale * rng.standard_normal(w.shape), scale * w[::-1]])
            y = np.asarray(made.compose(extra, (n, n)).toarray())
            assert report.details["dual"] <= value(y)
    assert report.verdict is HOLDS, report
    assert certificate.check(problem, 1.02 * w, rng).verdict is not HOLDS
    # That the truth is optimal for a tiny lambda too is left open, not denied.
    assert NuclearNormOptimality(0.1).check(problem, w, rng).verdict is INCONCLUSIVE


def test_absolute_loss_agrees_with_cvxpy():
    cp = pytest.importorskip("cvxpy")
    problem, w, truth = robust()
    for lam, holds in ((1.5, True), (4.5, True), (9.0, False)):
        x = cp.Variable((8, 8))
        misfit = cp.norm1(cp.vec(x, order="C") - problem.b)
        task = cp.Problem(cp.Minimize(misfit + lam * cp.normNuc(x)))
        task.solve(solver="CLARABEL")
        report = NuclearNormOptimality(lam).check(problem, w, np.random.default_rng(0))
        assert (report.verdict is HOLDS) == holds
        assert report.details["dual"] <= task.value * (1 + 1e-6)
        optimal = absolute_objective(truth, lam) <= task.value * (1 + 1e-6)
        assert optimal == holds


# -- the Hermitian positive semidefinite gap ---------------------------------------------------


def hermitian(target: np.ndarray, loss: Loss | None = None) -> FactorizedProblem:
    """Return all Pauli measurements of a Hermitian 4 x 4 target: f = 2 ||X - target||^2."""
    operator = PauliSensing([a + b for a in "IXYZ" for b in "IXYZ"])
    b = explicit_rows(operator) @ coordinates(operator, target)
    return FactorizedProblem(operator, b, Hermitian(), loss=loss or Squared())


def unitary(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.linalg.qr(rng.standard_normal((4, 4)) + 1j * rng.standard_normal((4, 4)))[0]


def point_of(u: np.ndarray) -> np.ndarray:
    return np.concatenate([np.real(u), np.imag(u)])


@pytest.mark.parametrize("loss", [Squared(), Huber(1e3), Huber(0.05)])
def test_hermitian_psd_gap_at_the_projection(loss):
    """The best X >= 0 drops the negative eigenvalues; less than that is improved by a witness.

    With Huber's loss beyond its threshold the projection is no optimum, but the target is.
    """
    q = unitary()
    values = np.array([3.0, 1.0, 0.0, 0.0 if loss == Huber(0.05) else -1.0])
    problem = hermitian((q * values) @ q.conj().T, loss)
    rng = np.random.default_rng(0)
    best = point_of(q[:, :2] * np.sqrt(values[:2]))
    assert PSDGap().check(problem, best, rng).verdict is HOLDS
    # The phase of every column and zero columns change nothing.
    turned = q[:, :2] * np.sqrt(values[:2]) * np.exp(1j * np.array([0.3, 2.0]))
    padded = np.hstack([point_of(turned), np.zeros((8, 1))])
    assert PSDGap().check(problem, padded, rng).verdict is HOLDS
    for rest in (best[:, :1], best[:, 1:], np.zeros((8, 1))):
        report = PSDGap().check(problem, rest, rng)
        assert report.verdict is FAILS
        assert report.witness is not None
        y = report.witness["direction"]
        value = problem.evaluate(rest).value
        lowered = [problem.evaluate(np.hstack([rest, t * y])).value for t in np.logspace(-4, 1, 60)]
        assert min(lowered) < value * (1 - 1e-6)
    for factor in (0.9, 1.1):  # stationary along no ray
        report = PSDGap().check(problem, factor * best, rng)
        assert report.verdict is not HOLDS


@pytest.mark.parametrize("loss", [Squared(), Huber(1e3), Huber(1e3, 5.0)])
@pytest.mark.parametrize(("share", "verdict"), [(0.3, INCONCLUSIVE), (3.0, FAILS)])
def test_hermitian_psd_gap_fails_only_by_a_decrease_that_is_there(loss, share, verdict):
    """An eigenvalue e is missing: f falls by e^2 / ||target||^2 of its value at 0, no more."""
    q, missing = unitary(2), 3 * np.sqrt(share * 1e-6)
    problem = hermitian((q * np.array([3.0, missing, 0.0, 0.0])) @ q.conj().T, loss)
    w = point_of(q[:, :1] * np.sqrt(3.0))
    report = PSDGap().check(problem, w, np.random.default_rng(0))
    assert report.verdict is verdict, report


def test_hermitian_psd_gap_bounds_the_distance_to_the_optimum():
    q = unitary(1)
    values = np.array([2.0, 1.0, -0.5, -1.5])
    problem = hermitian((q * values) @ q.conj().T)
    best = 2 * (0.5**2 + 1.5**2)  # 1/2 ||A(.)||^2 = 2 ||.||^2 for all 16 strings
    rng = np.random.default_rng(3)
    for k in (1, 2, 4):
        w = rng.standard_normal((8, k))
        report = PSDGap(trace_bound=50.0).check(problem, w, rng)
        excess = problem.evaluate(w).value - best
        assert report.measured * problem.loss_at_zero >= excess * (1 - 1e-10)
        s = problem.operator.adjoint(problem.slope(w)) @ np.eye(4)
        least = np.linalg.eigvalsh(s)[0]
        assert report.details["nu_upper"] >= -least * (1 - 1e-11)
        assert report.details["nu_lower"] <= max(0.0, -least) * (1 + 1e-11) + 1e-12
        assert report.verdict is FAILS


def test_psd_gap_says_for_whom_it_is():
    problem = FactorizedProblem(IdentitySensing((4, 4)), np.ones(16), Signed())
    report = PSDGap().check(problem, np.ones((8, 1)), np.random.default_rng(0))
    assert report.verdict is INCONCLUSIVE
    assert "positive semidefinite" in report.statement
