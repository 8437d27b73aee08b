"""The entries of a ROI set's zip, whatever wrote it."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.errors import RoiError
from bridge.kernels import kernel
from bridge.rois.cellpose_outlines import decode_cellpose_outlines, is_cellpose_outlines
from bridge.rois.geojson import decode_geojson
from bridge.rois.polygons import Polygon, encode_polygon

MAX_ROI_BYTES = 2**31


def unzip_rois(content: bytes, name: str) -> tuple[tuple[str, ...], bytes, npt.NDArray[np.int64]]:
    """Return the names of the entries, their bytes one after another, and where each begins.

    Parameters
    ----------
    content : bytes
        The zip, a single ``.roi``, GeoJSON of QuPath, or outlines of Cellpose. Entry names are never used as paths.
    name : str
        Named in messages.

    Raises
    ------
    RoiError
        None of these, two entries of one name, or more bytes than a ROI set can hold.
    """
    if content.startswith(b"Iout"):
        # What ROI Manager > Save writes for one ROI.
        return (f"{Path(name).stem}.roi",), content, np.array([0, len(content)], np.int64)
    polygons = _of_other_programs(content, name)
    plain = _unzip_stored(content) if polygons is None else None
    if polygons is not None:
        names = tuple(f"{polygon.name}.roi" for polygon in polygons)
        parts = [encode_polygon(polygon) for polygon in polygons]
        offset = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    elif plain is not None:
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


def _of_other_programs(content: bytes, name: str) -> list[Polygon] | None:
    if content[:64].lstrip()[:1] in (b"{", b"["):
        return decode_geojson(content, name)
    if is_cellpose_outlines(content):
        return decode_cellpose_outlines(content, name)
    return None


def _unzip(content: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            # Counted over all entries: overlapping ones make 10 GB of 60 kB.
            budget = MAX_ROI_BYTES
            listed = struct.unpack_from("<H", content, content.rindex(b"PK\x05\x06") + 10)[0]
            if listed not in (len(archive.infolist()), 0xFFFF):
                raise zipfile.BadZipFile(f"got {len(archive.infolist())} entries, expected {listed}")
            for entry in archive.infolist():
                *folders, file = entry.filename.split("/")
                # macOS puts a twin beside each file that it zips.
                if not file.lower().endswith(".roi") or file.startswith("._") or "__MACOSX" in folders:
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


@kernel
def little(content: Any, at: int, n_bytes: int) -> Any:
    """Return an unsigned little-endian number."""
    value = np.int64(0)
    for k in range(n_bytes):
        value |= np.int64(content[at + k]) << (8 * k)
    return value


@kernel
def _directory(content: Any, at: int, end: int, found: Any) -> bool:
    """Note name offset and length, data offset and length, checksum of each entry; False if it is not so simple."""
    data = 0
    for k in range(found.shape[0]):
        if at + 46 > end or little(content, at, 4) != 0x02014B50:
            return False
        size, length, local = little(content, at + 24, 4), little(content, at + 28, 2), little(content, at + 42, 4)
        # No flags, stored, no extra field or comment; one entry right behind the other, so none overlap.
        if (
            little(content, at + 8, 4) != 0
            or little(content, at + 20, 4) != size
            or little(content, at + 30, 4) != 0
            or length < 5
            or at + 46 + length > end
            or local != data
            or local + 30 + length + size > end
            or little(content, local, 4) != 0x04034B50
            or little(content, local + 6, 4) != 0
            or little(content, local + 26, 2) != length
            or little(content, local + 28, 2) != 0
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
        found[k] = (at + 46, length, local + 30 + length, size, little(content, at + 16, 4))
        at += 46 + length
    return at == end
