"""Cases shared by the contract tests: what is registered, and small instances of it.

Contract tests run over the registries, so that a new operator, solver or certificate is tested by
being registered. Classes that tests define themselves are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import array_api_strict
import numpy as np

import referee
from ranklift import operators
from ranklift.arrays import to_numpy
from ranklift.operators import OPERATORS, MeasurementOperator


def registered(registry: dict[str, Any]) -> list[str]:
    """Return the names that the library itself registered."""
    return sorted(n for n, cls in registry.items() if cls.__module__.startswith("ranklift."))


OPERATOR_NAMES = registered(OPERATORS)


def operator_example(name: str, seed: int = 0) -> MeasurementOperator:
    """Return the small instance that the operator offers for tests."""
    return OPERATORS[name].example(np.random.default_rng(seed))


def _entries(rng: np.random.Generator) -> operators.EntrySampling:
    flat = rng.permutation(36)[:25]
    return operators.EntrySampling(flat // 6, flat % 6, (6, 6))


_SQUARE: dict[str, Callable[[np.random.Generator], MeasurementOperator]] = {
    "DenseSensing": lambda rng: operators.DenseSensing(rng.standard_normal((20, 5, 5))),
    "EntrySampling": _entries,
    "IdentitySensing": lambda rng: operators.IdentitySensing((5, 5)),
    "FromLinearOperator": lambda rng: operators.FromLinearOperator(
        rng.standard_normal((18, 25)), (5, 5)
    ),
    "Weighted": lambda rng: _entries(rng).weighted(rng.uniform(0.5, 2.0, 25)),
    "Scaled": lambda rng: _entries(rng).scaled(rng.uniform(0.5, 2, 6), rng.uniform(0.5, 2, 6)),
    "Subset": lambda rng: operators.Subset(operators.IdentitySensing((5, 5)), [3, 1, 17, 22, 8]),
    "RankOneSensing": lambda rng: operators.RankOneSensing(
        rng.standard_normal((22, 5)), rng.standard_normal((22, 5))
    ),
    "BlindDeconvolution": lambda rng: operators.BlindDeconvolution(
        rng.standard_normal((28, 5)), rng.standard_normal((28, 5)), (28,)
    ),
    "Adjusted": lambda rng: operators.Adjusted(
        operators.DenseSensing(rng.standard_normal((22, 5, 5))), rng.standard_normal((22, 2))
    ),
    "Combination": lambda rng: (
        operators.DenseSensing(rng.standard_normal((25, 5, 5)))
        + -0.5 * operators.IdentitySensing((5, 5))
    ),
}


def square_example(name: str, seed: int = 0) -> MeasurementOperator:
    """Return a small instance on square matrices, for symmetric factorizations."""
    rng = np.random.default_rng(seed)
    operator = _SQUARE[name](rng) if name in _SQUARE else OPERATORS[name].example(rng)
    assert operator.shape[0] == operator.shape[1], f"give {name} a square case in tests/cases.py"
    return operator


def explicit_rows(operator: Any) -> np.ndarray:
    """Build the m x (n1 n2) matrix of A from the operator's data, without its products.

    Of a Hermitian unknown it is m x (2 n1 n2) and acts on ``coordinates``.
    """
    name, (n1, n2) = type(operator).__name__, operator.shape
    if name == "DenseSensing":
        return np.asarray(to_numpy(operator.matrices), dtype=float).reshape(-1, n1 * n2)
    if name == "EntrySampling":
        return referee.entry_rows(operator.rows, operator.cols, (n1, n2))
    if name == "IdentitySensing":
        return np.eye(n1 * n2)
    if name == "PauliSensing":
        return pauli_rows(operator.strings)
    if name == "RankOneSensing":
        left, right = to_numpy(operator.left), to_numpy(operator.right)
        return np.einsum("ti,tj->tij", left, right).reshape(len(left), n1 * n2)
    if name == "QuadraticSensing":
        return quadratic_rows(to_numpy(operator.vectors), operator.hermitian)
    if name == "BlindDeconvolution":
        return convolution_rows(operator)
    if name == "DistanceSensing":
        return distance_rows(operator.rows, operator.cols, n1)
    if name == "Congruence":
        # vec(Q X Q^T) = (Q (x) Q) vec(X), row by row.
        basis = np.asarray(operator.basis @ np.eye(n1))
        base, twice = explicit_rows(operator.base), np.kron(basis, basis)
        parts = np.split(base, 2, axis=1) if operator.hermitian else [base]
        return np.hstack([part @ twice for part in parts])
    if name == "FromLinearOperator":
        return np.stack([operator.linop.matvec(e) for e in np.eye(n1 * n2)], axis=1)
    if name == "Weighted":
        return operator.weights[:, None] * explicit_rows(operator.base)
    if name == "Scaled":
        one, other = (
            np.diag(scale) if scale.ndim == 1 else scale
            for scale in (operator.row_scale, operator.column_scale)
        )
        turn = np.kron(one, other)
        if operator.base.hermitian:
            turn = np.block([[turn.real, -turn.imag], [turn.imag, turn.real]])
        return explicit_rows(operator.base) @ turn
    if name == "Subset":
        return explicit_rows(operator.base)[operator.index]
    if name == "Adjusted":
        base = explicit_rows(operator.base)
        return base - operator.basis @ (operator.basis.T @ base)
    if name == "Combination":
        parts = zip(operator.factors, operator.parts, strict=True)
        return np.sum([factor * explicit_rows(part) for factor, part in parts], axis=0)
    return operator.normal_matrix()


def coordinates(operator: Any, x: np.ndarray) -> np.ndarray:
    """Return what ``explicit_rows`` acts on: vec(X), or its real and imaginary parts."""
    return np.concatenate([x.real.ravel(), x.imag.ravel()]) if operator.hermitian else x.ravel()


def from_coordinates(operator: Any, v: np.ndarray) -> np.ndarray:
    """Return the n1 x n2 array that ``coordinates`` takes to v."""
    if operator.hermitian:
        v = v[: v.size // 2] + 1j * v[v.size // 2 :]
    return v.reshape(operator.shape)


def random_array(operator: Any, rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Draw a Gaussian array of the kind the operator's unknown is made of: complex or real."""
    x = rng.standard_normal(shape)
    return x + 1j * rng.standard_normal(shape) if operator.hermitian else x


