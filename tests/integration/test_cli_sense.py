"""`ranklift sense` and `ranklift recover`: every kind of file, every loss, every bad input."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.sparse.linalg import aslinearoperator

import ranklift as rl
from ranklift.cli import console
from ranklift.cli.app import main
from ranklift.errors import FileFormatError, InputError, TooLargeError
from ranklift.io import is_problem, read_problem, write_problem
from ranklift.lowrank import LowRank
from ranklift.operators import (
    DenseSensing,
    EntrySampling,
    FromLinearOperator,
    QuadraticSensing,
    RankOneSensing,
)

Run = Callable[..., tuple[int, str, str]]
Arrays = dict[str, Any]
PAULI = {
    "I": np.eye(2),
    "X": np.array([[0, 1], [1, 0]]),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.diag([1, -1]),
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a command in a fresh folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ranklift", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        return int(caught.value.code or 0), captured.out, captured.err

    return call


def low_rank(n1: int, n2: int, rank: int, rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(n1, rank)) @ rng.normal(size=(rank, n2))


def dense(rng: np.random.Generator) -> Arrays:
    truth, matrices = low_rank(9, 7, 2, rng), rng.normal(size=(100, 9, 7))
    return {"A": matrices, "b": np.tensordot(matrices, truth), "truth": truth}


def flat(rng: np.random.Generator) -> Arrays:
    arrays = dense(rng)
    matrices = arrays["A"].reshape(100, -1)
    return {"A": matrices, "shape": (9, 7), "y": arrays["b"], "truth": arrays["truth"], "noise": 0}


def rank_one(rng: np.random.Generator) -> Arrays:
    truth, left, right = (
        low_rank(9, 7, 2, rng),
        rng.normal(size=(120, 9)),
        rng.normal(size=(120, 7)),
    )
    b = np.sum((left @ truth) * right, axis=1)
    return {"left": left, "right": right, "b": b, "truth": truth}


def quadratic(rng: np.random.Generator) -> Arrays:
    z, vectors = rng.normal(size=(8, 2)), rng.normal(size=(80, 8))
    return {"vectors": vectors, "b": np.sum((vectors @ z) ** 2, axis=1), "truth": z @ z.T}


def complex_quadratic(rng: np.random.Generator) -> Arrays:
    u, vectors = (rng.normal(size=s) + 1j * rng.normal(size=s) for s in ((6,), (50, 6)))
    return {"vectors": vectors, "b": abs(vectors @ u) ** 2, "truth": np.outer(u, u.conj())}


def real_signal_of_complex_vectors(rng: np.random.Generator) -> Arrays:
    u, vectors = rng.normal(size=6), rng.normal(size=(50, 6)) + 1j * rng.normal(size=(50, 6))
    b = abs(vectors @ u) ** 2
    return {"vectors": vectors, "b": b, "truth": np.outer(u, u), "field": "real"}


def pauli(rng: np.random.Generator) -> Arrays:
    state = rng.normal(size=4) + 1j * rng.normal(size=4)
    truth = np.outer(state, state.conj()) / np.vdot(state, state).real
    strings = ["".join(s) for s in itertools.product("IXYZ", repeat=2)][1:]
    b = [np.trace(np.kron(PAULI[s[0]], PAULI[s[1]]) @ truth).real for s in strings]
    return {"strings": np.array(strings), "b": np.array(b), "truth": truth}


def points_and_pairs(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    points = rng.normal(size=(15, 2))
    pairs = np.stack(np.triu_indices(15, 1), axis=1)[rng.permutation(105)[:75]]
    return points, pairs, np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)


def distances(rng: np.random.Generator) -> Arrays:
    points, pairs, lengths = points_and_pairs(rng)
    return {"pairs": pairs, "distances": lengths, "truth": points @ points.T}


def squared_distances(rng: np.random.Generator) -> Arrays:
    points, pairs, lengths = points_and_pairs(rng)
    known = {"truth_left": points, "truth_right": points, "n_points": 15}
    return {"pairs": pairs, "squared_distances": lengths**2, **known}


def entries(rng: np.random.Generator) -> Arrays:
    truth = low_rank(20, 15, 2, rng)
    rows, cols = np.nonzero(rng.random((20, 15)) < 0.7)
    shape = np.array(truth.shape)
    return {"rows": rows, "cols": cols, "shape": shape, "b": truth[rows, cols], "truth": truth}


MODELS: list[tuple[Callable[[np.random.Generator], Arrays], str, int, str]] = [
    (dense, "DenseSensing", 2, "general"),
    (flat, "DenseSensing", 2, "general"),
    (rank_one, "RankOneSensing", 2, "general"),
    (quadratic, "QuadraticSensing", 2, "positive semidefinite"),
    (complex_quadratic, "QuadraticSensing", 1, "positive semidefinite, complex Hermitian"),
    (real_signal_of_complex_vectors, "QuadraticSensing", 1, "positive semidefinite"),
    (pauli, "PauliSensing", 1, "positive semidefinite, complex Hermitian"),
    (distances, "Congruence", 2, "positive semidefinite"),
    (squared_distances, "Congruence", 2, "positive semidefinite"),
    (entries, "EntrySampling", 2, "general"),
]


@pytest.mark.parametrize(("make", "operator", "rank", "structure"), MODELS)
def test_every_layout_recovers_the_truth(
    run: Run, make: Any, operator: str, rank: int, structure: str, rng: np.random.Generator
) -> None:
    arrays = make(rng)
    np.savez("p.npz", **arrays)
    files = ("--factors", "f.npz", "--estimate", "x.npy", "--no-report")
    code, out, err = run("sense", "p.npz", "--json", *files)
    values = json.loads(out)
    assert (code, err, out.count("\n")) == (0, "", 1)
    assert values["certified"] is True
    assert (values["rank"], values["structure"]) == (rank, structure)
    assert values["data"]["operator"] == operator
    assert values["error"] < 1e-8
    assert values["certificates"]["zero_residual"]["verdict"] == "holds"
    # the files hold X in the coordinates of the file
    truth = arrays["truth"] if "truth" in arrays else arrays["truth_left"] @ arrays["truth_right"].T
    if "pairs" in arrays:
        middle = np.eye(len(truth)) - 1.0 / len(truth)
        truth = middle @ truth @ middle
    np.testing.assert_allclose(np.load("x.npy"), truth, atol=1e-7 * np.abs(truth).max())
    with np.load("f.npz") as factors:
        product = factors["left"] @ factors["right"].T
        np.testing.assert_allclose(product, truth, atol=1e-7 * np.abs(truth).max())
        spectrum = np.linalg.svd(truth, compute_uv=False)[:rank]
        np.testing.assert_allclose(factors["singular_values"], spectrum, rtol=1e-7)
    code, out, _ = run("verify", "result.npz", "--json")
    assert (code, json.loads(out)["certified"]) == (0, True)


def test_written_problem_of_any_operator_comes_back(run: Run, rng: np.random.Generator) -> None:
    arrays = quadratic(rng)
    operator = QuadraticSensing(arrays["vectors"]).weighted(rng.uniform(0.5, 2.0, 80))
    b = np.asarray(operator.apply(arrays["truth"]))
    path = write_problem("ours.npz", operator, b, symmetric=True, noise=0.0, truth=arrays["truth"])
    back = read_problem(path)
    x = rng.normal(size=(8, 8))
    np.testing.assert_array_equal(back.operator.apply(x), operator.apply(x))
    assert (back.symmetric, back.noise, len(back.sha256)) == (True, 0.0, 64)
    code, out, _ = run("sense", "ours.npz", "--json", "--no-report")
    values = json.loads(out)
    assert code == 0
    assert values["error"] < 1e-8
    assert values["provenance"]["data_sha256"] == back.sha256


def test_truth_by_factors_and_facts_of_a_written_problem(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    left, right = rng.normal(size=(5, 1)), rng.normal(size=(4, 1))
    operator = RankOneSensing(rng.normal(size=(30, 5)), rng.normal(size=(30, 4)))
    truth = LowRank(left, right)
    path = tmp_path / "p.npz"
    write_problem(
        path, operator, operator.apply(truth), noise="estimate", symmetric="indefinite", truth=truth
    )
    back = read_problem(path)
    assert (back.noise, back.symmetric) == ("estimate", "indefinite")
    assert back.error(1.5 * truth) == pytest.approx(0.5)
    assert [item.name for item in tmp_path.iterdir()] == ["p.npz"]


def test_what_cannot_be_written_leaves_no_file(tmp_path: Path, rng: np.random.Generator) -> None:
    operator = DenseSensing(rng.normal(size=(6, 3, 2)))
    with pytest.raises(InputError, match="6 measurements"):
        write_problem(tmp_path / "p.npz", operator, np.ones(5))
    with pytest.raises(FileFormatError, match=r"ends in \.npz"):
        write_problem(tmp_path / "p.txt", operator, np.ones(6))
    with pytest.raises(InputError, match="truth of shape"):
        write_problem(tmp_path / "p.npz", operator, np.ones(6), truth=np.eye(3))
    with pytest.raises(FileFormatError, match="symmetric is 'sometimes'"):
        write_problem(tmp_path / "p.npz", operator, np.ones(6), symmetric="sometimes")
    with pytest.raises(FileFormatError, match="noise is"):
        write_problem(tmp_path / "p.npz", operator, np.ones(6), noise=-1.0)
    code = FromLinearOperator(aslinearoperator(np.eye(6)), (3, 2))
    with pytest.raises(InputError, match="holds code"):
        write_problem(tmp_path / "p.npz", code, np.ones(6))
    assert list(tmp_path.iterdir()) == []


def test_large_matrices_stay_on_the_disk(tmp_path: Path, rng: np.random.Generator) -> None:
    arrays = dense(rng)
    size = arrays["A"].nbytes
    np.savez(tmp_path / "p.npz", **arrays)
    problem = read_problem(tmp_path / "p.npz", memory_limit=size)
    assert isinstance(problem.operator, DenseSensing)
    assert isinstance(problem.operator.matrices, np.memmap)
    np.testing.assert_array_equal(problem.operator.matrices, arrays["A"])
    found = rl.recover(problem.operator, problem.b, rng=0)
    assert problem.error(found.matrix) < 1e-8  # type: ignore[operator]
    found.save(tmp_path / "r.npz")
    assert rl.verify(tmp_path / "r.npz").agrees
    roomy = read_problem(tmp_path / "p.npz", memory_limit=4 * size)
    assert not isinstance(roomy.operator.matrices, np.memmap)  # type: ignore[attr-defined]
    np.savez_compressed(tmp_path / "c.npz", **arrays)
    with pytest.raises(TooLargeError, match="not compressed"):
        read_problem(tmp_path / "c.npz", memory_limit=size)


def test_noise_is_estimated_given_or_read_from_the_file(run: Run, rng: np.random.Generator) -> None:
    truth, matrices = low_rank(15, 12, 2, rng), rng.normal(size=(300, 15, 12))
    b = np.tensordot(matrices, truth) + 0.2 * rng.normal(size=300)
    arrays = {"A": matrices, "b": b, "truth": truth}
    np.savez("p.npz", **arrays)
    np.savez("said.npz", **arrays, noise=0.2)
    found = []
    for arguments in (("p.npz",), ("p.npz", "--noise", "0.2"), ("said.npz",)):
        code, out, _ = run("sense", *arguments, "--json", "--no-report")
        values = json.loads(out)
        assert (code, values["rank"]) == (0, 2)
        assert values["error"] < 0.05
        found.append(values)
    assert 0.15 < found[0]["noise"] < 0.25
    assert found[1]["noise"] == found[2]["noise"] == 0.2
    assert found[1]["error"] == found[2]["error"]


def test_indefinite_matrix_needs_its_structure(run: Run, rng: np.random.Generator) -> None:
    vectors = rng.normal(size=(120, 7))
    u, v = rng.normal(size=(2, 7))
    truth = np.outer(u, u) - np.outer(v, v)
    b = np.sum((vectors @ truth) * vectors, axis=1)
    np.savez("p.npz", vectors=vectors, b=b, truth=truth)
    np.savez("said.npz", vectors=vectors, b=b, truth=truth, symmetric="indefinite")
    for arguments in (("p.npz", "--structure", "indefinite"), ("said.npz",)):
        code, out, _ = run("sense", *arguments, "--json", "--no-report")
        values = json.loads(out)
        assert (code, values["rank"], values["structure"]) == (0, 2, "symmetric")
        assert values["error"] < 1e-8
    # no positive semidefinite matrix has these forms
    assert b.min() < 0
    _, out, _ = run("sense", "p.npz", "--json", "--no-report", "--noise", "exact")
    assert json.loads(out)["error"] > 0.1


def wrong_measurements(rng: np.random.Generator) -> Arrays:
    truth, matrices = low_rank(15, 12, 2, rng), rng.normal(size=(300, 15, 12))
    b = np.tensordot(matrices, truth) + 0.2 * rng.normal(size=300)
    b[rng.permutation(300)[:8]] += 80.0
    return {"A": matrices, "b": b, "truth": truth}


@pytest.mark.parametrize(
    ("loss", "accuracy"),
    [
        (("absolute",), 0.01),
        (("huber", "--threshold", "0.3"), 0.02),
        (("huber", "--noise", "0.2"), 0.02),
        (("squared",), None),
    ],
)
def test_robust_losses_ignore_gross_errors(
    run: Run, loss: tuple[str, ...], accuracy: float | None, rng: np.random.Generator
) -> None:
    np.savez("p.npz", **wrong_measurements(rng))
    code, out, _ = run("sense", "p.npz", "--json", "--no-report", "--loss", *loss)
    values = json.loads(out)
    if accuracy is None:
        assert values["error"] > 0.1  # least squares pays for them
        return
    assert (code, values["rank"]) == (0, 2)
    assert values["error"] < accuracy
    assert values["loss"]["class"] == "Huber"
    assert run("verify", "result.npz")[0] == 0
    if loss[0] == "absolute":
        # three standard deviations: of 292 good measurements about one lies beyond
        assert 8 <= values["num_outliers"] <= 12


def test_one_bit_data(run: Run, rng: np.random.Generator) -> None:
    truth = 2 * np.outer(rng.choice([-1.0, 1.0], 25), rng.choice([-1.0, 1.0], 20))
    rows, cols = np.divmod(np.arange(500), 20)
    b = np.where(rng.random(500) < 1 / (1 + np.exp(-truth.ravel())), 1.0, -1.0)
    np.savez("p.npz", rows=rows, cols=cols, b=b)
    code, out, _ = run("sense", "p.npz", "--loss", "logistic", "--json", "--estimate", "x.csv")
    values = json.loads(out)
    assert (code, values["loss"]["class"]) == (0, "Logistic")
    estimate = np.loadtxt("x.csv", delimiter=",")
    # about an eighth of the outcomes are the unlikely ones; all of them are seen through
    assert np.mean(b == np.sign(truth.ravel())) < 0.92
    assert values["rank"] == 1
    np.testing.assert_array_equal(np.sign(estimate), np.sign(truth))
    html = Path("report.html").read_text(encoding="utf-8")
    assert "of the outcomes on the fitted side" in html
    assert "1 / (1 + exp(-z))" in html
    assert "<h3>Residuals</h3>" not in html
    assert run("verify", "result.npz")[0] == 0


@pytest.mark.parametrize("make", [dense, pauli, distances])
def test_text_and_report_of_other_measurements_than_entries(
    run: Run, make: Any, rng: np.random.Generator
) -> None:
    arrays = make(rng)
    np.savez("p.npz", **arrays)
    code, out, err = run("sense", "p.npz")
    assert (code, err) == (0, "")
    for words in ("CERTIFIED", "degrees of freedom", "relative error against the truth", "HOLDS"):
        assert words in out
    html = Path("report.html").read_text(encoding="utf-8")
    m = len(next(arrays[name] for name in ("A", "strings", "pairs") if name in arrays))
    assert f"The {m:,} measurements that were fitted" in html
    assert html.count("<svg") >= 4
    assert "as many measurements as a matrix of this rank has degrees of freedom" in html
    assert sorted(os.listdir()) == ["p.npz", "report.html", "result.npz"]


def test_points_are_in_the_result_file(run: Run, rng: np.random.Generator) -> None:
    points, pairs, lengths = points_and_pairs(rng)
    np.savez("p.npz", pairs=pairs, b=lengths**2)
    assert run("sense", "p.npz", "--no-report")[0] == 0
    found = rl.load("result.npz").extras["points"]
    assert found.shape == (15, 2)
    np.testing.assert_allclose(found.mean(axis=0), 0.0, atol=1e-9)
    again = np.linalg.norm(found[pairs[:, 0]] - found[pairs[:, 1]], axis=1)
    np.testing.assert_allclose(again, lengths, rtol=1e-7)
    assert points.shape == found.shape


def test_same_seed_same_result(run: Run, rng: np.random.Generator) -> None:
    arrays = dense(rng)
    np.savez("p.npz", A=arrays["A"], b=arrays["b"] + rng.normal(size=100))
    for name in ("a.npz", "b.npz"):
        run("sense", "p.npz", "--seed", "3", "--output", name, "--no-report")
    first, second = rl.load("a.npz"), rl.load("b.npz")
    np.testing.assert_array_equal(first.left, second.left)
    assert first.provenance["command"].startswith("ranklift sense p.npz --seed 3")


def test_out_of_time_and_interrupt_keep_an_answer(
    run: Run, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    np.savez("p.npz", **dense(rng))
    code, out, _ = run("sense", "p.npz", "--max-time", "1e-9", "--json", "--no-report")
    assert (code, json.loads(out)["status"]) == (3, "max_time")
    observe = console.Watch._observe

    def interrupted(self: console.Watch, row: Any) -> bool:
        if not self.stop_requested:
            os.kill(os.getpid(), signal.SIGINT)
        return observe(self, row)

    monkeypatch.setattr(console.Watch, "_observe", interrupted)
    code, out, err = run("sense", "p.npz", "--json", "--no-report")
    assert (code, json.loads(out)["status"]) == (3, "user_stop")
    assert "keeping the best answer" in err
    assert rl.load("result.npz").status is rl.Status.USER_STOP


# -- bad input ------------------------------------------------------------------------------

GOOD: Arrays = {"A": np.ones((3, 2, 2)), "b": np.ones(3)}
NAN = np.array([1.0, np.nan, 2.0])
BAD_ARRAYS: dict[str, tuple[Arrays, str]] = {
    "nothing known": ({"foo": np.ones(3)}, "no measurement model"),
    "no measurements": ({"A": np.ones((3, 2, 2))}, "no measurements"),
    "two measurements": ({**GOOD, "y": np.ones(3)}, "ambiguous measurements b and y"),
    "two models": ({**GOOD, "vectors": np.ones((3, 2))}, "ambiguous between"),
    "half a model": ({"left": np.ones((3, 2)), "b": np.ones(3)}, "without right"),
    "unknown array": ({**GOOD, "nosie": 1.0}, "nosie mean nothing"),
    "A without shape": ({"A": np.ones((3, 4)), "b": np.ones(3)}, "without shape"),
    "wrong shape": ({"A": np.ones((3, 4)), "shape": (3, 2), "b": np.ones(3)}, "shape (3, 2)"),
    "one number of shape": ({"A": np.ones((3, 4)), "shape": 4, "b": np.ones(3)}, "shape [4]"),
    "NaN in A": ({"A": np.full((3, 2, 2), np.nan), "b": np.ones(3)}, "NaN or inf"),
    "NaN in b": ({**GOOD, "b": NAN}, "b holds 1 values that are NaN or inf"),
    "short b": ({**GOOD, "b": np.ones(2)}, "for 3 measurements"),
    "complex b": ({**GOOD, "b": 1j * np.ones(3)}, "pass real numbers"),
    "complex A": ({**GOOD, "A": 1j * np.ones((3, 2, 2))}, "A of type complex128"),
    "complex left": (
        {"left": 1j * np.ones((3, 2)), "right": np.ones((3, 2)), "b": np.ones(3)},
        "left of type complex128",
    ),
    "uneven vectors": (
        {"left": np.ones((3, 2)), "right": np.ones((4, 2)), "b": np.ones(3)},
        "3 left and 4 right",
    ),
    "other letters": ({"strings": np.array(["XQ"]), "b": np.ones(1)}, "Q"),
    "strings of numbers": ({"strings": np.ones(2), "b": np.ones(2)}, "strings are float64"),
    "flat pairs": ({"pairs": np.arange(4), "b": np.ones(2)}, "pairs of shape (4,)"),
    "negative distance": (
        {"pairs": np.array([[0, 1], [1, 2]]), "distances": np.array([1.0, -1.0])},
        "negative",
    ),
    "pair twice": (
        {"pairs": np.array([[0, 1], [1, 0]]), "b": np.ones(2)},
        "listed more than once",
    ),
    "entry outside": (
        {"rows": np.array([5]), "cols": np.array([0]), "shape": (2, 2), "b": np.ones(1)},
        "5",
    ),
    "row unseen": (
        {"rows": np.array([0]), "cols": np.array([0]), "shape": (2, 2), "b": np.ones(1)},
        "unobserved row",
    ),
    "noise of text": ({**GOOD, "noise": "much"}, "noise is"),
    "negative noise": ({**GOOD, "noise": -1.0}, "noise is"),
    "odd symmetric": ({**GOOD, "symmetric": "maybe"}, "symmetric is 'maybe'"),
    "truth of another size": ({**GOOD, "truth": np.eye(3)}, "truth of shape (3, 3)"),
    "truth with NaN": ({**GOOD, "truth": np.full((2, 2), np.nan)}, "truth holds NaN"),
    "half a truth": ({**GOOD, "truth_left": np.ones((2, 1))}, "ambiguous truth"),
    "objects": ({**GOOD, "A": np.array([{}, 1, 2], dtype=object)}, "Python objects"),
    "psd of a wide matrix": (
        {"A": np.ones((3, 2, 4)), "b": np.ones(3), "symmetric": True},
        "square",
    ),
    "a result": ({"document": "{}"}, "ranklift verify"),
    "unknown operator": ({"operator.class": "Telepathy", "b": np.ones(3)}, "'Telepathy'"),
    "operator without data": ({"operator.class": "DenseSensing", "b": np.ones(3)}, "is broken"),
}


@pytest.mark.parametrize("name", sorted(BAD_ARRAYS))
def test_bad_arrays_are_one_line_and_code_2(run: Run, name: str) -> None:
    arrays, words = BAD_ARRAYS[name]
    np.savez("p.npz", **arrays)
    code, out, err = run("sense", "p.npz", "--json")
    assert code == 2
    assert err.count("\n") == 1
    assert words in err
    assert "Remedy: " in err
    assert json.loads(out)["error"]["cause"] in err
    assert os.listdir() == ["p.npz"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("p.npz", None, "does not exist"),
        ("p.npz", b"", "is empty"),
        ("p.npz", b"PK nonsense", "is broken"),
        ("p.csv", b"a,b\n1,2\n", "a problem file is an .npz"),
        ("p.xyz", b"1", "unknown extension"),
    ],
)
def test_no_problem_file_is_code_2(run: Run, name: str, content: bytes | None, words: str) -> None:
    if content is not None:
        Path(name).write_bytes(content)
    code, out, err = run("sense", name)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err
    assert "Remedy: " in err


@pytest.mark.parametrize("cut", [0.3, 0.9])
def test_truncated_file_is_broken(run: Run, cut: float, rng: np.random.Generator) -> None:
    np.savez_compressed("p.npz", **dense(rng))
    data = Path("p.npz").read_bytes()
    Path("p.npz").write_bytes(data[: int(cut * len(data))])
    code, _, err = run("sense", "p.npz")
    assert code == 2
    assert "is broken" in err


def test_flipped_bytes_are_noticed(run: Run, rng: np.random.Generator) -> None:
    np.savez("p.npz", **dense(rng))
    data = bytearray(Path("p.npz").read_bytes())
    data[len(data) // 2] ^= 0xFF
    Path("p.npz").write_bytes(data)
    code, _, err = run("sense", "p.npz")
    assert code == 2
    assert "is broken" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--noise", "loud"], "--noise loud"),
        (["--noise", "-1"], "--noise -1"),
        (["--tol", "0"], "--tol 0"),
        (["--max-time", "0"], "--max-time 0"),
        (["--rank", "8"], "--rank 8 for a 9 x 7 matrix"),
        (["--structure", "psd"], "square"),
        (["--structure", "round"], "round"),
        (["--threshold", "1"], "--threshold with --loss squared"),
        (["--loss", "huber"], "--loss huber without --threshold"),
        (["--loss", "huber", "--threshold", "-1"], "--threshold -1"),
        (["--loss", "absolute", "--structure", "psd"], "--loss absolute with --structure psd"),
        (["--loss", "logistic"], "code the two outcomes as -1 and 1"),
        (["--loss", "logistic", "--rank", "2"], "--loss logistic with --rank"),
        (["--loss", "logistic", "--noise", "1"], "1-bit data have no such level"),
        (["--loss", "cubic"], "cubic"),
        (["--output", "no/such/r.npz"], "mkdir -p"),
        (["--output", "r.txt"], "ends in .npz"),
        (["--output", "p.npz"], "is the input file"),
        (["--factors", "f.csv"], "ends in .npz"),
        (["--estimate", "x.xls"], "ends in .npy or .csv"),
        (["--estimate", "x.npy", "--report", "x.npy"], "same name"),
    ],
)
def test_bad_options_are_code_2_and_write_nothing(
    run: Run, arguments: list[str], words: str, rng: np.random.Generator
) -> None:
    np.savez("p.npz", **dense(rng))
    before = Path("p.npz").read_bytes()
    code, _, err = run("sense", "p.npz", *arguments)
    assert code == 2
    assert words in err
    assert Path("p.npz").read_bytes() == before
    assert os.listdir() == ["p.npz"]


def test_complex_answers_have_their_own_limits(run: Run, rng: np.random.Generator) -> None:
    np.savez("p.npz", **pauli(rng))
    code, _, err = run("sense", "p.npz", "--estimate", "x.csv")
    assert code == 2
    assert "the matrix is complex" in err
    code, _, err = run("sense", "p.npz", "--structure", "general")
    assert code == 2
    assert "complex Hermitian" in err
    assert os.listdir() == ["p.npz"]


def test_estimate_too_large_for_memory(
    run: Run, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    from ranklift.cli import estimate

    np.savez("p.npz", **dense(rng))
    monkeypatch.setattr(estimate, "available_memory", lambda: 9 * 7 * 8 - 1)
    code, _, err = run("sense", "p.npz", "--estimate", "x.npy")
    assert code == 2
    assert "--factors instead" in err
    assert os.listdir() == ["p.npz"]


# -- recover --------------------------------------------------------------------------------

SIZE = (50, 40)


def write_table(name: str, *, wrong: float = 0.0, noise: float = 0.0) -> tuple[Any, Any, Any]:
    """Write a table with blanks and gross errors; return the truth, and where values are wrong."""
    rng = np.random.default_rng(8)
    truth = low_rank(*SIZE, 2, rng)
    seen, bad = rng.random(SIZE) < 0.75, rng.random(SIZE) < wrong
    table = truth + noise * rng.normal(size=SIZE) + np.where(bad, 20.0, 0.0)
    frame = pd.DataFrame(np.where(seen, table, np.nan), columns=[f"c{j}" for j in range(SIZE[1])])
    frame.insert(0, "id", [f"r{i}" for i in range(SIZE[0])])
    frame.to_csv(name, index=False)
    return truth, seen & bad, seen


def test_recover_of_a_table_is_complete(run: Run) -> None:
    truth, _, _ = write_table("t.csv", noise=0.05)
    arguments = ("--seed", "2", "--no-report", "--json")
    code, out, _ = run("recover", "t.csv", *arguments)
    values = json.loads(out)
    assert (code, values["data"]["layout"][:5]) == (0, "table")
    found = rl.load("result.npz")
    assert run("complete", "t.csv", *arguments, "--output", "c.npz")[0] == 0
    np.testing.assert_array_equal(found.left, rl.load("c.npz").left)
    assert np.linalg.norm(found.matrix.toarray()) < 2 * np.linalg.norm(truth)


def test_recover_of_a_problem_is_sense(run: Run, rng: np.random.Generator) -> None:
    np.savez("p.npz", **rank_one(rng))
    assert is_problem("p.npz")
    code, out, _ = run("recover", "p.npz", "--no-report", "--json")
    assert code == 0
    assert json.loads(out)["error"] < 1e-8
    found = rl.load("result.npz")
    assert run("sense", "p.npz", "--no-report")[0] == 0
    np.testing.assert_array_equal(found.left, rl.load("result.npz").left)


def test_recover_reads_arrays_of_entries_as_a_table(run: Run, rng: np.random.Generator) -> None:
    arrays = entries(rng)
    np.savez("t.npz", rows=arrays["rows"], cols=arrays["cols"], values=arrays["b"])
    np.savez("x.npz", b=np.where(rng.random((20, 15)) < 0.7, arrays["truth"], np.nan))
    assert not is_problem("t.npz")
    assert not is_problem("x.npz")
    assert not is_problem("x.csv")
    for name in ("t.npz", "x.npz"):
        code, out, _ = run("recover", name, "--noise", "exact", "--no-report", "--json")
        assert (code, json.loads(out)["rank"]) == (0, 2)


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_robust_table_finds_the_wrong_entries(run: Run, noise: float) -> None:
    truth, bad, _ = write_table("t.csv", wrong=0.05, noise=noise)
    arguments = ("--robust", "--outliers-file", "o.csv", "--no-report", "--json")
    code, out, _ = run("recover", "t.csv", *arguments)
    values = json.loads(out)
    assert (code, values["rank"], values["certified"]) == (0, 2, True)
    saved = rl.load("result.npz")
    error = np.linalg.norm(saved.matrix.toarray() - truth) / np.linalg.norm(truth)
    assert error < (1e-8 if noise == 0 else 0.05)
    listed = pd.read_csv("o.csv")
    gross = listed[listed["value"].abs() > 10]
    places = {(f"r{i}", f"c{j}") for i, j in zip(*np.nonzero(bad), strict=True)}
    assert set(zip(gross["row"], gross["column"], strict=True)) == places
    assert len(listed) == values["num_outliers"] == np.count_nonzero(saved.extras["outliers"])
    if noise == 0:
        assert len(listed) == len(places)
    assert saved.extras["row_labels"][0] == "r0"
    assert run("verify", "result.npz")[0] == 0


def test_robust_table_of_wrong_columns(run: Run) -> None:
    rng = np.random.default_rng(4)
    truth = low_rank(*SIZE, 2, rng)
    table = truth + 0.02 * rng.normal(size=SIZE)
    table[:, [3, 11]] += 10 * rng.normal(size=(SIZE[0], 2))
    np.save("t.npy", table)
    arguments = ("--robust", "--outliers", "columns", "--outliers-file", "o.csv", "--json")
    code, out, _ = run("recover", "t.npy", *arguments)
    values = json.loads(out)
    assert (code, values["rank"], values["data"]["operator"]) == (0, 2, "IdentitySensing")
    assert set(pd.read_csv("o.csv")["column"]) == {3, 11}
    good = np.delete(np.arange(SIZE[1]), [3, 11])
    found = rl.load("result.npz").matrix.toarray()
    assert np.linalg.norm((found - truth)[:, good]) < 0.02 * np.linalg.norm(truth[:, good])
    assert "Gross errors found" in Path("report.html").read_text(encoding="utf-8")
    assert run("verify", "result.npz")[0] == 0


def test_table_with_another_loss(run: Run) -> None:
    truth, _, _ = write_table("t.csv", wrong=0.03, noise=0.05)
    arguments = ("--loss", "huber", "--threshold", "0.07", "--no-report", "--json")
    code, out, _ = run("recover", "t.csv", *arguments)
    assert (code, json.loads(out)["loss"]["class"]) == (0, "Huber")
    found = rl.load("result.npz").matrix.toarray()
    assert np.linalg.norm(found - truth) < 0.1 * np.linalg.norm(truth)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["frames"], "ranklift separate frames"),
        (["clip.mp4"], "ranklift separate clip.mp4"),
        (["one.png"], "ranklift separate one.png"),
        (["stack.npy"], "ranklift separate stack.npy"),
        (["stack.npz"], "ranklift separate stack.npz"),
        (["missing.csv"], "does not exist"),
        (["missing.npz"], "does not exist"),
        (["broken.npz"], "is broken"),
        (["t.csv", "--robust", "--loss", "huber"], "leave one of them out"),
        (["t.csv", "--outliers", "columns"], "add --robust"),
        (["t.csv", "--outliers-file", "o.csv"], "add --robust"),
        (["t.csv", "--robust", "--outliers-file", "o.txt"], "ends in .csv"),
        (["t.csv", "--robust", "--rank", "41"], "--rank 41 for a 50 x 40 matrix"),
        (["t.csv", "--robust", "--output", "t.csv"], "is the input file"),
        (["t.csv", "--noise", "-2"], "--noise -2"),
        (["t.csv", "--loss", "logistic"], "-1 and 1"),
        (["p.npz", "--robust", "--outliers", "columns"], "column outliers"),
    ],
)
def test_recover_refuses_with_cause_and_remedy(
    run: Run, arguments: list[str], words: str, rng: np.random.Generator
) -> None:
    write_table("t.csv")
    np.savez("p.npz", **dense(rng))
    Path("frames").mkdir()
    for name in ("clip.mp4", "one.png", "broken.npz"):
        Path(name).write_bytes(b"PK")
    np.save("stack.npy", np.zeros((2, 3, 4), dtype=np.uint8))
    np.savez("stack.npz", frames=np.zeros((2, 3, 4), dtype=np.uint8))
    before = sorted(os.listdir())
    code, _, err = run("recover", *arguments)
    assert code == 2
    assert words in err
    assert "Remedy: " in err
    assert sorted(os.listdir()) == before


def test_entries_operator_is_chosen_where_values_are_missing(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", rows=[0, 1], cols=[0, 1], values=[1.0, 2.0])
    problem = read_problem(tmp_path / "p.npz")
    assert isinstance(problem.operator, EntrySampling)
    assert (problem.operator.shape, problem.b.tolist()) == ((2, 2), [1.0, 2.0])


def test_help_names_every_array(run: Run) -> None:
    code, out, _ = run("sense", "--help")
    assert code == 0
    for name in ("left", "vectors", "strings", "pairs", "rows", "n_points", "truth", "SQUARED"):
        assert name in out
    assert "ranklift separate" in " ".join(run("recover", "--help")[1].split())
