"""The matrix-free enclosure of the tangent-space singular value, against the dense one."""

import numpy as np
import pytest

from ranklift.certificates import Identifiability, identifiability
from ranklift.instances import entry_completion
from ranklift.problem import FactorizedProblem
from ranklift.status import Verdict


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("oversampling", [1.3, 2.0, 3.0])
def test_block_route_encloses_the_dense_value(monkeypatch, seed, oversampling):
    instance = entry_completion((40, 35), 3, oversampling, rng=seed)
    problem = FactorizedProblem(instance.operator, instance.measurements)
    w = problem.factorization.join(instance.truth.left, instance.truth.right)
    dense = Identifiability().check(problem, w, np.random.default_rng(0)).measured
    monkeypatch.setattr(identifiability, "DENSE_LIMIT", 0)
    report = Identifiability().check(problem, w, np.random.default_rng(0))
    assert 0 < report.measured <= dense * (1 + 1e-6)
    assert dense <= report.details["upper_estimate"] * (1 + 1e-6)
    assert report.verdict is Verdict.HOLDS


def test_block_route_does_not_hold_where_a_row_has_too_few_samples(monkeypatch):
    instance = entry_completion((40, 35), 3, 2.0, rng=0)
    keep = np.flatnonzero((instance.operator.rows != 0) | (instance.operator.cols < 2))
    problem = FactorizedProblem(instance.operator.subset(keep), instance.measurements[keep])
    w = problem.factorization.join(instance.truth.left, instance.truth.right)
    monkeypatch.setattr(identifiability, "DENSE_LIMIT", 0)
    report = Identifiability().check(problem, w, np.random.default_rng(0))
    assert report.verdict is not Verdict.HOLDS
