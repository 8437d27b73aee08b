"""Which of the cells are kept: by size, roundness, brightness and place, whether they were found or given."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bridge.calibration import PIXELS
from bridge.errors import InputError
from bridge.imagej.outlines import traced_perimeter
from bridge.labels import Labels, label_areas
from bridge.rois.roiset import read_roiset, selections_of

if TYPE_CHECKING:
    from bridge.images.image import Plane
    from bridge.settings import Settings


def filter_cells(
    labels: Labels, plane: Plane | None, settings: Settings, region: Path | None, name: str = "image"
) -> tuple[Labels, Counter[str]]:
    """Remove the cells that the settings exclude; the others keep their ids.

    Parameters
    ----------
    labels : ndarray of uint16 or uint32, shape (Y, X)
    plane : Plane or None
        The image in which the cells were found, for their brightness.
    settings : Settings
    region : Path or None
        ROIs; a cell counts if its centroid lies within one of them.
    name : str
        Named in messages.

    Returns
    -------
    labels : ndarray of uint16 or uint32, shape (Y, X)
    dropped : Counter
        How many were removed, by reason: ``large``, ``shape``, ``dim``, ``outside``.

    Raises
    ------
    InputError
        Brightness is asked for, and there is no image.
    RoiError
        The region cannot be read.
    """
    dropped: Counter[str] = Counter()
    if not settings.filters_cells and region is None:
        return labels, dropped
    areas = label_areas(labels)
    kept = areas > 0

    def drop(why: str, wrong: npt.NDArray[Any]) -> None:
        dropped[why] = int(np.count_nonzero(kept & wrong))
        kept[wrong] = False

    if settings.max_size is not None:
        drop("large", areas > settings.max_size)
    if settings.min_circularity is not None:
        drop("shape", _circularity(labels, areas) < settings.min_circularity)
    if settings.min_mean is not None:
        if plane is None:
            raise InputError(
                f"{name}: no image for --min-mean (expected the one in which the cells are found). Add it, or leave out --min-mean."
            )
        sums = np.bincount(labels.ravel(), weights=plane.pixels.ravel().astype(np.float64), minlength=areas.size)
        drop("dim", sums / np.maximum(areas, 1) < settings.min_mean)
    if region is not None:
        drop("outside", ~_within(labels, areas, region))
    return np.where(kept[labels], labels, 0).astype(labels.dtype), dropped


def _circularity(labels: Labels, areas: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """ImageJ's circularity of each id, at most 1; indexed by id."""
    cells = selections_of(labels)
    ids = np.array([int(text) for text in cells.names], np.int64)
    perimeter = traced_perimeter(cells, PIXELS)
    found = np.zeros(areas.size)
    with np.errstate(divide="ignore"):
        found[ids] = np.where(perimeter > 0, np.minimum(4 * np.pi * areas[ids] / perimeter**2, 1.0), 0.0)
    return found


def _within(labels: Labels, areas: npt.NDArray[Any], region: Path) -> npt.NDArray[Any]:
    """Whether the centroid of each id lies in a ROI; indexed by id."""
    drawn = read_roiset(region, (labels.shape[0], labels.shape[1]))
    inside = np.zeros(labels.shape, np.bool_)
    for row, left, right in zip(drawn.row, drawn.left, drawn.right, strict=True):
        inside[row, left:right] = True
    y, x = np.indices(labels.shape)
    flat = labels.ravel()
    n = np.maximum(np.bincount(flat, minlength=areas.size), 1)
    rows = np.bincount(flat, weights=y.ravel(), minlength=areas.size) / n
    columns = np.bincount(flat, weights=x.ravel(), minlength=areas.size) / n
    found: npt.NDArray[Any] = inside[np.floor(rows + 0.5).astype(int), np.floor(columns + 0.5).astype(int)]
    return found
