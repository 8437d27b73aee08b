"""TIFF: one plane, ImageJ's hyperstacks, complete or refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.calibration import MICROMETRE, PIXELS, Calibration, size_of
from bridge.errors import InputError
from bridge.images.damage import damaged, require_depth, require_whole, stack_refused, tifffile_on_record
from bridge.images.image import ImageInfo, require_size
from bridge.images.ome import read_ome

_LOSSY_COMPRESSIONS = {
    "OJPEG",
    "JPEG",
    "JPEG_LOSSY",
    "ALT_JPEG",
    "LERC",
    "APERIO_JP2000_YCBC",
    "APERIO_JP2000_RGB",
    "JPEG2000",
    "JPEGXR",
    "JPEGXL",
    "WEBP",
}


def inspect_tiff(path: Path) -> ImageInfo:
    """Read what a TIFF says about itself, and check that it is complete as far as its directory tells."""
    import tifffile

    with tifffile_on_record(path) as said, tifffile.TiffFile(path, is_ome=False) as tif:
        page = tif.pages.first
        if said:
            raise damaged(path, said[0])
        height, width = page.imagelength, page.imagewidth
        require_size(path, height, width)
        description = page.description or ""
        count = len(tif.pages)
        for other in tif.pages:
            require_whole(path, tif.filehandle.size, other.aspage())
        require_depth(path, page)
        samples = page.samplesperpixel
        colour = samples in (3, 4) and page.photometric in (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR)
        if samples > 1 and not colour:
            raise InputError(
                f"{path}: {samples} samples in each pixel (expected 1, or 3 for colour). Save one channel for each page."
            )
        # ImageJ writes an 8-bit image with a colour look-up table as a palette; its indices are the grey levels.
        if page.photometric == tifffile.PHOTOMETRIC.PALETTE and not tif.is_imagej:
            raise InputError(
                f"{path}: indexed colour (a palette; expected grey levels). Save it as an 8- or 16-bit grey TIFF."
            )
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            raise InputError(
                f"{path}: an inverted grey scale (white is 0; expected black). Save it from Fiji after Image > Lookup Tables > Invert LUT."
            )
        dtype = str(page.dtype)
        lossy = (
            getattr(page.compression, "name", "")
            if getattr(page.compression, "name", "") in _LOSSY_COMPRESSIONS
            else ""
        )
        warnings: list[str] = []
        if description.lstrip().startswith("<?xml") or "<OME" in description[:2000]:
            channels, pages, calibration = read_ome(path, description, count)
        elif tif.is_imagej:
            channels, pages = _read_hyperstack(path, tif.imagej_metadata or {}, count)
            calibration = _tiff_calibration(page, description, warnings)
        else:
            if count > 1:
                raise InputError(
                    f"{path}: a stack of {count} pages that does not say what they are (got {count} pages, expected 1). "
                    "Save it from Fiji as a hyperstack with channels, or one plane for each file."
                )
            shape = re.search(r'"shape": \[([\d, ]+)\]', description)
            said_planes = (
                int(np.prod([int(n) for n in shape.group(1).split(",")[:-2]] or [1])) if shape and not colour else 1
            )
            if tif.is_stk or page.imagedepth > 1 or said_planes > 1:
                raise stack_refused(path, max(said_planes, page.imagedepth, 2), 1)
            channels, pages = ("1",), (0,)
            calibration = _tiff_calibration(page, description, warnings)
    return ImageInfo(path, height, width, dtype, channels, colour, calibration, tuple(warnings), lossy, pages)


def _read_hyperstack(path: Path, metadata: dict[str, Any], count: int) -> tuple[tuple[str, ...], tuple[int, ...]]:
    slices, frames = int(metadata.get("slices", 1)), int(metadata.get("frames", 1))
    n = int(metadata.get("channels", 1))
    if slices > 1 or frames > 1 or (n == 1 and int(metadata.get("images", count)) > 1):
        raise stack_refused(
            path, slices if slices > 1 else int(metadata.get("images", count)) // max(frames, 1), frames
        )
    labels = metadata.get("Labels") or []
    names = tuple(str(label) for label in labels) if len(labels) == n and len(set(labels)) == n and all(labels) else ()
    return names or tuple(str(i + 1) for i in range(n)), tuple(range(n))


def _tiff_calibration(page: Any, description: str, warnings: list[str]) -> Calibration:
    """Pixel size as ImageJ 1.54p reads it, operation by operation (TiffDecoder, then FileOpener.setCalibration)."""

    def per_pixel(name: str) -> float:
        tag = page.tags.get(name)
        return size_of(*tag.value) or 1.0 if tag is not None else 1.0

    width, height = per_pixel("XResolution"), per_pixel("YResolution")
    tag = page.tags.get("ResolutionUnit")
    unit = {1: " ", 2: "inch", 3: "cm"}.get(int(tag.value)) if tag is not None else None
    if unit == "inch" and width == 1.0 / 72.0:
        width = height = 1.0
        unit = None
    from_imagej = description.startswith("ImageJ") and len(description) >= 7
    if from_imagej:
        said = imagej_properties(description).get("unit", "")
        if unit == "cm" and said == "um":
            width, height = width * 10000, height * 10000
        unit = said
    if unit is None:
        return PIXELS
    if unit == "cm" and width <= (0.0001 if from_imagej else 0.001):
        width, height, unit = width * 10000.0, height * 10000.0, "um"
    if unit in ("inch", "in"):
        if width != 1:
            warnings.append(f"its resolution is in inch, a printer's unit ({1 / width:g} dpi): taken as not calibrated")
        return PIXELS
    if width == height == 1 and unit.strip() in ("", "pixel", "pixels"):
        return PIXELS
    return Calibration(width, height, "micron" if unit.lower() in MICROMETRE else unit or "pixel")


def imagej_properties(description: str) -> dict[str, str]:
    r"""Return the lines ``name=value`` of ImageJ's description of an image.

    Examples
    --------
    >>> imagej_properties("ImageJ=1.54p\nunit=micron\n")
    {'ImageJ': '1.54p', 'unit': 'micron'}
    """
    pairs = (line.partition("=") for line in description.splitlines())
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def decode_tiff(path: Path, page_index: int) -> npt.NDArray[Any]:
    """Return the pixels of one page of a TIFF."""
    import tifffile

    with tifffile_on_record(path), tifffile.TiffFile(path, is_ome=False) as tif:
        first = tif.pages.first
        size = first.imagelength * first.imagewidth * first.samplesperpixel * first.dtype.itemsize
        if page_index < len(tif.pages):
            page = tif.pages[page_index].aspage()
            if page.samplesperpixel > 1 and page.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
                return np.asarray(np.moveaxis(page.asarray(), 0, -1))
            return np.asarray(page.asarray())
        # ImageJ writes one directory for a whole stack above 4 GB; the planes follow each other.
        offset = first.dataoffsets[0] + page_index * size
        if offset + size > tif.filehandle.size:
            raise damaged(path, f"plane {page_index + 1} is missing: the file was cut")
        flat = tif.filehandle.read_array(tif.byteorder + first.dtype.char, size // first.dtype.itemsize, offset)
        plane: npt.NDArray[Any] = flat.reshape(first.imagelength, first.imagewidth)
        return plane
