"""Outlines on a field's images, on one grey scale for all fields of a channel; contact sheets of conditions."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.grey_scale import common_range
from bridge.labels import label_ids
from bridge.pipeline.step import Outcome, Step, Task
from bridge.pipeline.steps.corrected import cells_of
from bridge.pipeline.steps.measure import scale_of
from bridge.pipeline.steps.read import has_count, read, read_measured, source
from bridge.report.field_pictures import scale_for, write_channel, write_ids
from bridge.report.overlays import comparison_sheet, contact_sheet, overlay, plain_level
from bridge.report.picture import read_picture, write_picture
from bridge.tables import CELL, NUCLEUS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.experiment.fields import Field, Plan
    from bridge.labels import Labels
    from bridge.pipeline.step import Context
    from bridge.source import ChannelFile

_SEGMENT = "segment"
_CELLS_ACROSS = 8  # of the larger ones
_SAMPLE, _ALL_UP_TO = 5, 1_000  # fields: of each condition; in all
_about_plan: dict[tuple[int, str | None], tuple[Plan, frozenset[str], int]] = {}


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


def _scale(context: Context) -> int:
    """Return by how much the pictures in the page are made smaller, so that all fit."""
    return _pictured(context)[1]


def is_pictured(context: Context, item: Field) -> bool:
    """Whether overlays of a field are drawn."""
    return item.field_id in _pictured(context)[0]


def _pictured(context: Context) -> tuple[frozenset[str], int]:
    """Return the fields whose overlays are drawn, and the scale of their pictures; worked out once for a plan."""
    plan, wanted = context.plan, context.settings.pictures
    known = _about_plan.get((id(plan), wanted))
    if known is None or known[0] is not plan:
        fields: Sequence[Field] = () if wanted == "none" else plan.fields
        if wanted == "sample" or (wanted is None and len(fields) > _ALL_UP_TO):
            own: dict[str, list[Field]] = {}
            for item in fields:
                own.setdefault(item.condition, []).append(item)
            fields = [
                items[k * len(items) // n]
                for items in own.values()
                if (n := min(_SAMPLE, len(items)))
                for k in range(n)
            ]
        names = frozenset(item.field_id for item in fields)
        scale = scale_for(sum(f.height_px * f.width_px * len(_sources(context, f)) for f in fields))
        known = (plan, names, scale)
        _about_plan.clear()  # of other plans; lanes may be here at the same time
        _about_plan[id(plan), wanted] = known
    return known[1:]


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
        caption = f"{item.field_id} · {name}, grey levels {plain_level(low)} to {plain_level(high)} · {label_ids(labels).size} {what}"
        pixel_um = scale_of(task).pixel_um if scale_of(task).pixel_size_um else None
        write_picture(task.folder.overlay(item, name), picture, caption, pixel_um[0] if pixel_um else None)
        write_channel(task.folder.page_channel(item, name), plane.pixels, (low, high), _scale(task.context))
    write_ids(task.folder.page_ids(item, CELL), cells_of(task), _scale(task.context))
    if has_count(task):
        write_ids(task.folder.page_ids(item, NUCLEUS), task.given["count"], _scale(task.context))
    return Outcome(
        None,
        {
            "scale": _scale(task.context),
            "shown": {name: list(ranges[key]) for key, (_, name) in _sources(task.context, item).items()},
        },
    )


def _files(task: Task) -> list[Path]:
    context, item = task.context, task.item
    return [
        *_picture_files(context, item),
        *(context.folder.page_channel(item, name) for _, name in _sources(context, item).values()),
        *(context.folder.page_ids(item, what) for what in (CELL, *((NUCLEUS,) if has_count(task) else ()))),
    ]


def _made_from(task: Task) -> dict[str, Any]:
    ranges, sources = _ranges(task), _sources(task.context, task.item)
    return {
        "images": {key: source(task, file) for key, (file, _) in sources.items()},
        "shown": {key: list(ranges[key]) for key in sources if key in ranges},
        "scale": _scale(task.context),
    }


def _contact_sheet(task: Task) -> Outcome:
    plan = task.context.plan
    channels = [c for c in (plan.segment_channel, *plan.measured_channels) if c]
    rows = [
        (item.field_id, [read_picture(file) for file in _picture_files(task.context, item)])
        for item in task.fields
        if is_pictured(task.context, item)
    ]
    contact_sheet(
        task.folder.contact_sheet(task.name),
        rows,
        f"{task.name} · {' and '.join(channels)} · one grey scale for all fields of a channel",
    )
    return Outcome()


def _sheet_file(task: Task) -> list[Path]:
    return [task.folder.contact_sheet(task.name)]


def _side_by_side(task: Task) -> Outcome:
    """Of each condition the field whose number of cells is in the middle."""
    plan, facts = task.context.plan, task.facts["measure"]
    columns, extent = [], [f["extent_95_px"] for f in facts.values()]
    shown = 1.0
    for condition in plan.conditions:
        fields = [item for item in task.fields if item.condition == condition and is_pictured(task.context, item)]
        fields.sort(key=lambda item: facts.get(item.field_id, {}).get("n_cells", 0))
        if fields:
            item = fields[len(fields) // 2]
            pictures = [read_picture(file) for file in _picture_files(task.context, item)]
            shown = pictures[0].shape[1] / item.width_px if item.width_px else 1.0
            columns.append((condition, item.field_id, pictures))
    side = int(min(max(_CELLS_ACROSS * statistics.median(extent) * shown, 160), min(columns[0][2][0].shape[:2])))
    channels = [c for c in (plan.segment_channel, *plan.measured_channels) if c]
    caption = f"{' , '.join(channels)} from above · middle of the field with the median number of cells · one grey scale for all fields of a channel"
    um = {item.pixel_size_um for item in task.fields}
    pixel_um = um.pop() if len(um) == 1 else None
    comparison_sheet(
        task.folder.comparison_sheet(),
        columns,
        side,
        pixel_um / shown if pixel_um else None,
        caption.replace(" ,", ","),
    )
    return Outcome()


def _side_by_side_file(task: Task) -> list[Path]:
    return [task.folder.comparison_sheet()]


def _has_pictures(task: Task) -> bool:
    return any(is_pictured(task.context, item) and _picture_files(task.context, item) for item in task.fields)


# A new field may widen the common grey scale, so pictures are drawn again unasked.
PICTURES = Step(
    "pictures", "field", _pictures, lane="draw", needs=("segment", "filter", "corrected", "count", "measure"), outputs=_files, made_from=_made_from,
    derived=True, early=True, applies=_has_pictures,
)  # fmt: skip
CONTACT_SHEET = Step(
    "contact_sheet", "condition", _contact_sheet, lane="draw", needs=("pictures",), outputs=_sheet_file, derived=True,
    applies=_has_pictures,
)  # fmt: skip
ALL_CONDITIONS = Step(
    "all_conditions", "experiment", _side_by_side, lane="draw", needs=("pictures", "measure"), outputs=_side_by_side_file,
    derived=True, applies=_has_pictures,
)  # fmt: skip
