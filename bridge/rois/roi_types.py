"""ImageJ's kinds of ROI as polygons, with ImageJ's own arithmetic."""

from __future__ import annotations

import itertools
import math
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bridge.errors import NoAreaError, RoiError
from bridge.selections import BOX, OVAL, POLYGON

if TYPE_CHECKING:
    from roifile import ImagejRoi

_FLATNESS_SQUARED = 0.01**2  # ij.gui.ShapeRoi.FILL_FLATNESS
_DEEPEST = 10  # java.awt.geom.FlatteningPathIterator's own limit
_MOST_PX = 70_000  # of a coordinate: beyond what any image ImageJ opens has


Point = tuple[float, float]


def outline(roi: ImagejRoi, part: bytes) -> tuple[int, tuple[int, int, int, int], list[npt.NDArray[np.float64]]]:
    """Return kind, box and rings of any ROI that has an area."""
    from roifile import ROI_OPTIONS, ROI_SUBTYPE, ROI_TYPE

    left, top = roi.left, roi.top
    size = max(1, roi.right - roi.left), max(1, roi.bottom - roi.top)
    if roi.multi_coordinates is not None:
        return composite(np.asarray(roi.multi_coordinates, np.float32))
    if roi.subtype in (ROI_SUBTYPE.TEXT, ROI_SUBTYPE.IMAGE):
        raise NoAreaError("a text or an image, not a cell")
    if roi.subpixelresolution and roi.version >= 223 and roi.roitype in (ROI_TYPE.RECT, ROI_TYPE.OVAL):
        left, top = int(roi.xd), int(roi.yd)
        size = max(1, math.ceil(roi.widthd)), max(1, math.ceil(roi.heightd))
    box = (left, top, *size)
    if roi.roitype == ROI_TYPE.RECT:
        corner = roi.rounded_rect_arc_size
        return (BOX, box, []) if corner <= 0 else rounded(box, corner)
    if roi.roitype == ROI_TYPE.OVAL:
        return OVAL, box, []
    if roi.roitype not in (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED):
        raise NoAreaError(f"of type {roi.roitype.name.lower()}, which encloses no pixels (expected an area)")
    if roi.options & ROI_OPTIONS.SPLINE_FIT:
        raise RoiError("a fitted spline (expected a polygon; in Fiji: Edit > Selection > Interpolate)")
    if roi.subtype == ROI_SUBTYPE.ELLIPSE:
        return to_box(ellipse(part))
    if is_rotated(roi):
        return to_box(rotated(part))
    n = roi.n_coordinates or 0
    if roi.integer_coordinates is None or n < 3:
        raise RoiError(f"a polygon of {n} points (expected 3 or more)")
    if roi.subpixelresolution and roi.subpixel_coordinates is not None:
        return between_pixels(np.asarray(roi.subpixel_coordinates, np.float32))
    corners = np.maximum(np.asarray(roi.integer_coordinates, np.int64), 0)
    low = corners.min(axis=0)
    width, height = (corners.max(axis=0) - low).tolist()
    return POLYGON, (left + int(low[0]), top + int(low[1]), width, height), [(corners - low).astype(np.float64)]


def between_pixels(corners: npt.NDArray[np.float32]) -> tuple[int, tuple[int, int, int, int], list[Any]]:
    """ij.gui.PolygonRoi with sub-pixel resolution: vertices relative to their own bounds, then the bounds' fraction."""
    _require_size(corners)
    low = corners.min(axis=0)
    extent = np.maximum(corners.max(axis=0), np.finfo(np.float32).tiny) - low  # in float32, as FloatPolygon has it
    base = low.astype(np.float64)
    first = np.floor(base)
    size = np.ceil(base + extent.astype(np.float64)) - first
    relative = (corners - low).astype(np.float64) + (base - first)
    return POLYGON, (int(first[0]), int(first[1]), int(size[0]), int(size[1])), [relative]


def to_box(corners: npt.NDArray[np.float32]) -> tuple[int, tuple[int, int, int, int], list[Any]]:
    """Vertices of an ellipse or a rotated rectangle relative to their integer bounds (FloatPolygon.getBounds)."""
    _require_size(corners)
    first = np.floor(corners.min(axis=0).astype(np.float64)).astype(np.int64)
    size = (corners.max(axis=0) - first.astype(np.float32) + 0.5).astype(np.int64)
    relative = (corners - first.astype(np.float32)).astype(np.float64)
    return POLYGON, (int(first[0]), int(first[1]), int(size[0]), int(size[1])), [relative]


