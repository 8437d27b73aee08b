"""The class of every cell of a field, where a run has a classifier: a table, a ROI set with groups, a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bridge.classification.classifier import UNCERTAIN, classes_of, read_classifier
from bridge.files import write_bytes
from bridge.grey_scale import display_range
from bridge.images.reader import read_plane
from bridge.labels import label_ids
from bridge.pipeline.cell_classes import CLASS_TABLE, MODEL, PERSON, TRUTH, field_features, is_classified
from bridge.pipeline.step import Outcome, Step, Task
from bridge.pipeline.steps.corrected import cells_of
from bridge.pipeline.steps.read import has_count, source
from bridge.report.overlays import class_overlay
from bridge.rois.roiset import encode_roiset
from bridge.tables import read_table, typed_table, write_table

if TYPE_CHECKING:
    from bridge.labels import Labels
    from bridge.source import ChannelFile


def _given(task: Task) -> dict[int, str]:
    """Return the classes that persons gave to cells of this field."""
    path = task.folder.class_truth()
    if not path.is_file():
        return {}
    table = read_table(path, TRUTH)
    own = table[table["field_id"] == task.item.field_id]
    return dict(zip(own["label"].tolist(), own["class"].tolist(), strict=True))


def _of_network(task: Task, labels: Labels) -> pd.DataFrame:
    """The classes that the network told which found the cells; none of a cell that a person drew."""
    told = task.facts["segment"].get("classes", {})
    ids = label_ids(labels).tolist()
    names = [told.get(str(label), UNCERTAIN) for label in ids]
    return pd.DataFrame(
        {"class": names, "class_probability": np.nan, "class_margin": np.nan, "class_source": MODEL},
        index=pd.Index(ids, name="label"),
    )


def _of_classifier(task: Task, labels: Labels) -> pd.DataFrame:
    classifier = read_classifier(task.folder.classifier())
    nuclei: Labels | None = task.given["count"] if has_count(task) else None
    features = field_features(
        task.context.plan,
        task.settings,
        task.item,
        classifier.channels,
        labels,
        nuclei,
        classifier.encoder.get("model"),
    )
    return classifier.classify(features).assign(class_source=MODEL)


def _classify(task: Task) -> Outcome:
    classes, network = classes_of(task.folder.classifier())
    labels = cells_of(task)
    found = _of_network(task, labels) if network else _of_classifier(task, labels)
    given = _given(task)
    gone = [str(label) for label in given if label not in found.index]
    for label, name in given.items():
        if label in found.index:
            found.loc[label, ["class", "class_source"]] = [name, PERSON]
    table = typed_table(found.reset_index().to_dict("records"), CLASS_TABLE)
    write_table(task.folder.class_table(task.item), table, CLASS_TABLE)
    names = (*classes, UNCERTAIN)
    number = np.zeros(int(labels.max(initial=0)) + 1, np.uint8)
    number[table["label"]] = [names.index(name) + 1 if name in names else 0 for name in table["class"]]
    write_bytes(task.folder.class_roiset(task.item), encode_roiset(labels, number))
    counts = {name: int((table["class"] == name).sum()) for name in names}
    _draw(task, labels, number, counts)
    warnings = [f"{len(gone)} cells of given class are not there any more (labels {', '.join(gone[:5])}): give the truth again"]  # fmt: skip
    return Outcome(None, {"classes": counts, "warnings": warnings if gone else []})


def _draw(task: Task, labels: Labels, number: Any, counts: dict[str, int]) -> None:
    file = _shown(task)
    if file is None:
        return
    channel = task.context.plan.segment_channel
    plane = read_plane(file.alone, task.settings.rgb_channel, task.item.segment is None)
    class_overlay(
        task.folder.overlay(task.item, "classes"), plane.pixels, labels, display_range([plane.pixels]), number,
        [f"{name} {n}" for name, n in counts.items()], f"{task.item.field_id} · {channel or ''}",
    )  # fmt: skip


def _shown(task: Task) -> ChannelFile | None:
    measured = task.context.plan.measured(task.item)
    return task.item.segment or next(iter(measured.values()), None)


def _applies(task: Task) -> bool:
    return is_classified(task.context)


def _made_from(task: Task) -> dict[str, Any]:
    plan, item, classifier = task.context.plan, task.item, task.folder.classifier()
    files = {c: f for c, f in ((plan.segment_channel, item.segment), *plan.measured(item).items()) if c and f}
    return {
        "classifier": task.context.hashes.of(classifier),
        "given": {str(label): name for label, name in sorted(_given(task).items())},
        "images": {channel: source(task, file) for channel, file in files.items()},
    }


def _files(task: Task) -> list[Path]:
    folder, item = task.folder, task.item
    picture = [folder.overlay(item, "classes")] if _shown(task) is not None else []
    return [folder.class_table(item), folder.class_roiset(item), *picture]


CLASSES = Step(
    "classes", "field", _classify, lane="draw", needs=("segment", "filter", "corrected", "count"), outputs=_files,
    made_from=_made_from, applies=_applies, derived=True, words="classes of cells",
)  # fmt: skip
