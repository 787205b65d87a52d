"""Certificates: sound first. HOLDS and FAILS are judged by the referee's dense computations."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ranklift.certificates.identifiability as identifiability_module
import referee
from cases import assert_close, explicit_rows, registered, strict, strict_operator
from ranklift import instances
from ranklift.certificates import (
    CERTIFICATES,
    CertificateReport,
    Curvature,
    Flatness,
    Identifiability,
    MinimumNorm,
    NuclearNormOptimality,
    PSDGap,
    RankDeficiency,
    Sampling,
    Stationarity,
    ZeroResidual,
    duality_gap,
)
from ranklift.curvature_weights import curvature_weights
from ranklift.factorizations import Asymmetric, Deep, Signature, Symmetric
from ranklift.flatness.flatten import flat_gauge
from ranklift.minimum_norm import solve_minimum_norm
from ranklift.nuclear_norm import ridge, solve_nuclear_norm
from ranklift.operators import DenseSensing, EntrySampling, IdentitySensing
from ranklift.problem import FactorizedProblem
from ranklift.solvers import Stopping, TrustRegion
from ranklift.status import Rigor, Verdict

HOLDS, FAILS, INCONCLUSIVE = Verdict.HOLDS, Verdict.FAILS, Verdict.INCONCLUSIVE
LAM = 0.05
Case = tuple[Any, FactorizedProblem, np.ndarray]

DATA = {
    "sampled": instances.entry_completion((11, 9), 2, 2.4, rng=0),
    "dense": instances.gaussian_sensing((7, 6), 2, 60, rng=0),
    "symmetric": instances.gaussian_sensing(7, 2, 40, symmetric=True, rng=3),
}
each_kind = pytest.mark.parametrize("kind", list(DATA))


def rng_(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def pose(kind: str, noise: float = 0.0) -> FactorizedProblem:
    instance = DATA[kind].with_noise(noise, rng=1) if noise else DATA[kind]
    factorization = Symmetric() if instance.symmetric else Asymmetric()
    return FactorizedProblem(instance.operator, instance.measurements, factorization)


def truth_point(kind: str, extra: int = 0) -> np.ndarray:
    """Return the balanced truth with ``extra`` zero columns."""
    problem, truth = pose(kind), DATA[kind].truth
    w = problem.gauge(problem.factorization.join(truth.left, truth.right))
    return np.hstack([w, np.zeros((w.shape[0], extra))])


def draw(problem: FactorizedProblem, k: int, seed: int) -> np.ndarray:
    rows = problem.factorization.size(problem.operator.shape)
    return np.sqrt(problem.scale / rows) * rng_(seed).standard_normal((rows, k))


def minimum(problem: FactorizedProblem, k: int = 2, seed: int = 0) -> np.ndarray:
    """Return a second-order point to rounding."""
    stopping = Stopping(gradient_tol=1e-13)
    return TrustRegion().run(problem, draw(problem, k, seed), stopping=stopping).point.w


_OPTIMA: dict[tuple[str, float], np.ndarray] = {}


def convex_optimum(kind: str, noise: float = 0.05) -> np.ndarray:
    if (kind, noise) not in _OPTIMA:
        problem = pose(kind, noise)
        run = solve_nuclear_norm(problem, LAM, draw(problem, 2, 0), rng_(), tolerance=1e-11)
        _OPTIMA[kind, noise] = run.w
    return _OPTIMA[kind, noise]


def parts(problem: FactorizedProblem, w: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return balanced factors in the referee's form."""
    left, right = problem.parts(problem.gauge(w))
    return left, None if isinstance(problem.factorization, Symmetric) else right


def referee_gap(problem: FactorizedProblem, w: np.ndarray, lam: float) -> referee.DualityGap:
    return referee.duality_gap(
        explicit_rows(problem.operator), problem.b, *parts(problem, w), lam=lam
    )


# -- one case a verdict ------------------------------------------------------------------------


def block_sampling() -> Case:
    """Two unconnected blocks: rank-one parts rescale against each other unseen."""
    rows, cols = np.array([[i, j] for i in range(8) for j in range(8) if (i < 4) == (j < 4)]).T
    operator = EntrySampling(rows, cols, (8, 8))
    left, right = rng_(1).standard_normal((8, 1)), rng_(2).standard_normal((8, 1))
    b = (left @ right.T)[rows, cols]
    return Identifiability(), FactorizedProblem(operator, b), np.concatenate([left, right])


def full_data(
    top: float, rest: float | None = None, factorization: Any = None
) -> FactorizedProblem:
    """Observe diag(top, ...) completely; the rest falls from ``rest`` (or ``top``) to -1 or 0."""
    low = 0.0 if top > 0 else -1.0
    diagonal = np.r_[top, np.linspace(top if rest is None else rest, low, 29)]
    operator = IdentitySensing((30, 30))
    return FactorizedProblem(operator, np.diag(diagonal).ravel(), factorization or Asymmetric())


def first_column(size: float) -> np.ndarray:
    """Return W of X = size e_0 e_0^T."""
    w = np.zeros((60, 1))
    w[[0, 30]] = np.sqrt(size)
    return w


def few_measurements() -> FactorizedProblem:
    operator = DATA["dense"].operator.subset(np.arange(15))
    return FactorizedProblem(operator, DATA["dense"].measurements[:15])


def below_threshold() -> FactorizedProblem:
    """Pose data that many matrices reproduce, the truth not being the smallest or the flattest."""
    operator = DATA["dense"].operator.subset(np.arange(24))
    return FactorizedProblem(operator, DATA["dense"].measurements[:24])


_SMALLEST: dict[tuple[str, bool], tuple[np.ndarray, np.ndarray]] = {}


