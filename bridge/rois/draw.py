"""ROIs -> label image, with an account of every pixel that two of them claim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.errors import RoiError
from bridge.kernels import kernel
from bridge.labels import MAX_LABEL, Labels, as_labels
from bridge.selections import Selections


@dataclass(frozen=True)
class Loss:
    """Pixels of a ROI that an earlier one of the set has.

    Attributes
    ----------
    roi, to : str
        Names of the ROI that loses pixels, and of the one that has them.
    area_px, lost_px : int
        Pixels of the ROI, and how many of them it loses to the other.
    """

    roi: str
    to: str
    area_px: int
    lost_px: int


@dataclass(frozen=True)
class Drawn:
    """A label image made of ROIs.

    Attributes
    ----------
    labels : ndarray of uint16 or uint32, shape (Y, X)
    losses : tuple of Loss
        In the order of the set.
    covered : tuple of str
        Names of the ROIs of which nothing is left.
    empty : tuple of str
        Names of the ROIs that select no pixel of the image.
    """

    labels: Labels
    losses: tuple[Loss, ...]
    covered: tuple[str, ...]
    empty: tuple[str, ...]


def selections_to_labels(found: Selections, name: str = "ROI set") -> Drawn:
    """Draw ROIs into a label image.

    Parameters
    ----------
    found : Selections
        If all names are labels (00001, 00002 ...), they become the ids; else the ROIs are numbered from 1.
    name : str
        Named in messages.

    Returns
    -------
    Drawn
        Where ROIs overlap, a pixel belongs to the first of them in the order of the set.

    Raises
    ------
    RoiError
        ROIs of several slices of a stack; a ROI whose pixels are not known.

    Examples
    --------
    >>> from bridge.rois.roiset import selections_of
    >>> selections_to_labels(selections_of(np.array([[0, 3], [3, 3]], np.uint16))).labels
    array([[0, 3],
           [3, 3]], dtype=uint16)
    """
    for problem in found.problems:
        if problem.has_area:
            raise RoiError(f"{name}: {problem.text}. Remove it from the set.")
    _require_one_slice(found, name)
    ids = np.arange(1, len(found.names) + 1, dtype=np.uint32)
    if all(text.isascii() and text.isdecimal() and 0 < int(text) <= MAX_LABEL for text in found.names):
        named = np.array([int(text) for text in found.names], np.uint32)
        ids = named if np.unique(named).size == named.size else ids
    drawn, overlap = draw_labels(found, ids, np.arange(ids.size))
    area = found.area_px
    covered = tuple(found.names[k] for k in np.flatnonzero((overlap == area) & (area > 0)))
    losses = tuple(_losses(found, drawn, ids, overlap))
    return Drawn(as_labels(drawn, name), losses, covered, found.without_pixels)


def _require_one_slice(found: Selections, name: str) -> None:
    slices = sorted({tuple(place) for place in found.slice_of.tolist()} - {(0, 0)})
    if len(slices) > 1:
        listed = ", ".join(str(z) if not t else f"{z} of frame {t}" for z, t in slices[:5])
        raise RoiError(
            f"{name}: ROIs of {len(slices)} slices of a stack (got slices {listed}{' ...' if len(slices) > 5 else ''}; expected those of one image). "
            "Save the ROIs of each slice as a set of their own."
        )


def _losses(found: Selections, drawn: npt.NDArray[np.uint32], ids: npt.NDArray[np.uint32], overlap: Any) -> list[Loss]:
    name_of = dict(zip(ids.tolist(), found.names, strict=True))
    losses = []
    for k in np.flatnonzero(overlap).tolist():
        runs = slice(found.first[k], found.first[k + 1])
        spans = zip(found.row[runs], found.left[runs], found.right[runs], strict=True)
        there = np.concatenate([drawn[row, left:right] for row, left, right in spans])
        others, n = np.unique(there[there != ids[k]], return_counts=True)
        losses += [
            Loss(found.names[k], name_of[other], there.size, lost)
            for other, lost in zip(others.tolist(), n.tolist(), strict=True)
        ]
    return losses


def draw_labels(
    found: Selections, ids: npt.NDArray[np.uint32], order: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
    """Draw ROIs with these ids in this order; a pixel keeps the first. Return the overlap in px of each, in the order."""
    drawn = np.zeros(found.shape, np.uint32)
    overlap = np.zeros(ids.size, np.int64)
    _draw(drawn, found.row, found.left, found.right, found.first, ids, order, overlap)
    return drawn, overlap


@kernel
def _draw(labels: Any, row: Any, left: Any, right: Any, first: Any, ids: Any, order: Any, overlap: Any) -> None:
    for n in range(ids.size):
        k = order[n]
        for i in range(first[k], first[k + 1]):
            for column in range(left[i], right[i]):
                if labels[row[i], column] == 0:
                    labels[row[i], column] = ids[n]
                else:
                    overlap[n] += 1
