"""Holes of cells, filled."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.kernels import kernel
from bridge.segmentation.dynamics.shape_flows import boxes_of


def fill_holes(labels: npt.NDArray[Any]) -> None:
    """Fill the holes of each label in place, in the order of labels, and number them anew.

    What of a cell lies in a hole of an earlier one belongs to that one. Background that a path of sides joins to the
    border of the cell's box is no hole.

    Parameters
    ----------
    labels : ndarray of unsigned int, shape (Y, X)

    Notes
    -----
    As cellpose.utils.fill_holes_and_remove_small_masks without a size; a cell that is covered whole leaves a gap.

    Examples
    --------
    >>> labels = np.array([[3, 3, 3], [3, 0, 3], [3, 3, 3]], np.uint16)
    >>> fill_holes(labels)
    >>> labels.tolist()
    [[1, 1, 1], [1, 1, 1], [1, 1, 1]]
    """
    _fill(labels, boxes_of(labels))


@kernel
def _fill(labels: Any, boxes: Any) -> None:
    new = 0
    for label in range(1, len(boxes)):
        box = boxes[label]
        if box[4] == 0:
            continue
        new += 1
        top, left = box[0] - 1, box[2] - 1
        height, width = box[1] - box[0] + 3, box[3] - box[2] + 3
        state = np.zeros(height * width, np.uint8)  # 1 the cell, 2 outside of it
        stack = np.empty(height * width, np.int32)
        state[0], stack[0], n = 2, 0, 1
        for y in range(1, height - 1):
            for x in range(1, width - 1):
                state[y * width + x] = labels[top + y, left + x] == label
        while n > 0:
            n -= 1
            p = stack[n]
            x = p % width
            for q, there in (
                (p - width, p >= width), (p + width, p < (height - 1) * width), (p - 1, x > 0), (p + 1, x < width - 1)
            ):  # fmt: skip
                if there and state[q] == 0:
                    state[q] = 2
                    stack[n] = q
                    n += 1
        # A cell that an earlier one covered has no pixel left; the box of it is all outside.
        for y in range(1, height - 1):
            for x in range(1, width - 1):
                if state[y * width + x] != 2:
                    labels[top + y, left + x] = new
