"""What weakens the numbers of a field: looked at while its images are in memory, judged when all fields are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bridge.acquisition.copies import same_pixels
from bridge.acquisition.image_numbers import ground_of, image_numbers
from bridge.acquisition.judgement import Checked, Judged, judge
from bridge.acquisition.shift import effect_of_shift, estimate_shift
from bridge.images.acquisition_settings import acquisition_settings
from bridge.images.reader import channel_index, inspect
from bridge.labels import label_ids
from bridge.pipeline.step import Context, Outcome, Step, Task
from bridge.pipeline.steps.corrected import cells_of
from bridge.pipeline.steps.read import has_count, source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bridge.experiment.fields import Field
    from bridge.images.image import Plane
    from bridge.labels import Labels
    from bridge.source import ChannelFile


def files_of(context: Context, item: Field) -> dict[str, ChannelFile]:
    """Return the files of a field by channel, that in which the cells were found among them."""
    files = {} if item.segment is None else {context.plan.segment_channel or "segment": item.segment}
    files |= dict(zip(context.plan.segment_with, item.segment.also if item.segment else (), strict=False))
    return files | context.plan.measured(item)


def settings_of(file: ChannelFile) -> dict[str, str]:
    """Return exposure and the like of a channel, as its file says."""
    info = inspect(file)
    index = channel_index(info, file.channel)
    return info.acquisition[index] if info.acquisition else acquisition_settings(file.path, index)


def _check(task: Task) -> Outcome:
    item, labels = task.item, cells_of(task)
    segment = task.given["segment_image"]
    planes: dict[str, Plane] = dict(task.given["measured_images"] or {})
    name = task.context.plan.segment_channel or "segment"
    if segment is not None:
        planes.setdefault(name, segment)
    ground = ground_of(labels)
    numbers = {channel: image_numbers(plane.as_taken, labels, ground) for channel, plane in planes.items()}
    shift = {}
    if segment is not None:
        for channel in planes.keys() - {name}:
            found = _shift(segment, planes[channel], labels, numbers[channel]["ground"])
            if found is not None:
                shift[channel] = found
    facts = {
        "numbers": numbers,
        "shift": shift,
        "settings": {channel: settings_of(file) for channel, file in files_of(task.context, item).items()},
        "pixels": {channel: plane.pixel_hash for channel, plane in planes.items()},
    }
    return Outcome(None, facts)


def _shift(reference: Plane, plane: Plane, labels: Labels, ground: float | None) -> tuple[float, float, float] | None:
    n = label_ids(labels).size
    if n == 0:
        return None
    radius = float(np.sqrt(np.count_nonzero(labels) / n / np.pi))
    shift = estimate_shift(reference.pixels, plane.pixels, radius)
    return None if shift is None else (*shift, effect_of_shift(plane.pixels, labels, shift, ground or 0.0))


def _made_from(task: Task) -> dict[str, Any]:
    return {"images": {channel: source(task, file) for channel, file in files_of(task.context, task.item).items()}}


def judged(
    context: Context,
    fields: Sequence[Field],
    found: Mapping[str, Mapping[str, Any]],
    measured: Mapping[str, Mapping[str, Any]],
) -> Judged:
    """Judge the fields by what their `checks` step noted.

    Parameters
    ----------
    context : Context
    fields : sequence of Field
    found, measured : mapping
        What the steps `checks` and `measure` noted, by ``field_id``.
    """
    s = context.settings
    checked = [
        Checked(
            item.field_id, item.condition, item.replicate, item.sample, _packed(facts["numbers"]),
            {channel: tuple(shift) for channel, shift in facts.get("shift", {}).items()}, facts["settings"],
            measured.get(item.field_id, {}).get("extent_95_px"), "" if item.field_id not in measured else "nuclei" if context.plan.count_channel else "cells",
        )
        for item in fields
        if (facts := found.get(item.field_id))
    ]  # fmt: skip
    hashes = [
        (name, channel, digest) for name, facts in found.items() for channel, digest in facts.get("pixels", {}).items()
    ]
    radius = None if s.rolling_ball == "none" or not context.plan.measure_channels else float(s.rolling_ball)
    known = {item.field_id for item in checked}
    copies = [copy for copy in same_pixels(hashes) if copy[0] in known]
    return judge(checked, context.plan.measured_channels, radius, copies)


def _packed(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers of each channel, their blocks as an array: as lists, those of 100,000 fields take 4 GB."""
    return {channel: {**of, "shading": np.array(of["shading"])} for channel, of in numbers.items()}


def _applies(task: Task) -> bool:
    return bool(files_of(task.context, task.item)) or has_count(task)


# Its numbers follow from images and outlines alone, so it is done again unasked.
CHECKS = Step(
    "checks", "field", _check, lane="checks", needs=("segment", "filter", "corrected", "segment_image", "measured_images"),
    made_from=_made_from, derived=True, applies=_applies,
)  # fmt: skip
