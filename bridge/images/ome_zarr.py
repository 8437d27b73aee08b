"""OME-Zarr 0.4 and 0.5: single images, plates, and what bioformats2raw writes; a chunk that is missing is damage."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.calibration import unit_in_um
from bridge.errors import InputError
from bridge.foreign import within
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

_KIND = "OME-Zarr"
_IN_S = {"second": 1.0, "millisecond": 1e-3, "microsecond": 1e-6, "minute": 60.0, "hour": 3600.0}


def scenes(path: Path) -> tuple[ImageInfo, ...]:
    """Read what an OME-Zarr says about its images; each field of a plate is one."""
    zarr = library(path, "zarr", "zarr")
    if not path.is_dir():
        raise InputError(f"{path}: not the folder of an OME-Zarr (got a file, expected a folder). Unpack it.")
    with on_record(path, _KIND):
        places = list(_places(path, zarr))
        if not places:
            raise InputError(f"{path}: no image in it (expected multiscales, a plate, or the series of bioformats2raw). Export it again as OME-Zarr.")  # fmt: skip
        return tuple(
            _info(path, zarr, place, number, place if len(places) > 1 else "") for number, place in enumerate(places)
        )


def _attributes(path: Path, zarr: Any, place: str) -> dict[str, Any]:
    folder = within(path, place, path) if place else path
    group = zarr.open_group(str(folder), mode="r")
    said = dict(group.attrs)
    return dict(said["ome"]) if isinstance(said.get("ome"), dict) else said


def _places(path: Path, zarr: Any) -> Iterator[str]:
    """Give the path of each image below the folder."""
    said = _attributes(path, zarr, "")
    if "multiscales" in said:
        yield ""
    elif "plate" in said:
        for well in said["plate"]["wells"]:
            for image in _attributes(path, zarr, str(well["path"]))["well"]["images"]:
                yield f"{well['path']}/{image['path']}"
    elif "bioformats2raw.layout" in said:
        listed = (path / "OME").is_dir() and _attributes(path, zarr, "OME").get("series")
        yield from listed or sorted((p.name for p in path.iterdir() if p.name.isdecimal()), key=int)


def _info(path: Path, zarr: Any, place: str, number: int, name: str) -> ImageInfo:
    said = _attributes(path, zarr, place)
    scales = said["multiscales"][0]
    axes = [str(axis["name"] if isinstance(axis, dict) else axis).lower() for axis in scales["axes"]]
    if axes[-2:] != ["y", "x"] or not set(axes) <= set("tczyx"):
        raise InputError(f"{path}: axes that are not read (got {', '.join(axes)}, expected t, c, z, y, x). Export it again as OME-Zarr.")  # fmt: skip
    array = _array(path, zarr, place, scales)
    sizes = dict(zip(axes, array.shape, strict=True))
    dtype = str(np.dtype(array.dtype).newbyteorder("="))
    require_size(path, sizes["y"], sizes["x"])
    require_planes(path, *(sizes.get(axis, 1) for axis in "tcz"))
    require_type(path, dtype)
    scale = _scale(scales, axes)
    units = {str(a["name"]).lower(): str(a.get("unit") or "") for a in scales["axes"] if isinstance(a, dict)}
    um = {axis: scale[axis] * factor if (factor := unit_in_um(units.get(axis, ""))) else None for axis in "yx"}
    labels = [str(c.get("label") or "") for c in (said.get("omero") or {}).get("channels", [])]
    n = sizes.get("c", 1)
    return ImageInfo(
        path, sizes["y"], sizes["x"], dtype, unique(labels, n), calibration=micron(um["x"], um["y"]), inverted=(False,) * n,
        own_scale=True, n_slices=sizes.get("z", 1), n_frames=sizes.get("t", 1), scene=number, scene_name=_well_name(name), by_imagej=False,
        interval_s=scale["t"] * _IN_S[units["t"]] if "t" in axes and units.get("t") in _IN_S else None,
    )  # fmt: skip


def _well_name(place: str) -> str:
    """Return the name of a field: that of a plate's field begins with its well.

    Examples
    --------
    >>> _well_name("B/03/0"), _well_name("2"), _well_name("")
    ('B03-1', '2', '')
    """
    parts = place.split("/")
    if len(parts) == 3 and parts[0].isalpha() and parts[1].isdecimal() and parts[2].isdecimal():
        return f"{parts[0]}{int(parts[1]):02d}-{int(parts[2]) + 1}"
    return place


def _array(path: Path, zarr: Any, place: str, scales: dict[str, Any]) -> Any:
    inside = "/".join(filter(None, (place, str(scales["datasets"][0]["path"]))))
    return zarr.open_array(str(within(path, inside, path)), mode="r")


def _scale(scales: dict[str, Any], axes: list[str]) -> dict[str, float]:
    """Return the step along each axis, in its unit."""
    total = [1.0] * len(axes)
    for steps in (scales["datasets"][0].get("coordinateTransformations"), scales.get("coordinateTransformations")):
        for step in steps or []:
            if step.get("type") == "scale":
                total = [a * float(b) for a, b in zip(total, step["scale"], strict=True)]
    if not all(math.isfinite(step) and step > 0 for step in total):
        raise ValueError(f"its scale is {total}")
    return dict(zip(axes, total, strict=True))


def decode(info: ImageInfo, channel: int, frame: int, z: int) -> npt.NDArray[Any]:
    """Return one plane of the largest resolution of an OME-Zarr."""
    path = info.path
    zarr = library(path, "zarr", "zarr")
    with on_record(path, _KIND):
        place = list(_places(path, zarr))[info.scene]
        scales = _attributes(path, zarr, place)["multiscales"][0]
        axes = [str(axis["name"] if isinstance(axis, dict) else axis).lower() for axis in scales["axes"]]
        array = _array(path, zarr, place, scales)
        at = {"t": frame, "c": channel, "z": z}
        index = tuple(at[axis] if axis in at else slice(None) for axis in axes)
        _require_chunks(path, zarr, array, index)
        pixels = np.ascontiguousarray(array[index])
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    like_promised(info, pixels, _KIND)
    return pixels


def _require_chunks(path: Path, zarr: Any, array: Any, index: tuple[Any, ...]) -> None:
    """Refuse a plane of which chunks are missing: Zarr fills them with zeros, whether they were empty or lost."""
    stored = array.shards or array.chunks
    ranges = [
        range(k // size, k // size + 1) if isinstance(k, int) else range(-(-n // size))
        for k, size, n in zip(index, stored, array.shape, strict=True)
    ]
    folder = Path(str(array.store.root)) / array.path if hasattr(array.store, "root") else path
    wanted = [folder / array.metadata.encode_chunk_key(at) for at in product(*ranges)]
    missing = sum(not chunk.is_file() for chunk in wanted)
    if not missing and array.shards:
        missing = _empty_in_shards(zarr, array, index)
        wanted = wanted * max(1, math.prod(array.shards) // math.prod(array.chunks))
    if missing:
        raise damaged(path, _KIND, f"{missing} of {len(wanted)} chunks of a plane are not there; if they were empty, write it with write_empty_chunks")  # fmt: skip


def _empty_in_shards(zarr: Any, array: Any, index: tuple[Any, ...]) -> int:
    """Return how many chunks of a plane are not in their shards: they are what another fill value changes."""
    other = dataclasses.replace(array.metadata, fill_value=type(array.metadata.fill_value)(1))
    changed = zarr.Array(dataclasses.replace(array.async_array, metadata=other))
    differ = np.asarray(array[index]) != np.asarray(changed[index])
    return int(differ.any())