def ellipse(part: bytes) -> npt.NDArray[np.float32]:
    """The 72 vertices of ij.gui.EllipseRoi."""
    x1, y1, x2, y2 = struct.unpack_from(">4f", part, 18)
    ratio = min(max(struct.unpack_from(">f", part, 52)[0], 0.0), 1.0)
    dx, dy = x2 - x1, y2 - y1
    major = math.sqrt(dx * dx + dy * dy)
    minor = major * ratio
    alpha = math.atan2(dy, dx) * 180.0 / math.pi
    corners = np.empty((72, 2), np.float32)
    for i in range(72):
        beta = i * 360.0 / 72 / 180.0 * math.pi
        dx, dy = math.cos(beta) * major / 2.0, math.sin(beta) * minor / 2.0
        angle = math.atan2(dy, dx) + alpha / 180.0 * math.pi
        radius = math.sqrt(dx * dx + dy * dy)
        corners[i] = (x1 + x2) / 2.0 + math.cos(angle) * radius, (y1 + y2) / 2.0 + math.sin(angle) * radius
    return corners


def rotated(part: bytes) -> npt.NDArray[np.float32]:
    """The 4 corners of ij.gui.RotatedRectRoi."""
    x1, y1, x2, y2 = struct.unpack_from(">4f", part, 18)
    width = struct.unpack_from(">f", part, 52)[0]
    length = math.sqrt((x2 - x1) * (x2 - x1) + (y2 - y1) * (y2 - y1))
    a, b = 0.5 * width * (y2 - y1) / length, -0.5 * width * (x2 - x1) / length
    return np.array([(x1 + a, y1 + b), (x2 + a, y2 + b), (x2 - a, y2 - b), (x1 - a, y1 - b)], np.float32)


def is_rotated(roi: ImagejRoi) -> bool:
    """Whether it is a rotated rectangle."""
    from roifile import ROI_SUBTYPE

    return roi.multi_coordinates is None and bool(roi.subtype == ROI_SUBTYPE.ROTATED_RECT)


def number_of_points(roi: ImagejRoi) -> int:
    """Return how many points a point ROI has; 0 for any other."""
    from roifile import ROI_TYPE

    return int(roi.n_coordinates or 1) if roi.roitype == ROI_TYPE.POINT else 0


def place_in_stack(position: int, slice_number: int, frame: int) -> tuple[int, int]:
    """Return slice and frame: those of a hyperstack, else its place in a plain stack."""
    return (slice_number, frame) if slice_number > 1 or frame > 1 else (position if not slice_number else 0, 0)


def rotated_sides(part: bytes) -> tuple[float, float]:
    """Length and width of a rotated rectangle, with ij.gui.RotatedRectRoi.getParams's own rounding."""
    corners = rotated(part)
    first = np.floor(corners.min(axis=0)).astype(np.float32)
    inside = corners - first
    middle = inside + (np.roll(inside, -1, axis=0) - inside) / np.float32(2) + first
    dx, dy = (middle[1].astype(np.float64) - middle[3].astype(np.float64)).tolist()
    return math.sqrt(dx * dx + dy * dy), float(struct.unpack_from(">f", part, 52)[0])


def rounded(box: tuple[int, int, int, int], corner: int) -> tuple[int, tuple[int, int, int, int], list[Any]]:
    """A rectangle with round corners: java.awt.geom.RoundRectangle2D, one cubic curve for each corner."""
    left, top, width, height = box
    turn = math.pi / 4.0
    a = 1.0 - math.cos(turn)
    c = math.sqrt(1.0 + math.tan(turn) ** 2) - 1.0 + a
    control = (1.0 - 4.0 / 3.0 * a * math.tan(turn) / c) / 2.0
    arc_x, arc_y = min(width, corner), min(height, corner)

    def at(x: float, arc_of_x: float, y: float, arc_of_y: float) -> list[float]:
        return [(left + x * width + arc_of_x * arc_x) - left, (top + y * height + arc_of_y * arc_y) - top]

    path = [0, *at(0, 0, 0, 0.5), 1, *at(0, 0, 1, -0.5)]
    path += [3, *at(0, 0, 1, -control), *at(0, control, 1, 0), *at(0, 0.5, 1, 0)]
    path += [1, *at(1, -0.5, 1, 0), 3, *at(1, -control, 1, 0), *at(1, 0, 1, -control), *at(1, 0, 1, -0.5)]
    path += [1, *at(1, 0, 0, 0.5), 3, *at(1, 0, 0, control), *at(1, -control, 0, 0), *at(1, -0.5, 0, 0)]
    path += [1, *at(0, 0.5, 0, 0), 3, *at(0, control, 0, 0), *at(0, 0, 0, control), *at(0, 0, 0, 0.5), 4]
    return POLYGON, box, _flattened(np.array(path, np.float32))


