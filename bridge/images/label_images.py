"""Label images in files: read, checked, written and found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bridge.calibration import PIXELS, Calibration, imagej_scale
from bridge.errors import LabelError
from bridge.files import whole_file
from bridge.images.label_check import require_plausible
from bridge.images.label_pixels import read_ids
from bridge.labels import Labels, as_labels
from bridge.names import SEG_SUFFIX, image_name
from bridge.npy import read_npy


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
        From elsewhere: also refuse what does not look like a label image.

    Returns
    -------
    ndarray of uint16 or uint32, shape (Y, X)

    Raises
    ------
    InputError
        The file is damaged or not one plane.
    LabelError
        It breaks the label-image contract, or looks like none.
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
        labels = as_labels(read_ids(path), str(path))
    if foreign:
        require_plausible(labels, path)
        _require_same_as_saved_by_the_gui(labels, path)
    return labels


def _require_same_as_saved_by_the_gui(labels: Labels, path: Path) -> None:
    twin = path.with_name(f"{image_name(path)}{SEG_SUFFIX}")
    if twin == path or not twin.is_file():
        return
    other = read_labels(twin)
    if not np.array_equal(labels, other):
        raise LabelError(
            f"{path}: not the label image that {twin.name} holds (expected the same cells in both). Remove the older one of the two."
        )