PAULI_MATRICES = {
    "I": np.eye(2),
    "X": np.array([[0, 1], [1, 0]]),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.diag([1, -1]),
}


def pauli_matrix(string: str) -> np.ndarray:
    """Return the Kronecker product of the letters' matrices."""
    out = np.ones((1, 1), dtype=complex)
    for letter in string:
        out = np.kron(out, PAULI_MATRICES[letter])
    return out


def pauli_rows(strings: list[str]) -> np.ndarray:
    """Return Re tr(P X) = Re P . Re X + Im P . Im X as rows on both parts, P being Hermitian."""
    matrices = [pauli_matrix(string) for string in strings]
    return np.array([np.concatenate([p.real.ravel(), p.imag.ravel()]) for p in matrices])


def distance_rows(rows: np.ndarray, cols: np.ndarray, n: int) -> np.ndarray:
    """Return vec((e_i - e_j) (e_i - e_j)^T) for every pair."""
    difference = np.eye(n)[rows] - np.eye(n)[cols]
    return np.einsum("ti,tj->tij", difference, difference).reshape(len(rows), n * n)


def quadratic_rows(vectors: np.ndarray, hermitian: bool) -> np.ndarray:
    """Return Re v X v^H as rows: on X, or on its real and imaginary parts."""
    outer = np.einsum("ti,tj->tij", vectors, vectors.conj()).reshape(len(vectors), -1)
    return np.hstack([outer.real, -outer.imag]) if hermitian else outer.real


def convolution_rows(operator: Any) -> np.ndarray:
    """Return the weighted real and imaginary parts of F(b_i * c_j) for all pairs of basis columns.

    Circular convolutions in the signal domain, a full transform, and weights by counting how often
    a coefficient or its conjugate occurs among the kept and the dropped ones.
    """
    grid = operator.grid
    points = [np.array(p) for p in np.ndindex(*grid)]
    half = (*grid[:-1], grid[-1] // 2 + 1)
    kept = [np.array(np.unravel_index(f, half)) for f in operator.frequencies]
    real, imaginary = [], []
    for frequency in kept:
        phases = [2j * np.pi * np.sum(frequency * p / np.array(grid)) for p in points]
        wave = np.exp(-np.array(phases))
        spectra = [wave @ np.asarray(b) for b in (operator.filter_basis, operator.signal_basis)]
        row = np.outer(*spectra).ravel() / np.sqrt(len(points))
        alone = frequency[-1] == 0 or 2 * frequency[-1] == grid[-1]
        weight = 1.0 if alone else np.sqrt(2.0)
        real.append(weight * row.real)
        if np.any((2 * frequency) % np.array(grid) != 0):
            imaginary.append(weight * row.imag)
    return np.array(real + imaginary)


def strict(x: np.ndarray) -> Any:
    """Return an array that allows nothing outside of the array API standard."""
    return array_api_strict.asarray(np.ascontiguousarray(x))


def strict_operator(operator: Any) -> MeasurementOperator:
    """Return the operator with data of its own, where it keeps a namespace, as strict arrays."""
    name = type(operator).__name__
    if name == "DenseSensing":
        return operators.DenseSensing(strict(operator.matrices))
    if name == "Combination":
        parts = tuple(strict_operator(part) for part in operator.parts)
        return operators.Combination(parts, operator.factors)
    if name == "Weighted":
        return operators.Weighted(strict_operator(operator.base), operator.weights)
    if name == "Scaled":
        base = strict_operator(operator.base)
        return operators.Scaled(base, operator.row_scale, operator.column_scale)
    if name == "RankOneSensing":
        return operators.RankOneSensing(strict(operator.left), strict(operator.right))
    if name == "QuadraticSensing":
        return operators.QuadraticSensing(strict(operator.vectors), operator.field)
    if name == "Congruence":
        return operators.Congruence(strict_operator(operator.base), operator.basis)
    if name == "Subset":
        return operators.Subset(strict_operator(operator.base), operator.index)
    return operator


def assert_close(actual: Any, desired: Any, rtol: float = 1e-11) -> None:
    """Compare two arrays by the norm of the difference relative to the larger norm."""
    actual, desired = np.asarray(to_numpy(actual)), np.asarray(to_numpy(desired))
    assert actual.shape == desired.shape
    scale = max(np.linalg.norm(actual), np.linalg.norm(desired))
    difference = np.linalg.norm(actual - desired)
    assert difference <= rtol * scale, f"relative difference {difference / scale:.2e} > {rtol:.0e}"
