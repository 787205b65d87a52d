"""`ranklift complete`: read, fit, certify, write; every check that can fail cheaply comes first."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, RankError
from ..io import IncompleteMatrix, atomic_path, read_incomplete, write_completed
from ..io.read import available_memory
from ..io.write import check_completed
from .console import Watch, collected_warnings
from .fit import Fit, fit_matrix
from .outputs import check_outputs


@dataclass(frozen=True)
class CompleteOptions:
    """Hold what `ranklift complete` was asked for, beside the file."""

    rank: int | None = None
    noise: str = "auto"
    holdout: float = 0.0
    seed: int = 0
    max_time_s: float | None = None
    tol: float = 1e-8
    output: Path = Path("result.npz")
    report: Path | None = Path("report.html")
    completed: Path | None = None
    command: str = ""

    @property
    def exact(self) -> bool:
        """Whether the data are taken as free of noise."""
        return self.noise == "exact"

    @property
    def noise_level(self) -> float | None:
        """Return the given standard deviation, or None."""
        return None if self.noise in ("auto", "exact") else float(self.noise)

    def check(self) -> None:
        """Raise InputError for values that make no sense.

        Raises
        ------
        InputError
        """
        if self.noise not in ("auto", "exact"):
            try:
                valid = 0 < float(self.noise) < np.inf
            except ValueError:
                valid = False
            if not valid:
                raise InputError(
                    f"--noise {self.noise}", "use auto, exact, or a positive standard deviation"
                )
        if not 0 <= self.holdout < 1:
            raise InputError(f"--holdout {self.holdout:g}", "use a share from 0 to 1, say 0.1")
        if not 0 < self.tol < 1:
            raise InputError(f"--tol {self.tol:g}", "use a tolerance between 0 and 1, say 1e-8")
        if self.max_time_s is not None and not 0 < self.max_time_s < np.inf:
            raise InputError(f"--max-time {self.max_time_s:g}", "use a positive number of seconds")

    def check_outputs(self, file: Path | None = None) -> None:
        """Raise FileFormatError for outputs that cannot be written or would overwrite the input."""
        check_outputs(
            {
                "--output": (self.output, (".npz",)),
                "--report": (self.report, ()),
                "--completed": (self.completed, ()),
            },
            file,
        )


def complete_file(
    file: Path, reading: Mapping[str, Any], options: CompleteOptions, *, quiet: bool = False
) -> tuple[dict[str, Any], str, bool]:
    """Return (plain values, text, certified) of a completed file; write what was asked for.

    Raises
    ------
    InputError
        Bad input, said before any work on the data.
    """
    options.check()
    options.check_outputs(file)
    data = read_incomplete(file, **reading)
    if options.rank is not None and options.rank > min(data.shape):
        raise RankError(
            f"--rank {options.rank} for a {data.shape[0]} x {data.shape[1]} matrix",
            f"use at most {min(data.shape)}, or leave it out",
        )
    if options.completed is not None:
        free = shutil.disk_usage(options.completed.parent).free
        check_completed(options.completed, data.shape, free, available_memory())
    return complete_data(data, options, quiet=quiet)


def complete_data(
    data: IncompleteMatrix,
    options: CompleteOptions,
    *,
    quiet: bool = False,
    title: str = "",
    comparisons: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], str, bool]:
    """Fit data already read, write result, report and completed table.

    Parameters
    ----------
    data : IncompleteMatrix
    options : CompleteOptions
    quiet : bool
        No progress bar.
    title : str
        Of the report.
    comparisons : mapping of str to callable
        Simpler models (train, rows, cols) -> values, compared on the test entries.
    """
    train, test = split(data, options.holdout, options.seed)
    with (
        collected_warnings() as warnings,
        Watch(Path(data.source).name, quiet=quiet, max_time_s=options.max_time_s) as watch,
    ):
        fit = fit_matrix(train, options, watch.callback)
    from ..viz.report import rmse

    errors: dict[str, float] = {}
    test_fitted = None
    if test is not None:
        test_fitted = fit.predict(test.rows, test.cols)
        errors["ranklift"] = rmse(test.values, test_fitted)
        for name, model in (comparisons or {}).items():
            errors[name] = rmse(test.values, model(train, test.rows, test.cols))
    recovery = fit.recovery
    recovery.extras |= _labels(data)
    recovery.provenance |= {
        "command": options.command,
        "seed": options.seed,  # of the command; a hold-out derives those of its fits from it
        "source": data.source,
        "data_sha256": data.sha256,
        "layout": data.layout,
        "model": dict(fit.model),
    }
    with atomic_path(options.output) as aside:
        recovery.save(aside)
    written = {"result": str(options.output)}
    if options.report is not None:
        from ..viz import write_report

        context = _context(data, train, test, test_fitted, fit, options, warnings, errors, title)
        write_report(options.report, recovery, context)
        written["report"] = str(options.report)
    if options.completed is not None:
        write_completed(options.completed, data, fit.predict)
        written["completed"] = str(options.completed)
    values = {
        **recovery.to_dict(),
        "certified": bool(recovery.certified),
        "data": _data_facts(data),
        "num_train": train.num_observed,
        "holdout_rmse": errors.get("ranklift"),
        "holdout_errors": errors,
        "model": dict(fit.model),
        "elapsed_s": fit.elapsed_s,
        "warnings": list(warnings),
        "files": written,
    }
    return values, _text(data, fit, errors, warnings, written), bool(recovery.certified)


def split(
    data: IncompleteMatrix, share: float, seed: int
) -> tuple[IncompleteMatrix, IncompleteMatrix | None]:
    """Return (train, test) entries; every row and column keeps at least one train entry.

    Without that, a row's only entry could be asked back from nothing.
    """
    count = round(share * data.num_observed)
    if count == 0:
        return data, None
    order = np.random.default_rng(seed).permutation(data.num_observed)
    kept = np.zeros(data.num_observed, dtype=bool)
    for index in (data.rows, data.cols):
        kept[order[np.unique(index[order], return_index=True)[1]]] = True
    taken = order[~kept[order]][:count]
    if taken.size == 0:
        raise InputError(
            f"{data.source}: no entry can be kept aside: each is the only one of its row or column",
            "leave --holdout out",
        )
    mask: NDArray[np.bool_] = np.zeros(data.num_observed, dtype=bool)
    mask[taken] = True
    return data.select(~mask), data.select(mask)


def _labels(data: IncompleteMatrix) -> dict[str, np.ndarray]:
    """Return the labels of rows and columns, as arrays that a file holds without pickling."""
    labels = {"row_labels": data.row_labels, "column_labels": data.column_labels}
    return {
        name: values.astype(str) if values.dtype == object else values
        for name, values in labels.items()
    }


def _data_facts(data: IncompleteMatrix) -> dict[str, Any]:
    return {
        "source": data.source,
        "sha256": data.sha256,
        "layout": data.layout,
        "shape": list(data.shape),
        "num_observed": data.num_observed,
        "density": data.density,
    }


def _context(
    data: IncompleteMatrix,
    train: IncompleteMatrix,
    test: IncompleteMatrix | None,
    test_fitted: Any,
    fit: Fit,
    options: CompleteOptions,
    warnings: list[str],
    errors: Mapping[str, float],
    title: str,
) -> Any:
    from ..viz import ReportContext

    n1, n2 = data.shape
    facts = {
        "Data": data.source,
        "Read as": data.layout,
        "Size": f"{n1:,} rows, {n2:,} columns",
        "Observed": f"{data.num_observed:,} entries, {100 * data.density:.3g} % of the matrix",
        "Values": f"{data.values.min():.6g} to {data.values.max():.6g}",
    }
    if test is not None:
        facts["Kept aside"] = f"{test.num_observed:,} entries"
    return ReportContext(
        title=title or f"Completion of {Path(data.source).name}",
        data={key: value for key, value in facts.items() if value},
        parameters={key.replace("_", " ").capitalize(): v for key, v in fit.parameters.items()},
        observed=train.values,
        fitted=fit.predict(train.rows, train.cols),
        holdout_observed=None if test is None else test.values,
        holdout_fitted=test_fitted,
        comparisons={name: error for name, error in errors.items() if name != "ranklift"},
        selection=fit.selection,
        elapsed_s=fit.elapsed_s,
        warnings=warnings,
    )


def _text(
    data: IncompleteMatrix,
    fit: Fit,
    errors: Mapping[str, float],
    warnings: list[str],
    written: Mapping[str, str],
) -> str:
    from ..viz.words import headline

    recovery = fit.recovery
    line = headline(recovery)
    n1, n2 = data.shape
    described = (
        f"{Path(data.source).name}: {n1:,} x {n2:,}, {data.num_observed:,} observed "
        f"({100 * data.density:.3g} %), read as {data.layout}"
    )
    source = fit.parameters.get("predictions from", f"the answer, rank {recovery.rank}")
    lines = [
        described,
        f"rank {recovery.rank}, {fit.elapsed_s:.2f} s; predictions from {source}",
        f"{line.badge.upper()}: {line.sentence}",
    ]
    lines += [f"held-out RMSE {error:.4f}  {name}" for name, error in errors.items()]
    lines += [f"note: {message}" for message in warnings]
    lines.append("wrote " + ", ".join(written.values()))
    return "\n".join(lines)
