"""Langevin escapes: follow a noisy dynamics of the loss at a temperature, and descend from its end.

Three dynamics with the invariant density exp(-f / T):

- overdamped: dW = -grad f dt + sqrt(2 T) dB;
- underdamped (kinetic): dW = V dt, dV = -grad f dt - gamma V dt + sqrt(2 gamma T) dB;
- non-reversible: dW = -(I + J) grad f dt + sqrt(2 T) dB with J skew-symmetric, which leaves the
  density as it is and stirs along its level sets.

Sources: overdamped and non-reversible: Hwang, Hwang-Ma, Sheu (1993, 2005) for the acceleration by
drift; underdamped: the splitting BAOAB of Leimkuhler and Matthews (2013), whose middle step is the
exact Ornstein-Uhlenbeck flow. Named from memory, not read for this project.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np

from ..arrays import Array, as_point, to_numpy
from ..certificates import CertificateReport
from ..errors import InputError
from ..problem import FactorizedProblem
from .base import Candidate, Escape

Gradient = Callable[[np.ndarray], np.ndarray]


def overdamped_path(
    gradient: Gradient, w: np.ndarray, step: float, temperature: float, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Yield W - h grad f(W) + sqrt(2 T h) xi for ever; one gradient a step.

    Parameters
    ----------
    gradient : callable
        Of f, elementwise over leading axes: (..., n) -> (..., n), so that replicas run together.
    w : array
        Start; not changed.
    step, temperature : float
        h in units of time, T in those of f.
    rng : Generator
    """
    while True:
        w = w - step * gradient(w) + np.sqrt(2 * temperature * step) * rng.standard_normal(w.shape)
        yield w


def underdamped_path(
    gradient: Gradient, w: np.ndarray, step: float, temperature: float, rng: np.random.Generator,
    *, friction: float,
) -> Iterator[np.ndarray]:  # fmt: skip
    """Yield BAOAB positions for ever; one gradient a step.

    Half a kick, half a drift, v <- c v + sqrt(1 - c^2) sqrt(T) xi with c = exp(-gamma h), half a
    drift, half a kick: the noise is integrated exactly, whatever gamma h. On a quadratic f the
    positions have the exact variance T / curvature at every stable h.

    Parameters
    ----------
    gradient, w, step, temperature, rng
        As for ``overdamped_path``; here h is a time of the second-order dynamics.
    friction : float
        gamma.

    Notes
    -----
    Velocities begin in equilibrium.
    """
    v = np.sqrt(temperature) * rng.standard_normal(w.shape)
    keep = np.exp(-friction * step)
    slope = gradient(w)
    while True:
        v = v - 0.5 * step * slope
        w = w + 0.5 * step * v
        v = keep * v + np.sqrt((1 - keep**2) * temperature) * rng.standard_normal(w.shape)
        w = w + 0.5 * step * v
        slope = gradient(w)
        v = v - 0.5 * step * slope
        yield w


def nonreversible_path(
    gradient: Gradient, w: np.ndarray, step: float, temperature: float, rng: np.random.Generator,
    *, skew: np.ndarray,
) -> Iterator[np.ndarray]:  # fmt: skip
    """Yield W - h (I + J) grad f(W) + sqrt(2 T h) xi for ever; one gradient a step.

    Parameters
    ----------
    gradient, w, step, temperature, rng
        As for ``overdamped_path``.
    skew : array, shape (n, n)
        J = -J^T, acting on the last axis.

    Raises
    ------
    InputError
        When J is not skew-symmetric: the invariant density would be another.
    """
    if not np.allclose(skew, -skew.T, rtol=0, atol=1e-12 * max(1.0, np.abs(skew).max(initial=0.0))):
        raise InputError("a drift that is not skew-symmetric", "pass J with J^T = -J")
    turn = np.eye(skew.shape[0]) + skew
    while True:
        noise = np.sqrt(2 * temperature * step) * rng.standard_normal(w.shape)
        w = w - step * gradient(w) @ turn.T + noise
        yield w


