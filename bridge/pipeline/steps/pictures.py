"""Outlines on a field's images, on one grey scale for all fields of a channel; contact sheets of conditions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.grey_scale import common_range
from bridge.labels import label_ids
from bridge.pipeline.step import Outcome, Step, Task
from bridge.pipeline.steps.corrected import cells_of
from bridge.pipeline.steps.read import has_count, read, read_measured, source
from bridge.report.overlays import contact_sheet, overlay
from bridge.report.picture import read_picture, write_picture

if TYPE_CHECKING:
    from bridge.experiment.fields import ChannelFile, Field
    from bridge.labels import Labels
    from bridge.pipeline.step import Context

_SEGMENT = "segment"


def _ranges(task: Task) -> dict[str, tuple[float, float]]:
    """One grey scale for all fields of a channel."""
    shown: dict[str, dict[str, Any]] = {}
    for field_id, facts in task.known["measure"].items():
        shown[field_id] = dict(facts.get("shown", {}))
    for field_id, facts in task.known["segment"].items():
        if facts.get("shown"):
            shown.setdefault(field_id, {})[_SEGMENT] = facts["shown"]
    channels = dict.fromkeys(channel for ranges in shown.values() for channel in ranges)
    return {c: common_range([ranges[c] for ranges in shown.values() if c in ranges]) for c in channels}


def _sources(context: Context, item: Field) -> dict[str, tuple[ChannelFile, str]]:
    """Which images are drawn on: key to file and channel name."""
    sources: dict[str, tuple[ChannelFile, str]] = {}
    if item.segment is not None and context.plan.segment_channel not in context.plan.measured(item):
        sources[_SEGMENT] = (item.segment, context.plan.segment_channel or _SEGMENT)
    return sources | {c: (file, c) for c, file in context.plan.measured(item).items()}


def _outlined(task: Task, channel: str) -> tuple[Labels, str]:
    """Return whose outlines are drawn on a channel: nuclei where they were counted, cells elsewhere."""
    nuclei = channel == task.context.plan.count_channel and has_count(task)
    return (task.given["count"], "nuclei") if nuclei else (cells_of(task), "cells")


def _picture_files(context: Context, item: Field) -> list[Path]:
    return [context.folder.overlay(item, name) for _, name in _sources(context, item).values()]


def _pictures(task: Task) -> Outcome:
    item, ranges = task.item, _ranges(task)
    in_memory = {_SEGMENT: task.in_memory.get("segment_image"), **(task.in_memory.get("measured_images") or {})}
    for key, (file, name) in _sources(task.context, item).items():
        low, high = ranges[key]
        plane = in_memory.get(key) or (
            read(task, file, measured=False) if key == _SEGMENT else read_measured(task, key, file)
        )
        labels, what = _outlined(task, key)
        picture = overlay(plane.pixels, labels, (low, high))
        caption = f"{item.field_id} · {name}, grey levels {low:.4g} to {high:.4g} · {label_ids(labels).size} {what}"
        write_picture(task.folder.overlay(item, name), picture, caption)
    return Outcome()


def _files(task: Task) -> list[Path]:
    return _picture_files(task.context, task.item)


def _made_from(task: Task) -> dict[str, Any]:
    ranges, sources = _ranges(task), _sources(task.context, task.item)
    return {
        "images": {key: source(task, file) for key, (file, _) in sources.items()},
        "shown": {key: list(ranges[key]) for key in sources if key in ranges},
    }


def _contact_sheet(task: Task) -> Outcome:
    plan = task.context.plan
    channels = [c for c in (plan.segment_channel, *plan.measured_channels) if c]
    rows = [
        (item.field_id, [read_picture(file) for file in _picture_files(task.context, item)]) for item in task.fields
    ]
    contact_sheet(
        task.folder.contact_sheet(task.name),
        rows,
        f"{task.name} · {' and '.join(channels)} · one grey scale for all fields of a channel",
    )
    return Outcome()


def _sheet_file(task: Task) -> list[Path]:
    return [task.folder.contact_sheet(task.name)]


def _has_pictures(task: Task) -> bool:
    return any(_picture_files(task.context, item) for item in task.fields)


# A new field may widen the common grey scale, so pictures are drawn again unasked.
PICTURES = Step(
    "pictures", "field", _pictures, lane="draw", needs=("segment", "filter", "corrected", "count", "measure"), outputs=_files, made_from=_made_from,
    derived=True, early=True, applies=_has_pictures,
)  # fmt: skip
CONTACT_SHEET = Step(
    "contact_sheet", "condition", _contact_sheet, lane="draw", needs=("pictures",), outputs=_sheet_file, derived=True,
    applies=_has_pictures,
)  # fmt: skip
