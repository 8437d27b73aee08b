"""What people see: text, tables, progress, and the status file that a macro reads."""

from __future__ import annotations

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
    """A bar with time left on a terminal, a status file where one is asked for; silence elsewhere."""
    if (seen := watched.get()) is not None:
        yield lambda p: seen.tell(done=str(p.done), failed=str(p.failed), total=str(p.total), now=p.now)
        return
    if not ERR.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]}"),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=ERR, transient=True) as bar:
        task = bar.add_task("starting", total=None, failed="")

        def show(p: Progress) -> None:
            failed = f"{p.failed} failed" if p.failed else ""
            bar.update(
                task, description=p.now[-36:].ljust(36), completed=p.done + p.failed, total=p.total, failed=failed
            )

        yield show
