"""`ranklift sense`: read a problem, recover, certify, write; cheap checks come first."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, RankError
from ..io import Problem, atomic_path, read_problem
from ..operators import (
    DistanceSensing,
    MeasurementOperator,
)
from .console import Watch, certificate_lines, collected_warnings
from .estimate import check_estimate, write_estimate, write_factors, write_outliers
from .outputs import check_outputs
from .solve import innermost, solve

if TYPE_CHECKING:
    from ..result import Recovery

STRUCTURE_WORDS = {
    "Asymmetric": "general",
    "Symmetric": "positive semidefinite",
    "Signed": "symmetric",
    "Hermitian": "positive semidefinite, complex Hermitian",
}


@dataclass(frozen=True)
class SenseOptions:
    """Hold what `ranklift sense` was asked for, beside the file."""

    rank: int | None = None
    structure: str = "auto"
    noise: str = "auto"
    loss: str = "squared"
    threshold: float | None = None
    selection: str | None = None
    outliers: str = "entries"
    max_time_s: float | None = None
    tol: float = 1e-8
    seed: int = 0
    output: Path = Path("result.npz")
    report: Path | None = Path("report.html")
    factors: Path | None = None
    estimate: Path | None = None
    outliers_file: Path | None = None
    command: str = ""

    def check(self) -> None:
        """Raise InputError for values, and pairs of them, that make no sense.

        Raises
        ------
        InputError
        """
        level = self.noise_level
        if not 0 < self.tol < 1:
            raise InputError(f"--tol {self.tol:g}", "use a tolerance between 0 and 1, say 1e-8")
        if self.max_time_s is not None and not 0 < self.max_time_s < np.inf:
            raise InputError(f"--max-time {self.max_time_s:g}", "use a positive number of seconds")
        if self.threshold is not None and self.loss != "huber":
            raise InputError(
                f"--threshold with --loss {self.loss}", "add --loss huber, or leave it out"
            )
        if self.threshold is not None and not 0 < self.threshold < np.inf:
            raise InputError(f"--threshold {self.threshold:g}", "use a positive number")
        if self.loss == "absolute" and self.structure in ("psd", "indefinite"):
            raise InputError(
                f"--loss absolute with --structure {self.structure}",
                "use --loss huber with a --threshold, or leave --structure out",
            )
        if self.loss == "logistic" and self.rank is not None:
            raise InputError(
                "--loss logistic with --rank: at a fixed rank such a fit can grow without bound",
                "leave --rank out: the regularised fit is the answer",
            )
        if self.loss == "logistic" and isinstance(level, float) and level > 0:
            raise InputError(
                f"--loss logistic with --noise {self.noise}: 1-bit data have no such level",
                "use --noise auto",
            )
        if self.selection is not None and self.loss != "squared":
            raise InputError(
                f"--selection {self.selection} with --loss {self.loss}", "leave one of them out"
            )
        if self.selection in ("flat", "nuclear") and self.rank is not None:
            raise InputError(
                f"--rank with --selection {self.selection}, which has the rank of its convex "
                "problem",
                "leave --rank out, or use --selection min_norm",
            )
        if self.loss != "absolute" and (self.outliers != "entries" or self.outliers_file):
            raise InputError("outliers without a robust fit", "add --robust")

    @property
    def noise_level(self) -> float | str:
        """Return the standard deviation (0: exact), "auto" or "estimate".

        Raises
        ------
        InputError
        """
        if self.noise in ("auto", "estimate"):
            return self.noise
        try:
            level = 0.0 if self.noise == "exact" else float(self.noise)
            valid = self.noise == "exact" or 0 < level < np.inf
        except ValueError:
            valid = False
        if not valid:
            raise InputError(
                f"--noise {self.noise}", "use auto, exact, estimate, or a standard deviation > 0"
            )
        return level

    def check_outputs(self, file: Path) -> None:
        """Raise FileFormatError for outputs that cannot be written or would overwrite the input."""
        check_outputs(
            {
                "--output": (self.output, (".npz",)),
                "--report": (self.report, ()),
                "--factors": (self.factors, (".npz",)),
                "--estimate": (self.estimate, (".npy", ".csv")),
                "--outliers-file": (self.outliers_file, (".csv",)),
            },
            file,
        )


def sense_file(
    file: Path, options: SenseOptions, *, quiet: bool = False
) -> tuple[dict[str, Any], str, bool]:
    """Return (plain values, text, certified) of a problem file; write what was asked for.

    Raises
    ------
    InputError
        Bad input, said before any work on the data.
    """
    options.check()
    options.check_outputs(file)
    return sense_problem(read_problem(file), options, quiet=quiet)


def sense_problem(
    problem: Problem,
    options: SenseOptions,
    *,
    quiet: bool = False,
    extras: Mapping[str, np.ndarray] | None = None,
) -> tuple[dict[str, Any], str, bool]:
    """Solve a problem already read; write result, report, factors and estimate.

    Parameters
    ----------
    problem : Problem
    options : SenseOptions
    quiet : bool
        No progress bar.
    extras : mapping of str to array, optional
        What else the result file shall hold: labels of rows and columns, offsets. ``row_labels``
        and ``column_labels`` name the entries in a file of outliers.

    Raises
    ------
    InputError
        Before any work.
    """
    _check_rank(problem.operator, options)
    if options.estimate is not None:
        check_estimate(problem, options.estimate)
    name = Path(problem.source).name
    started = time.perf_counter()
    with (
        collected_warnings() as warnings,
        Watch(name, quiet=quiet, max_time_s=options.max_time_s) as watch,
    ):
        recovery = solve(problem, options, watch.callback)
    elapsed = time.perf_counter() - started
    matrix = problem.embedded(recovery.matrix)
    recovery.extras |= dict(extras or {})
    if matrix is not recovery.matrix and innermost(problem.operator, DistanceSensing):
        recovery.extras["points"] = np.asarray(matrix.left)
    structure = STRUCTURE_WORDS.get(type(recovery.factorization).__name__, "special")
    given = options.structure if options.structure != "auto" else ""
    if problem.symmetric is True and structure == "symmetric" and not given:
        warnings.append("robust fits do not ask for positive semidefinite matrices")
    recovery.provenance |= {
        "command": options.command,
        "seed": options.seed,
        "source": problem.source,
        "data_sha256": problem.sha256,
        "layout": problem.layout,
        "model": {"structure": structure, "loss": options.loss, "noise": _noise_words(recovery)},
    }
    with atomic_path(options.output) as aside:
        recovery.save(aside)
    written = {"result": str(options.output)}
    if options.report is not None:
        from ..viz import write_report

        context = _context(problem, recovery, options, structure, elapsed, warnings)
        write_report(options.report, recovery, context)
        written["report"] = str(options.report)
    if options.factors is not None:
        write_factors(options.factors, matrix)
        written["factors"] = str(options.factors)
    if options.estimate is not None:
        write_estimate(options.estimate, matrix)
        written["estimate"] = str(options.estimate)
    if options.outliers_file is not None:
        write_outliers(options.outliers_file, recovery, extras or {})
        written["outliers"] = str(options.outliers_file)
    values = {
        **recovery.to_dict(),
        "certified": bool(recovery.certified),
        "data": {
            "source": problem.source,
            "sha256": problem.sha256,
            "layout": problem.layout,
            "operator": type(problem.operator).__name__,
            "shape": list(matrix.shape),
            "num_measurements": problem.operator.num_measurements,
        },
        "structure": structure,
        "degrees_of_freedom": _freedom(problem, recovery),
        "singular_values": recovery.singular_values,
        "num_outliers": _num_outliers(recovery),
        "error": problem.error(recovery.matrix),
        "elapsed_s": elapsed,
        "warnings": list(warnings),
        "files": written,
    }
    text = _text(problem, recovery, values, structure)
    return values, text, bool(recovery.certified)


def _check_rank(operator: MeasurementOperator, options: SenseOptions) -> None:
    n1, n2 = operator.shape
    if options.rank is not None and options.rank > min(n1, n2):
        raise RankError(
            f"--rank {options.rank} for a {n1} x {n2} matrix",
            f"use at most {min(n1, n2)}, or leave it out",
        )


def _freedom(problem: Problem, recovery: Recovery) -> int:
    return int(recovery.factorization.degrees_of_freedom(problem.operator.shape, recovery.rank))


def _num_outliers(recovery: Recovery) -> int | None:
    if "outliers" not in recovery.extras:
        return None
    return int(np.count_nonzero(recovery.extras["outliers"]))


def _operator_words(operator: MeasurementOperator) -> str:
    name = type(operator).__name__
    base = getattr(operator, "base", None)
    return name if base is None else f"{name} of {_operator_words(base)}"


def _noise_words(recovery: Recovery) -> str:
    if type(recovery.loss).__name__ == "Logistic":
        return "1-bit outcomes"
    return "exact" if recovery.noise is None else f"standard deviation {recovery.noise:.4g}"


def _context(
    problem: Problem,
    recovery: Recovery,
    options: SenseOptions,
    structure: str,
    elapsed: float,
    warnings: list[str],
) -> Any:
    from ..viz import ReportContext

    n1, n2 = problem.embedded_shape
    freedom = _freedom(problem, recovery)
    facts = {
        "Data": problem.source,
        "Read as": f"{problem.layout} ({_operator_words(problem.operator)})",
        "Unknown": f"{n1:,} x {n2:,} matrix, {structure}",
        "Measurements": f"{problem.b.size:,}, from {problem.b.min():.6g} to {problem.b.max():.6g}",
        "Degrees of freedom": f"{freedom:,} at rank {recovery.rank}",
    }
    error = problem.error(recovery.matrix)
    if error is not None:
        facts["Relative error against the truth"] = f"{error:.3g}"
    count = _num_outliers(recovery)
    if count is not None:
        facts["Gross errors found"] = f"{count:,}"
    loss = recovery.loss
    parameters = {
        "Rank": "searched for" if options.rank is None else f"{options.rank}, given",
        **({} if options.selection is None else {"Selection": options.selection}),
        "Noise": f"{options.noise}: {_noise_words(recovery)}",
        "Loss": options.loss
        + (f", threshold {loss.threshold:.4g}" if hasattr(loss, "threshold") else ""),  # type: ignore[attr-defined]
        "Tolerance": f"{options.tol:g}",
        "Seed": str(options.seed),
    }
    return ReportContext(
        title=f"Recovery of {Path(problem.source).name}",
        data=facts,
        parameters=parameters,
        elapsed_s=elapsed,
        warnings=warnings,
    )


def _text(problem: Problem, recovery: Recovery, values: Mapping[str, Any], structure: str) -> str:
    from ..viz.words import headline

    line = headline(recovery)
    n1, n2 = problem.embedded_shape
    m, freedom = problem.b.size, values["degrees_of_freedom"]
    lines = [
        f"{Path(problem.source).name}: {n1:,} x {n2:,} {structure} matrix, {m:,} measurements, "
        f"read as {problem.layout} ({_operator_words(problem.operator)})",
        f"rank {recovery.rank}: {freedom:,} degrees of freedom"
        + (f", {m / freedom:.3g} measurements each" if freedom else ""),
        f"{recovery.status.value}, {values['elapsed_s']:.2f} s; relative residual "
        f"{recovery.relative_residual:.3g}; noise: {_noise_words(recovery)}",
        *([recovery.escape_words] if recovery.escapes else []),
        f"{line.badge.upper()}: {line.sentence}",
        *certificate_lines(recovery),
    ]
    if values["num_outliers"] is not None:
        lines.append(f"{values['num_outliers']:,} gross errors among the measurements")
    if values["error"] is not None:
        lines.append(f"relative error against the truth {values['error']:.3g}")
    lines += [f"note: {message}" for message in values["warnings"]]
    lines.append("wrote " + ", ".join(values["files"].values()))
    return "\n".join(lines)
