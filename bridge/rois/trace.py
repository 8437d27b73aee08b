"""Label image -> pixel-edge rings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.kernels import is_compiled, kernel
from bridge.labels import Labels

COMPILING = "The kernels that trace and measure are compiled for this processor, once; it takes half a minute."


@dataclass(frozen=True)
class Rings:
    """Closed outlines of all labels of a label image, outer ones and holes.

    Attributes
    ----------
    x, y : ndarray of int32, shape (n_vertices,)
        Pixel corners: the outline of the pixel in the first row and column runs through (0, 0) and (1, 1).
    start : ndarray of int64, shape (n_rings + 1,)
        Ring k has the vertices ``start[k]:start[k + 1]``; the last one joins the first.
    label : ndarray of int64, shape (n_rings,)
        The label of each ring, ascending.
    """

    x: npt.NDArray[np.int32]
    y: npt.NDArray[np.int32]
    start: npt.NDArray[np.int64]
    label: npt.NDArray[np.int64]


def trace_rings(labels: Labels) -> Rings:
    """Trace the outline of every label along pixel edges.

    Every ring, outer or hole, owns at least one *top crack*: the upper edge of a pixel whose upper neighbour has
    another label. One scan over the image finds all of them; each ring is followed once, with the label at its right
    hand and turning left where it can, so that pixels that touch at a corner stay together (8-connected, as ImageJ's
    wand does it).

    Parameters
    ----------
    labels : ndarray of uint8, uint16 or uint32, shape (Y, X)

    Returns
    -------
    Rings
        Sorted by label; the rings of one label in the order in which a scan by rows meets them.

    Examples
    --------
    >>> rings = trace_rings(np.array([[0, 0, 0], [0, 5, 0]], np.uint16))
    >>> rings.label.tolist(), rings.x.tolist(), rings.y.tolist()
    ([5], [2, 2, 1, 1], [1, 2, 2, 1])
    """
    height, width = labels.shape
    flat = np.ascontiguousarray(labels).reshape(-1)
    vertex_room = max(1 << 16, flat.size // 8)
    ring_room = max(1 << 12, flat.size // 64)
    while True:
        x = np.empty(vertex_room, np.int32)
        y = np.empty(vertex_room, np.int32)
        start = np.zeros(ring_room + 1, np.int64)
        label = np.empty(ring_room, np.int64)
        n_rings = _trace(flat, height, width, np.zeros(flat.size, np.bool_), x, y, start, label)
        if n_rings >= 0:
            break
        vertex_room, ring_room = 2 * vertex_room, 2 * ring_room
    order = np.argsort(label[:n_rings], kind="stable")
    n = start[n_rings]
    sorted_x, sorted_y, sorted_start = np.empty(n, np.int32), np.empty(n, np.int32), np.zeros(n_rings + 1, np.int64)
    _sort(x, y, start, order, sorted_x, sorted_y, sorted_start)
    return Rings(sorted_x, sorted_y, sorted_start, label[:n_rings][order])


def compiled() -> bool:
    """Return whether the compiled kernels are on this machine's disk; if not, their first use takes half a minute."""
    return is_compiled(_trace)


@kernel
def _sort(x: Any, y: Any, start: Any, order: Any, sorted_x: Any, sorted_y: Any, sorted_start: Any) -> None:
    n = 0
    for k in range(order.size):
        for i in range(start[order[k]], start[order[k] + 1]):
            sorted_x[n] = x[i]
            sorted_y[n] = y[i]
            n += 1
        sorted_start[k + 1] = n


@kernel
def _trace(flat: Any, height: int, width: int, seen: Any, x: Any, y: Any, start: Any, label: Any) -> int:
    """Return the number of rings, -1 if the arrays are too small."""
    n_rings = 0
    n = 0
    tops = np.zeros((width + 7) // 8 * 8, np.uint8)
    eight = tops.view(np.uint64)
    for row in range(height):
        first = row * width
        _find_tops(flat[first : first + width], flat[max(0, first - width) : max(0, first - width) + width], row, tops)
        for i in range(eight.size):
            if eight[i] == 0:
                continue
            for column in range(8 * i, 8 * i + 8):
                if tops[column] == 0 or seen[first + column]:
                    continue
                if n_rings == label.size:
                    return -1
                n = _follow(flat, height, width, seen, x, y, n, column, row)
                if n < 0:
                    return -1
                label[n_rings] = flat[first + column]
                n_rings += 1
                start[n_rings] = n
    return n_rings


@kernel
def _find_tops(line: Any, above: Any, row: int, tops: Any) -> None:
    # Two slices and no branch: only so LLVM makes vector instructions of it, ten times faster.
    for i in range(line.size):
        tops[i] = (line[i] != 0) & ((line[i] != above[i]) | (row == 0))


@kernel
def _follow(flat: Any, height: int, width: int, seen: Any, x: Any, y: Any, n: int, first_x: int, first_y: int) -> int:
    """Follow one ring from the top crack of a pixel; return the new number of vertices, -1 if there is no room."""
    at_x, at_y = first_x, first_y
    pixel = first_y * width + first_x  # the one whose upper left corner is (at_x, at_y)
    value = flat[pixel]
    heading = 0  # 0 right, 1 down, 2 left, 3 up
    while True:
        # `left` and `right`: the pixels ahead, at either hand, have the label.
        if heading == 0:
            seen[pixel] = True
            at_x += 1
            pixel += 1
            left = at_x < width and at_y > 0 and flat[pixel - width] == value
            right = at_x < width and flat[pixel] == value
        elif heading == 1:
            at_y += 1
            pixel += width
            left = at_y < height and at_x < width and flat[pixel] == value
            right = at_y < height and flat[pixel - 1] == value
        elif heading == 2:
            at_x -= 1
            pixel -= 1
            left = at_x > 0 and at_y < height and flat[pixel - 1] == value
            right = at_x > 0 and flat[pixel - width - 1] == value
        else:
            at_y -= 1
            pixel -= width
            left = at_y > 0 and at_x > 0 and flat[pixel - width - 1] == value
            right = at_y > 0 and flat[pixel - width] == value
        if right and not left:
            continue  # straight on: the start is a corner, so it cannot be here
        if n == x.size:
            return -1
        x[n] = at_x
        y[n] = at_y
        n += 1
        heading = (heading + (3 if left else 1)) & 3
        if heading == 0 and at_x == first_x and at_y == first_y:
            return n
