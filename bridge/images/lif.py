"""LIF, LOF, XLIF and XLEF, the files of Leica: read by liffile, every block checked to be whole."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.errors import InputError
from bridge.foreign import within
from bridge.images.image import ImageInfo, require_size
from bridge.images.vendor import (
    damaged,
    in_um,
    library,
    like_promised,
    micron,
    on_record,
    require_planes,
    require_type,
    unique,
)

_KNOWN = set("XYZTCMS")


def scenes(path: Path) -> tuple[ImageInfo, ...]:
    """Read what a Leica file says about its images; each position of a tile scan is one."""
    liffile = library(path, "liffile", "lif")
    with on_record(path, "Leica file"), liffile.LifFile(path, squeeze=False) as file:
        _require_plain(path, file)
        own = list(_images(file))
        left_out = _left_out(path, file, len(own))
        for image in own:
            _require_whole(path, image)
        images = [(image, m) for image in own for m in range(_sizes(image).get("M", 1))]
        found = []
        for number, (image, m) in enumerate(images):
            name = image.name + (f" position {m + 1}" if _sizes(image).get("M", 1) > 1 else "")
            found.append(_info(path, image, number, _full_name(image, name) if len(images) > 1 else ""))
    if not found:
        raise InputError(f"{path}: no image in it (got {left_out or 'nothing'}). Export the experiment again.")
    return (dataclasses.replace(found[0], warnings=(left_out,)), *found[1:]) if left_out else tuple(found)


def _left_out(path: Path, file: Any, n: int) -> str:
    """Say which images are not read; refuse names that liffile cannot tell apart, of which it shows the last alone.

    Raises
    ------
    InputError
        Two images have one name.
    """
    shown = list(file.images)
    promised = sum(
        len(one.xml_element.findall(".//Data/Image/ImageDescription/Dimensions")) for one in (file, *file.children)
    )
    if promised > len(shown):
        raise InputError(f"{path}: images of the same name in one folder (got {promised} images, {len(shown)} names). Rename them in LAS X, or export them as TIFF.")  # fmt: skip
    others = [str(image.name) for image in shown if image.is_flim or not {"X", "Y"} <= set(image.sizes)]
    return f"{len(others)} of its images are no planes (lifetimes or lines) and are not read: {', '.join(others[:5])}" if len(shown) > n else ""  # fmt: skip


def _require_plain(path: Path, file: Any) -> None:
    for one in (file, *file.children):
        if "<!DOCTYPE" in (header := one.xml_header()) or "<!ENTITY" in header:
            raise InputError(f"{path}: its header declares a document type (expected none). Export the image again.")


def _images(file: Any) -> Iterator[Any]:
    for image in file.images:
        if not image.is_flim and {"X", "Y"} <= set(image.sizes):
            yield image


def _full_name(image: Any, name: str) -> str:
    """Return the name with the folders of the project that it is in, as Leica's program shows it."""
    folders = image.path.replace("\\", "/").split("/")[:-1]
    return "/".join([*(f for f in folders if f), name])


def _sizes(image: Any) -> dict[str, int]:
    sizes = dict(image.sizes)
    other = {axis: n for axis, n in sizes.items() if axis not in _KNOWN and n > 1}
    if other:
        raise InputError(f"{image.parent.filepath}: {image.name} has dimensions that are no channel, slice or frame (got {', '.join(f'{a} = {n}' for a, n in other.items())}, expected 1). Export one of them as TIFF.")  # fmt: skip
    return sizes


def _require_whole(path: Path, image: Any) -> None:
    """Every byte of an image must be in its file."""
    require_planes(path, *(image.sizes.get(axis, 1) for axis in "CZTM"))
    block, parent = image.memory_block, image.parent
    for frame in block.frames:
        file = within(path.parent, frame.file, path)
        if not file.is_file():
            raise InputError(f"{path}: {frame.file} is not there (expected it beside the file). Copy the whole folder of the export.")  # fmt: skip
    if not block.frames:
        size = Path(parent.filepath).stat().st_size
        if block.offset < 0 or block.offset + block.size > size:
            raise damaged(path, "Leica file", f"{image.name} ends at byte {block.offset + block.size} of {size}: the file was cut")  # fmt: skip
        needed = math.prod(image.sizes.values()) * image.dtype.itemsize
        if block.size < needed:
            raise damaged(path, "Leica file", f"{block.size} bytes of pixels of {image.name} where {needed} are needed")


