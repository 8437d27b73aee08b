"""How far the flows of a cell are from those that its shape would give."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.cores import cores, on_all_cores
from bridge.kernels import kernel


def boxes_of(labels: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """Return first and last row, first and last column, and the number of pixels of each label, shape (n + 1, 5)."""
    boxes: npt.NDArray[np.int32] = _boxes(labels, int(labels.max(initial=0)))
    return boxes


def flow_errors(labels: npt.NDArray[Any], flows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the mean squared difference between the network's flows and those of each cell's shape.

    Parameters
    ----------
    labels : ndarray of unsigned int, shape (Y, X)
        Labels 1..n without gaps.
    flows : ndarray of float32, shape (2, Y, X)

    Returns
    -------
    ndarray of float64, shape (n + 1,)
        By label; 0 for the background.

    Notes
    -----
    As cellpose.metrics.flow_error with cellpose.dynamics.masks_to_flows_cpu of Cellpose 3, to the last bit.
    """
    boxes = boxes_of(labels)
    errors = np.zeros(len(boxes))
    extent = (boxes[1:, 1] - boxes[1:, 0] + boxes[1:, 3] - boxes[1:, 2]).astype(np.int64)
    order = 1 + np.argsort(-extent * boxes[1:, 4], kind="stable")  # what takes longest comes first
    n = cores()
    on_all_cores(lambda first: _errors(labels, boxes, order, first, n, flows, errors), range(n))
    return errors


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
def _diffuse(before: Any, after: Any, inside: Any, first: Any, last: Any, low: Any, high: Any) -> None:
    """One step; the nine terms in Cellpose's order. A factor of 0 or 1 is exact, and the loop vectorises."""
    ninth = 1 / 9.0
    for row in range(first, last):
        left = low[row]
        up, middle, down = before[row - 1, left - 1 :], before[row, left - 1 :], before[row + 1, left - 1 :]
        here, out = inside[row, left:], after[row, left:]
        for x in range(high[row] - left):
            out[x] = (
                ninth
                * (
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
                * here[x]
            )


@kernel
def _errors(labels: Any, boxes: Any, order: Any, first: Any, every: Any, flows: Any, errors: Any) -> None:
    """Fill in the errors of every so many cells of an order."""
    five, size = np.float32(5), 0
    for q in range(first, order.size, every):
        box = boxes[order[q]]
        size = max(size, (box[1] - box[0] + 3) * (box[3] - box[2] + 3))
    buffers = np.empty((3, size))
    for q in range(first, order.size, every):
        label = order[q]
        box = boxes[label]
        if box[4] == 0:
            continue
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
        best, centre_y, centre_x = np.inf, 0, 0
        for y in range(1, height - 1):
            for x in range(low[y], high[y]):
                distance = (x - mean_x) ** 2 + (y - mean_y) ** 2
                if inside[y, x] != 0 and distance < best:
                    best, centre_y, centre_x = distance, y, x
        for step in range(2 * (height + width)):
            now[centre_y, centre_x] += 1
            # Rows that the front has not reached yet are 0 anyway.
            _diffuse(now, then, inside, max(1, centre_y - step - 1), min(height - 1, centre_y + step + 2), low, high)
            now, then = then, now
        error_y, error_x = 0.0, 0.0
        for y in range(1, height - 1):
            for x in range(low[y], high[y]):
                if inside[y, x] != 0:
                    dy, dx = now[y + 1, x] - now[y - 1, x], now[y, x + 1] - now[y, x - 1]
                    length = 1e-60 + np.sqrt(dy * dy + dx * dx)
                    u = dy / length - np.float64(flows[0, top + y, left + x] / five)
                    v = dx / length - np.float64(flows[1, top + y, left + x] / five)
                    error_y += u * u
                    error_x += v * v
        errors[label] = error_y / n + error_x / n
