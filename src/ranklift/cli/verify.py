"""`ranklift verify`: recompute every check of a result file from its data and factors alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..viz.words import meaning


def verify_result(path: Path) -> tuple[dict[str, Any], str, bool]:
    """Return (plain values, text, certified and in agreement) of a result file.

    The answer counts as certified when the file's claims hold again and a recomputed certificate
    of global optimality holds.

    Raises
    ------
    FileFormatError
        When the file is missing, broken, or holds no data to verify against.
    """
    from ..certificates.verify import verify
    from ..result import load

    verification = verify(path)
    # from the recomputed verdicts: a file cannot vouch for itself
    recomputed = {report.name: report for report in verification.reports}
    certified = verification.agrees and load(path).vouched_for(recomputed)
    values = {
        "result": str(path),
        "agrees": bool(verification.agrees),
        "certified": certified,
        "differences": dict(verification.differences),
        "reports": [report.to_dict() for report in verification.reports],
    }
    lines = [f"{path}: recomputed from the saved data and factors"]
    for report in verification.reports:
        title = meaning(report.name.split(".")[-1], report.statement).title
        lines.append(
            f"  {report.verdict.value.upper():<12} {title} "
            f"({report.name}): measured {report.measured:.3g}, threshold {report.threshold:.3g}, "
            f"{report.rigor.value.replace('_', ' ')}"
        )
    for name, difference in verification.differences.items():
        lines.append(f"  DIFFERS      {name}: {difference}")
    if not verification.agrees:
        lines.append("The file's own verdicts are NOT confirmed.")
    elif certified:
        lines.append("The file's own verdicts are confirmed, and the answer is certified.")
    else:
        lines.append("The file's own verdicts are confirmed: the answer is not certified.")
    return values, "\n".join(lines), certified
