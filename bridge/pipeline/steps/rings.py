"""The rings around a field's nuclei, on request: the cytoplasm beside each of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bridge.assay.nuclei import rings_of
from bridge.images.label_images import read_labels, write_labels
from bridge.pipeline.step import Outcome, Step, Task
from bridge.pipeline.steps.corrected import cells_of
from bridge.pipeline.steps.read import has_count
from bridge.pipeline.steps.rois import prove_roiset
from bridge.rois.roiset import read_roiset

if TYPE_CHECKING:
    from bridge.labels import Labels
    from bridge.selections import Selections


class Rings(NamedTuple):
    """Label image and ROI set of the rings; labels are those of the nuclei."""

    labels: Labels
    selections: Selections


def _rings(task: Task) -> Outcome:
    width = task.settings.ring
    assert width is not None
    labels = rings_of(task.given["count"], cells_of(task), width)
    write_labels(task.folder.rings_mask(task.item), labels, None)
    proved = prove_roiset(task.folder.rings_roiset(task.item), labels)
    return Outcome(Rings(labels, proved.value), proved.facts)


def _made_from(task: Task) -> dict[str, int | None]:
    return {"ring": task.settings.ring}


def _load(task: Task) -> Rings:
    labels = read_labels(task.folder.rings_mask(task.item))
    return Rings(labels, read_roiset(task.folder.rings_roiset(task.item), (labels.shape[0], labels.shape[1])))


def _files(task: Task) -> list[Path]:
    return [task.folder.rings_mask(task.item), task.folder.rings_roiset(task.item)]


def has_rings(task: Task) -> bool:
    """Return whether rings around a field's nuclei were asked for."""
    return has_count(task) and task.settings.ring is not None


RINGS = Step(
    "rings", "field", _rings, lane="rois", needs=("segment", "filter", "corrected", "count"), outputs=_files,
    made_from=_made_from, load=_load, applies=has_rings,
)  # fmt: skip
