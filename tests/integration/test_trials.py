"""Trials: in order, the same in parallel, kept when a run is killed, never reused wrongly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ranklift.cli.app import app
from ranklift.errors import InputError
from ranklift.reproduce import load_module, reproduce, trials_store
from ranklift.trials import TrialError, run_trials

SOURCE = '''
"""Trials that leave a mark each time they run."""
import os
import time
from pathlib import Path

import numpy as np

MARKS = Path(__file__).parent / "marks"


def trial(case):
    MARKS.mkdir(exist_ok=True)
    with (MARKS / str(case["seed"])).open("a") as stream:
        stream.write("x")
    if case["seed"] == case.get("slow"):
        for _ in range(2400):
            if not (MARKS.parent / "hold").exists():
                break
            time.sleep(0.05)
        (MARKS / "1000").write_text("woken")
    if case["seed"] == case.get("bad"):
        raise ValueError("no such luck")
    if case["seed"] == case.get("deadly"):
        os._exit(7)
    a = np.random.default_rng(case["seed"]).standard_normal((60, 60))
    return {"seed": case["seed"], "norm": np.linalg.norm(a @ a, 2), "pair": (1, np.bool_(True))}
'''

CLAIM = """
title = "Trials"
source = "none"
[size.quick]
count = 4
[[quantity]]
name = "count"
statement = "all there"
origin = "own"
at_least = 4
"""
RUN = """
from ranklift.reproduce import Outcome
from ranklift.trials import run_trials


def trial(case):
    return {"seed": case["seed"]}


def run(settings, progress):
    cases = [{"seed": seed} for seed in range(settings["count"])]
    rows = run_trials(trial, cases, store=settings["store"], workers=1, progress=progress)
    return Outcome({"count": len(rows)})
"""


def cases(count: int, **extra: int) -> list[dict[str, Any]]:
    return [{"seed": seed, **extra} for seed in range(count)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "run.py"
    file.write_text(SOURCE)
    return file


def trial_of(path: Path) -> Any:
    return load_module(path).trial


def runs(path: Path) -> dict[int, int]:
    """Return how often each seed ran."""
    return {int(p.name): len(p.read_text()) for p in (path.parent / "marks").glob("*")}


def test_processes_give_what_one_gives_in_the_order_of_the_cases(path: Path) -> None:
    wanted = list(reversed(cases(6)))
    serial = run_trials(trial_of(path), wanted, workers=1)
    assert [row["seed"] for row in serial] == [5, 4, 3, 2, 1, 0]
    assert serial[0]["pair"] == [1, True]
    assert run_trials(trial_of(path), wanted, workers=3) == serial
    assert runs(path) == dict.fromkeys(range(6), 2)


def test_a_case_listed_twice_runs_once(path: Path) -> None:
    first, second = run_trials(trial_of(path), [{"seed": 3}, {"seed": 3}], workers=1)
    assert first == second and first is not second
    assert runs(path) == {3: 1}


def test_a_store_is_taken_up_where_its_last_line_was_cut(path: Path, tmp_path: Path) -> None:
    store = tmp_path / "deep" / "trials.jsonl"
    whole = run_trials(trial_of(path), cases(5), store=store, workers=1)
    lines = store.read_bytes().splitlines(keepends=True)
    assert len(lines) == 5
    store.write_bytes(b"".join(lines[:3]) + lines[3][:-20])
    seen: list[tuple[int, int]] = []
    again = run_trials(
        trial_of(path), cases(5), store=store, workers=1,
        progress=lambda what, done, total: seen.append((done, total)),
    )  # fmt: skip
    assert again == whole
    assert runs(path) == {0: 1, 1: 1, 2: 1, 3: 2, 4: 2}
    assert seen == [(3, 5), (4, 5), (5, 5)]
    assert run_trials(trial_of(path), cases(5), store=store, workers=1) == whole
    assert runs(path) == {0: 1, 1: 1, 2: 1, 3: 2, 4: 2}  # nothing is left to run


def test_more_cases_than_before_run_what_is_new(path: Path, tmp_path: Path) -> None:
    store = tmp_path / "trials.jsonl"
    run_trials(trial_of(path), cases(2), store=store, workers=1)
    run_trials(trial_of(path), cases(4), store=store, workers=2)
    assert runs(path) == dict.fromkeys(range(4), 1)
    run_trials(trial_of(path), [{"seed": 0, "bad": -1}], store=store, workers=1)
    assert runs(path)[0] == 2  # another case, though of the same seed


def test_results_of_other_source_or_version_are_not_reused(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "trials.jsonl"
    run_trials(trial_of(path), cases(1), store=store, workers=1)
    path.write_text(SOURCE.replace("norm(a @ a, 2)", "norm(a, 2)"))
    changed = run_trials(trial_of(path), cases(1), store=store, workers=1)
    assert runs(path) == {0: 2}
    assert changed == run_trials(trial_of(path), cases(1), store=store, workers=1)
    assert runs(path) == {0: 2}
    monkeypatch.setattr("ranklift.trials.__version__", "another")
    run_trials(trial_of(path), cases(1), store=store, workers=1)
    assert runs(path) == {0: 3}


@pytest.mark.parametrize("workers", [1, 2])
def test_the_error_names_the_case_and_finished_trials_stay(
    path: Path, tmp_path: Path, workers: int
) -> None:
    store = tmp_path / "trials.jsonl"
    with pytest.raises(TrialError, match=r'"seed": 2, "bad": 2.*ValueError: no such luck'):
        run_trials(trial_of(path), cases(3, bad=2), store=store, workers=workers)
    kept = [json.loads(line)["result"]["seed"] for line in store.read_text().splitlines()]
    assert kept[0] in (0, 1) and 2 not in kept


def test_the_traceback_of_a_process_is_kept(path: Path) -> None:
    with pytest.raises(TrialError) as caught:
        run_trials(trial_of(path), cases(2, bad=1), workers=2)
    assert 'raise ValueError("no such luck")' in caught.value.__notes__[0]


def test_a_process_that_dies_names_its_case(path: Path) -> None:
    with pytest.raises(TrialError, match=r'"seed": 1, "deadly": 1.*exit code 7'):
        run_trials(trial_of(path), cases(2, deadly=1), workers=2)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_keeps_what_is_done(path: Path, tmp_path: Path, workers: int) -> None:
    store = tmp_path / "trials.jsonl"
    (tmp_path / "hold").touch()
    # With processes, seed 3 sleeps for minutes: the interrupt may not wait for it.
    wanted = cases(6, slow=3) if workers == 2 else cases(6)

    def stop(what: str, done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_trials(trial_of(path), wanted, store=store, workers=workers, progress=stop)
    assert len(store.read_text().splitlines()) == 3
    assert 1000 not in runs(path)


CHILD = """
import sys
from pathlib import Path
from ranklift.reproduce import load_module
from ranklift.trials import run_trials

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    cases = [{"seed": seed, "slow": 4} for seed in range(8)]
    run_trials(load_module(folder / "run.py").trial, cases, store=folder / "kept", workers=2)
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_killed_run_is_taken_up(path: Path, tmp_path: Path) -> None:
    script, store, hold = tmp_path / "child.py", tmp_path / "kept", tmp_path / "hold"
    script.write_text(CHILD)
    hold.touch()
    child = subprocess.Popen([sys.executable, str(script), str(tmp_path)])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (
        store.exists() and store.read_text().count("}\n") == 7
    ):
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)  # seven are done, seed 4 waits
    assert child.wait(10) == -signal.SIGKILL
    assert runs(path) == dict.fromkeys(range(8), 1)
    hold.unlink()
    rows = run_trials(trial_of(path), cases(8, slow=4), store=store, workers=1)
    assert [row["seed"] for row in rows] == list(range(8))
    del (ran := runs(path))[1000]
    assert ran == {0: 1, 1: 1, 2: 1, 3: 1, 4: 2, 5: 1, 6: 1, 7: 1}


