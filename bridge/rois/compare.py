"""Two ROI sets, cell by cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.errors import RoiError
from bridge.kernels import kernel
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
        either = self.before_px + self.after_px - self.both_px
        return self.both_px / either if either else 0.0


def compare(before: Selections, after: Selections) -> list[Difference]:
    """Find for each ROI its partner in the other set, by the largest intersection over union.

    Parameters
    ----------
    before, after : Selections
        Of the same image; names do not matter.

    Returns
    -------
    list of Difference
        One for each pair and each ROI without a partner, in the order of `before`, then of `after`. A ROI without pixels
        has no partner.

    Raises
    ------
    RoiError
        A ROI whose pixels are not known.

    Examples
    --------
    >>> from bridge.rois.roiset import selections_of
    >>> one = selections_of(np.array([[1, 1, 2], [0, 0, 2]], np.uint16))
    >>> other = selections_of(np.array([[1, 1, 0], [1, 0, 0]], np.uint16))
    >>> [(d.before, d.after, d.different_px) for d in compare(one, other)]
    [('00001', '00001', 1), ('00002', '', 2)]
    """
    for selections in (before, after):
        for problem in selections.problems:
            if problem.has_area:
                raise RoiError(f"ROI set: {problem.text}. Remove it from the set.")
    b, a, both = shared_pixels(before, after)
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


def shared_pixels(one: Selections, other: Selections) -> tuple[Ints, Ints, Ints]:
    """Return the pairs of ROIs that share pixels: index in the one set, in the other, number of pixels."""
    runs = []
    for selections in (one, other):
        roi = np.repeat(np.arange(len(selections.names)), np.diff(selections.first))
        order = np.lexsort((selections.left, selections.row))
        row = selections.row[order]
        rows = np.searchsorted(row, np.arange(selections.shape[0] + 1))
        runs.append((rows, selections.left[order], selections.right[order], roi[order]))
    n_other = max(1, len(other.names))
    n = pairs_of_cells(*runs[0], *runs[1], n_other, np.zeros((0, 2), np.int64))
    pairs = np.empty((n, 2), np.int64)
    pairs_of_cells(*runs[0], *runs[1], n_other, pairs)
    keys, where = np.unique(pairs[:, 0], return_inverse=True)
    total = np.zeros(keys.size, np.int64)
    np.add.at(total, where, pairs[:, 1])
    return keys // n_other, keys % n_other, total


@kernel
def pairs_of_cells(
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
