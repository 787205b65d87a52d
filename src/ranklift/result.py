"""Recovery: both stages of an answer, what was proved about each, and the file that holds it."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import Array, to_numpy
from .certificates import CertificateReport
from .errors import FileFormatError, InputError, NotCertifiedError
from .escapes.search import EscapeAttempt
from .factorizations import Asymmetric, Factorization
from .losses import Loss, Squared
from .lowrank import LowRank
from .operators import OPERATORS, MeasurementOperator
from .problem import Counts
from .status import Status, Verdict
from .trace import Trace, TraceRow

FILE_VERSION = 2


@dataclass(frozen=True)
class ConvexSolution:
    """The certified solution of the nuclear-norm problem.

    Attributes
    ----------
    left, right : arrays
        Balanced factors (symmetric: both are U).
    regularization : float
        lambda, in units of ||A*(b)||_2.
    objective, relative_gap : float
        loss + lambda ||X||_* and its certified relative duality gap.
    certificates : dict
    loss : Loss
        1/2 ||A(X) - b||^2 by default.
    weighted : bool
        Whether the norm is ||D1 X D2||_* with the curvature weights (selection="flat").
    """

    left: Array
    right: Array
    regularization: float
    objective: float
    relative_gap: float
    certificates: Mapping[str, CertificateReport] = field(default_factory=dict)
    loss: Loss = field(default_factory=Squared)
    weighted: bool = False

    @property
    def matrix(self) -> LowRank:
        """Return X = L R^T."""
        return LowRank(self.left, self.right)

    @property
    def rank(self) -> int:
        """Return the number of columns."""
        return int(self.left.shape[1])


@dataclass
class Recovery:
    """The outcome of ``recover``.

    Attributes
    ----------
    left, right : arrays (n1, rank), (n2, rank)
        Balanced factors of the answer, X = L R^T (symmetric: both are U; Hermitian: U and conj(U)).
        With selection="flat" balanced in the curvature weights: L^T D1^2 L = R^T D2^2 R.
    factorization : Factorization
        What the search was over.
    loss : Loss
        What it minimised.
    status : Status
        Why the last stage stopped. Not a statement about optimality.
    certificates : dict of CertificateReport
        What is proved about this answer.
    convex : ConvexSolution or None
        The regularised stage with its own certificates.
    trace, counts, wall_time
        Every iteration, operator applications, seconds.
    noise : float or None
        Standard deviation given or estimated; None for exact data.
    holdout : dict or None
        What the hold-out compared: lambda, rank and error.
    measures : dict
        Numbers measured at the last iterate (eps_g, eps_h).
    escapes : list of EscapeAttempt
        What was tried to leave an answer that the data reject, in order.
    provenance : dict
        Versions, seed, settings.
    extras : dict of arrays
        Whatever belongs to the answer beside it (offsets, scales, labels); saved with it.
    operator, measurements
        The data, kept for ``save`` and for certificates.
    """

    left: Array
    right: Array
    status: Status
    relative_residual: float
    residual_norm: float
    factorization: Factorization = field(default_factory=Asymmetric)
    loss: Loss = field(default_factory=Squared)
    certificates: dict[str, CertificateReport] = field(default_factory=dict)
    convex: ConvexSolution | None = None
    trace: Trace = field(default_factory=Trace)
    counts: Counts = field(default_factory=Counts)
    wall_time: float = 0.0
    stage_times: dict[str, float] = field(default_factory=dict)
    noise: float | None = None
    holdout: dict[str, Any] | None = None
    measures: dict[str, float] = field(default_factory=dict)
    escapes: list[EscapeAttempt] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)
    extras: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    operator: MeasurementOperator | None = field(default=None, repr=False)
    measurements: Array | None = field(default=None, repr=False)

    @property
    def symmetric(self) -> bool:
        """Whether the answer is positive semidefinite by construction."""
        return self.factorization.definite

    @property
    def matrix(self) -> LowRank:
        """Return the recovered matrix, in factored form."""
        return LowRank(self.left, self.right)

    @property
    def rank(self) -> int:
        """Return the rank of the answer."""
        return int(self.left.shape[1])

    @property
    def refitted(self) -> bool:
        """Whether the answer was refitted; False: it is the regularised solution itself.

        Told from the factors alone. Cost: two thin QR.
        """
        if self.convex is None or self.rank != self.convex.rank:
            return True
        if self.rank == 0:
            return False
        return (self.matrix - self.convex.matrix).norm() > 1e-5 * self.matrix.norm()

    @property
    def choice(self) -> str:
        """Return why the regularised solution is the answer, in words; "" for a refit."""
        if self.refitted:
            return ""
        held = self.holdout or {}
        if held and held["refit_error"] is None:
            return "it is the answer: the data are too sparse for a refit without shrinkage"
        if held and held["refit_error"] > held["convex_error"]:
            return "it is the answer: on held-out data it predicts better than a refit"
        return "it is the answer: no refit was made"

    @property
    def singular_values(self) -> np.ndarray:
        """Return the singular values of the answer, descending."""
        return to_numpy(self.matrix.svd()[1]) if self.rank else np.zeros(0)

    @property
    def certified(self) -> bool:
        """Whether a global statement holds: a zero residual, a closed gap, in either stage."""
        reports = {**self.certificates}
        if self.convex is not None:
            reports |= {f"convex.{name}": r for name, r in self.convex.certificates.items()}
        return self.vouched_for(reports)

    def vouched_for(self, reports: Mapping[str, CertificateReport]) -> bool:
        """Whether these reports (the convex stage's by "convex.name") speak for the answer.

        A refit of noisy data goes with the certified solution that it was made from. For exact data
        that solution is only a start: a refit that does not reproduce them is just a bad fit. A
        selected answer (``recover(selection=)``) stands by what it was selected for.
        """
        selected = [report for name, report in reports.items() if name in SELECTION_CERTIFICATES]
        if selected:
            return all(report.verdict is Verdict.HOLDS for report in selected)
        start_only = self.noise is None and isinstance(self.loss, Squared) and self.refitted
        return any(
            report.verdict is Verdict.HOLDS
            and name.removeprefix("convex.") in GLOBAL_CERTIFICATES
            and not (start_only and name.startswith("convex."))
            for name, report in reports.items()
        )

    @property
    def escape_words(self) -> str:
        """Return what the escapes came to, in a line; "" where none were tried."""
        if not self.escapes:
            return ""
        kept = [attempt.escape for attempt in self.escapes if attempt.accepted]
        least = min(a.after if a.accepted else a.before for a in self.escapes)
        return (
            f"escapes: {len(self.escapes)} descents, objective {self.escapes[0].before:.3g} to "
            f"{least:.3g} ({', '.join(kept) if kept else 'none ended lower'})"
        )

    def summary(self) -> str:
        """Return a short text: the answer, why it stopped, what is proved."""
        n1, n2 = self.matrix.shape
        lines = [
            f"{n1} x {n2} matrix of rank {self.rank}, relative residual "
            f"{self.relative_residual:.3g}, {self.wall_time:.2f} s",
            f"status: {self.status.value} ({self.status.remedy})",
        ]
        if self.noise is not None:
            lines.append(f"noise: standard deviation {self.noise:.4g}")
        if self.escapes:
            lines.append(self.escape_words)
        lines += [_line(report) for report in self.certificates.values()]
        if self.convex is not None:
            lines.append(
                f"regularised stage: rank {self.convex.rank}, lambda "
                f"{self.convex.regularization:.4g}, relative gap {self.convex.relative_gap:.2e}"
                + (f"; {self.choice}" if self.choice else "")
            )
            lines += [_line(report) for report in self.convex.certificates.values()]
        return "\n".join(lines)

    def raise_if_failed(self) -> Recovery:
        """Return self, or raise NotCertifiedError when nothing global is proved."""
        if not self.certified:
            raise NotCertifiedError(
                "no certificate of global optimality holds for this answer. Remedy: read "
                "summary(); raise max_time or loosen tol, give the noise level, or collect more "
                "measurements."
            )
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the arrays as plain values for JSON."""
        convex = None
        if self.convex is not None:
            convex = {
                "rank": self.convex.rank,
                "regularization": self.convex.regularization,
                "objective": self.convex.objective,
                "relative_gap": self.convex.relative_gap,
                "loss": self.convex.loss.to_dict(),
                "weighted": self.convex.weighted,
                "certificates": {k: r.to_dict() for k, r in self.convex.certificates.items()},
            }
        return {
            "shape": list(self.matrix.shape),
            "rank": self.rank,
            "factorization": self.factorization.to_dict(),
            "loss": self.loss.to_dict(),
            "status": self.status.value,
            "certified": self.certified,
            "relative_residual": self.relative_residual,
            "residual_norm": self.residual_norm,
            "noise": self.noise,
            "holdout": self.holdout,
            "measures": self.measures,
            "certificates": {k: r.to_dict() for k, r in self.certificates.items()},
            "convex": convex,
            "counts": vars(self.counts),
            "wall_time": self.wall_time,
            "stage_times": self.stage_times,
            "escapes": [attempt.to_dict() for attempt in self.escapes],
            "provenance": self.provenance,
        }

    def save(self, path: str | os.PathLike[str], *, include_operator: bool = True) -> Path:
        """Write the answer, the data and the certificates to one .npz file.

        Written aside and renamed, so a crash leaves no partial file.

        Raises
        ------
        InputError
            When the operator holds code: save with include_operator=False.
        """
        from .io.atomic import atomic_path

        path = Path(path)
        arrays = {"left": to_numpy(self.left), "right": to_numpy(self.right)}
        document = self.to_dict() | {"version": FILE_VERSION}
        document["trace"] = [list(row) for row in self.trace.rows]
        if self.convex is not None:
            arrays["convex.left"] = to_numpy(self.convex.left)
            arrays["convex.right"] = to_numpy(self.convex.right)
        if include_operator and self.operator is not None and self.measurements is not None:
            document["operator"] = type(self.operator).__name__
            arrays["measurements"] = to_numpy(self.measurements)
            for key, value in self.operator.to_arrays().items():
                arrays[f"operator.{key}"] = value
        arrays |= {f"extra.{key}": np.asarray(value) for key, value in self.extras.items()}
        arrays["document"] = np.array(json.dumps(document))
        with atomic_path(path) as aside, aside.open("wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]
        return path


GLOBAL_CERTIFICATES = ("zero_residual", "duality_gap", "psd_gap", "rank_deficiency")
"""Names of the certificates that speak of global optimality."""

SELECTION_CERTIFICATES = ("flatness", "minimum_norm")
"""Names of those that speak of one solution among the many that fit."""


def _line(report: CertificateReport) -> str:
    return (
        f"  {report.name}: {report.verdict.value.upper()} ({report.rigor.value}) measured "
        f"{report.measured:.3g}, threshold {report.threshold:.3g}: {report.statement}"
    )


def load(path: str | os.PathLike[str]) -> Recovery:
    """Read a Recovery from the file that ``Recovery.save`` wrote.

    Raises
    ------
    FileFormatError
        When the file is missing, broken, or not a ranklift result.
    """
    path = Path(path)
    try:
        # A stream of our own: np.load leaves the file open when the archive is broken.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
        document = json.loads(str(arrays["document"]))
        return _from_document(arrays, document)
    except FileNotFoundError:
        raise FileFormatError(f"{path} does not exist", "check the path") from None
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise FileFormatError(
            f"{path} is not a ranklift result ({error})",
            "pass a file written by Recovery.save or `ranklift complete`, or write it again",
        ) from error


def _from_document(arrays: Mapping[str, np.ndarray], document: dict[str, Any]) -> Recovery:
    if document["version"] != FILE_VERSION:
        raise FileFormatError(
            f"result file version {document['version']}, expected {FILE_VERSION}",
            "read it with the ranklift version that wrote it, or recompute it",
        )
    convex = None
    if document["convex"] is not None:
        values = document["convex"]
        convex = ConvexSolution(
            arrays["convex.left"],
            arrays["convex.right"],
            values["regularization"],
            values["objective"],
            values["relative_gap"],
            {k: CertificateReport.from_dict(r) for k, r in values["certificates"].items()},
            Loss.from_dict(values["loss"]),
            values.get("weighted", False),
        )
    operator = None
    if "operator" in document:
        mark = "operator."
        data = {key[len(mark) :]: arrays[key] for key in arrays if key.startswith(mark)}
        operator = OPERATORS[document["operator"]].from_arrays(data)
    return Recovery(
        left=arrays["left"],
        right=arrays["right"],
        status=Status(document["status"]),
        relative_residual=document["relative_residual"],
        residual_norm=document["residual_norm"],
        factorization=Factorization.from_dict(document["factorization"]),
        loss=Loss.from_dict(document["loss"]),
        certificates={
            k: CertificateReport.from_dict(r) for k, r in document["certificates"].items()
        },
        convex=convex,
        trace=Trace(rows=[TraceRow(*row) for row in document["trace"]]),
        counts=Counts(**document["counts"]),
        wall_time=document["wall_time"],
        stage_times=document["stage_times"],
        noise=document["noise"],
        holdout=document["holdout"],
        measures=document["measures"],
        escapes=[EscapeAttempt(**attempt) for attempt in document.get("escapes", [])],
        provenance=document["provenance"],
        extras={key[6:]: arrays[key] for key in arrays if key.startswith("extra.")},
        operator=operator,
        measurements=arrays.get("measurements"),
    )
