"""The ROI set of a field's nuclei, as exact as that of its cells."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bridge.pipeline.step import Outcome, Step, Task
from bridge.pipeline.steps.read import has_count
from bridge.pipeline.steps.rois import prove_roiset
from bridge.rois.roiset import read_roiset

if TYPE_CHECKING:
    from bridge.selections import Selections


def _rois(task: Task) -> Outcome:
    return prove_roiset(task.folder.nuclei_roiset(task.item), task.given["count"])


def _load(task: Task) -> Selections:
    labels = task.given["count"]
    return read_roiset(task.folder.nuclei_roiset(task.item), (labels.shape[0], labels.shape[1]))


def _files(task: Task) -> list[Path]:
    return [task.folder.nuclei_roiset(task.item)]


NUCLEI_ROIS = Step(
    "nuclei_rois", "field", _rois, lane="rois", needs=("count",), outputs=_files, load=_load, applies=has_count
)
