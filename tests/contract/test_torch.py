"""Every operator on PyTorch tensors: the same products, and a search that stays in PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ranklift as rl
from cases import OPERATOR_NAMES, assert_close, operator_example
from contract.test_operators import all_products, draw
from ranklift.arrays import to_numpy

torch: Any = pytest.importorskip("torch", reason="the optional package torch is not installed")
each_operator = pytest.mark.parametrize("name", OPERATOR_NAMES)


@each_operator
def test_products_are_those_of_numpy(name, rng):
    operator = operator_example(name)
    d = draw(operator, rng)
    expected = all_products(operator, d)
    found = all_products(operator, {key: torch.asarray(value) for key, value in d.items()})
    for key, value in found.items():
        assert isinstance(value, torch.Tensor), key
        assert_close(to_numpy(value), expected[key], 1e-12)


@each_operator
def test_a_rank_one_matrix_is_fitted_in_torch(name):
    operator, rng = operator_example(name), np.random.default_rng(1)
    definite = operator.symmetric or operator.hermitian
    left = rng.standard_normal((operator.shape[0], 1))
    if operator.hermitian:
        left = left + 1j * rng.standard_normal(left.shape)
    right = left.conj() if definite else rng.standard_normal((operator.shape[1], 1))
    b = torch.asarray(to_numpy(operator.apply(rl.LowRank(left, right))))
    found = rl.recover(operator, b, rank=1, symmetric=definite, regularization=None, rng=0)
    assert isinstance(found.left, torch.Tensor)
    assert found.relative_residual < 1e-10
    assert found.certificates["zero_residual"].verdict is rl.Verdict.HOLDS
