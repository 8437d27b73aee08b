"""The ROI set of a field: traced, written, read again and proved pixel for pixel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bridge.errors import BridgeError
from bridge.files import write_bytes
from bridge.pipeline.step import Outcome, Step, Task
from bridge.pipeline.steps.corrected import cells_of
from bridge.rois.roiset import encode_roiset, read_roiset, verify_roiset

if TYPE_CHECKING:
    from bridge.labels import Labels
    from bridge.selections import Selections


def prove_roiset(path: Path, labels: Labels) -> Outcome:
    """Write the ROI set of a label image, read it again and prove it; its value is what was read."""
    write_bytes(path, encode_roiset(labels))
    try:
        selections = read_roiset(path, (labels.shape[0], labels.shape[1]))
        n = verify_roiset(selections, labels, str(path))
    except BridgeError:
        path.unlink()
        raise
    return Outcome(selections, {"rois": n, "labels": n, "different_px": 0})


def _rois(task: Task) -> Outcome:
    return prove_roiset(task.folder.roiset(task.item), cells_of(task))


def _load(task: Task) -> Selections:
    labels = cells_of(task)
    return read_roiset(task.folder.roiset(task.item), (labels.shape[0], labels.shape[1]))


def _files(task: Task) -> list[Path]:
    return [task.folder.roiset(task.item)]


ROIS = Step("rois", "field", _rois, lane="rois", needs=("segment", "filter", "corrected"), outputs=_files, load=_load)