@dataclass(frozen=True)
class _Langevin(Escape):
    """What the three dynamics share: units, the loop, and the candidate."""

    temperature: float = 4.0
    step: float = 0.05
    steps: int = 200

    descends: ClassVar[bool] = False
    random: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            if not 0 < value < np.inf:
                raise InputError(f"{setting.name} = {value}", "pass a positive number")

    @abstractmethod
    def _path(
        self, gradient: Gradient, w: np.ndarray, unit: float, heat: float, rng: np.random.Generator
    ) -> Iterator[np.ndarray]:
        """Return the positions; ``unit`` is the inverse curvature, ``heat`` the temperature."""

    def candidates(
        self,
        problem: FactorizedProblem,
        w: Array,
        reports: Mapping[str, CertificateReport],
        rng: np.random.Generator,
    ) -> list[Candidate]:
        """Return where the dynamics is after ``steps`` steps."""
        if not w.shape[1] or not np.isfinite(problem.loss.smoothness):
            return []
        host, before = to_numpy(w), problem.evaluate(w).value

        def gradient(flat: np.ndarray) -> np.ndarray:
            moved = as_point(flat.reshape(host.shape), w)
            return to_numpy(problem.evaluate(moved).gradient).astype(float).ravel()

        # The value itself is the height that could be lost: temperatures are shares of it, spread
        # over the coordinates that share it.
        heat = self.temperature * before / host.size
        end = host.ravel().astype(float)
        path = self._path(gradient, end, 1.0 / problem.scale, heat, rng)
        for _, end in zip(range(self.steps), path, strict=False):
            if not np.isfinite(end).all():
                return []  # the step was too long for this curvature
        moved = as_point(end.reshape(host.shape), w)
        return [Candidate(moved, problem.evaluate(moved).value, before)]


@dataclass(frozen=True)
class OverdampedLangevin(_Langevin):
    """Follow dW = -grad f dt + sqrt(2 T) dB.

    Parameters
    ----------
    temperature : float, default 4
        T times the number of unknowns, over the value at the point left. On stuck Gaussian
        instances (n = 10) 1 frees few, 16 forgets where it began.
    step : float, default 0.05
        Over 1 / ||A*(b)||_2.
    steps : int, default 200
        One gradient each.

    Notes
    -----
    The candidate is the position after the last step. None where the steps were too long.
    """

    def _path(
        self, gradient: Gradient, w: np.ndarray, unit: float, heat: float, rng: np.random.Generator
    ) -> Iterator[np.ndarray]:
        return overdamped_path(gradient, w, self.step * unit, heat, rng)


@dataclass(frozen=True)
class UnderdampedLangevin(_Langevin):
    """Follow kinetic Langevin dynamics, with the exact Ornstein-Uhlenbeck step.

    Parameters
    ----------
    temperature : float, default 4
        T times the number of unknowns, over the value at the point left. On stuck Gaussian
        instances (n = 10) 1 frees few, 16 forgets where it began.
    step : float, default 0.2
        Over 1 / sqrt(||A*(b)||_2).
    steps : int, default 200
        One gradient each.
    friction : float, default 0.5
        gamma, over sqrt(||A*(b)||_2): small ones keep what speed there is.

    Notes
    -----
    The candidate is the position after the last step. None where the steps were too long.
    """

    step: float = 0.2
    friction: float = 0.5

    def _path(
        self, gradient: Gradient, w: np.ndarray, unit: float, heat: float, rng: np.random.Generator
    ) -> Iterator[np.ndarray]:
        root = unit**0.5
        return underdamped_path(
            gradient, w, self.step * root, heat, rng, friction=self.friction / root
        )


@dataclass(frozen=True)
class NonReversibleLangevin(_Langevin):
    """Follow dW = -(I + strength J) grad f dt + sqrt(2 T) dB, J a random rotation's generator.

    Parameters
    ----------
    temperature : float, default 4
        T times the number of unknowns, over the value at the point left. On stuck Gaussian
        instances (n = 10) 1 frees few, 16 forgets where it began.
    step : float, default 0.05
        Over 1 / ||A*(b)||_2.
    steps : int, default 200
        One gradient each.
    strength : float, default 1
        Of the drift along level sets, relative to that across.

    Notes
    -----
    The candidate is the position after the last step. None where the steps were too long.
    """

    strength: float = 1.0

    def _path(
        self, gradient: Gradient, w: np.ndarray, unit: float, heat: float, rng: np.random.Generator
    ) -> Iterator[np.ndarray]:
        # Pairs of coordinates, drawn at random, are turned by a right angle: J without a matrix.
        order = rng.permutation(w.size)
        half = w.size // 2
        first, second = order[:half], order[half : 2 * half]

        def turned(x: np.ndarray) -> np.ndarray:
            g = gradient(x)
            out = g.copy()
            out[first] += self.strength * g[second]
            out[second] -= self.strength * g[first]
            return out

        return overdamped_path(turned, w, self.step * unit, heat, rng)
