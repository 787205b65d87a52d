"""`ranklift info`: what a file holds and which ranks its entries could determine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from ..io import IncompleteMatrix


@dataclass(frozen=True)
class DataFacts:
    """Hold what counting alone says about an incomplete matrix."""

    shape: tuple[int, int]
    num_observed: int
    density: float
    value_range: tuple[float, float]
    mean: float
    standard_deviation: float
    row_counts: tuple[int, float, int]
    column_counts: tuple[int, float, int]
    components: int
    largest_component: tuple[int, int]
    largest_rank_by_counting: int
    largest_rank_everywhere: int
    ranks: tuple[dict[str, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values with names for JSON."""
        least, middle, most = ("least", "median", "most")
        names = (least, middle, most)
        return {
            "shape": list(self.shape),
            "num_observed": self.num_observed,
            "density": self.density,
            "value_range": list(self.value_range),
            "mean": self.mean,
            "standard_deviation": self.standard_deviation,
            "entries_per_row": dict(zip(names, self.row_counts, strict=True)),
            "entries_per_column": dict(zip(names, self.column_counts, strict=True)),
            "components": self.components,
            "largest_component": list(self.largest_component),
            "largest_rank_by_counting": self.largest_rank_by_counting,
            "largest_rank_everywhere": self.largest_rank_everywhere,
            "ranks": list(self.ranks),
        }


def degrees_of_freedom(shape: tuple[int, int], rank: int) -> int:
    """Return r (n1 + n2 - r), the dimension of the n1 x n2 matrices of rank r.

    Examples
    --------
    >>> degrees_of_freedom((300, 350), 5)
    3225
    """
    return rank * (shape[0] + shape[1] - rank)


def largest_rank_by_counting(shape: tuple[int, int], num_observed: int) -> int:
    """Return the largest r <= min(n1, n2) with r (n1 + n2 - r) <= m; 0 when none has.

    Examples
    --------
    >>> largest_rank_by_counting((300, 350), 3225)
    5
    >>> largest_rank_by_counting((300, 350), 300 * 350)
    300
    """
    # r (n - r) grows up to r = n/2 >= min(n1, n2): bisect
    low, high = 0, min(shape)
    while low < high:
        middle = (low + high + 1) // 2
        if degrees_of_freedom(shape, middle) <= num_observed:
            low = middle
        else:
            high = middle - 1
    return low


def data_facts(data: IncompleteMatrix) -> DataFacts:
    """Count; cost one pass over the entries and one connected-components run."""
    n1, n2 = data.shape
    rows, columns = data.row_counts, data.column_counts
    edges = sparse.coo_array(
        (np.ones(data.num_observed, dtype=np.int8), (data.rows, data.cols + n1)),
        shape=(n1 + n2, n1 + n2),
    )
    _, labels = connected_components(edges, directed=False)
    observed = np.concatenate([rows, columns]) > 0
    parts, sizes = np.unique(labels[observed], return_counts=True)
    main = labels == parts[int(np.argmax(sizes))]
    largest = largest_rank_by_counting(data.shape, data.num_observed)
    candidates = {1, 2, 3, 5, 10, 20, 50, 100, largest}
    table = tuple(
        {
            "rank": rank,
            "degrees_of_freedom": degrees_of_freedom(data.shape, rank),
            "entries_per_degree": data.num_observed / degrees_of_freedom(data.shape, rank),
            "rows_below_rank": int((rows < rank).sum()),
            "columns_below_rank": int((columns < rank).sum()),
        }
        for rank in sorted(candidates)
        if 1 <= rank <= max(largest, 1)
    )
    least = int(min(rows.min(), columns.min()))
    return DataFacts(
        shape=data.shape,
        num_observed=data.num_observed,
        density=data.density,
        value_range=(float(data.values.min()), float(data.values.max())),
        mean=float(data.values.mean()),
        standard_deviation=float(data.values.std()),
        row_counts=_three(rows),
        column_counts=_three(columns),
        components=int(parts.size),
        largest_component=(int(main[:n1].sum()), int(main[n1:].sum())),
        largest_rank_by_counting=largest,
        largest_rank_everywhere=min(least, largest),
        ranks=table,
    )


def describe(data: IncompleteMatrix, facts: DataFacts) -> str:
    """Return the facts as aligned text."""
    n1, n2 = facts.shape
    low, high = facts.value_range
    one = facts.components == 1
    connection = (
        "rows and columns are all linked"
        if one
        else f"{facts.components} separate parts, the largest {facts.largest_component[0]} x "
        f"{facts.largest_component[1]}: parts cannot inform each other"
    )
    values = (
        f"{low:.6g} to {high:.6g}, mean {facts.mean:.6g}, "
        f"standard deviation {facts.standard_deviation:.4g}"
    )
    ranks = (
        f"at most {facts.largest_rank_by_counting} by counting; every row and column has "
        f"enough entries up to rank {facts.largest_rank_everywhere}"
    )
    lines = [
        ("file", data.source),
        ("read as", data.layout),
        ("sha256", data.sha256),
        ("shape", f"{n1:,} x {n2:,}"),
        ("observed", f"{facts.num_observed:,} entries, {100 * facts.density:.3g} %"),
        ("values", values),
        ("per row", _counts_text(facts.row_counts)),
        ("per column", _counts_text(facts.column_counts)),
        ("connection", connection),
        ("rank", ranks),
    ]
    text = "\n".join(f"{name:<11} {value}" for name, value in lines)
    table = [
        f"{int(row['rank']):>6} {int(row['degrees_of_freedom']):>12,} "
        f"{row['entries_per_degree']:>12.2f} {int(row['rows_below_rank']):>12,} "
        f"{int(row['columns_below_rank']):>12,}"
        for row in facts.ranks
    ]
    head = f"{'rank':>6} {'unknowns':>12} {'entries each':>12} {'poor rows':>12} {'poor cols':>12}"
    return "\n".join([text, "", head, *table])


def _three(counts: Any) -> tuple[int, float, int]:
    return int(counts.min()), float(np.median(counts)), int(counts.max())


def _counts_text(counts: tuple[int, float, int]) -> str:
    return f"{counts[0]:,} to {counts[2]:,} entries, median {counts[1]:,.4g}"
