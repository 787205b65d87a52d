"""Benchmarks of ranklift beside its peers: `python -m benchmarks.NAME [--quick]`."""
