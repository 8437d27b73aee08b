"""ROI sets: one pixel-exact ROI for each label, written, read and proved."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bridge.errors import RoiError
from bridge.files import roi_entries, write_bytes
from bridge.labels import Labels
from bridge.rois.trace import fill_rings, trace_rings

if TYPE_CHECKING:
    from roifile import ImagejRoi

# ImageJ's integer coordinates wrap above 60,535 (ij.io.RoiDecoder.getShort).
MAX_SIDE_PX = 60_000
_EPOCH = (1980, 1, 1, 0, 0, 0)
_STROKE = b"\xff\xff\xff\x00"  # opaque yellow, ImageJ's selection colour


def roi_name(label: int) -> str:
    """Return the name of a label's ROI.

    Examples
    --------
    >>> roi_name(42)
    '00042'
    """
    return f"{label:05d}"


def labels_to_rois(labels: Labels) -> list[ImagejRoi]:
    """Make one ROI for each label, whatever its shape.

    A label with one outline becomes a traced selection; one with holes or several parts a composite. Both run along
    pixel edges, so ImageJ selects exactly the label's pixels.

    Parameters
    ----------
    labels : ndarray of uint16 or uint32, shape (Y, X)

    Returns
    -------
    list of roifile.ImagejRoi
        In label order, named by the label.

    Raises
    ------
    RoiError
        A side above 60,000 px, where ImageJ's coordinates wrap.

    Examples
    --------
    >>> ring = np.ones((3, 3), np.uint16)
    >>> ring[1, 1] = 0
    >>> [(roi.name, roi.roitype.name) for roi in labels_to_rois(ring)]
    [('00001', 'RECT')]
    """
    if max(labels.shape) > MAX_SIDE_PX:
        raise RoiError(
            f"label image: too large for ImageJ's ROIs (got {labels.shape[0]} x {labels.shape[1]} px, expected sides up to {MAX_SIDE_PX}). Crop it."
        )
    rings = trace_rings(labels)
    first = (
        np.flatnonzero(np.r_[True, rings.label[1:] != rings.label[:-1]]) if rings.label.size else np.empty(0, np.int64)
    )
    last = np.r_[first[1:], rings.label.size] if first.size else first
    rois = []
    for a, b in zip(first.tolist(), last.tolist(), strict=True):
        part = slice(int(rings.start[a]), int(rings.start[b]))
        offsets = rings.start[a : b + 1] - rings.start[a]
        rois.append(_roi(int(rings.label[a]), rings.x[part], rings.y[part], offsets))
    return rois


def _roi(label: int, x: npt.NDArray[np.int32], y: npt.NDArray[np.int32], start: npt.NDArray[np.int64]) -> ImagejRoi:
    from roifile import ROI_TYPE, ImagejRoi

    left, top = int(x.min()), int(y.min())
    common = {
        "left": left,
        "top": top,
        "right": int(x.max()),
        "bottom": int(y.max()),
        "name": roi_name(label),
        "stroke_color": _STROKE,
    }
    if start.size == 2:
        corners = np.stack([x - left, y - top], axis=1).astype(np.int32)
        return ImagejRoi(roitype=ROI_TYPE.TRACED, n_coordinates=len(x), integer_coordinates=corners, **common)
    # A path of ImageJ's ShapeRoi: 0 x y (move), 1 x y (line) ..., 4 (close), for each ring.
    sizes = np.diff(start)
    path = np.ones(3 * len(x) + sizes.size, np.float32)
    at = 0
    for a, b in zip(start[:-1].tolist(), start[1:].tolist(), strict=True):
        block = path[at : at + 3 * (b - a)].reshape(-1, 3)
        block[0, 0] = 0
        block[:, 1] = x[a:b]
        block[:, 2] = y[a:b]
        at += 3 * (b - a) + 1
        path[at - 1] = 4
    return ImagejRoi(roitype=ROI_TYPE.RECT, multi_coordinates=path, shape_roi_size=path.size, **common)


def write_roiset(path: Path, rois: Sequence[ImagejRoi]) -> None:
    """Write ROIs as a zip that ImageJ's ROI Manager opens; the same ROIs give the same bytes.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    write_bytes(path, encode_roiset(rois))


