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

# Errors of the same cell by float32 and by bfloat16 differ by 0.001 (median) and 0.005 to 0.01 (95 %) on real fields. Those of
# crumbs differ by anything: of ten that bfloat16 had left in 105 fields, most were not there by float32.
_DOUBTFUL = 0.01
_CRUMB = 0.02  # of the median cell's area
_LOOKS = 3  # at most: what is computed exactly in part moves its neighbours, too


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
        Computes flows and cellprob exactly where rounding decides: about cells near the flow threshold, and crumbs.

    Returns
    -------
    labels : ndarray of unsigned int, shape (Y, X)
    dropped : Counter
    """
    looked = np.zeros(cellprob.shape, bool)
    for look in range(1, _LOOKS + 1):
        flows, cellprob = np.ascontiguousarray(flows, np.float32), np.ascontiguousarray(cellprob, np.float32)
        pixels, ends = ends_of(flows, cellprob, cellprob_threshold, niter)
        labels = cells_of(pixels, ends, (cellprob.shape[0], cellprob.shape[1]))
        errors = flow_errors(labels, flows) if flow_threshold > 0 else None
        if again is None or errors is None or look == _LOOKS:
            break
        doubtful = _doubtful(labels, errors, flow_threshold, looked)[labels]
        if not doubtful.any():
            break
        looked |= doubtful
        flows, cellprob = again(looked)
    found = n_objects(labels[window])
    if errors is not None:
        labels = without(labels, errors > flow_threshold)
    fitting = n_objects(labels[window])
    fill_holes(labels)
    labels = labels[window]
    return labels, Counter(flow=found - fitting, inside=fitting - n_objects(labels))


def _doubtful(
    labels: npt.NDArray[Any], errors: npt.NDArray[np.float64], flow_threshold: float, looked: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Return which labels rounding may have decided about, shape (n + 1,), without those that were looked at exactly."""
    areas = np.bincount(labels.ravel(), minlength=errors.size)
    areas[0] = 0
    kept = (areas > 0) & (errors <= flow_threshold)
    crumbs = kept & (areas < _CRUMB * np.median(areas[kept])) if kept.any() else kept
    seen = np.bincount(labels[looked], minlength=errors.size)
    near: npt.NDArray[np.bool_] = np.abs(errors - flow_threshold) < _DOUBTFUL
    return (near | crumbs) & (areas > 0) & (seen < areas / 2)


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
