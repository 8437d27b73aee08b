"""Rings -> the bytes of an ImageJ ROI set."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.kernels import kernel
from bridge.rois.trace import Rings

# The version ImageJ 1.54p writes (ij.io.RoiEncoder).
_VERSION = 228
_TRACED, _RECT = 8, 1
_HEADER = 64  # bytes, of both headers of a ROI file
_LOCAL, _CENTRAL = 30, 46  # bytes of a zip's two headers of an entry, without its name
_MOST_VERTICES = 65535  # of one ring in 16 bits; ImageJ saves longer ones as composites too
_FLOAT_BITS = np.arange(65536, dtype=np.float32).view(np.uint32)


def encode_rings(rings: Rings, group: npt.NDArray[Any] | None = None, frame: int = 0) -> bytes:
    """Encode rings as a ROI set: one ROI for each label, named by it.

    One ring becomes a traced selection, several a composite. Entries are stored, with a fixed date: the same rings
    give the same bytes.

    Parameters
    ----------
    rings : Rings
        Sorted by label.
    group : ndarray of uint8, shape (n_labels + 1,), optional
        ImageJ's group of each label; 0 for none.
    frame : int
        Position in time, from 1; 0 for none.

    Returns
    -------
    bytes
        A zip that ImageJ's ROI Manager opens.
    """
    new = np.flatnonzero(np.diff(rings.label, prepend=-1))
    label = rings.label[new]
    first = np.append(new, rings.label.size)
    vertices = rings.start[first[1:]] - rings.start[first[:-1]]
    n_rings = np.diff(first)
    digits = np.maximum(5, np.floor(np.log10(np.maximum(label, 1))).astype(np.int64) + 1)
    traced = (n_rings == 1) & (vertices <= _MOST_VERTICES)
    coordinates = np.where(traced, 4 * vertices, 4 * (3 * vertices + n_rings))
    sizes = 2 * _HEADER + coordinates + 2 * digits
    names = digits + len(".roi")
    local = np.concatenate([[0], np.cumsum(_LOCAL + names + sizes)])
    central = local[-1] + np.concatenate([[0], np.cumsum(_CENTRAL + names)])
    tail = _end_of_directory(label.size, int(central[-1] - local[-1]), int(local[-1]))
    content = np.zeros(int(central[-1]) + len(tail), np.uint8)
    _write(rings.x, rings.y, rings.start, label, first, traced, digits, sizes, local, central, content, _FLOAT_BITS)
    content[central[-1] :] = np.frombuffer(tail, np.uint8)
    view = content.data
    begin = (local[:-1] + _LOCAL + names).tolist()
    second = local[:-1] + _LOCAL + names + _HEADER + coordinates
    if group is not None:
        content[second + 30] = group[label]
    for k in range(4):
        content[second + 12 + k] = frame >> (8 * (3 - k)) & 255
    checksums = [zlib.crc32(view[a : a + n]) for a, n in zip(begin, sizes.tolist(), strict=True)]
    sums = np.array(checksums, "<u4").view(np.uint8).reshape(-1, 4)
    for k in range(4):
        content[local[:-1] + 14 + k] = sums[:, k]
        content[central[:-1] + 16 + k] = sums[:, k]
    return content.tobytes()


def _end_of_directory(n: int, size: int, at: int) -> bytes:
    end = struct.pack(
        "<IHHHHIIH", 0x06054B50, 0, 0, min(n, 0xFFFF), min(n, 0xFFFF), min(size, 2**32 - 1), min(at, 2**32 - 1), 0
    )
    if n < 0xFFFF and at + size < 2**32 - 1:
        return end
    zip64 = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, n, n, size, at)
    return zip64 + struct.pack("<IIQI", 0x07064B50, 0, at + size, 1) + end


@kernel
def _big(content: Any, at: int, value: int, n_bytes: int) -> None:
    for k in range(n_bytes):
        content[at + k] = (value >> (8 * (n_bytes - 1 - k))) & 255


@kernel
def _little(content: Any, at: int, value: int, n_bytes: int) -> None:
    for k in range(n_bytes):
        content[at + k] = (value >> (8 * k)) & 255


@kernel
def _write(
    x: Any,
    y: Any,
    start: Any,
    label: Any,
    first: Any,
    traced: Any,
    digits: Any,
    sizes: Any,
    local: Any,
    central: Any,
    content: Any,
    float_bits: Any,
) -> None:
    """Fill a zeroed buffer; the checksums are left at 0."""
    for k in range(label.size):
        name = digits[k] + 4
        for at, fixed in ((local[k], _LOCAL), (central[k], _CENTRAL)):
            is_local = fixed == _LOCAL
            _little(content, at, 0x04034B50 if is_local else 0x02014B50, 4)
            _little(content, at + 4, 20, 2)  # version 2.0, no flags, stored
            sizes_at = at + 18
            if not is_local:
                _little(content, at + 6, 20, 2)
                sizes_at = at + 20
                _little(content, at + 42, local[k], 4)
            _little(content, sizes_at - 6, 33, 2)  # 1 January 1980
            _little(content, sizes_at, sizes[k], 4)
            _little(content, sizes_at + 4, sizes[k], 4)
            _little(content, sizes_at + 8, name, 2)
            rest = label[k]
            for d in range(digits[k] - 1, -1, -1):
                content[at + fixed + d] = 48 + rest % 10
                rest //= 10
            for d, letter in enumerate((46, 114, 111, 105)):  # .roi
                content[at + fixed + digits[k] + d] = letter
        begin, end = start[first[k]], start[first[k + 1]]
        left, right, top, bottom = x[begin], x[begin], y[begin], y[begin]
        for i in range(begin, end):
            left, right = min(left, x[i]), max(right, x[i])
            top, bottom = min(top, y[i]), max(bottom, y[i])
        roi = local[k] + _LOCAL + name
        for d, letter in enumerate((73, 111, 117, 116)):  # Iout
            content[roi + d] = letter
        _big(content, roi + 4, _VERSION, 2)
        content[roi + 6] = _TRACED if traced[k] else _RECT
        _big(content, roi + 8, top, 2)
        _big(content, roi + 10, left, 2)
        _big(content, roi + 12, bottom, 2)
        _big(content, roi + 14, right, 2)
        at = roi + _HEADER
        if traced[k]:
            n = end - begin
            _big(content, roi + 16, n, 2)
            for i in range(n):
                _big(content, at + 2 * i, x[begin + i] - left, 2)
                _big(content, at + 2 * (n + i), y[begin + i] - top, 2)
            at += 4 * n
        else:
            # A path of ImageJ's ShapeRoi: 0 x y (move), 1 x y (line) ..., 4 (close), for each ring.
            for ring in range(first[k], first[k + 1]):
                for i in range(start[ring], start[ring + 1]):
                    _big(content, at, float_bits[0 if i == start[ring] else 1], 4)
                    _big(content, at + 4, float_bits[x[i]], 4)
                    _big(content, at + 8, float_bits[y[i]], 4)
                    at += 12
                _big(content, at, float_bits[4], 4)
                at += 4
            _big(content, roi + 36, (at - roi - _HEADER) // 4, 4)
        _big(content, roi + 60, at - roi, 4)
        _big(content, at + 16, at + _HEADER - roi, 4)  # where the name is, and its length
        _big(content, at + 20, digits[k], 4)
        rest = label[k]
        for d in range(digits[k] - 1, -1, -1):
            content[at + _HEADER + 2 * d + 1] = 48 + rest % 10
            rest //= 10