def encode_roiset(rois: Sequence[ImagejRoi]) -> bytes:
    """Return the zip that `write_roiset` writes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for roi in rois:
            archive.writestr(zipfile.ZipInfo(f"{roi.name}.roi", _EPOCH), roi.tobytes())
    return content.getvalue()


def read_roiset(path: Path) -> list[ImagejRoi]:
    """Read the ROIs of a zip, in its order.

    Raises
    ------
    RoiError
        No such file, or damaged.
    """
    from roifile import ImagejRoi

    try:
        content = path.read_bytes()
    except OSError as error:
        raise RoiError(f"{path}: cannot be read ({error.strerror}). Check the path.") from error
    rois = []
    for name, entry in roi_entries(content, str(path)):
        try:
            roi = ImagejRoi.frombytes(entry)
        except (ValueError, struct.error, IndexError) as error:
            raise RoiError(f"{path}: {name} is not a ROI ({error}). Save the ROI set again.") from error
        if not roi.name:
            roi.name = Path(name).stem
        rois.append(roi)
    return rois


def rois_to_labels(rois: Sequence[ImagejRoi], shape: tuple[int, int], name: str = "ROI set") -> Labels:
    """Draw pixel-edge ROIs into a label image; each ROI's name is its label.

    Parameters
    ----------
    rois : sequence of roifile.ImagejRoi
        As `labels_to_rois` makes them: corners on pixel edges, sides horizontal or vertical.
    shape : (int, int)
        Height and width in px.
    name : str
        Named in messages.

    Returns
    -------
    ndarray of uint32, shape (Y, X)

    Raises
    ------
    RoiError
        A name that is no label, a ROI that is not on pixel edges, outside the image, or over another.
    """
    labels = np.zeros(shape, np.uint32)
    for roi in rois:
        if not roi.name.isdecimal() or int(roi.name) == 0:
            raise RoiError(
                f"{name}: a ROI whose name is no label (got {roi.name!r}, expected a number such as 00001). Use the ROI set as it was written."
            )
        x, y, start = _rings(roi, name)
        taken = fill_rings(labels, x, y, start, int(roi.name))
        if taken == -1:
            raise RoiError(
                f"{name}: {roi.name} does not run along pixel edges (expected horizontal and vertical sides). Use the ROI set as it was written."
            )
        if taken == -2:
            raise RoiError(
                f"{name}: {roi.name} leaves the image (expected {shape[0]} x {shape[1]} px). It belongs to another image."
            )
        if taken:
            raise RoiError(
                f"{name}: {roi.name} lies over another ROI (got {taken} px in both, expected 0). Remove one of the two."
            )
    return labels


def _rings(roi: ImagejRoi, name: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    if roi.multi_coordinates is not None:
        path = np.asarray(roi.multi_coordinates, np.float64)
        xs, ys, start, i = [], [], [0], 0
        while i < path.size:
            if path[i] in (0, 1) and i + 2 < path.size:
                xs.append(path[i + 1])
                ys.append(path[i + 2])
                i += 3
            elif path[i] == 4:
                start.append(len(xs))
                i += 1
            else:
                raise RoiError(
                    f"{name}: {roi.name} has curved sides (got segment type {path[i]:g}, expected straight ones). Use the ROI set as it was written."
                )
        x, y = np.array(xs), np.array(ys)
    elif roi.integer_coordinates is not None:
        corners = np.asarray(roi.integer_coordinates, np.float64)
        x, y = corners[:, 0] + roi.left, corners[:, 1] + roi.top
        start = [0, len(x)]
    else:
        raise RoiError(
            f"{name}: {roi.name} is of type {roi.roitype.name} (expected a traced or composite ROI). Use the ROI set as it was written."
        )
    if (x != np.floor(x)).any() or (y != np.floor(y)).any():
        raise RoiError(
            f"{name}: {roi.name} has corners between pixel edges (expected whole numbers). Use the ROI set as it was written."
        )
    return x.astype(np.int64), y.astype(np.int64), np.array(start, np.int64)


def verify_roiset(path: Path, labels: Labels) -> int:
    """Read a ROI set again and compare it with its label image.

    Parameters
    ----------
    path : Path
    labels : ndarray of uint16 or uint32, shape (Y, X)

    Returns
    -------
    int
        Number of ROIs; all of them equal their labels.

    Raises
    ------
    RoiError
        One pixel differs, or there is not one ROI for each label.
    """
    rois = read_roiset(path)
    decoded = rois_to_labels(rois, (labels.shape[0], labels.shape[1]), str(path))
    different = int(np.count_nonzero(decoded != labels))
    n_labels = np.unique(labels[labels > 0]).size
    if different or len(rois) != n_labels:
        raise RoiError(
            f"{path}: does not equal its label image (got {len(rois)} ROIs and {different} different px, expected "
            f"{n_labels} and 0). This is a fault of the program: please report it with the label image."
        )
    return len(rois)
