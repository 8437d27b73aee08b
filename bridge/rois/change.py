"""A corrected ROI set against the label image it was made from: what was added, deleted, merged, split or redrawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bridge.errors import RoiError
from bridge.labels import Labels, as_labels
from bridge.rois.compare import shared_pixels
from bridge.rois.draw import draw_labels
from bridge.rois.roiset import selections_of
from bridge.selections import Selections


@dataclass(frozen=True)
class Change:
    """What became of a cell, or where a new one came from.

    Attributes
    ----------
    change : str
        unchanged, edited, added, deleted, merged, split, redrawn (several cells became several others), covered (nothing
        is left of it beside the ROIs before it in the set) or outside (of the image).
    before : tuple of int
        Labels it was made from.
    after : int
        Its label now; 0 for none.
    roi : str
        Name of the ROI; empty for a deleted cell.
    before_px, after_px : int
        Pixels of the cell whose label it keeps, and of the cell now.
    iou : float
        Of these two; 0 without a cell before.
    overlap_px : int
        Pixels that an unchanged cell or a ROI before it in the set has; they stay with those.
    clipped : bool
        Its box reaches beyond the image; only what lies inside counts.
    """

    change: str
    before: tuple[int, ...]
    after: int
    roi: str
    before_px: int
    after_px: int
    iou: float
    overlap_px: int
    clipped: bool = False


def apply_corrections(labels: Labels, after: Selections, name: str = "ROI set") -> tuple[Labels, list[Change]]:
    """Turn a corrected ROI set into the label image it means.

    A ROI that selects exactly the pixels of a cell is that cell, whatever its name. Any other ROI belongs to the cells
    of which it has more than half, or that have more than half of it; the label goes on with the largest share, new
    cells get new labels. Where ROIs overlap, a pixel belongs to an unchanged cell, else to the first in the set; what
    lies outside of the image is cut off.

    Parameters
    ----------
    labels : ndarray of uint16 or uint32, shape (Y, X)
        Before the correction.
    after : Selections
    name : str
        Named in messages.

    Returns
    -------
    labels : ndarray of uint16 or uint32, shape (Y, X)
    changes : list of Change
        One for each ROI in the order of the set, then one for each deleted cell.

    Raises
    ------
    RoiError
        A ROI without an area, e.g. a line.

    Examples
    --------
    >>> before = np.array([[1, 1, 0, 2], [0, 0, 0, 2]], np.uint16)
    >>> drawn = selections_of(np.array([[1, 1, 0, 0], [3, 0, 0, 0]], np.uint16))
    >>> after, changes = apply_corrections(before, drawn)
    >>> after.tolist(), [(c.change, c.before, c.after) for c in changes]
    ([[1, 1, 0, 0], [3, 0, 0, 0]], [('unchanged', (1,), 1), ('added', (), 3), ('deleted', (2,), 0)])
    """
    if after.problem:
        raise RoiError(f"{name}: {after.problem}. Remove it from the set.")
    before = selections_of(labels)
    ids = np.array([int(text) for text in before.names], np.int64)
    selected_px = after.area_px

    # A ROI with exactly the pixels of a cell is that cell.
    b, a, both = shared_pixels(before, after)
    same: dict[int, int] = {}  # ROI -> cell
    kept: set[int] = set()
    for k in np.flatnonzero((both == before.area_px[b]) & (both == selected_px[a])).tolist():
        i, j = int(b[k]), int(a[k])
        if i not in kept and j not in same:
            same[j] = i
            kept.add(i)

    # Overlaps are resolved first: what is left of each ROI decides what it is.
    order = [*same, *(j for j in range(len(after.names)) if j not in same)]
    drawn, overlap = draw_labels(after, (np.array(order, np.int64) + 1).astype(np.uint32), np.array(order, np.int64))
    overlap_px = np.zeros(len(order), np.int64)
    overlap_px[order] = overlap
    left_px = selected_px - overlap_px
    left = selections_of(as_labels(drawn, name))
    b, a, both = shared_pixels(before, left)
    a = np.array([int(text) - 1 for text in left.names], np.int64)[a]
    shared = {(int(i), int(j)): int(px) for i, j, px in zip(b, a, both, strict=True)}
    cells_of: dict[int, set[int]] = {}  # ROI -> its cells
    rois_of: dict[int, set[int]] = {}
    for (i, j), px in shared.items():
        if i not in kept and j not in same and (2 * px > before.area_px[i] or 2 * px > left_px[j]):
            cells_of.setdefault(j, set()).add(i)
            rois_of.setdefault(i, set()).add(j)

    # Each label goes on with the ROI that has most of it; the others are new.
    goes_on: dict[int, int] = dict(same)
    given = set(kept)
    for _, i, j in sorted((-shared[i, j], i, j) for j, cells in cells_of.items() for i in cells):
        if i not in given and j not in goes_on:
            goes_on[j] = i
            given.add(i)
    label_of = {j: int(ids[i]) for j, i in goes_on.items()}
    new = int(ids.max(initial=0))
    for j in np.flatnonzero(left_px).tolist():
        if j not in label_of:
            new += 1
            label_of[j] = new
    numbers = np.zeros(len(after.names) + 1, np.uint32)
    for j, label in label_of.items():
        numbers[j + 1] = label

    rows = []
    clipped = _beyond(after)
    for j, roi in enumerate(after.names):
        cells = cells_of.get(j, set())
        if j in same:
            change, cells = "unchanged", {same[j]}
        elif not selected_px[j]:
            change = "outside"
        elif not left_px[j]:
            change = "covered"
        elif not cells:
            change = "added"
        elif len(cells) > 1:
            change = "redrawn" if any(len(rois_of[i]) > 1 for i in cells) else "merged"
        else:
            change = "split" if any(len(rois_of[i]) > 1 for i in cells) else "edited"
        own = goes_on.get(j)
        own_px = 0 if own is None else int(before.area_px[own])
        both_px = 0 if own is None else shared[own, j]
        iou = both_px / (own_px + int(left_px[j]) - both_px) if both_px else 0.0
        labels_before = tuple(int(ids[i]) for i in sorted(cells))
        rows.append(
            Change(
                change,
                labels_before,
                label_of.get(j, 0),
                roi,
                own_px,
                int(left_px[j]),
                iou,
                int(overlap_px[j]),
                bool(clipped[j]),
            )
        )
    gone = [i for i in range(ids.size) if i not in kept and i not in rois_of]
    rows += [Change("deleted", (int(ids[i]),), 0, "", int(before.area_px[i]), 0, 0.0, 0) for i in gone]
    return as_labels(numbers[drawn], name), rows


def _beyond(found: Selections) -> npt.NDArray[np.bool_]:
    """Return whether the box of each ROI, as its header has it (ij.io.RoiDecoder), reaches beyond the image."""
    header = np.frombuffer(found.encoded, np.uint8)[found.offset[:-1, None] + np.arange(8, 16)]
    top, left, bottom, right = header.copy().view(">i2").astype(np.int64).T
    # Above 32,767 the 16 bits wrap; ImageJ takes them for positive from -5,000 on downwards.
    top, left, bottom, right = (np.where(side < -5000, side + 65536, side) for side in (top, left, bottom, right))
    height, width = found.shape
    beyond: npt.NDArray[np.bool_] = (top < 0) | (left < 0) | (bottom > height) | (right > width)
    return beyond
