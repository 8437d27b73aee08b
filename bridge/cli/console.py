"""What people see: text, tables, progress, and the status file that a macro reads."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from bridge.errors import BridgeError
from bridge.pipeline.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.pipeline.progress import Progress

# Names are shown as they are: rich would read [EdU] as a style and :fiji: as a flag.
AS_IT_IS: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
OUT = Console(soft_wrap=True, **AS_IT_IS)
ERR = Console(stderr=True, soft_wrap=True, **AS_IT_IS)
watched: ContextVar[Status | None] = ContextVar("watched", default=None)


def complain(text: str) -> None:
    """Say what is wrong, on stderr and in the status file."""
    ERR.print(
        text if text.startswith("stopped") else f"Error: {text}",
        style="bold red" if ERR.is_terminal else None,
    )
    if (seen := watched.get()) is not None and "message" not in seen.facts:
        seen.tell(message=text)


def note(**facts: str) -> None:
    """Put facts into the status file, where one is kept."""
    if (seen := watched.get()) is not None:
        seen.tell(**facts)


def say(text: str) -> None:
    """Say something on stderr."""
    ERR.print(text)


def say_if_compiling() -> None:
    """Say that the kernels are compiled, where they are."""
    from bridge.rois.trace import COMPILING, compiled

    if not compiled():
        say(COMPILING)


def each(paths: Sequence[Path], work: Callable[[Path], Path]) -> int:
    """Do one thing for each path; return the exit code."""
    worst = 0
    for path in paths:
        try:
            OUT.print(str(work(path)))
        except BridgeError as error:
            if len(paths) == 1 or error.exit_code == 3:
                raise
            complain(str(error))
            worst = 1
    return worst


def print_table(rows: Any, columns: Sequence[str]) -> None:
    """Print some columns of a table."""
    from rich.table import Table

    table = Table()
    for k, name in enumerate(columns):
        table.add_column(name.replace("_", " "), justify="right" if k else "left")
    for row in rows[list(columns)].itertuples(index=False):
        cells = (
            "-" if isinstance(v, float) and v != v else f"{v:.3f}" if isinstance(v, float) else str(v) for v in row
        )
        table.add_row(*cells)
    (OUT if OUT.is_terminal else Console(width=140, **AS_IT_IS)).print(table)


@contextmanager
def progress_bar() -> Iterator[Callable[[Progress], None] | None]:
    """A bar with time left on a terminal, a status file where one is asked for; elsewhere a line now and then."""
    if (seen := watched.get()) is not None:
        yield lambda p: seen.tell(done=str(p.done), failed=str(p.failed), total=str(p.total), now=p.now)
        return
    if not ERR.is_terminal:
        yield Lines()
        return
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=16),
        TextColumn("{task.fields[of]}"),
        TextColumn("{task.fields[failed]}"),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=ERR, transient=True) as bar:
        task = bar.add_task("starting", total=None, failed="", of="")

        def show(p: Progress) -> None:
            failed = f"{p.failed} failed" if p.failed else ""
            # Tables, figures and the page are as long as a field, about; the bar is full when they are there.
            done = p.done + p.failed + (p.now == "done")
            of = f"{p.done + p.failed}/{p.total}"
            bar.update(task, description=p.now[-36:].ljust(36), completed=done, total=p.total + 1, failed=failed, of=of)

        yield show


class Lines:
    """Progress in plain lines, for logs: at most one in ten seconds, with the time left from the first field on.

    Parameters
    ----------
    every_s : float
    now : callable
        Returns the time in s.
    """

    def __init__(self, every_s: float = 10.0, now: Callable[[], float] = time.monotonic) -> None:
        self._every, self._now = every_s, now
        self._said = now()
        self._begun: float | None = None  # not yet while a plan is made
        self._first: tuple[float, int] | None = None
        self._loading: set[str] = set()

    def __call__(self, p: Progress) -> None:
        """Say how far it is, where it is time to."""
        at, over = self._now(), p.done + p.failed
        self._begun = at if self._begun is None else self._begun
        if p.now.startswith("loading") and p.now not in self._loading:
            self._loading.add(p.now)
            say(f"{p.now} ...")
        if self._first is None and over:
            self._first = (at, over)
        if at - self._said < self._every or p.now == "done":
            return
        self._said = at
        failed = f", {p.failed} failed" if p.failed else ""
        say(f"{over} of {p.total} fields{failed}{self._left(at, over, p.total)} ({p.now})")

    def _left(self, at: float, over: int, total: int) -> str:
        if self._first is None or self._begun is None:
            return ""
        first, n = self._first
        # Before the second one the start counts, too: too long, rather than too short.
        pace = (at - first) / (over - n) if over > n else (first - self._begun) / n
        if pace == 0:
            return ""
        return f", about {duration(pace * (total - over + 1))} left"


def duration(seconds: float) -> str:
    """Return a time in words.

    Examples
    --------
    >>> [duration(s) for s in (4, 95, 5400, 200_000)]
    ['4 s', '2 min', '1.5 h', '2.3 days']
    """
    for least, unit, words in ((172_800, 86_400, "{:.1f} days"), (5_400, 3_600, "{:.1f} h"), (90, 60, "{:.0f} min")):
        if seconds >= least:
            return words.format(seconds / unit)
    return f"{seconds:.0f} s"
