"""ROI set -> outlines of its ROIs, whoever drew them."""

from __future__ import annotations

import io
import itertools
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
import numpy.typing as npt

from bridge.errors import RoiError
from bridge.rois.fill import BOX, OVAL, POLYGON, Outlines

if TYPE_CHECKING:
    from roifile import ImagejRoi

MAX_ROI_BYTES = 2**31
_MOST_PX = 70_000  # of a coordinate: beyond what any image ImageJ opens has
_FLATNESS_SQUARED = 0.01**2  # ij.gui.ShapeRoi.FILL_FLATNESS
_DEEPEST = 10  # java.awt.geom.FlatteningPathIterator's own limit

Point = tuple[float, float]


# ---------------------------------------------------------------- the zip


def unzip_rois(content: bytes, name: str) -> tuple[tuple[str, ...], bytes, npt.NDArray[np.int64]]:
    """Return the names of the entries, their bytes one after another, and where each begins.

    Parameters
    ----------
    content : bytes
        The zip. Entry names are never used as paths.
    name : str
        Named in messages.

    Raises
    ------
    RoiError
        Not a zip, two entries of one name, or more bytes than a ROI set can hold.
    """
    plain = _unzip_stored(content)
    if plain is not None:
        names, parts, offset = plain[0], list(map(bytes, plain[1])), plain[2]
    else:
        pairs = list(_unzip(content, name))
        names = tuple(entry for entry, _ in pairs)
        parts = [part for _, part in pairs]
        offset = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    seen: set[str] = set()
    for entry in names:
        if entry in seen:
            raise RoiError(
                f"{name}: two ROIs of one name (got {entry} twice, expected each once). Save the ROI set again."
            )
        seen.add(entry)
    return names, b"".join(parts), offset


