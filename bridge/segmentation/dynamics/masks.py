"""A label image from what the network said."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bridge.segmentation.dynamics.cells import cells_of
from bridge.segmentation.dynamics.flow_check import flow_errors
from bridge.segmentation.dynamics.follow import ends_of
from bridge.segmentation.dynamics.holes import fill_holes

if TYPE_CHECKING:
    from collections.abc import Callable

    Window = tuple[slice, slice]
    Again = Callable[[npt.NDArray[np.bool_]], tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]

# Errors of the same cell by float32 and by bfloat16 differ by 0.001 (median) and 0.01 to 0.02 (95 %) on real fields.
_DOUBTFUL = 0.01


def masks_of(
    flows: npt.NDArray[np.float32],
    cellprob: npt.NDArray[np.float32],
    niter: int,
    flow_threshold: float,
    cellprob_threshold: float,
    window: Window,
    again: Again | None = None,
) -> tuple[npt.NDArray[Any], Counter[str]]:
    """Make a label image, and count what is dropped on the way; see `bridge.segmentation.backend.labels_of`.

    Parameters
    ----------
    flows : ndarray of float32, shape (2, Y, X)
    cellprob : ndarray of float32, shape (Y, X)
    niter : int
    flow_threshold, cellprob_threshold : float
    window : (slice, slice)
    again : callable, optional
        Computes flows and cellprob exactly where cells lie so near to the flow threshold that rounding decides.

    Returns
    -------
    labels : ndarray of unsigned int, shape (Y, X)
    dropped : Counter
    """
    flows, cellprob = np.ascontiguousarray(flows, np.float32), np.ascontiguousarray(cellprob, np.float32)
    pixels, ends = ends_of(flows, cellprob, cellprob_threshold, niter)
    labels = cells_of(pixels, ends, (cellprob.shape[0], cellprob.shape[1]))
    found = n_objects(labels[window])
    if flow_threshold > 0:
        errors = flow_errors(labels, flows)
        doubtful = np.abs(errors - flow_threshold) < _DOUBTFUL
        if again is not None and doubtful.any():
            flows, cellprob = again(doubtful[labels])
            return masks_of(flows, cellprob, niter, flow_threshold, cellprob_threshold, window)
        labels = without(labels, errors > flow_threshold)
    fitting = n_objects(labels[window])
    fill_holes(labels)
    labels = labels[window]
    return labels, Counter(flow=found - fitting, inside=fitting - n_objects(labels))


def without_bad_flows(
    labels: npt.NDArray[Any], flows: npt.NDArray[np.float32], threshold: float, cellpose: int = 3
) -> npt.NDArray[Any]:
    """Return the label image without the cells whose flows differ by more than the threshold.

    As cellpose.dynamics.remove_bad_flow_masks of Cellpose 3 or 4; the labels that stay are not numbered anew.
    """
    return without(labels, flow_errors(labels, flows, cellpose) > threshold)


def without(labels: npt.NDArray[Any], gone: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """Return the label image without these labels, shape (n + 1,); the others keep their numbers."""
    if not gone.any():
        return labels
    numbers = np.where(gone, 0, np.arange(gone.size)).astype(labels.dtype)
    kept: npt.NDArray[Any] = numbers[labels]
    return kept


def n_objects(labels: npt.NDArray[Any]) -> int:
    """Return how many labels are there."""
    return int(np.count_nonzero(np.bincount(labels.ravel())[1:]))
