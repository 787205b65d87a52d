"""Simulated lift (SOD): leave strict minima along directions that a lifted problem would show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..arrays import Array, as_point, to_numpy
from ..certificates import CertificateReport
from ..factorizations import Asymmetric, Hermitian, Symmetric
from ..problem import FactorizedProblem
from .base import Candidate, Escape
from .oracle_plane import (
    OraclePlane,
    descent_eigenvectors,
    smallest_triplets,
    stationary_points,
)

KINDS = ("joint", "additive beta", "additive gamma", "beta ray", "gamma ray")
"""Constructions, see ``SimulatedLift``; "beta swap" is left to those who ask for it."""


@dataclass(frozen=True)
class SimulatedLift(Escape):
    """Propose points in the span of W, u q^T and E W (Simulated Oracle Direction).

    u belongs to the most negative eigenvalue of G = sym A*(A(X) - b), (sigma, v, q) is the smallest
    singular triplet of W, and E = sym A*(A(u v^T + v u^T)). Candidates, every scale in closed form:

    - "gamma ray", "beta ray": s E W and s u q^T with the s of least loss, the two directions in
      which truncated gradient descent of the lifted problem ends;
    - "additive gamma", "additive beta": W + s E W and W + s u q^T at every stationary point of the
      exact quartic in s;
    - "beta swap": W - sigma v q^T + s u q^T, two applications more and not among the default;
    - "joint": the least point found of a W + b u q^T + c E W, a quartic in three variables.

    Parameters
    ----------
    eigenvectors : int, default 2
        Negative eigenvalues of G tried.
    pairs : int, default 1
        Smallest nonzero singular values of W tried with each.
    kinds : tuple of str, default all but "beta swap"
    max_steps : int, default 60
        Lanczos steps for the eigenvectors.

    Notes
    -----
    Candidates may lie above W: only the descent from them tells. None where G has no negative
    eigenvalue (a stationary W is then globally optimal among positive semidefinite matrices), and
    none with regularisers, other losses, or signed and deep factorizations. X = L R^T is searched
    through its balanced lift [L; R] (own derivation). Cost with one eigenvector and pair: one
    evaluation, one Lanczos run, two adjoints, six applications; values of candidates cost none.
    Memory O(m + (n1 + n2) k). Source: Shen, Yang, He, Gao, Ma (arXiv
    2602.05887) for the lifted problem and its two directions, as read in their notebooks; scales,
    additive forms, swap and joint form are own derivations.

    Examples
    --------
    >>> from ranklift.instances import perturbed_matrix_completion
    >>> trap = perturbed_matrix_completion(3, 0.3)
    >>> problem = FactorizedProblem(trap.operator, trap.measurements, Symmetric())
    >>> rng = np.random.default_rng(0)
    >>> found = SimulatedLift().propose(problem, trap.spurious_points[0], {}, rng)
    >>> round(found.before, 5), bool(found.value < 1e-20)
    (0.33028, True)
    """

    eigenvectors: int = 2
    pairs: int = 1
    kinds: tuple[str, ...] = KINDS
    max_steps: int = 60

    descends: ClassVar[bool] = False

    def candidates(
        self,
        problem: FactorizedProblem,
        w: Array,
        reports: Mapping[str, CertificateReport],
        rng: np.random.Generator,
    ) -> list[Candidate]:
        """Return the candidates of every eigenvector and singular triplet, by rising value."""
        liftable = isinstance(problem.factorization, Asymmetric | Symmetric | Hermitian)
        if not liftable or not problem.squared or problem.regularizers or not w.shape[1]:
            return []
        w = problem.gauge(w)  # the lift of X = L R^T is that of balanced factors
        point = problem.evaluate(w)
        _, vectors = descent_eigenvectors(problem, point, self.eigenvectors, rng, self.max_steps)
        host = to_numpy(w)
        triplets = smallest_triplets(host, self.pairs)
        found: list[Candidate] = []
        for u in vectors.T:
            for sigma, v, q in triplets:
                plane = OraclePlane.build(problem, point, u, v, q)
                on_plane = [(kind, plane.at(a), plane.value(a)) for kind, a in self._on(plane)]
                if "beta swap" in self.kinds:
                    base = host - sigma * np.outer(v, q)
                    on_plane += _swaps(problem, plane, as_point(base, w))
                for kind, moved, value in on_plane:
                    # A stationary point at W itself leads nowhere.
                    if np.linalg.norm(moved - host) > 1e-6 * np.linalg.norm(host):
                        found.append(Candidate(as_point(moved, w), value, point.value, kind))
        return sorted(found, key=lambda candidate: candidate.value)

    def _on(self, plane: OraclePlane) -> list[tuple[str, np.ndarray]]:
        """Return the coordinates of the candidates on one plane."""
        here = np.eye(3)[0]
        named = [("additive beta", a) for a in plane.stationary(here, 1)]
        named += [("additive gamma", a) for a in plane.stationary(here, 2)]
        for kind, axis in (("beta ray", 1), ("gamma ray", 2)):
            a = plane.ray(axis)
            if a is not None:
                named.append((kind, a))
        if "joint" in self.kinds and named:
            named.append(("joint", plane.joint([a for _, a in named])))
        return [(kind, a) for kind, a in named if kind in self.kinds]


def _swaps(
    problem: FactorizedProblem, plane: OraclePlane, base: Array
) -> list[tuple[str, np.ndarray, float]]:
    """Return the stationary points from W - sigma v q^T along u q^T."""
    beta = plane.basis[1]
    constant = to_numpy(problem.predict(base) - problem.b)
    slope = to_numpy(problem.pushforward(base, as_point(beta, base)))
    bend = plane.images[3]
    out = []
    for t in stationary_points(constant, slope, bend):
        residual = constant + t * slope + t * t * bend
        moved = to_numpy(base) + t * beta
        out.append(("beta swap", moved, 0.5 * float(residual @ residual)))
    return out
