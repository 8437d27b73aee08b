"""Workers that SLURM starts, of several kinds under one scheduler: with and without a GPU."""

from __future__ import annotations

import logging
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bridge.errors import InputError, MissingDependencyError
from bridge.names import number

_OURS = ("jobs", "resources")
_LOOK_S = 30.0  # how often it is seen whether jobs have ended
_log = logging.getLogger(__name__)
_EXPECTED = "expected [[workers]] with jobs, cores, memory, walltime and, each if you like, queue, account, resources, job_extra_directives, job_script_prologue"


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
        for kind in kinds:
            _seconds(str(kind["walltime"]))
            if kind.get("processes", 1) != 1:
                raise ValueError(f"processes = {kind['processes']}: a job is one worker, so give more jobs")
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
        extra = [*_lifetime(kind), *options.pop("worker_extra_args", [])]
        if kind.get("resources"):
            extra += ["--resources", str(kind["resources"])]
        for k in range(int(kind["jobs"])):
            job = {"processes": 1, **options, "worker_extra_args": extra}
            workers[f"kind{n + 1}-{k + 1}"] = {"cls": SLURMJob, "options": job}
    scheduler = {"cls": Scheduler, "options": {"dashboard": False, "dashboard_address": ":0", "protocol": "tcp://"}}
    try:
        with (
            SpecCluster(workers=workers, scheduler=scheduler, name="cellpose-fiji") as cluster,
            _started_again(cluster),
        ):
            yield cluster
    except TypeError as error:
        raise InputError(f"{path}: not a description of workers ({error}; {_EXPECTED}). Correct it.") from error


@contextmanager
def _started_again(cluster: Any) -> Iterator[None]:
    """Give the queue a job in place of each that has ended: a run may take longer than a job may."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(_LOOK_S):
            if missing := len(cluster.worker_spec) - len(cluster.workers):
                _log.warning("SLURM: given to the queue again: %s that had ended", number(missing, "job"))
                cluster.scale(len(cluster.worker_spec))

    watching = threading.Thread(target=look, name="slurm", daemon=True)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()


def _lifetime(kind: dict[str, Any]) -> list[str]:
    """Let a worker end in order before SLURM ends its job, and not all at once: what it held, another one does."""
    walltime_s = _seconds(str(kind["walltime"]))
    margin_s = min(600.0, walltime_s / 4)
    return ["--lifetime", f"{walltime_s - margin_s:.0f}s", "--lifetime-stagger", f"{margin_s / 2:.0f}s"]


def _seconds(walltime: str) -> float:
    """Return how long a job may take, as SLURM reads it.

    Examples
    --------
    >>> _seconds("30"), _seconds("04:00:00"), _seconds("1-12")
    (1800.0, 14400.0, 129600.0)
    """
    days, dash, rest = walltime.rpartition("-")
    parts = [float(part) for part in rest.split(":")]
    if not 1 <= len(parts) <= 3:
        raise ValueError(f"walltime {walltime}")
    if dash:  # days-hours[:minutes[:seconds]]
        hours, minutes, seconds = (*parts, 0.0, 0.0)[:3]
    else:  # minutes[:seconds], or hours:minutes:seconds
        hours, minutes, seconds = (0.0, *parts, 0.0)[:3] if len(parts) < 3 else parts
    return float(days or 0) * 86_400 + hours * 3_600 + minutes * 60 + seconds
