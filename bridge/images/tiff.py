"""TIFF in its many dialects: what a file holds, complete or refused, and one plane of it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.errors import InputError
from bridge.images.damage import damaged, require_depth, require_whole, tifffile_on_record
from bridge.images.image import At, ImageInfo, require_size
from bridge.images.imagej_tags import inverted_luts, slice_labels
from bridge.images.ome import companion_of, ome_root, read_ome
from bridge.images.ome_files import images_in_files
from bridge.images.tiff_planes import Planes, planes_of

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


def scenes(path: Path) -> tuple[ImageInfo, ...]:
    """Read what a TIFF says about itself, and check that it is complete as far as its directory tells.

    Returns
    -------
    tuple of ImageInfo
        One for each image in it: OME-TIFFs may hold several.
    """
    import tifffile

    # Given an open file it does not look up each folder of the path, which takes its time on a network drive.
    with tifffile_on_record(path) as said, path.open("rb") as file, tifffile.TiffFile(file, name=path.name, is_ome=False) as tif:  # fmt: skip
        every = all_pages(tif)
        if said:
            raise damaged(path, said[0])
        # Thumbnails are marked as such, and are no planes.
        full = [k for k, other in enumerate(every) if not other.is_reduced] or [0]
        for other in every:
            require_whole(path, tif.filehandle.size, other)
        description = every[full[0]].description or ""
        if description.lstrip().startswith("<?xml") or "<OME" in description[:2000]:
            root = ome_root(path, description)
            if companion_of(root):
                raise InputError(f"{path}: a part of {companion_of(root)} (expected that file beside it). Give that file instead.")  # fmt: skip
            return images_in_files(path, read_ome(path, description, len(full)), _own_pages(path, tif, every, full), page_kinds)  # fmt: skip
        page = every[full[0]]
        info = _info(path, tif, page, len(full))
        found = planes_of(path, tif, page, len(full), "rgb" if info.colour else info.dtype)
    return (_with(info, found, full),)


def _own_pages(path: Path, tif: Any, every: list[Any], full: list[int]) -> list[tuple[int, ImageInfo]]:
    """Return number and kind of each page of a file that is a plane."""
    kinds: dict[tuple[Any, ...], ImageInfo] = {}
    found = []
    for k in full:
        page = every[k]
        kind = (page.imagelength, page.imagewidth, str(page.dtype), page.samplesperpixel, page.photometric, page.compression)  # fmt: skip
        if kind not in kinds:
            kinds[kind] = _info(path, tif, page, len(full))
        found.append((k, kinds[kind]))
    return found


def page_kinds(path: Path) -> tuple[ImageInfo, ...]:
    """Return what each page of a TIFF says, its pixels checked to be there.

    Raises
    ------
    InputError
        It is damaged.
    """
    state = path.stat()
    return _page_kinds(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=10_000)
def _page_kinds(path: Path, changed_ns: int, size: int) -> tuple[ImageInfo, ...]:  # noqa: ARG001 what a new file has anew
    import tifffile

    with tifffile_on_record(path), tifffile.TiffFile(path, is_ome=False) as tif:
        every = all_pages(tif)
        for page in every:
            require_whole(path, tif.filehandle.size, page)
        return tuple(_info(path, tif, page, len(every)) for page in every)


def _info(path: Path, tif: Any, page: Any, count: int) -> ImageInfo:
    """Return what one page says, without where the planes are."""
    import tifffile

    require_size(path, page.imagelength, page.imagewidth)
    require_depth(path, page)
    samples = page.samplesperpixel
    colour = samples in (3, 4) and page.photometric in (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR)
    if tif.is_lsm:  # its samples are channels, in whatever colours they were shown
        colour = False
    elif samples > 1 and not colour:
        raise InputError(
            f"{path}: {samples} samples in each pixel (expected 1, or 3 for colour). Save one channel for each page."
        )
    # ImageJ writes an 8-bit image with a colour look-up table as a palette; its indices are the grey levels.
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE and not (tif.is_imagej or tif.is_lsm):
        raise InputError(
            f"{path}: indexed colour (a palette; expected grey levels). Save it as an 8- or 16-bit grey TIFF."
        )
    compression = getattr(page.compression, "name", "")
    imagej = (tif.imagej_metadata or {}) if tif.is_imagej else {}
    return ImageInfo(
        path, page.imagelength, page.imagewidth, str(page.dtype), colour=colour,
        lossy=compression if compression in _LOSSY_COMPRESSIONS else "", n_planes=count,
        slice_labels=slice_labels(imagej), inverted=inverted_luts(page, imagej, 1),
        refused=_WHITE_IS_ZERO if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE else "",
    )  # fmt: skip


def _with(info: ImageInfo, found: Planes, full: list[int]) -> ImageInfo:
    import dataclasses

    at = [(At(full[a.page], a.part, a.sample) if a.page < len(full) else a) for a in found.at]
    return dataclasses.replace(
        info, channels=found.channels, n_slices=found.n_slices, n_frames=found.n_frames, planes=tuple(at),
        calibration=found.calibration, warnings=tuple(found.warnings), interval_s=found.interval_s,
        inverted=found.inverted or info.inverted, n_planes=len(at), own_scale=found.own_scale or bool(found.warnings),
        by_imagej=found.by_imagej,
    )  # fmt: skip


def decode(info: ImageInfo, channel: int, frame: int, z: int) -> npt.NDArray[Any]:
    """Return the pixels of one plane, (Y, X) or (Y, X, RGB)."""
    import tifffile

    at = info.at(channel, frame, z)
    path = info.parts[at.part] if info.parts else info.path
    with tifffile_on_record(path), tifffile.TiffFile(path, is_ome=False) as tif:
        first = tif.pages.first
        if at.page < len(tif.pages):
            page = tif.pages[at.page].aspage()
            if (page.imagelength, page.imagewidth, str(page.dtype)) != (info.height, info.width, info.dtype):
                got = f"page {at.page + 1} of {page.imagelength} x {page.imagewidth} px, {page.dtype}"
                raise damaged(path, f"{got}, where {info.height} x {info.width} px, {info.dtype} are promised")
            require_whole(path, tif.filehandle.size, page)
            pixels = np.asarray(page.asarray())
            if page.samplesperpixel > 1 and page.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
                return pixels[at.sample] if at.sample is not None else np.asarray(np.moveaxis(pixels, 0, -1))
            return np.asarray(pixels[..., at.sample]) if at.sample is not None and pixels.ndim == 3 else pixels
        # ImageJ writes one directory for a whole stack above 4 GB, MetaMorph for each stack; the planes follow each other.
        size = first.imagelength * first.imagewidth * first.samplesperpixel * first.dtype.itemsize
        offset = first.dataoffsets[0] + at.page * size
        if offset + size > tif.filehandle.size:
            raise damaged(path, f"plane {at.page + 1} is missing: the file was cut")
        flat = tif.filehandle.read_array(tif.byteorder + first.dtype.char, size // first.dtype.itemsize, offset)
        plane: npt.NDArray[Any] = flat.reshape(first.imagelength, first.imagewidth)
        return plane
