"""How far the flows of a cell are from those that its shape would give."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.cores import cores, on_all_cores
from bridge.kernels import kernel
from bridge.segmentation.dynamics.shape_flows import (
    boxes_of,
    diffused,
    diffusion_of,
    largest_box,
    longest_first,
    slope,
    spread_in_all,
)


def flow_errors(labels: npt.NDArray[Any], flows: npt.NDArray[np.float32], cellpose: int = 3) -> npt.NDArray[np.float64]:
    """Return the mean squared difference between the network's flows and those of each cell's shape.

    Parameters
    ----------
    labels : ndarray of unsigned int, shape (Y, X)
        Labels 1..n without gaps.
    flows : ndarray of float32, shape (2, Y, X)
    cellpose : {3, 4}
        Whose check.

    Returns
    -------
    ndarray of float64, shape (n + 1,)
        By label; 0 for the background.

    Notes
    -----
    As cellpose.metrics.flow_error (in Cellpose 4 cellpose.dynamics.flow_error) on a processor; of Cellpose 3 to the last
    bit, of Cellpose 4 but for rounding (see `targets_of_labels`), and always in float64.
    """
    boxes = boxes_of(labels)
    errors = np.zeros(len(boxes))
    order, n, how = longest_first(boxes), cores(), diffusion_of(cellpose, boxes)
    spread = spread_in_all(labels, boxes, order, how)
    on_all_cores(lambda first: _errors(labels, boxes, order, first, n, how, spread, flows, errors), range(n))
    return errors


@kernel
def _errors(
    labels: Any, boxes: Any, order: Any, first: Any, every: Any, how: Any, spread: Any, flows: Any, errors: Any
) -> None:
    """Fill in the errors of every so many cells of an order."""
    five = np.float32(5)
    buffers = np.empty((3, 0 if how.together else largest_box(boxes, order, first, every)))
    for q in range(first, order.size, every):
        label = order[q]
        box = boxes[label]
        if box[4] == 0:
            continue
        own = spread if how.together else diffused(labels, label, box, how, buffers)
        top, left = (-1, -1) if how.together else (box[0] - 1, box[2] - 1)
        error_y, error_x = 0.0, 0.0
        for y in range(box[0], box[1] + 1):
            for x in range(box[2], box[3] + 1):
                if labels[y, x] == label:
                    flow_y, flow_x = slope(own, y - top, x - left)
                    u = flow_y - np.float64(flows[0, y, x] / five)
                    v = flow_x - np.float64(flows[1, y, x] / five)
                    error_y += u * u
                    error_x += v * v
        errors[label] = error_y / box[4] + error_x / box[4]
