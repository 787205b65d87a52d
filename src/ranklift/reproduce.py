"""Reproductions: a claim written down before the run, a run, and a verdict on every number.

A reproduction is a folder with claim.toml (what is claimed, by whom, with which tolerance and
seeds), run.py (a function ``run``) and README.md. Claims and code lie apart, so that a claim is not
bent to what the code gives.
"""

from __future__ import annotations

import importlib.util
import sys
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

from .errors import FileFormatError, InputError

ORIGINS = ("paper", "measured", "own")
"""Whose number it is: read in the paper; measured before by this project; derived by it."""

Progress = Callable[[str, int, int], Any]


class ReproductionVerdict(str, Enum):
    """Say how a number of a run compares with the claim."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True)
class Quantity:
    """One number of a claim.

    Attributes
    ----------
    name : str
        As the run returns it.
    statement : str
    origin : "paper", "measured" or "own"
    at_least, at_most : float
        The range that reproduces it; infinite where a side is free.
    sizes : tuple of str
        Sizes of the run at which it can be compared; at others it is "not comparable".
    """

    name: str
    statement: str
    origin: str
    at_least: float = float("-inf")
    at_most: float = float("inf")
    sizes: tuple[str, ...] = ()

    def judge(self, value: float | None, size: str) -> ReproductionVerdict:
        """Compare a measured value.

        Examples
        --------
        >>> Quantity("error", "is small", "own", at_most=1.0).judge(0.5, "quick").value
        'reproduced'
        """
        if value is None or value != value or (self.sizes and size not in self.sizes):
            return ReproductionVerdict.NOT_COMPARABLE
        inside = self.at_least <= value <= self.at_most
        return ReproductionVerdict.REPRODUCED if inside else ReproductionVerdict.NOT_REPRODUCED

    @property
    def claimed(self) -> str:
        """Return the range in words."""
        if self.at_least == float("-inf"):
            return f"<= {self.at_most:g}"
        if self.at_most == float("inf"):
            return f">= {self.at_least:g}"
        return f"{self.at_least:g} to {self.at_most:g}"


@dataclass(frozen=True)
class Claim:
    """What a folder claims: title, source, settings by size, and quantities."""

    name: str
    title: str
    source: str
    sizes: Mapping[str, Mapping[str, Any]]
    quantities: tuple[Quantity, ...]


@dataclass
class Outcome:
    """What a run returns.

    Parameters
    ----------
    values : mapping of str to float
        By the names of the claim's quantities; further ones are reported without a verdict.
    tables : mapping of str to list of rows
        Each row a mapping from column to value.
    figures : mapping of str to matplotlib Figure
    notes : list of str
        Deviations from the source, said plainly.
    """

    values: dict[str, float]
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Report:
    """The judged outcome of one run."""

    claim: Claim
    size: str
    outcome: Outcome
    verdicts: dict[str, ReproductionVerdict]
    elapsed_s: float

    @property
    def verdict(self) -> ReproductionVerdict:
        """Return the worst: not reproduced before not comparable before reproduced."""
        found = set(self.verdicts.values())
        for verdict in (ReproductionVerdict.NOT_REPRODUCED, ReproductionVerdict.REPRODUCED):
            if verdict in found:
                return verdict
        return ReproductionVerdict.NOT_COMPARABLE

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "name": self.claim.name,
            "title": self.claim.title,
            "source": self.claim.source,
            "size": self.size,
            "settings": dict(self.claim.sizes[self.size]),
            "verdict": self.verdict.value,
            "quantities": [
                {
                    "name": quantity.name,
                    "statement": quantity.statement,
                    "origin": quantity.origin,
                    "claimed": quantity.claimed,
                    "measured": self.outcome.values.get(quantity.name),
                    "verdict": self.verdicts[quantity.name].value,
                }
                for quantity in self.claim.quantities
            ],
            "values": self.outcome.values,
            "tables": self.outcome.tables,
            "notes": self.outcome.notes,
            "elapsed_s": self.elapsed_s,
        }


def home() -> Path:
    """Return the folder of reproductions: in the working directory, else of the repository.

    Raises
    ------
    FileFormatError
        Where there is none.
    """
    for folder in (Path.cwd(), *Path(__file__).resolve().parents):
        if names(folder / "reproductions"):
            return folder / "reproductions"
    raise FileFormatError(
        "the reproductions are not installed with the package",
        "clone the repository and run the command in it",
    )


def names(folder: Path | None = None) -> list[str]:
    """Return the names of all reproductions."""
    base = home() if folder is None else folder
    return sorted(path.parent.name for path in base.glob("*/claim.toml"))


def load_claim(folder: Path) -> Claim:
    """Read claim.toml.

    Raises
    ------
    FileFormatError
        A missing or broken file, an unknown key or origin, a quantity without a range.
    """
    path = folder / "claim.toml"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        quantities = []
        for entry in document["quantity"]:
            entry = dict(entry)
            if "expected" in entry:
                expected = float(entry.pop("expected"))
                slack = float(entry.pop("relative_tolerance")) * abs(expected)
                entry |= {"at_least": expected - slack, "at_most": expected + slack}
            entry["sizes"] = tuple(entry.get("sizes", ()))
            quantities.append(Quantity(**entry))
        claim = Claim(
            folder.name, document["title"], document["source"], document["size"], tuple(quantities)
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise FileFormatError(
            f"{path} is no claim ({type(error).__name__}: {error})",
            "give title, source, a table size.NAME, and quantities with name, statement, origin "
            "and at_most, at_least or expected with relative_tolerance",
        ) from error
    for quantity in claim.quantities:
        free = quantity.at_least == float("-inf") and quantity.at_most == float("inf")
        if quantity.origin not in ORIGINS or free:
            raise FileFormatError(
                f"{path}: quantity {quantity.name} of origin {quantity.origin!r}, "
                f"claimed {quantity.claimed}",
                f"use an origin of {', '.join(ORIGINS)}, and a range",
            )
    return claim


def trials_store(folder: Path, size: str) -> Path:
    """Return where an interrupted run of a reproduction keeps its finished trials.

    Parameters
    ----------
    folder : Path
        Of the reproduction.
    size : str
        "quick", "full": each has a file of its own.
    """
    return folder / "results" / f".trials-{size}.jsonl"


def reproduce(
    name: str, *, size: str = "quick", progress: Progress | None = None, folder: Path | None = None
) -> Report:
    """Run a reproduction and judge its numbers.

    Parameters
    ----------
    name : str
        Of a folder of reproductions/.
    size : str, default "quick"
        A table of the claim's settings: "quick" takes a minute or two, "full" what the source has.
    progress : callable, optional
        ``progress(what, done, total)``.
    folder : Path, optional
        Where the reproductions lie.

    Raises
    ------
    InputError, FileFormatError
        An unknown name or size, or a broken folder.

    Notes
    -----
    ``run`` gets the settings of the size and, as ``settings["store"]``, the path at which it may
    keep finished trials (``ranklift.trials.run_trials``). A complete run deletes that file.
    """
    base = home() if folder is None else folder
    if name not in names(base):
        raise InputError(f"no reproduction {name!r}", f"use one of: {', '.join(names(base))}")
    claim = load_claim(base / name)
    if size not in claim.sizes:
        raise InputError(f"size {size!r} of {name}", f"use one of: {', '.join(claim.sizes)}")
    run = load_module(base / name / "run.py").run
    store = trials_store(base / name, size)
    started = time.perf_counter()
    outcome = run({**claim.sizes[size], "store": store}, progress or _silent)
    elapsed = time.perf_counter() - started
    # A complete run leaves nothing to take up: the next one has to reproduce, not to repeat.
    store.unlink(missing_ok=True)
    verdicts = {q.name: q.judge(outcome.values.get(q.name), size) for q in claim.quantities}
    return Report(claim, size, outcome, verdicts, elapsed)


def _silent(what: str, done: int, total: int) -> None:
    return None


def load_module(path: Path) -> ModuleType:
    """Load a file that lies outside the package, such as run.py of a reproduction.

    Raises
    ------
    FileFormatError
        Where there is none.
    """
    name = "_".join(("ranklift_reproduction", path.parent.name, path.stem)).replace("-", "_")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileFormatError(f"{path} is missing", "write it: def run(settings, progress)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
