"""Pixel-edge outlines of all labels in one pass, and back. Coordinates are (x, y) of pixel corners."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from bridge.labels import Labels


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
    labels : ndarray of uint16 or uint32, shape (Y, X)

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
    lengths = np.diff(start[: n_rings + 1])[order]
    sorted_start = np.concatenate([[0], np.cumsum(lengths)])
    take = np.repeat(start[:n_rings][order] - sorted_start[:-1], lengths) + np.arange(sorted_start[-1])
    return Rings(x[take], y[take], sorted_start, label[:n_rings][order])


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _trace(flat: Any, height: int, width: int, seen: Any, x: Any, y: Any, start: Any, label: Any) -> int:
    """Return the number of rings, -1 if the arrays are too small."""
    n_rings = 0
    n = 0
    for row in range(height):
        for first in range(0, width, 64):
            last = min(first + 64, width)
            if row > 0 and not _rows_differ(flat, row * width + first, last - first, width):
                continue
            for column in range(first, last):
                pixel = row * width + column
                value = flat[pixel]
                if value == 0 or seen[pixel] or (row > 0 and flat[pixel - width] == value):
                    continue
                if n_rings == label.size:
                    return -1
                n = _follow(flat, height, width, seen, x, y, n, column, row)
                if n < 0:
                    return -1
                label[n_rings] = value
                n_rings += 1
                start[n_rings] = n
    return n_rings


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _rows_differ(flat: Any, pixel: int, count: int, width: int) -> bool:
    # A sum instead of an early exit: LLVM makes vector instructions of it.
    different = 0
    for i in range(pixel, pixel + count):
        different += flat[i] != flat[i - width]
    return different > 0


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _follow(flat: Any, height: int, width: int, seen: Any, x: Any, y: Any, n: int, first_x: int, first_y: int) -> int:
    """Follow one ring from the top crack of a pixel; return the new number of vertices, -1 if there is no room."""
    value = flat[first_y * width + first_x]
    at_x, at_y, heading = first_x, first_y, 0  # 0 right, 1 down, 2 left, 3 up
    while True:
        if heading == 0:
            seen[at_y * width + at_x] = True
            at_x += 1
            left_x, left_y, right_x, right_y = at_x, at_y - 1, at_x, at_y
        elif heading == 1:
            at_y += 1
            left_x, left_y, right_x, right_y = at_x, at_y, at_x - 1, at_y
        elif heading == 2:
            at_x -= 1
            left_x, left_y, right_x, right_y = at_x - 1, at_y, at_x - 1, at_y - 1
        else:
            at_y -= 1
            left_x, left_y, right_x, right_y = at_x - 1, at_y - 1, at_x, at_y - 1
        turn = 1
        if 0 <= left_x < width and 0 <= left_y < height and flat[left_y * width + left_x] == value:
            turn = 3
        elif 0 <= right_x < width and 0 <= right_y < height and flat[right_y * width + right_x] == value:
            turn = 0
        if turn:
            if n == x.size:
                return -1
            x[n] = at_x
            y[n] = at_y
            n += 1
            heading = (heading + turn) & 3
        if heading == 0 and at_x == first_x and at_y == first_y:
            return n


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def fill_rings(labels: Any, x: Any, y: Any, start: Any, value: int) -> int:
    """Draw pixel-edge rings into a label image by the even-odd rule.

    Parameters
    ----------
    labels : ndarray of uint32, shape (Y, X)
        Changed in place; only pixels that are 0 are written.
    x, y, start : ndarray
        As in `Rings`, of one label.
    value : int

    Returns
    -------
    int
        Number of pixels that were taken already, -1 if a side is neither horizontal nor vertical, -2 if the rings
        leave the image.
    """
    if x.size == 0:
        return 0
    left, right, top, bottom = x.min(), x.max(), y.min(), y.max()
    if left < 0 or top < 0 or right > labels.shape[1] or bottom > labels.shape[0]:
        return -2
    parity = np.zeros((bottom - top, right - left + 1), np.bool_)
    for ring in range(start.size - 1):
        for i in range(start[ring], start[ring + 1]):
            j = i + 1 if i + 1 < start[ring + 1] else start[ring]
            if x[i] == x[j]:
                for row in range(min(y[i], y[j]), max(y[i], y[j])):
                    parity[row - top, x[i] - left] = not parity[row - top, x[i] - left]
            elif y[i] != y[j]:
                return -1
    taken = 0
    for row in range(parity.shape[0]):
        inside = False
        for column in range(parity.shape[1]):
            if parity[row, column]:
                inside = not inside
            if inside:
                if labels[top + row, left + column] != 0:
                    taken += 1
                else:
                    labels[top + row, left + column] = value
    return taken