def _unzip(content: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            # Counted over all entries: overlapping ones make 10 GB of 60 kB.
            budget = MAX_ROI_BYTES
            listed = struct.unpack_from("<H", content, content.rindex(b"PK\x05\x06") + 10)[0]
            if listed not in (len(archive.infolist()), 0xFFFF):
                raise zipfile.BadZipFile(f"got {len(archive.infolist())} entries, expected {listed}")
            for entry in archive.infolist():
                if not entry.filename.lower().endswith(".roi"):
                    continue
                budget -= entry.file_size
                if budget < 0:
                    raise RoiError(
                        f"{name}: too large when unpacked (got more than {MAX_ROI_BYTES} bytes). It is not a ROI set."
                    )
                yield entry.filename, archive.read(entry)
    except (
        zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, ValueError, struct.error, zlib.error,
    ) as error:  # fmt: skip
        raise RoiError(f"{name}: damaged, or not a ROI set ({error}). Save the ROI set again.") from error


def _unzip_stored(content: bytes) -> tuple[tuple[str, ...], list[memoryview], npt.NDArray[np.int64]] | None:
    """Read a zip as `bridge.rois.encode` writes it, 20 times faster than zipfile; None if it is anything else."""
    end = struct.unpack_from("<IHHHHIIH", content, len(content) - 22) if len(content) >= 22 else (0,)
    if end[0] != 0x06054B50 or end[1:3] != (0, 0) or end[3] != end[4] or end[4] == 0xFFFF or end[7] != 0:
        return None
    found = np.empty((end[4], 5), np.int64)
    if not _directory(np.frombuffer(content, np.uint8), end[6], len(content) - 22, found):
        return None
    view = memoryview(content)
    parts = [view[a : a + n] for a, n in found[:, 2:4].tolist()]
    if any(zlib.crc32(part) != crc for part, crc in zip(parts, found[:, 4].tolist(), strict=True)):
        return None
    names = tuple(content[a : a + n].decode("ascii") for a, n in found[:, :2].tolist())
    return names, parts, np.concatenate([[0], np.cumsum(found[:, 3])])


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _little(content: Any, at: int, n_bytes: int) -> Any:
    value = np.int64(0)
    for k in range(n_bytes):
        value |= np.int64(content[at + k]) << (8 * k)
    return value


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _directory(content: Any, at: int, end: int, found: Any) -> bool:
    """Note name offset and length, data offset and length, checksum of each entry; False if it is not so simple."""
    data = 0
    for k in range(found.shape[0]):
        if at + 46 > end or _little(content, at, 4) != 0x02014B50:
            return False
        size, length, local = _little(content, at + 24, 4), _little(content, at + 28, 2), _little(content, at + 42, 4)
        # No flags, stored, no extra field or comment; one entry right behind the other, so none overlap.
        if (
            _little(content, at + 8, 4) != 0
            or _little(content, at + 20, 4) != size
            or _little(content, at + 30, 4) != 0
            or length < 5
            or at + 46 + length > end
            or local != data
            or local + 30 + length + size > end
            or _little(content, local, 4) != 0x04034B50
            or _little(content, local + 6, 4) != 0
            or _little(content, local + 26, 2) != length
            or _little(content, local + 28, 2) != 0
        ):
            return False
        for i in range(length):
            letter = content[at + 46 + i]
            if letter != content[local + 30 + i] or letter >= 128:
                return False
        for i, letter in enumerate((46, 114, 111, 105)):  # .roi
            if content[at + 46 + length - 4 + i] != letter:
                return False
        data = local + 30 + length + size
        found[k] = (at + 46, length, local + 30 + length, size, _little(content, at + 16, 4))
        at += 46 + length
    return at == end


# ---------------------------------------------------------------- the ROIs


def decode_rois(
    entries: Sequence[str], encoded: bytes, offset: npt.NDArray[np.int64], name: str
) -> tuple[tuple[str, ...], npt.NDArray[np.uint8], Outlines, str]:
    """Decode ROI files as ij.io.RoiDecoder of ImageJ 1.54p does.

    Parameters
    ----------
    entries, encoded, offset
        As `unzip_rois` returns them.
    name : str
        Named in messages.

    Returns
    -------
    names : tuple of str
    group : ndarray of uint8, shape (n_rois,)
    outlines : Outlines
    problem : str
        Why the outline of a ROI is not known; empty if all are.

    Raises
    ------
    RoiError
        An entry is not a ROI.
    """
    n = len(entries)
    content = np.frombuffer(encoded, np.uint8) if encoded else np.zeros(1, np.uint8)
    simple = np.zeros(n, np.bool_)
    counts = np.zeros((n + 1, 2), np.int64)
    box = np.zeros((n, 4), np.int64)
    _survey(content, offset, simple, counts, box)
    kind = np.full(n, POLYGON, np.uint8)
    group = np.zeros(n, np.uint8)
    names: list[str] = []
    drawn: dict[int, tuple[int, tuple[int, int, int, int], list[npt.NDArray[np.float64]]]] = {}
    problem = ""
    for k, entry in enumerate(entries):
        if simple[k]:
            names.append("")
            continue
        part = encoded[offset[k] : offset[k + 1]]
        roi = _roi(part, entry, name)
        names.append(roi.name or entry[: -len(".roi")])
        group[k] = min(int(roi.group), 255)
        try:
            drawn[k] = _outline(roi, part)
            kind[k], box[k] = drawn[k][:2]
            counts[k + 1] = sum(map(len, drawn[k][2])), len(drawn[k][2])
        except RoiError as error:
            problem = problem or f"{names[-1]}: {error}"
    counts = np.cumsum(counts, axis=0)
    x, y = np.empty(counts[-1, 0]), np.empty(counts[-1, 0])
    ring = np.zeros(counts[-1, 1] + 1, np.int64)
    text = np.zeros((n, 3), np.int64)
    _read(content, offset, simple, counts, box, x, y, ring, text)
    for k, at, length, of_group in (
        zip(np.flatnonzero(simple).tolist(), *text[simple].T.tolist(), strict=True) if simple.any() else ()
    ):
        names[k] = encoded[at : at + 2 * length].decode("utf-16-be", "replace") or entries[k][: -len(".roi")]
        group[k] = of_group
    for k, (_, _, rings) in drawn.items():
        at, i = counts[k].tolist()
        for corners in rings:
            x[at : at + len(corners)], y[at : at + len(corners)] = corners[:, 0], corners[:, 1]
            at += len(corners)
            i += 1
            ring[i] = at
    return tuple(names), group, Outlines(x, y, ring, counts[:, 1].copy(), box, kind), problem


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _big(content: Any, at: int, n_bytes: int) -> Any:
    value = np.int64(0)
    for k in range(n_bytes):
        value = (value << 8) | np.int64(content[at + k])
    return value


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _float(bits: int) -> float:
    """Value of the bits of a float32 that is 0 or a whole number from 1 to 2**23; -1 for any other."""
    if bits == 0:
        return 0.0
    exponent = (bits >> 23) - 127
    if not 0 <= exponent <= 23:
        return -1.0
    whole = (bits & 0x7FFFFF) | 0x800000
    if whole & ((1 << (23 - exponent)) - 1):
        return -1.0
    return float(whole >> (23 - exponent))


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _survey(content: Any, offset: Any, simple: Any, counts: Any, box: Any) -> None:
    """Find the ROIs whose outline runs through whole numbers, and how many vertices and rings they have."""
    for k in range(simple.size):
        at, end = offset[k], offset[k + 1]
        if end - at < 128 or _big(content, at, 4) != 0x496F7574:
            continue
        version, kind, options = _big(content, at + 4, 2), _big(content, at + 6, 1), _big(content, at + 50, 2)
        second = at + _big(content, at + 60, 4)
        if version < 218 or second < at + 64 or second + 64 > end or _big(content, at + 48, 2) != 0:
            continue
        if second + 64 + 2 * _big(content, second + 20, 4) > end or (
            _big(content, second + 20, 4) and at + _big(content, second + 16, 4) != second + 64
        ):
            continue
        n_path = _big(content, at + 36, 4)
        if n_path == 0:
            n = _big(content, at + 16, 2)
            # Polygon, freehand or traced; neither between pixels nor a spline.
            if kind not in (0, 7, 8) or n < 3 or options & (128 | 1) or at + 64 + 4 * n > second:
                continue
            right, bottom = 0, 0
            first_x, first_y = 1 << 16, 1 << 16
            for i in range(n):
                px, py = _big(content, at + 64 + 2 * i, 2), _big(content, at + 64 + 2 * (n + i), 2)
                first_x, first_y = min(first_x, px), min(first_y, py)
                right, bottom = max(right, px), max(bottom, py)
            left, top = _big(content, at + 10, 2), _big(content, at + 8, 2)
            # Signed numbers, as hand-drawn ROIs may have them, are left to the general way.
            if first_x or first_y or max(right, bottom) > 60_000 or max(left, top) > 60_000:
                continue
            counts[k + 1] = (n, 1)
            box[k] = (left, top, right, bottom)
            simple[k] = True
        elif kind == 1 and at + 64 + 4 * n_path <= second:
            i, n, n_rings = 0, 0, 0
            left, top, right, bottom = 1 << 30, 1 << 30, 0, 0
            good = True
            open_ring = False
            while i < n_path and good:
                segment = _float(_big(content, at + 64 + 4 * i, 4))
                if segment == 4.0 and open_ring:
                    open_ring = False
                    i += 1
                    continue
                # A ring begins with a move and ends with a close; between them lines.
                if i + 3 > n_path or segment != (1.0 if open_ring else 0.0):
                    good = False
                    break
                if not open_ring:
                    n_rings += 1
                    open_ring = True
                px, py = _float(_big(content, at + 68 + 4 * i, 4)), _float(_big(content, at + 72 + 4 * i, 4))
                good = px >= 0 and py >= 0 and px <= 60_000 and py <= 60_000
                left, right = min(left, int(px)), max(right, int(px))
                top, bottom = min(top, int(py)), max(bottom, int(py))
                n += 1
                i += 3
            if not good or open_ring or n == 0:
                continue
            counts[k + 1] = (n, n_rings)
            box[k] = (left, top, right - left, bottom - top)
            simple[k] = True


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _read(content: Any, offset: Any, simple: Any, counts: Any, box: Any, x: Any, y: Any, ring: Any, text: Any) -> None:
    for k in range(simple.size):
        if not simple[k]:
            continue
        at = offset[k]
        second = at + _big(content, at + 60, 4)
        text[k] = (second + 64, _big(content, second + 20, 4), _big(content, second + 30, 1))
        vertex, i_ring = counts[k]
        n_path = _big(content, at + 36, 4)
        if n_path == 0:
            n = _big(content, at + 16, 2)
            for i in range(n):
                x[vertex + i] = _big(content, at + 64 + 2 * i, 2)
                y[vertex + i] = _big(content, at + 64 + 2 * (n + i), 2)
            ring[i_ring + 1] = vertex + n
            continue
        i = 0
        while i < n_path:
            if _big(content, at + 64 + 4 * i, 4) == 0x40800000:  # 4: close
                i_ring += 1
                ring[i_ring] = vertex
                i += 1
                continue
            x[vertex] = _float(_big(content, at + 68 + 4 * i, 4)) - box[k, 0]
            y[vertex] = _float(_big(content, at + 72 + 4 * i, 4)) - box[k, 1]
            vertex += 1
            i += 3


def _roi(part: bytes, entry: str, name: str) -> ImagejRoi:
    from roifile import ImagejRoi

    try:
        return ImagejRoi.frombytes(part)
    except Exception as error:  # whatever a damaged file makes roifile raise
        raise RoiError(f"{name}: {entry} is not a ROI ({error}). Save the ROI set again.") from error


def _outline(roi: ImagejRoi, part: bytes) -> tuple[int, tuple[int, int, int, int], list[npt.NDArray[np.float64]]]:
    """Return kind, box and rings of any ROI that has an area."""
    from roifile import ROI_OPTIONS, ROI_SUBTYPE, ROI_TYPE

    left, top = roi.left, roi.top
    size = max(1, roi.right - roi.left), max(1, roi.bottom - roi.top)
    if roi.multi_coordinates is not None:
        return _composite(np.asarray(roi.multi_coordinates, np.float32))
    if roi.subtype in (ROI_SUBTYPE.TEXT, ROI_SUBTYPE.IMAGE):
        raise RoiError("a text or an image, not a cell")
    if roi.subpixelresolution and roi.version >= 223 and roi.roitype in (ROI_TYPE.RECT, ROI_TYPE.OVAL):
        left, top = int(roi.xd), int(roi.yd)
        size = max(1, math.ceil(roi.widthd)), max(1, math.ceil(roi.heightd))
    box = (left, top, *size)
    if roi.roitype == ROI_TYPE.RECT:
        corner = roi.rounded_rect_arc_size
        return (BOX, box, []) if corner <= 0 else _rounded(box, corner)
    if roi.roitype == ROI_TYPE.OVAL:
        return OVAL, box, []
    if roi.roitype not in (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED):
        raise RoiError(f"of type {roi.roitype.name.lower()}, which encloses no pixels (expected an area)")
    if roi.options & ROI_OPTIONS.SPLINE_FIT:
        raise RoiError("a fitted spline (expected a polygon; in Fiji: Edit > Selection > Interpolate)")
    if roi.subtype == ROI_SUBTYPE.ELLIPSE:
        return _to_box(_ellipse(part))
    if roi.subtype == ROI_SUBTYPE.ROTATED_RECT:
        return _to_box(_rotated(part))
    n = roi.n_coordinates or 0
    if roi.integer_coordinates is None or n < 3:
        raise RoiError(f"a polygon of {n} points (expected 3 or more)")
    if roi.subpixelresolution and roi.subpixel_coordinates is not None:
        return _between_pixels(np.asarray(roi.subpixel_coordinates, np.float32))
    corners = np.maximum(np.asarray(roi.integer_coordinates, np.int64), 0)
    low = corners.min(axis=0)
    width, height = (corners.max(axis=0) - low).tolist()
    return POLYGON, (left + int(low[0]), top + int(low[1]), width, height), [(corners - low).astype(np.float64)]


def _between_pixels(corners: npt.NDArray[np.float32]) -> tuple[int, tuple[int, int, int, int], list[Any]]:
    """ij.gui.PolygonRoi with sub-pixel resolution: vertices relative to their own bounds, then the bounds' fraction."""
    _require_size(corners)
    low = corners.min(axis=0)
    extent = np.maximum(corners.max(axis=0), np.finfo(np.float32).tiny) - low  # in float32, as FloatPolygon has it
    base = low.astype(np.float64)
    first = np.floor(base)
    size = np.ceil(base + extent.astype(np.float64)) - first
    relative = (corners - low).astype(np.float64) + (base - first)
    return POLYGON, (int(first[0]), int(first[1]), int(size[0]), int(size[1])), [relative]


def _to_box(corners: npt.NDArray[np.float32]) -> tuple[int, tuple[int, int, int, int], list[Any]]:
    """Vertices of an ellipse or a rotated rectangle relative to their integer bounds (FloatPolygon.getBounds)."""
    _require_size(corners)
    first = np.floor(corners.min(axis=0).astype(np.float64)).astype(np.int64)
    size = (corners.max(axis=0) - first.astype(np.float32) + 0.5).astype(np.int64)
    relative = (corners - first.astype(np.float32)).astype(np.float64)
    return POLYGON, (int(first[0]), int(first[1]), int(size[0]), int(size[1])), [relative]


def _ellipse(part: bytes) -> npt.NDArray[np.float32]:
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


def _rotated(part: bytes) -> npt.NDArray[np.float32]:
    """The 4 corners of ij.gui.RotatedRectRoi."""
    x1, y1, x2, y2 = struct.unpack_from(">4f", part, 18)
    width = struct.unpack_from(">f", part, 52)[0]
    length = math.sqrt((x2 - x1) * (x2 - x1) + (y2 - y1) * (y2 - y1))
    a, b = 0.5 * width * (y2 - y1) / length, -0.5 * width * (x2 - x1) / length
    return np.array([(x1 + a, y1 + b), (x2 + a, y2 + b), (x2 - a, y2 - b), (x1 - a, y1 - b)], np.float32)


def _rounded(box: tuple[int, int, int, int], corner: int) -> tuple[int, tuple[int, int, int, int], list[Any]]:
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


def _composite(path: npt.NDArray[np.float32]) -> tuple[int, tuple[int, int, int, int], list[Any]]:
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
            rings[-1] += _extremes([rings[-1][-1], *points])
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


def _extremes(curve: list[Point]) -> list[Point]:
    """Points of a Bezier curve between which its bounds lie, its end the last of them."""
    found = []
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
                found.append((float(points[0, 0]), float(points[0, 1])))
    return [*found, curve[-1]]


def _require_size(corners: npt.NDArray[Any]) -> None:
    if not np.isfinite(corners).all() or np.abs(corners).max() > _MOST_PX:
        raise RoiError(f"far outside of any image (expected coordinates up to {_MOST_PX} px)")
