"""Reads the images that the networks are shown, ahead of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.images.reader import inspect, read_plane
from bridge.pipeline.prepared import prepared
from bridge.pipeline.step import Outcome, Step, Task

if TYPE_CHECKING:
    from bridge.images.image import Plane
    from bridge.source import ChannelFile


def source(task: Task, file: ChannelFile) -> dict[str, Any]:
    """Return what stands for a channel's pixels in a record."""
    place = {"scene": file.scene, "frame": file.frame, "z": file.z}
    beside = [source(task, other) for other in file.also]
    return {
        "image": task.context.hashes.of(file.path, inspect(file).parts),
        "channel": file.channel,
        "rgb_channel": task.settings.rgb_channel,
        **{name: value for name, value in place.items() if value is not None},
        **{f"{name}_{k}": value for k, other in enumerate(beside, 2) for name, value in other.items()},
    }


def read(task: Task, file: ChannelFile, measured: bool) -> Plane:
    """Read a channel, to be measured or to be shown to a network."""
    for one in (file, *file.also):
        task.context.hashes.of(one.path, inspect(one).parts)
    colour = None if measured else task.settings.colour
    return read_plane(file, task.settings.rgb_channel, measured, colour)


def read_measured(task: Task, channel: str, file: ChannelFile) -> Plane:
    """Read a channel as it goes to the engines."""
    counted = task.in_memory.get("count_image") if file is task.item.count else None
    return prepared(counted or read(task, file, measured=True), channel, task.settings)


def _read_segment(task: Task) -> Outcome:
    file = task.item.segment
    return Outcome(read(task, file, measured=False) if file is not None else None)


def _read_count(task: Task) -> Outcome:
    assert task.item.count is not None
    return Outcome(read(task, task.item.count, measured=True))


def has_count(task: Task) -> bool:
    """Return whether a field has a channel in which nuclei are counted."""
    return task.item.count is not None


SEGMENT_IMAGE = Step("segment_image", "field", _read_segment, lane="read", recorded=False)
COUNT_IMAGE = Step("count_image", "field", _read_count, lane="read", recorded=False, applies=has_count)
