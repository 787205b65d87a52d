"""A quadratic network that tells handwritten threes from fives, and what its units look at."""

from __future__ import annotations

import time

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from ranklift.estimators import QuadraticNetwork

from .record import options, save


def main(argv: list[str] | None = None) -> None:
    """Run the example."""
    args, started = options(__doc__, argv), time.perf_counter()
    images, digits = load_digits(return_X_y=True)
    chosen = np.isin(digits, (3, 5))
    x, y = images[chosen] / 16.0, np.where(digits[chosen] == 3, 1.0, -1.0)
    x_train, x_test, y_train, y_test = train_test_split(
        x, y, test_size=0.4, random_state=args.seed, stratify=y
    )
    center = x_train.mean(axis=0)
    model = QuadraticNetwork(fit_linear=True, random_state=args.seed)
    model.fit(x_train - center, y_train)
    accuracy = float(np.mean(np.sign(model.predict(x_test - center)) == y_test))
    linear = LogisticRegression(max_iter=2000).fit(x_train, y_train)
    values, vectors = np.linalg.eigh(model.coef_)
    order = np.argsort(-np.abs(values))[:6]

    figure = Figure(figsize=(9, 2.0))
    axes = figure.subplots(1, 7)
    axes[0].imshow(center.reshape(8, 8), cmap="gray_r")
    axes[0].set_title("mean", fontsize=9)
    for ax, index in zip(axes[1:], order, strict=True):
        unit = vectors[:, index].reshape(8, 8)
        size = np.abs(unit).max()
        ax.imshow(unit, cmap="RdBu_r", vmin=-size, vmax=size)
        ax.set_title(f"{'3' if values[index] > 0 else '5'}: {values[index]:+.2f}", fontsize=9)
    for ax in axes:
        ax.set(xticks=[], yticks=[])
    save(
        "quadratic_network", "quadratic network", figure,
        {
            "training images": len(x_train),
            "test images": len(x_test),
            "test accuracy": round(accuracy, 4),
            "test accuracy of logistic regression": round(float(linear.score(x_test, y_test)), 4),
            "positive units": int(model.U1_.shape[1]),
            "negative units": int(model.U2_.shape[1]),
        },
        model.recovery_,
        source="scikit-learn digits (BSD)", output=args.output, started=started,
    )  # fmt: skip


if __name__ == "__main__":
    main()
