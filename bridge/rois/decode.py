"""The bytes of ImageJ's ROIs -> the pixels they select."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bridge.errors import NoAreaError, RoiError
from bridge.kernels import kernel
from bridge.rois.roi_types import is_rotated, number_of_points, outline, place_in_stack, rotated_sides
from bridge.selections import BOX, POLYGON, Outlines, RoiProblem

if TYPE_CHECKING:
    from roifile import ImagejRoi


@dataclass(frozen=True)
class Decoded:
    """What ROI files say; the attributes are those of `bridge.selections.Selections`."""

    names: tuple[str, ...]
    group: npt.NDArray[np.uint8]
    outlines: Outlines
    points: npt.NDArray[np.int64]
    slice_of: npt.NDArray[np.int64]
    problems: tuple[RoiProblem, ...]


def decode_rois(entries: Sequence[str], encoded: bytes, offset: npt.NDArray[np.int64], name: str) -> Decoded:
    """Decode ROI files as ij.io.RoiDecoder of ImageJ 1.54p does.

    Parameters
    ----------
    entries, encoded, offset
        As `unzip_rois` returns them.
    name : str
        Named in messages.

    Returns
    -------
    Decoded

    Raises
    ------
    RoiError
        An entry is not a ROI.
    """
    n = len(entries)
    content = np.frombuffer(encoded, np.uint8) if encoded else np.zeros(1, np.uint8)
    simple, traced = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    counts = np.zeros((n + 1, 2), np.int64)
    box = np.zeros((n, 4), np.int64)
    _survey(content, offset, simple, traced, counts, box)
    kind, whole = np.full(n, POLYGON, np.uint8), simple.copy()
    sides = np.full((n, 2), np.nan)
    group = np.zeros(n, np.uint8)
    names: list[str] = []
    drawn: dict[int, tuple[int, tuple[int, int, int, int], list[npt.NDArray[np.float64]]]] = {}
    points, slice_of = np.zeros(n, np.int64), np.zeros((n, 2), np.int64)
    problems: list[RoiProblem] = []
    for k, entry in enumerate(entries):
        if simple[k]:
            names.append("")
            continue
        part = encoded[offset[k] : offset[k + 1]]
        roi = _roi(part, entry, name)
        names.append(roi.name or entry[: -len(".roi")])
        group[k] = min(int(roi.group), 255)
        points[k] = number_of_points(roi)
        slice_of[k] = place_in_stack(roi.position, roi.z_position, roi.t_position)
        try:
            drawn[k] = outline(roi, part)
            kind[k], box[k] = drawn[k][:2]
            whole[k] = kind[k] == BOX and not roi.subpixelresolution
            if is_rotated(roi):
                sides[k] = rotated_sides(part)
            counts[k + 1] = sum(map(len, drawn[k][2])), len(drawn[k][2])
        except RoiError as error:
            problems.append(RoiProblem(k, f"{names[-1]}: {error}", not isinstance(error, NoAreaError)))
        except Exception as error:  # whatever the numbers of a damaged ROI make of arithmetic
            raise RoiError(f"{name}: {entry} is not a ROI ({error}). Save the ROI set again.") from error
    counts = np.cumsum(counts, axis=0)
    x, y = np.empty(counts[-1, 0]), np.empty(counts[-1, 0])
    ring = np.zeros(counts[-1, 1] + 1, np.int64)
    text = np.zeros((n, 6), np.int64)
    _read(content, offset, simple, counts, box, x, y, ring, text)
    group[simple] = text[simple, 2]
    for k, (at, length) in zip(np.flatnonzero(simple).tolist(), text[simple, :2].tolist(), strict=True):
        names[k] = encoded[at : at + 2 * length].decode("utf-16-be", "replace") or entries[k][: -len(".roi")]
    for k in np.flatnonzero(simple & text[:, 3:].any(axis=1)).tolist():
        slice_of[k] = place_in_stack(*text[k, 3:].tolist())
    for k, (_, _, rings) in drawn.items():
        at, i = counts[k].tolist()
        for corners in rings:
            x[at : at + len(corners)], y[at : at + len(corners)] = corners[:, 0], corners[:, 1]
            at += len(corners)
            i += 1
            ring[i] = at
    outlines = Outlines(x, y, ring, counts[:, 1].copy(), box, kind, whole, traced, sides)
    return Decoded(tuple(names), group, outlines, points, slice_of, tuple(problems))


@kernel
def big(content: Any, at: int, n_bytes: int) -> Any:
    """Return an unsigned big-endian number."""
    value = np.int64(0)
    for k in range(n_bytes):
        value = (value << 8) | np.int64(content[at + k])
    return value


@kernel
def float_at(bits: int) -> float:
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


@kernel
def _survey(content: Any, offset: Any, simple: Any, traced: Any, counts: Any, box: Any) -> None:
    """Find the ROIs whose outline runs through whole numbers, and how many vertices and rings they have.

    Source of what ImageJ measures as traced: ij.gui.PolygonRoi.isTraced and ij.gui.ShapeRoi.guessType.
    """
    for k in range(simple.size):
        at, end = offset[k], offset[k + 1]
        if end - at < 128 or big(content, at, 4) != 0x496F7574:
            continue
        version, kind, options = big(content, at + 4, 2), big(content, at + 6, 1), big(content, at + 50, 2)
        second = at + big(content, at + 60, 4)
        if version < 218 or second < at + 64 or second + 64 > end or big(content, at + 48, 2) != 0:
            continue
        if second + 64 + 2 * big(content, second + 20, 4) > end or (
            big(content, second + 20, 4) and at + big(content, second + 16, 4) != second + 64
        ):
            continue
        n_path = big(content, at + 36, 4)
        if n_path == 0:
            n = big(content, at + 16, 2)
            # Polygon, freehand or traced; neither between pixels nor a spline.
            if kind not in (0, 7, 8) or n < 3 or options & (128 | 1) or at + 64 + 4 * n > second:
                continue
            right, bottom = 0, 0
            first_x, first_y = 1 << 16, 1 << 16
            last_x, last_y = big(content, at + 62 + 2 * n, 2), big(content, at + 62 + 4 * n, 2)
            along_edges = True
            for i in range(n):
                px, py = big(content, at + 64 + 2 * i, 2), big(content, at + 64 + 2 * (n + i), 2)
                along_edges &= px == last_x or py == last_y
                last_x, last_y = px, py
                first_x, first_y = min(first_x, px), min(first_y, py)
                right, bottom = max(right, px), max(bottom, py)
            left, top = big(content, at + 10, 2), big(content, at + 8, 2)
            # Signed numbers, as hand-drawn ROIs may have them, are left to the general way.
            if first_x or first_y or max(right, bottom) > 60_000 or max(left, top) > 60_000:
                continue
            counts[k + 1] = (n, 1)
            box[k] = (left, top, right, bottom)
            simple[k] = True
            traced[k] = kind == 8 or (kind == 0 and along_edges)
        elif kind == 1 and at + 64 + 4 * n_path <= second:
            i, n, n_rings = 0, 0, 0
            left, top, right, bottom = 1 << 30, 1 << 30, 0, 0
            good, along_edges = True, True
            open_ring = False
            begin_x, begin_y, last_x, last_y, vertices = 0.0, 0.0, 0.0, 0.0, 0
            while i < n_path and good:
                segment = float_at(big(content, at + 64 + 4 * i, 4))
                if segment == 4.0 and open_ring:
                    open_ring = False
                    along_edges &= vertices >= 4 and (last_x == begin_x or last_y == begin_y)
                    i += 1
                    continue
                # A ring begins with a move and ends with a close; between them lines.
                if i + 3 > n_path or segment != (1.0 if open_ring else 0.0):
                    good = False
                    break
                px, py = float_at(big(content, at + 68 + 4 * i, 4)), float_at(big(content, at + 72 + 4 * i, 4))
                if not open_ring:
                    n_rings += 1
                    open_ring = True
                    begin_x, begin_y, last_x, last_y, vertices = px, py, px, py, 0
                along_edges &= px == last_x or py == last_y
                last_x, last_y = px, py
                vertices += 1
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
            traced[k] = along_edges


@kernel
def _read(content: Any, offset: Any, simple: Any, counts: Any, box: Any, x: Any, y: Any, ring: Any, text: Any) -> None:
    for k in range(simple.size):
        if not simple[k]:
            continue
        at = offset[k]
        second = at + big(content, at + 60, 4)
        text[k, 0], text[k, 1] = second + 64, big(content, second + 20, 4)
        text[k, 2], text[k, 3] = big(content, second + 30, 1), big(content, at + 56, 4)
        text[k, 4], text[k, 5] = big(content, second + 8, 4), big(content, second + 12, 4)
        vertex, i_ring = counts[k]
        n_path = big(content, at + 36, 4)
        if n_path == 0:
            n = big(content, at + 16, 2)
            for i in range(n):
                x[vertex + i] = big(content, at + 64 + 2 * i, 2)
                y[vertex + i] = big(content, at + 64 + 2 * (n + i), 2)
            ring[i_ring + 1] = vertex + n
            continue
        i = 0
        while i < n_path:
            if big(content, at + 64 + 4 * i, 4) == 0x40800000:  # 4: close
                i_ring += 1
                ring[i_ring] = vertex
                i += 1
                continue
            x[vertex] = float_at(big(content, at + 68 + 4 * i, 4)) - box[k, 0]
            y[vertex] = float_at(big(content, at + 72 + 4 * i, 4)) - box[k, 1]
            vertex += 1
            i += 3


def _roi(part: bytes, entry: str, name: str) -> ImagejRoi:
    from roifile import ImagejRoi

    try:
        return ImagejRoi.frombytes(part)
    except Exception as error:  # whatever a damaged file makes roifile raise
        raise RoiError(f"{name}: {entry} is not a ROI ({error}). Save the ROI set again.") from error