def selected(kind: str, flat: bool) -> tuple[FactorizedProblem, np.ndarray, np.ndarray]:
    """Return a problem, the W of its smallest (or flattest) solution, and the multipliers."""
    problem = below_threshold() if kind == "below" else pose(kind)
    if (kind, flat) not in _SMALLEST:
        weights = curvature_weights(problem.operator, problem.factorization)
        run = solve_minimum_norm(weights.pose(problem) if flat else problem, rng_())
        w = weights.unpose(problem, run.w) if flat else run.w
        _SMALLEST[kind, flat] = w, run.multipliers
    return problem, *_SMALLEST[kind, flat]


def judged(kind: str, flat: bool, change: Callable[..., Any] | None = None, **given: Any) -> Case:
    """Return a case at the selected solution, or at what ``change`` makes of it."""
    problem, w, multipliers = selected(kind, flat)
    certificate = (Flatness if flat else MinimumNorm)(multipliers=multipliers, **given)
    return certificate, problem, w if change is None else change(w)


def skewed(w: np.ndarray) -> np.ndarray:
    return w * np.r_[np.full(7, 3.0), np.full(6, 1 / 3.0)][:, None]


def rivalled(flat: bool) -> Case:
    problem, rival, multipliers = selected("below", flat)
    certificate = (Flatness if flat else MinimumNorm)(multipliers=multipliers, rival=rival)
    return certificate, problem, truth_point("dense")


def flat_truth() -> np.ndarray:
    """Return the flattest factors of the truth, which is not the flattest matrix."""
    problem = below_threshold()
    return flat_gauge(problem, curvature_weights(problem.operator), truth_point("dense"))


def fully_observed() -> FactorizedProblem:
    return FactorizedProblem(IdentitySensing((7, 6)), DATA["dense"].truth.toarray().ravel())


