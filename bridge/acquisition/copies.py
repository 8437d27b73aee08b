"""The same pixels under two names."""

from __future__ import annotations

from collections.abc import Iterable

Pixels = tuple[str, str, str]  # field, channel, hash of the pixels


def same_pixels(hashes: Iterable[Pixels]) -> list[tuple[str, str, str]]:
    """Return (field, channel, sentence) of images that have the same pixels: copies, which would count as fields, or one file taken for two channels.

    Examples
    --------
    >>> same_pixels([("f1", "EdU", "a"), ("f2", "EdU", "a"), ("f3", "EdU", "b")])[1]
    ('f2', 'EdU', 'the same pixels in f1 (EdU) and f2 (EdU): copies of one image count as if they were two')
    """
    places: dict[str, list[tuple[str, str]]] = {}
    for field_id, channel, digest in hashes:
        known = places.setdefault(digest, [])
        if (field_id, channel) not in known:
            known.append((field_id, channel))
    copies = []
    for found in (found for found in places.values() if len(found) > 1):
        listed = " and ".join(f"{field_id} ({channel})" for field_id, channel in found[:4])
        text = f"the same pixels in {listed}{' and more' if len(found) > 4 else ''}: copies of one image count as if they were two"
        copies += [(field_id, channel, text) for field_id, channel in found]
    return copies
