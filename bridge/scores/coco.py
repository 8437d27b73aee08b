"""Label images as COCO annotations, and back."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.labels import Labels, label_areas

_log = logging.getLogger(__name__)


def annotations_of(labels: Labels) -> list[dict[str, Any]]:
    """Return an annotation for each label: mask as uncompressed run lengths (down the columns), area, box.

    Parameters
    ----------
    labels : ndarray of unsigned int, shape (Y, X)
    """
    height, width = labels.shape
    flat = np.ascontiguousarray(labels.T).ravel()
    first = np.flatnonzero(np.r_[True, flat[1:] != flat[:-1]]) if flat.size else np.zeros(0, np.int64)
    last = np.append(first[1:], flat.size)
    cells = flat[first] > 0
    label, start, end = flat[first][cells].astype(np.int64), first[cells], last[cells]
    order = np.argsort(label, kind="stable")
    label, start, end = label[order], start[order], end[order]
    new = np.flatnonzero(np.diff(label, prepend=-1))
    gap = start - np.where(np.isin(np.arange(label.size), new), 0, np.r_[0, end[:-1]]) if label.size else start
    areas = label_areas(labels)
    found = []
    for a, b in itertools.pairwise([*new.tolist(), label.size]):
        counts = np.column_stack([gap[a:b], end[a:b] - start[a:b]]).ravel().tolist()
        if end[b - 1] < flat.size:
            counts.append(int(flat.size - end[b - 1]))
        rows, last_rows, columns = start[a:b] % height, (end[a:b] - 1) % height, start[a:b] // height
        # A run that goes on in the next column fills both from edge to edge.
        over = (end[a:b] - 1) // height > columns
        top, bottom = (0, height - 1) if over.any() else (int(rows.min()), int(last_rows.max()))
        left, right = int(columns[0]), int((end[b - 1] - 1) // height)
        found.append(
            {
                "category_id": 1,
                "segmentation": {"size": [height, width], "counts": counts},
                "area": int(areas[label[a]]),
                "bbox": [left, top, right - left + 1, bottom - top + 1],
                "iscrowd": 0,
                "label": int(label[a]),
            }
        )
    return found


def whole(value: Any) -> int:
    """Return a whole number."""
    if not isinstance(value, int | float) or value != int(value):
        raise ValueError(f"{value!r} where a whole number should be")
    return int(value)


def counts_of(segmentation: Any, height: int, width: int) -> Sequence[int]:
    """Run lengths of an annotation, whatever form they have."""
    if isinstance(segmentation, dict):
        if list(segmentation["size"]) != [height, width]:
            raise ValueError(f"got size {segmentation['size']}, expected {[height, width]}")
        counts = segmentation["counts"]
        return [whole(count) for count in counts] if isinstance(counts, list) else unpacked(str(counts))
    from pycocotools import mask

    if not segmentation or not all(isinstance(ring, list) and len(ring) >= 6 for ring in segmentation):
        raise ValueError("a polygon of fewer than three corners")
    if any(len(ring) % 2 for ring in segmentation):
        raise ValueError("a polygon of which a coordinate is missing")
    most = 2 * max(height, width)
    if not all(isinstance(v, int | float) and -most <= v <= most for ring in segmentation for v in ring):
        raise ValueError("a polygon that leaves the image")  # COCO's code crashes on one that is far away, or no number
    flat = mask.decode(mask.merge(mask.frPyObjects(segmentation, height, width))).T.ravel()
    change = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = [0, *([0] if flat[0] else []), *change.tolist(), flat.size]
    return [b - a for a, b in itertools.pairwise(edges)]


def unpacked(text: str) -> list[int]:
    """Run lengths of COCO's compressed form: five bits a character, from the third on the difference to the one but last."""
    counts: list[int] = []
    at = 0
    while at < len(text):
        value, shift, more = 0, 0, True
        while more:
            if at >= len(text) or not 48 <= ord(text[at]) < 112 or shift > 60:
                raise ValueError("compressed runs that are cut or damaged")
            bits = ord(text[at]) - 48
            at += 1
            value |= (bits & 31) << shift
            shift += 5
            more = bool(bits & 32)
            if not more and bits & 16:
                value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
    return counts


def drawn(
    runs: Sequence[tuple[int, Sequence[int]]], shape: tuple[int, ...], name: str = "label image"
) -> npt.NDArray[np.uint32]:
    """Return the label image of runs of pixels."""
    flat = np.zeros(shape[0] * shape[1], np.uint32)
    overlap = 0
    gone = []
    for label, counts in runs:
        ends = list(itertools.accumulate(counts))
        drawn = 0
        for start, end in zip(ends[0::2], ends[1::2], strict=False):
            part = flat[start:end]
            free = part == 0
            part[free] = label
            drawn += int(np.count_nonzero(free))
        overlap += sum(counts[1::2]) - drawn
        if not drawn:
            gone.append(label)
    if overlap:
        _log.warning("%s: annotations overlap (%d px); these pixels stay with the earlier one", name, overlap)
    if gone:
        listed = ", ".join(map(str, gone[:5])) + (f" and {len(gone) - 5} more" if len(gone) > 5 else "")
        _log.warning("%s: %d annotations have no pixel of their own and are no cells (%s)", name, len(gone), listed)
    return np.ascontiguousarray(flat.reshape(shape[1], shape[0]).T)