@pytest.mark.parametrize(
    ("function", "wanted", "words"),
    [
        (lambda case: case, cases(1), "by def"),
        (len, cases(1), "top of a file"),
        (None, [3], "a case is 3"),
        (None, [{"seed": 0, "x": object()}], "JSON"),
    ],
)
def test_bad_input_is_refused(path: Path, function: Any, wanted: list[Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        run_trials(function or trial_of(path), wanted, workers=1)
    with pytest.raises(InputError, match="0 workers"):
        run_trials(trial_of(path), cases(1), workers=0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "reproductions" / "many").mkdir(parents=True)
    (tmp_path / "reproductions" / "many" / "claim.toml").write_text(CLAIM)
    (tmp_path / "reproductions" / "many" / "README.md").write_text("# Many\n")
    (tmp_path / "reproductions" / "many" / "run.py").write_text(RUN)
    return tmp_path / "reproductions"


def test_a_complete_reproduction_leaves_no_store(folder: Path) -> None:
    store = trials_store(folder / "many", "quick")
    seen: list[bool] = []
    report = reproduce("many", progress=lambda *_: seen.append(store.exists()), folder=folder)
    assert report.outcome.values["count"] == 4
    assert seen == [False, True, True, True, True] and not store.exists()
    assert report.to_dict()["settings"] == {"count": 4}


def test_the_command_says_what_an_interrupt_keeps(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    source = folder / "many" / "run.py"
    stop = "def run(settings, progress):\n    raise KeyboardInterrupt\n"
    source.write_text(stop)
    empty = CliRunner().invoke(app, ["reproduce", "many"])
    assert empty.exit_code == 130 and "nothing was written" in empty.stderr
    source.write_text(RUN.replace('"seed": case["seed"]}', '"x": stop(case)}').replace(
        "def trial", "def stop(case):\n    if case['seed'] == 2:\n"
        "        raise KeyboardInterrupt\n    return 0\n\n\ndef trial"
    ))  # fmt: skip
    kept = CliRunner().invoke(app, ["reproduce", "many"])
    store = trials_store(folder / "many", "quick")
    assert kept.exit_code == 130 and ".trials-quick.jsonl" in kept.stderr.replace("\n", "")
    assert len(store.read_text().splitlines()) == 2
