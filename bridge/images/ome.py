"""The header of an OME-TIFF: its images, and where the planes of each are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from xml.etree import ElementTree

from bridge.calibration import PIXELS, Calibration, unit_in_um
from bridge.errors import InputError
from bridge.images.damage import damaged

_MOST_PLANES = 1_000_000
_IN_S = {"s": 1.0, "ms": 1e-3, "\u00b5s": 1e-6, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class OmeImage:
    """One image of an OME header.

    Attributes
    ----------
    name : str
    channels : tuple of str
    n_slices, n_frames : int
    planes : tuple of (str, int)
        File and page of each plane, channels fastest, then slices, then frames; the file's name is empty where the
        header means its own.
    calibration : Calibration
    interval_s : float or None
    warnings : tuple of str
    uuids : dict of str to str
        Of the other files, as far as the header gives them.
    """

    name: str
    channels: tuple[str, ...]
    n_slices: int
    n_frames: int
    planes: tuple[tuple[str, int], ...]
    calibration: Calibration
    interval_s: float | None
    warnings: tuple[str, ...]
    uuids: dict[str, str]


def read_ome(path: Path, description: str, count: int) -> list[OmeImage]:
    """Return the images of an OME header.

    Parameters
    ----------
    path : Path
    description : str
    count : int
        Pages that the file has itself; 0 for a header in a file of its own.

    Raises
    ------
    InputError
        No XML, no image, or planes that are not there.
    """
    root = ome_root(path, description)
    pixels = [(image, node) for image in root if _tag(image) == "Image" for node in image if _tag(node) == "Pixels"]
    if not pixels:
        raise InputError(
            f"{path}: its OME header holds no image; the pixels are in another file. Export the field as one OME-TIFF."
        )
    found: list[OmeImage] = []
    first = 0
    for image, node in pixels:
        found.append(_image(path, root, image, node, first, count))
        first += len(found[-1].planes)
    return found


def ome_root(path: Path, text: str) -> ElementTree.Element:
    """Return the root of an OME header.

    Raises
    ------
    InputError
        It declares a document type, or is no XML.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(f"{path}: its OME header declares a document type (expected none). Export the image again.")
    try:
        return ElementTree.fromstring(text.encode())
    except ElementTree.ParseError as error:
        raise damaged(path, f"its OME header is not XML: {error}") from error


def companion_of(root: ElementTree.Element) -> str:
    """Return the name of the file that holds the header of a TIFF with pixels only; empty for other TIFFs."""
    return next((str(node.get("MetadataFile")) for node in root if _tag(node) == "BinaryOnly"), "")


def _image(
    path: Path, root: ElementTree.Element, image: ElementTree.Element, node: ElementTree.Element, first: int, count: int
) -> OmeImage:
    size = {axis: int(node.get(f"Size{axis}", "1")) for axis in "CZT"}
    if min(size.values()) < 1 or math.prod(size.values()) > _MOST_PLANES:
        raise damaged(path, f"its OME header gives sizes of {size['C']} x {size['Z']} x {size['T']}")
    named = [child for child in node if _tag(child) == "Channel"]
    samples = sum(int(c.get("SamplesPerPixel", "1")) for c in named) or size["C"]
    size["C"] = len(named) if named and samples == size["C"] else size["C"]
    total = math.prod(size.values())
    names = [c.get("Name") or str(i) for i, c in enumerate(named, 1)]
    if len(names) != size["C"] or len(set(names)) != size["C"]:
        names = [str(i + 1) for i in range(size["C"])]
    if count and total > count and not any(_tag(child) == "TiffData" for child in node):
        raise damaged(path, f"its OME header promises {total} planes, the file holds {count}")
    own = _own_names(path, root, node, total, count)
    planes = _planes(path, node, size, first, own)
    mine = [page for name, page in planes if not name]
    if count and len(mine) == total and total > count:
        raise damaged(path, f"its OME header promises {total} planes, the file holds {count}")
    if count and mine and max(mine) >= count:
        raise damaged(path, f"its OME header names page {max(mine) + 1} of {count}")
    warnings: list[str] = []
    calibration = _calibration(node, warnings)
    uuids = {str(u.get("FileName")): (u.text or "").strip().lower() for u in node.iter() if _tag(u) == "UUID" and u.get("FileName")}  # fmt: skip
    return OmeImage(
        image.get("Name") or "", tuple(names), size["Z"], size["T"], planes, calibration, _interval(node), tuple(warnings), uuids
    )  # fmt: skip


