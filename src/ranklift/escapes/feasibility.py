"""Escape feasibility: whether one step along u q^T can lower the loss at a stationary point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import Array, as_point, inner, to_numpy
from ..errors import InputError
from ..problem import FactorizedProblem
from .oracle_plane import descent_eigenvectors, mixed_image, smallest_triplets


@dataclass(frozen=True)
class EscapeFeasibility:
    """The numbers that decide a single step W + s u q^T.

    Attributes
    ----------
    eigenvalue : float
        lambda, the least eigenvalue of G = sym A*(A(X) - b), with eigenvector u.
    singular_value : float
        sigma, the smallest nonzero singular value of W, with vectors v and q.
    cross : float
        kappa = <A(u v^T + v u^T), A(u u^T)>.
    energy : float
        omega = ||A(u u^T)||^2.
    mixed_energy : float
        p = ||A(u v^T + v u^T)||^2.
    u, v, q : arrays
    """

    eigenvalue: float
    singular_value: float
    cross: float
    energy: float
    mixed_energy: float
    u: np.ndarray
    v: np.ndarray
    q: np.ndarray

    @property
    def score(self) -> float:
        """Return (-lambda + sigma^2 kappa^2 / (2 omega)) / (sigma^2 p / 2).

        Above 1 some step descends, and only then. Exact at stationary points: along s the loss
        changes by s^2 [lambda + sigma^2 p / 2 + s sigma kappa + s^2 omega / 2]. Own derivation.
        """
        gain = -self.eigenvalue
        if self.energy > 0:
            gain += self.singular_value**2 * self.cross**2 / (2 * self.energy)
        cost = 0.5 * self.singular_value**2 * self.mixed_energy
        return gain / cost if cost > 0 else float("inf")

    @property
    def step(self) -> float:
        """Return s = -sigma kappa / omega, at which the bracket is least."""
        return -self.singular_value * self.cross / self.energy if self.energy > 0 else 0.0

    def published_score(self, delta: float) -> float:
        """Return -lambda / (sigma^2 (1 + delta)) + kappa^2 / (2 (1 + delta)^2).

        The escape feasibility score of Shen et al. (arXiv 2602.05887) as read in their notebooks:
        omega and p / 2 bounded by 1 + delta, delta a restricted isometry constant.

        Raises
        ------
        InputError
            For a delta outside [0, 1].
        """
        if not 0 <= delta <= 1:
            raise InputError(f"delta = {delta}", "pass an isometry constant in [0, 1]")
        first = -self.eigenvalue / (self.singular_value**2 * (1 + delta))
        return first + self.cross**2 / (2 * (1 + delta) ** 2)


def escape_feasibility(
    problem: FactorizedProblem, w: Array, rng: np.random.Generator, *, max_steps: int = 200
) -> EscapeFeasibility | None:
    """Measure feasibility at W; None where G has no negative eigenvalue or W is zero.

    Parameters
    ----------
    problem : FactorizedProblem
        Squared loss; X = U U^T, U U^H, or L R^T through its balanced lift.
    w : array
        A stationary point: elsewhere the loss has a first-order term as well.
    rng : Generator
    max_steps : int, default 200
        Lanczos steps.

    Notes
    -----
    One evaluation, one Lanczos run, two applications.

    Examples
    --------
    >>> from ranklift.factorizations import Symmetric
    >>> from ranklift.instances import sod_three_by_three
    >>> trap = sod_three_by_three()
    >>> problem = FactorizedProblem(trap.operator, trap.measurements, Symmetric())
    >>> rng = np.random.default_rng(0)
    >>> found = escape_feasibility(problem, trap.spurious_points[0], rng)
    >>> round(found.eigenvalue, 4), round(found.published_score(0.8753), 3)
    (-0.1332, 0.228)
    """
    point = problem.evaluate(w)
    triplets = smallest_triplets(to_numpy(w), 1)
    eigenvalues, vectors = descent_eigenvectors(problem, point, 1, rng, max_steps)
    if not triplets or not eigenvalues.size:
        return None
    (sigma, v, q), u = triplets[0], vectors[:, 0]
    mixed = mixed_image(problem, w, u, v)
    alone = problem.predict(as_point(u[:, None], w))
    return EscapeFeasibility(
        float(eigenvalues[0]), sigma, inner(mixed, alone), inner(alone, alone),
        inner(mixed, mixed), u, v, q,
    )  # fmt: skip
