"""What ImageJ measures of outlines: perimeter, bounding rectangle, caliper diameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.calibration import Calibration
from bridge.errors import RoiError
from bridge.imagej.java_math import atan2
from bridge.imagej.statistics import Doubles
from bridge.kernels import kernel
from bridge.selections import BOX, Selections


@dataclass(frozen=True)
class Feret:
    """Caliper diameters of several ROIs, each of shape (n_rois,).

    Attributes
    ----------
    diameter, minimum : ndarray of float64
        The longest and the shortest one, in the image's unit of length.
    angle : ndarray of float64
        Of the longest one, in degrees.
    x_px, y_px : ndarray of float64
        Its end at the left, in px.
    """

    diameter: Doubles
    angle: Doubles
    minimum: Doubles
    x_px: Doubles
    y_px: Doubles


def traced_perimeter(selections: Selections, calibration: Calibration, title: str = "image") -> Doubles:
    """Return the length of each outline along pixel edges, corners cut (ij.gui.PolygonRoi.getTracedPerimeter).

    Raises
    ------
    RoiError
        An outline that is none along pixel edges: ImageJ smooths it, or follows curves.
    """
    outlines = selections.outlines
    _require(selections, outlines.traced | (outlines.whole & (outlines.kind == BOX)), "perimeter", title)
    length = np.zeros(len(selections.names))
    _perimeters(
        outlines.x,
        outlines.y,
        outlines.ring,
        outlines.first,
        outlines.box,
        outlines.kind,
        calibration.width,
        calibration.height,
        length,
    )
    return length


def feret(selections: Selections, calibration: Calibration, title: str = "image") -> Feret:
    """Return the caliper diameters of each ROI (ij.gui.Roi.getFeretValues, ij.process.FloatPolygon.getConvexHull).

    Raises
    ------
    RoiError
        An outline with vertices that are no pixel corners.
    """
    outlines = selections.outlines
    _require(selections, outlines.whole, "Feret's diameter", title)
    values = np.zeros((len(selections.names), 5))
    _ferets(
        outlines.x,
        outlines.y,
        outlines.ring,
        outlines.first,
        outlines.box,
        outlines.kind,
        calibration.width,
        calibration.height,
        values,
    )
    return Feret(*values.T)


def _require(selections: Selections, known: npt.NDArray[np.bool_], what: str, title: str) -> None:
    unknown = np.flatnonzero(~known)
    if unknown.size:
        raise RoiError(
            f"{title}: {selections.names[unknown[0]]}: {what} of an outline that was drawn by hand is measured by ImageJ "
            f"only (got {unknown.size} such of {known.size} ROIs, expected outlines along pixel edges). "
            "Use --engine fiji, or leave the measurement out."
        )


@kernel
def _perimeters(
    x: Any, y: Any, ring: Any, first: Any, box: Any, kind: Any, width: Any, height: Any, length: Any
) -> None:
    corner_cut = (width + height) - np.sqrt(width * width + height * height)
    for k in range(kind.size):
        if kind[k] == BOX:
            length[k] = 2.0 * box[k, 2] * width + 2.0 * box[k, 3] * height
            continue
        total = 0.0
        for i_ring in range(first[k], first[k + 1]):
            begin, end = ring[i_ring], ring[i_ring + 1]
            if end - begin < 4:
                continue
            sum_x, sum_y, n_corners = 0, 0, 0
            dx, dy = int(x[begin] - x[end - 1]), int(y[begin] - y[end - 1])
            side = abs(dx) + abs(dy)
            corner = False
            for i in range(begin, end):
                after = i + 1 if i + 1 < end else begin
                next_dx, next_dy = int(x[after] - x[i]), int(y[after] - y[i])
                sum_x += abs(dx)
                sum_y += abs(dy)
                # Of a staircase of single pixels only every second corner is cut.
                if side > 1 or not corner:
                    corner = True
                    n_corners += 1
                else:
                    corner = False
                dx, dy = next_dx, next_dy
                side = abs(dx) + abs(dy)
            total += sum_x * width + sum_y * height - (n_corners * corner_cut)
        length[k] = total


@kernel
def _ferets(x: Any, y: Any, ring: Any, first: Any, box: Any, kind: Any, width: Any, height: Any, values: Any) -> None:
    corners_x, corners_y = np.zeros(8), np.zeros(8)
    for k in range(kind.size):
        left, top = np.float64(box[k, 0]), np.float64(box[k, 1])
        n = ring[first[k + 1]] - ring[first[k]] if kind[k] != BOX else 4
        if corners_x.size < n:
            corners_x, corners_y = np.zeros(2 * n), np.zeros(2 * n)
        if kind[k] == BOX:
            right, bottom = left + box[k, 2], top + box[k, 3]
            corners_x[:4] = np.array([left, right, right, left])
            corners_y[:4] = np.array([top, top, bottom, bottom])
        else:
            n = 0
            for i_ring in range(first[k], first[k + 1]):
                begin, end = ring[i_ring], ring[i_ring + 1]
                if end - begin > 1 and x[begin] == x[end - 1] and y[begin] == y[end - 1]:
                    end -= 1
                for i in range(begin, end):
                    corners_x[n], corners_y[n] = left + x[i], top + y[i]
                    n += 1
        hull = _convex_hull(corners_x, corners_y, n)
        values[k] = _feret(corners_x[hull], corners_y[hull], width, height)


@kernel
def _convex_hull(x: Any, y: Any, n: int) -> Any:
    """Wrap the gift, from the highest corner at the left, counterclockwise."""
    hull = np.zeros(n, np.int64)
    start = 0
    for i in range(n):
        if y[i] < y[start] or (y[i] == y[start] and x[i] < x[start]):
            start = i
    at, n_hull = start, 0
    while True:
        x1, y1 = x[at], y[at]
        after = at + 1 if at + 1 < n else 0
        while after != at and x[after] == x1 and y[after] == y1:
            after = after + 1 if after + 1 < n else 0
        hull[n_hull] = at
        n_hull += 1
        if after == at:
            break
        x2, y2 = x[after], y[after]
        third = after + 1 if after + 1 < n else 0
        while third != at:
            x3, y3 = x[third], y[third]
            turn = x1 * (y2 - y3) - y1 * (x2 - x3) + (y3 * x2 - y2 * x3)
            further = (
                turn == 0
                and third != after
                and (x3 - x1) * (x3 - x1) + (y3 - y1) * (y3 - y1) > (x2 - x1) * (x2 - x1) + (y2 - y1) * (y2 - y1)
            )
            if turn > 0 or further:
                x2, y2, after = x3, y3, third
            third = third + 1 if third + 1 < n else 0
        at = after
        if at == start or (n_hull > 1 and x[at] == x[start] and y[at] == y[start]) or n_hull == n:
            break
    return hull[:n_hull]


@kernel
def _feret(x: Any, y: Any, width: Any, height: Any) -> Any:
    n = x.size
    one, other, longest = 0, 0, 0.0
    for i in range(n):
        for j in range(i + 1, n):
            dx, dy = (x[i] - x[j]) * width, (y[i] - y[j]) * height
            squared = dx * dx + dy * dy
            if squared > longest:
                longest, one, other = squared, i, j
    if x[one] > x[other]:
        one, other = other, one
    angle = (180.0 / np.pi) * atan2((y[one] - y[other]) * height, (x[other] - x[one]) * width)
    if angle < 0.0:
        angle += 180.0
    least: Any = np.inf
    last_x, last_y = x[n - 1], y[n - 1]
    for i in range(n):
        normal_x, normal_y = (y[i] - last_y) * height, (last_x - x[i]) * width
        last_x, last_y = x[i], y[i]
        scale = 1 / np.sqrt(normal_x * normal_x + normal_y * normal_y)
        normal_x *= scale * width
        normal_y *= scale * height
        widest: Any = 0.0
        for j in range(n):
            distance = (x[j] - last_x) * normal_x + (y[j] - last_y) * normal_y
            widest = max(widest, distance)
        least = min(least, widest)
    return np.array([np.sqrt(longest), angle, least, x[one], y[one]])
