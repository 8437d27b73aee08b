"""Polygons -> the pixels that ImageJ selects."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.kernels import kernel
from bridge.selections import BOX, OVAL, Outlines


def fill(outlines: Outlines, shape: tuple[int, int]) -> tuple[npt.NDArray[Any], ...]:
    """Find the pixels inside each outline, by ImageJ's rules.

    A pixel belongs to a polygon if its centre lies inside by the even-odd rule; centres on a left or upper side are
    outside, on a right or lower side inside. Source: ij.process.PolygonFiller and ij.gui.OvalRoi of ImageJ 1.54p,
    with the same sums in the same order.

    Parameters
    ----------
    outlines : Outlines
    shape : (int, int)
        Height and width of the image in px; what lies outside is cut off.

    Returns
    -------
    row, left, right : ndarray of int32, shape (n_spans,)
    first : ndarray of int64, shape (n_rois + 1,)
        As in `bridge.selections.Selections`.
    """
    heights = np.minimum(outlines.box[:, 3], shape[0])
    room = max(1024, int(heights.sum()) * 2)
    while True:
        row, left, right = (np.empty(room, np.int32) for _ in range(3))
        first = np.zeros(outlines.kind.size + 1, np.int64)
        n = _fill(
            outlines.x,
            outlines.y,
            outlines.ring,
            outlines.first,
            outlines.box,
            outlines.kind,
            shape[0],
            shape[1],
            row,
            left,
            right,
            first,
        )
        if n >= 0:
            return row[:n], left[:n], right[:n], first
        room *= 2


@kernel
def _fill(
    x: Any,
    y: Any,
    ring: Any,
    first_ring: Any,
    box: Any,
    kind: Any,
    height: int,
    width: int,
    row: Any,
    left: Any,
    right: Any,
    first: Any,
) -> int:
    """Return the number of runs, -1 if the arrays are too small."""
    n = 0
    at = np.zeros(1, np.int64)
    crossing = np.zeros(1, np.int64)
    for k in range(kind.size):
        box_left, box_top, box_width, box_height = box[k]
        if kind[k] == BOX:
            for line in range(max(0, box_top), min(height, box_top + box_height)):
                n = _put(row, left, right, n, line, box_left, box_left + box_width, width)
                if n < 0:
                    return -1
        elif kind[k] == OVAL:
            # The last column and row of an even-sized oval lie inside or not by the last bit: the same terms as OvalRoi.
            a, b = box_width / 2.0, box_height / 2.0
            for line in range(max(0, -box_top), min(box_height, height - box_top)):
                yy = line - (b - 0.5)
                a_run = -1
                for column in range(box_width + 1):
                    xx = column - (a - 0.5)
                    inside = column < box_width and xx * xx / (a * a) + yy * yy / (b * b) <= 1.0
                    if inside and a_run < 0:
                        a_run = column
                    elif not inside and a_run >= 0:
                        n = _put(row, left, right, n, box_top + line, box_left + a_run, box_left + column, width)
                        if n < 0:
                            return -1
                        a_run = -1
        else:
            if at.size < box_height + 2:
                at = np.zeros(2 * box_height + 2, np.int64)
            at[: box_height + 2] = 0
            # Count the sides that cross each row, then note where, then sort: runs lie between odd and even crossings.
            for counting in (True, False):
                if not counting:
                    for line in range(box_height + 1):
                        at[line + 1] += at[line]
                    if crossing.size < at[box_height + 1]:
                        crossing = np.empty(2 * at[box_height + 1], np.int64)
                for i in range(first_ring[k], first_ring[k + 1]):
                    for p in range(ring[i], ring[i + 1]):
                        q = p + 1 if p + 1 < ring[i + 1] else ring[i]
                        if y[p] == y[q]:
                            continue
                        y1, y2 = y[p], y[q]
                        line1, line2 = int(np.floor(y1 + 0.5)), int(np.floor(y2 + 0.5))
                        if line1 == line2 or (line1 <= 0 and line2 <= 0):
                            continue
                        x1, x2 = x[p], x[q]
                        if line1 > line2:
                            line1, line2, y1, y2, x1, x2 = line2, line1, y2, y1, x2, x1
                        if counting:
                            for line in range(max(0, line1), min(box_height, line2)):
                                at[line + 2] += 1
                            continue
                        slope = (x2 - x1) / (y2 - y1)
                        here = x1 + (line1 - y1 + 0.5) * slope + 1e-8
                        if line1 < 0:
                            here += slope * (0 - line1)
                        for line in range(max(0, line1), min(box_height, line2)):
                            crossing[at[line + 1]] = min(max(int(here + 0.5), 0), box_width)
                            at[line + 1] += 1
                            here += slope
            for line in range(max(0, -box_top), min(box_height, height - box_top)):
                begin, end = at[line], at[line + 1]
                if end - begin > 64:
                    crossing[begin:end].sort()
                for i in range(begin + 1, end):
                    value, j = crossing[i], i
                    while j > begin and crossing[j - 1] > value:
                        crossing[j] = crossing[j - 1]
                        j -= 1
                    crossing[j] = value
                i = begin
                while i + 1 < end:
                    run_left, run_right = crossing[i], crossing[i + 1]
                    i += 2
                    while i + 1 < end and crossing[i] == run_right:
                        run_right = crossing[i + 1]
                        i += 2
                    n = _put(row, left, right, n, box_top + line, box_left + run_left, box_left + run_right, width)
                    if n < 0:
                        return -1
        first[k + 1] = n
    return n


@kernel
def _put(row: Any, left: Any, right: Any, n: int, line: int, run_left: int, run_right: int, width: int) -> int:
    run_left, run_right = max(run_left, 0), min(run_right, width)
    if run_left >= run_right:
        return n
    if n == row.size:
        return -1
    row[n], left[n], right[n] = line, run_left, run_right
    return n + 1
