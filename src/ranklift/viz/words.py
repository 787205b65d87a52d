"""What each verdict means to a person who is not a specialist in optimisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

VERDICT_WORDS = {"holds": "holds", "fails": "fails", "inconclusive": "inconclusive"}

RIGOR_WORDS = {
    "proved": "Proved: by exact counting, or with the rounding errors of the computation bounded.",
    "high_probability": "High probability: as computed in floating point, except with a small, "
    "stated chance of an unlucky random start.",
    "heuristic": "Measured: a number compared with a threshold, without a guarantee.",
}


@dataclass(frozen=True)
class Meaning:
    """Say in plain words what a certificate is about, and what it means when it does not hold."""

    title: str
    says: str
    does_not_say: str
    otherwise: str = ""


MEANINGS: Mapping[str, Meaning] = {
    "duality_gap": Meaning(
        "Best possible regularised fit",
        "No matrix of any rank has a regularised objective lower than this one by more than the "
        "measured relative gap. There is no better solution hidden elsewhere.",
        "That this solution is the true matrix: regularisation shrinks it. Where a refit without "
        "shrinkage predicts better, that refit is the answer.",
        "The regularised search stopped early: more time may close the gap.",
    ),
    "zero_residual": Meaning(
        "The data are reproduced",
        "Every observed value is matched to rounding, so no matrix fits the data better.",
        "That it is the only matrix of this rank that matches: see the uniqueness check.",
        "Expected for noisy data, which no matrix of low rank reproduces exactly.",
    ),
    "stationarity": Meaning(
        "Nothing gained by a small change",
        "To first order, no small change of the answer improves its fit.",
        "Anything about answers far away from this one.",
        "The search had not converged: more time or a looser tolerance is needed.",
    ),
    "curvature": Meaning(
        "Not a saddle point",
        "No direction was found along which the fit improves to second order: the answer is a "
        "local best fit at its rank, not a stopping point on a slope.",
        "That no better fit of the same rank exists far away.",
        "If inconclusive, no such direction was found, but the search was too short to exclude "
        "one. If it fails, the answer is a saddle point and a better fit is close by.",
    ),
    "identifiability": Meaning(
        "Locally unique",
        "The observed values determine the answer among nearby matrices of the same rank. One "
        "over the measured number limits how much noise in the data is amplified.",
        "That no different matrix of this rank, far away, fits equally well.",
        "If inconclusive, the bound was too weak or the problem too large to decide. If it fails, "
        "other matrices nearby fit as well: lower the rank or collect more data.",
    ),
    "sampling": Meaning(
        "Enough data in the right places",
        "Each row and column has at least as many entries as the rank, and the entries link all "
        "rows and columns together. Both are necessary for a unique answer.",
        "That they are sufficient.",
        "The blanks of the poorest rows and columns are filled by the model's preference for low "
        "rank rather than by the data. Usual for ratings; no statement about the fit itself.",
    ),
    "psd_gap": Meaning(
        "Best possible fit",
        "No positive semidefinite matrix within the trace bound fits better by more than the "
        "measured gap.",
        "That the answer is the true matrix when the data are noisy.",
    ),
    "minimum_norm": Meaning(
        "Smallest of all that fit",
        "Among the matrices that reproduce the data none has a smaller nuclear norm (trace, of "
        "positive semidefinite ones), up to the measured relative gap.",
        "That it is the true matrix, or the one of least rank: that is so where the measurements "
        "are enough.",
        "If inconclusive, the lower bound was too weak, as for an answer of limited rank. If it "
        "fails, a smaller matrix fits as well, or this one does not fit.",
    ),
    "flatness": Meaning(
        "Flattest of all that fit",
        "Among all factors, of any rank, that reproduce the data none has a smaller scaled trace "
        "of the Hessian, up to the measured relative excess: the fit bends least here.",
        "That it is the true matrix. Flat and true agree where the measurements are enough, and "
        "see all rows and columns about equally well (kappa near 1). Of covariances from quadratic "
        "sketches every fit is as flat as every other.",
        "If inconclusive, the lower bound was too weak. If it fails, flatter factors fit as well, "
        "or these do not fit.",
    ),
    "rank_deficiency": Meaning(
        "Rank to spare",
        "The search had more rank than it used, which bounds how far the fit is from the best.",
        "That the answer is the true matrix when the data are noisy.",
    ),
}


COUNTED = Meaning(
    "Enough data in the right places",
    "There are at least as many measurements as a matrix of this rank has degrees of freedom. "
    "This is necessary for a unique answer.",
    "That they are sufficient.",
    "Measurements are missing: what they leave open is filled by the preference for low rank.",
)
"""The words of ``sampling`` where measurements are no entries, and have no rows and columns."""


def meaning(name: str, statement: str, *, entries: bool = True) -> Meaning:
    """Return the words of a certificate; one without an entry speaks by its own statement.

    Without `entries` the measurements are others than entries of the matrix.
    """
    if name == "sampling" and not entries:
        return COUNTED
    plain = name.replace("_", " ").capitalize()
    return MEANINGS.get(name, Meaning(plain, statement, "More than its statement."))


@dataclass(frozen=True)
class Headline:
    """The answer to "may I trust it?" in one badge and one sentence."""

    certified: bool
    badge: str
    sentence: str


def headline(recovery: Any) -> Headline:
    """Return the verdict of a Recovery in one badge and one sentence.

    The badge agrees with the exit code of the command line.
    """
    certified = bool(recovery.certified)
    answer: Mapping[str, Any] = recovery.certificates
    convex = recovery.convex
    parts: list[str] = []
    if _holds(answer, "zero_residual"):
        parts.append("all observed values are reproduced, so no matrix fits better")
        if _holds(answer, "flatness"):
            parts.append("and no factors that reproduce them are flatter")
        if _holds(answer, "minimum_norm"):
            parts.append("and no matrix that reproduces them has a smaller norm")
        if _holds(answer, "identifiability"):
            parts.append("and no nearby matrix of this rank fits equally well")
    elif certified and convex is not None and _holds(convex.certificates, "duality_gap"):
        parts.append(
            "the regularised fit is globally optimal (no matrix of any rank does better by more "
            f"than a relative {_gap(convex):.1g})"
        )
        if recovery.choice:
            parts.append(f"and {recovery.choice}")
        elif _holds(answer, "curvature"):
            parts.append(f"and the rank-{recovery.rank} refit is a local best fit")
    elif certified and (_holds(answer, "psd_gap") or _holds(answer, "rank_deficiency")):
        parts.append("the fit is globally optimal among positive semidefinite matrices")
        if _holds(answer, "identifiability"):
            parts.append("and no nearby matrix of this rank fits equally well")
    if certified and parts:
        return Headline(True, "Certified", _sentence(parts))
    failed = [name for name, report in _all(recovery) if _value(report.verdict) != "holds"]
    said = "; ".join(meaning(name, "").title.lower() for name in dict.fromkeys(failed))
    parts.append(f"not established: {said}" if said else "no certificate covers this answer")
    reason = _value(recovery.status).replace("_", " ")
    return Headline(
        certified, "Certified" if certified else "Not certified",
        _sentence([*parts[:-1], f"{parts[-1]} (the run ended with: {reason})"]),
    )  # fmt: skip


def _all(recovery: Any) -> list[tuple[str, Any]]:
    reports = list(recovery.certificates.items())
    if recovery.convex is not None:
        reports += list(recovery.convex.certificates.items())
    return reports


def _holds(reports: Mapping[str, Any], name: str) -> bool:
    return name in reports and _value(reports[name].verdict) == "holds"


def _gap(convex: Any) -> float:
    return float(convex.relative_gap)


def _value(member: Any) -> str:
    return str(getattr(member, "value", member))


def _sentence(parts: list[str]) -> str:
    text = ""
    for part in parts:
        text += part if not text else (", " if part.startswith("and ") else "; ") + part
    return text[:1].upper() + text[1:] + "."