MUST: dict[tuple[str, Verdict], list[Callable[[], Case]]] = {
    ("stationarity", HOLDS): [
        lambda: (Stationarity(), pose("dense", 0.1), minimum(pose("dense", 0.1))),
        lambda: (Stationarity(), pose("dense"), np.zeros((13, 2))),
    ],
    ("stationarity", FAILS): [
        lambda: (Stationarity(), pose("dense"), draw(pose("dense"), 2, 0)),
        # Unbalanced factors shrink the gradient of one side: the gauge must undo that.
        lambda: (
            Stationarity(),
            pose("dense"),
            draw(pose("dense"), 2, 0) * np.r_[np.full(7, 1e8), np.full(6, 1e-8)][:, None],
        ),
    ],
    ("curvature", HOLDS): [
        lambda kind=kind: (Curvature(), pose(kind, 0.1), minimum(pose(kind, 0.1))) for kind in DATA
    ],
    ("curvature", FAILS): [
        lambda: (Curvature(), pose("dense"), np.zeros((13, 2))),
        lambda: (Curvature(), pose("symmetric"), np.zeros((7, 1))),
    ],
    ("curvature", INCONCLUSIVE): [
        lambda: (Curvature(max_steps=2), pose("dense", 0.1), minimum(pose("dense", 0.1))),
    ],
    ("zero_residual", HOLDS): [
        lambda: (ZeroResidual(), pose("sampled"), truth_point("sampled")),
        lambda: (ZeroResidual(), pose("symmetric"), truth_point("symmetric", 2)),
    ],
    ("zero_residual", INCONCLUSIVE): [
        lambda: (ZeroResidual(), pose("sampled"), (1 + 1e-7) * truth_point("sampled")),
        lambda: (ZeroResidual(), pose("dense", 0.1), minimum(pose("dense", 0.1))),
    ],
    ("duality_gap", HOLDS): [
        lambda: (NuclearNormOptimality(LAM), pose("sampled", 0.05), convex_optimum("sampled")),
        lambda: (NuclearNormOptimality(LAM), pose("dense", 0.05), convex_optimum("dense")),
        lambda: (NuclearNormOptimality(LAM), pose("symmetric", 0.05), convex_optimum("symmetric")),
        # lambda above ||A*(b)||_2 makes 0 the answer.
        lambda: (NuclearNormOptimality(50.0), pose("dense"), np.zeros((13, 0))),
        lambda: (NuclearNormOptimality(50.0), pose("symmetric"), np.zeros((7, 2))),
    ],
    ("duality_gap", FAILS): [
        lambda: (NuclearNormOptimality(LAM), pose("dense"), np.zeros((13, 1))),
        lambda: (NuclearNormOptimality(LAM), pose("symmetric"), np.zeros((7, 0))),
        lambda: (
            NuclearNormOptimality(LAM),
            pose("sampled", 0.05),
            convex_optimum("sampled")[:, :1],
        ),
    ],
    ("duality_gap", INCONCLUSIVE): [
        # 0 is the answer, but two steps cannot show that ||B||_2 <= lambda.
        lambda: (NuclearNormOptimality(1.0, max_steps=2), full_data(0.99), np.zeros((60, 1))),
        # A wrong size of the right matrix: not optimal, but no lift shows it.
        lambda: (NuclearNormOptimality(0.5), full_data(2.0, 0.1), first_column(1.6)),
    ],
    ("psd_gap", HOLDS): [
        lambda: (PSDGap(), pose("symmetric"), truth_point("symmetric")),
        lambda: (PSDGap(), pose("symmetric"), truth_point("symmetric", 1)),
    ],
    ("psd_gap", FAILS): [
        lambda: (PSDGap(), pose("symmetric"), np.zeros((7, 1))),
        lambda: (PSDGap(), pose("symmetric"), truth_point("symmetric")[:, :1]),
        lambda: (
            PSDGap(),
            FactorizedProblem(
                instances.perturbed_matrix_completion(3, 0.3).operator,
                instances.perturbed_matrix_completion(3, 0.3).measurements,
                Symmetric(),
            ),
            instances.perturbed_matrix_completion(3, 0.3).spurious_points[0],
        ),
    ],
    ("psd_gap", INCONCLUSIVE): [
        # 0 is the answer to B <= 0, but two steps cannot show that.
        lambda: (
            PSDGap(1.0, max_steps=2),
            full_data(-0.1, factorization=Symmetric()),
            np.zeros((30, 1)),
        ),
        lambda: (PSDGap(), pose("dense"), truth_point("dense")),
    ],
    ("rank_deficiency", HOLDS): [
        lambda: (RankDeficiency(), pose("symmetric"), truth_point("symmetric", 1)),
    ],
    ("rank_deficiency", INCONCLUSIVE): [
        lambda: (RankDeficiency(), pose("symmetric"), truth_point("symmetric")),
        lambda: (RankDeficiency(), pose("symmetric"), np.zeros((7, 0))),
        lambda: (RankDeficiency(), pose("symmetric"), np.zeros((7, 3))),
        lambda: (RankDeficiency(), pose("dense"), truth_point("dense", 1)),
    ],
    ("identifiability", HOLDS): [
        lambda: (Identifiability(), pose("sampled"), truth_point("sampled")),
        lambda: (Identifiability(), pose("dense"), truth_point("dense")),
        lambda: (Identifiability(), pose("symmetric"), truth_point("symmetric")),
        # Columns that carry nothing do not make the matrix harder to identify.
        lambda: (Identifiability(), pose("dense"), truth_point("dense", 2)),
    ],
    ("identifiability", FAILS): [
        lambda: (Identifiability(), few_measurements(), truth_point("dense")),
        block_sampling,
    ],
    ("identifiability", INCONCLUSIVE): [
        lambda: (Identifiability(), pose("dense"), np.zeros((13, 2))),
        lambda: (Identifiability(), pose("symmetric"), np.zeros((7, 0))),
    ],
    ("minimum_norm", HOLDS): [
        *[lambda kind=kind: judged(kind, False) for kind in (*DATA, "below")],
        # Everything is observed: least squares of the factors gives the multipliers.
        lambda: (MinimumNorm(), fully_observed(), truth_point("dense")),
        # The matrix is judged, not its factors.
        lambda: judged("dense", False, skewed),
    ],
    ("minimum_norm", FAILS): [
        lambda: judged("dense", False, lambda w: 1.001 * w),
        lambda: rivalled(False),
    ],
    ("minimum_norm", INCONCLUSIVE): [
        lambda: (MinimumNorm(), below_threshold(), truth_point("dense")),
        lambda: judged("dense", False, lambda w: (1 + 1e-7) * w),
        # A smaller matrix that misses the data is no rival.
        lambda: (
            MinimumNorm(rival=0.9 * selected("below", False)[1]),
            below_threshold(),
            truth_point("dense"),
        ),
    ],
    ("flatness", HOLDS): [
        *[lambda kind=kind: judged(kind, True) for kind in (*DATA, "below")],
        lambda: (Flatness(), fully_observed(), truth_point("dense")),
    ],
    ("flatness", FAILS): [
        lambda: judged("dense", True, lambda w: 1.001 * w),
        # The flattest matrix, in factors that are not.
        lambda: judged("dense", True, skewed),
        lambda: rivalled(True),
    ],
    ("flatness", INCONCLUSIVE): [
        lambda: (Flatness(), below_threshold(), flat_truth()),
        lambda: judged("dense", True, lambda w: (1 + 1e-7) * w),
    ],
    ("sampling", HOLDS): [
        lambda: (Sampling(), pose("sampled"), truth_point("sampled")),
        lambda: (Sampling(), pose("dense"), truth_point("dense")),
        lambda: (Sampling(), pose("symmetric"), truth_point("symmetric")),
    ],
    ("sampling", FAILS): [
        lambda: (Sampling(), few_measurements(), truth_point("dense")),
        lambda: (Sampling(), *block_sampling()[1:]),
        # More columns than a side has: all n1 n2 = 42 numbers are then unknown.
        lambda: (Sampling(), pose("sampled"), np.ones((20, 19))),
    ],
}
NEVER = {
    ("stationarity", INCONCLUSIVE),  # a number is measured and compared
    ("sampling", INCONCLUSIVE),  # integers are counted and compared
    ("zero_residual", FAILS),  # a misfit does not show that something fits better
    ("rank_deficiency", FAILS),  # full rank says nothing
}
CASES = [(name, verdict, i) for (name, verdict), cs in MUST.items() for i in range(len(cs))]


def test_every_certificate_has_a_case_for_every_verdict():
    names = registered(CERTIFICATES)
    assert {(name, verdict) for name in names for verdict in Verdict} == set(MUST) | NEVER
    assert not set(MUST) & NEVER


@pytest.mark.parametrize(("name", "verdict", "i"), CASES)
def test_verdict(name, verdict, i):
    certificate, problem, w = MUST[name, verdict][i]()
    before, b = w.copy(), problem.b.copy()
    report = certificate.check(problem, w, rng_())
    assert report.name == name and type(certificate) is CERTIFICATES[name]
    assert report.verdict is verdict, report
    np.testing.assert_array_equal(w, before)
    np.testing.assert_array_equal(problem.b, b)
    # Repeats with the seed, and the verdict does not hang on one.
    again = certificate.check(problem, w, rng_())
    np.testing.assert_equal(again.to_dict(), report.to_dict())
    for seed in (1, 2, 3):
        assert certificate.check(problem, w, rng_(seed)).verdict is verdict
    # What it says is complete and survives JSON.
    assert report.statement and report.source and report.threshold >= 0
    assert (report.witness is None) or verdict is FAILS
    twin = CertificateReport.from_dict(json.loads(json.dumps(report.to_dict())))
    np.testing.assert_equal(twin.to_dict(), report.to_dict())
    assert (report.rigor is Rigor.PROVED) == (name == "sampling")


