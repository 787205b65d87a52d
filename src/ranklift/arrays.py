"""Array namespaces: factors stay in the library (NumPy, PyTorch, ...) they came in."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from array_api_compat import array_namespace as _array_namespace
from array_api_compat import device, is_array_api_obj, is_torch_array

Array = Any
"""An array of any namespace that follows the Python array API standard."""

__all__ = [
    "Array",
    "as_point",
    "conj",
    "inner",
    "is_complex",
    "is_numpy_array",
    "like",
    "matmul",
    "namespace",
    "norm",
    "to_numpy",
]


def is_numpy_array(x: Array) -> bool:
    """Whether ``x`` is a NumPy array; asked some thousand times a second, so kept plain."""
    return isinstance(x, np.ndarray)


def namespace(*arrays: Array) -> ModuleType:
    """Return the array API namespace shared by ``arrays``."""
    return _array_namespace(*arrays)


def to_numpy(x: Array) -> np.ndarray:
    """Return ``x`` as a NumPy array, without a copy where the memory is shared."""
    if is_numpy_array(x):
        return x
    if is_torch_array(x):
        return x.detach().cpu().numpy()
    try:
        return np.from_dlpack(x)
    except (AttributeError, BufferError, TypeError, RuntimeError):
        return np.asarray(x)


def like(x: np.ndarray, template: Array) -> Array:
    """Return the NumPy array ``x`` in the namespace and on the device of ``template``."""
    if is_numpy_array(template):
        return x
    xp = namespace(template)
    return xp.asarray(np.ascontiguousarray(x), device=device(template))


def as_point(x: np.ndarray, template: Array) -> Array:
    """Return the NumPy array ``x`` in the namespace, device and precision of ``template``."""
    return like(x.astype(to_numpy(template).dtype), template)


def matmul(matrix: Any, x: Array) -> Array:
    """Return ``matrix @ x`` in the namespace of ``x``.

    ``matrix`` is an array of any namespace or an object with ``@``: a NumPy vector of a Lanczos run
    meets matrices that live elsewhere.
    """
    if is_numpy_array(x) and is_array_api_obj(matrix) and not is_numpy_array(matrix):
        return to_numpy(matrix @ like(x, matrix))
    return matrix @ x


def is_complex(x: Array) -> bool:
    """Whether the elements of ``x`` are complex numbers."""
    if is_numpy_array(x):
        return x.dtype.kind == "c"
    return bool(namespace(x).isdtype(x.dtype, "complex floating"))


def conj(x: Array) -> Array:
    """Return the complex conjugate; ``x`` itself where it is real."""
    return namespace(x).conj(x) if is_complex(x) else x


def inner(x: Array, y: Array) -> float:
    """Return the Euclidean inner product of two arrays of one shape: Re <x, y>."""
    if is_numpy_array(x):
        return float(np.vdot(x, y).real)
    xp = namespace(x, y)
    total = xp.sum(conj(x) * y)
    return float(xp.real(total) if is_complex(total) else total)


def norm(x: Array) -> float:
    """Return the Euclidean (Frobenius) norm of all elements, safe against overflow."""
    if is_numpy_array(x):
        return float(np.linalg.norm(x.ravel() if x.flags.c_contiguous else x))
    xp = namespace(x)
    size = xp.abs(x) if is_complex(x) else x
    return float(xp.sqrt(xp.sum(size * size)))