def composite(path: npt.NDArray[np.float32]) -> tuple[int, tuple[int, int, int, int], list[Any]]:
    """ij.gui.ShapeRoi: rings of lines and curves, relative to the path's integer bounds."""
    moved = path.copy()
    at_x = np.zeros(path.size, np.bool_)
    at_y = np.zeros(path.size, np.bool_)
    i = 0
    while i < path.size:
        n = {0.0: 2, 1.0: 2, 2.0: 4, 3.0: 6, 4.0: 0}.get(float(path[i]), -1)
        if n < 0 or i + n >= path.size:
            raise RoiError(f"a path that cannot be read (got segment type {path[i]:g})")
        at_x[i + 1 : i + 1 + n : 2] = True
        at_y[i + 2 : i + 2 + n : 2] = True
        i += 1 + n
    if not at_x.any():
        raise RoiError("a path without points (expected an area)")
    _require_size(np.stack([path[at_x], path[at_y]], axis=1))
    rings = np.concatenate(_flattened(path, exact_bounds=True))
    low, high = np.floor(rings.min(axis=0)), np.ceil(rings.max(axis=0))
    moved[at_x] = (path[at_x].astype(np.float64) - low[0]).astype(np.float32)
    moved[at_y] = (path[at_y].astype(np.float64) - low[1]).astype(np.float32)
    width, height = (high - low).astype(np.int64).tolist()
    return POLYGON, (int(low[0]), int(low[1]), width, height), _flattened(moved)


def _flattened(path: npt.NDArray[np.float32], exact_bounds: bool = False) -> list[npt.NDArray[np.float64]]:
    """Replace curves by lines as java.awt.geom.FlatteningPathIterator does; vertices become float32.

    With `exact_bounds` the curves are replaced by their extreme points instead, which give the path's bounds.
    """
    rings: list[list[Point]] = []
    values = path.tolist()
    i = 0
    while i < len(values):
        segment, i = values[i], i + 1
        if segment == 4:
            continue
        n = {0: 1, 1: 1, 2: 2, 3: 3}[segment]
        points = [(values[i + 2 * k], values[i + 2 * k + 1]) for k in range(n)]
        i += 2 * n
        if segment == 0 or not rings:
            rings.append([])
        if n == 1:
            rings[-1].append(points[0])
        elif exact_bounds:
            rings[-1] += extremes([rings[-1][-1], *points])
        else:
            rings[-1] += _halved([rings[-1][-1], *points], 0)
    if exact_bounds:
        return [np.array(ring, np.float64) for ring in rings]
    return [np.array(ring, np.float32).astype(np.float64) for ring in rings]


def _halved(curve: list[Point], level: int) -> list[Point]:
    """Halve a Bezier curve until its control points lie within the flatness of its chord; its points but the first."""
    if level == _DEEPEST or max(_off_chord(curve[0], curve[-1], p) for p in curve[1:-1]) < _FLATNESS_SQUARED:
        return [curve[-1]]
    before, after, points = [curve[0]], [curve[-1]], curve
    while len(points) > 1:
        points = [((a[0] + b[0]) / 2.0, (a[1] + b[1]) / 2.0) for a, b in itertools.pairwise(points)]
        before.append(points[0])
        after.append(points[-1])
    return _halved(before, level + 1) + _halved(after[::-1], level + 1)


def _off_chord(a: Point, b: Point, p: Point) -> float:
    """Squared distance of a point from a line segment, with java.awt.geom.Line2D's terms."""
    x2, y2, px, py = b[0] - a[0], b[1] - a[1], p[0] - a[0], p[1] - a[1]
    along = px * x2 + py * y2
    projected = 0.0
    if along > 0.0:
        px, py = x2 - px, y2 - py
        along = px * x2 + py * y2
        if along > 0.0:
            projected = along * along / (x2 * x2 + y2 * y2)
    return max(px * px + py * py - projected, 0.0)


def extremes(curve: list[Point]) -> list[Point]:
    """Points of a Bezier curve between which its bounds lie, its end the last of them."""
    points_between = []
    for axis in (0, 1):
        c = [p[axis] for p in curve]
        if len(c) == 3:
            slope = [2 * (c[0] - 2 * c[1] + c[2]), 2 * (c[1] - c[0])]
        else:
            slope = [3 * (c[3] - c[0] + 3 * (c[1] - c[2])), 6 * (c[0] - 2 * c[1] + c[2]), 3 * (c[1] - c[0])]
        for t in np.roots(np.trim_zeros(slope, "f")) if any(slope) else ():
            if abs(t.imag) < 1e-12 and 0 < t.real < 1:
                points = np.array(curve)
                while len(points) > 1:
                    points = points[:-1] * (1 - t.real) + points[1:] * t.real
                points_between.append((float(points[0, 0]), float(points[0, 1])))
    return [*points_between, curve[-1]]


def _require_size(corners: npt.NDArray[Any]) -> None:
    if not np.isfinite(corners).all() or np.abs(corners).max() > _MOST_PX:
        raise RoiError(f"far outside of any image (expected coordinates up to {_MOST_PX} px)")
