"""Reproductions: claims are read strictly, judged by their ranges, and run by one command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ranklift.cli.app import app
from ranklift.errors import FileFormatError, InputError
from ranklift.reproduce import (
    Outcome,
    Quantity,
    Report,
    ReproductionVerdict,
    home,
    load_claim,
    names,
    reproduce,
)
from ranklift.reproduction_report import markdown, write_pages, write_report

CLAIM = """
title = "Doubling doubles"
source = "arithmetic"

[size.quick]
number = 3
[size.full]
number = 5

[[quantity]]
name = "twice"
statement = "2 |number|"
origin = "own"
expected = 6.0
relative_tolerance = 0.01

[[quantity]]
name = "slow"
statement = "only at full size"
origin = "measured"
at_most = 1.0
sizes = ["full"]
"""
RUN = """
from ranklift.reproduce import Outcome


def run(settings, progress):
    progress("doubling", 0, 1)
    twice = 2.0 * settings["number"]
    return Outcome({"twice": twice, "slow": 0.5}, {"Numbers": [{"number": twice}]})
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "doubling").mkdir()
    (tmp_path / "doubling" / "claim.toml").write_text(CLAIM)
    (tmp_path / "doubling" / "run.py").write_text(RUN)
    return tmp_path


@pytest.mark.parametrize(
    ("value", "size", "verdict"),
    [
        (1.0, "full", "reproduced"),
        (1.1, "full", "not reproduced"),
        (float("nan"), "full", "not comparable"),
        (None, "full", "not comparable"),
        (1.0, "quick", "not comparable"),
    ],
)
def test_a_number_is_judged_by_its_range(value: float | None, size: str, verdict: str) -> None:
    quantity = Quantity("q", "s", "own", at_most=1.0, sizes=("full",))
    assert quantity.judge(value, size).value == verdict


def test_a_run_is_judged_by_its_worst_number(folder: Path, tmp_path: Path) -> None:
    seen: list[str] = []
    report = reproduce("doubling", progress=lambda what, *_: seen.append(what), folder=folder)
    assert seen == ["doubling"]
    assert [v.value for v in report.verdicts.values()] == ["reproduced", "not comparable"]
    assert report.verdict is ReproductionVerdict.REPRODUCED
    full = reproduce("doubling", size="full", folder=folder)  # 10 where 6 is claimed
    assert [v.value for v in full.verdicts.values()] == ["not reproduced", "reproduced"]
    assert full.verdict is ReproductionVerdict.NOT_REPRODUCED
    text = markdown(full)
    assert "| 2 \\|number\\| | own | 5.94 to 6.06 | 10 | not reproduced |" in text
    written = write_report(report, tmp_path / "out")
    assert [path.name for path in written] == ["quick.json", "quick.md"]
    assert json.loads(written[0].read_text())["quantities"][0]["measured"] == 6.0


def test_nothing_compared_is_not_comparable(folder: Path) -> None:
    claim = load_claim(folder / "doubling")
    verdicts = {q.name: ReproductionVerdict.NOT_COMPARABLE for q in claim.quantities}
    report = Report(claim, "quick", Outcome({}), verdicts, 0.0)
    assert report.verdict is ReproductionVerdict.NOT_COMPARABLE


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('origin = "own"', 'origin = "hearsay"', "hearsay"),
        ("at_most = 1.0\n", "", "range"),
        ("relative_tolerance = 0.01\n", "", "relative_tolerance"),
        ("at_most = 1.0", "at_mots = 1.0", "at_mots"),
        ('title = "Doubling doubles"', "", "title"),
        ("[size.quick]", "[size.quick", "no claim"),
    ],
)
def test_a_broken_claim_is_refused(folder: Path, old: str, new: str, words: str) -> None:
    path = folder / "doubling" / "claim.toml"
    assert old in CLAIM
    path.write_text(CLAIM.replace(old, new, 1))
    with pytest.raises(FileFormatError, match=words):
        load_claim(folder / "doubling")


def test_unknown_names_and_missing_code(folder: Path) -> None:
    with pytest.raises(InputError, match="use one of: doubling"):
        reproduce("tripling", folder=folder)
    with pytest.raises(InputError, match="use one of: quick, full"):
        reproduce("doubling", size="huge", folder=folder)
    (folder / "doubling" / "run.py").unlink()
    with pytest.raises(FileFormatError, match=r"run\.py is missing"):
        reproduce("doubling", folder=folder)


@pytest.mark.parametrize("name", names())
def test_every_claim_of_the_repository_reads(name: str) -> None:
    claim = load_claim(home() / name)
    assert {"quick", "full"} <= set(claim.sizes) and claim.quantities
    assert (home() / name / "README.md").is_file()


def test_pages_show_readme_verdicts_and_results(folder: Path, tmp_path: Path) -> None:
    (folder / "doubling" / "README.md").write_text("# Doubling\n\nTwice.\n")
    pages = tmp_path / "pages"
    write_pages(folder, pages)
    assert "| [doubling](doubling.md) | Doubling doubles | - | - |" in (
        (pages / "index.md").read_text()
    )
    for size in ("quick", "full"):
        write_report(reproduce("doubling", size=size, folder=folder), folder / "doubling/results")
    write_pages(folder, pages)
    assert "| Doubling doubles | 1 of 2 | 1 of 2 |" in (pages / "index.md").read_text()
    text = (pages / "doubling.md").read_text()
    assert text.startswith("# Doubling\n\nTwice.\n\n## Results, quick size\n")
    assert "| 2 \\|number\\| | own | 5.94 to 6.06 | 10 | not reproduced |" in text


def test_the_unbalanced_saddle_is_reproduced() -> None:
    report = reproduce("unbalanced-saddle")
    assert set(report.verdicts.values()) == {ReproductionVerdict.REPRODUCED}


def test_the_command_runs_and_lists(tmp_path: Path) -> None:
    listed = CliRunner().invoke(app, ["reproduce", "--json"])
    assert listed.exit_code == 0
    assert "unbalanced-saddle" in [r["name"] for r in json.loads(listed.stdout)["reproductions"]]
    run = CliRunner().invoke(
        app, ["reproduce", "unbalanced-saddle", "--output", str(tmp_path), "--json"]
    )
    assert run.exit_code == 0
    assert json.loads(run.stdout)["verdict"] == "reproduced"
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "quick-curvature.png", "quick.json", "quick.md",
    ]  # fmt: skip
    unknown = CliRunner().invoke(app, ["reproduce", "nonsense"])
    assert unknown.exit_code == 2
