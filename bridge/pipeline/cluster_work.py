"""What a worker of a cluster does: the steps of some fields, with a network and an ImageJ that stay from task to task."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.errors import MissingDependencyError, StoppedError
from bridge.files import write_text
from bridge.foreign import read_json
from bridge.pipeline.executor import Executor, Failure
from bridge.pipeline.hashes import Hashes
from bridge.pipeline.lanes import Resources
from bridge.pipeline.records import Records
from bridge.pipeline.seen import SEEN, Seen
from bridge.pipeline.steps import ORDER

if TYPE_CHECKING:
    from bridge.experiment.fields import Field
    from bridge.pipeline.step import Context

_DEATHS = 2  # of workers, until a field is given up
_ME = uuid.uuid4().hex[:12]  # this worker, in notes
_one_at_a_time = threading.Lock()
_results: set[Path] = set()  # in which this worker has noted what it is at work on
_ended = threading.Event()
_kept: dict[str, Resources] = {}
_seen: dict[str, Seen] = {}


@dataclass
class Done:
    """What came of some fields.

    Attributes
    ----------
    done : set of str
        Fields that are complete.
    failures : list of Failure
    inputs : dict of Path to str
        What was read, with its SHA-256.
    fatal : MissingDependencyError or None
        What ends the whole run: a full disk, no Java.
    seconds : float
        It took.
    """

    done: set[str] = field(default_factory=set)
    failures: list[Failure] = field(default_factory=list)
    inputs: dict[Path, str] = field(default_factory=dict)
    fatal: MissingDependencyError | None = None
    seconds: float = 0.0


def work_on(
    context: Context, fields: list[Field], steps: Collection[str], update: bool, check: bool, run_id: str
) -> Done:
    """Do steps of some fields; where a worker died of them before, one field after the other.

    Parameters
    ----------
    context : Context
        Without fields, and without hashes.
    fields : list of Field
    steps : collection of str
        Their names.
    update, check : bool
        As of `bridge.run`.
    run_id : str
        Deaths in other starts, whose computer was switched off, do not count.

    Returns
    -------
    Done
    """
    with _one_at_a_time:
        out = context.folder.out
        seen = _seen.setdefault(f"{out} {check}", Seen(out, check, f"{socket.gethostname()}-{os.getpid()}"))
        context = dataclasses.replace(context, hashes=Hashes(out, seen))
        began = time.perf_counter()
        note, held = _note(out, fields, run_id)
        _results.add(out)
        told = Done()
        try:
            if not held:
                _write(note, {item.field_id: [_ME] for item in fields})
                _run(context, fields, steps, _Records(out, update, seen), told)
            for item in fields if held else ():
                dead = [who for who in held.get(item.field_id, []) if not _ended_in_order(out, who).exists()]
                if len(dead) >= _DEATHS:
                    told.failures.append(_given_up(item))
                    continue
                _write(note, {**held, item.field_id: [*dead, _ME]})
                _run(context, [item], steps, _Records(out, update, seen), told)
        except MissingDependencyError as error:
            told.fatal = error
        _write(note, {})
        told.seconds = time.perf_counter() - began
        told.inputs = dict(context.hashes.known)
        return told


async def load_steps() -> None:  # Dask does not wait for a coroutine
    """Import what the steps need, which takes seconds: this module does."""


def begin_in_order() -> None:
    """Say that a worker begins in this process."""
    _ended.clear()


def end_in_order() -> None:
    """Say that this worker's time is over: it did not die of the fields it holds, and begins no further step of them."""
    _ended.set()
    for out in list(_results):
        write_text(_ended_in_order(out, _ME), "")


class _Records(Records):
    """Notes nothing any more when another worker has the fields: both would write the same files."""

    def begin(self, *step: Any) -> None:
        _require_time()
        super().begin(*step)

    def finish(self, *step: Any) -> None:
        _require_time()
        super().finish(*step)


def _require_time() -> None:
    if _ended.is_set():
        raise StoppedError("the time of this worker is over")


def end_work(out: str) -> None:
    """Let a run's network and ImageJ go, and note what was seen."""
    with _one_at_a_time:
        _results.discard(Path(out))
        for name in [name for name in _kept if name.startswith(f"{out} ")]:
            _kept.pop(name).close()
        for name in [name for name in _seen if name.startswith(f"{out} ")]:
            _seen.pop(name).keep()


def _run(context: Context, fields: list[Field], steps: Collection[str], records: Records, told: Done) -> None:
    chosen = tuple(step for step in ORDER if step.name in steps)
    executor = Executor(context, records, chosen, lambda _: None, _resources(context))
    try:
        executor.run_fields(list(fields))
    finally:
        executor.close()
        told.failures += executor.failures
        told.done |= {item.field_id for item in executor.finished}


def _resources(context: Context) -> Resources:
    """The network and the ImageJ of this process, for these settings."""
    models = {role: model.sha256 for role, model in context.models.items()}
    of = json.dumps([context.settings.as_json(), models], sort_keys=True, default=str)
    name = f"{context.folder.out} {of}"
    if name not in _kept:
        _kept[name] = Resources(context, {r.name: r for step in ORDER for r in step.resources})
    return _kept[name]


def _note(out: Path, fields: list[Field], run_id: str) -> tuple[Path, dict[str, list[str]]]:
    """Return where it is noted that these fields are worked on, and which workers were at work on each before."""
    names = "\n".join(item.field_id for item in fields)
    note = out / "records" / SEEN / f"at_work_{run_id}_{hashlib.sha256(names.encode()).hexdigest()[:16]}.json"
    try:
        return note, {str(name): [str(who) for who in workers] for name, workers in read_json(note).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return note, {}


def _write(note: Path, held: dict[str, list[str]]) -> None:
    if _ended.is_set():
        return  # another worker has these fields, and its own word about them
    if held:
        write_text(note, json.dumps(held))
    else:
        note.unlink(missing_ok=True)


def _ended_in_order(out: Path, worker: str) -> Path:
    return out / "records" / SEEN / f"ended_{worker}.json"


def _given_up(item: Field) -> Failure:
    text = f"{item.field_id}: {_DEATHS} processes that worked on it died (out of memory?). The other fields went on. Look at its images, or run it alone with more memory."
    return Failure(item.field_id, "worker", "WorkerDied", text)
