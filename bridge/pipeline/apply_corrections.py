"""Corrected cells brought into the tables and figures of a run, and taken out of them again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from bridge.errors import InputError
from bridge.files import sha256, write_bytes
from bridge.pipeline.corrections import Collected, collect
from bridge.pipeline.finished_run import open_run
from bridge.pipeline.lock import locked
from bridge.pipeline.progress import Progress
from bridge.pipeline.run import Report, run_again


class Applied(NamedTuple):
    """What came of corrections.

    Attributes
    ----------
    fields : tuple of str
        Fields whose tables changed.
    collected : Collected or None
        What was corrected; None where corrections were taken back.
    report : Report
        Of the run that measured them again.
    """

    fields: tuple[str, ...]
    collected: Collected | None
    report: Report


def apply(
    results: Path | str,
    progress: Callable[[Progress], None] | None = None,
    announce: Callable[[str], None] | None = None,
) -> Applied:
    """Collect corrections, measure their fields again, and make tables and figures anew.

    The cells of the other fields are not touched, nor are nuclei. What the program itself had found is kept in
    `corrections/before/`, so that `undo` gives the old tables back.

    Parameters
    ----------
    results : Path or str
        Folder of a run, with `corrections/` in it.
    progress, announce : callable, optional
        As of `bridge.run`.

    Returns
    -------
    Applied

    Raises
    ------
    InputError
        Not the folder of a run, nothing in `corrections/`, or the images are not where they were.
    OutputError
        A file cannot be written or was changed by hand, or another run writes to the folder.
    """
    run_ = open_run(Path(results))
    run_.images()
    found = collect(results)
    failed = {field_id for field_id, _ in found.failures}
    changed = []
    with locked(run_.out):
        for item in run_.fields:
            if item.field_id in failed:
                continue  # its last correction stands
            applied, wanted = run_.folder.correction(item), found.masks.get(item.field_id)
            if wanted is None and applied.is_file():
                applied.unlink()
            elif wanted is not None and not (applied.is_file() and sha256(applied) == sha256(wanted)):
                write_bytes(applied, wanted.read_bytes())
            else:
                continue
            changed.append(item.field_id)
    return Applied(tuple(changed), found, run_again(run_, progress, announce))


def undo(
    results: Path | str,
    fields: Sequence[str] = (),
    progress: Callable[[Progress], None] | None = None,
    announce: Callable[[str], None] | None = None,
) -> Applied:
    """Give the cells that the program found, their tables and figures back; what was drawn stays in `corrections/`.

    Parameters
    ----------
    results : Path or str
        Folder of a run.
    fields : sequence of str
        Their `field_id`; all that were corrected if none is named.
    progress, announce : callable, optional
        As of `bridge.run`.

    Returns
    -------
    Applied

    Raises
    ------
    InputError
        Not the folder of a run, nothing to undo in a field, or the images are not where they were.
    OutputError
        A file was changed by hand, or another run writes to the folder.
    """
    run_ = open_run(Path(results))
    corrected = {item.field_id: path for item in run_.fields if (path := run_.folder.correction(item)).is_file()}
    for name in fields:
        if name not in corrected:
            raise InputError(
                f"{results}: {name} has no applied correction (expected one of {', '.join(corrected) or 'none'}). Look at the column corrected in cells.csv."
            )
    if not corrected:
        raise InputError(f"{results}: no correction was applied. There is nothing to undo.")
    run_.images()
    changed = list(fields) or list(corrected)
    with locked(run_.out):
        for name in changed:
            corrected[name].unlink()
    return Applied(tuple(changed), None, run_again(run_, progress, announce))
