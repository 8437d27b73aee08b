"""Which predicted cell is which true cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bridge.errors import LabelError
from bridge.labels import Labels, label_areas


@dataclass(frozen=True)
class Matching:
    """Pairs of one true and one predicted label that overlap by more than half of their union.

    Attributes
    ----------
    true, predicted : ndarray of int64, shape (n_matched,)
        Labels of the pairs, ascending by true label.
    iou : ndarray of float64, shape (n_matched,)
        Intersection over union of each pair.
    n_true, n_predicted : int
        Labels in each image, matched or not.
    """

    true: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]
    iou: npt.NDArray[np.float64]
    n_true: int
    n_predicted: int


def match_labels(true: Labels, predicted: Labels, min_area_px: int = 0) -> Matching:
    """Match true and predicted labels at an intersection over union above 0.5.

    Above one half a label can overlap with one other only, so the pairs are unique without any search. Ids may have
    gaps.

    Parameters
    ----------
    true, predicted : ndarray of unsigned int, shape (Y, X)
    min_area_px : int
        True labels of fewer px are left out of `n_true` and of the pairs.

    Returns
    -------
    Matching

    Raises
    ------
    LabelError
        The images differ in size.

    Examples
    --------
    >>> a = np.array([[1, 1, 0, 5]], np.uint16)
    >>> b = np.array([[9, 9, 9, 0]], np.uint16)
    >>> match = match_labels(a, b)
    >>> match.true.tolist(), match.predicted.tolist(), match.n_true
    ([1], [9], 2)
    """
    if true.shape != predicted.shape:
        raise LabelError(
            f"label images differ in size (got {true.shape} and {predicted.shape}, expected the same). Compare images of one field."
        )
    areas_true, areas_predicted = label_areas(true), label_areas(predicted)
    wanted = areas_true >= max(1, min_area_px)
    both = (true > 0) & (predicted > 0)
    pairs, overlap = np.unique(np.stack([true[both], predicted[both]]).astype(np.int64), axis=1, return_counts=True)
    iou = overlap / (areas_true[pairs[0]] + areas_predicted[pairs[1]] - overlap)
    kept = (iou > 0.5) & wanted[pairs[0]]
    return Matching(
        pairs[0][kept], pairs[1][kept], iou[kept], int(np.count_nonzero(wanted)), int(np.count_nonzero(areas_predicted))
    )
