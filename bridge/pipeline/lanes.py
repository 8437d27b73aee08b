"""What the local executor is made of: queues that a thread serves, resources that are made once, what steps hand over."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bridge.errors import MissingDependencyError

if TYPE_CHECKING:
    from bridge.pipeline.executor import Executor
    from bridge.pipeline.step import Context, Resource


class Lane:
    """What waits for one thread, in order."""

    def __init__(self) -> None:
        self._waiting: collections.deque[tuple[Any, int | None]] = collections.deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, job: Any, step: int | None) -> None:
        """Let a job wait for a step."""
        with self._changed:
            self._waiting.append((job, step))
            self._changed.notify()

    def take(self, many: Callable[[int], int]) -> list[tuple[Any, Any]]:
        """Wait for the next job; return it with those behind it that wait for the same step, as many as it takes.

        Returns
        -------
        list of (job, step)
            Empty when the lane is closed.
        """
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            if self._closed:
                return []
            events = [self._waiting.popleft()]
            step = events[0][1]
            while step is not None and self._waiting and self._waiting[0][1] == step and len(events) < many(step):
                events.append(self._waiting.popleft())
            return events

    def close(self) -> None:
        """Drop what waits; `take` returns nothing any more."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()


class Resources(Mapping[str, Any]):
    """Networks and engines, each made when it is first needed, by one thread.

    Parameters
    ----------
    context : Context
    known : mapping of str to Resource
    tell : callable
        Called with what is being made.
    """

    def __init__(
        self, context: Context, known: Mapping[str, Resource], tell: Callable[[str], None] = lambda _: None
    ) -> None:
        self._context, self._known, self._tell = context, known, tell
        self._made: dict[str, Any] = {}
        self._problem: dict[str, Exception] = {}
        self._making = {name: threading.RLock() for name in known}

    def __getitem__(self, name: str) -> Any:
        with self._making[name]:
            if name in self._problem:
                raise self._problem[name]
            if name not in self._made:
                if self._known[name].words:
                    self._tell(self._known[name].words)
                self._made[name] = self._known[name].make(self._context)
            return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def begin(self, resource: Resource) -> None:
        """Start one before it is needed; what goes wrong is said where it is needed."""
        try:
            made = self[resource.name]
            if resource.start is not None:
                resource.start(made)
        except MissingDependencyError as error:
            self._problem[resource.name] = error
        except Exception:
            pass

    def close(self) -> None:
        """End those that were made."""
        for name, made in list(self._made.items()):
            close = self._known[name].close
            if close is not None:
                close(made)


class Facts(dict[str, Any]):
    """What the steps noted, read when it is first asked for: of 100,000 fields it takes minutes.

    Parameters
    ----------
    names : sequence of str
        Steps whose facts can be asked for.
    read : callable
        Returns those of one.
    """

    def __init__(self, names: Sequence[str] = (), read: Callable[[str], Any] = lambda _: {}) -> None:
        super().__init__()
        self._names, self._read = names, read

    def __missing__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        self[name] = self._read(name)
        return self[name]

    def read(self) -> Facts:
        """Read everything now, before others add to it."""
        for name in self._names:
            self[name]
        return self


class OfFields(Mapping[str, Any]):
    """What a step noted of several fields, each read when it is asked for: nobody holds that of 100,000 fields.

    Parameters
    ----------
    fields : iterable of str
    read : callable
        From a field to what was noted, None where the step is not finished.
    """

    def __init__(self, fields: Iterable[str], read: Callable[[str], Any]) -> None:
        self._fields, self._read = dict.fromkeys(fields), read

    def __getitem__(self, name: str) -> Any:
        facts = self._read(name) if name in self._fields else None
        if facts is None:
            raise KeyError(name)
        return facts

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._fields if self._read(name) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Given(Mapping[str, Any]):
    """What the steps before hand over to a job, read from their files where it is not in memory.

    Parameters
    ----------
    executor : Executor
    job : object
        A field, or a group of fields, on its way.
    """

    def __init__(self, executor: Executor, job: Any) -> None:
        self._executor, self._job = executor, job

    def __getitem__(self, name: str) -> Any:
        return self._executor.value(self._job, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._executor.graph.by_name)

    def __len__(self) -> int:
        return len(self._executor.graph.by_name)