def _info(path: Path, image: Any, number: int, name: str) -> ImageInfo:
    sizes = _sizes(image)
    height, width, n = sizes["Y"], sizes["X"], sizes.get("C", 1)
    require_size(path, height, width)
    require_type(path, str(image.dtype))
    if sizes.get("S", 1) not in (1, 3):
        raise InputError(f"{path}: {sizes['S']} samples in each pixel of {image.name} (expected 1, or 3 for colour). Export it as TIFF.")  # fmt: skip
    pixel = {axis: _pixel_um(image, axis) for axis in "XY"}
    return ImageInfo(
        path, height, width, str(image.dtype), _channel_names(image, n), sizes.get("S", 1) == 3, micron(pixel["X"], pixel["Y"]),
        inverted=(False,) * n, own_scale=True, n_slices=sizes.get("Z", 1), n_frames=sizes.get("T", 1), scene=number,
        scene_name=name, interval_s=_interval(image), by_imagej=False, acquisition=_acquisition(image, n), parts=_parts(path, image),
    )  # fmt: skip


def _parts(path: Path, image: Any) -> tuple[Path, ...]:
    """Return the files that hold an image, where they are several."""
    others = [Path(image.parent.filepath), *(path.parent / frame.file for frame in image.memory_block.frames)]
    return tuple(dict.fromkeys([path, *others])) if any(other != path for other in others) else ()


def _pixel_um(image: Any, axis: str) -> float | None:
    """Return the size of a pixel: from the first one's middle to the last one's is the length (as Bio-Formats reads it)."""
    for node in image.xml_element.iterfind(".//DimensionDescription"):
        if node.get("DimID") == {"X": "1", "Y": "2"}[axis]:
            steps, metres = int(node.get("NumberOfElements", "1")) - 1, in_um(node.get("Length"))
            if steps > 0 and metres is not None and node.get("Unit", "m") == "m":
                return metres / steps
    return None


def _interval(image: Any) -> float | None:
    for node in image.xml_element.iterfind(".//DimensionDescription"):
        if node.get("DimID") == "4" and node.get("Unit") == "s" and int(node.get("NumberOfElements", "1")) > 1:
            seconds = float(node.get("Length", "0")) / (int(node.get("NumberOfElements", "1")) - 1)
            return seconds if seconds > 0 else None
    return None


def _channel_names(image: Any, n: int) -> tuple[str, ...]:
    """Return what a person called the channels, else their dyes, else the colours they were shown in."""
    nodes = image.xml_element.findall(".//ChannelDescription")
    wide = image.xml_element.findall(".//WideFieldChannelInfo")
    candidates = [
        [node.get("UserDefName") or "" for node in wide],
        [_property(node, "DyeName") for node in nodes],
        [node.get("LUTName") or "" for node in nodes],
    ]
    return next((found for names in candidates if not (found := unique(names, n))[0].isdecimal()), unique([], n))


def _property(channel: Any, wanted: str) -> str:
    for node in channel.iterfind("./ChannelProperty"):
        if (node.findtext("./Key") or "") == wanted:
            return node.findtext("./Value") or ""
    return ""


def _acquisition(image: Any, n: int) -> tuple[dict[str, str], ...]:
    wide = image.xml_element.findall(".//WideFieldChannelInfo")
    setting = next((s for s in image.xml_element.iter() if re.fullmatch(r"ATL\w+SettingDefinition", s.tag)), None)
    objective = (setting.get("ObjectiveName") or "").strip() if setting is not None else ""
    shared = {"objective": objective} if objective else {}
    if len(wide) != n:
        return (shared,) * n if shared else ()
    return tuple({**shared, **({"exposure": node.get("ExposureTime")} if node.get("ExposureTime") else {})} for node in wide)  # fmt: skip


def decode(info: ImageInfo, channel: int, frame: int, z: int) -> npt.NDArray[Any]:
    """Return one plane of a Leica file."""
    path = info.path
    liffile = library(path, "liffile", "lif")
    with on_record(path, "Leica file"), liffile.LifFile(path, squeeze=False) as file:
        images = [(image, m) for image in _images(file) for m in range(image.sizes.get("M", 1))]
        image, m = images[info.scene]
        wanted = {"C": channel, "Z": z, "T": frame, "M": m}
        if image.memory_block.frames:
            # In files of their own: whole, since the one of a plane is not known before.
            axes = [axis for axis in image.dims if axis not in wanted]
            pixels = image.asarray()[tuple(wanted[axis] if axis in wanted else slice(None) for axis in image.dims)]
        else:
            pixels = image.frame(**{axis: n for axis, n in wanted.items() if axis in image.sizes})
            axes = list(image.frames.frame_dims)
    if axes == ["S", "Y", "X"]:
        pixels = np.moveaxis(pixels, 0, -1)
    pixels = np.ascontiguousarray(np.squeeze(pixels, -1) if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels)
    like_promised(info, pixels, "Leica file")
    return pixels
