"""The label-image contract: (Y, X) unsigned integers, 0 = background, each cell one id."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.errors import LabelError

MAX_LABEL = 2**24  # ImageJ reads 32-bit integers as floats: exact up to here
Labels = npt.NDArray[Any]


def as_labels(array: npt.ArrayLike, name: str = "label image") -> Labels:
    """Check an array against the label-image contract and give it the smallest type that holds its ids.

    Parameters
    ----------
    array : array_like, shape (Y, X)
        Integers (or floats that are whole numbers), 0 = background.
    name : str
        Named in messages.

    Returns
    -------
    ndarray of uint16 or uint32, shape (Y, X)
        The same ids: nothing is renumbered. uint32 if the largest id is above 65,535.

    Raises
    ------
    LabelError
        Not 2-D, not whole numbers, negative, or an id above 16,777,216.

    Examples
    --------
    >>> as_labels([[0, 7], [7, 70000]]).dtype.name
    'uint32'
    """
    labels = np.asarray(array)
    if labels.ndim != 2 or labels.size == 0:
        raise LabelError(f"{name}: not a 2-D label image (got shape {labels.shape}, expected (Y, X)). Save one plane.")
    if labels.dtype == bool:
        raise LabelError(f"{name}: a binary mask (expected one id for each cell). Label the cells first.")
    if labels.dtype.kind == "f":
        if not np.isfinite(labels).all() or (labels != np.floor(labels)).any():
            raise LabelError(
                f"{name}: ids that are not whole numbers (expected integers). Save the label image as 16-bit."
            )
    elif labels.dtype.kind not in "iu":
        raise LabelError(f"{name}: pixels of type {labels.dtype} (expected integers). Save the label image as 16-bit.")
    low, high = labels.min(), labels.max()
    if low < 0:
        raise LabelError(f"{name}: negative ids (got {int(low)}, expected 0 and above). Save the label image again.")
    if high > MAX_LABEL:
        raise LabelError(
            f"{name}: an id ImageJ cannot hold exactly (got {int(high)}, expected at most {MAX_LABEL}). Renumber the cells."
        )
    return np.ascontiguousarray(labels, np.uint16 if high <= 65535 else np.uint32)


def label_ids(labels: Labels) -> npt.NDArray[np.int64]:
    """Return the ids in a label image, ascending, without 0."""
    return np.flatnonzero(label_areas(labels))


def label_areas(labels: Labels) -> npt.NDArray[np.int64]:
    """Return the number of pixels of each id, indexed by id; entry 0 is 0.

    Examples
    --------
    >>> label_areas(np.array([[0, 3], [3, 1]], np.uint16))
    array([0, 1, 0, 2])
    """
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    return areas


def touches_border(labels: Labels) -> npt.NDArray[np.bool_]:
    """Return whether each id has a pixel in the first or last row or column, indexed by id; entry 0 is False."""
    touching = np.zeros(int(labels.max()) + 1, bool)
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        touching[edge] = True
    touching[0] = False
    return touching


def outlines(labels: Labels) -> npt.NDArray[np.bool_]:
    """Return the pixels of a label with a 4-neighbour outside it, or at the border of the image, shape (Y, X)."""
    framed = np.pad(labels, 1)
    centre = framed[1:-1, 1:-1]
    different = np.zeros(labels.shape, bool)
    for neighbour in (framed[:-2, 1:-1], framed[2:, 1:-1], framed[1:-1, :-2], framed[1:-1, 2:]):
        different |= neighbour != centre
    return different & (centre > 0)


def parts_of_ids(labels: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the ids in an image and in how many separate places each lies; pixels that touch at a corner are together.

    Parameters
    ----------
    labels : ndarray of integers, shape (Y, X)

    Returns
    -------
    ids, parts : ndarray of int64, shape (n_ids,)

    Examples
    --------
    >>> parts_of_ids(np.array([[1, 0, 1], [2, 2, 0]]))
    (array([1, 2]), array([2, 1]))
    """
    from skimage.measure import label

    places = label(labels, background=0, connectivity=2)
    id_of_place = np.zeros(int(places.max()) + 1, np.int64)
    id_of_place[places.ravel()] = labels.ravel()
    ids, parts = np.unique(id_of_place[1:], return_counts=True)
    return ids, parts.astype(np.int64)
