"""TIFF: one plane, ImageJ's hyperstacks, complete or refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.errors import InputError
from bridge.images.damage import damaged, require_depth, require_whole, stack_refused, tifffile_on_record
from bridge.images.image import ImageInfo, require_size
from bridge.images.imagej_tags import inverted_luts, read_calibration, slice_labels
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

_WHITE_IS_ZERO = (
    "an inverted grey scale (white is 0; expected black). Save it from Fiji after Image > Lookup Tables > Invert LUT."
)


def all_pages(tif: Any) -> list[Any]:
    """Return the pages of an open TIFF; counted first, since tifffile sees only then that a chain of pages bites its tail."""
    return [tif.pages[k].aspage() for k in range(len(tif.pages))]


def inspect_tiff(path: Path) -> ImageInfo:
    """Read what a TIFF says about itself, and check that it is complete as far as its directory tells."""
    import tifffile

    with tifffile_on_record(path) as said, tifffile.TiffFile(path, is_ome=False) as tif:
        every = all_pages(tif)
        if said:
            raise damaged(path, said[0])
        # Thumbnails are marked as such, and are no planes.
        full = [k for k, other in enumerate(every) if not other.is_reduced] or [0]
        page = every[full[0]]
        height, width = page.imagelength, page.imagewidth
        require_size(path, height, width)
        description = page.description or ""
        count = len(full)
        for other in every:
            require_whole(path, tif.filehandle.size, other)
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
        dtype = str(page.dtype)
        lossy = (
            getattr(page.compression, "name", "")
            if getattr(page.compression, "name", "") in _LOSSY_COMPRESSIONS
            else ""
        )
        warnings: list[str] = []
        imagej = (tif.imagej_metadata or {}) if tif.is_imagej else {}
        own_scale = False
        if description.lstrip().startswith("<?xml") or "<OME" in description[:2000]:
            channels, pages, calibration = read_ome(path, description, count, warnings)
            own_scale = True
        elif tif.is_imagej:
            channels, pages = _read_hyperstack(path, imagej, count)
            calibration = read_calibration(path, page, description, "rgb" if colour else dtype, warnings)
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
            calibration = read_calibration(path, page, description, "rgb" if colour else dtype, warnings)
        inverted = inverted_luts(page, imagej, len(channels))
        n_planes = count if own_scale else len(channels)
        own_scale |= bool(warnings)
    pages = tuple(full[k] if k < len(full) else k for k in pages)
    return ImageInfo(
        path, height, width, dtype, channels, colour, calibration, tuple(warnings), lossy, pages,
        n_planes, slice_labels(imagej), inverted, own_scale,
        _WHITE_IS_ZERO if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE else "",
    )  # fmt: skip


def _read_hyperstack(path: Path, metadata: dict[str, Any], count: int) -> tuple[tuple[str, ...], tuple[int, ...]]:
    slices, frames = int(metadata.get("slices", 1)), int(metadata.get("frames", 1))
    n = int(metadata.get("channels", 1))
    if slices > 1 or frames > 1 or (n == 1 and int(metadata.get("images", count)) > 1):
        raise stack_refused(
            path, slices if slices > 1 else int(metadata.get("images", count)) // max(frames, 1), frames
        )
    labels = slice_labels(metadata)
    names = labels if len(labels) == n and len(set(labels)) == n and all(labels) else ()
    return names or tuple(str(i + 1) for i in range(n)), tuple(range(n))


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
