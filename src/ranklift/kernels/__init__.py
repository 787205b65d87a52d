"""Compiled kernels: the only place with Numba."""
