"""Runs the steps of the fields by Dask: on the processes of this computer, on a scheduler that is there, or by SLURM.

Pixels do not travel: every worker reads and writes the shared disk; paths, settings and failures go through Dask. A worker
keeps its network and its ImageJ from task to task. A task is a handful of fields. Where a worker dies, its tasks are given
to others, and what it was at work on is then done field by field: a field that two workers died of fails by name.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.cores import THREADS, cores
from bridge.errors import InputError, MissingDependencyError
from bridge.names import number
from bridge.pipeline.cluster_work import Done, end_work, load_steps, work_on
from bridge.pipeline.executor import Executor
from bridge.pipeline.hashes import Hashes
from bridge.pipeline.step import MAIN, Step

if TYPE_CHECKING:
    from distributed import Client, Future

    from bridge.experiment.fields import Field

_TASK_S = 5.0  # a task; what its beginning and its end cost is then little
_FIRST, _AT_MOST = 4, 256  # fields in a task: while nothing is known, and ever
_AHEAD = 2  # tasks for each worker: the next one is there when one ends
GPU, CPU = "GPU", "CPU"  # resources that workers may declare


@contextmanager
def connected(where: str, say: Callable[[str], None] = lambda _: None) -> Iterator[Client]:
    """Give a Dask client.

    Parameters
    ----------
    where : str
        ``local:N`` for N processes of this computer, the address of a scheduler (``tcp://host:8786``), or a TOML file
        that says which workers SLURM shall start.
    say : callable
        Called with what the user should know.

    Yields
    ------
    distributed.Client

    Raises
    ------
    MissingDependencyError
        Dask is not installed, or the scheduler does not answer.
    InputError
        It is none of these.
    """
    try:
        import dask
        import distributed
    except ImportError as error:
        raise MissingDependencyError(
            "--cluster: Dask is not installed. Install it: pip install 'cellpose-fiji-bridge[cluster]'"
        ) from error
    kind, _, rest = where.partition(":")
    if kind == "local" and rest.isdigit() and int(rest):
        with dask.config.set(_of_workers_here(int(rest))), distributed.LocalCluster(
            n_workers=0, threads_per_worker=1, processes=True, dashboard_address=None
        ) as local, distributed.Client(local) as client:  # fmt: skip
            local.scale(int(rest))  # they start meanwhile
            yield client
    elif kind in ("tcp", "tls"):
        try:
            client = distributed.Client(where, timeout="30s")
        except (OSError, TimeoutError) as error:
            raise MissingDependencyError(
                f"{where}: no Dask scheduler answers ({error}). Start one (dask scheduler), or correct the address."
            ) from error
        with client:
            client.run(load_steps, wait=False)
            yield client
    elif where.endswith(".toml"):
        from bridge.pipeline.slurm import slurm_cluster

        with slurm_cluster(Path(where)) as by_slurm, distributed.Client(by_slurm) as client:
            say(f"SLURM: given to the queue: {number(len(by_slurm.worker_spec), 'job')}")
            yield client
    else:
        raise InputError(
            f"--cluster: not known (got {where}, expected local:4, tcp://host:8786 or a .toml file). Correct it."
        )


def _of_workers_here(n: int) -> dict[str, Any]:
    """Return Dask's configuration for workers of this computer."""
    import dask

    threads, asked = max(1, cores() // n), dask.config.get("distributed.worker.preload") or []
    return {
        # It looks at its workers a hundred times a second, for a dashboard that is not there: 8 % of their time.
        "distributed.worker.profile.enabled": False,
        "distributed.admin.tick.interval": "1s",
        "distributed.admin.system-monitor.interval": "5s",
        # Not its MALLOC_TRIM_THRESHOLD_, with which glibc asks the system for the memory of every image anew.
        "distributed.nanny.pre-spawn-environ": dict.fromkeys(THREADS, threads),
        "distributed.worker.preload": [
            work_on.__module__,
            *([asked] if isinstance(asked, str) else asked),
        ],  # what the steps need is imported while the plan is made
    }


def executor_for(client: Client | None) -> Callable[..., Executor]:
    """Return what runs the steps: this process, or the workers of a Dask client."""
    if client is None:
        return Executor
    return functools.partial(ClusterExecutor, client=client)


class ClusterExecutor(Executor):
    """Runs the steps of the fields on the workers of a Dask client; what follows from several fields is done here.

    Parameters
    ----------
    context, records, steps, tell
        As of `Executor`.
    client : distributed.Client
    """

    def __init__(self, *given: Any, client: Client) -> None:
        super().__init__(*given)
        self._client = client
        self._run_id = uuid.uuid4().hex[:8]

    def run_fields(self, fields: list[Field]) -> None:
        """Run every step of scope ``field`` that can be done without the other fields."""
        from bridge.pipeline.cluster_plugin import Ending

        workers = self._workers()
        self._client.register_plugin(Ending())
        steps = [step for step in self.graph.of_fields() if not step.early]
        phases = [(_named(steps), _resource(workers, CPU))]
        if _resource(workers, GPU):
            phases.insert(0, (_named(_networks(steps)), {GPU: 1}))
        done = self._in_turn(fields, phases, len(workers))
        self._client.run(end_work, str(self.context.folder.out), on_error="ignore")
        self.records.forget()  # the workers wrote them,
        self.records.seen.forget()  # and noted what they saw
        order = {item.field_id: item for item in fields}
        self.finished = [item for name, item in order.items() if name in done]
        for name in order.keys() - done - {failure.field_id for failure in self.failures}:
            self.fail(name, "worker", RuntimeError("no worker said what came of it"))

    def _in_turn(
        self, fields: list[Field], phases: list[tuple[frozenset[str], dict[str, int]]], workers: int
    ) -> set[str]:
        """Do the fields in their phases, some in a task, a bounded number of tasks at a time; return what is done."""
        from distributed import as_completed

        done: set[str] = set()
        waiting = collections.deque(fields)
        field_s = 0.0  # as tasks have taken lately
        running: dict[Future, tuple[list[Field], int]] = {}
        results = as_completed()

        def submit(task: list[Field], phase: int) -> None:
            future = self._submit(task, *phases[phase])
            running[future] = (task, phase)
            results.add(future)

        def submit_next() -> None:
            size = min(_AT_MOST, int(_TASK_S / field_s)) if field_s else _FIRST
            size = max(1, min(size, len(waiting) // (_AHEAD * workers)))  # so that all end at the same time
            if task := [waiting.popleft() for _ in range(min(size, len(waiting)))]:
                submit(task, 0)

        for _ in range(_AHEAD * workers):
            submit_next()
        for future in results:
            task, phase = running.pop(future)
            told = self._told(future)
            if told is None:  # more workers died of it than Dask allows
                submit(task, phase)
                continue
            self.failures += told.failures
            self.context.hashes.known.update(told.inputs)
            left = [item for item in task if item.field_id in told.done]
            if phase + 1 < len(phases) and left:
                submit(left, phase + 1)
                continue
            done |= told.done
            self.finished += left
            for item in left:
                self.tell(f"{item.field_id}: done")
            if task:
                field_s = told.seconds / len(task)
            submit_next()
        return done

    def _submit(self, fields: list[Field], steps: frozenset[str], resources: dict[str, int]) -> Future:
        plan = dataclasses.replace(self.context.plan, fields=())
        context = dataclasses.replace(self.context, plan=plan, hashes=Hashes(self.context.folder.out))
        return self._client.submit(
            work_on, context, fields, steps, self.records.update, self.records.seen.check, self._run_id,
            pure=False, resources=resources or None,
        )  # fmt: skip

    def _told(self, future: Future) -> Done | None:
        from distributed import KilledWorker
        from distributed.client import FutureCancelledError

        try:
            told: Done = future.result()
        except KilledWorker:
            return None
        except (FutureCancelledError, OSError) as error:
            raise MissingDependencyError(
                f"Dask: the scheduler is gone ({error}). What is done is kept: start it again and give the same command."
            ) from error
        if told.fatal is not None:
            raise told.fatal
        return told

    def _workers(self) -> dict[str, Any]:
        from distributed import LocalCluster

        cluster = self._client.cluster
        self._client.wait_for_workers(len(cluster.worker_spec) if isinstance(cluster, LocalCluster) else 1)
        workers: dict[str, Any] = self._client.scheduler_info(n_workers=-1)["workers"]
        return workers


def _named(steps: Collection[Step]) -> frozenset[str]:
    return frozenset(step.name for step in steps)


def _networks(steps: list[Step]) -> list[Step]:
    """Return the steps up to the label images: what a GPU is for."""
    by_name = {step.name: step for step in steps}
    asked = [step for step in steps if any(by_name[name].lane == MAIN for name in step.needs if name in by_name)]
    needed = {step.name for step in asked} | {name for step in asked for name in step.needs}
    return [
        step
        for step in steps
        if step.name in needed or any(step.name in by_name[n].needs for n in needed if n in by_name)
    ]


def _resource(workers: dict[str, Any], name: str) -> dict[str, int]:
    return {name: 1} if any(name in told.get("resources", {}) for told in workers.values()) else {}
