"""Shares of exact recoveries near the information limit, over fixed seeds."""

from __future__ import annotations

import numpy as np
import pytest

from ranklift.estimators import MatrixSensing, PhaseRetrieval
from ranklift.operators import CodedDiffraction, random_masks

TRIALS = 20


def relative(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.linalg.norm(found - truth) / np.linalg.norm(truth))


def gaussian_signal(n: int, rng: np.random.Generator, *, complex_signal: bool) -> np.ndarray:
    u = rng.standard_normal(n) + (1j * rng.standard_normal(n) if complex_signal else 0.0)
    largest = u[np.abs(u).argmax()]
    return u * np.conj(largest) / abs(largest)  # the convention of signal_


def gaussian_vectors(
    m: int, n: int, rng: np.random.Generator, *, complex_vectors: bool
) -> np.ndarray:
    real = rng.standard_normal((m, n))
    return real + 1j * rng.standard_normal((m, n)) if complex_vectors else real


def retrieved(ratio: float, n: int, trials: int, *, complex_signal: bool, init: str) -> int:
    """Return in how many trials the signal comes back from ratio * n Gaussian intensities."""
    successes = 0
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        m = int(ratio * n)
        vectors = gaussian_vectors(m, n, rng, complex_vectors=complex_signal)
        u = gaussian_signal(n, rng, complex_signal=complex_signal)
        model = PhaseRetrieval(init=init, certify=False, random_state=seed)
        model.fit(vectors, np.abs(vectors @ u) ** 2)
        assert model.init_ in ("spectral", "convex")
        successes += relative(model.signal_, u) < 1e-6
    return successes


@pytest.mark.slow
@pytest.mark.parametrize("rank", [2, None])
def test_gaussian_sensing_at_a_quarter_above_the_degrees_of_freedom(rank: int | None) -> None:
    # m = 200 for 156 degrees of freedom; measured 20/20 with and without the rank.
    n, r = 40, 2
    successes = 0
    for seed in range(TRIALS):
        rng = np.random.default_rng(seed)
        matrices = rng.standard_normal((int(2.5 * n * r), n, n))
        truth = rng.standard_normal((n, r)) @ rng.standard_normal((r, n))
        model = MatrixSensing(
            rank, noise=None, fit_intercept=False, certify=False, random_state=seed
        )
        model.fit(matrices, np.tensordot(matrices, truth))
        successes += relative(model.coef_, truth) < 1e-6
    assert successes >= 18


def test_real_phase_retrieval_at_three_n() -> None:
    assert retrieved(3.0, 64, TRIALS, complex_signal=False, init="spectral") >= 19


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ranklift.errors.ConvergenceWarning")
def test_real_phase_retrieval_transition_of_the_spectral_start() -> None:
    # Measured 41, 50, 50, 50 of 50 at m/n = 2, 2.5, 3, 4.
    found = [retrieved(c, 128, 50, complex_signal=False, init="spectral") for c in (2.0, 2.5, 3.0)]
    assert found[0] < 50
    assert min(found[1:]) > 47
    # Fewer equations than unknowns: no method can succeed.
    assert retrieved(0.9, 32, 5, complex_signal=False, init="spectral") == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ranklift.errors.ConvergenceWarning")
def test_complex_phase_retrieval_at_four_n() -> None:
    assert retrieved(4.0, 64, TRIALS, complex_signal=True, init="spectral") >= 19


@pytest.mark.slow
def test_an_image_behind_octanary_masks() -> None:
    rng = np.random.default_rng(4)
    x, y = np.meshgrid(np.linspace(0, 1, 64), np.linspace(0, 1, 64))
    image = 0.2 + (np.hypot(x - 0.4, y - 0.5) < 0.3) + 0.5 * x * (np.sin(20 * y) > 0)
    vectors = CodedDiffraction(random_masks(4, image.shape, rng))
    intensities = np.abs(vectors @ image.ravel()) ** 2
    model = PhaseRetrieval("real", random_state=0).fit(vectors, intensities)
    assert relative(model.signal_.reshape(image.shape), image) < 1e-8
    assert model.recovery_ is not None
    assert model.recovery_.certified