@pytest.mark.parametrize(("name", "verdict", "i"), CASES)
def test_verdict_on_strict_arrays(name, verdict, i):
    certificate, problem, w = MUST[name, verdict][i]()
    twin = FactorizedProblem(
        strict_operator(problem.operator), strict(problem.b), problem.factorization
    )
    assert certificate.check(twin, strict(w), rng_()).verdict is verdict


# -- values against the referee ----------------------------------------------------------------


@each_kind
def test_stationarity_measures_the_referees_gradient(kind):
    problem = pose(kind, 0.05)
    rows = explicit_rows(problem.operator)
    for seed in range(3):
        w = draw(problem, 2, seed)
        report = Stationarity().check(problem, w, rng_())
        gradient = referee.gradient(rows, problem.b, *parts(problem, w))
        dense = (rows.T @ problem.b).reshape(problem.operator.shape)
        size = np.linalg.norm(problem.gauge(w))
        expected = np.linalg.norm(gradient) / (np.linalg.norm(dense, 2) * size)
        assert report.measured == pytest.approx(expected, rel=1e-4)
        assert report.witness is not None
        assert_close(report.witness["gradient"].ravel(), gradient)


@each_kind
def test_zero_residual_measures_the_relative_residual(kind):
    problem = pose(kind, 0.05)
    w = draw(problem, 2, 0)
    residual = referee.residual(explicit_rows(problem.operator), problem.b, *parts(problem, w))
    expected = np.linalg.norm(residual) / np.linalg.norm(problem.b)
    assert ZeroResidual().check(problem, w, rng_()).measured == pytest.approx(expected)


@each_kind
@pytest.mark.parametrize("lam", [0.0, LAM])
def test_curvature_encloses_the_referees_least_eigenvalue(kind, lam):
    problem = ridge(pose(kind, 0.05), lam) if lam else pose(kind, 0.05)
    rows = explicit_rows(problem.operator)
    for seed in range(4):
        w = draw(problem, 2, seed) if seed else minimum(problem)
        exact = referee.least_curvature(rows, problem.b, *parts(problem, w), lam=lam)
        for steps in (2, 5, 12, 600):
            report = Curvature(max_steps=steps).check(problem, w, rng_(seed))
            slack = 1e-10 * problem.scale
            assert report.details["lower_bound"] <= exact + slack
            assert report.details["least_ritz_value"] >= exact - slack
            assert report.details["hessian_products"] <= steps


@each_kind
def test_curvature_witness_bends_downwards(kind):
    problem = pose(kind)
    w = draw(problem, 2, 5)
    report = Curvature().check(problem, w, rng_())
    assert report.verdict is FAILS and report.witness is not None
    d = report.witness["direction"].ravel()
    hessian = referee.hessian(explicit_rows(problem.operator), problem.b, *parts(problem, w))
    quotient = d @ hessian @ d / (d @ d)
    assert quotient < -report.threshold * problem.scale
    assert report.measured * problem.scale == pytest.approx(-quotient, rel=1e-9)


@each_kind
@pytest.mark.parametrize("lam", [0.01, LAM, 0.5])
def test_duality_gap_is_the_referees_up_to_the_norm_bound(kind, lam):
    problem = pose(kind, 0.05)
    points = [convex_optimum(kind), truth_point(kind), draw(problem, 3, 1), draw(problem, 0, 0)]
    for w in points:
        exact = referee_gap(problem, w, lam)
        gap = duality_gap(problem, w, lam, rng_(), tolerance=0.0, max_steps=500)
        assert gap.primal == pytest.approx(exact.primal, rel=1e-12)
        assert gap.dual <= exact.dual + 1e-11 * exact.primal
        assert gap.relative >= exact.relative_gap - 1e-11
        assert gap.norm_lower * lam <= exact.dual_norm * (1 + 1e-10)
        assert gap.norm_upper * lam >= exact.dual_norm * (1 - 1e-10)
        assert gap.optimistic <= gap.relative + 1e-14
    # At the optimum the deflated bound is as sharp as the dense norm.
    best = convex_optimum(kind)
    sharp = duality_gap(problem, best, LAM, rng_(), tolerance=0.0, max_steps=500)
    assert sharp.relative <= referee_gap(problem, best, LAM).relative_gap + 1e-9


@each_kind
def test_duality_witness_lowers_the_objective(kind):
    problem = pose(kind, 0.05)
    rows, w = explicit_rows(problem.operator), convex_optimum(kind)[:, :1]
    report = NuclearNormOptimality(LAM).check(problem, w, rng_())
    assert report.verdict is FAILS and report.witness is not None
    u, v = report.witness["left"], report.witness["right"]
    image = rows @ np.outer(u, v).ravel()
    residual = problem.b - rows @ referee.matrix(*parts(problem, w)).ravel()
    t = (image @ residual - LAM) / (image @ image)
    assert t > 0
    before = referee.objective(rows, problem.b, *parts(problem, w), lam=LAM)
    full = referee.matrix(*parts(problem, w)) + t * np.outer(u, v)
    nuclear = np.linalg.svd(full, compute_uv=False).sum()
    after = 0.5 * np.sum((rows @ full.ravel() - problem.b) ** 2) + LAM * nuclear
    assert before - after > report.threshold * before


