"""Thread control: one BLAS thread for tall-skinny algebra, a small pool for the entry kernels.

Tall-skinny products (n x k with k of order ten) lose by BLAS threads that compete with the kernel
threads: 0.8 s against 0.27 s for one completion solve on two cores. The kernels release the GIL
and work on fixed chunks, so results do not depend on how many threads happen to run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController

CHUNKS = 4
"""Number of pieces of a large kernel call: fixed, so that summation order is fixed."""

SERIAL_WORK = 400_000
"""Multiply-adds below which handing work to a pool costs more than it saves."""


def available_cores() -> int:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Hold BLAS at one thread inside the block and restore the caller's setting after it."""
    with _controller().limit(limits=1, user_api="blas"):
        yield


@cache
def _pool(process_id: int) -> ThreadPoolExecutor:
    # Keyed by process: a pool inherited through fork() has no live threads.
    return ThreadPoolExecutor(max_workers=available_cores(), thread_name_prefix="ranklift")


def run_chunks(task: Callable[[int], None], chunks: int) -> None:
    """Run ``task(0), ..., task(chunks - 1)``, side by side when there is more than one."""
    if chunks == 1 or available_cores() == 1:
        for chunk in range(chunks):
            task(chunk)
        return
    list(_pool(os.getpid()).map(task, range(chunks)))
