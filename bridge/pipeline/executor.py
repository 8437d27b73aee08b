"""Runs the steps of all fields in this process: several fields at once, resume, failures, resources.

Nothing waits: while the network looks at one field, the next one is read, the masks of the one before are made, and
those before are traced, measured, written and drawn. Each lane has a thread of its own, so the fields stay in order.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.errors import BridgeError, MissingDependencyError
from bridge.pipeline.graph import Graph, groups_of, record_of
from bridge.pipeline.lanes import Facts, Given, Lane, OfFields, Resources
from bridge.pipeline.records import Records
from bridge.pipeline.step import MAIN, Context, Outcome, Resource, Step, Task

if TYPE_CHECKING:
    from bridge.experiment.fields import Field

_log = logging.getLogger(__name__)
_FIELDS_AT_ONCE, _LARGE_AT_ONCE, _PX_AT_ONCE = 16, 4, 16_000_000  # in memory
_EARLY_AT_MOST = 1_000  # fields


@dataclass(frozen=True)
class Failure:
    """One thing that failed: a row of `failures.csv`."""

    field_id: str
    step: str
    error: str
    message: str


@dataclass
class _Job:
    """A field, or a group of fields, on its way through the steps."""

    fields: tuple[Field, ...]
    name: str
    values: dict[str, Any] = field(default_factory=dict)
    facts: Facts = field(default_factory=Facts)
    made_from: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: bool = False


class Executor:
    """Runs steps on this computer.

    Parameters
    ----------
    context : Context
    records : Records
    steps : tuple of Step
    tell : callable
        Called with what is being done.
    resources : Resources, optional
        Networks and engines of the caller's, which outlive this.
    """

    def __init__(
        self,
        context: Context,
        records: Records,
        steps: tuple[Step, ...],
        tell: Callable[[str], None],
        resources: Resources | None = None,
    ) -> None:
        self.context, self.records, self.tell = context, records, tell
        self.graph = Graph(steps)
        self.failures: list[Failure] = []
        self.finished: list[Field] = []
        self._own = resources is None
        if resources is None:
            resources = Resources(context, {r.name: r for step in steps for r in step.resources}, tell)
        self.resources = resources
        self._known = Facts()
        self._fatal: BaseException | None = None
        self._lanes: dict[str, Lane] = {}
        self._steps: list[Step] = []
        self._threads: list[threading.Thread] = []

    # ------------------------------------------------------------ fields

    def run_fields(self, fields: list[Field]) -> None:
        """Run every step of scope ``field`` for each of these fields; failures are kept, field by field."""
        # Of very many, what is known so far is never all that such a step follows from.
        early = len(fields) <= _EARLY_AT_MOST
        self._steps = steps = [step for step in self.graph.of_fields() if early or not step.early]
        self._known = self._noted(fields).read() if early else Facts()
        self._lanes = {lane: Lane() for lane in (MAIN, *(step.lane for step in steps))}
        for name, lane in self._lanes.items():
            if name != MAIN:
                self._threads.append(threading.Thread(target=self._serve, args=(lane,), name=name, daemon=True))
                self._threads[-1].start()
        self._start_resources(steps, fields)
        self._feed(fields, self._lanes[MAIN])
        order = {item.field_id: k for k, item in enumerate(fields)}
        self.finished.sort(key=lambda item: order[item.field_id])

    def _feed(self, fields: list[Field], main: Lane) -> None:
        """Put fields on their way, a bounded number at a time, and serve the lane of this thread."""
        waiting, on_the_way = collections.deque(fields), 0
        while waiting or on_the_way:
            while waiting and on_the_way < self._at_once(waiting[0]):
                item = waiting.popleft()
                on_the_way += 1
                self._advance(_Job((item,), item.field_id), 0)
            events = main.take(self._many)
            on_the_way -= sum(k is None for _, k in events)
            self._work([(job, k) for job, k in events if k is not None])
            if self._fatal is not None:
                raise self._fatal

    def _at_once(self, item: Field) -> int:
        """How many fields like this one may be in memory."""
        px = max(1, item.height_px * item.width_px)
        return min(_FIELDS_AT_ONCE, max(_LARGE_AT_ONCE, _PX_AT_ONCE // px))

    def _serve(self, lane: Lane) -> None:
        while events := lane.take(self._many):
            try:
                self._work(events)
            except Exception as error:  # a fault of this program: said, not waited for without end
                self._fatal = error
                self._lanes[MAIN].put(events[0][0], None)

    def _many(self, k: int) -> int:
        """How many fields a step takes at once."""
        step = self._steps[k]
        return step.at_once if step.together is not None else 1

    def _advance(self, job: _Job, k: int) -> None:
        steps = self._steps
        if not job.failed and k < len(steps):
            self._lanes[steps[k].lane].put(job, k)
            return
        if not job.failed:
            self.finished.append(job.fields[0])
            self.tell(f"{job.name}: done")
        job.values.clear()
        self._lanes[MAIN].put(job, None)

    def _work(self, events: list[tuple[Any, Any]]) -> None:
        if events and isinstance(events[0][0], Resource):
            self.resources.begin(events[0][0])
            return
        steps, outcomes = self._steps, self._together(events) if events else {}
        for job, k in events:
            try:
                self._perform(job, steps[k], outcomes.get(job.name))
            except MissingDependencyError as error:
                self._fatal, job.failed = error, True
            except Exception as error:
                if not steps[k].early:  # tried again after the last field, and said if it fails there
                    job.failed = True
                    self.fail(job.name, self.graph.reported_as(steps[k]), error)
                _log.debug("%s: step %s", job.name, steps[k].name, exc_info=True)
            self._advance(job, k + 1)

    def _together(self, events: list[tuple[_Job, int]]) -> dict[str, Outcome]:
        """Do the work of several fields in one call, where the step can; a failure is tried again one by one."""
        step = self._steps[events[0][1]]
        if step.together is None or len(events) < 2:
            return {}
        with contextlib.suppress(Exception):
            jobs = [job for job, _ in events if self._must_run(job, step)]
            if len(jobs) < 2:
                return {}
            self.tell(f"{jobs[0].name}: {step.words}")
            if outcomes := step.together([self._task(job, step) for job in jobs]):
                return dict(zip((job.name for job in jobs), outcomes, strict=True))
        return {}

    # ------------------------------------------------------------ one step

    def _task(self, job: _Job, step: Step) -> Task:
        known = Facts(step.needs, lambda need: dict(self._known[need])) if step.early else {}
        return Task(self.context, job.fields, job.name, Given(self, job), job.facts, job.values, known, self.resources)

    def _applies(self, job: _Job, step: Step) -> bool:
        return step.applies(self._task(job, step))

    def _must_run(self, job: _Job, step: Step) -> bool:
        if not self._applies(job, step):
            return False
        if step.recorded:
            return not self._is_current(job, step)
        return any(self._must_run(job, consumer) for consumer in self.graph.consumers(step) if not consumer.early)

    def _is_current(self, job: _Job, step: Step) -> bool:
        """Whether a step's outputs are there and made from the same things; its facts are then known."""
        if step.name in job.facts or step.name in job.made_from:
            return step.name in job.facts
        if step.scope == "field" and any(self._must_run(job, needed) for needed in self.graph.recorded_needs(step)):
            return False  # what it is made from is known when that has run
        task = self._task(job, step)
        made_from = self.graph.made_from(step, task, self.records)
        facts = self.records.current(*record_of(step, job.name), made_from, step.outputs(task), step.derived)
        job.made_from[step.name] = made_from  # not before: what is refused is refused however often it is asked
        if facts is None:
            return False
        job.facts[step.name] = facts
        self._note(job, step, facts)
        return True

    def _perform(self, job: _Job, step: Step, outcome: Outcome | None = None) -> None:
        """Run a step where it must be; write its record."""
        if not self._must_run(job, step):
            return
        if step.words:
            self.tell(f"{job.name}: {step.words}" if step.scope == "field" else step.words)
        task = self._task(job, step)
        if not step.recorded:
            job.values[step.name] = (outcome or step.work(task)).value
            return
        outputs, record, made_from = step.outputs(task), record_of(step, job.name), job.made_from[step.name]
        self.records.begin(*record, made_from, outputs)
        outcome = outcome or step.work(task)
        self.records.finish(*record, made_from, outputs, outcome.facts)
        job.facts[step.name], job.values[step.name] = outcome.facts, outcome.value
        self._note(job, step, outcome.facts)

    def value(self, job: _Job, name: str) -> Any:
        """Return what a step hands over: from memory, or from its files."""
        if name not in job.values:
            step = self.graph.by_name[name]
            loadable = step.load is not None and self._applies(job, step)
            job.values[name] = step.load(self._task(job, step)) if loadable and step.load else None
        return job.values[name]

    def _note(self, job: _Job, step: Step, facts: dict[str, Any]) -> None:
        if step.name in self._known and step.scope == "field":
            self._known[step.name][job.name] = facts

    def _noted(self, fields: Sequence[Field]) -> Facts:
        """What the steps that an early step needs noted for these fields, also in an earlier start."""
        needs = [name for step in self.graph.steps if step.early for name in step.needs]
        return Facts(needs, lambda need: dict(self._facts_of(fields, need)))

    def _facts_of(self, fields: Sequence[Field], step: str) -> OfFields:
        return OfFields((item.field_id for item in fields), lambda name: self.records.facts(name, step))

    # ------------------------------------------------------------ several fields

    def run_groups(self, *names: str) -> None:
        """Run every step that follows from several fields, or those of these names, for the finished fields."""
        self._known = self._noted(self.finished)
        steps = [s for s in self.graph.steps if (s.early or s.scope != "field") and (not names or s.name in names)]
        lanes = list(dict.fromkeys(step.lane for step in steps))
        threads = [
            threading.Thread(target=self._run_lane, args=([s for s in steps if s.lane == lane],), name=lane)
            for lane in lanes[:-1]
        ]
        for thread in threads:
            thread.start()
        try:
            self._run_lane([s for s in steps if s.lane in lanes[-1:]])
        finally:
            for thread in threads:
                thread.join()
        if self._fatal is not None:
            raise self._fatal

    def make(self, name: str) -> list[Path]:
        """Do a step of all finished fields where it is not current; return its files.

        Raises
        ------
        BridgeError
            It failed.
        """
        step = self.graph.by_name[name]
        ((group, fields),) = groups_of(step, self.finished).items()
        job = self._group(step, group, fields)
        self._perform(job, step)
        return step.outputs(self._task(job, step))

    def _run_lane(self, steps: list[Step]) -> None:
        for step in steps:
            jobs = [_Job((item,), item.field_id) for item in self.finished] if step.scope == "field" else [
                self._group(step, name, fields) for name, fields in groups_of(step, self.finished).items()
            ]  # fmt: skip
            for job in jobs:
                self._attempt(job, step)

    def _attempt(self, job: _Job, step: Step) -> None:
        try:
            self._perform(job, step)
        except MissingDependencyError as error:
            self._fatal = error
        except Exception as error:
            self.fail(record_of(step, job.name)[0], step.name, error)

    def _group(self, step: Step, name: str, fields: tuple[Field, ...]) -> _Job:
        return _Job(fields, name, facts=Facts(step.needs, lambda need: self._facts_of(fields, need)))

    # ------------------------------------------------------------ failures, resources

    def fail(self, name: str, step: str, error: Exception) -> None:
        """Note that something failed; the others go on."""
        text = str(error)
        if not isinstance(error, BridgeError):
            text = f"{name}: {type(error).__name__}: {error}. This is a fault of the program: please report it (--debug shows where)."
        _log.debug("%s failed in step %s", name, step, exc_info=error)
        self.failures.append(Failure(name, step, type(error).__name__, text))

    def _start_resources(self, steps: list[Step], fields: list[Field]) -> None:
        """Begin, in its own lane, what takes its time to start, where it will be needed."""
        for step in steps:
            for resource in step.resources:
                needed = [consumer.name for consumer in self.graph.consumers(step)] or [step.name]
                missing = any(self.records.facts(item.field_id, name) is None for item in fields for name in needed)
                applies = any(self._applies(_Job((item,), item.field_id), step) for item in fields)
                if resource.start is not None and applies and (missing or self.records.update):
                    self._lanes[step.lane].put(resource, 0)

    def close(self) -> None:
        """End what was started; nothing is written any more when this returns."""
        for lane in self._lanes.values():
            lane.close()
        if self._own:
            self.resources.close()
        for thread in self._threads:
            thread.join()
