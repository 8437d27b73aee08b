"""The text files of outlines that Cellpose saves for ImageJ (``_cp_outlines.txt``)."""

from __future__ import annotations

import re

import numpy as np

from bridge.errors import RoiError
from bridge.names import roi_name
from bridge.rois.polygons import Polygon
from bridge.rois.trace import trace_rings

_LINE = re.compile(rb"[\d,]*\Z")
_NUMBERS = re.compile(rb"[\d,\s]*\Z")
_MOST_PX = 60_000


def is_cellpose_outlines(content: bytes) -> bool:
    """Return whether the file begins with numbers between commas and nothing else."""
    begin = content[:4096]
    return bool(begin.strip()) and _NUMBERS.match(begin) is not None


def decode_cellpose_outlines(content: bytes, name: str) -> list[Polygon]:
    """Return the cells whose outlines Cellpose wrote, each with all of its pixels.

    A line holds the *pixels* at the edge of a cell (cellpose.utils.outlines_list: OpenCV's contour), so the cell is
    what they enclose and the pixels themselves; a polygon through them, as ImageJ would draw it, is smaller by half of
    them. What Cellpose does not write cannot be had again: holes, all but the largest part of a cell, cells of a few
    pixels (empty lines).

    Parameters
    ----------
    content : bytes
        One line a cell: x,y,x,y ...
    name : str
        Named in messages.

    Returns
    -------
    list of Polygon
        Named by the line: Cellpose writes them in the order of the labels.

    Raises
    ------
    RoiError
        A line of other content.

    Examples
    --------
    >>> decode_cellpose_outlines(b"1,1,1,2,2,2,2,1", "a")[0].rings[0].astype(int).tolist()
    [[3, 1], [3, 3], [1, 3], [1, 1]]
    """
    import cv2

    cells = []
    for k, line in enumerate(content.split(b"\n"), 1):
        text = line.strip()
        if not text:
            continue
        numbers = text.split(b",") if _LINE.match(text) else []
        if len(numbers) < 2 or len(numbers) % 2 or not all(numbers) or max(map(len, numbers)) > 5:
            raise RoiError(
                f"{name}: line {k} is no outline of Cellpose (got {text[:30].decode(errors='replace')!r}, expected x,y,x,y ...). Save the outlines again."
            )
        points = np.array(numbers, np.int64).reshape(-1, 2).astype(np.int32)
        if points.max() >= _MOST_PX:
            raise RoiError(
                f"{name}: line {k} lies outside of any image (got {points.max()}, expected less than {_MOST_PX}). Save the outlines again."
            )
        corner = points.min(axis=0)
        width, height = (points.max(axis=0) - corner + 1).tolist()
        cell = np.zeros((height, width), np.uint8)
        cv2.fillPoly(cell, [points - corner], 1)
        rings = trace_rings(cell)
        outline = np.stack([rings.x, rings.y], axis=1) + corner
        cells.append(
            Polygon(
                roi_name(k),
                [outline[a:b].astype(np.float64) for a, b in zip(rings.start[:-1], rings.start[1:], strict=True)],
            )
        )
    return cells
