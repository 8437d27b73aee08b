"""The ids in a file, of whatever type programs save them in; nothing is scaled, and a palette's index is the id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.errors import LabelError
from bridge.images.damage import damaged, require_whole, tifffile_on_record
from bridge.images.image import require_size
from bridge.images.reader import decode, inspect
from bridge.images.tiff import all_pages


def read_ids(path: Path) -> npt.NDArray[Any]:
    """Return the pixels of a label image: whole numbers of any type, one plane.

    Parameters
    ----------
    path : Path
        TIFF or PNG, grey or with a palette.

    Returns
    -------
    ndarray, shape (Y, X)

    Raises
    ------
    InputError
        Damaged or not an image.
    LabelError
        Colour, several planes, or a compression that changes ids.
    """
    if path.suffix.lower() in (".tif", ".tiff"):
        return _ids_of_tiff(path)
    indices = _palette_indices(path)
    if indices is not None:
        return indices
    info = inspect(path)
    if info.colour:
        raise _not_one_plane(path, "colour")
    if info.lossy:
        raise _changed(path, "JPEG")
    return decode(info)


def _ids_of_tiff(path: Path) -> npt.NDArray[Any]:
    import tifffile

    if not path.is_file():
        inspect(path)  # says that it is not there
    with tifffile_on_record(path) as problems, tifffile.TiffFile(path, is_ome=False) as tif:
        if problems:
            raise damaged(path, problems[0])
        page = tif.pages.first
        require_size(path, page.imagelength, page.imagewidth)
        for other in all_pages(tif):
            require_whole(path, tif.filehandle.size, other)
        if page.photometric in (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR):
            raise _not_one_plane(path, "colour")
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            raise LabelError(
                f"{path}: an inverted grey scale (white is 0; expected black). Save the label image again."
            )
        if "JPEG" in getattr(page.compression, "name", "") or "WEBP" in getattr(page.compression, "name", ""):
            raise _changed(path, page.compression.name)
        shape = tuple(n for n in tif.series[0].shape if n != 1) if tif.series else ()
        if len(tif.pages) > 1 or len(shape) > 2:
            raise _not_one_plane(path, f"shape {tuple(tif.series[0].shape)}")
        ids = np.asarray(page.asarray(squeeze=True))
    return np.ascontiguousarray(ids.reshape(page.imagelength, page.imagewidth), ids.dtype.newbyteorder("="))


def _palette_indices(path: Path) -> npt.NDArray[np.uint8] | None:
    """Return the indices of a PNG with a palette, as programs save label images; None of any other file."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return np.array(picture) if picture.mode == "P" else None
    except Exception:  # whatever a damaged file makes Pillow raise: said by who reads it next
        return None


def _not_one_plane(path: Path, what: str) -> LabelError:
    return LabelError(f"{path}: not a label image (got {what}, expected one plane of ids). Save the ids as 16-bit.")


def _changed(path: Path, compression: str) -> LabelError:
    return LabelError(
        f"{path}: not a label image ({compression} changes ids; expected a lossless file). Save the ids as TIFF or PNG."
    )
