"""Deblur a photograph without knowing the blur: both are lifted to one rank-one matrix.

The picture lies in the span of its largest wavelet coefficients, as if their places were known (in
practice they are taken from a sharp picture of the same scene, or from a coarse deblurring), and
the blur in a small window of pixels.
"""

from __future__ import annotations

import time

import numpy as np
from matplotlib.figure import Figure
from scipy import sparse

import ranklift as rl
from ranklift.operators import BlindDeconvolution

from .record import options, save

SIDE, WINDOW, COEFFICIENTS = 128, 9, 3000


def photograph() -> np.ndarray:
    """Return scikit-image's camera picture (CC0), reduced."""
    from skimage import data, transform

    return np.asarray(transform.resize(data.camera(), (SIDE, SIDE), anti_aliasing=True))


def haar(side: int) -> sparse.csr_matrix:
    """Return the orthonormal Haar transform of a line of the given length, a power of two."""
    if side == 1:
        return sparse.csr_matrix(np.ones((1, 1)))
    half = haar(side // 2)
    low = sparse.kron(sparse.eye(side // 2), np.array([[1.0, 1.0]])) / np.sqrt(2)
    high = sparse.kron(sparse.eye(side // 2), np.array([[1.0, -1.0]])) / np.sqrt(2)
    return sparse.csr_matrix(sparse.vstack([half @ low, high]))


def motion_blur() -> np.ndarray:
    """Return a curved motion blur, 9 x 9, of sum one."""
    blur = np.zeros((WINDOW, WINDOW))
    for t in np.linspace(0, 1, 400):
        x, y = 1 + 6.5 * t, 2 + 5 * t * t
        blur[round(y), round(x)] += 1.0
    return blur / blur.sum()


def main(argv: list[str] | None = None) -> None:
    """Run the example."""
    args, started = options(__doc__, argv), time.perf_counter()
    picture, blur = photograph(), motion_blur()
    transform = sparse.kron(haar(SIDE), haar(SIDE)).tocsr()
    coefficients = transform @ picture.ravel()
    kept = np.argsort(np.abs(coefficients))[::-1][:COEFFICIENTS]
    signals = sparse.csr_matrix(transform[kept].T)  # columns are orthonormal wavelets
    inside = (signals @ coefficients[kept]).reshape(picture.shape)
    grid = np.zeros((SIDE, SIDE))
    grid[:WINDOW, :WINDOW] = np.arange(1, WINDOW * WINDOW + 1).reshape(WINDOW, WINDOW)
    window = np.flatnonzero(grid)
    filters = sparse.csr_matrix(
        (np.ones(window.size), (window, np.arange(window.size))), shape=(SIDE * SIDE, window.size)
    )
    operator = BlindDeconvolution(filters, signals, picture.shape)
    kernel = np.zeros_like(picture)
    kernel[:WINDOW, :WINDOW] = blur
    blurred = np.fft.ifft2(np.fft.fft2(kernel) * np.fft.fft2(inside)).real
    found = rl.recover(operator, operator.measure(blurred), rank=1, rng=args.seed)
    h, x = found.left[:, 0], found.right[:, 0]
    scale = h.sum()  # a blur keeps the brightness: that fixes the one free factor
    deblurred = (signals @ (x * scale)).reshape(picture.shape)
    kernel_found = (h / scale).reshape(WINDOW, WINDOW)
    error = np.linalg.norm(deblurred - inside) / np.linalg.norm(inside)
    blur_error = np.linalg.norm(kernel_found - blur) / np.linalg.norm(blur)

    figure = Figure(figsize=(9, 2.2))
    axes = figure.subplots(1, 5)
    shown = [
        (blurred, "blurred"), (deblurred, "deblurred"), (inside, "truth (in the subspace)"),
        (kernel_found, "blur found"), (blur, "true blur"),
    ]  # fmt: skip
    for ax, (image, title) in zip(axes, shown, strict=True):
        ax.imshow(image, cmap="gray")
        ax.set_title(title, fontsize=9)
        ax.set(xticks=[], yticks=[])
    save(
        "blind_deconvolution", "blind deconvolution", figure,
        {
            "pixels": SIDE * SIDE,
            "unknowns of the picture": COEFFICIENTS,
            "unknowns of the blur": WINDOW * WINDOW,
            "relative error of the picture": float(f"{error:.1e}"),
            "relative error of the blur": float(f"{blur_error:.1e}"),
            "share of the picture in the subspace": round(
                float(np.linalg.norm(inside) ** 2 / np.linalg.norm(picture) ** 2), 4
            ),
        },
        found,
        source="scikit-image camera (CC0), simulated blur",
        output=args.output, started=started,
    )  # fmt: skip


if __name__ == "__main__":
    main()
