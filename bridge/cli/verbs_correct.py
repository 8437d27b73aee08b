"""The verb correct: cells corrected by hand, and their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from bridge.cli.console import OUT, complain, note, progress_bar, say, say_if_compiling
from bridge.cli.main import app
from bridge.cli.options import GENERAL
from bridge.names import number

if TYPE_CHECKING:
    from bridge.pipeline.corrections import Collected


@app.command(sort_key=11)
def correct(
    results: Path,
    /,
    *,
    field: Annotated[
        list[str] | None,
        Parameter(
            group=GENERAL,
            consume_multiple=True,
            negative=(),
            help="Field to correct; several, or all if none is named.",
        ),
    ] = None,
    hide_condition: Annotated[
        bool, Parameter(group=GENERAL, negative=(), help="Name the files so that they do not tell the condition.")
    ] = False,
    tool: Annotated[
        Literal["fiji", "cellpose"], Parameter(name="--for", group=GENERAL, help="Where the cells are corrected.")
    ] = "fiji",
    collect: Annotated[
        bool,
        Parameter(group=GENERAL, negative=(), help="Turn what was corrected into label images and list the changes."),
    ] = False,
    apply: Annotated[
        bool,
        Parameter(
            group=GENERAL,
            negative=(),
            help="Collect, measure the corrected fields again, make tables and figures anew.",
        ),
    ] = False,
    undo: Annotated[
        bool, Parameter(group=GENERAL, negative=(), help="Take applied corrections back, of all fields or of --field.")
    ] = False,
    fields: Annotated[
        bool, Parameter(name="--list", group=GENERAL, negative=(), help="List the fields that can be corrected.")
    ] = False,
) -> int:
    """Correct the cells of a run's fields by hand: write what is edited, then --apply it."""
    import bridge.pipeline.corrections

    say_if_compiling()
    if fields:
        finished, remaining = bridge.pipeline.corrections.fields_of(results)
        note(fields="\n".join(finished), remaining="\n".join(remaining))
        for name in finished:
            OUT.print(f"{name}{'' if name in remaining else ' (begun)'}")
        return 0
    if apply or undo:
        return _apply(results, field or (), undo)
    if not collect:
        for path in bridge.pipeline.corrections.correct(results, field or (), hide_condition, tool):
            note(path=str(path))
            OUT.print(str(path))
        return 0
    found = bridge.pipeline.corrections.collect(results)
    for path in found.masks.values():
        OUT.print(str(path))
    changes_text = _changes(results, found)
    note(changes="\n".join([changes_text, *(f"Warning: {text}" for text in found.warnings)]))
    OUT.print(changes_text)
    return int(bool(found.failures))


def _apply(results: Path, fields: Sequence[str], undo: bool) -> int:
    """Bring corrections into the tables of a run, or take them out."""
    from bridge.pipeline import apply_corrections

    if undo:
        with progress_bar() as progress:
            done = apply_corrections.undo(results, fields, progress, say)
        text = f"{number(len(done.fields), 'correction')} taken back ({', '.join(done.fields)})"
    else:
        with progress_bar() as progress:
            done = apply_corrections.apply(results, progress, say)
        assert done.collected is not None
        text = _changes(results, done.collected)
    for failure in done.report.failures:
        complain(f"[{failure.step}] {failure.message}")
    text += f". {number(len(done.fields), 'field')} measured again; tables and figures are in {results}"
    note(changes=text)
    OUT.print(text)
    return int(bool(done.report.failures or (done.collected and done.collected.failures)))


def _changes(results: Path, found: Collected) -> str:
    for warning in found.warnings:
        say(f"Warning: {warning}")
    for _, problem in found.failures:
        complain(problem)
    counts = found.changes["change"].value_counts(sort=False)
    changes = ", ".join(f"{n} {change}" for change, n in counts.items()) or "nothing changed"
    return f"{number(len(found.masks), 'field')} corrected: {changes}. See {results / 'corrections.csv'}"
