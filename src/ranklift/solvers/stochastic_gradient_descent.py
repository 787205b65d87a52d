"""Stochastic gradient descent over mini-batches of measurements."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ..arrays import Array, like, namespace
from ..errors import InputError
from ..problem import FactorizedProblem
from ..status import Status
from .base import Solver, State

_SALT = 0x53474421
"""A stream of its own, apart from what a user draws from the same seed."""


@dataclass
class EpochState(State):
    """Add the step length, the epochs so far, and the batches as problems of their own."""

    step_size: float = float("nan")
    epochs: int = 0
    batches: list[FactorizedProblem] = field(default_factory=list)


@dataclass(frozen=True)
class StochasticGradientDescent(Solver):
    """Follow the gradients of mini-batches: W - mu (m / |B|) grad f_B(W), one epoch a step.

    Parameters
    ----------
    batch_size : int or float, default 0.1
        Measurements in a batch, or their share of all.
    step_size : float, default 0.05
        mu ||A*(b)||_2. A batch of fewer measurements than unknowns bends its own loss more than the
        whole does, so that this is less than for plain descent.
    variance_reduction : bool, default True
        Whether to correct every batch by its gradient at the start of the epoch, where that of the
        whole is known: with noise only then a fixed step converges. False: the plain method, whose
        steps end in a cloud about the solution and shrink.
    curvature_tol : float, default 1e-6
        eps_H / ||A*(b)||_2; measured on the whole problem at the end of an epoch.
    seed : int, default 0
        Draws the batches and their order.

    Raises
    ------
    InputError
        For a batch size that makes no sense, or a loss that is no sum over measurements.

    Notes
    -----
    An epoch costs two passes over the measurements (one without variance reduction) and another to
    evaluate its end. One that ends higher than it began is thrown away and mu halved (own rule).
    Batches are ``operator.subset``: native for entries, dense and rank-one measurements, where
    nothing but the batch is touched. Source: Robbins and Monro (1951); variance reduction: Johnson
    and Zhang (2013); for low-rank search: Bhojanapalli, Neyshabur, Srebro (arXiv 1605.07221).
    """

    batch_size: int | float = 0.1
    step_size: float = 0.05
    variance_reduction: bool = True
    curvature_tol: float = 1e-6
    seed: int = 0

    def init(self, problem: FactorizedProblem, w: Array) -> EpochState:
        """Draw the batches and evaluate the start."""
        if not problem.loss.separable:
            raise InputError(
                f"stochastic gradients of {type(problem.loss).__name__}",
                "use a loss that is a sum over the measurements",
            )
        m = problem.operator.num_measurements
        size = self.batch_size
        valid = isinstance(size, (int, float, np.number)) and not isinstance(size, bool)
        if not valid or not 0 < size <= m or (size > 1 and size != int(size)):
            raise InputError(
                f"batch_size {size!r} of {m} measurements", "pass a share of at most 1, or a number"
            )
        if not 0 < self.step_size < np.inf:
            raise InputError(f"step_size {self.step_size!r}", "pass a positive number")
        count = -(-m // int(size)) if isinstance(size, int) else round(1 / size)
        order = np.random.default_rng([_SALT, self.seed]).permutation(m)
        parts = np.array_split(order, min(max(count, 1), m))
        xp = namespace(problem.b)
        batches = [
            FactorizedProblem(
                problem.operator.subset(index), xp.take(problem.b, like(index, problem.b)),
                problem.factorization, loss=problem.loss,
            )
            for index in map(np.sort, parts)
        ]  # fmt: skip
        return EpochState(
            problem.evaluate(w), step_size=self.step_size / problem.scale, batches=batches
        )

    def step(self, problem: FactorizedProblem, state: State) -> State:
        """Run one epoch; throw it away and halve the step when it ended higher."""
        assert isinstance(state, EpochState)
        m = problem.operator.num_measurements
        for _ in range(40):
            rng = np.random.default_rng([_SALT, self.seed, 1 + state.epochs])
            state = replace(state, epochs=state.epochs + 1)
            start = state.point
            w = start.w
            with np.errstate(over="ignore", invalid="ignore"):  # too long a step: thrown away
                for index in rng.permutation(len(state.batches)):
                    batch = state.batches[index]
                    share = m / batch.operator.num_measurements
                    gradient = share * batch.evaluate(w).gradient
                    if self.variance_reduction:
                        gradient = gradient - share * batch.evaluate(start.w).gradient
                        gradient = gradient + start.gradient
                        for regularizer in problem.regularizers:
                            gradient = gradient - regularizer.gradient(start.w)
                    for regularizer in problem.regularizers:
                        gradient = gradient + regularizer.gradient(w)
                    w = w - state.step_size * gradient
                following = problem.evaluate(w)
            if following.value < start.value or (
                following.value == start.value and following.gradient_norm < start.gradient_norm
            ):
                return replace(state, point=following)
            state = replace(state, step_size=0.5 * state.step_size)
        return replace(state, status=Status.STALLED)
