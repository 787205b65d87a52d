"""Truncated projected gradient descent of the lifted problem, in closed form and in logarithms."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, expm1, inf, log, log1p

import numpy as np

from ..arrays import Array, as_point, to_numpy
from ..errors import InputError
from ..problem import FactorizedProblem
from .base import Candidate
from .feasibility import escape_feasibility
from .oracle_plane import gamma_direction


@dataclass(frozen=True)
class TruncatedDescent:
    """Follow lifted descent in the span of vec(W)^l, vec(u q^T)^l and vec(E W)^l.

    From rho vec(u q^T)^l, with nu = 1 - eta lambda^l, t steps give the coefficients

        alpha = 1,  beta = rho nu^t,  gamma = -eta rho sigma^l / 2^(l-1) (nu^t - 1) / (nu - 1),

    and the largest of ||W||^l, |beta| and |gamma| ||E W||^l decides: "gamma", the point
    -(-gamma)^(1/l) E W; "beta", the point beta^(1/l) u q^T; "failed", W itself.

    Parameters
    ----------
    order : int
        l, odd.
    start : float
        rho > 0.
    step_size : float
        eta > 0.
    steps : int
        t, at least 1.

    Raises
    ------
    InputError

    Notes
    -----
    No tensor is built: everything is a logarithm, stable for l up to hundreds. The loss may be
    higher at the point than at W. ``SimulatedLift`` takes the same two rays with the best scale,
    and needs none of the four parameters. Source: Shen et al. (arXiv 2602.05887), as read in their
    notebooks; the printed form replaces (u^T P u)^l - (u^T Q u)^l by lambda^l and is therefore not
    exact descent of the lifted problem (``lifted_curvature`` has both terms).
    """

    order: int
    start: float
    step_size: float
    steps: int

    def __post_init__(self) -> None:
        if self.order < 1 or self.order % 2 == 0:
            raise InputError(f"order {self.order}", "pass an odd number: 1, 3, 5, ...")
        if not (self.start > 0 and self.step_size > 0 and self.steps >= 1):
            raise InputError(
                f"start {self.start}, step_size {self.step_size}, steps {self.steps}",
                "pass positive numbers",
            )

    def logarithms(self, eigenvalue: float, singular_value: float) -> tuple[float, float]:
        """Return log |beta| and log |gamma| after all steps.

        Parameters
        ----------
        eigenvalue : float
            lambda < 0: descent grows along u by nu = 1 + eta |lambda|^l > 1 a step.
        singular_value : float
            sigma > 0.
        """
        growth = self.step_size * exp(self.order * log(-eigenvalue))  # nu - 1
        beta = log(self.start) + self.steps * log1p(growth)
        if growth < 1e-12:
            total = log(self.steps)
        else:
            exponent = self.steps * log1p(growth)
            # log((nu^t - 1) / (nu - 1)) without the power where it would overflow.
            total = (log(expm1(exponent)) if exponent < 30 else exponent) - log(growth)
        gamma = (
            log(self.step_size * self.start) + self.order * log(singular_value)
            - (self.order - 1) * log(2.0) + total
        )  # fmt: skip
        return beta, gamma

    def candidate(
        self, problem: FactorizedProblem, w: Array, rng: np.random.Generator
    ) -> Candidate:
        """Return where the collapse leads: kind "beta", "gamma", or "failed" with W itself."""
        before = problem.evaluate(w).value
        found = escape_feasibility(problem, w, rng)
        if found is None:
            return Candidate(w, before, before, "failed")
        along = gamma_direction(problem, w, found.u, found.v)
        length = float(np.linalg.norm(along))
        beta, gamma = self.logarithms(found.eigenvalue, found.singular_value)
        sizes = {
            "failed": self.order * log(float(np.linalg.norm(to_numpy(w)))),
            "beta": beta,
            "gamma": gamma + self.order * log(length) if length > 0 else -inf,
        }
        kind = max(sizes, key=lambda name: sizes[name])
        if kind == "failed":
            return Candidate(w, before, before, kind)
        if kind == "beta":
            moved = exp(beta / self.order) * np.outer(found.u, found.q)
        else:
            moved = -exp(gamma / self.order) * along
        point = as_point(moved, w)
        return Candidate(point, problem.evaluate(point).value, before, kind)
