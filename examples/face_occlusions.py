"""Faces behind patches of black and white pixels: robust PCA beside a truncated SVD."""

from __future__ import annotations

import time

import numpy as np
from matplotlib.figure import Figure

from ranklift.estimators import RobustPCA

from .record import INK, options, save

SIDE, FACES, SHOWN = 25, 100, 8
RANK = 5
"""Over four draws of the patches, ranks 3 to 6 err alike under them; judged by the truth, which a
user has not. Faces of 100 people have no rank: the search by itself finds the first alone."""

OTHER_RANKS = (3, 8, 12)
PATCH = (7, 11)
"""Height and width of a patch, from and below, in pixels."""

DEAD = 0.05


def faces() -> np.ndarray:
    """Return 100 faces of scikit-image's subset of LFW, grey values 0 to 1, one a row."""
    from skimage import data

    return np.asarray(data.lfw_subset()[:FACES], dtype=float).reshape(FACES, SIDE * SIDE)


def cover(
    truth: np.ndarray, rng: np.random.Generator, *, plain: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return (spoilt faces with NaN for dead pixels, where a patch lies).

    Every face has one patch: random black and white pixels, or one random grey.
    """
    images = truth.reshape(-1, SIDE, SIDE).copy()
    covered = np.zeros(images.shape, dtype=bool)
    for image, mask in zip(images, covered, strict=True):
        height, width = rng.integers(*PATCH, size=2)
        y, x = rng.integers(0, SIDE + 1 - height), rng.integers(0, SIDE + 1 - width)
        patch = np.s_[y : y + height, x : x + width]
        image[patch] = rng.random() if plain else rng.random((height, width)) < 0.5
        mask[patch] = True
    table = images.reshape(truth.shape)
    table[rng.random(truth.shape) < DEAD] = np.nan
    return table, covered.reshape(truth.shape)


def truncated_svd(table: np.ndarray, rank: int, steps: int = 200) -> np.ndarray:
    """Return the least-squares fit of a rank, gaps filled with it until they stay."""
    seen = np.isfinite(table)
    fit = np.broadcast_to(np.nanmean(table, axis=0), table.shape)
    for _ in range(steps):
        u, s, vt = np.linalg.svd(np.where(seen, table, fit), full_matrices=False)
        fit = (u[:, :rank] * s[:rank]) @ vt[:rank]
    return fit


def rms(x: np.ndarray) -> float:
    """Return the root mean square, to four places."""
    return round(float(np.sqrt(np.mean(x**2))), 4)


def detection(model: RobustPCA, covered: np.ndarray, table: np.ndarray) -> tuple[float, float]:
    """Return precision and recall of the outliers against the pixels under patches."""
    found, there = model.outliers_ != 0, covered & np.isfinite(table)
    hits = np.count_nonzero(found & there)
    return (
        round(hits / max(np.count_nonzero(found), 1), 3),
        round(hits / np.count_nonzero(there), 3),
    )


def picture(rows: list[tuple[str, np.ndarray]]) -> Figure:
    """Return a figure of the first faces, one row a kind."""
    figure = Figure(figsize=(SHOWN * 1.02, len(rows) * 1.02))
    axes = figure.subplots(len(rows), SHOWN, gridspec_kw={"wspace": 0.06, "hspace": 0.06})
    for line, (label, images) in zip(axes, rows, strict=True):
        for ax, image in zip(line, images[:SHOWN], strict=True):
            signed = label.startswith("outliers")
            ax.set_facecolor("#d1495b")
            ax.imshow(
                np.ma.masked_invalid(image.reshape(SIDE, SIDE)),
                cmap="RdBu_r" if signed else "gray",
                vmin=-1 if signed else 0,
                vmax=1,
            )
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        line[0].set_ylabel(
            label, rotation=0, ha="right", va="center", fontsize=9, color=INK, labelpad=6
        )
    return figure


def main(argv: list[str] | None = None) -> None:
    """Run the example."""
    args, started = options(__doc__, argv), time.perf_counter()
    truth = faces()
    table, covered = cover(truth, np.random.default_rng(args.seed), plain=False)
    dead = np.isnan(table)
    model = RobustPCA(rank=RANK, random_state=args.seed).fit(table)
    plain = truncated_svd(table, RANK)
    # What could be had at this rank by someone who is told where the patches are.
    told = truncated_svd(np.where(covered | dead, np.nan, truth), RANK)
    repaired = np.where(dead | (model.outliers_ != 0), model.low_rank_, table)
    precision, recall = detection(model, covered, table)
    by_rank = {
        k: rms((RobustPCA(rank=k, certify=False, random_state=args.seed)
                .fit(table).low_rank_ - truth)[covered])
        for k in OTHER_RANKS
    }  # fmt: skip

    grey_table, grey_covered = cover(truth, np.random.default_rng(args.seed), plain=True)
    grey = RobustPCA(rank=RANK, certify=False, random_state=args.seed).fit(grey_table)
    grey_plain = truncated_svd(grey_table, RANK)
    grey_precision, grey_recall = detection(grey, grey_covered, grey_table)

    figure = picture(
        [
            ("given", table),
            ("outliers", model.outliers_),
            (f"low-rank part\n(rank {RANK})", model.low_rank_),
            ("repaired", repaired),
            ("truth", truth),
        ]
    )
    save(
        "face_occlusions", "robust PCA (gross errors, missing pixels)", figure,
        {
            "faces": FACES,
            "pixels a face": SIDE * SIDE,
            "share under patches": round(float(covered.mean()), 3),
            "share of dead pixels": round(float(dead.mean()), 3),
            "RMS error under patches": rms((model.low_rank_ - truth)[covered]),
            "the same, truncated SVD": rms((plain - truth)[covered]),
            "the same, told where the patches are": rms((told - truth)[covered]),
            "RMS error at dead pixels": rms((model.low_rank_ - truth)[dead & ~covered]),
            "dead pixels, truncated SVD": rms((plain - truth)[dead & ~covered]),
            "RMS error of all pixels, given": rms((table - truth)[~dead]),
            "RMS error of all pixels, repaired": rms(repaired - truth),
            "precision of the outliers": precision,
            "recall of the outliers": recall,
            "RMS error under patches at other ranks": by_rank,
            "RMS error of this rank on clean faces": rms(truncated_svd(truth, RANK, 1) - truth),
            "plain grey patches: RMS error": rms((grey.low_rank_ - truth)[grey_covered]),
            "plain grey patches: truncated SVD": rms((grey_plain - truth)[grey_covered]),
            "plain grey patches: precision": grey_precision,
            "plain grey patches: recall": grey_recall,
        },
        model.recovery_,
        source="scikit-image lfw_subset (Labeled Faces in the Wild)",
        output=args.output, started=started,
    )  # fmt: skip


if __name__ == "__main__":
    main()
