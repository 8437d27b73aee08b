"""Workers that SLURM starts, of several kinds under one scheduler: with and without a GPU."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bridge.errors import InputError, MissingDependencyError

_OURS = ("jobs", "resources")
_EXPECTED = "expected [[workers]] with jobs, cores, memory, walltime and, each if you like, queue, account, processes, resources, job_extra_directives, job_script_prologue"


def read_workers(path: Path) -> list[dict[str, Any]]:
    """Read which workers SLURM shall start.

    Parameters
    ----------
    path : Path
        A TOML file with a table ``[[workers]]`` for each kind.

    Returns
    -------
    list of dict

    Raises
    ------
    InputError
        It cannot be read, or says something else.
    """
    try:
        told = tomllib.loads(path.read_text("utf-8"))
        kinds = [dict(kind) for kind in told["workers"]]
        if not kinds or not all(int(kind["jobs"]) > 0 and kind["cores"] and kind["memory"] for kind in kinds):
            raise ValueError("jobs, cores or memory are missing")
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a description of workers ({error}; {_EXPECTED}). Correct it.") from error
    return kinds


@contextmanager
def slurm_cluster(path: Path) -> Iterator[Any]:
    """Start a scheduler here, and give SLURM the jobs of its workers; all end with the block.

    Parameters
    ----------
    path : Path
        See `read_workers`.

    Yields
    ------
    distributed.SpecCluster

    Raises
    ------
    InputError, MissingDependencyError
    """
    kinds = read_workers(path)
    try:
        from dask_jobqueue.slurm import SLURMJob
        from distributed import Scheduler, SpecCluster
    except ImportError as error:
        raise MissingDependencyError(
            "--cluster: dask-jobqueue is not installed. Install it: pip install 'cellpose-fiji-bridge[cluster]'"
        ) from error
    workers = {}
    for n, kind in enumerate(kinds):
        options = {name: value for name, value in kind.items() if name not in _OURS}
        extra = list(options.pop("worker_extra_args", []))
        if kind.get("resources"):
            extra += ["--resources", str(kind["resources"])]
        for k in range(int(kind["jobs"])):
            job = {"processes": 1, **options, "worker_extra_args": extra}
            workers[f"kind{n + 1}-{k + 1}"] = {"cls": SLURMJob, "options": job}
    scheduler = {"cls": Scheduler, "options": {"dashboard_address": None, "protocol": "tcp://"}}
    try:
        with SpecCluster(workers=workers, scheduler=scheduler, name="cellpose-fiji") as cluster:
            yield cluster
    except TypeError as error:
        raise InputError(f"{path}: not a description of workers ({error}; {_EXPECTED}). Correct it.") from error