@pytest.mark.parametrize("trace_bound", [None, 5.0])
def test_psd_gap_is_the_referees(trace_bound):
    problem = pose("symmetric", 0.05)
    rows, unit = explicit_rows(problem.operator), 0.5 * float(problem.b @ problem.b)
    for w in (truth_point("symmetric"), minimum(problem), draw(problem, 3, 0)):
        report = PSDGap(trace_bound=trace_bound).check(problem, w, rng_())
        bound = report.details["trace_bound"]
        assert bound >= 2 * np.sum(w * w) if trace_bound is None else bound == trace_bound
        exact = referee.psd_gap(rows, problem.b, w, bound) / unit
        g = referee.gradient_matrix(rows, problem.b, w)
        nu = max(0.0, -np.linalg.eigvalsh(g)[0])
        assert report.details["nu_upper"] == pytest.approx(nu, rel=1e-6, abs=1e-12)
        assert report.measured >= exact - 1e-12
        assert report.measured <= max(exact, bound * nu / unit) * (1 + 1e-6) + 1e-12


def test_psd_witness_lowers_the_loss_within_the_trace_bound():
    problem = pose("symmetric")
    rows, w = explicit_rows(problem.operator), truth_point("symmetric")[:, :1]
    unit, trace = 0.5 * float(problem.b @ problem.b), float(np.sum(w * w))
    for room in (np.inf, 0.05):
        certificate = PSDGap(None if room == np.inf else trace + room)
        report = certificate.check(problem, w, rng_())
        assert report.verdict is FAILS and report.witness is not None
        y = report.witness["direction"]
        image = rows @ (y @ y.T).ravel()
        slope = -float(y[:, 0] @ referee.gradient_matrix(rows, problem.b, w) @ y[:, 0])
        t = min(slope / float(image @ image), room)
        lifted = np.hstack([w, np.sqrt(t) * y])
        before = referee.objective(rows, problem.b, w)
        after = referee.objective(rows, problem.b, lifted)
        assert before - after > report.threshold * unit
    # No room left: a better matrix outside of the bound does not refute the statement.
    report = PSDGap(trace).check(problem, w, rng_())
    assert report.verdict is INCONCLUSIVE


def test_rank_deficiency_bounds_the_referees_gap():
    problem = pose("symmetric", 0.05)
    rows, unit = explicit_rows(problem.operator), 0.5 * float(problem.b @ problem.b)
    for w in (
        truth_point("symmetric", 1),
        minimum(problem, 3),
        minimum(problem),
        draw(problem, 4, 1),
    ):
        report = RankDeficiency().check(problem, w, rng_())
        bound = report.details["trace_bound"]
        exact = referee.psd_gap(rows, problem.b, w, bound) / unit
        nu = max(0.0, -np.linalg.eigvalsh(referee.gradient_matrix(rows, problem.b, w))[0])
        assert report.details["nu"] >= nu * (1 - 1e-9) - 1e-12
        assert report.measured >= exact - 1e-12
        sigma = np.linalg.svd(w, compute_uv=False)[-1]
        assert report.details["sigma_r"] == pytest.approx(sigma, rel=1e-9, abs=1e-12)


@each_kind
@pytest.mark.parametrize("large", [False, True])
def test_identifiability_encloses_the_referees_singular_value(kind, large, monkeypatch):
    if large:  # by row blocks where there are any, else by Lanczos on the tangent space
        monkeypatch.setattr(identifiability_module, "DENSE_LIMIT", 0)
    problem = pose(kind)
    w = truth_point(kind)
    exact = referee.tangent_singular_value(explicit_rows(problem.operator), *parts(problem, w))
    report = Identifiability().check(problem, w, rng_())
    gain, high = report.details["gain"], report.details["upper_estimate"]
    assert report.measured * gain <= exact * (1 + 1e-7)
    assert high * gain >= exact * (1 - 1e-7)
    assert report.verdict is HOLDS
    if not large:  # the dense route is exact
        assert report.measured * gain == pytest.approx(exact, rel=1e-6)


def test_identifiability_witness_is_a_change_that_no_measurement_sees():
    certificate, problem, w = block_sampling()
    report = certificate.check(problem, w, rng_())
    assert report.witness is not None
    change = report.witness["tangent"]
    assert np.linalg.norm(change) == pytest.approx(1.0)
    assert np.linalg.norm(problem.operator.apply(change)) < 1e-12
    left, right = parts(problem, w)
    assert right is not None
    p, q = left / np.linalg.norm(left), right / np.linalg.norm(right)
    assert np.linalg.norm((np.eye(8) - p @ p.T) @ change @ (np.eye(8) - q @ q.T)) < 1e-12


def test_sampling_counts():
    rows, cols = np.array([0, 0, 1, 2, 2, 3]), np.array([0, 1, 1, 2, 3, 3])
    operator = EntrySampling(rows, cols, (4, 4))
    problem = FactorizedProblem(operator, np.ones(6))
    report = Sampling().check(problem, np.ones((8, 1)), rng_())
    assert report.verdict is FAILS  # 6 < 7 degrees of freedom, and two parts
    assert report.details["degrees_of_freedom"] == 7 and report.details["connected_parts"] == 2
    report = Sampling().check(problem, np.ones((8, 2)), rng_())
    assert report.witness is not None
    assert report.witness["rows"].tolist() == [1, 3]
    assert report.witness["columns"].tolist() == [0, 2]
    # Seen through weights and scalings.
    other = FactorizedProblem(
        operator.weighted(np.ones(6)).scaled(np.ones(4), np.ones(4)), np.ones(6)
    )
    assert Sampling().check(other, np.ones((8, 1)), rng_()).details["connected_parts"] == 2