def _own_names(path: Path, root: ElementTree.Element, pixels: ElementTree.Element, total: int, count: int) -> set[str]:
    """Return the names by which a header means its own file: it may have been renamed."""
    files = [uuid for uuid in pixels.iter() if _tag(uuid) == "UUID" and uuid.get("FileName")]
    own = (root.get("UUID") or "").strip().lower()
    named = {str(uuid.get("FileName")) for uuid in files}
    mine = {name for name in named if Path(name).name == path.name}
    if own:
        return mine | {str(uuid.get("FileName")) for uuid in files if (uuid.text or "").strip().lower() == own}
    if len(named) == 1 and count and total <= count and not (path.parent / Path(min(named)).name).exists():
        return named
    return mine


def _planes(
    path: Path, node: ElementTree.Element, size: dict[str, int], first: int, own: set[str]
) -> tuple[tuple[str, int], ...]:
    """Return file and page of each plane, in the order of `OmeImage.planes`."""
    order = [axis for axis in node.get("DimensionOrder", "XYCZT").upper() if axis in "CZT"]
    if sorted(order) != ["C", "T", "Z"]:
        order = ["C", "Z", "T"]
    total = math.prod(size.values())

    def number(c: int, z: int, t: int) -> int:
        return (t * size["Z"] + z) * size["C"] + c

    def from_plane(c: int, z: int, t: int, n: int) -> Iterator[int]:
        """Give the numbers of n planes from one on, in the file's order."""
        at = dict(zip("CZT", (c, z, t), strict=True))
        for _ in range(n):
            if any(at[axis] >= size[axis] for axis in "CZT"):
                return
            yield number(at["C"], at["Z"], at["T"])
            for axis in order:
                at[axis] += 1
                if at[axis] < size[axis] or axis == order[-1]:
                    break
                at[axis] = 0

    said = [child for child in node if _tag(child) == "TiffData"]
    if not said:
        in_order = {k: page for page, k in enumerate(from_plane(0, 0, 0, total), first)}
        return tuple(("", in_order[k]) for k in range(total))
    found: list[tuple[str, int] | None] = [None] * total
    steps = 0
    for data in said:
        # The OME default: IFD 0, and all planes that follow unless one IFD is named.
        uuid = next((u for u in data if _tag(u) == "UUID"), None)
        name = str(uuid.get("FileName") or "") if uuid is not None else ""
        file = "" if name in own else name
        page, begin = int(data.get("IFD", "0")), [int(data.get(f"First{axis}", "0")) for axis in "CZT"]
        n = int(data.get("PlaneCount", "1" if data.get("IFD") else str(total)))
        for k in from_plane(begin[0], begin[1], begin[2], n):
            found[k], page, steps = (file, page), page + 1, steps + 1
            if steps > 2 * total + len(said):
                raise damaged(path, "its OME header names planes over and over")
    missing = sum(at is None for at in found)
    whole = [at for at in found if at is not None]
    if missing:
        raise damaged(path, f"its OME header says of {missing} of {total} planes in no place where they are")
    if any(page < 0 for _, page in whole):
        raise damaged(path, "its OME header names a page below 0")
    return tuple(whole)


def _interval(node: ElementTree.Element) -> float | None:
    """Return the time from frame to frame in s: as it was set, else as the planes were taken."""
    try:
        if node.get("TimeIncrement"):
            return float(str(node.get("TimeIncrement"))) * _IN_S.get(node.get("TimeIncrementUnit", "s"), math.nan)
        taken = {
            int(p.get("TheT", "0")): float(str(p.get("DeltaT"))) * _IN_S.get(p.get("DeltaTUnit", "s"), math.nan)
            for p in node
            if _tag(p) == "Plane" and p.get("DeltaT") and (p.get("TheC", "0"), p.get("TheZ", "0")) == ("0", "0")
        }
    except ValueError:
        return None
    steps = [taken[t + 1] - taken[t] for t in taken if t + 1 in taken]
    return median(steps) if steps and math.isfinite(median(steps)) and median(steps) > 0 else None


def _calibration(pixels: ElementTree.Element, warnings: list[str]) -> Calibration:
    sizes: list[float | None] = []
    for axis in "XY":
        text = pixels.get(f"PhysicalSize{axis}")
        if text is None:
            sizes.append(None)
            continue
        unit = pixels.get(f"PhysicalSize{axis}Unit", "µm")
        factor = unit_in_um(unit)
        try:
            size = float(text.replace(",", "."))  # as programs in half of Europe write it
        except ValueError:
            size = math.nan
        if factor is None or not (math.isfinite(size) and size > 0):
            warnings.append(f"its OME header gives no usable pixel size (got {text} {unit}): taken as not calibrated")
            return PIXELS
        sizes.append(size * factor)
    width, height = sizes
    if width is None:
        return PIXELS
    return Calibration(width, width if height is None else height, "micron")


def _tag(node: ElementTree.Element) -> str:
    return node.tag.rpartition("}")[2]
