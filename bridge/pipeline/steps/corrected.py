"""The cells of a field as a person corrected them; without a correction there is nothing to do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bridge.files import write_bytes
from bridge.images.label_images import read_labels
from bridge.pipeline.step import Outcome, Step, Task

if TYPE_CHECKING:
    from bridge.labels import Labels
    from bridge.pipeline.records import Records
    from bridge.pipeline.step import Context


def cells_of(task: Task) -> Labels:
    """Return the label image of the cells that are measured."""
    stages = (task.given[step] for step in ("corrected", "filter", "segment"))
    last: Labels = next(labels for labels in stages if labels is not None)
    return last


def changed_labels(before: Labels, after: Labels) -> tuple[list[int], list[int]]:
    """Return the labels whose pixels are not as they were, and those that are gone.

    Parameters
    ----------
    before, after : ndarray of uint16 or uint32, shape (Y, X)

    Returns
    -------
    changed, gone : list of int

    Examples
    --------
    >>> changed_labels(np.array([[1, 1, 2, 3]]), np.array([[1, 1, 2, 2]]))
    ([2], [3])
    """
    differ = before != after
    touched = (set(before[differ].tolist()) | set(after[differ].tolist())) - {0}
    there = set(np.unique(after).tolist())
    return sorted(touched & there), sorted(touched - there)


def settle(context: Context, records: Records) -> None:
    """Put the label images of fields whose correction was applied, or undone, where their steps look for them.

    Raises
    ------
    OutputError
        A label image was changed by hand.
    """
    folder = context.folder
    step = "filter" if context.settings.filters_cells else "segment"
    for item in context.plan.fields:
        final, before = folder.mask(item), folder.before_correction(item)
        if folder.correction(item).is_file():
            records.move(item.field_id, step, final, before)
        elif before.is_file():
            records.withdraw(item.field_id, CORRECTED.name)
            records.move(item.field_id, step, before, final)


def _correct(task: Task) -> Outcome:
    correction = task.folder.correction(task.item)
    after = read_labels(correction)
    write_bytes(task.folder.mask(task.item), correction.read_bytes())
    before: Labels = task.given["segment"] if task.given["filter"] is None else task.given["filter"]
    changed, gone = changed_labels(before, after)
    return Outcome(after, {"labels": changed, "gone": gone})


def _applies(task: Task) -> bool:
    return task.folder.correction(task.item).is_file()


def _made_from(task: Task) -> dict[str, Any]:
    return {"correction": task.context.hashes.of(task.folder.correction(task.item))}


def _files(task: Task) -> list[Path]:
    return [task.folder.mask(task.item)]


def _load(task: Task) -> Labels:
    return read_labels(task.folder.mask(task.item))


CORRECTED = Step(
    "corrected", "field", _correct, lane="masks", needs=("segment", "filter"), outputs=_files, made_from=_made_from,
    load=_load, applies=_applies,
)  # fmt: skip
