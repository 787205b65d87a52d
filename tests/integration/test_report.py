"""The HTML report: complete, self-contained, safe against hostile names, honest about failures."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from ranklift.certificates import CertificateReport
from ranklift.lowrank import LowRank
from ranklift.operators import EntrySampling
from ranklift.problem import Counts
from ranklift.result import ConvexSolution, Recovery
from ranklift.status import Rigor, Status, Verdict
from ranklift.trace import Trace, TraceRow
from ranklift.viz import ReportContext, build_report, headline, write_report
from ranklift.viz.plots import observed_against_fitted, residual_histogram, spectrum
from ranklift.viz.report import number, rmse, singular_values

HOSTILE = '<script>alert("x")</script> & "co"'


def certificate(name: str, verdict: Verdict, measured: float = 1e-9) -> CertificateReport:
    """Return a report with a hostile statement."""
    return CertificateReport(
        name, verdict, measured, 1e-6, Rigor.HIGH_PROBABILITY, HOSTILE, (HOSTILE,), HOSTILE
    )


@pytest.fixture
def recovery() -> Recovery:
    """Return a small answer with both stages, all verdicts and a trace."""
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(30, 2)), rng.normal(size=(20, 2))
    rows, cols = np.nonzero(rng.random((30, 20)) < 0.6)
    noise = 0.1 * rng.normal(size=rows.size)
    operator = EntrySampling(rows, cols, (30, 20))
    trace = [TraceRow("regularised", k, 0.1 * k, 9.0 / (k + 1), 1.0, 10.0**-k, 3) for k in range(8)]
    trace += [TraceRow("debias", 0, 1.0, 0.5, 0.5, 1e-9, 2, 1e-7)]
    return Recovery(
        left,
        right,
        Status.SECOND_ORDER,
        relative_residual=0.05,
        residual_norm=1.0,
        noise=0.1,
        certificates={
            "stationarity": certificate("stationarity", Verdict.HOLDS),
            "curvature": certificate("curvature", Verdict.HOLDS),
            "identifiability": certificate("identifiability", Verdict.INCONCLUSIVE),
            "sampling": certificate("sampling", Verdict.FAILS),
        },
        convex=ConvexSolution(
            0.9 * left,
            right,
            1.5,
            3.0,
            2e-8,
            {"duality_gap": certificate("duality_gap", Verdict.HOLDS)},
        ),
        trace=Trace(rows=trace),
        counts=Counts(),
        wall_time=1.25,
        provenance={"seed": 0, "versions": {"numpy": "2"}, "name": HOSTILE},
        operator=operator,
        measurements=LowRank(left, right).entries(rows, cols) + noise,
    )


class Page(HTMLParser):
    """Collect what a browser would load or run, and whether tags balance."""

    void = ("meta", "br", "img", "link", "input", "hr")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.references: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.void:
            self.open.append(tag)
        for key, value in attrs:
            if key in ("src", "href", "xlink:href") and value:
                self.references.append(value)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for key, value in attrs:
            if key in ("src", "href", "xlink:href") and value:
                self.references.append(value)


def context() -> ReportContext:
    """Return a context with every part."""
    rng = np.random.default_rng(1)
    observed = rng.normal(size=50)
    return ReportContext(
        title=HOSTILE,
        data={"File": HOSTILE},
        parameters={"Rank": HOSTILE},
        holdout_observed=observed,
        holdout_fitted=observed + 0.5,
        comparisons={HOSTILE: 0.75},
        provenance={"Command": HOSTILE},
        warnings=(HOSTILE,),
    )


def test_report_is_balanced_self_contained_and_escaped(recovery: Recovery) -> None:
    html = build_report(recovery, context())
    page = Page()
    page.feed(html)
    assert page.open == []
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert all(link.startswith(("#", "data:")) for link in page.references)
    assert HOSTILE not in html
    assert "&lt;script&gt;" in html
    assert page.tags.count("svg") == 5  # convergence, spectrum, fit, residuals, hold-out


def test_report_says_everything_that_was_found(recovery: Recovery) -> None:
    html = build_report(recovery, context())
    for words in (
        "Certified",
        "Best possible regularised fit",
        "Nothing gained by a small change",
        "Not a saddle point",
        "Locally unique",
        "What it does not say",
        "inconclusive",
        "0.75",
        "second order",
        "ranklift verify",
    ):
        assert words in html
    # the constant error of the context is the hold-out RMSE
    assert "<b>0.5</b><span>RMSE on held-out entries</span>" in html
    # a check that does not hold must not speak in the indicative
    assert html.count("What it would say") == 2


def test_same_input_gives_the_same_report(recovery: Recovery) -> None:
    assert build_report(recovery, context()) == build_report(recovery, context())


def test_headline_follows_the_certificates(recovery: Recovery) -> None:
    good = headline(recovery)
    assert good.certified
    assert "globally optimal" in good.sentence
    assert recovery.convex is not None
    broken = replace(
        recovery.convex, certificates={"duality_gap": certificate("duality_gap", Verdict.FAILS)}
    )
    bad = headline(replace(recovery, convex=broken, status=Status.MAX_TIME))
    assert not bad.certified
    assert bad.badge == "Not certified"
    assert "best possible regularised fit" in bad.sentence
    assert "globally optimal" not in bad.sentence
    assert "max time" in bad.sentence
    exact = headline(
        replace(
            recovery,
            convex=None,
            certificates={
                "zero_residual": certificate("zero_residual", Verdict.HOLDS),
                "identifiability": certificate("identifiability", Verdict.HOLDS),
            },
        )
    )
    assert exact.certified
    assert "reproduced" in exact.sentence
    assert "nearby" in exact.sentence


def test_a_regularised_answer_is_said_to_be_one(recovery: Recovery) -> None:
    convex = recovery.convex
    assert convex is not None
    assert recovery.refitted
    assert recovery.choice == ""
    held = {"share": 0.1, "regularization": 1.5, "rank": 2, "convex_error": 0.9, "path": []}
    answer = replace(recovery, left=convex.left, right=convex.right, certificates={})
    for refit_error, words in ((1.1, "predicts better than a refit"), (None, "too sparse")):
        found = replace(answer, holdout=held | {"refit_error": refit_error})
        assert not found.refitted
        line = headline(found)
        assert line.certified
        assert "globally optimal" in line.sentence
        assert "and it is the answer" in line.sentence
        assert words in line.sentence
        assert words in found.summary()
        html = build_report(found)
        assert "about the regularised fit, which is the answer" in html
        assert ("not tried" in html) is (refit_error is None)
    assert "no refit was made" in headline(answer).sentence


def test_bare_recovery_without_data_or_trace(recovery: Recovery, tmp_path: Path) -> None:
    bare = replace(
        recovery, operator=None, measurements=None, convex=None, certificates={}, trace=Trace()
    )
    path = tmp_path / "bare.html"
    write_report(path, bare)
    html = path.read_text(encoding="utf-8")
    assert "Not certified" in html
    assert "No certificate was asked for" in html
    assert html.count("<svg") == 1  # the spectrum alone
    assert [item.name for item in tmp_path.iterdir()] == ["bare.html"]


def test_rank_zero_and_constant_values() -> None:
    assert "chosen rank 0" in spectrum(np.zeros(0), 0)
    assert "<svg" in observed_against_fitted([1.0, 1.0], [1.0, 1.0])
    assert "<svg" in residual_histogram([0.0, 0.0, 0.0])


def test_big_density_plot_stays_small() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=300_000)
    svg = observed_against_fitted(x, x + rng.normal(size=x.size))
    assert len(svg) < 400_000
    assert "image/png;base64" in svg
    assert re.search(r'id="[a-z]+_\d+"', svg) is None


def test_numbers_and_helpers() -> None:
    assert rmse([0.0, 0.0], [3.0, 3.0]) == 3.0
    assert [number(v) for v in (1e-12, 12345.6, float("inf"))] == ["1e-12", "12,346", "inf"]
    left = np.diag([3.0, 2.0])
    np.testing.assert_allclose(singular_values(left, np.eye(2)), [3.0, 2.0])
