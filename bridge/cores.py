"""The cores of this machine, shared by the kernels of a process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

# Who starts several processes on one computer gives each its part (Dask, batch systems); the first is OpenMP's own.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def cores() -> int:
    """Return how many cores this process may use: those it is bound to, at most ``OMP_NUM_THREADS``.

    Examples
    --------
    >>> cores() >= 1
    True
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get(THREADS[0], "").partition(",")[0].strip()  # a list is for nested teams
    return min(bound, int(asked)) if asked.isdigit() and int(asked) else bound


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cores(), thread_name_prefix="kernels")


def on_all_cores(work: Callable[[int], object], tasks: Iterable[int]) -> None:
    """Do something for each of these numbers; the kernels hold no lock.

    Examples
    --------
    >>> found = []
    >>> on_all_cores(found.append, range(3))
    >>> sorted(found)
    [0, 1, 2]
    """
    list(_pool().map(work, tasks))


def in_bands(work: Callable[[int, int], object], rows: int, least: int) -> None:
    """Do something for bands of rows (first, last), on all cores where there are enough rows.

    Examples
    --------
    >>> found = []
    >>> in_bands(lambda first, last: found.append((first, last)), 10, least=100)
    >>> found
    [(0, 10)]
    """
    bands = min(2 * cores(), rows // least)
    if bands < 2:
        work(0, rows)
        return
    edges = [rows * k // bands for k in range(bands + 1)]
    on_all_cores(lambda k: work(edges[k], edges[k + 1]), range(bands))
