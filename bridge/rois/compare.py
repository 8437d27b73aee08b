"""Two ROI sets of one image: which cells are the same, and what a person changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from bridge.errors import RoiError
from bridge.labels import Labels, as_labels
from bridge.rois.roiset import draw_labels, selections_of
from bridge.selections import Selections

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Difference:
    """One cell of two ROI sets.

    Attributes
    ----------
    before, after : str
        Names of the ROIs; empty where there is no partner.
    before_px, after_px, both_px : int
        Pixels of the one, of the other, and of both.
    """

    before: str
    after: str
    before_px: int
    after_px: int
    both_px: int

    @property
    def different_px(self) -> int:
        """Pixels that only one of them selects."""
        return self.before_px + self.after_px - 2 * self.both_px

    @property
    def iou(self) -> float:
        """Intersection over union."""
        return self.both_px / (self.before_px + self.after_px - self.both_px)


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


def compare(before: Selections, after: Selections) -> list[Difference]:
    """Find for each ROI its partner in the other set, by the largest intersection over union.

    Parameters
    ----------
    before, after : Selections
        Of the same image; names do not matter.

    Returns
    -------
    list of Difference
        One for each pair and each ROI without a partner, in the order of `before`, then of `after`.

    Raises
    ------
    RoiError
        A ROI without an area, e.g. a line.

    Examples
    --------
    >>> one = selections_of(np.array([[1, 1, 2], [0, 0, 2]], np.uint16))
    >>> other = selections_of(np.array([[1, 1, 0], [1, 0, 0]], np.uint16))
    >>> [(d.before, d.after, d.different_px) for d in compare(one, other)]
    [('00001', '00001', 1), ('00002', '', 2)]
    """
    for found in (before, after):
        if found.problem:
            raise RoiError(f"ROI set: {found.problem}. Remove it from the set.")
    b, a, both = _shared(before, after)
    b_px, a_px = before.area_px, after.area_px
    iou = both / (b_px[b] + a_px[a] - both)
    partner_of, taken, shared_px = {}, set(), {}
    for k in np.lexsort((a, b, -iou)).tolist():
        if int(b[k]) not in partner_of and int(a[k]) not in taken:
            partner_of[int(b[k])] = int(a[k])
            taken.add(int(a[k]))
            shared_px[int(b[k])] = int(both[k])
    rows = []
    for i, name in enumerate(before.names):
        j = partner_of.get(i)
        rows.append(
            Difference(name, "", int(b_px[i]), 0, 0)
            if j is None
            else Difference(name, after.names[j], int(b_px[i]), int(a_px[j]), shared_px[i])
        )
    rows += [Difference("", name, 0, int(a_px[j]), 0) for j, name in enumerate(after.names) if j not in taken]
    return rows


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
    b, a, both = _shared(before, after)
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
    b, a, both = _shared(before, left)
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


def _shared(one: Selections, other: Selections) -> tuple[Ints, Ints, Ints]:
    """Return the pairs of ROIs that share pixels: index in the one set, in the other, number of pixels."""
    runs = []
    for found in (one, other):
        roi = np.repeat(np.arange(len(found.names)), np.diff(found.first))
        order = np.lexsort((found.left, found.row))
        row = found.row[order]
        rows = np.searchsorted(row, np.arange(found.shape[0] + 1))
        runs.append((rows, found.left[order], found.right[order], roi[order]))
    n_other = max(1, len(other.names))
    n = _pairs(*runs[0], *runs[1], n_other, np.zeros((0, 2), np.int64))
    pairs = np.empty((n, 2), np.int64)
    _pairs(*runs[0], *runs[1], n_other, pairs)
    keys, where = np.unique(pairs[:, 0], return_inverse=True)
    total = np.zeros(keys.size, np.int64)
    np.add.at(total, where, pairs[:, 1])
    return keys // n_other, keys % n_other, total


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _pairs(
    rows_1: Any, left_1: Any, right_1: Any, roi_1: Any, rows_2: Any, left_2: Any, right_2: Any, roi_2: Any, n_other: int,
    found: Any,
) -> int:  # fmt: skip
    """Note every stretch of pixels that runs of both sets have, as key of both ROIs and length; return how many."""
    n = 0
    for y in range(min(rows_1.size, rows_2.size) - 1):
        for i in range(rows_1[y], rows_1[y + 1]):
            for k in range(rows_2[y], rows_2[y + 1]):
                if left_2[k] >= right_1[i]:
                    break
                length = min(right_1[i], right_2[k]) - max(left_1[i], left_2[k])
                if length > 0:
                    if n < found.shape[0]:
                        found[n, 0] = roi_1[i] * n_other + roi_2[k]
                        found[n, 1] = length
                    n += 1
    return n