def test_sampling_counts_mirrored_entries_of_a_symmetric_matrix_once():
    n = 5
    rows, cols = np.nonzero(~np.eye(n, dtype=bool))  # 20 entries, 10 different ones
    problem = FactorizedProblem(EntrySampling(rows, cols, (n, n)), np.ones(20), Symmetric())
    report = Sampling().check(problem, np.ones((n, 3)), rng_())
    assert report.details["measurements"] == 10
    assert report.details["degrees_of_freedom"] == 12
    assert report.verdict is FAILS


# -- soundness ---------------------------------------------------------------------------------


def sweep(kind: str, best: np.ndarray, problem: FactorizedProblem) -> list[np.ndarray]:
    """Return points at all distances from an optimum, and some that are nowhere near."""
    out = [draw(problem, k, seed) for k in (1, 2, 4) for seed in range(3)]
    out += [best * c for c in (1e-8, 1e-4, 1e-2, 0.5, 0.99, 1 + 1e-5, 2.0)]
    out += [best[:, :1], best[:, :0], np.zeros_like(best)]
    for seed, size in enumerate(10.0 ** np.arange(-9, 1)):
        noise = rng_(100 + seed).standard_normal(best.shape)
        out.append(best + size * np.linalg.norm(best) / np.linalg.norm(noise) * noise)
    return out


@each_kind
@pytest.mark.parametrize("steps", [2, 4, 8, 1000])
def test_duality_gap_never_holds_falsely(kind, steps):
    problem = pose(kind, 0.05)
    best = convex_optimum(kind)
    optimum = referee_gap(problem, best, LAM)
    assert optimum.relative_gap < 1e-9
    held = 0
    for i, w in enumerate(sweep(kind, best, problem)):
        exact = referee_gap(problem, w, LAM)
        for tolerance in (1e-3, 1e-6):
            certificate = NuclearNormOptimality(LAM, tolerance=tolerance, max_steps=steps)
            report = certificate.check(problem, w, rng_(i))
            excess = (exact.primal - optimum.primal) / exact.primal
            if report.verdict is HOLDS:
                held += 1
                assert exact.relative_gap <= tolerance * (1 + 1e-9)
                assert excess <= tolerance
            if report.verdict is FAILS:
                assert excess > tolerance
            assert report.details["dual"] <= optimum.primal * (1 + 1e-12)
    assert held >= (4 if steps == 1000 else 0)


@each_kind
@pytest.mark.parametrize("steps", [2, 5, 600])
def test_curvature_never_holds_falsely(kind, steps):
    problem = pose(kind, 0.05)
    rows = explicit_rows(problem.operator)
    norm = np.linalg.norm((rows.T @ problem.b).reshape(problem.operator.shape), 2)
    held = 0
    for i, w in enumerate(sweep(kind, minimum(problem), problem)):
        if w.shape[1] == 0:
            continue
        exact = referee.least_curvature(rows, problem.b, *parts(problem, w))
        for tolerance in (1e-1, 1e-3):
            report = Curvature(tolerance=tolerance, max_steps=steps).check(problem, w, rng_(i))
            if report.verdict is HOLDS:
                held += 1
                assert exact >= -tolerance * norm * (1 + 1e-9)
            if report.verdict is FAILS:
                assert exact < -tolerance * norm * 0.99
    assert held >= (4 if steps == 600 else 0)


@pytest.mark.parametrize("steps", [2, 4, 1000])
@pytest.mark.parametrize("certificate", [PSDGap, RankDeficiency])
def test_global_certificates_of_symmetric_problems_never_hold_falsely(certificate, steps):
    """Exact data: f* = 0, so the gap at any point is f itself."""
    problem = pose("symmetric")
    rows, unit = explicit_rows(problem.operator), 0.5 * float(problem.b @ problem.b)
    held = 0
    for i, w in enumerate(sweep("symmetric", truth_point("symmetric", 1), problem)):
        exact = referee.objective(rows, problem.b, w) / unit
        for tolerance in (1e-3, 1e-6):
            report = certificate(tolerance=tolerance, max_steps=steps).check(problem, w, rng_(i))
            if report.verdict is HOLDS:
                held += 1
                assert exact <= tolerance
                bound = report.details["trace_bound"]
                assert referee.psd_gap(rows, problem.b, w, bound) <= tolerance * unit * (1 + 1e-9)
            if report.verdict is FAILS:
                assert exact > tolerance
    assert held >= (4 if steps == 1000 else 0)


@pytest.mark.parametrize(
    "instance",
    [
        instances.perturbed_matrix_completion(3, 0.3),
        instances.perturbed_matrix_completion(5, 0.1),
        instances.rip_half(3),
        instances.rank_one_truth(4, 2, 0.7),
        instances.sod_three_by_three(),
        instances.two_by_two_weighted(2.5),
    ],
    ids=lambda instance: instance.name,
)
@pytest.mark.parametrize("extra", [0, 1])
def test_no_global_certificate_accepts_a_spurious_point(instance, extra):
    problem = FactorizedProblem(instance.operator, instance.measurements, Symmetric())
    for point in instance.spurious_points:
        w = np.hstack([point, np.zeros((point.shape[0], extra))])
        assert Stationarity().check(problem, w, rng_()).verdict is HOLDS
        for certificate in (PSDGap(), RankDeficiency(), ZeroResidual()):
            assert certificate.check(problem, w, rng_()).verdict is not HOLDS
        for lam in (1e-6, 1e-3):
            report = NuclearNormOptimality(lam).check(problem, w, rng_())
            assert report.verdict is not HOLDS


