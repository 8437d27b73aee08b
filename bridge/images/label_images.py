"""Label images in files: read, checked, written and found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bridge.calibration import PIXELS, Calibration, imagej_scale
from bridge.errors import LabelError
from bridge.files import whole_file
from bridge.images.reader import decode, inspect
from bridge.labels import Labels, as_labels, separate_parts
from bridge.names import SEG_SUFFIX
from bridge.npy import read_npy

_PARTS_OF_A_BINARY_MASK = 5  # separate places of the only id of an image, from which on it is not one cell


def write_labels(path: Path, labels: Labels, calibration: Calibration | None = None) -> None:
    """Write a label image as TIFF; ImageJ opens it with its ids, its contrast and its calibration.

    Parameters
    ----------
    path : Path
        ``<field_id>_mask.tif``.
    labels : ndarray of uint16 or uint32, shape (Y, X)
    calibration : Calibration, optional

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    import tifffile

    options: dict[str, Any] = {}
    if labels.dtype == np.uint16:
        scale, options = imagej_scale(calibration or PIXELS)
        lines = [
            "ImageJ=1.54p",
            *(f"{key}={value}" for key, value in scale.items()),
            "min=0.0",
            f"max={float(labels.max())}",
        ]
        options |= {"description": "\n".join([*lines, ""]), "resolutionunit": tifffile.RESUNIT.NONE}
    with whole_file(path) as part:
        tifffile.imwrite(part, labels, photometric="minisblack", compression="zlib", metadata=None, **options)


def read_labels(path: Path, foreign: bool = False) -> Labels:
    """Read a label image from TIFF, PNG or a ``_seg.npy`` of the Cellpose GUI, and check it.

    Parameters
    ----------
    path : Path
    foreign : bool
        From elsewhere: also refuse a picture of cells or not, which would count as one cell.

    Returns
    -------
    ndarray of uint16 or uint32, shape (Y, X)

    Raises
    ------
    InputError
        The file is damaged or not one plane.
    LabelError
        It breaks the label-image contract.
    """
    if path.name.endswith(SEG_SUFFIX):
        content = read_npy(path)
        masks = content.get("masks") if isinstance(content, dict) else None
        if not isinstance(masks, np.ndarray) or masks.ndim != 2:
            raise LabelError(
                f"{path}: holds no masks (expected the _seg.npy of a 2-D image). Save it in Cellpose again."
            )
        labels = as_labels(masks, str(path))
    else:
        labels = _labels_of_image(path)
    if foreign:
        _refuse_binary_mask(labels, path)
    return labels


def _labels_of_image(path: Path) -> Labels:
    info = inspect(path)
    if info.colour or len(info.channels) > 1:
        raise LabelError(
            f"{path}: not a label image (got {'colour' if info.colour else 'several channels'}, expected one plane of ids). Save the ids as 16-bit."
        )
    return as_labels(decode(info), str(path))


def _refuse_binary_mask(labels: Labels, path: Path) -> None:
    first, last = labels.ravel()[np.argmax(labels != 0)], labels.max()
    if first != last or first == 0 or (labels[labels != 0] != first).any():
        return
    if (n := separate_parts(labels != 0)) >= _PARTS_OF_A_BINARY_MASK:
        raise LabelError(
            f"{path}: a binary mask (got one id, {first}, in {n} separate places, expected one id for each cell). Label the cells first."
        )
