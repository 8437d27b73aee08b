"""Where the planes of a TIFF are that is no OME-TIFF: ImageJ's hyperstacks, MetaMorph's STK, Zeiss's LSM, one plane."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bridge.calibration import PIXELS, Calibration
from bridge.errors import InputError
from bridge.images.damage import damaged
from bridge.images.image import At
from bridge.images.imagej_tags import inverted_luts, read_calibration, slice_labels


@dataclass
class Planes:
    """Channels, slices and frames of a file, and where each plane is."""

    at: list[At]
    channels: tuple[str, ...] = ("1",)
    n_slices: int = 1
    n_frames: int = 1
    calibration: Calibration = PIXELS
    warnings: list[str] = field(default_factory=list)
    inverted: tuple[bool, ...] = ()
    interval_s: float | None = None
    own_scale: bool = False
    by_imagej: bool = True


def planes_of(path: Path, tif: Any, page: Any, count: int, dtype: str) -> Planes:
    """Return the planes of an open TIFF.

    Parameters
    ----------
    path : Path
    tif, page : tifffile.TiffFile, tifffile.TiffPage
        The file and its first page that is no thumbnail.
    count : int
        Pages that are none.
    dtype : str
        NumPy name of the pixels' type; ``rgb`` for colour.

    Raises
    ------
    InputError
        Several pages that say nothing of what they are, or fewer than the file promises.
    """
    if tif.is_lsm:
        return _lsm(path, tif, page, count)
    if tif.is_stk:
        return _stk(path, tif, page, count)
    if tif.is_imagej:
        return _hyperstack(path, tif, page, count, dtype)
    if count > 1:
        raise InputError(
            f"{path}: a stack of {count} pages that does not say what they are (got {count} pages, expected 1). "
            "Save it from Fiji as a hyperstack with channels, or one plane for each file."
        )
    shape = re.search(r'"shape": \[([\d, ]+)\]', page.description or "")
    said = int(np.prod([int(n) for n in shape.group(1).split(",")[:-2]] or [1])) if shape and dtype != "rgb" else 1
    if page.imagedepth > 1:
        raise InputError(f"{path}: a volume of {page.imagedepth} planes in one page (expected a page for each). Save it from Fiji as a hyperstack.")  # fmt: skip
    _require_room(path, tif, page, said, count)
    found = Planes([At(k) for k in range(said)], n_slices=said)
    found.calibration = read_calibration(path, page, page.description or "", dtype, found.warnings)
    return found


def _hyperstack(path: Path, tif: Any, page: Any, count: int, dtype: str) -> Planes:
    said = tif.imagej_metadata or {}
    slices, frames, n = (max(1, int(said.get(name, 1))) for name in ("slices", "frames", "channels"))
    images = int(said.get("images", count))
    if slices * frames * n == 1 and images > 1:
        slices = images  # ImageJ calls the planes of a plain stack slices
    total = slices * frames * n
    if total > max(count, images):
        raise damaged(path, f"its description promises {total} planes, the file holds {max(count, images)}")
    _require_room(path, tif, page, total, count)
    labels = slice_labels(said)
    names = labels[:n] if total == n == len(labels) and len(set(labels)) == n and all(labels) else ()
    found = Planes([At(k) for k in range(total)], names or tuple(str(i + 1) for i in range(n)), slices, frames)
    found.calibration = read_calibration(path, page, page.description or "", dtype, found.warnings)
    found.inverted = inverted_luts(page, said, n)
    found.interval_s = _seconds(said.get("finterval"))
    return found


def _require_room(path: Path, tif: Any, page: Any, total: int, count: int) -> None:
    """Refuse more planes than there are pages, unless they follow each other in the file behind one directory."""
    if total <= count:
        return
    size = page.imagelength * page.imagewidth * page.samplesperpixel * page.dtype.itemsize
    if page.compression != 1 or page.dataoffsets[0] + total * size > tif.filehandle.size:
        raise damaged(path, f"it promises {total} planes, and has room for {count}")


def _seconds(value: Any) -> float | None:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None


def _stk(path: Path, tif: Any, page: Any, count: int) -> Planes:
    """A stack of MetaMorph: one directory for all planes; slices where they lie at different heights, else frames."""
    said = tif.stk_metadata or {}
    n = max(1, int(said.get("NumberPlanes", count)))
    _require_room(path, tif, page, n, count)
    heights = np.asarray(said.get("ZDistance", np.zeros(n)), dtype=float).ravel()
    is_z = n > 1 and bool((heights[1:] != 0).any())
    found = Planes([At(k) for k in range(n)], n_slices=n if is_z else 1, n_frames=1 if is_z else n, own_scale=True)
    size = (said.get("XCalibration"), said.get("YCalibration"), str(said.get("CalibrationUnits", "")).lower())
    if said.get("SpatialCalibration") and size[0] and size[2].strip("\0 ") in ("um", "microns", "\u00b5m"):
        found.calibration = Calibration(float(size[0]), float(size[1] or size[0]), "micron")
    times = said.get("DatetimeCreated")
    if not is_z and times is not None and len(times) > 1:
        steps = np.diff(np.asarray(times).astype("datetime64[ms]").astype(np.int64)) / 1000
        found.interval_s = _seconds(float(np.median(steps)))
    found.by_imagej = False  # it takes the first plane alone
    return found


def _lsm(path: Path, tif: Any, page: Any, count: int) -> Planes:
    """A file of the old Zeiss confocals: a page for each slice and frame, whose samples are the channels."""
    said = tif.lsm_metadata or {}
    c, z, t = (max(1, int(said.get(f"Dimension{axis}", 1))) for axis in ("Channels", "Z", "Time"))
    if c != page.samplesperpixel or z * t != count:
        raise damaged(path, f"it promises {c} channels of {z * t} planes, the file holds {page.samplesperpixel} of {count}")  # fmt: skip
    names = tuple(str(name) for name in (said.get("ChannelColors") or {}).get("ColorNames", ()))
    if len(names) != c or len(set(names)) != c:
        names = tuple(str(k + 1) for k in range(c))
    at = [At(k, 0, s if c > 1 else None) for k in range(z * t) for s in range(c)]
    found = Planes(at, names, z, t, own_scale=True, inverted=(False,) * c, by_imagej=False)
    size = (float(said.get("VoxelSizeX", 0.0)) * 1e6, float(said.get("VoxelSizeY", 0.0)) * 1e6)  # metres
    if min(size) > 0:
        found.calibration = Calibration(*size, "micron")
    found.interval_s = _seconds(said.get("TimeIntervall")) if t > 1 else None
    return found
