"""CZI, the files of Zeiss: read by Zeiss's own pylibCZIrw, every pixel covered by a tile of the file."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from bridge.errors import InputError
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
    xml_of,
)

_TYPES = {"Gray8": "uint8", "Gray16": "uint16", "Gray32Float": "float32", "Bgr24": "uint8", "Bgr48": "uint16"}
_IMAGE = "./Metadata/Information/Image"


def scenes(path: Path) -> tuple[ImageInfo, ...]:
    """Read what a CZI says about its scenes, and check that tiles cover each of their planes."""
    czi = library(path, "pylibCZIrw.czi", "czi")
    with on_record(path, "CZI"), czi.open_czi(str(path)) as file:
        root = xml_of(path, file.raw_metadata)
        box = file.total_bounding_box_no_pyramid
        size = {axis: box[axis][1] - box[axis][0] if axis in box else 1 for axis in "CZT"}
        windows = dict(file.scenes_bounding_rectangle_no_pyramid) or {-1: file.total_bounding_rectangle_no_pyramid}
        require_planes(path, size["C"], size["Z"], size["T"], len(windows))
        _require_promised(path, root, size)
        for window in windows.values():
            require_size(path, window.h, window.w)
        _require_covered(path, file, windows, size)
        kinds = set(file.pixel_types.values())
        if len(kinds) != 1 or not kinds <= set(_TYPES):
            raise InputError(f"{path}: channels of types that are not measured together (got {', '.join(sorted(kinds))}, expected 8-bit, 16-bit or 32-bit grey). Export it as TIFF.")  # fmt: skip
        kind = min(kinds)
        require_type(path, _TYPES[kind])
        names = _scene_names(root, windows)
        channels = root.findall(f"{_IMAGE}/Dimensions/Channels/Channel")
        calibration = micron(*(in_um(root.findtext(f"./Metadata/Scaling/Items/Distance[@Id='{axis}']/Value")) for axis in "XY"))  # fmt: skip
        acquisition = tuple(_acquisition(root, node) for node in channels)
        found = []
        for number, (scene, window) in enumerate(sorted(windows.items())):
            found.append(
                ImageInfo(
                    path, window.h, window.w, _TYPES[kind], unique([c.get("Name") or "" for c in channels], size["C"]),
                    kind.startswith("Bgr"), calibration, lossy=_lossy(root), inverted=(False,) * size["C"], own_scale=True,
                    n_slices=size["Z"], n_frames=size["T"], scene=number, scene_name=names[scene] if len(windows) > 1 else "",
                    interval_s=_interval(root) if size["T"] > 1 else None, by_imagej=False,
                    acquisition=acquisition if len(acquisition) == size["C"] else (),
                )
            )  # fmt: skip
    return tuple(found)


def _require_promised(path: Path, root: ElementTree.Element, size: dict[str, int]) -> None:
    """Refuse a directory with fewer channels or slices than the header promises: a projection would miss them."""
    for axis in "CZ":
        text = (root.findtext(f"{_IMAGE}/Size{axis}") or "").strip()
        if text.isdecimal() and int(text) > size[axis]:
            raise damaged(path, "CZI", f"its header promises {text} {'channels' if axis == 'C' else 'slices'}, its directory has {size[axis]}")  # fmt: skip


def _require_covered(path: Path, file: Any, windows: dict[int, Any], size: dict[str, int]) -> None:
    """Refuse a plane that the tiles do not cover: libCZI would fill what is missing with zeros."""
    tiles: dict[tuple[int, ...], list[tuple[int, int, int, int]]] = defaultdict(list)
    seen: dict[str, set[int]] = defaultdict(set)

    def note(_: int, block: Any) -> bool:
        at, where = block.coordinate.to_dict(), block.logicalRect
        for axis, n in at.items():
            seen[axis].add(n)
        if (where.w, where.h) == (block.physicalSize.w, block.physicalSize.h):  # else of the pyramid
            key = (at.get("S", -1) if -1 not in windows else -1, at.get("C", 0), at.get("Z", 0), at.get("T", 0))
            tiles[key].append((where.x, where.y, where.w, where.h))
        return True

    file.enumerate_subblocks(note)
    others = {axis: len(numbers) for axis, numbers in seen.items() if axis not in "CZTSM" and len(numbers) > 1}
    if others:
        raise InputError(f"{path}: dimensions that are no channel, slice or frame (got {', '.join(f'{a} = {n}' for a, n in others.items())}, expected 1). Export one of them as TIFF.")  # fmt: skip
    if size["C"] * size["Z"] * size["T"] * len(windows) > sum(map(len, tiles.values())):
        raise damaged(path, "CZI", f"fewer tiles than planes: {sum(map(len, tiles.values()))} for {size['C']} channels, {size['Z']} slices, {size['T']} frames of {len(windows)} scenes")  # fmt: skip
    starts = {axis: low for axis, (low, _) in file.total_bounding_box_no_pyramid.items() if axis in "CZT"}
    covered: dict[tuple[Any, ...], float] = {}
    for scene, window in windows.items():
        for c in range(size["C"]):
            for z in range(size["Z"]):
                for t in range(size["T"]):
                    key = (scene, c + starts.get("C", 0), z + starts.get("Z", 0), t + starts.get("T", 0))
                    there = tuple(sorted(tiles.get(key, ())))
                    missing = covered.setdefault((there, scene), _missing(window, there))
                    if missing:
                        name = f" of scene {scene + 1}" if len(windows) > 1 else ""
                        raise InputError(f"{path}: {missing:.1%} of channel {c + 1}, slice {z + 1}, frame {t + 1}{name} is in no tile: its tiles make no rectangle, or the file was damaged. Copy it again, or export the region from ZEN.")  # fmt: skip


def _missing(window: Any, there: tuple[tuple[int, int, int, int], ...]) -> float:
    if any((x, y, w, h) == (window.x, window.y, window.w, window.h) for x, y, w, h in there):
        return 0.0
    seen = np.zeros((window.h, window.w), np.bool_)
    for x, y, w, h in there:
        top, left = y - window.y, x - window.x
        seen[max(top, 0) : max(top + h, 0), max(left, 0) : max(left + w, 0)] = True
    return 1.0 - float(seen.mean())


def _scene_names(root: ElementTree.Element, windows: dict[int, Any]) -> dict[int, str]:
    named = {}
    for node in root.findall(f"{_IMAGE}/Dimensions/S/Scenes/Scene"):
        number = int(node.get("Index", "0"))
        shape = node.find("./Shape")  # of a plate: its well
        well = (shape.get("Name") or "") if shape is not None else (node.findtext("./ArrayName") or "")
        named[number] = "-".join(dict.fromkeys(filter(None, (well, node.get("Name") or ""))))
    names = {scene: named.get(scene) or f"Scene{scene + 1}" for scene in windows}
    doubled = len(set(names.values())) < len(names)
    return {scene: f"{name}-{scene + 1}" if doubled else name for scene, name in names.items()}


def _lossy(root: ElementTree.Element) -> str:
    method = root.findtext(f"{_IMAGE}/OriginalCompressionMethod") or ""
    quality = root.findtext(f"{_IMAGE}/OriginalEncodingQuality") or ""
    if method.lower() in ("jpeg", "jpg") or (method.lower() == "jpgxr" and quality.isdecimal() and int(quality) < 100):
        return f"{method}{f' of quality {quality}' if quality else ''}"
    return ""


def _interval(root: ElementTree.Element) -> float | None:
    try:
        seconds = float(root.findtext(f"{_IMAGE}/Dimensions/T/Positions/Interval/Increment") or "nan")
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None


def _acquisition(root: ElementTree.Element, channel: ElementTree.Element) -> dict[str, str]:
    exposure = channel.findtext("./ExposureTime") or ""
    objective = root.findtext("./Metadata/Information/Instrument/Objectives/Objective/NominalMagnification")
    found = {"exposure": f"{float(exposure) / 1e6:g} ms"} if exposure.isdecimal() else {}  # in ns
    return {**found, **({"objective": f"{objective} x"} if objective else {})}


def decode(info: ImageInfo, channel: int, frame: int, z: int) -> npt.NDArray[Any]:
    """Return one plane of a CZI, its tiles drawn in the order in which they were taken."""
    path = info.path
    czi = library(path, "pylibCZIrw.czi", "czi")
    with on_record(path, "CZI"), czi.open_czi(str(path)) as file:
        box, windows = file.total_bounding_box_no_pyramid, dict(file.scenes_bounding_rectangle_no_pyramid)
        place = {axis: n + box[axis][0] for axis, n in (("C", channel), ("Z", z), ("T", frame)) if axis in box}
        scene = sorted(windows)[info.scene] if windows else None
        window = windows[scene] if scene is not None else file.total_bounding_rectangle_no_pyramid
        pixels = file.read(roi=(window.x, window.y, window.w, window.h), plane=place, scene=scene)
    # libCZI's colours are blue, green, red.
    pixels = np.ascontiguousarray(pixels[..., ::-1] if info.colour else pixels[..., 0])
    like_promised(info, pixels, "CZI")
    return pixels