def test_identifiability_never_holds_without_enough_measurements():
    for seed in range(6):
        m = 12 + 2 * seed  # dim T = 2 (7 + 6 - 2) = 22
        index = rng_(seed).permutation(60)[:m]
        problem = FactorizedProblem(
            DATA["dense"].operator.subset(index), DATA["dense"].measurements[index]
        )
        w = truth_point("dense")
        exact = referee.tangent_singular_value(explicit_rows(problem.operator), *parts(problem, w))
        report = Identifiability().check(problem, w, rng_())
        assert (report.verdict is HOLDS) == (exact > 0)


# -- the two traps that produced false certificates elsewhere ---------------------------------


def hidden_spectrum(n: int, top: float) -> np.ndarray:
    """Return values whose largest a short Lanczos run overlooks beside a dense cluster."""
    return np.r_[top, np.linspace(-1.0, 0.0, n - 1)]


def test_trap_loose_lanczos_tolerance_in_the_psd_gap():
    """The Ritz value of G is still positive: believing it certifies a point that is no minimum."""
    n, tolerance = 400, 1e-7
    b = np.diag(hidden_spectrum(n, 1e-3)).ravel()
    problem = FactorizedProblem(IdentitySensing((n, n)), b, Symmetric())
    zero, unit = np.zeros((n, 1)), 0.5 * float(b @ b)
    assert 1.0 * 1e-3 / unit > tolerance  # the true gap over tr M <= 1
    believed = 0
    for seed in range(5):
        short = PSDGap(1.0, tolerance=tolerance, max_steps=20).check(problem, zero, rng_(seed))
        believed += 1.0 * short.details["nu_lower"] / unit <= tolerance
        assert short.verdict is INCONCLUSIVE
        assert short.details["nu_upper"] >= 1e-3
        full = PSDGap(1.0, tolerance=tolerance, max_steps=400).check(problem, zero, rng_(seed))
        assert full.verdict is not HOLDS
    assert believed > 0  # otherwise the trap was not set


def test_trap_loose_lanczos_tolerance_in_the_curvature():
    n, tolerance = 400, 1e-4
    b = np.diag(hidden_spectrum(n, 1e-3)).ravel()
    problem = FactorizedProblem(IdentitySensing((n, n)), b, Symmetric())
    zero = np.zeros((n, 1))  # the Hessian is -2 B there: least eigenvalue -2e-3
    believed = 0
    for seed in range(5):
        certificate = Curvature(tolerance=tolerance, max_steps=20)
        short = certificate.check(problem, zero, rng_(seed))
        believed += short.details["least_ritz_value"] >= -tolerance * problem.scale
        assert short.verdict is not HOLDS
        assert short.details["lower_bound"] <= -2e-3
        full = Curvature(tolerance=tolerance, max_steps=400).check(problem, zero, rng_(seed))
        assert full.verdict is FAILS
    assert believed > 0


@pytest.mark.parametrize("symmetric", [False, True])
def test_trap_loose_lanczos_tolerance_in_the_duality_gap(symmetric):
    n, tolerance = 400, 1e-9
    spectrum = 1.0 + np.r_[1e-3, np.linspace(-1.0, 0.0, n - 1)]  # lambda = 1, one value above
    b = np.diag(spectrum).ravel()
    factorization = Symmetric() if symmetric else Asymmetric()
    problem = FactorizedProblem(IdentitySensing((n, n)), b, factorization)
    zero = np.zeros((factorization.size((n, n)), 1))
    primal = 0.5 * float(b @ b)
    optimum = 0.5 * np.sum(np.minimum(spectrum, 1.0) ** 2) + np.sum(np.maximum(spectrum - 1, 0))
    assert (primal - optimum) / primal > tolerance
    believed = 0
    for seed in range(5):
        certificate = NuclearNormOptimality(1.0, tolerance=tolerance, max_steps=20)
        short = certificate.check(problem, zero, rng_(seed))
        gap = duality_gap(problem, zero, 1.0, rng_(seed), tolerance=tolerance, max_steps=20)
        believed += gap.optimistic <= tolerance
        assert short.verdict is not HOLDS
        assert gap.dual <= optimum
        full = NuclearNormOptimality(1.0, tolerance=tolerance).check(problem, zero, rng_(seed))
        assert full.verdict is not HOLDS
    assert believed > 0


def soft_threshold_optimum(b: np.ndarray, lam: float, symmetric: bool) -> float:
    """Return min 1/2 ||X - B||^2 + lam ||X||_* (X >= 0 and lam tr X) in closed form."""
    if symmetric:
        values = np.linalg.eigvalsh((b + b.T) / 2)
        off = 0.5 * float(np.sum(((b - b.T) / 2) ** 2))
        kept = np.maximum(values - lam, 0.0)
    else:
        values, off = np.linalg.svd(b, compute_uv=False), 0.0
        kept = np.maximum(values - lam, 0.0)
    return float(off + 0.5 * np.sum((values - kept) ** 2) + lam * np.sum(kept))


@pytest.mark.parametrize("symmetric", [False, True])
def test_trap_dual_objective_of_an_infeasible_point(symmetric):
    """<s, b> - 1/2 ||s||^2 at s = b - A(X) exceeds the optimum where ||A*(s)|| > lambda."""
    n, lam = 12, 0.7
    b = rng_(4).standard_normal((n, n))
    b = b @ b.T / 4 if symmetric else b
    factorization = Symmetric() if symmetric else Asymmetric()
    problem = FactorizedProblem(IdentitySensing((n, n)), b.ravel(), factorization)
    optimum = soft_threshold_optimum(b, lam, symmetric)
    rows, overstated = np.eye(n * n), 0
    for seed in range(20):
        w = 0.1 * seed * draw(problem, 1 + seed % 4, seed)
        s = -referee.residual(rows, problem.b, *parts(problem, w))
        overstated += float(s @ problem.b - 0.5 * s @ s) > optimum * (1 + 1e-6)
        for steps in (2, 500):
            gap = duality_gap(problem, w, lam, rng_(seed), max_steps=steps)
            assert gap.dual <= optimum * (1 + 1e-12)
            assert gap.primal >= optimum * (1 - 1e-12)
    assert overstated > 5  # otherwise the trap was not set


