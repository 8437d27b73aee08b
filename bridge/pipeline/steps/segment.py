"""The label image of a field: made of what the network said, or taken from a folder of label images."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.errors import LabelError
from bridge.grey_scale import display_range
from bridge.images.label_images import read_labels, write_labels
from bridge.labels import label_ids
from bridge.pipeline.step import Outcome, Step, Task
from bridge.pipeline.steps.network import CELLS, NUCLEI
from bridge.pipeline.steps.read import has_count, source
from bridge.segmentation.backend import planned

if TYPE_CHECKING:
    from bridge.experiment.fields import Field
    from bridge.images.image import Plane
    from bridge.labels import Labels
    from bridge.segmentation.kept import Segmented


def require_shape(item: Field, plane: Plane, labels: Labels) -> None:
    """Refuse an image of another size than the field's label image.

    Raises
    ------
    LabelError
        They differ.
    """
    if plane.pixels.shape != labels.shape:
        raise LabelError(
            f"{item.field_id}: {plane.title} is not the size of the label image (got {plane.pixels.shape[0]} x {plane.pixels.shape[1]}, "
            f"expected {labels.shape[0]} x {labels.shape[1]} px). Use images of one size."
        )


def model_identity(task: Task, role: str) -> dict[str, str]:
    """Return what tells a network from another one."""
    s = task.settings
    return {
        "model_sha256": task.context.models[role].sha256,
        "cellpose": version("cellpose"),
        "inference": planned(s.inference, s.device, s.precision),
    }


def _segmented(task: Task, role: str, plane: Plane, finish: Any) -> tuple[Labels, dict[str, Any]]:
    found: Segmented = finish()
    warnings = list(plane.warnings)
    if found.cut:
        listed = ", ".join(map(str, found.cut[:5]))
        warnings.append(
            f"{len(found.cut)} cells are cut where two tiles meet (labels {listed}); a larger --tile would hold them whole"
        )
    if found.large:
        listed = ", ".join(map(str, found.large))
        warnings.append(
            f"a cell covers more than 0.4 of the image (label {listed}): kept, where Cellpose itself drops it"
        )
    info: dict[str, Any] = task.resources[f"{role}_network"].info
    return found.labels, {
        "diameter_px": found.diameter_px,
        "n_cells": int(found.labels.max()),
        "dropped": dict(found.dropped),
        "warnings": warnings,
        **info,
        **({"classes": {str(label): name for label, name in found.classes.items()}} if found.classes else {}),
    }


def _segment(task: Task) -> Outcome:
    item = task.item
    plane: Plane | None = task.given["segment_image"]
    facts: dict[str, Any] = {}
    if item.mask is None:
        assert plane is not None
        labels, facts = _segmented(task, "segment", plane, task.given["cell_network"])
    else:
        labels = read_labels(item.mask, foreign=not task.settings.accept_labels)
        if (item.height_px, item.width_px) not in ((0, 0), labels.shape):
            raise LabelError(
                f"{item.mask}: not the size of its images (got {labels.shape[0]} x {labels.shape[1]}, expected "
                f"{item.height_px} x {item.width_px} px). Use the label image of this field."
            )
    if plane is not None:
        facts["shown"] = list(display_range([plane.pixels]))
        facts["pixels"] = plane.pixel_hash
    write_labels(_file(task), labels, plane.calibration if plane is not None else None)
    return Outcome(labels, facts)


def _segment_made_from(task: Task) -> dict[str, Any]:
    item = task.item
    if item.mask is not None:
        return {"mask": task.context.hashes.of(item.mask)}
    assert item.segment is not None
    return {**source(task, item.segment), **model_identity(task, "segment")}


def _segment_settings(task: Task) -> tuple[str, ...]:
    # A given label image decides; the settings of Cellpose do not.
    return ("segment", "cellpose") if task.item.mask is None else ()


def _file(task: Task) -> Path:
    # With filters the label image of a field holds the cells that are kept; other filters then find all of them here.
    return task.folder.found(task.item) if task.settings.filters_cells else task.folder.uncorrected(task.item)


def _segment_files(task: Task) -> list[Path]:
    return [_file(task)]


def _load_labels(task: Task) -> Labels:
    return read_labels(_file(task))


def _count(task: Task) -> Outcome:
    plane: Plane = task.given["count_image"]
    nuclei, facts = _segmented(task, "count", plane, task.given["nucleus_network"])
    write_labels(task.folder.nuclei_mask(task.item), nuclei, plane.calibration)
    return Outcome(nuclei, {**facts, "n_nuclei": int(label_ids(nuclei).size), "pixels": plane.pixel_hash})


def _count_made_from(task: Task) -> dict[str, Any]:
    assert task.item.count is not None
    return {
        **source(task, task.item.count),
        **model_identity(task, "count"),
    }


def _load_nuclei(task: Task) -> Labels:
    return read_labels(task.folder.nuclei_mask(task.item))


def _count_files(task: Task) -> list[Path]:
    return [task.folder.nuclei_mask(task.item)]


SEGMENT = Step(
    "segment", "field", _segment, lane="masks", needs=("segment_image", "cell_network"), outputs=_segment_files,
    settings=_segment_settings, made_from=_segment_made_from, load=_load_labels, resources=(CELLS,),
)  # fmt: skip
COUNT = Step(
    "count", "field", _count, lane="masks", needs=("count_image", "nucleus_network"), outputs=_count_files,
    settings=("count", "cellpose"), made_from=_count_made_from, load=_load_nuclei, applies=has_count,
    resources=(NUCLEI,),
)  # fmt: skip
