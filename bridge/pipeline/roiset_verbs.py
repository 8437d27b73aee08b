"""Label images to ROI sets and back, and two ROI sets compared."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bridge.errors import RoiError
from bridge.files import new_file, write_bytes
from bridge.images.label_images import read_labels, write_labels
from bridge.images.reader import inspect
from bridge.names import image_name, rois_that
from bridge.tables import OVERLAPS, typed_table, write_table

if TYPE_CHECKING:
    from bridge.rois.compare import Difference

_log = logging.getLogger(__name__)


def trace(
    mask: Path | str, out: Path | str, accept_labels: bool = False, program: Literal["fiji", "qupath"] = "fiji"
) -> Path:
    """Make the ROI set of a label image, or the objects of QuPath, and prove it.

    Parameters
    ----------
    mask : Path or str
        Label image.
    out : Path or str
        Folder for ``<name>_RoiSet.zip`` or ``<name>.geojson``.
    accept_labels : bool
        Take a label image that does not look like any.
    program : {"fiji", "qupath"}
        That opens it.

    Returns
    -------
    Path
        The file; decoded again, not one pixel differs from the label image.

    Raises
    ------
    InputError, LabelError, OutputError, RoiError
    """
    from bridge.rois.geojson import encode_geojson
    from bridge.rois.roiset import encode_roiset, read_roiset, verify_roiset

    mask = Path(mask)
    labels = read_labels(mask, foreign=not accept_labels)
    name = image_name(mask)
    path = new_file(Path(out) / (f"{name}_RoiSet.zip" if program == "fiji" else f"{name}.geojson"))
    write_bytes(path, encode_roiset(labels) if program == "fiji" else encode_geojson(labels, name))
    verify_roiset(read_roiset(path, (labels.shape[0], labels.shape[1])), labels, str(path))
    return path


def rasterize(roiset: Path | str, like: Path | str, out: Path | str) -> Path:
    """Make the label image of a ROI set, wherever it comes from: drawn in Fiji, or by another program.

    Parameters
    ----------
    roiset : Path or str
        Zip of ROIs (polygon, freehand, traced, oval, ellipse, rectangle, composite), each filled as ImageJ fills it;
        GeoJSON of QuPath; ``_cp_outlines.txt`` of Cellpose.
    like : Path or str
        The image it belongs to: gives size and calibration.
    out : Path or str
        Folder for ``<name>_mask.tif``.

    Returns
    -------
    Path
        The label image. If all ROIs are named by numbers, these are the labels, else they are numbered from 1. Where
        ROIs overlap, a pixel belongs to the first of them; ``<name>_overlaps.csv`` lists each ROI that loses pixels, and
        to which. A warning is logged; another one names the ROIs that select no pixel of the image.

    Raises
    ------
    RoiError
        Nothing is left of a ROI beside the ones before it (the files are written all the same), or ROIs of several slices.
    InputError, LabelError, OutputError
    """
    from bridge.rois.draw import selections_to_labels
    from bridge.rois.roiset import read_roiset

    roiset, info = Path(roiset), inspect(Path(like))
    drawn = selections_to_labels(read_roiset(roiset, (info.height, info.width)), str(roiset))
    path = new_file(Path(out) / f"{image_name(roiset)}_mask.tif")
    table = new_file(path.with_name(f"{image_name(roiset)}_overlaps.csv"))
    write_labels(path, drawn.labels, info.calibration)
    if drawn.empty:
        _log.warning(
            "%s: %s", roiset, rois_that("select no pixel of the image and are not in the label image", drawn.empty)
        )
    if drawn.losses:
        rows = [dataclasses.asdict(loss) for loss in drawn.losses]
        write_table(table, typed_table(rows, OVERLAPS), OVERLAPS)
        losers = tuple(dict.fromkeys(loss.roi for loss in drawn.losses))
        _log.warning(
            "%s: %s (%d px stay with the earlier ROI); see %s",
            roiset, rois_that("overlap earlier ones", losers), sum(loss.lost_px for loss in drawn.losses), table,
        )  # fmt: skip
    if drawn.covered:
        raise RoiError(
            f"{roiset}: {rois_that('are covered whole by earlier ones', drawn.covered)} (expected pixels of their own). "
            f"{path} was written without them: put the smaller ROIs first, or draw them apart."
        )
    return path


def compare(before: Path | str, after: Path | str) -> list[Difference]:
    """Compare two ROI sets of one image, cell by cell.

    Parameters
    ----------
    before, after : Path or str
        Zips of ROIs.

    Returns
    -------
    list of bridge.rois.compare.Difference
        One for each pair of cells and each cell without a partner; partners are found by overlap, not by name.

    Raises
    ------
    RoiError
    """
    from bridge.rois.compare import compare as work
    from bridge.rois.roiset import MAX_SIDE_PX, read_roiset

    whole = (MAX_SIDE_PX, MAX_SIDE_PX)  # no image is needed: pixels are kept as runs
    return work(read_roiset(Path(before), whole), read_roiset(Path(after), whole))
