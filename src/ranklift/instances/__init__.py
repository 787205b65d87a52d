"""Instances: hard problems with known answers, and generators of random ones."""

from .counterexamples import deep_is_not_sparse, flat_is_not_nuclear, unbalanced_saddle
from .generators import entry_completion, gaussian_sensing, random_low_rank
from .hard_instances import (
    rank_one_truth,
    rip_half,
    sod_three_by_three,
    two_by_two_weighted,
)
from .measurement_models import bilinear_sensing, covariance_sketch, phase_retrieval
from .perturbed_completion import perturbed_matrix_completion
from .quantum_states import (
    fidelity,
    ghz_state,
    random_pauli_strings,
    random_state,
    shot_noise,
    w_state,
)
from .record import Instance

__all__ = [
    "Instance",
    "bilinear_sensing",
    "covariance_sketch",
    "deep_is_not_sparse",
    "entry_completion",
    "fidelity",
    "flat_is_not_nuclear",
    "gaussian_sensing",
    "ghz_state",
    "perturbed_matrix_completion",
    "phase_retrieval",
    "random_low_rank",
    "random_pauli_strings",
    "random_state",
    "rank_one_truth",
    "rip_half",
    "shot_noise",
    "sod_three_by_three",
    "two_by_two_weighted",
    "unbalanced_saddle",
    "w_state",
]
