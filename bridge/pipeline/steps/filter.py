"""Which of a field's cells are kept; without filters all of them are, and there is nothing to do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.images.label_images import read_labels, write_labels
from bridge.pipeline.cell_filters import filter_cells
from bridge.pipeline.step import Outcome, Step, Task

if TYPE_CHECKING:
    from bridge.labels import Labels


def _filter(task: Task) -> Outcome:
    item, plane = task.item, task.given["segment_image"]
    labels, dropped = filter_cells(task.given["segment"], plane, task.settings, item.region, item.field_id)
    write_labels(task.folder.uncorrected(item), labels, plane.calibration if plane is not None else None)
    return Outcome(labels, {"dropped": dict(dropped)})


def _applies(task: Task) -> bool:
    return task.settings.filters_cells


def _made_from(task: Task) -> dict[str, Any]:
    region = task.item.region
    return {} if region is None else {"region": task.context.hashes.of(region)}


def _files(task: Task) -> list[Path]:
    return [task.folder.uncorrected(task.item)]


def _load(task: Task) -> Labels:
    return read_labels(task.folder.uncorrected(task.item))


FILTER = Step(
    "filter", "field", _filter, lane="masks", needs=("segment", "segment_image"), outputs=_files, settings=("filters",),
    made_from=_made_from, load=_load, applies=_applies,
)  # fmt: skip
