"""recover(selection=): which of the matrices that fit is the answer, from the API to the file."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import ranklift as rl
from ranklift.cli.app import app
from ranklift.errors import InputError
from ranklift.operators import DenseSensing, EntrySampling, PauliSensing, QuadraticSensing
from ranklift.status import Status, Verdict

REPORTS = {"flat": "flatness", "nuclear": "minimum_norm", "min_norm": "minimum_norm"}


def entries(
    n: int = 12, m: int = 110, seed: int = 1
) -> tuple[EntrySampling, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    factors = rng.standard_normal((2, n, 2))
    truth = factors[0] @ factors[1].T
    seen = rng.permutation(n * n)[:m]  # in no order: the pipeline sorts, the multipliers must not
    return EntrySampling(seen // n, seen % n, (n, n)), truth.ravel()[seen], truth


def sensing(m: int, seed: int = 0) -> tuple[DenseSensing, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    factors = rng.standard_normal((2, 8, 1))
    truth = factors[0] @ factors[1].T
    operator = DenseSensing(rng.standard_normal((m, 8, 8)))
    return operator, operator.apply(truth), truth


@pytest.mark.parametrize("selection", ["flat", "nuclear"])
def test_exact_data(selection, tmp_path):
    operator, b, _ = entries()
    found = rl.recover(operator, b, selection=selection, rng=0)
    report = found.certificates[REPORTS[selection]]
    assert found.status is Status.CONVERGED and report.verdict is Verdict.HOLDS and found.certified
    assert found.relative_residual < 1e-10
    assert found.provenance["selection"] == selection
    # The multipliers go by the caller's order of the entries.
    y = found.extras["multipliers"]
    dual = np.zeros(operator.shape)
    dual[operator.rows, operator.cols] = y
    if selection == "flat":
        weights = rl.flatness.curvature_weights(operator)
        dual = dual / weights.left[:, None] / weights.right[None, :]
        size = rl.flatness.scaled_trace(operator, b, found) / 4
        imbalance = found.left.T @ (weights.left[:, None] ** 2 * found.left)
        imbalance -= found.right.T @ (weights.right[:, None] ** 2 * found.right)
        assert np.abs(imbalance).max() < 1e-10 * size
    else:
        size = found.singular_values.sum()
    assert y @ b / np.linalg.norm(dual, 2) == pytest.approx(size, rel=2e-6)
    # Saved, read and verified from data and factors alone.
    path = found.save(tmp_path / "found.npz")
    again = rl.load(path)
    np.testing.assert_array_equal(again.left, found.left)
    checked = rl.verify(path)
    assert checked.agrees and not checked.differences
    assert REPORTS[selection] in [report.name for report in checked.reports]
    assert (
        rl.recover(operator, b, selection=selection, rng=0).left.tobytes() == found.left.tobytes()
    )


def test_flat_and_nuclear_differ_below_the_threshold_and_agree_above():
    operator, b, truth = sensing(18)
    flat, nuclear = (rl.recover(operator, b, selection=name, rng=0) for name in ("flat", "nuclear"))
    assert (flat.matrix - nuclear.matrix).norm() > 1e-3 * np.linalg.norm(truth)
    assert nuclear.singular_values.sum() < flat.singular_values.sum()
    assert (
        rl.flatness.scaled_trace(operator, b, flat)
        < rl.flatness.flatten(operator, b, nuclear, level="gauge").scaled_trace
    )
    operator, b, truth = sensing(50)
    for name in ("flat", "nuclear"):
        found = rl.recover(operator, b, selection=name, rng=0)
        np.testing.assert_allclose(found.matrix.toarray(), truth, atol=1e-8)
        assert found.rank == 1


def test_noisy_data_are_shrunk_in_the_weighted_norm(tmp_path):
    operator, b, truth = entries(16, 200)
    sigma = 0.05
    noisy = b + sigma * np.random.default_rng(3).standard_normal(b.size)
    for name in ("flat", "nuclear"):
        found = rl.recover(operator, noisy, selection=name, noise=sigma, rng=0)
        assert found.convex is not None and not found.refitted
        assert found.convex.weighted == (name == "flat")
        assert found.certified and found.convex.relative_gap <= 1e-6
        # The penalty leaves a residual of about the noise's size, not several times it.
        assert found.residual_norm < 2.0 * sigma * np.sqrt(b.size)
        checked = rl.verify(found.save(tmp_path / f"{name}.npz"))
        assert checked.agrees and not checked.differences
        error = np.linalg.norm(found.matrix.toarray() - truth) / np.linalg.norm(truth)
        assert error < 0.15  # noise of 3.5 % of the entries, and the bias of the penalty
    held = rl.recover(operator, noisy, selection="flat", noise="estimate", rng=0)
    assert held.convex is not None and held.convex.weighted and held.certified


def test_min_norm_at_a_width():
    operator, b, _ = sensing(24, seed=3)
    nuclear = rl.recover(operator, b, selection="nuclear", rng=0)
    wide = rl.recover(operator, b, selection="min_norm", rng=0)
    assert wide.certified
    assert wide.singular_values.sum() == pytest.approx(nuclear.singular_values.sum(), rel=1e-6)
    assert nuclear.rank > 2
    narrow = rl.recover(operator, b, selection="min_norm", rank=2, rng=0)
    assert narrow.rank == 2 and narrow.relative_residual < 1e-9
    assert narrow.status is Status.CONVERGED
    # A local minimum over a smaller set: nothing convex is claimed of it.
    assert narrow.singular_values.sum() > nuclear.singular_values.sum()
    assert narrow.certificates["minimum_norm"].verdict is Verdict.INCONCLUSIVE
    assert not narrow.certified


def test_symmetric_and_complex_unknowns():
    rng = np.random.default_rng(2)
    u = rng.standard_normal((7, 1))
    operator = QuadraticSensing(rng.standard_normal((30, 7)))
    for symmetric in (True, "indefinite"):
        found = rl.recover(operator, operator.apply(u @ u.T), symmetric=symmetric,
                           selection="flat", rng=0)  # fmt: skip
        assert found.certificates["flatness"].verdict is Verdict.HOLDS
        np.testing.assert_allclose(found.matrix.toarray(), u @ u.T, atol=1e-7)
    strings = PauliSensing.example(rng)
    n = strings.shape[0]
    psi = rng.standard_normal((n, 1)) + 1j * rng.standard_normal((n, 1))
    b = strings.apply(psi @ psi.conj().T)
    found = rl.recover(strings, b, selection="flat", rng=0)
    assert found.certificates["flatness"].verdict is Verdict.HOLDS


def test_a_misfit_is_not_certified():
    operator = DenseSensing(np.stack([np.eye(4), np.eye(4), np.ones((4, 4))]))
    with pytest.warns(rl.errors.ConvergenceWarning, match="stalled"):
        found = rl.recover(operator, np.array([1.0, 2.0, 1.0]), selection="nuclear", rng=0)
    assert found.certificates["minimum_norm"].verdict is Verdict.FAILS and not found.certified


def test_contradictions_are_refused_before_any_work():
    operator, b, _ = sensing(18)
    for given, words in [
        ({"selection": "smallest"}, "selection='smallest'"),
        ({"selection": "flat", "rank": 2}, "rank=2"),
        ({"selection": "min_norm", "noise": 0.1}, "min_norm"),
        ({"selection": "flat", "refit": True}, "refit"),
        ({"selection": "nuclear", "init": "spectral", "rank": None}, "init"),
        ({"selection": "nuclear", "solver": "GaussNewton"}, "solver"),
    ]:
        with pytest.raises(InputError, match=words):
            rl.recover(operator, b, rng=0, **given)


# -- the command line ---------------------------------------------------------------------------


def sense(tmp_path, *options: str) -> tuple[int, str, dict]:
    operator, b, truth = sensing(50)
    problem = tmp_path / "problem.npz"
    np.savez(problem, A=operator.matrices, b=b, truth=truth)
    result = CliRunner().invoke(
        app, ["sense", str(problem), "--json", "--output", str(tmp_path / "out.npz"),
              "--report", str(tmp_path / "out.html"), *options],
    )  # fmt: skip
    return result.exit_code, result.output, json.loads(result.stdout or "{}")


@pytest.mark.parametrize("name", ["flat", "nuclear"])
def test_sense_selects_reports_and_verifies(tmp_path, name):
    code, output, values = sense(tmp_path, "--selection", name)
    assert code == 0, output
    assert values["certificates"][REPORTS[name]]["verdict"] == "holds"
    assert values["error"] < 1e-8
    page = (tmp_path / "out.html").read_text()
    title = "Flattest of all that fit" if name == "flat" else "Smallest of all that fit"
    assert title in page and f"<dd>{name}</dd>" in page.replace("\n", "")
    verified = CliRunner().invoke(app, ["verify", str(tmp_path / "out.npz")])
    assert verified.exit_code == 0, verified.output


def test_sense_refuses_what_makes_no_sense(tmp_path):
    code, output, _ = sense(tmp_path, "--selection", "flat", "--rank", "2")
    assert code == 2 and "min_norm" in output
    code, output, _ = sense(tmp_path, "--selection", "flat", "--loss", "huber")
    assert code == 2
    assert not (tmp_path / "out.npz").exists()
