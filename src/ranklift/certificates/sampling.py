"""Sampling: conditions that any rank-r completion needs before uniqueness can be hoped for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from ..arrays import Array
from ..factorizations import Asymmetric, Deep
from ..operators import EntrySampling, MeasurementOperator, Scaled, Weighted
from ..problem import FactorizedProblem
from ..status import Rigor, Verdict
from .base import Certificate, CertificateReport


def sampled_entries(operator: MeasurementOperator) -> EntrySampling | None:
    """Return the entry sampling under weights and scalings, if there is one."""
    while isinstance(operator, (Scaled, Weighted)):
        if isinstance(operator, Scaled) and operator.mixes_entries:
            return None
        operator = operator.base
    return operator if isinstance(operator, EntrySampling) else None


def connected_parts(sampling: EntrySampling) -> int:
    """Return the number of connected parts of the bipartite graph of samples.

    Unobserved rows and columns are not counted as parts.
    """
    n1, n2 = sampling.shape
    edges = sparse.coo_array(
        (np.ones(sampling.num_measurements, dtype=np.int8), (sampling.rows, sampling.cols + n1)),
        shape=(n1 + n2, n1 + n2),
    )
    parts, labels = connected_components(edges, directed=False)
    observed = np.concatenate([sampling.row_counts, sampling.column_counts]) > 0
    return int(np.unique(labels[observed]).size) if parts else 0


@dataclass(frozen=True)
class Sampling(Certificate):
    """Check counts: m >= degrees of freedom; entries: r samples a row and column, one part.

    Necessary, not sufficient. A row with fewer than r samples has a whole family of completions,
    and unconnected parts can be rescaled against each other, whatever the residual says.
    Source: Singer and Cucuringu (2010); Kiraly, Theran, Tomioka (2015).
    """

    name: ClassVar[str] = "sampling"

    def check(
        self, problem: FactorizedProblem, w: Array, rng: np.random.Generator
    ) -> CertificateReport:
        """Count samples; FAILS lists the rows and columns at fault."""
        n1, n2 = problem.operator.shape
        # More columns than the sides mean no constraint at all.
        rank = min(problem.search_rank(problem.gauge(w)), n1, n2)
        freedom = problem.factorization.degrees_of_freedom((n1, n2), rank)
        sampling = sampled_entries(problem.operator)
        m = problem.operator.num_measurements
        symmetric = not isinstance(problem.factorization, (Asymmetric, Deep))
        if symmetric and sampling is not None:  # (i, j) and (j, i) are one measurement of X = X^T
            pairs = np.sort(np.stack([sampling.rows, sampling.cols]), axis=0)
            m, sampling = int(np.unique(pairs, axis=1).shape[1]), None
        details = {"measurements": float(m), "degrees_of_freedom": float(freedom)}
        ok, least = m >= freedom, float(m)
        witness: dict[str, np.ndarray] = {}
        if sampling is not None:
            rows, columns = sampling.row_counts, sampling.column_counts
            least = float(min(rows.min(), columns.min()))
            parts = connected_parts(sampling)
            witness = {
                "rows": np.flatnonzero(rows < rank),
                "columns": np.flatnonzero(columns < rank),
            }
            details |= {
                "connected_parts": float(parts),
                "rows_below_rank": float(witness["rows"].size),
                "columns_below_rank": float(witness["columns"].size),
            }
            ok = ok and least >= rank and parts == 1
        return CertificateReport(
            name=self.name,
            verdict=Verdict.HOLDS if ok else Verdict.FAILS,
            measured=least if sampling is not None else float(m),
            threshold=float(rank) if sampling is not None else float(freedom),
            rigor=Rigor.PROVED,  # integer counts, exact
            statement=(
                "there are enough measurements, in the right places, for a matrix of this rank to "
                "be determined (a necessary condition)"
            ),
            source="counting; bipartite graph of samples",
            witness=None if ok else witness,
            details=details,
        )
