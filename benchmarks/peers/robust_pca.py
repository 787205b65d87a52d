"""Robust PCA packages: pyrpca (inexact ALM), rpca (accelerated alternating projections), TensorLy.

Each takes the table (NaN where nothing was seen) and returns the low-rank part. Settings: best of a
trial at 2000 x 100, one seed: "easy" rank 3, 10 % outliers; "missing" the same with 20 % unseen;
"hard" rank 10, 20 % outliers. Relative errors in brackets.

- pyrpca 1.0.1: lambda = 1 / sqrt(max(n1, n2)), tol 1e-9 (easy 1e-9; default tol 1e-7: 3e-8); rho
  1.5 and 2 alike, 1.2 slower. No mask: an unseen entry is handed in as 0, an outlier to be found
  (missing 9e-2; 4e-2 at rho 1.03). Hard is past the convex problem: 8e-3 at rho 1.03 (85 s).
- rpca 0.1.6 needs the rank. It subtracts column means, which outliers have moved, and then stops
  with a 99 % dense sparse part (easy 3e-2; with one more component 9e-2 to 2e-1, at eight settings
  of gamma and beta). Handed [Y; -Y], whose means are 0 (``mirrored``), it is exact and fastest: the
  default gamma .5 solves easy (1e-9), .9 also missing and hard (1e-9, 2e-9) at 5 times the time.
- TensorLy 0.10.0: reg_E = 2 / sqrt(max(n1, n2)), since it charges the nuclear norm of both
  unfoldings; mu from 1.25 / ||Y||_2 (as inexact ALM), times its default 1.1 (easy and missing 3e-9;
  1.2 a quarter faster on easy, but missing 6e-4; 1.5 easy 7e-3); tol relative. Hard is past the
  convex problem (8e-3 at 1.05). Its defaults: easy 1.35, worse than the answer 0.
"""

from __future__ import annotations

import contextlib
import io

import numpy as np

RTOL = 1e-9


def _filled(table: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the table with 0 for what was not seen, and the mask of what was (None: all)."""
    seen = np.isfinite(table)
    return (table, None) if seen.all() else (np.where(seen, table, 0.0), seen)


def pyrpca(table: np.ndarray, *, rtol: float = RTOL, rho: float = 1.5) -> np.ndarray:
    """Principal component pursuit by pyrpca's inexact augmented Lagrangian."""
    from pyrpca import rpca_pcp_ialm

    filled, _ = _filled(table)
    weight = 1.0 / np.sqrt(max(filled.shape))
    return np.asarray(rpca_pcp_ialm(filled, weight, tol=rtol, rho=rho, verbose=False)[0])


def rpca(
    table: np.ndarray,
    rank: int,
    *,
    mirrored: bool = True,
    rtol: float = RTOL,
    gamma: float = 0.5,
    max_iterations: int = 400,
) -> np.ndarray:
    """Accelerated alternating projections by rpca, rank given.

    ``mirrored``: hand in [Y; -Y], for which rpca's centring does nothing.

    Raises
    ------
    RuntimeError
        When the tolerance was not met in ``max_iterations``.
    """
    from rpca import RobustPCA

    filled, _ = _filled(table)
    given = np.concatenate([filled, -filled]) if mirrored else filled
    model = RobustPCA(
        n_components=rank, tol=rtol, gamma=gamma, max_iter=max_iterations, verbose=False
    )
    with contextlib.redirect_stdout(io.StringIO()):  # it prints however verbose is set
        model.fit(given)
    if model.errors_[-1] > rtol:
        raise RuntimeError(f"rpca stopped at {model.errors_[-1]:.1e} after {max_iterations} rounds")
    return np.asarray(model.low_rank_ + model.mean_)[: len(filled)]


def tensorly(
    table: np.ndarray, *, rtol: float = RTOL, growth: float = 1.1, max_iterations: int = 300
) -> np.ndarray:
    """Principal component pursuit by tensorly.decomposition.robust_pca, which takes a mask."""
    from tensorly.decomposition import robust_pca

    filled, seen = _filled(table)
    found = robust_pca(
        filled,
        mask=seen,
        tol=rtol * float(np.linalg.norm(filled)),
        reg_E=2.0 / np.sqrt(max(filled.shape)),
        mu_init=1.25 / float(np.linalg.norm(filled, 2)),
        learning_rate=growth,
        n_iter_max=max_iterations,
        verbose=0,
    )
    return np.asarray(found[0])
