"""What only the pixels tell: images that cannot be measured, and the same pixels under two names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from bridge.errors import InputError
from bridge.experiment.fields import Field, Plan
from bridge.images.reader import read_plane
from bridge.settings import Settings

Pixels = tuple[str, str, str]  # field, channel, hash of the pixels


def check_pixels(plan: Plan, settings: Settings) -> Plan:
    """Decode every image of a plan, as a run would, and add what it would stumble over.

    Parameters
    ----------
    plan : Plan
    settings : Settings

    Returns
    -------
    Plan
        With the problems of fields, and warnings about images that are there twice.
    """
    hashes: list[Pixels] = []
    fields = []
    for item in plan.fields:
        problems = list(item.problems)
        for channel, path, name, measured in _files(plan, item):
            try:
                seen = read_plane(path, name, settings.rgb_channel, measured, None if measured else settings.colour)
            except InputError as error:
                problems.append(str(error))
            else:
                hashes.append((item.field_id, channel, seen.pixel_hash))
        fields.append(replace(item, problems=tuple(dict.fromkeys(problems))))
    return replace(plan, fields=tuple(fields), warnings=(*plan.warnings, *same_pixels(hashes)))


def _files(plan: Plan, item: Field) -> Iterable[tuple[str, Path, str | None, bool]]:
    if item.segment is not None:
        yield plan.segment_channel or "segment", item.segment.path, item.segment.channel, False
    for channel, file in item.measure.items():
        yield channel, file.path, file.channel, True
    if item.count is not None:
        yield plan.count_channel or "count", item.count.path, item.count.channel, True


def same_pixels(hashes: Iterable[Pixels]) -> list[str]:
    """Say which images have the same pixels: copies, which would count as fields, or one file taken for two channels.

    Examples
    --------
    >>> same_pixels([("f1", "EdU", "a"), ("f2", "EdU", "a"), ("f3", "EdU", "b")])
    ['the same pixels in f1 (EdU) and f2 (EdU): copies of one image count as if they were two']
    """
    places: dict[str, list[tuple[str, str]]] = {}
    for field_id, channel, digest in hashes:
        known = places.setdefault(digest, [])
        if (field_id, channel) not in known:
            known.append((field_id, channel))
    return [
        f"the same pixels in {' and '.join(f'{field_id} ({channel})' for field_id, channel in found[:4])}{' and more' if len(found) > 4 else ''}: "
        "copies of one image count as if they were two"
        for found in places.values()
        if len(found) > 1
    ]
