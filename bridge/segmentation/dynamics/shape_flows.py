"""The flows that the shape of a cell gives: what spreads from its middle, and runs down from there."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.cores import cores, on_all_cores
from bridge.kernels import kernel


class Diffusion(NamedTuple):
    """How a version of Cellpose spreads what begins in the middle of a cell.

    Attributes
    ----------
    steps : int
        For every cell; 0 for twice the height and width of each cell's box.
    from_rounded : bool
        Begin at the rounded mean of the cell's places, not at the pixel nearest to the mean.
    divides : bool
        Divide by nine, not multiply by a ninth: they differ in the last bit.
    together : bool
        All cells in one image: at its border a cell's flow sees what has spread in the cell beside it.
    """

    steps: int
    from_rounded: bool
    divides: bool
    together: bool


def diffusion_of(cellpose: int, boxes: npt.NDArray[np.int32]) -> Diffusion:
    """Return how Cellpose 3 or 4 does it: cellpose.dynamics.masks_to_flows_cpu, masks_to_flows_gpu."""
    if cellpose == 3:
        return Diffusion(0, False, False, False)
    there = boxes[boxes[:, 4] > 0]
    longest = (there[:, 1] - there[:, 0] + there[:, 3] - there[:, 2] + 4).max(initial=0)
    return Diffusion(2 * int(longest), True, True, True)


def boxes_of(labels: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """Return first and last row, first and last column, and the number of pixels of each label, shape (n + 1, 5)."""
    boxes: npt.NDArray[np.int32] = _boxes(labels, int(labels.max(initial=0)))
    return boxes


def longest_first(boxes: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Return labels in the order in which cores should take them."""
    extent = (boxes[1:, 1] - boxes[1:, 0] + boxes[1:, 3] - boxes[1:, 2]).astype(np.int64)
    return 1 + np.argsort(-extent * boxes[1:, 4], kind="stable")


def targets_of_labels(labels: npt.NDArray[Any], cellpose: int = 3) -> npt.NDArray[np.float32]:
    """Return what a network should say about a label image: cell or not, and the flows along y and x.

    Parameters
    ----------
    labels : ndarray of int, shape (Y, X)
        0 is background.
    cellpose : {3, 4}
        Whose flows.

    Returns
    -------
    ndarray of float32, shape (3, Y, X)

    Notes
    -----
    As cellpose.dynamics.labels_to_flows; of Cellpose 3 on a processor to the last bit. Cellpose 4 adds up in another
    order at the ends of its threads' shares: equal but for rounding.

    Examples
    --------
    >>> targets_of_labels(np.array([[7, 7, 7]]))[0].tolist(), targets_of_labels(np.array([[7, 7, 7]]))[2].tolist()
    ([[1.0, 1.0, 1.0]], [[1.0, 0.0, -1.0]])
    """
    labels = np.ascontiguousarray(labels)
    targets = np.zeros((3, *labels.shape), np.float32)
    boxes = boxes_of(labels)
    order, n, how = longest_first(boxes), cores(), diffusion_of(cellpose, boxes)
    spread = spread_in_all(labels, boxes, order, how)
    on_all_cores(lambda first: _targets(labels, boxes, order, first, n, how, spread, targets), range(n))
    return targets


def spread_in_all(
    labels: npt.NDArray[Any], boxes: npt.NDArray[np.int32], order: npt.NDArray[np.int64], how: Diffusion
) -> npt.NDArray[np.float64]:
    """Return what has spread in all cells, (Y + 2, X + 2), where they are looked at together; else an empty array."""
    if not how.together:
        return np.empty((0, 0))
    spread, n = np.zeros((labels.shape[0] + 2, labels.shape[1] + 2)), cores()
    on_all_cores(lambda first: _fill(labels, boxes, order, first, n, how, spread), range(n))
    return spread


@kernel
def _boxes(labels: Any, n: Any) -> Any:
    height, width = labels.shape
    boxes = np.empty((n + 1, 5), np.int32)
    boxes[:, 0], boxes[:, 1], boxes[:, 2], boxes[:, 3], boxes[:, 4] = height, -1, width, -1, 0
    for y in range(height):
        for x in range(width):
            label = labels[y, x]
            if label:
                box = boxes[label]
                box[0] = min(box[0], y)
                box[1] = y
                box[2] = min(box[2], x)
                box[3] = max(box[3], x)
                box[4] += 1
    return boxes


