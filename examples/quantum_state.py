"""A six-qubit state from Pauli expectation values: fidelity against the number of settings."""

from __future__ import annotations

import time

import numpy as np
from matplotlib.figure import Figure

import ranklift as rl
from ranklift.estimators import StateTomography
from ranklift.instances import (
    ghz_state,
    random_pauli_strings,
    random_state,
    shot_noise,
    w_state,
)

from .record import ACCENT, INK, QUIET, WARM, options, save

QUBITS, SHOTS, DRAWS = 6, 1000, 3
SETTINGS = (100, 150, 200, 300, 450, 700, 1000, 1500)


def reconstruct(
    state: np.ndarray, settings: int, shots: int, rng: np.random.Generator
) -> tuple[float, rl.Recovery]:
    """Return the fidelity with the true state and the recovery from noisy expectation values."""
    operator = rl.operators.PauliSensing(random_pauli_strings(QUBITS, settings, rng))
    exact = operator.apply(rl.LowRank(state, state.conj()))
    model = StateTomography(shots=shots, random_state=0)
    model.fit(operator, shot_noise(exact, shots, rng))
    return model.fidelity(state), model.recovery_


def main(argv: list[str] | None = None) -> None:
    """Run the example."""
    args, started = options(__doc__, argv), time.perf_counter()
    rng = np.random.default_rng(args.seed)
    states = {
        "GHZ": (ghz_state(QUBITS), ACCENT),
        "W": (w_state(QUBITS), WARM),
        "random, rank 2": (random_state(QUBITS, 2, rng), INK),
    }
    figure = Figure(figsize=(6.4, 3.6))
    axes = figure.subplots()
    table: dict[str, float] = {}
    last: rl.Recovery | None = None
    for name, (state, colour) in states.items():
        curve = []
        for settings in SETTINGS:
            draws = [reconstruct(state, settings, SHOTS, rng) for _ in range(DRAWS)]
            curve.append(float(np.median([value for value, _ in draws])))
            last = draws[-1][1]
            if settings in (300, 1000):
                table[f"fidelity, {name}, {settings} settings"] = round(curve[-1], 4)
        axes.plot(SETTINGS, curve, "o-", color=colour, label=name, lw=1.5, ms=4)
    axes.axvline(4**QUBITS, color=QUIET, lw=0.8)
    axes.set(xscale="log", xlabel=f"settings (of {4**QUBITS:,})", ylabel="fidelity", ylim=(0, 1.02))
    axes.set_title(f"{QUBITS} qubits, {SHOTS} shots a setting, median of {DRAWS}", fontsize=10)
    axes.legend(frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    assert last is not None
    save(
        "quantum_state", "Pauli expectation values", figure, table, last,
        source="simulated states and shots", output=args.output, started=started,
    )  # fmt: skip


if __name__ == "__main__":
    main()
