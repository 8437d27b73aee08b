"""ND2, the files of Nikon: read by nd2; each position is a scene."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.calibration import PIXELS
from bridge.errors import InputError
from bridge.images.image import ImageInfo, require_size
from bridge.images.vendor import (
    damaged,
    library,
    like_promised,
    micron,
    on_record,
    require_planes,
    require_type,
    unique,
)

_KNOWN = set("PTZCYXS")


def scenes(path: Path) -> tuple[ImageInfo, ...]:
    """Read what an ND2 says about its positions."""
    nd2 = library(path, "nd2", "nd2")
    with on_record(path, "ND2"), nd2.ND2File(path) as file:
        sizes = dict(file.sizes)
        other = {axis: n for axis, n in sizes.items() if axis not in _KNOWN and n > 1}
        if other:
            raise InputError(f"{path}: dimensions that are no channel, slice or frame (got {', '.join(f'{a} = {n}' for a, n in other.items())}, expected 1). Export it as TIFF.")  # fmt: skip
        require_size(path, sizes["Y"], sizes["X"])
        require_planes(path, *(sizes.get(axis, 1) for axis in "PTZC"))
        require_type(path, str(file.dtype))
        colour, n = sizes.get("S", 1) == 3, sizes.get("C", 1)
        channels = list(file.metadata.channels or []) if file.metadata else []
        names = _positions(file, sizes.get("P", 1))
        size = file.voxel_size()
        return tuple(
            ImageInfo(
                path, sizes["Y"], sizes["X"], str(file.dtype), unique([c.channel.name for c in channels], n), colour,
                micron(size.x, size.y) if channels else PIXELS, inverted=(False,) * n, own_scale=True,
                n_slices=sizes.get("Z", 1), n_frames=sizes.get("T", 1), scene=p, scene_name=name if len(names) > 1 else "",
                interval_s=_interval(file), by_imagej=False,
                acquisition=tuple(_acquisition(c) for c in channels) if len(channels) == n else (),
            )
            for p, name in enumerate(names)
        )  # fmt: skip


def _positions(file: Any, n: int) -> list[str]:
    points: list[Any] = next((loop.parameters.points for loop in file.experiment if loop.type == "XYPosLoop"), [])
    names = [str(point.name or "") for point in points]
    if len(names) != n or len(set(names)) != n or not all(names):
        return [f"XYPos{p + 1}" for p in range(n)]
    return names


def _interval(file: Any) -> float | None:
    for loop in file.experiment:
        if loop.type == "TimeLoop" and loop.parameters.periodMs > 0:
            return float(loop.parameters.periodMs) / 1000
    return None


def _acquisition(channel: Any) -> dict[str, str]:
    scope = channel.microscope
    return {"objective": f"{scope.objectiveMagnification:g} x"} if scope and scope.objectiveMagnification else {}


def _refuse_missing(path: Path, file: Any) -> None:
    """Nd2 returns zeros for a frame that is not in the file, and has no option against it."""

    def missing(frame: int) -> Any:
        raise damaged(path, "ND2", f"frame {frame + 1} is not in it: the file was cut, or the recording broke off")

    file._rdr._missing_frame = missing


def decode(info: ImageInfo, channel: int, frame: int, z: int) -> npt.NDArray[Any]:
    """Return one plane of an ND2."""
    path = info.path
    nd2 = library(path, "nd2", "nd2")
    with on_record(path, "ND2"), nd2.ND2File(path) as file:
        wanted = {"P": info.scene, "T": frame, "Z": z}
        number = next(
            (k for k, at in enumerate(file.loop_indices) if all(at.get(axis, 0) == n for axis, n in wanted.items())), 0
        )
        _refuse_missing(path, file)
        pixels = np.array(file.read_frame(number))  # a copy: what nd2 gives lies in the file
    if (info.colour and pixels.ndim == 4) or (not info.colour and pixels.ndim == 3):  # channels of colours
        pixels = pixels[channel]
    pixels = np.ascontiguousarray(pixels)
    like_promised(info, pixels, "ND2")
    return pixels
