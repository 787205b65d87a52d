"""Optimisers that look for flat minima unasked: label noise, sharpness awareness, large steps.

Once the data are fitted they move on along S = {A(L R^T) = b}, each by a measure of flatness of
its own. None descends, so that they are no ``Solver``: the value may rise at any step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ..arrays import Array, as_point, like, namespace, norm
from ..errors import InputError
from ..problem import Counts, FactorizedProblem
from ..validation import check_positive, check_whole
from .polish import check_exact_problem

Observer = Callable[[int, Array], Any]
"""Called as ``observe(steps, w)``; a true answer ends the run."""

DIVERGED = 1e6
"""||A(X) - b|| / ||b|| from which no step comes back: f grows with the fourth power of W."""

_SALT = 0x464C4154


class Units(NamedTuple):
    """What settings are relative to: rms of b, and (||b||^2 / ||A*(b)||_2)^(1/2) for factors.

    The square of the second is at most ||X||_* of any X with A(X) = b, by weak duality.
    """

    label: float
    factor: float

    @classmethod
    def of(cls, problem: FactorizedProblem) -> Units:
        """Measure a problem."""
        size = norm(problem.b)
        return cls(size / np.sqrt(problem.operator.num_measurements), size / np.sqrt(problem.scale))


@dataclass(frozen=True)
class OptimizerRun:
    """Where an optimiser ended.

    Attributes
    ----------
    w : array
        The last iterate, with all its noise; ``polish`` takes that off.
    steps : int
        Gradient steps taken.
    relative_residual : float
        ||A(X) - b|| / ||b|| at w, of the data as they are.
    diverged : bool
        The residual outgrew ``DIVERGED``: the step was too large for the way it took.
    """

    w: Array
    steps: int
    relative_residual: float
    diverged: bool


class FlatnessOptimizer(ABC):
    """Fixed steps W - mu G along some gradient G; subclasses are frozen dataclasses of settings."""

    step_size: float
    steps: int
    batch_size: int | None = None
    residual_tol: float = 0.0
    seed: int = 0

    @abstractmethod
    def gradient(
        self, batch: FactorizedProblem, w: Array, units: Units, rng: np.random.Generator
    ) -> tuple[Array, float]:
        """Return G of a batch of measurements, and the norm of the residual it is made of."""

    def check(self) -> None:
        """Raise InputError for a setting out of range."""
        check_positive("step_size", self.step_size)
        check_whole("steps", self.steps)
        if self.batch_size is not None:
            check_whole("batch_size", self.batch_size)
        if not 0 <= self.residual_tol < np.inf:
            raise InputError(f"residual_tol={self.residual_tol!r}", "pass a number of at least 0")

    def run(
        self,
        problem: FactorizedProblem,
        w: Array,
        *,
        observe: Observer | None = None,
        every: int = 100,
    ) -> OptimizerRun:
        """Take up to ``steps`` steps from w.

        Parameters
        ----------
        problem : FactorizedProblem
            Of the squared loss, without regularisers, b not zero.
        w : array, shape of the factorization's parameters
            Start, of any rank. W = 0 is a saddle that no gradient leaves.
        observe : callable, optional
            ``observe(steps, w)`` before the first step and after every ``every`` steps; a true
            answer ends the run.
        every : int, default 100

        Raises
        ------
        InputError
            A setting out of range, another loss, regularisers (which choose among the fits by
            themselves), b = 0.
        """
        self.check()
        check_whole("every", every)
        check_exact_problem(problem)
        rng = np.random.default_rng([_SALT, self.seed])
        batches, units = self._batches(problem, rng), Units.of(problem)
        # The sum over a batch estimates its share of the whole gradient.
        mu = len(batches) * self.step_size / problem.scale
        size, done, diverged = norm(problem.b), 0, False
        with np.errstate(over="ignore", invalid="ignore"):  # ``diverged`` says so
            while True:
                if observe is not None and done % every == 0 and observe(done, w):
                    break
                if done == self.steps:
                    break
                batch = batches[int(rng.integers(len(batches)))] if len(batches) > 1 else problem
                gradient, residual = self.gradient(batch, w, units, rng)
                if not residual <= DIVERGED * size:
                    diverged = True
                    break
                if residual <= self.residual_tol * size:
                    break
                w = w - mu * gradient
                done += 1
            final = norm(problem.predict(w) - problem.b) / size
        return OptimizerRun(w, done, final, diverged)

    def _batches(
        self, problem: FactorizedProblem, rng: np.random.Generator
    ) -> list[FactorizedProblem]:
        m, size = problem.operator.num_measurements, self.batch_size
        if size is None or size == m:
            return [problem]
        if m % size:
            raise InputError(
                f"batch_size={size} of {m} measurements",
                f"pass a divisor of {m}: batches of unequal size would weigh data unequally",
            )
        xp, batches = namespace(problem.b), []
        for index in np.split(rng.permutation(m), m // size):
            index = np.sort(index)
            batch = replace(
                problem,
                operator=problem.operator.subset(index),
                b=xp.take(problem.b, like(index, problem.b)),
                counts=Counts(),  # of products with a part of A
            )
            batches.append(batch)
        return batches


@dataclass(frozen=True)
class LabelNoiseDescent(FlatnessOptimizer):
    """Follow gradients of data with fresh Gaussian noise at every step.

    W - mu (m / |B|) grad 1/2 ||A_B(L R^T) - b_B - noise ||b|| / sqrt(m) xi||^2, xi standard normal.

    Parameters
    ----------
    noise : float, default 0.3
        Standard deviation of the noise over the root mean square of b.
    step_size : float, default 0.25
        mu ||A*(b)||_2: 1/2 is about the inverse of the largest curvature of a fit, for
        near-isotropic measurements. With batches of one measurement less by about the ratio of the
        trace of the Hessian to its largest eigenvalue.
    steps : int, default 20000
    batch_size : int, optional
        Measurements in a batch, a divisor of m; default all of them. Batches are drawn with
        replacement from a fixed partition.
    seed : int, default 0

    Notes
    -----
    Near S the noise keeps W in a cloud of variance mu sigma^2 / 2 across S (sigma the standard
    deviation in units of b), on which the third derivative of f acts: W drifts along S by
    -(mu^2 sigma^2 / 4) grad tr(Hessian) a step to leading order in mu and sigma (own derivation,
    for full batches, f = 1/2 ||.||^2; batches of |B| multiply the variance by m / |B|). The trace
    is the plain one; its flattest X is that of the scaled one, its balance is another:
    d2 L^T D1^2 L = d1 R^T D2^2 R. With larger steps each eigenvalue lambda counts as
    -(2 / mu) log(1 - mu lambda / 2) instead, more than itself.
    Cost: one gradient of a batch a step. Sources: the effect is known from Blanc, Gupta, Valiant,
    Valiant (2019) and Damian, Ma, Lee (2021), whose statements were not read.

    Examples
    --------
    L R = 1 from (2, 1/2) goes to the balanced solution, the flattest.

    >>> import numpy as np
    >>> from ranklift.operators import IdentitySensing
    >>> from ranklift.flatness import polish
    >>> problem = FactorizedProblem(IdentitySensing((1, 1)), np.array([1.0]))
    >>> found = LabelNoiseDescent(steps=5000).run(problem, np.array([[2.0], [0.5]]))
    >>> polish(problem, found.w).round(1).ravel().tolist()
    [1.0, 1.0]
    """

    noise: float = 0.3
    step_size: float = 0.25
    steps: int = 20_000
    batch_size: int | None = None
    seed: int = 0

    def check(self) -> None:
        """Raise InputError for a setting out of range."""
        super().check()
        check_positive("noise", self.noise)

    def gradient(
        self, batch: FactorizedProblem, w: Array, units: Units, rng: np.random.Generator
    ) -> tuple[Array, float]:
        """Return the gradient of noisy data."""
        m = batch.operator.num_measurements
        noise = as_point(self.noise * units.label * rng.standard_normal(m), batch.b)
        point = replace(batch, b=batch.b + noise).evaluate(w)
        return point.gradient, point.residual_norm


@dataclass(frozen=True)
class SharpnessAwareMinimization(FlatnessOptimizer):
    """Step along the gradient at the worst point nearby: G = grad f(W + rho g / ||g||), g = grad f.

    Parameters
    ----------
    radius : float, default 0.1
        rho over (||b||^2 / ||A*(b)||_2)^(1/2), about the size of the factors.
    step_size : float, default 0.25
        As for ``LabelNoiseDescent``.
    steps : int, default 20000
        Two gradients each.
    batch_size : int, optional
        Measurements in a batch, a divisor of m, both gradients of the same one; default all.
    seed : int, default 0
        Draws the batches.

    Notes
    -----
    At a fit f rises by rho^2 lambda / 2 along an eigenvector of the Hessian, at most by that of the
    largest: with all measurements it is lambda_max that is made small. With batches of one
    measurement g has the one direction grad <A_j, X>, whose square norms add up to the trace.
    W does not come to rest at a fixed radius, unless it starts at an exact fit. Saddles attract
    within the radius: near W = 0 ascent goes beyond 0, whose other side leads back; start outside
    (own derivation). Source: Foret, Kleiner, Mobahi, Neyshabur (2020), as
    generally known; what full batches and single measurements minimise is the subject of Wen, Ma,
    Li (2022), not read.

    Examples
    --------
    >>> import numpy as np
    >>> from ranklift.operators import IdentitySensing
    >>> from ranklift.flatness import polish
    >>> problem = FactorizedProblem(IdentitySensing((1, 1)), np.array([1.0]))
    >>> found = SharpnessAwareMinimization(steps=5000).run(problem, np.array([[2.0], [0.6]]))
    >>> polish(problem, found.w).round(1).ravel().tolist()
    [1.0, 1.0]
    """

    radius: float = 0.1
    step_size: float = 0.25
    steps: int = 20_000
    batch_size: int | None = None
    seed: int = 0

    def check(self) -> None:
        """Raise InputError for a setting out of range."""
        super().check()
        check_positive("radius", self.radius)

    def gradient(
        self, batch: FactorizedProblem, w: Array, units: Units, rng: np.random.Generator
    ) -> tuple[Array, float]:
        """Return the gradient at the end of the ascent."""
        point = batch.evaluate(w)
        slope = point.gradient_norm
        if slope == 0.0:
            return point.gradient, point.residual_norm
        ascended = batch.evaluate(w + self.radius * units.factor / slope * point.gradient)
        return ascended.gradient, point.residual_norm


@dataclass(frozen=True)
class LargeStepDescent(FlatnessOptimizer):
    """Follow plain gradients at a fixed step that sharp fits do not hold.

    Parameters
    ----------
    step_size : float, default 0.9
        mu ||A*(b)||_2. A fit attracts only where its largest curvature is below 2 / mu: multiply
        ``sharpness(..., scaling="half").edge_of_stability_step`` by ``problem.scale`` for the step
        that a known fit just holds.
    steps : int, default 20000
    residual_tol : float, default 1e-12
        ||A(X) - b|| / ||b|| at which the run ends: without noise nothing moves at a fit.

    Notes
    -----
    Unlike ``GradientDescent`` with a fixed step, nothing halves it where the value rises. It bounds
    the largest curvature, not the trace, and asks no more than the bound.

    Examples
    --------
    Every fit of L R = 1 with L^2 + R^2 > 2 / mu repels.

    >>> import numpy as np
    >>> from ranklift.operators import IdentitySensing
    >>> problem = FactorizedProblem(IdentitySensing((1, 1)), np.array([1.0]))
    >>> found = LargeStepDescent(step_size=0.9).run(problem, np.array([[2.0], [0.51]]))
    >>> bool(np.sum(found.w**2) < 2 / 0.9)
    True
    """

    step_size: float = 0.9
    steps: int = 20_000
    residual_tol: float = 1e-12

    def gradient(
        self, batch: FactorizedProblem, w: Array, units: Units, rng: np.random.Generator
    ) -> tuple[Array, float]:
        """Return the gradient itself."""
        point = batch.evaluate(w)
        return point.gradient, point.residual_norm
