"""OME-TIFF: channels, pages and pixel size from its header."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree

from bridge.calibration import PIXELS, Calibration, unit_in_um
from bridge.errors import InputError
from bridge.images.damage import damaged, stack_refused


def read_ome(
    path: Path, description: str, count: int, warnings: list[str]
) -> tuple[tuple[str, ...], tuple[int, ...], Calibration]:
    """Return channel names, the page of each, and the calibration of an OME-TIFF."""
    if "<!DOCTYPE" in description or "<!ENTITY" in description:
        raise InputError(f"{path}: its OME header declares a document type (expected none). Export the image again.")
    try:
        root = ElementTree.fromstring(description.encode())
    except ElementTree.ParseError as error:
        raise damaged(path, f"its OME header is not XML: {error}") from error
    images = [node for node in root if _tag(node) == "Image"]
    pixels = [node for image in images for node in image if _tag(node) == "Pixels"]
    if not pixels:
        raise InputError(
            f"{path}: its OME header holds no image; the pixels are in another file. Export the field as one OME-TIFF."
        )
    if len(pixels) > 1:
        raise InputError(f"{path}: {len(pixels)} images in one file (expected 1). Save one file for each field.")
    node = pixels[0]
    size = {axis: int(node.get(f"Size{axis}", "1")) for axis in "CZT"}
    if size["Z"] > 1 or size["T"] > 1:
        raise stack_refused(path, size["Z"], size["T"])
    named_channels = [child for child in node if _tag(child) == "Channel"]
    samples = sum(int(c.get("SamplesPerPixel", "1")) for c in named_channels) or size["C"]
    planes = len(named_channels) if named_channels and samples == size["C"] else size["C"]
    _require_own_pixels(path, root, node, planes, count)
    if planes > count:
        raise damaged(path, f"its OME header promises {planes} planes, the file holds {count}")
    names = [c.get("Name") or str(i) for i, c in enumerate(named_channels, 1)]
    if len(names) != planes or len(set(names)) != planes:
        names = [str(i + 1) for i in range(planes)]
    page_of = list(range(planes))
    for data in (child for child in node if _tag(child) == "TiffData"):
        # The OME default: IFD 0, and all planes that follow unless one IFD is named.
        first_page, first_channel = int(data.get("IFD", "0")), int(data.get("FirstC", "0"))
        n = int(data.get("PlaneCount", "1" if data.get("IFD") else str(planes)))
        for k in range(min(n, planes - first_channel)):
            page_of[first_channel + k] = first_page + k
    if max(page_of) >= count:
        raise damaged(path, f"its OME header names page {max(page_of) + 1} of {count}")
    return tuple(names), tuple(page_of), _calibration(node, warnings)


def _require_own_pixels(
    path: Path, root: ElementTree.Element, pixels: ElementTree.Element, planes: int, count: int
) -> None:
    """Refuse a header whose pixels are in another file; one that was only renamed holds all of its planes."""
    files = [uuid for uuid in pixels.iter() if _tag(uuid) == "UUID" and uuid.get("FileName")]
    others = {Path(str(uuid.get("FileName"))).name for uuid in files} - {path.name}
    own = (root.get("UUID") or "").strip().lower()
    if not others or (own and all((uuid.text or "").strip().lower() == own for uuid in files)):
        return
    one = len({uuid.get("FileName") for uuid in files}) == 1 and planes <= count
    if not own and one and not (path.parent / min(others)).exists():
        return
    raise InputError(
        f"{path}: its OME header refers to another file (got {min(others)}). "
        "Export the field as one OME-TIFF that holds all of its channels."
    )


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