@kernel
def _spread(before: Any, after: Any, inside: Any, first: Any, last: Any, low: Any, high: Any, divides: Any) -> None:
    """One step; the nine terms in Cellpose's order. A factor of 0 or 1 is exact, and the loop vectorises."""
    ninth = 1 / 9.0
    for row in range(first, last):
        left = low[row]
        up, middle, down = before[row - 1, left - 1 :], before[row, left - 1 :], before[row + 1, left - 1 :]
        here, out = inside[row, left:], after[row, left:]
        for x in range(high[row] - left):
            total = (
                middle[x + 1]
                + up[x + 1]
                + down[x + 1]
                + middle[x]
                + middle[x + 2]
                + up[x]
                + up[x + 2]
                + down[x]
                + down[x + 2]
            )
            out[x] = (total / 9.0 if divides else ninth * total) * here[x]


@kernel
def largest_box(boxes: Any, order: Any, first: Any, every: Any) -> Any:
    """Return the pixels of the largest box, with a border, of every so many cells of an order."""
    size = 0
    for q in range(first, order.size, every):
        box = boxes[order[q]]
        size = max(size, (box[1] - box[0] + 3) * (box[3] - box[2] + 3))
    return size


@kernel
def diffused(labels: Any, label: Any, box: Any, how: Any, buffers: Any) -> Any:
    """Return what has spread in a cell's box with a border."""
    top, left = box[0] - 1, box[2] - 1
    height, width = box[1] - box[0] + 3, box[3] - box[2] + 3
    now = buffers[0][: height * width].reshape(height, width)
    then = buffers[1][: height * width].reshape(height, width)
    inside = buffers[2][: height * width].reshape(height, width)
    now[:], then[:], inside[:] = 0, 0, 0
    low, high = np.zeros(height, np.int64), np.zeros(height, np.int64)
    n, sum_y, sum_x = 0, 0, 0
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            if labels[top + y, left + x] == label:
                inside[y, x] = 1
                n += 1
                sum_y += y
                sum_x += x
                if high[y] == 0:
                    low[y] = x
                high[y] = x + 1
    mean_y, mean_x = sum_y / n, sum_x / n
    if how.from_rounded:  # in the box without its border: a half is rounded to the even number
        mean_y, mean_x = np.rint((sum_y - n) / n) + 1, np.rint((sum_x - n) / n) + 1
    best, centre_y, centre_x = np.inf, 0, 0
    for y in range(1, height - 1):
        for x in range(low[y], high[y]):
            distance = (x - mean_x) ** 2 + (y - mean_y) ** 2
            if inside[y, x] != 0 and distance < best:
                best, centre_y, centre_x = distance, y, x
    for step in range(how.steps if how.steps > 0 else 2 * (height + width)):
        now[centre_y, centre_x] += 1
        # Rows that the front has not reached yet are 0 anyway.
        last = min(height - 1, centre_y + step + 2)
        _spread(now, then, inside, max(1, centre_y - step - 1), last, low, high, how.divides)
        now, then = then, now
    return now


@kernel
def _fill(labels: Any, boxes: Any, order: Any, first: Any, every: Any, how: Any, spread: Any) -> None:
    buffers = np.empty((3, largest_box(boxes, order, first, every)))
    for q in range(first, order.size, every):
        label = order[q]
        box = boxes[label]
        if box[4] == 0:
            continue
        own = diffused(labels, label, box, how, buffers)
        for y in range(1, own.shape[0] - 1):
            for x in range(1, own.shape[1] - 1):
                if labels[box[0] - 1 + y, box[2] - 1 + x] == label:
                    spread[box[0] + y, box[2] + x] = own[y, x]


@kernel
def slope(spread: Any, y: Any, x: Any) -> Any:
    """Return the flow at a pixel, of length 1."""
    dy, dx = spread[y + 1, x] - spread[y - 1, x], spread[y, x + 1] - spread[y, x - 1]
    length = 1e-60 + np.sqrt(dy * dy + dx * dx)
    return dy / length, dx / length


@kernel
def _targets(labels: Any, boxes: Any, order: Any, first: Any, every: Any, how: Any, spread: Any, targets: Any) -> None:
    buffers = np.empty((3, 0 if how.together else largest_box(boxes, order, first, every)))
    for q in range(first, order.size, every):
        label = order[q]
        box = boxes[label]
        if box[4] == 0:
            continue
        own = spread if how.together else diffused(labels, label, box, how, buffers)
        top, left = (-1, -1) if how.together else (box[0] - 1, box[2] - 1)
        for y in range(box[0], box[1] + 1):
            for x in range(box[2], box[3] + 1):
                if labels[y, x] == label:
                    flow_y, flow_x = slope(own, y - top, x - left)
                    targets[0, y, x], targets[1, y, x], targets[2, y, x] = 1, flow_y, flow_x
