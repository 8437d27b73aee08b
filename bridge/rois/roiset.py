"""ROI sets: label image to ROI set and back, and the proof that nothing was lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.errors import RoiError
from bridge.kernels import kernel
from bridge.labels import Labels, label_ids
from bridge.rois.decode import decode_rois
from bridge.rois.encode import encode_rings
from bridge.rois.fill import fill
from bridge.rois.trace import trace_rings
from bridge.rois.unzip import unzip_rois
from bridge.selections import Selections

# ImageJ's integer coordinates wrap above 60,535 (ij.io.RoiDecoder.getShort).
MAX_SIDE_PX = 60_000


def encode_roiset(labels: Labels, group: npt.NDArray[Any] | None = None, frame: int = 0) -> bytes:
    """Make a ROI set with one ROI for each label, whatever its shape.

    A label with one outline becomes a traced selection; one with holes or several parts a composite. Both run along
    pixel edges, so ImageJ selects exactly the label's pixels.

    Parameters
    ----------
    labels : ndarray of uint8, uint16 or uint32, shape (Y, X)
    group : ndarray of uint8, shape (n_labels + 1,), optional
        ImageJ's group of each label, which the ROI Manager shows by its colour; 0 for none.
    frame : int
        Position in time, from 1, in a stack over time; 0 for none.

    Returns
    -------
    bytes
        A zip that ImageJ's ROI Manager opens, the ROIs in label order and named by the label. The same labels give the
        same bytes.

    Raises
    ------
    RoiError
        A side above 60,000 px, where ImageJ's coordinates wrap.

    Examples
    --------
    >>> content = encode_roiset(np.array([[0, 3], [3, 3]], np.uint16))
    >>> decode_roiset(content, (2, 2)).area_px.tolist()
    [3]
    """
    if max(labels.shape) > MAX_SIDE_PX:
        raise RoiError(
            f"label image: too large for ImageJ's ROIs (got {labels.shape[0]} x {labels.shape[1]} px, expected sides up to {MAX_SIDE_PX}). Crop it."
        )
    return encode_rings(trace_rings(labels), group, frame)


def selections_of(labels: Labels) -> Selections:
    """Return the ROIs of a label image, as they are read again from its ROI set.

    Parameters
    ----------
    labels : ndarray of uint8, uint16 or uint32, shape (Y, X)

    Returns
    -------
    Selections

    Examples
    --------
    >>> selections_of(np.array([[0, 3], [3, 3]], np.uint16)).area_px.tolist()
    [3]
    """
    return decode_roiset(encode_roiset(labels), (labels.shape[0], labels.shape[1]))


def decode_roiset(content: bytes, shape: tuple[int, int], name: str = "ROI set") -> Selections:
    """Read the ROIs of a zip, in its order, and find the pixels that ImageJ would select with each.

    Parameters
    ----------
    content : bytes
        The zip: written here, saved by the ROI Manager, or drawn and edited by hand (polygon, freehand, traced, oval,
        ellipse, rectangle, rounded or rotated rectangle, composite).
    shape : (int, int)
        Height and width of the image in px.
    name : str
        Named in messages.

    Returns
    -------
    Selections

    Raises
    ------
    RoiError
        Damaged, or not a ROI set.
    """
    entries, encoded, offset = unzip_rois(content, name)
    found = decode_rois(entries, encoded, offset, name)
    row, left, right, first = fill(found.outlines, shape)
    return Selections(
        found.names, encoded, offset, shape, row, left, right, first, found.group, found.outlines, found.points,
        found.slice_of, found.problems,
    )  # fmt: skip


def read_roiset(path: Path, shape: tuple[int, int]) -> Selections:
    """Read a ROI set; as `decode_roiset`.

    Raises
    ------
    RoiError
        No such file, or damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RoiError(f"{path}: cannot be read ({error.strerror}). Check the path.") from error
    return decode_roiset(content, shape, str(path))


def verify_roiset(found: Selections, labels: Labels, name: str = "ROI set") -> int:
    """Compare a ROI set, as it was read again, with its label image.

    Parameters
    ----------
    found : Selections
    labels : ndarray of uint8, uint16 or uint32, shape (Y, X)
    name : str
        Named in messages.

    Returns
    -------
    int
        Number of ROIs; all of them equal their labels.

    Raises
    ------
    RoiError
        One pixel differs, or there is not one ROI for each label, in their order and with their names.
    """
    ids = np.array([int(text) if text.isdecimal() else -1 for text in found.names], np.int64)
    fits = not ids.size or 0 <= ids.min() <= ids.max() <= np.iinfo(labels.dtype).max
    runs = found.row, found.left, found.right, found.first, found.by_place
    right, wrong = _compare(labels, *runs, ids.astype(labels.dtype))
    # No pixel can be selected rightly twice: the names are unique.
    missing = int(np.count_nonzero(labels)) - right
    if wrong or missing or not fits or found.problem or (np.diff(ids) <= 0).any():
        raise RoiError(
            f"{name}: does not equal its label image (got {ids.size} ROIs and {wrong + missing} different px, expected "
            f"{label_ids(labels).size} and 0). This is a fault of the program: please report it with the label image."
        )
    return int(ids.size)


@kernel
def _compare(labels: Any, row: Any, left: Any, right: Any, first: Any, order: Any, ids: Any) -> tuple[int, int]:
    """Return how many selected pixels have the ROI's label, and how many have another or none."""
    n_right, n_wrong = 0, 0
    for k in order:
        value = ids[k]
        for i in range(first[k], first[k + 1]):
            run = labels[row[i], left[i] : right[i]]
            equal = 0
            for column in range(run.size):
                equal += run[column] == value
            n_right += equal
            n_wrong += run.size - equal
    return n_right, n_wrong