@each_kind
def test_trap_dual_objective_of_an_infeasible_point_for_other_operators(kind):
    problem = pose(kind, 0.05)
    best = referee_gap(problem, convex_optimum(kind), LAM)
    rows, overstated = explicit_rows(problem.operator), 0
    for i, w in enumerate(sweep(kind, convex_optimum(kind), problem)):
        s = -referee.residual(rows, problem.b, *parts(problem, w))
        overstated += float(s @ problem.b - 0.5 * s @ s) > best.primal * (1 + 1e-6)
        for steps in (2, 500):
            gap = duality_gap(problem, w, LAM, rng_(i), max_steps=steps)
            assert gap.dual <= best.primal * (1 + 1e-11)
    assert overstated > 3


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("kind", ["dense", "symmetric", "below"])
def test_a_selected_solution_never_holds_falsely(kind, flat):
    problem, best, multipliers = selected(kind, flat)
    rows, shape = explicit_rows(problem.operator), problem.operator.shape
    matrices = rows.reshape(-1, *shape)
    scales = [np.eye(shape[0]), np.eye(shape[1])]
    if flat:
        m, (n1, n2) = len(matrices), shape
        squares = [
            np.einsum("jab,jcb->ac", matrices, matrices) / (m * n2),
            np.einsum("jba,jbc->ac", matrices, matrices) / (m * n1),
        ]
        scales = [v * np.sqrt(s) @ v.T for s, v in map(np.linalg.eigh, squares)]

    def size(w: np.ndarray) -> float:
        """||D1 L||^2 + ||D2 R||^2 over two of these factors, or the nuclear norm of L R^T."""
        left, right = problem.parts(w)
        if flat:
            return 0.5 * sum(
                np.sum((d @ f) ** 2) for d, f in zip(scales, (left, right), strict=True)
            )
        return float(np.linalg.norm(left @ right.T, "nuc"))

    # The least size, enclosed by weak duality in NumPy.
    least = size(best)
    inverses = [np.linalg.inv(d) for d in scales]
    dual = inverses[0] @ np.tensordot(multipliers, matrices, 1) @ inverses[1]
    top = np.linalg.norm(dual, 2) if kind != "symmetric" else np.linalg.eigvalsh(dual)[-1]
    assert multipliers @ problem.b / top >= least * (1 - 1e-6)
    held = 0
    for i, w in enumerate(sweep("", best, problem)):
        if not w.shape[1]:
            continue
        fits = np.linalg.norm(rows @ referee.matrix(*problem.parts(w)).ravel() - problem.b)
        fits /= np.linalg.norm(problem.b)
        for tolerance in (1e-3, 1e-6):
            for y in (multipliers, None, rng_(i).standard_normal(len(matrices))):
                certificate = (Flatness if flat else MinimumNorm)(tolerance, y)
                report = certificate.check(problem, w, rng_(i))
                unit = (8 if kind == "symmetric" else 4) if flat else 1
                assert report.details["lower_bound"] <= unit * least * (1 + 1e-9)
                if report.verdict is HOLDS:
                    held += 1
                    assert fits <= 1e-8 * (1 + 1e-6)
                    assert size(w) <= least * (1 + 2 * tolerance)
                if report.verdict is FAILS:
                    assert fits > 1e-8 or size(w) > least * (1 + 0.5 * tolerance)
    assert held >= 2


@pytest.mark.parametrize("kind", [Deep(3), Signature((1, -1))])
def test_deep_and_signed_points_are_judged_by_their_matrix(kind):
    # ||W||^2 of these is no norm of X: a certificate that took it for one could hold falsely.
    shape = (6, 6) if isinstance(kind, Signature) else (7, 6)
    w = rng_(2).standard_normal((kind.size(shape, 2), 2))
    left, right = kind.parts(w, shape)
    truth = left @ right.T
    problem = FactorizedProblem(IdentitySensing(shape), truth.ravel(), kind)
    report = MinimumNorm().check(problem, w, rng_())
    assert report.verdict is HOLDS
    assert report.details["norm"] == pytest.approx(np.linalg.norm(truth, "nuc"))
    flat = Flatness().check(problem, w, rng_())
    least = 4 * np.linalg.norm(truth, "nuc") / truth.size  # D1 = D2 = I / sqrt(n1 n2)
    assert flat.details["lower_bound"] == pytest.approx(least)


@pytest.mark.parametrize("flat", [False, True])
def test_measurements_that_contradict_each_other_by_rounding_bound_nothing(flat):
    # y = (-1, 1, 0, ...) has A*(y) = 0 and <y, b> > 0: nothing fits exactly, whatever its norm.
    rng = rng_(3)
    matrices = rng.standard_normal((4, 5, 5))
    operator = DenseSensing(np.concatenate([matrices[:1], matrices]))
    large = rng.standard_normal((5, 5))
    b = operator.apply(large)
    b[1] += 1e-10 * np.linalg.norm(b)
    y = np.array([-1.0, 1.0, 0.0, 0.0, 0.0])
    assert float(y @ b) > 0 and not operator.adjoint(y).any()
    problem, w = FactorizedProblem(operator, b), np.vstack([large, np.eye(5)])
    check = Flatness(multipliers=y) if flat else MinimumNorm(multipliers=y)
    report = check.check(problem, w, rng)
    assert report.details["relative_residual"] <= 1e-8
    assert report.details["lower_bound"] == 0.0
    assert report.verdict is not HOLDS
