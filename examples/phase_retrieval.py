"""The cameraman from intensities behind random masks: phase retrieval without a reference beam."""

from __future__ import annotations

import time

import numpy as np
from matplotlib.figure import Figure

from ranklift.estimators import PhaseRetrieval
from ranklift.operators import CodedDiffraction, random_masks

from .record import options, save

SIDE, MASKS = 128, 4


def cameraman() -> np.ndarray:
    """Return scikit-image's camera picture (CC0), reduced."""
    from skimage import data, transform

    return np.asarray(transform.resize(data.camera(), (SIDE, SIDE), anti_aliasing=True))


def main(argv: list[str] | None = None) -> None:
    """Run the example."""
    args, started = options(__doc__, argv), time.perf_counter()
    rng = np.random.default_rng(args.seed)
    picture = cameraman()
    vectors = CodedDiffraction(random_masks(MASKS, picture.shape, rng))
    intensities = np.abs(vectors @ picture.ravel()) ** 2
    model = PhaseRetrieval(field="real", random_state=args.seed).fit(vectors, intensities)
    found = model.signal_.reshape(picture.shape)
    error = np.linalg.norm(found - picture) / np.linalg.norm(picture)

    noisy = intensities * (1 + 0.05 * rng.standard_normal(intensities.shape))
    # The noise of an intensity is 5% of itself: weights would help, and are not used here.
    sigma = float(0.05 * np.sqrt(np.mean(intensities**2)))
    worn = PhaseRetrieval(field="real", noise=sigma, certify=False, random_state=args.seed)
    worn.fit(vectors, noisy)
    noisy_error = np.linalg.norm(worn.signal_ - picture.ravel()) / np.linalg.norm(picture)

    figure = Figure(figsize=(9, 2.6))
    axes = figure.subplots(1, 4)
    spectrum = np.log1p(intensities[: SIDE * SIDE].reshape(SIDE, SIDE))
    shown = [
        (np.fft.fftshift(spectrum), "one of 4 measured spectra"),
        (found, "recovered"),
        (worn.signal_.reshape(picture.shape), "recovered, 5% noise"),
        (picture, "truth"),
    ]
    for ax, (image, title) in zip(axes, shown, strict=True):
        ax.imshow(image, cmap="gray")
        ax.set_title(title, fontsize=9)
        ax.set(xticks=[], yticks=[])
    assert model.recovery_ is not None
    save(
        "phase_retrieval", "phase retrieval (coded diffraction)", figure,
        {
            "pixels": SIDE * SIDE,
            "masks": MASKS,
            "relative error": float(f"{error:.1e}"),
            "relative error at 5% noise": round(float(noisy_error), 4),
        },
        model.recovery_,
        source="scikit-image camera (CC0)", output=args.output, started=started,
    )  # fmt: skip


if __name__ == "__main__":
    main()
